//! `corollary serve`.

use std::future::Future;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use corollary_engine::updates::OwnBudget;
use corollary_engine::{EngineOptions, Executor};
use corollary_schema::plan::follows::DEFAULT_BUDGET;
use jiff::SignedDuration;
use smol_str::SmolStr;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{RwLock, Semaphore};

use super::{Failure, Place, open};
use crate::front::listen::{self, Listening};
use crate::front::metrics::Metrics;
use crate::front::tls::Tls;
use crate::front::{Face, Front, log, origins};
use crate::hooks::{self, Hooks};
use crate::http::backup::MAX_BACKUPS;
use crate::http::{self, App, Bodies, Limits};
use crate::mounts::proxy::Proxies;
use crate::node::{NodeOptions, Pace, catch_up};
use crate::outgoing::Outgoing;
use crate::review::ask::Reviews;
use crate::site::{Manner, Site};
use crate::sql::{self, Gate, names};

/// What can be set.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// Address and port; port 0 takes any free one
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:7437")]
    pub listen: SocketAddr,
    /// The chain of certificates, in PEM: then all connections are encrypted. Read again at SIGHUP
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,
    /// The private key of the certificate, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,
    /// An origin whose pages may use the API from scripts, such as https://example.org, or * for all; may be given several times
    #[arg(long = "cors", value_name = "ORIGIN", value_parser = origins::parse)]
    pub origins: Vec<HeaderValue>,
    /// Connections that may be open at a time; further ones wait
    #[arg(long, value_name = "N", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_connections: u32,
    /// Seconds that a reply may take to begin
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub request_seconds: u32,
    /// Seconds that a write may wait for those before it; then it is refused with 503, and was not begun
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub queue_seconds: u32,
    /// Seconds for which whoever reads a long reply (a list line by line, a backup) may take nothing of it, before it is broken off
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub stall_seconds: u32,
    /// Lists that are told line by line at a time; further ones are refused with 503
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub max_lists: u32,
    /// Subscriptions that one WebSocket may have; further ones are refused
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_subscriptions: u32,
    /// Refuses a PUT, PATCH or DELETE of a resource that does not say with If-Match what it writes over (428)
    #[arg(long)]
    pub require_if_match: bool,
    /// The header in which a proxy says who asks, such as X-Forwarded-User; only where nobody reaches the server past the proxy
    #[arg(long, value_name = "NAME")]
    pub actor_header: Option<HeaderName>,
    /// An actor who may do everything; may be given several times. Others may do then what grants say, and without any everybody may do
    /// everything
    #[arg(long = "administrator", value_name = "ACTOR", requires = "actor_header")]
    pub administrators: Vec<SmolStr>,
    /// Seconds for which a server that is told to stop goes on as before, while /readyz already says no; told again it stops at once
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=3_600))]
    pub drain_seconds: u32,
    /// Seconds that requests which run may take to end when it stops, before their connections are cut
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub grace_seconds: u32,
    /// Seconds that the reply of another server may take to begin, at the mounts that are proxies
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub proxy_seconds: u32,
    /// Mebibytes that a body for another server may have
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub proxy_body_mib: u32,
    /// What goes to standard error: `warn`, or by target, as `warn,access=info` for a line for each request
    #[arg(long, value_name = "FILTER", default_value = "warn", env = "COROLLARY_LOG")]
    pub log: String,
    /// How it is written
    #[arg(long, value_enum, default_value_t)]
    pub log_form: log::Form,
    /// Days for which the log of commits is kept
    #[arg(long, value_name = "DAYS", default_value_t = 7, value_parser = clap::value_parser!(i64).range(1..=36_500))]
    pub log_days: i64,
    /// Mebibytes that a request's body may have
    #[arg(long, value_name = "MIB", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub max_body_mib: u32,
    /// Kibibytes that a path may have
    #[arg(long, value_name = "KIB", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=60))]
    pub max_path_kib: u32,
    /// Kibibytes that an expression may have: a filter, an order, what is expanded or shown, a condition as a tree
    #[arg(long, value_name = "KIB", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1_024))]
    pub max_expression_kib: u32,
    /// Writes that a batch may have, resources that a list POST creates, or that `_update` and `_delete` change
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_batch: u32,
    /// Mebibytes that a file may have; a field may have a lower limit of its own
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub max_file_mib: u32,
    /// Mebibytes that the bodies of all requests may have that run at a time; further ones are refused with 503
    #[arg(long, value_name = "MIB", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub max_bodies_mib: u32,
    /// Resources that one change may reach within its commit; what is beyond becomes an update
    #[arg(long, value_name = "N", default_value_t = DEFAULT_BUDGET)]
    pub update_budget: usize,
    /// The same for the derived fields of a type, or for one of them; may be given several times
    #[arg(long = "budget-of", value_name = "TYPE[.FIELD]=N", value_parser = super::own_budget)]
    pub own_budgets: Vec<OwnBudget>,
    /// Resources that an update does at a time, at most
    #[arg(long, value_name = "N", default_value_t = 4_096, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub update_batch: u32,
    /// Resources that updates do in a second, at most; as many as go without it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub update_rate: Option<u32>,
    /// Updates that are under way at a time, at most, those that began first; all that are open without it
    #[arg(long, value_name = "N")]
    pub updates_at_once: Option<NonZeroUsize>,
    /// Of a hundred parts of the time, how many updates may store something in while somebody writes
    #[arg(long, value_name = "PERCENT", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub update_share: u32,
    /// Whether this server delivers hooks; one over a copy of the data had better not
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub hooks: bool,
    /// The folder for the files that hooks with a url such as file:orders.ndjson are written to
    #[arg(long, value_name = "DIR")]
    pub sink_folder: Option<PathBuf>,
    /// Tells each commit as a line of JSON, as GET /api/_log does: `-` is standard output, which has nothing else then
    #[arg(long, value_name = "-", value_parser = ["-"])]
    pub log_to: Option<String>,
    /// The name of this server among those over one database; its host and port without it
    #[arg(long, value_name = "NAME", value_parser = super::node_name)]
    pub node: Option<String>,
    /// Keeps tables and views of all resources in this schema of the PostgreSQL database, to be read in SQL, such as corollary_sql
    #[arg(long, value_name = "SCHEMA", value_parser = names::schema)]
    pub sql: Option<String>,
}

impl Default for Options {
    fn default() -> Options {
        #[derive(clap::Parser)]
        struct Alone {
            #[command(flatten)]
            options: Options,
        }
        <Alone as clap::Parser>::parse_from(["serve"]).options
    }
}

/// Serves until it is told to stop.
pub fn run(place: &Place, options: &Options) -> Result<(), Failure> {
    let logging = log::begin(&options.log, options.log_form)?;
    let node = match &options.node {
        Some(node) => node.clone(),
        // After a restart it is the same, and goes on with its own.
        None if options.listen.port() > 0 => format!("{}:{}", open::host(), options.listen.port()),
        None => open::process(),
    };
    let sql = options.sql.as_deref().map(|within| tables(place, within, &node)).transpose()?;
    let (budget, own_budgets) = (options.update_budget, &options.own_budgets);
    let (executor, text) = open::open(place, budget, own_budgets, &node)?;
    let engine = open::engine_options(place, budget, own_budgets, &node);
    open::check_budgets(executor.engine().schema(), &options.own_budgets)?;
    let runtime = runtime()?;
    let served = runtime.block_on(async {
        // Whoever reads that it is ready may tell it to stop at once.
        let mut told = StopSignal::receive()?;
        let serving = start(executor, text, engine, options, sql).await?;
        let scheme = if options.tls_cert.is_some() { "https" } else { "http" };
        let ready = format!("Corollary is ready at {scheme}://{}", serving.address);
        match options.log_to {
            // Who reads the log reads nothing else.
            Some(_) => eprintln!("{ready}"),
            None => println!("{ready}"),
        }
        let site = serving.site.clone();
        let drain = Duration::from_secs(u64::from(options.drain_seconds));
        let drained = async move {
            told.again().await;
            site.leave();
            // Who is told twice is in a hurry.
            let _ = tokio::time::timeout(drain, told.again()).await;
        };
        serving.until(drained).await
    });
    drop(logging);
    // A check that is at work only reads, and nobody waits for it any more.
    runtime.shutdown_background();
    served
}

/// How long the database may take to answer who wants to connect for the tables in SQL, for each of its hosts.
const CONNECT: Duration = Duration::from_secs(5);

/// Where the tables in SQL are.
fn tables(place: &Place, within: &str, node: &str) -> Result<sql::Place, Failure> {
    let url = place.store.as_deref().filter(|store| *store != super::MEMORY);
    let url = url.ok_or_else(|| Failure {
        message: "--sql keeps tables in the PostgreSQL database of the store: it needs --store postgres://…"
            .into(),
        code: 2,
    })?;
    let gate = Gate::to(url, CONNECT).map_err(|error| error.to_string())?;
    Ok(sql::Place { gate, within: within.into(), node: node.into(), counts: sql::Counts::default() })
}

/// The runtime of a server.
pub fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("the threads of the server could not be started: {error}").into())
}

/// A server that runs.
pub struct Serving {
    /// Where it listens.
    pub address: SocketAddr,
    site: Site,
    stop: tokio::sync::oneshot::Sender<()>,
    served: tokio::task::JoinHandle<std::io::Result<()>>,
    /// How long requests that run may take to end when it stops.
    grace: Duration,
    /// What keeps the tables in SQL, where that is wanted.
    tables: Option<tokio::task::JoinHandle<()>>,
    /// What delivers hooks, where this server does.
    hooks: Option<hooks::Running>,
}

/// Listens, and serves in the background; `engine` is how the executor was opened, `sql` where there are tables in SQL.
pub async fn start(
    mut executor: Executor,
    schema_text: String,
    engine: EngineOptions,
    options: &Options,
    sql: Option<sql::Place>,
) -> Result<Serving, Failure> {
    catch_up(&mut executor).map_err(|error| format!("what came due cannot be brought about: {error}"))?;
    // Of the last run: nobody goes on with them.
    executor
        .drop_uploads()
        .map_err(|error| format!("uploads that were cut short cannot be swept: {error}"))?;
    let tls = match (&options.tls_cert, &options.tls_key) {
        (Some(certificate), Some(key)) => Some(Arc::new(Tls::open(certificate, key)?)),
        _ => None,
    };
    if let Some(tls) = &tls {
        tokio::spawn(renew(tls.clone(), signal(SignalKind::hangup()).map_err(unreceived)?));
    }
    if let Some(folder) = options.sink_folder.as_ref().filter(|folder| !folder.is_dir()) {
        return Err(format!("{} is no folder for the files of hooks", folder.display()).into());
    }
    let listen = options.listen;
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|error| format!("{listen} cannot be listened on: {error}"))?;
    let address = listener.local_addr().map_err(|error| format!("{listen}: {error}"))?;
    let node_options = NodeOptions {
        queue_wait: Duration::from_secs(u64::from(options.queue_seconds)),
        log_retention: SignedDuration::from_hours(24 * options.log_days),
        updates: Pace {
            batch: options.update_batch as usize,
            per_second: options.update_rate,
            at_once: options.updates_at_once,
            share: options.update_share,
        },
        ..NodeOptions::default()
    };
    let time_limit = Duration::from_secs(u64::from(options.request_seconds));
    let limits = Limits {
        body_bytes: mebibytes(options.max_body_mib),
        file_bytes: u64::from(options.max_file_mib) << 20,
        path_bytes: (options.max_path_kib as usize) << 10,
        expression_bytes: (options.max_expression_kib as usize) << 10,
        batch_writes: options.max_batch as usize,
        time: time_limit,
        stall: Duration::from_secs(u64::from(options.stall_seconds)),
        lines: options.max_lists as usize,
        subscriptions: options.max_subscriptions as usize,
        conditions: options.require_if_match,
        actor_header: options.actor_header.clone(),
        administrators: (!options.administrators.is_empty()).then(|| options.administrators.clone().into()),
    };
    let lines = Arc::new(Semaphore::new(limits.lines));
    let bodies = Arc::new(Bodies::new(mebibytes(options.max_bodies_mib)));
    let sql = sql.map(Arc::new);
    let proxy_time = Duration::from_secs(u64::from(options.proxy_seconds));
    let outgoing = Outgoing::default();
    let hooks = Arc::new(Hooks::new(options.sink_folder.clone(), outgoing.clone()));
    let proxy_bytes = u64::from(options.proxy_body_mib) << 20;
    let proxies = Arc::new(Proxies::new(proxy_time, proxy_bytes, outgoing.clone()));
    let site = Site::start(executor, Manner { engine, node: node_options }, |node| App {
        node,
        limits,
        bodies: bodies.clone(),
        sql: sql.clone(),
        backups: Arc::new(Semaphore::new(MAX_BACKUPS)),
        lines,
        proxies,
        hooks: hooks.clone(),
        reviews: Arc::new(Reviews::new(outgoing)),
        schema_text,
        checking: Arc::default(),
        busy: RwLock::default(),
    });
    let site = site.map_err(|error| format!("the thread of the executor could not be started: {error}"))?;
    let metrics = Arc::new(Metrics::new(site.clone(), bodies));
    let (origins, actor_header) = (options.origins.clone(), options.actor_header.clone());
    let front = Front { time_limit, origins, actor_header };
    let face = Arc::new(Face::new(&site, &front, metrics.clone()));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let listening = Listening { listener, connections: options.max_connections as usize, tls };
    // The sender gone means the same as a signal.
    let served = tokio::spawn(listen::serve(listening, face, metrics, async { drop(stopped.await) }));
    let hooks = options.hooks.then(|| hooks::start(site.clone(), hooks));
    let tables = sql.map(|place| sql::follow::start(site.clone(), place));
    if options.log_to.is_some() {
        tokio::spawn(http::log::tell(site.clone(), tokio::io::stdout()));
    }
    let grace = Duration::from_secs(u64::from(options.grace_seconds));
    Ok(Serving { address, site, stop, served, grace, tables, hooks })
}

impl Serving {
    /// Serves until `told` is done; then finishes what was accepted.
    pub async fn until(self, told: impl Future<Output = ()>) -> Result<(), Failure> {
        let Serving { site, stop, mut served, grace, tables, hooks, .. } = self;
        let (mut finished, mut failed) = (false, None);
        tokio::select! {
            () = told => {}
            why = site.attend() => failed = Some(why),
            _ = &mut served => finished = true,
        }
        site.leave();
        let _ = stop.send(());
        site.current().node.hub.close();
        // A client that does not read its reply cannot hold the server.
        if !finished && tokio::time::timeout(grace, &mut served).await.is_err() {
            served.abort();
            let _ = served.await;
        }
        if let Some(tables) = tables {
            // What it was at happens as a whole or not at all, and whoever comes next goes on.
            tables.abort();
            let _ = tables.await;
        }
        if let Some(hooks) = hooks {
            // What was delivered is kept while the executor is there.
            hooks.end().await;
        }
        let stopped = site.stop().await;
        match failed.or(stopped.err()) {
            None => Ok(()),
            Some(why) => Err(format!("the server had to stop: {why}").into()),
        }
    }
}

fn mebibytes(number: u32) -> usize {
    (number as usize) << 20
}

fn unreceived(error: std::io::Error) -> String {
    format!("signals cannot be received: {error}")
}

/// Reads the certificate again whenever the process is told to.
async fn renew(tls: Arc<Tls>, mut told: Signal) {
    while told.recv().await.is_some() {
        match tls.reload() {
            Ok(()) => tracing::info!("the certificate was read again"),
            Err(error) => tracing::error!("the certificate stays as it was: {error}"),
        }
    }
}

/// SIGTERM and SIGINT, from the moment on at which it is made.
struct StopSignal {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignal {
    fn receive() -> Result<StopSignal, Failure> {
        let listen = |kind| signal(kind).map_err(unreceived);
        Ok(StopSignal {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
        })
    }

    /// Done at the next of them.
    async fn again(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Done at SIGTERM or SIGINT, for other commands.
pub async fn stopped() -> Result<(), Failure> {
    StopSignal::receive()?.again().await;
    Ok(())
}

//! `corollary serve`.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;
use corollary_engine::Executor;
use corollary_engine::updates::OwnBudget;
use corollary_schema::plan::follows::DEFAULT_BUDGET;
use jiff::SignedDuration;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::{Failure, Place, open};
use crate::front::listen::{self, Listening};
use crate::front::metrics::Metrics;
use crate::front::tls::Tls;
use crate::front::{self, Front, log, origins};
use crate::http::{self, App, Bodies, Limits};
use crate::node::{Node, NodeOptions, Pace, Running, catch_up};

/// How long requests that run may take to end when the server stops.
const GRACE: Duration = Duration::from_secs(5);

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
    /// The name of this server among those over one database; its host and port without it
    #[arg(long, value_name = "NAME", value_parser = super::node_name)]
    pub node: Option<String>,
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
    let (executor, text) = open::open(place, options.update_budget, &options.own_budgets, &node)?;
    open::check_budgets(executor.engine().schema(), &options.own_budgets)?;
    let runtime = runtime()?;
    let served = runtime.block_on(async {
        // Whoever reads that it is ready may tell it to stop at once.
        let told = stop_signal()?;
        let serving = start(executor, text, options).await?;
        let scheme = if options.tls_cert.is_some() { "https" } else { "http" };
        println!("Corollary is ready at {scheme}://{}", serving.address);
        serving.until(told).await
    });
    drop(logging);
    served
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
    node: Arc<Node>,
    running: Running,
    stop: tokio::sync::oneshot::Sender<()>,
    served: tokio::task::JoinHandle<std::io::Result<()>>,
}

/// Listens, and serves in the background.
pub async fn start(
    mut executor: Executor,
    schema_text: String,
    options: &Options,
) -> Result<Serving, Failure> {
    catch_up(&mut executor).map_err(|error| format!("what came due cannot be brought about: {error}"))?;
    let tls = match (&options.tls_cert, &options.tls_key) {
        (Some(certificate), Some(key)) => Some(Arc::new(Tls::open(certificate, key)?)),
        _ => None,
    };
    if let Some(tls) = &tls {
        tokio::spawn(renew(tls.clone(), signal(SignalKind::hangup()).map_err(unreceived)?));
    }
    let listen = options.listen;
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|error| format!("{listen} cannot be listened on: {error}"))?;
    let address = listener.local_addr().map_err(|error| format!("{listen}: {error}"))?;
    let node_options = NodeOptions {
        log_retention: SignedDuration::from_hours(24 * options.log_days),
        updates: Pace { batch: options.update_batch as usize, per_second: options.update_rate },
        ..NodeOptions::default()
    };
    let (node, running) = Node::start(executor, node_options)
        .map_err(|error| format!("the thread of the executor could not be started: {error}"))?;
    let time_limit = Duration::from_secs(u64::from(options.request_seconds));
    let limits =
        Limits { body_bytes: mebibytes(options.max_body_mib), time: time_limit, ..Limits::default() };
    let bodies = Arc::new(Bodies::new(mebibytes(options.max_bodies_mib)));
    let metrics = Arc::new(Metrics::new(node.clone(), bodies.clone()));
    let app = App { node: node.clone(), limits, bodies, schema_text };
    let front = Front { time_limit, origins: options.origins.clone() };
    let face = front::face(http::router(Arc::new(app)), &front, metrics.clone());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let listening = Listening { listener, connections: options.max_connections as usize, tls };
    // The sender gone means the same as a signal.
    let served = tokio::spawn(listen::serve(listening, face, metrics, async { drop(stopped.await) }));
    Ok(Serving { address, node, running, stop, served })
}

impl Serving {
    /// Serves until `told` is done; then finishes what was accepted.
    pub async fn until(self, told: impl Future<Output = ()>) -> Result<(), Failure> {
        let Serving { node, running, stop, mut served, .. } = self;
        let mut finished = false;
        tokio::select! {
            () = told => {}
            () = ended(&running) => {}
            _ = &mut served => finished = true,
        }
        let _ = stop.send(());
        node.hub.close();
        // A client that does not read its reply cannot hold the server.
        if !finished && tokio::time::timeout(GRACE, &mut served).await.is_err() {
            served.abort();
            let _ = served.await;
        }
        node.stop().await;
        let joined = tokio::task::spawn_blocking(|| running.join()).await;
        match joined {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(format!("the server had to stop: {error}").into()),
            Err(error) => Err(format!("the server had to stop: {error}").into()),
        }
    }
}

/// Done when the executor has stopped by itself: the store has failed for good.
async fn ended(running: &Running) {
    while !running.is_finished() {
        tokio::time::sleep(Duration::from_millis(200)).await;
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

/// Done at SIGTERM or SIGINT.
fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
    let listen = |kind| signal(kind).map_err(unreceived);
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Done at SIGTERM or SIGINT, for other commands.
pub async fn stopped() -> Result<(), Failure> {
    stop_signal()?.await;
    Ok(())
}

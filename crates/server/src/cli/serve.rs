//! `corollary serve`.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt;
use corollary_engine::Executor;
use corollary_engine::updates::OwnBudget;
use jiff::SignedDuration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::{Failure, Place, open};
use crate::http::{self, App, Limits};
use crate::node::{Node, NodeOptions, Pace, Running, catch_up};

/// How long requests that run may take to end when the server stops.
const GRACE: Duration = Duration::from_secs(5);

/// What can be set.
pub struct Options {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Days for which the log is kept.
    pub log_days: i64,
    /// Mebibytes of a body.
    pub max_body_mib: u32,
    /// Resources that a change may reach within its commit.
    pub update_budget: usize,
    /// The same for some types and fields.
    pub own_budgets: Vec<OwnBudget>,
    /// How fast updates go.
    pub updates: Pace,
}

/// Serves until it is told to stop.
pub fn run(place: &Place, options: &Options) -> Result<(), Failure> {
    let (executor, text) = open::open(place, options.update_budget, &options.own_budgets)?;
    open::check_budgets(executor.engine().schema(), &options.own_budgets)?;
    let runtime = runtime()?;
    runtime.block_on(async {
        // Whoever reads that it is ready may tell it to stop at once.
        let told = stop_signal()?;
        let serving = start(executor, text, options).await?;
        println!("Corollary is ready at http://{}", serving.address);
        serving.until(told).await
    })
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
    let listen = options.listen;
    let listener = TcpListener::bind(listen)
        .await
        .map_err(|error| format!("{listen} cannot be listened on: {error}"))?;
    let address = listener.local_addr().map_err(|error| format!("{listen}: {error}"))?;
    let node_options = NodeOptions {
        log_retention: SignedDuration::from_hours(24 * options.log_days),
        updates: options.updates.clone(),
        ..NodeOptions::default()
    };
    let (node, running) = Node::start(executor, node_options)
        .map_err(|error| format!("the thread of the executor could not be started: {error}"))?;
    let limits = Limits { body_bytes: (options.max_body_mib as usize) << 20, ..Limits::default() };
    let app = App { node: node.clone(), limits, schema_text };
    let router = http::router(Arc::new(app));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let listener = listener.tap_io(|connection| {
        // Small replies should not wait for more of them. A connection that refuses works all the same.
        let _ = connection.set_nodelay(true);
    });
    let served = tokio::spawn(async move {
        // The sender gone means the same as a signal.
        axum::serve(listener, router).with_graceful_shutdown(async { drop(stopped.await) }).await
    });
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

/// Done at SIGTERM or SIGINT.
fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
    let listen = |kind| signal(kind).map_err(|error| format!("signals cannot be received: {error}"));
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

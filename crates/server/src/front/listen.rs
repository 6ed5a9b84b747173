//! Connections: accepted up to a number, HTTP/1.1 or HTTP/2 on each, with limits on what a client may leave hanging; and
//! their orderly end.
//!
//! A connection that shakes hands over TLS, or sends its head slowly, holds nobody but itself.

use std::any::Any;
use std::convert::Infallible;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::Face;
use super::metrics::Metrics;
use super::tls::Tls;

/// How long the head of a request may take, and how long a connection may be idle between two; also how long a
/// handshake may take.
pub const HEAD_TIME: Duration = Duration::from_secs(75);

/// Headers of a request.
const MAX_HEADERS: usize = 100;

/// Bytes of a request's head, and of the buffer of a connection.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// Requests of one HTTP/2 connection at a time.
const MAX_STREAMS: u32 = 256;

/// How often an HTTP/2 connection on which nothing happens is asked whether it is there, and how long it may take to say so.
const PING: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));

/// How long no connection is accepted after the system had no room for one more.
const PAUSE: Duration = Duration::from_millis(200);

/// Kept as long as a connection is there, also where it is no longer one of HTTP.
#[derive(Clone)]
pub struct Room(
    #[expect(dead_code, reason = "what is held is given back when it is dropped")] Arc<dyn Any + Send + Sync>,
);

/// Where a request comes from.
#[derive(Clone)]
pub struct Caller {
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// The connection's.
    pub room: Room,
}

/// What is listened with.
pub struct Listening {
    /// The socket.
    pub listener: TcpListener,
    /// Connections at a time; further ones wait to be accepted.
    pub connections: usize,
    /// Where given, all connections are encrypted.
    pub tls: Option<Arc<Tls>>,
}

/// Serves until `stopped` is done; then accepts nothing more, finishes the requests that run, and returns.
pub async fn serve(
    listening: Listening,
    face: Arc<Face>,
    metrics: Arc<Metrics>,
    stopped: impl Future<Output = ()>,
) -> io::Result<()> {
    let Listening { listener, connections, tls } = listening;
    let room = Arc::new(Semaphore::new(connections));
    let ending = GracefulShutdown::new();
    let builder = Arc::new(builder());
    tokio::pin!(stopped);
    loop {
        let accepted = async {
            let place = room.clone().acquire_owned().await.map_err(io::Error::other)?;
            Ok::<_, io::Error>((place, listener.accept().await?))
        };
        let accepted = tokio::select! {
            accepted = accepted => accepted,
            () = &mut stopped => break,
        };
        let (place, (stream, peer)) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // One that was gone before it came here is no reason to wait; no room for more is.
                if !matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) {
                    tracing::warn!(%error, "no connection can be accepted");
                    tokio::time::sleep(PAUSE).await;
                }
                continue;
            }
        };
        // Small replies should not wait for more of them. A connection that refuses works all the same.
        let _ = stream.set_nodelay(true);
        let (builder, face, watcher) = (builder.clone(), face.clone(), ending.watcher());
        let caller = Caller { peer, room: Room(Arc::new((place, metrics.connection()))) };
        let tls = tls.clone();
        tokio::spawn(async move {
            match tls {
                None if greeted(&stream).await => talk(&builder, stream, caller, face, watcher).await,
                None => {}
                Some(tls) => match timeout(HEAD_TIME, tls.accept(stream)).await {
                    Ok(Ok(stream)) => talk(&builder, stream, caller, face, watcher).await,
                    Ok(Err(error)) => tracing::debug!(%peer, %error, "no handshake"),
                    Err(_) => tracing::debug!(%peer, "the handshake took too long"),
                },
            }
        });
    }
    drop(listener);
    ending.shutdown().await;
    Ok(())
}

/// Has a client said anything within the time for it? Which version it speaks is found out without a time limit.
async fn greeted(stream: &TcpStream) -> bool {
    matches!(timeout(HEAD_TIME, stream.peek(&mut [0])).await, Ok(Ok(1)))
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD_BYTES as u32)
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1);
    builder
}

/// Serves the requests of a connection.
async fn talk(
    builder: &Builder<TokioExecutor>,
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    caller: Caller,
    face: Arc<Face>,
    watcher: Watcher,
) {
    let peer = caller.peer;
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(caller.clone());
        let face = face.clone();
        async move { Ok::<_, Infallible>(face.answer(request).await) }
    });
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
    if let Err(error) = watcher.watch(connection).await {
        // Who goes away in the middle, or speaks no HTTP, is told so by the connection's end.
        tracing::debug!(%peer, error = %error, "a connection broke");
    }
}

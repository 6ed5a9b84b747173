//! A reply that is sent while it is made: a thread makes it, and waits for whoever reads it, so that the reply takes the
//! memory of a few parts, however long it gets.
//!
//! What is ended ends as any reply does. What is let go before that, for whatever reason, breaks the connection off (the
//! stream, in HTTP/2) before its end, so nobody takes it for whole.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Parts that wait to be sent.
const PARTS: usize = 2;

/// The end at which a reply is made, on a thread that may wait.
pub(super) struct Pipe {
    sender: mpsc::Sender<Bytes>,
    runtime: Handle,
    stall: Duration,
    is_whole: Arc<AtomicBool>,
}

/// A pipe, and the body that comes out of it; who takes nothing for so long is not waited for any more. Within a runtime.
pub(super) fn pipe(stall: Duration) -> (Pipe, Body) {
    let (sender, mut parts) = mpsc::channel(PARTS);
    let is_whole = Arc::new(AtomicBool::new(false));
    let pipe = Pipe { sender, runtime: Handle::current(), stall, is_whole: is_whole.clone() };
    let mut rested = false;
    let body = stream::poll_fn(move |context| match parts.poll_recv(context) {
        Poll::Ready(None) if is_whole.load(Ordering::Acquire) => Poll::Ready(None),
        Poll::Ready(None) if rested => Poll::Ready(Some(Err(io::Error::other("the reply was broken off")))),
        Poll::Ready(None) => {
            // What was sent goes out first: who breaks a connection off drops what waits in it.
            rested = true;
            context.waker().wake_by_ref();
            Poll::Pending
        }
        part => part.map(|part| part.map(Ok)),
    });
    (pipe, Body::from_stream(body))
}

impl Pipe {
    /// Sends a part, and waits while those before it are not taken.
    ///
    /// # Errors
    ///
    /// Whoever asked is gone, or takes nothing.
    pub(super) fn send(&self, part: Bytes) -> io::Result<()> {
        match self.runtime.block_on(async { timeout(self.stall, self.sender.send(part)).await }) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::Error::new(io::ErrorKind::BrokenPipe, "whoever asked for it is gone")),
            Err(_) => {
                let why = format!("whoever asked for it took nothing for {} s", self.stall.as_secs());
                Err(io::Error::new(io::ErrorKind::TimedOut, why))
            }
        }
    }

    /// That was all of it.
    pub(super) fn end(self) {
        self.is_whole.store(true, Ordering::Release);
    }

    /// Is nobody there any more who reads it?
    pub(super) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.send(Bytes::copy_from_slice(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

//! Hears of the commits of others: a connection of its own that listens where they are told (`NOTIFY`, sent with each commit
//! and delivered behind it), and a thread that rings the bell.
//!
//! Invariant: from the moment that the bell first rings, it rings for every commit of others, or it rings when the
//! connection is there again after it broke; what was committed in between can be seen then.

use std::convert::Infallible;
use std::sync::{Arc, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{self, Either};
use futures_util::stream;
use tokio::sync::oneshot;
use tokio_postgres::AsyncMessage;

use super::Shared;
use super::connection::connect;
use super::error::failed;
use crate::{Bell, StoreError};

/// How long it waits after the connection broke, and at most after several attempts that failed.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// See the module. It ends when it is dropped.
pub struct Listener {
    stop: Option<oneshot::Sender<Infallible>>,
    bell: Hung,
    thread: Option<JoinHandle<()>>,
}

/// A bell that somebody holds, or held.
type Hung = Weak<dyn Fn() + Send + Sync>;

/// The connection broke, or did not come about.
struct Broken;

impl Listener {
    /// Starts the thread.
    pub fn start(shared: &Arc<Shared>, bell: &Bell) -> Result<Listener, StoreError> {
        let no_thread = |error| failed(&shared.place, format!("no thread that listens: {error}"), false);
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(no_thread)?;
        let (stop, stopped) = oneshot::channel();
        let (listened, bell) = (shared.clone(), Arc::downgrade(bell));
        let hung = bell.clone();
        let thread = std::thread::Builder::new()
            .name("listener".into())
            .spawn(move || {
                let listening = std::pin::pin!(listen(&listened, &bell));
                // The sender is dropped with the listener, and that is all it is for.
                runtime.block_on(future::select(listening, stopped));
            })
            .map_err(no_thread)?;
        Ok(Listener { stop: Some(stop), bell: hung, thread: Some(thread) })
    }

    /// Does anybody hold the bell?
    pub fn is_wanted(&self) -> bool {
        self.bell.strong_count() > 0
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was told when it happened.
            let _ = thread.join();
        }
    }
}

/// Listens for good, over one connection after the other.
async fn listen(shared: &Shared, bell: &Hung) -> Infallible {
    let (first, longest) = RETRY;
    let mut wait = first;
    loop {
        let mut heard = false;
        let ring = || {
            heard = true;
            if let Some(bell) = bell.upgrade() {
                bell();
            }
        };
        let Err(Broken) = connected(shared, ring).await;
        wait = if heard { first } else { (wait * 2).min(longest) };
        tokio::time::sleep(wait).await;
    }
}

/// Listens over one connection: rings when it hears of commits from then on, and for each that is not this store's own.
async fn connected(shared: &Shared, mut ring: impl FnMut()) -> Result<Infallible, Broken> {
    let (client, mut connection) = connect(&shared.config, shared.tls.clone()).await.map_err(|_| Broken)?;
    let mut messages = stream::poll_fn(move |context| connection.poll_message(context));
    // The answer comes among the messages, which go on only while somebody waits for them.
    let text = shared.tables.listen();
    let mut asked = std::pin::pin!(client.batch_execute(&text));
    let mut listens = false;
    loop {
        let message = if listens {
            messages.next().await
        } else {
            match future::select(&mut asked, messages.next()).await {
                Either::Left((Ok(()), _)) => {
                    listens = true;
                    ring();
                    continue;
                }
                Either::Left((Err(_), _)) => return Err(Broken),
                Either::Right((message, _)) => message,
            }
        };
        match message {
            Some(Ok(AsyncMessage::Notification(told))) => {
                if listens && !shared.tables.is_own(told.payload()) {
                    ring();
                }
            }
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return Err(Broken),
        }
    }
}

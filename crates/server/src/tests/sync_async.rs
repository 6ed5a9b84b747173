//! The channels of tokio that are taken from `super::sync`, as far as they are, over locks of Shuttle: bounded, closed by either end, what
//! was sent before is received. A time limit ends when the scheduler likes.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use shuttle::rand::{Rng as _, thread_rng};

/// How often a time limit looks before it ends, at most.
const LOOKS: usize = 4;

/// A time limit has ended.
#[derive(Debug)]
pub(crate) struct Elapsed;

/// As `tokio::time::timeout`; however long it is.
pub(crate) async fn timeout<T>(_: Duration, future: impl Future<Output = T>) -> Result<T, Elapsed> {
    let (mut future, mut looks) = (Box::pin(future), thread_rng().gen_range(0..LOOKS));
    poll_fn(move |context| {
        if let Poll::Ready(outcome) = future.as_mut().poll(context) {
            return Poll::Ready(Ok(outcome));
        }
        if looks == 0 {
            return Poll::Ready(Err(Elapsed));
        }
        looks -= 1;
        context.waker().wake_by_ref();
        shuttle::thread::yield_now();
        Poll::Pending
    })
    .await
}

pub(crate) mod mpsc {
    use std::collections::VecDeque;

    use shuttle::sync::{Arc, Condvar, Mutex, MutexGuard};

    pub(crate) mod error {
        pub(crate) enum TrySendError<T> {
            Full(T),
            Closed(T),
        }
    }
    use error::TrySendError;

    struct State<T> {
        waiting: VecDeque<T>,
        senders: usize,
        is_closed: bool,
    }

    struct Shared<T> {
        state: Mutex<State<T>>,
        changed: Condvar,
        room: usize,
    }

    impl<T> Shared<T> {
        fn lock(&self) -> MutexGuard<'_, State<T>> {
            self.state.lock().expect("nobody panics with it")
        }
    }

    pub(crate) struct Sender<T>(Arc<Shared<T>>);

    pub(crate) struct Receiver<T>(Arc<Shared<T>>);

    pub(crate) fn channel<T>(room: usize) -> (Sender<T>, Receiver<T>) {
        let state = State { waiting: VecDeque::new(), senders: 1, is_closed: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new(), room });
        (Sender(shared.clone()), Receiver(shared))
    }

    impl<T> Clone for Sender<T> {
        fn clone(&self) -> Sender<T> {
            self.0.lock().senders += 1;
            Sender(self.0.clone())
        }
    }

    impl<T> Drop for Sender<T> {
        fn drop(&mut self) {
            self.0.lock().senders -= 1;
            self.0.changed.notify_all();
        }
    }

    impl<T> Sender<T> {
        pub(crate) fn max_capacity(&self) -> usize {
            self.0.room
        }

        pub(crate) fn try_send(&self, one: T) -> Result<(), TrySendError<T>> {
            let mut state = self.0.lock();
            if state.is_closed {
                return Err(TrySendError::Closed(one));
            }
            if state.waiting.len() == self.0.room {
                return Err(TrySendError::Full(one));
            }
            state.waiting.push_back(one);
            drop(state);
            self.0.changed.notify_all();
            Ok(())
        }

        /// Waits for room.
        #[allow(clippy::unused_async)] // it is in tokio
        pub(crate) async fn send(&self, one: T) -> Result<(), T> {
            let mut state = self.0.lock();
            while !state.is_closed && state.waiting.len() == self.0.room {
                state = self.0.changed.wait(state).expect("nobody panics with it");
            }
            if state.is_closed {
                return Err(one);
            }
            state.waiting.push_back(one);
            drop(state);
            self.0.changed.notify_all();
            Ok(())
        }
    }

    impl<T> Receiver<T> {
        pub(crate) fn try_recv(&mut self) -> Result<T, ()> {
            let taken = self.0.lock().waiting.pop_front();
            self.0.changed.notify_all();
            taken.ok_or(())
        }

        pub(crate) fn blocking_recv(&mut self) -> Option<T> {
            let mut state = self.0.lock();
            loop {
                if let Some(taken) = state.waiting.pop_front() {
                    drop(state);
                    self.0.changed.notify_all();
                    return Some(taken);
                }
                if state.is_closed || state.senders == 0 {
                    return None;
                }
                state = self.0.changed.wait(state).expect("nobody panics with it");
            }
        }

        pub(crate) fn close(&mut self) {
            self.0.lock().is_closed = true;
            self.0.changed.notify_all();
        }
    }

    impl<T> Drop for Receiver<T> {
        fn drop(&mut self) {
            let mut state = self.0.lock();
            state.is_closed = true;
            let left = std::mem::take(&mut state.waiting);
            drop(state);
            self.0.changed.notify_all();
            // What waits is dropped outside of the lock: it has ways back of its own.
            drop(left);
        }
    }
}

pub(crate) mod oneshot {
    use shuttle::sync::{Arc, Mutex};

    use super::{Context, Future, Pin, Poll, Waker};

    /// The other end is gone.
    #[derive(Debug)]
    pub(crate) struct RecvError;

    struct State<T> {
        value: Option<T>,
        is_gone: bool,
        waiting: Option<Waker>,
    }

    pub(crate) struct Sender<T>(Arc<Mutex<State<T>>>);

    pub(crate) struct Receiver<T>(Arc<Mutex<State<T>>>);

    pub(crate) fn channel<T>() -> (Sender<T>, Receiver<T>) {
        let shared = Arc::new(Mutex::new(State { value: None, is_gone: false, waiting: None }));
        (Sender(shared.clone()), Receiver(shared))
    }

    impl<T> Sender<T> {
        #[allow(clippy::unnecessary_wraps)] // it is in tokio
        pub(crate) fn send(self, value: T) -> Result<(), T> {
            self.0.lock().expect("nobody panics with it").value = Some(value);
            Ok(())
        }
    }

    impl<T> Drop for Sender<T> {
        fn drop(&mut self) {
            let mut state = self.0.lock().expect("nobody panics with it");
            state.is_gone = true;
            let waiting = state.waiting.take();
            drop(state);
            if let Some(waker) = waiting {
                waker.wake();
            }
        }
    }

    impl<T> Future for Receiver<T> {
        type Output = Result<T, RecvError>;

        fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
            let mut state = self.0.lock().expect("nobody panics with it");
            if let Some(value) = state.value.take() {
                return Poll::Ready(Ok(value));
            }
            if state.is_gone {
                return Poll::Ready(Err(RecvError));
            }
            state.waiting = Some(context.waker().clone());
            Poll::Pending
        }
    }
}

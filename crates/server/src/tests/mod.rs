//! Tests of what is private to the crate, over many orders of the steps of threads.

mod queue_orders;
pub(crate) mod sync;
mod sync_async;

//! Tests of what is private to the crate, over many orders of the steps of threads.

mod claim_orders;

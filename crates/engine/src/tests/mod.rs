//! Tests of what is private to the crate and has more of them than stand beside it.

mod cache;
mod cache_orders;

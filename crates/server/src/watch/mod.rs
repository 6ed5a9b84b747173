//! Watches: what is watched ([`watched`]), what a commit means for one of them ([`tracker`], of a page [`page`]), who is told of
//! which commit ([`hub`]; where threads meet there: [`inbox`], [`rounds`]; what a commit means for whom: [`teller`], found by
//! [`index`], those who watch the same together: [`audience`]), what they are told ([`published`], [`event`]) and where that waits for
//! them ([`queue`]), how a watch begins and catches up ([`opening`]), and the life of one over HTTP ([`stream`]) or of many over a
//! WebSocket ([`socket`]).

pub mod audience;
pub mod by;
pub mod event;
pub mod hub;
pub mod inbox;
#[cfg(test)]
mod inbox_orders;
pub mod index;
pub mod opening;
pub mod page;
pub mod published;
pub mod queue;
#[cfg(test)]
mod queue_orders;
#[cfg(test)]
mod queue_tests;
pub mod rounds;
pub mod socket;
pub mod stream;
pub mod teller;
pub mod tracker;
pub mod watched;

use crate::sync;

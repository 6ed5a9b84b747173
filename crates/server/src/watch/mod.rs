//! Watches: who is told of which commit ([`hub`]), what they are told ([`event`]), and the life of one watch
//! ([`stream`]).

pub mod event;
pub mod hub;
pub mod stream;

//! Engines that keep derived values true in memory, as peers of Corollary's: each is a program in `bin`, which does what
//! [`drive`] asks of it.

pub mod drive;

//! Files of rows: how they are read ([`mod@file`], [`rows`]), and how their rows get into a store or to a server
//! ([`import`]).

pub mod file;
pub mod import;
pub mod rows;

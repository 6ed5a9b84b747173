//! Between JSON and values: [`decode`] by the types of the schema, with every mistake and its place; [`encode`] into
//! bytes without a tree in between.

pub mod ahead;
pub mod among;
pub mod changes;
pub mod decode;
pub mod encode;
pub mod held;
pub mod links;
pub mod within;

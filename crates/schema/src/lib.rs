//! Schema text in, checked [`Schema`] out: values' types, rules, links, typed expressions, and the plan by which
//! derived fields are kept true. No IO, and no failure on any text: what is wrong comes back as diagnostics, each
//! with its place.
//!
//! Start with [`check()`]; then [`model`] (what a schema is), [`typed`] (what an expression is) and [`plan`] (how it
//! is maintained).

pub mod aggregate;
pub mod check;
pub mod expr;
pub mod functions;
pub mod grants;
pub mod ids;
pub mod members;
pub mod model;
pub mod mounts;
pub mod names;
pub mod normalize;
pub mod plan;
pub mod processors;
pub mod typed;
pub mod uses;

pub use check::{Checked, check, check_parsed};
pub use ids::Ids;
pub use members::{Member, Members, Union, Variant};
pub use model::{
    Composite, DefaultValue, Field, FieldId, FieldKind, FieldRef, IndexKey, Kept, OnDelete, Pattern,
    Position, ResourceType, Rules, Schema, Search, SearchBy, Slot, TypeId, TypeIx, ValueType,
};
pub use mounts::{Mount, Segment};
pub use normalize::Normalize;

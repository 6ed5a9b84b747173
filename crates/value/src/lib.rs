//! The value model that everything else uses: what a field can hold, how values are ordered, encoded, computed with
//! and written as text. No IO.
//!
//! Start with [`Value`]; then [`order`] (the one total order), [`order_key`] (its bytes), [`codec`] (documents),
//! [`ops`] (operators of the language), [`exact`] (sums that forget nothing) and [`text`]; `json` is there for those who
//! ask for the feature of that name.

pub mod between;
pub mod codec;
pub mod exact;
pub mod id;
#[cfg(feature = "json")]
pub mod json;
pub mod ops;
pub mod order;
pub mod order_key;
pub mod text;
pub mod value;

pub use between::between;
pub use exact::SumState;
pub use id::{Id, IdError};
#[cfg(feature = "json")]
pub use json::from_json;
pub use order::{compare, same};
pub use text::{BasicKind, parse_as};
pub use value::{ErrorValue, Value};

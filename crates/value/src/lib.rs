//! The value model that everything else uses: what a field can hold, how values are ordered, encoded, computed with
//! and written as text. No IO.
//!
//! Start with [`Value`]; then [`order`] (the one total order), [`order_key`] (its bytes), [`codec`] (documents),
//! [`ops`] (operators of the language), [`exact`] (sums that forget nothing) and [`text`].

pub mod between;
pub mod codec;
pub mod exact;
pub mod id;
pub mod ops;
pub mod order;
pub mod order_key;
pub mod text;
pub mod value;

pub use between::between;
pub use exact::SumState;
pub use id::{Id, IdError};
pub use order::{compare, same};
pub use text::{BasicKind, parse_as};
pub use value::{ErrorValue, Value};

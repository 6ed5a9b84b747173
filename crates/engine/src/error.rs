//! What can go wrong: the caller's fault, with a stable code and a place, apart from ours.

use corollary_store::StoreError;

/// Why a transaction did not happen.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The caller asked for something that the rules do not allow; nothing changed.
    #[error("{}", .0.message)]
    Refused(Refusal),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store holds bytes that the engine did not write.
    #[error("the stored data cannot be read: {0}")]
    Corrupt(String),
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// A stable name, as `unique`, `required`, `not-found`.
    pub code: &'static str,
    /// The field it is about, where it is about one.
    pub field: Option<String>,
    /// One sentence for the caller.
    pub message: String,
}

impl EngineError {
    /// The caller's fault.
    pub fn refused(code: &'static str, field: Option<&str>, message: impl Into<String>) -> EngineError {
        EngineError::Refused(Refusal { code, field: field.map(str::to_string), message: message.into() })
    }

    /// Bytes that cannot be read.
    pub(crate) fn corrupt(what: impl Into<String>) -> EngineError {
        EngineError::Corrupt(what.into())
    }
}

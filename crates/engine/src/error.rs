//! What can go wrong: the caller's fault, with a stable code and a place, apart from ours.

use corollary_store::StoreError;

use crate::nodes::MAX_ATTEMPTS;

/// Why a transaction did not happen.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The caller asked for something that the rules do not allow; nothing changed. Never empty.
    #[error("{}", .0.iter().map(|refusal| refusal.message.as_str()).collect::<Vec<_>>().join("; "))]
    Refused(Vec<Refusal>),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store holds bytes that the engine did not write.
    #[error("the stored data cannot be read: {0}")]
    Corrupt(String),
    /// The store moved on between two parts of one read, or before a commit; it has to start again. Never leaves the
    /// engine.
    #[error("the store moved on during the read")]
    Moved,
    /// Other nodes have committed in between again and again; nothing changed.
    #[error(
        "other servers commit to the store all the time, and this one found no moment for it in {MAX_ATTEMPTS} attempts"
    )]
    Contended,
    /// Another node has changed the schema of the store, or builds anew what follows from it. Nothing more may be written
    /// or read under the schema from before.
    #[error(
        "another server has changed the schema of the store, or repairs it; this one stops, and has to be started with the schema that is there"
    )]
    Superseded,
    /// A value may be behind, and cannot be computed from the facts within the limit. Never leaves the engine.
    #[error("a value is not settled")]
    Unsettled,
    /// A value that an expression reads has to be computed first; then it starts again. Never leaves the engine.
    #[error("a value has to be computed first")]
    Awaited,
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Position of the write in its transaction, where one write is to blame.
    pub write: Option<usize>,
    /// A stable name, as `unique`, `required`, `not-found`.
    pub code: &'static str,
    /// The field it is about, or a part of its value as in `address/city`, where it is about one.
    pub path: Option<String>,
    /// One sentence for the caller.
    pub message: String,
}

impl Refusal {
    /// A refusal that names no write yet.
    pub fn new(code: &'static str, path: Option<&str>, message: impl Into<String>) -> Refusal {
        Refusal { write: None, code, path: path.map(str::to_string), message: message.into() }
    }
}

impl From<Refusal> for EngineError {
    fn from(refusal: Refusal) -> EngineError {
        EngineError::Refused(vec![refusal])
    }
}

impl EngineError {
    /// The caller's fault.
    pub fn refused(code: &'static str, path: Option<&str>, message: impl Into<String>) -> EngineError {
        Refusal::new(code, path, message).into()
    }

    /// Has the engine to be given up, because it can do nothing more?
    pub fn is_fatal(&self) -> bool {
        match self {
            EngineError::Store(error) => error.is_fatal(),
            EngineError::Superseded => true,
            _ => false,
        }
    }

    /// Bytes that cannot be read.
    pub(crate) fn corrupt(what: impl Into<String>) -> EngineError {
        EngineError::Corrupt(what.into())
    }
}

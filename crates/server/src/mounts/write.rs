//! Writes through a mount: what is forced, and that the scope holds in the transaction, not in a read before it.
//!
//! A write begins with the question whether its resource is in the scope, and ends with the question whether it still is,
//! asked when all that follows from the transaction has come about. Both are answered by the executor.

use std::sync::Arc;

use corollary_engine::eval::Eval;
use corollary_engine::working::Working;
use corollary_engine::{Decision, Doc, EngineError, Key, Write};
use corollary_schema::FieldRef;
use corollary_value::Value;

use super::Scope;
use crate::json::decode::Facts;

impl Scope {
    /// The facts of a resource that is created or replaced here: what is forced is there also where it is not given. What is
    /// given otherwise is found when the scope is asked.
    pub fn with_forced(&self, mut facts: Facts) -> Facts {
        for (slot, value) in &self.forced {
            if !facts.iter().any(|(given, _)| given == slot) {
                facts.push((*slot, value.clone()));
            }
        }
        facts
    }

    /// Replaces the facts of a resource that have a name here; the others stay as they are when its turn comes.
    pub fn replace(self: &Arc<Scope>, key: Key, facts: Facts) -> Write {
        let (scope, facts) = (self.clone(), self.with_forced(facts));
        let decide = move |_: &Working<'_>, key: &Key, doc: Option<&Arc<Doc>>| {
            let Some(doc) = doc else { return Ok(Some(Write::Read(key.clone()))) };
            let mut facts = facts.clone();
            for slot in &scope.view().hidden {
                if !facts.iter().any(|(given, _)| given == slot) {
                    facts.push((*slot, doc.get(*slot).clone()));
                }
            }
            Ok(Some(Write::Replace(key.clone(), facts)))
        };
        Write::Decide(key, Decision::new(decide))
    }

    /// Refuses a transaction, where the resource is not here when its turn comes: as if it were not there.
    pub fn begin(self: &Arc<Scope>, key: Key) -> Write {
        let scope = self.clone();
        let decide = move |working: &Working<'_>, key: &Key, doc: Option<&Arc<Doc>>| match doc {
            Some(doc) if scope.holds(working, key, doc)? => Ok(None),
            _ => {
                let message = format!("there is no {} {} here", working.schema.ty(key.ty).name, key.id);
                Err(EngineError::refused("not-found", None, message))
            }
        };
        Write::Decide(key, Decision::new(decide))
    }

    /// Refuses a transaction that leaves a resource that is not here.
    pub fn end(self: &Arc<Scope>, key: Key) -> Write {
        self.end_of(key, |_| true)
    }

    /// The same, where it is one of those that the transaction is about.
    pub fn end_of(
        self: &Arc<Scope>,
        key: Key,
        counts: impl Fn(&Key) -> bool + Send + Sync + 'static,
    ) -> Write {
        let scope = self.clone();
        let decide = move |working: &Working<'_>, key: &Key, doc: Option<&Arc<Doc>>| match doc {
            Some(doc) if counts(key) => scope.check(working, key, doc).map(|()| None),
            // What the transaction itself deletes behind this write is in no scope.
            _ => Ok(None),
        };
        Write::Ensure(key, Decision::new(decide))
    }

    /// Tells why a resource is not here.
    fn check(&self, working: &Working<'_>, key: &Key, doc: &Arc<Doc>) -> Result<(), EngineError> {
        for (slot, value) in &self.forced {
            if doc.get(*slot) != value {
                let names = self.names();
                let name = names.field(FieldRef { ty: key.ty, slot: *slot }).name.as_str();
                let message = match name.strip_prefix('#') {
                    Some(_) => "what is forced here has another value".to_string(),
                    None => format!("`{name}` has one value here, and that is {}", shown(value)),
                };
                let path = (!name.starts_with('#')).then_some(name);
                return Err(EngineError::refused("mount", path, message));
            }
        }
        for (text, condition) in &self.view().conditions {
            if !Eval::of(working, &key.id, doc).holds(condition)? {
                let message = format!("`{text}` holds of all that is here, and would not of this");
                return Err(EngineError::refused("mount", None, message));
            }
        }
        Ok(())
    }
}

/// A value in a sentence.
fn shown(value: &Value) -> String {
    match value {
        Value::Ref(id) => id.to_string(),
        Value::Str(text) => format!("\"{text}\""),
        other => other.to_string(),
    }
}

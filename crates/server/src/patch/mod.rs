//! The kinds of PATCH: a merge patch (RFC 7396), a JSON Patch (RFC 6902), and a list of update actions.
//!
//! A merge patch is read by [`crate::json::decode`]; [`json_patch`] and [`actions`] read the others. All of them are worked
//! out by the executor on what is there when their turn comes, so none is lost and none sees half of another.

pub mod actions;
pub mod json_patch;

use std::sync::Arc;

use corollary_engine::working::Working;
use corollary_engine::{Decision, Doc, Edit, EngineError, Key, Write};
use corollary_schema::{Schema, Slot, TypeIx};
use serde_json::Value as Json;

use crate::json::encode::{Encoder, Shape};
use crate::mounts::{Scope, names_of};
use crate::problem::Problem;
use actions::Actions;
use json_patch::JsonPatch;

/// The most operations of a JSON Patch, and the most update actions of one request.
pub const MAX_OPERATIONS: usize = 1_000;

/// The kinds of PATCH.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// RFC 7396.
    #[default]
    Merge,
    /// RFC 6902.
    JsonPatch,
    /// Update actions.
    Actions,
}

impl Kind {
    /// The content types of a PATCH.
    pub const CONTENT_TYPES: [&str; 4] = [
        "application/json",
        "application/merge-patch+json",
        "application/json-patch+json",
        "application/vnd.corollary.update+json",
    ];

    /// The kind that a content type says; a merge patch where it says nothing of its own.
    pub fn of(content_type: &str) -> Kind {
        match Kind::CONTENT_TYPES.iter().position(|known| known.eq_ignore_ascii_case(content_type)) {
            Some(2) => Kind::JsonPatch,
            Some(3) => Kind::Actions,
            _ => Kind::Merge,
        }
    }

    /// The kind that a `content_type` in JSON names; the error is what to tell.
    pub fn named(json: Option<&Json>) -> Result<Kind, String> {
        match json {
            None => Ok(Kind::Merge),
            Some(Json::String(kind)) if Kind::CONTENT_TYPES.contains(&kind.as_str()) => Ok(Kind::of(kind)),
            Some(_) => Err(format!("`content_type` is one of {}", Kind::CONTENT_TYPES.join(", "))),
        }
    }
}

/// A patch that is no merge patch, read and ready for any resource of a type.
#[derive(Clone, Debug)]
pub enum Patch {
    /// Edits, the same for every resource.
    Edits(Vec<(Slot, Edit)>),
    /// Such edits, behind moves in the ordered collections of one resource.
    Moves(Actions),
    /// What comes of it depends on the resource.
    JsonPatch(Arc<JsonPatch>),
}

impl Patch {
    /// Reads a JSON Patch or update actions.
    pub fn parse(schema: &Schema, ty: TypeIx, kind: Kind, body: &Json) -> Result<Patch, Problem> {
        match kind {
            Kind::Actions => Ok(match actions::parse(schema, ty, body)? {
                Actions { edits, moves } if moves.is_empty() => Patch::Edits(edits),
                actions => Patch::Moves(actions),
            }),
            _ => Ok(Patch::JsonPatch(Arc::new(JsonPatch::parse(body)?))),
        }
    }

    /// What goes before the write that patches a resource: moves of what it holds.
    pub fn before(&self, key: &Key) -> Vec<Write> {
        match self {
            Patch::Moves(actions) => actions.moves.iter().map(|moved| moved.write(key)).collect(),
            _ => Vec::new(),
        }
    }

    /// The write that patches a resource, by the names of a mount where it goes through one.
    pub fn write(&self, key: Key, scope: Option<&Arc<Scope>>) -> Write {
        match self {
            Patch::Edits(edits) | Patch::Moves(Actions { edits, .. }) => Write::Update(key, edits.clone()),
            Patch::JsonPatch(patch) => {
                let (patch, scope) = (patch.clone(), scope.cloned());
                let decide = move |working: &Working<'_>, key: &Key, doc: Option<&Arc<Doc>>| {
                    let Some(doc) = doc else { return Ok(Some(Write::Read(key.clone()))) };
                    let mut encoder = Encoder::new(working);
                    let names = names_of(scope.as_ref(), working.schema);
                    encoder.resource(key, doc, &Shape { scope: scope.clone(), ..Shape::default() })?;
                    let shown = serde_json::from_slice(&encoder.out)
                        .map_err(|error| EngineError::Corrupt(format!("the JSON of a resource: {error}")))?;
                    let edits = patch.edits(names, key.ty, doc, &shown);
                    Ok(Some(Write::Update(key.clone(), edits.map_err(EngineError::Refused)?)))
                };
                Write::Decide(key, Decision::new(decide))
            }
        }
    }
}

//! What expressions are evaluated over: the state before a change, the state after it, a reader's snapshot, facts alone.
//!
//! A view never says what it has not: where something has to be computed first it is an error that says so, and the
//! evaluation comes again. Read next: [`crate::eval`], which reads through it; [`crate::working`], the view of most.

use std::cell::Cell;
use std::sync::Arc;

use corollary_schema::typed::Type;
use corollary_schema::{FieldKind, FieldRef, Schema, TypeIx};
use corollary_value::{Id, Value};
use jiff::Timestamp;

use crate::doc::Doc;
use crate::error::EngineError;

/// What an expression is evaluated over.
pub trait View {
    /// A document.
    fn doc(&self, ty: TypeIx, id: &Id) -> Result<Option<Arc<Doc>>, EngineError>;
    /// The value of a field; none where there is no such resource.
    fn value(&self, field: FieldRef, id: &Id) -> Result<Option<Value>, EngineError> {
        Ok(self.doc(field.ty, id)?.map(|doc| doc.get(field.slot).clone()))
    }
    /// The resources whose field refers to a target, in the order of their ids.
    fn referrers(&self, of: FieldRef, target: &Id) -> Result<Vec<Id>, EngineError>;
    /// All resources of a type, in the order of their ids.
    fn all(&self, ty: TypeIx) -> Result<Vec<Id>, EngineError>;
    /// The time.
    fn now(&self) -> Timestamp;
    /// What hides from whoever reads what is not for them, where something does: it is counted up as long as something is computed from
    /// all there is.
    fn unveil(&self) -> Option<&Cell<usize>> {
        None
    }
    /// Is a list in the field many values, and not one that happens to be a list, as JSON may be? Of no concern to a
    /// view in which no path leads to several resources.
    fn holds_many(&self, _field: FieldRef) -> bool {
        true
    }
}

/// A view that answers for some documents or values itself, and leaves all else to another below it.
pub(crate) trait Over {
    /// The one below.
    fn below(&self) -> &dyn View;
    /// As [`View::doc`].
    fn doc(&self, ty: TypeIx, id: &Id) -> Result<Option<Arc<Doc>>, EngineError> {
        self.below().doc(ty, id)
    }
    /// As [`View::value`].
    fn value(&self, field: FieldRef, id: &Id) -> Result<Option<Value>, EngineError> {
        Ok(self.doc(field.ty, id)?.map(|doc| doc.get(field.slot).clone()))
    }
}

impl<V: Over> View for V {
    fn doc(&self, ty: TypeIx, id: &Id) -> Result<Option<Arc<Doc>>, EngineError> {
        Over::doc(self, ty, id)
    }

    fn value(&self, field: FieldRef, id: &Id) -> Result<Option<Value>, EngineError> {
        Over::value(self, field, id)
    }

    fn referrers(&self, of: FieldRef, target: &Id) -> Result<Vec<Id>, EngineError> {
        self.below().referrers(of, target)
    }

    fn all(&self, ty: TypeIx) -> Result<Vec<Id>, EngineError> {
        self.below().all(ty)
    }

    fn now(&self) -> Timestamp {
        self.below().now()
    }

    fn unveil(&self) -> Option<&Cell<usize>> {
        self.below().unveil()
    }

    fn holds_many(&self, field: FieldRef) -> bool {
        self.below().holds_many(field)
    }
}

/// What [`View::holds_many`] says in a schema.
pub(crate) fn holds_many(schema: &Schema, field: FieldRef) -> bool {
    match &schema.field(field).kind {
        FieldKind::Stored(ty) => Type::of_value(ty).is_many(),
        FieldKind::Derived { expr, .. } => expr.ty.is_many(),
        FieldKind::Aggregate { ty, .. } => ty.is_many(),
        FieldKind::Link { .. } | FieldKind::Parent { .. } | FieldKind::Position { .. } => false,
        FieldKind::Links { .. }
        | FieldKind::Collection { .. }
        | FieldKind::Inverse { .. }
        | FieldKind::Several { .. }
        | FieldKind::Embedded { .. } => true,
        FieldKind::Among { many, .. } => *many,
    }
}

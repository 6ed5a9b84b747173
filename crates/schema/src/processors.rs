//! What a processor does with writes of a type: rules in the expression language.
//!
//! ```text
//! deny when self.amount > 1000 and old.amount <= 1000, message "ask for it first"
//! set slug := lower(self.title)
//! ```
//!
//! Beside `self`, the resource as it is written, a rule knows `old`, as it was before (null where it is new), `operation`,
//! `actor`, and `ego`, the resource of the actor, where the schema says which that is ([`Schema::ego`]). `old` is an object: what its
//! links lead to is read as it is now.

use corollary_syntax::ast::{Ident, RuleText};
use corollary_syntax::diagnostic::Diagnostic;
use corollary_syntax::{nearest, parse_rule};
use smol_str::SmolStr;

use crate::check::defaults::fitting;
use crate::expr::{EGO, Place, check_given, is_condition, not_a_condition};
use crate::members::{Member, Members};
use crate::model::{Field, FieldKind, FieldRef, Rules, Schema, Slot, TypeIx, ValueType};
use crate::names::PATH_FIELD;
use crate::plan::reads::fields;
use crate::typed::{Expr, Kind, Many, Type};

/// What a write does to a resource, by the names that rules know.
pub const OPERATIONS: [&str; 3] = ["create", "update", "delete"];

/// What is given to a rule beside `self`, in this order.
const OLD: &str = "old";
const OPERATION: &str = "operation";
const ACTOR: &str = "actor";

/// See the module. Its expressions are evaluated with the items `old`, `operation`, `actor`, and `ego` where the schema has it.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// Refuses the write where a condition holds, when all that follows from it has come about.
    Deny {
        /// The condition.
        when: Expr,
        /// What whoever writes is told.
        message: Option<SmolStr>,
    },
    /// Sets a stored field, before anything follows.
    Set {
        /// The field.
        slot: Slot,
        /// Its value.
        value: Expr,
    },
}

/// The fields that `old` has, in the order of its members: all that are kept with the resource, by the names that people know.
pub fn old_fields(schema: &Schema, ty: TypeIx) -> Vec<(Slot, &Field)> {
    let resource = schema.ty(ty);
    let is_kept = |field: &Field| match &field.kind {
        FieldKind::Stored(_) | FieldKind::Link { .. } | FieldKind::Links { .. } => true,
        FieldKind::Derived { lazy, .. } => !lazy,
        FieldKind::Aggregate { .. } => true,
        _ => false,
    };
    resource
        .slots()
        .filter(|(_, field)| field.visible() && field.name != PATH_FIELD && is_kept(field))
        .collect()
}

/// The type of `old`.
fn old(schema: &Schema, ty: TypeIx) -> Type {
    let members = old_fields(schema, ty).into_iter().map(|(slot, field)| {
        let via = FieldRef { ty, slot };
        let link = |target: TypeIx, on_delete| ValueType::Link { target, on_delete, via };
        let holds = match &field.kind {
            FieldKind::Stored(holds) => holds.clone(),
            FieldKind::Link { target, on_delete } => link(*target, *on_delete),
            FieldKind::Links { target, on_delete } => ValueType::List(Box::new(link(*target, *on_delete))),
            FieldKind::Derived { expr, .. } => expr.ty.stored(),
            FieldKind::Aggregate { ty, .. } => ty.stored(),
            _ => ValueType::Json,
        };
        Member { name: field.name.clone(), ty: holds, rules: Rules::default(), derived: false }
    });
    Type { kind: Kind::Object(members.collect::<Members>()), many: Many::One }
}

/// The resources that a processor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selected {
    /// Their type.
    pub ty: TypeIx,
    /// Of several collections that may hold them, the one that does: the link to the parent.
    pub via: Option<Slot>,
}

/// The resources at a path of collections, as `/orders` or `/divisions/*/sections`.
///
/// # Errors
///
/// What is wrong with it.
pub fn selected(schema: &Schema, path: &str) -> Result<Selected, String> {
    let mut segments = path.trim_matches('/').split('/');
    let root = segments.next().unwrap_or_default();
    let Some(ty) = schema.roots.get(root) else {
        let near = nearest(root, schema.roots.keys().map(SmolStr::as_str));
        let help = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        return Err(format!("there is no root collection of one type `{root}`{help}"));
    };
    let mut selected = Selected { ty: *ty, via: None };
    while let Some(star) = segments.next() {
        let Some(name) = segments.next().filter(|_| star == "*") else {
            return Err(
                "behind a collection stands `*`, and behind that a collection, as in `/divisions/*/sections`"
                    .into(),
            );
        };
        let resource = schema.ty(selected.ty);
        match resource.named(name).map(|(_, field)| &field.kind) {
            Some(FieldKind::Collection { child, via }) => {
                selected = Selected { ty: *child, via: Some(via.slot) }
            }
            Some(_) => return Err(format!("`{name}` of `{}` is no collection of one type", resource.name)),
            None => {
                let near = nearest(name, resource.by_name.keys().map(SmolStr::as_str));
                let help = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
                return Err(format!("`{}` has no collection `{name}`{help}", resource.name));
            }
        }
    }
    Ok(selected)
}

/// Reads and checks a rule over writes of a type.
///
/// # Errors
///
/// What is wrong with it, with places in the text.
pub fn check_rule(schema: &Schema, ty: TypeIx, text: &str) -> Result<Rule, Vec<Diagnostic>> {
    let parsed = parse_rule(text);
    if !parsed.diagnostics.is_empty() {
        return Err(parsed.diagnostics);
    }
    let operations = Kind::Enum(OPERATIONS.iter().map(|name| SmolStr::from(*name)).collect());
    let mut given = vec![
        (OLD.into(), old(schema, ty)),
        (OPERATION.into(), Type::one(operations)),
        (ACTOR.into(), Type::one(Kind::Str)),
    ];
    given.extend(schema.ego.map(|field| (EGO.into(), Type::one(Kind::Resource(field.ty)))));
    match parsed.tree {
        RuleText::Deny { when, message } => {
            let (typed, mut found) = check_given(schema, Place::Lazy(ty), &given, &when);
            if found.is_empty() && !is_condition(&typed.ty) {
                let is = typed.ty.describe(&|ty| schema.ty(ty).name.clone());
                found.push(not_a_condition(when.span, &typed.ty, &is));
            }
            if found.is_empty() { Ok(Rule::Deny { when: typed, message }) } else { Err(found) }
        }
        RuleText::Set { field, value } => {
            let (typed, mut found) = check_given(schema, Place::Lazy(ty), &given, &value);
            let slot = settable(schema, ty, &field).map_err(|diagnostic| found.push(diagnostic)).ok();
            if let Some(derived) = fields(&typed).into_iter().find(|field| !schema.field(*field).is_fact()) {
                let name = &schema.field(derived).name;
                let message = format!("`{name}` follows from facts, and is not known yet when these are set");
                found.push(Diagnostic::error("rule", value.span, message));
            }
            match slot {
                Some((slot, holds)) if found.is_empty() => {
                    let fits = fitting(schema, typed, holds, "what it is set to");
                    let value =
                        fits.map_err(|message| vec![Diagnostic::error("rule", value.span, message)])?;
                    Ok(Rule::Set { slot, value })
                }
                _ => Err(found),
            }
        }
    }
}

/// A field that a rule may set, and what it holds.
fn settable<'s>(schema: &'s Schema, ty: TypeIx, name: &Ident) -> Result<(Slot, &'s ValueType), Diagnostic> {
    let resource = schema.ty(ty);
    let Some((slot, field)) = resource.named(&name.name) else {
        let message = format!("`{}` has no field `{}`", resource.name, name.name);
        let diagnostic = Diagnostic::error("unknown-field", name.span, message);
        return Err(match nearest(&name.name, resource.by_name.keys().map(SmolStr::as_str)) {
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
            None => diagnostic,
        });
    };
    match &field.kind {
        FieldKind::Stored(holds) if field.rules.kept.is_none() && !field.is_file() && !has_links(holds) => {
            Ok((slot, holds))
        }
        _ => {
            let message = format!("a rule sets stored values without links, and `{}` is none", field.name);
            Err(Diagnostic::error("rule", name.span, message))
        }
    }
}

/// Are there links in what it holds? These have to lead somewhere, which is known only when all facts are there.
fn has_links(holds: &ValueType) -> bool {
    match holds {
        ValueType::Link { .. } => true,
        ValueType::List(of) | ValueType::Set(of) | ValueType::Map(of) => has_links(of),
        ValueType::Object(members) => members.iter().any(|member| has_links(&member.ty)),
        _ => false,
    }
}

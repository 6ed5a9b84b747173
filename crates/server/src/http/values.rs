//! GET of what a path leads to behind the name of a resource or a list: a field, or what all members have together.
//!
//! How such a path is read is the business of [`crate::path::behind`], how it is evaluated that of `corollary_engine::paths`.
//! What comes out is a value, a list of values, one resource, or a list of resources, which is a list like any other.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Response, StatusCode};
use corollary_engine::paths;
use corollary_engine::query::From;
use corollary_engine::working::{Working, targets};
use corollary_engine::{EngineError, Key};
use corollary_schema::expr::{Place, check_expr};
use corollary_schema::typed::{Expr, Kind, Node};
use corollary_schema::{Schema, TypeIx};
use corollary_syntax::ast::{self, ExprKind};
use corollary_syntax::diagnostic::Diagnostic;
use corollary_syntax::parse_expression;
use corollary_value::{Id, Value};

use super::list::{self, Asked, Found, Next};
use super::params::Params;
use super::reader::denied;
use super::resource::one;
use super::{Call, Fault, READS_HEADER, REVISION_HEADER, json, read, updates, with_header};
use crate::json::held::Held;
use crate::mounts::{Scope, names_of};
use crate::path::behind::{self, Cut};
use crate::path::{self, List, PathError, Post, Target};
use crate::problem::Problem;
use crate::watch::by::types_of;

/// The most values of one reply.
pub const MAX_VALUES: usize = 10_000;

/// A path, typed.
pub(crate) struct Path {
    /// The resource that is `self`, where it begins at one.
    pub(crate) owner: Option<Key>,
    pub(crate) expr: Expr,
}

impl Path {
    fn value(&self, working: &Working<'_>, params: &Params) -> Result<Value, EngineError> {
        let nobody = Schema::shared_id();
        let owner = self.owner.as_ref().map_or(&nobody, |owner| &owner.id);
        paths::value(working, owner, &self.expr, params.scan_limit())
    }

    /// Refuses what leads to resources of several types.
    pub(crate) fn is_of_one_type(&self) -> Result<(), Problem> {
        match self.expr.ty.kind {
            Kind::Among(_) => {
                let detail = "the path leads to resources of several types; read them by a path of segments";
                Err(Problem::not_found(detail))
            }
            _ => Ok(()),
        }
    }
}

/// Serves a path that goes on behind a name; none where it is a name as a whole.
pub(crate) fn serve(
    call: &Call<'_>,
    segments: &[String],
    params: &Params,
) -> Result<Option<Response<Body>>, Problem> {
    let cuts = behind::cuts(call.uri.path())?;
    if cuts.is_empty() {
        return Ok(None);
    }
    let Some(found) = read(call.reads(), |working| find(working, segments, &cuts))? else { return Ok(None) };
    let reply = tokio::task::block_in_place(|| match found.expr.ty.resource() {
        Some(ty) if found.expr.ty.is_many() => resources(call, segments, &cuts, ty, params),
        Some(_) => resource(call, segments, &cuts, params),
        None => values(call, segments, &cuts, params),
    });
    reply.map(Some)
}

/// Does a path lead to a list, of resources or of values?
pub(crate) fn is_list(working: &Working<'_>, segments: &[String], cuts: &[Cut]) -> Result<bool, Fault> {
    match find(working, segments, cuts)? {
        Some(found) => Ok(found.expr.ty.is_many()),
        None => Ok(matches!(path::resolve(working, segments)?, Target::List(_) | Target::Several(_))),
    }
}

/// What a path leads to, all of it.
pub(crate) enum All {
    /// Resources of a type.
    Resources(TypeIx, Vec<Id>),
    /// Values, and what they are.
    Values(Vec<Value>, Expr),
}

/// All that a path leads to which goes on behind a name, and the fields that decide what it is and of which some value may
/// be behind; none where it is a name as a whole.
pub(crate) fn all(
    working: &Working<'_>,
    segments: &[String],
    cuts: &[Cut],
    params: &Params,
) -> Result<Option<(All, BTreeSet<String>)>, Fault> {
    let Some(found) = find(working, segments, cuts)? else { return Ok(None) };
    found.is_of_one_type()?;
    let by = updates::behind(working, std::iter::once(&found.expr));
    let value = found.value(working, params)?;
    let all = match (found.expr.ty.resource(), value) {
        (Some(ty), value) => All::Resources(ty, targets(&value)),
        (None, Value::List(values)) => All::Values(values.to_vec(), found.expr),
        (None, value) => All::Values(vec![value], found.expr),
    };
    Ok(Some((all, by)))
}

/// The path as the state has it that is read.
fn again(working: &Working<'_>, segments: &[String], cuts: &[Cut]) -> Result<Path, Fault> {
    find(working, segments, cuts)?
        .ok_or_else(|| Problem::not_found("what the path began with is gone").into())
}

/// What a path is; none where it is a name as a whole, or of nothing.
pub(crate) fn find(working: &Working<'_>, segments: &[String], cuts: &[Cut]) -> Result<Option<Path>, Fault> {
    let whole = path::resolve(working, segments);
    let is_name = match &whole {
        Ok(Target::Resource { key, .. } | Target::Linked { key, linked: true, .. }) => {
            working.after(key)?.is_some()
        }
        Ok(Target::Linked { .. }) => false,
        Ok(Target::List(_) | Target::Several(_)) => true,
        Err(_) => false,
    };
    if is_name {
        return Ok(None);
    }
    let mut last = None;
    for cut in cuts {
        match begin(working, cut) {
            Ok(Some((owner, ty, text, scope))) => {
                let names = names_of(scope.as_ref(), working.schema);
                let found = typed(names, owner, ty, &text)?;
                check_whole(working, &found.expr)?;
                return Ok(Some(found));
            }
            Ok(None) => {}
            Err(PathError::Engine(error)) => return Err(error.into()),
            Err(error) => last = Some(error),
        }
    }
    match (whole, last) {
        // An id with dots that nobody has: it is told as one.
        (Ok(_), _) | (_, None) => Ok(None),
        (Err(_), Some(error)) => Err(error.into()),
    }
}

/// Refuses a path through resources that may not all be read: what it leads to would be another thing than it says.
fn check_whole(working: &Working<'_>, expr: &Expr) -> Result<(), Problem> {
    let Some(sight) = working.sight() else { return Ok(()) };
    let mut types = BTreeSet::new();
    types_of(expr, &mut types);
    if sight.reads_all(working.schema, types) {
        return Ok(());
    }
    let detail = "a path behind a name leads through resources that may all be read, and these may not: read the list, or the resource";
    Err(denied(sight.is_known(), detail))
}

/// Where a cut path begins, if there is something: the resource that is `self`, the type to read it by, and its text.
#[allow(clippy::type_complexity)]
fn begin(
    working: &Working<'_>,
    cut: &Cut,
) -> Result<Option<(Option<Key>, TypeIx, String, Option<Arc<Scope>>)>, PathError> {
    let schema = working.schema;
    let Some((name, owner)) = cut.segments.split_last() else { return Ok(None) };
    let target = path::resolve(working, &cut.segments)?;
    if let Some(key) = target.resource(schema)? {
        let there = working.after(key)?.is_some();
        return match there {
            true => {
                let scope = target.scope().cloned();
                Ok(Some((Some(key.clone()), key.ty, format!("self{}", cut.behind), scope)))
            }
            false => Err(PathError::NotFound(format!("there is no {} {}", schema.ty(key.ty).name, key.id))),
        };
    }
    let ty = match &target {
        Target::List(List { scope: Some(_), .. }) => {
            let detail = "what all of a mount have together is no path: choose among them by `filter`";
            return Err(PathError::NotFound(detail.into()));
        }
        Target::List(list) => Some(list.ty),
        Target::Several(several) => several.lists.first().map(|(ty, _)| *ty),
        _ => None,
    };
    let (owner, scope) = match owner {
        [] => (None, None),
        owner => {
            let target = path::resolve(working, owner)?;
            (target.resource(schema)?.cloned(), target.scope().cloned())
        }
    };
    Ok(match (owner, ty) {
        (Some(owner), _) => {
            let ty = owner.ty;
            Some((Some(owner), ty, format!("self.{name}{}", cut.behind), scope))
        }
        (None, Some(ty)) => Some((None, ty, format!("root.{name}{}", cut.behind), None)),
        (None, None) => None,
    })
}

/// A path from a resource (`self`), or from the root collections (`root`) where there is none.
pub(crate) fn typed(schema: &Schema, owner: Option<Key>, ty: TypeIx, text: &str) -> Result<Path, Fault> {
    let parsed = parse_expression(text);
    if let Some(first) = parsed.diagnostics.first() {
        return Err(Problem::malformed("path", format!("`{text}`: {}", first.message)).into());
    }
    if !is_path(&parsed.tree) {
        let detail = format!("`{text}` is no path: it goes on by `.field` and by conditions in brackets");
        return Err(Problem::malformed("path", detail).into());
    }
    let (expr, found) = check_expr(schema, Place::Query(ty), &parsed.tree);
    if let Some(first) = found.first() {
        return Err(wrong(text, first).into());
    }
    if owner.is_none() && mentions_self(&expr) {
        return Err(Problem::malformed("filter", "there is no `self` at a root collection").into());
    }
    Ok(Path { owner, expr })
}

/// A mistake: in brackets it is one of a condition, elsewhere a step that leads nowhere.
fn wrong(text: &str, found: &Diagnostic) -> Problem {
    let (mut depth, mut quote) = (0_usize, None);
    for c in text.get(..found.span.start as usize).unwrap_or_default().chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') => depth = depth.saturating_sub(1),
            (None, _) => {}
        }
    }
    let help = found.help.as_ref().map_or(String::new(), |help| format!(" ({help})"));
    let detail = format!("`{text}`: {}{help}", found.message);
    if depth > 0 { Problem::malformed("filter", detail) } else { Problem::not_found(detail) }
}

/// Is it made of fields and brackets alone?
fn is_path(expr: &ast::Expr) -> bool {
    match &expr.kind {
        ExprKind::SelfRef | ExprKind::Root => true,
        ExprKind::Field { base, .. }
        | ExprKind::Filter { base, .. }
        | ExprKind::Order { base, .. }
        | ExprKind::Index { base, .. }
        | ExprKind::Slice { base, .. } => is_path(base),
        _ => false,
    }
}

fn mentions_self(expr: &Expr) -> bool {
    let mut found = expr.node == Node::Owner;
    expr.for_parts(&mut |part, _| found |= mentions_self(part));
    found
}

/// A list of resources.
fn resources(
    call: &Call<'_>,
    segments: &[String],
    cuts: &[Cut],
    ty: TypeIx,
    params: &Params,
) -> Result<Response<Body>, Problem> {
    let filter = params.filter(call.app.node.engine().schema(), ty)?;
    let asked = Asked { params, filter, start: 0, next: Next::Path };
    let found = |working: &Working<'_>| {
        let found = again(working, segments, cuts)?;
        let by = updates::behind(working, std::iter::once(&found.expr));
        let ids: Vec<Id> = targets(&found.value(working, params)?);
        Ok(Found { list: List { ty, from: From::Listed(ids), post: Post::ReadOnly, scope: None }, by })
    };
    let first = List { ty, from: From::Listed(Vec::new()), post: Post::ReadOnly, scope: None };
    list::page(call, &found, &first, &asked)
}

/// The resource that a link leads to.
fn resource(
    call: &Call<'_>,
    segments: &[String],
    cuts: &[Cut],
    params: &Params,
) -> Result<Response<Body>, Problem> {
    params.only_for_one()?;
    read(call.reads(), |working| {
        let found = again(working, segments, cuts)?;
        let by = updates::behind(working, std::iter::once(&found.expr));
        list::wait_for(call.exact, &by)?;
        match (found.value(working, params)?, found.expr.ty.resource()) {
            (Value::Ref(id), Some(ty)) => {
                let shape = params.shape(working.schema, working.schema, ty)?;
                let key = Key::new(ty, id);
                let reply = one(call, working, segments, &key, &shape)?;
                let reply = with_header(reply, "content-location", &path::canonical(working, &key, None)?);
                Ok(if by.is_empty() { reply } else { updates::marked(reply, &by) })
            }
            _ => Err(Problem::not_found("the link at the end of the path is empty").into()),
        }
    })
}

/// One value, or those of all.
fn values(
    call: &Call<'_>,
    segments: &[String],
    cuts: &[Cut],
    params: &Params,
) -> Result<Response<Body>, Problem> {
    params.only_for_values()?;
    read(call.reads(), |working| {
        let found = again(working, segments, cuts)?;
        found.is_of_one_type()?;
        let by = updates::behind(working, std::iter::once(&found.expr));
        list::wait_for(call.exact, &by)?;
        let value = found.value(working, params)?;
        let held = held(working.schema, &found.expr);
        let mut encoder = call.encoder(working);
        match &value {
            Value::List(elements) if found.expr.ty.is_many() => {
                if elements.len() > MAX_VALUES {
                    let detail =
                        format!("there are more than {MAX_VALUES} values; narrow the path by a condition");
                    return Err(Problem::malformed("value-limit", detail).into());
                }
                encoder.out.extend_from_slice(b"{\"results\":");
                encoder.value(&value, held)?;
                let count = params.count.then_some(elements.len() as u64);
                Ok(list::close(call, encoder, None, Next::Path, count, by).response(call))
            }
            value => {
                encoder.value(value, held)?;
                let response = updates::marked(json(StatusCode::OK, encoder.out), &by);
                let response = with_header(response, READS_HEADER, &working.base.reads().to_string());
                Ok(with_header(response, REVISION_HEADER, &working.base.revision().to_string()))
            }
        }
    })
}

/// What stands in the values of a path.
pub(crate) fn held<'e>(schema: &'e Schema, expr: &'e Expr) -> Held<'e> {
    match (&expr.node, &expr.ty.kind) {
        (Node::Get(_, field) | Node::Each(_, field, _), _) => Held::by(schema, *field),
        (Node::Member(base, name), _) => held(schema, base).member(name),
        (Node::Filter(base, _) | Node::Order(base, _) | Node::At(base, _) | Node::Slice(base, ..), _) => {
            held(schema, base)
        }
        (_, Kind::Resource(ty)) => Held::Link(*ty),
        (_, Kind::Object(members)) => Held::Object(members),
        (_, Kind::Map(of)) => Held::Map(of),
        _ => Held::Plain,
    }
}

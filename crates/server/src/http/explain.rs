//! `?explain=true` on a list: how it would be found, instead of what is found.

use axum::body::Body;
use axum::http::{Response, StatusCode};
use corollary_engine::catalog::describe;
use corollary_engine::query::{self, Access, Query};
use corollary_engine::rebuild::Structure;
use corollary_engine::working::Working;
use corollary_schema::{FieldId, FieldRef, IndexKey, Schema};
use serde_json::{Value as Json, json};

use super::list::Found;
use super::{Call, Fault, REVISION_HEADER, json as json_reply, read, with_header};
use crate::problem::Problem;

/// Tells how a query would be answered.
pub(crate) fn reply(
    call: &Call<'_>,
    again: &dyn Fn(&Working<'_>) -> Result<Found, Fault>,
    query: &Query,
) -> Result<Response<Body>, Problem> {
    call.reader.administers("`explain`, which counts what is there,")?;
    let (body, revision) = read(call.reads(), |working| {
        let query = Query { from: again(working)?.list.from, ..query.clone() };
        let found = query::explain(working, &query)?;
        let schema = working.schema;
        let mut told = shown(schema, &query, &found.access);
        told["ordered"] = found.ordered.into();
        told["sorted"] = (!found.ordered).into();
        told["filtered"] = query.filter.is_some().into();
        told["candidates"] = found.candidates.into();
        told["complete"] = found.complete.into();
        told["others"] = found.others.iter().map(|access| shown(schema, &query, access)).collect();
        if !found.building.is_empty() {
            let index = |number: &FieldId| describe(schema, Structure::Index(*number));
            told["building"] = found.building.iter().map(index).collect();
        }
        let revision = working.base.revision().to_string();
        Ok((json!({"explain": told, "revision": revision}).to_string(), revision))
    })?;
    Ok(with_header(json_reply(StatusCode::OK, body), REVISION_HEADER, &revision))
}

/// What is walked.
fn shown(schema: &Schema, query: &Query, access: &Access) -> Json {
    let name = |field: &FieldRef| format!("{}.{}", schema.ty(field.ty).name, schema.field(*field).label());
    let (kind, fields) = match access {
        Access::All => ("all", Vec::new()),
        Access::Listed => ("list", Vec::new()),
        Access::References(field) => ("references", vec![name(field)]),
        Access::Siblings(field) => ("siblings", vec![name(field)]),
        Access::Index(field) => ("index", vec![name(field)]),
        Access::Composite(ty, number) => {
            let keys = schema.ty(*ty).composite(*number).map(|index| &index.keys[..]).unwrap_or_default();
            let of = |key: &IndexKey| FieldRef { ty: *ty, slot: key.slot };
            ("index", keys.iter().map(|key| name(&of(key))).collect())
        }
        Access::Search(field) => ("search", vec![name(field)]),
        Access::Through(fields) => ("through", fields.iter().map(name).collect()),
        Access::Union(fields) => ("union", fields.iter().map(name).collect()),
    };
    let mut told = json!({"access": kind, "type": schema.ty(query.ty).name.as_str(), "fields": fields});
    if let Access::Composite(ty, number) = access
        && let Some(index) = schema.ty(*ty).composite(*number)
    {
        told["index"] = index.describe(schema.ty(*ty)).into();
    }
    told
}

//! What comes with requests and in files of rows.

use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use corollary_engine::Refusal;
use corollary_server::http::params::Params;
use corollary_server::json::decode;
use corollary_server::load::file::{Form, Source};
use corollary_server::load::rows;
use corollary_server::patch::{Kind, Patch};
use corollary_server::{condition as tree, path as paths};
use jiff::Timestamp;
use serde_json::Value as Json;

use super::{outcome, schema, with_engine};

/// Each refusal has a code and a message.
fn told(found: &[Refusal]) -> Vec<&'static str> {
    assert!(!found.is_empty());
    assert!(found.iter().all(|one| !one.code.is_empty() && !one.message.is_empty()), "{found:?}");
    found.iter().map(|one| one.code).collect()
}

/// The query of a URL: read, and what it asks of a type.
pub fn query(input: &[u8]) -> u64 {
    let text = &*String::from_utf8_lossy(input);
    let (schema, ty) = schema();
    let mut ways = Vec::new();
    for params in [Params::parse(Some(text)), Params::of_lines(Some(text))] {
        let Ok(params) = params else {
            ways.push(0);
            continue;
        };
        ways.push(1 + usize::from(params.filter(schema, ty).is_ok()));
        let order = params.order(schema, ty);
        ways.push(order.as_ref().map_or(0, |order| 1 + order.len()));
        ways.push(usize::from(params.shape(schema, schema, ty).is_ok()));
        let parts = order.map_or(0, |order| order.len());
        ways.push(match params.after("/api/things", parts) {
            Ok(None) => 0,
            Ok(Some(_)) => 1,
            Err(_) => 2,
        });
        drop((
            params.only_for_one(),
            params.only_for_lines(),
            params.only_for_whole(),
            params.only_for_values(),
        ));
    }
    outcome(ways)
}

/// The path of a URL: its segments, its filters, and where it leads.
pub fn path(input: &[u8]) -> u64 {
    let text = &*String::from_utf8_lossy(input);
    let condition = paths::condition(text).is_ok();
    let Ok(segments) = paths::segments(text) else { return outcome(condition) };
    let leads = with_engine(|executor| {
        let leads = executor.engine().read(Timestamp::UNIX_EPOCH, |working| {
            let target = paths::resolve(working, &segments);
            let file = paths::file(working, &segments);
            Ok((target.map(|target| std::mem::discriminant(&target)).ok(), file.is_ok()))
        });
        leads.expect("a read of an empty store")
    });
    outcome((condition, segments.len(), leads))
}

/// A condition.
pub fn condition(input: &[u8]) -> u64 {
    let Ok(json) = serde_json::from_slice::<Json>(input) else { return 0 };
    let (schema, ty) = schema();
    match tree::typed(schema, ty, &json, "/filter") {
        Ok(expr) => outcome(expr.is_some()),
        Err(found) => outcome(told(&found)),
    }
}

/// A resource.
pub fn body(input: &[u8]) -> u64 {
    let Ok(Json::Object(json)) = serde_json::from_slice::<Json>(input) else { return 0 };
    let (schema, ty) = schema();
    let mut codes = match decode::facts(schema, ty, &json) {
        Ok(facts) => vec![if facts.is_empty() { "empty" } else { "facts" }],
        Err(found) => told(&found),
    };
    if let Err(refusal) = decode::id(&json) {
        codes.push(refusal.code);
    }
    outcome(codes)
}

/// A change.
pub fn patch(input: &[u8]) -> u64 {
    let Ok(json) = serde_json::from_slice::<Json>(input) else { return 0 };
    let (schema, ty) = schema();
    let mut ways = Vec::new();
    for kind in [Kind::JsonPatch, Kind::Actions] {
        ways.push(match Patch::parse(schema, ty, kind, &json) {
            Ok(Patch::Edits(edits)) => 1 + edits.len(),
            Ok(Patch::Moves(actions)) => 200 + actions.moves.len(),
            Ok(Patch::JsonPatch(_)) => 100,
            Err(_) => 0,
        });
    }
    let merge = json.as_object().map(|json| decode::merge_patch(schema, ty, json, None));
    let codes = match merge {
        Some(Err(found)) => told(&found),
        Some(Ok(_)) => vec!["merged"],
        None => Vec::new(),
    };
    outcome((ways, codes))
}

fn each_row(input: &[u8], form: Form) -> u64 {
    let (schema, ty) = schema();
    let text = Box::new(Cursor::new(input.to_vec()));
    let read = Arc::new(AtomicU64::new(0));
    let (mut taken, mut rejected, mut last) = (0usize, 0usize, 0);
    let source = Source { form, text, bytes: input.len() as u64, read };
    let whole = rows::each(source, schema, ty, &mut |row| {
        match row {
            Ok(_) => taken += 1,
            Err(row) => {
                assert!(!row.reason.is_empty() && row.line >= last, "{row:?} behind line {last}");
                last = row.line;
                rejected += 1;
            }
        }
        true
    });
    outcome((whole.is_ok(), taken.min(8), rejected.min(8)))
}

/// Rows of a CSV file.
pub fn csv(input: &[u8]) -> u64 {
    each_row(input, Form::Csv)
}

/// Rows of JSON.
pub fn ndjson(input: &[u8]) -> u64 {
    each_row(input, Form::Ndjson)
}

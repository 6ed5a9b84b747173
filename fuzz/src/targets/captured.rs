//! Changes that were made in SQL.

use std::sync::OnceLock;

use corollary_engine::Write;
use corollary_server::sql::intake::{Captured, Change, MAX_CHANGES, too_many, writes};
use corollary_server::sql::layout::Layout;
use serde_json::Value as Json;

use super::{outcome, schema, with_engine};

/// A line for each change, as a trigger writes it: type, id, kind, and fields as an object.
fn read(input: &[u8]) -> Captured {
    let mut captured = Captured { role: "somebody".into(), at: String::new(), changes: Vec::new() };
    for line in String::from_utf8_lossy(input).lines().take(50) {
        let mut parts = line.splitn(4, ' ').map(str::to_owned);
        let (Some(ty), Some(id), Some(op), Some(fields)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        // Fields are an object, or the reader of the rows has said that they are none.
        let Ok(Json::Object(fields)) = serde_json::from_str(&fields) else { continue };
        captured.changes.push(Change { ty, id, op, fields });
    }
    captured
}

/// A transaction: its writes, each of the change that it says, or all that is wrong, each with its change.
pub fn captured(input: &[u8]) -> u64 {
    static LAYOUT: OnceLock<Layout> = OnceLock::new();
    let layout = LAYOUT.get_or_init(|| Layout::new(schema().0, "corollary_sql"));
    let captured = read(input);
    let told: Json = serde_json::from_str(&captured.told()).expect("it is told in JSON");
    assert!(told.as_array().is_some_and(|told| told.len() == captured.changes.len().min(100)));
    let outcome_of = with_engine(|executor| writes(executor.engine(), layout, &captured));
    match outcome_of.expect("a read of an empty store") {
        Ok(writes) => {
            let mut last = 0;
            for (at, write) in &writes {
                let change = captured.changes.get(*at).expect("a change that is there");
                assert!(*at >= last, "in order");
                last = *at;
                assert_eq!(write.key().id.to_string(), change.id, "of the resource");
                let fits = match write {
                    Write::Create(..) => change.op == "insert",
                    Write::Update(..) | Write::Move(..) => change.op == "update",
                    Write::Delete(_) => change.op == "delete",
                    _ => false,
                };
                assert!(fits, "{} became something else", change.op);
            }
            let deleted = captured.changes.iter().filter(|change| change.op == "delete").count();
            let deletes = writes.iter().filter(|(_, write)| matches!(write, Write::Delete(_))).count();
            assert_eq!(deletes, deleted, "what is deleted is what was asked for");
            outcome((writes.len().min(8), deleted.min(4)))
        }
        Err(problem) => {
            assert!(!problem.errors.is_empty());
            for refusal in &problem.errors {
                assert!(!refusal.code.is_empty() && !refusal.message.is_empty(), "{refusal:?}");
                assert!(refusal.write.is_some_and(|at| at < captured.changes.len()), "{refusal:?}");
            }
            let large = too_many(MAX_CHANGES as u64 + 1);
            assert_eq!(large.errors.len(), 1);
            let codes: Vec<&str> = problem.errors.iter().map(|refusal| refusal.code).take(4).collect();
            outcome(codes)
        }
    }
}

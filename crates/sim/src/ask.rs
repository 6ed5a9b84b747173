//! Random queries, answered twice: by the engine, and by a look at every resource.

use corollary_engine::eval::{Eval, View};
use corollary_engine::query::{self, DEFAULT_SCAN_LIMIT, From, Position, Query};
use corollary_engine::working::Working;
use corollary_engine::{Engine, EngineError, Key};
use corollary_schema::expr::{Place, check_condition, check_expr};
use corollary_schema::{FieldRef, TypeIx};
use corollary_syntax::parse_expression;
use corollary_value::{Id, Value, compare};
use jiff::Timestamp;

use crate::among;
use crate::draft::Draft;
use crate::express::{Express, Standing};
use crate::judge::read;
use crate::random::Random;
use crate::workload;

const DEPTH: u32 = 2;

/// Asks one random query. False where the checker refused its condition or its order.
pub fn ask(engine: &Engine, draft: &Draft, random: &mut Random, now: Timestamp) -> Result<bool, String> {
    let schema = engine.schema();
    let at = random.below(draft.types.len());
    let ty = schema.type_named(draft.types[at].name).expect("every type of the draft is in the schema");
    let mut express = Express::new(draft, random, at, Standing::Query, DEPTH);
    let condition = express.condition();
    let keys: Vec<String> = (0..2).map(|_| express.key()).collect();
    let (filter, mistakes) = check_condition(schema, ty, &parse_expression(&condition).tree);
    let mut refused = !mistakes.is_empty();
    let mut order = Vec::new();
    for key in &keys[..random.below(3)] {
        let (key, mistakes) = check_expr(&**schema, Place::Query(ty), &parse_expression(key).tree);
        refused |= !mistakes.is_empty() || key.ty.is_many();
        order.push((key, random.percent(50)));
    }
    if refused {
        return Ok(false);
    }
    let from = from(engine, draft, random, at, ty);
    let filter = random.percent(85).then_some(filter);
    let limit = 1 + random.below(8);
    let asked = Query { ty, from, filter, order, limit, after: None, scan_limit: DEFAULT_SCAN_LIMIT };
    let expected = read(engine, now, |working| look_at_all(working, &asked))?;
    let found = pages(engine, &asked, now)?;
    let counted = read(engine, now, |working| query::count(working, &asked))?;
    if found != expected || counted != expected.len() as u64 {
        let what = format!("{condition} by {keys:?} from {:?}, {limit} a page", asked.from);
        return Err(format!("{what}: found {found:?} ({counted} counted), and should find {expected:?}"));
    }
    Ok(true)
}

/// Where the resources come from.
fn from(engine: &Engine, draft: &Draft, random: &mut Random, at: usize, ty: TypeIx) -> From {
    match random.below(6) {
        0 => From::Listed((0..5).map(|_| workload::id(at, random.below(8))).collect()),
        1 | 2 => {
            let links = draft.facts(at).into_iter().filter_map(|fact| Some((fact.kind.target()?, fact.name)));
            let links: Vec<(usize, String)> = links.collect();
            let Some((target, name)) = random.pick_any(&links) else { return From::All };
            let Some(slot) = among::slot(engine.schema(), ty, name) else { return From::All };
            From::Referring(FieldRef { ty, slot }, workload::id(*target, random.below(4)))
        }
        _ => From::All,
    }
}

/// All that a query finds, page by page, each position through its bytes.
fn pages(engine: &Engine, asked: &Query, now: Timestamp) -> Result<Vec<Id>, String> {
    let mut asked = asked.clone();
    let mut ids = Vec::new();
    loop {
        let page = read(engine, now, |working| query::run(working, &asked))?;
        if page.more && page.items.len() < asked.limit {
            return Err(format!("a page of {} is followed by another, and not full", page.items.len()));
        }
        ids.extend(page.items.iter().map(|item| item.key.id.clone()));
        let Some(last) = page.items.last().filter(|_| page.more) else { return Ok(ids) };
        let mut bytes = Vec::new();
        last.position.encode(&mut bytes);
        let position =
            Position::decode(&mut &bytes[..]).map_err(|_| "a position cannot be read".to_string())?;
        asked.after = Some(position);
    }
}

fn look_at_all(working: &Working<'_>, asked: &Query) -> Result<Vec<Id>, EngineError> {
    let ids = match &asked.from {
        From::All => working.all(asked.ty)?,
        From::Listed(ids) => {
            let mut ids = ids.clone();
            ids.sort();
            ids.dedup();
            ids
        }
        From::Referring(field, target) => {
            let mut ids = Vec::new();
            for id in working.all(asked.ty)? {
                let held = working.value(*field, &id)?;
                if crate::model::targets(held.as_ref()).contains(target) {
                    ids.push(id);
                }
            }
            ids
        }
    };
    let mut found: Vec<(Vec<Value>, Id)> = Vec::new();
    for id in ids {
        let eval = Eval::new(working, &id);
        if working.after(&Key::new(asked.ty, id.clone()))?.is_none()
            || !asked.filter.as_ref().map_or(Ok(true), |filter| eval.holds(filter))?
        {
            continue;
        }
        let mut values = Vec::new();
        for (key, _) in &asked.order {
            let value = eval.value(key)?;
            values.push(if value.is_null() { Value::Null } else { value });
        }
        found.push((values, id));
    }
    let turned =
        |order: std::cmp::Ordering, descending: bool| if descending { order.reverse() } else { order };
    found.sort_by(|(left, left_id), (right, right_id)| {
        let by_key = asked
            .order
            .iter()
            .enumerate()
            .map(|(at, (_, descending))| turned(compare(&left[at], &right[at]), *descending));
        let by_id =
            turned(left_id.cmp(right_id), asked.order.last().is_some_and(|(_, descending)| *descending));
        by_key.fold(std::cmp::Ordering::Equal, |all, next| all.then(next)).then(by_id)
    });
    Ok(found.into_iter().map(|(_, id)| id).collect())
}

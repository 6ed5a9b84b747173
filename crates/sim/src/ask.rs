//! Random queries, answered twice: by the engine, and by a look at every resource.

use corollary_engine::query::{self, Cursor, DEFAULT_SCAN_LIMIT, From, Position, Query};
use corollary_engine::{Engine, oracle};
use corollary_schema::expr::{Place, check_condition, check_expr};
use corollary_schema::{FieldRef, TypeIx};
use corollary_syntax::parse_expression;
use corollary_value::Id;
use jiff::Timestamp;

use crate::among;
use crate::draft::Draft;
use crate::express::{Express, Standing};
use crate::indexes;
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
    // What an index over several fields answers is seldom met by chance.
    if let Some((filter, order)) = indexes::along(engine, ty, condition.len(), now)? {
        answered(engine, &Query { filter, order, ..asked.clone() }, 1 + condition.len() % 8, now)
            .map_err(|what| format!("along an index over several fields: {what}"))?;
    }
    let at_a_time = 1 + random.below(8);
    answered(engine, &asked, at_a_time, now).map_err(|what| format!("{condition} by {keys:?}: {what}"))?;
    Ok(true)
}

/// Finds what it should find, by pages and by a cursor that is asked for so many at a time.
fn answered(engine: &Engine, asked: &Query, at_a_time: usize, now: Timestamp) -> Result<(), String> {
    let expected = read(engine, now, |working| oracle::queries::found(working, asked))?;
    let found = pages(engine, asked, now)?;
    let taken = taken(engine, asked, at_a_time, now)?;
    if taken != expected {
        let what = format!("from {:?}, {at_a_time} at a time", asked.from);
        return Err(format!("{what}: took {taken:?}, and should find {expected:?}"));
    }
    let counted = read(engine, now, |working| query::count(working, asked))?;
    if found != expected || counted != expected.len() as u64 {
        let what = format!("from {:?}, {} a page", asked.from, asked.limit);
        return Err(format!("{what}: found {found:?} ({counted} counted), and should find {expected:?}"));
    }
    Ok(())
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

/// All that a query finds, from a cursor.
fn taken(engine: &Engine, asked: &Query, at_a_time: usize, now: Timestamp) -> Result<Vec<Id>, String> {
    let all = Query { limit: usize::MAX, ..asked.clone() };
    let taken = engine.walk(now, |working| {
        let mut cursor = Cursor::open(working, all)?;
        let mut ids = Vec::new();
        while let Some(items) = cursor.next(working, at_a_time)? {
            ids.extend(items.into_iter().map(|item| item.key.id));
        }
        Ok(ids)
    });
    taken.map_err(|error| error.to_string())
}

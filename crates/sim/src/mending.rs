//! That repairs mend: what follows from facts is tampered with in random worlds, mended by updates, and the run goes on as if
//! nothing had been, before all judges.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use corollary_engine::eval::View;
use corollary_engine::rebuild::{Structure, structures_of};
use corollary_engine::repair::{Apart, Cure, Cures};
use corollary_engine::{Engine, EngineOptions, index, keys, open, oracle, side_state};
use corollary_store::{Batch, Direction, KeyRange, Store};
use corollary_value::{SumState, Value};

use crate::ground::Ground;
use crate::judge;
use crate::plan::Plan;
use crate::random::Random;
use crate::world::World;

const STEPS: usize = 40;

const WORLDS: u64 = 24;

/// Damages some of what updates can mend: values, what sums are kept with, the rows of groups and of timers. Entries of
/// indexes would be wrong with the values they are made of, and these are built.
fn tamper(world: &World, engine: &Engine, random: &mut Random) {
    let schema = engine.schema();
    let cures = Cures::of(schema);
    let snapshot = world.store.snapshot().expect("a snapshot");
    let mut batch = Batch::new();
    for node in &schema.plan.nodes {
        let field = schema.field(node.result);
        let mendable = matches!(cures.of_one(Structure::Definition(node.definition)), Cure::Update(_));
        if !mendable
            || field.reference_index
            || index::made_of(schema, node.result).next().is_some()
            || random.percent(50)
        {
            continue;
        }
        let prefix = KeyRange::prefix(node.definition.0.to_be_bytes().to_vec());
        for keyspace in [keys::MEMBER, keys::TIMER] {
            let rows = &mut |key: &[u8], _: &[u8]| {
                if random.percent(20) {
                    batch.delete(keyspace, key.to_vec());
                }
                ControlFlow::Continue(())
            };
            snapshot.scan(keyspace, &prefix, Direction::Forward, usize::MAX, rows).expect("a scan");
        }
        let all = judge::read(engine, world.last, |working| working.all(node.result.ty)).expect("ids");
        let layout = &engine.layouts()[node.result.ty.0 as usize];
        // One document is damaged in one place: a second one would be written over the first.
        let Some(id) = all.get(random.below(all.len().max(1))) else { continue };
        let key = keys::doc(schema.ty(node.result.ty).id, id);
        let Some(bytes) = snapshot.get(keys::DOC, &key).expect("a read") else { continue };
        let mut doc = layout.decode(&bytes).expect("a document");
        let wrong = if random.percent(50) { Value::Int(12_345) } else { Value::Absent };
        doc.set(node.result.slot, wrong);
        doc.set_state(node.result.slot, SumState::default());
        let mut bytes = Vec::new();
        layout.encode(&doc, &mut bytes);
        batch.put(keys::DOC, key, bytes);
    }
    drop(snapshot);
    // The log tells how all was before a change, and nothing of what is tampered with: it begins behind that.
    batch.delete_range(keys::LOG, KeyRange::all());
    batch.put(keys::META, keys::TIME, keys::time(world.last));
    world.store.commit(&batch).expect("a commit");
}

fn found(engine: &Engine) -> BTreeSet<Structure> {
    let read = |f: &dyn Fn() -> Result<BTreeSet<Structure>, String>| f().expect("it can be read");
    read(&|| {
        let checked = judge::read(engine, engine.time(), |working| oracle::check(working, None))?;
        let side = judge::read(engine, engine.time(), side_state::check)?;
        let values = checked.differences.iter().flat_map(|it| structures_of(engine.schema(), it.field));
        Ok(values.chain(side.into_keys()).collect())
    })
}

#[test]
fn what_is_tampered_with_is_mended() {
    let mut mended = 0;
    for seed in 0..WORLDS {
        let plan = Plan::whole(seed, STEPS);
        let mut world = World::new(&plan, &Ground::Memory).expect("a world");
        let well = |outcome: Result<(), String>| {
            outcome.unwrap_or_else(|what| panic!("seed {seed}: {what}"));
        };
        (1..=STEPS / 2).for_each(|step| well(world.step(&plan, step)));
        well(world.finish_updates());
        world.others.clear();
        tamper(&world, &world.engine(), &mut Random::new(seed));
        let store: Arc<dyn Store> = world.store.clone();
        let options =
            EngineOptions { node: world.next_name().into(), update_budget: 2, ..EngineOptions::default() };
        let executor = open(store, &world.text, &options, world.last, &mut |_| {}).expect("an opening");
        *world.executor.borrow_mut() = executor;
        let engine = world.engine();
        let state = world.state().expect("a state");
        world.fold.restart(&engine, &state);
        let Apart { nodes, rows, build } = Cures::of(engine.schema()).apart(&found(&engine));
        if !(rows.is_empty() && build.is_empty()) {
            // A recursion has read what is damaged; it is built, which is another story.
            continue;
        }
        mended += nodes.len();
        let begun = world.executor.borrow_mut().begin_repair(&nodes, world.last);
        assert_eq!(begun.expect("a repair").len(), nodes.len());
        well(judge::derived(&engine));
        well(judge::audited(&engine));
        well(world.finish_updates());
        // Once what the updates had changed was asked for at its revision before the history knew of them.
        well(world.settle());
        assert_eq!(found(&world.engine()), BTreeSet::new(), "seed {seed}");
        (STEPS / 2 + 1..=STEPS).for_each(|step| well(world.step(&plan, step)));
        well(world.finish(&plan));
    }
    assert!(mended > 40, "{mended}");
}

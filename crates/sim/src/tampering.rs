//! That the judges see: each thing that is stored is tampered with, and the end of the run has to fail.

use std::ops::ControlFlow;
use std::sync::Arc;

use corollary_engine::{EngineOptions, keys, open};
use corollary_store::{Batch, Direction, KeyRange, Keyspace, Store};

use crate::ground::Ground;
use crate::plan::Plan;
use crate::world::World;

const STEPS: usize = 40;

/// A world with something in a keyspace, and the first and the last key in it.
fn world_with(keyspace: Keyspace) -> (World, Vec<Vec<u8>>) {
    for seed in 0.. {
        let plan = Plan::whole(seed, STEPS);
        let mut world = World::new(&plan, &Ground::Memory).expect("a world");
        plan.remaining().for_each(|step| world.step(&plan, step).expect("all is well"));
        // Or what is done wrong to what an update has yet to come to would be put right by it.
        world.finish_updates().expect("all is well");
        let mut found = Vec::new();
        let snapshot = world.store.snapshot().expect("a snapshot");
        snapshot
            .scan(keyspace, &KeyRange::all(), Direction::Forward, usize::MAX, &mut |key, _| {
                found.push(key.to_vec());
                ControlFlow::Continue(())
            })
            .expect("a scan");
        if found.len() > 3 {
            return (world, found);
        }
    }
    unreachable!("seeds do not end")
}

/// Changes what is stored behind the engine's back, and asks the judges.
fn judged(mut world: World, batch: &Batch) -> Result<(), String> {
    world.store.commit(batch).expect("a commit");
    let text = world.text.clone();
    let store: Arc<dyn Store> = world.store.clone();
    let now = jiff::Timestamp::UNIX_EPOCH;
    let executor = open(store, &text, &EngineOptions::default(), now, &mut |_| {}).expect("an opening");
    *world.executor.borrow_mut() = executor;
    world.finish(&Plan::whole(0, STEPS))
}

#[test]
fn a_row_that_is_missing_is_noticed() {
    for keyspace in [keys::DOC, keys::REFERENCE, keys::INDEX, keys::MEMBER, keys::LOG] {
        let (world, rows) = world_with(keyspace);
        let mut batch = Batch::new();
        batch.delete(keyspace, rows[rows.len() / 2].clone());
        let outcome = judged(world, &batch);
        assert!(outcome.is_err(), "without a row of {keyspace:?}");
    }
}

#[test]
fn a_row_too_many_is_noticed() {
    for keyspace in [keys::REFERENCE, keys::INDEX, keys::MEMBER] {
        let (world, rows) = world_with(keyspace);
        // Another id at its end.
        let other = |row: &Vec<u8>| {
            let mut row = row.clone();
            let last = row.len() - 2;
            row[last] = if row[last] == b'9' { b'8' } else { b'9' };
            row
        };
        let row = rows.iter().map(other).find(|row| !rows.contains(row)).expect("a row that is not there");
        let mut batch = Batch::new();
        batch.put(keyspace, row, Vec::new());
        let outcome = judged(world, &batch);
        assert!(outcome.is_err(), "with a row more of {keyspace:?}");
    }
}

#[test]
fn a_revision_that_goes_back_is_noticed() {
    let (world, _) = world_with(keys::DOC);
    let mut batch = Batch::new();
    batch.put(keys::META, keys::REVISION, (world.revision - 1).to_be_bytes().to_vec());
    assert!(judged(world, &batch).is_err());
}

#[test]
fn untouched_all_is_well() {
    let (world, _) = world_with(keys::DOC);
    judged(world, &Batch::new()).expect("all is well");
}

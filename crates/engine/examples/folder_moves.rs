//! Moves folders about in a deep tree, and tells what a move costs: `cargo run --release --example folder_moves`.
//!
//! A spine of folders, each in the one before, and trees of folders and files hanging on it. Each move takes one of the
//! trees to a random place of the spine, or out of it. After each, the sizes of the root and of the two places are
//! compared with sums over the same moves in plain arrays; in the end the oracle looks at all.

use std::sync::Arc;
use std::time::Instant;

use corollary_engine::{
    Edit, EngineOptions, Executor, Key, Transaction, Write, keys, open, oracle, side_state,
};
use corollary_store::MemoryStore;
use corollary_value::{Id, Value};
use jiff::Timestamp;

const SCHEMA: &str = "
type Folder in folders {
  up: link Folder
  folders: inverse Folder.up
  files: collection File
  size := sum(self.files.bytes) + sum(self.folders.size)
}
type File { bytes: int }
";

/// Trees that are moved.
const TREES: usize = 50;

/// Folders of each.
const TREE: usize = 4;

/// Numbers of Knuth's linear congruential generator, so that each run is the same.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let number = |at: usize, default: usize| {
        std::env::args().nth(at).map_or(Ok(default), |text| text.parse::<usize>())
    };
    let (depth, moves) = (number(1, 1_000)?, number(2, 10_000)?);
    let store = Arc::new(MemoryStore::new(&keys::KEYSPACES)?);
    let now = Timestamp::UNIX_EPOCH;
    let mut executor = open(store, SCHEMA, &EngineOptions::default(), now, &mut |_| {})?;
    let schema = executor.engine().schema().clone();
    let (folder, file) =
        (schema.type_named("Folder").ok_or("no folders")?, schema.type_named("File").ok_or("no files")?);
    let slot = |ty, name: &str| schema.ty(ty).named(name).map(|(slot, _)| slot).ok_or("no such field");
    let (up, size) = (slot(folder, "up")?, slot(folder, "size")?);
    let (parent, bytes) = (slot(file, "parent_folder_files")?, slot(file, "bytes")?);
    let id = |name: String| Id::parse(&name);
    let reference = |name: String| Ok::<_, Box<dyn std::error::Error>>(Value::Ref(id(name)?));

    let mut writes = Vec::new();
    let mut add =
        |name: String, above: Option<String>, weight: i64| -> Result<(), Box<dyn std::error::Error>> {
            let mut given = Vec::new();
            if let Some(above) = above {
                given.push((up, reference(above)?));
            }
            writes.push(Write::Create(Key::new(folder, id(name.clone())?), given));
            let given = vec![(parent, reference(name.clone())?), (bytes, Value::Int(weight))];
            writes.push(Write::Create(Key::new(file, id(format!("{name}-file"))?), given));
            Ok(())
        };
    for at in 0..depth {
        add(format!("s{at}"), at.checked_sub(1).map(|above| format!("s{above}")), 1)?;
    }
    for tree in 0..TREES {
        for part in 0..TREE {
            let above = part.checked_sub(1).map(|above| format!("t{tree}-{above}"));
            add(format!("t{tree}-{part}"), above, 1 + tree as i64)?;
        }
    }
    commit(&mut executor, writes)?;

    let mut place: Vec<Option<usize>> = vec![None; TREES];
    let mut random = Random(1);
    let (mut evaluations, mut above, mut most, mut worst) = (0, 0, 0, 0.0f64);
    let began = Instant::now();
    for _ in 0..moves {
        let tree = random.below(TREES);
        let to = (random.below(10) > 0).then(|| random.below(depth));
        let edit = match to {
            Some(to) => Edit::Set(reference(format!("s{to}"))?),
            None => Edit::Set(Value::Absent),
        };
        let key = Key::new(folder, id(format!("t{tree}-0"))?);
        let work = commit(&mut executor, vec![Write::Update(key, vec![(up, edit)])])?;
        let touched = place[tree].max(to).map_or(0, |deepest| deepest + 1);
        let from = std::mem::replace(&mut place[tree], to);
        evaluations += work;
        above += touched;
        most = most.max(work);
        worst = worst.max(work as f64 / (touched as f64 + 1.0));
        for at in [Some(0), from, to].into_iter().flatten() {
            let trees = place.iter().enumerate().filter(|(_, hangs)| hangs.is_some_and(|hangs| hangs >= at));
            let trees: usize = trees.map(|(tree, _)| TREE * (1 + tree)).sum();
            let expected = Value::Int((depth - at + trees) as i64);
            let key = Key::new(folder, id(format!("s{at}"))?);
            let stored = executor.engine().read(now, |working| working.after(&key))?;
            let stored = stored.map(|doc| doc.get(size).clone());
            if stored.as_ref() != Some(&expected) {
                return Err(format!("the size of s{at} is {stored:?}, and should be {expected}").into());
            }
        }
    }
    let took = began.elapsed();
    let wrong = executor.engine().read(now, |working| {
        Ok(oracle::check(working, None)?.differences.len() + side_state::check(working)?.len())
    })?;
    println!("{moves} moves in a tree {depth} deep, {:.1} s, all sizes right after each", took.as_secs_f64());
    println!("folders above the two places: {:.1} a move", above as f64 / moves as f64);
    println!("evaluations: {:.1} a move, {most} at most", evaluations as f64 / moves as f64);
    println!(
        "evaluations for each folder above: {:.2}, {worst:.2} at most",
        evaluations as f64 / above as f64
    );
    println!("differences that the oracle finds in the end: {wrong}");
    if wrong == 0 { Ok(()) } else { Err("the oracle found differences".into()) }
}

/// Commits, and tells how much was evaluated.
fn commit(executor: &mut Executor, writes: Vec<Write>) -> Result<u64, Box<dyn std::error::Error>> {
    let committed = executor.commit(&[Transaction { writes }], Timestamp::UNIX_EPOCH)?.remove(0)?;
    Ok(committed.work.evaluations)
}

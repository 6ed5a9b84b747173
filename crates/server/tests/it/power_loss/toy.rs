//! The replay finds what it is for: a database of a few lines, and the same with a sync that is forgotten.
//!
//! It appends a number to a file, and every so often begins a new file, under another name until it is whole.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::replay::{Plan, Summary, replay};
use super::trace::Operation;

const ROOT: u64 = 1;

/// What is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Forgotten {
    Nothing,
    /// What was appended.
    Record,
    /// The new file, before it takes its name.
    File,
    /// The folder, behind the new name.
    Folder,
}

/// The operations of such a database, and how many there are when a number is acknowledged.
fn run(forgotten: Forgotten) -> (Vec<Operation>, Vec<usize>) {
    let (mut operations, mut acknowledged) = (Vec::new(), Vec::new());
    let sync = |operations: &mut Vec<Operation>, what: Forgotten, inode: u64| {
        if what != forgotten {
            operations.push(Operation::Sync { inode });
        }
    };
    for number in 0..40_u64 {
        let file = 2 + number / 10;
        if number % 10 == 0 {
            operations.push(Operation::Create { inode: file, path: "new".into() });
            operations.push(Operation::Write { inode: file, at: 0, bytes: (*b"numbers:").into() });
            sync(&mut operations, Forgotten::File, file);
            let to = format!("numbers-{file}").into();
            operations.push(Operation::Rename { from: "new".into(), to });
            sync(&mut operations, Forgotten::Folder, ROOT);
        }
        let at = 8 + (number as usize % 10) * 8;
        operations.push(Operation::Write { inode: file, at, bytes: (number + 1).to_le_bytes().into() });
        sync(&mut operations, Forgotten::Record, file);
        acknowledged.push(operations.len());
    }
    (operations, acknowledged)
}

/// The numbers that the database finds in a folder.
fn open(folder: &Path) -> Result<BTreeSet<u64>, String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.ends_with("new") {
            continue;
        }
        let bytes = fs::read(path).unwrap();
        let numbers = bytes.strip_prefix(b"numbers:").ok_or("a file is no list of numbers")?;
        let number = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_le_bytes);
        found.extend(numbers.chunks(8).map(number).filter(|number| *number > 0));
    }
    Ok(found)
}

fn summary(forgotten: Forgotten) -> Summary {
    let (operations, acknowledged) = run(forgotten);
    let by = |moment: usize| acknowledged.iter().filter(|at| **at <= moment).count();
    let plan = Plan { seed: 7, every: 1, variants: 6, only: None };
    replay(ROOT, &operations, plan, &by, &|folder, moment| {
        let (found, least) = (open(folder)?, by(moment) as u64);
        match (1..=least).find(|number| !found.contains(number)) {
            Some(lost) => Err(format!("{lost} was acknowledged and is lost")),
            None => Ok(least as usize),
        }
    })
}

#[test]
fn a_database_that_forgets_nothing_has_no_findings() {
    let summary = summary(Forgotten::Nothing);
    assert!(summary.findings.is_empty(), "{:#?}", summary.findings);
    assert_eq!(summary.moments, summary.operations + 1);
    assert!(summary.states > 2 * summary.moments, "{summary:?}");
}

#[test]
fn each_sync_that_a_database_forgets_is_found() {
    for forgotten in [Forgotten::Record, Forgotten::File, Forgotten::Folder] {
        let summary = summary(forgotten);
        assert!(!summary.findings.is_empty(), "{forgotten:?}");
    }
}

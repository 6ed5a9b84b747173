//! Every folder that a recorded run may leave when the power is lost, one moment after the other, in several variants.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::disk::{self, Disk, Image, Manner};
use super::trace::Operation;
use crate::common::*;

/// Findings that are told; there may be one for every moment.
const MAX_TOLD: usize = 20;

/// What of a run is looked at.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub seed: u64,
    /// One moment of so many, by chance; 1 for all.
    pub every: u64,
    /// Random folders at each of them, beside that with nothing and that with all of what was not synced.
    pub variants: u64,
    /// The moment of a finding that is to be repeated: no other is looked at.
    pub only: Option<usize>,
}

/// What was looked at, and found.
#[derive(Debug, Default)]
pub struct Summary {
    pub operations: usize,
    pub moments: usize,
    pub states: usize,
    /// Acknowledged writes that were looked for, in all states together.
    pub acknowledged: usize,
    /// The most changes that were not durable at one of the moments.
    pub most_pending: usize,
    pub findings: Vec<String>,
}

/// Folders that are opened from one line about them to the next.
const TELL: usize = 1_000;

/// The random choices at a moment do not depend on which others are looked at, nor by whom.
fn random(plan: &Plan, moment: usize) -> Random {
    Random::new(plan.seed.wrapping_add((moment as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
}

fn manner(random: &mut Random) -> Manner {
    match random.below(6) {
        0 => Manner::Prefix,
        1 => Manner::Each { percent: 50 },
        2 => Manner::Each { percent: 10 },
        3 => Manner::Each { percent: 90 },
        _ => Manner::Whole { percent: 50 },
    }
}

/// How many writes had been acknowledged by a moment.
pub type Acknowledged<'a> = dyn Fn(usize) -> usize + Sync + 'a;

/// Looks at a folder as it was left at a moment: how many acknowledged writes are there, or what is wrong.
pub type Judgement<'a> = dyn Fn(&Path, usize) -> Result<usize, String> + Sync + 'a;

/// Has `judge` look at every folder; it says how many acknowledged writes it found, or what is wrong.
pub fn replay(
    root: u64,
    operations: &[Operation],
    plan: Plan,
    acknowledged: &Acknowledged<'_>,
    judge: &Judgement<'_>,
) -> Summary {
    let summary = Mutex::new(Summary { operations: operations.len(), ..Summary::default() });
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                let mut disk = Disk::new(root);
                let mut done = 0;
                let mut look = Look { plan, acknowledged, judge, summary: &summary, seen: None };
                loop {
                    // Some moments together, so that what did not change from one to the next is not looked at again.
                    let from = next.fetch_add(TOGETHER, Ordering::Relaxed);
                    if from > operations.len() {
                        return;
                    }
                    for moment in from..(from + TOGETHER).min(operations.len() + 1) {
                        operations[done..moment].iter().for_each(|operation| disk.apply(operation));
                        done = moment;
                        let mut random = random(&plan, moment);
                        let wanted = match plan.only {
                            Some(only) => only == moment,
                            None => random.below(plan.every) == 0 || moment == operations.len(),
                        };
                        if wanted {
                            look.at(&disk, moment, &mut random);
                        }
                    }
                }
            });
        }
    });
    summary.into_inner().unwrap()
}

/// Moments that one thread takes at a time.
const TOGETHER: usize = 32;

/// What a folder without anything that was not synced depends on: what was synced, and what has to be there.
type Durable = (u64, usize);

/// What a thread needs to look at folders, and what it has seen.
struct Look<'a> {
    plan: Plan,
    acknowledged: &'a Acknowledged<'a>,
    judge: &'a Judgement<'a>,
    summary: &'a Mutex<Summary>,
    /// Of the last folder without anything that was not synced.
    seen: Option<Durable>,
}

impl Look<'_> {
    fn at(&mut self, disk: &Disk, moment: usize, random: &mut Random) {
        let durable = (disk.synced, (self.acknowledged)(moment));
        let mut manners = Vec::new();
        if self.seen != Some(durable) {
            manners.push(Manner::Nothing);
            self.seen = Some(durable);
        }
        if disk.pending() > 0 {
            manners.push(Manner::Everything);
            manners.extend((0..self.plan.variants).map(|_| manner(random)));
        }
        for (variant, manner) in manners.iter().enumerate() {
            let folder = tempfile::tempdir_in(memory()).unwrap();
            let image = disk.image(*manner, random);
            disk::write(&image, folder.path());
            leave_memory(&image, folder.path(), random);
            let judged = catch_unwind(AssertUnwindSafe(|| (self.judge)(folder.path(), moment)));
            let judged = judged.unwrap_or_else(|panic| {
                let text = panic.downcast_ref::<String>().cloned();
                Err(format!("a panic: {}", text.unwrap_or_default()))
            });
            let mut summary = self.summary.lock().unwrap();
            summary.states += 1;
            if summary.states.is_multiple_of(TELL) {
                let Summary { states, moments, findings, .. } = &*summary;
                eprintln!("{states} folders of {moments} moments opened, {} findings", findings.len());
            }
            match judged {
                Ok(found) => summary.acknowledged += found,
                Err(wrong) => {
                    let finding = format!("moment {moment}, variant {variant}, {manner:?}: {wrong}");
                    if summary.findings.len() < MAX_TOLD {
                        eprintln!("{finding}");
                    }
                    summary.findings.push(finding);
                }
            }
        }
        let mut summary = self.summary.lock().unwrap();
        summary.moments += 1;
        summary.most_pending = summary.most_pending.max(disk.pending());
    }
}

/// What SQLite's processes share in memory has a file, of which anything may be there.
fn leave_memory(image: &Image, folder: &Path, random: &mut Random) {
    for path in image.keys() {
        let Some(name) = path.to_str().and_then(|path| path.strip_suffix("-wal")) else { continue };
        if random.below(2) == 0 {
            let bytes: Vec<u8> =
                (0..MEMORY_BYTES / 8).flat_map(|_| random.below(u64::MAX).to_le_bytes()).collect();
            fs::write(folder.join(format!("{name}-shm")), bytes).unwrap();
        }
    }
}

/// The least that such a file has.
const MEMORY_BYTES: usize = 32 << 10;

/// Where the folders are put: in memory, if the system has such a place, since nothing there has to be synced.
fn memory() -> PathBuf {
    let shared = PathBuf::from("/dev/shm");
    match fs::metadata(&shared) {
        Ok(found) if found.is_dir() => shared,
        _ => std::env::temp_dir(),
    }
}

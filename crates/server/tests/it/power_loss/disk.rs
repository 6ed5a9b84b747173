//! A disk that may lose its power: what of a folder is durable, what is not yet, and what may be found of it.
//!
//! What was synced is there. Of what was not, anything may be: each write whole, torn between its sectors, or not at all,
//! whatever became of others before and behind it; each new name, each removal and each new length or not. A file whose
//! length grew without its bytes has zeros there. What a folder has is durable when the folder was synced, and a file's
//! bytes when the file was: neither brings the other about.
//!
//! Invariant: [`Disk::image`] with [`Manner::Everything`] is what the programs that ran saw themselves.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::trace::Operation;
use crate::common::*;

/// What a device writes wholly or not at all.
const SECTOR: usize = 512;

/// A change of a file that is not durable yet.
#[derive(Clone, Debug)]
enum Change {
    Write { at: usize, bytes: Arc<[u8]> },
    Truncate { length: usize },
}

/// A change of a folder that is not durable yet.
#[derive(Clone, Debug)]
enum Step {
    Put { name: String, node: usize },
    Remove { name: String },
    Rename { from: String, to: String },
}

/// A file or a folder, of as many as there ever were.
#[derive(Clone, Debug)]
enum Node {
    File { durable: Vec<u8>, pending: Vec<(usize, Change)> },
    Folder { durable: BTreeMap<String, usize>, pending: Vec<(usize, Step)> },
}

/// What becomes of what is not durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It is lost.
    Nothing,
    /// It is all there.
    Everything,
    /// Of a hundred changes, so many are there; of the writes among them some are torn.
    Each { percent: u64 },
    /// Of a hundred files and folders, so many have all of their changes, and the others none.
    Whole { percent: u64 },
    /// What was done up to some moment is there, in order; the last write torn.
    Prefix,
}

/// What is found: folders without content, and files.
pub type Image = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// See the module.
#[derive(Clone, Debug)]
pub struct Disk {
    nodes: Vec<Node>,
    /// Who has an inode now.
    by_inode: HashMap<u64, usize>,
    /// Operations so far.
    done: usize,
    /// Counts what became durable.
    pub synced: u64,
}

const ROOT: usize = 0;

impl Disk {
    /// One with an empty folder.
    pub fn new(root: u64) -> Disk {
        let node = Node::Folder { durable: BTreeMap::new(), pending: Vec::new() };
        Disk { nodes: vec![node], by_inode: HashMap::from([(root, ROOT)]), done: 0, synced: 0 }
    }

    /// Changes that are not durable.
    pub fn pending(&self) -> usize {
        let pending = |node: &Node| match node {
            Node::File { pending, .. } => pending.len(),
            Node::Folder { pending, .. } => pending.len(),
        };
        self.nodes.iter().map(pending).sum()
    }

    /// Does the next operation.
    pub fn apply(&mut self, operation: &Operation) {
        let at = self.done;
        self.done += 1;
        match operation {
            Operation::Create { inode, path } => {
                let file = Node::File { durable: Vec::new(), pending: Vec::new() };
                self.put(at, *inode, path, file);
            }
            Operation::Folder { inode, path } => {
                let folder = Node::Folder { durable: BTreeMap::new(), pending: Vec::new() };
                self.put(at, *inode, path, folder);
            }
            Operation::Write { inode, at: place, bytes } => {
                let bytes = Arc::clone(bytes);
                self.change(at, *inode, Change::Write { at: *place, bytes });
            }
            Operation::Truncate { inode, length } => {
                self.change(at, *inode, Change::Truncate { length: *length });
            }
            Operation::Sync { inode } => {
                let node = self.by_inode[inode];
                self.synced += 1;
                match &mut self.nodes[node] {
                    Node::File { durable, pending } => {
                        pending.drain(..).for_each(|(_, change)| change.apply(durable));
                    }
                    Node::Folder { durable, pending } => {
                        pending.drain(..).for_each(|(_, step)| step.apply(durable));
                    }
                }
            }
            Operation::Remove { path } => {
                let (folder, name) = self.entry(path);
                self.step(at, folder, Step::Remove { name });
            }
            Operation::Rename { from, to } => {
                let ((folder, from), (other, to)) = (self.entry(from), self.entry(to));
                assert_eq!(folder, other, "a rename from one folder to another");
                self.step(at, folder, Step::Rename { from, to });
            }
        }
    }

    fn put(&mut self, at: usize, inode: u64, path: &Path, node: Node) {
        let (folder, name) = self.entry(path);
        self.nodes.push(node);
        let node = self.nodes.len() - 1;
        self.by_inode.insert(inode, node);
        self.step(at, folder, Step::Put { name, node });
    }

    fn step(&mut self, at: usize, folder: usize, step: Step) {
        match &mut self.nodes[folder] {
            Node::Folder { pending, .. } => pending.push((at, step)),
            Node::File { .. } => panic!("a file with entries"),
        }
    }

    fn change(&mut self, at: usize, inode: u64, change: Change) {
        match &mut self.nodes[self.by_inode[&inode]] {
            Node::File { pending, .. } => pending.push((at, change)),
            Node::Folder { .. } => panic!("a folder with bytes"),
        }
    }

    /// The folder in which a path is now, and its name there.
    fn entry(&self, path: &Path) -> (usize, String) {
        let mut folder = ROOT;
        for name in path.parent().into_iter().flat_map(Path::iter) {
            let Node::Folder { durable, pending } = &self.nodes[folder] else { panic!("{path:?}") };
            let mut entries = durable.clone();
            pending.iter().for_each(|(_, step)| step.clone().apply(&mut entries));
            folder = entries[name.to_str().unwrap()];
        }
        (folder, path.file_name().unwrap().to_str().unwrap().to_owned())
    }

    /// What may be found if the power is lost now.
    pub fn image(&self, manner: Manner, random: &mut Random) -> Image {
        let mut chance = Chance::new(manner, self, random);
        let mut image = Image::new();
        let mut folders = vec![(ROOT, PathBuf::new())];
        while let Some((node, path)) = folders.pop() {
            let Node::Folder { durable, pending } = &self.nodes[node] else { panic!("{path:?}") };
            let mut entries = durable.clone();
            chance.begin();
            for (at, step) in pending {
                if chance.takes(*at) {
                    step.clone().apply(&mut entries);
                }
            }
            for (name, node) in entries {
                let path = path.join(name);
                match &self.nodes[node] {
                    Node::Folder { .. } => {
                        image.insert(path.clone(), None);
                        folders.push((node, path));
                    }
                    Node::File { durable, pending } => {
                        let mut bytes = durable.clone();
                        chance.begin();
                        for (at, change) in pending {
                            if chance.takes(*at) {
                                match chance.tears(*at) {
                                    true => change.clone().tear(chance.random, &mut bytes),
                                    false => change.clone().apply(&mut bytes),
                                }
                            }
                        }
                        image.insert(path, Some(bytes));
                    }
                }
            }
        }
        image
    }
}

impl Change {
    fn apply(self, file: &mut Vec<u8>) {
        match self {
            Change::Truncate { length } => file.resize(length, 0),
            Change::Write { at, bytes } => {
                file.resize(file.len().max(at + bytes.len()), 0);
                file[at..at + bytes.len()].copy_from_slice(&bytes);
            }
        }
    }

    /// Some of its sectors only, from the first on or anyhow; the length may be the new one all the same.
    fn tear(self, random: &mut Random, file: &mut Vec<u8>) {
        let Change::Write { at, bytes } = &self else { return self.apply(file) };
        let in_order = random.below(2) == 0;
        let cut = at + random.below(bytes.len() as u64 + 1) as usize;
        if random.below(2) == 0 {
            file.resize(file.len().max(at + bytes.len()), 0);
        }
        let mut from = *at;
        while from < at + bytes.len() {
            let to = ((from / SECTOR + 1) * SECTOR).min(at + bytes.len());
            if if in_order { to <= cut } else { random.below(2) == 0 } {
                let bytes = bytes[from - at..to - at].into();
                Change::Write { at: from, bytes }.apply(file);
            }
            from = to;
        }
    }
}

impl Step {
    fn apply(self, entries: &mut BTreeMap<String, usize>) {
        match self {
            Step::Put { name, node } => drop(entries.insert(name, node)),
            Step::Remove { name } => drop(entries.remove(&name)),
            // Where the name is not durable that it had before, it has neither.
            Step::Rename { from, to } => {
                if let Some(node) = entries.remove(&from) {
                    entries.insert(to, node);
                }
            }
        }
    }
}

/// Decides what is there.
struct Chance<'a> {
    manner: Manner,
    random: &'a mut Random,
    /// Of the file or folder at hand, under [`Manner::Whole`].
    whole: bool,
    /// The last operation that is there, under [`Manner::Prefix`].
    last: usize,
}

impl<'a> Chance<'a> {
    fn new(manner: Manner, disk: &Disk, random: &'a mut Random) -> Chance<'a> {
        let mut last = 0;
        if manner == Manner::Prefix {
            let first = |node: &Node| match node {
                Node::File { pending, .. } => pending.first().map(|(at, _)| *at),
                Node::Folder { pending, .. } => pending.first().map(|(at, _)| *at),
            };
            let first = disk.nodes.iter().filter_map(first).min().unwrap_or(disk.done);
            last = first + random.below((disk.done - first) as u64 + 1) as usize;
        }
        Chance { manner, random, whole: true, last }
    }

    /// The changes of another file or folder follow.
    fn begin(&mut self) {
        if let Manner::Whole { percent } = self.manner {
            self.whole = self.random.below(100) < percent;
        }
    }

    fn takes(&mut self, at: usize) -> bool {
        match self.manner {
            Manner::Nothing => false,
            Manner::Everything => true,
            Manner::Each { percent } => self.random.below(100) < percent,
            Manner::Whole { .. } => self.whole,
            Manner::Prefix => at <= self.last,
        }
    }

    fn tears(&mut self, at: usize) -> bool {
        match self.manner {
            Manner::Each { .. } => self.random.below(4) == 0,
            Manner::Prefix => at == self.last,
            Manner::Nothing | Manner::Everything | Manner::Whole { .. } => false,
        }
    }
}

/// Blocks that files are made of: what has only zeros is left out.
const BLOCK: usize = 4096;

/// Puts what was found into an empty folder.
pub fn write(image: &Image, folder: &Path) {
    for (path, content) in image {
        let path = folder.join(path);
        let Some(content) = content else {
            fs::create_dir(&path).unwrap();
            continue;
        };
        let file = File::create(&path).unwrap();
        file.set_len(content.len() as u64).unwrap();
        for (at, block) in content.chunks(BLOCK).enumerate() {
            if *block != [0; BLOCK][..block.len()] {
                file.write_all_at(block, (at * BLOCK) as u64).unwrap();
            }
        }
    }
}

/// What is in a folder, but for the memory that processes share.
pub fn read(folder: &Path) -> Image {
    let (mut image, mut folders) = (Image::new(), vec![PathBuf::new()]);
    while let Some(below) = folders.pop() {
        for entry in fs::read_dir(folder.join(&below)).unwrap() {
            let entry = entry.unwrap();
            let path = below.join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                image.insert(path.clone(), None);
                folders.push(path);
            } else if !entry.file_name().to_str().unwrap().ends_with("-shm") {
                image.insert(path, Some(fs::read(entry.path()).unwrap()));
            }
        }
    }
    image
}

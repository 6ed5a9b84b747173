//! What `record.c` has written down: the operations of a program on the files of a folder, in order.
//!
//! An entry is five numbers of 64 bits in the order of the machine (kind, inode, place, bytes of the path, bytes), then the
//! path (of a rename both, with a zero between them), then the bytes that were written.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::common::*;

/// One operation that succeeded.
#[derive(Clone, Debug)]
pub enum Operation {
    /// A new, empty file.
    Create { inode: u64, path: PathBuf },
    /// Bytes at a place of a file.
    Write { inode: u64, at: usize, bytes: Arc<[u8]> },
    /// Another length.
    Truncate { inode: u64, length: usize },
    /// What was done to a file, or to a folder, before this is durable.
    Sync { inode: u64 },
    /// An entry less.
    Remove { path: PathBuf },
    /// Another name within its folder, in the place of what had it.
    Rename { from: PathBuf, to: PathBuf },
    /// A new, empty folder.
    Folder { inode: u64, path: PathBuf },
}

/// The operations of everybody who has used a folder, one process after the other.
pub struct Trace {
    /// The folder, by its real name.
    pub folder: PathBuf,
    pub path: PathBuf,
    control: File,
}

impl Trace {
    /// Has the servers that are started in a place from now on write down what they do to one of its folders.
    pub fn of(place: &mut Place, folder: &str) -> Trace {
        fs::create_dir(place.path(folder)).unwrap();
        let folder = fs::canonicalize(place.path(folder)).unwrap();
        let path = place.write("trace", []);
        let control = place.write("control", [0; 32]);
        let shim = shim("record", include_str!("record.c"));
        place.environment = vec![
            ("LD_PRELOAD".into(), shim.to_str().unwrap().to_owned()),
            ("RECORD".into(), path.clone()),
            ("RECORD_CONTROL".into(), control.clone()),
            ("RECORD_FOLDER".into(), folder.to_str().unwrap().to_owned()),
        ];
        let control = File::options().read(true).write(true).open(control).unwrap();
        Trace { folder, path: path.into(), control }
    }

    /// How many operations there are so far.
    pub fn length(&self) -> usize {
        length(&self.control)
    }

    /// The same, for somebody else.
    pub fn clock(&self) -> impl Fn() -> usize + Send + Sync + 'static {
        let control = self.control.try_clone().unwrap();
        move || length(&control)
    }

    /// The program is killed when there are so many.
    pub fn die_at(&self, operations: usize) {
        self.control.write_all_at(&(operations as u64).to_ne_bytes(), 8).unwrap();
    }

    /// Kills a program between two operations: in the midst of one, its entry would end in the midst too.
    pub fn kill(&self, server: Server) {
        self.control.write_all_at(&1u64.to_ne_bytes(), 16).unwrap();
        while number(&self.control, 24) != 0 {
            thread::sleep(Duration::from_millis(1));
        }
        server.kill();
        self.control.write_all_at(&0u64.to_ne_bytes(), 16).unwrap();
    }

    /// The inode of the folder.
    pub fn root(&self) -> u64 {
        fs::metadata(&self.folder).unwrap().ino()
    }

    /// All of them.
    pub fn operations(&self) -> Vec<Operation> {
        let operations = read_all(&fs::read(&self.path).unwrap(), &self.folder);
        assert_eq!(operations.len(), self.length(), "the trace is not whole");
        operations
    }
}

/// The operations of a trace on a folder.
pub fn read_all(mut trace: &[u8], folder: &Path) -> Vec<Operation> {
    let mut operations = Vec::new();
    while !trace.is_empty() {
        operations.push(read(&mut trace, folder));
    }
    operations
}

fn length(control: &File) -> usize {
    usize::try_from(number(control, 0)).unwrap()
}

fn number(control: &File, at: u64) -> u64 {
    let mut bytes = [0; 8];
    control.read_exact_at(&mut bytes, at).unwrap();
    u64::from_ne_bytes(bytes)
}

fn read(rest: &mut &[u8], folder: &Path) -> Operation {
    let mut take = |length: usize| {
        let (taken, left) = rest.split_at(length);
        *rest = left;
        taken
    };
    let head = take(40);
    let number = |at: usize| u64::from_ne_bytes(head[at * 8..][..8].try_into().unwrap());
    let size = |at: usize| usize::try_from(number(at)).unwrap();
    let (inode, at) = (number(1), size(2));
    let names = String::from_utf8(take(size(3)).to_vec()).unwrap();
    let bytes = take(size(4)).into();
    let inside = |name: &str| Path::new(name).strip_prefix(folder).unwrap().to_owned();
    match number(0) {
        1 => Operation::Create { inode, path: inside(&names) },
        2 => Operation::Write { inode, at, bytes },
        3 => Operation::Truncate { inode, length: at },
        4 => Operation::Sync { inode },
        5 => Operation::Remove { path: inside(&names) },
        6 => {
            let (from, to) = names.split_once('\0').unwrap();
            Operation::Rename { from: inside(from), to: inside(to) }
        }
        7 => Operation::Folder { inode, path: inside(&names) },
        kind => panic!("an operation of kind {kind}"),
    }
}

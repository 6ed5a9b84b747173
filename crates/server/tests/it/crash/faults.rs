//! A disk that fails when it is told to, and a clock that is wrong: `faults.c`, which stands before the C library of a server.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use crate::common::*;

/// Calls that a fault concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i64)]
pub enum Calls {
    Writes = 1,
    Syncs = 2,
    /// Writes, and what gives files another size.
    Space = 1 | 4,
}

/// What is to fail.
#[derive(Clone, Copy, Debug)]
pub struct Fault {
    pub calls: Calls,
    /// How many of these calls still succeed.
    pub pass: u64,
    /// How many fail then.
    pub fail: u64,
    pub error: i32,
    /// The first of them is done by half.
    pub half: bool,
}

/// The device has no space.
pub const ENOSPC: i32 = 28;

/// The device is broken.
pub const EIO: i32 = 5;

/// The disk of the server of a place.
pub struct Disk {
    control: File,
}

impl Disk {
    /// Has the servers that are started in a place from now on use it.
    pub fn of(place: &mut Place) -> Disk {
        let path = place.write("faults", [0; 56]);
        // By its real name, as the system tells it of open files.
        let folder = fs::canonicalize(place.path("")).unwrap().join("data");
        place.environment = vec![
            ("LD_PRELOAD".into(), shim("faults", include_str!("faults.c")).to_str().unwrap().to_owned()),
            ("FAULTS".into(), path.clone()),
            ("FAULTS_FOLDER".into(), folder.to_str().unwrap().to_owned()),
        ];
        Disk { control: File::options().read(true).write(true).open(path).unwrap() }
    }

    /// Has it fail.
    pub fn fail(&self, fault: Fault) {
        let number = |n: u64| i64::try_from(n).unwrap();
        let (calls, error, half) = (fault.calls as i64, i64::from(fault.error), i64::from(fault.half));
        // The calls last: with them it begins.
        self.set(1, &[number(fault.pass), number(fault.fail), error, half, 0]);
        self.set(0, &[calls]);
    }

    /// Nothing fails any more.
    pub fn heal(&self) {
        self.set(0, &[0]);
    }

    /// Has the clock be ahead by so much of what it is; behind, where that is less than nothing.
    pub fn set_clock(&self, ahead: i64) {
        self.set(6, &[ahead]);
    }

    fn set(&self, first: u64, numbers: &[i64]) {
        let bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_ne_bytes()).collect();
        self.control.write_all_at(&bytes, first * 8).unwrap();
    }

    /// How many calls have failed since it was last told to.
    pub fn failed(&self) -> i64 {
        let mut bytes = [0; 8];
        self.control.read_exact_at(&mut bytes, 40).unwrap();
        i64::from_ne_bytes(bytes)
    }
}

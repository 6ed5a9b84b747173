//! Fuzzing of every parser and decoder that meets the outside: bytes in, and no panic, no hang, an error with its place.
//!
//! [`targets::ALL`] is the one list of what is fuzzed. Each has a corpus of small files (`fuzz/corpus/NAME/`), which is committed;
//! [`mutate`] changes them, and [`mod@run`] keeps what comes out in a way that none did before: a target says in a number what became
//! of an input (which findings, which kind of error), so inputs that reach something new are changed further. What panics or takes
//! too long is kept in `fuzz/findings/`, and becomes a file of the corpus when it is mended.
//!
//! The suite replays all corpora and tries some thousand changes (`tests/corpus.rs`); `cargo xtask fuzz` goes on for longer. The
//! whole server over HTTP is fuzzed in `crates/server/tests/it/fuzz.rs`.

use std::path::{Path, PathBuf};

pub mod mutate;
pub mod run;
pub mod seeds;
pub mod targets;

/// The folder with the corpora and the findings.
pub fn home() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The corpus of a target: name and bytes of each file, in the order of names.
///
/// # Errors
///
/// Those of the file system.
pub fn corpus(target: &str) -> std::io::Result<Vec<(String, Vec<u8>)>> {
    let mut paths: Vec<PathBuf> = Vec::new();
    for file in std::fs::read_dir(home().join("corpus").join(target))? {
        paths.push(file?.path());
    }
    paths.sort();
    let named = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    paths.iter().map(|path| Ok((named(path), std::fs::read(path)?))).collect()
}

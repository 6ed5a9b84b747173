//! Libraries in C that stand between a server and the C library: what the server asks of the system goes through them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Builds one with the C compiler that links Rust programs; `LD_PRELOAD` names it.
pub fn shim(name: &str, source: &str) -> PathBuf {
    // Built beside and moved there, since tests may run at the same time in several processes.
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let library = folder.join(format!("{name}.so"));
    let draft = tempfile::tempdir_in(&folder).unwrap();
    let (text, built) = (draft.path().join(format!("{name}.c")), draft.path().join("built.so"));
    fs::write(&text, source).unwrap();
    let mut build = Command::new("cc");
    build.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).args([&built, &text]);
    assert!(build.arg("-ldl").status().expect("a C compiler").success(), "{name}.c does not build");
    fs::rename(built, &library).unwrap();
    library
}

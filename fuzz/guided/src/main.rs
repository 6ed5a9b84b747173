//! The targets of `corollary-fuzz`, guided by coverage: libFuzzer keeps the inputs that reach code that none has reached before.
//!
//! `COROLLARY_FUZZ_TARGET` names the target. It is no part of the workspace, whose lints forbid what the entry of libFuzzer is made of.

#![no_main]

use std::sync::OnceLock;

use corollary_fuzz::targets::{Target, named};
use libfuzzer_sys::fuzz_target;

fn target() -> &'static Target {
    static TARGET: OnceLock<&'static Target> = OnceLock::new();
    TARGET.get_or_init(|| {
        let name = std::env::var("COROLLARY_FUZZ_TARGET").expect("COROLLARY_FUZZ_TARGET names a target");
        named(&name).unwrap_or_else(|| panic!("there is no target `{name}`"))
    })
}

fuzz_target!(|input: &[u8]| {
    (target().run)(input);
});

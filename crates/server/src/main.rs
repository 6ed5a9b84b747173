//! The binary `corollary`.

use std::process::ExitCode;

/// Documents and rows are many small allocations, made in one thread and freed in another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    corollary_server::cli::main()
}

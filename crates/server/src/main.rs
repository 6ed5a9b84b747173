//! The binary `corollary`.

use std::process::ExitCode;

fn main() -> ExitCode {
    corollary_server::cli::main()
}

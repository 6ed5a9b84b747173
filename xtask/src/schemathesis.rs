//! `cargo xtask schemathesis`: the OpenAPI document of a running server, held against what the server does.
//!
//! Schemathesis, a program in Python, makes requests of the document, valid ones and others, and looks at every reply: no
//! 5xx, only statuses, kinds of content and shapes that the document tells. It is put into a folder of its own in
//! `target`, from the package index, in the version named here. The server is that of `examples/shop`, with a few resources and
//! with mounts of each kind: scoped, by other names, with conditions, read-only.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::bench::corollary::{Binary, Data};
use crate::bench::{Result, process, root};

/// What is installed.
const PACKAGE: &str = "schemathesis==4.32.5";

/// What is looked at in each reply.
const CHECKS: &str =
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";

/// What is asked: each parameter at its bounds, then anything.
const PHASES: &str = "examples,coverage,fuzzing";

/// Ids of resources that are there, so that more than 404 comes of the requests.
const PARAMETERS: &str =
    "[parameters]\n\"path.customer_id\" = \"c1\"\n\"path.order_id\" = \"o1\"\n\"path.buyer\" = \"c1\"\n";

/// What stands behind the types of the shop.
const MOUNTS: &str = r#"
mount customers/{buyer}/purchases of Order {
  where customer = buyer
}

mount counter of Order {
  where paid = false
  allow read, create, update
  fields buyer: customer, sum: amount, name: customer_name, lines
}

mount ledger of Order {
  where amount > 5
  allow read
  fields amount, customer: customer_name
}
"#;

const CUSTOMERS: &str = "{\"_id\":\"c1\",\"name\":\"Ann\"}\n{\"_id\":\"c2\",\"name\":\"Bob\"}\n";
const ORDERS: &str =
    "{\"_id\":\"o1\",\"customer\":\"c1\",\"amount\":7}\n{\"_id\":\"o2\",\"customer\":\"c2\",\"amount\":9}\n";

const USAGE: &str = "usage: cargo xtask schemathesis [--examples N] [--seed S]

N requests of each kind are made up for each operation (50); S repeats a run (1).";

/// Runs it; fails where a reply is not as the document says.
pub fn schemathesis(arguments: &[String]) -> ExitCode {
    let (mut examples, mut seed) = ("50", "1");
    for pair in arguments.chunks(2) {
        match pair {
            [name, value] if value.parse::<u64>().is_ok() && name == "--examples" => examples = value,
            [name, value] if value.parse::<u64>().is_ok() && name == "--seed" => seed = value,
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    match run(examples, seed) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(examples: &str, seed: &str) -> Result<bool> {
    process::catch_interrupts()?;
    let place = root().join("target/schemathesis");
    let program = installed(&place)?;
    let schema = place.join("shop.cor");
    fs::write(&schema, fs::read_to_string(root().join("examples/shop/shop.cor"))? + MOUNTS)?;
    let binary = Binary::build()?;
    let data = Data::create(&binary, &std::env::temp_dir(), schema)?;
    for (ty, rows) in [("Customer", CUSTOMERS), ("Order", ORDERS)] {
        let file = data.folder().join(format!("{ty}.ndjson"));
        fs::write(&file, rows)?;
        data.import(ty, &file)?;
    }
    let folder = data.folder().to_path_buf();
    let settings = folder.join("schemathesis.toml");
    fs::write(&settings, PARAMETERS)?;
    let server = data.serve()?;
    // What it keeps of a run goes with the data.
    let ran = Command::new(program)
        .current_dir(folder)
        .arg("--config-file")
        .arg(settings)
        .args(["run", "--no-color", "--phases", PHASES, "--checks", CHECKS, "--request-timeout", "20"])
        .args(["--max-examples", examples, "--seed", seed])
        .arg(format!("http://{}/api/_openapi.json", server.address()))
        .status()?;
    server.stop()?.check()?;
    Ok(ran.success())
}

/// The program, put there where it is not yet.
fn installed(folder: &Path) -> Result<PathBuf> {
    let (program, python) = (folder.join("bin/st"), folder.join("bin/python"));
    if !program.is_file() {
        let mut make = Command::new("python3");
        make.args(["-m", "venv"]).arg(folder);
        process::run(make)?;
        let mut install = Command::new(python);
        install.args(["-m", "pip", "install", "--quiet", PACKAGE]);
        process::run(install)?;
    }
    Ok(program)
}

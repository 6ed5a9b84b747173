//! `cargo xtask schemathesis`: the OpenAPI document of a running server, held against what the server does.
//!
//! Schemathesis, a program in Python, makes requests of the document, valid ones and others, and looks at every reply: no
//! 5xx, only statuses, kinds of content and shapes that the document tells. It is put into a folder of its own in
//! `target`, from the package index, in the version named here. The server is that of `examples/shop`, with a few resources,
//! a hook and a processor, and with mounts of each kind: scoped, by other names, with conditions, read-only.
//!
//! It runs in parts, each of the operations of one collection or face, on a server with fresh data, so that a schema that was put or a
//! processor that was made up is in nobody's way; and each part in [`Step`]s, of which those that delete come last. Each step has a
//! bound of time and a report of its own in `target/schemathesis/reports`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use crate::bench::corollary::{Binary, Corollary, Data};
use crate::bench::http::Connection;
use crate::bench::{Result, process, progress, root};

mod parts;
mod report;

use parts::Part;
use report::Report;

/// What is installed.
const PACKAGE: &str = "schemathesis==4.32.5";

/// What is looked at in each reply.
const CHECKS: &str =
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";

/// Of a stream that goes on one event is read, and no longer than this for the first; a request may take so many seconds.
const SETTINGS: &str = "max-stream-events = 1\nrequest-timeout = 20\n";

/// Lines are sent as they are told: as a text.
const HOOKS: &str =
    "import schemathesis\n\nschemathesis.serializer.alias(\"application/x-ndjson\", \"text/plain\")\n";

/// Ids of resources that are there, so that more than 404 comes of the requests; and a revision that has happened, for any other is
/// waited for, and is 504.
const PARAMETERS: &str = r#"
[parameters]
"path.customer_id" = "c1"
"path.order_id" = "o1"
"path.line_id" = "l1"
"path.buyer" = "c1"
"header.Corollary-At-Least" = "1"

[[operations]]
include-path-regex = "^/api/_hooks/"
parameters = { "path.id" = "h1" }

[[operations]]
include-path-regex = "^/api/_processors/"
parameters = { "path.id" = "p1" }
"#;

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

/// What is there before the first request.
const RESOURCES: [(&str, &str, &str); 5] = [
    ("POST", "/api/customers", r#"[{"_id":"c1","name":"Ann"},{"_id":"c2","name":"Bob"}]"#),
    (
        "POST",
        "/api/orders",
        r#"[{"_id":"o1","customer":"c1","amount":7},{"_id":"o2","customer":"c2","amount":9}]"#,
    ),
    ("POST", "/api/orders/o1/lines", r#"[{"_id":"l1","article":"tea","count":2}]"#),
    ("PUT", "/api/_hooks/h1", r#"{"path":"/orders","url":"http://127.0.0.1:9/in","paused":true}"#),
    ("PUT", "/api/_processors/p1", r#"{"type":"Order","rule":"deny when self.amount = 13"}"#),
];

const USAGE: &str = "usage: cargo xtask schemathesis [--examples N] [--seconds N] [--seed N] [--part NAME]

N requests are made up for each operation (20), beside those of each parameter at its bounds, of which one part has so
many seconds (300); a seed repeats a run (1). `--part` runs one part alone, `--part list` lists them.";

/// What is run of each part, in this order.
#[derive(Clone, Copy)]
enum Step {
    /// Each parameter and member at its bounds, one after the other.
    Bounds,
    /// Anything.
    Anything,
    /// Both, of what deletes.
    Deletes,
}

impl Step {
    const ALL: [Step; 3] = [Step::Bounds, Step::Anything, Step::Deletes];

    fn name(self) -> &'static str {
        match self {
            Step::Bounds => "bounds",
            Step::Anything => "anything",
            Step::Deletes => "deletes",
        }
    }

    fn phases(self) -> &'static str {
        match self {
            Step::Bounds => "examples,coverage",
            Step::Anything => "fuzzing",
            Step::Deletes => "examples,coverage,fuzzing",
        }
    }
}

/// What is asked for.
struct Options {
    examples: u64,
    seconds: u64,
    seed: u64,
    part: Option<String>,
}

/// Runs it; fails where a reply is not as the document says, or a part did not end.
pub fn schemathesis(arguments: &[String]) -> ExitCode {
    let mut options = Options { examples: 20, seconds: 300, seed: 1, part: None };
    for pair in arguments.chunks(2) {
        let given = match pair {
            [name, part] if name == "--part" => {
                options.part = Some(part.clone());
                continue;
            }
            [name, number] => {
                number.parse::<u64>().ok().filter(|number| *number > 0).zip(Some(name.as_str()))
            }
            _ => None,
        };
        match given {
            Some((number, "--examples")) => options.examples = number,
            Some((number, "--seconds")) => options.seconds = number,
            Some((number, "--seed")) => options.seed = number,
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::from(2);
            }
        }
    }
    match run(&options) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<bool> {
    process::catch_interrupts()?;
    let place = root().join("target/schemathesis");
    fs::create_dir_all(place.join("reports"))?;
    let schema = place.join("shop.cor");
    fs::write(&schema, fs::read_to_string(root().join("examples/shop/shop.cor"))? + MOUNTS)?;
    let binary = Binary::debug()?;
    let document = binary.openapi(&schema)?;
    let mut parts = parts::of(&serde_json::from_str(&document)?);
    if let Some(name) = &options.part {
        if name == "list" {
            parts.iter().for_each(|part| println!("{} ({} operations)", part.name, part.operations));
            return Ok(true);
        }
        parts.retain(|part| part.name == *name);
        if parts.is_empty() {
            return Err(format!("no part is called `{name}`: `--part list` lists them").into());
        }
    }
    let program = installed(&place)?;
    let mut reports = Vec::new();
    for part in &parts {
        let data = Data::create(&binary, &std::env::temp_dir(), schema.clone())?;
        let folder = data.folder().to_path_buf();
        let server = data.serve()?;
        fill(&server)?;
        let settings = folder.join("schemathesis.toml");
        let hooks = folder.join("hooks.py");
        fs::write(&hooks, HOOKS)?;
        fs::write(&settings, format!("hooks = {hooks:?}\n{SETTINGS}{PARAMETERS}"))?;
        for step in Step::ALL {
            if part.has(step) {
                reports.push(held(&program, &server, part, step, (&settings, &place), options)?);
            }
        }
        server.stop()?.check()?;
    }
    println!("\n{}", report::table(&reports));
    Ok(reports.iter().all(Report::is_good))
}

/// Makes what is there before the first request.
fn fill(server: &Corollary) -> Result<()> {
    let mut connection = Connection::open(server.address())?;
    for (method, path, body) in RESOURCES {
        connection.send(method, path, body)?.success()?;
    }
    Ok(())
}

/// Runs a step of a part.
fn held(
    program: &Path,
    server: &Corollary,
    part: &Part,
    step: Step,
    (settings, place): (&Path, &Path),
    options: &Options,
) -> Result<Report> {
    let name = format!("{} {}", part.name, step.name());
    progress(&name);
    let file = |ending: &str| place.join(format!("reports/{}.{ending}", name.replace(' ', "-")));
    let (told, printed) = (file("json"), file("txt"));
    // One of an earlier run would be taken for that of this one.
    match fs::remove_file(&told) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let (examples, seconds) = (options.examples.to_string(), options.seconds.to_string());
    let mut command = Command::new(program);
    // What it keeps of a run goes with the data.
    command.current_dir(settings.parent().unwrap_or(place)).arg("--config-file").arg(settings);
    command.args([
        "run",
        "--no-color",
        "--phases",
        step.phases(),
        "--checks",
        CHECKS,
        "--continue-on-failure",
    ]);
    command.args(["--seed", &options.seed.to_string(), "--max-examples", &examples]);
    command.args(part.filter(step));
    if matches!(step, Step::Bounds) {
        // With a bound the other steps would begin anew as long as there is time.
        command.args(["--max-time", &seconds]);
    }
    command.args(["--report", "json", "--report-json-path"]).arg(&told);
    command.arg(format!("http://{}/api/_openapi.json", server.address()));
    let begun = Instant::now();
    let ended = process::run_within(command, &printed, Duration::from_secs(2 * options.seconds + 60))?;
    let report = Report::read(name, &told, ended, begun.elapsed())?;
    if !report.is_good() {
        eprintln!("{}", fs::read_to_string(&printed)?);
    }
    Ok(report)
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

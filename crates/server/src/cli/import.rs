//! `corollary import`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Instant;

use corollary_schema::{Ids, Schema, TypeIx, check};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use jiff::Timestamp;

use super::{Failure, Place, open, remote};
use crate::load::file::{self, Source};
use crate::load::import::{self, Direct, Imported, Remote, Sink};

/// Resources that an update does at a time.
const UPDATE_BATCH: usize = 4_096;

/// Rejected rows that are told one by one.
const MAX_TOLD_ROWS: u64 = 20;

/// Imports a file into the data folder or to a server.
pub fn run(
    ty: &str,
    path: &Path,
    url: Option<&str>,
    rejects: Option<&Path>,
    place: &Place,
) -> Result<(), Failure> {
    let source = file::open(path)?;
    let mut rejects = match rejects {
        Some(path) => {
            let file = File::create(path);
            Some(BufWriter::new(
                file.map_err(|error| format!("{} cannot be written: {error}", path.display()))?,
            ))
        }
        None => None,
    };
    let rejects = rejects.as_mut();
    let imported = match url {
        Some(url) => {
            let url = url.trim_end_matches('/').to_string();
            let agent = super::remote::agent();
            let schema = remote_schema(&agent, &url)?;
            let ix = open::type_named(&schema, ty)?;
            into(source, &schema, ix, &mut Remote { agent, url, schema: &schema }, rejects)
        }
        None => {
            let (mut executor, _) = open::open(place, open::AT_ONCE, &[], &open::process())?;
            let schema = executor.engine().schema().clone();
            let ix = open::type_named(&schema, ty)?;
            let imported = into(source, &schema, ix, &mut Direct::new(&mut executor), rejects);
            // What is to follow in the background follows now.
            let followed = executor.finish_updates(Timestamp::now(), UPDATE_BATCH);
            followed.map_err(|error| error.to_string())?;
            imported
        }
    };
    match imported {
        Imported { failed: Some(reason), .. } => Err(reason.into()),
        Imported { rejected: 0, .. } => Ok(()),
        Imported { rejected, .. } => Err(format!("{rejected} rows were rejected").into()),
    }
}

fn remote_schema(agent: &ureq::Agent, url: &str) -> Result<Schema, Failure> {
    let reply = agent.get(format!("{url}/api/_schema")).call();
    let text = reply.and_then(|mut reply| reply.body_mut().read_to_string());
    let text = text.map_err(|error| format!("{url} does not answer: {error}"))?;
    let json: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let schema = json["text"].as_str().and_then(|text| check(text, &mut Ids::default()).schema);
    schema.ok_or_else(|| remote::refused(url, &json))
}

/// Imports with a progress bar on a terminal, the rejected rows in a file or on standard error, and a closing line.
pub fn into(
    source: Source,
    schema: &Schema,
    ty: TypeIx,
    sink: &mut dyn Sink,
    mut rejects: Option<&mut BufWriter<File>>,
) -> Imported {
    let name = schema.ty(ty).name.clone();
    let begun = Instant::now();
    let bar = ProgressBar::new(source.bytes);
    if let Ok(style) = ProgressStyle::with_template("{prefix:>10} {bar:40} {percent:>3} %  {msg}") {
        bar.set_style(style);
    }
    bar.set_prefix(name.to_string());
    let read = source.read.clone();
    let mut told = 0;
    let imported = import::run(
        source,
        schema,
        ty,
        sink,
        &mut |so_far| {
            bar.set_position(read.load(Ordering::Relaxed));
            bar.set_message(rate(so_far.created, begun));
        },
        &mut |row| {
            if let Some(file) = &mut rejects {
                // A list that cannot be written is no reason to lose the rest: it goes to the terminal then.
                if writeln!(file, "line {}: {}", row.line, row.reason).is_ok() {
                    return;
                }
            }
            told += 1;
            if told <= MAX_TOLD_ROWS {
                bar.suspend(|| eprintln!("line {}: {}", row.line, row.reason));
            }
        },
    );
    bar.finish_and_clear();
    if told > MAX_TOLD_ROWS {
        eprintln!("and {} more; `--rejects FILE` lists them all", told - MAX_TOLD_ROWS);
    }
    println!(
        "imported {} {name} in {:.1} s ({}), {} rejected",
        imported.created,
        begun.elapsed().as_secs_f64(),
        rate(imported.created, begun),
        imported.rejected
    );
    imported
}

fn rate(rows: u64, since: Instant) -> String {
    let seconds = since.elapsed().as_secs_f64().max(1e-3);
    format!("{} per second", HumanCount((rows as f64 / seconds) as u64))
}

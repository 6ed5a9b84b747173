//! `corollary check --server URL`: a check, and a repair, that a running server does itself while it serves.

use std::io::{BufRead, BufReader, IsTerminal};
use std::thread;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value as Json, json};

use super::Failure;

/// How often it is asked how far the updates are that mend.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Has a server look, and mend if asked to; then waits until it is mended, and has it look again.
pub fn run(url: &str, sample: Option<usize>, repair: bool) -> Result<(), Failure> {
    let url = url.trim_end_matches('/');
    let server = Server { agent: super::remote::agent(), url };
    let end = server.check(sample, repair)?;
    println!("{}", summary(&end));
    let findings = end["findings"].as_u64().unwrap_or(0);
    if findings == 0 {
        return Ok(());
    }
    let to_build = end["to_build"].as_array().cloned().unwrap_or_default();
    for it in &to_build {
        let text = |name: &str| it[name].as_str().unwrap_or_default().to_string();
        eprintln!(
            "{} cannot be mended while the server runs, since {}: {}",
            text("what"),
            text("why"),
            text("how")
        );
    }
    if !repair {
        return Err(format!("{findings} found; with --repair what can be is mended").into());
    }
    for (what, count) in end["mended_rows"].as_object().into_iter().flatten() {
        println!("{count} rows of {what} are mended");
    }
    for id in end["updates"].as_array().into_iter().flatten().filter_map(Json::as_str) {
        server.follow(id)?;
    }
    let after = server.check(sample, false)?;
    println!("after the repair: {}", summary(&after));
    match after["findings"].as_u64() {
        Some(0) => Ok(()),
        _ => Err("the repair did not mend everything".to_string().into()),
    }
}

struct Server<'u> {
    agent: ureq::Agent,
    url: &'u str,
}

impl Server<'_> {
    fn unreachable(&self, error: &dyn std::fmt::Display) -> Failure {
        format!("{} does not answer: {error}", self.url).into()
    }

    /// Has it look, tells what it finds, and gives the last line.
    fn check(&self, sample: Option<usize>, repair: bool) -> Result<Json, Failure> {
        let path = format!("{}/api/_check", self.url);
        let body = json!({ "sample": sample, "repair": repair }).to_string();
        let reply = self.agent.post(&path).header("content-type", "application/json").send(body.as_str());
        let reply = reply.map_err(|error| self.unreachable(&error))?;
        let is_done = reply.status() == 200;
        let bar = bar("{bar:40} {pos} of {len} parts");
        let mut end = None;
        for line in BufReader::new(reply.into_body().into_reader()).lines() {
            let line = line.map_err(|error| self.unreachable(&error))?;
            let line: Json = serde_json::from_str(&line).unwrap_or_default();
            if !is_done {
                let detail = line["detail"].as_str().unwrap_or("it is no Corollary server of this version");
                return Err(format!("{}: {detail}", self.url).into());
            }
            match line["event"].as_str() {
                Some("progress") => {
                    bar.set_length(line["of"].as_u64().unwrap_or(0));
                    bar.set_position(line["done"].as_u64().unwrap_or(0));
                }
                Some("found") => bar.suspend(|| println!("{}", found(&line))),
                Some("failed") => {
                    let detail = line["detail"].as_str().unwrap_or_default();
                    return Err(format!("the check could not go on: {detail}").into());
                }
                _ => end = Some(line),
            }
        }
        bar.finish_and_clear();
        end.ok_or_else(|| format!("{} has ended the connection", self.url).into())
    }

    /// Waits until an update has ended.
    fn follow(&self, id: &str) -> Result<(), Failure> {
        let path = format!("{}/api/_updates/{id}", self.url);
        let bar = bar("{prefix:>24} {bar:40} {pos} of {len}  {msg}");
        loop {
            let text = self.agent.get(&path).call().and_then(|mut reply| reply.body_mut().read_to_string());
            let update: Json = serde_json::from_str(&text.map_err(|error| self.unreachable(&error))?)
                .map_err(|error| self.unreachable(&error))?;
            let name = |name: &str| update[name].as_str().unwrap_or("-").to_string();
            bar.set_prefix(format!("{}.{}", name("type"), name("field")));
            bar.set_length(update["estimated"].as_u64().unwrap_or(0));
            bar.set_position(update["visited"].as_u64().unwrap_or(0));
            match (update["state"].as_str(), update["error"].as_str()) {
                (Some("done"), _) | (None, _) => {
                    bar.finish_and_clear();
                    return Ok(());
                }
                (Some("failed"), Some(error)) if update["failures"].as_u64() > Some(3) => {
                    return Err(format!(
                        "the update {id} cannot go on, and is tried again and again: {error}"
                    )
                    .into());
                }
                (_, error) => bar.set_message(error.unwrap_or_default().to_string()),
            }
            thread::sleep(LOOK_EVERY);
        }
    }
}

/// A bar, on a terminal.
fn bar(template: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

/// What was found, in a line.
fn found(line: &Json) -> String {
    match (line["field"].as_str(), line["detail"].as_str()) {
        (Some(field), _) => {
            let text = |name: &str| line[name].as_str().unwrap_or("-").to_string();
            let (stored, expected) = (&line["stored"], &line["expected"]);
            format!("{} {}: {field} is {stored}, and {expected} follows", text("type"), text("_id"))
        }
        (None, detail) => detail.unwrap_or("something that this version does not know").to_string(),
    }
}

fn summary(end: &Json) -> String {
    let number = |name: &str| end[name].as_u64().unwrap_or(0);
    let found = match number("findings") {
        0 => "no difference".to_string(),
        1 => "1 difference".to_string(),
        many => format!("{many} differences"),
    };
    let pending = match number("pending") {
        0 => String::new(),
        pending => format!("; {pending} are yet to be reached by an update"),
    };
    format!(
        "compared {} derived values of {} resources: {found}{pending}",
        number("values"),
        number("resources")
    )
}

//! `corollary updates`: what a server is bringing up to date, with bars that move on a terminal.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, IsTerminal};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::Value as Json;

use super::Failure;

/// Lists the updates of a server, the newest first; follows those that are open to their end where `follow`.
pub fn run(url: &str, follow: bool) -> Result<(), Failure> {
    let url = url.trim_end_matches('/');
    let agent = super::remote::agent();
    let path = format!("{url}/api/_updates");
    let unreachable = |error: ureq::Error| Failure::from(format!("{url} does not answer: {error}"));
    let text = agent.get(&path).call().and_then(|mut reply| reply.body_mut().read_to_string());
    let json: Json = serde_json::from_str(&text.map_err(unreachable)?).unwrap_or_default();
    let Some(updates) = json["results"].as_array() else {
        return Err(super::remote::refused(url, &json));
    };
    if updates.is_empty() {
        println!("no updates");
    }
    let open = |update: &Json| update["state"] != "done";
    let follow = follow && std::io::stdout().is_terminal() && updates.iter().any(open);
    for update in updates.iter().filter(|update| !(follow && open(update))) {
        println!("{}", line(update));
    }
    if !follow {
        return Ok(());
    }
    let reply = agent.get(&path).header("accept", "text/event-stream").call().map_err(unreachable)?;
    let mut bars = Bars::default();
    for told in BufReader::new(reply.into_body().into_reader()).lines() {
        let told = told.map_err(|error| format!("{url} has ended the connection: {error}"))?;
        let Some(data) = told.strip_prefix("data: ") else { continue };
        bars.show(&serde_json::from_str(data).unwrap_or_default());
    }
    Ok(())
}

/// One update in one line.
fn line(update: &Json) -> String {
    let text = |name: &str| update[name].as_str().unwrap_or("-").to_string();
    let cause = &update["cause"];
    let of = match cause["path"].as_str() {
        Some(path) => format!("of {path}"),
        None if cause["schema"] == true => "for a new schema".to_string(),
        None if cause["repair"] == true => "to mend it".to_string(),
        None => "of what is gone".to_string(),
    };
    let mut line = format!(
        "{:<12} {:<8} {} {of}: {} of {} visited, {} changed, since {}",
        text("_id"),
        text("state"),
        subject(update),
        update["visited"],
        update["estimated"],
        update["changed"],
        text("started_at"),
    );
    if let Some(error) = update["error"].as_str() {
        line.push_str(&format!(" ({error})"));
    }
    line
}

/// What an update brings about.
fn subject(update: &Json) -> String {
    let text = |name: &str| update[name].as_str().unwrap_or("-").to_string();
    update["index"].as_str().map_or_else(|| format!("{}.{}", text("type"), text("field")), str::to_string)
}

/// A bar for each update that is open.
#[derive(Default)]
struct Bars {
    all: MultiProgress,
    by_id: BTreeMap<String, ProgressBar>,
}

impl Bars {
    fn show(&mut self, update: &Json) {
        let Some(id) = update["_id"].as_str() else { return };
        let bar = self.by_id.entry(id.to_string()).or_insert_with(|| {
            let bar = self.all.add(ProgressBar::new(0));
            let template = "{prefix:>24} {bar:40} {pos} of {len}  {per_sec}  {msg}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar.set_prefix(subject(update));
            bar
        });
        bar.set_length(update["estimated"].as_u64().unwrap_or(0));
        bar.set_position(update["visited"].as_u64().unwrap_or(0));
        let error = update["error"].as_str().map_or(String::new(), |error| format!(", {error}"));
        bar.set_message(format!("{} changed{error}", update["changed"]));
        if update["state"] == "done" {
            bar.finish();
        }
    }
}

//! What Schemathesis tells of a run, and the table of all of them.

use std::fs;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use serde_json::Value as Json;

use crate::bench::Result;
use crate::bench::table::{Table, time};

/// Of a step of a part.
pub struct Report {
    name: String,
    operations: u64,
    requests: u64,
    /// Ways in which replies were not as the document says, and requests that could not be made or answered.
    failures: u64,
    errors: u64,
    took: Duration,
    /// How it ended where that was before its time.
    cut: Option<String>,
}

impl Report {
    /// Reads it; `ended` is none where the run had to be stopped.
    pub fn read(name: String, file: &Path, ended: Option<ExitStatus>, took: Duration) -> Result<Report> {
        let Some(status) = ended else {
            let cut = Some("did not end".into());
            return Ok(Report { name, operations: 0, requests: 0, failures: 0, errors: 0, took, cut });
        };
        let text = fs::read_to_string(file)
            .map_err(|error| format!("{name} ended with {status} and told nothing: {error}"))?;
        let told: Json = serde_json::from_str(&text)?;
        let number = |at: &str| told.pointer(at).and_then(Json::as_u64);
        let of = |list: &str| {
            let counted = told[list].as_array().into_iter().flatten();
            counted.filter_map(|group| group["count"].as_u64()).sum::<u64>()
        };
        let reason = told["stop_reason"].as_str().unwrap_or("error");
        let is_whole = status.success() || of("failures") > 0 || of("errors") > 0;
        let cut = match reason {
            "completed" if is_whole => None,
            "completed" => Some(format!("ended with {status}")),
            other => Some(other.to_owned()),
        };
        Ok(Report {
            name,
            operations: number("/operations/tested").unwrap_or(0),
            requests: number("/test_cases/generated").unwrap_or(0),
            failures: of("failures"),
            errors: of("errors"),
            took,
            cut,
        })
    }

    /// Was every reply as the document says?
    pub fn is_good(&self) -> bool {
        // What had no time for all of the bounds has still looked at many.
        let has_ended = self.cut.as_deref().is_none_or(|cut| cut == "max_time");
        has_ended && self.failures == 0 && self.errors == 0 && self.operations > 0
    }
}

/// All of them.
pub fn table(reports: &[Report]) -> Table {
    let head = ["part", "operations", "requests", "failures", "errors", "time", "end"];
    let mut table = Table::new("What the OpenAPI document says, and what the server does", &head);
    for report in reports {
        table.row(vec![
            report.name.clone(),
            report.operations.to_string(),
            report.requests.to_string(),
            report.failures.to_string(),
            report.errors.to_string(),
            time(Some(report.took)),
            report.cut.clone().unwrap_or_else(|| "complete".into()),
        ]);
    }
    let sum = |of: fn(&Report) -> u64| reports.iter().map(of).sum::<u64>();
    table.note(format!(
        "{} requests, {} failures, {} errors.",
        sum(|it| it.requests),
        sum(|it| it.failures),
        sum(|it| it.errors)
    ));
    table
}

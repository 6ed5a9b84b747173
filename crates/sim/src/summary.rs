//! The summary of runs: what was run, what happened on the way, and what was found right.

use std::fmt::Write;

use crate::Report;

/// A table of three parts.
pub fn table(report: &Report) -> String {
    let checked = &report.checked;
    let parts: [(&str, Vec<(&str, usize)>); 3] = [
        (
            "what was run",
            vec![
                ("steps", report.steps),
                ("transactions", report.transactions),
                ("  refused, as the model says", report.refused),
                ("  known again", report.repeated),
                ("commits", report.commits),
                ("  of the clock", report.ticks),
                ("groups worked out ahead", report.ahead),
                ("processors", report.processors),
                ("steps of updates", report.update_steps),
                ("updates that ended", report.updates),
                ("  of indexes", report.indexes),
                ("schema versions", report.versions),
                ("  refused, as they had to be", report.refused_versions),
                ("derived fields", report.written.derived - report.written.refused),
            ],
        ),
        (
            "faults",
            vec![
                ("crashes", report.crashes),
                ("store full", report.faults.full),
                ("store failed", report.faults.failed),
                ("sync failed, commit lost", report.faults.sync_lost),
                ("sync failed, commit there", report.faults.sync_kept),
                ("nodes that died", report.deaths),
                ("openings cut short", report.cut_short),
                ("turns of nodes", report.turns),
            ],
        ),
        (
            "what was found right",
            vec![
                ("acknowledged transactions, in their order", checked.acknowledged),
                ("refused ones, refusable when they were", checked.refused),
                ("unknown ones that are there", checked.found),
                ("reads of clients", checked.reads),
                ("  at nodes that were behind", checked.behind),
                ("looks of the oracle", report.oracles),
                ("looks at other nodes", report.other_looks),
                ("queries", report.queries),
                ("  while indexes were filled", report.queries_without),
            ],
        ),
    ];
    let mut table = String::new();
    for (name, rows) in parts {
        let _ = writeln!(table, "{name}");
        for (what, count) in rows {
            let _ = writeln!(table, "  {what:<44}{count:>12}");
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_has_its_line() {
        let mut report = Report { crashes: 12, ..Report::default() };
        report.checked.behind = 7;
        let table = table(&report);
        let line =
            |name: &str| table.lines().find(|line| line.trim_start().starts_with(name)).map(str::trim_end);
        assert!(line("crashes").is_some_and(|line| line.ends_with(" 12")), "{table}");
        assert!(line("at nodes that were behind").is_some_and(|line| line.ends_with(" 7")), "{table}");
    }
}

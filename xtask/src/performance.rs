//! `cargo xtask performance`: docs/performance.md and its plots from what is recorded in `bench/results`. With `--measure` every
//! benchmark runs first, and what it finds is recorded.
//!
//! The page is written by people; what stands between `<!-- results: NAME -->` and `<!-- end -->` is put there by this.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use serde_json::Value as Json;

use crate::bench::{Result, record, root};

mod plot;

use plot::{Bars, Lines};

/// The benchmarks that the page tells of.
const BENCHMARKS: [&str; 15] = [
    "point",
    "hot",
    "chain",
    "minmax",
    "fanout",
    "bootstrap",
    "read",
    "list",
    "load",
    "watch",
    "peers",
    "engine",
    "growth",
    "scale",
    "instructions",
];

/// How a part of the page that is put there begins, and how it ends.
const BEGIN: &str = "<!-- results: ";
const END: &str = "<!-- end -->";

/// Runs the command.
pub fn performance(arguments: &[String]) -> ExitCode {
    let made = match arguments {
        [] => Ok(()),
        [option, rest @ ..] if option == "--measure" => measure(rest),
        _ => Err("usage: cargo xtask performance [--measure [options of cargo xtask bench]]".into()),
    };
    match made.and_then(|()| render()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs all benchmarks, each in a process of its own, so that none finds what another one left in memory.
fn measure(options: &[String]) -> Result<()> {
    let program = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
    for name in BENCHMARKS {
        eprintln!("$ cargo xtask bench {name} --record {}", options.join(" "));
        let status = Command::new(&program).args(["bench", name, "--record"]).args(options).status();
        let status = status.map_err(|error| format!("{name}: {error}"))?;
        if !status.success() {
            return Err(format!("`cargo xtask bench {name}` ended with {status}").into());
        }
    }
    Ok(())
}

fn render() -> Result<()> {
    let page = root().join("docs/performance.md");
    let plots = root().join("docs/performance");
    let text = read(&page)?;
    fs::create_dir_all(&plots).map_err(|error| format!("{}: {error}", plots.display()))?;
    let text = filled(&text, &|name| {
        let Some(results) = results(name)? else { return Ok(unmeasured(name)) };
        let drawn = draw(name, &results, &plots)?;
        Ok(section(&results, &drawn))
    })?;
    fs::write(&page, text).map_err(|error| format!("{}: {error}", page.display()))?;
    println!("written: {}", page.display());
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()).into())
}

/// What is recorded of a benchmark; none where nothing has been.
fn results(name: &str) -> Result<Option<Json>> {
    let file = record::file(name);
    if !file.exists() {
        return Ok(None);
    }
    serde_json::from_str(&read(&file)?).map_err(|error| format!("{}: {error}", file.display()).into())
}

/// What the page says of a benchmark of which nothing is recorded.
fn unmeasured(name: &str) -> String {
    format!("\nNothing is recorded yet: `cargo xtask bench {name} --record` does it.\n\n")
}

/// A page with its parts put in place, each by its name.
fn filled(page: &str, part: &dyn Fn(&str) -> Result<String>) -> Result<String> {
    let mut out = String::new();
    let mut rest = page;
    while let Some(at) = rest.find(BEGIN) {
        let (before, behind) = rest.split_at(at);
        let line = behind.find('\n').ok_or("the page ends in the middle of a line")?;
        let name = behind[BEGIN.len()..line].trim().trim_end_matches("-->").trim();
        let end = behind.find(END).ok_or_else(|| format!("`{BEGIN}{name} -->` has no end"))?;
        write!(out, "{before}{BEGIN}{name} -->\n{}{END}", part(name)?)?;
        rest = &behind[end + END.len()..];
    }
    out.push_str(rest);
    Ok(out)
}

/// What the page says of a benchmark.
fn section(results: &Json, plots: &[(String, &str)]) -> String {
    let mut out = String::new();
    let text = |json: &Json| json.as_str().unwrap_or_default().to_owned();
    let lines = |json: &Json| json.as_array().map(|all| all.iter().map(text).collect()).unwrap_or_default();
    let machine: Vec<String> = lines(&results["machine"]);
    let machine: Vec<String> =
        machine.iter().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    let _ = writeln!(out, "\nMeasured at `{}` on: {}.\n", text(&results["commit"]), machine.join("; "));
    for table in results["tables"].as_array().into_iter().flatten() {
        let _ = writeln!(out, "{}:\n", text(&table["title"]));
        for (at, row) in table["rows"].as_array().into_iter().flatten().enumerate() {
            let cells: Vec<String> = lines(row);
            let _ = writeln!(out, "| {} |", cells.join(" | "));
            if at == 0 {
                let _ = writeln!(out, "|---|{}", "---:|".repeat(cells.len() - 1));
            }
        }
        out.push('\n');
        let notes: Vec<String> = lines(&table["notes"]);
        for note in notes {
            let _ = writeln!(out, "- {note}");
        }
        out.push('\n');
    }
    for (file, what) in plots {
        let _ = writeln!(out, "![{what}](performance/{file})\n");
    }
    out
}

/// Draws what there is to be seen of a benchmark; the names of the files, and what they show.
fn draw(name: &str, results: &Json, folder: &Path) -> Result<Vec<(String, &'static str)>> {
    let samples = results["samples"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut drawn = Vec::new();
    let mut file = |kind: &str, what: &'static str| -> PathBuf {
        let file = format!("{name}-{kind}.svg");
        drawn.push((file.clone(), what));
        folder.join(file)
    };
    match name {
        "point" | "read" | "list" | "hot" | "peers" => {
            let work = first_work(samples);
            let what = "Throughput against connections";
            let lines = Lines {
                title: &format!("{work}: {}", what.to_lowercase()),
                x: "connections",
                y: "per second",
                log_x: true,
                log_y: false,
                lines: by_side(samples, &work, |sample| {
                    vec![(sample["connections"].as_f64(), sample["per_second"].as_f64())]
                }),
            };
            lines.draw(&file("throughput", what))?;
            let most = samples.iter().filter_map(|sample| sample["connections"].as_u64()).max().unwrap_or(1);
            let at_most: Vec<Json> =
                samples.iter().filter(|it| it["connections"].as_u64() == Some(most)).cloned().collect();
            let what = "Latencies";
            let lines = Lines {
                title: &format!("{work}: latencies at {most} connections"),
                x: "share of the requests, in %",
                y: "answered within, in ms",
                log_x: false,
                log_y: true,
                lines: by_side(&at_most, &work, |sample| {
                    let latencies = sample["latencies_us"].as_array().into_iter().flatten();
                    let point = |it: &Json| {
                        (it[0].as_f64().map(|share| share * 100.0), it[1].as_f64().map(|us| us / 1e3))
                    };
                    latencies.map(point).collect()
                }),
            };
            lines.draw(&file("latencies", what))?;
        }
        "growth" => {
            let what = "Processor time of a write against the size of the data";
            let point = |sample: &Json| vec![(sample["orders"].as_f64(), sample["cpu_us"].as_f64())];
            let points = samples.iter().flat_map(point).filter_map(|(x, y)| x.zip(y)).collect();
            let lines = Lines {
                title: what,
                x: "orders",
                y: "microseconds of the server's processors",
                log_x: true,
                log_y: false,
                lines: vec![("Corollary".to_owned(), points)],
            };
            lines.draw(&file("cost", what))?;
        }
        "instructions" => {
            let what = "Instructions of an operation";
            let rows = results["tables"][0]["rows"].as_array().into_iter().flatten().skip(1);
            let bar = |row: &Json| {
                let number: f64 = row[1].as_str()?.replace(',', "").parse().ok()?;
                Some((row[0].as_str()?.to_owned(), number / 1e3))
            };
            let bars =
                Bars { title: what, x: "thousands of instructions", bars: rows.filter_map(bar).collect() };
            bars.draw(&file("bars", what))?;
        }
        _ => {}
    }
    Ok(drawn)
}

fn first_work(samples: &[Json]) -> String {
    samples.first().and_then(|sample| sample["work"].as_str()).unwrap_or_default().to_owned()
}

/// All sides, each once: Corollary, then as they come.
fn sides(samples: &[Json]) -> Vec<&str> {
    let mut sides = vec!["Corollary"];
    for side in samples.iter().filter_map(|sample| sample["side"].as_str()) {
        if !sides.contains(&side) {
            sides.push(side);
        }
    }
    sides
}

/// The points of each side at some work.
fn by_side(
    samples: &[Json],
    work: &str,
    points: impl Fn(&Json) -> Vec<(Option<f64>, Option<f64>)>,
) -> Vec<(String, Vec<(f64, f64)>)> {
    sides(samples)
        .into_iter()
        .map(|side| {
            let own = samples.iter().filter(|sample| sample["side"] == side && sample["work"] == work);
            (side.to_owned(), own.flat_map(&points).filter_map(|(x, y)| x.zip(y)).collect::<Vec<_>>())
        })
        .filter(|(_, points)| !points.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn parts_are_put_in_their_places_again_and_again() {
        let page = "# Numbers\n\n<!-- results: point -->\nold\n<!-- end -->\n\ntext\n<!-- results: hot -->\n<!-- end -->\n";
        let part = |name: &str| Ok(format!("of {name}\n"));
        let once = filled(page, &part).unwrap();
        assert_eq!(
            once,
            "# Numbers\n\n<!-- results: point -->\nof point\n<!-- end -->\n\ntext\n<!-- results: hot -->\nof hot\n<!-- end -->\n"
        );
        assert_eq!(filled(&once, &part).unwrap(), once);
        assert!(filled("<!-- results: point -->\n", &part).is_err());
    }

    #[test]
    fn a_section_has_its_tables_and_plots() {
        let results = json!({
            "commit": "abc", "machine": ["machine     a, 2 cores"],
            "tables": [{"title": "point: x", "rows": [["work", "/s"], ["one", "7"]], "notes": ["a note"]}],
        });
        assert_eq!(
            section(&results, &[("point-throughput.svg".into(), "Throughput")]),
            "\nMeasured at `abc` on: machine a, 2 cores.\n\npoint: x:\n\n| work | /s |\n|---|---:|\n| one | 7 |\n\n- a note\n\n\
             ![Throughput](performance/point-throughput.svg)\n\n"
        );
    }

    #[test]
    fn each_side_is_a_line_and_corollary_is_the_first() {
        let sample =
            |side: &str, per_second: f64| json!({"side": side, "work": "w", "per_second": per_second});
        let samples = [sample("B", 1.0), sample("Corollary", 2.0), sample("A", 3.0), sample("B", 4.0)];
        let lines = by_side(&samples, "w", |sample| vec![(Some(0.0), sample["per_second"].as_f64())]);
        let expected = [("Corollary", vec![2.0]), ("B", vec![1.0, 4.0]), ("A", vec![3.0])];
        let expected = expected
            .map(|(side, all)| (side.to_owned(), all.into_iter().map(|y| (0.0, y)).collect::<Vec<_>>()));
        assert_eq!(lines, expected);
    }

    #[test]
    fn what_is_recorded_can_be_shown() {
        let page = read(&root().join("docs/performance.md")).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let named = std::cell::Cell::new(0);
        filled(&page, &|name| {
            named.set(named.get() + 1);
            assert!(BENCHMARKS.contains(&name), "there is no benchmark {name}");
            let Some(results) = results(name)? else { return Ok(unmeasured(name)) };
            Ok(section(&results, &draw(name, &results, folder.path())?))
        })
        .unwrap();
        assert!(named.get() > 0);
    }
}

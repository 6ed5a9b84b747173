//! Plans that are kept as files (`crates/sim/tests/plans/NAME.txt`), which the suite runs again: lines that begin with `#` say what
//! went wrong, the one line without says the plan.
//!
//! A plan is as good as what makes runs of it: where the generator draws otherwise, it is another run. What went wrong therefore
//! has a test of its own beside the engine; the plan is the second guard, and its script, in the comments, tells what it was.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::Failure;
use crate::plan::Plan;

/// Characters of a line of the comments, at most.
const LINE: usize = 400;

/// Where they are kept.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/plans")
}

/// A failure as such a file: what does not hold, the schema, the last operations, and the plan.
pub fn written(failure: &Failure) -> String {
    let mut text = String::new();
    for line in failure.to_string().lines() {
        let line: String = line.chars().take(LINE).collect();
        let _ = writeln!(text, "{}", format!("# {line}").trim_end());
    }
    let _ = writeln!(text, "{}", failure.plan);
    text
}

/// The plan of such a file.
///
/// # Errors
///
/// What about it is no plan.
pub fn read(text: &str) -> Result<Plan, String> {
    let mut lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    match (lines.next(), lines.next()) {
        (Some(plan), None) => plan.parse(),
        _ => Err("there is not one plan in it".into()),
    }
}

/// All that are kept, with their names, in the order of these.
///
/// # Errors
///
/// Those of the file system, and files that are none.
pub fn all() -> Result<Vec<(String, Plan)>, String> {
    let files = std::fs::read_dir(folder()).map_err(|error| error.to_string())?;
    let mut plans = Vec::new();
    for file in files {
        let path = file.map_err(|error| error.to_string())?.path();
        if path.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{name}: {error}"))?;
        plans.push((name.clone(), read(&text).map_err(|what| format!("{name}: {what}"))?));
    }
    plans.sort_by(|left, right| left.0.cmp(&right.0));
    Ok(plans)
}

/// Keeps a failure under a name; where.
///
/// # Errors
///
/// A name that is none for a file, and those of the file system.
pub fn save(name: &str, failure: &Failure) -> Result<PathBuf, String> {
    let is_name =
        |name: &str| name.chars().all(|it| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '-');
    if name.is_empty() || !is_name(name) {
        return Err(format!("`{name}` is no name: small letters, digits and `-`"));
    }
    let path = folder().join(format!("{name}.txt"));
    std::fs::write(&path, written(failure)).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read() {
        let plan: Plan = "seed=7 steps=12 nodes=2 skip=1-4".parse().expect("a plan");
        let what = "it is wrong\nin two lines".into();
        let failure = Failure {
            plan: plan.clone(),
            what,
            schema: "type Ant in ants {\n}".into(),
            ..Failure::default()
        };
        let text = written(&failure);
        assert_eq!(read(&text), Ok(plan));
        assert!(text.contains("\n# type Ant in ants {\n# }\n"), "{text}");
        for wrong in ["", "# seed=1 steps=2", "seed=1 steps=2\nseed=2 steps=2", "seed"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}

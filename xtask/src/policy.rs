//! `cargo xtask policy`: the locked dependencies are held to `deny.toml`: licences, sources, crates in several versions; and every
//! crate of the workspace to the lints of the workspace, which forbid `unsafe`, as crates outside do by themselves.
//!
//! It reads of the file what it needs (the lists of texts, and of `{ crate = "…" }`), so that cargo-deny, which takes long to build,
//! is not needed for it; where that is installed, it is asked too. Advisories it alone knows.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, ExitCode};

use serde_json::Value as Json;

/// Crates that are no part of the workspace, and say by themselves that they forbid `unsafe`.
const OUTSIDE: [&str; 1] = ["bench/engines/Cargo.toml"];

const USAGE: &str = "usage: cargo xtask policy [--advisories]

  --advisories  looks for advisories as well: with cargo-deny, and the database of RustSec from the network";

/// Checks all; fails where anything is not as it is to be.
pub fn policy(arguments: &[String]) -> ExitCode {
    let advisories = match arguments {
        [] => false,
        [one] if one == "--advisories" => true,
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    let found = found().and_then(|mut found| {
        found.extend(denied("cargo-deny", advisories)?);
        Ok(found)
    });
    match found {
        Ok(found) if found.is_empty() => ExitCode::SUCCESS,
        Ok(found) => {
            found.iter().for_each(|line| eprintln!("{line}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// What cargo-deny has against it, where that is installed; whether it is, it says.
fn denied(program: &str, advisories: bool) -> Result<Option<String>, String> {
    let mut checks = vec!["licenses", "bans", "sources"];
    checks.extend(advisories.then_some("advisories"));
    let mut command = Command::new(program);
    command.args(["--all-features", "check"]).args(&checks).current_dir(root());
    match command.status() {
        Ok(status) if status.success() => {
            println!("cargo-deny has looked at {}", checks.join(", "));
            Ok(None)
        }
        Ok(_) => Ok(Some(format!("cargo-deny did not agree to {}: it says why above", checks.join(", ")))),
        Err(error) if error.kind() == ErrorKind::NotFound && !advisories => {
            println!("cargo-deny is not installed: deny.toml was read by this program alone");
            Ok(None)
        }
        Err(error) => Err(format!("{program} could not be started: {error}")),
    }
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// What is not as it is to be.
fn found() -> Result<Vec<String>, String> {
    let read =
        |path: &Path| std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()));
    let policy = Policy::of(&read(&root().join("deny.toml"))?);
    let metadata: Json = serde_json::from_str(&cargo(&["metadata", "--format-version", "1"])?)
        .map_err(|error| format!("cargo metadata is no JSON: {error}"))?;
    let tree = cargo(&["tree", "--workspace", "--target", "all", "--edges", "all", "--prefix", "none"])?;
    let packages = reached(metadata["packages"].as_array().cloned().unwrap_or_default(), &tree);
    let mut found = policy.violations(&packages);
    if !read(&root().join("Cargo.toml"))?.contains("unsafe_code = \"forbid\"") {
        found.push("the workspace does not forbid `unsafe`".into());
    }
    // Crates outside the workspace.
    for manifest in OUTSIDE {
        if !read(&root().join(manifest))?.contains("unsafe_code = \"forbid\"") {
            found.push(format!("{manifest} does not forbid `unsafe`"));
        }
    }
    for package in packages.iter().filter(|package| package["source"].is_null()) {
        let manifest = package["manifest_path"].as_str().unwrap_or_default();
        if !read(Path::new(manifest))?.contains("[lints]\nworkspace = true") {
            found.push(format!("{manifest} does not take the lints of the workspace"));
        }
    }
    Ok(found)
}

/// Those packages that are in the tree of what is built, a line for each with its name and its version: metadata tells of more, for
/// features that nobody has.
fn reached(packages: Vec<Json>, tree: &str) -> Vec<Json> {
    let lines = tree.lines().filter_map(|line| line.split_once(" v"));
    let built: BTreeSet<(&str, &str)> =
        lines.map(|(name, rest)| (name, rest.split(' ').next().unwrap_or_default())).collect();
    let is_built = |package: &Json| {
        let text = |name: &str| package[name].as_str().unwrap_or_default();
        built.contains(&(text("name"), text("version")))
    };
    packages.into_iter().filter(is_built).collect()
}

/// What cargo says to some arguments.
fn cargo(arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .args(["--all-features", "--locked"])
        .current_dir(root())
        .output()
        .map_err(|error| format!("cargo could not be started: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo {} failed: {}", arguments[0], String::from_utf8_lossy(&output.stderr)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What `deny.toml` allows.
#[derive(Debug, Default, PartialEq)]
struct Policy {
    licences: BTreeSet<String>,
    registries: BTreeSet<String>,
    /// Crates that may be there in several versions.
    several: BTreeSet<String>,
}

impl Policy {
    fn of(text: &str) -> Policy {
        let mut policy = Policy::default();
        let (mut section, mut list) = (String::new(), String::new());
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            if let Some(name) =
                line.strip_prefix('[').and_then(|line| line.strip_suffix(']')).filter(|_| list.is_empty())
            {
                section = name.into();
                continue;
            }
            let mut items = line;
            if let Some((name, value)) = line.split_once(" = [") {
                (list, items) = (name.into(), value);
            }
            let texts = items.split('"').skip(1).step_by(2).map(str::to_owned);
            match (section.as_str(), list.as_str()) {
                ("licenses", "allow") => policy.licences.extend(texts),
                ("sources", "allow-registry") => policy.registries.extend(texts),
                ("bans", "skip") => policy.several.extend(texts.take(1)),
                _ => {}
            }
            if items.ends_with(']') {
                list.clear();
            }
        }
        policy
    }

    fn violations(&self, packages: &[Json]) -> Vec<String> {
        let (mut found, mut versions) = (Vec::new(), BTreeMap::<&str, BTreeSet<&str>>::new());
        for package in packages {
            let text = |name: &str| package[name].as_str().unwrap_or_default();
            let (name, version) = (text("name"), text("version"));
            versions.entry(name).or_default().insert(version);
            if !self.allows(text("license")) {
                found.push(format!(
                    "{name} {version} is under `{}`, which deny.toml does not allow",
                    text("license")
                ));
            }
            let registry = text("source").strip_prefix("registry+");
            if package["source"].is_string() && !registry.is_some_and(|it| self.registries.contains(it)) {
                found.push(format!(
                    "{name} {version} comes from {}, which deny.toml does not allow",
                    text("source")
                ));
            }
        }
        for (name, versions) in &versions {
            let skipped = self.several.contains(*name);
            if versions.len() > 1 && !skipped {
                found.push(format!(
                    "{name} is there as {versions:?}; one has to do, or deny.toml says why not"
                ));
            }
            if versions.len() == 1 && skipped {
                found.push(format!("{name} is there once: deny.toml need not say otherwise"));
            }
        }
        found.extend(
            self.several
                .iter()
                .filter(|name| !versions.contains_key(name.as_str()))
                .map(|name| format!("{name} is not there: deny.toml need not name it")),
        );
        found
    }

    /// Is an expression of licences (SPDX, or with the slashes of before) met by those that are allowed?
    fn allows(&self, expression: &str) -> bool {
        let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
        let words: Vec<&str> = spaced.split_whitespace().collect();
        let mut at = 0;
        let allowed = self.any(&words, &mut at);
        allowed && at == words.len()
    }

    fn any(&self, words: &[&str], at: &mut usize) -> bool {
        let mut allowed = self.each(words, at);
        while words.get(*at) == Some(&"OR") {
            *at += 1;
            allowed |= self.each(words, at);
        }
        allowed
    }

    fn each(&self, words: &[&str], at: &mut usize) -> bool {
        let mut allowed = self.one(words, at);
        while words.get(*at) == Some(&"AND") {
            *at += 1;
            allowed &= self.one(words, at);
        }
        allowed
    }

    fn one(&self, words: &[&str], at: &mut usize) -> bool {
        let Some(word) = words.get(*at) else { return false };
        *at += 1;
        if *word == "(" {
            let allowed = self.any(words, at);
            let closed = words.get(*at) == Some(&")");
            *at += 1;
            return allowed && closed;
        }
        if words.get(*at) == Some(&"WITH") {
            let whole = format!("{word} WITH {}", words.get(*at + 1).unwrap_or(&""));
            *at += 2;
            return self.licences.contains(&whole);
        }
        self.licences.contains(*word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const POLICY: &str = "# x\n[licenses]\nallow = [\n  \"MIT\",\n  \"Zlib\",\n  \"Apache-2.0 WITH LLVM-exception\",\n]\n\
        [sources]\nallow-registry = [\"https://there\"]\n[bans]\nskip = [\n  { crate = \"twice\", reason = \"why\" },\n]\n";

    #[test]
    fn expressions_of_licences_are_read() {
        let policy = Policy::of(POLICY);
        for allowed in
            ["MIT", "MIT/GPL", "GPL OR MIT", "(GPL OR MIT) AND Zlib", "Apache-2.0 WITH LLVM-exception"]
        {
            assert!(policy.allows(allowed), "{allowed}");
        }
        for refused in ["", "GPL", "GPL AND MIT", "GPL OR MIT AND GPL", "Apache-2.0", "MIT MIT", "(MIT"] {
            assert!(!policy.allows(refused), "{refused}");
        }
    }

    #[test]
    fn what_is_not_allowed_is_told() {
        let package = |name: &str, version: &str, license: &str, source: Json| json!({"name": name, "version": version, "license": license, "source": source});
        let there = || json!("registry+https://there");
        let well = [
            package("own", "1", "MIT", Json::Null),
            package("twice", "1", "MIT", there()),
            package("twice", "2", "MIT", there()),
        ];
        assert_eq!(Policy::of(POLICY).violations(&well), Vec::<String>::new());
        let wrong = [
            package("gpl", "1", "GPL", there()),
            package("git", "1", "MIT", json!("git+https://there")),
            package("own", "1", "MIT", there()),
            package("own", "2", "MIT", there()),
        ];
        let found = Policy::of(POLICY).violations(&wrong).join("\n");
        for part in ["gpl 1 is under `GPL`", "git 1 comes from git+", "own is there as", "twice is not there"]
        {
            assert!(found.contains(part), "{found}");
        }
    }

    /// What is there for a feature that nobody has was told as a second version, of which cargo-deny says that it is not there.
    #[test]
    fn what_is_not_built_is_not_there() {
        let package = |name: &str, version: &str| json!({"name": name, "version": version});
        let all = vec![package("nom", "7.1.3"), package("nom", "8.0.0"), package("own", "0.1.0")];
        let tree = "own v0.1.0 (/there/own)\nnom v8.0.0\nnom v8.0.0 (*)\n";
        assert_eq!(reached(all, tree), [package("nom", "8.0.0"), package("own", "0.1.0")]);
    }

    #[test]
    fn it_is_said_whether_cargo_deny_is_there() {
        assert_eq!(denied("no-such-cargo-deny", false), Ok(None));
        // Advisories nobody else knows.
        assert!(denied("no-such-cargo-deny", true).is_err());
        // A program that fails has found something.
        assert!(denied("false", false).is_ok_and(|found| found.is_some()));
        assert_eq!(denied("true", false), Ok(None));
    }

    /// The real ones.
    #[test]
    fn all_is_as_it_is_to_be() {
        assert_eq!(found(), Ok(Vec::new()));
    }
}

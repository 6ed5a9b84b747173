//! `cargo xtask policy`: the locked dependencies are held to `deny.toml`: licences, sources, crates in several versions; and every
//! crate of the workspace to the lints of the workspace, which forbid `unsafe`, as crates outside do by themselves.
//!
//! It reads of the file what it needs (the lists of texts, and of `{ crate = "…" }`), so that cargo-deny, which takes long to build,
//! is not needed for it; where that is installed, it says the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, ExitCode};

use serde_json::Value as Json;

/// Crates that are no part of the workspace, and say by themselves that they forbid `unsafe`.
const OUTSIDE: [&str; 1] = ["bench/engines/Cargo.toml"];

/// Checks all; fails where anything is not as it is to be.
pub fn policy() -> ExitCode {
    match found() {
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

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// What is not as it is to be.
fn found() -> Result<Vec<String>, String> {
    let read =
        |path: &Path| std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()));
    let policy = Policy::of(&read(&root().join("deny.toml"))?);
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--all-features", "--locked"])
        .current_dir(root())
        .output()
        .map_err(|error| format!("cargo could not be started: {error}"))?;
    let metadata: Json = serde_json::from_slice(&output.stdout)
        .map_err(|_| format!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr)))?;
    let packages = metadata["packages"].as_array().cloned().unwrap_or_default();
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

    /// The real ones.
    #[test]
    fn all_is_as_it_is_to_be() {
        assert_eq!(found(), Ok(Vec::new()));
    }
}

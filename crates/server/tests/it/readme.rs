//! The commands of the README's guided tour, run as they stand there, with the output that stands there. `…` in an
//! expected output stands for anything.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

struct Step {
    commands: String,
    expected: Option<String>,
}

/// The blocks of the tour, each with the output that follows it.
fn tour(readme: &str) -> Vec<Step> {
    let tour = readme.split("\n## A guided tour\n").nth(1).expect("there is a tour");
    let tour = tour.split("\n## ").next().expect("it ends");
    let mut steps: Vec<Step> = Vec::new();
    let mut lines = tour.lines();
    while let Some(line) = lines.next() {
        let Some(kind) = line.strip_prefix("```") else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        match kind {
            "sh" => steps.push(Step { commands: block.join("\n"), expected: None }),
            "text" => steps.last_mut().expect("an output follows commands").expected = Some(block.join("\n")),
            other => panic!("a block of {other} in the tour"),
        }
    }
    steps
}

/// Is a text what a pattern says, where `…` stands for anything?
fn matches(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[test]
fn patterns_can_fail() {
    assert!(matches("a b c", "a…c") && matches("abc", "abc") && matches("abc", "…"));
    assert!(
        !matches("a b c", "a…d") && !matches("abc", "ab") && !matches("abc", "b…") && !matches("ab", "a…b…b")
    );
}

#[test]
fn the_tour_does_what_the_readme_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let steps = tour(&readme);
    assert!(steps.len() > 10, "the tour has {} steps", steps.len());
    // Any free port instead of the one in the text.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(root.join("examples"), folder.path().join("examples")).unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_corollary"));
    let mut script = format!(
        "export PATH={}:$PATH\nset -m\ntrap 'kill $(jobs -p) 2>/dev/null' EXIT\n",
        binary.parent().unwrap().display()
    );
    for (at, step) in steps.iter().enumerate() {
        // The binary is built already, and on the path.
        let commands = if step.commands.starts_with("cargo build") { "true" } else { &step.commands };
        script.push_str(&format!("{}\necho; echo '=== {at}'\n", commands.replace("7437", &port)));
    }
    let output = Command::new("timeout")
        .args(["60", "bash", "-c", &script])
        .current_dir(folder.path())
        .output()
        .expect("bash and timeout are there");
    let text = String::from_utf8(output.stdout).unwrap().replace(&port, "7437");
    let errors = String::from_utf8_lossy(&output.stderr);
    let mut rest = text.as_str();
    for (at, step) in steps.iter().enumerate() {
        let (printed, behind) = rest
            .split_once(&format!("\n=== {at}\n"))
            .unwrap_or_else(|| panic!("step {at} did not end: {rest}\n{errors}"));
        rest = behind;
        if let Some(expected) = &step.expected {
            assert!(
                matches(printed.trim(), expected.trim()),
                "step {at}\n{}\nprinted\n{}\nand not\n{expected}\n{errors}",
                step.commands,
                printed.trim()
            );
        }
    }
}

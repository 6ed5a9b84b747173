//! The commands of the README's guided tour and of the pages in docs, run as they stand there, with the output that stands
//! there. `…` in an expected output stands for anything.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

struct Step {
    commands: String,
    expected: Option<String>,
}

/// The blocks of commands, each with the output that follows it.
fn steps(page: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(kind) = line.strip_prefix("```") else { continue };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        match kind {
            "sh" => steps.push(Step { commands: block.join("\n"), expected: None }),
            "text" => steps.last_mut().expect("an output follows commands").expected = Some(block.join("\n")),
            _ => {}
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

/// Where the project is.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

#[test]
fn the_tour_does_what_the_readme_says() {
    let readme = page("README.md");
    let tour = readme.split("\n## A guided tour\n").nth(1).expect("there is a tour");
    let steps = steps(tour.split("\n## ").next().expect("it ends"));
    assert!(steps.len() > 10, "the tour has {} steps", steps.len());
    does_what_it_says(&steps);
}

#[test]
fn the_examples_of_the_http_page_do_what_it_says() {
    let steps = steps(&page("docs/http.md"));
    assert!(steps.len() > 15, "the page has {} steps", steps.len());
    does_what_it_says(&steps);
}

#[test]
fn the_examples_of_the_operations_page_do_what_it_says() {
    let steps = steps(&page("docs/operations.md"));
    assert!(steps.len() >= 5, "the page has {} steps", steps.len());
    does_what_it_says(&steps);
}

/// Runs the steps one after the other in one shell, in a folder with the examples and with the schema of
/// docs/language.md as `company.cor`.
#[track_caller]
fn does_what_it_says(steps: &[Step]) {
    // Any free port instead of the one in the text.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(root().join("examples"), folder.path().join("examples")).unwrap();
    let language = page("docs/language.md");
    let company = language.split("```cor\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    fs::write(folder.path().join("company.cor"), company).unwrap();
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
    let text = String::from_utf8(output.stdout).unwrap().replace(&port, "7437").replace('\r', "");
    let errors = String::from_utf8_lossy(&output.stderr);
    let mut rest = text.as_str();
    let mut wrong = String::new();
    for (at, step) in steps.iter().enumerate() {
        let (printed, behind) = rest
            .split_once(&format!("\n=== {at}\n"))
            .unwrap_or_else(|| panic!("step {at} did not end: {rest}\n{errors}"));
        rest = behind;
        let printed = printed.trim();
        if let Some(expected) = step.expected.as_deref().filter(|expected| !matches(printed, expected.trim()))
        {
            let commands = &step.commands;
            wrong.push_str(&format!("step {at}\n{commands}\nprinted\n{printed}\nand not\n{expected}\n\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}{errors}");
}

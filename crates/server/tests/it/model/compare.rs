//! A reply against what the model says.

use std::collections::BTreeSet;

use super::dry_run;
use super::request::{Expected, Request, told};
use crate::common::{Json, Reply};

/// The first difference, as a sentence.
pub fn compare(request: &Request, reply: &Reply, expected: &Expected) -> Result<(), String> {
    if let Some(at) = expected.or_behind
        && (400..500).contains(&reply.status)
        && reply.json()["errors"][0]["item"].as_u64().is_some_and(|item| item >= at as u64)
    {
        return Ok(());
    }
    let short = |text: String| text.chars().take(1500).collect::<String>();
    if reply.status != expected.status {
        let code = expected.code.unwrap_or_default();
        let wrong = Json::from(told(&expected.wrong));
        return Err(format!(
            "the status is {}, and should be {} {code} {wrong}\n  {}",
            reply.status,
            expected.status,
            short(reply.text())
        ));
    }
    for (name, value) in &expected.headers {
        let found = reply.header(name).unwrap_or_default();
        let same = if *name == "allow" { methods(found) == methods(value) } else { found == value };
        if !same {
            return Err(format!("{name} is `{found}`, and should be `{value}`"));
        }
    }
    if request.method == "HEAD" || matches!(expected.status, 204 | 304) {
        return if reply.body.is_empty() {
            Ok(())
        } else {
            Err(format!("there is a body: {}", reply.text()))
        };
    }
    if let Some(lines) = &expected.lines {
        let text = reply.text();
        let found: Vec<Json> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        return same(&found.into(), &lines.clone().into());
    }
    let found: Json =
        serde_json::from_slice(&reply.body).map_err(|error| format!("no JSON: {error}: {}", reply.text()))?;
    match (&expected.code, &expected.body) {
        (Some(code), _) => problem(reply, &found, code, expected),
        (None, Some(_)) if request.dry_run => {
            let wanted = expected.body.clone().unwrap();
            same(&dry_run::comparable(found), &dry_run::comparable(wanted))
        }
        (None, Some(body)) => page_or_value(found, body, expected.more),
        (None, None) => Ok(()),
    }
}

/// HEAD is wherever GET is.
fn methods(allow: &str) -> BTreeSet<&str> {
    allow.split(',').map(str::trim).filter(|method| *method != "HEAD").collect()
}

fn problem(reply: &Reply, found: &Json, code: &str, expected: &Expected) -> Result<(), String> {
    if reply.header("content-type") != Some("application/problem+json") || found["status"] != expected.status
    {
        return Err(format!("no problem: {found}"));
    }
    let codes: BTreeSet<&str> = expected.wrong.iter().map(|wrong| wrong.code).chain([code]).collect();
    let told_code = found["code"].as_str().unwrap_or_default();
    if !codes.contains(told_code) {
        return Err(format!("the code is {told_code}, and should be {code}\n  {found}"));
    }
    if expected.wrong.is_empty() {
        return Ok(());
    }
    let entry = |json: &Json| format!("{} {} {}", json["item"], json["code"], json["path"]);
    let errors = found["errors"].as_array().cloned().unwrap_or_default();
    let errors: BTreeSet<String> = errors.iter().map(entry).collect();
    let wanted: BTreeSet<String> = told(&expected.wrong).iter().map(entry).collect();
    // Of what forbids a deletion one is told.
    let is_one = code == "restrict" && errors.len() == 1 && errors.is_subset(&wanted);
    if errors != wanted && !is_one {
        return Err(format!("the errors are {errors:?}, and should be {wanted:?}\n  {found}"));
    }
    Ok(())
}

fn page_or_value(mut found: Json, body: &Json, more: bool) -> Result<(), String> {
    if body.get("next").is_some() {
        if found["next"].is_string() != more {
            return Err(format!(
                "`next` is {}, and there {} more",
                found["next"],
                if more { "is" } else { "is no" }
            ));
        }
        found["next"] = Json::Null;
    }
    same(&found, body)
}

pub fn same(found: &Json, wanted: &Json) -> Result<(), String> {
    if found == wanted {
        return Ok(());
    }
    Err(format!("it differs: {}", difference("", found, wanted)))
}

/// The first place at which two values differ.
fn difference(at: &str, found: &Json, wanted: &Json) -> String {
    match (found, wanted) {
        (Json::Object(left), Json::Object(right)) => {
            let names: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
            let name = names.into_iter().find(|name| left.get(*name) != right.get(*name)).unwrap();
            let none = Json::from("(nothing)");
            let (left, right) = (left.get(name).unwrap_or(&none), right.get(name).unwrap_or(&none));
            difference(&format!("{at}/{name}"), left, right)
        }
        (Json::Array(left), Json::Array(right)) if left.len() == right.len() => {
            let nth = (0..left.len()).find(|nth| left[*nth] != right[*nth]).unwrap();
            difference(&format!("{at}/{nth}"), &left[nth], &right[nth])
        }
        _ => format!("{at} is {found}, and should be {wanted}"),
    }
}

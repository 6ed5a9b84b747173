//! The log: every commit stands there once, in order, with what each resource was and is.

use std::collections::BTreeMap;

use super::compare::same;
use super::request::Request;
use super::state::{Object, State};
use crate::common::{Json, Reply, json};

/// Commits of a page, so few that there are several.
const PAGE: usize = 7;

/// What has to be told of a resource: what it was, and what it is.
type Change = [Option<Object>; 2];

/// What has been acknowledged, and is looked for.
#[derive(Debug, Default)]
pub struct Log {
    /// All up to here has been found.
    seen: u64,
    /// By revision: by type and id.
    waiting: BTreeMap<u64, BTreeMap<(String, String), Change>>,
}

impl Log {
    /// Of what comes behind a state.
    pub fn behind(state: &State) -> Log {
        Log { seen: state.revision, waiting: BTreeMap::new() }
    }

    /// What a commit has to tell.
    pub fn commit(&mut self, before: &State, after: &State) {
        if after.revision == before.revision {
            return;
        }
        let mut changes = BTreeMap::new();
        for key in before.docs.keys().chain(after.docs.keys()) {
            let is_same = match (before.docs.get(key), after.docs.get(key)) {
                (Some(was), Some(is)) => was.revision == is.revision,
                _ => false,
            };
            if !is_same {
                let held = |state: &State| state.docs.get(key).map(|doc| doc.held.clone());
                let is_moved = held(before).zip(held(after)).is_some_and(|(was, is)| was != is);
                let shown = |state: &State, place: &str| {
                    let mut shown = state.docs.contains_key(key).then(|| told(state.shown(key, None)))?;
                    is_moved.then(|| shown.insert("_self".into(), place.into()));
                    Some(shown)
                };
                let at = (format!("{:?}", key.ty), key.id().to_string());
                changes.insert(at, [shown(before, "old"), shown(after, "new")]);
            }
        }
        self.waiting.insert(after.revision, changes);
    }

    /// Reads what has come, page by page; each commit must be there once, and nothing else.
    pub fn check(&mut self, mut ask: impl FnMut(&Request) -> Result<Reply, String>) -> Result<(), String> {
        let mut next = Some(format!("/api/_log?since={}&limit={PAGE}", self.seen));
        while let Some(target) = next {
            let reply = ask(&Request::new("GET", target.as_str()))?;
            let page: Json = reply.json();
            if reply.status != 200 {
                return Err(format!("{target}: {page}"));
            }
            for commit in page["results"].as_array().into_iter().flatten() {
                self.take(commit).map_err(|error| format!("the log: {error}\n  {commit}"))?;
            }
            next = page["next"].as_str().map(String::from);
        }
        match self.waiting.is_empty() {
            true => Ok(()),
            false => Err(format!("the log tells nothing of {:?}", self.waiting.keys().collect::<Vec<_>>())),
        }
    }

    fn take(&mut self, commit: &Json) -> Result<(), String> {
        let revision: u64 =
            commit["revision"].as_str().and_then(|text| text.parse().ok()).ok_or("it has no revision")?;
        let (wanted, mut changes) =
            self.waiting.pop_first().ok_or_else(|| format!("there was no commit {revision}"))?;
        if wanted != revision {
            return Err(format!("{wanted} comes next, and not {revision}"));
        }
        for change in commit["changes"].as_array().into_iter().flatten() {
            let text = |name: &str| change[name].as_str().unwrap_or_default().to_string();
            let at = (text("_type"), text("_id"));
            let states =
                changes.remove(&at).ok_or_else(|| format!("{at:?} has not changed, or is told twice"))?;
            holds(change, &states).map_err(|error| format!("{at:?}: {error}"))?;
        }
        if !changes.is_empty() {
            return Err(format!("nothing of {:?}", changes.keys().collect::<Vec<_>>()));
        }
        self.seen = revision;
        Ok(())
    }
}

/// Is a change told as it was?
fn holds(change: &Json, states: &Change) -> Result<(), String> {
    let [before, after] = states;
    let kind = match (before, after) {
        (None, _) => "added",
        (_, None) => "removed",
        _ => "modified",
    };
    same(&change["type"], &kind.into())?;
    let differs = |name: &str| {
        let of = |state: &Option<Object>| state.as_ref().and_then(|state| state.get(name)).cloned();
        of(before) != of(after)
    };
    for (name, state) in [("old", before), ("new", after)] {
        let found = match &change[name] {
            Json::Object(found) => {
                let mut shown = told(found.clone());
                // Where it was and is, by the paths that its parents have now.
                let _ = found.get("_self").map(|_| shown.insert("_self".into(), name.into()));
                Some(shown)
            }
            _ => None,
        };
        let wanted = state.clone().map(|mut state| {
            state.retain(|name, _| differs(name));
            state
        });
        same(&json!(found), &json!(wanted)).map_err(|error| format!("{name}: {error}"))?;
    }
    Ok(())
}

/// What is told of a resource. Of what a link leads to the path is that of now; a place among siblings shifts silently.
fn told(mut shown: Object) -> Object {
    shown.retain(|name, _| !["_id", "_self", "_revision", "_position"].contains(&name.as_str()));
    shown.into_iter().map(|(name, value)| (name, without_paths(value))).collect()
}

fn without_paths(value: Json) -> Json {
    match value {
        Json::Object(mut members) if members.contains_key("_id") => {
            members.remove("_self");
            members.into()
        }
        Json::Array(elements) => elements.into_iter().map(without_paths).collect(),
        other => other,
    }
}

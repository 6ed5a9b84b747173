//! Urls (`url := …`): what is declared, and where each has to lead.

use std::collections::BTreeMap;

use corollary_engine::working::Working;
use corollary_engine::{EngineError, Key, urls};
use corollary_value::Value;

use crate::draft::{Draft, Kind, Shape, UrlDraft, root_name};
use crate::express::{Express, Standing};
use crate::judge::State;
use crate::random::Random;

/// How deep a part of a url may become.
const DEPTH: u32 = 2;

/// Under this name the place of a url in a text is told.
pub const URL: &str = "#url";

/// Gives a type a url, or another one.
pub fn add(draft: &mut Draft, random: &mut Random, ty: usize) {
    draft.next_name += 1;
    let rank = draft.next_name;
    let parents = draft.parents(ty);
    let mut express = Express::new(draft, random, ty, Standing::Derived(rank), DEPTH);
    let Some(part) = express.shaped(&Shape::One(Kind::Str)) else { return };
    let other = express.shaped(&Shape::One(Kind::Int)).unwrap_or_else(|| "1".into());
    let above = parents.iter().find(|(owner, _)| *owner == ty || draft.types[*owner].url.is_some());
    let text = match (random.below(6), above) {
        (0..=3, Some((_, name))) => format!("(url(self.{name}) else '/u') + '/' + {part}"),
        (0, None) => format!("'/' + {part} + '/' + self._id"),
        (1, None) => format!("'/{}/' + {part}", root_name(draft.types[ty].name)),
        (4, _) => format!("'/u/' + str({other})"),
        _ => format!("'/u/' + {part}"),
    };
    draft.types[ty].url = Some(UrlDraft { text, rank });
}

/// May a text be a url, by the rules as they are told?
fn is_url(draft: &Draft, text: &str) -> bool {
    let segments: Vec<&str> = text.split('/').collect();
    let root = |name: &str| draft.types.iter().any(|ty| ty.root && root_name(ty.name) == name);
    let fits = |segment: &&str| !["", ".", ".."].contains(segment) && !segment.starts_with('_');
    segments.len() > 1
        && segments.len() <= 65
        && text.len() <= 2_048
        && segments[0].is_empty()
        && segments[1..].iter().all(fits)
        && !root(segments[1])
}

/// Every url leads to the first of those that have it, and of these only that one has it for a path.
pub fn lead(working: &Working<'_>, draft: &Draft, state: &State) -> Result<Result<(), String>, EngineError> {
    let schema = working.schema;
    let url_of = |key: &Key| match state.get(key).zip(schema.ty(key.ty).url).map(|(doc, slot)| doc.get(slot))
    {
        Some(Value::Str(text)) => Some(text.to_string()),
        _ => None,
    };
    let mut first: BTreeMap<String, &Key> = BTreeMap::new();
    // Types are numbered in the order of the text, and ids are in theirs.
    for key in state.keys() {
        if let Some(url) = url_of(key) {
            first.entry(url).or_insert(key);
        }
    }
    for (url, key) in &first {
        let wanted = is_url(draft, url).then_some(*key);
        let found = urls::find(working, url)?;
        if found.as_ref() != wanted {
            return Ok(Err(format!("the url {url} leads to {found:?}, and should to {wanted:?}")));
        }
    }
    for (key, doc) in state {
        let wanted = url_of(key).filter(|url| is_url(draft, url) && first.get(url) == Some(&key));
        let is = urls::of(working, key, doc)?;
        if is != wanted.as_deref() {
            return Ok(Err(format!("the url of {} is {is:?}, and should be {wanted:?}", key.id)));
        }
    }
    Ok(Ok(()))
}

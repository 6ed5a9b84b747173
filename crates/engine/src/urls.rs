//! Urls: the canonical paths that types give their resources themselves (`url := …`).
//!
//! What the expression gives is a text in a hidden field, and a url only where it can lead somewhere: it is absolute, its
//! segments are such as a path may have, and the first is no root collection, whose paths go before. Two resources may have
//! the same text, since derived values of different resources come about without each other: it leads to one of them, of
//! the type that is declared first, the least id. The others have their ordinary paths, which lead to all at any time.
//!
//! Urls stand in an index of their own, and nothing else is kept of them: whose a url is shows when it is asked for.

use corollary_schema::names::URL_FIELD;
use corollary_schema::{Field, Schema};
use corollary_store::{Direction, KeyRange};
use corollary_value::{Id, Value};

use crate::doc::{Doc, Key};
use crate::error::EngineError;
use crate::keys;
use crate::names::is_segment;
use crate::working::Working;

/// The longest url, in bytes.
pub const MAX_URL_BYTES: usize = 2_048;

/// The most segments of one.
pub const MAX_URL_SEGMENTS: usize = 64;

/// Is it a field with urls?
pub(crate) fn is_field(field: &Field) -> bool {
    field.name == URL_FIELD
}

/// Can a text be a url, as far as the text goes?
pub fn is_url(text: &str) -> bool {
    let Some(segments) = text.strip_prefix('/').filter(|_| text.len() <= MAX_URL_BYTES) else { return false };
    segments.split('/').count() <= MAX_URL_SEGMENTS && segments.split('/').all(is_segment)
}

/// The resource to which a url leads; none where there is none, and where the text is no url.
pub fn find(working: &Working<'_>, url: &str) -> Result<Option<Key>, EngineError> {
    let schema = working.schema;
    if !is_url(url) || is_under_root(schema, url) {
        return Ok(None);
    }
    let value = Value::Str(url.into());
    for (at, ty) in schema.types() {
        let Some(slot) = ty.url else { continue };
        let prefix = keys::indexed(ty.field(slot).id, &value);
        let length = prefix.len();
        let row = working.first_row(keys::INDEX, &KeyRange::prefix(prefix), Direction::Forward)?;
        if let Some((row, _)) = row {
            let id: Option<Id> = keys::id_behind(&row, length);
            return match id {
                Some(id) => {
                    let key = Key::new(at, id);
                    let hidden = working.hides(at) && working.after(&key)?.is_none();
                    Ok((!hidden).then_some(key))
                }
                None => Err(EngineError::corrupt("an index entry")),
            };
        }
    }
    Ok(None)
}

/// The url of a resource, where it leads there. Of one that is gone, the one that it had, if nobody else has it.
pub fn of<'d>(working: &Working<'_>, key: &Key, doc: &'d Doc) -> Result<Option<&'d str>, EngineError> {
    let Some(slot) = working.schema.ty(key.ty).url else { return Ok(None) };
    let Value::Str(url) = doc.get(slot) else { return Ok(None) };
    let leads_there = match find(working, url)? {
        Some(found) => found == *key,
        None => is_url(url) && !is_under_root(working.schema, url) && working.after(key)?.is_none(),
    };
    Ok(leads_there.then_some(url.as_str()))
}

/// Does a path begin with a root collection? Then it leads there.
fn is_under_root(schema: &Schema, url: &str) -> bool {
    url.split('/').nth(1).is_some_and(|first| schema.has_root(first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_absolute_and_made_of_segments() {
        for url in ["/a", "/blog/2024/über uns", "/a.b/~c", &format!("/{}", "x".repeat(MAX_URL_BYTES - 1))] {
            assert!(is_url(url), "{url}");
        }
        let long = format!("/{}", "x".repeat(MAX_URL_BYTES));
        for text in [
            "",
            "/",
            "a",
            "a/b",
            "/a/",
            "//a",
            "/a//b",
            "/./a",
            "/a/..",
            "/_updates",
            "/a/_b",
            &long,
            &"/a".repeat(65),
        ] {
            assert!(!is_url(text), "{text}");
        }
    }
}

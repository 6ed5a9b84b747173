//! Headers of requests.

use std::str::from_utf8;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use corollary_server::http::files::headers::{
    MAX_NAME_BYTES, Part, Tags, digest, disposition, file_name, media_type, part,
};
use corollary_server::http::updates::MAX_WAIT;
use corollary_server::http::{Conditions, Wait, accept};

use super::outcome;

/// Lines of names and values; what cannot be a header is passed over, as no client can send it.
fn read(input: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in input.split(|byte| *byte == b'\n').take(100) {
        let at = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let (name, value) = (&line[..at], line.get(at + 1..).unwrap_or_default().trim_ascii());
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    headers
}

/// What is accepted, how long is waited, and on which condition.
pub fn conditions(input: &[u8]) -> u64 {
    let headers = read(input);
    let ranges: Vec<(String, f32)> = accept::ranges(&headers).collect();
    assert!(ranges.iter().all(|(_, weight)| (0.0..=1.0).contains(weight)), "{ranges:?}");
    let named = accept::named(&headers);
    if let Some(named) = &named {
        let best = ranges.iter().filter(|(_, weight)| *weight > 0.0).map(|(_, weight)| *weight);
        assert!(ranges.iter().any(|(kind, weight)| kind == named && *weight > 0.0), "{named} of {ranges:?}");
        assert!(best.count() > 0);
    }
    let one_by_one = accept::READS.iter().filter(|kind| accept::check(&headers, &[kind]).is_ok()).count();
    let all = accept::check(&headers, accept::READS);
    assert_eq!(all.is_ok(), one_by_one > 0, "what there is more of is accepted if one of it is: {ranges:?}");
    // Whoever takes anything else too is never refused for what they did not name.
    let mut wider = headers.clone();
    wider.append(header::ACCEPT, HeaderValue::from_static("*/*;q=0.1"));
    assert!(all.is_err() || accept::check(&wider, accept::READS).is_ok(), "{ranges:?}");
    let waits = match Wait::of(&headers, None) {
        Ok(wait) => {
            let seconds = wait.time().map(|time| time.as_secs());
            assert!(wait.time().is_none_or(|time| time <= MAX_WAIT));
            let mut again = HeaderMap::new();
            if let Some(text) = seconds.and_then(|seconds| format!("wait={seconds}").parse().ok()) {
                again.insert("prefer", text);
            }
            assert_eq!(Wait::of(&again, None).expect("it is one").time(), wait.time());
            seconds.map_or(0, |seconds| 1 + seconds.min(2))
        }
        Err(problem) => told(problem.errors.len(), problem.code),
    };
    let condition = match Conditions::of(&headers) {
        Ok(condition) => {
            for revision in condition.revisions.iter().flatten().filter(|it| **it != u64::MAX) {
                let given = headers.get_all(header::IF_MATCH).iter();
                let has = |value: &HeaderValue| {
                    value.to_str().is_ok_and(|text| text.contains(&format!("\"{revision}\"")))
                };
                assert!(given.into_iter().any(has), "{revision} is given as the server writes it");
            }
            let count = condition.revisions.as_ref().map_or(0, |all| 1 + all.len().min(3));
            (count, condition.exists, condition.absent)
        }
        Err(problem) => (told(problem.errors.len(), problem.code) as usize, false, false),
    };
    outcome((ranges.len().min(4), one_by_one, named.is_some(), waits, condition))
}

/// A problem has a code.
fn told(errors: usize, code: &str) -> u64 {
    assert!(!code.is_empty());
    100 + errors as u64
}

/// The size of a file, a line of its own, and the `Range`.
pub fn range(input: &[u8]) -> u64 {
    let Ok(text) = from_utf8(input) else { return 0 };
    let (size, text) = text.split_once('\n').unwrap_or(("10", text));
    let size: u64 = size.trim().parse().unwrap_or(10);
    match part(text, size) {
        Part::Whole => 1,
        Part::Nothing => {
            // What has nothing of a file has nothing of a smaller one.
            assert_eq!(part(text, 0), Part::Nothing, "{text}");
            2
        }
        Part::Range(range) => {
            assert!(range.start() <= range.end() && *range.end() < size, "{range:?} of {size}");
            let again = format!("bytes={}-{}", range.start(), range.end());
            assert_eq!(part(&again, size), Part::Range(range.clone()), "it is asked for as it is told");
            let ends = (*range.start() == 0, *range.end() == size - 1);
            3 + outcome(ends) % 4
        }
    }
}

/// The headers of an upload; the first line is a name, too.
pub fn file(input: &[u8]) -> u64 {
    let headers = read(input);
    let given = headers.get(header::CONTENT_DISPOSITION).map_or(input, HeaderValue::as_bytes);
    let name = file_name(given);
    if let Some(name) = &name {
        assert!(!name.is_empty() && name.len() <= MAX_NAME_BYTES && name != "." && name != "..", "{name:?}");
        assert!(!name.contains(|c: char| c.is_control() || c == '/' || c == '\\'), "{name:?}");
        for is_inert in [false, true] {
            let told = disposition(is_inert, Some(name));
            assert!(told.is_ascii() && HeaderValue::from_str(&told).is_ok(), "{told:?}");
            assert_eq!(file_name(told.as_bytes()).as_ref(), Some(name), "{told:?}");
        }
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| media_type(kind.to_str().ok()?));
    if let Some(kind) = &kind {
        assert_eq!(media_type(kind).as_ref(), Some(kind), "it is read as it is told");
    }
    let tags = Tags::of(&headers, header::IF_MATCH);
    if let Ok(Some(Tags::These(all))) = &tags {
        assert!(!all.is_empty() && all.iter().all(|tag| tag.len() > 1 && tag.starts_with('"')), "{all:?}");
    }
    let digest = digest(&headers);
    let (is_read, is_there) = (digest.is_ok(), digest.is_ok_and(|digest| digest.is_some()));
    let tags = tags.map(|tags| tags.map(|tags| tags == Tags::Any)).ok();
    outcome((name.map(|name| name.is_ascii()), kind.is_some(), tags, is_read, is_there))
}

//! What a reply may be: `Accept` (RFC 9110, 12.5.1), asked before anything is done. A reply that the client has ruled out is
//! refused with 406, which names what there is; problems are told whatever is accepted.

use axum::body::Body;
use axum::http::{HeaderMap, Response, StatusCode, header};

use super::lines;
use crate::problem::Problem;

/// The content type of most replies.
pub const JSON: &str = "application/json";

/// The content type of a stream of events.
pub const EVENTS: &str = "text/event-stream";

/// What a read of resources may be.
pub const READS: &[&str] = &[JSON, lines::CONTENT_TYPE, EVENTS];

/// What is accepted, as it is written: each media range, in small letters, and its weight (0 rules out).
pub fn ranges(headers: &HeaderMap) -> impl Iterator<Item = (String, f32)> {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
        let weight = weight.map_or(1.0, weight_of);
        (!kind.is_empty()).then_some((kind, weight))
    })
}

/// A weight lies between 0 and 1; what is none rules out.
fn weight_of(text: &str) -> f32 {
    let weight = text.parse().unwrap_or(0.0);
    if (0.0..=1.0).contains(&weight) { weight } else { 0.0 }
}

/// What is asked for by its name: what has the highest weight decides, then what is named first.
pub fn named(headers: &HeaderMap) -> Option<String> {
    if is_plain(headers) {
        return None;
    }
    let named = ranges(headers).filter(|(kind, weight)| *weight > 0.0 && !kind.contains('*'));
    named.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(kind, _)| kind)
}

/// Does it say what nearly all say?
fn is_plain(headers: &HeaderMap) -> bool {
    let mut all = headers.get_all(header::ACCEPT).iter();
    match (all.next(), all.next()) {
        (None, _) => true,
        (Some(one), None) => one == "*/*" || one == JSON,
        _ => false,
    }
}

/// How much of a content type a media range names: all of it, the part before the slash, nothing.
fn precision(range: &str, kind: &str) -> Option<u8> {
    match range.split_once('/') {
        Some(("*", "*")) => Some(0),
        Some((top, "*")) => (kind.split('/').next() == Some(top)).then_some(1),
        _ => (range == kind).then_some(2),
    }
}

/// Is a content type accepted? The range that names most of it decides.
fn takes(headers: &HeaderMap, kind: &str) -> bool {
    let fitting = ranges(headers).filter_map(|(range, weight)| Some((precision(&range, kind)?, weight)));
    let nearest = fitting.reduce(|best, next| if next.0 > best.0 { next } else { best });
    nearest.is_some_and(|(_, weight)| weight > 0.0)
}

/// Refuses a request that accepts none of what it can be told.
pub fn check(headers: &HeaderMap, offered: &[&str]) -> Result<(), Problem> {
    // An empty list rules out nothing.
    if is_plain(headers) && offered.contains(&JSON) || ranges(headers).next().is_none() {
        return Ok(());
    }
    if offered.iter().any(|kind| takes(headers, kind)) {
        return Ok(());
    }
    let detail = format!("`Accept` rules out what there is: {}", offered.join(", "));
    Err(Problem::new(StatusCode::NOT_ACCEPTABLE, "not-acceptable", detail))
}

/// Refuses a reply to a read that the client has ruled out.
pub fn checked(headers: &HeaderMap, response: Response<Body>) -> Response<Body> {
    let told = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = told.map(|kind| kind.split(';').next().unwrap_or_default().trim());
    match kind.filter(|_| response.status().is_success()).map(|kind| check(headers, &[kind])) {
        Some(Err(problem)) => problem.response(),
        _ => response,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(values: &[&str], offered: &[&str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::ACCEPT, value.parse().unwrap());
        }
        check(&headers, offered).is_ok()
    }

    #[test]
    fn what_is_named_with_the_highest_weight_decides_then_what_is_named_first() {
        let named = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.append(header::ACCEPT, value.parse().unwrap());
            named(&headers)
        };
        assert_eq!(named("text/event-stream;q=0.1, application/json").as_deref(), Some(JSON));
        assert_eq!(named("text/event-stream, application/json").as_deref(), Some(EVENTS));
        assert_eq!(named("text/event-stream;q=0, */*"), None);
        assert_eq!(named("*/*"), None);
    }

    /// Weights that are none, such as `q=NaN` or `q=5`, counted as they were, and `Q=0` was not seen.
    #[test]
    fn a_weight_lies_between_nothing_and_one() {
        let mut headers = HeaderMap::new();
        headers.append(
            header::ACCEPT,
            "a/a;q=NaN, a/b;q=5, a/c;q=inf, a/d;q=-1, a/e;Q=0.5, a/f".parse().unwrap(),
        );
        let weights: Vec<f32> = ranges(&headers).map(|(_, weight)| weight).collect();
        assert_eq!(weights, [0.0, 0.0, 0.0, 0.0, 0.5, 1.0]);
        assert!(!accepts(&["application/json;Q=0"], &[JSON]));
    }

    #[test]
    fn the_range_that_names_most_decides() {
        assert!(accepts(&[], &[JSON]));
        for one in [
            "*/*",
            "application/*",
            "application/json",
            "APPLICATION/JSON; q=0.1",
            "text/html, */*;q=0.1",
            "",
        ] {
            assert!(accepts(&[one], &[JSON]), "{one}");
        }
        for none in
            ["text/html", "application/jso", "application/json;q=0", "application/json;q=0, */*", "text/*"]
        {
            assert!(!accepts(&[none], &[JSON]), "{none}");
        }
        assert!(accepts(&["application/json;q=0, */*"], READS));
        assert!(accepts(&["text/html", "application/json"], &[JSON]));
        assert!(accepts(&["text/*"], READS));
        assert!(!accepts(&["application/json"], &[lines::CONTENT_TYPE]));
    }
}

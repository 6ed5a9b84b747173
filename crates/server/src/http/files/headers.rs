//! The headers of files: names, media types, digests, ranges, entity tags. Text in, what it says out.

use std::ops::RangeInclusive;

use axum::http::{HeaderMap, HeaderName};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use corollary_engine::files::Digest;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::problem::Problem;

/// The longest name of a file, in bytes.
pub const MAX_NAME_BYTES: usize = 255;

/// The longest media type, with its parameters, in bytes.
pub const MAX_TYPE_BYTES: usize = 255;

/// The media type of bytes of which nothing else is told.
pub const ANY_TYPE: &str = "application/octet-stream";

/// The text of a header; none where it is not there, or no text.
pub fn text(headers: &HeaderMap, name: impl Into<HeaderName>) -> Option<&str> {
    headers.get(name.into())?.to_str().ok()
}

/// Entity tags of a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tags {
    /// `*`.
    Any,
    /// These, in quotes.
    These(Vec<String>),
}

impl Tags {
    /// Of a header; none where it is not there.
    pub fn of(headers: &HeaderMap, name: HeaderName) -> Result<Option<Tags>, Problem> {
        let mut all = Vec::new();
        for value in headers.get_all(name) {
            let value = value.to_str().unwrap_or_default().trim();
            if value == "*" {
                return Ok(Some(Tags::Any));
            }
            for tag in value.split(',') {
                let tag = tag.trim();
                let bare = tag.strip_prefix("W/").unwrap_or(tag);
                if bare.len() < 2 || !bare.starts_with('"') || !bare.ends_with('"') {
                    let detail = format!("`{tag}` is no entity tag: write it as \"sha-256=:…:\", in quotes");
                    return Err(Problem::malformed("etag", detail));
                }
                all.push(bare.to_string());
            }
        }
        Ok((!all.is_empty()).then_some(Tags::These(all)))
    }

    /// Is a tag one of them?
    pub fn have(&self, tag: &str) -> bool {
        match self {
            Tags::Any => true,
            Tags::These(tags) => tags.iter().any(|other| other == tag),
        }
    }
}

/// The media type of a body, with its parameters, its name in lower case; none where it is no media type.
pub fn media_type(given: &str) -> Option<String> {
    let given = given.trim();
    let (essence, parameters) = given.split_once(';').unwrap_or((given, ""));
    let essence = essence.trim().to_ascii_lowercase();
    let (kind, of) = essence.split_once('/')?;
    let is_token = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b))
    };
    let is_plain = parameters.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    if !is_token(kind) || !is_token(of) || !is_plain || given.len() > MAX_TYPE_BYTES {
        return None;
    }
    match parameters.trim() {
        "" => Some(essence),
        parameters => Some(format!("{essence}; {parameters}")),
    }
}

/// Is a media type one of those that are accepted, of which some end in `*`?
pub fn is_accepted(media_type: &str, accepted: impl IntoIterator<Item = impl AsRef<str>>) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    accepted.into_iter().any(|accepted| match accepted.as_ref().strip_suffix('*') {
        Some(kind) => essence.starts_with(kind),
        None => essence == accepted.as_ref(),
    })
}

/// The parameters of a header's value behind its first word: names in lower case, values without quotes.
fn parameters(value: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut chars = value.chars().skip_while(|c| *c != ';').skip(1).peekable();
    while chars.peek().is_some() {
        let mut name = String::new();
        while let Some(c) = chars.next_if(|c| *c != '=' && *c != ';') {
            name.push(c);
        }
        let mut value = String::new();
        if chars.next_if_eq(&'=').is_some() {
            while chars.next_if(|c| c.is_whitespace()).is_some() {}
            if chars.next_if_eq(&'"').is_some() {
                while let Some(c) = chars.next() {
                    match c {
                        '"' => break,
                        '\\' => value.extend(chars.next()),
                        c => value.push(c),
                    }
                }
            }
            while let Some(c) = chars.next_if(|c| *c != ';') {
                value.push(c);
            }
        }
        chars.next_if_eq(&';');
        found.push((name.trim().to_ascii_lowercase(), value.trim().to_string()));
    }
    found
}

/// The name that a `Content-Disposition` gives a file: without a path before it, and without what no name has.
pub fn file_name(disposition: &[u8]) -> Option<String> {
    // Browsers send names in UTF-8, as they are.
    let disposition = String::from_utf8_lossy(disposition);
    let parameters = parameters(&disposition);
    let given =
        |name: &str| parameters.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
    let extended = given("filename*").and_then(|value| {
        let (charset, rest) = value.split_once('\'')?;
        let (_, encoded) = rest.split_once('\'')?;
        let is_utf8 = charset.eq_ignore_ascii_case("utf-8");
        let decoded = percent_decode_str(encoded).decode_utf8().ok()?;
        is_utf8.then(|| decoded.into_owned())
    });
    let name = extended.or_else(|| given("filename").map(str::to_string))?;
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let mut name: String = last.chars().filter(|c| !c.is_control()).collect::<String>().trim().to_string();
    let end = (0..=MAX_NAME_BYTES.min(name.len())).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0);
    name.truncate(end);
    name.truncate(name.trim_end().len());
    (!name.is_empty() && name != "." && name != "..").then_some(name)
}

/// What stays as it is in the value of an extended parameter (RFC 8187).
const ATTRIBUTE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'+');

/// A `Content-Disposition`: shown, or only to be saved, with a name.
pub fn disposition(is_inert: bool, name: Option<&str>) -> String {
    let kind = if is_inert { "inline" } else { "attachment" };
    let Some(name) = name else { return kind.to_string() };
    let plain = |c: char| if c.is_ascii_graphic() && c != '"' && c != '\\' || c == ' ' { c } else { '_' };
    let simple: String = name.chars().map(plain).collect();
    if simple == name {
        return format!("{kind}; filename=\"{name}\"");
    }
    format!("{kind}; filename=\"{simple}\"; filename*=UTF-8''{}", utf8_percent_encode(name, ATTRIBUTE))
}

/// The SHA-256 that a request tells of its body, in any of the headers for it; the error is what is malformed.
pub fn digest(headers: &HeaderMap) -> Result<Option<Digest>, Problem> {
    for name in ["repr-digest", "content-digest", "digest"] {
        for value in headers.get_all(name) {
            for item in value.to_str().unwrap_or_default().split(',') {
                let Some((algorithm, value)) = item.trim().split_once('=') else { continue };
                // Others are not known here, which is no reason to refuse what else is said.
                if !algorithm.trim().eq_ignore_ascii_case("sha-256") {
                    continue;
                }
                let value = value.trim();
                let value = value.strip_prefix(':').and_then(|it| it.strip_suffix(':')).unwrap_or(value);
                let bytes = BASE64_STANDARD.decode(value).ok().and_then(|bytes| Digest::try_from(bytes).ok());
                return bytes.map(Some).ok_or_else(|| {
                    let detail = format!("`{name}` gives no SHA-256: it is written sha-256=:BASE64:");
                    Problem::malformed("digest", detail)
                });
            }
        }
    }
    Ok(None)
}

/// What part of some bytes is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of them.
    Whole,
    /// From one to another.
    Range(RangeInclusive<u64>),
    /// None that there is.
    Nothing,
}

/// Reads a `Range`. What is none that this server knows, several parts among them, is passed over, as it may be.
pub fn part(range: &str, size: u64) -> Part {
    let Some(spec) = range.trim().strip_prefix("bytes=") else { return Part::Whole };
    let Some((first, last)) = spec.trim().split_once('-') else { return Part::Whole };
    let number = |text: &str| -> Result<Option<u64>, ()> {
        match text.trim() {
            "" => Ok(None),
            text if text.bytes().all(|b| b.is_ascii_digit()) => {
                // More digits than fit mean more than there is.
                Ok(Some(text.parse().unwrap_or(u64::MAX)))
            }
            _ => Err(()),
        }
    };
    match (number(first), number(last)) {
        (Ok(Some(first)), Ok(Some(last))) if first > last => Part::Whole,
        (Ok(Some(first)), Ok(_)) if first >= size => Part::Nothing,
        (Ok(Some(first)), Ok(last)) => Part::Range(first..=last.unwrap_or(u64::MAX).min(size - 1)),
        (Ok(None), Ok(Some(0))) => Part::Nothing,
        (Ok(None), Ok(Some(_))) if size == 0 => Part::Nothing,
        (Ok(None), Ok(Some(suffix))) => Part::Range(size - suffix.min(size)..=size - 1),
        _ => Part::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_a_part_of_what_is_there_or_none() {
        let cases = [
            ("bytes=0-0", Part::Range(0..=0)),
            ("bytes=2-5", Part::Range(2..=5)),
            ("bytes=2-99", Part::Range(2..=9)),
            ("bytes=7-", Part::Range(7..=9)),
            ("bytes=-3", Part::Range(7..=9)),
            ("bytes=-30", Part::Range(0..=9)),
            ("bytes=9-9", Part::Range(9..=9)),
            ("bytes=10-", Part::Nothing),
            ("bytes=-0", Part::Nothing),
            ("bytes=99999999999999999999-", Part::Nothing),
            ("bytes=5-2", Part::Whole),
            ("bytes=-", Part::Whole),
            ("bytes=1-2,4-5", Part::Whole),
            ("bytes=a-", Part::Whole),
            ("lines=1-2", Part::Whole),
        ];
        for (text, expected) in cases {
            assert_eq!(part(text, 10), expected, "{text}");
        }
        assert_eq!(part("bytes=0-", 0), Part::Nothing);
        assert_eq!(part("bytes=-1", 0), Part::Nothing);
    }

    #[test]
    fn a_name_is_taken_from_a_disposition_without_what_is_dangerous_in_it() {
        let cases = [
            ("attachment; filename=\"a b.png\"", Some("a b.png")),
            ("attachment; filename=a.png", Some("a.png")),
            ("inline; FileName = a.png ; size=3", Some("a.png")),
            ("attachment; filename=\"a\\\"b;c.png\"; x=y", Some("a\"b;c.png")),
            ("attachment; filename=\"x.png\"; filename*=UTF-8''%E2%82%AC.png", Some("€.png")),
            ("attachment; filename*=iso-8859-1''%A3.png; filename=y.png", Some("y.png")),
            ("attachment; filename=\"../../etc/passwd\"", Some("passwd")),
            ("attachment; filename=\"C:/x\\\\y.txt\"", Some("y.txt")),
            ("attachment; filename=\"a\u{1}b\"", Some("ab")),
            ("attachment; filename=\"grün.png\"", Some("grün.png")),
            ("attachment; filename=\"..\"", None),
            ("attachment; filename=\"\"", None),
            ("attachment; filename=\"open", Some("open")),
            ("attachment", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(file_name(text.as_bytes()).as_deref(), expected, "{text}");
        }
        let long = format!("attachment; filename=\"{}\"", "ü".repeat(300));
        assert_eq!(file_name(long.as_bytes()).map(|name| name.len()), Some(254));
    }

    #[test]
    fn a_name_that_is_told_is_read_again() {
        for name in ["a.png", "a b.png", "say \"hi\".txt", "back\\slash", "€ grün.png", "semi;colon", "100%"]
        {
            let told = disposition(false, Some(name));
            assert!(told.is_ascii(), "{told}");
            let expected = name.rsplit('\\').next();
            assert_eq!(file_name(told.as_bytes()).as_deref(), expected, "{told}");
        }
        assert_eq!(disposition(true, None), "inline");
        // A name that was cut behind a space was told with it, and read again without it.
        let cut = format!("attachment; filename=\"{} x\"", "a".repeat(MAX_NAME_BYTES - 1));
        let name = file_name(cut.as_bytes()).unwrap();
        assert_eq!(file_name(disposition(false, Some(&name)).as_bytes()), Some(name));
    }

    #[test]
    fn a_digest_is_read_in_either_form() {
        let bytes = [7; 32];
        let text = BASE64_STANDARD.encode(bytes);
        let read = |name: &'static str, value: String| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            digest(&headers)
        };
        assert_eq!(read("repr-digest", format!("sha-512=:AAAA:, sha-256=:{text}:")).unwrap(), Some(bytes));
        assert_eq!(read("digest", format!("SHA-256={text}")).unwrap(), Some(bytes));
        assert_eq!(read("repr-digest", "md5=:AAAA:".into()).unwrap(), None);
        assert!(read("repr-digest", "sha-256=:AAAA:".into()).is_err());
        assert!(read("content-digest", "sha-256=:?:".into()).is_err());
    }

    #[test]
    fn media_types_are_compared_without_their_parameters() {
        assert_eq!(media_type(" Text/HTML;charset=UTF-8 ").as_deref(), Some("text/html; charset=UTF-8"));
        assert_eq!(media_type("image/svg+xml").as_deref(), Some("image/svg+xml"));
        for wrong in ["", "text", "text/", "/html", "text/html/x", "te xt/html", "text/h\u{e9}"] {
            assert_eq!(media_type(wrong), None, "{wrong}");
        }
        assert!(is_accepted("text/html; charset=utf-8", ["image/*", "text/html"]));
        assert!(is_accepted("image/png", ["image/*"]));
        assert!(!is_accepted("imagery/png", ["image/*"]));
        assert!(!is_accepted("image/pngx", ["image/png"]));
    }
}

//! Paths in what another server replies: those that begin where the other one has its resources begin where the mount is.
//!
//! Only the texts of some members are touched, and all other bytes stay as they came; what is no JSON has none of them.

use std::borrow::Cow;
use std::mem::take;

/// The members whose texts are paths.
const MEMBERS: [&[u8]; 3] = [b"_self", b"next", b"path"];

/// From where paths begin there, to where they begin here.
#[derive(Clone, Debug)]
pub struct Prefix {
    /// The whole address there.
    url: String,
    /// Its path alone; nothing where it has none.
    path: String,
    here: String,
}

impl Prefix {
    /// For what is at a URL, without a slash at its end, and is shown at a path.
    pub fn new(url: &str, here: &str) -> Prefix {
        let behind = url.split_once("://").map_or(url, |(_, behind)| behind);
        let path = behind.find('/').map_or("", |at| &behind[at..]);
        Prefix { url: url.into(), path: path.into(), here: here.into() }
    }

    /// A path or an address there as a path here; none where it is of something else.
    pub fn of(&self, there: &str) -> Option<String> {
        let goes_on = |rest: &&str| rest.is_empty() || rest.starts_with(['/', '?', '.', '[', '#']);
        let rest = there.strip_prefix(&self.url).filter(goes_on);
        let path =
            || if there.starts_with('/') { there.strip_prefix(&self.path).filter(goes_on) } else { None };
        rest.or_else(path).map(|rest| format!("{}{rest}", self.here))
    }

    /// JSON, or a line with JSON in it, with the paths of here.
    pub fn rewritten<'j>(&self, json: &'j [u8]) -> Cow<'j, [u8]> {
        let (mut out, mut copied, mut at) = (Vec::new(), 0, 0);
        while let Some((name, behind)) = text(json, at) {
            at = behind;
            let colon = past_space(json, behind);
            if json.get(colon) != Some(&b':') {
                continue;
            }
            let start = past_space(json, colon + 1);
            at = start;
            if json.get(start) != Some(&b'"') {
                continue;
            }
            let Some((value, behind)) = text(json, start) else { break };
            at = behind;
            let there = std::str::from_utf8(value).ok().filter(|_| MEMBERS.contains(&name));
            if let Some(here) = there.and_then(|there| self.of(there)) {
                out.extend_from_slice(&json[copied..=start]);
                out.extend_from_slice(here.as_bytes());
                copied = behind - 1;
            }
        }
        if copied == 0 {
            return Cow::Borrowed(json);
        }
        out.extend_from_slice(&json[copied..]);
        Cow::Owned(out)
    }
}

/// The next text from a place on, without its quotes and with its escapes, and where it ends.
fn text(json: &[u8], from: usize) -> Option<(&[u8], usize)> {
    let start = from + json.get(from..)?.iter().position(|byte| *byte == b'"')? + 1;
    let mut at = start;
    loop {
        match json.get(at)? {
            b'"' => return Some((&json[start..at], at + 1)),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

fn past_space(json: &[u8], from: usize) -> usize {
    let rest = json.get(from..).unwrap_or_default();
    from + rest.iter().position(|byte| !byte.is_ascii_whitespace()).unwrap_or(rest.len())
}

/// Lines that come in parts: each is rewritten when it is whole.
#[derive(Debug)]
pub struct Lines {
    prefix: Prefix,
    begun: Vec<u8>,
    most: usize,
}

impl Lines {
    /// Lines longer than so many bytes go through as they are.
    pub fn new(prefix: Prefix, most: usize) -> Lines {
        Lines { prefix, begun: Vec::new(), most }
    }

    /// What can be told when another part has come.
    pub fn next(&mut self, part: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(part.len());
        for piece in part.split_inclusive(|byte| *byte == b'\n') {
            self.begun.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                out.extend_from_slice(&self.prefix.rewritten(&take(&mut self.begun)));
            } else if self.begun.len() > self.most {
                out.append(&mut self.begun);
            }
        }
        out
    }

    /// What is left at the end.
    pub fn rest(&mut self) -> Vec<u8> {
        self.prefix.rewritten(&take(&mut self.begun)).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix() -> Prefix {
        Prefix::new("http://there:9000/api/partners", "/api/friends")
    }

    fn check(json: &str, expected: &str) {
        assert_eq!(String::from_utf8_lossy(&prefix().rewritten(json.as_bytes())), expected, "{json}");
    }

    #[test]
    fn paths_in_some_members_begin_here() {
        check(r#"{"_self":"/api/partners/p1"}"#, r#"{"_self":"/api/friends/p1"}"#);
        check(
            r#"{ "_self" : "http://there:9000/api/partners?x=1", "next":"/api/partners?page" }"#,
            r#"{ "_self" : "/api/friends?x=1", "next":"/api/friends?page" }"#,
        );
        check(
            r#"data: {"type":"added","path":"/api/partners/1"}"#,
            r#"data: {"type":"added","path":"/api/friends/1"}"#,
        );
    }

    #[test]
    fn all_else_stays_as_it_came() {
        for json in [
            r#"{"_self":"/api/partnership/p1","text":"/api/partners/p1"}"#,
            r#"{"note":"\"_self\":\"/api/partners/x\""}"#,
            r#"["_self","/api/partners/p1"]"#,
            r#"{"_self":{"_id":"a"},"n":1.50,"e":"\u00e4"}"#,
            r#"{"_self":"/api/partners/unfinished"#,
            "",
            "\"",
            "\\\"",
        ] {
            check(json, json);
        }
    }

    #[test]
    fn where_the_other_server_begins_at_its_root_all_paths_are_its_own() {
        let prefix = Prefix::new("https://there", "/api/all");
        assert_eq!(prefix.of("/things/1").as_deref(), Some("/api/all/things/1"));
        assert_eq!(prefix.of("https://there/things").as_deref(), Some("/api/all/things"));
        assert_eq!(prefix.of("https://therefore/things"), None);
        assert_eq!(prefix.of("things"), None);
    }

    #[test]
    fn lines_are_rewritten_when_they_are_whole() {
        let mut lines = Lines::new(prefix(), 64);
        assert_eq!(lines.next(b"{\"_self\":\"/api/par"), b"");
        assert_eq!(lines.next(b"tners/1\"}\n{\"a\""), b"{\"_self\":\"/api/friends/1\"}\n");
        assert_eq!(lines.rest(), b"{\"a\"");
        let long = [b'x'; 65];
        assert_eq!(lines.next(&long), long, "what is too long is not kept back");
    }
}

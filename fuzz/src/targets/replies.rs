//! What others reply to whom the server is a client.

use bytes::BytesMut;
use corollary_server::hooks::nats::protocol::{Said, take};
use corollary_server::mounts::proxy::rewrite::{Lines, Prefix};
use corollary_server::review::ask;

use super::outcome;

/// A server of NATS: all that it says, whole and byte by byte, is the same.
pub fn nats(input: &[u8]) -> u64 {
    let heard = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let (mut bytes, mut said) = (BytesMut::new(), Vec::new());
        for piece in pieces {
            bytes.extend_from_slice(piece);
            loop {
                let left = bytes.len();
                match take(&mut bytes) {
                    Ok(Some(one)) => {
                        assert!(bytes.len() < left, "something is taken");
                        said.push(match one {
                            Said::Info(_) => 1,
                            Said::Ping => 2,
                            Said::Pong => 3,
                            Said::Ok => 4,
                            Said::Error(_) => 5,
                            Said::Message { status, .. } => 6 + u32::from(status.unwrap_or(0)),
                        });
                    }
                    Ok(None) => break,
                    Err(why) => {
                        assert!(!why.is_empty());
                        said.push(0);
                        return said;
                    }
                }
            }
        }
        said
    };
    let whole = heard(&mut std::iter::once(input));
    assert_eq!(whole, heard(&mut input.chunks(1)), "in pieces it says the same");
    outcome(whole)
}

/// A webhook that is asked about one resource, or about three.
pub fn webhook(input: &[u8]) -> u64 {
    let read = |items| match ask::read(input, items) {
        Ok(answers) => {
            assert_eq!(answers.len(), items);
            answers.iter().filter(|answer| answer.allowed).count()
        }
        Err(why) => {
            assert!(!why.is_empty());
            usize::MAX
        }
    };
    outcome((read(1), read(3)))
}

/// A server behind a proxy: what comes in parts is as what comes at once.
pub fn proxied(input: &[u8]) -> u64 {
    let prefix = || Prefix::new("http://there:1/api/things", "/api/here");
    let rewritten = prefix().rewritten(input).into_owned();
    let in_parts = |size: usize| {
        let mut lines = Lines::new(prefix(), usize::MAX);
        let mut all: Vec<u8> = input.chunks(size).flat_map(|part| lines.next(part)).collect();
        all.extend(lines.rest());
        all
    };
    assert_eq!(in_parts(1), in_parts(usize::MAX / 2), "in pieces it is the same");
    // Lines that are too long go through as they came.
    let mut short = Lines::new(prefix(), 8);
    let kept: usize = input.chunks(3).map(|part| short.next(part).len()).sum();
    outcome((rewritten == input, rewritten.len() / 8, kept > 0))
}

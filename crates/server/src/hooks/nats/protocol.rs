//! The protocol of NATS, as far as a publisher speaks it: what comes from a server, read from bytes that come in any pieces,
//! and what is sent.
//!
//! Source: <https://docs.nats.io/reference/reference-protocols/nats-protocol>.

use bytes::{Buf, Bytes, BytesMut};
use serde::Deserialize;

/// Bytes that a line may have: a server of a large cluster names all of them in its first one.
const MAX_LINE: usize = 256 << 10;

/// Bytes that an answer may have.
const MAX_ANSWER: usize = 1 << 20;

/// What a server says of itself.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Info {
    /// Bytes that a message may have, with its headers.
    pub max_payload: usize,
    /// Does it take messages with headers?
    pub headers: bool,
    /// Is it only spoken to in secret?
    pub tls_required: bool,
    /// May it be spoken to in secret?
    pub tls_available: bool,
}

/// What a server says.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// What it is.
    Info(Box<Info>),
    /// It wants to know whether somebody is there.
    Ping,
    /// It is there.
    Pong,
    /// It has taken what was sent.
    Ok,
    /// What is wrong.
    Error(String),
    /// A message, to a subject.
    Message {
        /// To whom.
        subject: String,
        /// The status that stands in place of a message: 503 where nobody takes what was sent.
        status: Option<u16>,
        /// What it says.
        body: Bytes,
    },
}

/// Takes the next that was said out of what has come; none where more has to come.
///
/// # Errors
///
/// Why this is no server of NATS.
pub fn take(bytes: &mut BytesMut) -> Result<Option<Said>, String> {
    let Some(end) = bytes.iter().take(MAX_LINE).position(|byte| *byte == b'\n') else {
        return if bytes.len() < MAX_LINE { Ok(None) } else { Err("it says a line without an end".into()) };
    };
    let line = String::from_utf8_lossy(&bytes[..end]);
    let line = line.trim_end();
    let (verb, rest) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    let said = match verb.to_ascii_uppercase().as_str() {
        "INFO" => {
            let info = serde_json::from_str(rest);
            Said::Info(info.map_err(|error| format!("it says `INFO` and what it is not: {error}"))?)
        }
        "PING" => Said::Ping,
        "PONG" => Said::Pong,
        "+OK" => Said::Ok,
        "-ERR" => Said::Error(rest.trim().trim_matches('\'').to_owned()),
        "MSG" | "HMSG" => {
            let (subject, head, total) = sizes(verb, rest).ok_or_else(|| strange(line))?;
            if total > MAX_ANSWER {
                return Err(format!("it answers with {total} bytes"));
            }
            if bytes.len() < end + 1 + total + 2 {
                return Ok(None);
            }
            bytes.advance(end + 1);
            let mut message = bytes.split_to(total);
            bytes.advance(2);
            let headers = message.split_to(head);
            return Ok(Some(Said::Message { subject, status: status(&headers), body: message.freeze() }));
        }
        _ => return Err(strange(line)),
    };
    bytes.advance(end + 1);
    Ok(Some(said))
}

fn strange(line: &str) -> String {
    format!("it says what NATS does not: {:?}", line.chars().take(80).collect::<String>())
}

/// Of the line of a message: to whom, and how many bytes its headers and all of it have.
fn sizes(verb: &str, rest: &str) -> Option<(String, usize, usize)> {
    let words: Vec<&str> = rest.split_ascii_whitespace().collect();
    let (subject, numbers) = (words.first()?, if verb.eq_ignore_ascii_case("HMSG") { 2 } else { 1 });
    // Behind the subject stands the number of the subscription, and to whom to reply if anybody wants that.
    if words.len() < 2 + numbers || words.len() > 3 + numbers {
        return None;
    }
    let total = words.last()?.parse().ok()?;
    let head = if numbers == 2 { words[words.len() - 2].parse().ok()? } else { 0 };
    (head <= total).then(|| ((*subject).to_owned(), head, total))
}

/// The status in `NATS/1.0 503 …`.
fn status(headers: &[u8]) -> Option<u16> {
    let line = headers.split(|byte| *byte == b'\r').next()?;
    let rest = line.strip_prefix(b"NATS/1.0")?;
    std::str::from_utf8(rest).ok()?.split_ascii_whitespace().next()?.parse().ok()
}

/// A message with headers, to a subject, whose answer goes to another. Names and values of headers have no ends of lines.
pub fn publish(
    subject: &str,
    reply: &str,
    headers: &[(impl AsRef<str>, impl AsRef<str>)],
    body: &[u8],
    out: &mut Vec<u8>,
) {
    let mut head = String::from("NATS/1.0\r\n");
    for (name, value) in headers {
        head.push_str(name.as_ref());
        head.push_str(": ");
        head.push_str(value.as_ref());
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    let (length, total) = (head.len(), head.len() + body.len());
    out.extend_from_slice(format!("HPUB {subject} {reply} {length} {total}\r\n").as_bytes());
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(body);
    out.extend_from_slice(b"\r\n");
}

/// What the answer to a message says: whether a stream has it.
///
/// # Errors
///
/// Why none has.
pub fn acknowledged(status: Option<u16>, body: &[u8]) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Ack {
        stream: Option<String>,
        error: Option<Failure>,
    }
    #[derive(Deserialize)]
    struct Failure {
        #[serde(default)]
        description: String,
    }
    match status {
        Some(503) => return Err("no stream takes what is sent to this subject".into()),
        Some(status) => return Err(format!("the server replied {status}")),
        None => {}
    }
    match serde_json::from_slice(body) {
        Ok(Ack { error: Some(Failure { description }), .. }) => {
            Err(format!("the stream refuses it: {description}"))
        }
        Ok(Ack { stream: Some(_), .. }) => Ok(()),
        _ => Err("somebody answers who is no stream: only JetStream keeps what it is told".into()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TALK: &[u8] = b"INFO {\"server_id\":\"x\",\"max_payload\":64,\"headers\":true}\r\nPING\r\n+OK\r\n\
        MSG _INBOX.a.1 1 5\r\nhe\r\no\r\nHMSG _INBOX.a.2 1 _R 26 28\r\nNATS/1.0 503 Nobody is\r\n\r\n{}\r\n-ERR 'Stale Connection'\r\nPONG\r\n";

    fn said() -> Vec<Said> {
        let message = |subject: &str, status, body: &'static [u8]| Said::Message {
            subject: subject.into(),
            status,
            body: Bytes::from_static(body),
        };
        vec![
            Said::Info(Box::new(Info { max_payload: 64, headers: true, ..Info::default() })),
            Said::Ping,
            Said::Ok,
            message("_INBOX.a.1", None, b"he\r\no"),
            message("_INBOX.a.2", Some(503), b"{}"),
            Said::Error("Stale Connection".into()),
            Said::Pong,
        ]
    }

    proptest! {
        #[test]
        fn what_is_said_is_heard_in_whatever_pieces_it_comes(mut cuts in prop::collection::vec(0..TALK.len(), 0..9)) {
            cuts.push(TALK.len());
            cuts.sort_unstable();
            let (mut heard, mut bytes, mut from) = (Vec::new(), BytesMut::new(), 0);
            for to in cuts {
                bytes.extend_from_slice(&TALK[from..to]);
                from = to;
                while let Some(one) = take(&mut bytes).unwrap() {
                    heard.push(one);
                }
            }
            prop_assert_eq!(heard, said());
        }

        #[test]
        fn nothing_that_comes_is_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..99), verb in 0..4_usize) {
            let mut all = BytesMut::from(["MSG ", "HMSG a 1 ", "INFO ", ""][verb].as_bytes());
            all.extend_from_slice(&bytes);
            all.extend_from_slice(b"\r\n");
            while let Ok(Some(_)) = take(&mut all) {}
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for line in
            ["HTTP/1.1 400 Bad Request", "MSG a", "MSG a 1 x", "HMSG a 1 9 3", "MSG a 1 99999999", "INFO x"]
        {
            take(&mut BytesMut::from(format!("{line}\r\n").as_bytes())).expect_err(line);
        }
        let mut endless = BytesMut::from(&vec![b'x'; MAX_LINE][..]);
        take(&mut endless).expect_err("a line without an end");
    }

    #[test]
    fn a_message_is_sent_with_the_sizes_of_its_parts() {
        let mut out = Vec::new();
        publish("a.b", "_R", &[("Nats-Msg-Id", "7")], b"{}", &mut out);
        let expected = "HPUB a.b _R 28 30\r\nNATS/1.0\r\nNats-Msg-Id: 7\r\n\r\n{}\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn only_a_stream_takes_a_message() {
        assert_eq!(acknowledged(None, br#"{"stream":"S","seq":3,"duplicate":true}"#), Ok(()));
        for (status, body) in [
            (Some(503), ""),
            (None, ""),
            (None, "{}"),
            (None, r#"{"error":{"code":503,"description":"maximum messages exceeded"}}"#),
            (None, r#"{"stream":"S","error":{"code":1}}"#),
        ] {
            acknowledged(status, body.as_bytes()).expect_err(body);
        }
    }
}

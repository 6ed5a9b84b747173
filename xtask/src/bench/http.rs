//! As much of HTTP/1.1 as a benchmark's client needs: writing a request, finding the end of a response, and one
//! blocking connection for single requests. The many connections of a load are in `client.rs`.
//!
//! Responses need a `Content-Length`: the servers measured here always know it, and a client that parses chunks would
//! cost what it is meant to measure.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::Result;

/// How long a single request may take.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Headers a response may have.
const MAX_HEADERS: usize = 64;

/// Appends a request with a body (JSON) or without (an empty one).
pub fn request(out: &mut Vec<u8>, method: &str, path: &str, body: &str) {
    for part in [method, " ", path, " HTTP/1.1\r\nHost: bench\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    if !body.is_empty() {
        let length = body.len().to_string();
        for part in ["Content-Type: application/json\r\nContent-Length: ", &length, "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body.as_bytes());
}

/// Where a whole response lies at the start of the bytes received so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its status.
    pub status: u16,
    /// Bytes of status line and headers, with the empty line.
    pub head: usize,
    /// Bytes of head and body.
    pub total: usize,
}

/// The head of the response that `bytes` begins with; none while it is not whole.
pub fn head(bytes: &[u8]) -> Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(bytes).map_err(|error| format!("not an HTTP response: {error}"))?;
    let httparse::Status::Complete(head) = parsed else { return Ok(None) };
    let status = response.code.ok_or("a response without a status")?;
    let length = response
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .and_then(|header| std::str::from_utf8(header.value).ok()?.trim().parse::<usize>().ok());
    let body = match (status, length) {
        (_, Some(length)) => length,
        (204 | 304, None) => 0,
        (_, None) => return Err("a response without Content-Length".into()),
    };
    Ok(Some(Head { status, head, total: head + body }))
}

/// A response to a single request.
pub struct Response {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: String,
    /// Its status line and headers, as they came.
    head: String,
}

impl Response {
    /// The value of a header; the name in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// Itself where it succeeded, else an error that shows it.
    pub fn success(self) -> Result<Response> {
        if (200..300).contains(&self.status) {
            Ok(self)
        } else {
            Err(format!("the server answered {}: {}", self.status, self.body).into())
        }
    }
}

/// A connection for one request after the other.
pub struct Connection {
    stream: TcpStream,
}

impl Connection {
    /// Connects.
    pub fn open(address: SocketAddr) -> Result<Connection> {
        let stream =
            TcpStream::connect(address).map_err(|error| format!("no connection to {address}: {error}"))?;
        stream
            .set_nodelay(true)
            .and_then(|()| stream.set_read_timeout(Some(TIMEOUT)))
            .map_err(|error| format!("the connection to {address}: {error}"))?;
        Ok(Connection { stream })
    }

    /// Sends a request that is answered on and on, and waits for the first of it.
    pub fn begin(&mut self, method: &str, path: &str) -> Result<()> {
        let failed = |error| format!("{method} {path}: {error}");
        let mut bytes = Vec::new();
        request(&mut bytes, method, path, "");
        self.stream.write_all(&bytes).map_err(failed)?;
        let mut chunk = [0; 1024];
        match self.stream.read(&mut chunk).map_err(failed)? {
            read if chunk[..read].starts_with(b"HTTP/1.1 200 ") => Ok(()),
            read => Err(format!("{method} {path}: {}", String::from_utf8_lossy(&chunk[..read])).into()),
        }
    }

    /// Sends a request and waits for its response, whatever its status.
    pub fn send(&mut self, method: &str, path: &str, body: &str) -> Result<Response> {
        let failed = |error| format!("{method} {path}: {error}");
        let mut bytes = Vec::new();
        request(&mut bytes, method, path, body);
        self.stream.write_all(&bytes).map_err(failed)?;
        bytes.clear();
        let mut chunk = [0; 16 * 1024];
        loop {
            if let Some(head) = head(&bytes)?
                && bytes.len() >= head.total
            {
                let text = |part: &[u8]| String::from_utf8_lossy(part).into_owned();
                let (body, fields) = (text(&bytes[head.head..head.total]), text(&bytes[..head.head]));
                return Ok(Response { status: head.status, body, head: fields });
            }
            match self.stream.read(&mut chunk).map_err(failed)? {
                0 => return Err(format!("{method} {path}: the server closed the connection").into()),
                n => bytes.extend_from_slice(&chunk[..n]),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_found_once_its_head_is_whole() {
        let text = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nETag: \"1\"\r\n\r\nhelloHTTP";
        for end in 0..text.len() {
            let found = head(&text[..end]).unwrap();
            assert_eq!(found.is_some(), end >= 49, "after {end} bytes");
        }
        assert_eq!(head(text).unwrap(), Some(Head { status: 200, head: 49, total: 54 }));
    }

    #[test]
    fn a_response_without_length_is_refused_unless_it_has_no_body() {
        assert!(head(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
        assert_eq!(
            head(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap(),
            Some(Head { status: 204, head: 27, total: 27 })
        );
        assert!(head(b"SSH-2.0-OpenSSH\r\n\r\n").is_err());
    }

    #[test]
    fn headers_are_found_in_any_case() {
        let head = "HTTP/1.1 200 OK\r\ncorollary-updates: a,b\r\nContent-Length: 0\r\n\r\n".to_owned();
        let response = Response { status: 200, body: String::new(), head };
        assert_eq!(response.header("Corollary-Updates"), Some("a,b"));
        assert_eq!(response.header("ETag"), None);
    }

    #[test]
    fn a_request_has_a_length_only_with_a_body() {
        let mut out = Vec::new();
        request(&mut out, "PATCH", "/api/orders/o1", "{\"amount\":7}");
        request(&mut out, "GET", "/healthz", "");
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "PATCH /api/orders/o1 HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n\
             Content-Length: 12\r\n\r\n{\"amount\":7}GET /healthz HTTP/1.1\r\nHost: bench\r\n\r\n"
        );
    }
}

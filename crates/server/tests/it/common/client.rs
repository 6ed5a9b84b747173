//! A client of one connection, kept open between requests.

use std::io::{self, BufRead, BufReader, Write};
use std::net::TcpStream;

use super::{Json, PATIENCE};

/// A reply, read to its end.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// The same, with this status.
    #[track_caller]
    pub fn expect_status(self, status: u16) -> Reply {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub fn json(&self) -> Json {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Asserts the status, and gives the JSON; null where there is no body.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Json {
        assert_eq!(self.status, status, "{}", self.text());
        if self.body.is_empty() { Json::Null } else { self.json() }
    }

    /// Asserts that it is an error in the right form, with this status and code.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Json {
        let json = self.expect(status);
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        assert_eq!(json["code"], code, "{json}");
        assert_eq!(json["status"], status, "{json}");
        assert!(json["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{json}");
        assert!(json["title"].is_string() && json["type"].is_string(), "{json}");
        json
    }

    /// Code and place of each error of a problem, sorted.
    #[track_caller]
    pub fn errors(&self) -> Vec<String> {
        let json = self.json();
        let errors = json["errors"].as_array().unwrap_or_else(|| panic!("no errors in {json}"));
        let mut errors: Vec<String> = errors
            .iter()
            .map(|error| {
                assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()), "{error}");
                let item = error["item"].as_u64().map_or(String::new(), |item| format!("{item} "));
                let code = error["code"].as_str().unwrap();
                match error["path"].as_str() {
                    Some(path) => format!("{item}{code} {path}"),
                    None => format!("{item}{code}"),
                }
            })
            .collect();
        errors.sort();
        errors
    }

    /// The revision that a write made, or that a read shows.
    #[track_caller]
    pub fn revision(&self) -> u64 {
        self.header("corollary-revision").and_then(|text| text.parse().ok()).expect("a revision")
    }
}

/// Sends a request without waiting for the reply.
pub fn send(
    stream: &mut impl Write,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<()> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n").into_bytes();
    for (name, value) in headers {
        head.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    if !body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH") {
        head.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    head.extend_from_slice(body);
    stream.write_all(&head)
}

/// Reads the status and the headers of a reply.
pub fn read_head(reader: &mut impl BufRead) -> io::Result<Reply> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("no status line: {line}")))?;
    let mut headers = Vec::new();
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match line.trim_end().split_once(':') {
            Some((name, value)) => headers.push((name.to_ascii_lowercase(), value.trim().to_string())),
            None => return Ok(Reply { status, headers, body: Vec::new() }),
        }
    }
}

/// Reads the next part of a body sent in chunks; none at its end.
pub fn read_chunk(reader: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    let length = usize::from_str_radix(line.trim_end(), 16).map_err(io::Error::other)?;
    let mut chunk = vec![0; length + 2];
    reader.read_exact(&mut chunk)?;
    chunk.truncate(length);
    Ok((length > 0).then_some(chunk))
}

fn read_reply(reader: &mut impl BufRead, method: &str) -> io::Result<Reply> {
    let mut reply = read_head(reader)?;
    let without_body = method == "HEAD" || matches!(reply.status, 204 | 304);
    if reply.header("transfer-encoding") == Some("chunked") {
        while let Some(chunk) = read_chunk(reader)? {
            reply.body.extend_from_slice(&chunk);
        }
    } else if !without_body {
        let length = reply.header("content-length").map_or(Ok(0), str::parse).map_err(io::Error::other)?;
        reply.body = vec![0; length];
        reader.read_exact(&mut reply.body)?;
    }
    Ok(reply)
}

/// See the module.
pub struct Client {
    address: String,
    connection: Option<BufReader<TcpStream>>,
}

impl Client {
    pub fn new(address: &str) -> Client {
        Client { address: address.to_string(), connection: None }
    }

    /// A connection of its own.
    pub fn connect(address: &str) -> io::Result<BufReader<TcpStream>> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(BufReader::new(stream))
    }

    /// A request; the error is one of the connection.
    pub fn try_request(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<Reply> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Client::connect(&self.address)?,
        };
        send(connection.get_mut(), method, path, headers, body)?;
        let reply = read_reply(&mut connection, method)?;
        if reply.header("connection") != Some("close") {
            self.connection = Some(connection);
        }
        Ok(reply)
    }

    #[track_caller]
    pub fn request(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        match self.try_request(method, path, headers, body) {
            Ok(reply) => reply,
            Err(error) => panic!("{method} {path}: {error}"),
        }
    }

    #[track_caller]
    pub fn get(&mut self, path: &str) -> Reply {
        self.request("GET", path, &[], b"")
    }

    #[track_caller]
    pub fn delete(&mut self, path: &str) -> Reply {
        self.request("DELETE", path, &[], b"")
    }

    #[track_caller]
    pub fn post(&mut self, path: &str, body: &Json) -> Reply {
        self.with("POST", path, &[], body)
    }

    #[track_caller]
    pub fn put(&mut self, path: &str, body: &Json) -> Reply {
        self.with("PUT", path, &[], body)
    }

    #[track_caller]
    pub fn patch(&mut self, path: &str, body: &Json) -> Reply {
        self.with("PATCH", path, &[], body)
    }

    /// A request with JSON in it, and more headers.
    #[track_caller]
    pub fn with(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &Json) -> Reply {
        let mut all = vec![("content-type", "application/json")];
        all.extend_from_slice(headers);
        self.request(method, path, &all, body.to_string().as_bytes())
    }

    /// The resource at a path.
    #[track_caller]
    pub fn read(&mut self, path: &str) -> Json {
        self.get(path).expect(200)
    }

    /// All pages of a list.
    #[track_caller]
    pub fn list(&mut self, path: &str) -> Vec<Json> {
        let mut found = Vec::new();
        let mut next = Some(path.to_string());
        while let Some(path) = next {
            let mut page = self.read(&path);
            next = page["next"].as_str().map(str::to_string);
            match page["results"].take() {
                Json::Array(results) => found.extend(results),
                other => panic!("{other}"),
            }
        }
        found
    }

    /// The ids of all pages of a list.
    #[track_caller]
    pub fn ids(&mut self, path: &str) -> Vec<String> {
        self.list(path).iter().map(|item| item["_id"].as_str().unwrap().to_string()).collect()
    }
}

/// A text as it stands in a query string.
pub fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { (byte as char).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

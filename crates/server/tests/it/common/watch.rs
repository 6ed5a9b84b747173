//! A reader of watches, and the fold of what they tell.

use std::collections::BTreeMap;
use std::io::{self, BufReader};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::client::{Client, Reply, read_chunk, read_head, send};
use super::{Json, PATIENCE};

/// An event with the id that resumes behind it, where it has one.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub data: Json,
    pub id: Option<u64>,
}

impl Event {
    pub fn kind(&self) -> &str {
        self.data["type"].as_str().unwrap()
    }

    pub fn revision(&self) -> u64 {
        self.data["revision"].as_str().and_then(|text| text.parse().ok()).expect("a revision")
    }

    pub fn path(&self) -> &str {
        self.data["path"].as_str().expect("a path")
    }
}

/// An open watch.
pub struct Watch {
    connection: BufReader<TcpStream>,
    /// What has arrived and is not told yet.
    waiting: Vec<u8>,
    /// How much of it has no end of an event.
    looked_at: usize,
    pub head: Reply,
}

impl Watch {
    /// Begins a watch that must be accepted.
    #[track_caller]
    pub fn begin(address: &str, path: &str, headers: &[(&str, &str)]) -> Watch {
        let watch = Watch::try_begin(address, path, headers).unwrap();
        assert_eq!(watch.head.status, 200, "{path}");
        watch
    }

    pub fn try_begin(address: &str, path: &str, headers: &[(&str, &str)]) -> io::Result<Watch> {
        let mut connection = Client::connect(address)?;
        let mut all = vec![("accept", "text/event-stream")];
        all.extend_from_slice(headers);
        send(connection.get_mut(), "GET", path, &all, b"")?;
        let head = read_head(&mut connection)?;
        Ok(Watch { connection, waiting: Vec::new(), looked_at: 0, head })
    }

    /// The next event; an error when the connection ends or nothing is said for long.
    pub fn try_next(&mut self) -> io::Result<Event> {
        loop {
            let rest = &self.waiting[self.looked_at..];
            if let Some(end) = rest.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.waiting.drain(..self.looked_at + end + 2).collect();
                self.looked_at = 0;
                let block = String::from_utf8(block).map_err(io::Error::other)?;
                let mut event = Event { data: Json::Null, id: None };
                for line in block.lines().filter(|line| !line.is_empty()) {
                    match line.split_once(": ") {
                        Some(("data", data)) => event.data = serde_json::from_str(data)?,
                        Some(("id", id)) => event.id = Some(id.parse().map_err(io::Error::other)?),
                        _ => return Err(io::Error::other(format!("an odd line: {line}"))),
                    }
                }
                return Ok(event);
            }
            self.looked_at = self.waiting.len().saturating_sub(1);
            match read_chunk(&mut self.connection)? {
                Some(chunk) => self.waiting.extend_from_slice(&chunk),
                None => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
        }
    }

    #[track_caller]
    pub fn next(&mut self) -> Event {
        match self.try_next() {
            Ok(event) => event,
            Err(error) => panic!("no event: {error}"),
        }
    }

    /// The next event that is no bookmark, as its type and its path, or its type alone.
    #[track_caller]
    pub fn told(&mut self) -> String {
        let event = self.next();
        match event.data["path"].as_str() {
            Some(path) => format!("{} {path}", event.kind()),
            None => event.kind().to_string(),
        }
    }

    /// All events up to `synced`, which is the last.
    #[track_caller]
    pub fn synced(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            let event = self.next();
            let synced = event.kind() == "synced";
            assert!(!matches!(event.kind(), "expired" | "error"), "{event:?}");
            events.push(event);
            if synced {
                return events;
            }
        }
    }

    /// All events until, after the others are done, nothing is said for a second.
    pub fn until_silent(&mut self, done: &AtomicBool) -> Vec<Event> {
        self.connection.get_ref().set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let mut events = Vec::new();
        loop {
            // A second that began before they were done may end before what they did last has come.
            let were_done = done.load(Ordering::Relaxed);
            match self.try_next() {
                Ok(event) => events.push(event),
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    if were_done {
                        return events;
                    }
                }
                Err(error) => panic!("no event: {error}"),
            }
        }
    }

    /// The next event, where one comes in time.
    pub fn within(&mut self, time: Duration) -> io::Result<Event> {
        self.connection.get_ref().set_read_timeout(Some(time)).unwrap();
        let next = self.try_next();
        self.connection.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
        next
    }

    /// Is nothing said for a while?
    #[track_caller]
    pub fn is_silent(&mut self, during: Duration) -> bool {
        self.connection.get_ref().set_read_timeout(Some(during)).unwrap();
        let silent = match self.try_next() {
            Err(error) => matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
            Ok(_) => false,
        };
        self.connection.get_ref().set_read_timeout(Some(PATIENCE)).unwrap();
        silent
    }
}

/// What a client holds that does as the events say, by path.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fold {
    pub resources: BTreeMap<String, Json>,
    /// All up to here has been told.
    pub revision: u64,
    /// Of the commit that is being told.
    open: Option<u64>,
}

impl Fold {
    /// Takes an event in; each must make sense after those before it.
    #[track_caller]
    pub fn take(&mut self, event: &Event) {
        match event.kind() {
            "synced" | "bookmark" => {
                assert_eq!(self.open, None, "the events of a commit stand together: {event:?}");
                assert!(event.revision() >= self.revision, "{event:?}");
                self.revision = event.revision();
            }
            kind => {
                let path = event.path().to_string();
                if self.revision > 0 {
                    assert!(event.revision() > self.revision, "told twice: {event:?}");
                    assert!(self.open.is_none_or(|open| open == event.revision()), "{event:?}");
                    self.open = Some(event.revision());
                }
                let resource = event.data["resource"].clone();
                let before = match kind {
                    "added" | "modified" => self.resources.insert(path, resource),
                    "left" | "removed" => self.resources.remove(&path),
                    other => panic!("an event of type {other}: {event:?}"),
                };
                assert_eq!(before.is_some(), kind != "added", "{event:?}");
                if let Some(id) = event.id {
                    assert_eq!(id, event.revision());
                    (self.revision, self.open) = (id, None);
                }
            }
        }
    }

    /// The same from a list.
    pub fn of_list(items: &[Json], revision: u64) -> Fold {
        let by_path = |item: &Json| (item["_self"].as_str().unwrap().to_string(), item.clone());
        Fold { resources: items.iter().map(by_path).collect(), revision, open: None }
    }
}

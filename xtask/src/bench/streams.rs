//! Many replies that do not end: watches, each over a connection of its own, on one thread. Of what comes only the events are
//! counted, by a text that each of them has once, and the time of the first is kept, so that the client costs little.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::{Result, process};

/// Who hears nothing for so long has been forgotten.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes that are read at a time.
const CHUNK: usize = 16 << 10;

struct Stream {
    socket: TcpStream,
    /// The end of what has been read, in which a text may have begun.
    rest: Vec<u8>,
    /// How often the text has come.
    seen: u64,
    /// When it came first since it was last asked.
    first: Option<Instant>,
}

/// See the module.
pub struct Streams {
    poll: Poll,
    events: Events,
    all: Vec<Stream>,
    needle: &'static str,
    /// How often the text has come on all of them.
    total: u64,
    buffer: Vec<u8>,
}

impl Streams {
    /// Opens a connection for each request, and waits until each has been told `opened`; then counts `needle`.
    pub fn open(
        address: SocketAddr,
        requests: impl Iterator<Item = Vec<u8>>,
        opened: &'static str,
        needle: &'static str,
    ) -> Result<Streams> {
        let poll = Poll::new().map_err(|error| format!("no poll: {error}"))?;
        let mut streams = Streams {
            poll,
            events: Events::with_capacity(1024),
            all: Vec::new(),
            needle: opened,
            total: 0,
            buffer: vec![0; CHUNK],
        };
        for request in requests {
            let token = Token(streams.all.len());
            let mut socket = connect(address, &request)?;
            streams
                .poll
                .registry()
                .register(&mut socket, token, Interest::READABLE)
                .map_err(|error| format!("the connection to {address}: {error}"))?;
            streams.all.push(Stream { socket, rest: Vec::new(), seen: 0, first: None });
            // Not all at once, so that none waits to be accepted for too long.
            if streams.all.len().is_multiple_of(256) {
                let so_far = streams.all.len() as u64;
                streams.until(|it| it.total >= so_far)?;
            }
        }
        let all = streams.all.len() as u64;
        streams.until(|it| it.total >= all)?;
        streams.needle = needle;
        streams.forget();
        Ok(streams)
    }

    /// Counts from nothing.
    pub fn forget(&mut self) {
        self.total = 0;
        for stream in &mut self.all {
            (stream.seen, stream.first) = (0, None);
            stream.rest.clear();
        }
    }

    /// Events so far.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// When each was told first, of those that were.
    pub fn firsts(&self) -> impl Iterator<Item = Instant> + '_ {
        self.all.iter().filter_map(|stream| stream.first)
    }

    /// Reads until something is so.
    pub fn until(&mut self, is_so: impl Fn(&Streams) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self) {
            process::check()?;
            if Instant::now() > deadline {
                return Err(format!("only {} events came within {} s", self.total, PATIENCE.as_secs()).into());
            }
            self.read(Duration::from_millis(100))?;
        }
        Ok(())
    }

    /// Reads what is there, or comes within a while.
    pub fn read(&mut self, wait: Duration) -> Result<()> {
        match self.poll.poll(&mut self.events, Some(wait)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => {
                return Err(format!("no events: {error}").into());
            }
            _ => {}
        }
        for event in &self.events {
            let stream = &mut self.all[event.token().0];
            loop {
                match stream.socket.read(&mut self.buffer) {
                    Ok(0) => return Err("a watch ended".into()),
                    Ok(read) => {
                        let found = take(&mut stream.rest, &self.buffer[..read], self.needle.as_bytes());
                        if found > 0 {
                            stream.first.get_or_insert_with(Instant::now);
                            stream.seen += found;
                            self.total += found;
                        }
                        // There was no more, and of what comes next the poll will tell.
                        if read < self.buffer.len() {
                            break;
                        }
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(format!("a watch broke: {error}").into()),
                }
            }
        }
        Ok(())
    }
}

/// How often a text ends in what has been read, though it may have begun in the rest of what was read before.
fn take(rest: &mut Vec<u8>, read: &[u8], needle: &[u8]) -> u64 {
    let most = needle.len() - 1;
    let mut found = 0;
    if !rest.is_empty() {
        rest.extend_from_slice(&read[..read.len().min(most)]);
        found = count(rest, needle);
    }
    found += count(read, needle);
    if read.len() >= most {
        rest.clear();
        rest.extend_from_slice(&read[read.len() - most..]);
    } else if rest.is_empty() {
        rest.extend_from_slice(read);
    } else {
        // The little that was read stands behind it already.
        rest.drain(..rest.len().saturating_sub(most));
    }
    found
}

/// A connection over which a request has been sent.
fn connect(address: SocketAddr, request: &[u8]) -> Result<TcpStream> {
    let told = |error| format!("the connection to {address}: {error}");
    let mut stream = std::net::TcpStream::connect(address).map_err(told)?;
    stream.write_all(request).and_then(|()| stream.set_nonblocking(true)).map_err(told)?;
    Ok(TcpStream::from_std(stream))
}

/// How often a text stands in another one.
fn count(text: &[u8], needle: &[u8]) -> u64 {
    let (mut at, mut found) = (0, 0);
    while let Some(next) = text[at..].iter().position(|byte| *byte == needle[0]) {
        at += next;
        match text[at..].starts_with(needle) {
            true => {
                found += 1;
                at += needle.len();
            }
            false => at += 1,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_counted_once_however_it_is_cut() {
        let text = b"xabcxabcabcxxabc";
        for first in 0..=text.len() {
            for second in first..=text.len() {
                let mut rest = Vec::new();
                let parts = [&text[..first], &text[first..second], &text[second..]];
                let found: u64 = parts.iter().map(|part| take(&mut rest, part, b"abc")).sum();
                assert_eq!(found, 4, "{first} {second}");
            }
        }
    }

    #[test]
    fn a_text_is_counted_wherever_it_stands() {
        assert_eq!(count(b"xabxabab", b"ab"), 3);
        assert_eq!(count(b"aab", b"ab"), 1);
        assert_eq!((count(b"", b"ab"), count(b"a", b"ab")), (0, 0));
    }
}

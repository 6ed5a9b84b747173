//! What telling many takes where there is nothing to find out: a loop that sends the same bytes over each of many connections, on as
//! many threads as there are processors. No server that tells each by a send of its own is faster on the same machine.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use super::Result;

/// What it tells: as long as an event of the same change, with the same text in it by which it is counted.
const EVENT: &str = concat!(
    "c7\r\nid: 10001\ndata: {\"type\":\"modified\",\"path\":\"/api/items/i0\",\"revision\":\"10001\",\"old\":{\"_id\":\"i0\",",
    "\"_self\":\"/api/items/i0\",\"_revision\":\"10000\",\"group\":\"g0\",\"n\":1},\"new\":{\"n\":2,\"_revision\":\"10001\"}}\n\n    \r\n"
);

/// What it says to who begins to listen.
const BEGUN: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nc\r\n: synced\"  \n\r\n";

/// What it says to who has asked for an event, when all have it.
const DONE: &str = "HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n";

/// See the module. It ends with the program.
pub struct Bare {
    address: SocketAddr,
}

type Listeners = Arc<Mutex<Vec<TcpStream>>>;

impl Bare {
    /// Listens: a GET is told all events, and a POST makes one.
    pub fn start() -> Result<Bare> {
        let told = |error| format!("sends alone: {error}");
        let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(told)?;
        let address = listener.local_addr().map_err(told)?;
        let listeners = Listeners::default();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // Who goes before it has asked is nobody's loss.
                let _ = welcome(stream, &listeners);
            }
        });
        Ok(Bare { address })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn welcome(mut stream: TcpStream, listeners: &Listeners) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut first = [0; 1];
    stream.peek(&mut first)?;
    if first != *b"G" {
        let listeners = listeners.clone();
        thread::spawn(move || tell(stream, &listeners));
        return Ok(());
    }
    read_head(&mut stream)?;
    stream.write_all(BEGUN.as_bytes())?;
    if let Ok(mut listeners) = listeners.lock() {
        listeners.push(stream);
    }
    Ok(())
}

/// Reads a head to its end, and whatever has come behind it.
fn read_head(stream: &mut TcpStream) -> std::io::Result<bool> {
    let (mut read, mut chunk) = (Vec::new(), [0; 4096]);
    while !read.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut chunk)? {
            0 => return Ok(false),
            bytes => read.extend_from_slice(&chunk[..bytes]),
        }
    }
    Ok(true)
}

/// Tells all who listen of each request.
fn tell(mut stream: TcpStream, listeners: &Listeners) -> std::io::Result<()> {
    let threads = thread::available_parallelism()?.get();
    while read_head(&mut stream)? {
        let Ok(mut all) = listeners.lock() else { return Ok(()) };
        let each = all.len().div_ceil(threads).max(1);
        thread::scope(|scope| {
            for part in all.chunks_mut(each) {
                // Whoever is gone misses it.
                scope.spawn(move || part.iter_mut().for_each(|one| drop(one.write_all(EVENT.as_bytes()))));
            }
        });
        stream.write_all(DONE.as_bytes())?;
    }
    Ok(())
}

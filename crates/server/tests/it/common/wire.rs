//! A network between a server and its database: bytes pass, or they do not.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;
use std::time::Duration;

/// How often a wire looks whether it is still whole.
const LOOK: Duration = Duration::from_millis(5);

/// What becomes of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Wire {
    /// They pass.
    Whole,
    /// They go on when it is whole again, and until then nobody hears anything.
    Silent,
    /// Connections are broken, and nobody comes through.
    Broken,
}

/// To a database that is reached by a socket in a folder. It lives as long as the process.
pub struct Network {
    /// Where the database seems to be.
    pub port: u16,
    wire: Arc<AtomicU8>,
}

impl Network {
    pub fn to(socket: PathBuf) -> Network {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let wire = Arc::new(AtomicU8::new(Wire::Whole as u8));
        let network = Network { port, wire: Arc::clone(&wire) };
        thread::spawn(move || {
            for incoming in listener.incoming() {
                let Ok(client) = incoming else { continue };
                while is(&wire, Wire::Silent) {
                    thread::sleep(LOOK);
                }
                let database = UnixStream::connect(&socket);
                let (Ok(database), false) = (database, is(&wire, Wire::Broken)) else { continue };
                carry(client, database, &wire);
            }
        });
        network
    }

    pub fn set(&self, wire: Wire) {
        self.wire.store(wire as u8, Ordering::SeqCst);
    }
}

fn is(now: &AtomicU8, wire: Wire) -> bool {
    now.load(Ordering::SeqCst) == wire as u8
}

/// Both ways, each on a thread of its own.
fn carry(client: TcpStream, database: UnixStream, wire: &Arc<AtomicU8>) {
    client.set_nodelay(true).unwrap();
    client.set_read_timeout(Some(LOOK)).unwrap();
    database.set_read_timeout(Some(LOOK)).unwrap();
    let (mut to_client, mut to_database) = (client.try_clone().unwrap(), database.try_clone().unwrap());
    let (mut client, mut database) = (client, database);
    let (there, back) = (Arc::clone(wire), Arc::clone(wire));
    thread::spawn(move || {
        copy(&mut client, &mut to_database, &there);
        let _ = to_database.shutdown(Shutdown::Both);
    });
    thread::spawn(move || {
        copy(&mut database, &mut to_client, &back);
        let _ = to_client.shutdown(Shutdown::Both);
    });
}

/// Until one of them ends, or the wire is broken.
fn copy(from: &mut impl Read, to: &mut impl Write, wire: &AtomicU8) {
    let mut bytes = [0; 16 << 10];
    while !is(wire, Wire::Broken) {
        let length = match from.read(&mut bytes) {
            Ok(0) => return,
            Ok(length) => length,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(_) => return,
        };
        while is(wire, Wire::Silent) {
            thread::sleep(LOOK);
        }
        if is(wire, Wire::Broken) || to.write_all(&bytes[..length]).is_err() {
            return;
        }
    }
}

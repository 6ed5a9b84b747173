//! A NATS server of the test's own, with JetStream; and who makes its streams and reads what is in them.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use tempfile::TempDir;

/// How long anything may take.
const SOON: Duration = Duration::from_secs(20);

/// A message of a stream.
#[derive(Clone, Debug)]
pub struct Stored {
    pub headers: String,
    pub event: Json,
}

impl Stored {
    pub fn id(&self) -> &str {
        self.headers.lines().find_map(|line| line.strip_prefix("Nats-Msg-Id: ")).unwrap()
    }

    pub fn path(&self) -> &str {
        self.event["path"].as_str().unwrap()
    }

    pub fn revision(&self) -> u64 {
        self.event["revision"].as_str().unwrap().parse().unwrap()
    }
}

/// A server that can be killed and started again with what it has.
pub struct Nats {
    folder: TempDir,
    port: u16,
    child: Option<Child>,
    more: Vec<String>,
    /// What a client says of itself besides.
    login: Json,
}

impl Nats {
    /// One that runs; `cargo xtask ci` installs it where it is missing.
    pub fn new() -> Nats {
        Nats::with(&[], json!({}))
    }

    pub fn with(more: &[&str], login: Json) -> Nats {
        // A port that is free now; the server cannot tell which one it took before it is asked there.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let more = more.iter().map(|&it| it.to_owned()).collect();
        let mut nats = Nats { folder: tempfile::tempdir().unwrap(), port, child: None, more, login };
        nats.start();
        nats
    }

    pub fn start(&mut self) {
        let child = Command::new("nats-server")
            .args(["-a", "127.0.0.1", "-js", "-p", &self.port.to_string(), "-sd"])
            .arg(self.folder.path())
            .args(&self.more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.child = Some(child.expect("nats-server is there: `cargo xtask ci` installs it"));
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(begun.elapsed() < SOON, "nats-server does not start");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub fn url(&self, subject: &str) -> String {
        format!("nats://localhost:{}/{subject}", self.port)
    }

    /// Makes a stream of a subject.
    pub fn stream(&self, name: &str, subject: &str) {
        let config = json!({"name": name, "subjects": [subject], "storage": "file", "num_replicas": 1,
            "duplicate_window": 120_000_000_000_u64});
        let begun = Instant::now();
        loop {
            let reply = self.ask(&format!("$JS.API.STREAM.CREATE.{name}"), &config);
            if reply.as_ref().is_some_and(|reply| reply["error"].is_null()) {
                return;
            }
            assert!(begun.elapsed() < SOON, "{reply:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// All that is in a stream, in its order.
    pub fn stored(&self, name: &str) -> Vec<Stored> {
        let count = || {
            let info = self.ask(&format!("$JS.API.STREAM.INFO.{name}"), &json!({}))?;
            info["state"]["last_seq"].as_u64()
        };
        let begun = Instant::now();
        let last = loop {
            // One that was just started has yet to read its streams.
            if let Some(last) = count() {
                break last;
            }
            assert!(begun.elapsed() < SOON, "the stream is not there");
            thread::sleep(Duration::from_millis(20));
        };
        let get = format!("$JS.API.STREAM.MSG.GET.{name}");
        let one = |seq: u64| {
            let message = self.ask(&get, &json!({ "seq": seq })).unwrap()["message"].take();
            let bytes = |name: &str| decoded(message[name].as_str().unwrap());
            Stored { headers: bytes("hdrs"), event: serde_json::from_str(&bytes("data")).unwrap() }
        };
        (1..=last).map(one).collect()
    }

    /// Waits until a stream has so many messages.
    pub fn until(&self, name: &str, count: usize) -> Vec<Stored> {
        let begun = Instant::now();
        loop {
            let stored = self.stored(name);
            if stored.len() >= count {
                return stored;
            }
            assert!(begun.elapsed() < SOON, "{count} are wanted: {stored:#?}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks the server; none where nobody answers.
    fn ask(&self, subject: &str, body: &Json) -> Option<Json> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let mut hello = json!({"verbose": false, "headers": true, "no_responders": true});
        hello.as_object_mut().unwrap().extend(self.login.as_object().unwrap().clone());
        let body = body.to_string();
        write!(stream, "CONNECT {hello}\r\nSUB me 1\r\nPUB {subject} me {}\r\n{body}\r\n", body.len())
            .ok()?;
        let mut reader = BufReader::new(stream);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 || line.starts_with("-ERR") {
                return None;
            }
            let mut words = line.split_whitespace();
            match words.next() {
                Some("MSG") => {
                    let mut payload = vec![0; words.next_back().unwrap().parse().unwrap()];
                    reader.read_exact(&mut payload).ok()?;
                    return serde_json::from_slice(&payload).ok();
                }
                // Nobody answers.
                Some("HMSG") => return None,
                _ => {}
            }
        }
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.kill();
    }
}

fn decoded(text: &str) -> String {
    use base64::Engine as _;
    String::from_utf8(base64::engine::general_purpose::STANDARD.decode(text).unwrap()).unwrap()
}

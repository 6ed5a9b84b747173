//! Who hooks deliver to.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::Value as Json;

use super::Client;

/// How long something that is on its way may take.
const SOON: Duration = Duration::from_secs(20);

/// Waits until the state of a hook is so.
pub fn until(client: &mut Client, hook: &str, what: &str, is_so: impl Fn(&Json) -> bool) -> Json {
    let begun = Instant::now();
    loop {
        let state = client.read(&format!("/api/_hooks/{hook}"))["state"].clone();
        if is_so(&state) {
            return state;
        }
        assert!(begun.elapsed() < SOON, "{what}: {state}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// A request that came, and what was replied.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub id: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
    pub event: Json,
    pub status: u16,
}

impl Delivery {
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(header, _)| header == name).map_or("", |(_, value)| value)
    }

    pub fn path(&self) -> &str {
        self.event["path"].as_str().unwrap_or_default()
    }

    pub fn revision(&self) -> u64 {
        self.event["revision"].as_str().unwrap().parse().unwrap()
    }

    /// Is it signed with a secret, as Standard Webhooks says?
    pub fn is_signed(&self, secret: &str) -> bool {
        let key = BASE64.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
        let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key);
        let text = format!("{}.{}.{}", self.id, self.header("webhook-timestamp"), self.body);
        let tag = ring::hmac::sign(&key, text.as_bytes());
        self.header("webhook-signature") == format!("v1,{}", BASE64.encode(tag))
    }
}

type Policy = dyn Fn(&Delivery) -> (u16, String) + Send + Sync;

/// A server that takes what is posted to it, or not, as it is told.
pub struct Receiver {
    address: SocketAddr,
    came: Arc<Mutex<Vec<Delivery>>>,
    policy: Arc<Mutex<Arc<Policy>>>,
    ended: Arc<AtomicBool>,
}

impl Receiver {
    /// One that takes everything.
    pub fn new() -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let came: Arc<Mutex<Vec<Delivery>>> = Arc::default();
        let policy: Arc<Mutex<Arc<Policy>>> = Arc::new(Mutex::new(Arc::new(|_| (204, String::new()))));
        let ended: Arc<AtomicBool> = Arc::default();
        let receiver = Receiver { address, came: came.clone(), policy: policy.clone(), ended: ended.clone() };
        thread::spawn(move || {
            for connection in listener.incoming() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let (came, policy, ended) = (came.clone(), policy.clone(), ended.clone());
                thread::spawn(
                    move || while answer(connection.as_ref().ok(), &came, &policy, &ended).is_some() {},
                );
            }
        });
        receiver
    }

    pub fn url(&self) -> String {
        format!("http://{}/in", self.address)
    }

    /// From now on it replies so; 0 is a connection that is cut without a reply.
    pub fn set(&self, policy: impl Fn(&Delivery) -> u16 + Send + Sync + 'static) {
        self.reply(move |delivery| (policy(delivery), String::new()));
    }

    /// From now on it replies so, with a body.
    pub fn reply(&self, policy: impl Fn(&Delivery) -> (u16, String) + Send + Sync + 'static) {
        *self.policy.lock().unwrap() = Arc::new(policy);
    }

    /// All that came.
    pub fn came(&self) -> Vec<Delivery> {
        self.came.lock().unwrap().clone()
    }

    /// What it took.
    pub fn taken(&self) -> Vec<Delivery> {
        self.came().into_iter().filter(|delivery| (200..300).contains(&delivery.status)).collect()
    }

    /// Waits until what came is so.
    pub fn until(&self, what: &str, is_so: impl Fn(&[Delivery]) -> bool) -> Vec<Delivery> {
        let begun = Instant::now();
        loop {
            let came = self.came();
            if is_so(&came) {
                return came;
            }
            assert!(begun.elapsed() < SOON, "{what}: {came:#?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until it has taken so many.
    pub fn until_taken(&self, count: usize) -> Vec<Delivery> {
        self.until(&format!("{count} are taken"), |came| {
            came.iter().filter(|delivery| (200..300).contains(&delivery.status)).count() >= count
        });
        self.taken()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // Wakes who waits for a connection.
        let _ = TcpStream::connect(self.address);
    }
}

/// Answers one request; none where the connection has ended.
fn answer(
    connection: Option<&TcpStream>,
    came: &Mutex<Vec<Delivery>>,
    policy: &Mutex<Arc<Policy>>,
    ended: &AtomicBool,
) -> Option<()> {
    let mut reader = BufReader::new(connection?);
    let (mut headers, mut first) = (Vec::new(), true);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if line.trim().is_empty() {
            break;
        }
        if !std::mem::take(&mut first) {
            let (name, value) = line.split_once(':')?;
            headers.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    let header =
        |name: &str| headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.clone());
    let mut body = vec![0; header("content-length")?.parse().ok()?];
    reader.read_exact(&mut body).ok()?;
    let body = String::from_utf8(body).unwrap();
    let event = serde_json::from_str(&body).unwrap();
    let id = header("webhook-id").unwrap_or_default();
    let mut delivery = Delivery { id, headers, body, event, status: 0 };
    let policy = policy.lock().unwrap().clone();
    let (status, reply) = policy(&delivery);
    delivery.status = status;
    if ended.load(Ordering::Relaxed) {
        return None;
    }
    came.lock().unwrap().push(delivery);
    let mut connection = connection?;
    if status == 0 {
        connection.shutdown(Shutdown::Both).ok()?;
        return None;
    }
    let length = reply.len();
    write!(connection, "HTTP/1.1 {status} told\r\ncontent-length: {length}\r\n\r\n{reply}").ok()
}

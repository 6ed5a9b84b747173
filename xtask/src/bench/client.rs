//! The load of an HTTP server: many keep-alive connections on one thread, each sending its next request as soon as it
//! has the answer to the last, or when it is due at a stated rate, whatever the server has answered by then ([`Arrivals`]).
//!
//! The client shares the machine with the server it measures, so it must cost far less: one write and one read a
//! request, no allocation on the way, a head parsed in place and a body only counted. What it cost is told
//! ([`Load::client_cpu`]), so that anyone can see. Every response must be a success; anything else ends the benchmark,
//! because work that was refused is no work.

use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use super::sample::Sample;
use super::{Result, http, process};

/// A server that answers nothing for so long has hung.
const STALL: Duration = Duration::from_secs(60);

/// How often it is looked whether the load is over.
const TICK: Duration = Duration::from_millis(100);

/// The longest latency that the histogram tells apart, in microseconds.
const MAX_LATENCY: u64 = 10 * 60 * 1_000_000;

/// When requests are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrivals {
    /// On each connection as soon as the last one is answered.
    Answered,
    /// So many in a second, evenly. One that finds all connections waiting for an answer waits for the first of them, and
    /// that counts as latency.
    PerSecond(u32),
}

impl Arrivals {
    /// When a request is due, by its number; none where it is due with an answer.
    fn due(self, started: Instant, number: u64) -> Option<Instant> {
        match self {
            Arrivals::Answered => None,
            Arrivals::PerSecond(rate) => {
                Some(started + Duration::from_secs_f64(number as f64 / f64::from(rate)))
            }
        }
    }
}

/// What a load did.
pub struct Load {
    /// Of each server, how many of the requests in the interval it answered.
    pub answered: Vec<u64>,
    /// Requests answered in the interval, and how fast.
    pub sample: Sample,
    /// How much of one core the client itself used, from 0 to 1; none where the system does not tell.
    pub client_cpu: Option<f64>,
}

struct Connection {
    stream: TcpStream,
    /// The request under way, and how much of it is sent.
    out: Vec<u8>,
    sent: usize,
    /// The response under way, and how much of the buffer it fills.
    inbox: Vec<u8>,
    filled: usize,
    head: Option<http::Head>,
    started: Instant,
    busy: bool,
}

/// Sends requests over `connections` connections, dealt out to servers one after the other, for `interval`, or until `is_over`, then waits for the answers that are still owed.
/// `next` appends the next request to a buffer; `operations` is how many operations one request stands for.
pub fn load(
    addresses: &[SocketAddr],
    (connections, arrivals): (usize, Arrivals),
    interval: Duration,
    operations: u32,
    is_over: &dyn Fn() -> bool,
    mut next: impl FnMut(&mut Vec<u8>),
) -> Result<Load> {
    let mut poll = Poll::new().map_err(|error| format!("no poll: {error}"))?;
    let mut events = Events::with_capacity(1024);
    let mut open = Vec::with_capacity(connections);
    for index in 0..connections {
        open.push(Connection::open(addresses[index % addresses.len()], &poll, Token(index))?);
    }
    let mut latencies =
        Histogram::<u64>::new_with_max(MAX_LATENCY, 3).map_err(|error| format!("no histogram: {error}"))?;
    let cpu = cpu_time();
    let started = Instant::now();
    // Those that wait for no answer, and since when.
    let mut idle: Vec<(usize, Instant)> = (0..connections).map(|index| (index, started)).collect();
    let (mut owed, mut sent) = (0, 0);
    let mut answered = vec![0; addresses.len()];
    let mut last_answer = started;
    loop {
        process::check()?;
        let now = Instant::now();
        let over = now - started > interval || is_over();
        let due = arrivals.due(started, sent);
        while !over
            && arrivals.due(started, sent).is_none_or(|due| due <= now)
            && let Some((index, since)) = idle.pop()
        {
            // What it waited for a connection counts, and what the client overslept does not.
            let begun = arrivals.due(started, sent).filter(|due| *due < since).unwrap_or(now);
            open[index].begin(begun, &mut next)?;
            (owed, sent) = (owed + 1, sent + 1);
        }
        if over && owed == 0 {
            break;
        }
        if owed > 0 && now - last_answer > STALL {
            return Err(format!("the server has answered nothing for {} s", STALL.as_secs()).into());
        }
        let wait = due.filter(|_| !idle.is_empty() && !over).map(|due| due.saturating_duration_since(now));
        match poll.poll(&mut events, Some(wait.unwrap_or(TICK).min(TICK))) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(format!("poll: {error}").into()),
        }
        for event in &events {
            let connection = &mut open[event.token().0];
            connection.flush()?;
            if !connection.answered()? {
                continue;
            }
            let now = Instant::now();
            last_answer = now;
            owed -= 1;
            if now - started <= interval && !is_over() {
                let micros = (now - connection.started).as_micros() as u64;
                latencies.saturating_record(micros.max(1));
                answered[event.token().0 % addresses.len()] += 1;
                if arrivals == Arrivals::Answered {
                    connection.begin(now, &mut next)?;
                    (owed, sent) = (owed + 1, sent + 1);
                    continue;
                }
            }
            idle.push((event.token().0, now));
        }
    }
    let client_cpu = cpu
        .zip(cpu_time())
        .map(|(before, after)| (after - before).as_secs_f64() / started.elapsed().as_secs_f64());
    let within = |share| Duration::from_micros(latencies.value_at_quantile(share));
    let per_second =
        latencies.len() as f64 * f64::from(operations) / interval.min(last_answer - started).as_secs_f64();
    let sample = Sample::of(per_second, within);
    Ok(Load { answered, sample, client_cpu })
}

impl Connection {
    fn open(address: SocketAddr, poll: &Poll, token: Token) -> Result<Connection> {
        let failed = |error| format!("no connection to {address}: {error}");
        let stream = std::net::TcpStream::connect(address).map_err(failed)?;
        stream.set_nodelay(true).and_then(|()| stream.set_nonblocking(true)).map_err(failed)?;
        let mut stream = TcpStream::from_std(stream);
        // Both from the start: events are edges, so an interest that nothing waits for costs nothing.
        poll.registry()
            .register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)
            .map_err(|error| format!("poll: {error}"))?;
        Ok(Connection {
            stream,
            out: Vec::new(),
            sent: 0,
            inbox: vec![0; 16 * 1024],
            filled: 0,
            head: None,
            started: Instant::now(),
            busy: false,
        })
    }

    /// Begins the next request, which counts from a moment on.
    fn begin(&mut self, from: Instant, next: &mut impl FnMut(&mut Vec<u8>)) -> Result<()> {
        self.out.clear();
        next(&mut self.out);
        self.sent = 0;
        self.filled = 0;
        self.head = None;
        self.busy = true;
        self.started = from;
        self.flush()
    }

    /// Sends what the socket takes.
    fn flush(&mut self) -> Result<()> {
        while self.sent < self.out.len() {
            match self.stream.write(&self.out[self.sent..]) {
                Ok(0) => return Err("the server closed a connection".into()),
                Ok(n) => self.sent += n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("sending a request: {error}").into()),
            }
        }
        Ok(())
    }

    /// Reads what has come; true once, when the response to the request under way is whole.
    fn answered(&mut self) -> Result<bool> {
        while self.busy {
            if self.filled == self.inbox.len() {
                self.inbox.resize(self.filled * 2, 0);
            }
            let space = self.inbox.len() - self.filled;
            let read = match self.stream.read(&mut self.inbox[self.filled..]) {
                Ok(0) => return Err("the server closed a connection".into()),
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(format!("reading a response: {error}").into()),
            };
            self.filled += read;
            if self.head.is_none() {
                self.head = http::head(&self.inbox[..self.filled])?;
            }
            if let Some(head) = self.head
                && self.filled >= head.total
            {
                self.busy = false;
                return self.accept(head).map(|()| true);
            }
            // A read that does not fill its space has emptied the socket: what comes later is another event.
            if read < space {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// Checks that a whole response is the success it must be.
    fn accept(&self, head: http::Head) -> Result<()> {
        if self.filled > head.total {
            return Err("the server answered more than it was asked".into());
        }
        if (200..300).contains(&head.status) {
            return Ok(());
        }
        let body = String::from_utf8_lossy(&self.inbox[head.head..head.total]);
        let request = String::from_utf8_lossy(&self.out);
        let line = request.lines().next().unwrap_or_default();
        Err(format!("{line}: the server answered {}: {body}", head.status).into())
    }
}

/// The time that this thread has run on a core.
fn cpu_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(text.split_whitespace().next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// A server that answers every request with `answer`, in pieces of `piece` bytes, and counts the requests.
    fn server(answer: &'static str, piece: usize) -> (SocketAddr, Arc<AtomicU64>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicU64::new(0));
        let count = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let count = count.clone();
                std::thread::spawn(move || serve(stream, answer, piece, &count));
            }
        });
        (address, asked)
    }

    fn serve(stream: std::net::TcpStream, answer: &str, piece: usize, count: &AtomicU64) {
        stream.set_nodelay(true).unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap());
        let mut stream = stream;
        let mut length = 0;
        loop {
            let mut line = String::new();
            if lines.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.strip_prefix("Content-Length: ") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                let mut body = vec![0; std::mem::take(&mut length)];
                lines.read_exact(&mut body).unwrap();
                count.fetch_add(1, Ordering::Relaxed);
                for part in answer.as_bytes().chunks(piece) {
                    if stream.write_all(part).is_err() {
                        return;
                    }
                }
            }
        }
    }

    const INTERVAL: Duration = Duration::from_millis(200);

    #[test]
    fn every_request_is_answered_and_counted() {
        let (address, asked) = server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", usize::MAX);
        let mut sent = 0u64;
        let load = load(&[address], (8, Arrivals::Answered), INTERVAL, 3, &|| false, |out| {
            sent += 1;
            http::request(out, "PATCH", "/api/orders/o1", "{\"amount\":7}");
        })
        .unwrap();
        assert_eq!(sent, asked.load(Ordering::Relaxed), "what was sent was served");
        let answered = load.sample.per_second * INTERVAL.as_secs_f64() / 3.0;
        assert!(answered > 8.0 && answered.round() as u64 == sent - 8, "the last 8 came after the interval");
        assert_eq!(load.answered, [sent - 8]);
        assert!(load.sample.p50 <= load.sample.p99 && load.sample.p99 <= load.sample.max);
        assert!(load.sample.max < Duration::from_secs(60) && load.client_cpu.is_some());
    }

    #[test]
    fn connections_are_dealt_out_to_servers() {
        let servers = [(), ()].map(|()| server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", usize::MAX));
        let addresses = [servers[0].0, servers[1].0];
        let get = |out: &mut Vec<u8>| http::request(out, "GET", "/", "");
        let load = load(&addresses, (3, Arrivals::Answered), INTERVAL, 1, &|| false, get).unwrap();
        let asked = servers.map(|(_, asked)| asked.load(Ordering::Relaxed));
        assert!(asked[0] >= 2 && asked[1] >= 1, "{asked:?}");
        assert_eq!(
            [load.answered[0] + 2, load.answered[1] + 1],
            asked,
            "the last of each came after the interval"
        );
    }

    #[test]
    fn large_requests_and_answers_in_pieces_are_whole() {
        let answer: &'static str = Box::leak(
            format!("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n{}", "x".repeat(100_000))
                .into_boxed_str(),
        );
        let (address, asked) = server(answer, 7_001);
        let body = "y".repeat(3_000_000);
        let mut sent = 0u64;
        load(&[address], (2, Arrivals::Answered), INTERVAL, 1, &|| false, |out| {
            sent += 1;
            http::request(out, "POST", "/api/_batch", &body);
        })
        .unwrap();
        assert!(sent > 2);
        assert_eq!(sent, asked.load(Ordering::Relaxed));
    }

    #[test]
    fn requests_come_at_the_rate_whatever_the_server_takes() {
        let (address, asked) = server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", usize::MAX);
        let arrivals = (4, Arrivals::PerSecond(200));
        let get = |out: &mut Vec<u8>| http::request(out, "GET", "/", "");
        let sample = load(&[address], arrivals, INTERVAL, 1, &|| false, get).unwrap().sample;
        // 0, 5, … 200 ms: the last ones may be answered behind the interval, and a busy machine may send some late.
        let sent = asked.load(Ordering::Relaxed);
        assert!((2..=41).contains(&sent), "{sent}");
        assert!(sample.per_second <= 41.0 / INTERVAL.as_secs_f64(), "{sample:?}");
    }

    #[test]
    fn a_refusal_ends_the_load() {
        let (address, _) = server("HTTP/1.1 404 Not Found\r\nContent-Length: 7\r\n\r\nno such", usize::MAX);
        let get = |out: &mut Vec<u8>| http::request(out, "GET", "/nowhere", "");
        let error = load(&[address], (1, Arrivals::Answered), INTERVAL, 1, &|| false, get).err().unwrap();
        assert_eq!(error.to_string(), "GET /nowhere HTTP/1.1: the server answered 404: no such");
    }
}

//! Many watches over one WebSocket: each a subscription that the client names.
//!
//! One task reads what the client says, and begins subscriptions one after the other; another one writes all that is told. The
//! subscriptions of a connection share its queue, so they see commits in one order, and what waits for a client that does
//! not read has one bound. An error of a subscription is told by an event of it and ends nothing else.
//!
//! Read next: [`super::stream`], the same for one watch over HTTP.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use axum::http::StatusCode;
use bytes::BytesMut;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use hashbrown::{HashMap, HashSet};
use parking_lot::Mutex;
use serde_json::{Map, Value as Json, json};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout, timeout_at};

use super::event::Format;
use super::hub::{Hub, Place};
use super::opening::{CaughtUp, Opened, open};
use super::queue::{Handed, Queue};
use super::stream::BOOKMARK_EVERY;
use super::watched::Watched;
use crate::problem::Problem;

/// Bytes of a message of a client.
pub const MAX_MESSAGE_BYTES: usize = 64 << 10;

/// Bytes that are gathered for a client before they are sent.
pub const WRITE_BUFFER_BYTES: usize = 64 << 10;

/// How long a client may say nothing, not even that it lives: it is asked every 15 s.
const SILENCE: Duration = Duration::from_secs(60);

/// How long a client may take nothing of what is sent.
const STALL: Duration = Duration::from_secs(60);

/// Bytes of the name of a subscription.
const MAX_ID_BYTES: usize = 256;

/// What the reader has for the writer, waiting at a time.
const ORDERS: usize = 16;

/// What a client may subscribe to: finds what is watched behind a path with parameters.
pub trait Face: Send + Sync + 'static {
    /// What is watched at a path, with the parameters of a GET, and where; it has to be read, so it may take a while.
    fn watched(&self, path: &str, query: &str) -> Result<(Arc<Hub>, Watched), Problem>;
}

/// The names of the subscriptions of a connection.
type Names = Arc<Mutex<HashSet<String>>>;

/// What the writer is to do.
enum Order {
    /// Send these lines, each a message.
    Say(BytesMut),
    /// Go on with a subscription: its name, how it is told, and from where.
    Enter(String, Arc<Hub>, Format, Box<Opened>),
    /// Leave one; told whether it was there.
    Leave(String, oneshot::Sender<bool>),
    /// End the connection, for this reason.
    Close(u16, &'static str),
}

/// A subscription that goes on.
struct Subscribed {
    name: String,
    format: Format,
    watched: Arc<Watched>,
    hub: Arc<Hub>,
    place: Place,
    /// It has been told all up to here.
    seen: u64,
}

/// Serves a connection until one side ends it; `most` subscriptions at a time.
pub async fn serve(socket: WebSocket, face: Arc<dyn Face>, most: usize) {
    let (sink, stream) = socket.split();
    let (orders, waiting) = mpsc::channel(ORDERS);
    let names = Names::default();
    let mut writer = tokio::spawn(write(sink, waiting, names.clone()));
    tokio::select! {
        () = read(stream, face, orders, names, most) => {
            // It has been told that nothing more comes, and ends by itself where the client still takes something.
            if timeout(STALL, &mut writer).await.is_err() {
                writer.abort();
            }
        }
        _ = &mut writer => {}
    }
}

/// Reads what the client says until it ends, or has to be ended.
async fn read(
    mut stream: SplitStream<WebSocket>,
    face: Arc<dyn Face>,
    orders: mpsc::Sender<Order>,
    names: Names,
    most: usize,
) {
    loop {
        let order = match timeout(SILENCE, stream.next()).await {
            Err(_) => Order::Close(close_code::POLICY, "nothing was heard for long"),
            Ok(None | Some(Ok(Message::Close(_)))) => return,
            Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => continue,
            Ok(Some(Ok(Message::Binary(_)))) => {
                Order::Say(refusal(None, &Problem::malformed("message", "a message is a text of JSON")))
            }
            Ok(Some(Ok(Message::Text(text)))) => {
                if listen(&text, &face, &orders, &names, most).await.is_err() {
                    return;
                }
                continue;
            }
            Ok(Some(Err(error))) => match is_too_large(&error) {
                true => Order::Close(close_code::SIZE, "the message is too large"),
                false => return,
            },
        };
        let ends = matches!(order, Order::Close(..));
        if orders.send(order).await.is_err() || ends {
            return;
        }
    }
}

fn is_too_large(error: &axum::Error) -> bool {
    // What it is of is no part of the interface.
    error.to_string().contains("too long") || error.to_string().contains("too large")
}

/// The other task has ended.
struct Gone;

/// Does what one message says.
async fn listen(
    text: &str,
    face: &Arc<dyn Face>,
    orders: &mpsc::Sender<Order>,
    names: &Names,
    most: usize,
) -> Result<(), Gone> {
    let say = async |out| orders.send(Order::Say(out)).await.map_err(|_| Gone);
    match Said::parse(text) {
        Err(misunderstood) => {
            let (name, problem) = *misunderstood;
            say(refusal(name.as_deref(), &problem)).await
        }
        Ok(Said::Leave(name)) => {
            let (told, was) = oneshot::channel();
            orders.send(Order::Leave(name.clone(), told)).await.map_err(|_| Gone)?;
            match was.await.map_err(|_| Gone)? {
                true => {
                    let event = json!({"type": "unsubscribed", "id": name});
                    say(line(&event)).await
                }
                false => {
                    let problem = Problem::not_found(format!("there is no subscription `{name}`"));
                    say(refusal(Some(&name), &problem)).await
                }
            }
        }
        Ok(Said::Subscribe { name, path, query, since }) => {
            let (is_open, open) = {
                let names = names.lock();
                (names.contains(&name), names.len())
            };
            let problem = if is_open {
                let detail = format!("there is a subscription `{name}` already");
                Some(Problem::new(StatusCode::CONFLICT, "exists", detail))
            } else if open >= most {
                let detail = format!("a connection has at most {most} subscriptions");
                Some(Problem::new(StatusCode::TOO_MANY_REQUESTS, "subscription-limit", detail))
            } else {
                None
            };
            if let Some(problem) = problem {
                return say(refusal(Some(&name), &problem)).await;
            }
            names.lock().insert(name.clone());
            if let Some(last) = subscribe(&name, path, query, since, face, orders).await? {
                names.lock().remove(&name);
                say(last).await?;
            }
            Ok(())
        }
    }
}

/// Tells what is there, or what was missed, and hands the subscription over; its last word where it ends with that.
async fn subscribe(
    name: &str,
    path: String,
    query: String,
    since: Option<u64>,
    face: &Arc<dyn Face>,
    orders: &mpsc::Sender<Order>,
) -> Result<Option<BytesMut>, Gone> {
    let format = Format::Socket(Json::from(name).to_string().into());
    let (form, face) = (format.clone(), face.clone());
    let opened = spawn_blocking(move || {
        let (hub, watched) = face.watched(&path, &query)?;
        let mut out = BytesMut::new();
        let opened = open(hub.engine(), &Arc::new(watched), since, &form, &mut out)?;
        Ok::<_, Problem>((hub, opened, out))
    });
    let (hub, mut opened, out) = match opened.await.map_err(|_| Gone)? {
        Ok(opened) => opened,
        Err(problem) => return Ok(Some(refusal(Some(name), &problem))),
    };
    let say = async |out| orders.send(Order::Say(out)).await.map_err(|_| Gone);
    if !out.is_empty() {
        say(out).await?;
    }
    let mut behind = opened.resumes;
    while behind {
        let (engine, form) = (hub.engine().clone(), format.clone());
        let caught = spawn_blocking(move || {
            let caught = opened.catch_up(&engine, &form);
            (opened, caught)
        });
        let (again, caught) = caught.await.map_err(|_| Gone)?;
        opened = again;
        match caught {
            Ok(CaughtUp::To(mut out, is_last)) => {
                behind = !is_last;
                if is_last {
                    format.note("synced", opened.seen, None, &mut out);
                }
                say(out).await?;
            }
            Ok(CaughtUp::Missed(detail)) => {
                let mut out = BytesMut::new();
                format.note("expired", opened.seen, Some(&detail), &mut out);
                return Ok(Some(out));
            }
            Err(error) => return Ok(Some(refusal(Some(name), &error.into()))),
        }
    }
    let order = Order::Enter(name.into(), hub, format, Box::new(opened));
    orders.send(order).await.map_err(|_| Gone)?;
    Ok(None)
}

/// Writes all that is told until the connection ends.
async fn write(mut sink: SplitSink<WebSocket, Message>, mut orders: mpsc::Receiver<Order>, names: Names) {
    let mut queue = Queue::default();
    let mut all: HashMap<u64, Subscribed> = HashMap::new();
    let hand = |all: &mut HashMap<u64, Subscribed>, number, handed, out: &mut BytesMut| {
        // What is handed to one that has left is passed over.
        if all.get_mut(&number).is_some_and(|subscribed| !subscribed.take(handed, out))
            && let Some(ended) = all.remove(&number)
        {
            names.lock().remove(&ended.name);
        }
    };
    let mut bookmark = Instant::now() + BOOKMARK_EVERY;
    loop {
        let mut out = BytesMut::new();
        let next = tokio::select! {
            biased;
            order = orders.recv() => match order {
                None => return close(&mut sink, close_code::NORMAL, "").await,
                Some(Order::Close(code, why)) => return close(&mut sink, code, why).await,
                Some(order) => {
                    out = obey(order, &queue, &mut all, &names);
                    None
                }
            },
            next = timeout_at(bookmark, queue.next()) => Some(next),
        };
        match next {
            None => {}
            Some(Ok((number, Handed::Ended))) if all.contains_key(&number) => {
                // The server stops, or serves another schema: all may be resumed over a new connection.
                return close(&mut sink, close_code::RESTART, "subscribe again").await;
            }
            Some(Ok((number, handed))) => hand(&mut all, number, handed, &mut out),
            Some(Err(_)) => {
                bookmark = Instant::now() + BOOKMARK_EVERY;
                if sink.feed(Message::Ping(bytes::Bytes::new())).await.is_err() {
                    return;
                }
                // First how far all has been handed over, then whether some of it waits.
                let told = all.values().map(|it| it.place.told().max(it.seen)).min();
                match queue.at_hand() {
                    Some((number, handed)) => hand(&mut all, number, handed, &mut out),
                    None => {
                        if let Some(told) = told {
                            let event = json!({"type": "bookmark", "revision": told.to_string()});
                            out = line(&event);
                        }
                    }
                }
            }
        }
        if !matches!(timeout(STALL, send(&mut sink, &out)).await, Ok(Ok(()))) {
            return;
        }
    }
}

/// Does what the reader says.
fn obey(order: Order, queue: &Queue, all: &mut HashMap<u64, Subscribed>, names: &Names) -> BytesMut {
    match order {
        Order::Say(out) => return out,
        Order::Enter(name, hub, format, opened) => {
            let Opened { tracker, seen, .. } = *opened;
            let watched = tracker.watched.clone();
            let place = hub.enter(tracker, seen, &queue.entrance());
            all.insert(place.number, Subscribed { name, format, watched, hub, place, seen });
        }
        Order::Leave(name, told) => {
            let number = all.iter().find(|(_, it)| it.name == name).map(|(number, _)| *number);
            if let Some(number) = number {
                all.remove(&number);
                names.lock().remove(&name);
            }
            // Whoever asked may have gone.
            let _ = told.send(number.is_some());
        }
        Order::Close(..) => {}
    }
    BytesMut::new()
}

impl Subscribed {
    /// Writes what it is handed; false where that ends it.
    fn take(&mut self, handed: Handed, out: &mut BytesMut) -> bool {
        match handed {
            Handed::Told(delivery) => {
                self.seen = delivery.published.commit.revision;
                let written = delivery.write(self.hub.engine(), &self.watched, &self.format, out);
                if let Err(error) = written {
                    out.extend_from_slice(&refusal(Some(&self.name), &error.into()));
                    return false;
                }
                true
            }
            Handed::Missed(detail) => {
                self.format.note("expired", self.seen, Some(&detail), out);
                false
            }
            Handed::Failed(detail) => {
                let problem = Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail);
                out.extend_from_slice(&refusal(Some(&self.name), &problem));
                false
            }
            Handed::Ended => false,
        }
    }
}

/// Sends lines, each as a message.
async fn send(sink: &mut SplitSink<WebSocket, Message>, out: &BytesMut) -> Result<(), axum::Error> {
    for line in out[..].split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        // It is JSON that was written here.
        sink.feed(Message::Text(String::from_utf8_lossy(line).as_ref().into())).await?;
    }
    sink.flush().await
}

async fn close(sink: &mut SplitSink<WebSocket, Message>, code: u16, why: &'static str) {
    let frame = CloseFrame { code, reason: Utf8Bytes::from_static(why) };
    // Who has gone does not mind.
    let _ = timeout(STALL, sink.send(Message::Close(Some(frame)))).await;
}

/// An event as a line.
fn line(event: &Json) -> BytesMut {
    let mut out = BytesMut::from(event.to_string().as_bytes());
    out.extend_from_slice(b"\n");
    out
}

/// An `error` event, of a subscription where it is of one.
fn refusal(name: Option<&str>, problem: &Problem) -> BytesMut {
    let mut event = json!({"type": "error"});
    if let Some(name) = name {
        event["id"] = name.into();
    }
    event["problem"] = problem.to_json();
    line(&event)
}

/// What a message says.
#[derive(Debug, PartialEq)]
enum Said {
    Subscribe { name: String, path: String, query: String, since: Option<u64> },
    Leave(String),
}

/// What is wrong with a message, and the name of the subscription that it is about.
type Misunderstood = Box<(Option<String>, Problem)>;

fn misunderstood(name: Option<&str>, code: &'static str, detail: impl Into<String>) -> Misunderstood {
    Box::new((name.map(String::from), Problem::malformed(code, detail)))
}

impl Said {
    fn parse(text: &str) -> Result<Said, Misunderstood> {
        let wrong = |detail: &str| misunderstood(None, "message", detail);
        let said: Json = serde_json::from_str(text)
            .map_err(|error| misunderstood(None, "json", format!("the message is no JSON: {error}")))?;
        let members = said.as_object().ok_or_else(|| wrong("a message is an object"))?;
        let only = members.iter().next().filter(|_| members.len() == 1);
        match only {
            Some((verb, name)) if verb == "unsubscribe" => match name.as_str() {
                Some(name) => Ok(Said::Leave(name.into())),
                None => Err(wrong("`unsubscribe` has the id of a subscription")),
            },
            Some((verb, Json::Object(asked))) if verb == "subscribe" => Said::subscribe(asked),
            Some((verb, _)) if verb == "subscribe" => {
                Err(wrong("`subscribe` has an object with `id` and `path`"))
            }
            _ => Err(wrong("a message has one member, `subscribe` or `unsubscribe`")),
        }
    }

    fn subscribe(asked: &Map<String, Json>) -> Result<Said, Misunderstood> {
        let name = asked.get("id").and_then(Json::as_str).filter(|id| !id.is_empty());
        let Some(name) = name.filter(|id| id.len() <= MAX_ID_BYTES) else {
            let detail = format!("a subscription has an `id`, a text of 1 to {MAX_ID_BYTES} bytes");
            return Err(misunderstood(None, "message", detail));
        };
        let wrong = |detail: String| misunderstood(Some(name), "message", detail);
        let Some(path) = asked.get("path").and_then(Json::as_str) else {
            return Err(wrong("a subscription has a `path`, as /api/people".into()));
        };
        if path.contains('?') && !path.contains('[') {
            return Err(wrong("parameters stand beside the path, each as a member".into()));
        }
        let mut query = form_urlencoded::Serializer::new(String::new());
        let mut since = None;
        for (member, value) in asked {
            let text = match value {
                Json::String(text) => text.clone(),
                Json::Number(number) => number.to_string(),
                Json::Bool(flag) => flag.to_string(),
                Json::Array(parts) if parts.iter().all(Json::is_string) => {
                    parts.iter().filter_map(Json::as_str).collect::<Vec<_>>().join(",")
                }
                Json::Null => continue,
                _ => return Err(wrong(format!("`{member}` is a text, a number, or a list of texts"))),
            };
            match member.as_str() {
                "id" | "path" => {}
                "since" => {
                    let told = text.parse().map_err(|_| wrong("`since` is a revision".into()))?;
                    since = Some(told);
                }
                "filter" | "order" | "limit" | "fields" | "expand" | "allow_scan" => {
                    query.append_pair(member, &text);
                }
                _ => return Err(wrong(format!("a subscription has no `{member}`"))),
            }
        }
        Ok(Said::Subscribe { name: name.into(), path: path.into(), query: query.finish(), since })
    }
}

//! A mount that shows what another server has: requests go there, and replies come back with the same status, headers and
//! body, in which paths begin where the mount is ([`rewrite`]).
//!
//! What belongs to one connection is left behind on each way, and so is what says who asks, unless the schema lets it along.
//! Replies stream, so a watch goes through as well. A request that comes back to where it was is stopped by a count of hops.

pub mod rewrite;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use corollary_schema::Schema;
use corollary_schema::mounts::{Mount, Proxy, Target};
use futures_util::{Stream, StreamExt};
use tokio::time::timeout;

use super::permit::{self, Asks};
use crate::outgoing::{Connections, Outgoing};
use crate::path::{self, PREFIX};
use crate::problem::Problem;
use rewrite::{Lines, Prefix};

/// How often a request may go on from server to server.
pub const MAX_HOPS: u32 = 8;

/// The header that counts how often it has.
const HOPS: HeaderName = HeaderName::from_static("corollary-hops");

/// Bytes of a JSON reply whose paths are rewritten, and of one line of a stream; what is longer goes through as it is.
pub const MAX_REWRITTEN_BYTES: usize = 8 << 20;

/// Headers that are of one connection, or that this server decides by itself.
const HOP_BY_HOP: [HeaderName; 10] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::EXPECT,
];

/// What all requests to other servers share.
#[derive(Debug)]
pub struct Proxies {
    outgoing: Outgoing,
    /// How long a reply may take to begin.
    pub time: Duration,
    /// Bytes that the body of a request may have.
    pub body_bytes: u64,
}

impl Proxies {
    /// With these limits.
    pub fn new(time: Duration, body_bytes: u64, outgoing: Outgoing) -> Proxies {
        Proxies { outgoing, time, body_bytes }
    }

    fn client(&self) -> Result<&Connections, Problem> {
        let made = self.outgoing.connections();
        made.map_err(|error| away(format!("no connections can be made: {error}")))
    }
}

/// The other server is not there, or says nothing that can be understood.
fn away(detail: String) -> Problem {
    Problem { retry_after_s: Some(1), ..Problem::new(StatusCode::BAD_GATEWAY, "bad-gateway", detail) }
}

/// The proxy to which a path leads, where it leads to one.
pub fn at(schema: &Schema, path: &str) -> Option<Arc<Mount>> {
    if schema.mounts.iter().all(|mount| mount.view().is_some()) {
        return None;
    }
    // What is wrong with a path is told by whoever else reads it.
    let segments = path::segments(path).ok()?;
    let mount = schema.mounts.iter().find(|mount| mount.begins(&segments))?;
    mount.view().is_none().then(|| mount.clone())
}

/// Forwards a request, and replies.
pub async fn forward(
    proxies: &Proxies,
    longest: Duration,
    mount: &Mount,
    head: &Parts,
    sent: Body,
) -> Result<Response<Body>, Problem> {
    let Target::Proxy(proxy) = &mount.target else {
        return Err(Problem::not_found("there is no other server here"));
    };
    let checked = check(mount, head, proxies.body_bytes);
    let (rest, hops) = match checked {
        Ok(checked) => checked,
        Err(problem) => {
            drained(sent, proxies).await;
            return Err(problem);
        }
    };
    let query = head.uri.query().map_or(String::new(), |query| format!("?{query}"));
    let rest = if rest.is_empty() { String::new() } else { format!("/{rest}") };
    let there: Uri = format!("{}{rest}{query}", proxy.url).parse().map_err(|error| {
        Problem::malformed("path", format!("the path is none of the other server: {error}"))
    })?;
    let too_long = Arc::new(AtomicBool::new(false));
    let mut request = Request::new(limited(head, sent, proxies.body_bytes, too_long.clone()));
    *request.method_mut() = head.method.clone();
    *request.uri_mut() = there;
    *request.headers_mut() = along(&head.headers, proxy.credentials);
    request.headers_mut().remove(header::HOST);
    // Its paths could not be read otherwise; to whom it goes it is compressed here.
    request.headers_mut().remove(header::ACCEPT_ENCODING);
    request.headers_mut().insert(HOPS, HeaderValue::from(hops + 1));
    let time = proxies.time.min(longest);
    let reply = match timeout(time, proxies.client()?.request(request)).await {
        Ok(Ok(reply)) => reply,
        Ok(Err(_)) if too_long.load(Ordering::Relaxed) => return Err(body_limit(proxies.body_bytes)),
        Ok(Err(error)) => {
            let why = std::error::Error::source(&error).map_or(String::new(), |source| format!(": {source}"));
            return Err(away(format!("the server behind `{}` does not answer{why}", mount.name())));
        }
        Err(_) => {
            let detail = format!(
                "the server behind `{}` has not answered within {} s",
                mount.name(),
                time.as_secs_f32()
            );
            let problem = Problem::new(StatusCode::GATEWAY_TIMEOUT, "gateway-timeout", detail);
            return Err(Problem { retry_after_s: Some(1), ..problem });
        }
    };
    let prefix = Prefix::new(&proxy.url, &format!("{PREFIX}/{}", mount.name()));
    Ok(replied(&head.method, proxy, prefix, reply.map(Body::new)).await)
}

/// What is known of a request without another server: what of its path is behind that of the mount, and how often it has
/// gone on already.
fn check<'h>(mount: &Mount, head: &'h Parts, most: u64) -> Result<(&'h str, u32), Problem> {
    let rest = behind(mount, head.uri.path())?;
    permit(mount, head, rest)?;
    let hops = hops(&head.headers)?;
    if length(head).is_some_and(|length| length > most) {
        return Err(body_limit(most));
    }
    Ok((rest, hops))
}

fn length(head: &Parts) -> Option<u64> {
    head.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads what nobody takes, so that a client which sends before it reads hears why.
async fn drained(sent: Body, proxies: &Proxies) {
    let mut parts = sent.into_data_stream();
    let mut left = proxies.body_bytes;
    let all = async {
        while let Some(Ok(part)) = parts.next().await {
            match left.checked_sub(part.len() as u64) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    };
    // Who takes longer hears it anyway, or has gone.
    let _ = timeout(proxies.time, all).await;
}

/// What of a path is behind that of the mount, as it was written. It does not lead up again.
fn behind<'p>(mount: &Mount, path: &'p str) -> Result<&'p str, Problem> {
    let mut rest = path.strip_prefix(PREFIX).unwrap_or(path).trim_start_matches('/');
    for _ in &mount.path {
        rest = rest.split_once('/').map_or("", |(_, rest)| rest);
    }
    let decoded = |segment: &str| percent_encoding::percent_decode_str(segment).collect::<Vec<u8>>();
    if rest.split('/').map(decoded).any(|segment| segment == b"." || segment == b"..") {
        return Err(Problem::malformed("path", "`.` and `..` are no segments of a path here"));
    }
    Ok(rest)
}

/// Refuses what the mount does not allow.
fn permit(mount: &Mount, head: &Parts, rest: &str) -> Result<(), Problem> {
    let verb = rest.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    let creates = head.headers.contains_key(header::IF_NONE_MATCH);
    let asks = match (&head.method, verb) {
        (&Method::GET | &Method::HEAD, _) | (&Method::POST, "_query" | "_count") => Asks::Read,
        (&Method::POST, "_update") | (&Method::PATCH, _) => Asks::Update,
        (&Method::POST, "_delete") | (&Method::DELETE, _) => Asks::Delete,
        (&Method::PUT, _) if !creates => Asks::Update,
        (&Method::POST | &Method::PUT, _) => Asks::Create,
        _ => return Err(Problem::not_allowed(permit::methods(mount, usize::from(!rest.is_empty())))),
    };
    if asks.are_allowed(mount.allow) {
        return Ok(());
    }
    Err(Problem::not_allowed(permit::methods(mount, usize::from(!rest.is_empty()))))
}

/// How often a request has gone on already.
fn hops(headers: &HeaderMap) -> Result<u32, Problem> {
    let given = headers.get(HOPS).and_then(|hops| hops.to_str().ok()?.parse().ok()).unwrap_or(0);
    if given < MAX_HOPS {
        return Ok(given);
    }
    let detail = format!(
        "the request has gone on from server to server {MAX_HOPS} times: a proxy leads back to itself"
    );
    Err(Problem::new(StatusCode::LOOP_DETECTED, "loop", detail))
}

fn body_limit(most: u64) -> Problem {
    let detail = format!("a body for another server has at most {most} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-limit", detail)
}

/// The body of a request, which breaks off where it is too long.
fn limited(head: &Parts, sent: Body, most: u64, too_long: Arc<AtomicBool>) -> Body {
    let none = length(head).unwrap_or(0) == 0 && !head.headers.contains_key(header::TRANSFER_ENCODING);
    // In HTTP/2 a body may come without a word of its length.
    if none && matches!(head.method, Method::GET | Method::HEAD | Method::DELETE) {
        return Body::empty();
    }
    let mut taken = 0;
    Body::from_stream(sent.into_data_stream().map(move |part| {
        let part = part.map_err(io::Error::other)?;
        taken += part.len() as u64;
        if taken > most {
            too_long.store(true, Ordering::Relaxed);
            return Err(io::Error::other("the body is too long"));
        }
        Ok(part)
    }))
}

/// The headers that go along.
fn along(headers: &HeaderMap, credentials: bool) -> HeaderMap {
    let mut along = headers.clone();
    for named in headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok()) {
        for name in named.split(',') {
            along.remove(name.trim());
        }
    }
    for name in HOP_BY_HOP {
        along.remove(name);
    }
    if !credentials {
        for name in [header::AUTHORIZATION, header::COOKIE, header::SET_COOKIE] {
            along.remove(name);
        }
    }
    along
}

/// The reply, with the paths of here.
async fn replied(method: &Method, proxy: &Proxy, prefix: Prefix, reply: Response<Body>) -> Response<Body> {
    let (mut head, body) = reply.into_parts();
    head.headers = along(&head.headers, proxy.credentials);
    for name in [header::LOCATION, header::CONTENT_LOCATION] {
        let there = head.headers.get(&name).and_then(|value| value.to_str().ok());
        let here = there.and_then(|there| prefix.of(there));
        if let Some(here) = here.and_then(|here| HeaderValue::from_str(&here).ok()) {
            head.headers.insert(name, here);
        }
    }
    let kind = head.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let plain = !head.headers.contains_key(header::CONTENT_ENCODING);
    let in_lines = kind == "text/event-stream" || kind == "application/x-ndjson";
    let json = kind == "application/json" || kind.ends_with("+json");
    if !plain || !(in_lines || json) {
        return Response::from_parts(head, body);
    }
    // The bytes are others.
    head.headers.remove(header::CONTENT_LENGTH);
    if *method == Method::HEAD {
        return Response::from_parts(head, body);
    }
    let body = match in_lines {
        true => lines(prefix, body),
        false => document(&prefix, body).await,
    };
    Response::from_parts(head, body)
}

/// A stream of lines, each rewritten.
fn lines(prefix: Prefix, body: Body) -> Body {
    let state = Some((body.into_data_stream(), Lines::new(prefix, MAX_REWRITTEN_BYTES)));
    Body::from_stream(futures_util::stream::unfold(state, |state| async {
        let (mut parts, mut lines) = state?;
        match parts.next().await {
            Some(Ok(part)) => {
                let told = Bytes::from(lines.next(&part));
                Some((Ok(told), Some((parts, lines))))
            }
            Some(Err(error)) => Some((Err(error), None)),
            None => Some((Ok(Bytes::from(lines.rest())), None)),
        }
    }))
}

/// A document, rewritten where it is not too long; otherwise as it comes.
async fn document(prefix: &Prefix, body: Body) -> Body {
    let mut parts = body.into_data_stream();
    let mut gathered = Vec::new();
    while let Some(part) = parts.next().await {
        match part {
            Ok(part) => gathered.extend_from_slice(&part),
            // It breaks off there, and so it does here.
            Err(error) => {
                return Body::from_stream(ahead(gathered, futures_util::stream::iter([Err(error)])));
            }
        }
        if gathered.len() > MAX_REWRITTEN_BYTES {
            return Body::from_stream(ahead(gathered, parts));
        }
    }
    Body::from(prefix.rewritten(&gathered).into_owned())
}

/// What has come, and behind it what is still to come.
fn ahead(
    gathered: Vec<u8>,
    rest: impl Stream<Item = Result<Bytes, axum::Error>>,
) -> impl Stream<Item = Result<Bytes, axum::Error>> {
    futures_util::stream::iter([Ok(Bytes::from(gathered))]).chain(rest)
}

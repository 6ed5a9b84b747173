//! GET and HEAD of a file: the whole of it or a part, now or as it was.
//!
//! The bytes are read chunk by chunk as the client takes them; nothing of the store is held between two of them, since a
//! file that has ended stays for a while (`corollary_engine::files::UPLOAD_LEASE`).
//!
//! What comes out may have been sent by anybody. So a browser is told to take it for nothing else than its media type
//! (`nosniff`), to run nothing in it (`Content-Security-Policy`), and to save it rather than to show it, unless it is of
//! a kind that cannot do anything ([`INERT`]).

use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Response, StatusCode, header, request};
use bytes::Bytes;
use corollary_engine::files::{self, CHUNK_BYTES, Entry, told};
use corollary_store::Store;
use corollary_value::Value;
use futures_util::stream;
use jiff::Timestamp;

use super::headers::{ANY_TYPE, Part, disposition, is_accepted, part, text};
use super::{App, Conditions, Place, check_parameters, empty, held, problem, tag};
use crate::counts::Counts;
use crate::front::compress::AsItIs;
use crate::http::{Fault, Reader, Reads, history, read, with_header};
use crate::problem::Problem;

/// Chunks that are read together: what a download has in memory.
const READ_CHUNKS: u32 = 4;

/// What a browser may show, for it runs nothing.
const INERT: [&str; 9] = [
    "image/png",
    "image/jpeg",
    "image/gif",
    "image/webp",
    "image/avif",
    "image/bmp",
    "audio/*",
    "video/*",
    "text/plain",
];

/// Replies.
pub(super) fn reply(
    app: &App,
    head: &request::Parts,
    place: &Place,
    reader: &Reader,
) -> Result<Response<Body>, Problem> {
    check_parameters(head.uri.query(), &["at"])?;
    let engine = app.node.engine();
    let at = form_urlencoded::parse(head.uri.query().unwrap_or_default().as_bytes())
        .last()
        .map(|(_, at)| at.parse().map_err(|_| Problem::malformed("parameter", "`at` is a revision")));
    let past = match at.transpose()? {
        Some(revision) => {
            reader.administers("the past")?;
            Some(tokio::task::block_in_place(|| history::past(engine, &place.key, revision))?)
        }
        None => None,
    };
    let (value, entry) = read(Reads { engine, reader }, |working| {
        let doc = match &past {
            Some(doc) => doc.clone(),
            None => working.after(&place.key)?.ok_or_else(|| {
                let name = &working.schema.ty(place.key.ty).name;
                Problem::not_found(format!("there is no {name} {}", place.key.id))
            })?,
        };
        let value = held(&doc, place.slot).ok_or_else(|| empty(working.schema, place))?.clone();
        let entry = files::bytes_of(working, &place.key, place.slot, &value)?;
        entry.map(|entry| (value, entry)).ok_or_else(|| {
            let name = place.name(working.schema);
            let (status, code, detail) = match past {
                Some(_) => (
                    StatusCode::GONE,
                    "past-retention",
                    format!("the bytes of {name} are not kept from then"),
                ),
                None => (
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "internal",
                    format!("the bytes of {name} are missing"),
                ),
            };
            Fault::from(problem(status, code, detail))
        })
    })?;
    let media_type = match told(&value, "type") {
        Some(Value::Str(media_type)) => media_type.as_str(),
        _ => ANY_TYPE,
    };
    let name = match told(&value, "name") {
        Some(Value::Str(name)) => Some(name.as_str()),
        _ => None,
    };
    let tag = tag(&value).unwrap_or_default();
    let since = http_date(entry.since);
    let headers = &head.headers;
    if let Some(refused) = refused(headers, &tag, entry.since)? {
        return match refused {
            StatusCode::NOT_MODIFIED => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = refused;
                Ok(with_header(with_header(response, "etag", &tag), "last-modified", &since))
            }
            _ => Err(problem(refused, "precondition", format!("{} is {tag}", place.name(engine.schema())))),
        };
    }
    let asked = match text(headers, header::RANGE) {
        Some(range) if head.method == Method::GET && goes_on(headers, &tag, &since) => {
            part(range, entry.size)
        }
        _ => Part::Whole,
    };
    let (status, first, length) = match &asked {
        Part::Whole => (StatusCode::OK, 0, entry.size),
        Part::Range(range) => (StatusCode::PARTIAL_CONTENT, *range.start(), range.end() - range.start() + 1),
        Part::Nothing => {
            let detail = format!("there are {} bytes, and none of them is in this range", entry.size);
            let response = problem(StatusCode::RANGE_NOT_SATISFIABLE, "range", detail).response();
            return Ok(with_header(response, "content-range", &format!("bytes */{}", entry.size)));
        }
    };
    let counts = app.node.counts().clone();
    counts.file_asked_for();
    let body = match head.method {
        Method::HEAD => Body::empty(),
        _ => bytes(engine.store().clone(), &entry, first, length, counts),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.extensions_mut().insert(AsItIs);
    let range = match &asked {
        Part::Range(range) => Some(format!("bytes {}-{}/{}", range.start(), range.end(), entry.size)),
        _ => None,
    };
    let inline = is_accepted(media_type, INERT);
    let told = [
        ("content-type", media_type.to_string()),
        ("content-length", length.to_string()),
        ("accept-ranges", "bytes".to_string()),
        ("etag", tag.clone()),
        ("repr-digest", tag.trim_matches('"').to_string()),
        ("last-modified", since),
        ("content-disposition", disposition(inline, name)),
        ("x-content-type-options", "nosniff".to_string()),
        ("content-security-policy", "default-src 'none'; sandbox".to_string()),
    ];
    let told = told.into_iter().chain(range.map(|range| ("content-range", range)));
    Ok(told.fold(response, |response, (name, value)| with_header(response, name, &value)))
}

/// A time as headers have it, in whole seconds.
fn http_date(time: Timestamp) -> String {
    httpdate::fmt_http_date(time.into())
}

/// The status of a read that the conditions of its request refuse; none where there are the bytes.
fn refused(headers: &HeaderMap, tag: &str, since: Timestamp) -> Result<Option<StatusCode>, Problem> {
    let conditions = Conditions::of(headers)?;
    if conditions.matches.is_some_and(|tags| !tags.have(tag)) {
        return Ok(Some(StatusCode::PRECONDITION_FAILED));
    }
    let unchanged = match conditions.differs {
        Some(tags) => tags.have(tag),
        None => text(headers, header::IF_MODIFIED_SINCE)
            .and_then(|then| httpdate::parse_http_date(then).ok())
            .and_then(|then| Timestamp::try_from(then).ok())
            .is_some_and(|then| since.as_second() <= then.as_second()),
    };
    Ok(unchanged.then_some(StatusCode::NOT_MODIFIED))
}

/// Is it the file of which the client has the rest (`If-Range`)?
fn goes_on(headers: &HeaderMap, tag: &str, since: &str) -> bool {
    text(headers, header::IF_RANGE).is_none_or(|had| had.trim() == tag || had.trim() == since)
}

/// Some bytes of a file, as they are taken. Where they are missing the connection breaks, so that nobody takes what came for all.
fn bytes(store: Arc<dyn Store>, entry: &Entry, first: u64, length: u64, counts: Counts) -> Body {
    let (blob, chunk_bytes) = (entry.blob, CHUNK_BYTES as u64);
    let parts = stream::unfold((first, length), move |(at, left)| {
        let (store, counts) = (store.clone(), counts.clone());
        async move {
            if left == 0 {
                return None;
            }
            let chunk = u32::try_from(at / chunk_bytes).unwrap_or(u32::MAX);
            let wanted = u32::try_from((at % chunk_bytes + left).div_ceil(chunk_bytes)).unwrap_or(u32::MAX);
            let read = move || {
                let chunks = files::read_chunks(&*store.snapshot()?, blob, chunk, wanted.min(READ_CHUNKS))?;
                Ok::<_, corollary_engine::EngineError>(chunks.concat())
            };
            let read = tokio::task::spawn_blocking(read).await;
            let broken = |why: String| {
                tracing::warn!("a download was broken off: {why}");
                Some((Err(io::Error::other(why)), (at, 0)))
            };
            let whole = match read {
                Ok(Ok(whole)) => Bytes::from(whole),
                Ok(Err(error)) => return broken(error.to_string()),
                Err(error) => return broken(error.to_string()),
            };
            let skipped = (at % chunk_bytes) as usize;
            if whole.len() <= skipped {
                return broken("the file is not kept any more".into());
            }
            let end = whole.len().min(skipped + usize::try_from(left).unwrap_or(usize::MAX));
            let part = whole.slice(skipped..end);
            let sent = part.len() as u64;
            counts.file_bytes_sent(sent);
            Some((Ok(part), (at + sent, left - sent)))
        }
    });
    Body::from_stream(parts)
}

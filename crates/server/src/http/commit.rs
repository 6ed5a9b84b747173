//! How a write is carried out, whatever it writes: committed, and waited for where that is asked for; or only tried.
//!
//! Every kind of write comes here with its transaction and with what it tells when that is done ([`Tell`]): the same
//! closure makes the reply to a commit and shows what the reply to a dry run would have been.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderName, Response, StatusCode};
use corollary_engine::reply::{Request, Wants};
use corollary_engine::working::Working;
use corollary_engine::{Committed, EngineError, Transaction};
use smol_str::SmolStr;

use super::guard::{self, guard};
use super::idempotency::Keyed;
use super::updates::{self, UPDATES_HEADER, Wait};
use super::{
    App, Call, REVISION_HEADER, Reader, Reads, actor, dry_run, idempotency, json, read, with_header,
};
use crate::problem::{Problem, SUPERSEDED};
use crate::review;

/// What a write tells, from the state that it left or a later one, and from what is told of it.
pub(crate) type Tell = Arc<dyn Fn(&Working<'_>, &Committed) -> Result<Told, EngineError> + Send + Sync>;

/// A reply without what all of them have.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    /// The status.
    pub status: StatusCode,
    /// Headers of its own.
    pub headers: Vec<(HeaderName, String)>,
    /// JSON; nothing with 204.
    pub body: Option<Vec<u8>>,
}

/// How it is asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Manner {
    wait: Wait,
    dry_run: bool,
    keyed: Option<Keyed>,
    actor: Option<SmolStr>,
    reader: Reader,
}

impl Manner {
    /// Is it only tried?
    pub(crate) fn is_dry_run(&self) -> bool {
        self.dry_run
    }
}

/// The parameters of a write that has no others.
const PARAMETERS: [&str; 2] = ["wait", "dry_run"];

impl Manner {
    /// From the headers and the parameters of a request that writes.
    pub(crate) fn of(call: &Call<'_>) -> Result<Manner, Problem> {
        let query = call.uri.query();
        let (wait, keyed) = (Wait::of(&call.headers, query)?, Keyed::of(call)?);
        let (actor, reader) = (actor::of(call)?, call.reader.clone());
        let mut manner = Manner { wait, keyed, actor, reader, dry_run: false };
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if name == "dry_run" {
                manner.dry_run = match &*value {
                    "true" | "1" | "" => true,
                    "false" | "0" => false,
                    _ => {
                        let detail = format!("`dry_run` is true or false, and \"{value}\" is neither");
                        return Err(Problem::malformed("parameter", detail));
                    }
                };
            }
        }
        if manner.dry_run {
            manner.reader.administers("a dry run, which shows what would follow anywhere,")?;
        }
        if manner.dry_run && manner.keyed.is_some() {
            let detail = "a dry run does nothing that could be repeated: it takes no `Idempotency-Key`";
            return Err(Problem::malformed("idempotency-key", detail));
        }
        Ok(manner)
    }
}

/// Carries out a transaction, and replies.
pub(crate) async fn carry_out(
    app: &App,
    manner: Manner,
    transaction: Transaction,
    wants: Wants,
    tell: Tell,
) -> Result<Response<Body>, Problem> {
    let reader = manner.reader.clone();
    let done = carried_out(app, manner, transaction, wants, tell).await;
    done.map_err(|problem| guard::discreet(problem, &reader))
}

async fn carried_out(
    app: &App,
    manner: Manner,
    transaction: Transaction,
    wants: Wants,
    tell: Tell,
) -> Result<Response<Body>, Problem> {
    let mut wants = Wants { actor: manner.actor, ..wants };
    if let Reader::Granted(actor) = &manner.reader {
        wants.more.extend(guard(app.node.engine().clone(), actor.clone(), &transaction));
        wants.shown_to = Some(actor.clone());
    }
    if manner.dry_run {
        let wants = review::tried(app, &transaction, wants).await?;
        return dry_run::reply(app, &Request { transaction: &transaction, wants: &wants }, &tell);
    }
    if let Some(keyed) = manner.keyed {
        let wants = Wants { kept: Some(Arc::new(keyed.keep(tell))), ..wants };
        let committed = updates::commit(app, transaction, wants, manner.wait).await?;
        return idempotency::response(&committed.reply.unwrap_or_default());
    }
    let committed = updates::commit(app, transaction, wants, manner.wait).await?;
    let reads = Reads { engine: app.node.engine(), reader: &manner.reader };
    match read(reads, |working| Ok(tell(working, &committed)?)) {
        // Another server has replaced the schema: what was written is not to be written again.
        Err(problem) if problem.code == SUPERSEDED => {
            let told = Told { status: StatusCode::ACCEPTED, headers: Vec::new(), body: None };
            Ok(response(complete(told, &committed)))
        }
        told => Ok(response(complete(told?, &committed))),
    }
}

/// A reply with what all replies to commits have.
pub(crate) fn complete(mut told: Told, committed: &Committed) -> Told {
    told.headers.push((REVISION_HEADER, committed.revision.to_string()));
    if !committed.updates.is_empty() {
        told.headers.push((UPDATES_HEADER, updates::names(&committed.updates)));
    }
    told
}

fn response(told: Told) -> Response<Body> {
    let mut response = match told.body {
        Some(body) => json(told.status, body),
        None => {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = told.status;
            response
        }
    };
    for (name, value) in told.headers {
        response = with_header(response, name, &value);
    }
    response
}

/// Refuses parameters that a write does not take which says all else in its body.
pub(crate) fn check_parameters(query: Option<&str>, where_else: &str) -> Result<(), Problem> {
    for (name, _) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
        if !PARAMETERS.contains(&&*name) {
            let detail =
                format!("{where_else}: its parameters are `wait` and `dry_run`, and `{name}` is none");
            return Err(Problem::malformed("parameter", detail));
        }
    }
    Ok(())
}

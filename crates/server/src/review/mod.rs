//! Processors that ask somebody outside before a write is done: webhooks.
//!
//! What a transaction would do is found out by a dry run, shown to whoever has to be asked ([`ask`]), and what they agreed to goes along with the
//! transaction. The executor looks whether it does just that: if something else came in between they are asked again. So a
//! webhook may take its time, and nobody waits for it but who writes.
//!
//! Those that may change something go first, one after the other; what they want is part of the transaction, and goes past the others.

pub mod ask;
pub mod webhook;

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use corollary_engine::dry_run::Tried;
use corollary_engine::processors::{Item, PROCESSOR, Reviewed, UNREVIEWED, to_review};
use corollary_engine::reply::{Request, Wants};
use corollary_engine::{Committed, EngineError, Refusal, Transaction, Write};
use futures_util::future::join_all;
use hashbrown::HashMap;
use jiff::Timestamp;
use serde_json::{Map, Value as Json};
use smol_str::SmolStr;
use tokio::task::block_in_place;
use tokio::time::Instant;

use crate::http::App;
use crate::json::decode;
use crate::json::encode::{Encoder, Shape};
use crate::path;
use crate::problem::Problem;
use ask::{Answer, Asked};
use webhook::Webhook;

/// How long all that have to be asked about a write may take together.
pub const BUDGET: Duration = Duration::from_secs(20);

/// How often they are asked about one write, where others change in between what they were shown.
const ROUNDS: usize = 4;

/// What is shown of an item.
struct Shown {
    item: Item,
    json: Json,
}

/// Has a transaction executed, after all who have to be asked have agreed; returns when it is durable.
///
/// # Errors
///
/// As of [`Node::commit`](crate::node::Node::commit); `denied`, and 503 where somebody does not answer who has to.
pub async fn commit(app: &App, transaction: Transaction, wants: Wants) -> Result<Committed, Problem> {
    // Every write comes through here: as a rule it is known, and no thread is given away for it.
    match app.node.engine().has_reviews()? {
        false => app.node.commit(transaction, wants).await,
        true => Box::pin(reviewed(app, transaction, wants)).await,
    }
}

/// The same where somebody has to be asked.
async fn reviewed(app: &App, transaction: Transaction, wants: Wants) -> Result<Committed, Problem> {
    let mut with = wants.clone();
    for _ in 0..ROUNDS {
        match app.node.commit(transaction.clone(), with).await {
            Err(problem) if problem.code == UNREVIEWED => {}
            outcome => return outcome,
        }
        let (reviewed, more) = review(app, &transaction, &wants, false).await?;
        with = Wants { reviewed: Some(Arc::new(reviewed)), more, ..wants.clone() };
    }
    let detail = "what the write changes was changed by others each time that processors had agreed to it";
    Err(Problem::unavailable(detail))
}

/// What a dry run of a transaction wants to be told.
///
/// # Errors
///
/// As of [`commit`].
pub async fn tried(app: &App, transaction: &Transaction, wants: Wants) -> Result<Wants, Problem> {
    if !app.node.engine().has_reviews()? {
        return Ok(wants);
    }
    let (reviewed, more) = Box::pin(review(app, transaction, &wants, true)).await?;
    Ok(Wants { reviewed: Some(Arc::new(reviewed)), more, ..wants })
}

/// Asks all who have to be asked; what they agreed to, and what they want besides.
async fn review(
    app: &App,
    transaction: &Transaction,
    wants: &Wants,
    dry_run: bool,
) -> Result<(Reviewed, Vec<Write>), Problem> {
    let until = Instant::now() + BUDGET.min(app.limits.waiting());
    let actor = wants.actor.as_deref();
    let mut more = Vec::new();
    let mut mutated: Vec<SmolStr> = Vec::new();
    let items = loop {
        let items = block_in_place(|| shown(app, transaction, wants, &more))?;
        let next =
            items.iter().map(|shown| &shown.item).find(|it| it.mutates && !mutated.contains(&it.processor));
        let Some(processor) = next.map(|item| item.processor.clone()) else { break items };
        let of_it = of(&items, &processor);
        let items = of_it.iter().map(|it| &it.json).collect();
        let asked = Asked { processor: &processor, actor, dry_run, items, until };
        let answers = ask(app, &asked).await?;
        denied(transaction, &of_it, &answers)?;
        for (shown, answer) in of_it.iter().zip(&answers) {
            more.extend(wanted(app, &processor, shown, answer)?);
        }
        mutated.push(processor);
    };
    let mut others: Vec<SmolStr> = Vec::new();
    for shown in items.iter().filter(|shown| !shown.item.mutates) {
        if !others.contains(&shown.item.processor) {
            others.push(shown.item.processor.clone());
        }
    }
    let answers = join_all(others.iter().map(async |processor| {
        let of_it = of(&items, processor);
        let items = of_it.iter().map(|it| &it.json).collect();
        let answers = ask(app, &Asked { processor, actor, dry_run, items, until }).await?;
        denied(transaction, &of_it, &answers)
    }));
    // All that deny are told at once.
    let mut refusals = Vec::new();
    for answer in answers.await {
        match answer {
            Err(problem) if problem.code == DENIED => refusals.extend(problem.errors),
            answer => answer?,
        }
    }
    if !refusals.is_empty() {
        return Err(Problem::refused(refusals));
    }
    let mut reviewed = Reviewed::default();
    items.iter().for_each(|shown| reviewed.agree(&shown.item));
    Ok((reviewed, more))
}

/// The code of what somebody denies.
const DENIED: &str = "denied";

fn of<'s>(items: &'s [Shown], processor: &str) -> Vec<&'s Shown> {
    items.iter().filter(|shown| shown.item.processor == processor).collect()
}

/// What a transaction would do, for those who have to be asked.
fn shown(
    app: &App,
    transaction: &Transaction,
    wants: &Wants,
    more: &[Write],
) -> Result<Vec<Shown>, EngineError> {
    let reviewed = Some(Arc::new(Reviewed::trying()));
    let (actor, origin) = (wants.actor.clone(), wants.origin.clone());
    let wants = Wants { actor, origin, more: more.to_vec(), reviewed, ..Wants::nothing() };
    let request = Request { transaction, wants: &wants };
    app.node.engine().dry_run(&request, Timestamp::now(), |tried| {
        to_review(tried.after)
            .into_iter()
            .map(|item| Ok(Shown { json: json_of(tried, &item)?, item }))
            .collect()
    })
}

/// An item as it is sent.
fn json_of(tried: &Tried<'_, '_>, item: &Item) -> Result<Json, EngineError> {
    let (before, after) = (tried.before.after(&item.key)?, tried.after.after(&item.key)?);
    let mut json = Map::new();
    json.insert("operation".into(), item.operation.into());
    json.insert("type".into(), tried.after.schema.ty(item.key.ty).name.as_str().into());
    for (name, working, doc) in [("old", tried.before, &before), ("new", tried.after, &after)] {
        let value = match doc {
            Some(doc) => {
                let mut encoder = Encoder::new(working);
                encoder.resource(&item.key, doc, &Shape::default())?;
                serde_json::from_slice(&encoder.out)
                    .map_err(|error| EngineError::Corrupt(error.to_string()))?
            }
            None => Json::Null,
        };
        json.insert(name.into(), value);
    }
    let (working, doc) = if after.is_some() { (tried.after, &after) } else { (tried.before, &before) };
    let path = path::canonical(working, &item.key, doc.as_deref());
    // Of what goes with its parents the path is not there any more, and was.
    json.insert(
        "path".into(),
        path.or_else(|_| path::canonical(tried.before, &item.key, before.as_deref()))?.into(),
    );
    Ok(Json::Object(json))
}

/// Asks one processor about its items.
async fn ask(app: &App, asked: &Asked<'_>) -> Result<Vec<Answer>, Problem> {
    let id = asked.processor.as_bytes();
    let row =
        block_in_place(|| app.node.engine().records(Timestamp::now(), |records| records.get(PROCESSOR, id)))?;
    let declared: Json = row.and_then(|row| serde_json::from_slice(&row).ok()).unwrap_or_default();
    let Some(webhook) = Webhook::kept(&declared["webhook"]) else {
        // It is gone, or has become a rule: the executor knows better.
        return Ok(vec![Answer::default(); asked.items.len()]);
    };
    app.reviews.ask(&webhook, asked).await.map_err(|why| {
        let detail = format!("the processor `{}` has to be asked: {why}", asked.processor);
        Problem { code: "processor-away", ..Problem::unavailable(detail) }
    })
}

/// Refuses what was denied.
fn denied(transaction: &Transaction, items: &[&Shown], answers: &[Answer]) -> Result<(), Problem> {
    let refusals = items.iter().zip(answers).filter(|(_, answer)| !answer.allowed).map(|(shown, answer)| {
        let item = &shown.item;
        let message = answer.message.clone();
        let message = message.unwrap_or_else(|| format!("the processor `{}` denies it", item.processor));
        let write = transaction.writes.iter().position(|write| *write.key() == item.key);
        Refusal { write, ..Refusal::new(DENIED, None, message) }
    });
    let refusals: Vec<Refusal> = refusals.collect();
    if refusals.is_empty() { Ok(()) } else { Err(Problem::refused(refusals)) }
}

/// The write that an answer wants.
fn wanted(app: &App, processor: &str, shown: &Shown, answer: &Answer) -> Result<Option<Write>, Problem> {
    let Some(set) = answer.set.as_ref().filter(|set| !set.is_empty()) else { return Ok(None) };
    let item = &shown.item;
    let wrong = |why: String| {
        let detail = format!("the processor `{processor}` sets what cannot be: {why}");
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "processor", detail)
    };
    if item.operation == "delete" {
        return Err(wrong("what is deleted has no fields any more".into()));
    }
    let edits = decode::merge_patch(app.node.engine().schema(), item.key.ty, set, None);
    let edits = edits.map_err(|found| {
        wrong(found.into_iter().next().map_or_else(String::new, |refusal| {
            format!("`{}`: {}", refusal.path.unwrap_or_default(), refusal.message)
        }))
    })?;
    Ok(Some(Write::Update(item.key.clone(), edits)))
}

/// What is known of those who are asked, by processor.
pub(crate) type Breakers = HashMap<SmolStr, ask::Breaker>;

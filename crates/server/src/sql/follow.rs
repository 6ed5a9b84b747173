//! Follows the log, and brings it into the tables; takes in what others have changed in them.
//!
//! The state that the tables have is that of a revision, the cursor; each part of the log moves it on, with all that it
//! changes, in one transaction. Where the log does not go back to it, or the schema is another one, tables are filled anew:
//! page by page with what is there at the time, then with the log from when it began. A page may be ahead of the cursor,
//! so what the tables show is a revision only when the cursor is past the end of the filling (`exact_from`).

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use corollary_engine::reply::Wants;
use corollary_engine::{Engine, EngineError, Origin, Transaction, Write, catalog, origin};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::sleep;

use super::intake::{self, Captured};
use super::layout::Layout;
use super::rows::{self, Changed};
use super::session::{Session, State, Violation, Waiting};
use super::{Place, Trouble};
use crate::http::App;
use crate::problem::{Problem, SUPERSEDED};
use crate::site::Site;

/// How long it waits after it has brought the log in until it looks again: many commits are one transaction then.
const PAUSE: Duration = Duration::from_millis(20);

/// How often it looks without having heard of anything.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long it waits after trouble, and at most after several times.
const RETRY: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(10));

/// Ids that are compared at a time, when tables are filled.
const SWEPT_IDS: usize = 1_000;

/// Late rows that are brought up to date at a time.
const LATE_ROWS: usize = 1_000;

/// Keeps the tables as long as it is not aborted, whenever no other server does.
pub fn start(site: Site, place: Arc<Place>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let (first, longest) = RETRY;
        let mut wait = first;
        loop {
            let mut follower = Follower { site: &site, place: &place, kept: false };
            let Err(trouble) = follower.follow().await;
            match &trouble {
                // The next version is on its way.
                Trouble::Engine(EngineError::Superseded) => {}
                trouble => {
                    tracing::warn!(target: "sql", "the tables in SQL are not kept just now: {trouble}")
                }
            }
            wait = if follower.kept { first } else { (wait * 2).min(longest) };
            sleep(wait).await;
        }
    })
}

struct Follower<'f> {
    site: &'f Site,
    place: &'f Place,
    /// Has anything come of it?
    kept: bool,
}

/// A version of the schema, with the tables that it has.
struct Version {
    app: Arc<App>,
    layout: Arc<Layout>,
    moved: watch::Receiver<u64>,
}

impl Version {
    fn of(site: &Site, within: &str) -> Version {
        let app = site.current();
        let layout = Arc::new(Layout::new(app.node.engine().schema(), within));
        let moved = app.node.moved();
        Version { app, layout, moved }
    }

    fn engine(&self) -> Arc<Engine> {
        self.app.node.engine().clone()
    }

    /// Something that reads the data, where it holds nobody up.
    async fn read<T: Send + 'static>(
        &self,
        f: impl FnOnce(&Engine, &Layout) -> Result<T, EngineError> + Send + 'static,
    ) -> Result<T, Trouble> {
        let (engine, layout) = (self.engine(), self.layout.clone());
        let read = spawn_blocking(move || f(&engine, &layout)).await;
        Ok(read.map_err(|error| Trouble::Unusable(error.to_string()))??)
    }
}

impl Follower<'_> {
    /// Follows until there is trouble.
    async fn follow(&mut self) -> Result<Infallible, Trouble> {
        let rung = Arc::new(Notify::new());
        let mut session = Session::take(&self.place.gate, &self.place.within, rung.clone()).await?;
        let mut version = Version::of(self.site, &self.place.within);
        let mut state = session.prepare(&version.layout, &self.place.node).await?;
        loop {
            if !Arc::ptr_eq(&version.app, &self.site.current()) {
                version = Version::of(self.site, &self.place.within);
            }
            version.moved.mark_unchanged();
            if state.schema.as_ref() != Some(&version.app.schema_text) {
                self.reshape(&mut session, &version, &mut state).await?;
            }
            let waits = self.take_in(&mut session, &version, &mut state).await?;
            let more = match state.cursor {
                Some(cursor) => self.catch_up(&mut session, &version, &mut state, cursor).await?,
                None => {
                    self.fill(&mut session, &version, &mut state).await?;
                    true
                }
            };
            let late = !more && self.refresh(&mut session, &version, &state).await?;
            self.kept = true;
            if late {
                // All of them may be held.
                sleep(PAUSE).await;
            } else if !more && !waits {
                sleep(PAUSE).await;
                tokio::select! {
                    // The executor that tells it may have ended; then another version comes.
                    told = version.moved.changed() => if told.is_err() { sleep(PAUSE).await },
                    () = rung.notified() => {}
                    () = sleep(LOOK_EVERY) => {}
                }
            }
        }
    }

    /// Makes the tables of the schema that is served, if it is the one that is stored: another server may have replaced it.
    async fn reshape(
        &self,
        session: &mut Session,
        version: &Version,
        state: &mut State,
    ) -> Result<(), Trouble> {
        let store = version.engine().store().clone();
        let stored = spawn_blocking(move || catalog::stored_schema(&*store)).await;
        let unread =
            |why: String| Trouble::Unusable(format!("the schema that is stored cannot be read: {why}"));
        let stored = stored.map_err(|error| unread(error.to_string()))?;
        let stored = stored.map_err(|error| unread(error.to_string()))?;
        if stored.as_ref() != Some(&version.app.schema_text) {
            return Err(EngineError::Superseded.into());
        }
        let problems = session.reshape(&version.layout, &version.app.schema_text).await?;
        for problem in problems {
            tracing::warn!(target: "sql", "{problem}");
        }
        (state.schema, state.cursor) = (stored, None);
        Ok(())
    }

    /// Brings a part of the log in; is there more?
    async fn catch_up(
        &self,
        session: &mut Session,
        version: &Version,
        state: &mut State,
        cursor: u64,
    ) -> Result<bool, Trouble> {
        let Some(part) = version.read(move |engine, layout| rows::part(engine, layout, cursor)).await? else {
            tracing::info!(target: "sql", "the log does not go back to {cursor}: the tables in SQL are filled anew");
            state.cursor = None;
            return Ok(true);
        };
        if part.revision > cursor {
            session.apply(&version.layout, &part, state).await?;
            state.cursor = Some(part.revision);
        }
        Ok(part.more)
    }

    /// Takes in what others have changed in SQL, a batch of it; is there more?
    async fn take_in(
        &self,
        session: &mut Session,
        version: &Version,
        state: &mut State,
    ) -> Result<bool, Trouble> {
        let (waiting, more) = session.waiting(&version.layout, origin::MAX_BATCH).await?;
        if waiting.is_empty() {
            return Ok(false);
        }
        let mut violations = Vec::new();
        // One after the other: each finds what the one before has done, and none overtakes another.
        for transaction in &waiting {
            let captured = session.captured(&version.layout, transaction, intake::MAX_CHANGES).await?;
            // Whoever keeps the tables by now does it, if we do not any more.
            if session.is_closed() {
                return Err(Trouble::Later("the connection is closed".into()));
            }
            if let Some(problem) = self.one(version, state, transaction, &captured).await? {
                let Captured { role, at, .. } = captured.clone();
                let problem = problem.to_json().to_string();
                tracing::warn!(target: "sql", role, problem, "a transaction of SQL was refused");
                let (count, changes) = (transaction.changes, captured.told());
                violations.push(Violation { role, at, problem, count, changes });
            }
        }
        session.done(&version.layout, &waiting, &violations).await?;
        state.batch += 1;
        self.place.counts.transactions.inc_by((waiting.len() - violations.len()) as u64);
        self.place.counts.violations.inc_by(violations.len() as u64);
        Ok(more)
    }

    /// Takes in one transaction; why it is refused, if it is.
    async fn one(
        &self,
        version: &Version,
        state: &State,
        transaction: &Waiting,
        captured: &Captured,
    ) -> Result<Option<Problem>, Trouble> {
        if transaction.changes > intake::MAX_CHANGES as u64 {
            return Ok(Some(intake::too_many(transaction.changes)));
        }
        let number = transaction.xid.parse();
        let number =
            number.map_err(|_| Trouble::Unusable(format!("{} is no transaction", transaction.xid)))?;
        let changes = captured.clone();
        let writes = version.read(move |engine, layout| intake::writes(engine, layout, &changes)).await?;
        let (of, writes): (Vec<usize>, Vec<Write>) = match writes {
            Ok(writes) => writes.into_iter().unzip(),
            Err(problem) => return Ok(Some(problem)),
        };
        let origin = Some(Arc::new(Origin { source: state.source, batch: state.batch, number }));
        let wants = Wants { actor: Some(captured.role.as_str().into()), origin, ..Wants::nothing() };
        match version.app.node.commit(Transaction { writes }, wants).await {
            Ok(_) => Ok(None),
            Err(problem) if problem.code == SUPERSEDED => Err(EngineError::Superseded.into()),
            Err(problem) if problem.status.is_server_error() => Err(Trouble::Later(problem.detail)),
            Err(problem) => Ok(Some(intake::by_changes(problem, &of))),
        }
    }

    /// Brings rows up to date that could not be before, and those that were changed in SQL; may there be more of them?
    async fn refresh(
        &self,
        session: &mut Session,
        version: &Version,
        state: &State,
    ) -> Result<bool, Trouble> {
        let Some(cursor) = state.cursor else { return Ok(false) };
        let late = session.late(&version.layout, LATE_ROWS).await?;
        if late.is_empty() {
            return Ok(false);
        }
        let mut by_table: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for (ty, id) in &late {
            if let Some(at) = version.layout.tables.iter().position(|table| table.name == *ty) {
                by_table.entry(at).or_default().push(id.clone());
            }
        }
        let read = move |engine: &Engine, layout: &Layout| {
            let of = |(at, ids): (usize, Vec<String>)| {
                Ok((at, rows::present(engine, &layout.tables[at], &ids, cursor)?))
            };
            by_table.into_iter().map(of).collect::<Result<Vec<_>, EngineError>>()
        };
        let changed = version.read(read).await?;
        session.refresh(&version.layout, &late, &changed).await?;
        Ok(late.len() == LATE_ROWS)
    }

    /// Fills all tables with what is there, and takes out what is not.
    async fn fill(&self, session: &mut Session, version: &Version, state: &mut State) -> Result<(), Trouble> {
        let begun = version
            .read(|engine, _| engine.read(jiff::Timestamp::now(), |working| Ok(working.base.revision())))
            .await?;
        let layout = &version.layout;
        for (at, table) in layout.tables.iter().enumerate() {
            let mut after = None;
            loop {
                let page =
                    version.read(move |engine, layout| rows::page(engine, &layout.tables[at], after)).await?;
                let (put, next) = page;
                session.write(layout, table, &Changed { put, gone: Vec::new() }).await?;
                after = next;
                if after.is_none() {
                    break;
                }
            }
            let mut last = String::new();
            loop {
                let ids = session.ids(layout, table, &last, SWEPT_IDS).await?;
                let Some(end) = ids.last().cloned() else { break };
                // Whatever is there was put before, or is told by the log.
                let found = version
                    .read(move |engine, layout| rows::present(engine, &layout.tables[at], &ids, 0))
                    .await?;
                session.write(layout, table, &Changed { put: Vec::new(), gone: found.gone }).await?;
                last = end;
            }
        }
        let end = version
            .read(|engine, _| engine.read(jiff::Timestamp::now(), |working| Ok(working.base.revision())))
            .await?;
        state.exact_from = end;
        let part = rows::Part { revision: begun, time: None, changed: Vec::new(), more: true };
        session.apply(layout, &part, state).await?;
        state.cursor = Some(begun);
        Ok(())
    }
}

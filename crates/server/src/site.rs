//! What is served: one version of the schema at a time, and the way from one to the next.
//!
//! A request takes the [`App`] that is current. A change of the schema goes through the next one: the executor does what
//! waits and ends, the engine is retired when the reads that run have ended, the data is opened with the other schema, and
//! a new node serves it. Who comes meanwhile waits; what finds that its version is gone, and has done nothing yet, is
//! done again with the next one ([`crate::http`]). A change that fails goes back to the schema from before.
//!
//! Of several servers over one store, each whose schema another one has replaced opens the data with the one that is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::FromRef;
use corollary_engine::catalog::plan::{Planned, plan};
use corollary_engine::{EngineError, EngineOptions, Executor, OpenError, catalog};
use corollary_schema::{Ids, check};
use corollary_store::Store;
use corollary_syntax::diagnostic::Diagnostic;
use corollary_syntax::format_schema;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Mutex as Turn, watch};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use crate::counts::Counts;
use crate::http::{App, tag};
use crate::node::{Node, NodeOptions, Running, catch_up};
use crate::opening;

/// How often it is looked whether the executor has ended by itself.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How data is opened and served, whatever its schema.
#[derive(Clone, Debug)]
pub struct Manner {
    /// Of the engine.
    pub engine: EngineOptions,
    /// Of the node.
    pub node: NodeOptions,
}

/// Why another schema is not served.
#[derive(Debug)]
pub enum Unserved {
    /// It has mistakes; places are in its text.
    Mistakes(Vec<Diagnostic>, String),
    /// The data, or how the server was started, does not fit it; a sentence for each reason.
    Unfit(Vec<String>),
    /// It was to replace another one than is served, which has this tag.
    Another(String),
    /// The data cannot be opened at all any more, and the server ends.
    Failed(String),
}

/// See the module.
#[derive(Clone)]
pub struct Site(Arc<Inner>);

struct Inner {
    current: RwLock<Arc<App>>,
    /// Moves on with each version.
    versions: watch::Sender<u64>,
    /// One change at a time.
    turn: Turn<()>,
    /// The executor's thread; none while there is none.
    running: Mutex<Option<Running>>,
    /// Why there will be none any more.
    failed: Mutex<Option<String>>,
    /// Has it been told to stop?
    leaving: AtomicBool,
    manner: Manner,
}

impl FromRef<Site> for Arc<App> {
    fn from_ref(site: &Site) -> Arc<App> {
        site.current()
    }
}

impl Site {
    /// Serves what an executor was opened with; `app` makes what requests share. Within a runtime.
    ///
    /// # Errors
    ///
    /// The executor's thread cannot be started.
    pub fn start(
        executor: Executor,
        manner: Manner,
        app: impl FnOnce(Arc<Node>) -> App,
    ) -> std::io::Result<Site> {
        let (node, running) = Node::start(executor, manner.node.clone(), Counts::default())?;
        let (versions, _) = watch::channel(0);
        let inner = Inner {
            current: RwLock::new(Arc::new(app(node))),
            versions,
            turn: Turn::default(),
            running: Mutex::new(Some(running)),
            failed: Mutex::default(),
            leaving: AtomicBool::new(false),
            manner,
        };
        Ok(Site(Arc::new(inner)))
    }

    /// The version that is served.
    pub fn current(&self) -> Arc<App> {
        self.0.current.read().clone()
    }

    /// From now on it tells those who ask that requests should go elsewhere. It serves all the same.
    pub fn leave(&self) {
        self.0.leaving.store(true, Ordering::Relaxed);
    }

    /// Should requests go elsewhere?
    pub fn is_leaving(&self) -> bool {
        self.0.leaving.load(Ordering::Relaxed)
    }

    /// Waits until another version than this one is served; false where none comes within the time of a request.
    pub async fn next(&self, gone: &Arc<App>) -> bool {
        let mut versions = self.0.versions.subscribe();
        while Arc::ptr_eq(&self.current(), gone) {
            if !matches!(timeout(gone.limits.waiting(), versions.changed()).await, Ok(Ok(()))) {
                return false;
            }
        }
        true
    }

    /// What a change to a schema would do.
    ///
    /// # Errors
    ///
    /// It has mistakes, or the data cannot be read.
    pub async fn plan(&self, text: String) -> Result<Planned, Unserved> {
        let store = self.current().node.engine().store().clone();
        let budget = self.0.manner.engine.update_budget;
        blocking(move || plan(&*store, &text, budget).map_err(|error| unserved(error, &text))).await?
    }

    /// Serves the data with another schema from now on, where the one that is served has an expected tag; true where it was
    /// another one. What it takes to get there is done to
    /// its end, whether anybody waits for it or not.
    ///
    /// # Errors
    ///
    /// Nothing has changed.
    pub async fn change(&self, text: String, expected: Option<String>) -> Result<bool, Unserved> {
        let site = self.clone();
        let changed = tokio::spawn(async move {
            let _turn = site.0.turn.lock().await;
            site.replace(text, expected).await
        });
        changed.await.unwrap_or_else(|error| Err(Unserved::Failed(error.to_string())))
    }

    async fn replace(&self, text: String, expected: Option<String>) -> Result<bool, Unserved> {
        let old = self.current();
        let tag = tag(&old.schema_text);
        if expected.is_some_and(|expected| expected != "*" && !expected.split(',').any(|it| it.trim() == tag))
        {
            return Err(Unserved::Another(tag));
        }
        if format_schema(&text).ok() == format_schema(&old.schema_text).ok() {
            return Ok(false);
        }
        let planned = self.plan(text.clone()).await?;
        if !planned.refused.is_empty() {
            return Err(Unserved::Unfit(planned.refused));
        }
        if let Some(schema) = check(&text, &mut Ids::default()).schema {
            let misnamed = opening::misnamed(&schema, &self.0.manner.engine.own_budgets);
            misnamed.map_or(Ok(()), |reason| Err(Unserved::Unfit(vec![reason])))?;
        }
        let store = old.node.engine().store().clone();
        let before = read_stored(&store)?;
        // Whoever starts a server with the file from before means what is served by now.
        let instead_of = before.as_ref().map(|it| it.instead_of.clone().unwrap_or_else(|| it.text.clone()));
        self.end(&old).await?;
        let options = EngineOptions { instead_of, ..self.0.manner.engine.clone() };
        let opened = self.open(store.clone(), text.clone(), options).await;
        match opened {
            Ok(executor) => self.serve(&old, executor, text).map(|()| true),
            Err(error) => {
                self.resume(&old, store).await?;
                Err(error)
            }
        }
    }

    /// Serves what is stored again, whatever its schema.
    async fn resume(&self, old: &Arc<App>, store: Arc<dyn Store>) -> Result<(), Unserved> {
        let gone = || self.fail("the schema that was stored is gone");
        let stored = read_stored(&store)?.ok_or_else(gone)?;
        let options = EngineOptions { instead_of: stored.instead_of, ..self.0.manner.engine.clone() };
        let executor = self.open(store, stored.text.clone(), options).await;
        let executor =
            executor.map_err(|error| self.fail(&format!("the data cannot be opened again: {error:?}")))?;
        self.serve(old, executor, stored.text)
    }

    /// Has the executor of a version do what waits and end, and its readers too.
    async fn end(&self, old: &Arc<App>) -> Result<(), Unserved> {
        let running = self.0.running.lock().take();
        old.node.replace().await;
        let ended = blocking(move || running.map_or(Ok(()), Running::join)).await?;
        // Who has written has yet to be shown what; nobody waits for the executor any more.
        drop(old.busy.write().await);
        let node = old.node.clone();
        blocking(move || {
            node.engine().retire();
            // Its watches go on with the next version, from the log.
            node.hub.close();
        })
        .await?;
        match ended {
            Ok(()) | Err(EngineError::Superseded) => Ok(()),
            Err(error) => Err(self.fail(&error.to_string())),
        }
    }

    async fn open(
        &self,
        store: Arc<dyn Store>,
        text: String,
        options: EngineOptions,
    ) -> Result<Executor, Unserved> {
        blocking(move || {
            let opened = opening::when_built(&store, &text, &options);
            let mut executor = opened.map_err(|error| unserved(error, &text))?;
            catch_up(&mut executor).map_err(|error| unserved(error.into(), &text))?;
            Ok(executor)
        })
        .await?
    }

    fn serve(&self, old: &Arc<App>, executor: Executor, schema_text: String) -> Result<(), Unserved> {
        let counts = old.node.counts().clone();
        let started = Node::start(executor, self.0.manner.node.clone(), counts);
        let (node, running) =
            started.map_err(|error| self.fail(&format!("the executor could not be started: {error}")))?;
        node.set_pace(old.node.pace());
        *self.0.running.lock() = Some(running);
        *self.0.current.write() = Arc::new(old.with(node, schema_text));
        self.0.versions.send_modify(|version| *version += 1);
        Ok(())
    }

    fn fail(&self, why: &str) -> Unserved {
        *self.0.failed.lock() = Some(why.to_string());
        Unserved::Failed(why.to_string())
    }

    /// Sees to it that something is served, as long as that can be. Done when it cannot, with why.
    pub async fn attend(&self) -> String {
        loop {
            sleep(LOOK_EVERY).await;
            if let Some(why) = self.0.failed.lock().clone() {
                return why;
            }
            let ended = self.0.running.lock().as_ref().is_some_and(Running::is_finished);
            if !ended {
                continue;
            }
            let _turn = self.0.turn.lock().await;
            let Some(running) = self.0.running.lock().take_if(|running| running.is_finished()) else {
                continue;
            };
            match running.join() {
                Err(EngineError::Superseded) => {
                    tracing::info!(
                        "another server has changed the schema; the data is opened with what is there"
                    );
                    let old = self.current();
                    let store = old.node.engine().store().clone();
                    let resumed = match self.end(&old).await {
                        Ok(()) => self.resume(&old, store).await,
                        Err(error) => Err(error),
                    };
                    if let Err(error) = resumed {
                        self.fail(&format!("{error:?}"));
                    }
                }
                Err(error) => return error.to_string(),
                Ok(()) => return "the executor has ended".into(),
            }
        }
    }

    /// Ends what is served: all that was accepted is done.
    ///
    /// # Errors
    ///
    /// Why it was not.
    pub async fn stop(&self) -> Result<(), String> {
        let _turn = self.0.turn.lock().await;
        self.current().node.stop().await;
        let running = self.0.running.lock().take();
        match spawn_blocking(|| running.map_or(Ok(()), Running::join)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn unserved(error: OpenError, text: &str) -> Unserved {
    match error {
        OpenError::Schema(mistakes) => Unserved::Mistakes(mistakes, text.to_string()),
        OpenError::Refused(reasons) => Unserved::Unfit(reasons),
        error => Unserved::Failed(error.to_string()),
    }
}

fn read_stored(store: &Arc<dyn Store>) -> Result<Option<catalog::Stored>, Unserved> {
    catalog::stored(&**store).map_err(|error| Unserved::Failed(error.to_string()))
}

/// Something that takes its time, on a thread where it holds nobody up.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Unserved> {
    spawn_blocking(work).await.map_err(|error| Unserved::Failed(error.to_string()))
}

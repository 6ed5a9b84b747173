//! One connection to PostgreSQL, and the thread that talks to the server over it.
//!
//! The store's contract is synchronous, and may be asked on a thread that already drives other asynchronous work, where
//! one may not wait for more of it. So each connection has a thread with a small runtime of its own; who asks waits for
//! the answer on a channel, and has another thread drive that work meanwhile. Statements are prepared when they are first
//! used.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::task::Poll;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Handle, Runtime, RuntimeFlavor};
use tokio_postgres::Socket;
use tokio_postgres::error::{DbError, Severity};
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, Error, Row, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::{failed, refused, told};
use crate::StoreError;

/// What a parameter may be.
#[derive(Clone, Debug)]
pub enum Parameter {
    /// A part of a key, or a value.
    Bytes(Vec<u8>),
    /// Several of them.
    Many(Vec<Vec<u8>>),
    /// A number.
    Number(i64),
}

impl Parameter {
    fn as_sql(&self) -> &(dyn ToSql + Sync) {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Many(many) => many,
            Self::Number(number) => number,
        }
    }
}

/// A statement and its parameters.
pub type Step = (String, Vec<Parameter>);

/// How a transaction ended.
pub enum Outcome {
    /// It is committed.
    Done,
    /// The server refused it, and nothing of it is there.
    Refused(StoreError),
    /// The connection broke: it may be there or not.
    Unknown(String),
}

/// How often the task of a connection is let run for what has come to be heard: for the news, to read it, to end.
const LOOKS: usize = 3;

/// What each transaction that commits begins with.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// How long a connection that is not needed any more may take to end.
const GOODBYE: Duration = Duration::from_secs(1);

/// What the thread is asked to do.
type Job = Box<dyn FnOnce(&Runtime, &mut Session) + Send>;

/// See the module.
pub struct Connection {
    jobs: Option<Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    /// The server has not answered in time.
    silent: AtomicBool,
    place: String,
}

/// What the thread has.
struct Session {
    client: Client,
    statements: HashMap<String, Statement>,
    /// The server has said that it ends the session; that the connection is closed may show only later.
    ended: bool,
}

impl Connection {
    /// Connects.
    pub fn open(config: &Config, tls: &MakeRustlsConnect, place: &str) -> Result<Connection, StoreError> {
        let (jobs, inbox) = channel::<Job>();
        let (ready, opened) = channel();
        let (config, tls) = (config.clone(), tls.clone());
        let thread = std::thread::Builder::new()
            .name("postgres".into())
            .spawn(move || serve(&config, tls, &inbox, &ready))
            .map_err(|error| failed(place, format!("no thread for a connection: {error}"), false))?;
        match opened.recv() {
            Ok(Ok(())) => {
                let (jobs, thread, silent) = (Some(jobs), Some(thread), AtomicBool::new(false));
                let connection = Connection { jobs, thread, silent, place: place.to_owned() };
                // What the contract rests on, whatever the database's own settings say.
                connection.batch(
                    "SET synchronous_commit = on; SET statement_timeout = 0; SET lock_timeout = 0; \
                     SET idle_in_transaction_session_timeout = 0",
                )?;
                Ok(connection)
            }
            Ok(Err(why)) => Err(failed(place, format!("it cannot be reached: {why}"), false)),
            Err(_) => Err(failed(place, "the thread of the connection ended", false)),
        }
    }

    /// Has the thread run something; the answer comes over the channel, unless the thread has ended.
    fn begin_to_ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Runtime, &mut Session) -> T + Send + 'static,
    ) -> Receiver<T> {
        let (reply, answer) = channel();
        let job: Job = Box::new(move |runtime, session| {
            // Nobody waits any more when whoever asked is gone.
            let _ = reply.send(job(runtime, session));
        });
        if let Some(jobs) = &self.jobs {
            // What cannot be sent is dropped, and with it the way back, which the receiver sees.
            let _ = jobs.send(job);
        }
        answer
    }

    /// Runs something on the thread and waits for it.
    fn ask<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Runtime, &mut Session) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let answer = self.begin_to_ask(job);
        waiting(|| answer.recv()).map_err(|_| self.closed())
    }

    /// The same for what has to be answered within a time. If it is not, the connection is given up.
    fn ask_within<T: Send + 'static>(
        &self,
        limit: Duration,
        job: impl FnOnce(&Runtime, &mut Session) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let answer = self.begin_to_ask(job);
        waiting(|| answer.recv_timeout(limit)).map_err(|error| match error {
            RecvTimeoutError::Disconnected => self.closed(),
            RecvTimeoutError::Timeout => {
                self.abandon();
                failed(&self.place, format!("it has not answered within {} s", limit.as_secs()), false)
            }
        })
    }

    fn closed(&self) -> StoreError {
        failed(&self.place, "the connection is closed", false)
    }

    /// Has the server not answered in time? Then others that are connected to it hear nothing either.
    pub fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }

    /// Gives it up without a word: nobody waits for its end.
    pub fn abandon(&self) {
        self.silent.store(true, Ordering::Relaxed);
    }

    /// Can it still be used? It cannot when the server has said goodbye, or is gone, and that has come here.
    pub fn is_open(&self) -> bool {
        if self.is_silent() {
            return false;
        }
        let look = async || {
            for _ in 0..LOOKS {
                tokio::task::yield_now().await;
            }
        };
        self.ask(move |runtime, session| {
            // What has come is read by the task of the connection, which runs when this one lets it.
            runtime.block_on(look());
            !session.is_closed()
        })
        .unwrap_or(false)
    }

    fn error(&self, error: &Error) -> StoreError {
        refused(&self.place, error)
    }

    /// Statements without parameters and without results, in one round trip.
    pub fn batch(&self, text: impl Into<String>) -> Result<(), StoreError> {
        let text = text.into();
        self.ask(move |runtime, session| {
            let done = runtime.block_on(session.client.batch_execute(&text));
            session.heard(done)
        })?
        .map_err(|error| self.error(&error))
    }

    /// The same, answered within a time.
    pub fn batch_within(&self, limit: Duration, text: &'static str) -> Result<(), StoreError> {
        self.ask_within(limit, move |runtime, session| {
            let done = runtime.block_on(session.client.batch_execute(text));
            session.heard(done)
        })?
        .map_err(|error| self.error(&error))
    }

    /// The same, for whom it does not matter when it is done, or whether.
    pub fn batch_later(&self, text: &'static str) {
        let job: Job = Box::new(move |runtime, session| {
            let done = runtime.block_on(session.client.batch_execute(text));
            let _ = session.heard(done);
        });
        if let Some(jobs) = &self.jobs {
            let _ = jobs.send(job);
        }
    }

    /// The rows of a query.
    pub fn query(&self, text: String, parameters: Vec<Parameter>) -> Result<Vec<Row>, StoreError> {
        self.ask(move |runtime, session| {
            let found = runtime.block_on(async {
                let statement = session.statement(&text).await?;
                let parameters: Vec<_> = parameters.iter().map(Parameter::as_sql).collect();
                session.client.query(&statement, &parameters).await
            });
            session.heard(found)
        })?
        .map_err(|error| self.error(&error))
    }

    /// The one number that a query gives.
    pub fn number(&self, text: String) -> Result<i64, StoreError> {
        self.optional_number(text)?
            .ok_or_else(|| failed(&self.place, "the tables of the store have been emptied by others", true))
    }

    /// The number that a query gives, if any.
    pub fn optional_number(&self, text: String) -> Result<Option<i64>, StoreError> {
        let rows = self.query(text, Vec::new())?;
        Ok(rows.first().and_then(|row| row.get::<_, Option<i64>>(0)))
    }

    /// Begins a transaction with queries, which are all sent before the first answer is waited for; their rows, in order.
    /// Each query sees what is committed when it is run, so what follows one that waits for a lock sees what was done
    /// under it.
    pub fn begin(&self, queries: Vec<Step>) -> Result<Vec<Vec<Row>>, StoreError> {
        self.ask(transaction(Some(BEGIN), queries))?.map_err(|error| self.error(&error))
    }

    /// The same for a transaction of another kind, which `how` begins, answered within a time.
    pub fn begin_within(
        &self,
        limit: Duration,
        how: &'static str,
        queries: Vec<Step>,
    ) -> Result<Vec<Vec<Row>>, StoreError> {
        self.ask_within(limit, transaction(Some(how), queries))?.map_err(|error| self.error(&error))
    }

    /// The same in the transaction that is open.
    pub fn go_on(&self, queries: Vec<Step>) -> Result<Vec<Vec<Row>>, StoreError> {
        self.ask(transaction(None, queries))?.map_err(|error| self.error(&error))
    }

    /// Goes on with the steps of a transaction and ends it: all are sent, the commit with them, before the first answer is
    /// waited for.
    pub fn finish(&self, steps: Vec<Step>) -> Outcome {
        let place = self.place.clone();
        let ran = self.ask(move |runtime, session| {
            let outcome = runtime.block_on(session.finish(&steps));
            match session.heard(outcome) {
                Ok(()) => Outcome::Done,
                // A refusal by the server undoes the transaction, and the commit that follows commits nothing.
                Err(error) if error.code().is_some() && !session.is_closed() => {
                    Outcome::Refused(refused(&place, &error))
                }
                Err(error) => Outcome::Unknown(told(&error)),
            }
        });
        ran.unwrap_or_else(|error| Outcome::Unknown(error.to_string()))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Who is silent is not waited for.
        drop(self.jobs.take());
        if let (Some(thread), false) = (self.thread.take(), self.is_silent()) {
            // A panic of the thread was told when it happened.
            let _ = thread.join();
        }
    }
}

/// Connects, to the first of several hosts that is right. A host that accepts and then says nothing is given up as one that
/// does not accept.
pub async fn connect(
    config: &Config,
    tls: MakeRustlsConnect,
) -> Result<(Client, tokio_postgres::Connection<Socket, TlsStream>), String> {
    let hosts = u32::try_from(config.get_hosts().len()).unwrap_or(u32::MAX).max(1);
    // A host is also given the time to shake hands, and to say whether it takes writes.
    let limit = config.get_connect_timeout().map(|each| (*each * 2).saturating_mul(hosts));
    match tokio::time::timeout(limit.unwrap_or(Duration::MAX), config.connect(tls)).await {
        Ok(connected) => connected.map_err(|error| told(&error)),
        Err(_) => Err("it does not answer in time".to_owned()),
    }
}

/// What is spoken over, where it is encrypted.
type TlsStream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// The thread of a connection.
fn serve(config: &Config, tls: MakeRustlsConnect, inbox: &Receiver<Job>, ready: &Sender<Result<(), String>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = ready.send(Err(error.to_string()));
            return;
        }
    };
    let (client, connection) = match runtime.block_on(connect(config, tls)) {
        Ok(connected) => connected,
        Err(why) => {
            let _ = ready.send(Err(why));
            return;
        }
    };
    // It goes on whenever something is waited for on this thread; how it ends shows to whom it concerns.
    let driver = runtime.spawn(connection);
    let mut session = Session { client, statements: HashMap::new(), ended: false };
    let _ = ready.send(Ok(()));
    while let Ok(job) = inbox.recv() {
        job(&runtime, &mut session);
    }
    drop(session);
    // Says goodbye, so that the server lets go of locks at once.
    let _ = runtime.block_on(async { tokio::time::timeout(GOODBYE, driver).await });
}

/// The queries of a transaction, as what a thread can do.
fn transaction(
    begin: Option<&'static str>,
    queries: Vec<Step>,
) -> impl FnOnce(&Runtime, &mut Session) -> Result<Vec<Vec<Row>>, Error> + Send {
    move |runtime, session| {
        let found = runtime.block_on(session.queries(begin, &queries));
        session.heard(found)
    }
}

/// Waits. On a thread that drives other work of a runtime another one takes that over meanwhile: who is asked may be
/// silent for long.
pub fn waiting<T>(wait: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(wait),
        _ => wait(),
    }
}

impl Session {
    fn is_closed(&self) -> bool {
        self.ended || self.client.is_closed()
    }

    /// Passes on what the server answered, and notes an error with which the session ends.
    fn heard<T>(&mut self, answer: Result<T, Error>) -> Result<T, Error> {
        let severity = answer.as_ref().err().and_then(Error::as_db_error).and_then(DbError::parsed_severity);
        self.ended |= matches!(severity, Some(Severity::Fatal | Severity::Panic));
        answer
    }

    async fn statement(&mut self, text: &str) -> Result<Statement, Error> {
        if let Some(statement) = self.statements.get(text) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(text).await?;
        self.statements.insert(text.to_owned(), statement.clone());
        Ok(statement)
    }

    async fn queries(
        &mut self,
        begin: Option<&'static str>,
        queries: &[Step],
    ) -> Result<Vec<Vec<Row>>, Error> {
        let prepared = self.prepared(queries).await?;
        // A request is sent when it is first polled; so each is, in order, before the first is waited for.
        let client = &self.client;
        let mut begin = std::pin::pin!(async {
            match begin {
                Some(begin) => client.batch_execute(begin).await,
                None => Ok(()),
            }
        });
        let begun = futures_util::poll!(begin.as_mut());
        let mut requests: Vec<_> = prepared
            .iter()
            .map(|(statement, parameters)| Box::pin(client.query(statement, parameters)))
            .collect();
        let mut answers = Vec::with_capacity(requests.len());
        for request in &mut requests {
            answers.push(futures_util::poll!(request.as_mut()));
        }
        match begun {
            Poll::Ready(done) => done?,
            Poll::Pending => begin.await?,
        }
        let mut found = Vec::with_capacity(answers.len());
        for (request, answer) in requests.into_iter().zip(answers) {
            found.push(match answer {
                Poll::Ready(rows) => rows?,
                Poll::Pending => request.await?,
            });
        }
        Ok(found)
    }

    async fn finish(&mut self, steps: &[Step]) -> Result<(), Error> {
        let prepared = self.prepared(steps).await?;
        let client = &self.client;
        let mut commit = std::pin::pin!(client.batch_execute("COMMIT"));
        let mut requests: Vec<_> = prepared
            .iter()
            .map(|(statement, parameters)| {
                Box::pin(client.execute_raw(statement, parameters.iter().copied()))
            })
            .collect();
        let mut answers = Vec::with_capacity(requests.len());
        for request in &mut requests {
            answers.push(futures_util::poll!(request.as_mut()));
        }
        let committed = futures_util::poll!(commit.as_mut());
        let mut outcome = Ok(());
        for (request, answer) in requests.into_iter().zip(answers) {
            let answer = match answer {
                Poll::Ready(done) => done,
                Poll::Pending => request.await,
            };
            outcome = outcome.and(answer.map(|_| ()));
        }
        let committed = match committed {
            Poll::Ready(done) => done,
            Poll::Pending => commit.await,
        };
        outcome.and(committed)
    }

    /// The statements of steps, each with its parameters.
    async fn prepared<'s>(&mut self, steps: &'s [Step]) -> Result<Vec<Prepared<'s>>, Error> {
        let mut prepared = Vec::with_capacity(steps.len());
        for (text, parameters) in steps {
            let parameters: Vec<_> = parameters.iter().map(Parameter::as_sql).collect();
            prepared.push((self.statement(text).await?, parameters));
        }
        Ok(prepared)
    }
}

/// A statement, and what stands for its parameters.
type Prepared<'s> = (Statement, Vec<&'s (dyn ToSql + Sync)>);

//! Documents in SQL: tables and views over PostgreSQL, and changes made in them.

mod reading;
mod together;
mod writing;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::common::*;
use corollary_store::postgres::testing::Server as Database;
use corollary_store::postgres::{Gate, tokio_postgres};

/// How long anything may take that a server does behind what it replies, on a machine that has much else to do.
const PATIENCE_BEHIND: Duration = Duration::from_secs(150);

/// The schema of the database with the tables.
const WITHIN: &str = "docs";

/// A field of each kind.
const KINDS: &str = r#"
type Region in regions {
  name:  str required unique description "as it's called; \"quoted\""
  shops: collection Shop
  areas := count(self.shops)
  all   := sum(self.shops.count)
}

type Shop {
  count: int default 0
}

type Person in people { name: str }
type Firm in firms { name: str }

type Thing in things {
  text:    str
  whole:   int
  real:    float
  exact:   decimal
  yes:     bool
  at:      datetime
  day:     date
  span:    duration
  key:     uuid
  raw:     bytes
  any:     json
  word:    "big" | "small"
  parts:   { a: int, to: link Person }
  list:    [int]
  some:    set<str>
  map:     map<int>
  shape:   union kind { circle: { r: int }, dot: {} }
  owner:   link Person
  owners:  links Person
  holder:  link Person | Firm
  none:    str nullable

  twice    := self.whole * 2
  inverse  := 1 / self.whole
  tenth    := self.exact / 10
  later    := self.at + self.span
  names    := self.owners.name
  now_only := now() lazy
}
"#;

fn place(database: &Arc<Database>, schema: &str) -> Place {
    let mut place = Place::new(schema);
    place.store = Some(database.url());
    place
}

/// A server that keeps tables in SQL, where no other one does; they are filled.
fn serve(database: &Database, place: &Place) -> Server {
    let server = Server::start(place, &["--sql", WITHIN]);
    expect_sql(database, &format!("SELECT to_regclass('{WITHIN}._state') IS NOT NULL"), "t");
    let keeps = format!("SELECT count(*) FROM {WITHIN}._state WHERE revision IS NOT NULL");
    expect_sql(database, &keeps, "1");
    server
}

/// Waits until a query tells something.
#[track_caller]
fn expect_sql(database: &Database, query: &str, expected: &str) {
    let begun = Instant::now();
    loop {
        let told = database.sql(query);
        if told == expected {
            return;
        }
        assert!(begun.elapsed() < PATIENCE_BEHIND, "{query}: {told}\nand not: {expected}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until the tables show what a request has done.
#[track_caller]
fn caught_up(database: &Database, reply: &Reply) {
    let revision = reply.header("corollary-revision").unwrap();
    expect_sql(database, &format!("SELECT count(*) FROM {WITHIN}._state WHERE revision >= {revision}"), "1");
}

/// Runs statements of which the last one is refused; the code and the message.
fn refused_sql(database: &Database, statement: &str) -> String {
    database.sql(&format!(
        "SET test.told = ''; DO $do$ BEGIN EXECUTE $run${statement}$run$; \
         EXCEPTION WHEN OTHERS THEN PERFORM set_config('test.told', SQLSTATE || ' ' || SQLERRM, false); END $do$; \
         SELECT current_setting('test.told')"
    ))
}

/// Waits until all that was changed in SQL has been dealt with, and rows show what became of it.
#[track_caller]
fn taken_in(database: &Database) {
    expect_sql(
        database,
        "SELECT (SELECT count(*) FROM docs._changes) + (SELECT count(*) FROM docs._late)",
        "0",
    );
}

/// A connection of its own, for transactions that stay open.
struct Sql {
    runtime: tokio::runtime::Runtime,
    client: tokio_postgres::Client,
}

impl Sql {
    fn new(database: &Database) -> Sql {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let gate = Gate::to(&database.url(), PATIENCE).unwrap();
        let client = runtime.block_on(gate.connect(|| {})).unwrap();
        Sql { runtime, client }
    }

    fn run(&self, statements: &str) {
        self.runtime.block_on(self.client.batch_execute(statements)).unwrap();
    }

    /// The code of the error, if there is one.
    fn code(&self, statements: &str) -> Option<String> {
        let ran = self.runtime.block_on(self.client.batch_execute(statements));
        ran.err().map(|error| error.code().unwrap().code().to_string())
    }
}

//! What is fuzzed: one table, and a function for each row. A target asserts what must hold of any input, and says in a number what
//! became of it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock};

use corollary_engine::{EngineOptions, Executor, keys, open};
use corollary_schema::{Schema, TypeIx};
use corollary_store::MemoryStore;
use jiff::Timestamp;

pub mod captured;
pub mod headers;
pub mod language;
pub mod replies;
pub mod requests;
pub mod settings;
pub mod stored;

/// One parser or decoder, or a few that are asked the same.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    /// What it is, and where its input comes from.
    pub what: &'static str,
    /// Changes that the suite tries where nothing is optimised.
    pub short: u64,
    /// Tries an input.
    pub run: fn(&[u8]) -> u64,
}

/// All of them.
pub const ALL: [Target; 26] = [
    Target {
        name: "schema",
        what: "the text of a schema (files, PUT /api/_schema)",
        short: 150,
        run: language::schema,
    },
    Target { name: "schema-json", what: "a schema as JSON", short: 150, run: language::schema_json },
    Target {
        name: "expression",
        what: "expressions and filters (?filter, ?order, paths)",
        short: 1_500,
        run: language::expression,
    },
    Target {
        name: "expression-json",
        what: "expressions as JSON",
        short: 1_000,
        run: language::expression_json,
    },
    Target { name: "rule", what: "rules of processors", short: 1_000, run: language::rule },
    Target {
        name: "query",
        what: "the query of a URL, with page tokens and expansion",
        short: 1_000,
        run: requests::query,
    },
    Target { name: "path", what: "the path of a URL, with filters in it", short: 1_000, run: requests::path },
    Target {
        name: "condition",
        what: "conditions as a tree of JSON",
        short: 1_000,
        run: requests::condition,
    },
    Target { name: "body", what: "resources as JSON, for POST and PUT", short: 1_000, run: requests::body },
    Target {
        name: "patch",
        what: "merge patches, JSON Patches and update actions",
        short: 1_000,
        run: requests::patch,
    },
    Target {
        name: "headers",
        what: "what a request accepts, prefers and requires (Accept, Prefer, If-Match)",
        short: 2_000,
        run: headers::conditions,
    },
    Target {
        name: "range",
        what: "the part of a file that is asked for (Range)",
        short: 2_000,
        run: headers::range,
    },
    Target {
        name: "file-headers",
        what: "names, media types, digests and tags of files",
        short: 2_000,
        run: headers::file,
    },
    Target {
        name: "captured",
        what: "changes made in SQL, as triggers captured them",
        short: 300,
        run: captured::captured,
    },
    Target { name: "settings", what: "the arguments of the program", short: 100, run: settings::settings },
    Target { name: "csv", what: "rows of a CSV file (import)", short: 500, run: requests::csv },
    Target { name: "ndjson", what: "rows of JSON, line by line (import)", short: 500, run: requests::ndjson },
    Target {
        name: "text",
        what: "values and ids as text (fields in CSV, ids in paths)",
        short: 2_000,
        run: language::text,
    },
    Target { name: "nats", what: "what a server of NATS says to a hook", short: 2_000, run: replies::nats },
    Target {
        name: "webhook",
        what: "what a processor's webhook replies",
        short: 1_000,
        run: replies::webhook,
    },
    Target {
        name: "proxied",
        what: "JSON, lines and events of a server behind a proxy",
        short: 1_000,
        run: replies::proxied,
    },
    Target { name: "value", what: "values and sums, as they are stored", short: 3_000, run: stored::value },
    Target { name: "document", what: "documents, as they are stored", short: 2_000, run: stored::document },
    Target { name: "log", what: "entries of the log, as they are stored", short: 2_000, run: stored::log },
    Target { name: "backup", what: "backup files (restore)", short: 200, run: stored::backup },
    Target {
        name: "folder",
        what: "the files of a data folder, damaged anywhere",
        short: 12,
        run: stored::folder,
    },
];

/// A target by its name.
pub fn named(name: &str) -> Option<&'static Target> {
    ALL.iter().find(|target| target.name == name)
}

/// A number for what became of an input.
pub fn outcome(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// The schema that requests and documents are of.
pub const SCHEMA: &str = include_str!("../../data/things.cor");

thread_local! {
    static EXECUTOR: Executor = {
        let store = MemoryStore::new(&keys::KEYSPACES).expect("a store");
        let options = EngineOptions::default();
        open(Arc::new(store), SCHEMA, &options, Timestamp::UNIX_EPOCH, &mut |_| {}).expect("the schema")
    };
}

/// Does something with an engine over an empty store.
pub fn with_engine<T>(f: impl FnOnce(&Executor) -> T) -> T {
    EXECUTOR.with(f)
}

/// The checked schema, and its first type.
pub fn schema() -> (&'static Schema, TypeIx) {
    static CHECKED: OnceLock<Schema> = OnceLock::new();
    let schema = CHECKED.get_or_init(|| {
        corollary_schema::check(SCHEMA, &mut corollary_schema::Ids::default()).schema.expect("the schema")
    });
    (schema, schema.type_named("Thing").expect("it is declared"))
}

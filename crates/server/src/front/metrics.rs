//! What is told to monitoring at `/metrics`, in the text format of Prometheus (OpenMetrics).
//!
//! What happens is counted where it happens, with an atomic addition ([`Counts`](crate::counts::Counts) on the executor's
//! thread, requests here); what stands somewhere anyway (queues, updates, the cache, the store) is looked up when
//! somebody asks (`Standing`). Labels have few values: of a path only the root collection, where there is one of the
//! name. docs/operations.md says what to look at.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Method, Response, StatusCode, header};
use corollary_engine::updates::State;
use jiff::Timestamp;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::counts::durations;
use crate::hooks::state;
use crate::http::Bodies;
use crate::path::PREFIX;
use crate::site::Site;

/// The content type of the format.
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The label of paths that name no collection.
const OTHER: &str = "other";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    method: &'static str,
    collection: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    method: &'static str,
    collection: String,
    status: u16,
}

/// See the module.
pub struct Metrics {
    registry: Registry,
    site: Site,
    requests: Family<Outcome, Counter>,
    seconds: Family<Route, Histogram, fn() -> Histogram>,
    running: Gauge,
    connections: Gauge,
}

impl Metrics {
    /// Of what is served, and of the room for bodies; no request has come yet.
    pub fn new(site: Site, bodies: Arc<Bodies>) -> Metrics {
        let mut registry = Registry::with_prefix("corollary");
        let requests = Family::default();
        let seconds = Family::new_with_constructor(durations as fn() -> Histogram);
        let (running, connections) = (Gauge::default(), Gauge::default());
        registry.register("http_requests", "Requests that were answered", requests.clone());
        let help = "Time until a reply began";
        registry.register_with_unit("http_request", help, Unit::Seconds, seconds.clone());
        registry.register("http_requests_running", "Requests that have no reply yet", running.clone());
        registry.register("http_connections", "Connections that are open", connections.clone());
        site.current().node.counts().register(&mut registry);
        site.current().hooks.counts.register(&mut registry);
        if let Some(place) = &site.current().sql {
            place.counts.register(&mut registry);
        }
        registry.register_collector(Box::new(Standing { site: site.clone(), bodies }));
        Metrics { registry, site, requests, seconds, running, connections }
    }

    /// A request begins.
    pub fn request(self: &Arc<Metrics>, method: &Method, path: &str) -> Running {
        self.running.inc();
        let route = Route { method: method_label(method), collection: self.collection(path).into() };
        Running { metrics: self.clone(), route }
    }

    /// A connection is open for as long as what this returns is there.
    pub fn connection(&self) -> Counted {
        self.connections.inc();
        Counted(self.connections.clone())
    }

    /// The root collection that a path begins with.
    fn collection<'p>(&self, path: &'p str) -> &'p str {
        let app = self.site.current();
        let below = path.strip_prefix(PREFIX).and_then(|path| path.strip_prefix('/'));
        let first = below.and_then(|path| path.split('/').next());
        first.filter(|name| app.node.engine().schema().has_root(name)).unwrap_or(OTHER)
    }

    /// The reply to who asks for them.
    pub fn reply(&self) -> Response<Body> {
        let mut text = String::new();
        let mut response = match encode(&mut text, &self.registry) {
            Ok(()) => Response::new(Body::from(text)),
            Err(fmt::Error) => {
                let mut response = Response::new(Body::empty());
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                response
            }
        };
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
        response
    }
}

/// A method that there is; all others have one label.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => OTHER,
    }
}

/// A request that runs, until it is dropped.
pub struct Running {
    metrics: Arc<Metrics>,
    route: Route,
}

impl Running {
    /// It has a reply. One that is dropped without has none: its client is gone.
    pub fn end(self, status: StatusCode, took: Duration) {
        let Route { method, collection } = self.route.clone();
        self.metrics.requests.get_or_create(&Outcome { method, collection, status: status.as_u16() }).inc();
        self.metrics.seconds.get_or_create(&self.route).observe(took.as_secs_f64());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.metrics.running.dec();
    }
}

/// Something that is counted for as long as it is there.
pub struct Counted(Gauge);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What stands somewhere anyway.
struct Standing {
    site: Site,
    bodies: Arc<Bodies>,
}

impl fmt::Debug for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Standing")
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfHook {
    hook: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InState {
    state: &'static str,
}

impl Collector for Standing {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let node = &self.site.current().node;
        let engine = node.engine();
        let updates = engine.updates_to_tell();
        let oldest = updates.open.iter().map(|update| update.record.started).min();
        let lag = oldest.map_or(0.0, |began| Timestamp::now().duration_since(began).as_secs_f64().max(0.0));
        let left: u64 = updates
            .open
            .iter()
            .map(|it| it.record.estimated - it.record.visited.min(it.record.estimated))
            .sum();
        let cache = engine.cache_stats();
        let mut gauge = |name: &str, help: &str, unit: Option<&Unit>, value: f64| {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, unit, gauge.metric_type())?)
        };
        gauge("revision", "The last revision that readers see", None, engine.revision() as f64)?;
        let bodies = "Bodies of the requests that run";
        gauge("http_bodies", bodies, Some(&Unit::Bytes), self.bodies.taken() as f64)?;
        let (waiting, room) = node.queue();
        gauge("queue_transactions", "Transactions that wait for the executor", None, waiting as f64)?;
        gauge("queue_transactions_limit", "Transactions that may wait", None, room as f64)?;
        gauge("watches", "Watches that are open", None, node.hub.len() as f64)?;
        gauge("update_lag", "Age of the oldest update that is open", Some(&Unit::Seconds), lag)?;
        gauge(
            "update_resources_left",
            "Resources that open updates have yet to visit, as far as they are counted",
            None,
            left as f64,
        )?;
        gauge("cache_documents", "Decoded documents in memory", None, cache.entries as f64)?;
        gauge("cache", "What they take, about", Some(&Unit::Bytes), cache.bytes as f64)?;
        gauge("cache_limit", "What they may take", Some(&Unit::Bytes), cache.limit_bytes as f64)?;
        let mut counter = |name: &str, help: &str, value: u64| {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)
        };
        counter("cache_hits", "Documents that were in memory when they were wanted", cache.hits)?;
        counter("cache_fills", "Documents that were read from the store because they were not", cache.fills)?;
        if let Ok(files) = engine.stored_files() {
            let mut gauge = |name: &str, help: &str, unit: Option<&Unit>, value: u64| {
                let gauge = ConstGauge::new(value as f64);
                gauge.encode(encoder.encode_descriptor(name, help, unit, gauge.metric_type())?)
            };
            gauge("files", "Files that resources have", None, files.files)?;
            gauge("files_stored", "What they take", Some(&Unit::Bytes), files.bytes)?;
        }
        // A store that is away tells nothing of hooks.
        let (lag, letters): (Family<OfHook, Gauge>, Family<OfHook, Gauge>) = Default::default();
        let states = engine.records(Timestamp::now(), state::all).unwrap_or_default();
        for (hook, state) in states {
            let behind = engine.revision().saturating_sub(state.cursor);
            lag.get_or_create(&OfHook { hook: hook.clone() }).set(behind as i64);
            letters.get_or_create(&OfHook { hook }).set(state.letters as i64);
        }
        let help =
            "Revisions by which a hook is behind: what was not delivered, and what is of no concern to it";
        lag.encode(encoder.encode_descriptor("hook_lag_revisions", help, None, lag.metric_type())?)?;
        let help = "Events that a hook gave up, and that are kept";
        letters.encode(encoder.encode_descriptor("hook_letters", help, None, letters.metric_type())?)?;
        let open: Family<InState, Gauge> = Family::default();
        for state in [State::Waiting, State::Running, State::Failed] {
            let here = updates.open.iter().filter(|update| update.record.state == state).count();
            open.get_or_create(&InState { state: state.name() }).set(here as i64);
        }
        open.encode(encoder.encode_descriptor(
            "updates",
            "Updates that are open",
            None,
            open.metric_type(),
        )?)?;
        let pressure = ConstGauge::new(f64::from(engine.store().pressure()));
        let help =
            "How full the store is with what it has to put into its place, from 0 to 1; at 1 commits wait";
        pressure.encode(encoder.encode_descriptor(
            "store_pressure",
            help,
            None,
            pressure.metric_type(),
        )?)?;
        // A store that cannot tell says so elsewhere.
        let Ok(store) = engine.store().stats() else { return Ok(()) };
        let mut counter = |name: &str, help: &str, value: u64| {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)
        };
        counter("store_commits", "Batches that the store committed", store.commits)?;
        counter(
            "store_conflicts",
            "Batches that it refused because a condition did not hold",
            store.conflicts,
        )?;
        counter("store_checkpoints", "Times that its log was carried over into the data", store.checkpoints)?;
        let mut gauge = |name: &str, help: &str, unit: Option<&Unit>, value: u64| {
            let gauge = ConstGauge::new(value as f64);
            gauge.encode(encoder.encode_descriptor(name, help, unit, gauge.metric_type())?)
        };
        gauge("store_data", "Data of the store", Some(&Unit::Bytes), store.data_bytes)?;
        gauge("store_free", "Of these, what holds nothing", Some(&Unit::Bytes), store.free_bytes)?;
        gauge("store_log", "The log that makes its commits durable", Some(&Unit::Bytes), store.log_bytes)?;
        gauge("store_snapshots", "Snapshots that are open", None, store.open_snapshots)
    }
}

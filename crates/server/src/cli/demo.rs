//! `corollary demo flights`: a month of real flights is loaded and served, one flight is changed over HTTP, and the
//! watches tell what changed by itself.

use std::io::{BufRead, BufReader};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use corollary_engine::{EngineOptions, keys};
use corollary_store::{EmbeddedOptions, EmbeddedStore};
use serde_json::{Value as Json, json};

use super::serve::{self, Options};
use super::{Failure, import, open};
use crate::load::file;
use crate::load::import::Direct;

const SCHEMA: &str = include_str!("../../../../examples/flights/flights.cor");

/// The sample, in the order in which links find their targets.
const FILES: [(&str, &str, &[u8]); 6] = [
    ("Airline", "airlines.csv.gz", include_bytes!("../../../../examples/flights/sample/airlines.csv.gz")),
    ("Airport", "airports.csv.gz", include_bytes!("../../../../examples/flights/sample/airports.csv.gz")),
    ("Plane", "planes.csv.gz", include_bytes!("../../../../examples/flights/sample/planes.csv.gz")),
    ("Route", "routes.csv.gz", include_bytes!("../../../../examples/flights/sample/routes.csv.gz")),
    ("Weather", "weather.csv.gz", include_bytes!("../../../../examples/flights/sample/weather.csv.gz")),
    ("Flight", "flights.csv.gz", include_bytes!("../../../../examples/flights/sample/flights.csv.gz")),
];

/// The flight that is changed: the first of the year, from Newark to Houston, two minutes late.
const FLIGHT: &str = "/api/flights/2013-01-01-UA1545-EWR-0515";

/// Its delays from then on, in minutes: more than those of any other flight of the airline.
const DEP_DELAY: i64 = 1_500;
const ARR_DELAY: i64 = 1_480;

/// What follows from it.
const WATCHED: [&str; 4] =
    ["/api/airlines/UA", "/api/airports/EWR", "/api/routes/EWR-IAH", "/api/weather/EWR-2013-01-01T10Z"];

/// How long the events of one commit may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs the demonstration.
pub fn flights(keep: bool) -> Result<(), Failure> {
    let folder = tempfile::tempdir().map_err(|error| format!("no temporary folder: {error}"))?;
    let store = EmbeddedStore::open(folder.path(), &keys::KEYSPACES, EmbeddedOptions::default())
        .map_err(|error| error.to_string())?;
    let engine = EngineOptions { update_budget: open::AT_ONCE, ..EngineOptions::default() };
    let mut executor = open::with_schema(Arc::new(store), SCHEMA, "flights.cor", &engine)?;
    let schema = executor.engine().schema().clone();
    println!("Flights from New York City in January 2013, loaded with every derived value kept true:\n");
    for (ty, name, packed) in FILES {
        let source = file::gzipped(name, packed).ok_or_else(|| format!("{name} is not in the program"))?;
        let ty = open::type_named(&schema, ty)?;
        let imported = import::into(source, &schema, ty, &mut Direct::new(&mut executor), None);
        if imported.failed.is_some() || imported.rejected > 0 {
            return Err(format!("{name} could not be loaded: {:?}", imported.failed).into());
        }
    }
    let runtime = serve::runtime()?;
    let options =
        Options { listen: ([127, 0, 0, 1], 0).into(), update_budget: open::AT_ONCE, ..Options::default() };
    let serving = runtime.block_on(serve::start(executor, SCHEMA.to_string(), engine, &options, None))?;
    let url = format!("http://{}", serving.address);
    println!("\nServed at {url}. What is known of one flight, of what it belongs to:\n");
    let (told, stop) = tokio::sync::oneshot::channel::<()>();
    let server = runtime.spawn(serving.until(async { drop(stop.await) }));
    let shown = show(&url);
    if keep && shown.is_ok() {
        println!("\nStill served at {url}; Ctrl-C ends it.");
        runtime.block_on(serve::stopped())?;
    }
    drop(told);
    let ended = runtime.block_on(server).map_err(|error| error.to_string())?;
    shown.and(ended)
}

fn show(url: &str) -> Result<(), Failure> {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let get = |path: &str| -> Result<Json, Failure> { answer(agent.get(format!("{url}{path}")).call()) };
    for path in WATCHED {
        println!("  {path}\n      {}", derived(&get(path)?));
    }
    let events = watch(&agent, url)?;
    let flight = get(FLIGHT)?;
    let change = json!({"dep_delay": DEP_DELAY, "arr_delay": ARR_DELAY});
    println!(
        "\nThe flight left {} minutes late, and arrived {} minutes late. Now two facts are written:\n\n  PATCH {FLIGHT}  {change}\n",
        flight["dep_delay"], flight["arr_delay"]
    );
    let begun = Instant::now();
    let reply = agent.patch(format!("{url}{FLIGHT}")).header("content-type", "application/json");
    let reply = reply.send(change.to_string());
    answer(reply)?;
    let took = begun.elapsed();
    println!(
        "durable and answered in {:.1} ms. What the watches say changed by itself:\n",
        took.as_secs_f64() * 1e3
    );
    for _ in WATCHED {
        let event = match events.recv_timeout(PATIENCE) {
            Ok(event) => event?,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                return Err("an event did not arrive".to_string().into());
            }
        };
        println!("  {} (revision {})", text(&event["path"]), text(&event["revision"]));
        for field in event["changed"].as_array().into_iter().flatten() {
            let field = text(field);
            println!("      {field}: {} -> {}", event["old"][field], event["resource"][field]);
        }
    }
    println!(
        "\nAll in the commit of the write, no job, no trigger, no cache to clear. Next: the guided tour in README.md."
    );
    Ok(())
}

fn text(json: &Json) -> &str {
    json.as_str().unwrap_or_default()
}

/// The derived numbers of a resource.
fn derived(resource: &Json) -> String {
    let shown =
        ["flight_count", "departures", "mean_dep_delay", "mean_arr_delay", "worst_dep_delay", "late_share"];
    let parts = shown.iter().filter(|name| !resource[**name].is_null());
    parts.map(|name| format!("{name} {}", resource[*name])).collect::<Vec<_>>().join(", ")
}

fn answer(reply: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Json, Failure> {
    let failed = |error: ureq::Error| Failure::from(format!("the server does not answer: {error}"));
    let mut reply = reply.map_err(failed)?;
    let text = reply.body_mut().read_to_string().map_err(failed)?;
    let json: Json = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    if reply.status().is_success() { Ok(json) } else { Err(text.into()) }
}

/// Watches what follows from the flight; returns the events that come after the beginning, one for each resource.
fn watch(agent: &ureq::Agent, url: &str) -> Result<Receiver<Result<Json, Failure>>, Failure> {
    let (sender, events) = channel();
    let (ready, synced) = channel();
    for path in WATCHED {
        let reply = agent.get(format!("{url}{path}?watch=true")).call();
        let body = reply.map_err(|error| format!("{path} cannot be watched: {error}"))?.into_body();
        let (sender, ready) = (sender.clone(), ready.clone());
        thread::spawn(move || {
            let mut began = false;
            for line in BufReader::new(body.into_reader()).lines() {
                let event = match line {
                    Ok(line) => match line.strip_prefix("data: ") {
                        Some(data) => {
                            serde_json::from_str::<Json>(data).map_err(|error| error.to_string().into())
                        }
                        None => continue,
                    },
                    Err(error) => Err(Failure::from(error.to_string())),
                };
                if let Ok(event) = &event
                    && event["type"] == "synced"
                {
                    began = true;
                    let _ = ready.send(());
                } else if began {
                    let _ = sender.send(event);
                    return;
                }
            }
        });
    }
    for _ in WATCHED {
        synced.recv_timeout(PATIENCE).map_err(|_| "a watch did not begin".to_string())?;
    }
    Ok(events)
}

//! `corollary check`: of data that no server is running on, or that other servers share, by the oracle; of a running server
//! by that server itself (`check_server`).
//!
//! What is wrong is mended row by row or by updates, as a server mends it; what cannot be is built first. Builds and updates
//! are on record before anything is touched, so whoever opens the data after this was cut short goes on with them.

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use corollary_engine::catalog::describe;
use corollary_engine::entries::MENDED_TOGETHER;
use corollary_engine::rebuild::{Structure, structures_of, with_dependents};
use corollary_engine::repair::{Cures, MAX_ROWS};
use corollary_engine::{
    EngineError, Executor, Update, UpdateId, files, history, oracle, receipt, side_state,
};
use indicatif::ProgressBar;
use jiff::Timestamp;

use super::{Failure, Place, open};

/// Wrong values that are told one by one.
const MAX_TOLD: usize = 50;

/// Resources that are mended with one commit.
const BATCH: usize = 4_096;

/// How long the command rests where others work on what it waits for.
const REST: Duration = Duration::from_millis(50);

/// Compares, tells, and mends if asked to.
pub fn run(place: &Place, sample: Option<usize>, repair: bool) -> Result<(), Failure> {
    let (mut executor, _) = open::open_existing(place)?;
    let found = compare(&executor, place, sample)?;
    // Others that share the data do what they have begun.
    let unfinished = !executor.engine().is_shared() && !executor.engine().updates().open.is_empty();
    if found.wrong == 0 && !(repair && unfinished) {
        println!("{}", found.summary);
        return Ok(());
    }
    if !repair {
        return Err(format!("{}; `corollary check --repair` mends them", found.summary).into());
    }
    println!("{}", found.summary);
    mend(&mut executor, &found.structures, place.cache_bytes()).map_err(|error| error.to_string())?;
    files::mend(&mut executor, &found.faults).map_err(|error| error.to_string())?;
    let after = compare(&executor, place, None)?;
    println!("after the repair: {}", after.summary);
    if after.wrong == 0 { Ok(()) } else { Err("the repair did not mend everything".to_string().into()) }
}

/// Mends rows, builds what can be mended in no other way, and has updates mend the rest.
fn mend(executor: &mut Executor, wrong: &BTreeSet<Structure>, cache_bytes: usize) -> Result<(), EngineError> {
    let schema = executor.engine().schema().clone();
    let mut apart = Cures::of(&schema).apart(wrong);
    let mut rows = Vec::new();
    for structure in apart.rows.clone() {
        let engine = executor.engine();
        match engine.alone(cache_bytes, |working| side_state::wrong_rows(working, structure, MAX_ROWS))? {
            Some(wrong) => rows.push((structure, wrong)),
            None => apart.build_instead(structure),
        }
    }
    let built = with_dependents(&schema, &apart.build);
    apart.nodes.retain(|at| !built.contains(&Structure::Definition(schema.plan.nodes[*at].definition)));
    // Before all values: they are computed by way of them.
    for (structure, rows) in rows.iter().filter(|(structure, _)| !built.contains(structure)) {
        eprintln!("mending {} rows of {}", rows.len(), describe(&schema, *structure));
        rows.chunks(MENDED_TOGETHER).try_for_each(|rows| executor.mend_rows(*structure, rows))?;
    }
    executor.build_anew(&apart.build, &mut |what| eprintln!("building {what}"))?;
    let ids = executor.begin_repair(&apart.nodes, Timestamp::now())?;
    let names: Vec<String> = ids.iter().map(UpdateId::to_string).collect();
    if !names.is_empty() {
        eprintln!("mending by the updates {}", names.join(", "));
    }
    work(executor, &ids)
}

/// Works on updates until some of them, and all that came of them, have ended; of data that nobody else works on, all.
fn work(executor: &mut Executor, wanted: &[UpdateId]) -> Result<(), EngineError> {
    let engine = executor.engine().clone();
    let bar = match std::io::stderr().is_terminal() {
        true => ProgressBar::new(0),
        false => ProgressBar::hidden(),
    };
    loop {
        let ledger = engine.updates();
        let concerns = |update: &&Arc<Update>| {
            let record = &update.record;
            !engine.is_shared()
                || wanted.contains(&record.id)
                || record.origins.iter().any(|it| wanted.contains(it))
        };
        let open: Vec<_> = ledger.open.iter().filter(concerns).collect();
        if open.is_empty() {
            bar.finish_and_clear();
            return Ok(());
        }
        bar.set_length(open.iter().map(|it| it.record.estimated).sum());
        bar.set_position(open.iter().map(|it| it.record.visited).sum());
        match executor.update_step(Timestamp::now(), BATCH) {
            Ok(Some(_)) => {}
            // Others are at work on them.
            Ok(None) | Err(EngineError::Contended) => {
                thread::sleep(REST);
                executor.follow()?;
            }
            Err(error) => {
                bar.finish_and_clear();
                return Err(error);
            }
        }
    }
}

struct Found {
    wrong: usize,
    structures: BTreeSet<Structure>,
    faults: Vec<files::Fault>,
    summary: String,
}

fn compare(executor: &Executor, place: &Place, sample: Option<usize>) -> Result<Found, Failure> {
    let engine = executor.engine();
    let compared = engine.alone(place.cache_bytes(), |working| {
        let checked = oracle::check(working, sample)?;
        if sample.is_some() {
            return Ok((checked, None));
        }
        // What is kept beside the values is looked at as a whole, or not at all.
        let side = side_state::check(working)?;
        let past = [history::check(working)?, receipt::check(working)?];
        Ok((checked, Some((side, past, files::check(working)?))))
    });
    let (checked, beside) = compared.map_err(|error| error.to_string())?;
    let schema = engine.schema();
    for it in checked.differences.iter().take(MAX_TOLD) {
        let (ty, field) = (&schema.ty(it.key.ty).name, &schema.field(it.field).name);
        println!("{ty} {}: {field} is {}, and {} follows from the facts", it.key.id, it.stored, it.expected);
    }
    if checked.differences.len() > MAX_TOLD {
        println!("and {} more", checked.differences.len() - MAX_TOLD);
    }
    let mut structures: BTreeSet<Structure> =
        checked.differences.iter().flat_map(|it| structures_of(schema, it.field)).collect();
    let mut wrong = checked.differences.len();
    let mut faults = Vec::new();
    if let Some((side, past, found)) = beside {
        // Where a value is wrong, what is kept beside it and made of it may well be: that is told already.
        let told = with_dependents(schema, &structures);
        for (structure, message) in side {
            if structures.insert(structure) && !told.contains(&structure) {
                println!("{message}");
                wrong += 1;
            }
        }
        // Nothing can be built of what has been: it is told, and `--repair` leaves it as it is.
        for message in past.into_iter().flatten() {
            println!("{message}");
            wrong += 1;
        }
        for fault in found.iter().take(MAX_TOLD) {
            println!("{}", fault.message);
        }
        if found.len() > MAX_TOLD {
            println!("and {} more about files", found.len() - MAX_TOLD);
        }
        wrong += found.len();
        faults = found;
    }
    let differences = match wrong {
        0 => "no difference".to_string(),
        1 => "1 difference".to_string(),
        n => format!("{n} differences"),
    };
    let pending = match checked.pending {
        0 => String::new(),
        pending => format!("; {pending} are yet to be reached by an update"),
    };
    let summary = format!(
        "compared {} derived values of {} resources: {differences}{pending}",
        checked.values, checked.resources
    );
    Ok(Found { wrong, structures, faults, summary })
}

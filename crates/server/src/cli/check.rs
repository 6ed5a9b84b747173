//! `corollary check`.

use corollary_engine::order::Build;
use corollary_engine::{EngineError, Executor, history, oracle, rebuild, receipt, side_state};

use super::{Failure, Place, open};

/// Megabytes of decoded documents at least, if there are so many: a check reads all of them again and again. Measured on
/// the flights: 24 s instead of 51 s with 128.
const CACHE_MB: u32 = 1_024;

/// Wrong values that are told one by one.
const MAX_TOLD: usize = 50;

/// Compares, tells, and mends if asked to.
pub fn run(place: &Place, sample: Option<usize>, repair: bool) -> Result<(), Failure> {
    let place = Place { cache_mb: place.cache_mb.max(CACHE_MB), ..place.clone() };
    let (mut executor, _) = open::open_existing(&place)?;
    let found = compare(&executor, sample)?;
    if found.wrong == 0 {
        println!("{}", found.summary);
        return Ok(());
    }
    if !repair {
        return Err(format!("{}; `corollary check --repair` mends them", found.summary).into());
    }
    println!("{}", found.summary);
    let structures = rebuild::with_dependents(executor.engine().schema(), &found.structures);
    let all = rebuild::structures(executor.engine().schema());
    for structure in all.into_iter().filter(|it| structures.contains(it)) {
        rebuild::build(&mut executor, structure, Build::Kept).map_err(|error| error.to_string())?;
    }
    executor.end_building().map_err(|error| error.to_string())?;
    let after = compare(&executor, None)?;
    println!("after the repair: {}", after.summary);
    if after.wrong == 0 { Ok(()) } else { Err("the repair did not mend everything".to_string().into()) }
}

struct Found {
    wrong: usize,
    structures: std::collections::BTreeSet<rebuild::Structure>,
    summary: String,
}

fn compare(executor: &Executor, sample: Option<usize>) -> Result<Found, Failure> {
    let engine = executor.engine();
    let schema = engine.schema();
    let failed = |error: EngineError| Failure::from(error.to_string());
    let checked = engine.read(engine.time(), |working| oracle::check(working, sample)).map_err(failed)?;
    for it in checked.differences.iter().take(MAX_TOLD) {
        let (ty, field) = (&schema.ty(it.key.ty).name, &schema.field(it.field).name);
        println!("{ty} {}: {field} is {}, and {} follows from the facts", it.key.id, it.stored, it.expected);
    }
    if checked.differences.len() > MAX_TOLD {
        println!("and {} more", checked.differences.len() - MAX_TOLD);
    }
    let mut structures: std::collections::BTreeSet<rebuild::Structure> =
        checked.differences.iter().flat_map(|it| rebuild::structures_of(schema, it.field)).collect();
    let mut wrong = checked.differences.len();
    // What is kept beside the values is looked at as a whole, or not at all.
    if sample.is_none() {
        let side = engine.read(engine.time(), side_state::check).map_err(failed)?;
        // Where a value is wrong, what is kept beside it and made of it may well be: that is told already.
        let told = rebuild::with_dependents(schema, &structures);
        for (structure, message) in side {
            if structures.insert(structure) && !told.contains(&structure) {
                println!("{message}");
                wrong += 1;
            }
        }
        // Nothing can be built of what has been: it is told, and `--repair` leaves it as it is.
        for check in [history::check, receipt::check] {
            if let Some(message) = engine.read(engine.time(), check).map_err(failed)? {
                println!("{message}");
                wrong += 1;
            }
        }
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
    Ok(Found { wrong, structures, summary })
}

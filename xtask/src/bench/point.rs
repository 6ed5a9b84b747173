//! `point`: set the amount of one random order; its customer's total follows in the same commit.

use super::options::{Options, Place};
use super::sample::Sample;
use super::shop::Shop;
use super::table::{Aim, COMPARISON, Table, comparison, share, times};
use super::work::Work;
use super::{Result, nodes};

/// The longest that 99 of 100 writes may take at the most connections.
const P99_MS: f64 = 5.0;

/// Prints the table.
pub fn run(options: &Options) -> Result<()> {
    if options.store == Place::Postgres {
        return nodes::run(options);
    }
    let shop = Shop::open(options, 0)?;
    let mut table = Table::new("point: set one order's amount, its customer's total follows", &COMPARISON);
    shop.warm_up(Work::Point, options)?;
    let mut busiest = None;
    for &connections in &options.connections {
        let samples = shop.compare(Work::Point, connections, options)?;
        if connections == options.most_connections() {
            busiest = samples[1];
        }
        table.row(comparison(Work::Point.name(), connections, samples, &aim(connections, samples)));
    }
    let connections = options.most_connections();
    for work in [Work::Batch, Work::PipelinedBatch] {
        let samples = shop.compare(work, connections, options)?;
        table.row(comparison(work.name(), connections, samples, &at_least(10.0, samples)));
    }
    if shop.corollary().is_some() {
        let ceiling = shop.compare(Work::Healthz, connections, options)?;
        let reached = times(busiest, ceiling[1]);
        let aim = Aim::new("one update > 50 %", reached.map(|reached| reached > 0.5));
        table.row(comparison(Work::Healthz.name(), connections, ceiling, &aim));
        table.note(format!("One update reaches {} of what GET /healthz does.", share(reached)));
    }
    shop.finish(table)
}

/// The aim at so many connections: with one the sync is the limit.
fn aim(connections: usize, samples: [Option<Sample>; 2]) -> Aim {
    match connections {
        1 => at_least(1.3, samples),
        2..=8 => at_least(3.0, samples),
        _ => {
            let [postgres, corollary] = samples;
            let fast = corollary.map(|sample| sample.p99.as_secs_f64() * 1e3 < P99_MS);
            let met = times(corollary, postgres).zip(fast).map(|(ratio, fast)| ratio >= 5.0 && fast);
            Aim::new(format!("≥ 5x, p99 < {P99_MS} ms"), met)
        }
    }
}

/// The aim of doing so many times as much.
pub fn at_least(ratio: f64, [postgres, corollary]: [Option<Sample>; 2]) -> Aim {
    Aim::new(format!("≥ {ratio}x"), times(corollary, postgres).map(|times| times >= ratio))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn aims_follow_the_connections() {
        let sample =
            |per_second, ms| Some(Sample { per_second, p99: Duration::from_millis(ms), ..Sample::default() });
        let pg = sample(1_000.0, 9);
        for (connections, corollary, text, met) in [
            (1, sample(1_299.0, 1), "≥ 1.3x", "no"),
            (1, sample(1_300.0, 1), "≥ 1.3x", "yes"),
            (8, sample(3_000.0, 9), "≥ 3x", "yes"),
            (32, sample(5_000.0, 4), "≥ 5x, p99 < 5 ms", "yes"),
            (32, sample(5_000.0, 5), "≥ 5x, p99 < 5 ms", "no"),
            (32, sample(4_999.0, 4), "≥ 5x, p99 < 5 ms", "no"),
            (32, None, "≥ 5x, p99 < 5 ms", "–"),
        ] {
            assert_eq!(aim(connections, [pg, corollary]).cells(), [text, met], "{connections}");
        }
    }
}

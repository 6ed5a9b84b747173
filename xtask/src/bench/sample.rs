//! What one side did in one interval, and the rounds that make it a fair number: all sides in turn, then the medians.

use std::time::Duration;

use super::Result;

/// What one side did in one interval.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sample {
    /// Operations (writes, reads) each second.
    pub per_second: f64,
    /// Half of the requests were answered within this.
    pub p50: Duration,
    /// 99 of 100 requests were answered within this.
    pub p99: Duration,
    /// The slowest answer.
    pub max: Duration,
    /// Within what time each of [`SHARES`] of the requests was answered.
    pub latencies: [Duration; SHARES.len()],
}

/// Of the requests that are answered, the shares that [`Sample::latencies`] tells of.
pub const SHARES: [f64; 9] = [0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0];

impl Sample {
    /// So many a second, of which a share was answered within what `within` says.
    pub fn of(per_second: f64, within: impl Fn(f64) -> Duration) -> Sample {
        let latencies = SHARES.map(&within);
        Sample { per_second, p50: within(0.5), p99: within(0.99), max: within(1.0), latencies }
    }
}

/// Runs all sides in turn, `rounds` times, and gives the median of each number of each side. The side that begins
/// alternates, so that neither always follows the other's checkpoints.
pub fn rounds<const N: usize>(
    rounds: usize,
    mut sides: [Option<Side<'_>>; N],
) -> Result<[Option<Sample>; N]> {
    let mut samples = [const { Vec::new() }; N];
    for round in 0..rounds {
        for turn in 0..N {
            let side = (round + turn) % N;
            if let Some(run) = &mut sides[side] {
                samples[side].push(run()?);
            }
        }
    }
    Ok(samples.map(|samples| median(&samples)))
}

/// Measures one side for one interval.
pub type Side<'a> = Box<dyn FnMut() -> Result<Sample> + 'a>;

/// The median of each number; none of none.
fn median(samples: &[Sample]) -> Option<Sample> {
    if samples.is_empty() {
        return None;
    }
    let duration = |of: fn(&Sample) -> Duration| {
        Duration::from_secs_f64(middle(samples.iter().map(|sample| of(sample).as_secs_f64()).collect()))
    };
    Some(Sample {
        per_second: middle(samples.iter().map(|sample| sample.per_second).collect()),
        p50: duration(|sample| sample.p50),
        p99: duration(|sample| sample.p99),
        max: duration(|sample| sample.max),
        latencies: std::array::from_fn(|at| {
            let times = samples.iter().map(|sample| sample.latencies[at].as_secs_f64());
            Duration::from_secs_f64(middle(times.collect()))
        }),
    })
}

/// The median of at least one number: of an even count the mean of the middle two.
pub fn middle(mut numbers: Vec<f64>) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let half = numbers.len() / 2;
    if numbers.len() % 2 == 1 { numbers[half] } else { (numbers[half - 1] + numbers[half]) / 2.0 }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    #[test]
    fn sides_take_turns_and_each_number_has_its_own_median() {
        let order = RefCell::new(String::new());
        let side = |name: char, numbers: [f64; 3]| -> Side<'_> {
            let (order, mut numbers) = (&order, numbers.into_iter());
            Box::new(move || {
                order.borrow_mut().push(name);
                let number = numbers.next().ok_or("asked too often")?;
                let p99 = Duration::from_millis(10 - number as u64);
                Ok(Sample { per_second: number, p99, ..Sample::default() })
            })
        };
        let [a, b] = rounds(3, [Some(side('a', [9.0, 1.0, 2.0])), Some(side('b', [3.0, 4.0, 8.0]))]).unwrap();
        assert_eq!(*order.borrow(), "abbaab");
        let (a, b) = (a.unwrap(), b.unwrap());
        assert_eq!((a.per_second, a.p99), (2.0, Duration::from_millis(8)));
        assert_eq!((b.per_second, b.p99), (4.0, Duration::from_millis(6)));
        order.borrow_mut().clear();
        let sides = ['a', 'b', 'c'].map(|name| Some(side(name, [1.0, 2.0, 3.0])));
        rounds(3, sides).unwrap();
        assert_eq!(*order.borrow(), "abcbcacab", "each begins once");
    }

    #[test]
    fn a_side_that_is_left_out_has_no_sample() {
        let [a, b] = rounds(2, [None, Some(Box::new(|| Ok(Sample::default())))]).unwrap();
        assert_eq!((a, b), (None, Some(Sample::default())));
    }

    #[test]
    fn the_median_of_an_even_count_lies_between() {
        assert_eq!(middle(vec![4.0, 1.0, 3.0, 2.0]), 2.5);
    }
}

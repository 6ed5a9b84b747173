//! Makes the plan of a run that fails smaller, as long as it still fails: fewer steps, fewer derived fields, fewer writes.
//!
//! What is left is short enough to read: the schema and the few operations that it takes.

use std::collections::BTreeSet;

use crate::plan::Plan;
use crate::{Failure, Report};

/// Runs that are tried, at most.
const RUNS: usize = 1_500;

/// Runs a plan.
type Run<'a> = &'a mut dyn FnMut(&Plan) -> Result<Report, Box<Failure>>;

/// The failure of the smallest plan that was found.
pub fn shrink(failure: Box<Failure>, run: Run<'_>) -> Box<Failure> {
    let mut search = Search { failure, run, runs: 0 };
    // A run that cannot begin has nothing to leave out.
    if search.failure.step == 0 {
        return search.failure;
    }
    loop {
        let before = search.failure.plan.clone();
        search.cut_end();
        let steps: Vec<usize> = search.failure.plan.remaining().collect();
        search.leave_out(steps, &|plan, steps| plan.skipped.extend(steps));
        let fields = search.failure.derived.clone();
        search.leave_out(fields, &|plan, fields| plan.without.extend(fields.iter().cloned()));
        let writes = search.failure.writes.iter();
        let writes = writes.flat_map(|(step, count)| (0..*count).map(|write| (*step, write))).collect();
        search.leave_out(writes, &|plan, writes: &[(usize, usize)]| plan.dropped.extend(writes));
        if search.failure.plan == before || search.runs >= RUNS {
            return search.tidy();
        }
    }
}

struct Search<'a> {
    /// Of the smallest plan so far.
    failure: Box<Failure>,
    run: Run<'a>,
    runs: usize,
}

impl Search<'_> {
    /// Does this plan fail too, after it has begun? Then it is the one to go on from.
    fn fails(&mut self, plan: &Plan) -> bool {
        if self.runs >= RUNS {
            return false;
        }
        self.runs += 1;
        match (self.run)(plan) {
            Err(failure) if failure.step > 0 => {
                self.failure = failure;
                true
            }
            _ => false,
        }
    }

    /// Nothing after the step that fails.
    fn cut_end(&mut self) {
        let mut plan = self.failure.plan.clone();
        if self.failure.step < plan.steps {
            plan.steps = self.failure.step;
            self.fails(&plan);
        }
    }

    /// Leaves out as many of these as it can: halves first, then quarters, and so on down to each alone.
    fn leave_out<T: Clone + PartialEq>(&mut self, items: Vec<T>, cut: &dyn Fn(&mut Plan, &[T])) {
        let mut items = items;
        let mut size = items.len().div_ceil(2);
        while size > 0 {
            let mut kept = Vec::with_capacity(items.len());
            for part in items.chunks(size) {
                let mut plan = self.failure.plan.clone();
                cut(&mut plan, part);
                if plan == self.failure.plan || !self.fails(&plan) {
                    kept.extend_from_slice(part);
                }
            }
            items = kept;
            size = if size == 1 { 0 } else { size.div_ceil(2) };
        }
    }

    /// Without what no longer says anything: writes of steps that are left out.
    fn tidy(self) -> Box<Failure> {
        let mut failure = self.failure;
        let plan = &mut failure.plan;
        let steps: BTreeSet<usize> = plan.remaining().collect();
        plan.dropped.retain(|(step, _)| steps.contains(step));
        plan.skipped.retain(|step| *step <= plan.steps);
        failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run of 60 steps with 5 writes each that fails where step 7 has its second write, step 31 is run and a field
    /// is there.
    fn fails(plan: &Plan) -> Result<Report, Box<Failure>> {
        let steps: BTreeSet<usize> = plan.remaining().collect();
        let there = !plan.without.contains("Ant.b");
        if steps.contains(&7) && !plan.dropped.contains(&(7, 1)) && steps.contains(&31) && there {
            let writes = steps.iter().filter(|step| **step <= 31).map(|step| (*step, 5)).collect();
            let derived = ["a", "b", "c"].map(|name| format!("Ant.{name}"));
            let derived = derived.into_iter().filter(|name| !plan.without.contains(name)).collect();
            return Err(Box::new(Failure {
                plan: plan.clone(),
                step: 31,
                derived,
                writes,
                ..Failure::default()
            }));
        }
        Ok(Report::default())
    }

    #[test]
    fn what_has_no_part_in_it_is_left_out() {
        let failure = fails(&Plan::whole(1, 60)).expect_err("a failure");
        let shrunk = shrink(failure, &mut fails);
        assert_eq!(shrunk.plan.remaining().collect::<Vec<_>>(), [7, 31]);
        assert_eq!(shrunk.plan.without, ["Ant.a".to_owned(), "Ant.c".to_owned()].into());
        let left: Vec<_> = (0..5).filter(|write| !shrunk.plan.dropped.contains(&(7, *write))).collect();
        assert_eq!(left, [1]);
        assert_eq!(shrunk.plan.to_string().parse::<Plan>(), Ok(shrunk.plan.clone()));
    }
}

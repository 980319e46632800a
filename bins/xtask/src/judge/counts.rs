//! `counts`: what `bench-compare` counts is the same when it is counted again, so that a difference is a change's doing.

use super::Bench;
use crate::bench_compare::{self, Row};
use crate::setup;
use crate::step::Verdict;

/// In percent. Tables that are hashed with another seed in each process cost a little more or less.
const CHANGE_MAX: f64 = 0.1;

/// Counts some of the cases of `micro` twice, as the tests have built it: of how it was built nothing depends here.
pub(super) fn run(bench: &Bench) -> Verdict {
    if !setup::there_is("valgrind") {
        return Verdict::Missing("valgrind, whose callgrind counts".to_owned());
    }
    let rows = match bench_compare::again(bench.count as usize) {
        Ok(rows) => rows,
        Err(why) => return Verdict::Fail(why),
    };
    judge(&rows)
}

fn judge(rows: &[Row]) -> Verdict {
    let differs = |row: &&Row| row.change().is_none_or(|change| change.abs() > CHANGE_MAX);
    match rows.iter().find(differs) {
        None => Verdict::Pass(format!("{} cases, counted twice: the same within {CHANGE_MAX} %", rows.len())),
        Some(row) => Verdict::Fail(format!("counted twice, and another number: {row:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_that_costs_something_else_the_second_time_fails() {
        let row = |after| Row { name: "route/prefix".into(), before: Some(1_000.0), after };
        assert!(matches!(judge(&[row(Some(1_000.0)), row(Some(1_000.9))]), Verdict::Pass(_)));
        for after in [Some(1_002.0), Some(998.0), None] {
            assert!(matches!(judge(&[row(Some(1_000.0)), row(after)]), Verdict::Fail(_)), "{after:?}");
        }
    }
}

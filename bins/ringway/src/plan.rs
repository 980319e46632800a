//! Which CPUs the threads run on. The runtime knows what there is and how many workers that makes; here the options
//! are put to it.

use std::fmt;
use std::path::Path;

use ringway_runtime::cpus::{self, Placement};

use crate::args::{Pin, Tuning};

/// Who runs where.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// One entry per worker: the CPU that it is tied to.
    pub(crate) workers: Vec<Option<usize>>,
    /// Where the other threads run; empty: anywhere.
    housekeeping: Vec<usize>,
    /// Why this many workers.
    reason: String,
}

impl Plan {
    /// The plan for these options on this host.
    ///
    /// # Errors
    /// A list is none, or names a CPU that the process may not use.
    pub(crate) fn new(tuning: &Tuning) -> Result<Plan, String> {
        let affinity = cpus::affinity().map_err(|error| format!("the CPUs of this process are not known: {error}"))?;
        Self::on(tuning, &affinity, cpus::quota(Path::new("/")))
    }

    fn on(tuning: &Tuning, affinity: &[usize], quota: Option<f64>) -> Result<Plan, String> {
        let list = |flag: &str, text: &Option<String>| -> Result<Vec<usize>, String> {
            let Some(text) = text else { return Ok(vec![]) };
            let list = cpus::parse(text).map_err(|error| format!("--{flag}: {error}"))?;
            match list.iter().find(|cpu| !affinity.contains(cpu)) {
                Some(cpu) => Err(format!("--{flag}: this process may not use CPU {cpu}")),
                None => Ok(list),
            }
        };
        let chosen = list("cpus", &tuning.cpus)?;
        let housekeeping = list("housekeeping-cpus", &tuning.housekeeping_cpus)?;
        let Placement { cpus, workers, reason } = cpus::placement(Some(&chosen), tuning.concurrency, affinity, quota);
        // Tying workers to CPUs that others may use, too, costs more than it gives: `auto` does it only where the
        // owner named the CPUs.
        let homes: Vec<usize> = match tuning.pin {
            Pin::Off => vec![],
            Pin::On if cpus.is_empty() => affinity.iter().copied().filter(|cpu| !housekeeping.contains(cpu)).collect(),
            Pin::On | Pin::Auto => cpus,
        };
        if tuning.pin == Pin::On && homes.is_empty() {
            return Err("--pin on: no CPU is left for the workers".into());
        }
        let workers = (0..workers).map(|worker| homes.get(worker % homes.len().max(1)).copied()).collect();
        Ok(Plan { workers, housekeeping, reason })
    }

    /// Ties the calling thread, and those that it starts from now on, to the housekeeping CPUs.
    ///
    /// # Errors
    /// The kernel refuses them.
    pub(crate) fn keep_house(&self) -> Result<(), String> {
        if self.housekeeping.is_empty() {
            return Ok(());
        }
        cpus::pin_current_thread_to(&self.housekeeping).map_err(|error| format!("--housekeeping-cpus: {error}"))
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "workers: {} ({})", self.workers.len(), self.reason)?;
        let pinned: Vec<String> = self.workers.iter().flatten().map(ToString::to_string).collect();
        if !pinned.is_empty() {
            write!(f, ", on CPUs {}", pinned.join(","))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Io;
    use std::time::Duration;

    #[track_caller]
    fn check(cpus: &str, concurrency: usize, pin: Pin, housekeeping: &str, expect: Result<&[Option<usize>], &str>) {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let tuning = Tuning {
            concurrency: (concurrency > 0).then_some(concurrency),
            cpus: some(cpus),
            pin,
            housekeeping_cpus: some(housekeeping),
            io: Io::Auto,
            io_without: Default::default(),
            spin_us: 0,
            drain_time: Duration::ZERO,
        };
        match (Plan::on(&tuning, &[0, 1, 2, 3], Some(2.0)), expect) {
            (Ok(plan), Ok(expect)) => assert_eq!(plan.workers, expect),
            (Err(error), Err(expect)) => assert!(error.contains(expect), "{error}"),
            (found, expect) => panic!("{found:?} instead of {expect:?}"),
        }
    }

    #[test]
    fn workers_are_counted_and_placed() {
        check("", 0, Pin::Auto, "", Ok(&[None, None]));
        check("", 3, Pin::Auto, "", Ok(&[None, None, None]));
        check("3,1", 0, Pin::Auto, "0", Ok(&[Some(3), Some(1)]));
        check("3,1", 3, Pin::Auto, "0", Ok(&[Some(3), Some(1), Some(3)]));
        check("3,1", 0, Pin::Off, "", Ok(&[None, None]));
        check("", 0, Pin::On, "", Ok(&[Some(0), Some(1)]));
        check("", 0, Pin::On, "0", Ok(&[Some(1), Some(2)]));
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        check("4", 0, Pin::Auto, "", Err("--cpus: this process may not use CPU 4"));
        check("x", 0, Pin::Auto, "", Err("--cpus: "));
        check("", 0, Pin::Auto, "9", Err("--housekeeping-cpus: this process"));
        check("", 0, Pin::On, "0-3", Err("no CPU is left"));
    }
}

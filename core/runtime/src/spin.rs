//! Whether it pays to look for work before sleeping (`--spin-us`). Pure: time comes in as an argument.
//!
//! ```text
//!   Eager --fewer than HITS_MIN of the last 32 spins found work--> Cut: one probe per PROBE_SHARE spins' time
//!     ^------------------ HITS_MIN of the last 32 did ---------------/
//! ```
//! A spin saves a sleep and a wake-up when work comes soon, and burns the CPU otherwise. So the core spins as long as spins
//! find work; when they do not, it sleeps at once and only probes, which costs at most 1/`PROBE_SHARE` of the CPU. A probe that finds
//! work is followed by a spin at once, so that a busy phase is recognised within a few sleeps.
//!
//! Invariant: with a limit of zero it never spins.

use std::cell::Cell;
use std::time::Duration;

/// Of the last 32 spins so many must have found work: a spin that fails costs its whole length, one that succeeds on average half
/// and saves a wake-up of some 5 us; at the usual 20 to 50 us that breaks even near one in eight.
const HITS_MIN: u32 = 4;

/// After a cut, one probe in the time of so many spins: what finds nothing costs at most 0.4 % of a CPU.
const PROBE_SHARE: u64 = 256;

pub(crate) struct Spin {
    /// Nanoseconds, as all times here.
    limit: u64,
    /// One bit for each of the last 32 spins, the newest lowest: whether it found work.
    found: Cell<u32>,
    /// The earliest next probe.
    probe_at: Cell<u64>,
}

impl Spin {
    pub(crate) fn new(limit: Duration) -> Spin {
        Spin { limit: limit.as_nanos() as u64, found: Cell::new(u32::MAX), probe_at: Cell::new(0) }
    }

    /// Until when a core that is about to sleep should look for work; `None`: sleep at once.
    #[inline]
    pub(crate) fn until(&self, now: u64) -> Option<u64> {
        if self.limit == 0 { None } else { self.decide(now) }
    }

    fn decide(&self, now: u64) -> Option<u64> {
        let found = self.found.get();
        let pays = found.count_ones() >= HITS_MIN || found & 1 == 1;
        (pays || now >= self.probe_at.get()).then(|| now + self.limit)
    }

    /// A spin that ended at `now` found work, or did not.
    pub(crate) fn spun(&self, now: u64, found: bool) {
        self.found.set(self.found.get() << 1 | u32::from(found));
        self.probe_at.set(now + self.limit * PROBE_SHARE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sleeps that come every `gap_us`; work comes as the rows say: (sleeps, whether a spin finds work, spins expected).
    #[track_caller]
    fn check(limit_us: u64, gap_us: u64, rows: &[(u32, bool, u32)]) {
        let spin = Spin::new(Duration::from_micros(limit_us));
        let mut now = 1_000_000_000;
        for (row, (sleeps, work, expect)) in rows.iter().enumerate() {
            let mut spins = 0;
            for _ in 0..*sleeps {
                now += gap_us * 1000;
                if let Some(until) = spin.until(now) {
                    assert_eq!(until - now, limit_us * 1000);
                    spins += 1;
                    spin.spun(if *work { now } else { until }, *work);
                }
            }
            assert_eq!(spins, *expect, "row {row} of {rows:?}");
        }
    }

    #[test]
    fn a_limit_of_zero_never_spins() {
        check(0, 1, &[(1000, true, 0)]);
    }

    #[test]
    fn spins_that_find_work_go_on() {
        check(50, 100, &[(1000, true, 1000)]);
    }

    #[test]
    fn spins_that_find_nothing_are_cut_to_probes() {
        // 29 failures leave three hits of 32. Then one probe in 256 x 50 us, which is 128 sleeps of 100 us (and the failed spin).
        check(50, 100, &[(29, false, 29), (1280, false, 9)]);
        // Sleeps further apart than the probes' distance: each is probed, at 50 us in 20 ms.
        check(50, 20_000, &[(29, false, 29), (100, false, 100)]);
    }

    #[test]
    fn a_busy_phase_is_recognised_by_one_probe() {
        check(50, 100, &[(29, false, 29), (2000, false, 15), (129, true, 66), (100, true, 100)]);
    }
}

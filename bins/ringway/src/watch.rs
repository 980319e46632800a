//! The control thread's look at the workers' loops, once a second: how busy each was, and who held it for too long.
//!
//! Reads what a loop leaves for everybody, and never wakes or waits for one: a worker that is stuck is seen as well as one that is
//! not. Pure: time and readings come in as arguments.
//! Invariant: one line about a worker in [`SAY_EVERY`], whatever happens on it.

use std::sync::Arc;
use std::time::Duration;

use ringway_runtime::{Instant, LoopStats, Stall};

/// The shortest time between two lines about one worker. A task that stalls in each turn would else write a log of its own.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// A task that has held its loop so long is said to be stuck while it still is: ten times the budget of a stall.
const STUCK: Duration = Duration::from_millis(100);

/// What a loop says of itself at one instant.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    /// Time in turns, since the start.
    pub(crate) busy: Duration,
    /// CPU time of the thread, since the start.
    pub(crate) cpu: Duration,
    /// Stalls so far.
    pub(crate) stalls: u64,
    /// The last one.
    pub(crate) last_stall: Option<Stall>,
    /// What has held the loop, and for how long, in the turn under way.
    pub(crate) hold: Option<(&'static str, Duration)>,
}

impl Reading {
    /// Reads a loop.
    pub(crate) fn of(stats: &LoopStats, now: Instant) -> Reading {
        Reading {
            busy: Duration::from_nanos(stats.busy_ns.get()),
            cpu: stats.cpu_time().unwrap_or_default(),
            stalls: stats.stalls.get(),
            last_stall: stats.last_stall(),
            hold: stats.hold(now).map(|hold| (hold.kind, hold.held)),
        }
    }
}

/// Shares of the last period, in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Load {
    /// Of the wall time, in turns: what the loop itself did.
    pub(crate) busy: f64,
    /// Of one CPU, by the thread: the kernel's work for it, too.
    pub(crate) cpu: f64,
}

struct Seen {
    at: Instant,
    reading: Reading,
    load: Load,
    said: Option<Instant>,
    stalls_said: u64,
}

/// All workers, as last seen.
pub(crate) struct Watch {
    loops: Vec<Arc<LoopStats>>,
    seen: Vec<Seen>,
}

impl Watch {
    /// A watch that begins at `now`.
    pub(crate) fn new(loops: Vec<Arc<LoopStats>>, now: Instant) -> Watch {
        let seen = loops.iter().map(|stats| Seen::new(now, Reading::of(stats, now))).collect();
        Watch { loops, seen }
    }

    /// Looks at all workers; returns what there is to say.
    pub(crate) fn look(&mut self, now: Instant) -> Vec<String> {
        let seen = self.loops.iter().zip(&mut self.seen).enumerate();
        seen.filter_map(|(worker, (stats, seen))| {
            let text = seen.look(now, Reading::of(stats, now))?;
            Some(format!("worker {worker}: {text}"))
        })
        .collect()
    }

    /// The load of a worker in the last period.
    pub(crate) fn load(&self, worker: usize) -> Load {
        self.seen.get(worker).map(|seen| seen.load).unwrap_or_default()
    }
}

impl Seen {
    fn new(at: Instant, reading: Reading) -> Seen {
        Seen { at, stalls_said: reading.stalls, reading, load: Load::default(), said: None }
    }

    fn look(&mut self, now: Instant, reading: Reading) -> Option<String> {
        let wall = now.saturating_duration_since(self.at);
        if !wall.is_zero() {
            let percent = |part: Duration| 100.0 * part.as_secs_f64() / wall.as_secs_f64();
            // A turn that began before this period ends within it as a whole.
            let busy = percent(reading.busy.saturating_sub(self.reading.busy)).min(100.0);
            self.load = Load { busy, cpu: percent(reading.cpu.saturating_sub(self.reading.cpu)) };
        }
        (self.at, self.reading) = (now, reading);
        if self.said.is_some_and(|said| now < said + SAY_EVERY) {
            return None;
        }
        let reading = &self.reading;
        let stuck = reading.hold.filter(|(_, held)| *held >= STUCK);
        if stuck.is_none() && reading.stalls == self.stalls_said {
            return None;
        }
        self.said = Some(now);
        if let Some((kind, held)) = stuck {
            return Some(format!("task {kind:?} has held the loop for {} ms and still does", held.as_millis()));
        }
        let count = reading.stalls - self.stalls_said;
        self.stalls_said = reading.stalls;
        let (kind, ms) = reading.last_stall.as_ref().map_or(("", 0), |stall| (&*stall.kind, stall.held.as_millis()));
        Some(format!("{count} stalls; in the last one task {kind:?} held the loop for {ms} ms"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    /// Looks at the given seconds; expects what is said at each.
    #[track_caller]
    fn check(rows: &[(u64, u64, Option<u64>, &str)]) {
        let start = Instant::now();
        let mut seen = Seen::new(start, Reading::default());
        for (second, stalls, held, expect) in rows {
            let stall = Stall { kind: "slow".into(), held: ms(23), polls: 1, at: start };
            let reading = Reading {
                stalls: *stalls,
                last_stall: (*stalls > 0).then_some(stall),
                hold: held.map(|held| ("stuck", ms(held))),
                ..Reading::default()
            };
            let said = seen.look(start + Duration::from_secs(*second), reading);
            assert_eq!(said.unwrap_or_default(), *expect, "second {second}");
        }
    }

    #[test]
    fn a_stall_is_said_once_and_seldom() {
        check(&[
            (1, 0, None, ""),
            (2, 1, None, "1 stalls; in the last one task \"slow\" held the loop for 23 ms"),
            (3, 4, None, ""),
            (11, 5, None, ""),
            (12, 6, None, "5 stalls; in the last one task \"slow\" held the loop for 23 ms"),
            (30, 6, None, ""),
        ]);
    }

    #[test]
    fn what_is_stuck_is_said_while_it_is() {
        check(&[
            (1, 0, Some(99), ""),
            (2, 0, Some(1099), "task \"stuck\" has held the loop for 1099 ms and still does"),
            (3, 0, Some(2099), ""),
            (12, 0, Some(11_099), "task \"stuck\" has held the loop for 11099 ms and still does"),
            (22, 1, None, "1 stalls; in the last one task \"slow\" held the loop for 23 ms"),
        ]);
    }

    #[test]
    fn load_is_of_the_last_period() {
        let start = Instant::now();
        let mut seen = Seen::new(start, Reading { busy: ms(500), cpu: ms(700), ..Reading::default() });
        for (at, busy, cpu, expect) in [
            (1000, 750, 1200, Load { busy: 25.0, cpu: 50.0 }),
            (3000, 750, 1200, Load { busy: 0.0, cpu: 0.0 }),
            (4000, 9999, 2200, Load { busy: 100.0, cpu: 100.0 }),
        ] {
            seen.look(start + ms(at), Reading { busy: ms(busy), cpu: ms(cpu), ..Reading::default() });
            assert_eq!(seen.load, expect, "{at}");
        }
    }
}

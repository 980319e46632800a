//! When requests are due in open loop: at a constant rate, or as a Poisson process, from a slow start where one is asked for.
//!
//! It never waits and never looks at a clock: it gives the times, one after another. In both processes a request comes each time that
//! some amount of *work* has passed (1, or an exponential); the rate says how fast work passes, and that is what a ramp bends.

use std::time::Duration;

use crate::chance::Chance;

/// What is due later is due behind the end of any run: two years, in seconds.
const NEVER_S: f64 = 2.0 * 366.0 * 86_400.0;

/// How requests follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrivals {
    /// Evenly.
    Constant,
    /// Independently of each other, as those of many users do.
    Poisson,
}

/// One core's part of the schedule.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    /// Requests a second, once the ramp is over.
    rate: f64,
    /// Seconds in which the rate grows from nothing.
    ramp: f64,
    arrivals: Arrivals,
    chance: Chance,
    /// Work up to the request that is next.
    work: f64,
}

impl Schedule {
    /// The part of core `core` of `cores`: they take turns where requests come evenly.
    pub(crate) fn new(
        rate: f64,
        arrivals: Arrivals,
        ramp: Duration,
        seed: u64,
        (core, cores): (usize, usize),
    ) -> Schedule {
        assert!(rate > 0.0 && core < cores, "a rate, and one of the cores");
        let mut schedule = Schedule {
            rate: rate / cores as f64,
            ramp: ramp.as_secs_f64(),
            arrivals,
            chance: Chance::of(seed, core as u64),
            work: 0.0,
        };
        schedule.work = match arrivals {
            Arrivals::Constant => (core + 1) as f64 / cores as f64,
            Arrivals::Poisson => schedule.chance.exponential(),
        };
        schedule
    }

    /// When the next request is due, since the start.
    pub(crate) fn next_at(&self) -> Duration {
        let ramped = self.rate * self.ramp / 2.0;
        let seconds = if self.work < ramped {
            (2.0 * self.ramp * self.work / self.rate).sqrt()
        } else {
            self.ramp / 2.0 + self.work / self.rate
        };
        Duration::from_secs_f64(seconds.min(NEVER_S))
    }

    /// Goes on to the one behind it.
    pub(crate) fn advance(&mut self) {
        self.work += match self.arrivals {
            Arrivals::Constant => 1.0,
            Arrivals::Poisson => self.chance.exponential(),
        };
    }

    /// How many requests are due from the next one up to `until`: of a Poisson process, on average.
    pub(crate) fn left(&self, until: Duration) -> u64 {
        let work = due(self.rate, Duration::from_secs_f64(self.ramp), until.as_secs_f64());
        (work - self.work + 1.0).max(0.0) as u64
    }
}

/// How many requests are due in so many seconds since the start, where the rate grows so long from nothing: on average.
pub(crate) fn due(rate: f64, ramp: Duration, seconds: f64) -> f64 {
    let ramp = ramp.as_secs_f64();
    if seconds < ramp { rate * seconds * seconds / (2.0 * ramp) } else { rate * (seconds - ramp / 2.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(mut schedule: Schedule, until: Duration) -> Vec<Duration> {
        let mut times = Vec::new();
        while schedule.next_at() < until {
            times.push(schedule.next_at());
            schedule.advance();
        }
        times
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn constant_ones_are_even_and_cores_take_turns() {
        let of = |core| Schedule::new(100.0, Arrivals::Constant, Duration::ZERO, 1, (core, 2));
        let [first, second] = [0, 1].map(|core| times(of(core), SECOND));
        let ms = |times: &[Duration]| times[..3].iter().map(Duration::as_millis).collect::<Vec<_>>();
        assert_eq!((ms(&first), ms(&second)), (vec![10, 30, 50], vec![20, 40, 60]));
        assert_eq!(of(0).left(SECOND), 50);
    }

    #[test]
    fn poisson_ones_have_the_rate_and_spread_of_one() {
        let schedule = Schedule::new(10_000.0, Arrivals::Poisson, Duration::ZERO, 3, (0, 1));
        let times = times(schedule, 10 * SECOND);
        assert!((99_000..101_000).contains(&times.len()), "{}", times.len());
        let gaps: Vec<f64> = times.windows(2).map(|two| (two[1] - two[0]).as_secs_f64() * 1e4).collect();
        let variance = gaps.iter().map(|gap| (gap - 1.0).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((0.95..1.05).contains(&variance), "{variance}");
    }

    #[test]
    fn a_ramp_has_half_of_the_requests() {
        let schedule = Schedule::new(1_000.0, Arrivals::Constant, SECOND, 1, (0, 1));
        let times = times(schedule.clone(), 2 * SECOND);
        let early = times.iter().filter(|time| **time <= SECOND).count();
        assert_eq!(early, 500);
        assert!((1_499..=1_500).contains(&times.len()), "{}", times.len());
        assert!(schedule.left(2 * SECOND).abs_diff(times.len() as u64) <= 1);
        assert!(times.windows(2).all(|two| two[0] < two[1]), "in order");
    }

    /// Times of a rate so small are none that a clock has.
    #[test]
    fn what_is_due_after_all_runs_has_a_time() {
        for arrivals in [Arrivals::Constant, Arrivals::Poisson] {
            let schedule = Schedule::new(1e-300, arrivals, SECOND, 1, (1, 2));
            assert_eq!(schedule.next_at(), Duration::from_secs_f64(NEVER_S));
            assert_eq!(schedule.left(SECOND), 0);
        }
    }

    #[test]
    fn a_seed_repeats() {
        let of = |seed| times(Schedule::new(100.0, Arrivals::Poisson, Duration::ZERO, seed, (0, 1)), SECOND);
        assert_eq!(of(5), of(5));
        assert_ne!(of(5), of(6));
    }
}

//! What one core measures, second by second.
//!
//! A second is a value: the core sends it off when it is over, and keeps only the one that runs. Sums of seconds, over cores or over
//! time, are seconds again.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::Duration;

use hdrhistogram::Histogram;
use ringway_runtime::Instant;

use crate::expect::Answer;
use crate::failure::{Failure, Failures};
use crate::pacing::Job;

/// Digits to which times are known.
const DIGITS: u8 = 3;

/// A histogram of nanoseconds, as small as its greatest value lets it be.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new(DIGITS).expect("three digits")
}

/// From when until when, since the start, what is told of as one second was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interval {
    pub(crate) from: Duration,
    pub(crate) until: Duration,
}

/// What a second is told of by.
const SECOND: Duration = Duration::from_secs(1);

impl Interval {
    /// The first: a whole second, unless the warm-up does not last whole ones. Then it is what that has beyond them, so that each lies within it or
    /// behind it.
    pub(crate) fn first(warm_up: Duration) -> Interval {
        let part = Duration::from_nanos(warm_up.subsec_nanos().into());
        Interval { from: Duration::ZERO, until: if part.is_zero() { SECOND } else { part } }
    }

    /// The second behind it.
    pub(crate) fn next(self) -> Interval {
        Interval { from: self.until, until: self.until + SECOND }
    }

    pub(crate) fn length(self) -> Duration {
        self.until - self.from
    }
}

/// What was measured in a second, or in several.
#[derive(Clone, Debug)]
pub(crate) struct Second {
    /// Requests that went out.
    pub(crate) sent: u64,
    /// Answers that were as expected.
    pub(crate) answered: u64,
    pub(crate) failures: Failures,
    pub(crate) statuses: BTreeMap<u16, u64>,
    /// Of bodies: what came, and what was sent.
    pub(crate) bytes_received: u64,
    pub(crate) bytes_sent: u64,
    /// Of gRPC: what came.
    pub(crate) messages_received: u64,
    pub(crate) connections: u64,
    /// From when it was due to the end of its answer, of all that were answered whole.
    pub(crate) latency: Histogram<u64>,
    /// From when it was sent: what a closed loop would have seen.
    pub(crate) service: Histogram<u64>,
    /// From when it was due to when the generator looked.
    pub(crate) late: Histogram<u64>,
    /// From connecting to the end of the handshake, TLS's too.
    pub(crate) connect: Histogram<u64>,
    /// From when no more became due to the end of the answer, of those that were answered as expected and later than that.
    pub(crate) after: Histogram<u64>,
    /// The shortest latency of those that were answered as expected, in nanoseconds.
    pub(crate) least: Option<u64>,
}

impl Default for Second {
    fn default() -> Second {
        let [latency, service, late, connect, after] = [(); 5].map(|()| histogram());
        Second {
            sent: 0,
            answered: 0,
            failures: Failures::default(),
            statuses: BTreeMap::new(),
            bytes_received: 0,
            bytes_sent: 0,
            messages_received: 0,
            connections: 0,
            latency,
            service,
            late,
            connect,
            after,
            least: None,
        }
    }
}

impl Second {
    /// Adds what another core, or a later second, measured.
    pub(crate) fn merge(&mut self, other: &Second) {
        self.sent += other.sent;
        self.answered += other.answered;
        self.failures.merge(&other.failures);
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        self.bytes_received += other.bytes_received;
        self.bytes_sent += other.bytes_sent;
        self.messages_received += other.messages_received;
        self.connections += other.connections;
        self.least = self.least.into_iter().chain(other.least).min();
        for (mine, theirs) in [
            (&mut self.latency, &other.latency),
            (&mut self.service, &other.service),
            (&mut self.late, &other.late),
            (&mut self.connect, &other.connect),
            (&mut self.after, &other.after),
        ] {
            mine.add(theirs).expect("it grows as it has to");
        }
    }
}

/// The second that runs.
#[derive(Debug)]
pub(crate) struct Tally {
    second: RefCell<Second>,
    /// What was due earlier is not counted.
    from: Cell<Instant>,
    /// What is answered later is answered after the end; `None`: nothing is.
    until: Cell<Option<Instant>>,
    is_open_loop: bool,
}

fn record(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.record(time.as_nanos() as u64).expect("it grows as it has to");
}

impl Tally {
    pub(crate) fn new(now: Instant, is_open_loop: bool) -> Tally {
        Tally { second: RefCell::default(), from: Cell::new(now), until: Cell::new(None), is_open_loop }
    }

    /// What is due from then on counts. Nothing becomes due from `until` on, if that is known.
    pub(crate) fn count_from(&self, from: Instant, until: Option<Instant>) {
        self.from.set(from);
        self.until.set(until);
    }

    /// The second that is over.
    pub(crate) fn take(&self) -> Second {
        self.second.take()
    }

    /// Whether it is measured.
    pub(crate) fn counts(&self, job: Job) -> bool {
        job.due >= self.from.get()
    }

    pub(crate) fn sent(&self, job: Job, bytes: u64) {
        if self.counts(job) {
            let mut second = self.second.borrow_mut();
            second.sent += 1;
            second.bytes_sent += bytes;
        }
    }

    /// A whole answer, and what is wrong with it.
    pub(crate) fn answered(&self, (job, sent): (Job, Instant), now: Instant, answer: &Answer, wrong: Option<Failure>) {
        if !self.counts(job) {
            return;
        }
        let second = &mut *self.second.borrow_mut();
        record(&mut second.latency, now - job.due);
        if self.is_open_loop {
            record(&mut second.service, now - sent);
        }
        second.bytes_received += answer.body.bytes;
        second.messages_received += answer.body.messages().unwrap_or(0);
        if answer.status != 0 {
            *second.statuses.entry(answer.status).or_default() += 1;
        }
        match wrong {
            None => {
                second.answered += 1;
                let latency = (now - job.due).as_nanos() as u64;
                second.least = Some(second.least.map_or(latency, |least| least.min(latency)));
                if let Some(until) = self.until.get().filter(|until| *until < now) {
                    record(&mut second.after, now - until);
                }
            }
            Some(failure) => second.failures.add(failure, 1),
        }
    }

    /// There is no whole answer.
    pub(crate) fn failed(&self, job: Job, failure: Failure) {
        if self.counts(job) {
            self.second.borrow_mut().failures.add(failure, 1);
        }
    }

    /// Why something failed, which it gives back.
    pub(crate) fn because(&self, failure: Failure, why: impl Display) -> Failure {
        self.second.borrow_mut().failures.because(failure, why);
        failure
    }

    /// So many had no answer when the run's time, and the timeout behind it, were over.
    pub(crate) fn unanswered(&self, count: u64) {
        self.second.borrow_mut().failures.add(Failure::Timeout, count);
    }

    /// The schedule looked at a request so long after it was due.
    pub(crate) fn late(&self, job: Job, late: Duration) {
        if self.counts(job) {
            record(&mut self.second.borrow_mut().late, late);
        }
    }

    /// A connection was made.
    pub(crate) fn connected(&self, time: Duration) {
        let mut second = self.second.borrow_mut();
        second.connections += 1;
        record(&mut second.connect, time);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expect::{Body, Expect};

    #[test]
    fn no_second_is_half_of_the_warm_up() {
        let ms = Duration::from_millis;
        for (warm_up, ends) in [(0, [1000, 2000, 3000]), (2000, [1000, 2000, 3000]), (1250, [250, 1250, 2250])] {
            let intervals = std::iter::successors(Some(Interval::first(ms(warm_up))), |last| Some(last.next()));
            let intervals: Vec<Interval> = intervals.take(3).collect();
            assert_eq!(intervals.iter().map(|one| one.until).collect::<Vec<_>>(), ends.map(ms), "{warm_up}");
            assert!(intervals.iter().all(|one| one.until <= ms(warm_up) || one.from >= ms(warm_up)), "{warm_up}");
            assert!(intervals.windows(2).all(|two| two[0].until == two[1].from && two[1].length() == SECOND));
        }
    }

    #[test]
    fn warm_up_is_not_counted_and_seconds_add_up() {
        let now = Instant::now();
        let ms = |ms| now + Duration::from_millis(ms);
        let tally = Tally::new(now, true);
        tally.count_from(ms(10), Some(ms(25)));
        let answer = |status| Answer { status, grpc_status: None, body: Body::new(&Expect::default()) };
        tally.answered((Job { due: ms(9) }, ms(9)), ms(20), &answer(200), None);
        tally.answered((Job { due: ms(10) }, ms(15)), ms(20), &answer(200), None);
        tally.failed(Job { due: ms(9) }, Failure::Reset);
        let mut all = tally.take();
        tally.answered((Job { due: ms(12) }, ms(12)), ms(32), &answer(503), Some(Failure::Status));
        tally.answered((Job { due: ms(20) }, ms(20)), ms(30), &answer(200), None);
        tally.failed(Job { due: ms(30) }, Failure::Timeout);
        all.merge(&tally.take());
        assert_eq!((all.answered, all.failures.total(), all.latency.len(), all.after.len()), (2, 2, 3, 1));
        assert!((4_990_000..=5_010_000).contains(&all.after.max()));
        assert_eq!(all.statuses.into_iter().collect::<Vec<_>>(), [(200, 2), (503, 1)]);
        assert!(all.latency.max() >= 20_000_000 && all.latency.min() <= 10_010_000 && all.service.min() <= 5_005_000);
    }
}

//! What may happen to a request, by who asked whom for what; and the count of what did.
//!
//! Pure but for the count: a row of the table in [`allowed`] is all that decides.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

/// Whom a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Target {
    /// An origin that does all right.
    Healthy,
    /// The same, in a cluster whose name changes with each reload.
    Passing,
    /// A right one that is stopped and continued at random (SIGSTOP).
    Frozen,
    /// One that does what the request's manner says.
    Broken,
    /// A right one behind a network that loses, resets and limits.
    Lossy,
    /// Nobody listens.
    Refusing,
    /// Connections are never answered.
    Silent,
}

impl Target {
    /// The word for it in a path and in tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Target::Healthy => "healthy",
            Target::Passing => "passing",
            Target::Frozen => "frozen",
            Target::Broken => "broken",
            Target::Lossy => "lossy",
            Target::Refusing => "refusing",
            Target::Silent => "silent",
        }
    }

    /// The `timeout` of its route.
    pub(super) fn timeout(self) -> Option<Duration> {
        match self {
            Target::Healthy | Target::Passing => None,
            Target::Lossy => Some(Duration::from_secs(5)),
            Target::Frozen | Target::Broken | Target::Refusing | Target::Silent => Some(Duration::from_secs(2)),
        }
    }
}

/// How an origin answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Manner {
    /// At once and whole.
    Whole,
    /// Whole, a little later.
    Delayed,
    /// Whole, in small pieces with pauses.
    Trickled,
    /// Whole, after it has read the request's body slowly.
    SlowlyRead,
    /// Whole, with `connection: close`.
    ClosedAfter,
    /// Whole, and then it closes without a word.
    ClosedSilently,
    /// Whole, before it has read the request's body, and closes.
    Early,
    /// Half of the body, then it closes.
    Short,
    /// Half of the body, then it resets.
    ShortReset,
    /// No answer: it closes.
    Closed,
    /// No answer: it resets.
    Reset,
    /// Something that is not HTTP.
    Garbage,
    /// Whole, but after the route's time.
    Late,
}

/// What an origin's manner leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Promise {
    Whole,
    Cut,
    Nothing,
}

impl Manner {
    pub(super) const ALL: [Manner; 13] = [
        Manner::Whole,
        Manner::Delayed,
        Manner::Trickled,
        Manner::SlowlyRead,
        Manner::ClosedAfter,
        Manner::ClosedSilently,
        Manner::Early,
        Manner::Short,
        Manner::ShortReset,
        Manner::Closed,
        Manner::Reset,
        Manner::Garbage,
        Manner::Late,
    ];
    /// Those of an origin that does all right.
    pub(super) const RIGHT: [Manner; 5] =
        [Manner::Whole, Manner::Whole, Manner::Delayed, Manner::Trickled, Manner::SlowlyRead];

    /// The word for it in a path and in tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Manner::Whole => "whole",
            Manner::Delayed => "delayed",
            Manner::Trickled => "trickled",
            Manner::SlowlyRead => "slowly-read",
            Manner::ClosedAfter => "closed-after",
            Manner::ClosedSilently => "closed-silently",
            Manner::Early => "early",
            Manner::Short => "short",
            Manner::ShortReset => "short-reset",
            Manner::Closed => "closed",
            Manner::Reset => "reset",
            Manner::Garbage => "garbage",
            Manner::Late => "late",
        }
    }

    /// The manner of this word.
    pub(super) fn named(word: &str) -> Option<Manner> {
        Manner::ALL.into_iter().find(|manner| manner.name() == word)
    }

    fn promise(self) -> Promise {
        match self {
            Manner::Whole
            | Manner::Delayed
            | Manner::Trickled
            | Manner::SlowlyRead
            | Manner::ClosedAfter
            | Manner::ClosedSilently
            | Manner::Early => Promise::Whole,
            Manner::Short | Manner::ShortReset => Promise::Cut,
            Manner::Closed | Manner::Reset | Manner::Garbage | Manner::Late => Promise::Nothing,
        }
    }
}

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Class {
    /// One request after the other.
    Staying,
    /// Several requests at once.
    Pipelined,
    /// A connection for one request.
    Fresh,
    /// Reads slowly.
    SlowReader,
    /// Sends its head byte by byte and its body in small pieces.
    SlowSender,
    /// Right, but over a network that loses and resets.
    Faraway,
    /// Shuts its side down after the request.
    HalfClosed,
    /// Breaks off, by a close or a reset, somewhere.
    Rude,
}

impl Class {
    /// The word for it in tables.
    pub(super) fn name(self) -> &'static str {
        match self {
            Class::Staying => "staying",
            Class::Pipelined => "pipelined",
            Class::Fresh => "fresh",
            Class::SlowReader => "slow reader",
            Class::SlowSender => "slow sender",
            Class::Faraway => "faraway",
            Class::HalfClosed => "half-closed",
            Class::Rude => "rude",
        }
    }
}

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The origin's answer, every byte right.
    Exact,
    /// A complete answer of the proxy's own.
    Local(u16),
    /// The head and a right beginning of the body.
    Cut,
    /// No answer, or not all of its head; or a local one that was cut.
    Lost,
    /// The client did not wait for it.
    Left,
    /// Nothing came for longer than anything may take.
    Hung,
    /// What nobody may ever send.
    Wrong(String),
}

impl Outcome {
    fn name(&self) -> String {
        match self {
            Outcome::Exact => "exact".to_owned(),
            Outcome::Local(status) => status.to_string(),
            Outcome::Cut => "cut".to_owned(),
            Outcome::Lost => "lost".to_owned(),
            Outcome::Left => "left".to_owned(),
            Outcome::Hung => "hung".to_owned(),
            Outcome::Wrong(_) => "wrong".to_owned(),
        }
    }
}

/// A clock that is read a moment after the proxy's.
const CLOCK_SLACK: Duration = Duration::from_millis(100);

/// Whether this may happen.
pub(super) fn allowed(class: Class, target: Target, manner: Manner, outcome: &Outcome, took: Duration) -> bool {
    match class {
        Class::Staying | Class::Pipelined | Class::Fresh | Class::SlowReader | Class::SlowSender => {}
        // What its network or the client itself broke off is nobody's fault: a request that does not come is a 408, and a
        // lost reset leaves one side waiting. Other bytes and an origin's error that was none are ours all the same.
        Class::Faraway | Class::HalfClosed | Class::Rude => {
            return match outcome {
                Outcome::Wrong(_) => false,
                Outcome::Local(408) | Outcome::Exact | Outcome::Cut | Outcome::Lost | Outcome::Left => true,
                Outcome::Local(status) => {
                    matches!(status, 502..=504) && !matches!(target, Target::Healthy | Target::Passing)
                }
                Outcome::Hung => class == Class::Faraway,
            };
        }
    }
    match outcome {
        Outcome::Hung | Outcome::Wrong(_) => return false,
        Outcome::Local(status) if !matches!(status, 502..=504) => return false,
        _ => {}
    }
    // After its time the route cuts off what has begun.
    let late = target.timeout().is_some_and(|timeout| took + CLOCK_SLACK >= timeout);
    match (outcome, target) {
        (Outcome::Exact, Target::Healthy | Target::Passing | Target::Frozen | Target::Lossy) => true,
        (Outcome::Exact, Target::Broken) => manner.promise() == Promise::Whole,
        (Outcome::Local(_), Target::Healthy | Target::Passing) => false,
        (Outcome::Local(_), _) => true,
        (Outcome::Cut, Target::Lossy) => true,
        (Outcome::Cut, Target::Frozen) => late,
        (Outcome::Cut, Target::Broken) => late || manner.promise() == Promise::Cut,
        _ => false,
    }
}

/// The count of one proxy's requests.
#[derive(Debug)]
pub(super) struct Account {
    side: &'static str,
    counts: Mutex<Counts>,
}

/// What was counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    /// By class, target and outcome.
    rows: BTreeMap<(Class, Target, String), u64>,
    /// All requests.
    pub(super) requests: u64,
    /// Those whose outcome is not allowed.
    pub(super) failures: u64,
    /// The slowest allowed request to a healthy origin by who does not dawdle.
    pub(super) slowest: Duration,
    /// Connections.
    pub(super) connections: u64,
}

/// Failures told in words; all are counted.
const TOLD_MAX: u64 = 50;

impl Account {
    /// An empty account of the proxy of this name.
    pub(super) fn new(side: &'static str) -> Account {
        Account { side, counts: Mutex::default() }
    }

    /// Notes a connection.
    pub(super) fn connected(&self) {
        self.counts.lock().expect("no client panicked").connections += 1;
    }

    /// Judges and counts one request; `what` names it if it is to be told.
    pub(super) fn record(
        &self,
        class: Class,
        target: Target,
        manner: Manner,
        outcome: &Outcome,
        took: Duration,
        what: &str,
    ) {
        let right = allowed(class, target, manner, outcome, took);
        let mut counts = self.counts.lock().expect("no client panicked");
        counts.requests += 1;
        *counts.rows.entry((class, target, outcome.name())).or_default() += 1;
        let brisk = matches!(class, Class::Staying | Class::Fresh | Class::Pipelined);
        if right && brisk && matches!(target, Target::Healthy | Target::Passing) {
            counts.slowest = counts.slowest.max(took);
        }
        if !right {
            counts.failures += 1;
            if counts.failures <= TOLD_MAX {
                println!(
                    "  FAILED on {}: {}, {} {}: {outcome:?} after {} ms: {what}",
                    self.side,
                    class.name(),
                    target.name(),
                    manner.name(),
                    took.as_millis()
                );
            }
        }
    }

    /// What was counted so far.
    pub(super) fn counts(&self) -> Counts {
        self.counts.lock().expect("no client panicked").clone()
    }
}

impl Counts {
    /// One line for each class and target.
    pub(super) fn table(&self) -> Vec<String> {
        let mut lines: BTreeMap<(Class, Target), String> = BTreeMap::new();
        for ((class, target, outcome), count) in &self.rows {
            let line =
                lines.entry((*class, *target)).or_insert_with(|| format!("{:<12} {:<9}", class.name(), target.name()));
            line.push_str(&format!(" {outcome} {count}"));
        }
        lines.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(10);

    #[track_caller]
    fn check(class: Class, target: Target, manner: Manner, outcome: Outcome, took: Duration, expect: bool) {
        assert_eq!(
            allowed(class, target, manner, &outcome, took),
            expect,
            "{class:?} {target:?} {manner:?} {outcome:?}"
        );
    }

    #[test]
    fn a_healthy_origin_is_always_heard() {
        for outcome in [Outcome::Local(503), Outcome::Cut, Outcome::Lost, Outcome::Hung, Outcome::Wrong(String::new())]
        {
            for class in [Class::Staying, Class::Pipelined, Class::Fresh, Class::SlowReader, Class::SlowSender] {
                check(class, Target::Healthy, Manner::Whole, outcome.clone(), SOON, false);
            }
        }
        check(Class::Fresh, Target::Healthy, Manner::Whole, Outcome::Exact, SOON, true);
    }

    #[test]
    fn a_cut_is_blamed_on_who_cut() {
        check(Class::Fresh, Target::Broken, Manner::Short, Outcome::Cut, SOON, true);
        check(Class::Fresh, Target::Broken, Manner::Whole, Outcome::Cut, SOON, false);
        check(Class::Fresh, Target::Broken, Manner::Short, Outcome::Exact, SOON, false);
        check(Class::Fresh, Target::Frozen, Manner::Whole, Outcome::Cut, SOON, false);
        check(Class::Fresh, Target::Frozen, Manner::Whole, Outcome::Cut, Duration::from_secs(2), true);
        check(Class::Faraway, Target::Healthy, Manner::Whole, Outcome::Cut, SOON, true);
        check(Class::Faraway, Target::Healthy, Manner::Whole, Outcome::Local(503), SOON, false);
        check(Class::Faraway, Target::Healthy, Manner::Whole, Outcome::Local(408), SOON, true);
        check(Class::Faraway, Target::Healthy, Manner::Whole, Outcome::Hung, SOON, true);
        check(Class::HalfClosed, Target::Healthy, Manner::Whole, Outcome::Hung, SOON, false);
    }

    #[test]
    fn every_request_of_a_right_client_gets_an_answer() {
        for target in [Target::Frozen, Target::Broken, Target::Lossy, Target::Refusing, Target::Silent] {
            check(Class::Staying, target, Manner::Closed, Outcome::Lost, SOON, false);
            check(Class::Staying, target, Manner::Closed, Outcome::Local(503), SOON, true);
            check(Class::Staying, target, Manner::Closed, Outcome::Local(500), SOON, false);
        }
        check(Class::Rude, Target::Broken, Manner::Closed, Outcome::Lost, SOON, true);
    }

    #[test]
    fn a_manner_is_known_by_its_word() {
        for manner in Manner::ALL {
            assert_eq!(Manner::named(manner.name()), Some(manner));
        }
    }
}

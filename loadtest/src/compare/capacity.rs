//! What each came to in a closed loop, and the rate of an open loop that follows from it: a part of each one's own capacity, or one and the
//! same rate for all, a part of the slowest one's.

use std::collections::BTreeMap;

use super::measure::Sample;
use super::row::Spread;
use super::scenario::Whose;
use super::text::ORIGIN;

/// Answers a second, by subject and the scenario of the closed loop; or why there are none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Capacities(BTreeMap<(String, &'static str), Result<f64, String>>);

/// The rate of an open loop, and how it was found.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Asked {
    /// Requests a second.
    pub(crate) rate: f64,
    /// The capacity of which that is a part, and whose it is.
    pub(crate) capacity: f64,
    pub(crate) of: String,
    /// What the one that is asked came to itself.
    pub(crate) own: f64,
}

/// Less than this is no rate: an open loop needs something to be due.
const CAPACITY_MIN: f64 = 1.0;

impl Capacities {
    /// What the rounds of a closed loop came to: their median. Where more requests failed than were answered, there is none, or one proxy that
    /// refuses all would set the rate for all.
    pub(crate) fn measured(&mut self, subject: &str, scenario: &'static str, rounds: &[Sample]) {
        let answered: f64 = rounds.iter().map(Sample::answered).sum();
        let failed: u64 = rounds.iter().map(Sample::failed).sum();
        let rate = Spread::of(rounds.iter().map(Sample::rate)).map_or(0.0, |rate| rate.median);
        let capacity = if failed as f64 > answered {
            let said: Vec<String> = rounds.iter().map(Sample::failures).filter(|said| !said.is_empty()).collect();
            Err(format!("most requests of {scenario} failed: {}", said.join("; ")))
        } else if rate < CAPACITY_MIN {
            Err(format!("nothing was answered in {scenario}"))
        } else {
            Ok(rate)
        };
        self.0.insert((subject.to_owned(), scenario), capacity);
    }

    /// A closed loop that came to nothing.
    pub(crate) fn failed(&mut self, subject: &str, scenario: &'static str, why: String) {
        self.0.insert((subject.to_owned(), scenario), Err(why));
    }

    /// Whether it is known; one that failed may be tried again.
    pub(crate) fn is_known(&self, subject: &str, scenario: &'static str) -> bool {
        self.of(subject, scenario).is_ok()
    }

    fn of(&self, subject: &str, scenario: &'static str) -> Result<f64, String> {
        let known = self.0.get(&(subject.to_owned(), scenario)).cloned();
        known.unwrap_or_else(|| Err("it was not measured".to_owned()))
    }

    /// The least of those that have one. The origin is no proxy: it counts where there is nobody else.
    fn slowest<'a>(&self, subjects: &'a [String], scenario: &'static str) -> Option<(&'a str, f64)> {
        let known = |name: &'a String| Some((name.as_str(), self.of(name, scenario).ok()?));
        let least = |all: &mut dyn Iterator<Item = (&'a str, f64)>| all.min_by(|a, b| a.1.total_cmp(&b.1));
        let proxies = least(&mut subjects.iter().filter(|name| *name != ORIGIN).filter_map(known));
        proxies.or_else(|| least(&mut subjects.iter().filter_map(known)))
    }

    /// The rate for one of the subjects of an open loop.
    ///
    /// # Errors
    /// Why it has no capacity.
    pub(crate) fn asked(
        &self,
        subject: &str,
        subjects: &[String],
        (part, scenario, whose): (f64, &'static str, Whose),
    ) -> Result<Asked, String> {
        let own = self.of(subject, scenario).map_err(|why| format!("no capacity: {why}"))?;
        let (of, capacity) = match whose {
            Whose::Own => (subject, own),
            Whose::Slowest => self.slowest(subjects, scenario).expect("this one has a capacity"),
        };
        Ok(Asked { rate: part * capacity, capacity, of: of.to_owned(), own })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample(rate: f64, answered: u64, failed: u64) -> Sample {
        let run = json!({"rate": rate, "answered": answered, "failed": failed, "failures": {"status": failed}});
        Sample { run, threads: vec![], connections: None }
    }

    fn names(all: &[&str]) -> Vec<String> {
        all.iter().map(|name| (*name).to_owned()).collect()
    }

    fn known(all: &[(&str, f64)]) -> Capacities {
        let mut capacities = Capacities::default();
        all.iter().for_each(|(name, rate)| capacities.measured(name, "h1-64", &[sample(*rate, 1000, 0)]));
        capacities
    }

    #[test]
    fn a_capacity_is_the_median_of_rounds_or_a_reason() {
        let mut capacities = Capacities::default();
        capacities.measured("a", "h1-64", &[sample(30.0, 30, 1), sample(10.0, 10, 0), sample(20.0, 20, 0)]);
        assert_eq!(capacities.of("a", "h1-64"), Ok(20.0));
        assert!(capacities.is_known("a", "h1-64") && !capacities.is_known("a", "h2-16x10"));
        capacities.measured("b", "h1-64", &[sample(9.0, 9, 100)]);
        assert!(capacities.of("b", "h1-64").unwrap_err().contains("100 status"));
        capacities.measured("c", "h1-64", &[sample(0.0, 0, 0)]);
        assert!(capacities.of("c", "h1-64").unwrap_err().contains("nothing was answered"));
    }

    #[test]
    fn the_same_rate_is_a_part_of_the_slowest_proxys() {
        let capacities = known(&[("fast", 900.0), ("slow", 100.0), (ORIGIN, 50.0)]);
        let all = names(&[ORIGIN, "fast", "slow", "broken"]);
        let same = (0.5, "h1-64", Whose::Slowest);
        for (name, own) in [("fast", 900.0), ("slow", 100.0), (ORIGIN, 50.0)] {
            let asked = capacities.asked(name, &all, same).unwrap();
            assert_eq!(asked, Asked { rate: 50.0, capacity: 100.0, of: "slow".into(), own });
        }
        assert!(capacities.asked("broken", &all, same).unwrap_err().contains("no capacity"));
        let own = capacities.asked("fast", &all, (0.2, "h1-64", Whose::Own)).unwrap();
        assert_eq!((own.rate, own.of.as_str()), (180.0, "fast"));
    }

    /// Who takes no part, because it cannot do it, does not set the rate; without proxies the origin does.
    #[test]
    fn only_who_takes_part_sets_the_rate() {
        let capacities = known(&[("fast", 900.0), ("slow", 100.0), (ORIGIN, 2000.0)]);
        let same = (0.5, "h1-64", Whose::Slowest);
        assert_eq!(capacities.asked("fast", &names(&[ORIGIN, "fast"]), same).unwrap().rate, 450.0);
        assert_eq!(capacities.asked(ORIGIN, &names(&[ORIGIN]), same).unwrap().rate, 1000.0);
    }
}

//! What a report says and when it is due. It does no I/O and reads no clock.
//!
//! A period begins when the server says what it wants, or with the report before. Invariant: what is counted of a cluster that is
//! reported is in exactly one report, as long as the server wants the cluster and takes the reports.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::report::{ClusterLoad, Response, Wanted};
use crate::wire::Writer;

/// The shortest time between two reports: a server that says less, or nothing, would have a thread send without a pause.
pub(super) const INTERVAL_MIN: Duration = Duration::from_millis(50);
/// The longest: a server that says more is told once a day. What a clock cannot count to must not end the process.
const INTERVAL_MAX: Duration = Duration::from_hours(24);

/// Gives what has been counted so far.
pub(super) type Read = dyn Fn(&Wanted) -> Vec<ClusterLoad> + Send;

/// See the module.
pub(super) struct Period {
    node: Arc<[u8]>,
    /// Nothing was said on this stream yet.
    is_fresh: bool,
    /// What the server wants; `None`: it has not said. It holds when the server is another one, as long as that says nothing.
    asked: Option<Response>,
    tracked: BTreeMap<String, Tracked>,
    due: Option<Instant>,
}

/// A cluster that is to be reported.
struct Tracked {
    /// Since when.
    since: Instant,
    /// What had been counted by then; `None`: there was no such cluster.
    before: Option<ClusterLoad>,
}

impl Period {
    pub(super) fn new(node: Arc<[u8]>) -> Self {
        Self { node, is_fresh: false, asked: None, tracked: BTreeMap::new(), due: None }
    }

    /// There is a stream: who reports is said at once, and what there is to report.
    pub(super) fn open(&mut self, now: Instant) {
        self.is_fresh = true;
        self.due = Some(now);
    }

    /// There is none any more. What is tracked goes on.
    pub(super) fn close(&mut self) {
        self.due = None;
    }

    /// When the next report is to be sent.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Takes what the server says.
    ///
    /// # Errors
    /// It cannot be read.
    pub(super) fn hear(&mut self, bytes: &[u8], now: Instant, read: &Read) -> Result<(), String> {
        let response = Response::read(bytes)?;
        let loads = read(&response.wanted);
        self.asked = Some(response);
        self.follow(loads, now);
        Ok(())
    }

    /// The report that is due.
    pub(super) fn report(&mut self, now: Instant, read: &Read) -> Vec<u8> {
        let mut out = Writer::default();
        if std::mem::take(&mut self.is_fresh) {
            out.len(1, &self.node);
        }
        self.due = None;
        let Some(asked) = &self.asked else { return out.bytes };
        let loads = read(&asked.wanted);
        for load in &loads {
            if let Some(tracked) = self.tracked.get_mut(&load.name) {
                load.write(tracked.before.as_ref(), now.saturating_duration_since(tracked.since), &mut out);
                *tracked = Tracked { since: now, before: Some(load.clone()) };
            }
        }
        self.follow(loads, now);
        out.bytes
    }

    /// Begins a period. A cluster that is new to the server begins with it; one that it wanted before goes on, so that nothing falls
    /// between two of its wishes.
    fn follow(&mut self, loads: Vec<ClusterLoad>, now: Instant) {
        let Some(Response { wanted, interval }) = &self.asked else { return };
        self.due = Some(now + (*interval).clamp(INTERVAL_MIN, INTERVAL_MAX));
        let mut loads: HashMap<String, ClusterLoad> = loads.into_iter().map(|load| (load.name.clone(), load)).collect();
        self.tracked.retain(|name, _| match wanted {
            Wanted::All => loads.contains_key(name),
            Wanted::These(names) => names.contains(name),
        });
        let names: Vec<String> = match wanted {
            Wanted::All => loads.keys().cloned().collect(),
            Wanted::These(names) => names.iter().cloned().collect(),
        };
        for name in names {
            let before = loads.remove(&name);
            self.tracked.entry(name).or_insert(Tracked { since: now, before });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::LocalityLoad;
    use super::*;
    use crate::wire::{Payload, Records};

    /// A world: each cluster's name, and how many requests it has been sent.
    fn world(clusters: &'static [(&'static str, u64)]) -> impl Fn(&Wanted) -> Vec<ClusterLoad> + Send {
        move |wanted: &Wanted| {
            let load = |(name, issued): &(&str, u64)| ClusterLoad {
                name: (*name).to_owned(),
                serial: 1,
                localities: vec![LocalityLoad { serial: 1, issued: *issued, ..LocalityLoad::default() }],
                ..ClusterLoad::default()
            };
            clusters.iter().filter(|(name, _)| wanted.has(name)).map(load).collect()
        }
    }

    fn says(names: &[&str], is_all: bool, seconds: u64) -> Vec<u8> {
        let mut out = Writer::default();
        names.iter().for_each(|name| out.item(1, name));
        out.message(2, |out| out.number(1, seconds));
        out.number(4, u64::from(is_all));
        out.bytes
    }

    /// `node`, then each cluster with its issued requests and the seconds of its interval.
    fn line(report: &[u8]) -> String {
        let fields = |bytes: &[u8]| {
            let (mut all, mut records) = (Vec::new(), Records::new(bytes));
            while let Some(record) = records.next().expect("a message") {
                all.push(match record.payload {
                    Payload::Len(bytes) => (record.number, 0, bytes.to_vec()),
                    Payload::Varint(value) => (record.number, value, Vec::new()),
                    other => panic!("{other:?}"),
                });
            }
            all
        };
        let mut words = Vec::new();
        for (number, _, bytes) in fields(report) {
            if number == 1 {
                words.push(String::from_utf8(bytes).expect("the node of the tests"));
                continue;
            }
            let (mut name, mut issued, mut seconds) = (String::new(), 0, 0);
            for (number, _, bytes) in fields(&bytes) {
                let number_of = |wanted| fields(&bytes).iter().find(|(number, ..)| *number == wanted).map(|row| row.1);
                match number {
                    1 => name = String::from_utf8(bytes).expect("a name"),
                    2 => issued = number_of(8).unwrap_or(0),
                    4 => seconds = number_of(1).unwrap_or(0),
                    other => panic!("{other}"),
                }
            }
            words.push(format!("{name}:{issued}/{seconds}s"));
        }
        words.join(" ")
    }

    struct Client {
        period: Period,
        began: Instant,
    }

    impl Client {
        fn new() -> Client {
            let (mut period, began) = (Period::new(b"node".as_slice().into()), Instant::now());
            period.open(began);
            Client { period, began }
        }

        fn at(&self, seconds: u64) -> Instant {
            self.began + Duration::from_secs(seconds)
        }

        fn hear(&mut self, message: &[u8], seconds: u64, clusters: &'static [(&'static str, u64)]) {
            let now = self.at(seconds);
            self.period.hear(message, now, &world(clusters)).expect("it can be read");
        }

        fn report(&mut self, seconds: u64, clusters: &'static [(&'static str, u64)]) -> String {
            let now = self.at(seconds);
            line(&self.period.report(now, &world(clusters)))
        }

        fn due(&self) -> Option<u64> {
            self.period.due().map(|due| due.duration_since(self.began).as_secs())
        }
    }

    #[test]
    fn nothing_is_reported_before_it_is_asked_for_and_nothing_twice() {
        let mut client = Client::new();
        assert_eq!(client.due(), Some(0));
        assert_eq!(client.report(0, &[("a", 5)]), "node");
        assert_eq!(client.due(), None);
        client.hear(&says(&["a"], false, 10), 1, &[("a", 7)]);
        assert_eq!(client.due(), Some(11));
        assert_eq!(client.report(11, &[("a", 9), ("b", 3)]), "a:2/10s");
        assert_eq!(client.due(), Some(21));
        assert_eq!(client.report(22, &[("a", 9), ("b", 3)]), "a:0/11s");
    }

    #[test]
    fn a_cluster_that_is_wanted_goes_on_when_the_server_says_so_again() {
        let mut client = Client::new();
        client.report(0, &[]);
        client.hear(&says(&["a", "b"], false, 10), 0, &[("a", 1), ("b", 1)]);
        // Half a period later: `a` keeps what it has, `c` begins, and the time begins anew.
        client.hear(&says(&["a", "c"], false, 4), 5, &[("a", 3), ("b", 3), ("c", 3)]);
        assert_eq!(client.due(), Some(9));
        assert_eq!(client.report(9, &[("a", 4), ("b", 4), ("c", 4)]), "a:3/9s c:1/4s");
        // Given up and taken up again, it begins again.
        client.hear(&says(&["b"], false, 4), 10, &[("a", 5), ("b", 5), ("c", 5)]);
        assert_eq!(client.report(14, &[("a", 6), ("b", 6), ("c", 6)]), "b:1/4s");
    }

    #[test]
    fn a_cluster_that_comes_later_counts_from_its_beginning_where_it_is_named() {
        let mut client = Client::new();
        client.report(0, &[]);
        client.hear(&says(&["late"], false, 10), 0, &[]);
        assert_eq!(client.report(10, &[]), "");
        assert_eq!(client.report(20, &[("late", 6)]), "late:6/20s");
    }

    /// As Envoy: it is tracked from the next report on.
    #[test]
    fn of_all_clusters_a_new_one_has_no_first_interval() {
        let mut client = Client::new();
        client.report(0, &[]);
        client.hear(&says(&[], true, 10), 0, &[("a", 1)]);
        assert_eq!(client.report(10, &[("a", 2), ("b", 6)]), "a:1/10s");
        assert_eq!(client.report(20, &[("a", 2), ("b", 8)]), "a:0/10s b:2/10s");
        // Gone and back, it is another one.
        assert_eq!(client.report(30, &[("a", 2)]), "a:0/10s");
        assert_eq!(client.report(40, &[("a", 2), ("b", 5)]), "a:0/10s");
        assert_eq!(client.report(50, &[("a", 2), ("b", 6)]), "a:0/10s b:1/10s");
    }

    #[test]
    fn what_happens_without_a_server_is_in_the_next_report() {
        let mut client = Client::new();
        client.report(0, &[]);
        client.hear(&says(&["a"], false, 10), 0, &[("a", 0)]);
        assert_eq!(client.report(10, &[("a", 4)]), "a:4/10s");
        client.period.close();
        assert_eq!(client.due(), None);
        let now = client.at(25);
        client.period.open(now);
        assert_eq!(client.report(25, &[("a", 9)]), "node a:5/15s");
        // What it wanted holds until it says something else.
        assert_eq!(client.due(), Some(35));
    }

    #[test]
    fn a_server_without_an_interval_is_not_flooded() {
        let mut client = Client::new();
        client.hear(&says(&["a"], false, 0), 0, &[]);
        assert_eq!(client.period.due(), Some(client.began + INTERVAL_MIN));
    }

    /// What a clock cannot count to would end the process.
    #[test]
    fn an_interval_without_end_is_a_day() {
        let mut client = Client::new();
        client.hear(&says(&["a"], false, i64::MAX as u64), 0, &[]);
        assert_eq!(client.period.due(), Some(client.began + INTERVAL_MAX));
    }
}

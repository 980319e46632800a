//! The same file and the same requests on a real Envoy and on Ringway: what differs, and is not on the reviewed list?
//!
//! Cases come in classes (`classes.rs`, one file each), drawn from a seed. Both proxies run once, from one file with a listener
//! for each front of each class; cases run side by side, but for those whose requests carry no number of their case.

mod case;
mod classes;
mod client;
mod compare;
mod log;
mod origin;
mod reviewed;

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::{Bench, verdict};
use crate::lab::chance::Chance;
use crate::lab::config::Config;
use crate::lab::proxy::{Kind, Launch, Proxy};
use crate::setup;
use crate::step::Verdict;
use case::Case;
use classes::{CLASSES, Front, RETRIES};
use client::Answer;
use compare::{Difference, Played, breaches, differences};
use origin::Recorder;
use reviewed::{EXCEPTIONS, PENDING, Row};

/// Cases of one class at least, whatever count is asked for: what issue 4 says.
const CLASS_CASES_MIN: usize = 20;
/// Cases that run side by side: most of their time they wait for a time-out.
const LANES: usize = 16;
/// Where nothing listens: a connection to it is refused at once.
const DEAD: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

pub(super) fn run(bench: &Bench) -> Verdict {
    if !setup::envoy_path().is_file() {
        return Verdict::Missing(format!("Envoy {} (cargo xtask setup)", setup::ENVOY_VERSION));
    }
    verdict(judge(bench))
}

/// A proxy and the origins behind it.
struct Side {
    proxy: Proxy,
    fronts: HashMap<&'static str, SocketAddr>,
    log: PathBuf,
    recorder: Recorder,
}

/// The listener whose access logs are compared.
const LOGGED: Front = Front {
    name: "logged",
    manager: "{log} upgrade_configs: [{upgrade_type: websocket}, {upgrade_type: other}],",
    hosts: RETRIES,
    ..Front::PLAIN
};

fn side(bench: &Bench, kind: Kind, name: &str) -> Result<Side, String> {
    let recorder = Recorder::start()?;
    let file = bench.folder.join(format!("{name}.yaml"));
    let log = bench.folder.join(format!("{name}.lines"));
    let _of_an_earlier_run = std::fs::remove_file(&log);
    let (a, b) = (recorder.a(), recorder.b());
    let mut config = Config::default()
        .cluster("a", &[a])
        .cluster("b", &[b])
        .cluster("dead", &[DEAD])
        .cluster_with_hostname("named", a, "named.test");
    for front in CLASSES.iter().flat_map(|class| class.fronts).chain([&LOGGED]) {
        let comma = if front.hosts.is_empty() { "" } else { ", " };
        let hosts = format!("[{}{comma}{COMMON}]{}", front.hosts, front.configuration);
        // A flow sequence is indented deeper than the block that it stands in.
        let hosts = hosts.replace('\n', "\n            ");
        let ip: IpAddr = front.address.parse().map_err(|e| format!("front {}: {e}", front.name))?;
        let manager = front.manager.replace("{log}", &log::field(&log));
        config = config.listener_with_hosts(front.name, SocketAddr::new(ip, 0), &hosts, &manager);
    }
    for class in CLASSES {
        let ports = [("{a}", a), ("{b}", b)];
        let text = ports
            .iter()
            .fold(class.clusters.to_owned(), |text, (name, origin)| text.replace(name, &origin.port().to_string()));
        config = config.cluster_text(&text);
    }
    std::fs::write(&file, config.text()).map_err(|e| format!("cannot write: {e}"))?;
    let arguments = &["--file-flush-interval-msec", "50"];
    let launch = Launch { kind, folder: &bench.folder, name, file: &file, concurrency: 1, arguments };
    let proxy = Proxy::start(&launch)?;
    let names = CLASSES.iter().flat_map(|class| class.fronts).map(|front| front.name).chain([LOGGED.name]);
    let fronts = names.map(|name| Ok((name, proxy.listener(name)?))).collect::<Result<_, String>>()?;
    Ok(Side { proxy, fronts, log, recorder })
}

/// Virtual hosts of every front.
const COMMON: &str = r#"
  {name: second, domains: ["second.test", "*.second.test"], routes: [
    {match: {prefix: "/"}, route: {cluster: b, timeout: 0.4s}}]},
  {name: all, domains: ["*"], routes: [
    {match: {path: "/exact"}, route: {cluster: a}},
    {match: {prefix: "/b/"}, route: {cluster: b}},
    {match: {prefix: "/weighted/"}, route: {weighted_clusters: {clusters: [{name: a, weight: 50}, {name: b, weight: 50}]}}},
    {match: {prefix: "/direct"}, direct_response: {status: 201, body: {inline_string: "an answer of the proxy"}}},
    {match: {prefix: "/empty"}, direct_response: {status: 403}},
    {match: {prefix: "/timeout/"}, route: {cluster: a, timeout: 0.2s}},
    {match: {prefix: "/dead"}, route: {cluster: dead}},
    {match: {prefix: "/a/"}, route: {cluster: a}}]}"#;

/// The cases of all classes: `count` in all, as evenly as the classes have them.
fn generate(seed: u64, count: usize) -> Vec<Case> {
    let each = (count / CLASSES.len()).max(CLASS_CASES_MIN);
    let mut cases = Vec::new();
    for (at, class) in CLASSES.iter().enumerate() {
        // A sequence for each class, so that a new case moves no other class's.
        let mut chance = Chance::new(Chance::new(seed ^ (at as u64) << 32).number());
        for mut case in (class.cases)(&mut chance, each) {
            case.class = class.name;
            if case.front.is_empty() {
                case.front = class.fronts[0].name;
            }
            cases.push(case);
        }
    }
    cases
}

fn judge(bench: &Bench) -> Result<String, String> {
    let cases = generate(bench.seed, bench.count as usize);
    let requests: usize = cases.iter().map(|case| case.methods.len()).sum();
    let started = Instant::now();
    let sides = [side(bench, Kind::Envoy, "theirs")?, side(bench, bench.kind, "ours")?];
    let mut played = play(&sides, &cases);
    let replays = play_again(&sides, &cases, &mut played);
    let seconds = started.elapsed().as_secs_f64();
    let mut tally = Tally::default();
    for (case, [theirs, own]) in cases.iter().zip(&played) {
        tally.judge(case, theirs, own);
    }
    for [name, unasked] in tally_unasked(&sides) {
        tally
            .unexpected
            .entry(format!("a request that nobody sent, at the origin of {name}"))
            .or_default()
            .push(unasked);
    }
    let [envoy, ours] = &sides;
    let [theirs, own] = [envoy, ours].map(|side| log::play(side.fronts[LOGGED.name], &side.log));
    let (theirs, own) = (theirs?, own?);
    println!("compared {} lines of access logs", theirs.len());
    let lines = log::differences(&theirs, &own);
    if !lines.is_empty() {
        tally.unexpected.insert("access log".to_owned(), lines);
    }
    for (name, side) in [("theirs", envoy), ("ours", ours)] {
        let stats = side.proxy.admin("/stats").map_err(|why| format!("after all cases: {why}"))?;
        std::fs::write(bench.folder.join(format!("{name}.stats")), stats).map_err(|e| format!("cannot write: {e}"))?;
    }
    let line = format!(
        "{requests} requests in {} cases from seed {}, {replays} played again, {seconds:.0} s",
        cases.len(),
        bench.seed
    );
    // Envoy against itself needs no row of the list.
    tally.end(&line, bench.kind != Kind::Envoy)
}

/// Cases that are played again, in all, and each: more of them than this are no accidents.
const REPLAYS_MAX: usize = LANES;
const REPLAYS_OF_CASE: usize = 2;

/// What came of each case on both sides.
fn play(sides: &[Side; 2], cases: &[Case]) -> Vec<[Played; 2]> {
    let answers: Mutex<HashMap<u64, [Vec<Answer>; 2]>> = Mutex::default();
    let beside: Vec<&Case> = cases.iter().filter(|case| !case.alone).collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..LANES {
            scope.spawn(|| {
                while let Some(case) = beside.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let both = [0, 1].map(|at: usize| client::play(sides[at].fronts[case.front], case));
                    answers.lock().expect("no lane panicked").insert(case.id, both);
                }
            });
        }
    });
    let mut answers = answers.into_inner().expect("no lane panicked");
    let mut played = HashMap::new();
    for case in beside {
        let [theirs, own] = answers.remove(&case.id).expect("every case was played");
        let recorded = [0, 1].map(|at: usize| sides[at].recorder.take(Some(case.id)));
        let [theirs_recorded, own_recorded] = recorded;
        let both =
            [Played { answers: theirs, recorded: theirs_recorded }, Played { answers: own, recorded: own_recorded }];
        played.insert(case.id, both);
    }
    cases
        .iter()
        .map(|case| {
            played.remove(&case.id).unwrap_or_else(|| {
                [0, 1].map(|at: usize| {
                    let answers = client::play(sides[at].fronts[case.front], case);
                    Played { answers, recorded: sides[at].recorder.take(None) }
                })
            })
        })
        .collect()
}

/// Plays those once more that differ in what nobody reviewed, each alone: half of the classes are about times, and a machine that stands
/// still for a moment makes any of them differ. What is wrong with the proxy is wrong again. Gives how many were.
fn play_again(sides: &[Side; 2], cases: &[Case], played: &mut [[Played; 2]]) -> usize {
    let mut left = REPLAYS_MAX;
    for (case, both) in cases.iter().zip(played) {
        for _ in 0..REPLAYS_OF_CASE {
            if left == 0 || !is_unexpected(case, both) {
                break;
            }
            left -= 1;
            println!("played again: {case}");
            *both = [0, 1].map(|at: usize| {
                let _late = sides[at].recorder.take(Some(case.id));
                let answers = client::play(sides[at].fronts[case.front], case);
                Played { answers, recorded: sides[at].recorder.take((!case.alone).then_some(case.id)) }
            });
        }
    }
    REPLAYS_MAX - left
}

fn is_unexpected(case: &Case, [theirs, own]: &[Played; 2]) -> bool {
    let is_reviewed =
        |found: &Difference| EXCEPTIONS.iter().chain(PENDING).any(|row| row.holds(found, case, theirs, own));
    !breaches(own, case).is_empty() || !differences(theirs, own, case).iter().all(is_reviewed)
}

/// What is left at the origins when every case has taken what is its own: whose origin, and which request.
fn tally_unasked(sides: &[Side; 2]) -> Vec<[String; 2]> {
    let left = |name: &str, side: &Side| {
        let lines = side.recorder.take_all().into_iter().map(|request| [name.to_owned(), request.head.line]);
        lines.collect::<Vec<_>>()
    };
    // Only ours is judged.
    left("ours", &sides[1])
}

/// What was found so far.
#[derive(Default)]
struct Tally {
    /// Cases and differences of each class.
    classes: HashMap<&'static str, [usize; 2]>,
    /// How often each row was needed.
    exceptions: HashMap<usize, usize>,
    pending: HashMap<usize, usize>,
    unexpected: BTreeMap<String, Vec<String>>,
}

impl Tally {
    fn judge(&mut self, case: &Case, theirs: &Played, own: &Played) {
        let class = self.classes.entry(case.class).or_default();
        class[0] += 1;
        let found = differences(theirs, own, case);
        class[1] += usize::from(!found.is_empty());
        if found.is_empty() && EXCEPTIONS.iter().any(|row| row.names(case)) {
            self.unexpected.entry("exception: no longer true".to_owned()).or_default().push(case.to_string());
        }
        for breach in breaches(own, case) {
            self.unexpected.entry(format!("{}: breach", case.class)).or_default().push(format!("{breach}: {case}"));
        }
        // The row of a whole case counts once, not for each of its aspects.
        let mut used: Vec<(bool, usize)> = Vec::new();
        for difference in found {
            let row = |rows: &[Row]| rows.iter().position(|row| row.holds(&difference, case, theirs, own));
            match (row(EXCEPTIONS), row(PENDING)) {
                (Some(row), _) => used.push((true, row)),
                (None, Some(row)) => used.push((false, row)),
                (None, None) => {
                    let Difference { aspect, theirs, own } = difference;
                    let line = format!("Envoy {theirs}, Ringway {own}: {case}");
                    self.unexpected.entry(format!("{}: {aspect}", case.class)).or_default().push(line);
                }
            }
        }
        used.sort_unstable();
        used.dedup();
        for (meant, row) in used {
            *if meant { &mut self.exceptions } else { &mut self.pending }.entry(row).or_default() += 1;
        }
    }

    fn end(mut self, line: &str, needs_rows: bool) -> Result<String, String> {
        for class in CLASSES {
            let [cases, differ] = self.classes.get(class.name).copied().unwrap_or_default();
            let few = if cases < CLASS_CASES_MIN { " (too few)" } else { "" };
            println!("class {:<16} {cases:>5} cases, {differ:>4} with differences{few}", class.name);
        }
        for (word, rows, uses) in [("exception", EXCEPTIONS, &self.exceptions), ("pending", PENDING, &self.pending)] {
            for (at, row) in rows.iter().enumerate() {
                let uses = uses.get(&at).copied().unwrap_or(0);
                println!("{word} x{uses:<4} {:<44} {}", row.about(), row.reason);
                // What is pending may be rare; an exception has a case that every run plays.
                if uses == 0 && needs_rows && word == "exception" {
                    self.unexpected.entry(format!("{word}: no longer needed")).or_default().push(row.about());
                }
            }
        }
        for (aspect, cases) in &self.unexpected {
            println!("UNEXPECTED x{} {aspect}", cases.len());
            cases.iter().take(4).for_each(|case| println!("    {case}"));
        }
        let excepted = self.exceptions.values().sum::<usize>();
        let pending = self.pending.values().sum::<usize>();
        let found =
            format!("{excepted} cases by {} exceptions, {pending} by {} pending rows", EXCEPTIONS.len(), PENDING.len());
        if self.unexpected.is_empty() {
            return Ok(format!("{line}: {found}, no other"));
        }
        let list: Vec<String> =
            self.unexpected.iter().map(|(aspect, cases)| format!("{aspect} x{}", cases.len())).collect();
        Err(format!("{line}: {found}; unexpected: {}", list.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_list_of_cases_and_each_its_own_number() {
        let steps = |seed| generate(seed, 400).into_iter().map(|case| case.steps).collect::<Vec<_>>();
        assert_eq!(steps(1), steps(1));
        assert_ne!(steps(1), steps(2));
        let mut numbers: Vec<u64> = generate(1, 400).iter().map(|case| case.id).collect();
        let count = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), count);
    }

    #[test]
    fn there_are_fifteen_classes_or_more_and_no_front_twice() {
        assert!(CLASSES.len() >= 15);
        let mut fronts: Vec<&str> = CLASSES.iter().flat_map(|class| class.fronts).map(|front| front.name).collect();
        let count = fronts.len();
        fronts.sort_unstable();
        fronts.dedup();
        assert_eq!(fronts.len(), count);
    }
}

//! What the xDS client says to a management server, and what comes of it, case by case: as Envoy does, but for a reviewed list.
//!
//! The server is a script over grpcio and the published protos ([`SCRIPTS`]), and was calibrated by running Envoy before it: `xds/envoy.jsonl` holds
//! what Envoy said and did in each case. `--io envoy` runs Envoy again and says where the record is wrong. Compared are of each type the
//! requests in their order, one line each (subscriptions, acknowledgements, refusals, what is held after a reconnect), and facts of traffic.
//! Then the proxy says what became of it all by the client status discovery service (CSDS), which Envoy does not serve: by gRPC the same as by HTTP/1.
//! The order of requests of different types is not compared, nor are requests of the state of the world that say again what the last one said.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::{Bench, verdict};
use crate::lab::proxy::Kind;
use crate::step::Verdict;
use crate::{command, setup, workspace};

/// Some of the cases of one way take 20 s on Envoy; all of a way take 3 minutes, twice that on a busy machine.
const LIMIT: Duration = Duration::from_secs(40 * 60);
/// Cases that are run once more: more of them than this are no accidents.
const AGAIN_MAX: usize = 3;
/// The first so many are run, as the judge's count says.
const WAYS: [&str; 4] = ["sotw-ads", "delta-ads", "sotw", "delta"];
const SCRIPTS: [(&str, &str); 4] = [
    ("bed.py", include_str!("xds/bed.py")),
    ("cases.py", include_str!("xds/cases.py")),
    ("client_status.py", include_str!("xds/client_status.py")),
    ("control_plane.py", include_str!("xds/control_plane.py")),
];
const ENVOY: &str = include_str!("xds/envoy.jsonl");

/// A difference that is meant.
struct Reviewed {
    case: &'static str,
    /// The way; with a star the beginning of its name.
    way: &'static str,
    /// A type, or `fact` and its name.
    part: &'static str,
    /// What Ringway's is there; empty: whatever.
    ours: &'static str,
    why: &'static str,
}

const NO_MORE_ROUTES: &str = "routes that no listener names are not asked for any more";
const TOO_LONG: &str = "a message that is too long ends its stream, before it is held in memory; Envoy takes it";
const EACH_ALONE: &str = "each resource is accepted or refused alone (gRFC A46)";
const AT_ONCE: &str =
    "acknowledged when it is judged, not when it is warm: some servers wait for that before they go on";
const HEARTBEAT: &str = "a heartbeat of the state of the world prolongs; with Envoy it removes the listener";
const ONE_STREAM: &str =
    "one stream for all names of a type and server; Envoy has one for each cluster and route configuration";
const KEPT: &str = "endpoints outlive a new version of their cluster: nobody asks for them again";
const PACED: &str =
    "refusals of one type after the first eight go out once a second: a server that does not learn is not asked faster";

impl Reviewed {
    fn is_of(&self, way: &str) -> bool {
        self.way.strip_suffix('*').map_or(self.way == way, |begin| way.starts_with(begin))
    }
}

/// A row, as short as it can be read.
const fn row(
    case: &'static str,
    way: &'static str,
    part: &'static str,
    ours: &'static str,
    why: &'static str,
) -> Reviewed {
    Reviewed { case, way, part, ours, why }
}

const REVIEWED: &[Reviewed] = &[
    row("a_listener_goes", "sotw-ads", "rds", "names v1 []", NO_MORE_ROUTES),
    row("a_listener_goes", "delta-ads", "rds", "unsub [r1]", NO_MORE_ROUTES),
    row("a_response_of_64_mib", "*", "fact stays", "200 one", TOO_LONG),
    row("a_response_of_64_mib", "*", "streams", "with the node", TOO_LONG),
    row("a_response_of_64_mib", "*", "cds", "", TOO_LONG),
    row("a_response_of_64_mib", "*", "lds", "", TOO_LONG),
    row("a_response_of_64_mib", "*", "rds", "", TOO_LONG),
    row("a_response_of_64_mib", "*", "eds", "", TOO_LONG),
    row("a_time_to_live", "sotw*", "fact prolonged", "200 one", HEARTBEAT),
    row("a_time_to_live", "sotw*", "lds", "ack v1 [] x6 · ack v2 []", HEARTBEAT),
    row("a_time_to_live", "sotw-ads", "rds", "names v1 [] · names v1 [r1] · ack v1 [r1]", NO_MORE_ROUTES),
    row("a_time_to_live", "delta-ads", "rds", "unsub [r1] · sub [r1] · ack", NO_MORE_ROUTES),
    row(
        "endpoints_removed_by_name",
        "*",
        "fact serves",
        "503",
        "removed by name is gone (xDS, Deleting Resources); Envoy keeps endpoints",
    ),
    row("endpoints_that_do_not_come", "*", "fact at once", "true", AT_ONCE),
    row("endpoints_that_do_not_come", "sotw-ads", "eds", "stale v1 [c1 c2] · ack v2 [c1 c2] x2", AT_ONCE),
    row(
        "killed_before_the_acknowledgement",
        "sotw-ads",
        "eds",
        "first v- [c1 c2] · ack v2 [c1 c2]",
        "c2 never came: with a version a server that has no newer one might be silent",
    ),
    row("one_wrong_cluster_among_right_ones", "*", "fact neighbour", "200 two", EACH_ALONE),
    row("one_wrong_cluster_among_right_ones", "*", "eds", "", EACH_ALONE),
    row("only_a_timeout_of_a_cluster_changes", "*", "fact at once", "true", AT_ONCE),
    row("the_same_wrong_response_again_and_again", "*", "fact all refused", "false", PACED),
    row("the_same_wrong_response_again_and_again", "*", "rds", "", PACED),
    row("a_route_and_a_cluster_come", "sotw", "eds", "names v1 [c1 c2] · ack v2 [c1 c2]", ONE_STREAM),
    row("a_route_and_a_cluster_come", "delta", "eds", "sub [c2] · ack", ONE_STREAM),
    row("a_listener_comes_with_other_routes", "sotw", "rds", "names v1 [r1 r2] · ack v2 [r1 r2]", ONE_STREAM),
    row("a_listener_comes_with_other_routes", "delta", "rds", "sub [r2] · ack", ONE_STREAM),
    row("endpoints_that_do_not_come", "sotw", "eds", "names v1 [c1 c2] · ack v2 [c1 c2]", ONE_STREAM),
    row("endpoints_that_do_not_come", "delta", "eds", "sub [c2] · ack", ONE_STREAM),
    row("a_cluster_goes", "sotw", "eds", "names v2 [c1]", ONE_STREAM),
    row("a_cluster_goes", "delta", "eds", "unsub [c2]", ONE_STREAM),
    row("killed_before_the_acknowledgement", "sotw", "eds", "first v- [c1 c2] · ack v2 [c1 c2]", ONE_STREAM),
    row("killed_before_the_acknowledgement", "delta", "eds", "first sub [c1 c2] init[c1:1] · ack", ONE_STREAM),
    row("a_route_and_a_cluster_come", "sotw", "streams", "nothing", ONE_STREAM),
    row("a_route_and_a_cluster_come", "delta", "streams", "nothing", ONE_STREAM),
    row("a_listener_comes_with_other_routes", "sotw", "streams", "nothing", ONE_STREAM),
    row("a_listener_comes_with_other_routes", "delta", "streams", "nothing", ONE_STREAM),
    row("endpoints_that_do_not_come", "sotw", "streams", "nothing", ONE_STREAM),
    row("endpoints_that_do_not_come", "delta", "streams", "nothing", ONE_STREAM),
    row("only_a_timeout_of_a_cluster_changes", "sotw", "eds", "nothing", KEPT),
    row("only_a_timeout_of_a_cluster_changes", "sotw", "streams", "nothing", KEPT),
    row("a_time_to_live", "sotw", "streams", "with the node", NO_MORE_ROUTES),
    row("only_a_timeout_of_a_cluster_changes", "delta", "eds", "nothing", KEPT),
    row("only_a_timeout_of_a_cluster_changes", "delta", "streams", "nothing", KEPT),
    row("a_time_to_live", "delta", "streams", "with the node", NO_MORE_ROUTES),
    row("a_time_to_live", "sotw", "rds", "first v- [r1] · ack v1 [r1]", NO_MORE_ROUTES),
    row("a_time_to_live", "delta", "rds", "first sub [r1] · ack", NO_MORE_ROUTES),
];

/// What a case came to: of each type its requests, and each fact.
type Parts = BTreeMap<String, String>;
/// The parts of each case in each way.
type Cases = BTreeMap<(String, String), Parts>;

pub(super) fn run(bench: &Bench) -> Verdict {
    match setup::xds_python() {
        Some(python) => verdict(judge(bench, &python)),
        None => Verdict::Missing("Python with grpcio and xds-protos: `cargo xtask setup` installs it".to_owned()),
    }
}

fn judge(bench: &Bench, python: &Path) -> Result<String, String> {
    for (name, text) in SCRIPTS {
        std::fs::write(bench.folder.join(name), text).map_err(|e| format!("cannot write {name}: {e}"))?;
    }
    let ways = &WAYS[..(bench.count as usize).clamp(1, WAYS.len())];
    let mut lines = said(bench, python, ways, "all")?;
    let envoy = read(ENVOY.lines())?;
    let mut seen = read(lines.iter().map(String::as_str))?;
    let reviewed: &[Reviewed] = if bench.kind == Kind::Envoy { &[] } else { REVIEWED };
    let mut compared = compare(&envoy, &seen, ways, reviewed);
    // Some are about seconds: what a machine that stood still for a moment made differ does not differ again.
    if (1..=AGAIN_MAX).contains(&compared.cases.len()) {
        let cases: Vec<&str> = compared.cases.iter().map(String::as_str).collect();
        println!("run again: {}", cases.join(", "));
        let again = said(bench, python, ways, &cases.join(","))?;
        seen.extend(read(again.iter().map(String::as_str))?);
        lines.extend(again);
        compared = compare(&envoy, &seen, ways, reviewed);
    }
    let said = bench.folder.join("said.jsonl");
    std::fs::write(&said, lines.join("\n") + "\n").map_err(|e| format!("cannot write: {e}"))?;
    compared.lines.iter().for_each(|line| println!("{line}"));
    if bench.kind != Kind::Envoy {
        compared.wrong += client_status(bench, python, ways)?;
    }
    let line = format!("{} cases, {} reviewed differences", seen.len(), compared.reviewed);
    match compared.wrong {
        0 => Ok(line),
        wrong => Err(format!("{line}, {wrong} others; what was said is in {}", said.display())),
    }
}

/// What is said in these cases (a list, or `all`), a line each.
fn said(bench: &Bench, python: &Path, ways: &[&str], cases: &str) -> Result<Vec<String>, String> {
    run_script(bench, python, "cases.py", &[&ways.join(","), cases])
}

/// How many ways there are in which the client status discovery service does not say what it should; each is told.
fn client_status(bench: &Bench, python: &Path, ways: &[&str]) -> Result<usize, String> {
    let lines = run_script(bench, python, "client_status.py", &[&ways.join(",")])?;
    let said = lines.iter().filter(|line| line.starts_with('{'));
    let said = said.map(|line| serde_json::from_str(line).map_err(|e| format!("no facts: {e}: {line}")));
    let said: Vec<Value> = said.collect::<Result<_, _>>()?;
    if said.len() != ways.len() {
        return Err(format!("client_status.py ended early: {}", lines.join("\n")));
    }
    let is_wrong = |way: &&Value| way["wrong"].as_object().is_none_or(|wrong| !wrong.is_empty());
    Ok(said.iter().filter(is_wrong).inspect(|way| println!("client status: {way}")).count())
}

/// Runs a script with the proxy's command, and gives its lines.
fn run_script(bench: &Bench, python: &Path, script: &str, arguments: &[&str]) -> Result<Vec<String>, String> {
    let mut process = Command::new(python);
    process.current_dir(&bench.folder).env("PYTHONDONTWRITEBYTECODE", "1").arg(script).arg(&bench.folder);
    process.args(arguments).arg("--");
    match bench.kind {
        // What waits for others of its version is judge `flips`'s.
        Kind::Ring | Kind::Poll => {
            process.arg(workspace::ringway()).args(["run", "--io", bench.kind.name(), "--xds-bundle-wait-ms", "0"])
        }
        Kind::Envoy => process.arg(setup::envoy_path()).args(["--disable-hot-restart", "--use-dynamic-base-id"]),
    };
    let outcome = command::run(process, LIMIT, command::Echo::Nothing)?;
    if !outcome.success {
        return Err(format!("the cases ended early: {}", outcome.lines.join("\n")));
    }
    Ok(outcome.lines)
}

/// The cases of a record, each a JSON object on a line.
fn read<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Cases, String> {
    let case = |line: &str| {
        let json: Value = serde_json::from_str(line).map_err(|e| format!("no record of a case: {e}: {line}"))?;
        let word = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
        let mut parts = Parts::new();
        for (kind, requests) in json["trace"].as_object().into_iter().flatten() {
            let requests: Vec<&str> = requests.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            parts.insert(kind.clone(), requests.join(" · "));
        }
        for (name, fact) in json["facts"].as_object().into_iter().flatten() {
            let text = fact.as_str().map_or_else(|| fact.to_string(), str::to_owned);
            parts.insert(format!("fact {name}"), text);
        }
        if let Some(why) = json["broken"].as_str() {
            parts.insert("broken".to_owned(), why.lines().last().unwrap_or_default().to_owned());
        }
        if json["alive"] == false {
            parts.insert("process".to_owned(), "gone".to_owned());
        }
        Ok(((word("case"), word("way")), parts))
    };
    lines.filter(|line| line.starts_with('{')).map(case).collect()
}

#[derive(Debug, Default)]
struct Compared {
    lines: Vec<String>,
    reviewed: usize,
    wrong: usize,
    /// Those with something wrong.
    cases: BTreeSet<String>,
}

fn compare(envoy: &Cases, seen: &Cases, ways: &[&str], reviewed: &[Reviewed]) -> Compared {
    let mut compared = Compared::default();
    let mut used = vec![false; reviewed.len()];
    let none = Parts::new();
    let mut keys: Vec<_> = envoy.keys().chain(seen.keys()).filter(|(_, way)| ways.contains(&way.as_str())).collect();
    keys.sort_unstable();
    keys.dedup();
    for key @ (case, way) in keys {
        let (theirs, ours) = (envoy.get(key).unwrap_or(&none), seen.get(key).unwrap_or(&none));
        let mut parts: Vec<_> = theirs.keys().chain(ours.keys()).collect();
        parts.sort_unstable();
        parts.dedup();
        for part in parts {
            let [theirs, ours] = [theirs, ours].map(|of| of.get(part).map_or("nothing", String::as_str));
            if theirs == ours {
                continue;
            }
            let fits = |row: &Reviewed| {
                row.case == case && row.is_of(way) && row.part == part && (row.ours.is_empty() || row.ours == ours)
            };
            let row = reviewed.iter().position(fits);
            let why = match row {
                Some(at) => {
                    used[at] = true;
                    compared.reviewed += 1;
                    format!("reviewed: {}", reviewed[at].why)
                }
                None => {
                    compared.wrong += 1;
                    compared.cases.insert(case.clone());
                    "DIFFERENT".to_owned()
                }
            };
            compared.lines.push(format!("{case} {way}: {part}: envoy {theirs:?}, here {ours:?}: {why}"));
        }
    }
    for (row, _) in reviewed.iter().zip(used).filter(|(row, used)| !used && ways.iter().any(|way| row.is_of(way))) {
        compared.wrong += 1;
        compared.cases.insert(row.case.to_owned());
        compared.lines.push(format!("{} {}: {}: reviewed, but no case needs it", row.case, row.way, row.part));
    }
    compared
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"case": "start", "way": "sotw-ads", "facts": {"serves": "200 one"}, "trace": {"cds": ["first v- []", "ack v1 []"]}}"#;

    #[test]
    fn a_difference_is_told_unless_it_is_reviewed() {
        let envoy = read([LINE].into_iter()).unwrap();
        let ours = read([LINE.replace("ack v1", "ack v2").as_str()].into_iter()).unwrap();
        assert_eq!(compare(&envoy, &envoy, &WAYS, &[]).wrong, 0);
        let told = compare(&envoy, &ours, &WAYS, &[]);
        assert_eq!((told.wrong, told.lines.len()), (1, 1), "{told:?}");
        let row = |ours| Reviewed { case: "start", way: "sotw*", part: "cds", ours, why: "meant" };
        assert_eq!(compare(&envoy, &ours, &WAYS, &[row("first v- [] · ack v2 []")]).wrong, 0);
        assert_eq!(compare(&envoy, &ours, &WAYS, &[row("another")]).wrong, 2); // the difference, and the row that nothing needs
        assert_eq!(compare(&envoy, &Cases::new(), &WAYS, &[]).wrong, 2); // a case that did not come has no parts
        assert_eq!(compare(&envoy, &ours, &WAYS[1..], &[]).wrong, 0); // of another way
    }

    #[test]
    fn the_record_of_envoy_is_read() {
        let envoy = read(ENVOY.lines()).unwrap();
        assert!(WAYS.iter().all(|way| envoy.contains_key(&("start".to_owned(), (*way).to_owned()))));
        assert!(envoy.values().all(|parts| !parts.contains_key("broken")));
    }
}

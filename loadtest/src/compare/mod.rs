//! `ringway-load compare`: proxies side by side on one host, in interleaved rounds, by what they take and what they give.
//!
//! Each proxy is started from a configuration of ours in its own format ([`config`]), pinned, and loaded by a generator that is a process
//! of its own, before an origin that is another ([`bed`]). What it takes is read from the kernel ([`account`]). What came of it is told as a
//! table ([`text`]) and as a document that `report` draws.

mod account;
mod bed;
mod capacity;
mod config;
pub(crate) mod held;
mod idle;
mod install;
mod instructions;
mod measure;
mod peer;
mod rounds;
mod row;
pub(crate) mod scenario;
mod text;
mod workers;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use ringway_runtime::{cpus, raise_descriptor_limit};
use serde_json::{Value, json};

use self::bed::{Folder, Origin, Places};
use self::config::Origins;
use self::install::Shelf;
use self::peer::{Kind, Missing, Peer};
use self::rounds::{Plan, Run};
use self::scenario::Scenario;
use crate::arguments::{Cpus, cpu_list};
use crate::host;
use crate::report::file::File;
use crate::report::setting;
use crate::target::Target;
use crate::units;

/// The document's version: another one where a member changes its meaning or goes away.
const VERSION: u32 = 1;
/// Ringway as it is installed, with a worker for each of its CPUs.
const OURS: &str = "ringway run -c {config} --concurrency {workers}";
/// `--quick`: is everything there, and does it work?
const QUICK_TIME: Duration = Duration::from_millis(500);
/// Idle connections are as many as the scenario says divided by this then.
const QUICK_IDLE: u32 = 20;

/// What can be said.
pub(crate) fn command() -> Command {
    let number =
        |name: &'static str| Arg::new(name).long(name).value_name("N").value_parser(value_parser!(u32).range(1..=100));
    let file = |name: &'static str| Arg::new(name).long(name).value_name("FILE").value_parser(value_parser!(PathBuf));
    let list = |name: &'static str| Arg::new(name).long(name).value_name("LIST").value_parser(cpu_list);
    let origin = |name: &'static str| Arg::new(name).long(name).value_name("URL").value_parser(Target::parse);
    Command::new("compare")
        .about("Ringway beside Envoy, HAProxy and nginx on this host: CPU, memory, latency")
        .next_help_heading("What is compared")
        .arg(
            Arg::new("ours")
                .long("ours")
                .value_name("[NAME=]COMMAND")
                .action(ArgAction::Append)
                .help("How Ringway is started (several are compared, too); {config} and {workers} are filled in; none"),
        )
        .arg(
            Arg::new("peers")
                .long("peers")
                .value_name("LIST")
                .default_value("envoy,haproxy,nginx")
                .value_parser(peers)
                .help("Which of envoy, haproxy, nginx; none"),
        )
        .arg(Arg::new("install").long("install").action(ArgAction::SetTrue).help("Installs those that are missing"))
        .arg(
            Arg::new("scenarios")
                .long("scenarios")
                .value_name("LIST")
                .default_value("all")
                .value_parser(scenarios)
                .help("Some of those that docs/LOADTEST.md names"),
        )
        .next_help_heading("How long, and where")
        .arg(number("rounds").default_value("3").help("All take their turn in each"))
        .arg(
            Arg::new("seconds")
                .long("seconds")
                .value_name("TIME")
                .default_value("3s")
                .value_parser(units::duration)
                .help("Of each round of each proxy"),
        )
        .arg(Arg::new("quick").long("quick").action(ArgAction::SetTrue).help("One short round, few idle connections"))
        .arg(list("proxy-cpus").help("CPUs of the proxies, a worker each; else the first"))
        .arg(list("load-cpus").help("CPUs of the generator and the origin; else all others"))
        .arg(
            origin("origin")
                .requires("bulk-origin")
                .help("An origin with answers of 1 KiB, in HTTP/1 and h2c, instead of our own"),
        )
        .arg(origin("bulk-origin").requires("origin").help("One with answers of 1 MiB"))
        .next_help_heading("Output")
        .arg(file("json").help("What was measured, for `report`"))
        .arg(file("keep").value_name("DIR").help("Configurations and logs stay there"))
}

fn peers(text: &str) -> Result<Peers, String> {
    Kind::parse(text).map(Peers)
}

fn scenarios(text: &str) -> Result<Scenarios, String> {
    scenario::parse(text).map(Scenarios)
}

/// Lists, each as one value of the command line.
#[derive(Clone, Debug)]
struct Peers(Vec<Kind>);
#[derive(Clone, Debug)]
struct Scenarios(Vec<Scenario>);

/// Compares, and says what came of it; the exit status.
///
/// # Errors
/// What cannot be set up, in words.
pub(crate) fn compare(matches: &mut ArgMatches, interrupted: &AtomicBool, say: impl Fn(&str)) -> Result<u8, String> {
    const DEFAULTED: &str = "with a default";
    let _descriptors = raise_descriptor_limit(); // ours, and those of all that we start; where it cannot be raised, connecting says so
    let began = SystemTime::now();
    let is_quick = matches.get_flag("quick");
    let Scenarios(scenarios) = matches.remove_one("scenarios").expect(DEFAULTED);
    let rounds: u32 = matches.remove_one("rounds").expect(DEFAULTED);
    let time: Duration = matches.remove_one("seconds").expect(DEFAULTED);
    if time < QUICK_TIME {
        return Err(format!("--seconds: {QUICK_TIME:?} at least"));
    }
    let places = places(matches)?;
    let (found, missing) = subjects(matches)?;
    // What was there before is only emptied where there is something to compare.
    let json = matches.remove_one::<PathBuf>("json").as_deref().map(File::create).transpose()?;
    for peer in &found {
        say(&format!("{} {}: {}\n", peer.name, peer.version, peer.shown()));
    }
    for missing in &missing {
        say(&format!("{}: {}\n", missing.name, missing.why));
    }
    let folder = Folder::make(matches.remove_one::<PathBuf>("keep").as_deref())?;
    folder.write_certificate()?;
    let origin = match (matches.remove_one::<Target>("origin"), matches.remove_one::<Target>("bulk-origin")) {
        (Some(small), Some(bulk)) => {
            Origin::given(Origins { small: Target::resolve(&small)?, bulk: Target::resolve(&bulk)? })
        }
        _ => Origin::start(&places)?,
    };
    say(&format!(
        "proxies on CPU {}, generator and origin on {}\n",
        cpus::format(&places.proxy),
        cpus::format(&places.load)
    ));
    let note = places.note();
    if let Some(note) = &note {
        say(&format!("note: {note}\n"));
    }
    let plan = Plan {
        rounds: if is_quick { 1 } else { rounds },
        time: if is_quick { QUICK_TIME } else { time },
        idle_divisor: if is_quick { QUICK_IDLE } else { 1 },
        scenarios,
    };
    let mut host = host::describe();
    host["instructions_counted"] = instructions::are_counted().into();
    let mut run = Run::new(&plan, &folder, &origin, &places, found, interrupted);
    let outcome = run.all(|scenario, rows| say(&text::table(scenario, rows)));
    if let Some(json) = json {
        let head = json!({
            "version": VERSION,
            "kind": "compare",
            "ringway_load": env!("CARGO_PKG_VERSION"),
            "began_unix_s": began.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs(),
            "command": setting::command(),
            "rounds": plan.rounds,
            "seconds": plan.time.as_secs_f64(),
            "proxy_cpus": places.proxy,
            "load_cpus": places.load,
            "notes": note.into_iter().collect::<Vec<_>>(),
            "host": host,
        });
        json.write(&format!("{:#}\n", document(head, &run, &missing)))?;
    }
    let failures = run.failures();
    for failure in &failures {
        say(&format!("FAILED {failure}\n"));
    }
    outcome?;
    Ok(match failures.as_slice() {
        _ if interrupted.load(Ordering::Relaxed) => INTERRUPTED,
        [] => 0,
        _ => 1,
    })
}

/// How it goes on, for who waits: on standard error, so that the tables alone are on standard output.
fn progress(line: &str) {
    crate::note(line);
}

/// The exit status of a comparison that the user ended, as that of `run`.
const INTERRUPTED: u8 = 130;

fn document(mut head: Value, run: &Run<'_>, missing: &[Missing]) -> Value {
    head["subjects"] = run.subjects_document();
    head["missing"] = missing.iter().map(|missing| json!({"name": missing.name, "why": missing.why})).collect();
    head["scenarios"] = run.scenarios_document();
    head["failures"] = json!(run.failures());
    head
}

/// Who runs where: the first CPU is the proxies', all others are the load's.
fn places(matches: &mut ArgMatches) -> Result<Places, String> {
    let all = cpus::affinity().map_err(|error| format!("which CPUs are there? {error}"))?;
    let [proxy, load] = ["proxy-cpus", "load-cpus"].map(|name| matches.remove_one::<Cpus>(name).map(|Cpus(list)| list));
    for cpu in proxy.iter().chain(&load).flatten() {
        if !all.contains(cpu) {
            return Err(format!("this process may not run on CPU {cpu}; it may on {}", cpus::format(&all)));
        }
    }
    let proxy = proxy.unwrap_or_else(|| all[..1].to_vec());
    let others: Vec<usize> = all.iter().copied().filter(|cpu| !proxy.contains(cpu)).collect();
    // Where the proxies have all CPUs, all share them: that is told, and is no reason not to look.
    let load = load.unwrap_or(if others.is_empty() { proxy.clone() } else { others });
    Ok(Places { proxy, load })
}

/// The proxies that are there, and those that are not.
fn subjects(matches: &mut ArgMatches) -> Result<(Vec<Peer>, Vec<Missing>), String> {
    let Peers(kinds) = matches.remove_one("peers").expect("with a default");
    let is_to_install = matches.get_flag("install");
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    let shelf = Shelf::here();
    for kind in kinds {
        let mut peer = kind.find(&shelf);
        if peer.is_err() && is_to_install {
            peer = match shelf.install(kind) {
                Ok(()) => kind.find(&shelf),
                Err(why) => Err(Missing { name: kind.name().to_owned(), why }),
            };
        }
        match peer {
            Ok(peer) => found.push(peer),
            Err(why) => missing.push(why),
        }
    }
    let ours: Vec<String> = match matches.remove_many("ours") {
        Some(all) => all.collect(),
        None => vec![OURS.to_owned()],
    };
    if ours != ["none"] {
        let ours = ours.iter().map(|text| peer::ours(text)).collect::<Result<Vec<_>, _>>()?;
        found.extend(ours);
    }
    for (at, peer) in found.iter().enumerate() {
        if peer.name == text::ORIGIN || found[..at].iter().any(|other| other.name == peer.name) {
            return Err(format!("two are called {:?}: --ours NAME=COMMAND", peer.name));
        }
    }
    Ok((found, missing))
}

/// How the generator is started, for those who read documents: without the address of a listener, and the rate of each row.
pub(crate) fn shown_arguments(scenario: &Scenario) -> String {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0)).to_string();
    let words = scenario.arguments(&nowhere).into_iter().map(|word| word.replace(&nowhere, "LISTENER"));
    let rate: &[&str] = if scenario.is_open() { &["--rate", "ASKED_RATE"] } else { &[] };
    let words = words.chain(rate.iter().map(|word| (*word).to_owned()));
    let quoted = words.map(|word| if word.contains(' ') { format!("'{word}'") } else { word });
    format!("ringway-load run {}", quoted.collect::<Vec<_>>().join(" "))
}

//! The command line: Envoy's flags where Envoy has them, ours beside them.
//!
//! Reads arguments and nothing else: no file is opened here, no thread is counted. A flag of Envoy's without meaning
//! for Ringway is accepted only if leaving it out cannot harm, and [`WITHOUT_EFFECT`] says why; the others are refused
//! as unknown.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, value_parser};
use ringway_control_client::NodeOptions;
use ringway_engine::Balance;
pub(crate) use ringway_runtime::cpus::Pin;
use ringway_runtime::{FeatureSet, IoChoice};

use crate::access_log::Flush;
use crate::doctor::Doctor;
use crate::explain::{self, Explain};
use crate::iptables;
use crate::log::Level;

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Command {
    /// `run`, or no subcommand: serve. With `--mode validate`: [`Command::Check`].
    Run(Box<Run>),
    /// `check`: read the configuration and say all that is wrong with it.
    Check(Source),
    /// `demo`: two origins and the proxy before them.
    Demo(Demo),
    /// `doctor`: what this host allows.
    Doctor(Doctor),
    /// `explain`: which way a request would take through a running proxy.
    Explain(Explain),
    /// `iptables`: the rules of a transparent sidecar.
    Iptables(Box<iptables::Run>),
}

/// Where the configuration is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Source {
    /// `--config-path`.
    pub(crate) path: Option<PathBuf>,
    /// `--config-yaml`, instead of the file.
    pub(crate) yaml: Option<String>,
    /// `--allow-unknown-static-fields`.
    pub(crate) allow_unknown_static_fields: bool,
    /// `--service-node`, `--service-cluster`, `--service-zone`.
    pub(crate) node: NodeOptions,
}

/// The options of `run`.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// The configuration.
    pub(crate) source: Source,
    /// `--mode init_only`: end as soon as the configuration is in force.
    pub(crate) init_only: bool,
    /// `--admin-address-path`: the file into which the admin server's address is written.
    pub(crate) admin_address_path: Option<PathBuf>,
    /// `--log-level`.
    pub(crate) log_level: Level,
    /// How it runs.
    pub(crate) engine: Tuning,
    /// Flags given that have no effect, for the log.
    pub(crate) without_effect: Vec<&'static str>,
}

/// How workers run, whatever the configuration.
#[derive(Clone, Debug)]
pub(crate) struct Tuning {
    /// `--concurrency`: how many workers.
    pub(crate) concurrency: Option<usize>,
    /// `--cpus`: one worker on each, in this order.
    pub(crate) cpus: Option<String>,
    /// `--pin`: whether workers are tied to their CPUs.
    pub(crate) pin: Pin,
    /// `--housekeeping-cpus`: where the control and admin threads run.
    pub(crate) housekeeping_cpus: Option<String>,
    /// `--io`: how workers talk to the kernel.
    pub(crate) io: IoChoice,
    /// `--io-without`: features of io_uring that are left out.
    pub(crate) io_without: FeatureSet,
    /// `--balance`; by the number of workers where it is not given.
    pub(crate) balance: Option<Balance>,
    /// `--spin-us`: how long a worker looks for work before it sleeps, in microseconds.
    pub(crate) spin_us: u32,
    /// `--drain-time-s`.
    pub(crate) drain_time: Duration,
    /// `--xds-bundle-wait-ms`: how long a response of a management server waits for the other types of its version.
    pub(crate) bundle_wait: Duration,
    /// `--file-flush-interval-msec`, `--file-flush-min-size-kb`.
    pub(crate) log_flush: Flush,
}

/// The options of `demo`.
#[derive(Debug)]
pub(crate) struct Demo {
    /// `--port`: of the proxy. The origins get the next two; 0 lets the kernel choose all three.
    pub(crate) port: u16,
    /// `--self-test`: ask, print the answers, end.
    pub(crate) self_test: bool,
    /// How it runs.
    pub(crate) engine: Tuning,
}

/// Envoy's flags that are accepted and do nothing: name, the value's name (empty: a switch), the reason.
pub(crate) const WITHOUT_EFFECT: &[(&str, &str, &str)] = &[
    ("base-id", "N", HOT_RESTART),
    ("base-id-path", "FILE", HOT_RESTART),
    ("component-log-level", "LIST", "there is one logger; --log-level sets it"),
    ("cpuset-threads", "", "workers are counted from the cpuset, the affinity and the quota in any case"),
    ("disable-hot-restart", "", HOT_RESTART),
    ("drain-strategy", "STRATEGY", "a drain asks each connection to close at its next response"),
    ("enable-core-dump", "", "the limits of the process decide"),
    ("enable-fine-grain-logging", "", "there is one logger; --log-level sets it"),
    ("enable-mutex-tracing", "", "no lock is on the way of a request"),
    ("ignore-unknown-dynamic-fields", "", "of management servers they are passed over in any case, in files refused"),
    ("local-address-ip-version", "VERSION", "the node's own address is not used"),
    ("log-format", "FORMAT", "lines have one format"),
    ("log-format-escaped", "", "a line never holds control characters"),
    ("log-stacktrace-single-entry", "", "no stack traces are logged"),
    ("parent-shutdown-time-s", "N", HOT_RESTART),
    (
        "reject-unknown-dynamic-fields",
        "",
        "not taken up yet: of management servers they are passed over, in files refused",
    ),
    ("restart-epoch", "N", HOT_RESTART),
    ("skip-deprecated-logs", "", "no such lines are written"),
    ("skip-hot-restart-on-no-parent", "", HOT_RESTART),
    ("skip-hot-restart-parent-stats", "", HOT_RESTART),
    ("socket-mode", "MODE", HOT_RESTART),
    ("socket-path", "PATH", HOT_RESTART),
    ("use-dynamic-base-id", "", HOT_RESTART),
];

const HOT_RESTART: &str = "no hot restart: two processes share an address (SO_REUSEPORT) and the old one drains";

/// Reads the arguments, the program's name first.
///
/// # Errors
/// clap's error; help and version are such "errors" too, and say so by their kind.
pub(crate) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, clap::Error> {
    let mut command = command();
    let matches = command.try_get_matches_from_mut(arguments)?;
    let refuse = |text: String| command.clone().error(clap::error::ErrorKind::ValueValidation, text);
    match matches.subcommand() {
        None => run(&matches, &refuse),
        Some(("run", matches)) => run(matches, &refuse),
        Some(("check", matches)) => Ok(Command::Check(source(matches, &refuse)?)),
        Some(("demo", matches)) => Ok(Command::Demo(Demo {
            port: number(matches, "port").unwrap_or(10_000),
            self_test: matches.get_flag("self-test"),
            engine: tuning(matches),
        })),
        Some(("doctor", matches)) => {
            Ok(Command::Doctor(Doctor { json: matches.get_flag("json"), engine: tuning(matches) }))
        }
        Some(("explain", matches)) => Ok(Command::Explain(explain::read(matches))),
        Some(("iptables", matches)) => Ok(Command::Iptables(Box::new(iptables::read(matches).map_err(refuse)?))),
        Some((name, _)) => unreachable!("clap knows no subcommand {name}"),
    }
}

type Refuse<'r> = &'r dyn Fn(String) -> clap::Error;

fn run(matches: &ArgMatches, refuse: Refuse<'_>) -> Result<Command, clap::Error> {
    let source = source(matches, refuse)?;
    if choice(matches, "mode") == "validate" {
        return Ok(Command::Check(source));
    }
    Ok(Command::Run(Box::new(Run {
        source,
        init_only: choice(matches, "mode") == "init_only",
        admin_address_path: matches.get_one("admin-address-path").cloned(),
        log_level: Level::parse(choice(matches, "log-level")).expect("one of the possible values"),
        engine: tuning(matches),
        without_effect: WITHOUT_EFFECT
            .iter()
            .map(|(name, ..)| *name)
            .filter(|name| matches.value_source(name) == Some(clap::parser::ValueSource::CommandLine))
            .collect(),
    })))
}

fn source(matches: &ArgMatches, refuse: Refuse<'_>) -> Result<Source, clap::Error> {
    let source = Source {
        path: matches.get_one("config-path").cloned(),
        yaml: matches.get_one("config-yaml").cloned(),
        allow_unknown_static_fields: matches.get_flag("allow-unknown-static-fields"),
        node: NodeOptions {
            id: choice(matches, "service-node").to_owned(),
            cluster: choice(matches, "service-cluster").to_owned(),
            zone: choice(matches, "service-zone").to_owned(),
        },
    };
    match &source {
        Source { path: None, yaml: None, .. } => {
            Err(refuse("give a configuration: --config-path or --config-yaml".into()))
        }
        Source { path: Some(_), yaml: Some(_), .. } => {
            Err(refuse("--config-yaml together with --config-path is not supported yet: put all into one".into()))
        }
        _ => Ok(source),
    }
}

fn tuning(matches: &ArgMatches) -> Tuning {
    Tuning {
        concurrency: number::<u64>(matches, "concurrency").map(|count| count as usize),
        cpus: matches.get_one("cpus").cloned(),
        pin: match choice(matches, "pin") {
            "on" => Pin::On,
            "off" => Pin::Off,
            _ => Pin::Auto,
        },
        housekeeping_cpus: matches.get_one("housekeeping-cpus").cloned(),
        io: number(matches, "io").unwrap_or_default(),
        io_without: number(matches, "io-without").unwrap_or_default(),
        balance: match choice(matches, "balance") {
            "local" => Some(Balance::Local),
            "least-of-two" => Some(Balance::LeastOfTwo),
            "exact" => Some(Balance::Exact),
            _ => None,
        },
        spin_us: number(matches, "spin-us").unwrap_or(0),
        drain_time: Duration::from_secs(number::<u64>(matches, "drain-time-s").unwrap_or(DRAIN_TIME_S)),
        bundle_wait: Duration::from_millis(number::<u64>(matches, "xds-bundle-wait-ms").unwrap_or(BUNDLE_WAIT_MS)),
        log_flush: Flush {
            interval: Duration::from_millis(number(matches, "file-flush-interval-msec").unwrap_or(FLUSH_INTERVAL_MS)),
            bytes_min: number::<u64>(matches, "file-flush-min-size-kb").unwrap_or(FLUSH_KIB_MIN) as usize * 1024,
        },
    }
}

fn choice<'m>(matches: &'m ArgMatches, name: &str) -> &'m str {
    matches.get_one::<String>(name).map_or("", String::as_str)
}

fn number<T: Copy + Send + Sync + 'static>(matches: &ArgMatches, name: &str) -> Option<T> {
    matches.try_get_one(name).ok().flatten().copied()
}

/// Envoy's default for `--file-flush-interval-msec`.
const FLUSH_INTERVAL_MS: u64 = 10_000;
/// Envoy's default for `--file-flush-min-size-kb`.
const FLUSH_KIB_MIN: u64 = 64;
/// The largest of both: a day, and what no sink buffers anyway.
const FLUSH_INTERVAL_MS_MAX: u64 = 86_400_000;
const FLUSH_KIB_MIN_MAX: u64 = 1024;

/// Envoy's default for `--drain-time-s`.
const DRAIN_TIME_S: u64 = 600;

/// The most workers that anybody may ask for: each has a ring, a pool and its share of every limit.
const WORKERS_MAX: u64 = 1024;

/// The longest time to drain: a day.
const DRAIN_TIME_S_MAX: u64 = 86_400;

/// `--xds-bundle-wait-ms` where it is not given: a slow server sends all types of a snapshot in less.
const BUNDLE_WAIT_MS: u64 = 500;

/// The longest of that: what has come is not in force meanwhile.
const BUNDLE_WAIT_MS_MAX: u64 = 60_000;

/// The longest spin, 10 ms: a worker that spins longer should be told so by its owner, not by a typing error.
const SPIN_US_MAX: i64 = 10_000;

fn command() -> clap::Command {
    let run = |command: clap::Command| {
        command.args(source_arguments()).args(run_arguments()).args(tuning_arguments()).args(without_effect())
    };
    run(clap::Command::new("ringway"))
        .version(env!("CARGO_PKG_VERSION"))
        .about("A proxy for latency-critical sidecars: io_uring, one thread per core, Envoy's configuration")
        .args_conflicts_with_subcommands(true)
        .subcommand_negates_reqs(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommand(
            run(clap::Command::new("run")).about("Serve a configuration (what is done without a subcommand, too)"),
        )
        .subcommand(
            clap::Command::new("check")
                .about("Say all that is wrong with a configuration, by file, line and field")
                .args(source_arguments()),
        )
        .subcommand(
            clap::Command::new("demo")
                .about("Two built-in origins and the proxy before them, with curl lines to try")
                .args([
                    option("port", "PORT", "The proxy's port; the origins get the next two. 0: the kernel chooses")
                        .value_parser(value_parser!(u16).range(..=65_533))
                        .default_value("10000"),
                    switch("self-test", "Ask each route once, print the answers and end"),
                ])
                .args(tuning_arguments()),
        )
        .subcommand(
            clap::Command::new("doctor")
                .about("What this host allows, what it means for these options, and what to do about it")
                .arg(switch("json", "Print JSON"))
                .args(tuning_arguments()),
        )
        .subcommand(explain::command())
        .subcommand(iptables::command())
}

fn source_arguments() -> [Arg; 6] {
    [
        option(
            "config-path",
            "FILE",
            "The configuration: Envoy's bootstrap as YAML or JSON. A rename over it reloads it",
        )
        .short('c')
        .value_parser(value_parser!(PathBuf)),
        option("config-yaml", "YAML", "The configuration itself instead of a file"),
        switch("allow-unknown-static-fields", "Warn of unknown fields instead of refusing them")
            .alias("allow-unknown-fields"),
        option("service-node", "NAME", "node.id, whatever the file says"),
        option("service-cluster", "NAME", "node.cluster, whatever the file says"),
        option("service-zone", "NAME", "node.locality.zone, whatever the file says"),
    ]
}

fn run_arguments() -> [Arg; 5] {
    [
        choices(
            "mode",
            &["serve", "validate", "init_only"],
            "serve",
            "Serve; or check the file and end; or load it and end",
        ),
        option("admin-address-path", "FILE", "Write the admin server's address into this file")
            .value_parser(value_parser!(PathBuf)),
        choices(
            "log-level",
            &["trace", "debug", "info", "warning", "warn", "error", "critical", "off"],
            "info",
            "The least level that is logged",
        )
        .short('l'),
        option("file-flush-interval-msec", "N", "Access logs are written at least so often, in ms. Default: 10000")
            .value_parser(value_parser!(u64).range(1..=FLUSH_INTERVAL_MS_MAX)),
        option("file-flush-min-size-kb", "N", "Access logs are written before that once so much waits. Default: 64")
            .value_parser(value_parser!(u64).range(0..=FLUSH_KIB_MIN_MAX)),
    ]
}

fn tuning_arguments() -> [Arg; 10] {
    [
        option("concurrency", "N", "How many workers. Default: as many as CPUs may be used, by affinity and quota")
            .value_parser(value_parser!(u64).range(1..=WORKERS_MAX)),
        option("cpus", "LIST", "One worker on each of these CPUs: 0,2-3"),
        choices(
            "pin",
            &["auto", "on", "off"],
            "auto",
            "Tie workers to their CPUs: auto does with --cpus, and where the CPUs are this process's alone",
        ),
        option("housekeeping-cpus", "LIST", "Where the control, admin and log threads run"),
        option(
            "io",
            "auto|ring|poll",
            "How workers talk to the kernel: io_uring, or epoll; auto: the first that works",
        )
        .value_parser(|word: &str| word.parse::<IoChoice>())
        .default_value("auto"),
        option("io-without", "LIST", "Features of io_uring to leave out, though the kernel may have them")
            .value_parser(|list: &str| list.parse::<FeatureSet>())
            .hide_short_help(true),
        option("spin-us", "N", "How long a worker looks for work before it sleeps, in microseconds, as long as looking finds some; 0: not at all")
            .value_parser(value_parser!(u32).range(0..=SPIN_US_MAX)),
        choices(
            "balance",
            &["auto", "local", "least-of-two", "exact"],
            "auto",
            "How connections are shared among workers: as the kernel's hash says, the lighter of two, the lightest of all; \
             auto: exact with up to 4 workers, else least-of-two",
        ),
        option("drain-time-s", "N", "How long what runs may take to finish after SIGTERM, in seconds. Default: 600")
            .value_parser(value_parser!(u64).range(0..=DRAIN_TIME_S_MAX)),
        option(
            "xds-bundle-wait-ms",
            "N",
            "How long a response of a management server that numbers whole snapshots waits for the other types of its \
             version, in milliseconds; 0: not at all. Default: 500",
        )
        .value_parser(value_parser!(u64).range(0..=BUNDLE_WAIT_MS_MAX)),
    ]
}

fn without_effect() -> impl Iterator<Item = Arg> {
    WITHOUT_EFFECT.iter().map(|(name, value, reason)| {
        let argument = if value.is_empty() { switch(name, reason) } else { option(name, value, reason) };
        argument.help_heading("Envoy's flags, accepted without effect").hide_short_help(true)
    })
}

fn option(name: &'static str, value: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(value).help(help).allow_hyphen_values(value == "YAML")
}

fn switch(name: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
}

fn choices(name: &'static str, values: &'static [&'static str], default: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_parser(values.to_vec()).default_value(default).help(help)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn read(line: &str) -> Result<Command, clap::Error> {
        parse(std::iter::once("ringway").chain(line.split_whitespace()).map(OsString::from))
    }

    /// The tuning of a command line's options.
    #[track_caller]
    pub(crate) fn tuning(options: &str) -> Tuning {
        match read(&format!("doctor {options}")) {
            Ok(Command::Doctor(doctor)) => doctor.engine,
            other => panic!("{options}: {other:?}"),
        }
    }

    #[track_caller]
    fn run(line: &str) -> Run {
        match read(line) {
            Ok(Command::Run(run)) => *run,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[track_caller]
    fn refused(line: &str, word: &str) {
        let error = read(line).expect_err(line).to_string();
        assert!(error.contains(word), "{line}: {error}");
    }

    #[test]
    fn clap_agrees_with_itself() {
        command().debug_assert();
    }

    #[test]
    fn without_a_subcommand_it_runs() {
        for line in ["-c a.yaml", "run -c a.yaml", "--config-path a.yaml", "run --config-path=a.yaml"] {
            let run = run(line);
            assert_eq!(run.source.path.as_deref(), Some(std::path::Path::new("a.yaml")));
            assert_eq!(run.engine.drain_time, Duration::from_secs(600));
            assert_eq!((run.engine.io, run.engine.pin, run.log_level), (IoChoice::Auto, Pin::Auto, Level::Info));
            assert_eq!(run.engine.balance, None);
        }
    }

    /// What Istio's agent gives to its proxy (pkg/envoy/proxy.go).
    #[test]
    fn the_flags_of_istios_agent_are_read() {
        let run = run(concat!(
            "-c etc/istio/proxy/envoy-rev.json --drain-time-s 45 --drain-strategy immediate --local-address-ip-version v4 ",
            "--file-flush-interval-msec 1000 --disable-hot-restart --allow-unknown-static-fields -l warning ",
            "--component-log-level misc:error --concurrency 2"
        ));
        assert_eq!(run.engine.concurrency, Some(2));
        assert_eq!(run.engine.drain_time, Duration::from_secs(45));
        assert_eq!(run.log_level, Level::Warning);
        assert!(run.source.allow_unknown_static_fields);
        let expect = ["component-log-level", "disable-hot-restart", "drain-strategy", "local-address-ip-version"];
        assert_eq!(run.without_effect, expect);
    }

    #[test]
    fn a_node_has_a_name_of_the_command_line() {
        let node = run("-c a --service-node n --service-cluster=c --service-zone z").source.node;
        assert_eq!((&*node.id, &*node.cluster, &*node.zone), ("n", "c", "z"));
        assert_eq!(run("-c a").source.node, NodeOptions::default());
    }

    #[test]
    fn balance_is_one_of_three_or_none_is_named() {
        for (word, expect) in
            [("local", Balance::Local), ("least-of-two", Balance::LeastOfTwo), ("exact", Balance::Exact)]
        {
            assert_eq!(run(&format!("-c a --balance {word}")).engine.balance, Some(expect));
        }
    }

    #[test]
    fn modes_are_commands() {
        assert!(matches!(read("-c a --mode validate"), Ok(Command::Check(_))));
        assert!(matches!(read("check -c a"), Ok(Command::Check(_))));
        assert!(run("-c a --mode init_only").init_only);
        assert!(matches!(read("demo"), Ok(Command::Demo(Demo { port: 10_000, self_test: false, .. }))));
        assert!(matches!(
            read("demo --port 0 --self-test --io poll"),
            Ok(Command::Demo(Demo { port: 0, self_test: true, engine: Tuning { io: IoChoice::Poll, .. } }))
        ));
    }

    #[test]
    fn what_is_not_done_is_refused_by_name() {
        refused("run", "--config-path");
        refused("check", "--config-path");
        refused("-c a --balance fair", "least-of-two");
        refused("-c a --io epoll", "ring");
        refused("-c a --io-without sqpoll", "none of io_uring,");
        refused("-c a --concurrency 0", "--concurrency");
        refused("-c a --stats-tag a:b", "--stats-tag");
        refused("-c a --log-path f", "--log-path");
        refused("-c a --config-yaml {}", "not supported yet");
        refused("frobnicate", "frobnicate");
    }
}

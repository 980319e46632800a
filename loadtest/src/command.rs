//! The command line: what can be said, and the plan that it makes.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use crate::arguments;
use crate::content::{BYTES_MAX, Sizes, filling};
use crate::contradiction;
use crate::expect::{self, Expect};
use crate::message;
use crate::plan::{Pace, Plan, Reply, Request, Trust};
use crate::schedule::Arrivals;
use crate::target::{Protocol, Target, parse_path};
use crate::threshold::Threshold;
use crate::units;

/// All that can be said.
pub(crate) fn command() -> Command {
    Command::new("ringway-load")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Load for HTTP/1, HTTP/2, gRPC and TCP, with and without TLS, in closed and in open loop")
        .after_help("`ringway-load TARGET ...` is `ringway-load run TARGET ...`. docs/LOADTEST.md explains all of it.")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(run_command("run", "Sends requests and says what came of them"))
        .subcommand(crate::serve::command())
        .subcommand(crate::sweep::command())
        .subcommand(crate::compare::command())
        .subcommand(crate::compare::held::command())
        .subcommand(crate::page::command())
}

/// The names of subcommands: a command line that begins with none of them is one of `run`.
pub(crate) const SUBCOMMANDS: [&str; 9] =
    ["run", "serve", "sweep", "compare", "held", "report", "help", "--help", "--version"];

fn seconds(name: &'static str, default: &'static str) -> Arg {
    Arg::new(name).long(name).value_name("TIME").default_value(default).value_parser(units::duration)
}

/// `run`, and what others have of it: all but the options that are of one run alone.
pub(crate) fn run_command(name: &'static str, about: &'static str) -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    let file = |name: &'static str| Arg::new(name).long(name).value_name("FILE").value_parser(value_parser!(PathBuf));
    let number =
        |name: &'static str| Arg::new(name).long(name).value_name("N").value_parser(value_parser!(u32).range(1..));
    let of_run = |arg: Arg| (name == "run").then_some(arg);
    Command::new(name)
        .about(about)
        .next_help_heading("What is sent")
        .arg(
            Arg::new("target")
                .required(true)
                .value_name("TARGET")
                .value_parser(Target::parse)
                .help("http://, https://, h2c://, grpc://, grpcs://, tcp://, tls://, or ADDRESS:PORT for HTTP/1"),
        )
        .arg(
            Arg::new("path")
                .long("path")
                .value_name("PATH")
                .value_parser(parse_path)
                .help("The path to ask for, instead of the target's"),
        )
        .arg(flag("http1").conflicts_with("http2").help("HTTP/1.1 where ALPN would choose"))
        .arg(flag("http2").help("HTTP/2: by prior knowledge, or by ALPN where there is TLS"))
        .arg(
            Arg::new("method")
                .short('X')
                .long("method")
                .value_name("METHOD")
                .help("GET, or POST where there is a body"),
        )
        .arg(
            Arg::new("header")
                .short('H')
                .long("header")
                .value_name("NAME: VALUE")
                .action(ArgAction::Append)
                .value_parser(header)
                .help("A header, instead of one of our own where the names are the same"),
        )
        .arg(
            Arg::new("body-size")
                .long("body-size")
                .value_name("SIZES")
                .value_parser(Sizes::parse)
                .help("4k, uniform:1k-64k, exp:16k or weighted:1k=90,1m=10"),
        )
        .arg(file("body-file").conflicts_with("body-size").help("The body"))
        .arg(
            number("messages")
                .default_value("1")
                .help("Messages of a gRPC call, sent at once: several make it a stream"),
        )
        .arg(
            Arg::new("tcp-reply")
                .long("tcp-reply")
                .value_name("echo|none|SIZE")
                .default_value("echo")
                .value_parser(reply)
                .help("What comes back on a raw connection for --body-size bytes"),
        )
        .next_help_heading("How fast, and for how long")
        .args(of_run(
            Arg::new("rate")
                .short('r')
                .long("rate")
                .value_name("N")
                .value_parser(rate)
                .help("Open loop: requests a second, whether earlier ones were answered or not"),
        ))
        .arg(
            Arg::new("arrivals")
                .long("arrivals")
                .value_name("constant|poisson")
                .default_value("constant")
                .value_parser(arrivals)
                .help("How requests of the open loop follow each other"),
        )
        .arg(
            Arg::new("connections")
                .short('c')
                .long("connections")
                .value_name("N")
                .default_value("64")
                .value_parser(value_parser!(u32).range(1..=CONNECTIONS_MAX))
                .help("Connections, of all cores together"),
        )
        .arg(
            Arg::new("streams")
                .short('s')
                .long("streams")
                .value_name("N")
                .default_value("10")
                .value_parser(value_parser!(u32).range(1..=STREAMS_MAX))
                .help("Requests at once on each connection of HTTP/2"),
        )
        .arg(flag("new-connections").help("A new connection for each request"))
        .arg(arguments::requests_per_connection().conflicts_with("new-connections"))
        .arg(
            Arg::new("duration")
                .short('d')
                .long("duration")
                .value_name("TIME")
                .default_value("10s")
                .value_parser(units::duration)
                .help("How long, warm-up included"),
        )
        .arg(
            Arg::new("count")
                .short('n')
                .long("count")
                .value_name("N")
                .value_parser(value_parser!(u64).range(1..))
                .help("How many requests behind the warm-up, however long that takes (or as long as --duration says)"),
        )
        .arg(seconds("warm-up", "0").help("What is due in it is sent and not counted"))
        .arg(seconds("ramp", "0").help("The rate, or the number of connections, grows so long from nothing"))
        .arg(seconds("hold", "0").help("Connections stay open so long when all is answered: for what idle ones cost"))
        .arg(
            seconds("timeout", "5s")
                .value_parser(units::some_duration)
                .help("For a whole answer, from when its request was due"),
        )
        .arg(seconds("connect-timeout", "3s").value_parser(units::some_duration).help("For a connection, TLS included"))
        .next_help_heading("What is expected")
        .arg(
            Arg::new("expect-status")
                .long("expect-status")
                .value_name("LIST")
                .default_value("2xx")
                .value_parser(Expect::statuses)
                .help("200,404 or 2xx,304"),
        )
        .arg(
            Arg::new("expect-body-bytes")
                .long("expect-body-bytes")
                .value_name("SIZE")
                .value_parser(units::size)
                .help("Bytes of each body"),
        )
        .arg(
            Arg::new("expect-messages")
                .long("expect-messages")
                .value_name("N")
                .value_parser(value_parser!(u64))
                .help("Messages of each gRPC call's answer"),
        )
        .arg(
            file("expect-body")
                .conflicts_with("expect-body-bytes")
                .help("Each body is this file, byte for byte (by xxHash64)"),
        )
        .args(of_run(
            Arg::new("fail-if")
                .long("fail-if")
                .value_name("CONDITIONS")
                .action(ArgAction::Append)
                .value_parser(Threshold::parse_all)
                .help("p99>5ms,errors>0 and the like: exit status 1. Without it: any error"),
        ))
        .next_help_heading("TLS")
        .arg(flag("insecure").short('k').conflicts_with("ca").help("Any certificate will do"))
        .arg(file("ca").help("PEM of the authorities that are trusted; the system's are not"))
        .arg(Arg::new("sni").long("sni").value_name("NAME").help("The name to ask for, instead of the target's"))
        .next_help_heading("The generator")
        .arg(arguments::threads())
        .arg(arguments::cpus())
        .arg(
            Arg::new("spin-us")
                .long("spin-us")
                .value_name("N")
                .default_value("0")
                .value_parser(value_parser!(u32))
                .help("Look for work so long before sleeping: more exact times for CPU"),
        )
        .arg(
            seconds("late-max", "10ms")
                .help("The generator has not kept the rate where 1 % of the requests are later than this"),
        )
        .arg(arguments::seed())
        .arg(arguments::io())
        .next_help_heading("Output")
        .arg(file("json").help("The outcome as JSON; - is standard output, and nothing else goes there then"))
        .args(of_run(file("csv").help("A line a second")))
        .args(of_run(file("hdr").help("Each second's latencies, as a log of HdrHistogram")))
        .arg(flag("quiet").short('q').help("Nothing while it runs"))
}

/// Connections of a run: twice the ports that one address has towards another are more than any run gets.
pub(crate) const CONNECTIONS_MAX: i64 = 131_072;
/// Streams of a connection: ten times what servers allow.
const STREAMS_MAX: i64 = 10_000;
/// Requests a second: beyond it the schedule's times are closer than its clock.
const RATE_MAX: f64 = 1e9;
/// And below it there is one in a dozen days: no load, and a typing error.
const RATE_MIN: f64 = 1e-6;
/// A run that has a count and no duration of its own lasts as long as it takes, within a day.
const DURATION_OF_COUNT: Duration = Duration::from_secs(86_400);

pub(crate) fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or_else(|| format!("{text:?} has no colon: 'NAME: VALUE'"))?;
    let (name, value) = (name.trim(), value.trim());
    if !ringway_protocols::http1::is_field(name.as_bytes(), value.as_bytes()) {
        return Err(format!("{text:?} is no header field"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

fn reply(text: &str) -> Result<Reply, String> {
    match text {
        "echo" => Ok(Reply::Echo),
        "none" => Ok(Reply::None),
        _ => units::size(text).map(Reply::Bytes),
    }
}

pub(crate) fn rate(text: &str) -> Result<f64, String> {
    match text.trim().parse::<f64>() {
        Ok(rate) if (RATE_MIN..=RATE_MAX).contains(&rate) => Ok(rate),
        _ => Err(format!("{text:?} is no number from 1e-6 to 1e9")),
    }
}

fn arrivals(text: &str) -> Result<Arrivals, String> {
    match text {
        "constant" => Ok(Arrivals::Constant),
        "poisson" => Ok(Arrivals::Poisson),
        _ => Err("one of constant, poisson".into()),
    }
}

/// Where the outcome goes, and what it is judged by.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) json: Option<PathBuf>,
    pub(crate) csv: Option<PathBuf>,
    pub(crate) hdr: Option<PathBuf>,
    pub(crate) quiet: bool,
    pub(crate) thresholds: Vec<Threshold>,
}

impl Output {
    pub(crate) fn of(matches: &mut ArgMatches) -> Output {
        let lists = matches.remove_many::<Vec<Threshold>>("fail-if");
        Output {
            json: matches.remove_one("json"),
            csv: matches.remove_one("csv"),
            hdr: matches.remove_one("hdr"),
            quiet: matches.get_flag("quiet"),
            thresholds: lists.into_iter().flatten().flatten().collect(),
        }
    }
}

/// What a command line of `run` says.
///
/// # Errors
/// A file that cannot be read, a name without an address, or options that contradict each other.
pub(crate) fn plan(matches: &mut ArgMatches) -> Result<Plan, String> {
    const DEFAULTED: &str = "required or with a default";
    let mut target: Target = matches.remove_one("target").expect(DEFAULTED);
    match target.protocol {
        Protocol::Http1 | Protocol::HttpByAlpn if matches.get_flag("http2") => target.protocol = Protocol::Http2,
        Protocol::HttpByAlpn if matches.get_flag("http1") => target.protocol = Protocol::Http1,
        _ => {}
    }
    contradiction::check(matches, &target)?;
    target.path = matches.remove_one("path").unwrap_or(target.path);
    let is_tcp = target.protocol == Protocol::Tcp;
    let read = |path: PathBuf| std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()));
    let (sizes, content) = match matches.remove_one("body-file").map(read).transpose()? {
        Some(content) => (Sizes::Fixed(content.len() as u64), content),
        None => {
            let default = if is_tcp { 1024 } else { 0 };
            let sizes: Sizes = matches.remove_one("body-size").unwrap_or(Sizes::Fixed(default));
            let content = filling(sizes.max() as usize);
            (sizes, content)
        }
    };
    if target.protocol == Protocol::Grpc && sizes.fixed().is_none() {
        return Err("messages of gRPC have one size".into());
    }
    if is_tcp && sizes.max() == 0 {
        return Err("a raw connection needs bytes to send: --body-size".into());
    }
    let messages: u32 = matches.remove_one("messages").expect(DEFAULTED);
    if target.protocol == Protocol::Grpc && message::grpc_size(sizes.max(), messages) > BYTES_MAX {
        return Err(format!("{messages} messages of so many bytes: a call is at most 1g"));
    }
    let has_body = sizes.max() > 0 || target.protocol == Protocol::Grpc;
    let method = matches.remove_one("method").unwrap_or_else(|| if has_body { "POST" } else { "GET" }.to_owned());
    if method.is_empty() || !method.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(format!("{method:?} is no method"));
    }
    let expected = matches.remove_one("expect-body").map(read).transpose()?;
    let expect = Expect {
        statuses: matches.remove_one("expect-status").expect(DEFAULTED),
        body_bytes: expected.as_ref().map(|body| body.len() as u64).or(matches.remove_one("expect-body-bytes")),
        body_hash: expected.as_deref().map(expect::hash),
        messages: matches.remove_one("expect-messages"),
    };
    if expect.messages.is_some() && target.protocol != Protocol::Grpc {
        return Err("--expect-messages is of gRPC: grpc:// or grpcs://".into());
    }
    // A sweep has no rate of its own, but several.
    let pace = match matches.try_remove_one("rate").ok().flatten() {
        Some(rate) => Pace::Open { rate, arrivals: matches.remove_one("arrivals").expect(DEFAULTED) },
        None => Pace::Closed,
    };
    let count: Option<u64> = matches.remove_one("count");
    let has_duration = matches.value_source("duration") == Some(clap::parser::ValueSource::CommandLine);
    let duration: Duration = matches.remove_one("duration").expect(DEFAULTED);
    let is_timed = count.is_none() || has_duration;
    let duration = if is_timed { duration } else { DURATION_OF_COUNT };
    let warm_up: Duration = matches.remove_one("warm-up").expect(DEFAULTED);
    if duration <= warm_up {
        return Err("--duration has to be longer than --warm-up, which it includes".into());
    }
    let ramp: Duration = matches.remove_one("ramp").expect(DEFAULTED);
    if ramp > duration {
        return Err("--ramp goes on behind --duration: what it grows to would never be there".into());
    }
    let connections: u32 = matches.remove_one("connections").expect(DEFAULTED);
    let (threads, cpus) = arguments::cores(matches);
    if threads > connections as usize {
        return Err(format!("{threads} cores want at least as many connections"));
    }
    let ca = matches.remove_one("ca").map(read).transpose()?;
    if target.tls && ca.is_none() && !matches.get_flag("insecure") {
        return Err("whom to trust? --ca FILE, or --insecure".into());
    }
    let name = matches.remove_one("sni").unwrap_or_else(|| target.host.clone());
    let per_connection: Option<u64> = matches.remove_one("requests-per-connection");
    let requests_per_connection = if matches.get_flag("new-connections") { Some(1) } else { per_connection };
    Ok(Plan {
        address: target.resolve()?,
        trust: Trust { ca, name },
        request: Request {
            method,
            headers: matches.remove_many("header").map(Iterator::collect).unwrap_or_default(),
            sizes,
            content,
            messages,
        },
        reply: matches.remove_one("tcp-reply").expect(DEFAULTED),
        expect,
        pace,
        connections: connections as usize,
        streams: matches.remove_one("streams").expect(DEFAULTED),
        requests_per_connection,
        threads,
        cpus,
        ramp,
        warm_up,
        duration,
        is_timed,
        count,
        hold: matches.remove_one("hold").expect(DEFAULTED),
        timeout: matches.remove_one("timeout").expect(DEFAULTED),
        connect_timeout: matches.remove_one("connect-timeout").expect(DEFAULTED),
        late_max: matches.remove_one("late-max").expect(DEFAULTED),
        spin_us: matches.remove_one("spin-us").expect(DEFAULTED),
        io: matches.remove_one("io").expect(DEFAULTED),
        seed: matches.remove_one("seed").expect(DEFAULTED),
        target,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_header_is_told_what_it_lacks() {
        assert_eq!(header("A:  b "), Ok(("A".to_owned(), "b".to_owned())));
        for (wrong, why) in [("foo", "no colon"), ("a b: c", "no header field"), ("a: b\r\nc: d", "no header field")] {
            assert!(header(wrong).unwrap_err().contains(why), "{wrong}");
        }
    }
}

//! `ringway-load`: HTTP/1.1 load from one core, on Ringway's own runtime: closed loop, or open loop with `--rate`.
//!
//! It counts what was answered and what was not, and says both; in open loop it says percentiles of latencies, too. HTTP/2 and
//! reports come with the harness issue.
#![expect(clippy::print_stdout, reason = "a command prints")]

mod histogram;
mod open_loop;

use std::cell::Cell;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use clap::{Arg, ArgMatches, Command, value_parser};
use open_loop::Loop;
use ringway_protocols::http1::{BodyDecoder, BodyPart, Decoded, HeadScan, decode_response};
use ringway_protocols::{HeadTable, Limits, Method};
use ringway_runtime::{Core, Instant, IoChoice, Options, Stream, Wake};

/// What is to be sent, where, and for how long.
struct Args {
    target: SocketAddr,
    path: String,
    connections: usize,
    duration_s: u64,
    io: IoChoice,
    /// Requests a second in open loop; closed loop if none.
    rate: Option<f64>,
}

fn command() -> Command {
    Command::new("ringway-load")
        .version(env!("CARGO_PKG_VERSION"))
        .about("HTTP/1.1 load: each connection sends its next GET when the last is answered, or, with --rate, when one is due")
        .arg(Arg::new("target").required(true).value_name("ADDRESS:PORT").value_parser(value_parser!(SocketAddr)))
        .arg(Arg::new("path").long("path").default_value("/").help("The path to ask for"))
        .arg(
            Arg::new("connections")
                .short('c')
                .long("connections")
                .default_value("64")
                .value_parser(value_parser!(u32).range(1..))
                .help("Connections, all on one core"),
        )
        .arg(
            Arg::new("duration")
                .short('d')
                .long("duration")
                .default_value("10")
                .value_parser(value_parser!(u64).range(1..))
                .help("How long, in seconds"),
        )
        .arg(
            Arg::new("rate")
                .long("rate")
                .value_parser(value_parser!(f64))
                .help("Open loop: requests a second, whether earlier ones were answered or not"),
        )
        .arg(Arg::new("io").long("io").default_value("auto").value_parser(parse_io).help("auto, ring or poll"))
}

impl Args {
    fn from(mut matches: ArgMatches) -> Self {
        const DEFAULTED: &str = "required or with a default";
        let connections: u32 = matches.remove_one("connections").expect(DEFAULTED);
        Self {
            target: matches.remove_one("target").expect(DEFAULTED),
            path: matches.remove_one("path").expect(DEFAULTED),
            connections: connections as usize,
            duration_s: matches.remove_one("duration").expect(DEFAULTED),
            io: matches.remove_one("io").expect(DEFAULTED),
            rate: matches.remove_one::<f64>("rate").filter(|rate| *rate > 0.0),
        }
    }
}

fn parse_io(text: &str) -> Result<IoChoice, String> {
    match text {
        "auto" => Ok(IoChoice::Auto),
        "ring" => Ok(IoChoice::Ring),
        "poll" => Ok(IoChoice::Poll),
        _ => Err("one of auto, ring, poll".into()),
    }
}

/// What came of the requests.
#[derive(Default)]
struct Tally {
    answered: Cell<u64>,
    not_2xx: Cell<u64>,
    failed: Cell<u64>,
    bytes: Cell<u64>,
}

fn bump(cell: &Cell<u64>, by: u64) {
    cell.set(cell.get() + by);
}

fn main() -> ExitCode {
    let args = Args::from(command().get_matches());
    let options = Options { io: args.io, ..Options::default() };
    let wake = match Wake::new() {
        Ok(wake) => wake,
        Err(error) => return fail(&error.to_string()),
    };
    let began = Instant::now();
    let run = ringway_runtime::run(&options, wake, move |core, report| async move {
        println!("{report}");
        let tally = Rc::new(Tally::default());
        let until = core.now() + Duration::from_secs(args.duration_s);
        let request = format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", args.path, args.target).into_bytes();
        let request = Rc::new(request);
        if let Some(rate) = args.rate {
            return open(core, &args, rate, request, tally, until).await;
        }
        for _ in 0..args.connections {
            core.spawn("load", connection(core.clone(), args.target, Rc::clone(&request), Rc::clone(&tally), until));
        }
        let timer = core.timer();
        timer.set(until);
        timer.expired().await;
        tally
    });
    let tally = match run {
        Ok(tally) => tally,
        Err(error) => return fail(&error.to_string()),
    };
    let seconds = began.elapsed().as_secs_f64();
    let (answered, failed) = (tally.answered.get(), tally.failed.get());
    println!(
        "{answered} answered ({:.0}/s), {} not 2xx, {failed} failed, {:.1} MB",
        answered as f64 / seconds,
        tally.not_2xx.get(),
        tally.bytes.get() as f64 / 1e6
    );
    if failed > 0 || answered == 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

/// Requests that were due but are not answered have so much longer.
const GRACE: Duration = Duration::from_secs(5);

/// The open loop: its percentiles are said here.
async fn open(core: Core, args: &Args, rate: f64, request: Rc<Vec<u8>>, tally: Rc<Tally>, until: Instant) -> Rc<Tally> {
    let open = Loop::new();
    for _ in 0..args.connections {
        let (request, tally, open) = (Rc::clone(&request), Rc::clone(&tally), Rc::clone(&open));
        core.spawn("load", open_loop::connection(core.clone(), args.target, request, tally, open, until + GRACE));
    }
    Rc::clone(&open).pace(core.clone(), rate, until).await;
    let timer = core.timer();
    while tally.answered.get() + tally.failed.get() < open.sent.get() && core.now() < until + GRACE {
        timer.set(core.now() + Duration::from_millis(10));
        timer.expired().await;
    }
    let unanswered = open.sent.get().saturating_sub(tally.answered.get() + tally.failed.get());
    bump(&tally.failed, unanswered);
    let latencies = open.latencies.borrow();
    let [p50, p99, p999, max] = [0.5, 0.99, 0.999, 1.0].map(|part| latencies.quantile(part));
    println!("latency us p50 {p50} p99 {p99} p99.9 {p999} max {max}");
    drop(latencies);
    tally
}

fn fail(why: &str) -> ExitCode {
    println!("ringway-load: {why}");
    ExitCode::FAILURE
}

async fn connection(core: Core, target: SocketAddr, request: Rc<Vec<u8>>, tally: Rc<Tally>, until: Instant) {
    let limits = Limits::default();
    let mut table = HeadTable::new(limits.headers_max);
    while core.now() < until {
        let Ok(stream) = core.connect(target, until).await else {
            if core.now() < until {
                bump(&tally.failed, 1);
            }
            return;
        };
        while core.now() < until {
            let mut block = core.block(request.len());
            block.extend_from_slice(&request);
            stream.send(block.freeze());
            match exchange(&core, &stream, &mut table, &limits).await {
                Some((status, bytes)) => {
                    bump(&tally.answered, 1);
                    bump(&tally.bytes, bytes);
                    if !(200..300).contains(&status) {
                        bump(&tally.not_2xx, 1);
                    }
                }
                None => {
                    bump(&tally.failed, 1);
                    break;
                }
            }
        }
    }
}

/// Reads one response to its end: status and bytes of the body; `None` when it was cut short or broke the rules.
async fn exchange(core: &Core, stream: &Stream, table: &mut HeadTable, limits: &Limits) -> Option<(u16, u64)> {
    let mut scan = HeadScan::default();
    let mut held = stream.recv().await.ok()??;
    let (status, mut body, mut at) = loop {
        match decode_response(&held, &mut scan, table, limits, Method::Get).ok()? {
            Decoded::Complete { head, consumed } if head.status() >= 200 => {
                break (head.status(), BodyDecoder::new(head.framing()), consumed);
            }
            Decoded::Complete { .. } => return None,
            Decoded::Partial => {
                let more = stream.recv().await.ok()??;
                let mut block = core.block(held.len() + more.len());
                block.extend_from_slice(&held);
                block.extend_from_slice(&more);
                held = block.freeze();
            }
        }
    };
    let mut bytes = 0;
    while !body.is_done() {
        if at == held.len() {
            held = stream.recv().await.ok()??;
            at = 0;
        }
        let step = body.decode(&held[at..], limits).ok()?;
        at += step.consumed;
        if let BodyPart::Data(range) = step.part {
            bytes += range.len() as u64;
        }
    }
    Some((status, bytes))
}

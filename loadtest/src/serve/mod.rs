//! `ringway-load serve`: a fast origin that does what a test wants of it: sizes, delays, stalls, errors, closes.
//!
//! One port speaks HTTP/1, HTTP/2 and gRPC, by what a client begins with or chooses by ALPN; or it takes raw bytes.

mod behaviour;
pub(crate) mod certificate;
mod http1;
mod http2;
mod tcp;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use ringway_protocols::Limits;
use ringway_protocols::hpack::FieldList;
use ringway_protocols::http2::PREFACE;
use ringway_runtime::{
    Core, Instant, IoChoice, Options, Stream, Wake, bind, cpus, raise_descriptor_limit, start_listening,
};
use ringway_tls::{ServerContext, Session};

use self::behaviour::{Behaviour, Replies, Stall};
use self::tcp::Raw;
use crate::arguments;
use crate::chance::Chance;
use crate::tls::secure;
use crate::units;

/// Connections that wait to be accepted: what a load of as many connections as there may be brings at once.
const BACKLOG: i32 = 4096;
/// How often a core looks whether it is to end.
const LOOK: Duration = Duration::from_millis(50);
/// Delays are met so finely.
const TICK: Duration = Duration::from_micros(50);

/// What can be said.
pub(crate) fn command() -> Command {
    let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
    let file = |name: &'static str| Arg::new(name).long(name).value_name("FILE").value_parser(value_parser!(PathBuf));
    let time = |name: &'static str| {
        Arg::new(name).long(name).value_name("TIME").default_value("0").value_parser(units::duration)
    };
    let part = |name: &'static str| Arg::new(name).long(name).value_name("PART").default_value("0").value_parser(part);
    Command::new("serve")
        .about("An origin for tests: HTTP/1, HTTP/2 and gRPC on one port, or raw bytes")
        .arg(
            Arg::new("listen")
                .value_name("ADDRESS:PORT")
                .default_value("127.0.0.1:0")
                .value_parser(value_parser!(SocketAddr))
                .help("Where to listen; port 0 is chosen by the system, and told"),
        )
        .arg(
            Arg::new("tcp")
                .long("tcp")
                .value_name("echo|sink|source")
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value("echo")
                .value_parser(Raw::parse)
                .help(
                    "Raw bytes: an echo; a sink that answers nothing; or a source of --size bytes for each that comes",
                ),
        )
        .arg(
            Arg::new("size")
                .long("size")
                .value_name("SIZE")
                .default_value("1k")
                .value_parser(units::size)
                .help("Bytes of a response's body"),
        )
        .arg(flag("echo").help("The response's body is the request's"))
        .arg(flag("chunked").help("Bodies of HTTP/1 in chunks"))
        .arg(
            Arg::new("header")
                .short('H')
                .long("header")
                .value_name("NAME: VALUE")
                .action(ArgAction::Append)
                .value_parser(crate::command::header)
                .help("A header of each response"),
        )
        .arg(time("delay").help("Between a request and its response"))
        .arg(
            Arg::new("stall")
                .long("stall")
                .value_name("TIME/PERIOD")
                .value_parser(stall)
                .help("Nothing is answered so long in each period: 100ms/1s"),
        )
        .arg(part("error-rate").help("Part of the requests that get --error-status, 0 to 1"))
        .arg(
            Arg::new("error-status")
                .long("error-status")
                .value_name("STATUS")
                .default_value("503")
                .value_parser(value_parser!(u16).range(400..600)),
        )
        .arg(part("cut-rate").help("Part of the requests whose response is cut short"))
        .arg(part("reset-rate").help("Part of the requests that are answered by a reset"))
        .arg(arguments::requests_per_connection())
        .arg(flag("tls").help("TLS, with a certificate of its own where none is given"))
        .arg(file("cert").requires("key").help("PEM of the certificate"))
        .arg(file("key").requires("cert").help("PEM of its key"))
        .arg(file("cert-out").help("Writes the certificate, for --ca of a client"))
        .arg(arguments::threads())
        .arg(arguments::cpus())
        .arg(arguments::io())
        .arg(arguments::seed())
}

fn part(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|part| (0.0..=1.0).contains(part)).ok_or_else(|| "a number from 0 to 1".to_owned())
}

fn stall(text: &str) -> Result<Stall, String> {
    let (time, period) = text.split_once('/').ok_or("TIME/PERIOD")?;
    let stall = Stall { time: units::duration(time)?, period: units::duration(period)? };
    if stall.time < stall.period { Ok(stall) } else { Err("a stall is shorter than its period".into()) }
}

/// What one core's connections share.
struct Server {
    core: Core,
    behaviour: Arc<Behaviour>,
    replies: Replies,
    tls: Option<Arc<ServerContext>>,
    raw: Option<Raw>,
    limits: Limits,
    chance: RefCell<Chance>,
    scratch: RefCell<Scratch>,
    began: Instant,
}

/// Working memory of HTTP/2: used up before anything else runs.
#[derive(Default)]
struct Scratch {
    fields: FieldList,
    lower: Vec<u8>,
    coded: Vec<u8>,
}

/// Serves until it is interrupted.
///
/// # Errors
/// What cannot be set up, in words.
pub(crate) fn serve(matches: &mut ArgMatches, interrupted: &Arc<AtomicBool>, say: impl Fn(&str)) -> Result<(), String> {
    const DEFAULTED: &str = "with a default";
    let _descriptors = raise_descriptor_limit(); // where it cannot be raised, connections wait
    let listen: SocketAddr = matches.remove_one("listen").expect(DEFAULTED);
    let (threads, cpus) = arguments::cores(matches);
    let behaviour = Arc::new(Behaviour {
        size: matches.remove_one::<u64>("size").expect(DEFAULTED) as usize,
        echo: matches.get_flag("echo"),
        chunked: matches.get_flag("chunked"),
        headers: matches.remove_many("header").map(Iterator::collect).unwrap_or_default(),
        delay: matches.remove_one("delay").expect(DEFAULTED),
        stall: matches.remove_one("stall"),
        error_rate: matches.remove_one("error-rate").expect(DEFAULTED),
        error_status: matches.remove_one("error-status").expect(DEFAULTED),
        cut_rate: matches.remove_one("cut-rate").expect(DEFAULTED),
        reset_rate: matches.remove_one("reset-rate").expect(DEFAULTED),
        requests_per_connection: matches.remove_one("requests-per-connection"),
    });
    if behaviour.size > BODY_BYTES_MAX {
        return Err("a body is at most 1g".into());
    }
    let raw: Option<Raw> = matches.remove_one("tcp");
    if raw == Some(Raw::Source) && behaviour.size == 0 {
        return Err("a source needs bytes to send: --size".into());
    }
    let is_tcp = raw.is_some();
    let tls = if matches.get_flag("tls") { Some(certificate::context(matches, is_tcp)?) } else { None };
    let seed: u64 = matches.remove_one("seed").expect(DEFAULTED);
    let io: IoChoice = matches.remove_one("io").expect(DEFAULTED);
    let mut address = listen;
    let mut sockets: Vec<OwnedFd> = Vec::new();
    for _ in 0..threads {
        let socket = bind(address, threads > 1).map_err(|error| format!("{address}: {error}"))?;
        start_listening(socket.as_fd(), BACKLOG).map_err(|error| format!("{address}: {error}"))?;
        let socket = std::net::TcpListener::from(socket);
        address = socket.local_addr().map_err(|error| error.to_string())?;
        sockets.push(socket.into());
    }
    let scheme = match (is_tcp, tls.is_some()) {
        (true, false) => "tcp",
        (true, true) => "tls",
        (false, false) => "http",
        (false, true) => "https",
    };
    say(&format!("serving {scheme}://{address}\n"));
    let began = Instant::now();
    let mut running = Vec::new();
    for (number, socket) in sockets.into_iter().enumerate() {
        let (behaviour, tls, interrupted) = (Arc::clone(&behaviour), tls.clone(), Arc::clone(interrupted));
        let cpu = cpus.get(number).copied();
        let body = move || {
            if let Some(cpu) = cpu {
                cpus::pin_current_thread(cpu).map_err(|error| format!("CPU {cpu}: {error}"))?;
            }
            let wake = Wake::new().map_err(|error| error.to_string())?;
            let options = Options { io, timer_tick: TICK, ..Options::default() };
            ringway_runtime::run(&options, wake, move |core, _| {
                let server = Rc::new(Server {
                    replies: Replies::new(&core, &behaviour),
                    behaviour,
                    tls,
                    raw,
                    limits: Limits::default(),
                    chance: RefCell::new(Chance::of(seed, number as u64)),
                    scratch: RefCell::default(),
                    began,
                    core,
                });
                server.live(socket, interrupted)
            })
            .map_err(|error| error.to_string())
        };
        let thread = std::thread::Builder::new().name("serve".into()).spawn(body);
        running.push(thread.map_err(|error| format!("a thread: {error}"))?);
    }
    running.into_iter().try_for_each(|thread| thread.join().map_err(|_| "a core panicked".to_owned())?)
}

/// What a body may be: it is held once a core.
const BODY_BYTES_MAX: usize = 1 << 30;

impl Server {
    async fn live(self: Rc<Self>, socket: OwnedFd, interrupted: Arc<AtomicBool>) {
        let server = Rc::clone(&self);
        let listener = self.core.listen(socket);
        self.core.spawn("accept", async move {
            loop {
                // What cannot be accepted (no descriptors left) is tried again by the runtime.
                if let Ok(stream) = listener.accept().await {
                    let serving = Rc::clone(&server).connection(stream);
                    server.core.spawn("connection", serving);
                }
            }
        });
        let timer = self.core.timer();
        while !interrupted.load(Ordering::Relaxed) {
            timer.set(self.core.now() + LOOK);
            timer.expired().await;
        }
    }

    async fn connection(self: Rc<Self>, stream: Stream) {
        let mut alpn = None;
        if let Some(tls) = &self.tls {
            let Ok(info) = secure(&self.core, &stream, Session::server(tls)).await else { return };
            alpn = info.alpn;
        }
        if let Some(raw) = self.raw {
            return tcp::serve(&self, &stream, raw).await;
        }
        let Ok(Some(first)) = stream.recv().await else { return };
        // A client of HTTP/2 begins with its preface (RFC 9113 §3.4); a part of it this short is nobody's method.
        let is_http2 = alpn.as_deref() == Some(b"h2")
            || (first.len() >= 4 && PREFACE.starts_with(&first[..first.len().min(PREFACE.len())]));
        stream.unread(first);
        if is_http2 { http2::serve(self, stream).await } else { http1::serve(&self, stream).await }
    }

    /// Waits until a request that came now may be answered.
    async fn wait(&self) {
        let now = self.core.now();
        let at = self.behaviour.answers_at(self.began, now);
        if at > now {
            let timer = self.core.timer();
            timer.set(at);
            timer.expired().await;
        }
    }
}

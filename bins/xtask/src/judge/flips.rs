//! Atomicity: while a control plane flips between whole configurations a hundred times a second, no request sees parts of two of them, none
//! fails, and none that begins after a commit was reported sees an older one. The same on Envoy, whose figures stand beside.
//!
//! Each version is a number that route, cluster, endpoints, listener and certificate show (see [`resources`]), so that a version is never
//! taken for the one before the last. What is judged is Ringway's row of each way that [`WAYS`] calls promised; all others are shown.

mod ads;
mod client;
mod files;
mod flipper;
mod origin;
mod resources;
mod watch;

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use self::ads::Ads;
use self::client::{CLIENTS, Target};
use self::files::Files;
use self::flipper::{Flipped, Reports, Until, flip};
use self::resources::{CERTIFICATES, Common, Naming};
use self::watch::{Client, Counts, Watch};
use super::{Bench, verdict};
use crate::lab::chance::Chance;
use crate::lab::openssl::{NEW_EC_KEY, authority, openssl};
use crate::lab::origin::Origin;
use crate::lab::proxy::{Kind, Launch, Proxy, ring_allowed};
use crate::setup;
use crate::step::{Skips, Verdict};

/// Workers of each proxy.
const WORKERS: usize = 4;
/// Requests for one flip: at full count 2,000,000 requests see 10,000 flips at least.
const REQUESTS_PER_FLIP: u64 = 200;
/// A way that is only shown takes a part of the count.
const SHOWN_PART: u64 = 10;
/// A run that does not come to its counts ends, and fails, after so long for each 1,000 requests of its count.
const LIMIT_PER_1000: Duration = Duration::from_secs(2);
/// And this at least.
const LIMIT_MIN: Duration = Duration::from_secs(300);
/// Envoy's row may be of fewer requests: it ends after this part of the limit.
const ENVOY_LIMIT_PART: u32 = 4;

/// How one version becomes the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Way {
    name: &'static str,
    source: Source,
    /// Whether one commit for all parts is promised.
    is_promised: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// Files: all replaced by one rename, or each by its own.
    Files { is_swapped: bool },
    /// ADS, by the state of the world or by delta.
    Ads { is_delta: bool, naming: Naming },
}

const WAYS: &[Way] = &[
    Way { name: "one rename of ..data", source: Source::Files { is_swapped: true }, is_promised: true },
    Way { name: "each file by its own", source: Source::Files { is_swapped: false }, is_promised: false },
    Way { name: "ADS, one version", source: ads(false, Naming::Both), is_promised: true },
    Way { name: "ADS, versioned names", source: ads(false, Naming::ByVersion), is_promised: true },
    Way { name: "delta ADS, one version", source: ads(true, Naming::Both), is_promised: true },
    Way { name: "delta ADS, versioned names", source: ads(true, Naming::ByVersion), is_promised: true },
];

const fn ads(is_delta: bool, naming: Naming) -> Source {
    Source::Ads { is_delta, naming }
}

pub(super) fn run(bench: &Bench, skips: &mut Skips) -> Verdict {
    if !setup::there_is("openssl") {
        return Verdict::Missing("openssl: `cargo xtask setup` as root installs it".to_owned());
    }
    let Some(python) = setup::xds_python() else {
        return Verdict::Missing("Python with grpcio and xds-protos: `cargo xtask setup` installs it".to_owned());
    };
    let programs = match (bench.only, ring_allowed()) {
        (_, Err(why)) => return Verdict::Missing(why),
        (Some(only), _) => vec![only],
        (None, Ok(true)) => vec![Kind::Ring, Kind::Poll, Kind::Envoy],
        (None, Ok(false)) => {
            skips.push("the ring driver: the kernel gives this process no io_uring");
            vec![Kind::Poll, Kind::Envoy]
        }
    };
    verdict(judge(bench, &python, &programs))
}

fn judge(bench: &Bench, python: &Path, programs: &[Kind]) -> Result<String, String> {
    let folder = &bench.folder;
    authority(folder)?;
    let certificates = (0..CERTIFICATES).map(|at| certificate(folder, at)).collect::<Result<Vec<_>, _>>()?;
    let origin = origin::start()?;
    let mut rows = Vec::new();
    let mut wrong = Vec::new();
    for way in WAYS {
        for &program in programs {
            let row = Run { bench, python, way, program, certificates: &certificates, origin: &origin }.row()?;
            println!("{}", row.line());
            row.counts.told.iter().for_each(|told| println!("  {told}"));
            if program != Kind::Envoy {
                wrong.extend(row.wrong());
            }
            rows.push(row);
        }
    }
    println!("\n{HEAD}");
    rows.iter().for_each(|row| println!("{}", row.line()));
    let ours = |count: fn(&Row) -> u64| -> u64 {
        rows.iter().filter(|row| row.program != Kind::Envoy && row.way.is_promised).map(count).sum()
    };
    let (requests, flips) = (ours(|row| row.counts.requests()), ours(|row| row.flipped.flips));
    let line = format!("{requests} requests, {flips} flips: {} faults", ours(|row| row.counts.faults()));
    if wrong.is_empty() { Ok(line) } else { Err(format!("{line}; {}", wrong.join("; "))) }
}

/// A certificate of `server.test` with the serial number of version `at`, and its key.
fn certificate(folder: &Path, at: u64) -> Result<[String; 2], String> {
    openssl(folder, &format!("req {NEW_EC_KEY} -nodes -keyout {at}.key -out {at}.csr -subj /CN=server"))?;
    let serial = resources::serial(at);
    let signed = format!("-CA ca.pem -CAkey ca.key -set_serial {serial} -days 30 -extfile names");
    openssl(folder, &format!("x509 -req -in {at}.csr {signed} -out {at}.pem"))?;
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).map_err(|e| format!("no {name}: {e}"));
    Ok([read(&format!("{at}.pem"))?, read(&format!("{at}.key"))?])
}

/// One way on one program.
struct Run<'a> {
    bench: &'a Bench,
    python: &'a Path,
    way: &'static Way,
    program: Kind,
    certificates: &'a [[String; 2]],
    origin: &'a Origin,
}

impl Run<'_> {
    fn row(&self) -> Result<Row, String> {
        let Run { bench, way, program, .. } = *self;
        let at = WAYS.iter().position(|known| known == way).unwrap_or_default();
        let name = format!("{}-{at}", program.name());
        let folder = bench.folder.join(&name);
        let ports = free()?;
        let certificates = self.certificates.to_vec();
        let naming = match way.source {
            Source::Files { .. } => Naming::ByTurns,
            Source::Ads { naming, .. } => naming,
        };
        let common = Common { ports, origin: self.origin.address.port(), certificates, naming };
        let mut plane = match way.source {
            Source::Files { is_swapped } => Plane::Files(
                Files::new(&folder, is_swapped).map_err(|e| format!("cannot lay the files out: {e}"))?,
                common,
            ),
            Source::Ads { is_delta, .. } => Plane::Ads(Ads::start(self.python, &folder, &common, is_delta)?),
        };
        plane.put(1)?;
        let file = bench.folder.join(format!("{name}.json"));
        std::fs::write(&file, bootstrap(plane.bootstrap())).map_err(|e| format!("cannot write: {e}"))?;
        // What belongs together is waited for half a second by default: the server that stands still for longer is not what is looked at.
        let arguments: &[&str] = match program {
            Kind::Envoy => &["--drain-time-s", "5"],
            _ => &["--drain-time-s", "5", "--xds-bundle-wait-ms", "20000"],
        };
        let launch =
            Launch { kind: program, folder: &bench.folder, name: &name, file: &file, concurrency: WORKERS, arguments };
        let proxy = Proxy::start(&launch)?;

        let watch = Watch::new(program != Kind::Envoy);
        watch.written.store(1, std::sync::atomic::Ordering::SeqCst);
        watch.committed.store(1, std::sync::atomic::Ordering::SeqCst);
        let target = Target { plain: ports[0], secured: ports[1], folder: bench.folder.clone() };
        let until = self.until();
        let flipped = std::thread::scope(|scope| {
            for (index, client) in CLIENTS.iter().enumerate() {
                let (target, watch, seed) = (&target, &watch, bench.seed + index as u64);
                scope.spawn(move || client(target, watch, &mut Chance::new(seed)));
            }
            let reports = Reports {
                by_generation: program != Kind::Envoy && way.source == Source::Files { is_swapped: true },
                by_listeners: naming == Naming::ByVersion,
                may_be_missing: program == Kind::Envoy,
            };
            let flipped = flip(&proxy, reports, &watch, until, |version| plane.put(version));
            watch.done.store(true, std::sync::atomic::Ordering::SeqCst);
            flipped
        });
        let counts = watch.into_counts();
        let flipped = match flipped {
            Ok(flipped) => flipped,
            Err(why) => {
                counts.told.iter().for_each(|told| println!("  {told}"));
                return Err(format!("{name}: {why}\n{}", proxy.log_tail()));
            }
        };
        Ok(Row { way, program, wanted: until, counts, flipped })
    }

    fn until(&self) -> Until {
        let requests = if self.way.is_promised { self.bench.count } else { self.bench.count / SHOWN_PART };
        let limit = (LIMIT_PER_1000 * u32::try_from(requests / 1000).unwrap_or(u32::MAX)).max(LIMIT_MIN);
        let limit = if self.program == Kind::Envoy { limit / ENVOY_LIMIT_PART } else { limit };
        Until { requests, flips: requests / REQUESTS_PER_FLIP, limit }
    }
}

/// Where versions come from.
enum Plane {
    Files(Files, Common),
    Ads(Ads),
}

impl Plane {
    fn put(&mut self, version: u64) -> Result<(), String> {
        match self {
            Plane::Files(files, common) => {
                files.put(common, version).map_err(|e| format!("cannot put version {version}: {e}"))
            }
            Plane::Ads(ads) => match ads.put(version)? {
                0 => Ok(()),
                refused => Err(format!("{refused} responses refused; the first reasons are in ads.log")),
            },
        }
    }

    fn bootstrap(&self) -> Value {
        match self {
            Plane::Files(files, _) => files.bootstrap(),
            Plane::Ads(ads) => ads.bootstrap(),
        }
    }
}

/// Two ports that nobody has, below the range from which the kernel gives ports to clients.
fn free() -> Result<[u16; 2], String> {
    let first = 22_000 + (std::process::id() % 8_000) as u16;
    let mut free = (first..first + 1_000).filter(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok());
    free.next().zip(free.next()).map(<[u16; 2]>::from).ok_or_else(|| "no free port".to_owned())
}

fn bootstrap(dynamic: Value) -> String {
    let mut bootstrap = json!({
        "node": {"id": "judge", "cluster": "judge"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}},
    });
    let (Value::Object(bootstrap), Value::Object(dynamic)) = (&mut bootstrap, dynamic) else {
        unreachable!("both are objects")
    };
    bootstrap.extend(dynamic);
    Value::Object(bootstrap.clone()).to_string()
}

/// One way on one program, and what came of it.
struct Row {
    way: &'static Way,
    program: Kind,
    wanted: Until,
    counts: Counts,
    flipped: Flipped,
}

const HEAD: &str = "\
way                        proxy   flips  a second  requests  on new connections  connections  mixed  listener  certificate  older  failed  unbegun  versions  reports (in vain)  at most";

impl Row {
    fn line(&self) -> String {
        let Row { way, program, counts, flipped, .. } = self;
        let new: u64 =
            Client::ALL.iter().zip(counts.answers).filter(|(client, _)| client.is_new()).map(|(_, n)| n).sum();
        format!(
            "{:<26} {:<6} {:>6}  {:>8.0}  {:>8}  {new:>18}  {:>11}  {:>5}  {:>8}  {:>11}  {:>5}  {:>6}  {:>7}  {:>8}  {:>6} {:>9}  {:>4} ms",
            way.name,
            program.name(),
            flipped.flips,
            flipped.flips as f64 / flipped.took.as_secs_f64().max(0.001),
            counts.requests(),
            counts.connections,
            counts.mixed,
            counts.listener_mixed,
            counts.certificate_mixed,
            counts.older,
            counts.failed,
            counts.unprocessed,
            counts.seen.len(),
            flipped.reported,
            format!("({})", flipped.unreported),
            flipped.slowest.as_millis(),
        )
    }

    /// What of it must not be.
    fn wrong(&self) -> Option<String> {
        let Row { way, program, wanted, counts, flipped } = self;
        let who = format!("{} by {}", program.name(), way.name);
        if way.is_promised && counts.faults() > 0 {
            return Some(format!("{who}: {} faults", counts.faults()));
        }
        // A judge whose requests miss most versions has not looked. Those that were not reported may have been overtaken.
        let few = counts.requests() < wanted.requests || flipped.flips < wanted.flips;
        let unseen = (counts.seen.len() as u64) < flipped.reported / 2 || counts.answers.contains(&0);
        let too_little = way.is_promised && (few || unseen || flipped.reported == 0);
        too_little.then(|| {
            format!(
                "{who}: too little to judge by: {} requests ({:?} of each client), {} flips, {} versions seen",
                counts.requests(),
                counts.answers,
                flipped.flips,
                counts.seen.len()
            )
        })
    }
}

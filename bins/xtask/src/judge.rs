//! The judges: each drives the release build from outside and says what held, at a sample in CI and at full count by hand.

mod asan;
mod chains;
mod check;
mod combinations;
mod configs;
mod counts;
mod differential;
mod disk;
mod emfile;
mod families;
mod flapping;
mod flips;
mod flood;
mod grpc;
mod h1run;
mod h2attacks;
mod h2differential;
mod h2spec;
mod idle;
mod netns;
mod page;
mod quota;
mod relay;
mod reload;
mod restart;
mod rotate;
mod scrape;
mod slow;
mod soak;
mod sovereign;
mod streams;
mod suite;
mod syscalls;
mod tls;
mod websocket;
mod xds;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::lab::proxy::{Kind, raise_descriptors, ring_allowed};
use crate::step::{Report, Skips, Verdict};
use crate::{ci, command, workspace};

/// How much a judge looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Scale {
    /// What continuous integration has time for.
    Sample,
    /// What the promise says.
    #[default]
    Full,
}

/// What the caller wishes for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wish {
    /// Sample or full counts.
    pub(crate) scale: Scale,
    /// The seed of judges that use chance; [`SEED`] if not given.
    pub(crate) seed: Option<u64>,
    /// Another count than the judge's own.
    pub(crate) count: Option<u64>,
    /// One driver only.
    pub(crate) io: Option<Kind>,
}

/// The seed of continuous integration: a red run there is red again at home.
const SEED: u64 = 2026;

/// What a judge gets.
#[derive(Clone, Debug)]
pub(crate) struct Bench {
    /// A folder of its own.
    pub(crate) folder: PathBuf,
    /// The driver to judge; judges of the text side ignore it.
    pub(crate) kind: Kind,
    /// The one driver that the caller named, for a judge that runs both side by side.
    pub(crate) only: Option<Kind>,
    /// How many, in the judge's own unit.
    pub(crate) count: u64,
    /// For judges that use chance.
    pub(crate) seed: u64,
}

/// One judge.
struct Judge {
    name: &'static str,
    shows: &'static str,
    /// The unit and its count in CI and by hand.
    unit: &'static str,
    sample: u64,
    full: u64,
    /// Whether it runs once for each driver.
    drivers: bool,
    run: fn(&Bench, &mut Skips) -> Verdict,
}

const JUDGES: &[Judge] = &[
    Judge {
        name: "check",
        shows: "a wrong file lists every problem with its place and exits 1; a wrong reload keeps the old one and says why",
        unit: "",
        sample: 0,
        full: 0,
        drivers: false,
        run: |bench, _| check::run(bench),
    },
    Judge {
        name: "differential",
        shows: "the same file and requests on a real Envoy: same answers, same bytes at the origin, but for a reviewed list",
        unit: "cases",
        sample: 300,
        full: 3_000,
        drivers: true,
        run: |bench, _| differential::run(bench),
    },
    Judge {
        name: "chains",
        shows: "filter chains drawn at random, on a real Envoy and here: the same one takes each connection",
        unit: "connections",
        sample: 200,
        full: 4_000,
        drivers: true,
        run: |bench, _| chains::run(bench),
    },
    Judge {
        name: "configs",
        shows: "66 Envoy configurations of others: served as Envoy does, or refused with the field's path",
        unit: "",
        sample: 0,
        full: 0,
        drivers: true,
        run: |bench, _| configs::run(bench),
    },
    Judge {
        name: "emfile",
        shows: "no descriptors left: who is connected is served, who waits is answered afterwards, and no CPU is burnt",
        unit: "",
        sample: 0,
        full: 0,
        drivers: true,
        run: |bench, _| emfile::run(bench),
    },
    Judge {
        name: "flapping",
        shows: "two origins that go away by turns in five ways, and come back: what one of them could answer is answered",
        unit: "times that an origin goes away",
        sample: 10,
        full: 300,
        drivers: true,
        run: |bench, _| flapping::run(bench),
    },
    Judge {
        name: "disk",
        shows: "a full disk under the access log: nobody waits, what is dropped is counted, lines come again when there is room",
        unit: "requests",
        sample: 20_000,
        full: 1_000_000,
        drivers: true,
        run: disk::run,
    },
    Judge {
        name: "relay",
        shows: "raw connections: every byte and every end, spliced and in chunks, plain and by TLS; nothing is left behind",
        unit: "MiB each of four ways, and ten short connections for each, plain and by TLS",
        sample: 100,
        full: 10_240,
        drivers: true,
        run: |bench, _| relay::run(bench),
    },
    Judge {
        name: "reload",
        shows: "reloads of route, cluster and endpoint together, under load: no torn, stale or failed request",
        unit: "reloads",
        sample: 100,
        full: 1_000,
        drivers: true,
        run: |bench, _| reload::run(bench),
    },
    Judge {
        name: "flips",
        shows: "whole configurations flipped 100 times a second, under load: no answer mixes two, fails, or is older than reported; Envoy beside",
        unit: "requests for each way and proxy",
        sample: 30_000,
        full: 2_000_000,
        drivers: false,
        run: flips::run,
    },
    Judge {
        name: "sovereign",
        shows: "a management server of others, by REST: what it says takes effect, what is wrong is refused, all goes on without it",
        unit: "",
        sample: 0,
        full: 0,
        drivers: true,
        run: |bench, _| sovereign::run(bench),
    },
    Judge {
        name: "rotate",
        shows: "certificate files replaced, right and wrong ones, under load: the new one is shown, a wrong one refused, nobody notices",
        unit: "rotations",
        sample: 24,
        full: 1_000,
        drivers: true,
        run: |bench, _| rotate::run(bench),
    },
    Judge {
        name: "restart",
        shows: "SIGTERM restarts under new connections: none that connected is reset or left unanswered",
        unit: "restarts",
        sample: 10,
        full: 100,
        drivers: true,
        run: |bench, _| restart::run(bench),
    },
    Judge {
        name: "families",
        shows: "each family of metrics that Envoy shows after the same traffic: ours, too, with its type and labels, or reviewed",
        unit: "",
        sample: 0,
        full: 0,
        drivers: false,
        run: |bench, _| families::run(bench),
    },
    Judge {
        name: "flood",
        shows: "connections with one byte of a head, and a quarter as many requests at a silent origin: half the ring is free",
        unit: "connections",
        sample: 2_000,
        full: 20_000,
        drivers: true,
        run: |bench, _| flood::run(bench),
    },
    Judge {
        name: "slow",
        shows: "a long body to a slow reader, and from a fast sender to a slow origin: buffers under 1 MiB",
        unit: "MiB",
        sample: 256,
        full: 10_240,
        drivers: true,
        run: |bench, _| slow::run(bench),
    },
    Judge {
        name: "syscalls",
        shows: "system calls of the worker for each proxied request on one connection, by strace: 2.2 at most on ring",
        unit: "requests",
        sample: 2_000,
        full: 20_000,
        drivers: true,
        run: |bench, _| syscalls::run(bench),
    },
    Judge {
        name: "idle",
        shows: "idle connections under 1 KiB; an idle proxy takes no CPU, wakes nobody and shows no iowait",
        unit: "connections",
        sample: 2_000,
        full: 8_000,
        drivers: true,
        run: |bench, _| idle::run(bench),
    },
    Judge {
        name: "scrape",
        shows: "/ready waits for no scrape (of 10,000 clusters: 5 ms, p99); a scrape takes 8 MiB at most",
        unit: "clusters",
        sample: 1_000,
        full: 10_000,
        drivers: false,
        run: |bench, _| scrape::run(bench),
    },
    Judge {
        name: "soak",
        shows: "right and wrong origins, clients and networks at once, with reloads: nothing lost, nothing grows",
        unit: "seconds",
        sample: 45,
        full: 7_200,
        drivers: false,
        run: soak::run,
    },
    Judge {
        name: "quota",
        shows: "under a quota of 1.5 CPUs and full load: not throttled more than a single worker would be",
        unit: "seconds a proxy",
        sample: 3,
        full: 10,
        drivers: true,
        run: quota::run,
    },
    Judge {
        name: "asan",
        shows: "the tests of runtime (and engine) under AddressSanitizer: no wrong access, no leak",
        unit: "crates",
        sample: 1,
        full: asan::CRATES.len() as u64,
        drivers: false,
        run: asan::run,
    },
    Judge {
        name: "faults",
        shows: "cores that have too little of everything, driven at random: nothing is lost and nothing left behind",
        unit: "lives of 12 connections on each driver",
        sample: 300,
        full: 14_000,
        drivers: false,
        run: suite::faults,
    },
    Judge {
        name: "loom",
        shows: "mailboxes and wake-ups of the runtime in every interleaving of two threads",
        unit: "",
        sample: 0,
        full: 0,
        drivers: false,
        run: suite::loom,
    },
    Judge {
        name: "counts",
        shows: "what bench-compare counts is the same when it is counted again",
        unit: "cases",
        sample: 12,
        full: 1_000,
        drivers: false,
        run: |bench, _| counts::run(bench),
    },
    Judge {
        name: "netns",
        shows: "the transparent sidecar: clients that know of no proxy, two hosts, REDIRECT and TPROXY, IPv4 and IPv6, mTLS between",
        unit: "times each kind of connection",
        sample: 1,
        full: 25,
        drivers: true,
        run: |bench, _| netns::run(bench),
    },
    Judge {
        name: "h1run",
        shows: "the outside HTTP/1 vectors: what reaches an origin",
        unit: "",
        sample: 0,
        full: 0,
        drivers: false,
        run: |bench, _| h1run::run(bench),
    },
    Judge {
        name: "combinations",
        shows: "HTTP/1 and HTTP/2 on either side: bodies, trailers and interim heads byte for byte, 100 streams, h2load",
        unit: "requests of h2load on each way",
        sample: 2_000,
        full: 20_000,
        drivers: true,
        run: |bench, _| combinations::run(bench),
    },
    Judge {
        name: "grpc",
        shows: "15 interop cases by three clients through one proxy and two; what the proxy itself says to a gRPC client",
        unit: "",
        sample: 0,
        full: 0,
        drivers: true,
        run: |bench, _| grpc::run(bench),
    },
    Judge {
        name: "websocket",
        shows: "WebSockets, right and wrong, with HTTP/1 and HTTP/2 on either side: each frame and end as without a proxy",
        unit: "",
        sample: 0,
        full: 0,
        drivers: true,
        run: |bench, _| websocket::run(bench),
    },
    Judge {
        name: "tls",
        shows: "OpenSSL, curl and tlslite-ng, right and wrong, against a listener; OpenSSL as origin; what scanners find; half-open handshakes",
        unit: "half-open handshakes",
        sample: 300,
        full: 10_000,
        drivers: true,
        run: |bench, _| tls::run(bench),
    },
    Judge {
        name: "xds",
        shows: "what is said to a scripted management server, right and wrong, and what comes of it: as Envoy, but for a reviewed list",
        unit: "ways: ADS by the state of the world and by delta, then a stream for each type",
        sample: 2,
        full: 4,
        drivers: true,
        run: |bench, _| xds::run(bench),
    },
    Judge {
        name: "h2spec",
        shows: "h2spec's 147 strict cases against a listener, before an HTTP/1 and before an HTTP/2 origin",
        unit: "",
        sample: 0,
        full: 0,
        drivers: true,
        run: |bench, _| h2spec::run(bench),
    },
    Judge {
        name: "h2differential",
        shows: "the same streams of HTTP/2 on a real Envoy: same answers, same at the origin, but for a reviewed list",
        unit: "cases, each before an HTTP/1 and an HTTP/2 origin",
        sample: 300,
        full: 3_000,
        drivers: true,
        run: |bench, _| h2differential::run(bench),
    },
    Judge {
        name: "h2attacks",
        shows: "floods of HTTP/2 from a client and from an origin: each ends bounded, and others do not notice",
        unit: "units of each flood",
        sample: 3_000,
        full: 12_000,
        drivers: true,
        run: |bench, _| h2attacks::run(bench),
    },
    Judge {
        name: "streams",
        shows: "streams of HTTP/2 on one connection: all get their share, and one that takes nothing holds up nobody",
        unit: "streams at once, a quarter of them before an HTTP/1 origin",
        sample: 1_000,
        full: 10_000,
        drivers: true,
        run: |bench, _| streams::run(bench),
    },
    Judge {
        name: "page",
        shows: "a comparison with what is here, and the page of it in a browser: phone and desktop, light and dark, nothing overflows or is missing",
        unit: "",
        sample: 0,
        full: 0,
        drivers: false,
        run: page::run,
    },
];

/// Judges that run tests of their own build and not the command.
const WITHOUT_COMMAND: &[&str] = &["asan", "faults", "loom"];

/// The names, and what each shows.
pub(crate) fn list() {
    for judge in JUDGES {
        println!("{:<14} {}", judge.name, judge.shows);
        if judge.full > 0 {
            println!("{:<14} {} {} (in CI {})", "", judge.full, judge.unit, judge.sample);
        }
    }
}

/// `cargo xtask judge NAME|all [options]`.
pub(crate) fn run(words: &[&str]) -> Result<(), String> {
    let (name, options) = words.split_first().expect("the caller saw a name");
    let wish = wish(options)?;
    let mut report = Report::default();
    let built = std::env::var_os("RINGWAY_BIN").is_some();
    if !built && wish.io != Some(Kind::Envoy) && !WITHOUT_COMMAND.contains(name) {
        report.step("build --release", |skips| ci::cargo(&["build", "--release", "--bin", "ringway"], skips));
    }
    if *name == "all" {
        run_all(&wish, &mut report);
    } else {
        let judge = JUDGES.iter().find(|judge| judge.name == *name);
        let judge = judge.ok_or_else(|| format!("no judge {name}; there are: {}", names().join(", ")))?;
        judge.run(&wish, &mut report);
    }
    report.end()
}

fn names() -> Vec<&'static str> {
    JUDGES.iter().map(|judge| judge.name).collect()
}

fn wish(options: &[&str]) -> Result<Wish, String> {
    let mut wish = Wish::default();
    let mut options = options.iter();
    while let Some(option) = options.next() {
        let mut number = || -> Result<u64, String> {
            let text = options.next().ok_or_else(|| format!("{option} wants a number"))?;
            text.parse().map_err(|_| format!("{option} wants a number, not {text}"))
        };
        match *option {
            "--sample" => wish.scale = Scale::Sample,
            "--seed" => wish.seed = Some(number()?),
            "--count" => wish.count = Some(number()?),
            "--io" => {
                wish.io = match options.next() {
                    Some(&"ring") => Some(Kind::Ring),
                    Some(&"poll") => Some(Kind::Poll),
                    // Judges the judge: what fails on Envoy, too, may be the judge's own fault.
                    Some(&"envoy") => Some(Kind::Envoy),
                    _ => return Err("--io wants ring, poll or envoy".to_owned()),
                }
            }
            _ => {
                return Err(format!(
                    "no option {option}; there are --sample, --seed N, --count N, --io ring|poll|envoy"
                ));
            }
        }
    }
    Ok(wish)
}

/// `xtask part ...`: what a judge runs as a process of its own. Not for people.
pub(crate) fn part(words: &[&str]) -> Result<(), String> {
    soak::part(words).or_else(|| netns::part(words)).unwrap_or_else(|| Err("no such part".to_owned()))
}

/// All judges as steps of a report, and the demo, which shows the README's first command to hold.
pub(crate) fn run_all(wish: &Wish, report: &mut Report) {
    report.step("demo --self-test", |_| demo());
    for judge in JUDGES {
        judge.run(wish, report);
    }
}

impl Judge {
    fn run(&self, wish: &Wish, report: &mut Report) {
        // Thousands of sockets where the default is often 1,024; a judge that needs a number asks for it again.
        let _raised = raise_descriptors();
        let kinds: Vec<Kind> = match (self.drivers, wish.io) {
            (false, _) => vec![Kind::Poll],
            (true, Some(kind)) => vec![kind],
            (true, None) => vec![Kind::Ring, Kind::Poll],
        };
        for kind in kinds {
            let name = if self.drivers { format!("{} {}", self.name, kind.name()) } else { self.name.to_owned() };
            report.step(&name, |skips| self.judge(kind, wish, skips));
        }
    }

    fn judge(&self, kind: Kind, wish: &Wish, skips: &mut Skips) -> Verdict {
        if kind == Kind::Ring {
            match ring_allowed() {
                Ok(true) => {}
                Ok(false) => {
                    skips.push("the ring driver: the kernel gives this process no io_uring");
                    return Verdict::Shown("left out: no io_uring here".to_owned());
                }
                Err(why) => return Verdict::Missing(why),
            }
        }
        let own = if wish.scale == Scale::Full { self.full } else { self.sample };
        let folder = match workspace::scratch(&format!("{}-{}", self.name, kind.name())) {
            Ok(folder) => folder,
            Err(why) => return Verdict::Fail(why),
        };
        let seed = wish.seed.unwrap_or(SEED);
        (self.run)(&Bench { folder, kind, only: wish.io, count: wish.count.unwrap_or(own), seed }, skips)
    }
}

/// `ringway demo --self-test`: its own requests to itself, on ports that nothing else here uses.
fn demo() -> Verdict {
    let mut command = Command::new(workspace::ringway());
    command.args(["demo", "--self-test", "--port", "0"]);
    match command::run(command, Duration::from_secs(60), command::Echo::All) {
        Ok(outcome) if outcome.success => Verdict::Pass(String::new()),
        Ok(outcome) => Verdict::Fail(format!("exit code {:?}", outcome.code)),
        Err(why) => Verdict::Fail(why),
    }
}

/// Turns what went wrong into a verdict.
fn verdict(done: Result<String, String>) -> Verdict {
    match done {
        Ok(text) => Verdict::Pass(text),
        Err(why) => {
            println!("{why}");
            Verdict::Fail(why)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_or_refused_by_name() {
        let read = wish(&["--sample", "--seed", "7", "--io", "poll"]).unwrap();
        assert_eq!((read.scale, read.seed, read.io), (Scale::Sample, Some(7), Some(Kind::Poll)));
        assert!(wish(&["--seed"]).unwrap_err().contains("--seed wants a number"));
        assert!(wish(&["--fast"]).unwrap_err().contains("no option --fast"));
    }

    #[test]
    fn judges_have_different_names() {
        let mut known = names();
        known.sort_unstable();
        known.dedup();
        assert_eq!(known.len(), JUDGES.len());
    }
}

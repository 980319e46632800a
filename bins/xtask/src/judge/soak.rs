//! The soak: every kind of right and wrong origin, client and network at once, for hours, with reloads all along.
//!
//! Held to: what a healthy origin was asked by a right client is answered with every byte right; every other request of a
//! right client gets some complete answer, or is cut off where its origin was; nothing hangs; nothing that is held grows;
//! all of it is given back at the end. What a request may come to is one table, in `account`.
//!
//! The judge runs its field, as a process of its own, in a network namespace where packets can be lost by nftables; where
//! that is not allowed it leaves out the bad network and says so. Proxies of both drivers run side by side on a copy of the
//! release build, so that the checkout may be built again meanwhile.

mod account;
mod client;
mod gauge;
mod origin;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use self::account::{Account, Target};
use self::client::Field;
use self::gauge::Sample;
use self::origin::Process;
use super::{Bench, verdict};
use crate::lab::chance::Chance;
use crate::lab::config::{Config, answer, route_with_timeout};
use crate::lab::namespace::{self, Fault};
use crate::lab::pace::{pause, wait_for};
use crate::lab::pattern::Pattern;
use crate::lab::proxy::{Kind, Launch, Proxy, ring_allowed};
use crate::step::{Skips, Verdict};
use crate::{command, workspace};

/// Clients of each proxy; each is one connection at a time, and mostly pauses.
const CLIENTS: u64 = 56;
/// Samples of one run, so that a quarter has enough for a median; but none more often than each second.
const SAMPLES: u64 = 720;
/// Progress lines of a long run, and of a short one.
const PROGRESS_LONG: Duration = Duration::from_secs(60);
const PROGRESS_SHORT: Duration = Duration::from_secs(10);
/// Beyond its time the field needs this long: its start, the slowest last request, giving back, the end.
const FIELD_SLACK: Duration = Duration::from_secs(180);
/// A reload on a busy machine; see the judge `reload`.
const RELOAD_LIMIT: Duration = Duration::from_secs(60);
/// What was held is given back within this once all clients and origins are gone.
const GIVE_BACK_LIMIT: Duration = Duration::from_secs(30);
/// Nobody listens here (tcpmux), and no client's port is ever this one.
const REFUSING: u16 = 1;

pub(super) fn run(bench: &Bench, skips: &mut Skips) -> Verdict {
    let network = match namespace::allowed() {
        Ok(()) => true,
        Err(why) => {
            skips.push(format!("soak without a bad network: {why}"));
            false
        }
    };
    let kinds = match (bench.only, ring_allowed()) {
        (Some(kind), _) => vec![kind],
        (None, Ok(true)) => vec![Kind::Ring, Kind::Poll],
        (None, Ok(false)) => {
            skips.push("the ring driver: the kernel gives this process no io_uring");
            vec![Kind::Poll]
        }
        (None, Err(why)) => return Verdict::Missing(why),
    };
    verdict(start_field(bench, &kinds, network))
}

fn start_field(bench: &Bench, kinds: &[Kind], network: bool) -> Result<String, String> {
    let copy = bench.folder.join("ringway");
    std::fs::copy(workspace::ringway(), &copy).map_err(|e| format!("cannot copy the release build: {e}"))?;
    let own = std::env::current_exe().map_err(|e| format!("no name of the own program: {e}"))?;
    let own_copy = bench.folder.join("xtask");
    std::fs::copy(own, &own_copy).map_err(|e| format!("cannot copy the own program: {e}"))?;
    let mut field = if network { namespace::inside(&own_copy) } else { Command::new(&own_copy) };
    field.args(["part", "soak"]).arg(&bench.folder).args([bench.count, bench.seed].map(|number| number.to_string()));
    field.arg(kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(",")).arg(network.to_string());
    field.env("RINGWAY_BIN", &copy);
    println!("seed {}, {} s, network faults: {network}", bench.seed, bench.count);
    let outcome = command::run(field, Duration::from_secs(bench.count) + FIELD_SLACK, command::Echo::All)?;
    let last = outcome.lines.iter().rev().find_map(|line| line.strip_prefix("VERDICT "));
    match (outcome.success, last) {
        (true, Some(line)) => Ok(line.to_owned()),
        (_, Some(line)) => Err(line.to_owned()),
        (_, None) => Err("the field ended without a verdict".to_owned()),
    }
}

/// The hidden subcommands: the field and its origins are processes of their own.
pub(super) fn part(words: &[&str]) -> Option<Result<(), String>> {
    match words {
        ["soak-origin", seed] => Some(seed.parse().map_err(|e| format!("{e}")).and_then(origin::main)),
        ["soak", folder, seconds, seed, kinds, network] => {
            let plan = Plan {
                folder: PathBuf::from(folder),
                ran: Duration::from_secs(seconds.parse().ok()?),
                seed: seed.parse().ok()?,
                kinds: kinds.split(',').filter_map(Kind::named).collect(),
                network: network.parse().ok()?,
            };
            let judged = judge(&plan);
            let (Ok(line) | Err(line)) = &judged;
            println!("VERDICT {}", line.replace('\n', " "));
            Some(judged.map(|_| ()))
        }
        _ => None,
    }
}

#[derive(Debug)]
struct Plan {
    folder: PathBuf,
    ran: Duration,
    seed: u64,
    kinds: Vec<Kind>,
    network: bool,
}

/// The origins, and the ports where nobody is.
#[derive(Debug)]
struct Origins {
    healthy: Process,
    frozen: Process,
    broken: Process,
    lossy: Process,
    /// Bound, so that no other has its port; its packets are dropped.
    silent: TcpListener,
}

/// One proxy and what is known of it.
#[derive(Debug)]
struct Side {
    kind: Kind,
    proxy: Proxy,
    file: PathBuf,
    front: SocketAddr,
    far: SocketAddr,
    account: Account,
    base: Sample,
    samples: Mutex<Vec<Sample>>,
    reloads: AtomicU64,
    /// What went wrong beside requests.
    trouble: Mutex<Vec<String>>,
}

fn judge(plan: &Plan) -> Result<String, String> {
    if plan.network {
        namespace::prepare()?;
    }
    let pattern = Pattern::new(plan.seed);
    let start = || Process::start(plan.seed);
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|e| format!("cannot listen: {e}"))?;
    let origins = Origins { healthy: start()?, frozen: start()?, broken: start()?, lossy: start()?, silent };
    let sides = plan.kinds.iter().map(|kind| Side::start(plan, *kind, &origins)).collect::<Result<Vec<_>, _>>()?;
    let network = Network::new(plan, &origins, &sides)?;
    let done = AtomicBool::new(false);
    let parent = std::os::unix::process::parent_id();
    let begun = Instant::now();
    let mut broken_off = Ok(());
    std::thread::scope(|scope| {
        for side in &sides {
            for index in 0..CLIENTS {
                let (pattern, done) = (&pattern, &done);
                scope.spawn(move || {
                    let (front, far, account) = (side.front, side.far, &side.account);
                    let field = Field { front, far, network: plan.network, pattern, account, done };
                    client::live(&field, plan.seed ^ (index + 1) << 32);
                });
            }
            scope.spawn(|| side.reload(plan, &origins, &done));
            scope.spawn(|| side.watch(plan, &done));
        }
        scope.spawn(|| freeze(plan, &origins.frozen, &done));
        scope.spawn(|| network.worsen(plan, &done));
        let progress = if plan.ran > PROGRESS_LONG * 10 { PROGRESS_LONG } else { PROGRESS_SHORT };
        let mut told = Duration::ZERO;
        while begun.elapsed() < plan.ran && broken_off.is_ok() {
            pause(Duration::from_millis(200));
            if begun.elapsed() >= told + progress {
                told = begun.elapsed();
                sides.iter().for_each(|side| println!("[{:>5} s] {}", told.as_secs(), side.line()));
            }
            if std::os::unix::process::parent_id() != parent {
                broken_off = Err("the judge that started this field is gone".to_owned());
            }
        }
        done.store(true, Ordering::SeqCst);
    });
    network.clear()?;
    drop(origins);
    broken_off?;
    let ended = sides.iter().map(|side| side.end(plan, begun.elapsed()));
    let (right, wrong): (Vec<_>, Vec<_>) = ended.partition(Result::is_ok);
    let line = |ended: Vec<Result<String, String>>| {
        ended.into_iter().map(|(Ok(line) | Err(line))| line).collect::<Vec<_>>().join("; ")
    };
    if wrong.is_empty() { Ok(line(right)) } else { Err(line(wrong.into_iter().chain(right).collect())) }
}

/// Stops and continues an origin's process at random.
fn freeze(plan: &Plan, frozen: &Process, done: &AtomicBool) {
    let mut chance = Chance::new(plan.seed ^ 0xF0);
    while !done.load(Ordering::Relaxed) {
        pause(Duration::from_millis(200 + chance.below(4_000) as u64));
        frozen.signal("STOP");
        pause(Duration::from_millis(20 + chance.below(3_000) as u64));
        frozen.signal("CONT");
    }
}

/// The ports whose packets are at risk.
#[derive(Debug)]
struct Network {
    real: bool,
    lossy: u16,
    far: Vec<u16>,
    silent: u16,
}

impl Network {
    fn new(plan: &Plan, origins: &Origins, sides: &[Side]) -> Result<Network, String> {
        let silent = origins.silent.local_addr().map_err(|e| format!("no address: {e}"))?.port();
        let far = sides.iter().map(|side| side.far.port()).collect();
        let network = Network { real: plan.network, lossy: origins.lossy.address.port(), far, silent };
        network.set(Fault::None, Fault::None)?;
        Ok(network)
    }

    fn set(&self, origin: Fault, clients: Fault) -> Result<(), String> {
        if !self.real {
            return Ok(());
        }
        let mut faults = vec![(self.silent, Fault::Dark), (self.lossy, origin)];
        faults.extend(self.far.iter().map(|port| (*port, clients)));
        namespace::set(&faults)
    }

    /// Another fault every moment.
    fn worsen(&self, plan: &Plan, done: &AtomicBool) {
        let faults = [
            Fault::None,
            Fault::Lose(1),
            Fault::Lose(5),
            Fault::Lose(20),
            Fault::Reset(1),
            Fault::Reset(10),
            Fault::Limit(200),
            Fault::Limit(2_000),
            Fault::Dark,
        ];
        let mut chance = Chance::new(plan.seed ^ 0xF1);
        while !done.load(Ordering::Relaxed) {
            let (origin, clients) = (*chance.pick(&faults), *chance.pick(&faults));
            if let Err(why) = self.set(origin, clients) {
                println!("  the network stays as it is: {why}");
            }
            // Darkness is short: what no packet passes has nothing to show.
            let dark = origin == Fault::Dark || clients == Fault::Dark;
            pause(Duration::from_millis(200 + chance.below(if dark { 2_000 } else { 6_000 }) as u64));
        }
    }

    fn clear(&self) -> Result<(), String> {
        self.set(Fault::None, Fault::None)
    }
}

impl Side {
    fn start(plan: &Plan, kind: Kind, origins: &Origins) -> Result<Side, String> {
        let name = kind.name();
        let file = plan.folder.join(format!("{name}.yaml"));
        write(&file, &text(0, origins))?;
        let launch = Launch { kind, folder: &plan.folder, name, file: &file, concurrency: 2, arguments: &[] };
        let proxy = Proxy::start(&launch)?;
        let (front, far) = (proxy.listener("front")?, proxy.listener("far")?);
        pause(Duration::from_millis(500));
        let base = Sample::take(&proxy)?;
        println!("{name}: at first {}", base.line());
        Ok(Side {
            kind,
            proxy,
            file,
            front,
            far,
            account: Account::new(name),
            base,
            samples: Mutex::default(),
            reloads: AtomicU64::new(0),
            trouble: Mutex::default(),
        })
    }

    fn trouble(&self, what: String) {
        println!("  FAILED on {}: {what}", self.kind.name());
        self.trouble.lock().expect("no thread panicked").push(what);
    }

    fn line(&self) -> String {
        let counts = self.account.counts();
        let now = self.samples.lock().expect("no thread panicked").last().map(Sample::line).unwrap_or_default();
        format!(
            "{}: {} requests on {} connections, {} failed, slowest healthy {} ms; {} reloads; {now}",
            self.kind.name(),
            counts.requests,
            counts.connections,
            counts.failures,
            counts.slowest.as_millis(),
            self.reloads.load(Ordering::Relaxed)
        )
    }

    /// Reloads at random, each by a rename.
    fn reload(&self, plan: &Plan, origins: &Origins, done: &AtomicBool) {
        if self.kind == Kind::Envoy {
            return;
        }
        let mut chance = Chance::new(plan.seed ^ 0xF2);
        for version in 1.. {
            pause(Duration::from_millis(100 + chance.below(4_000) as u64));
            if done.load(Ordering::Relaxed) {
                return;
            }
            match self.reload_to(&text(version, origins)) {
                Ok(()) => self.reloads.fetch_add(1, Ordering::Relaxed),
                Err(why) => return self.trouble(format!("reload {version}: {why}")),
            };
        }
    }

    fn reload_to(&self, text: &str) -> Result<(), String> {
        if self.kind == Kind::Envoy {
            return Ok(()); // it reads its file once
        }
        let before = self.proxy.stat("config.reload_success")?;
        write(&self.file, text)?;
        let seen = || (self.proxy.stat("config.reload_success").ok()? > before).then_some(());
        wait_for("a reload", RELOAD_LIMIT, seen).map_err(|why| format!("{why}: {}", self.proxy.log_tail()))
    }

    /// Samples what the proxy holds.
    fn watch(&self, plan: &Plan, done: &AtomicBool) {
        let every = (plan.ran / SAMPLES as u32).max(Duration::from_secs(1));
        let mut next = Instant::now();
        while !done.load(Ordering::Relaxed) {
            if Instant::now() < next {
                pause(Duration::from_millis(100));
                continue;
            }
            next += every;
            match Sample::take(&self.proxy) {
                Ok(sample) => self.samples.lock().expect("no thread panicked").push(sample),
                Err(why) => return self.trouble(format!("no sample: {why}")),
            }
        }
    }

    /// The verdict, when clients and origins are gone.
    fn end(&self, plan: &Plan, ran: Duration) -> Result<String, String> {
        let name = self.kind.name();
        let counts = self.account.counts();
        println!("\n{} after {} s", self.line(), ran.as_secs());
        counts.table().iter().for_each(|line| println!("  {line}"));
        let samples = self.samples.lock().expect("no thread panicked").clone();
        let (lines, grown) = gauge::judge_growth(&samples, plan.ran);
        lines.iter().for_each(|line| println!("  {line}"));
        let mut trouble = self.trouble.lock().expect("no thread panicked").clone();
        trouble.extend(grown.err());
        // Without clusters there are no pools: their connections go, too, those that a lost reset left half open included.
        let empty = with_listeners(Config::default(), &[answer("/version", 200, "last")]);
        trouble.extend(self.reload_to(&empty).err());
        match gauge::wait_given_back(&self.proxy, &self.base, GIVE_BACK_LIMIT) {
            Ok(now) => println!("  given back: {}", now.line()),
            Err(why) => trouble.push(why),
        }
        if counts.failures > 0 {
            trouble.push(format!("{} requests came to what they must not", counts.failures));
        }
        // A field that asks too little shows nothing.
        if counts.requests < plan.ran.as_secs() * 10 {
            trouble.push("too few requests to judge by".to_owned());
        }
        let line = format!(
            "{name}: {} requests, {} failed, {} reloads",
            counts.requests,
            counts.failures,
            self.reloads.load(Ordering::Relaxed)
        );
        if trouble.is_empty() { Ok(line) } else { Err(format!("{line}: {}", trouble.join("; "))) }
    }
}

/// Writes a file beside it and renames it into place.
fn write(file: &Path, text: &str) -> Result<(), String> {
    let beside = file.with_extension("tmp");
    std::fs::write(&beside, text)
        .and_then(|()| std::fs::rename(&beside, file))
        .map_err(|e| format!("cannot write {}: {e}", file.display()))
}

/// Each version moves the healthy origin to another address of this host and gives the passing cluster another name.
fn text(version: u64, origins: &Origins) -> String {
    let healthy = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 1 + (version % 5) as u8), origins.healthy.address.port()));
    let passing = format!("passing-{version}");
    let silent = origins.silent.local_addr().expect("it is bound");
    let clusters = [
        (Target::Healthy, "healthy", healthy),
        (Target::Passing, passing.as_str(), healthy),
        (Target::Frozen, "frozen", origins.frozen.address),
        (Target::Broken, "broken", origins.broken.address),
        (Target::Lossy, "lossy", origins.lossy.address),
        (Target::Refusing, "refusing", SocketAddr::from((Ipv4Addr::LOCALHOST, REFUSING))),
        (Target::Silent, "silent", silent),
    ];
    let mut routes = vec![answer("/version", 200, &version.to_string())];
    let mut config = Config::default();
    for (target, cluster, endpoint) in clusters {
        let timeout = target.timeout().map_or("0s".to_owned(), |timeout| format!("{}s", timeout.as_secs()));
        routes.push(route_with_timeout(&format!("/{}/", target.name()), cluster, &timeout));
        config = config.cluster_with_connect_timeout(cluster, &[endpoint], "1s");
    }
    with_listeners(config, &routes)
}

/// What a proxy's own timers end: a client whose last word the network lost. No right client is ever as long silent.
const TIMERS: &str = "stream_idle_timeout: 8s, common_http_protocol_options: {idle_timeout: 10s},";

fn with_listeners(config: Config, routes: &[String]) -> String {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let hosts = format!("[{{name: all, domains: [\"*\"], routes: [{}]}}]", routes.join(", "));
    config.listener_with_hosts("front", any, &hosts, TIMERS).listener_with_hosts("far", any, &hosts, TIMERS).text()
}

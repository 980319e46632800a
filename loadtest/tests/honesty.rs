//! What a figure claims is so: stalls are seen, the generator owns up to its own faults, the output is what is documented.

mod support;

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::Value;
use support::{Origin, Running, command, load};

/// Guards against coordinated omission: a tenth of all requests fall into the stall, and each is charged with what it waited.
#[test]
fn a_stall_is_seen_by_the_open_loop() {
    let origin = Origin::start(&["--stall", "100ms/1s"]);
    for scheme in ["http", "h2c"] {
        let url = origin.as_scheme(scheme);
        let loaded = load(&[&url, "-c", "2", "--rate", "400", "-d", "2100ms"]);
        let latency = &loaded.json["latency_us"];
        assert!(latency["p99.9"].as_f64() >= Some(50_000.0) && loaded.status == 0, "{:#}", loaded.json);
        // One in twenty waited for half of the stall, or longer.
        assert!(latency["p99"].as_f64() >= Some(50_000.0), "{latency:#}");
    }
}

#[test]
fn a_known_delay_is_measured() {
    let origin = Origin::start(&["--delay", "20ms"]);
    for options in [&["-c", "3", "-n", "30"][..], &["-c", "40", "--rate", "100", "-n", "30"]] {
        for scheme in ["http", "h2c"] {
            let loaded = load(&[&[origin.as_scheme(scheme).as_str()], options].concat());
            assert!(loaded.json["latency_us"]["min"].as_f64() >= Some(20_000.0), "{:#}", loaded.json);
            assert_eq!(loaded.json["latency_us"]["count"], 30);
        }
    }
}

#[test]
fn a_rate_that_no_generator_keeps_is_its_own_fault() {
    let origin = Origin::start(&[]);
    let options = ["--rate", "1e9", "-c", "2", "-d", "300ms", "--timeout", "100ms", "--late-max", "10ms"];
    let loaded = load(&[&[origin.url.as_str()], &options[..]].concat());
    assert_eq!((loaded.status, loaded.json["verdict"].as_str()), (3, Some("generator")), "{:#}", loaded.json);
    assert!(loaded.json["generator"]["missed"].as_u64() > Some(0), "{:#}", loaded.json);
    assert!(loaded.json["generator"]["fault"].is_string());
}

/// The other side of it: requests were due in time, and found no connection.
#[test]
fn a_slow_target_is_not_the_generators_fault() {
    let origin = Origin::start(&["--delay", "100ms"]);
    // However late a busy host is, it is the target that is slow.
    let options = ["--rate", "200", "-c", "1", "-d", "500ms", "--timeout", "200ms", "--late-max", "10s"];
    let loaded = load(&[&[origin.url.as_str()], &options[..]].concat());
    assert_eq!((loaded.status, loaded.json["verdict"].as_str()), (1, Some("failed")), "{:#}", loaded.json);
    // One that waits for the connection is given up in time, or at the end.
    let waited = loaded.failures("unsent") + loaded.failures("timeout");
    assert!(waited > 0 && loaded.json["generator"]["fault"].is_null(), "{:#}", loaded.json);
}

#[test]
fn thresholds_decide_the_exit_status() {
    let good = Origin::start(&[]);
    let bad = Origin::start(&["--error-rate", "1"]);
    for (origin, conditions, status) in [
        (&good, &[][..], 0),
        (&good, &["--fail-if", "p99>1h,errors>0"], 0),
        (&good, &["--fail-if", "answered>=10"], 1),
        (&good, &["--fail-if", "errors>0", "--fail-if", "p50>0us"], 1),
        (&bad, &[], 1),
        (&bad, &["--fail-if", "error_rate>=100%"], 1),
        (&bad, &["--fail-if", "timeout>0"], 0),
        (&bad, &["--fail-if", "status>9"], 1),
        (&bad, &["--fail-if", "status>10"], 0),
    ] {
        let loaded = load(&[&[origin.url.as_str(), "-c", "1", "-n", "10"], conditions].concat());
        assert_eq!(loaded.status, status, "{conditions:?} {:#}", loaded.json);
        assert_eq!(loaded.json["exit_status"], status);
    }
}

#[test]
fn warm_up_is_sent_and_not_counted() {
    let origin = Origin::start(&[]);
    let options =
        ["--rate", "100", "-d", "1s", "--warm-up", "500ms", "-c", "2", "--late-max", "60s", "--timeout", "60s"];
    let loaded = load(&[&[origin.url.as_str()], &options[..]].concat());
    let (answered, sent) = (loaded.number("answered"), loaded.number("sent"));
    // Half of a hundred, by when they were due; some may still be under way at the end on a busy host.
    assert!(answered > 0 && (45..=51).contains(&sent), "{:#}", loaded.json);
}

/// Guards against a warm-up that uses up all that was to be measured.
#[test]
fn a_count_is_of_what_counts() {
    let origin = Origin::start(&[]);
    for options in [&[][..], &["--rate", "100", "--late-max", "60s"], &["-c", "1"]] {
        let loaded = load(&[&[origin.url.as_str(), "-n", "30", "--warm-up", "300ms"], options].concat());
        let found = (loaded.status, loaded.number("answered"), loaded.number("sent"));
        assert_eq!(found, (0, 30, 30), "{:#}", loaded.json);
    }
}

/// A seed is all that decides on sizes.
#[test]
fn a_run_is_repeated_by_its_seed() {
    let origin = Origin::start(&["--echo"]);
    let run = |seed: &str| {
        let options = ["-c", "1", "-n", "50", "--body-size", "exp:1k", "--seed", seed];
        load(&[&[origin.url.as_str()], &options[..]].concat()).number("bytes_received")
    };
    assert_eq!(run("5"), run("5"));
    assert_ne!(run("5"), run("6"));
}

/// Members whose own members are not always the same.
const MAPS: [&str; 3] = ["failures", "causes", "statuses"];

/// The members of a JSON document, those within others with a dot in between; of maps and of lists of numbers the name alone.
fn members(value: &Value, before: &str, all: &mut BTreeSet<String>) {
    let Some(object) = value.as_object() else { return };
    for (name, value) in object {
        let path = format!("{before}{name}");
        match value {
            Value::Object(_) if MAPS.contains(&name.as_str()) => {}
            Value::Object(_) => members(value, &format!("{path}."), all),
            Value::Array(list) if list.first().is_some_and(Value::is_object) => {
                list.iter().for_each(|value| members(value, &format!("{path}[]."), all));
                continue;
            }
            _ => {}
        }
        if !value.is_object() || MAPS.contains(&name.as_str()) {
            all.insert(path);
        }
    }
}

/// The members that a section of docs/LOADTEST.md names.
fn documented(section: &str) -> BTreeSet<String> {
    let manual = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/LOADTEST.md");
    let manual = std::fs::read_to_string(manual).expect("the manual");
    let part = manual.split("\n## ").find(|part| part.starts_with(section)).expect("the section");
    let percentiles = ["p50", "p75", "p90", "p95", "p99", "p99.9", "p99.99", "p99.999", "mean", "max"];
    let mut names = BTreeSet::new();
    for line in part.lines().filter_map(|line| line.strip_prefix("| `")) {
        let (name, meaning) = line.split_once("` |").expect("a name and what it is");
        let parts: &[&str] = match meaning {
            meaning if meaning.contains("(times)") => &[&percentiles[..], &["count", "min", "stdev"]].concat(),
            meaning if meaning.contains("(percentiles)") => &percentiles,
            meaning if meaning.contains("(spread)") => &["median", "least", "most"],
            _ => &[],
        };
        if parts.is_empty() {
            names.insert(name.to_owned());
        }
        names.extend(parts.iter().map(|part| format!("{name}.{part}")));
    }
    names
}

/// docs/LOADTEST.md names every member, and no other.
#[track_caller]
fn check_documented(json: &Value, section: &str) {
    let mut said = BTreeSet::new();
    members(json, "", &mut said);
    let documented = documented(section);
    let differing: Vec<_> = said.symmetric_difference(&documented).collect();
    assert!(differing.is_empty(), "{differing:?}");
}

/// A run that its count alone ends was given no duration; whoever watches it sees how far it is.
#[test]
fn a_run_by_count_has_no_duration() {
    let origin = Origin::start(&[]);
    assert!(load(&[&origin.url, "-c", "1", "-n", "5"]).json["plan"]["duration_s"].is_null());
    let loaded = load(&[&origin.url, "-c", "1", "-n", "5", "-d", "60s"]);
    assert_eq!(loaded.json["plan"]["duration_s"], 60.0);
}

#[test]
fn json_is_what_is_documented() {
    let origin = Origin::start(&[]);
    check_documented(&load(&[&origin.url, "-c", "1", "-n", "10", "--fail-if", "errors>0"]).json, "JSON");
}

/// One with a row of each kind, as `report` gets it from `compare`.
#[test]
fn json_of_a_comparison_is_what_is_documented() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/compare.json");
    let text = std::fs::read_to_string(path).expect("the comparison");
    check_documented(&serde_json::from_str(&text).expect("JSON"), "compare");
}

#[test]
fn files_are_written() {
    let origin = Origin::start(&[]);
    let folder = std::env::temp_dir();
    let [csv, hdr] = ["csv", "hdr"].map(|name| folder.join(format!("ringway-load-{}.{name}", std::process::id())));
    let [csv_path, hdr_path] = [&csv, &hdr].map(|path| path.to_str().expect("a path of text"));
    let loaded = load(&[&origin.url, "-c", "1", "-n", "10", "--csv", csv_path, "--hdr", hdr_path]);
    let [table, log] = [&csv, &hdr].map(|path| std::fs::read_to_string(path).expect("it was written"));
    [csv, hdr].iter().for_each(|file| std::fs::remove_file(file).expect("it was written"));
    assert_eq!(loaded.status, 0);
    let answered: u64 = table.lines().skip(1).map(|line| line.split(',').nth(1).unwrap().parse::<u64>().unwrap()).sum();
    assert_eq!((answered, table.lines().next().map(|line| line.split(',').count())), (10, Some(9)));
    // An interval: its start, its length, its greatest value, and the histogram (HdrHistogram's V2, deflated: HISTFAAA).
    assert!(log.lines().any(|line| line.split(',').count() == 4 && line.contains("HISTFAAA")), "{log}");
    assert!(log.contains("#[StartTime: "), "{log}");
}

/// Guards against a warm-up that looks like seconds without an answer, a second that is half of it, and an empty one at the end.
#[test]
fn the_series_is_of_what_counts() {
    let origin = Origin::start(&[]);
    let folder = std::env::temp_dir();
    let [csv, hdr] = ["csv", "hdr"].map(|name| folder.join(format!("ringway-load-warm-{}.{name}", std::process::id())));
    let [csv_path, hdr_path] = [&csv, &hdr].map(|path| path.to_str().expect("a path of text"));
    let options = ["--rate", "50", "-c", "2", "-d", "3500ms", "--warm-up", "1500ms", "--json", "-"];
    let patient = ["--late-max", "60s", "--timeout", "60s", "--csv", csv_path, "--hdr", hdr_path];
    let output = command(&[&["run", &origin.url], &options[..], &patient].concat());
    let [table, log] = [&csv, &hdr].map(|path| std::fs::read_to_string(path).expect("it was written"));
    [csv, hdr].iter().for_each(|file| std::fs::remove_file(file).expect("it was written"));
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let series = json["series"].as_array().expect("a list");
    let all = |member: &str| series.iter().map(|point| point[member].as_f64().expect("a number")).collect::<Vec<_>>();
    assert_eq!(all("second")[..2], [1.0, 2.0], "{json:#}");
    assert_eq!(all("length_s")[..2], [1.0, 1.0], "{json:#}");
    // A host that stands still for a second has one without an answer.
    assert!(
        all("length_s").iter().all(|length| *length > 0.0) && all("answered").iter().any(|answered| *answered > 0.0),
        "{json:#}"
    );
    assert_eq!(all("answered").iter().sum::<f64>(), json["answered"].as_f64().expect("a number"));
    assert_eq!(table.lines().count(), 1 + series.len(), "{table}");
    let intervals: Vec<&str> = log.lines().filter(|line| line.contains("HISTFAAA")).collect();
    assert_eq!(intervals.len(), series.len(), "{log}");
    assert!(intervals[0].starts_with("1.500,1.000,"), "{log}");
    // Times in the log are from when the run began, and as long as they were: the last one ends with the last answer.
    let began = log.lines().find_map(|line| line.strip_prefix("#[StartTime: ")?.split_whitespace().next());
    let began: f64 = began.expect("a line").parse().expect("seconds");
    assert!((began - json["began_unix_s"].as_f64().expect("a number")).abs() < 0.01, "{began} {json:#}");
    let length = |line: &str| line.split(',').nth(1).expect("a length").parse::<f64>().expect("seconds");
    for (line, point) in intervals.iter().zip(all("length_s")) {
        assert!((length(line) - point).abs() < 0.002, "{line} {point}");
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().filter(|line| line.contains(" s  ")).collect();
    assert!(lines[..2].iter().all(|line| line.ends_with(" s  warm-up")) && lines[2].contains("/s of 50/s"), "{said}");
}

/// Guards against the CPU time of two hundred handshakes being that of three requests.
#[test]
fn connecting_is_no_part_of_how_busy_the_generator_was() {
    let origin = Origin::start(&["--tls"]);
    let output = command(&[
        "run",
        &origin.url,
        "-q",
        "-k",
        "-c",
        "200",
        "-n",
        "3",
        "--timeout",
        "60s",
        "--connect-timeout",
        "60s",
        "--json",
        "-",
    ]);
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json["answered"], 3);
    // A thread's CPU time and time itself are of clocks that may differ by 500 ppm (adjtimex(2)).
    let busiest = json["generator"]["busiest"].as_f64().expect("a number");
    assert!((0.0..=1.01).contains(&busiest), "{:#}", json["generator"]);
}

#[test]
fn a_sweep_finds_a_knee() {
    let origin = Origin::start(&["--delay", "5ms"]);
    let output = command(&[
        "sweep",
        &origin.url,
        "-q",
        "--json",
        "-",
        "-d",
        "500ms",
        "--concurrencies",
        "1,2,4",
        "--timeout",
        "60s",
    ]);
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json["axis"], "concurrency");
    check_documented(&json, "sweep");
    assert_eq!(
        (json["plan"]["target"].as_str(), json["plan"]["connections"].as_u64()),
        (Some(format!("{}/", origin.url).as_str()), Some(1))
    );
    let steps = json["steps"].as_array().expect("steps");
    assert!(steps.len() == 3 && steps.iter().all(|step| step["answered"].as_u64() > Some(0)), "{json:#}");
    // Each answer takes 5 ms at least: a step cannot be faster than its connections allow, the one that each has under way at the end included.
    for step in steps {
        assert!(step["rate"].as_f64() <= step["at"].as_f64().map(|at| at * (500.0 / 5.0 + 1.0) / 0.5), "{step:#}");
    }
    let output = command(&[
        "sweep",
        &origin.url,
        "-q",
        "--json",
        "-",
        "-d",
        "500ms",
        "--rates",
        "20,40",
        "--late-max",
        "60s",
        "--timeout",
        "60s",
    ]);
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((json["axis"].as_str(), json["steps"][0]["failed"].as_u64()), (Some("rate"), Some(0)), "{json:#}");
}

/// Guards against steps at parts of a capacity that nobody measured, and against calling steps of one loop those of the other.
#[test]
fn a_sweep_that_is_interrupted_invents_nothing() {
    let origin = Origin::start(&["--delay", "1ms"]);
    let patient = ["-c", "2", "-d", "1h", "--timeout", "60s", "--late-max", "60s"];
    for (more, last) in [
        (&[][..], "interrupted: this is what was measured so far"),
        (&["--rates", "20,40"], "before any step was whole"),
    ] {
        let mut running = Running::start_as(&[&["sweep", &origin.url], &patient[..], more].concat());
        running.wait_for(|line| !line.contains(" 0/s"));
        let output = running.interrupt_to_the_end();
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(130), "{said}");
        let is_step = |line: &str| line.starts_with(' ') && !line.contains("interrupted") && !line.contains("p50");
        assert!(!said.lines().any(is_step), "{said}");
        assert!(said.contains(last) && said.contains("2 connections"), "{said}");
        let is_open = said.lines().any(|line| line.contains(", open loop at 20/s to 40/s, "));
        assert_eq!((is_open, said.contains("closed loop")), (!more.is_empty(), more.is_empty()), "{said}");
    }
}

#[test]
fn a_page_is_made_of_what_was_measured() {
    let origin = Origin::start(&[]);
    let folder = std::env::temp_dir().join(format!("ringway-load-page-{}", std::process::id()));
    std::fs::create_dir(&folder).expect("a temporary folder");
    let [run, sweep, page] = ["run.json", "sweep.json", "page.html"]
        .map(|name| folder.join(name).to_str().expect("a path of text").to_owned());
    let made = [
        command(&[
            "run",
            &origin.url,
            "-q",
            "-n",
            "30",
            "--rate",
            "20",
            "-c",
            "2",
            "--late-max",
            "60s",
            "--json",
            &run,
        ]),
        command(&["sweep", &origin.url, "-q", "-d", "200ms", "--concurrencies", "1,2", "--json", &sweep]),
        command(&["report", &format!("a run={run}"), &sweep, "--out", &page, "--title", "Ours"]),
        command(&["report", &page]),
    ];
    let html = std::fs::read_to_string(&page).expect("it was written");
    std::fs::remove_dir_all(&folder).expect("it is ours");
    assert_eq!(made.map(|output| output.status.code()), [Some(0), Some(0), Some(0), Some(2)]);
    assert!(html.contains("<h1>Ours</h1>") && html.contains("a run") && html.matches("<svg").count() == 4, "{html}");
    assert!(html.matches("<summary>The host</summary>").count() == 2 && html.contains("ringway-load sweep "), "{html}");
    assert!(!html.contains("NaN") && !html.contains("src="), "{html}");
}

#[test]
fn the_old_command_line_is_that_of_run() {
    let origin = Origin::start(&[]);
    let output = command(&[origin.address(), "-c", "2", "-d", "1", "--path", "/", "--rate", "50", "--late-max", "60s"]);
    let said = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.contains(" answered (") && said.contains(" 0 failed") && said.contains("\nlatency us p50 "), "{said}");
}

//! `ringway doctor` on the real host, and where io_uring is forbidden: it agrees with what `run` does there.

use crate::common;
use crate::common::process::{ring_works, run};
use ringway_runtime::seccomp::{Action, Rule, filter_this_thread};
use serde_json::Value;

/// The doctor's answer as JSON, and its exit code.
#[track_caller]
fn doctor(arguments: &[&str]) -> (Value, Option<i32>) {
    let output = run(&[&["doctor", "--json"], arguments].concat());
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")), output.status.code())
}

/// One row: its verdict, what was found and what to do.
#[track_caller]
fn row(answer: &Value, subject: &str) -> [String; 3] {
    let rows = answer["rows"].as_array().expect("rows");
    let row = rows.iter().find(|row| row["subject"].as_str().is_some_and(|s| s.trim() == subject));
    let row = row.unwrap_or_else(|| panic!("no row {subject}: {answer:#}"));
    ["verdict", "found", "to_do"].map(|key| row[key].as_str().expect("text").to_owned())
}

#[test]
fn on_this_host() {
    let (answer, code) = doctor(&[]);
    assert_eq!((code, &answer["starts"]), (Some(0), &true.into()), "{answer:#}");
    assert_eq!(row(&answer, "io ring")[0], if ring_works() { "ok" } else { "note" });
    assert_eq!(row(&answer, "io poll")[0], "ok");
    for subject in ["kernel", "descriptors", "memlock", "affinity", "quota", "cpuset", "workers", "net.core.somaxconn"]
    {
        assert!(!row(&answer, subject)[1].is_empty());
    }
    let text = String::from_utf8_lossy(&run(&["doctor"]).stdout).into_owned();
    assert!(text.contains("io poll") && text.contains("\nproblems: 0"), "{text}");
}

#[test]
fn what_could_not_start_is_exit_code_1() {
    let (answer, code) = doctor(&["--cpus", "1000"]);
    assert_eq!((code, &answer["starts"]), (Some(1), &false.into()));
    let [verdict, found, _] = row(&answer, "workers");
    assert!(verdict == "problem" && found.contains("may not use CPU 1000"), "{found}");
}

#[test]
fn a_denied_feature_is_a_note_with_its_price() {
    if !ring_works() {
        return common::skip("this kernel grants no io_uring");
    }
    let (answer, code) = doctor(&["--io-without", "no_sqarray"]);
    assert_eq!(code, Some(0));
    assert_eq!(
        row(&answer, "no_sqarray"),
        ["note", "no: one more cache line for a batch of submissions", "Linux 6.6 or newer"]
    );
}

#[test]
fn where_io_uring_is_forbidden() {
    let thread = std::thread::spawn(|| {
        // io_uring_setup, on every machine that numbers its calls anew.
        let rule = Rule { call: 425, when: None, action: Action::Errno(1) };
        filter_this_thread(&[rule], Action::Allow).expect("a filter needs no privilege");
        for (io, verdict, starts) in [("auto", "note", true), ("ring", "problem", false), ("poll", "note", true)] {
            let (answer, code) = doctor(&["--io", io]);
            assert_eq!((code, &answer["starts"]), (Some(i32::from(!starts)), &starts.into()), "--io {io}");
            let [found_verdict, found, to_do] = row(&answer, "io ring");
            assert_eq!(found_verdict, verdict, "--io {io}: {found}");
            assert!(to_do.contains("a seccomp filter forbids it"), "{to_do}");
            assert_eq!(row(&answer, "seccomp")[1], "a filter");
        }
    });
    thread.join().expect("the checks hold");
}

//! `ringway check` and the command line: what is printed, and the exit code.

use crate::common::config::Config;
use crate::common::process::{TempDir, run};

#[track_caller]
fn check(arguments: &[&str], code: i32, stdout: &str, stderr: &[&str]) {
    let output = run(arguments);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {out}{err}");
    assert_eq!(out, stdout, "{arguments:?}");
    for part in stderr {
        assert!(err.contains(part), "{arguments:?}: no {part:?} in:\n{err}");
    }
}

#[test]
fn a_good_file_is_ok() {
    let dir = TempDir::new();
    let file = dir.rename_over("good.yaml", &Config::new().yaml()).display().to_string();
    let ok = format!("configuration '{file}' OK\n");
    check(&["check", "-c", &file], 0, &ok, &[]);
    check(&["-c", &file, "--mode", "validate"], 0, &ok, &[]);
    check(&["run", "-c", &file, "--mode", "validate", "--disable-hot-restart", "-l", "off"], 0, &ok, &[]);
    check(&["check", "--config-yaml", &Config::new().yaml()], 0, "configuration '--config-yaml' OK\n", &[]);
}

#[test]
fn a_wrong_file_is_refused_with_every_place() {
    let dir = TempDir::new();
    let yaml = Config::new().to("/x", "missing").top("wrong_field: 1").manager("append_local_overload: true").yaml();
    let file = dir.rename_over("bad.yaml", &yaml).display().to_string();
    let line = |text: &str| {
        let at = yaml.lines().position(|line| line.contains(text)).expect("a line of the file") + 1;
        format!("{file}:{at}:")
    };
    let places = [line("wrong_field"), line("append_local_overload")];
    let places: Vec<&str> = places.iter().map(String::as_str).collect();
    check(&["check", "-c", &file], 1, "", &places);
    check(&["-c", &file], 1, "", &places);
    check(&["-c", &file, "--mode", "validate"], 1, "", &places);
    let field = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.append_local_overload";
    check(&["check", "-c", &file], 1, "", &["wrong_field", field]);
}

#[test]
fn a_route_to_no_cluster_is_refused() {
    let dir = TempDir::new();
    let file = dir.rename_over("bad.yaml", &Config::new().to("/x", "missing").yaml()).display().to_string();
    check(&["check", "-c", &file], 1, "", &["missing"]);
}

#[test]
fn a_file_that_is_not_there_is_a_reason() {
    check(&["check", "-c", "/no/such/file.yaml"], 1, "", &["/no/such/file.yaml: cannot be read"]);
}

#[test]
fn the_command_line_is_checked() {
    check(&["-c", "x", "--balance", "fair"], 1, "", &["--balance", "least-of-two"]);
    check(&["-c", "x", "--no-such-flag"], 1, "", &["--no-such-flag"]);
    check(&["run"], 1, "", &["--config-path"]);
    let output = run(&["--help"]);
    assert!(output.status.success());
    let help = String::from_utf8_lossy(&output.stdout);
    for part in ["--housekeeping-cpus", "--spin-us", "check", "demo"] {
        assert!(help.contains(part), "{help}");
    }
    assert_eq!(run(&["--version"]).status.code(), Some(0));
}

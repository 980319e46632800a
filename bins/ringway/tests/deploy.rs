//! The files of docs/deploy are what this build understands: their commands, and the example's configuration.

use std::fs;
use std::path::Path;

use crate::common;
use crate::common::process::{TempDir, run};

/// A file of docs/deploy.
fn deploy(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/deploy").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Runs a command line of a file, less its program, with further arguments; what it printed.
#[track_caller]
fn understood(words: &[&str], further: &[&str]) -> String {
    let output = run(&[words, further].concat());
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{words:?}: {out}{err}");
    out.into_owned()
}

/// The words of a YAML flow sequence on one line: `args: [a, "b"]`.
fn sequence(line: &str) -> Vec<&str> {
    let inner = line.split_once('[').and_then(|(_, rest)| rest.split_once(']')).expect("a sequence").0;
    inner.split(',').map(|word| word.trim().trim_matches('"')).collect()
}

#[test]
fn the_manifests_commands_are_understood() {
    let manifest = deploy("sidecar.yaml");
    let commands: Vec<Vec<&str>> =
        manifest.lines().filter(|line| line.trim_start().starts_with("args: ")).map(sequence).collect();
    assert_eq!(commands.len(), 2, "{commands:?}");
    let script = understood(&commands[0], &["--dry-run"]);
    assert!(script.contains("--dport 15021 -j RETURN") && script.contains("--uid-owner 1337"), "{script}");
    let dir = TempDir::new();
    let file = dir.rename_over("c.yaml", &common::config::Config::new().yaml()).display().to_string();
    let own: Vec<&str> = commands[1].iter().map(|word| if word.ends_with(".yaml") { &file } else { *word }).collect();
    understood(&own, &["--mode", "validate"]);
}

#[test]
fn the_units_commands_are_understood() {
    let unit = deploy("ringway.service");
    let program = "/usr/local/bin/ringway ";
    let commands: Vec<Vec<&str>> = unit
        .lines()
        .filter(|line| line.starts_with("Exec"))
        .filter_map(|line| line.split_once(program))
        // One of them is an argument of a shell, in quotes.
        .map(|(_, words)| words.trim_end_matches('\'').split(' ').collect())
        .collect();
    assert_eq!(commands.len(), 4, "{commands:?}");
    let dir = TempDir::new();
    let file = dir.rename_over("c.yaml", &common::config::Config::new().yaml()).display().to_string();
    for words in commands {
        let own: Vec<&str> = words.iter().map(|word| if word.ends_with(".yaml") { &file } else { *word }).collect();
        let further: &[&str] = match own[0] {
            "iptables" => &["--dry-run"],
            "run" => &["--mode", "validate"],
            _ => &[],
        };
        understood(&own, further);
    }
}

#[test]
fn the_examples_configuration_is_right() {
    let example = deploy("sidecar-config.yaml");
    let dir = TempDir::new();
    let key = rcgen::KeyPair::generate().expect("a key");
    let names = vec!["sidecar.mesh.example".to_owned()];
    let own = rcgen::CertificateParams::new(names).expect("names").self_signed(&key).expect("a certificate");
    for (name, text) in [("cert.pem", own.pem()), ("key.pem", key.serialize_pem()), ("ca.pem", own.pem())] {
        dir.rename_over(name, &text);
    }
    let here = format!("{}/", dir.0.display());
    for text in [
        example.clone(),
        example.replace("traffic_direction: INBOUND", "traffic_direction: INBOUND\n    transparent: true"),
    ] {
        assert_eq!(text.matches("/etc/ringway/tls/").count(), 6);
        let file = dir.rename_over("sidecar.yaml", &text.replace("/etc/ringway/tls/", &here)).display().to_string();
        let said = understood(&["check", "-c", &file], &[]);
        assert_eq!(said, format!("configuration '{file}' OK\n"));
    }
}

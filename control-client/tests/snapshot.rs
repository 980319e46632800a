//! One file with all that is supported, as the snapshot and the dump that become of it.
//! `RINGWAY_WRITE_EXPECTED=1` writes both anew.

use std::fmt::Write as _;

use ringway_control_client::{Bootstrap, Builder, ReadOptions, Source, read_bootstrap};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data");

fn good() -> Bootstrap {
    let text = std::fs::read_to_string(format!("{DATA}/good.yaml")).expect("the file is there");
    read_bootstrap(Source { name: "good.yaml", text: &text }, &ReadOptions::default()).expect("the file is right")
}

#[track_caller]
fn check(file: &str, found: &str) {
    let path = format!("{DATA}/{file}");
    if std::env::var_os("RINGWAY_WRITE_EXPECTED").is_some() {
        std::fs::write(&path, found).expect("the file can be written");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == found, "{file} differs; write it anew with RINGWAY_WRITE_EXPECTED=1 and read the difference");
}

#[test]
fn the_snapshot_is_as_written() {
    let bootstrap = good();
    let mut out = String::new();
    let _ = writeln!(out, "{:#?}\nadmin {:?}", bootstrap.node, bootstrap.admin);
    let _ = writeln!(out, "{:#?}", Builder::new().build(&bootstrap).snapshot());
    check("good.snapshot.txt", &out);
}

#[test]
fn the_dump_is_as_written_and_reads_back() {
    let bootstrap = good();
    let json = bootstrap.dump.to_json();
    check("good.dump.json", &json);
    let again =
        read_bootstrap(Source { name: "dump", text: &json }, &ReadOptions::default()).expect("the dump is right");
    assert_eq!(again.resources, bootstrap.resources);
    assert_eq!(again.dump.to_json(), json);
}

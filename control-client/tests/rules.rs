//! Files and the problems found in them, as rows of tests/data/rules.txt; and each row against a real Envoy, where there is one.

use std::path::PathBuf;
use std::process::Command;

use ringway_control_client::{Problem, ReadOptions, Source, read_bootstrap};

/// One row of the file.
struct Row {
    name: String,
    envoy: Verdict,
    text: String,
    problems: Vec<String>,
}

/// What Envoy 1.40 says about the text of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Ok,
    Refused,
    /// Envoy accepts and drops something in silence, we refuse.
    OursIsStricter,
}

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/rules.txt");

fn rows() -> (String, Vec<Row>) {
    let file = std::fs::read_to_string(PATH).expect("the rows are there");
    let (head, body) = file.split_once("=== ").expect("there are rows");
    let rows = body.split("\n=== ").map(|row| {
        let (title, rest) = row.split_once('\n').expect("a row has a title");
        let (name, verdict) = title.split_once(" | ").expect("a title has a verdict");
        let (text, problems) = rest.split_once("\n--- problems").expect("a row has problems");
        let envoy = match verdict {
            "envoy ok" => Verdict::Ok,
            "envoy refuses" => Verdict::Refused,
            "stricter than envoy" => Verdict::OursIsStricter,
            other => panic!("{other:?} is no verdict"),
        };
        let problems = problems.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
        Row { name: name.to_owned(), envoy, text: text.to_owned(), problems }
    });
    (head.to_owned(), rows.collect())
}

fn problems(text: &str) -> Vec<Problem> {
    let source = Source { name: "f", text };
    read_bootstrap(source, &ReadOptions::default()).err().unwrap_or_default()
}

#[test]
fn each_row_has_the_problems_that_it_says() {
    let (head, rows) = rows();
    let found = |row: &Row| problems(&row.text).iter().map(ToString::to_string).collect::<Vec<_>>();
    if std::env::var_os("RINGWAY_WRITE_EXPECTED").is_some() {
        let mut out = head;
        for row in &rows {
            let verdict = match row.envoy {
                Verdict::Ok => "envoy ok",
                Verdict::Refused => "envoy refuses",
                Verdict::OursIsStricter => "stricter than envoy",
            };
            out += &format!("=== {} | {verdict}\n{}\n--- problems\n", row.name, row.text);
            for line in found(row) {
                out += &format!("{line}\n");
            }
        }
        std::fs::write(PATH, out).expect("the rows can be written");
        return;
    }
    for row in &rows {
        assert_eq!(found(row), row.problems, "{}", row.name);
    }
}

/// What is refused only because it is not done yet says so; all else must agree with Envoy.
#[test]
fn verdicts_agree_with_what_envoy_was_seen_to_say() {
    for row in rows().1 {
        let refused = problems(&row.text).iter().any(|problem| !problem.rule.contains("supported yet"));
        assert_eq!(refused, row.envoy != Verdict::Ok, "{}", row.name);
    }
}

#[test]
fn envoy_itself_says_what_the_rows_say() {
    let Some(envoy) = envoy() else { return };
    let directory = std::env::temp_dir().join(format!("ringway-rules-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let file = directory.join("envoy.yaml");
    for row in rows().1 {
        std::fs::write(&file, &row.text).expect("write");
        let output = Command::new(&envoy).args(["--mode", "validate", "-l", "off", "-c"]).arg(&file).output();
        let accepted = output.expect("envoy runs").status.success();
        assert_eq!(accepted, row.envoy != Verdict::Refused, "{}", row.name);
    }
    std::fs::remove_dir_all(&directory).expect("remove");
}

/// `$RINGWAY_ENVOY`, which `cargo xtask ci` sets to the one that it installs.
fn envoy() -> Option<PathBuf> {
    let found = std::env::var_os("RINGWAY_ENVOY").map(PathBuf::from).filter(|path| path.exists());
    if found.is_none() {
        skip("envoy_itself_says_what_the_rows_say", "RINGWAY_ENVOY names no Envoy");
    }
    found
}

#[allow(clippy::print_stderr)] // a skipped test must be seen
fn skip(name: &str, why: &str) {
    assert!(std::env::var("RINGWAY_REQUIRE_ALL").as_deref() != Ok("1"), "{name}: {why}");
    eprintln!("SKIP {name}: {why}");
}

#[test]
fn unknown_fields_are_warnings_on_request() {
    let text = "node: {metadatas: {a: 1}, id: a}\nbogus: 2";
    let options = ReadOptions { allow_unknown_static_fields: true, ..ReadOptions::default() };
    let bootstrap = read_bootstrap(Source { name: "f", text }, &options).expect("accepted");
    assert_eq!(bootstrap.node.id, "a");
    let warnings: Vec<String> = bootstrap.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "f:1:8: node.metadatas: no such field in envoy.config.core.v3.Node",
            "f:2:1: bogus: no such field in envoy.config.bootstrap.v3.Bootstrap"
        ]
    );
}

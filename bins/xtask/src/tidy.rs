//! Habits that a program can check: who imports whom, file lengths, words that must not be committed.
//!
//! Reads the tracked files and what Cargo says of the workspace; changes nothing. Each finding names the better form.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::ci;
use crate::step::{Report, Verdict};
use crate::workspace;

/// `cargo xtask tidy`: formatting and lints too.
pub(crate) fn run() -> Result<(), String> {
    let mut report = Report::default();
    report.step("fmt", |skips| ci::cargo(&["fmt", "--all", "--check"], skips));
    report.step("clippy", |skips| ci::cargo(&["clippy", "--all-targets", "--", "--deny", "warnings"], skips));
    report.step("tidy", |_| verdict());
    report.end()
}

/// The checks of this file as one step.
pub(crate) fn verdict() -> Verdict {
    let root = workspace::root();
    let files = match tracked(&root) {
        Ok(files) => files,
        Err(why) => return Verdict::Fail(why),
    };
    for (path, text) in &files {
        let count = text.lines().count();
        if is_source(path) && count > LINES_WISHED {
            println!("{count} lines: {path} (does it hold two nouns?)");
        }
    }
    let mut findings = findings_in_files(&files);
    match imports(&root) {
        Ok(more) => findings.extend(more),
        Err(why) => findings.push(why),
    }
    for finding in &findings {
        println!("{finding}");
    }
    match findings.first() {
        None => Verdict::Pass(format!("{} files", files.len())),
        Some(first) => Verdict::Fail(format!("{} findings: {first}", findings.len())),
    }
}

/// From here on a file is named in the report, as a place to look for a second noun.
const LINES_WISHED: usize = 700;
/// No source file is longer: nobody holds more in mind.
const LINES_MAX: usize = 1_000;

/// Who may import what, from design.md §1. Development dependencies are free: they are not in the product.
struct Rule {
    package: &'static str,
    /// Ours that it may import; any other of ours is a finding.
    ours: &'static [&'static str],
    /// Others' crates that it may import, if the list is closed.
    others: Option<&'static [&'static str]>,
    /// Words that its sources must not hold outside tests, and the better form.
    words: &'static [(&'static str, &'static str)],
}

const NO_SOCKETS: (&str, &str) = ("std::net::Tcp", "bytes come in as arguments; sockets live in core/runtime");
const NO_THREADS: (&str, &str) = ("std::thread", "who calls owns the threads");
const NO_FILES: (&str, &str) = ("std::fs", "files are read by the control thread, in control-client or bins/ringway");
const NO_CLOCK: (&str, &str) = ("Instant::now", "time comes in as an argument");
const NO_MUTEX: (&str, &str) = ("Mutex", "no locks on the request path: a worker's own Cell, or a mailbox");
const NO_HTTP: (&str, &str) = ("HTTP/", "the runtime moves bytes and knows no word of HTTP");

/// One row a crate. A crate without a row is a finding, so that a new room gets its rule with its door.
const RULES: &[Rule] = &[
    Rule {
        package: "ringway-model",
        ours: &[],
        others: Some(&["serde", "regex-automata", "regex-syntax", "ipnet", "twox-hash"]),
        words: &[NO_SOCKETS, NO_THREADS, NO_FILES, NO_CLOCK, NO_MUTEX],
    },
    Rule {
        package: "ringway-protocols",
        ours: &[],
        others: Some(&["base64", "httparse", "memchr", "sha1", "wide"]),
        words: &[NO_SOCKETS, NO_THREADS, NO_FILES, NO_CLOCK, NO_MUTEX],
    },
    Rule {
        package: "ringway-tls",
        ours: &[],
        others: Some(&[
            "rustls",
            "rustls-pki-types",
            "rustls-webpki",
            "aws-lc-rs",
            "base64",
            "regex-automata",
            "regex-syntax",
        ]),
        words: &[NO_SOCKETS, NO_THREADS, NO_CLOCK],
    },
    Rule {
        package: "ringway-runtime",
        ours: &[],
        others: Some(&["io-uring", "mio", "libc", "slab", "crossbeam-queue", "crossbeam-utils"]),
        words: &[NO_HTTP],
    },
    Rule {
        package: "ringway-observe",
        ours: &["ringway-model"],
        others: Some(&[]),
        words: &[NO_SOCKETS, NO_THREADS, NO_FILES],
    },
    Rule {
        package: "ringway-engine",
        ours: &["ringway-model", "ringway-protocols", "ringway-tls", "ringway-runtime", "ringway-observe"],
        others: Some(&["slab", "memchr", "regex-automata", "crossbeam-utils"]),
        words: &[NO_FILES],
    },
    Rule { package: "ringway-control-client", ours: &["ringway-model", "ringway-tls"], others: None, words: &[] },
    Rule {
        package: "ringway",
        ours: &[
            "ringway-model",
            "ringway-protocols",
            "ringway-tls",
            "ringway-runtime",
            "ringway-observe",
            "ringway-engine",
            "ringway-control-client",
        ],
        others: None,
        words: &[],
    },
    Rule {
        package: "ringway-load",
        ours: &["ringway-protocols", "ringway-tls", "ringway-runtime"],
        others: None,
        words: &[],
    },
    Rule {
        package: "ringway-fuzz",
        ours: &["ringway-model", "ringway-protocols", "ringway-tls", "ringway-control-client"],
        others: Some(&["rcgen"]),
        words: &[NO_SOCKETS, NO_MUTEX],
    },
    Rule { package: "xtask", ours: &[], others: Some(&["serde_json"]), words: &[] },
    Rule {
        package: "ringway-benches",
        ours: &[
            "ringway-model",
            "ringway-protocols",
            "ringway-tls",
            "ringway-runtime",
            "ringway-observe",
            "ringway-engine",
        ],
        others: None,
        words: &[],
    },
];

/// What Cargo says of the workspace, against [`RULES`].
fn imports(root: &Path) -> Result<Vec<String>, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root)
        .output()
        .map_err(|e| format!("cannot run cargo metadata: {e}"))?;
    let metadata: Value =
        serde_json::from_slice(&output.stdout).map_err(|e| format!("cargo metadata did not give JSON: {e}"))?;
    let packages = metadata["packages"].as_array().map(Vec::as_slice).unwrap_or_default();
    assert!(!packages.is_empty(), "a workspace without packages");
    let mut findings = Vec::new();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(rule) = RULES.iter().find(|rule| rule.package == name) else {
            findings.push(format!("{name}: no row in bins/xtask/src/tidy.rs; say there what it may import"));
            continue;
        };
        let wanted: Vec<&str> = package["dependencies"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default()
            .iter()
            .filter(|dependency| dependency["kind"].is_null())
            .filter_map(|dependency| dependency["name"].as_str())
            .collect();
        findings.extend(rule.judge(&wanted));
        let folder = Path::new(package["manifest_path"].as_str().unwrap_or_default()).parent().unwrap_or(root);
        findings.extend(rule.judge_words(root, folder)?);
    }
    Ok(findings)
}

impl Rule {
    fn judge(&self, wanted: &[&str]) -> Vec<String> {
        let mut findings = Vec::new();
        for name in wanted {
            let is_ours = *name == "ringway" || *name == "xtask" || name.starts_with("ringway-");
            if is_ours && !self.ours.contains(name) {
                findings.push(format!("{} imports {name}: design.md §1 keeps these rooms apart", self.package));
            } else if !is_ours && self.others.is_some_and(|allowed| !allowed.contains(name)) {
                findings.push(format!("{} imports {name}: not on its list (bins/xtask/src/tidy.rs)", self.package));
            }
        }
        findings
    }

    fn judge_words(&self, root: &Path, folder: &Path) -> Result<Vec<String>, String> {
        if self.words.is_empty() {
            return Ok(Vec::new());
        }
        let sources = folder.strip_prefix(root).unwrap_or(folder).join("src");
        let mut findings = Vec::new();
        for (path, text) in tracked(root)? {
            if !Path::new(&path).starts_with(&sources) || path.contains("/tests") {
                continue;
            }
            // Tests stand at the bottom of a file and may use anything.
            let product = text.split("#[cfg(test)]").next().unwrap_or_default();
            for (number, line) in product.lines().enumerate() {
                let code = line.split("//").next().unwrap_or_default();
                for (word, better) in self.words {
                    if code.contains(word) {
                        findings.push(format!("{path}:{}: {word}: {better}", number + 1));
                    }
                }
            }
        }
        Ok(findings)
    }
}

/// The tracked text files: path from the root, and content.
fn tracked(root: &Path) -> Result<Vec<(String, String)>, String> {
    let output = Command::new("git")
        .args(["ls-files", "-z"])
        .current_dir(root)
        .output()
        .map_err(|e| format!("cannot run git: {e}"))?;
    let list = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut files = Vec::new();
    for path in list.split('\0').filter(|path| !path.is_empty()) {
        // A file that was removed but not yet committed, and a file that is not text, have nothing to read.
        if let Ok(text) = std::fs::read_to_string(root.join(path)) {
            files.push((path.to_owned(), text));
        }
    }
    if files.is_empty() { Err("git lists no files: not a checkout?".to_owned()) } else { Ok(files) }
}

fn is_source(path: &str) -> bool {
    path.ends_with(".rs")
}

/// Words that say where a file was written, not what it is. In two halves, so that this list does not find itself.
const PLACES: &[(&str, &str)] = &[
    (concat!("/wo", "rk/"), "a path from the root of the checkout, or ../shared"),
    (concat!("/ro", "ot/"), "a path from the home folder: ~"),
    (concat!("/ho", "me/"), "a path from the home folder: ~"),
    (concat!("index", "-url"), "registries by their ordinary names; mirrors belong into the machine's own settings"),
    (concat!("replace", "-with"), "registries by their ordinary names; mirrors belong into the machine's own settings"),
];

fn findings_in_files(files: &[(String, String)]) -> Vec<String> {
    let mut findings = Vec::new();
    for (path, text) in files {
        let count = text.lines().count();
        if is_source(path) && count > LINES_MAX {
            findings.push(format!("{path}: {count} lines: split it by noun"));
        }
        for (number, line) in text.lines().enumerate() {
            for (word, better) in PLACES {
                if line.contains(word) {
                    findings.push(format!("{path}:{}: {word}: write {better}", number + 1));
                }
            }
            let source = line.strip_prefix("source = ");
            if path.ends_with("Cargo.lock")
                && source.is_some_and(|source| !source.contains("github.com/rust-lang/crates.io-index"))
            {
                findings.push(format!("{path}:{}: a dependency that is not from crates.io: {line}", number + 1));
            }
        }
        if is_source(path) && !path.ends_with("build.rs") && !path.contains("/tests/") && !text.starts_with("//!") {
            findings.push(format!("{path}: open with //!: what it is, what it never does, its invariant"));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checkout_is_tidy() {
        match tracked(&workspace::root()) {
            Ok(_) => {
                if let Verdict::Fail(why) = verdict() {
                    panic!("{why} (all of them above)");
                }
            }
            Err(why) => println!("SKIP tidy: {why}"),
        }
    }

    #[track_caller]
    fn check(path: &str, text: &str, expect: &[&str]) {
        let found = findings_in_files(&[(path.to_owned(), text.to_owned())]);
        assert_eq!(found.len(), expect.len(), "{found:?}");
        for (found, expect) in found.iter().zip(expect) {
            assert!(found.contains(expect), "{found}");
        }
    }

    #[test]
    fn a_machine_path_is_found_with_its_line() {
        check("a.md", concat!("x\nsee /wo", "rk/main\n"), &["a.md:2"]);
    }

    #[test]
    fn a_foreign_registry_is_found() {
        check("Cargo.lock", "source = \"registry+https://mirror.test/index\"\n", &["not from crates.io"]);
        check("Cargo.lock", "source = \"registry+https://github.com/rust-lang/crates.io-index\"\n", &[]);
    }

    #[test]
    fn a_module_without_a_head_and_a_file_too_long_are_found() {
        check("a/src/b.rs", "fn a() {}\n", &["open with"]);
        check("a/src/b.rs", &format!("//! A noun.\n{}", "\n".repeat(LINES_MAX)), &["split it"]);
    }

    #[track_caller]
    fn check_imports(package: &str, wanted: &[&str], findings: usize) {
        let rule = RULES.iter().find(|rule| rule.package == package).expect("a row");
        assert_eq!(rule.judge(wanted).len(), findings, "{:?}", rule.judge(wanted));
    }

    #[test]
    fn rooms_are_kept_apart() {
        check_imports("ringway-model", &["serde"], 0);
        check_imports("ringway-model", &["serde", "tokio"], 1);
        check_imports("ringway-runtime", &["mio", "ringway-protocols"], 1);
        check_imports("ringway-engine", &["ringway-model", "ringway-runtime"], 0);
        check_imports("ringway-engine", &["ringway-control-client", "prost"], 2);
        check_imports("ringway-control-client", &["ringway-engine", "prost"], 1);
        check_imports("ringway", &["clap", "ringway-engine"], 0);
        check_imports("xtask", &["ringway-model"], 1);
    }
}

//! One of the two that are compared: where its sources are, and how its benches are built.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::command::{self, Echo};
use crate::workspace;

/// What a tree must have to be asked for its cases.
const HARNESS: &str = "benches/src/case.rs";
/// A build from nothing on a busy host.
const BUILD_LIMIT: Duration = Duration::from_secs(60 * 60);

/// A tree of sources and the folder that it is built in.
pub(super) struct Side {
    /// For people.
    pub(super) name: String,
    sources: PathBuf,
    target: PathBuf,
}

/// A suite, built.
pub(super) struct Program {
    pub(super) path: PathBuf,
}

impl Side {
    /// The checkout as it is.
    pub(super) fn checkout() -> Side {
        Side { name: "the checkout".into(), sources: workspace::root(), target: workspace::target() }
    }

    /// A revision of the repository at `root`, in a worktree below `folder`. Errors: there is no such revision, it has no cases, or git could
    /// not lay it out.
    pub(super) fn base(root: &Path, folder: &Path, revision: &str) -> Result<Side, String> {
        let commit = git(root, &["rev-parse", "--verify", "--quiet", &format!("{revision}^{{commit}}")])
            .map_err(|_| format!("git knows no revision {revision:?}"))?;
        git(root, &["cat-file", "-e", &format!("{commit}:{HARNESS}")]).map_err(|_| {
            format!("{revision} has no benches that can be counted ({HARNESS} came later): choose a later revision")
        })?;
        let sources = folder.join("base");
        // Where the folder was removed by hand, git still knows it.
        git(root, &["worktree", "prune"])?;
        let to = sources.to_string_lossy();
        // Only what differs is written anew, so that only that is built anew.
        match sources.join(".git").exists() {
            true => git(&sources, &["checkout", "--quiet", "--force", "--detach", &commit])?,
            false => git(root, &["worktree", "add", "--quiet", "--force", "--detach", &to, &commit])?,
        };
        Ok(Side { name: format!("{revision} ({commit:.12})"), sources, target: folder.join("target") })
    }

    /// Builds these suites, as `cargo bench` does. Errors: what Cargo said.
    pub(super) fn build(&self, suites: &[&str]) -> Result<Vec<Program>, String> {
        println!("building the benches of {}", self.name);
        let benches = suites.iter().flat_map(|suite| ["--bench", suite]);
        let words: Vec<&str> = ["bench", "--package", "ringway-benches"].into_iter().chain(benches).collect();
        let built = self.cargo(&words)?;
        match built.len() == suites.len() {
            true => Ok(built),
            false => Err(format!("Cargo does not say where it put the benches of {}", self.name)),
        }
    }

    /// One suite as `cargo test` builds it. Errors: what Cargo said.
    pub(super) fn build_for_tests(&self, suite: &str) -> Result<Program, String> {
        let built = self.cargo(&["test", "--bench", suite])?;
        built.into_iter().next().ok_or_else(|| format!("Cargo does not say where it put {suite}"))
    }

    /// The benches that this builds.
    fn cargo(&self, words: &[&str]) -> Result<Vec<Program>, String> {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(words).args(["--no-run", "--message-format=json"]);
        cargo.current_dir(&self.sources).env("CARGO_TARGET_DIR", &self.target);
        // One build for tests, not another beside it.
        cargo.env("CARGO_INCREMENTAL", "0");
        let outcome = command::run(cargo, BUILD_LIMIT, Echo::Nothing)?;
        if outcome.success {
            return Ok(outcome.lines.iter().filter_map(|line| executable(line)).collect());
        }
        let said = outcome.lines.iter().filter(|line| !line.starts_with('{')).cloned();
        Err(format!("the benches of {} cannot be built:\n{}", self.name, said.collect::<Vec<_>>().join("\n")))
    }
}

/// The bench that a line of Cargo's says was built.
fn executable(line: &str) -> Option<Program> {
    let message: Value = serde_json::from_str(line).ok()?;
    let is_bench = message["target"]["kind"].as_array()?.iter().any(|kind| kind == "bench");
    let path = message["executable"].as_str().filter(|_| is_bench)?;
    Some(Program { path: PathBuf::from(path) })
}

/// What git says, as one line. Errors: what it said in place of that.
fn git(folder: &Path, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("git").args(arguments).current_dir(folder).output();
    let output = output.map_err(|error| format!("cannot start git: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(format!("git {}: {}", arguments.join(" "), text(&output.stderr)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_benches_that_cargo_built_are_found_among_what_it_says() {
        let line = |kind: &str, executable: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","target":{{"kind":["{kind}"],"name":"micro"}},"executable":{executable}}}"#
            )
        };
        let path = |line: &str| executable(line).map(|program| program.path);
        assert_eq!(path(&line("bench", "\"/t/micro-1\"")), Some(PathBuf::from("/t/micro-1")));
        for other in [
            line("bin", "\"/t/relay-server\""),
            line("bench", "null"),
            "   Compiling x".into(),
            r#"{"reason":"build-finished"}"#.into(),
        ] {
            assert_eq!(path(&other), None, "{other}");
        }
    }

    /// A repository of two commits, the second of which has the harness.
    fn repository(name: &str) -> PathBuf {
        let root = std::env::temp_dir().join(format!("ringway-bench-compare-{name}-{}", std::process::id()));
        std::fs::create_dir_all(root.join("benches/src")).expect("a folder for temporary files");
        let commit = |text: &str| {
            let who = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"];
            std::fs::write(root.join("text"), text).expect("a file");
            git(&root, &["add", "--all"]).expect("added");
            git(&root, &[&who[..], &["commit", "--quiet", "--message", text]].concat()).expect("committed");
        };
        git(&root, &["init", "--quiet"]).expect("a repository");
        commit("first");
        std::fs::write(root.join(HARNESS), "// as of the second\n").expect("a file");
        commit("second");
        commit("third");
        root
    }

    #[test]
    fn a_base_that_is_none_or_is_too_old_is_said_so() {
        let root = repository("old");
        let why = |revision| Side::base(&root, &root.join("target"), revision).err().expect("it is none");
        assert_eq!(why("no-such-revision"), "git knows no revision \"no-such-revision\"");
        assert!(why("HEAD~2").contains("HEAD~2 has no benches that can be counted"), "{}", why("HEAD~2"));
        std::fs::remove_dir_all(root).expect("it was there");
    }

    #[test]
    fn a_base_is_laid_out_and_the_next_one_in_the_same_place() {
        let root = repository("new");
        let folder = root.join("target");
        let text = |revision| {
            let side = Side::base(&root, &folder, revision).expect("it is there");
            (std::fs::read_to_string(side.sources.join("text")).expect("a file"), side.sources)
        };
        let (third, place) = text("HEAD");
        assert_eq!((third.as_str(), text("HEAD~1")), ("third", ("second".to_owned(), place.clone())));
        // Somebody tidied up.
        std::fs::remove_dir_all(&folder).expect("it was there");
        assert_eq!(text("HEAD"), ("third".to_owned(), place));
        std::fs::remove_dir_all(root).expect("it was there");
    }
}

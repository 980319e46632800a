//! `cargo xtask fuzz NAME|all [--executions N] [--seconds N] [--seed N] [--coverage]`: the parsers under mutated inputs.
//!
//! Builds `bins/fuzz` with the profile of that name (as fast as the product, with every assertion) and runs one target after another
//! on one core, out of everybody's way. With `--coverage` it builds apart with coverage of the source and says how much of
//! each parser's files the run reached; rustup's `llvm-tools` are wanted for that, or Debian's LLVM of the same release.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::step::{Report, Skips, Verdict};
use crate::{ci, command, workspace};

/// A target: its name, the folder of its corpus, the sources whose coverage is told.
struct Target {
    name: &'static str,
    corpus: &'static str,
    sources: &'static [&'static str],
}

const HTTP1: &[&str] = &["protocols/codec/src/http1", "protocols/codec/src/chars.rs", "protocols/codec/src/lane.rs"];

const TARGETS: &[Target] = &[
    Target { name: "request", corpus: "protocols/codec/corpus/request", sources: HTTP1 },
    Target { name: "response", corpus: "protocols/codec/corpus/response", sources: HTTP1 },
    Target {
        name: "chunked",
        corpus: "protocols/codec/corpus/chunked",
        sources: &["protocols/codec/src/http1/body.rs"],
    },
    Target { name: "request-onward", corpus: "protocols/codec/corpus/request", sources: ONWARD },
    Target { name: "response-onward", corpus: "protocols/codec/corpus/response", sources: ONWARD },
    Target { name: "hpack", corpus: "protocols/codec/corpus/hpack", sources: &["protocols/codec/src/hpack"] },
    Target { name: "request-section", corpus: "protocols/codec/corpus/request-section", sources: MESSAGE },
    Target { name: "response-section", corpus: "protocols/codec/corpus/response-section", sources: MESSAGE },
    Target { name: "trailer-section", corpus: "protocols/codec/corpus/trailer-section", sources: MESSAGE },
    Target { name: "http2-connection", corpus: "protocols/codec/corpus/http2-connection", sources: HTTP2 },
    Target { name: "http2-wire", corpus: "protocols/codec/corpus/http2-wire", sources: HTTP2 },
    Target {
        name: "client-hello",
        corpus: "protocols/codec/corpus/client-hello",
        sources: &["protocols/codec/src/client_hello.rs", "protocols/codec/src/wire.rs"],
    },
    Target {
        name: "http-inspector",
        corpus: "protocols/codec/corpus/http-inspector",
        sources: &["protocols/codec/src/http_inspector.rs"],
    },
    Target {
        name: "proxy-protocol",
        corpus: "protocols/codec/corpus/proxy-protocol",
        sources: &["protocols/codec/src/proxy_protocol", "protocols/codec/src/wire.rs"],
    },
    Target { name: "tls-hello", corpus: "protocols/codec/corpus/client-hello", sources: SESSION },
    Target { name: "tls-answer", corpus: "protocols/tls/corpus/answer", sources: SESSION },
    Target { name: "tls-handshake", corpus: "protocols/tls/corpus/handshake", sources: SESSION },
    Target {
        name: "tls-records",
        corpus: "protocols/tls/corpus/records",
        sources: &["protocols/tls/src/traffic.rs", "protocols/tls/src/record.rs"],
    },
    Target {
        name: "tls-certificate",
        corpus: "protocols/tls/corpus/certificate",
        sources: &["protocols/tls/src/certificate.rs", "protocols/tls/src/der.rs"],
    },
    Target {
        name: "format",
        corpus: "",
        sources: &["core/model/src/format.rs", "core/model/src/format/operator.rs", "core/model/src/format/time.rs"],
    },
    Target { name: "path", corpus: "", sources: &["core/model/src/path.rs"] },
    Target { name: "host", corpus: "", sources: &["core/model/src/host.rs"] },
    Target {
        name: "bootstrap",
        corpus: "",
        sources: &["control-client/src/document.rs", "control-client/src/reader.rs", "control-client/src/scalar.rs"],
    },
];

const ONWARD: &[&str] = &["protocols/codec/src/http1/encode.rs", "protocols/codec/src/http1/trailers.rs"];

const HTTP2: &[&str] = &[
    "protocols/codec/src/http2/closed.rs",
    "protocols/codec/src/http2/connection.rs",
    "protocols/codec/src/http2/control.rs",
    "protocols/codec/src/http2/fault.rs",
    "protocols/codec/src/http2/frame.rs",
    "protocols/codec/src/http2/receive.rs",
    "protocols/codec/src/http2/send.rs",
    "protocols/codec/src/http2/settings.rs",
    "protocols/codec/src/http2/stream.rs",
    "protocols/codec/src/http2/streams.rs",
    "protocols/codec/src/http2/window.rs",
];

const SESSION: &[&str] = &["protocols/tls/src/session.rs", "protocols/tls/src/hello.rs", "protocols/tls/src/record.rs"];

const MESSAGE: &[&str] = &["protocols/codec/src/http2/message"];

/// What is asked for.
struct Wish {
    executions: u64,
    seconds: u64,
    seed: u64,
    coverage: bool,
}

/// Runs the targets that the words name.
pub(crate) fn run(words: &[&str]) -> Result<(), String> {
    let (name, options) = words.split_first().ok_or("fuzz wants a name, or all")?;
    let wish = wish(options)?;
    let targets: Vec<&Target> = TARGETS.iter().filter(|target| *name == "all" || target.name == *name).collect();
    if targets.is_empty() {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        return Err(format!("no target {name}; there are: {}", names.join(", ")));
    }
    let mut report = Report::default();
    report.step("build fuzz", |skips| build(&wish, skips));
    for target in targets {
        report.step(&format!("fuzz {}", target.name), |_| match fuzz(target, &wish) {
            Ok(line) => Verdict::Pass(line),
            Err(why) => Verdict::Fail(why),
        });
    }
    report.end()
}

fn wish(options: &[&str]) -> Result<Wish, String> {
    let mut wish = Wish { executions: u64::MAX, seconds: 60, seed: 2026, coverage: false };
    let mut timed = false;
    let mut options = options.iter();
    while let Some(option) = options.next() {
        let mut number = || -> Result<u64, String> {
            options.next().and_then(|text| text.parse().ok()).ok_or_else(|| format!("{option} wants a number"))
        };
        match *option {
            "--executions" => wish.executions = number()?,
            "--seconds" => (wish.seconds, timed) = (number()?, true),
            "--seed" => wish.seed = number()?,
            "--coverage" => wish.coverage = true,
            _ => {
                return Err(format!("no option {option}; there are --executions N, --seconds N, --seed N, --coverage"));
            }
        }
    }
    // Who asks for a number of executions waits for them.
    if wish.executions != u64::MAX && !timed {
        wish.seconds = 24 * 3600;
    }
    Ok(wish)
}

/// Apart from the plain one, so that neither is built twice.
fn target_folder(coverage: bool) -> PathBuf {
    if coverage { workspace::target().join("coverage") } else { workspace::target() }
}

fn build(wish: &Wish, skips: &mut Skips) -> Verdict {
    let folder = target_folder(wish.coverage);
    let folder = folder.to_string_lossy();
    let mut arguments = vec!["build", "--package", "ringway-fuzz", "--profile", "fuzz", "--target-dir", &folder];
    if wish.coverage {
        arguments.extend([
            "--config",
            "build.rustflags=['-Cinstrument-coverage']",
            "--config",
            "profile.fuzz.lto=false",
        ]);
    }
    // Programs of the build are built with it, too, and would leave their profiles where they run.
    let profile = Path::new(folder.as_ref()).join("build.profraw");
    ci::cargo_with(&arguments, &[("LLVM_PROFILE_FILE", &profile.to_string_lossy())], ci::STEP_LIMIT, skips)
}

fn fuzz(target: &Target, wish: &Wish) -> Result<String, String> {
    let binary = target_folder(wish.coverage).join("fuzz/ringway-fuzz");
    let folder = workspace::scratch(&format!("fuzz-{}", target.name))?;
    let profile = folder.join("coverage.profraw");
    let mut fuzz = Command::new("nice");
    fuzz.args(["-n", "19"]).arg(&binary).current_dir(workspace::root()).env("LLVM_PROFILE_FILE", &profile);
    fuzz.args([target.name, &wish.executions.to_string(), &wish.seconds.to_string(), &wish.seed.to_string()]);
    fuzz.args(Some(target.corpus).filter(|folder| !folder.is_empty()));
    let outcome =
        command::run(fuzz, Duration::from_secs(wish.seconds) + Duration::from_secs(120), command::Echo::Nothing)?;
    if !outcome.success {
        return Err(format!("{}\nseed {}", outcome.lines.join("\n"), wish.seed));
    }
    let mut line = outcome.lines.last().cloned().unwrap_or_default();
    if wish.coverage {
        line += &format!("; {}", coverage(target, &binary, &profile)?);
    }
    Ok(line)
}

/// How much of the target's sources the run reached, in lines.
fn coverage(target: &Target, binary: &Path, profile: &Path) -> Result<String, String> {
    let tools = tools()?;
    let data = profile.with_extension("profdata");
    let mut merge = Command::new(tools.join("llvm-profdata"));
    merge.args(["merge", "-sparse"]).arg(profile).arg("-o").arg(&data);
    let merged = command::run(merge, Duration::from_secs(60), command::Echo::Nothing)?;
    if !merged.success {
        return Err(merged.lines.join("\n"));
    }
    let mut report = Command::new(tools.join("llvm-cov"));
    report.args(["export", "-summary-only", "-instr-profile"]).arg(&data).arg(binary);
    let sources = target.sources.iter().map(|source| workspace::root().join(source));
    report.arg("-sources").args(sources);
    let export = command::run(report, Duration::from_secs(60), command::Echo::Nothing)?;
    let json: serde_json::Value =
        serde_json::from_str(&export.lines.join("\n")).map_err(|e| format!("llvm-cov: {e}: {:?}", export.lines))?;
    let mut said = Vec::new();
    for file in json["data"][0]["files"].as_array().into_iter().flatten() {
        let name = file["filename"].as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default();
        let lines = &file["summary"]["lines"];
        said.push(format!("{name} {}/{} lines", lines["covered"], lines["count"]));
    }
    for line in &said {
        println!("    {line}");
    }
    let total = &json["data"][0]["totals"];
    let percent = |kind: &str| total[kind]["percent"].as_f64().unwrap_or(0.0);
    Ok(format!("coverage {:.1} % of lines, {:.1} % of regions", percent("lines"), percent("regions")))
}

/// Where tools lie that read what this rustc writes: rustup's `llvm-tools`, else Debian's LLVM of the same release.
fn tools() -> Result<PathBuf, String> {
    let ask = |argument: &[&str]| {
        let mut rustc = Command::new("rustc");
        rustc.args(argument);
        command::run(rustc, Duration::from_secs(10), command::Echo::Nothing).map(|outcome| outcome.lines)
    };
    let own = ask(&["--print", "target-libdir"])?.first().map(|line| Path::new(line.trim()).with_file_name("bin"));
    let release = release(&ask(&["--version", "--verbose"])?).ok_or("rustc does not name its LLVM")?;
    let debian = PathBuf::from(format!("/usr/lib/llvm-{release}/bin"));
    let folders = own.into_iter().chain([debian]);
    folders.into_iter().find(|folder| folder.join("llvm-cov").is_file()).ok_or_else(|| {
        format!("no llvm-cov for this toolchain: rustup component add llvm-tools, or apt-get install llvm-{release}")
    })
}

/// The release of LLVM that rustc says it was built with.
fn release(lines: &[String]) -> Option<u32> {
    lines.iter().find_map(|line| line.strip_prefix("LLVM version: ")?.split('.').next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_of_llvm_is_read() {
        let lines = ["release: 1.95.0", "LLVM version: 22.1.2"].map(str::to_owned);
        assert_eq!(release(&lines), Some(22));
        assert_eq!(release(&lines[..1]), None);
    }
}

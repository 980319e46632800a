//! The page of `ringway-load report` in a real browser, and a real comparison for it: Ringway on both drivers beside the peers that are here.
//!
//! On a phone's width and a desktop's, light and dark: nothing overflows, no texts of a plot lie upon each other, every text has the contrast that WCAG
//! asks for, nothing is loaded from anywhere, the console is silent, and all that was measured is there. A page with each of these faults is
//! looked at first: what the checks do not see there, they would not see here.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::{Bench, verdict};
use crate::command::{self, Echo};
use crate::lab::proxy::{Kind, ring_allowed};
use crate::step::{Skips, Verdict};
use crate::{ci, setup, workspace};

/// A browser opens a page within seconds; one that does not never will.
const BROWSER_LIMIT: Duration = Duration::from_secs(90);
/// A quick comparison of what is asked for here takes a minute and a half.
const COMPARE_LIMIT: Duration = Duration::from_secs(600);
/// A comparison in which something came too late is made once more: the host may have stood still.
const COMPARED_MAX: u32 = 2;
/// What is compared: of each kind of scenario one.
const SCENARIOS: &str = "idle,idle-h2,h1-64,h1-1MB,h2-100,tls-new,rate-20,rate-50,rate-80,same-50";
/// Widths and heights of a phone and of a desktop, in CSS pixels.
const SCREENS: [(&str, u32, u32); 2] = [("phone", 375, 812), ("desktop", 1280, 900)];
/// What is looked for in a page, and the start of it that lets it do so: nothing but what stands in the page itself may be loaded.
const CHECKS: &str = include_str!("page/checks.js");
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";
/// Whatever of a page has to be there.
const HEADS: [&str; 17] = [
    "CPU time a request",
    "CPU a request: HTTP/1",
    "CPU a request: HTTP/2",
    "Instructions a request, in user space",
    "Requests a second",
    "Bulk",
    "Memory",
    "Latency at the same rate",
    "HTTP/1: latency at the same rate",
    "HTTP/2: latency at the same rate",
    "Latency at rates of their own",
    "HTTP/1: latency against rate",
    "HTTP/2, open loop at 80 % of capacity",
    "Spread over workers",
    "The host",
    "The commands",
    "Latency by percentile",
];

pub(super) fn run(bench: &Bench, skips: &mut Skips) -> Verdict {
    let Some(browser) = setup::browser() else {
        return Verdict::Missing("no headless Chromium here: `cargo xtask setup` as root installs it".to_owned());
    };
    if let Verdict::Fail(why) = ci::cargo(&["build", "--bin", "ringway-load"], skips) {
        return Verdict::Fail(why);
    }
    verdict(judge(bench, &browser, skips))
}

fn judge(bench: &Bench, browser: &Path, skips: &mut Skips) -> Result<String, String> {
    let browser = Browser { program: browser, folder: &bench.folder };
    browser.sees_what_is_wrong()?;
    let compared = compare(bench, skips)?;
    let named = |name: &str, file: PathBuf| format!("{name}={}", file.display());
    let files = [
        named("known", fixture()),
        named("here", compared),
        named("run", run_of_load(bench)?),
        named("sweep", sweep(bench)?),
    ];
    let page = bench.folder.join("report.html");
    let plots = bench.folder.join("plots");
    let mut report = load();
    report.arg("report").args(&files).args(["--title", "Proxies & their <figures>", "--note", "Made by a judge."]);
    report.arg("--out").arg(&page).arg("--plots").arg(&plots);
    done(report, COMPARE_LIMIT)?;
    let mut counted = String::new();
    for (name, width, height) in SCREENS {
        for dark in [false, true] {
            let look = Look { width, height, dark };
            let seen = browser.look(&page, look, "")?;
            let what = format!("{name}, {}", if dark { "dark" } else { "light" });
            seen.good(&what)?;
            for head in HEADS {
                if !seen.heads.iter().any(|known| known == head) {
                    return Err(format!("{what}: no {head:?} among {:?}", seen.heads));
                }
            }
            browser.picture(&page, look, &format!("{name}-{}.png", if dark { "dark" } else { "light" }))?;
            counted = format!(
                "{} plots, {} tables, {} texts",
                seen.count("plots"),
                seen.count("tables"),
                seen.count("texts")
            );
        }
    }
    let files = browser.shows_files(&plots)?;
    if !counted.starts_with(&format!("{files} plots")) {
        return Err(format!("{counted}, and {files} files of plots"));
    }
    Ok(format!(
        "{counted}, {files} SVG files, on a phone and a desktop, light and dark; pictures in {}",
        bench.folder.display()
    ))
}

/// A comparison as another release wrote it, with a row of each outcome.
fn fixture() -> PathBuf {
    workspace::root().join("loadtest/tests/data/compare.json")
}

fn load() -> Command {
    Command::new(workspace::target().join("debug/ringway-load"))
}

fn done(command: Command, limit: Duration) -> Result<Vec<String>, String> {
    let said = format!("{command:?}");
    let outcome = command::run(command, limit, Echo::Nothing)?;
    if outcome.success { Ok(outcome.lines) } else { Err(format!("{said}:\n{}", outcome.lines.join("\n"))) }
}

/// A short comparison of the release build on the drivers that are here, with the peers that are; its file.
fn compare(bench: &Bench, skips: &mut Skips) -> Result<PathBuf, String> {
    let file = bench.folder.join("compare.json");
    let mut drivers = vec!["poll"];
    if bench.only != Some(Kind::Poll) && ring_allowed()? {
        drivers.push("ring");
    } else {
        skips.push("the ring driver in a comparison");
    }
    let command = || {
        let mut command = load();
        command.args(["compare", "--quick", "--scenarios", SCENARIOS, "--json"]).arg(&file);
        command.arg("--keep").arg(bench.folder.join("compared")).env("RINGWAY_ENVOY", setup::envoy_path());
        for driver in &drivers {
            let program = workspace::ringway();
            let ours =
                format!("{driver}={} run -c {{config}} --concurrency {{workers}} --io {driver}", program.display());
            command.args(["--ours", &ours]);
        }
        command
    };
    let json = compared(command, &file)?;
    for missing in json["missing"].as_array().into_iter().flatten() {
        skips.push(format!("a peer in a comparison: {}", missing["name"]));
    }
    let late: Vec<&str> = failures(&json).collect();
    for failure in &late {
        skips.push(format!("a row of a comparison, {COMPARED_MAX} times too late on this host: {failure}"));
    }
    for scenario in json["scenarios"].as_array().into_iter().flatten() {
        for driver in &drivers {
            let rows = scenario["rows"].as_array().into_iter().flatten();
            let row = rows.into_iter().find(|row| row["subject"] == *driver).ok_or("a proxy without a row")?;
            let is_counted = scenario["name"].as_str().is_some_and(|name| name.starts_with("idle"))
                || row["cpu_us"]["median"].as_f64() > Some(0.0) && row["latency_us"]["p99"].as_f64() > Some(0.0);
            let name = format!("{}, {driver}: ", scenario["name"].as_str().unwrap_or_default());
            if !late.iter().any(|failure| failure.starts_with(&name)) && (row["outcome"] != "measured" || !is_counted) {
                return Err(format!("{name}{row:#}"));
            }
        }
    }
    Ok(file)
}

/// What a comparison wrote. One that failed otherwise than by lateness is an error.
fn compared(command: impl Fn() -> Command, file: &Path) -> Result<Value, String> {
    let said = format!("{:?}", command());
    for nth in 1..=COMPARED_MAX {
        let outcome = command::run(command(), COMPARE_LIMIT, Echo::Nothing)?;
        for line in &outcome.lines {
            println!("{line}");
        }
        let broken = || format!("{said}:\n{}", outcome.lines.join("\n"));
        let text = fs::read_to_string(file).map_err(|e| format!("{}: {e}; {}", file.display(), broken()))?;
        let json: Value = serde_json::from_str(&text).map_err(|e| format!("{}: {e}", file.display()))?;
        let is_late = failures(&json).count() > 0 && failures(&json).all(is_late);
        match outcome.success {
            false if !is_late => return Err(broken()),
            false if nth < COMPARED_MAX => println!("once more: the host was too slow"),
            _ => return Ok(json),
        }
    }
    unreachable!("the last one returns")
}

fn failures(json: &Value) -> impl Iterator<Item = &str> {
    json["failures"].as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// Nothing of a row was wrong but the time it took: `SCENARIO, PROXY: 3 timeout, 5 unsent`, or names before their counts.
fn is_late(failure: &str) -> bool {
    let words = failure.rsplit(": ").next().unwrap_or_default().split([',', ';', ' ']);
    let mut names = words.filter(|word| word.parse::<f64>().is_err() && !word.is_empty()).peekable();
    names.peek().is_some() && names.all(|name| ["timeout", "unsent", "connect_timeout"].contains(&name))
}

/// An origin of `ringway-load serve`, ended when dropped.
struct Origin(Child);

impl Drop for Origin {
    fn drop(&mut self) {
        let _ended = self.0.kill().and_then(|()| self.0.wait());
    }
}

fn origin() -> Result<(Origin, String), String> {
    let mut child = load()
        .arg("serve")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| format!("ringway-load serve: {e}"))?;
    let mut line = String::new();
    let output = child.stdout.take().expect("piped above");
    let origin = Origin(child);
    BufReader::new(output).read_line(&mut line).map_err(|e| format!("ringway-load serve: {e}"))?;
    let url = line.trim().strip_prefix("serving ").ok_or_else(|| format!("ringway-load serve said {line:?}"))?;
    Ok((origin, url.to_owned()))
}

fn run_of_load(bench: &Bench) -> Result<PathBuf, String> {
    let (_origin, url) = origin()?;
    let file = bench.folder.join("run.json");
    let mut command = load();
    command.args(["run", &url, "-q", "-n", "5000", "-c", "4", "--json"]).arg(&file);
    done(command, COMPARE_LIMIT).map(|_| file)
}

fn sweep(bench: &Bench) -> Result<PathBuf, String> {
    let (_origin, url) = origin()?;
    let file = bench.folder.join("sweep.json");
    let mut command = load();
    command.args(["sweep", &url, "-q", "-d", "300ms", "--concurrencies", "1,2,4,8", "--json"]).arg(&file);
    done(command, COMPARE_LIMIT).map(|_| file)
}

/// Chromium without a screen.
struct Browser<'a> {
    program: &'a Path,
    folder: &'a Path,
}

/// A screen, and what its owner likes.
#[derive(Clone, Copy, Debug)]
struct Look {
    width: u32,
    height: u32,
    dark: bool,
}

/// What the checks said of a page.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    counts: Vec<(String, String)>,
    findings: Vec<String>,
    heads: Vec<String>,
    /// Lines of the console.
    console: Vec<String>,
}

impl Browser<'_> {
    fn command(&self, look: Look) -> Command {
        let mut command = Command::new(self.program);
        command.args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--hide-scrollbars",
        ]);
        command.args(["--disable-background-networking", "--disable-component-update", "--disable-sync"]);
        command.args(["--enable-logging=stderr", "--virtual-time-budget=10000"]);
        // 0 is dark and 1 light (Blink's PreferredColorScheme).
        command.arg(format!("--blink-settings=preferredColorScheme={}", u8::from(!look.dark)));
        command.arg(format!("--window-size={},{}", look.width, look.height));
        command.arg(format!("--user-data-dir={}", self.folder.join("profile").display()));
        command
    }

    /// Opens a copy of a page that has the checks in it. `allowed` is what it may load beside itself.
    fn look(&self, page: &Path, look: Look, allowed: &str) -> Result<Seen, String> {
        let text = fs::read_to_string(page).map_err(|e| format!("{}: {e}", page.display()))?;
        let may_load = if allowed.is_empty() { "" } else { "window.mayLoad = true;" };
        let checks = format!(
            "<head><meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY} {allowed}\"><script>{may_load}{CHECKS}</script>"
        );
        let copy = self.folder.join("checked.html");
        fs::write(&copy, text.replacen("<head>", &checks, 1)).map_err(|e| format!("{}: {e}", copy.display()))?;
        let mut command = self.command(look);
        command.arg("--dump-dom").arg(format!("file://{}", copy.display()));
        let seen = Seen::read(&done(command, BROWSER_LIMIT)?)?;
        let is_there = seen.count("width") == look.width.to_string() && seen.count("dark") == look.dark.to_string();
        if is_there { Ok(seen) } else { Err(format!("the browser did not look as it was to: {look:?} {seen:?}")) }
    }

    fn picture(&self, page: &Path, look: Look, name: &str) -> Result<(), String> {
        let mut command = self.command(Look { height: 6000, ..look });
        command.arg(format!("--screenshot={}", self.folder.join(name).display()));
        command.arg(format!("file://{}", page.display()));
        done(command, BROWSER_LIMIT).map(drop)
    }

    /// A page with every fault that is looked for: each has to be found.
    fn sees_what_is_wrong(&self) -> Result<(), String> {
        let page = self.folder.join("wrong.html");
        let text = "<!doctype html><html><head></head><body style='background:#fff'><h1>Wrong</h1>\
                    <div style='width:3000px'>wide</div><p style='color:#bbb'>faint NaN</p><img src='http://127.0.0.1:9/x.png'>\
                    <svg viewBox='0 0 1000 100' width='300' aria-label='p'><text x='10' y='50'>one</text><text x='12' y='52'>two</text>\
                    <text x='990' y='50'>out of it</text><polyline points=''/></svg>\
                    <table><tbody><tr><td>1</td><td>2</td></tr><tr><td>1</td></tr></tbody></table>\
                    <script>console.error('wrong'); nothing.at.all();</script></body></html>";
        fs::write(&page, text).map_err(|e| format!("{}: {e}", page.display()))?;
        let seen = self.look(&page, Look { width: 375, height: 812, dark: false }, "")?;
        for kind in
            ["overflow", "contrast", "request", "overlap", "outside", "small", "empty", "table", "script", "figure"]
        {
            if !seen.findings.iter().any(|finding| finding.starts_with(&format!("{kind}: "))) {
                return Err(format!("the checks do not see {kind}: {seen:?}"));
            }
        }
        if seen.console.is_empty() { Err(format!("the console is not heard: {seen:?}")) } else { Ok(()) }
    }

    /// Each file of a folder as a picture; how many there are.
    fn shows_files(&self, folder: &Path) -> Result<usize, String> {
        let entries = fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        let images: Vec<String> =
            files.iter().map(|file| format!("<img src=\"file://{}\" alt=\"\">", file.display())).collect();
        let page = self.folder.join("plots.html");
        let style = "<style>img { width: 300px }</style>";
        let text = format!("<!doctype html><html><head>{style}</head><body>{}</body></html>", images.join("\n"));
        fs::write(&page, text).map_err(|e| format!("{}: {e}", page.display()))?;
        let seen = self.look(&page, Look { width: 1280, height: 900, dark: false }, "file:")?;
        seen.good("the plots alone")?;
        if files.is_empty() || seen.count("images") != files.len().to_string() {
            return Err(format!("{} images of {} files", seen.count("images"), files.len()));
        }
        Ok(files.len())
    }
}

impl Seen {
    /// From what the browser printed: the page as it was at the end, and its log.
    fn read(lines: &[String]) -> Result<Seen, String> {
        let console = lines.iter().filter(|line| line.contains(":CONSOLE")).cloned().collect();
        let line = lines.iter().find_map(|line| line.split_once("<pre id=\"found\">").map(|(_, rest)| rest));
        let found = line.and_then(|rest| rest.split("</pre>").next());
        let found = found.ok_or_else(|| format!("the checks did not come to their end:\n{}", lines.join("\n")))?;
        let mut parts = found.split('|').filter(|part| !part.is_empty());
        let counts = parts.next().unwrap_or_default().split(' ');
        let counts =
            counts.filter_map(|pair| pair.split_once('=')).map(|(name, count)| (name.to_owned(), count.to_owned()));
        let mut seen = Seen { counts: counts.collect(), console, ..Seen::default() };
        for part in parts {
            match part.strip_prefix("head: ") {
                Some(head) => seen.heads.push(head.to_owned()),
                None => seen.findings.push(part.to_owned()),
            }
        }
        Ok(seen)
    }

    fn count(&self, name: &str) -> &str {
        self.counts.iter().find(|(known, _)| known == name).map_or("", |(_, count)| count)
    }

    /// Nothing was found, and nothing said.
    fn good(&self, what: &str) -> Result<(), String> {
        if self.findings.is_empty() && self.console.is_empty() {
            return Ok(());
        }
        Err(format!("{what}: {}", self.findings.iter().chain(&self.console).cloned().collect::<Vec<_>>().join("\n")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_came_too_late_is_excused() {
        assert!(is_late("h1-rate-80, poll: 293 timeout, 1332 unsent"));
        assert!(is_late("h2-same-50, Envoy: 1 timeout; 2 connect_timeout, 1 unsent"));
        assert!(is_late("idle, poll: timeout 3 unsent 1") && !is_late("idle, poll: timeout 3 reset 1"));
        assert!(!is_late("h1-64, ring: 293 timeout, 1 reset") && !is_late("h1-64, ring: 1 status; 2 timeout"));
        assert!(!is_late("h1-64, ring: nothing was answered") && !is_late("h1-64, ring: it ended: signal: 9"));
    }

    #[test]
    fn what_the_checks_say_is_read() {
        let lines = [
            "[0101/000000.0:INFO:CONSOLE(3)] \"oh\"".to_owned(),
            "<p>x</p><pre id=\"found\">width=375 dark=true plots=2|overflow: 9 px on 5|head: A b|</pre></body>"
                .to_owned(),
        ];
        let seen = Seen::read(&lines).unwrap();
        assert_eq!((seen.count("width"), seen.count("dark"), seen.count("none")), ("375", "true", ""));
        assert_eq!(
            (seen.findings.as_slice(), seen.heads.as_slice()),
            (&["overflow: 9 px on 5".to_owned()][..], &["A b".to_owned()][..])
        );
        assert!(seen.good("it").unwrap_err().contains("overflow") && seen.console.len() == 1);
        assert!(Seen::read(&lines[..1]).is_err());
    }
}

//! A disk that is full: requests are answered as before, lines that find no room are dropped and counted, and lines are written
//! again when there is room.
//!
//! The disk is a file system in memory of a few hundred KiB; mounting one wants root.

use std::io::{self, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{Bench, verdict};
use crate::lab::config::{Config, answer};
use crate::lab::http::{Head, read_body};
use crate::lab::pace::wait_for;
use crate::lab::proxy::{Kind, Launch, Proxy};
use crate::step::{Skips, Verdict};

/// What the disk holds, and how much of it others take at first.
const DISK_KIB: usize = 512;
const TAKEN: usize = 380 << 10;
/// A client that waits longer has been kept waiting by the disk, which stays full until it is made room on.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// Until lines are on the disk, or counted.
const LOG_LIMIT: Duration = Duration::from_secs(20);

pub(super) fn run(bench: &Bench, skips: &mut Skips) -> Verdict {
    match Disk::mount(&bench.folder.join("disk")) {
        Ok(disk) => verdict(judge(bench, &disk)),
        Err(why) => {
            skips.push(format!("a disk that is full: {why}"));
            Verdict::Shown("left out: no file system may be mounted here".to_owned())
        }
    }
}

fn judge(bench: &Bench, disk: &Disk) -> Result<String, String> {
    const FILE: &str = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog";
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let (log, others) = (disk.0.join("log"), disk.0.join("others"));
    let manager = format!(
        "access_log: [{{name: f, typed_config: {{\"@type\": {FILE}, path: \"{}\", log_format: {{text_format_source: \
         {{inline_string: \"begin %REQ(:PATH)% %RESPONSE_CODE% end\\n\"}}}}}}}}],",
        log.display()
    );
    let hosts = format!("[{{name: all, domains: [\"*\"], routes: [{}]}}]", answer("/", 200, "here"));
    let config = Config::default().listener_with_hosts("front", any, &hosts, &manager);
    let file = bench.folder.join("proxy.yaml");
    std::fs::write(&file, config.text()).map_err(|e| format!("cannot write: {e}"))?;
    std::fs::write(&others, vec![b'x'; TAKEN]).map_err(|e| format!("cannot fill the disk: {e}"))?;
    let arguments = &["--file-flush-interval-msec", "20"];
    let launch =
        Launch { kind: bench.kind, folder: &bench.folder, name: "proxy", file: &file, concurrency: 1, arguments };
    let proxy = Proxy::start(&launch)?;
    let front = proxy.listener("front")?;
    let mut client = Client { stream: connect(front).map_err(|e| format!("a client: {e}"))?, count: 0 };
    let mut longest = Duration::ZERO;
    for _ in 0..bench.count {
        longest = longest.max(client.ask()?);
    }
    let is_ours = bench.kind != Kind::Envoy;
    let dropped = || proxy.stat("access_log.lines_dropped");
    if is_ours {
        wait_for("dropped lines to be counted", LOG_LIMIT, || dropped().is_ok_and(|count| count > 0).then_some(()))?;
    }
    if proxy.stat("filesystem.write_failed")? == 0 {
        return Err("no write failed: the disk was not full".to_owned());
    }
    // Others give room: lines are written again, from one of the next on.
    std::fs::remove_file(&others).map_err(|e| format!("cannot make room: {e}"))?;
    let mut first_back = None;
    wait_for("a line after there was room", LOG_LIMIT, || {
        let asked = client.ask().map(|_| client.count);
        let text = read(&log);
        let number = asked.ok().filter(|number| text.contains(&format!("begin /{number} 200 end\n")));
        first_back = first_back.or(number);
        first_back
    })?;
    // What could not be written may be cut at the end of the room; every other line is whole, none is there twice, and what is not there
    // was counted.
    let text = read(&log);
    let lines: Vec<&str> = text.lines().collect();
    let numbers: Vec<u64> = lines.iter().filter_map(|line| number(line)).collect();
    let torn = lines.len() - numbers.len();
    if torn > 1 || numbers.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err(format!("{torn} torn lines of {}, or lines out of order", lines.len()));
    }
    if is_ours {
        let total = client.count;
        wait_for("each line to be written or counted", LOG_LIMIT, || {
            let written = read(&log).lines().filter(|line| number(line).is_some()).count() as u64;
            dropped().is_ok_and(|dropped| written + dropped == total).then_some(())
        })
        .map_err(|why| format!("{why}: {} of {total} written, {:?} dropped", numbers.len(), dropped()))?;
    }
    Ok(format!(
        "{} requests answered, the slowest in {longest:?}; {} lines written, {} dropped, written again after room was made",
        client.count,
        numbers.len(),
        dropped()?
    ))
}

/// The number of a whole line.
fn number(line: &str) -> Option<u64> {
    line.strip_prefix("begin /")?.strip_suffix(" 200 end")?.parse().ok()
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

fn connect(front: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(front)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    Ok(stream)
}

struct Client {
    stream: TcpStream,
    count: u64,
}

impl Client {
    /// One more request; how long it took.
    // What a client waits is what is judged.
    #[allow(clippy::disallowed_methods)]
    fn ask(&mut self) -> Result<Duration, String> {
        self.count += 1;
        let began = Instant::now();
        let status = self.answer().map_err(|e| format!("request {}: {e}", self.count))?;
        if status == 200 { Ok(began.elapsed()) } else { Err(format!("request {}: {status}", self.count)) }
    }

    fn answer(&mut self) -> io::Result<u16> {
        self.stream.write_all(format!("GET /{} HTTP/1.1\r\nHost: a.test\r\n\r\n", self.count).as_bytes())?;
        let mut from = BufReader::new(&self.stream);
        let head = Head::read(&mut from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        read_body(&mut from, head.response_framing("GET")?)?;
        Ok(head.status())
    }
}

/// A small file system in memory, for as long as this is there.
struct Disk(PathBuf);

impl Disk {
    fn mount(folder: &Path) -> Result<Disk, String> {
        std::fs::create_dir_all(folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={DISK_KIB}k"), "tmpfs"]).arg(folder);
        match command.stdin(Stdio::null()).output() {
            Ok(output) if output.status.success() => Ok(Disk(folder.to_owned())),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(e) => Err(format!("no `mount` on this machine: {e}")),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _gone = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

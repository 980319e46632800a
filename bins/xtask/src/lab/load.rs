//! Load for figures: `wrk`, closed loop, with percentiles; and an origin that answers as fast as there is one.
//!
//! Judges of behaviour send their own requests; this is for CPU and latency, where a client must cost little.

use std::io::{self, BufReader, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::http::Head;
use super::origin::Origin;
use super::pace::wait_for;
use crate::{command, setup};

/// What an origin of figures sends: as much as peerbench's.
pub(crate) const BODY_SIZE: usize = 1024;
/// Beyond its time `wrk` waits for its last answers.
const LOAD_SLACK: Duration = Duration::from_secs(10);

/// What a load saw.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Answered {
    /// Requests that were answered.
    pub(crate) requests: u64,
    /// Socket errors, and answers that are no 2xx or 3xx.
    pub(crate) errors: u64,
    /// How long it took, in seconds.
    pub(crate) seconds: f64,
    /// The median latency, in microseconds.
    pub(crate) p50_us: f64,
    /// The 99th percentile of latency, in microseconds.
    pub(crate) p99_us: f64,
}

/// Asks for `/` on `connections` connections for `seconds`, on one thread; on `cpu`, if one is given.
///
/// # Errors
/// Says that there is no `wrk`, or what it said.
pub(crate) fn ask(to: SocketAddr, connections: usize, seconds: u64, cpu: Option<usize>) -> Result<Answered, String> {
    if !setup::there_is("wrk") {
        return Err("no `wrk` on this machine: `cargo xtask setup` as root installs it".to_owned());
    }
    let mut load = on(cpu, Path::new("wrk"));
    load.args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s"), "--latency", &format!("http://{to}/")]);
    let outcome = command::run(load, Duration::from_secs(seconds) + LOAD_SLACK, command::Echo::Nothing)?;
    read(&outcome.lines).ok_or_else(|| format!("wrk said {:?}", outcome.lines))
}

/// A program that runs on this CPU, if one is given.
pub(crate) fn on(cpu: Option<usize>, program: &Path) -> Command {
    let Some(cpu) = cpu else { return Command::new(program) };
    let mut command = Command::new("taskset");
    command.args(["-c", &cpu.to_string()]).arg(program);
    command
}

fn read(lines: &[String]) -> Option<Answered> {
    let after = |start: &str| lines.iter().find_map(|line| line.trim().strip_prefix(start)).map(str::trim);
    let total = lines.iter().find(|line| line.contains(" requests in "))?.trim();
    let (requests, rest) = total.split_once(" requests in ")?;
    let sockets = after("Socket errors:").unwrap_or_default();
    let sockets = sockets.split([' ', ',']).filter_map(|word| word.parse::<u64>().ok()).sum::<u64>();
    let refused = after("Non-2xx or 3xx responses:").and_then(|count| count.parse().ok()).unwrap_or(0);
    Some(Answered {
        requests: requests.parse().ok()?,
        errors: sockets + refused,
        seconds: micros(rest.split(',').next()?)? / 1e6,
        p50_us: micros(after("50%")?)?,
        p99_us: micros(after("99%")?)?,
    })
}

/// `96.00us`, `1.25ms`, `2.00s`, `1.50m` in microseconds.
fn micros(text: &str) -> Option<f64> {
    let digits = text.trim_end_matches(char::is_alphabetic);
    let unit = match &text[digits.len()..] {
        "us" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        "m" => 6e7,
        _ => return None,
    };
    Some(digits.parse::<f64>().ok()? * unit)
}

/// An origin that answers each request with [`BODY_SIZE`] bytes at once: nginx where it is installed, as in peerbench; else
/// a thread for each connection that sends the same.
#[derive(Debug)]
pub(crate) enum Backend {
    /// nginx.
    Nginx(Child, SocketAddr),
    /// Our own.
    Threads(Origin),
}

impl Backend {
    /// Starts one; on `cpu`, if one is given and it is nginx.
    pub(crate) fn start(folder: &Path, cpu: Option<usize>) -> Result<Backend, String> {
        if setup::there_is("nginx") { Backend::nginx(folder, cpu) } else { Backend::threads(Duration::ZERO) }
    }

    /// Our own, which waits so long before each answer.
    pub(crate) fn threads(delay: Duration) -> Result<Backend, String> {
        Origin::start("127.0.0.1", move |stream: TcpStream| serve(stream, delay)).map(Backend::Threads)
    }

    fn nginx(folder: &Path, cpu: Option<usize>) -> Result<Backend, String> {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr());
        let address = free.map_err(|e| format!("no free port: {e}"))?;
        let at = folder.display();
        // The settings of peerbench's origin.
        let text = format!(
            "worker_processes 1; daemon off; pid {at}/nginx.pid; error_log {at}/nginx.err;\n\
             events {{ worker_connections 8192; }}\n\
             http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 600s; tcp_nodelay on;\n\
             server {{ listen {address} backlog=4096; location / {{ default_type text/plain; return 200 \"{}\"; }} }} }}\n",
            "x".repeat(BODY_SIZE)
        );
        let file = folder.join("nginx.conf");
        std::fs::write(&file, text).map_err(|e| format!("cannot write {}: {e}", file.display()))?;
        let mut program = on(cpu, Path::new("nginx"));
        program.arg("-c").arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = program.spawn().map_err(|e| format!("cannot start nginx: {e}"))?;
        let backend = Backend::Nginx(child, address);
        wait_for("nginx", Duration::from_secs(10), || TcpStream::connect(address).ok())?;
        Ok(backend)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Backend::Nginx(_, address) => *address,
            Backend::Threads(origin) => origin.address,
        }
    }

    /// What it is.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Backend::Nginx(..) => "nginx, as peerbench's",
            Backend::Threads(_) => "a thread for each connection",
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        if let Backend::Nginx(child, _) = self {
            // Its worker ends with its master only when asked to.
            command::signal("TERM", child.id());
            let _ended = child.wait();
        }
    }
}

fn serve(mut stream: TcpStream, delay: Duration) -> io::Result<()> {
    let body = "x".repeat(BODY_SIZE);
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {BODY_SIZE}\r\n\r\n{body}")
        .into_bytes();
    let mut from = BufReader::new(stream.try_clone()?);
    while Head::read(&mut from)?.is_some() {
        if !delay.is_zero() {
            super::pace::pause(delay);
        }
        stream.write_all(&answer)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wrk_says_is_read() {
        let said = "Running 2s test @ http://127.0.0.1:1/\n  1 threads and 1 connections\n  Latency Distribution\n     \
                    50%   96.00us\n     75%  101.00us\n     99%    1.25ms\n  20000 requests in 2.00s, 22.00MB read\n  \
                    Socket errors: connect 0, read 3, write 0, timeout 1\n  Non-2xx or 3xx responses: 5\nRequests/sec: 1";
        let lines: Vec<String> = said.lines().map(str::to_owned).collect();
        let expect = Answered { requests: 20_000, errors: 9, seconds: 2.0, p50_us: 96.0, p99_us: 1250.0 };
        assert_eq!(read(&lines), Some(expect));
        assert_eq!(read(&lines[..3]), None);
    }
}

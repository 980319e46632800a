//! Clients that begin a handshake and say no more: nothing at all, half a ClientHello, a whole one. Each holds little, others are served
//! meanwhile, the handshake's timeout ends all of them, and nothing of them is left.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::super::Bench;
use crate::command;
use crate::lab::config::{Config, answer};
use crate::lab::interrupted::uninterrupted;
use crate::lab::pace::wait_for;
use crate::lab::proxy::{Launch, Proxy, raise_descriptors};

/// The first flight of Python's own TLS, in hexadecimal.
const HELLO: &str = r"
import ssl
incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
session = ssl.create_default_context().wrap_bio(incoming, outgoing, server_hostname='server.test')
try:
    session.do_handshake()
except ssl.SSLWantReadError:
    print(outgoing.read().hex())
";
/// A receive chunk.
const CHUNK_BYTES: u64 = 4096;
/// What one of them may hold, all three kinds taken together: resident bytes. Two in three hold next to nothing; a handshake that has answered
/// holds rustls' state, keys and its transcript.
const RESIDENT_MAX: u64 = 12 * 1024;
/// Half a ClientHello waits in a block of its own size; the rest is a task and a socket.
const BLOCKS_MAX: u64 = 4 * 1024;
/// Figures of a worker that must be as before when all have gone.
const LEFT: &[&str] = &["streams", "tasks", "timers", "blocks_in_use_bytes"];
/// Half of the proxy's descriptors are for clients (docs/LIMITS.md); some are for all else.
const DESCRIPTORS_APART: u64 = 500;
/// Others' handshakes meanwhile.
const OTHERS: usize = 20;
/// How long the proxy may take to accept and answer all, on a busy machine.
const GATHER_LIMIT: Duration = Duration::from_secs(120);
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

pub(super) fn judge(bench: &Bench, python: &Path) -> Result<String, String> {
    let descriptors = raise_descriptors()?;
    let count = bench.count.min((descriptors / 2).saturating_sub(DESCRIPTORS_APART));
    let capped = if count < bench.count {
        format!(" (of {}: this host's hard limit of {descriptors} descriptors has no room for more)", bench.count)
    } else {
        String::new()
    };
    let folder = &bench.folder;
    let hello = hello(python)?;
    // Each listener has its own timeout: one that is not met while all are looked at, and one that is.
    let timeout = Duration::from_millis(1_500 + count);
    let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let at = folder.display();
    let tls = format!(
        "common_tls_context: {{tls_certificates: [{{certificate_chain: {{filename: \"{at}/ec.pem\"}}, private_key: {{filename: \"{at}/ec.key\"}}}}]}}"
    );
    let listener = |config: Config, name: &str, timeout: Duration| {
        let timeout = format!("\n      transport_socket_connect_timeout: {}s", timeout.as_secs_f64());
        config.listener(name, any, &[answer("/", 200, "here")]).tls(&tls, &timeout)
    };
    let config = listener(Config::default(), "patient", Duration::from_secs(3_600));
    let config = listener(config, "strict", timeout);
    let file = folder.join("half-open.yaml");
    std::fs::write(&file, config.text()).map_err(|e| format!("cannot write: {e}"))?;
    let launch = Launch { kind: bench.kind, folder, name: "half-open", file: &file, concurrency: 1, arguments: &[] };
    let proxy = Proxy::start(&launch)?;
    let (patient, strict) = (proxy.listener("patient")?.port(), proxy.listener("strict")?.port());
    others(folder, patient)?;
    let before = Figures::when_quiet(&proxy)?;
    let chunks_before = proxy.workers_sum("chunks_total")?;

    let (held, sent) = begin(count, patient, &hello)?;
    wait_for("all that was sent to be received", GATHER_LIMIT, || {
        let open = proxy.workers_sum("streams").ok()? >= before.left[0] + count;
        (open && proxy.workers_sum("bytes_received").ok()? >= before.received + sent).then_some(())
    })?;
    for (index, stream) in held.iter().enumerate().filter(|(index, _)| Kind::of(*index) == Kind::Whole) {
        // Its answer is there: the server's part of the handshake is done.
        let first = uninterrupted(|| stream.peek(&mut [0])).map_err(|e| format!("the answer to hello {index}: {e}"))?;
        if first == 0 {
            return Err(format!("hello {index} was ended"));
        }
    }
    let full = Figures::take(&proxy)?;
    others(folder, patient)?;
    let (total, free) = (proxy.workers_sum("chunks_total")?, proxy.workers_sum("chunks_free")?);
    // A burst lets the pool of receive chunks grow to its own bound, which is no connection's: how many came within one turn decides.
    let pool = total.saturating_sub(chunks_before) * CHUNK_BYTES;
    let resident = full.resident.saturating_sub(before.resident + pool) / count;
    let blocks = full.left[3].saturating_sub(before.left[3]) / count;
    drop(held);
    let after_first = Figures::as_before(&proxy, &before)?;

    let timeouts = || proxy.stat(&format!("listener.0.0.0.0_{strict}.ssl.handshake_timeout"));
    let (held, _) = begin(count, strict, &hello)?;
    for (index, stream) in held.iter().enumerate() {
        end_of(stream, timeout).map_err(|e| format!("connection {index} ({:?}) is not ended: {e}", Kind::of(index)))?;
    }
    let counted =
        wait_for("all timeouts to be counted", ANSWER_LIMIT, || timeouts().ok().filter(|&ended| ended >= count));
    drop(held);
    let after = Figures::as_before(&proxy, &before)?;
    others(folder, strict)?;

    let line = format!(
        "{count} half-open handshakes{capped}: {resident} B resident each, {blocks} B of them in blocks, {} of {total} chunks held; \
         all ended by the timeout; afterwards {} KiB more resident than before, {} KiB after the first lot",
        total - free,
        after.resident.saturating_sub(before.resident) / 1024,
        after_first.resident.saturating_sub(before.resident) / 1024,
    );
    match counted {
        Ok(ended) if ended == count => {}
        Ok(ended) => return Err(format!("{ended} timeouts are counted; {line}")),
        Err(why) => return Err(format!("{why}: {}; {line}", timeouts()?)),
    }
    if resident > RESIDENT_MAX || blocks > BLOCKS_MAX || free * 2 <= total {
        return Err(format!(
            "more than {RESIDENT_MAX} B resident, {BLOCKS_MAX} B in blocks or half of the chunks: {line}"
        ));
    }
    // A second lot takes what the first one left to the allocator; it, too, may be what lets the pool of chunks grow.
    let later_pool = proxy.workers_sum("chunks_total")?.saturating_sub(total) * CHUNK_BYTES;
    if after.resident.saturating_sub(later_pool) > full.resident + full.resident / 8 {
        return Err(format!("more is resident after two lots than with one: {line}"));
    }
    Ok(line)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Silent,
    Half,
    Whole,
}

impl Kind {
    fn of(index: usize) -> Kind {
        [Kind::Silent, Kind::Half, Kind::Whole][index % 3]
    }
}

/// What the proxy has.
#[derive(Clone, Debug)]
struct Figures {
    /// By [`LEFT`].
    left: Vec<u64>,
    received: u64,
    resident: u64,
    descriptors: u64,
}

impl Figures {
    fn take(proxy: &Proxy) -> Result<Figures, String> {
        Ok(Figures {
            left: LEFT.iter().map(|name| proxy.workers_sum(name)).collect::<Result<_, _>>()?,
            received: proxy.workers_sum("bytes_received")?,
            resident: proxy.resident_bytes(),
            descriptors: proxy.descriptors(),
        })
    }

    /// Once no stream is open.
    fn when_quiet(proxy: &Proxy) -> Result<Figures, String> {
        wait_for("connections to end", ANSWER_LIMIT, || {
            Figures::take(proxy).ok().filter(|figures| figures.left[0] == 0)
        })
    }

    /// Once nothing is left of connections.
    fn as_before(proxy: &Proxy, before: &Figures) -> Result<Figures, String> {
        let mut last = None;
        let is_gone = |now: &Figures| {
            now.left.iter().zip(&before.left).all(|(now, before)| now <= before)
                && now.descriptors <= before.descriptors
        };
        wait_for("nothing to be left", GATHER_LIMIT, || {
            last = Figures::take(proxy).ok();
            last.clone().filter(is_gone)
        })
        .map_err(|why| format!("{why}: {LEFT:?} were {before:?}, are {last:?}"))
    }
}

fn hello(python: &Path) -> Result<Vec<u8>, String> {
    let mut command = Command::new(python);
    command.args(["-c", HELLO]);
    let outcome = command::run(command, ANSWER_LIMIT, command::Echo::Nothing)?;
    let text = outcome.lines.first().map_or("", |line| line.trim());
    let byte = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..text.len()).step_by(2).map(byte).collect();
    bytes.filter(|bytes| bytes.len() > 100).ok_or_else(|| format!("no ClientHello: {}", outcome.lines.join(" | ")))
}

/// So many connections that have said what they will; and how many bytes that was.
fn begin(count: u64, port: u16, hello: &[u8]) -> Result<(Vec<TcpStream>, u64), String> {
    let mut sent = 0;
    let one = |index: usize| -> std::io::Result<(TcpStream, u64)> {
        // One address has no room for so many connections of one client.
        let to = SocketAddr::from((Ipv4Addr::new(127, 0, 0, 1 + (index % 8) as u8), port));
        let mut stream = TcpStream::connect_timeout(&to, ANSWER_LIMIT)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        let said = match Kind::of(index) {
            Kind::Silent => &hello[..0],
            Kind::Half => &hello[..hello.len() / 2],
            Kind::Whole => hello,
        };
        stream.write_all(said)?;
        Ok((stream, said.len() as u64))
    };
    let begun = (0..count as usize).map(|index| {
        let (stream, size) = one(index).map_err(|e| format!("connection {index}: {e}"))?;
        sent += size;
        Ok(stream)
    });
    let held = begun.collect::<Result<Vec<_>, String>>()?;
    Ok((held, sent))
}

/// Waits for the other side's end, whatever it says before it.
fn end_of(mut stream: &TcpStream, timeout: Duration) -> std::io::Result<()> {
    stream.set_read_timeout(Some(timeout + ANSWER_LIMIT))?;
    match stream.read_to_end(&mut Vec::new()) {
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
        ended => ended.map(|_| ()),
    }
}

/// Others, each with a handshake of its own.
fn others(folder: &Path, port: u16) -> Result<(), String> {
    let (name, ca) = (format!("server.test:{port}"), folder.join("ca.pem"));
    for index in 0..OTHERS {
        let mut curl = Command::new("curl");
        curl.args(["-sS", "-m", "20", "--resolve", &format!("{name}:127.0.0.1"), "--cacert"]).arg(&ca);
        curl.arg(format!("https://{name}/"));
        let outcome = command::run(curl, ANSWER_LIMIT + ANSWER_LIMIT, command::Echo::Nothing)?;
        if outcome.lines != ["here"] {
            return Err(format!("request {index} of others meanwhile: {}", outcome.lines.join(" | ")));
        }
    }
    Ok(())
}

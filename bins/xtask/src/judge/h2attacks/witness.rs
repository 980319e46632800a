//! What others notice of a flood: requests on a connection of their own, one after the other, and the proxy's memory.

use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::lab::http::{Head, read_body};
use crate::lab::proxy::Proxy;

/// A client that is served while another floods.
#[derive(Debug)]
pub(super) struct Witness {
    stream: TcpStream,
    from: BufReader<TcpStream>,
}

/// An answer that takes longer than this is none.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// How often, in requests, the memory is looked at meanwhile.
const LOOK_EACH: usize = 16;

/// How long requests waited, and the memory meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Waits {
    pub(super) requests: usize,
    pub(super) median: Duration,
    pub(super) slowest: Duration,
    /// The most resident memory at any look, in bytes.
    pub(super) resident: u64,
    /// Receive chunks that there are afterwards.
    pub(super) chunks: u64,
}

impl Witness {
    pub(super) fn connect(to: SocketAddr) -> Result<Witness, String> {
        let connect = || -> io::Result<Witness> {
            let stream = TcpStream::connect_timeout(&to, ANSWER_LIMIT)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(ANSWER_LIMIT))?;
            let from = BufReader::new(stream.try_clone()?);
            Ok(Witness { stream, from })
        };
        connect().map_err(|e| format!("the witness: {e}"))
    }

    /// So many requests.
    pub(super) fn count(&mut self, requests: usize, proxy: &Proxy) -> Result<Waits, String> {
        let mut left = requests;
        self.look(proxy, || {
            left = left.saturating_sub(1);
            left == 0
        })
    }

    /// Requests until `over`.
    /// Counts in `asked` those that were answered.
    pub(super) fn until(&mut self, over: &AtomicBool, asked: &AtomicUsize, proxy: &Proxy) -> Result<Waits, String> {
        self.look(proxy, || {
            asked.fetch_add(1, Ordering::Relaxed);
            over.load(Ordering::Relaxed)
        })
    }

    fn look(&mut self, proxy: &Proxy, mut over: impl FnMut() -> bool) -> Result<Waits, String> {
        let mut waits = Vec::new();
        let mut resident = 0;
        loop {
            let begun = Instant::now();
            let status = self.ask().map_err(|e| format!("the witness after {} requests: {e}", waits.len()))?;
            waits.push(begun.elapsed());
            if status != 200 {
                return Err(format!("the witness got {status} after {} requests", waits.len()));
            }
            if waits.len() % LOOK_EACH == 1 {
                resident = resident.max(proxy.resident_bytes());
            }
            if over() {
                break;
            }
        }
        waits.sort_unstable();
        Ok(Waits {
            requests: waits.len(),
            median: waits[waits.len() / 2],
            slowest: waits[waits.len() - 1],
            resident: resident.max(proxy.resident_bytes()),
            chunks: proxy.workers_sum("chunks_total")?,
        })
    }

    fn ask(&mut self) -> io::Result<u16> {
        self.stream.write_all(b"GET /witness HTTP/1.1\r\nhost: witness\r\n\r\n")?;
        let head = Head::read(&mut self.from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        read_body(&mut self.from, head.response_framing("GET")?)?;
        Ok(head.status())
    }
}

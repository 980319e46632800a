//! A reader that takes nothing: how many bytes the proxy holds for it, to the byte.
//!
//! What was sent and was not read lies in the four sockets' kernel buffers, of which /proc/net/tcp tells, or in the proxy.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::side::LIMIT;
use crate::lab::counted::Counted;
use crate::lab::interrupted::uninterrupted;
use crate::lab::pace::{pause, wait_for};

/// A sender is held back for good when the kernel takes nothing from it so often in a row, each time for so long.
const REFUSALS: u32 = 5;
const REFUSAL: Duration = Duration::from_millis(60);
const READ_SIZE: usize = 64 << 10;

/// A connection through a proxy, its origin's end in our hands, too.
pub(super) struct Through {
    pub(super) client: TcpStream,
    pub(super) origin: TcpStream,
}

impl Through {
    /// Connects to `front`, which leads to this origin.
    pub(super) fn open(front: SocketAddr, origin: &TcpListener) -> io::Result<Through> {
        let client = TcpStream::connect(front)?;
        let (origin, _) = origin.accept()?;
        for stream in [&client, &origin] {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(LIMIT))?;
        }
        Ok(Through { client, origin })
    }

    /// Sends from one end, in pieces of a size, as much as is taken while the other reads nothing; then all is read. What lay in the proxy.
    pub(super) fn stall(&self, upwards: bool, piece_size: usize, bytes: Counted) -> Result<u64, String> {
        let (from, to) = if upwards { (&self.client, &self.origin) } else { (&self.origin, &self.client) };
        let sent = fill(from, piece_size, bytes).map_err(|e| format!("the sender: {e}"))?;
        // Twice the same: nothing is on its way any more.
        let held = wait_for("a still moment", LIMIT, || {
            let before = self.queued().ok()?;
            pause(REFUSAL);
            (self.queued().ok()? == before).then_some(before)
        });
        let held = held.map(|queued| sent.saturating_sub(queued))?;
        from.shutdown(Shutdown::Write).map_err(|e| format!("no end can be sent: {e}"))?;
        let read = drain(to, bytes)?;
        if read == sent { Ok(held) } else { Err(format!("{read} bytes came of {sent}")) }
    }

    /// Bytes in the kernel's buffers of the four sockets, in both directions.
    fn queued(&self) -> Result<u64, String> {
        let table = std::fs::read_to_string("/proc/net/tcp").map_err(|e| format!("no /proc/net/tcp: {e}"))?;
        let ports = |stream: &TcpStream| -> io::Result<[u16; 2]> {
            Ok([stream.local_addr()?.port(), stream.peer_addr()?.port()])
        };
        let ends = [&self.client, &self.origin].map(ports);
        let mut queued = 0;
        for end in ends {
            let [own, other] = end.map_err(|e| format!("a socket without an address: {e}"))?;
            for pair in [[own, other], [other, own]] {
                let found = table.lines().filter_map(row).find(|row| row.ports == pair);
                queued += found.ok_or_else(|| format!("no socket of ports {pair:?}"))?.queued;
            }
        }
        Ok(queued)
    }
}

/// Sends until nothing more is taken; how much was.
fn fill(mut to: &TcpStream, piece_size: usize, bytes: Counted) -> io::Result<u64> {
    to.set_write_timeout(Some(REFUSAL))?;
    let mut piece = vec![0; piece_size];
    let (mut at, mut refusals) = (0, 0);
    while refusals < REFUSALS {
        bytes.fill(at, &mut piece);
        // What it took before its time was over it says.
        match to.write(&piece) {
            Ok(taken) => (at, refusals) = (at + taken as u64, 0),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => refusals += 1,
            Err(e) => return Err(e),
        }
    }
    Ok(at)
}

/// Reads to the end and compares; how much there was.
fn drain(mut from: &TcpStream, bytes: Counted) -> Result<u64, String> {
    let (mut piece, mut at) = (vec![0; READ_SIZE], 0);
    loop {
        let read = uninterrupted(|| from.read(&mut piece)).map_err(|e| format!("after {at} bytes: {e}"))?;
        if read == 0 {
            return Ok(at);
        }
        if let Some(wrong) = bytes.differs(at, &piece[..read]) {
            return Err(format!("another byte at {wrong}"));
        }
        at += read as u64;
    }
}

/// One socket of /proc/net/tcp (proc_net_tcp.txt of the kernel): its ports, and what lies in its two buffers.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    ports: [u16; 2],
    queued: u64,
}

fn row(line: &str) -> Option<Row> {
    let mut words = line.split_whitespace().skip(1);
    let mut port = || u16::from_str_radix(words.next()?.rsplit_once(':')?.1, 16).ok();
    let ports = [port()?, port()?];
    let (unacknowledged, unread) = words.nth(1)?.split_once(':')?;
    let number = |text| u64::from_str_radix(text, 16).ok();
    Some(Row { ports, queued: number(unacknowledged)? + number(unread)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_is_read() {
        let line = "   3: 0100007F:1F90 0100007F:9C40 01 0000000A:00000100 00:00000000 00000000     0        0 1";
        assert_eq!(row(line), Some(Row { ports: [8080, 40000], queued: 266 }));
        assert_eq!(row("  sl  local_address rem_address   st tx_queue rx_queue"), None);
    }
}

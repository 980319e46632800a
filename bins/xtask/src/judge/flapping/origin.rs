//! An origin that goes away and comes back at its address.

use std::io::{self, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::lab::http::{Head, read_body};
use crate::lab::interrupted::uninterrupted;
use crate::lab::pace::{pause, wait_for};

/// How an origin is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Away {
    /// Nobody listens: connections are refused.
    Closed,
    /// Connections are taken and closed at once.
    Shut,
    /// Requests are answered by a reset.
    Reset,
    /// Requests are read and not answered.
    Silent,
    /// Connections are not taken: the queue is full, so that a SYN is dropped.
    Dark,
}

impl Away {
    pub(super) const ALL: [Away; 5] = [Away::Closed, Away::Shut, Away::Reset, Away::Silent, Away::Dark];
}

/// The origin. Each life has a listener of its own; what is left of the last one's connections ends with it.
#[derive(Debug)]
pub(super) struct Flapper {
    address: SocketAddr,
    life: Mutex<Option<Life>>,
}

#[derive(Debug)]
struct Life {
    ended: Arc<AtomicBool>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
    accepting: Option<std::thread::JoinHandle<()>>,
    /// Connections that fill a queue.
    _fill: Vec<TcpStream>,
    _unread: Option<TcpListener>,
}

/// How often the accepting thread looks whether its life is over.
const LOOK: Duration = Duration::from_millis(1);
/// A connection that the kernel has not taken by then, on the loopback, finds a full queue.
const FULL_AFTER: Duration = Duration::from_millis(100);
/// A queue has as many places as `net.core.somaxconn` says: 4,096.
const FILL_MAX: usize = 20_000;
const BIND_LIMIT: Duration = Duration::from_secs(5);

impl Flapper {
    /// Starts one at `ip`, which no client takes a port of.
    pub(super) fn start(ip: Ipv4Addr) -> Result<Flapper, String> {
        let listener = TcpListener::bind((ip, 0)).map_err(|e| format!("an origin cannot listen at {ip}: {e}"))?;
        let address = listener.local_addr().map_err(|e| format!("an origin has no address: {e}"))?;
        let life = Mutex::new(Some(Life::new(listener, None)?));
        Ok(Flapper { address, life })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Goes away like this.
    pub(super) fn go(&self, way: Away) -> Result<(), String> {
        let mut life = self.life.lock().expect("nobody panicked");
        *life = None;
        *life = match way {
            Away::Closed => None,
            Away::Dark => Some(Life::dark(self.listen()?, self.address)?),
            way => Some(Life::new(self.listen()?, Some(way))?),
        };
        Ok(())
    }

    /// Is there again.
    pub(super) fn come(&self) -> Result<(), String> {
        let mut life = self.life.lock().expect("nobody panicked");
        *life = None;
        *life = Some(Life::new(self.listen()?, None)?);
        Ok(())
    }

    fn listen(&self) -> Result<TcpListener, String> {
        wait_for("an origin's own address", BIND_LIMIT, || TcpListener::bind(self.address).ok())
    }
}

impl Life {
    fn new(listener: TcpListener, way: Option<Away>) -> Result<Life, String> {
        listener.set_nonblocking(true).map_err(|e| format!("an origin's listener: {e}"))?;
        let ended = Arc::new(AtomicBool::new(false));
        let streams: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let (until, kept) = (Arc::clone(&ended), Arc::clone(&streams));
        let accepting = std::thread::spawn(move || {
            while !until.load(Ordering::SeqCst) {
                let Ok((stream, _)) = listener.accept() else {
                    pause(LOOK);
                    continue;
                };
                if way == Some(Away::Shut) {
                    continue;
                }
                let Ok(own) = stream.set_nonblocking(false).and_then(|()| stream.try_clone()) else { continue };
                // A clone would keep a connection open that is to be reset.
                if way != Some(Away::Reset) {
                    kept.lock().expect("nobody panicked").push(own);
                }
                let until = Arc::clone(&until);
                std::thread::spawn(move || serve(stream, way, &until));
            }
        });
        Ok(Life { ended, streams, accepting: Some(accepting), _fill: Vec::new(), _unread: None })
    }

    /// Takes nobody, and has no place left where a connection could wait.
    fn dark(listener: TcpListener, address: SocketAddr) -> Result<Life, String> {
        let mut fill = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&address, FULL_AFTER) {
            fill.push(stream);
            if fill.len() > FILL_MAX {
                return Err(format!("a queue takes more than {FILL_MAX} connections"));
            }
        }
        let (ended, streams) = (Arc::default(), Arc::default());
        Ok(Life { ended, streams, accepting: None, _fill: fill, _unread: Some(listener) })
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        if let Some(accepting) = self.accepting.take() {
            let _ended = accepting.join();
        }
        for stream in self.streams.lock().expect("nobody panicked").iter() {
            let _gone = stream.shutdown(Shutdown::Both);
        }
    }
}

fn serve(stream: TcpStream, way: Option<Away>, ended: &AtomicBool) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if way == Some(Away::Reset) {
        // Closed with bytes unread.
        stream.set_read_timeout(Some(BIND_LIMIT))?;
        uninterrupted(|| stream.peek(&mut [0]))?;
        return Ok(());
    }
    let mut from = BufReader::new(stream.try_clone()?);
    while let Some(head) = Head::read(&mut from)? {
        read_body(&mut from, head.request_framing()?)?;
        if way == Some(Away::Silent) {
            let _end = uninterrupted(|| from.read(&mut [0]));
            return Ok(());
        }
        if ended.load(Ordering::SeqCst) {
            return Ok(());
        }
        let path = head.line.split(' ').nth(1).unwrap_or_default();
        let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len());
        (&stream).write_all(text.as_bytes())?;
    }
    Ok(())
}

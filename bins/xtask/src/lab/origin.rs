//! An origin of a judge: a thread that accepts, and one thread for each connection.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What an origin does with each connection. It ends when the connection does; what it returns is of no interest.
pub(crate) trait Serve: Send + Sync + 'static {
    /// Serves one connection to its end.
    fn serve(&self, stream: TcpStream) -> io::Result<()>;
}

impl<F: Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static> Serve for F {
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        self(stream)
    }
}

/// A listening origin; stops accepting when dropped.
#[derive(Debug)]
pub(crate) struct Origin {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    stopped: Arc<AtomicBool>,
}

/// A connection of an origin that nobody speaks on ends after this, so that threads do not outlive a judge for long.
const IDLE_LIMIT: Duration = Duration::from_secs(300);
/// Stack of an origin's connection thread: a judge may have thousands.
const STACK_SIZE: usize = 256 * 1024;

impl Origin {
    /// Listens on a port of the kernel's choice at `address` (a host, like `127.0.0.1`) and serves each connection.
    pub(crate) fn start(host: &str, serve: impl Serve) -> Result<Origin, String> {
        let listener = TcpListener::bind((host, 0)).map_err(|e| format!("an origin cannot listen: {e}"))?;
        let address = listener.local_addr().map_err(|e| format!("an origin has no address: {e}"))?;
        let stopped = Arc::new(AtomicBool::new(false));
        let serve: Arc<dyn Serve> = Arc::new(serve);
        let until = Arc::clone(&stopped);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if until.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let _set = stream.set_nodelay(true).and_then(|()| stream.set_read_timeout(Some(IDLE_LIMIT)));
                let serve = Arc::clone(&serve);
                let spawned = std::thread::Builder::new().stack_size(STACK_SIZE).spawn(move || serve.serve(stream));
                assert!(spawned.is_ok(), "no thread for an origin's connection");
            }
        });
        Ok(Origin { address, stopped })
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        // The accepting thread sees the flag at its next connection: this one.
        let _woken = TcpStream::connect_timeout(&self.address, Duration::from_secs(1));
    }
}

//! What a server is told, how it says that it is there, and the few words of HTTP that the `http1` scene needs.
//!
//! Only std and memchr: the server on glommio, which is a package of its own, includes this very file.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

/// Bytes of the buffer that a readiness server reads into: what tokio's and monoio's own copy loops take or more.
pub const BUFFER_SIZE: usize = 16 << 10;
/// Connections that may wait to be accepted; the load opens one after the other.
pub const BACKLOG: i32 = 1024;
/// Where a server binds: the system picks the port.
pub const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// What a server does with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scene {
    /// Sends back what comes.
    Echo,
    /// Connects to the origin and forwards both ways.
    Forward,
    /// Reads a request's head up to its empty line and answers with a fixed kibibyte; the connection stays.
    Http1,
}

impl Scene {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Scene::Echo => "echo",
            Scene::Forward => "forward",
            Scene::Http1 => "http1",
        }
    }
}

impl FromStr for Scene {
    type Err = String;

    fn from_str(word: &str) -> Result<Scene, String> {
        [Scene::Echo, Scene::Forward, Scene::Http1]
            .into_iter()
            .find(|scene| scene.name() == word)
            .ok_or_else(|| format!("{word:?} is none of echo, forward, http1"))
    }
}

/// A server's task: the scene, and where `forward` forwards to.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// What it does with each connection.
    pub scene: Scene,
    /// The origin of the `forward` scene.
    pub origin: SocketAddr,
}

impl Setup {
    /// Reads `SCENE ORIGIN`, as the runner writes them. Errors: a word that is neither.
    pub fn from_words(scene: &str, origin: &str) -> Result<Setup, String> {
        let origin = origin.parse().map_err(|_| format!("{origin:?} is no address with a port"))?;
        Ok(Setup { scene: scene.parse()?, origin })
    }
}

/// Says on standard output where the server listens: the one line that the runner waits for.
pub fn announce(address: SocketAddr) {
    let mut out = std::io::stdout();
    writeln!(out, "{address}").and_then(|()| out.flush()).expect("the runner reads the line");
}

/// The request of the `http1` scene: of the size that load tools send.
pub const REQUEST: &[u8] =
    b"GET /items/42?full=1 HTTP/1.1\r\nHost: shop.example.org\r\nUser-Agent: relay/1\r\nAccept: */*\r\n\r\n";

const ANSWER_HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n\r\n";
const ANSWER_SIZE: usize = ANSWER_HEAD.len() + 1024;

/// The answer of the `http1` scene: head and a body of 1 KiB.
pub static ANSWER: [u8; ANSWER_SIZE] = {
    let mut answer = [b'x'; ANSWER_SIZE];
    let mut at = 0;
    while at < ANSWER_HEAD.len() {
        answer[at] = ANSWER_HEAD[at];
        at += 1;
    }
    answer
};

/// Where the head that `bytes` begins with ends, behind its empty line; `None` while that has not come.
#[inline]
pub fn head_end(bytes: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, b"\r\n\r\n").map(|at| at + 4)
}

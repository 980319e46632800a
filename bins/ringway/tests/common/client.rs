//! A client that writes what it is given and reads responses by the framing that they declare.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;

use ringway_tls::{ClientContext, Info, ServerContext};

use super::tls::Tls;
use super::{PATIENCE, uninterrupted};

/// One connection.
pub(crate) struct Client {
    stream: Wire,
    unread: Vec<u8>,
}

/// What its bytes go over.
enum Wire {
    Plain(TcpStream),
    Tls(Box<Tls>),
}

impl Wire {
    fn socket(&self) -> &TcpStream {
        match self {
            Wire::Plain(socket) => socket,
            Wire::Tls(tls) => tls.socket(),
        }
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(socket) => uninterrupted(|| socket.read(buffer)),
            Wire::Tls(tls) => tls.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Wire::Plain(socket) => socket.write(bytes),
            Wire::Tls(tls) => tls.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One response (or, at an origin, one request: the first line tells).
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// The first line.
    pub(crate) line: String,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// Without its framing.
    pub(crate) body: Vec<u8>,
}

impl Message {
    /// The status of a response.
    pub(crate) fn status(&self) -> u16 {
        self.line.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    /// The first value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Client {
    /// Connects.
    #[track_caller]
    pub(crate) fn connect(address: SocketAddr) -> Client {
        Client::on(TcpStream::connect(address).unwrap_or_else(|error| panic!("connect to {address}: {error}")))
    }

    /// Takes a connection over.
    pub(crate) fn on(stream: TcpStream) -> Client {
        Client { stream: Wire::Plain(patient(stream)), unread: vec![] }
    }

    /// Connects and makes a TLS session for this server name.
    pub(crate) fn secured(address: SocketAddr, context: &Arc<ClientContext>, name: Option<&str>) -> io::Result<Client> {
        let tls = Tls::client(patient(TcpStream::connect(address)?), context, name)?;
        Ok(Client { stream: Wire::Tls(Box::new(tls)), unread: vec![] })
    }

    /// Takes a connection over whose peer is to begin with TLS.
    pub(crate) fn accept(stream: TcpStream, context: &Arc<ServerContext>) -> io::Result<Client> {
        let tls = Tls::server(patient(stream), context)?;
        Ok(Client { stream: Wire::Tls(Box::new(tls)), unread: vec![] })
    }

    /// The socket below everything.
    pub(crate) fn socket(&self) -> &TcpStream {
        self.stream.socket()
    }

    /// What the TLS handshake came to.
    #[track_caller]
    pub(crate) fn info(&self) -> &Info {
        match &self.stream {
            Wire::Plain(_) => panic!("no TLS here"),
            Wire::Tls(tls) => tls.info(),
        }
    }

    /// Writes.
    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Client {
        self.stream.write_all(bytes.as_ref()).expect("the connection takes bytes");
        self
    }

    /// Writes, if the peer still takes it.
    pub(crate) fn try_send(&mut self, bytes: &[u8]) {
        let _closed_before = self.stream.write_all(bytes);
    }

    /// Writes; whether the peer takes it.
    pub(crate) fn is_sent(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Sends a request without a body and reads its response.
    #[track_caller]
    pub(crate) fn ask(&mut self, method: &str, path: &str) -> Message {
        self.send(format!("{method} {path} HTTP/1.1\r\nHost: test\r\n\r\n"));
        self.response(method == "HEAD")
    }

    /// Sends a GET and reads its response.
    #[track_caller]
    pub(crate) fn get(&mut self, path: &str) -> Message {
        self.ask("GET", path)
    }

    /// Reads a response. `bodiless`: the request was a HEAD.
    #[track_caller]
    pub(crate) fn response(&mut self, bodiless: bool) -> Message {
        let message = self.read(bodiless, true).unwrap_or_else(|error| panic!("no whole response: {error}"));
        message.expect("the connection ended instead of a response")
    }

    /// Reads so many bytes, whatever they are.
    #[track_caller]
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        self.exactly(count).unwrap_or_else(|error| panic!("not {count} bytes: {error}"))
    }

    /// Reads up to and with these bytes.
    pub(crate) fn until(&mut self, end: &[u8]) -> io::Result<Vec<u8>> {
        loop {
            if let Some(at) = self.unread.windows(end.len()).position(|bytes| bytes == end) {
                return Ok(self.unread.drain(..at + end.len()).collect());
            }
            if !self.more()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// The next bytes, so many at most, which stay unread.
    pub(crate) fn peek(&mut self, count: usize) -> Vec<u8> {
        while self.unread.len() < count && self.more().unwrap_or(false) {}
        self.unread[..count.min(self.unread.len())].to_vec()
    }

    /// Reads what comes next; nothing at the end.
    pub(crate) fn some(&mut self) -> io::Result<Vec<u8>> {
        if self.unread.is_empty() {
            self.more()?;
        }
        Ok(std::mem::take(&mut self.unread))
    }

    /// The same connection once more, for another thread.
    pub(crate) fn again(&self) -> Client {
        match &self.stream {
            Wire::Plain(socket) => Client::on(socket.try_clone().expect("a descriptor")),
            Wire::Tls(_) => panic!("a session has one place"),
        }
    }

    /// Whether the peer has ended the connection: nothing comes any more.
    pub(crate) fn ended(&mut self) -> bool {
        assert!(self.unread.is_empty(), "something is still unread: {:?}", String::from_utf8_lossy(&self.unread));
        matches!(self.stream.read(&mut [0; 1]), Ok(0) | Err(_))
    }

    /// Sends a FIN. A peer that has reset the connection needs none.
    pub(crate) fn finish(&mut self) {
        let _reset_before = match &mut self.stream {
            Wire::Plain(socket) => socket.shutdown(Shutdown::Write),
            Wire::Tls(tls) => tls.shutdown_write(),
        };
    }

    /// Reads one message; `None` where the connection ends before its first byte.
    pub(crate) fn read(&mut self, bodiless: bool, response: bool) -> io::Result<Option<Message>> {
        let end = loop {
            if let Some(at) = self.unread.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at;
            }
            if !self.more()? {
                let empty = self.unread.is_empty();
                return if empty { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        };
        let head = String::from_utf8_lossy(&self.unread[..end]).into_owned();
        self.unread.drain(..end + 4);
        let mut lines = head.split("\r\n");
        let line = lines.next().unwrap_or_default().to_owned();
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut message = Message { line, headers, body: vec![] };
        let no_body = bodiless || response && matches!(message.status(), 100..=199 | 204 | 304);
        if no_body {
            return Ok(Some(message));
        }
        message.body = match (message.header("transfer-encoding"), message.header("content-length")) {
            (Some(_), _) => self.chunked()?,
            (None, Some(length)) => self.exactly(length.parse().map_err(io::Error::other)?)?,
            (None, None) if response => self.rest()?,
            (None, None) => vec![],
        };
        Ok(Some(message))
    }

    fn more(&mut self) -> io::Result<bool> {
        let mut piece = [0; 16 * 1024];
        let count = self.stream.read(&mut piece)?;
        self.unread.extend_from_slice(&piece[..count]);
        Ok(count > 0)
    }

    /// Reads so many bytes.
    pub(crate) fn exactly(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < count {
            if !self.more()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.unread.drain(..count).collect())
    }

    fn rest(&mut self) -> io::Result<Vec<u8>> {
        while self.more()? {}
        Ok(std::mem::take(&mut self.unread))
    }

    fn chunked(&mut self) -> io::Result<Vec<u8>> {
        let mut body = vec![];
        loop {
            let end = loop {
                match self.unread.windows(2).position(|bytes| bytes == b"\r\n") {
                    Some(at) => break at,
                    None if !self.more()? => return Err(io::ErrorKind::UnexpectedEof.into()),
                    None => {}
                }
            };
            let line = String::from_utf8_lossy(&self.exactly(end + 2)?).into_owned();
            let size = line.trim().split(';').next().unwrap_or_default().to_owned();
            let size = usize::from_str_radix(&size, 16).map_err(io::Error::other)?;
            let chunk = self.exactly(size + 2)?;
            body.extend_from_slice(&chunk[..size]);
            if size == 0 {
                return Ok(body);
            }
        }
    }
}

/// A socket that waits no longer than for what may never happen.
fn patient(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_nodelay(true).expect("no delay");
    stream
}

//! A blocking TLS connection, either side: a session over a socket. An end of the socket without close_notify is an error here.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use super::uninterrupted;
use ringway_tls::{ClientContext, Info, Opened, ServerContext, Session, Target};

/// One connection, secured.
pub(crate) struct Tls {
    socket: TcpStream,
    session: Session,
    info: Box<Info>,
    /// Received and not opened.
    input: Vec<u8>,
    /// Opened and not read.
    plain: Vec<u8>,
}

impl Tls {
    /// Makes a session as a client that asks for this server name.
    pub(crate) fn client(socket: TcpStream, context: &Arc<ClientContext>, name: Option<&str>) -> io::Result<Tls> {
        let endpoint = socket.peer_addr()?.to_string();
        let target = Target { server_name: name, endpoint: endpoint.as_bytes(), subject_alt_names: &[], alpn: &[] };
        Tls::secure(socket, Session::client(context, target).map_err(io::Error::other)?)
    }

    /// Makes a session as a server.
    pub(crate) fn server(socket: TcpStream, context: &Arc<ServerContext>) -> io::Result<Tls> {
        Tls::secure(socket, Session::server(context))
    }

    fn secure(mut socket: TcpStream, mut session: Session) -> io::Result<Tls> {
        let (mut input, mut out) = (Vec::new(), Vec::new());
        loop {
            let stepped = session.handshake(&mut input, &mut out);
            if !out.is_empty() {
                socket.write_all(&out)?;
                out.clear();
            }
            let progress = stepped.map_err(io::Error::other)?;
            input.drain(..progress.consumed);
            if progress.done {
                let info = session.take_info().expect("the handshake is done");
                return Ok(Tls { socket, session, info, input, plain: Vec::new() });
            }
            receive(&mut socket, &mut input)?;
        }
    }

    /// What the handshake came to.
    pub(crate) fn info(&self) -> &Info {
        &self.info
    }

    /// The socket below.
    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// close_notify, then a FIN.
    pub(crate) fn shutdown_write(&mut self) -> io::Result<()> {
        let mut out = Vec::new();
        self.session.close(&mut out);
        self.socket.write_all(&out)?;
        self.socket.shutdown(Shutdown::Write)
    }
}

fn receive(socket: &mut TcpStream, input: &mut Vec<u8>) -> io::Result<()> {
    let mut piece = [0; 16 * 1024];
    match uninterrupted(|| socket.read(&mut piece))? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        count => {
            input.extend_from_slice(&piece[..count]);
            Ok(())
        }
    }
}

impl Read for Tls {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut reply = Vec::new();
        while self.plain.is_empty() {
            let opened = self.session.open(&mut self.input, &mut reply);
            if !reply.is_empty() {
                self.socket.write_all(&reply)?;
                reply.clear();
            }
            match opened.map_err(io::Error::other)? {
                Opened::Closed => return Ok(0),
                Opened::Partial(_) => receive(&mut self.socket, &mut self.input)?,
                Opened::Record { consumed, plaintext } => {
                    self.plain.extend_from_slice(&self.input[plaintext]);
                    self.input.drain(..consumed);
                }
            }
        }
        let count = buffer.len().min(self.plain.len());
        buffer[..count].copy_from_slice(&self.plain[..count]);
        self.plain.drain(..count);
        Ok(count)
    }
}

impl Write for Tls {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut records = vec![0; self.session.sealed_len(bytes.len())];
        let written = self.session.seal([bytes], bytes.len(), &mut records).map_err(io::Error::other)?;
        self.socket.write_all(&records[..written])?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

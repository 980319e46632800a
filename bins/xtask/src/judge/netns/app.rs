//! The application that knows of no proxy, and the client of its raw port: each a process of its own, on a host of its own.
//!
//! Every port answers with the client's address as a line, and then with what it was sent. The whole answer is known before, but for that line.

use std::io::{self, BufReader, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use crate::lab::http::{Head, read_body};
use crate::lab::pace::{pause, wait_for};

/// HTTP, in the mesh: mTLS between the sidecars.
pub(super) const HTTP: u16 = 8080;
/// What is sent comes back after its end, in the mesh.
pub(super) const ECHO: u16 = 5432;
/// The same, outside the mesh: the sidecars pass it as it is.
pub(super) const PLAIN: u16 = 6000;
/// The same, and the server speaks first.
pub(super) const SERVER_FIRST: u16 = 7000;
/// The same, not captured inbound.
pub(super) const NOT_INBOUND: u16 = 9090;
/// The same, not captured outbound.
pub(super) const NOT_OUTBOUND: u16 = 9091;
/// The same, not captured at all.
pub(super) const NOT_AT_ALL: u16 = 9092;

/// Ports that echo after the end.
const ECHOING: [u16; 5] = [ECHO, PLAIN, NOT_INBOUND, NOT_OUTBOUND, NOT_AT_ALL];
/// What the application and a client that holds its connection say when they are ready.
pub(super) const READY: &str = "ready";
/// When a bare client says its end: with the last byte, or later.
pub(super) const EARLY: &str = "early";
/// Likewise.
pub(super) const LATE: &str = "late";
/// An application that waits longer has been forgotten. On a busy host rules take many seconds to load, and a client waits for all of them.
const PATIENCE: Duration = Duration::from_secs(60);
/// Envoy resets a connection whose end comes while its listener filters still look at it: before Envoy the end comes later.
const LATE_END: Duration = Duration::from_millis(50);
/// What a connection sends at most.
const SIZE_MAX: u64 = 64 << 20;
/// Stack of a connection's thread.
const STACK_SIZE: usize = 256 << 10;

/// What a client is answered: who it was, and what it sent.
pub(super) fn answer(source: IpAddr, sent: &[u8]) -> Vec<u8> {
    let mut answer = format!("source {source}\n").into_bytes();
    answer.extend_from_slice(sent);
    answer
}

/// The application's process: listens at these addresses, says `ready`, and serves until it is ended.
pub(super) fn serve(addresses: &[&str]) -> Result<(), String> {
    let mut threads = Vec::new();
    for address in addresses {
        let ip: IpAddr = address.parse().map_err(|e| format!("{address}: {e}"))?;
        for port in ECHOING.into_iter().chain([HTTP, SERVER_FIRST]) {
            let listener = TcpListener::bind((ip, port));
            let listener = listener.map_err(|e| format!("the application cannot listen on {ip}:{port}: {e}"))?;
            threads.push(std::thread::spawn(move || accept(&listener, port)));
        }
    }
    println!("{READY}");
    threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    Ok(())
}

fn accept(listener: &TcpListener, port: u16) {
    for stream in listener.incoming().flatten() {
        let serve = move || match port {
            HTTP => http(stream),
            SERVER_FIRST => server_first(stream),
            _ => echo(stream),
        };
        // What becomes of a connection is for its client to say.
        let spawned = std::thread::Builder::new().stack_size(STACK_SIZE).spawn(move || drop(serve()));
        assert!(spawned.is_ok(), "no thread for a connection");
    }
}

fn source(stream: &TcpStream) -> io::Result<IpAddr> {
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream.peer_addr()?.ip())
}

fn http(stream: TcpStream) -> io::Result<()> {
    let source = source(&stream)?;
    let (mut from, mut to) = (BufReader::new(stream.try_clone()?), stream);
    while let Some(head) = Head::read(&mut from)? {
        let (body, _) = read_body(&mut from, head.request_framing()?)?;
        let answer = answer(source, &body);
        to.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", answer.len()).as_bytes())?;
        to.write_all(&answer)?;
    }
    Ok(())
}

fn echo(mut stream: TcpStream) -> io::Result<()> {
    let source = source(&stream)?;
    let mut sent = Vec::new();
    (&mut stream).take(SIZE_MAX).read_to_end(&mut sent)?;
    stream.write_all(&answer(source, &sent))
}

fn server_first(mut stream: TcpStream) -> io::Result<()> {
    let source = source(&stream)?;
    stream.write_all(&answer(source, b""))?;
    let mut sent = Vec::new();
    (&mut stream).take(SIZE_MAX).read_to_end(&mut sent)?;
    stream.write_all(&sent)
}

/// The raw client's process: sends what the file has and the end, and prints what comes back to its end. On the port where the server speaks
/// first it hears a line before.
pub(super) fn ask(to: SocketAddr, file: &str, patience: Duration, late_end: bool) -> Result<(), String> {
    let ask = || -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&to, patience)?;
        stream.set_read_timeout(Some(patience))?;
        let mut heard = Vec::new();
        while to.port() == SERVER_FIRST && heard.last() != Some(&b'\n') {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            heard.push(byte[0]);
        }
        let sent = std::fs::read(file)?;
        let mut sending = stream.try_clone()?;
        std::thread::scope(|scope| {
            let sender = scope.spawn(move || {
                sending.write_all(&sent)?;
                if late_end {
                    pause(LATE_END);
                }
                sending.shutdown(Shutdown::Write)
            });
            let read = stream.read_to_end(&mut heard);
            sender.join().expect("no panic").and(read)
        })?;
        Ok(heard)
    };
    let heard = ask().map_err(|e| format!("{to}: {e}"))?;
    io::stdout().write_all(&heard).map_err(|e| format!("cannot print: {e}"))
}

/// The process of a client that holds its connection: connects and says so, and goes on when there is a file `go`. Prints what comes back.
pub(super) fn hold(to: SocketAddr, file: &str, go: &str) -> Result<(), String> {
    let sent = std::fs::read(file).map_err(|e| format!("{file}: {e}"))?;
    let (begin, rest) = sent.split_at(sent.len() / 2);
    let wrong = |e: io::Error| format!("{to}: {e}");
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE).map_err(wrong)?;
    stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.write_all(begin)).map_err(wrong)?;
    println!("{READY}");
    wait_for("the word to go on", PATIENCE, || std::fs::exists(go).unwrap_or(false).then_some(()))?;
    let mut heard = Vec::new();
    let asked = stream.write_all(rest).and_then(|()| stream.shutdown(Shutdown::Write));
    asked.and_then(|()| stream.read_to_end(&mut heard)).map_err(wrong)?;
    io::stdout().write_all(&heard).map_err(wrong)
}

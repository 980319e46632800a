//! The clients: long-lived connections and new ones, of HTTP/1.1 and HTTP/2, plain and by TLS.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use super::resources::PATHS;
use super::watch::{Answer, Asked, Client, Watch};
use crate::lab::chance::Chance;
use crate::lab::h2::frame::{code_name, code_named};
use crate::lab::h2::session::{Event, Session, fields};
use crate::lab::http::{Head, read_body};

/// An answer that takes longer does not come.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);
/// Streams at once on a connection that stays.
const STREAMS: usize = 16;
/// Streams of a connection that is new.
const STREAMS_NEW: usize = 2;
const TLS: &str = include_str!("tls_client.py");

/// Where the clients go.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) plain: u16,
    pub(super) secured: u16,
    /// The judge's folder, with the authority of the certificates.
    pub(super) folder: PathBuf,
}

/// All clients: who asks, and by what.
pub(super) const CLIENTS: &[fn(&Target, &Watch, &mut Chance)] =
    &[http1, http1, http1, http1, http1_new, http1_new, http2, http2, http2_new, tls_new, tls_new];

/// One of the addresses that the listener has: new connections would run out of ports at a single one.
fn address(port: u16, chance: &mut Chance) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(127, 3, chance.below(256) as u8, 1 + chance.below(254) as u8), port))
}

fn connect(target: &Target, watch: &Watch, chance: &mut Chance) -> io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect_timeout(&address(target.plain, chance), ANSWER_LIMIT)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    stream.set_nodelay(true)?;
    watch.connected();
    Ok(BufReader::new(stream))
}

/// One request and its answer; whether the connection goes on.
fn ask(stream: &mut BufReader<TcpStream>, asked: &Asked, watch: &Watch, chance: &mut Chance) -> io::Result<bool> {
    let path = chance.pick(&PATHS);
    stream.get_mut().write_all(format!("GET {path} HTTP/1.1\r\nhost: a\r\n\r\n").as_bytes())?;
    let none = || io::Error::new(ErrorKind::UnexpectedEof, "closed without an answer");
    let head = Head::read(stream)?.ok_or_else(none)?;
    read_body(stream, head.response_framing("GET")?)?;
    watch.answered(asked, &Answer::read(head.status(), &head.fields));
    Ok(!head.closes())
}

fn http1(target: &Target, watch: &Watch, chance: &mut Chance) {
    let serve = |chance: &mut Chance| -> io::Result<()> {
        let connected = watch.committed();
        let mut stream = connect(target, watch, chance)?;
        while !watch.is_done() && ask(&mut stream, &watch.asks(Client::Http1, connected), watch, chance)? {}
        Ok(())
    };
    forever(Client::Http1, watch, || serve(chance));
}

fn http1_new(target: &Target, watch: &Watch, chance: &mut Chance) {
    let serve = |chance: &mut Chance| -> io::Result<()> {
        let asked = watch.asks(Client::Http1New, watch.committed());
        let mut stream = connect(target, watch, chance)?;
        ask(&mut stream, &asked, watch, chance).map(|_| ())
    };
    forever(Client::Http1New, watch, || serve(chance));
}

fn http2(target: &Target, watch: &Watch, chance: &mut Chance) {
    let serve = |chance: &mut Chance| -> io::Result<()> {
        let connected = watch.committed();
        let mut session = Session::client(address(target.plain, chance), &[])?;
        watch.connected();
        while !watch.is_done() {
            if !batch(&mut session, STREAMS, &watch.asks(Client::Http2, connected), watch, chance)? {
                break;
            }
        }
        Ok(())
    };
    forever(Client::Http2, watch, || serve(chance));
}

fn http2_new(target: &Target, watch: &Watch, chance: &mut Chance) {
    let serve = |chance: &mut Chance| -> io::Result<()> {
        let asked = watch.asks(Client::Http2New, watch.committed());
        let mut session = Session::client(address(target.plain, chance), &[])?;
        watch.connected();
        batch(&mut session, STREAMS_NEW, &asked, watch, chance).map(|_| ())
    };
    forever(Client::Http2New, watch, || serve(chance));
}

/// Does a client's work again and again; each error is a failure.
fn forever(client: Client, watch: &Watch, mut work: impl FnMut() -> io::Result<()>) {
    while !watch.is_done() {
        if let Err(why) = work() {
            watch.failed(client, &why.to_string());
        }
    }
}

/// Opens streams and takes all their answers; whether the connection goes on.
fn batch(session: &mut Session, streams: usize, asked: &Asked, watch: &Watch, chance: &mut Chance) -> io::Result<bool> {
    // Of each stream its answer, once its head is there.
    let mut open: BTreeMap<u32, Option<Answer>> = BTreeMap::new();
    for _ in 0..streams {
        let path = chance.pick(&PATHS);
        let head = fields(&[(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", path)]);
        open.insert(session.open(&head, true)?, None);
    }
    let mut goes_on = true;
    while !open.is_empty() {
        let ended = match session.hear()? {
            Event::Fields { stream, fields, ends } => {
                let status = fields.iter().find(|(name, _)| name == ":status").and_then(|(_, code)| code.parse().ok());
                if let Some(answer) = open.get_mut(&stream).filter(|answer| answer.is_none()) {
                    *answer = Some(Answer::read(status.unwrap_or(0), &fields));
                }
                ends.then_some(stream)
            }
            Event::Data { stream, ends, .. } => ends.then_some(stream),
            Event::Reset { stream, code } => {
                open.remove(&stream);
                if code == code_named("REFUSED_STREAM") {
                    watch.unprocessed(1);
                } else {
                    watch.failed(asked.client, &format!("a stream reset by {}", code_name(code)));
                }
                None
            }
            Event::GoAway { last, .. } => {
                goes_on = false;
                let later = open.split_off(&(last + 1));
                watch.unprocessed(later.len() as u64);
                None
            }
            Event::Settings(_) | Event::Pong(_) => None,
            event @ (Event::Closed | Event::Silence) => {
                open.keys().for_each(|stream| watch.failed(asked.client, &format!("{event:?} on stream {stream}")));
                return Ok(false);
            }
        };
        if let Some(answer) = ended.and_then(|stream| open.remove(&stream)) {
            watch.answered(asked, &answer.unwrap_or_default());
        }
    }
    Ok(goes_on)
}

fn tls_new(target: &Target, watch: &Watch, chance: &mut Chance) {
    let mut peer = match Peer::start(&target.folder) {
        Ok(peer) => peer,
        Err(why) => return watch.failed(Client::TlsNew, &why.to_string()),
    };
    let serve = |peer: &mut Peer, chance: &mut Chance| -> io::Result<()> {
        let asked = watch.asks(Client::TlsNew, watch.committed());
        let to = address(target.secured, chance);
        let path: &&str = chance.pick(&PATHS);
        let answer = peer.ask(to, path)?;
        watch.connected();
        watch.answered(&asked, &answer);
        Ok(())
    };
    forever(Client::TlsNew, watch, || serve(&mut peer, chance));
}

/// A process that makes connections by TLS, one after the other, as it is told.
struct Peer {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Peer {
    fn start(folder: &Path) -> io::Result<Peer> {
        let mut command = Command::new("python3");
        command.args(["-c", TLS]).arg(folder.join("ca.pem")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let (to, from) = (child.stdin.take().expect("piped above"), child.stdout.take().expect("piped above"));
        Ok(Peer { child, to, from: BufReader::new(from) })
    }

    /// One request on a connection of its own.
    fn ask(&mut self, to: SocketAddr, path: &str) -> io::Result<Answer> {
        writeln!(self.to, "{} {} {path}", to.ip(), to.port())?;
        let mut line = String::new();
        self.from.read_line(&mut line)?;
        let line = line.trim();
        let (serial, fields) = match line.strip_prefix("ok ").and_then(|rest| rest.split_once(' ')) {
            Some((serial, fields)) => (serial.parse().ok(), fields),
            None => return Err(io::Error::other(format!("by TLS: {line}"))),
        };
        // The status, and a field after each tab.
        let mut words = fields.split('\t');
        let status = words.next().and_then(|code| code.parse().ok()).unwrap_or(0);
        let fields: Vec<_> = words.filter_map(|field| field.split_once(": ")).collect();
        let fields: Vec<_> = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Ok(Answer { serial, ..Answer::read(status, &fields) })
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

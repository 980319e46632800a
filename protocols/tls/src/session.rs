//! A session: one connection's TLS, either side, without a socket, a buffer or a clock of its own.
//!
//! ```text
//! Hello ──> Handshake ──> Open ──> Ended
//!   └──────────┴───────────┴── error ─┘
//! ```
//!
//! The handshake is rustls'. When it is done, rustls hands out the keys, and records are opened and sealed here
//! (`traffic.rs`; docs/decisions says why). Bytes from the peer never panic: they become a `TlsError`, and the alert that the
//! peer is to get stands in the output.

use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError};
use rustls::{CommonState, HandshakeKind, ProtocolVersion};
use rustls_pki_types::ServerName;

use crate::certificate::sha256;
use crate::context::{ClientContext, ServerContext, server_name};
use crate::error::{Failure, Refusal, TlsError};
use crate::hello::{self, Hello, Reading};
use crate::info::{Info, Peer};
use crate::options::Version;
use crate::parameters::{cipher_name, curve_name};
use crate::record::{ALERT, HEADER, RECORD_MAX, Unopened, handshake_record_len};
use crate::traffic::{FATAL, Opened, Renewal, Traffic};
use crate::verify::Verifier;

/// Bytes of a handshake that may wait to become a whole message: rustls takes messages of up to 64 KiB, and a peer may split
/// them. What a caller holds for a connection in its handshake is at most this and what it last received.
pub const HANDSHAKE_MAX: usize = (1 << 16) + RECORD_MAX;

/// Records that one handshake message may be in: 64 KiB in whole records are 4. rustls joins a message anew with each of its records, so that one of
/// 12 KiB in records of a byte takes 17 ms of a worker, a hundred times what it should.
pub(crate) const MESSAGE_RECORDS_MAX: usize = 256;

/// Where a client's session leads.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The server name to send (Envoy: `auto_sni`); `None` sends the context's, if it has one.
    pub server_name: Option<&'a str>,
    /// What tells the endpoint from others, its address or its path: where no name is sent, sessions are kept by it.
    pub endpoint: &'a [u8],
    /// One of these must be among the certificate's DNS names or addresses (Envoy: `auto_san_validation`); empty asks for nothing.
    pub subject_alt_names: &'a [&'a str],
    /// Application protocols to offer where the context names none.
    pub alpn: &'a [&'a [u8]],
}

/// How far a handshake came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes at the front of the input that are done with. The others are to be given again, as they were left, with
    /// more behind them.
    pub consumed: usize,
    /// Whether the session is open now: the rest of the input is for [`Session::open`].
    pub done: bool,
}

/// One connection's TLS.
pub struct Session {
    state: State,
    info: Option<Box<Info>>,
}

enum State {
    /// A server that waits for the whole ClientHello, and looks for it again in so many bytes.
    Hello(Arc<ServerContext>, usize),
    Handshake(Box<Handshake>),
    Open(Box<Traffic>),
    Ended,
}

struct Handshake {
    connection: Connection,
    /// Bytes at the front of the input that rustls has seen and not done with: parts of a message.
    offered: usize,
    /// How many records those are.
    offered_records: usize,
    server_name: Option<String>,
    local: Option<Arc<crate::certificate::Certificate>>,
    verifier: Arc<Verifier>,
    clock: crate::options::Clock,
    /// What the session itself must find in the certificate.
    names: Vec<String>,
}

enum Connection {
    Server(UnbufferedServerConnection),
    Client(UnbufferedClientConnection),
}

/// What a call of rustls came to.
enum Step {
    /// It wants to be called again at once.
    Again,
    /// It needs more records; or it may send data already, whatever it still receives.
    Blocked,
    Failed(TlsError),
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.state {
            State::Hello(..) | State::Handshake(_) => "Session(handshake)",
            State::Open(_) => "Session(open)",
            State::Ended => "Session(ended)",
        })
    }
}

impl Session {
    /// A server's session with a client that has just connected.
    pub fn server(context: &Arc<ServerContext>) -> Session {
        Session { state: State::Hello(context.clone(), 0), info: None }
    }

    /// A client's session; the first call of [`Session::handshake`], with empty input, gives what to send first.
    ///
    /// # Errors
    /// The server name cannot be sent.
    pub fn client(context: &Arc<ClientContext>, target: Target<'_>) -> Result<Session, TlsError> {
        let offered = if context.config.alpn_protocols.is_empty() { target.alpn } else { &[] };
        Self::client_offering(context, target, offered)
    }

    /// The same, offering these application protocols whatever the context and the target name; empty: what the context names.
    ///
    /// # Errors
    /// As [`Session::client`].
    pub fn client_offering(
        context: &Arc<ClientContext>,
        target: Target<'_>,
        alpn: &[&[u8]],
    ) -> Result<Session, TlsError> {
        let sent = target.server_name.or(context.sni.as_deref());
        let name = match sent {
            Some(name) => server_name(name).map_err(|reason| TlsError::new(Failure::Internal, reason))?,
            // rustls keeps sessions by name, and sends none that is an address: this one is nobody's.
            None => {
                let hash = sha256(target.endpoint);
                let key: &[u8; 16] = hash.first_chunk().expect("it is longer");
                ServerName::IpAddress(IpAddr::from(*key).into())
            }
        };
        let config = context.config.clone();
        let connection = if alpn.is_empty() {
            UnbufferedClientConnection::new(config, name)
        } else {
            let alpn = alpn.iter().map(|name| name.to_vec()).collect();
            UnbufferedClientConnection::new_with_alpn(config, name, alpn)
        };
        let handshake = Handshake {
            connection: Connection::Client(connection?),
            offered: 0,
            offered_records: 0,
            server_name: sent.map(str::to_ascii_lowercase),
            local: context.shared_certificate().cloned(),
            verifier: context.verifier.clone(),
            clock: context.clock.clone(),
            names: target.subject_alt_names.iter().map(|&name| name.to_owned()).collect(),
        };
        Ok(Session { state: State::Handshake(Box::new(handshake)), info: None })
    }

    /// Goes on with the handshake: `input` is all that was received and not consumed; what is to be sent is added to `out`.
    ///
    /// # Errors
    /// Why the handshake failed; the alert for the peer, if it gets one, stands in `out`. The session is over.
    ///
    /// # Panics
    /// If the handshake is done.
    pub fn handshake(&mut self, input: &mut [u8], out: &mut Vec<u8>) -> Result<Progress, TlsError> {
        let result = self.advance(input, out);
        if result.is_err() {
            self.state = State::Ended;
        }
        result
    }

    /// Whether [`Session::handshake`] would find in `input` more than that bytes are missing. It costs no arithmetic.
    pub fn is_due(&mut self, input: &[u8]) -> bool {
        match &mut self.state {
            State::Hello(_, needed) => !matches!(read_hello(input, needed, &mut Vec::new()), Ok(None)),
            State::Handshake(handshake) => {
                let rest = input.get(handshake.offered..).unwrap_or_default();
                !handshake_record_len(rest).is_ok_and(|length| length.is_none_or(|length| length > rest.len()))
            }
            State::Open(_) | State::Ended => false,
        }
    }

    fn advance(&mut self, input: &mut [u8], out: &mut Vec<u8>) -> Result<Progress, TlsError> {
        if let State::Hello(context, needed) = &mut self.state {
            let Some(hello) = read_hello(input, needed, out)? else {
                return Ok(Progress { consumed: 0, done: false });
            };
            let (config, certificate) = context.select(&hello);
            let handshake = Handshake {
                connection: Connection::Server(UnbufferedServerConnection::new(config.clone())?),
                offered: 0,
                offered_records: 0,
                server_name: hello.server_name,
                local: Some(certificate.clone()),
                verifier: context.verifier.clone(),
                clock: context.clock.clone(),
                names: Vec::new(),
            };
            self.state = State::Handshake(Box::new(handshake));
        }
        let State::Handshake(handshake) = &mut self.state else { panic!("a handshake is made once") };
        let progress = handshake.advance(input, out)?;
        if progress.done {
            let State::Handshake(handshake) = std::mem::replace(&mut self.state, State::Ended) else {
                unreachable!("seen above")
            };
            let (info, traffic) = handshake.finish(out)?;
            self.info = Some(Box::new(info));
            self.state = State::Open(Box::new(traffic));
        }
        Ok(progress)
    }

    /// What the handshake came to; `None` before it is done.
    pub fn info(&self) -> Option<&Info> {
        self.info.as_deref()
    }

    /// Takes it out, so that the session does not hold it.
    pub fn take_info(&mut self) -> Option<Box<Info>> {
        self.info.take()
    }

    /// Opens the record at the front of `input`, in place. What the session itself has to answer is added to `reply` and must be
    /// sent before anything that is sealed later.
    ///
    /// # Errors
    /// Why the session is over; the alert for the peer stands in `reply`.
    ///
    /// # Panics
    /// If the handshake is not done.
    pub fn open(&mut self, input: &mut [u8], reply: &mut Vec<u8>) -> Result<Opened, TlsError> {
        let result = match &mut self.state {
            State::Open(traffic) => traffic.open(input, reply),
            State::Ended => Err(ended()),
            State::Hello(..) | State::Handshake(_) => panic!("the handshake comes first"),
        };
        if result.is_err() {
            self.state = State::Ended;
        }
        result
    }

    /// How long `length` bytes of plaintext are when sealed by the next [`Session::seal`].
    pub fn sealed_len(&self, length: usize) -> usize {
        match &self.state {
            State::Open(traffic) => traffic.sealed_len(length),
            _ => 0,
        }
    }

    /// Seals `length` bytes, which the pieces hold one after the other, as records into `out`, which has room for
    /// [`Session::sealed_len`] of them. Returns how many bytes it wrote: just those.
    ///
    /// # Errors
    /// The keys are used up and TLS 1.2 cannot renew them, or the session is over, or it was closed.
    ///
    /// # Panics
    /// If `out` is too short, or the pieces are; or if the handshake is not done.
    pub fn seal<'a>(
        &mut self,
        pieces: impl IntoIterator<Item = &'a [u8]>,
        length: usize,
        out: &mut [u8],
    ) -> Result<usize, TlsError> {
        match &mut self.state {
            State::Open(traffic) => traffic.seal(pieces, length, out),
            State::Ended => Err(ended()),
            State::Hello(..) | State::Handshake(_) => panic!("the handshake comes first"),
        }
    }

    /// Ends our direction: adds close_notify to `out`, once; nothing can be sealed afterwards. Before the handshake is done it
    /// adds nothing.
    pub fn close(&mut self, out: &mut Vec<u8>) {
        if let State::Open(traffic) = &mut self.state {
            traffic.close(out);
        }
    }

    #[cfg(test)]
    pub(crate) fn traffic(&mut self) -> &mut Traffic {
        match &mut self.state {
            State::Open(traffic) => traffic,
            _ => panic!("not open"),
        }
    }

    /// Whether the peer has said that it sends no more (close_notify). An end of the stream without it is a truncation.
    pub fn peer_closed(&self) -> bool {
        matches!(&self.state, State::Open(traffic) if traffic.peer_closed())
    }
}

fn ended() -> TlsError {
    TlsError::new(Failure::Internal, "the session is over")
}

/// The ClientHello, once all of it is there; `needed` bytes are when it pays to look. The alert to who sent none stands in `out`.
fn read_hello(input: &[u8], needed: &mut usize, out: &mut Vec<u8>) -> Result<Option<Hello>, TlsError> {
    check_first(input)?;
    if input.len() < *needed {
        return Ok(None);
    }
    match hello::read(input) {
        Ok(Reading::More(bytes)) => {
            *needed = bytes;
            Ok(None)
        }
        Ok(Reading::Read(hello)) => Ok(Some(hello)),
        Err(unread) => {
            let (alert, reason) = unread.told();
            // RFC 8446 §6: of two bytes, in the clear.
            out.extend_from_slice(&[ALERT, 3, 3, 0, 2, FATAL, alert]);
            Err(TlsError::new(Failure::Protocol, reason))
        }
    }
}

/// What a peer's very first bytes must be: a handshake's record.
fn check_first(input: &[u8]) -> Result<(), TlsError> {
    match handshake_record_len(input) {
        Ok(_) => Ok(()),
        Err(unopened) => Err(no_record(input, unopened)),
    }
}

fn no_record(input: &[u8], unopened: Unopened) -> TlsError {
    match unopened {
        Unopened::TooLong => TlsError::new(Failure::RecordOverflow, "record too long"),
        _ if input.first().is_some_and(u8::is_ascii_uppercase) => {
            TlsError::new(Failure::NotTls, "plain HTTP request, perhaps, where TLS was expected")
        }
        _ => TlsError::new(Failure::NotTls, "no TLS record"),
    }
}

impl Handshake {
    /// Gives rustls one record after the other, so that none behind the handshake's last is touched.
    fn advance(&mut self, input: &mut [u8], out: &mut Vec<u8>) -> Result<Progress, TlsError> {
        let mut consumed = 0;
        loop {
            let window = &mut input[consumed..consumed + self.offered];
            let (discard, step) = self.connection.step(window, out);
            consumed += discard;
            self.offered -= discard;
            if self.offered == 0 {
                self.offered_records = 0;
            }
            match step {
                Step::Again => {}
                Step::Blocked if !self.connection.common().is_handshaking() => {
                    if self.offered > 0 {
                        let reason = "a message began before the handshake's end";
                        return Err(TlsError::new(Failure::Protocol, reason));
                    }
                    return Ok(Progress { consumed, done: true });
                }
                Step::Blocked => {
                    let rest = &input[consumed + self.offered..];
                    match handshake_record_len(rest).map_err(|unopened| no_record(rest, unopened))? {
                        Some(_) if self.offered_records >= MESSAGE_RECORDS_MAX => {
                            return Err(TlsError::new(Failure::Protocol, "handshake message in too many records"));
                        }
                        Some(length) if length <= rest.len() && self.offered < HANDSHAKE_MAX => {
                            self.offered += length;
                            self.offered_records += 1;
                        }
                        _ if self.offered >= HANDSHAKE_MAX => {
                            return Err(TlsError::new(Failure::Protocol, "handshake message too long"));
                        }
                        _ => return Ok(Progress { consumed, done: false }),
                    }
                }
                Step::Failed(error) => {
                    // The alert comes out of the next calls. One call more, and rustls would look for the input that is not here.
                    while self.connection.common().wants_write() {
                        let (_, Step::Again) = self.connection.step(&mut [], out) else { break };
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Takes the keys over from rustls, and asks what rustls does not.
    fn finish(self, out: &mut Vec<u8>) -> Result<(Info, Traffic), TlsError> {
        let common = self.connection.common();
        let version = match common.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => Version::Tls12,
            Some(ProtocolVersion::TLSv1_3) => Version::Tls13,
            _ => return Err(TlsError::new(Failure::Internal, "no version was agreed on")),
        };
        let now = self.clock.now().ok_or_else(|| TlsError::new(Failure::Internal, "no time"))?;
        let chain = common.peer_certificates().unwrap_or_default();
        let resumed = common.handshake_kind() == Some(HandshakeKind::Resumed);
        let verdict = match resumed {
            true => self.verifier.verify_resumed(chain, now),
            false => Ok(()),
        };
        let verdict = verdict.and_then(|()| self.verifier.verify_names(chain, &self.names));
        let info = Info {
            version,
            cipher: common.negotiated_cipher_suite().map_or("unknown", |suite| cipher_name(suite.suite())),
            curve: common.negotiated_key_exchange_group().map(|group| curve_name(group.name())),
            alpn: common.alpn_protocol().map(<[u8]>::to_vec),
            validated: self.verifier.validated(chain, self.server_name.as_deref(), now),
            peer: Peer::new(chain),
            server_name: self.server_name,
            resumed,
            local: self.local,
        };
        let mut traffic = self.connection.into_traffic(version)?;
        match verdict {
            Ok(()) => Ok((info, traffic)),
            Err(refusal) => {
                traffic.alert(alert_of(&refusal), out);
                Err(refusal.into())
            }
        }
    }
}

/// RFC 8446 §6.2.
fn alert_of(refusal: &Refusal) -> u8 {
    const CERTIFICATE_EXPIRED: u8 = 45;
    const CERTIFICATE_UNKNOWN: u8 = 46;
    match refusal {
        Refusal::Expired | Refusal::NotYetValid => CERTIFICATE_EXPIRED,
        _ => CERTIFICATE_UNKNOWN,
    }
}

/// One call of rustls; a macro, because the two sides have types of their own.
macro_rules! step {
    ($connection:expr, $window:expr, $out:expr) => {{
        let status = $connection.process_tls_records($window);
        let step = match status.state {
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                let start = $out.len();
                if let Err(EncodeError::InsufficientSize(wanted)) = data.encode(&mut []) {
                    $out.resize(start + wanted.required_size, 0);
                    let _ = data.encode(&mut $out[start..]).expect("there is room for what it asked");
                }
                Step::Again
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                Step::Again
            }
            Ok(ConnectionState::BlockedHandshake | ConnectionState::WriteTraffic(_)) => Step::Blocked,
            Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                Step::Failed(TlsError::new(Failure::Alert(0), "peer closed within the handshake"))
            }
            Ok(_) => Step::Failed(TlsError::new(Failure::Protocol, "data before the handshake's end")),
            Err(error) => Step::Failed(error.into()),
        };
        (status.discard, step)
    }};
}

impl Connection {
    fn step(&mut self, window: &mut [u8], out: &mut Vec<u8>) -> (usize, Step) {
        match self {
            Connection::Server(connection) => step!(connection, window, out),
            Connection::Client(connection) => step!(connection, window, out),
        }
    }

    fn common(&self) -> &CommonState {
        match self {
            Connection::Server(connection) => connection,
            Connection::Client(connection) => connection,
        }
    }

    fn into_traffic(self, version: Version) -> Result<Traffic, TlsError> {
        let (secrets, renewal) = match self {
            Connection::Server(connection) => {
                let (secrets, kernel) = connection.dangerous_into_kernel_connection()?;
                (secrets, Renewal::Server(kernel))
            }
            Connection::Client(connection) => {
                let (secrets, kernel) = connection.dangerous_into_kernel_connection()?;
                (secrets, Renewal::Client(kernel))
            }
        };
        // TLS 1.2 renews no keys and has no tickets after the handshake: nothing of rustls is kept.
        let renewal = if version == Version::Tls12 { Renewal::Never } else { renewal };
        Traffic::new(version, &secrets, renewal)
            .ok_or_else(|| TlsError::new(Failure::Internal, "keys of a cipher that is not known"))
    }
}

const _: () = assert!(HANDSHAKE_MAX > hello::HELLO_MAX + HEADER);

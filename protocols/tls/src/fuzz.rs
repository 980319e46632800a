//! Fuzz bodies as plain functions: `cargo test` plays mutations through them.
//!
//! Each panics on what must never be. What must hold: no input panics a session or a reader of certificates; how it is cut on its way changes
//! nothing; each call makes progress, asks for more or ends; a session that failed stays over; what is forged is never handed out as plaintext.

use std::sync::Arc;

pub use crate::traffic::fuzz::records;
use crate::{Certificate, ClientContext, HANDSHAKE_MAX, Opened, ServerContext, Session, Target, TlsError};

const NAME: &str = "example.com";
const REQUEST: &[u8] = b"what the client says";
const RESPONSE: &[u8] = b"what the server answers";

/// Bytes to a server's fresh session, or to a client's that has said hello: whole, cut in two, and in pieces. Gives the shape of the answer.
///
/// # Panics
/// If something does not hold.
pub fn bytes(input: &[u8], begin: &dyn Fn() -> Session) -> u64 {
    let sum = input.iter().fold(7_usize, |sum, &byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
    let play = |step: usize| {
        let mut end = End::new(begin());
        for piece in input.chunks(step) {
            end.take(piece);
            assert!(end.input.len() <= HANDSHAKE_MAX + piece.len(), "more is held than a handshake may");
        }
        let left = if end.is_over { 0 } else { end.input.len() };
        (end.is_over, end.is_open, end.failed.unwrap_or_default(), left, !end.output.is_empty())
    };
    let whole = play(input.len().max(1));
    for step in [1 + sum % input.len().max(1), 1 + sum % 23] {
        assert_eq!(play(step), whole, "in pieces of {step}");
    }
    let (is_over, is_open, failed, _, answers) = whole;
    u64::from(is_over) | u64::from(is_open) << 1 | u64::from(answers) << 2 | (failed.len() as u64) << 3
}

/// A handshake and a record each way, with changes on the wire: of each three bytes, the first two say where and the third what is
/// added to the byte there. Without changes all arrives; with them, nothing else does.
pub fn changed(input: &[u8], client: &Arc<ClientContext>, server: &Arc<ServerContext>) {
    let (mut client, mut server) = (End::new(begin(client)), End::new(Session::server(server)));
    client.take(&[]);
    let mut at = 0_usize;
    let mut changes = input.chunks_exact(3).map(|part| (usize::from(part[0]) << 8 | usize::from(part[1]), part[2]));
    let mut change = changes.next();
    let mut is_changed = false;
    let mut spoil = |bytes: &mut [u8]| {
        while let Some((place, difference)) = change {
            let Some(byte) = place.checked_sub(at).and_then(|place| bytes.get_mut(place)) else { break };
            *byte = byte.wrapping_add(difference);
            is_changed |= difference != 0;
            change = changes.next().map(|(next, difference)| (place + 1 + next % 512, difference));
        }
        at += bytes.len();
    };
    // A flight each way, three times over: TLS 1.2 needs two, and data one more.
    for _ in 0..8 {
        client.say(REQUEST);
        let mut flight = std::mem::take(&mut client.output);
        spoil(&mut flight);
        server.take(&flight);
        server.say(RESPONSE);
        let mut flight = std::mem::take(&mut server.output);
        spoil(&mut flight);
        client.take(&flight);
    }
    assert!(
        REQUEST.starts_with(&server.received) && RESPONSE.starts_with(&client.received),
        "forged data came through"
    );
    if !is_changed {
        assert!(
            server.received == REQUEST && client.received == RESPONSE,
            "nothing was changed, and something was lost"
        );
    }
}

/// Bytes as a certificate. Gives how many names it has, and how long its subject is.
///
/// # Panics
/// If it is larger than its bytes explain.
pub fn certificate(input: &[u8]) -> Option<[usize; 2]> {
    let certificate = Certificate::read(input)?;
    let texts = certificate.subject.len() + certificate.issuer.len() + certificate.serial.len();
    assert!(texts <= 64 + 64 * input.len(), "a certificate grows by its escapes alone");
    assert!(certificate.names.iter().all(|name| name.text().len() <= 64 + input.len()));
    Some([certificate.names.len(), certificate.subject.len()])
}

/// A client's fresh session.
///
/// # Panics
/// Never: its name can be sent.
pub fn begin(client: &Arc<ClientContext>) -> Session {
    let target = Target { server_name: Some(NAME), endpoint: b"origin", subject_alt_names: &[], alpn: &[] };
    Session::client(client, target).expect("a name that can be sent")
}

struct End {
    session: Session,
    input: Vec<u8>,
    output: Vec<u8>,
    received: Vec<u8>,
    is_open: bool,
    is_over: bool,
    has_begun: bool,
    has_said: bool,
    failed: Option<String>,
}

impl End {
    fn new(session: Session) -> End {
        End {
            session,
            input: Vec::new(),
            output: Vec::new(),
            received: Vec::new(),
            is_open: false,
            is_over: false,
            has_begun: false,
            has_said: false,
            failed: None,
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        if self.is_over {
            return;
        }
        self.input.extend_from_slice(bytes);
        if !self.is_open {
            // A client speaks first, whatever came.
            let is_due = self.session.is_due(&self.input) || !self.has_begun;
            self.has_begun = true;
            let said = self.output.len();
            match self.session.handshake(&mut self.input, &mut self.output) {
                Ok(progress) => {
                    assert!(progress.consumed <= self.input.len());
                    let is_idle = progress.consumed == 0 && !progress.done && said == self.output.len();
                    assert!(is_due || is_idle, "it was not due");
                    self.input.drain(..progress.consumed);
                    self.is_open = progress.done;
                }
                Err(error) => {
                    assert!(is_due, "it was not due");
                    self.end(error);
                }
            }
        }
        while self.is_open && !self.is_over {
            let before = self.input.len();
            match self.session.open(&mut self.input, &mut self.output) {
                Ok(Opened::Partial(length)) => {
                    assert!(length > before);
                    break;
                }
                Ok(Opened::Record { consumed, plaintext }) => {
                    assert!(consumed > 0 && plaintext.end <= consumed && consumed <= before);
                    self.received.extend_from_slice(&self.input[plaintext]);
                    self.input.drain(..consumed);
                }
                Ok(Opened::Closed) => {
                    assert!(self.session.peer_closed());
                    break;
                }
                Err(error) => self.end(error),
            }
        }
    }

    /// Says it once, when it can.
    fn say(&mut self, text: &[u8]) {
        if !self.is_open || self.is_over || self.has_said {
            return;
        }
        self.has_said = true;
        let start = self.output.len();
        self.output.resize(start + self.session.sealed_len(text.len()), 0);
        let written = self.session.seal([text], text.len(), &mut self.output[start..]).expect("an open session seals");
        assert_eq!(start + written, self.output.len());
    }

    /// It failed: it stays so.
    fn end(&mut self, error: TlsError) {
        self.is_over = true;
        self.failed = Some(error.reason);
        let mut reply = Vec::new();
        if self.is_open {
            assert!(self.session.open(&mut [23, 3, 3, 0, 0], &mut reply).is_err());
            assert!(self.session.seal([&b"x"[..]], 1, &mut [0; 64]).is_err());
        }
        self.session.close(&mut reply);
        assert!(reply.is_empty(), "who is over says no more");
    }
}

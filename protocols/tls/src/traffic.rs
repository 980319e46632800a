//! An open session: records, and the messages of the protocol's own that come between them.
//!
//! KeyUpdate both ways, tickets, alerts and the limits of keys are kept here; an idle session holds no buffer. Invariant: who
//! sends records without data, one after the other, is ended after a bounded number of them.

pub(crate) mod fuzz;

use std::ops::Range;

use rustls::ExtractedSecrets;
use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;

use crate::error::{Failure, TlsError};
use crate::options::Version;
use crate::record::{ALERT, APPLICATION_DATA, HANDSHAKE, HEADER, Keys, PLAINTEXT_MAX, Unopened};

/// Records without application data that a peer may send in a row: empty ones, warnings, KeyUpdates, tickets. BoringSSL
/// allows 32 empty records, 32 KeyUpdates and 4 warnings.
const IDLE_RECORDS_MAX: u8 = 32;
/// A message of the protocol's own that came in several records is joined up to here: a ticket has at most 64 KiB by its format and
/// some 2 KiB in fact. Worst-case memory of one session's unfinished message.
const MESSAGE_MAX: usize = 1 << 14;

/// Handshake messages (RFC 8446 §4, RFC 5246 §7.4).
const HELLO_REQUEST: u8 = 0;
const CLIENT_HELLO: u8 = 1;
const NEW_SESSION_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;
const MESSAGE_HEADER: usize = 4;
/// A whole KeyUpdate.
const KEY_UPDATE_LENGTH: usize = MESSAGE_HEADER + 1;

/// Alerts (RFC 8446 §6).
const CLOSE_NOTIFY: u8 = 0;
pub(crate) const UNEXPECTED_MESSAGE: u8 = 10;
const BAD_RECORD_MAC: u8 = 20;
const RECORD_OVERFLOW: u8 = 22;
pub(crate) const ILLEGAL_PARAMETER: u8 = 47;
pub(crate) const DECODE_ERROR: u8 = 50;
const USER_CANCELED: u8 = 90;
const NO_RENEGOTIATION: u8 = 100;
const WARNING: u8 = 1;
pub(crate) const FATAL: u8 = 2;

/// What the front of the input was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// A part of a record, which is at least this long in all: just so long once its header is there.
    Partial(usize),
    /// One record: where its plaintext is now, in the input. It is empty if the record was for the session itself.
    Record {
        /// The record's length.
        consumed: usize,
        /// Its plaintext.
        plaintext: Range<usize>,
    },
    /// The peer has closed its direction; what is behind is to be thrown away.
    Closed,
}

/// What of rustls stays, to renew keys (RFC 8446 §4.6.3) and to keep tickets.
pub(crate) enum Renewal {
    Server(KernelConnection<ServerConnectionData>),
    Client(KernelConnection<ClientConnectionData>),
    Never,
}

/// Both directions of an open session.
pub(crate) struct Traffic {
    receive: Keys,
    send: Keys,
    version: Version,
    renewal: Renewal,
    /// A message that came in part; no allocation while empty.
    unfinished: Vec<u8>,
    idle_records: u8,
    peer_closed: bool,
    closed: bool,
}

/// What ends the session: the alert to send and the error to return.
struct Fatal {
    alert: Option<u8>,
    error: TlsError,
}

fn fatal(alert: u8, failure: Failure, reason: &str) -> Fatal {
    Fatal { alert: Some(alert), error: TlsError::new(failure, reason) }
}

impl Traffic {
    pub(crate) fn new(version: Version, secrets: &ExtractedSecrets, renewal: Renewal) -> Option<Traffic> {
        let (sequence, receive) = &secrets.rx;
        let receive = Keys::new(version, *sequence, receive)?;
        let (sequence, send) = &secrets.tx;
        let send = Keys::new(version, *sequence, send)?;
        Some(Traffic {
            receive,
            send,
            version,
            renewal,
            unfinished: Vec::new(),
            idle_records: 0,
            peer_closed: false,
            closed: false,
        })
    }

    pub(crate) fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// Opens the record at the front.
    pub(crate) fn open(&mut self, input: &mut [u8], reply: &mut Vec<u8>) -> Result<Opened, TlsError> {
        if self.peer_closed {
            return Ok(Opened::Closed);
        }
        self.open_record(input, reply).map_err(|fatal| {
            if let Some(alert) = fatal.alert {
                self.alert(alert, reply);
            }
            fatal.error
        })
    }

    fn open_record(&mut self, input: &mut [u8], reply: &mut Vec<u8>) -> Result<Opened, Fatal> {
        let length = match self.receive.record_len(input).map_err(unopened)? {
            Some(length) if length <= input.len() => length,
            Some(length) => return Ok(Opened::Partial(length)),
            None => return Ok(Opened::Partial(HEADER)),
        };
        let (content, plaintext) = self.receive.open(&mut input[..length]).map_err(unopened)?;
        if content == APPLICATION_DATA && !plaintext.is_empty() {
            if !self.unfinished.is_empty() {
                return Err(fatal(UNEXPECTED_MESSAGE, Failure::Protocol, "data within a message")); // RFC 8446 §5.1
            }
            self.idle_records = 0;
            return Ok(Opened::Record { consumed: length, plaintext });
        }
        self.idle_records += 1;
        if self.idle_records > IDLE_RECORDS_MAX {
            return Err(fatal(UNEXPECTED_MESSAGE, Failure::Protocol, "too many records without data"));
        }
        let contents = &input[plaintext.clone()];
        match content {
            APPLICATION_DATA => {}
            ALERT => self.alerted(contents)?,
            HANDSHAKE => self.messages(contents, reply)?,
            _ => return Err(fatal(UNEXPECTED_MESSAGE, Failure::Protocol, "unexpected content type")),
        }
        if self.peer_closed {
            return Ok(Opened::Closed);
        }
        Ok(Opened::Record { consumed: length, plaintext: plaintext.start..plaintext.start })
    }

    /// RFC 8446 §6, RFC 5246 §7.2.
    fn alerted(&mut self, contents: &[u8]) -> Result<(), Fatal> {
        let &[level, description] = contents else {
            return Err(fatal(DECODE_ERROR, Failure::Protocol, "an alert that is none"));
        };
        match description {
            CLOSE_NOTIFY => {
                self.peer_closed = true;
                Ok(())
            }
            USER_CANCELED => Ok(()),
            _ if self.version == Version::Tls12 && level == WARNING => Ok(()),
            other => {
                let name = rustls::AlertDescription::from(other);
                let error = TlsError::new(Failure::Alert(other), format!("peer sent alert {name:?}"));
                Err(Fatal { alert: None, error })
            }
        }
    }

    /// The handshake messages of one record, and what an earlier one began.
    fn messages(&mut self, contents: &[u8], reply: &mut Vec<u8>) -> Result<(), Fatal> {
        if contents.is_empty() {
            return Err(fatal(UNEXPECTED_MESSAGE, Failure::Protocol, "an empty handshake record")); // RFC 8446 §5.1
        }
        let mut held = std::mem::take(&mut self.unfinished);
        let mut rest = match held.is_empty() {
            true => contents,
            false => {
                held.extend_from_slice(contents);
                &held
            }
        };
        while let Some((head, after)) = rest.split_at_checked(MESSAGE_HEADER) {
            let length = usize::from(head[1]) << 16 | usize::from(head[2]) << 8 | usize::from(head[3]);
            if length > MESSAGE_MAX {
                return Err(fatal(DECODE_ERROR, Failure::Protocol, "a message that is too long"));
            }
            let Some((body, after)) = after.split_at_checked(length) else { break };
            self.message(head[0], body, after.is_empty(), reply)?;
            rest = after;
        }
        if !rest.is_empty() {
            if self.version == Version::Tls12 {
                return Err(fatal(NO_RENEGOTIATION, Failure::Renegotiation, "renegotiation is refused"));
            }
            self.unfinished = rest.to_vec();
        }
        Ok(())
    }

    fn message(&mut self, kind: u8, body: &[u8], last: bool, reply: &mut Vec<u8>) -> Result<(), Fatal> {
        match (kind, &mut self.renewal) {
            (KEY_UPDATE, Renewal::Server(_) | Renewal::Client(_)) => self.key_update(body, last, reply),
            (NEW_SESSION_TICKET, Renewal::Client(kernel)) => kernel
                .handle_new_session_ticket(body)
                .map_err(|error| Fatal { alert: Some(DECODE_ERROR), error: error.into() }),
            (HELLO_REQUEST | CLIENT_HELLO, Renewal::Never) => {
                Err(fatal(NO_RENEGOTIATION, Failure::Renegotiation, "renegotiation is refused"))
            }
            _ => Err(fatal(UNEXPECTED_MESSAGE, Failure::Protocol, "unexpected handshake message")),
        }
    }

    /// RFC 8446 §4.6.3. Nothing may follow it in its record: that would be under the old keys (§5.1).
    fn key_update(&mut self, body: &[u8], last: bool, reply: &mut Vec<u8>) -> Result<(), Fatal> {
        let requested = match body {
            [0] => false,
            [1] => true,
            _ => return Err(fatal(ILLEGAL_PARAMETER, Failure::Protocol, "a KeyUpdate that is none")),
        };
        if !last {
            return Err(fatal(UNEXPECTED_MESSAGE, Failure::Protocol, "a message behind a KeyUpdate"));
        }
        let renewed = match &mut self.renewal {
            Renewal::Server(kernel) => kernel.update_rx_secret(),
            Renewal::Client(kernel) => kernel.update_rx_secret(),
            Renewal::Never => unreachable!("TLS 1.2 knows no KeyUpdate"),
        };
        let (sequence, secrets) = renewed.map_err(internal)?;
        self.receive = Keys::new(self.version, sequence, &secrets).ok_or_else(no_keys)?;
        if requested && !self.closed {
            let start = reply.len();
            reply.resize(start + self.send.sealed_len(KEY_UPDATE_LENGTH), 0);
            self.renew_sending(&mut reply[start..])?;
        }
        Ok(())
    }

    /// Says that our keys change, and changes them. Returns the record's length.
    fn renew_sending(&mut self, out: &mut [u8]) -> Result<usize, Fatal> {
        let renewed = match &mut self.renewal {
            Renewal::Server(kernel) => kernel.update_tx_secret(),
            Renewal::Client(kernel) => kernel.update_tx_secret(),
            Renewal::Never => unreachable!("TLS 1.2 knows no KeyUpdate"),
        };
        let (sequence, secrets) = renewed.map_err(internal)?;
        let written = self.send.seal(HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 0], out);
        self.send = Keys::new(self.version, sequence, &secrets).ok_or_else(no_keys)?;
        Ok(written)
    }

    /// Whether these keys may not seal so many records and one more, which is kept for the KeyUpdate or the alert that ends them.
    fn used_up(&self, length: usize) -> bool {
        self.send.records_left() <= length.div_ceil(PLAINTEXT_MAX) as u64 + 1
    }

    pub(crate) fn sealed_len(&self, length: usize) -> usize {
        if length == 0 {
            return 0;
        }
        let rest = length % PLAINTEXT_MAX;
        let full = length / PLAINTEXT_MAX * self.send.sealed_len(PLAINTEXT_MAX);
        let rest = if rest > 0 { self.send.sealed_len(rest) } else { 0 };
        let renewal = self.version == Version::Tls13 && self.used_up(length);
        full + rest + if renewal { self.send.sealed_len(KEY_UPDATE_LENGTH) } else { 0 }
    }

    /// Seals the pieces as records of up to 16 KiB each.
    pub(crate) fn seal<'a>(
        &mut self,
        pieces: impl IntoIterator<Item = &'a [u8]>,
        length: usize,
        out: &mut [u8],
    ) -> Result<usize, TlsError> {
        if self.closed {
            return Err(TlsError::new(Failure::Internal, "our direction is closed"));
        }
        let mut written = 0;
        if length > 0 && self.used_up(length) {
            if self.version == Version::Tls12 {
                return Err(TlsError::new(Failure::Exhausted, "the keys have sealed as much as they may"));
            }
            written = self.renew_sending(out).map_err(|fatal| fatal.error)?;
        }
        let mut pieces = pieces.into_iter();
        let mut piece: &[u8] = &[];
        let mut left = length;
        while left > 0 {
            let contents = left.min(PLAINTEXT_MAX);
            while piece.is_empty() {
                piece = pieces.next().expect("the pieces have `length` bytes");
            }
            let out = &mut out[written..];
            written += if piece.len() >= contents {
                let (whole, rest) = piece.split_at(contents);
                piece = rest;
                self.send.seal(APPLICATION_DATA, whole, out)
            } else {
                let gather = |mut to: &mut [u8]| {
                    while !to.is_empty() {
                        while piece.is_empty() {
                            piece = pieces.next().expect("the pieces have `length` bytes");
                        }
                        let (part, rest) = piece.split_at(piece.len().min(to.len()));
                        let (here, after) = to.split_at_mut(part.len());
                        here.copy_from_slice(part);
                        (piece, to) = (rest, after);
                    }
                };
                self.send.seal_gathered(APPLICATION_DATA, contents, gather, out)
            };
            left -= contents;
        }
        Ok(written)
    }

    /// Adds close_notify, once.
    pub(crate) fn close(&mut self, out: &mut Vec<u8>) {
        if !self.closed {
            self.seal_alert(WARNING, CLOSE_NOTIFY, out);
        }
    }

    /// Adds a fatal alert; nothing is sent after it.
    pub(crate) fn alert(&mut self, description: u8, out: &mut Vec<u8>) {
        if !self.closed {
            self.seal_alert(FATAL, description, out);
        }
    }

    fn seal_alert(&mut self, level: u8, description: u8, out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + self.send.sealed_len(2), 0);
        self.send.seal(ALERT, &[level, description], &mut out[start..]);
        self.closed = true;
    }
}

fn internal(error: rustls::Error) -> Fatal {
    Fatal { alert: None, error: error.into() }
}

fn no_keys() -> Fatal {
    Fatal { alert: None, error: TlsError::new(Failure::Internal, "keys of a cipher that is not known") }
}

fn unopened(why: Unopened) -> Fatal {
    match why {
        Unopened::NoRecord => fatal(UNEXPECTED_MESSAGE, Failure::Protocol, "no TLS record"),
        Unopened::TooLong => fatal(RECORD_OVERFLOW, Failure::RecordOverflow, "record too long"),
        Unopened::Forged => fatal(BAD_RECORD_MAC, Failure::BadRecord, "decryption failed or bad record mac"),
        Unopened::Empty => fatal(UNEXPECTED_MESSAGE, Failure::Protocol, "a record without a content type"),
    }
}

#[cfg(test)]
mod tests;

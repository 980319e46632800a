//! What of a ClientHello is needed before rustls reads it: which certificate and which application protocol it will be.
//!
//! What cannot be read here is refused here: rustls, which reads more, would serve it under no name. What can be read is still rustls' to
//! judge. It borrows, and joins a message that came in several records.

use std::borrow::Cow;

use crate::record::{HANDSHAKE, HEADER, Unopened, handshake_record_len};
use crate::session::MESSAGE_RECORDS_MAX;
use crate::traffic::{DECODE_ERROR, ILLEGAL_PARAMETER, UNEXPECTED_MESSAGE};

/// A ClientHello is at most this long: those with post-quantum keys and a ticket have 4 KiB. It bounds what a connection that never
/// ends its ClientHello holds.
pub(crate) const HELLO_MAX: usize = 1 << 14;

const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const SIGNATURE_ALGORITHMS: u16 = 13;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;

/// The fields of a ClientHello (RFC 8446 §4.1.2) that a server chooses by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hello {
    /// The server name, lower case, if it is text.
    pub(crate) server_name: Option<String>,
    pub(crate) alpn: Vec<Vec<u8>>,
    pub(crate) signature_schemes: Vec<u16>,
    pub(crate) cipher_suites: Vec<u16>,
    pub(crate) tls13: bool,
}

/// What the bytes that came so far hold.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reading {
    /// With fewer than so many bytes there is nothing new to see.
    More(usize),
    Read(Hello),
}

/// Why there is no ClientHello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// Another record or message (RFC 8446 §5.1: or one that is interleaved).
    Other,
    TooLong,
    TooManyRecords,
    Malformed,
}

impl Unread {
    /// The alert (RFC 8446 §6.2), and in words.
    pub(crate) fn told(self) -> (u8, &'static str) {
        match self {
            Unread::Other => (UNEXPECTED_MESSAGE, "no ClientHello"),
            // As BoringSSL answers it.
            Unread::TooLong => (ILLEGAL_PARAMETER, "ClientHello too long"),
            Unread::TooManyRecords => (UNEXPECTED_MESSAGE, "handshake message in too many records"),
            Unread::Malformed => (DECODE_ERROR, "ClientHello malformed"),
        }
    }
}

/// Reads the ClientHello from the records at the front of `input`.
pub(crate) fn read(input: &[u8]) -> Result<Reading, Unread> {
    match message(input)? {
        Message::Partial(needed) => Ok(Reading::More(needed)),
        Message::Whole(message) => hello(&message).map(Reading::Read).ok_or(Unread::Malformed),
    }
}

enum Message<'a> {
    /// So many bytes hold the next record, or its header.
    Partial(usize),
    /// Its body.
    Whole(Cow<'a, [u8]>),
}

/// The first handshake message.
fn message(input: &[u8]) -> Result<Message<'_>, Unread> {
    let mut joined: Cow<'_, [u8]> = Cow::Borrowed(&[]);
    let mut at = 0;
    for _ in 0..MESSAGE_RECORDS_MAX {
        let length = handshake_record_len(&input[at..]).map_err(|unopened| match unopened {
            Unopened::TooLong => Unread::TooLong,
            _ => Unread::Other,
        })?;
        let Some(length) = length else { return Ok(Message::Partial(at + HEADER)) };
        if input[at] != HANDSHAKE {
            return Err(Unread::Other);
        }
        let Some(fragment) = input.get(at + HEADER..at + length) else { return Ok(Message::Partial(at + length)) };
        if fragment.is_empty() {
            // RFC 8446 §5.1: no fragments of zero length.
            return Err(Unread::Malformed);
        }
        if joined.is_empty() {
            joined = Cow::Borrowed(fragment);
        } else {
            joined.to_mut().extend_from_slice(fragment);
        }
        if let Some((head, body)) = joined.split_at_checked(4) {
            if head[0] != CLIENT_HELLO {
                return Err(Unread::Other);
            }
            let size = usize::from(head[1]) << 16 | usize::from(head[2]) << 8 | usize::from(head[3]);
            if size > HELLO_MAX {
                return Err(Unread::TooLong);
            }
            if body.len() >= size {
                return Ok(Message::Whole(match joined {
                    Cow::Borrowed(joined) => Cow::Borrowed(&joined[4..4 + size]),
                    Cow::Owned(joined) => Cow::Owned(joined[4..4 + size].to_vec()),
                }));
            }
        }
        at += length;
    }
    Err(Unread::TooManyRecords)
}

fn hello(body: &[u8]) -> Option<Hello> {
    let mut hello = Hello::default();
    let mut fields = Fields(body.get(2 + 32..)?);
    fields.short()?; // legacy_session_id
    hello.cipher_suites = numbers(fields.long()?)?;
    fields.short()?; // legacy_compression_methods
    if fields.0.is_empty() {
        return Some(hello);
    }
    let mut extensions = Fields(fields.long()?);
    while !extensions.0.is_empty() {
        let kind = extensions.number()?;
        let mut data = Fields(extensions.long()?);
        match kind {
            SERVER_NAME => {
                let mut list = Fields(data.long()?);
                let host_name = list.byte()? == 0;
                let name = std::str::from_utf8(list.long()?).ok();
                hello.server_name = name.filter(|_| host_name).map(str::to_ascii_lowercase);
            }
            SIGNATURE_ALGORITHMS => hello.signature_schemes = numbers(data.long()?)?,
            ALPN => {
                let mut list = Fields(data.long()?);
                while !list.0.is_empty() {
                    hello.alpn.push(list.short()?.to_vec());
                }
            }
            SUPPORTED_VERSIONS => hello.tls13 = numbers(data.short()?)?.contains(&0x0304),
            _ => {}
        }
    }
    Some(hello)
}

fn numbers(bytes: &[u8]) -> Option<Vec<u16>> {
    let numbers = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
    bytes.len().is_multiple_of(2).then_some(numbers)
}

/// Reads TLS's vectors from the front.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    fn number(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes([self.byte()?, self.byte()?]))
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn short(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(self.byte()?);
        self.take(length)
    }

    fn long(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(self.number()?);
        self.take(length)
    }
}

//! A WebSocket's opening handshake between two versions of HTTP. HTTP/1 has a key and what answers it (RFC 6455 §4); HTTP/2 has neither (RFC 8441 §5),
//! and its protocols are named by each side for itself.
//!
//! | client | upstream | |
//! |---|---|---|
//! | HTTP/2 | HTTP/1 | a key of ours goes up, another one with each try; what answers it is checked, and goes no further |
//! | HTTP/1 | HTTP/2 | the client's key goes no further, and what answers it comes from us |
//!
//! Between sides of one version it touches nothing. All of it is off the way of other requests.

use ringway_model::{UpstreamProtocol, UpstreamVersion};
use ringway_observe::ResponseFlag;
use ringway_protocols::websocket::{self, ACCEPT, ACCEPT_BYTES, KEY, KEY_BYTES};
use ringway_protocols::{Out, Request, Response};
use ringway_runtime::{Chunk, Core};

use crate::outbox::{Outbox, with_lines};
use crate::reply::Local;

/// What answers a key.
type Accept = [u8; ACCEPT_BYTES];

/// How far it has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Handshake {
    /// It is the two sides' own, or there is none.
    #[default]
    Passed,
    /// The upstream is to be asked with a key of ours.
    Due,
    /// It was, and has to answer this.
    Asked(Accept),
    /// The client's key stays here; this answers it.
    Kept(Accept),
}

/// The answer to a client whose key is missing, twice there, or none: it would take no answer of ours for one.
const BAD_KEY: Local<'static> =
    Local { status: 400, flag: Some(ResponseFlag::DPE), body: b"Bad Request", details: "websocket_key_invalid" };

impl Handshake {
    /// Of a request for a WebSocket that goes to a cluster which speaks this: what it is where the two sides turn out to differ.
    ///
    /// # Errors
    /// The answer to a client without a key that could be answered.
    #[cold]
    pub(crate) fn of(request: &Request<'_>, from_http2: bool, to: UpstreamProtocol) -> Result<Self, Local<'static>> {
        match (from_http2, to.version(from_http2)) {
            (true, UpstreamVersion::Http1 | UpstreamVersion::ByAlpn) => Ok(Self::Due),
            (false, UpstreamVersion::Http2 | UpstreamVersion::ByAlpn) => {
                let key = single(request.fields().map(|field| (field.name, field.value)), KEY);
                let key = key.filter(|key| websocket::is_key(key)).ok_or(BAD_KEY)?;
                Ok(Self::Kept(websocket::accept(key)))
            }
            (true, UpstreamVersion::Http2) | (false, UpstreamVersion::Http1) => Ok(Self::Passed),
        }
    }

    /// The request's head as it goes up this time, where that is not as it is. `nonce`: chance for a key.
    #[cold]
    pub(crate) fn request(&mut self, core: &Core, head: &Chunk, nonce: [u64; 2]) -> Option<Chunk> {
        let gone = &[KEY.as_bytes()];
        match self {
            Self::Passed => None,
            Self::Kept(_) => Some(with_lines(core, head, gone, b"")),
            Self::Due | Self::Asked(_) => {
                let mut bytes = [0; 16];
                bytes[..8].copy_from_slice(&nonce[0].to_ne_bytes());
                bytes[8..].copy_from_slice(&nonce[1].to_ne_bytes());
                let key = websocket::key(bytes);
                *self = Self::Asked(websocket::accept(&key));
                let mut line = Outbox::new(core, KEY_LINE.len() + KEY_BYTES + 2);
                [KEY_LINE, &key, b"\r\n"].into_iter().for_each(|part| line.put(part));
                Some(with_lines(core, head, gone, &line.finish()))
            }
        }
    }

    /// Whether a response that switches protocols is one to what was asked.
    #[cold]
    pub(crate) fn is_answered_by(&self, response: &Response<'_>) -> bool {
        match self {
            Self::Passed | Self::Kept(_) => true,
            Self::Due => false,
            Self::Asked(accept) => {
                response.upgrade().is_some_and(|kind| kind.eq_ignore_ascii_case(b"websocket"))
                    && single(response.fields().map(|field| (field.name, field.value)), ACCEPT) == Some(accept)
            }
        }
    }

    /// The head of a response that switches protocols as the client gets it.
    #[cold]
    pub(crate) fn response(&self, core: &Core, head: Chunk) -> Chunk {
        let gone = &[ACCEPT.as_bytes()];
        match self {
            Self::Passed | Self::Due => head,
            Self::Asked(_) => with_lines(core, &head, gone, b""),
            Self::Kept(accept) => {
                let mut line = Outbox::new(core, ACCEPT_LINE.len() + ACCEPT_BYTES + 2);
                [ACCEPT_LINE, accept, b"\r\n"].into_iter().for_each(|part| line.put(part));
                with_lines(core, &head, gone, &line.finish())
            }
        }
    }
}

/// Servers and clients were seen that compare names with regard to case.
const KEY_LINE: &[u8] = b"Sec-WebSocket-Key: ";
const ACCEPT_LINE: &[u8] = b"Sec-WebSocket-Accept: ";

/// The value of the one field of this name (RFC 6455 §11.3).
fn single<'f>(fields: impl Iterator<Item = (&'f [u8], &'f [u8])>, name: &str) -> Option<&'f [u8]> {
    let mut named = fields.filter(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes()));
    let (_, value) = named.next()?;
    named.next().is_none().then_some(value)
}

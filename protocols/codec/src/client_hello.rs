//! A TLS ClientHello, looked at without answering it: which name and which protocols it asks for (Envoy's `tls_inspector`).
//!
//! It never negotiates, consumes nothing and keeps nothing: the bytes are still there for whoever answers. What makes it a ClientHello is strict:
//! records of handshake bytes, one message that ends with its record, its fields, its extensions, the server name (RFC 8446 §4.1.2, §5.1; RFC 6066
//! §3). What whoever answers will judge, and tell the client, is left to them, as Envoy does: versions, ciphers, groups, and a list of
//! protocols that has not its form (RFC 7301 §3.1), which counts as none. A hello of SSL 2.0's form is no TLS.
//!
//! A server name is taken as BoringSSL takes it: one name of 1 to 255 bytes without a zero byte; whether it is a DNS name is not asked, so an
//! IP address, an underscore or a byte beyond ASCII passes, and matches what is configured to match it.
//!
//! Invariant: what is said of a part of the bytes is `NeedMore`, or what is said of all of them.

use crate::wire::Wire;

/// Bytes from the first record's header to the ClientHello's last byte, by default and at most: Envoy's `max_client_hello_size`. Hellos of
/// browsers with post-quantum shares come to 2 KiB. Worst case: a gathered block of this size for each connection that is being looked at.
pub const SIZE_MAX: usize = 16 * 1024;
/// Bytes of a server name (BoringSSL's `TLSEXT_MAXLEN_host_name`; a DNS name has 253 at most).
pub const SERVER_NAME_BYTES_MAX: usize = 255;

/// What the first bytes of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// The start of a ClientHello, or no byte yet.
    NeedMore,
    /// No TLS: plaintext, perhaps.
    NotTls(NotTls),
    /// A ClientHello that ends beyond the limit.
    TooLarge,
    /// A ClientHello.
    Hello(ClientHello<'a>),
}

/// What a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientHello<'a> {
    server_name: Option<&'a [u8]>,
    protocols: Protocols<'a>,
    version: Option<Version>,
    size: usize,
}

impl<'a> ClientHello<'a> {
    /// The server name as it was sent, in any case.
    #[must_use]
    pub fn server_name(&self) -> Option<&'a [u8]> {
        self.server_name
    }

    /// The server name in lower case, as Envoy compares and shows it.
    #[must_use]
    pub fn server_name_lowercase<'b>(&self, buffer: &'b mut [u8; SERVER_NAME_BYTES_MAX]) -> Option<&'b [u8]> {
        let name = self.server_name?;
        let lower = &mut buffer[..name.len()];
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        Some(lower)
    }

    /// The protocols of ALPN, in the client's order; none where it has no ALPN, or a malformed one.
    #[must_use]
    pub fn protocols(&self) -> Protocols<'a> {
        self.protocols
    }

    /// The highest version that it offers. `None`: none that anybody knows.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        self.version
    }

    /// Bytes to its end, records' headers included.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }
}

/// Names of protocols; none is empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Protocols<'a>(&'a [u8]);

impl<'a> Iterator for Protocols<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let mut rest = Wire(self.0);
        let name = rest.list_u8()?;
        self.0 = rest.0;
        Some(name.0)
    }
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// 1.0
    Tls10,
    /// 1.1
    Tls11,
    /// 1.2
    Tls12,
    /// 1.3
    Tls13,
}

impl Version {
    /// Of its number on the wire, if it is one of these.
    fn of(number: u16) -> Option<Self> {
        match number {
            0x0301 => Some(Self::Tls10),
            0x0302 => Some(Self::Tls11),
            0x0303 => Some(Self::Tls12),
            0x0304 => Some(Self::Tls13),
            _ => None,
        }
    }
}

/// Why bytes are no ClientHello.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NotTls {
    /// A record of another type, or no record.
    RecordType,
    /// A record of no version of TLS.
    RecordVersion,
    /// A record without content.
    RecordEmpty,
    /// A record of more than 2^14 bytes.
    RecordTooLong,
    /// Another handshake message.
    HandshakeType,
    /// Something follows the ClientHello within its record.
    RecordBoundary,
    /// A field ends beyond what holds it, or something follows the last.
    Form,
    /// An extension stands twice; of those that matter here and their like, with types below 64.
    ExtensionRepeated,
    /// `server_name` is not one host name.
    ServerName,
}

impl NotTls {
    /// The rule that is broken, in words.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::RecordType => "a connection begins with a handshake record (RFC 8446 §5.1)",
            Self::RecordVersion => "a record's version is 3.x (RFC 8446 §5.1)",
            Self::RecordEmpty => "a handshake record has content (RFC 8446 §5.1)",
            Self::RecordTooLong => "a record has at most 2^14 bytes (RFC 8446 §5.1)",
            Self::HandshakeType => "a connection begins with a ClientHello (RFC 8446 §4.1.2)",
            Self::RecordBoundary => "a ClientHello ends with its record (RFC 8446 §5.1)",
            Self::Form => "a ClientHello has the fields of its structure, and nothing behind them (RFC 8446 §4.1.2)",
            Self::ExtensionRepeated => "an extension stands once (RFC 8446 §4.2)",
            Self::ServerName => "server_name is one host name of 1 to 255 bytes (RFC 6066 §3)",
        }
    }
}

/// Looks at the first bytes of a connection. `size_max` is at most [`SIZE_MAX`]. A hello that lies in several records is put together in
/// `joined`, which nothing else is written to: a caller may keep one for all connections.
///
/// A call costs a few reads for each record that is there (2,700 at worst) and, once the hello is whole, a walk along it.
pub fn decode<'a>(bytes: &'a [u8], size_max: usize, joined: &'a mut Vec<u8>) -> Decoded<'a> {
    assert!(size_max <= SIZE_MAX, "a larger limit is a larger block");
    match gather(bytes, size_max, joined) {
        Ok(Gathered { message, size }) => match body(message) {
            Ok(hello) => Decoded::Hello(ClientHello { size, ..hello }),
            Err(why) => Decoded::NotTls(why),
        },
        Err(decoded) => decoded,
    }
}

const RECORD_HEADER_BYTES: usize = 5;
const RECORD_HANDSHAKE: u8 = 22;
const RECORD_BYTES_MAX: usize = 1 << 14;
const MESSAGE_HEADER_BYTES: usize = 4;
const MESSAGE_CLIENT_HELLO: u8 = 1;

/// A handshake message that has come whole.
struct Gathered<'a> {
    /// What follows its type and length.
    message: &'a [u8],
    /// Bytes to its end, records' headers included.
    size: usize,
}

/// Walks along the records; each check looks only at bytes before those of the next one.
fn gather<'a>(bytes: &'a [u8], size_max: usize, joined: &'a mut Vec<u8>) -> Result<Gathered<'a>, Decoded<'a>> {
    let mut at = 0;
    let mut header = [0; MESSAGE_HEADER_BYTES];
    let mut gathered = 0; // of the message, its header included
    loop {
        let content = at + RECORD_HEADER_BYTES;
        let len = record(&bytes[at..])?;
        let there = &bytes[content..bytes.len().min(content + len)];
        for (to, &from) in header.iter_mut().skip(gathered).zip(there) {
            *to = from;
        }
        let known = gathered + there.len();
        if known > 0 && header[0] != MESSAGE_CLIENT_HELLO {
            return Err(Decoded::NotTls(NotTls::HandshakeType));
        }
        if known >= MESSAGE_HEADER_BYTES {
            let [_, a, b, c] = header;
            let whole = MESSAGE_HEADER_BYTES + u32::from_be_bytes([0, a, b, c]) as usize;
            // Where it ends if this record has the rest of it; otherwise further on.
            let end = content + (whole - gathered);
            if end > size_max {
                return Err(Decoded::TooLarge);
            }
            if len > whole - gathered {
                return Err(Decoded::NotTls(NotTls::RecordBoundary));
            }
            if known >= whole {
                let message = if at == 0 {
                    &bytes[content + MESSAGE_HEADER_BYTES..end]
                } else {
                    join(bytes, whole, joined);
                    &joined[MESSAGE_HEADER_BYTES..]
                };
                return Ok(Gathered { message, size: end });
            }
        }
        if there.len() < len {
            return Err(Decoded::NeedMore);
        }
        gathered = known;
        at = content + len;
    }
}

/// The length of the content of the record whose header begins `bytes`; judged byte by byte, so that plaintext is known by its first one.
fn record<'a>(bytes: &[u8]) -> Result<usize, Decoded<'a>> {
    match bytes {
        [RECORD_HANDSHAKE, 3, _, a, b, ..] => match usize::from(u16::from_be_bytes([*a, *b])) {
            0 => Err(Decoded::NotTls(NotTls::RecordEmpty)),
            len if len > RECORD_BYTES_MAX => Err(Decoded::NotTls(NotTls::RecordTooLong)),
            len => Ok(len),
        },
        [] | [RECORD_HANDSHAKE] | [RECORD_HANDSHAKE, 3, ..] => Err(Decoded::NeedMore),
        [RECORD_HANDSHAKE, ..] => Err(Decoded::NotTls(NotTls::RecordVersion)),
        [_, ..] => Err(Decoded::NotTls(NotTls::RecordType)),
    }
}

/// Puts the first `whole` bytes of the records' contents together; they are there.
fn join(bytes: &[u8], whole: usize, joined: &mut Vec<u8>) {
    joined.clear();
    let mut at = 0;
    while joined.len() < whole {
        let len = usize::from(u16::from_be_bytes([bytes[at + 3], bytes[at + 4]]));
        let content = at + RECORD_HEADER_BYTES;
        joined.extend_from_slice(&bytes[content..content + len.min(whole - joined.len())]);
        at = content + len;
    }
}

const RANDOM_BYTES: usize = 32;
const SESSION_ID_BYTES_MAX: usize = 32;
const SERVER_NAME: u16 = 0;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;

/// The fields of a ClientHello. Its size is the caller's to say.
fn body(message: &[u8]) -> Result<ClientHello<'_>, NotTls> {
    let mut rest = Wire(message);
    let legacy = fixed_fields(&mut rest).ok_or(NotTls::Form)?;
    let (mut server_name, mut protocols) = (None, Protocols::default());
    // Without supported_versions the field is the highest, and nothing in it means TLS 1.3 (RFC 8446 §4.2.1).
    let mut version = Version::of(legacy.min(0x0303));
    // TLS 1.2 allows a hello that ends before the extensions (RFC 5246 §7.4.1.2).
    if !rest.is_empty() {
        let mut extensions = rest.list_u16().ok_or(NotTls::Form)?;
        if !rest.is_empty() {
            return Err(NotTls::Form);
        }
        let mut seen = 0_u64;
        while !extensions.is_empty() {
            let kind = extensions.u16().ok_or(NotTls::Form)?;
            let content = extensions.list_u16().ok_or(NotTls::Form)?;
            let bit = 1_u64.checked_shl(kind.into()).unwrap_or(0);
            if seen & bit != 0 {
                return Err(NotTls::ExtensionRepeated);
            }
            seen |= bit;
            match kind {
                SERVER_NAME => server_name = Some(host_name(content).ok_or(NotTls::ServerName)?),
                ALPN => protocols = protocol_names(content).unwrap_or_default(),
                SUPPORTED_VERSIONS => version = highest(content),
                _ => {}
            }
        }
    }
    Ok(ClientHello { server_name, protocols, version, size: 0 })
}

/// What stands before the extensions; gives `legacy_version`.
fn fixed_fields(rest: &mut Wire<'_>) -> Option<u16> {
    let legacy = rest.u16()?;
    rest.take(RANDOM_BYTES)?;
    let session = rest.list_u8()?;
    let ciphers = rest.list_u16()?;
    let compressions = rest.list_u8()?;
    let has_form = session.0.len() <= SESSION_ID_BYTES_MAX
        && !ciphers.is_empty()
        && ciphers.0.len().is_multiple_of(2)
        && !compressions.is_empty();
    has_form.then_some(legacy)
}

/// RFC 6066 §3: a list that in fact can only hold one name of the one type there is.
fn host_name(mut content: Wire<'_>) -> Option<&[u8]> {
    let mut list = content.list_u16()?;
    let kind = list.u8()?;
    let name = list.list_u16()?.0;
    let is_name = (1..=SERVER_NAME_BYTES_MAX).contains(&name.len()) && !name.contains(&0);
    (kind == 0 && is_name && list.is_empty() && content.is_empty()).then_some(name)
}

/// RFC 7301 §3.1
fn protocol_names(mut content: Wire<'_>) -> Option<Protocols<'_>> {
    let list = content.list_u16()?;
    let mut names = list;
    while !names.is_empty() {
        if names.list_u8()?.is_empty() {
            return None;
        }
    }
    (!list.is_empty() && content.is_empty()).then_some(Protocols(list.0))
}

/// RFC 8446 §4.2.1: numbers that nobody knows (GREASE, drafts) are passed over.
fn highest(mut content: Wire<'_>) -> Option<Version> {
    let list = content.list_u8()?.0;
    list.chunks_exact(2).filter_map(|pair| Version::of(u16::from_be_bytes([pair[0], pair[1]]))).max()
}

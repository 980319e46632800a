//! A decoded head as a table of offsets, and the views that read it: the same words for every HTTP version.
//!
//! It never copies a byte of the head and never decides anything: deciding is the decoders' work. Invariant: every range
//! in a table lies within the bytes that were decoded, so a view over those bytes (or a copy of them) cannot fail.
//!
//! Cost: 16 bytes a field; one table a core, reused for every head.

mod names;

use std::sync::atomic::{AtomicU64, Ordering};

use crate::limits::Limits;
pub use names::{Known, KnownSet};
pub(crate) use names::{is_for_all, is_for_heads_only};

/// The request methods that the proxy tells apart (RFC 9110 §9, RFC 5789).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Method {
    /// GET
    Get,
    /// HEAD
    Head,
    /// POST
    Post,
    /// PUT
    Put,
    /// DELETE
    Delete,
    /// CONNECT
    Connect,
    /// OPTIONS
    Options,
    /// TRACE
    Trace,
    /// PATCH
    Patch,
    /// Any other token; [`Request::method_str`] has it.
    Other,
}

impl Method {
    /// The method of a token; methods are case-sensitive (RFC 9110 §9.1).
    #[must_use]
    pub fn from_token(token: &[u8]) -> Self {
        match token {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"CONNECT" => Self::Connect,
            b"OPTIONS" => Self::Options,
            b"TRACE" => Self::Trace,
            b"PATCH" => Self::Patch,
            _ => Self::Other,
        }
    }

    /// Whether it is safe, RFC 9110 §9.2.1.
    #[must_use]
    pub const fn is_safe(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Options | Self::Trace)
    }

    /// Whether sending it again has the same effect, RFC 9110 §9.2.2.
    #[must_use]
    pub const fn is_idempotent(self) -> bool {
        self.is_safe() || matches!(self, Self::Put | Self::Delete)
    }
}

/// The version that a message came in. Whatever it was, its head stands as bytes in the form of HTTP/1.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// HTTP/1.0: no chunked coding, no 1xx, closes by default.
    Http10,
    /// HTTP/1.1
    Http11,
    /// HTTP/2: a stream for each request, so that the end of one says nothing of its connection's.
    Http2,
}

/// How the end of a message is found, RFC 9112 §6.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Framing {
    /// The head is the whole message.
    None,
    /// So many bytes of content follow.
    Length(u64),
    /// The chunked coding says it.
    Chunked,
    /// The connection's end is the message's end: responses alone.
    UntilClose,
}

/// Where a field lies in its head. 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Offset of the name, which is also where its line begins.
    pub name_start: u32,
    /// Bytes of the name.
    pub name_len: u16,
    /// Which name, of those that somebody acts on.
    pub known: Known,
    /// Whether `Connection` names it: it is for this hop alone (RFC 9110 §7.6.1).
    pub nominated: bool,
    /// Offset of the value, without leading whitespace.
    pub value_start: u32,
    /// Bytes of the value, without trailing whitespace.
    pub value_len: u32,
}

const _: () = assert!(size_of::<Field>() == 16);

/// A field as its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FieldRef<'a> {
    /// The name in the case it was received in.
    pub name: &'a [u8],
    /// The value without surrounding whitespace.
    pub value: &'a [u8],
    /// Which name, of those that somebody acts on.
    pub known: Known,
    /// Whether `Connection` names it.
    pub nominated: bool,
}

/// A range within the head; 32 bits suffice because of [`Limits::HEAD_BYTES_CAP`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Self {
        debug_assert!(start <= end && end <= Limits::HEAD_BYTES_CAP * 2);
        Self { start: start as u32, end: end as u32 }
    }

    fn of(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.start as usize..self.end as usize]
    }
}

/// Where `path` is taken from: absolute-form may leave it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    Span(Span),
    Root,
    Asterisk,
}

/// The authority that was found valid last: a core's clients name few, and most are short.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct KnownAuthority {
    len: u8,
    bytes: [u8; Self::BYTES_MAX],
}

impl KnownAuthority {
    const BYTES_MAX: usize = 32;

    pub(crate) fn is(&self, authority: &[u8]) -> bool {
        usize::from(self.len) == authority.len() && self.bytes.starts_with(authority)
    }

    /// Only for one that is valid.
    pub(crate) fn learn(&mut self, authority: &[u8]) {
        if let Some(bytes) = self.bytes.get_mut(..authority.len()) {
            bytes.copy_from_slice(authority);
            self.len = authority.len() as u8;
        }
    }
}

/// The number of a head that comes again and again: no other head has it, in the life of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadId(u64);

impl HeadId {
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Empty,
    Request,
    Response,
}

/// Reusable storage for one decoded head, allocated once: one a core for heads that are handled at once, one in each
/// [`crate::Head`] that waits.
#[derive(Debug, Clone)]
pub struct HeadTable {
    pub(crate) fields: Vec<Field>,
    pub(crate) headers_max: u32,
    pub(crate) kind: Kind,
    pub(crate) version: Version,
    pub(crate) method: Method,
    pub(crate) keep_alive: bool,
    pub(crate) expect_continue: bool,
    pub(crate) te_trailers: bool,
    /// Some field is never to be put into a table of HPACK (RFC 7541 §7.1.3), and our encoder would not know it by its name.
    pub(crate) never_indexed: bool,
    /// A request of HTTP/2 whose `:scheme` is https.
    pub(crate) is_https: bool,
    /// A response whose `Content-Length` describes what a GET would have given: to HEAD, and 304.
    pub(crate) length_is_of_get: bool,
    pub(crate) status: u16,
    pub(crate) glitches: u32,
    /// One bit for each `Known` that occurs: answers most look-ups without a walk.
    pub(crate) seen: u32,
    pub(crate) upgrade: Option<u16>,
    pub(crate) method_span: Span,
    pub(crate) target: Span,
    pub(crate) authority: Span,
    /// Outlives the head.
    pub(crate) known_authority: KnownAuthority,
    pub(crate) reason: Span,
    pub(crate) path: Path,
    pub(crate) framing: Framing,
    pub(crate) content_length: Option<u64>,
    /// Offset after the empty line: the bytes consumed.
    pub(crate) end: u32,
    /// Of a head that comes again: where this is the same, all that is in the table is.
    pub(crate) id: Option<HeadId>,
}

impl HeadTable {
    /// Room for `headers_max` fields (at most [`Limits::HEADERS_CAP`]); the only allocation of its life.
    #[must_use]
    pub fn new(headers_max: usize) -> Self {
        let headers_max = headers_max.min(Limits::HEADERS_CAP);
        Self {
            fields: Vec::with_capacity(headers_max),
            headers_max: headers_max as u32,
            kind: Kind::Empty,
            version: Version::Http11,
            method: Method::Other,
            keep_alive: false,
            expect_continue: false,
            te_trailers: false,
            never_indexed: false,
            is_https: false,
            length_is_of_get: false,
            status: 0,
            glitches: 0,
            seen: 0,
            upgrade: None,
            method_span: Span::default(),
            target: Span::default(),
            authority: Span::default(),
            known_authority: KnownAuthority::default(),
            reason: Span::default(),
            path: Path::Root,
            framing: Framing::None,
            content_length: None,
            end: 0,
            id: None,
        }
    }

    /// Forgets the head and keeps the storage.
    pub(crate) fn clear(&mut self) {
        self.fields.clear();
        self.kind = Kind::Empty;
        self.keep_alive = false;
        self.expect_continue = false;
        self.te_trailers = false;
        self.never_indexed = false;
        self.is_https = false;
        self.length_is_of_get = false;
        self.status = 0;
        self.glitches = 0;
        self.seen = 0;
        self.upgrade = None;
        self.method_span = Span::default();
        self.target = Span::default();
        self.authority = Span::default();
        self.reason = Span::default();
        self.path = Path::Root;
        self.framing = Framing::None;
        self.content_length = None;
        self.end = 0;
        self.id = None;
    }

    /// What was read just now is the head with this number, or one without.
    pub fn know_as(&mut self, id: Option<HeadId>) {
        self.id = id;
    }

    /// Whether it has room for as many fields as [`HeadTable::new`] with this number.
    #[must_use]
    pub fn has_room(&self, headers_max: usize) -> bool {
        self.headers_max as usize >= headers_max.min(Limits::HEADERS_CAP)
    }

    /// Whether it may hold as many fields as the other has.
    #[inline]
    pub(crate) fn has_room_for(&self, other: &Self) -> bool {
        other.fields.len() <= self.headers_max as usize
    }

    /// Takes the other's head over. What outlives a head is its own.
    pub(crate) fn copy_from(&mut self, other: &Self) {
        self.fields.clear();
        self.fields.extend_from_slice(&other.fields);
        let Self { kind, version, method, keep_alive, expect_continue, te_trailers, .. } = *other;
        let Self { never_indexed, is_https, length_is_of_get, status, glitches, seen, .. } = *other;
        let Self { upgrade, method_span, target, authority, reason, path, .. } = *other;
        let Self { framing, content_length, end, id, fields: _, headers_max: _, known_authority: _, .. } = *other;
        (self.kind, self.version, self.method) = (kind, version, method);
        (self.keep_alive, self.expect_continue, self.te_trailers) = (keep_alive, expect_continue, te_trailers);
        (self.never_indexed, self.is_https, self.length_is_of_get) = (never_indexed, is_https, length_is_of_get);
        (self.status, self.glitches, self.seen, self.upgrade) = (status, glitches, seen, upgrade);
        (self.method_span, self.target, self.authority) = (method_span, target, authority);
        (self.reason, self.path, self.framing) = (reason, path, framing);
        (self.content_length, self.end, self.id) = (content_length, end, id);
    }

    /// Bytes of the head that was decoded, from the first byte given to the decoder to the end of the empty line; 0 when
    /// there is none.
    #[must_use]
    pub fn head_len(&self) -> usize {
        self.end as usize
    }

    /// The fields' offsets, in order.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// A view of the decoded request over `bytes`: those that were decoded, or a copy of them. Panics when the last head
    /// decoded was not a request or `bytes` is shorter than it.
    #[must_use]
    pub fn request<'a>(&'a self, bytes: &'a [u8]) -> Request<'a> {
        assert!(self.kind == Kind::Request, "the table holds no request");
        Request { bytes: &bytes[..self.end as usize], table: self, path: None, authority: None }
    }

    /// A view of the decoded response over `bytes`; as [`HeadTable::request`].
    #[must_use]
    pub fn response<'a>(&'a self, bytes: &'a [u8]) -> Response<'a> {
        assert!(self.kind == Kind::Response, "the table holds no response");
        Response { bytes: &bytes[..self.end as usize], table: self }
    }

    /// Hides the fields whose names `is` says: nobody finds them, and they are not sent on. How many there were. Not for fields that
    /// frame the message, of which the table says more than the fields do.
    pub fn hide(&mut self, bytes: &[u8], mut is: impl FnMut(&[u8]) -> bool) -> usize {
        let mut count = 0;
        for field in &mut self.fields {
            let start = field.name_start as usize;
            if field.name_len > 0 && is(&bytes[start..start + field.name_len as usize]) {
                debug_assert!(!matches!(field.known, Known::Host | Known::ContentLength | Known::TransferEncoding));
                (field.name_len, field.known, field.nominated) = (0, Known::Other, true);
                count += 1;
                self.id = None;
            }
        }
        count
    }

    pub(crate) fn field_ref<'a>(&'a self, bytes: &'a [u8], field: &Field) -> FieldRef<'a> {
        let name = field.name_start as usize;
        let value = field.value_start as usize;
        FieldRef {
            name: &bytes[name..name + field.name_len as usize],
            value: &bytes[value..value + field.value_len as usize],
            known: field.known,
            nominated: field.nominated,
        }
    }

    fn find<'a>(&'a self, bytes: &'a [u8], known: Known) -> Option<&'a [u8]> {
        debug_assert!(known != Known::Other, "look up unknown names by their bytes");
        if self.seen & known.bit() == 0 {
            return None;
        }
        let field = self.fields.iter().find(|field| field.known == known)?;
        Some(self.field_ref(bytes, field).value)
    }
}

/// Whether two names of fields are the same but for case. Names of one length mostly differ at their ends.
#[inline]
#[must_use]
pub fn is_same_name(name: &[u8], other: &[u8]) -> bool {
    /// What tells letters' cases apart.
    const CASE: u8 = 0x20;
    let is_end_same = || name.last().map(|byte| byte | CASE) == other.last().map(|byte| byte | CASE);
    name.len() == other.len() && is_end_same() && name.eq_ignore_ascii_case(other)
}

/// What both views answer alike.
macro_rules! view {
    ($view:ident) => {
        impl<'a> $view<'a> {
            /// All fields, in order.
            pub fn fields(&self) -> impl Iterator<Item = FieldRef<'a>> + Clone + use<'a> {
                let (bytes, table) = (self.bytes, self.table);
                table.fields.iter().map(move |field| table.field_ref(bytes, field))
            }

            /// The value of the first field of this name. Not for `Known::Other`.
            #[must_use]
            pub fn field(&self, known: Known) -> Option<&'a [u8]> {
                self.table.find(self.bytes, known)
            }

            /// The values of all fields of this name, in order. Not for `Known::Other`.
            pub fn fields_of(&self, known: Known) -> impl DoubleEndedIterator<Item = &'a [u8]> + Clone + use<'a> {
                let (bytes, table) = (self.bytes, self.table);
                let fields = table.fields.iter().filter(move |field| field.known == known);
                fields.map(move |field| table.field_ref(bytes, field).value)
            }

            /// Whether there is a field of this name. Not for `Known::Other`.
            #[inline]
            #[must_use]
            pub fn has(&self, known: Known) -> bool {
                self.table.seen & known.bit() != 0
            }

            /// The value of the first field of this name, compared without case.
            #[must_use]
            pub fn field_named(&self, name: &[u8]) -> Option<&'a [u8]> {
                self.fields().find(|field| is_same_name(field.name, name)).map(|field| field.value)
            }

            /// The options of all `Connection` fields: they bind a trailer section too (RFC 9110 §7.6.1), see
            /// [`crate::http1::encode_trailers`].
            pub fn connection_options(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
                self.fields()
                    .filter(|field| field.known == Known::Connection)
                    .flat_map(|field| crate::chars::list(field.value))
            }

            /// The head's bytes, the empty line included.
            #[must_use]
            pub fn bytes(&self) -> &'a [u8] {
                self.bytes
            }

            /// The table behind this view, to be cloned when the head has to wait.
            #[must_use]
            pub fn table(&self) -> &'a HeadTable {
                self.table
            }

            /// The version that the message came in.
            #[must_use]
            pub fn version(&self) -> Version {
                self.table.version
            }

            /// How the end of this message is found.
            #[must_use]
            pub fn framing(&self) -> Framing {
                self.table.framing
            }

            /// Whether the connection persists after this message, RFC 9112 §9.3.
            #[must_use]
            pub fn keep_alive(&self) -> bool {
                self.table.keep_alive
            }

            /// The legal but odd events met in this head, to be added to the connection's.
            #[must_use]
            pub fn glitches(&self) -> u32 {
                self.table.glitches
            }

            /// Whether the sender wants a field of it kept out of every table of HPACK, here and further on (RFC 7541 §7.1.3), that is
            /// not one of those that our encoder keeps out anyway. HTTP/2 alone.
            #[must_use]
            pub fn never_indexed(&self) -> bool {
                self.table.never_indexed
            }

            /// The value of `Upgrade`, when `Connection` names it and the version has it (RFC 9110 §7.8).
            #[must_use]
            pub fn upgrade(&self) -> Option<&'a [u8]> {
                let index = self.table.upgrade?;
                Some(self.table.field_ref(self.bytes, &self.table.fields[usize::from(index)]).value)
            }
        }
    };
}

/// A request's head.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) table: &'a HeadTable,
    /// In the place of what was received.
    pub(crate) path: Option<&'a [u8]>,
    pub(crate) authority: Option<&'a [u8]>,
}

view!(Request);

impl<'a> Request<'a> {
    /// The method.
    #[must_use]
    pub fn method(&self) -> Method {
        self.table.method
    }

    /// Its number, where it comes again and again as it is.
    #[inline]
    #[must_use]
    pub fn id(&self) -> Option<HeadId> {
        self.table.id.filter(|_| self.path.is_none() && self.authority.is_none())
    }

    /// The method as received.
    #[must_use]
    pub fn method_str(&self) -> &'a [u8] {
        self.table.method_span.of(self.bytes)
    }

    /// Whether `:scheme` is https, in HTTP/2. HTTP/1 has that in its target, if anywhere.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.table.is_https
    }

    /// The request target as received.
    #[must_use]
    pub fn target(&self) -> &'a [u8] {
        self.table.target.of(self.bytes)
    }

    /// Path and query: of absolute-form their part, `/` when it has none; `*` stays, and stands for an absolute-form
    /// OPTIONS without a path (RFC 9112 §3.2.4); empty for CONNECT.
    #[must_use]
    pub fn path(&self) -> &'a [u8] {
        if let Some(path) = self.path {
            return path;
        }
        match self.table.path {
            Path::Span(span) => span.of(self.bytes),
            Path::Root => b"/",
            Path::Asterisk => b"*",
        }
    }

    /// Host and port: the target's when it has them, else the Host field's (RFC 9112 §3.2.2, §3.3); empty for an HTTP/1.0
    /// request without either.
    #[must_use]
    pub fn authority(&self) -> &'a [u8] {
        self.authority.unwrap_or_else(|| self.table.authority.of(self.bytes))
    }

    /// The same request for another path and query. It must be clean ([`crate::http1::is_path`]): asserted when it is sent on.
    #[must_use]
    pub fn with_path(self, path: &'a [u8]) -> Self {
        Self { path: Some(path), ..self }
    }

    /// The same request for another host and port. They must be clean ([`crate::http1::is_authority`]): asserted when it is sent on.
    #[must_use]
    pub fn with_authority(self, authority: &'a [u8]) -> Self {
        Self { authority: Some(authority), ..self }
    }

    /// Whether the client waits for `100 (Continue)`, RFC 9110 §10.1.1.
    #[must_use]
    pub fn expect_continue(&self) -> bool {
        self.table.expect_continue
    }

    /// Whether the client takes trailers, RFC 9110 §10.1.4.
    #[must_use]
    pub fn te_trailers(&self) -> bool {
        self.table.te_trailers
    }
}

/// A response's head.
#[derive(Debug, Clone, Copy)]
pub struct Response<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) table: &'a HeadTable,
}

view!(Response);

impl<'a> Response<'a> {
    /// The status code, 100 to 999.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.table.status
    }

    /// Its number, where it comes again and again.
    #[inline]
    #[must_use]
    pub fn id(&self) -> Option<HeadId> {
        self.table.id
    }

    /// The reason phrase as received; may be empty.
    #[must_use]
    pub fn reason(&self) -> &'a [u8] {
        self.table.reason.of(self.bytes)
    }

    /// Whether this is 1xx: another head of the same response follows (101 aside).
    #[must_use]
    pub fn is_interim(&self) -> bool {
        self.table.status < 200
    }

    /// The received `Content-Length`, also where it does not frame this message (responses to HEAD, and 304).
    #[must_use]
    pub fn content_length(&self) -> Option<u64> {
        self.table.content_length
    }
}

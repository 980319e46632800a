//! Heads as bytes: what was received without what was for one hop, framed by us, with the configured edits.
//!
//! It never decides framing (that comes in), and copies a framing field only when it is what would be written. Fields that
//! stay are appended in runs, as they lie, so that order and case are kept and a usual head costs a handful of copies.
//! Invariant: one framing field at most, one Host in a request, nothing that a peer could have nominated away or smuggled in.

use super::authority::is_valid as is_authority;
use super::{is_field, is_path};
use crate::chars::list;
use crate::head::{Field, Framing, HeadTable, Known, KnownSet, Path, Request, Response, Version};
use crate::out::Out;
use memchr::memchr;
use std::ops::Range;

/// After the data of a chunk.
pub const CHUNK_END: &[u8] = b"\r\n";
/// The end of a chunked body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
/// The most bytes that framing, `Connection`, `TE` and `Host` add to a head beside the values counted apart.
const ADDED_BYTES_MAX: usize = 192;

/// What configuration changes in a head. Names and values of `add`, and the overrides, come from us: they must be clean, and the
/// encoders assert it.
#[derive(Debug, Clone, Copy, Default)]
pub struct HeadEdit<'e> {
    /// Names (any case) of fields that are left out.
    pub remove: &'e [&'e [u8]],
    /// Known names of fields that are left out.
    pub drop: KnownSet,
    /// Fields that are added at the end. Never framing fields or Host.
    pub add: &'e [(&'e [u8], &'e [u8])],
    /// More names (any case) of fields that are left out, each ended by a line feed: for who collects them in one buffer.
    pub removed: &'e [u8],
    /// More fields that are added, as whole lines: written by [`put_field`], or ours to the last byte.
    pub lines: &'e [u8],
    /// What Host says instead of the received authority. Requests alone.
    pub authority: Option<&'e [u8]>,
    /// The path and query instead of the received ones. Requests alone.
    pub path: Option<&'e [u8]>,
    /// Whether `Upgrade` travels on, nominated by `Connection` as it must be (RFC 9110 §7.8).
    pub upgrade: bool,
    /// Whether the head is for HTTP/1.0, which has to be told that its connection persists (RFC 9112 §9.3). Responses alone.
    pub http10: bool,
}

impl HeadEdit<'_> {
    fn size(&self) -> usize {
        let added: usize = self.add.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
        added + self.lines.len() + self.authority.map_or(0, <[u8]>::len) + self.path.map_or(0, <[u8]>::len)
    }

    fn removes_none(&self) -> bool {
        self.remove.is_empty() && self.removed.is_empty()
    }

    fn removes(&self, name: &[u8]) -> bool {
        self.remove.iter().any(|removed| removed.eq_ignore_ascii_case(name))
            || self.removed.split(|&byte| byte == b'\n').any(|removed| removed.eq_ignore_ascii_case(name))
    }
}

/// Bytes that [`encode_request`] writes at most.
#[must_use]
pub fn request_head_size(request: &Request<'_>, edit: &HeadEdit<'_>) -> usize {
    let instead = request.path.map_or(0, <[u8]>::len) + request.authority.map_or(0, <[u8]>::len);
    request.bytes.len() + instead + edit.size() + ADDED_BYTES_MAX
}

/// Writes a request head for an origin: origin-form target, Host first (RFC 9110 §7.2), HTTP/1.1. `framing` is that of the body
/// as it will be sent; `UntilClose` is not one (asserted).
pub fn encode_request(request: &Request<'_>, framing: Framing, edit: &HeadEdit<'_>, out: &mut impl Out) {
    assert!(framing != Framing::UntilClose, "a request cannot last until close (RFC 9112 §6.3)");
    let path = edit.path.unwrap_or_else(|| request.path());
    let authority = edit.authority.unwrap_or_else(|| request.authority());
    let instead = (edit.path.or(request.path), edit.authority.or(request.authority));
    assert!(instead.0.is_none_or(is_path) && instead.1.is_none_or(is_authority), "unclean override");
    let (table, bytes) = (request.table, request.bytes);
    let is_as_received = instead.0.is_none() && table.path == Path::Span(table.target);
    if is_as_received {
        // Method, space and path lie together.
        out.put(&bytes[table.method_span.start as usize..table.target.end as usize]);
    } else {
        out.put(request.method_str());
        out.put(b" ");
        // CONNECT has no path: its target is the authority.
        out.put(if path.is_empty() { authority } else { path });
    }
    out.put(b" HTTP/1.1\r\nHost: ");
    out.put(authority);
    out.put(b"\r\n");
    let framed = put_kept_fields(bytes, table, false, framing, edit, out);
    if request.te_trailers() {
        // RFC 9110 §10.1.4: whoever sends TE nominates it.
        out.put(b"TE: trailers\r\nConnection: TE\r\n");
    }
    if edit.upgrade {
        put_upgrade(bytes, table, request.upgrade(), true, out);
    }
    if !framed {
        put_framing(framing, out);
    }
    put_added_fields(edit, out);
    out.put(b"\r\n");
}

/// Bytes that [`encode_response`] writes at most.
#[must_use]
pub fn response_head_size(response: &Response<'_>, edit: &HeadEdit<'_>) -> usize {
    response.bytes.len() + edit.size() + ADDED_BYTES_MAX
}

/// Writes a response head for a client, as HTTP/1.1 (RFC 9110 §2.5). `framing` is that of the body as it will be sent;
/// `UntilClose` needs `close` (asserted). 1xx and 204 get no framing field (RFC 9110 §8.6, RFC 9112 §6.1); an answer to HEAD, and 304,
/// keep the received Content-Length.
pub fn encode_response(
    response: &Response<'_>,
    framing: Framing,
    close: bool,
    edit: &HeadEdit<'_>,
    out: &mut impl Out,
) {
    assert!(framing != Framing::UntilClose || close, "a body until close needs the close");
    let (table, bytes) = (response.table, response.bytes);
    let status = response.status();
    let framing = match framing {
        Framing::None if table.length_is_of_get => table.content_length.map_or(Framing::None, Framing::Length),
        _ if status < 200 || status == 204 => Framing::None,
        framing => framing,
    };
    // The line as received is the line to send, unless the version differs or the space before the phrase is missing.
    let is_as_received = table.version != Version::Http10 && table.glitches == 0 && !edit.http10;
    if !is_as_received {
        out.put(if edit.http10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
        out.put(&status_digits(status));
        out.put(b" ");
        out.put(response.reason());
        out.put(b"\r\n");
    }
    let framed = put_kept_fields(bytes, table, is_as_received, framing, edit, out);
    if !framed {
        put_framing(framing, out);
    }
    if close {
        out.put(b"Connection: close\r\n");
    } else if edit.http10 {
        out.put(b"Connection: keep-alive\r\n");
    }
    if edit.upgrade {
        put_upgrade(bytes, table, response.upgrade(), !close, out);
    }
    put_added_fields(edit, out);
    out.put(b"\r\n");
}

/// Our own Connection and Upgrade, in the words in which they came: servers were seen that compare them with regard to case. Of
/// the options only those that say nothing of other fields, which are for this hop; `persists`: `keep-alive` may be among them.
#[cold]
fn put_upgrade(bytes: &[u8], table: &HeadTable, protocols: Option<&[u8]>, persists: bool, out: &mut impl Out) {
    let Some(protocols) = protocols else { return };
    let lines = table.fields.iter().filter(|field| field.known == Known::Connection);
    let options = lines.flat_map(|field| list(table.field_ref(bytes, field).value));
    let is_kept = |option: &&[u8]| {
        option.eq_ignore_ascii_case(b"upgrade") || persists && option.eq_ignore_ascii_case(b"keep-alive")
    };
    for (at, option) in options.filter(is_kept).enumerate() {
        out.put(if at == 0 { b"Connection: " } else { b", " });
        out.put(option);
    }
    out.put(b"\r\nUpgrade: ");
    out.put(protocols);
    out.put(b"\r\n");
}

/// Appends the received fields that travel on, in runs, and `with_line` the start line before them as it lies. True when the
/// framing field was among them: a Content-Length that says what is wanted, written as we would write it.
fn put_kept_fields(
    bytes: &[u8],
    table: &HeadTable,
    with_line: bool,
    framing: Framing,
    edit: &HeadEdit<'_>,
    out: &mut impl Out,
) -> bool {
    let is_request = table.status == 0;
    let fields_end = table.head_len() - 2;
    // Looked at once, so that a field costs a test of one bit.
    let mut left_out = edit.drop.union(KnownSet::OF_THE_HOP);
    if is_request {
        // Generated, first.
        left_out = left_out.with(Known::Host);
        // RFC 9110 §10.1.1: ignored in HTTP/1.0; sent on as HTTP/1.1 it would begin to mean something.
        if table.version == Version::Http10 {
            left_out = left_out.with(Known::Expect);
        }
    }
    // The trailers that it announces follow only in a chunked body; an answer to HEAD says what a GET would have had.
    if (framing == Framing::Chunked || table.length_is_of_get) && !edit.drop.contains(Known::Trailer) {
        left_out = left_out.without(Known::Trailer);
    }
    let removes_none = edit.removes_none();
    let looked_at = left_out.with(Known::ContentLength);
    let mut framed = false;
    // What is kept lies in runs: only a field that is left out ends one.
    let line_start = |at: usize| table.fields.get(at).map_or(fields_end, |field: &Field| field.name_start as usize);
    let mut run_start = if with_line { 0 } else { line_start(0) };
    for (at, field) in table.fields.iter().enumerate() {
        if removes_none && !looked_at.contains(field.known) && !field.nominated {
            continue;
        }
        let mut kept = !left_out.contains(field.known) && !field.nominated;
        if field.known == Known::ContentLength {
            kept = is_plain_length(bytes, field, line_start(at + 1), table.content_length, framing)
                && !edit.drop.contains(Known::ContentLength);
        }
        if kept && (removes_none || !edit.removes(table.field_ref(bytes, field).name)) {
            framed |= field.known == Known::ContentLength;
            continue;
        }
        put_run(bytes, run_start..field.name_start as usize, out);
        run_start = line_start(at + 1);
    }
    put_run(bytes, run_start..fields_end, out);
    framed
}

fn put_run(bytes: &[u8], run: Range<usize>, out: &mut impl Out) {
    if !run.is_empty() {
        out.put(&bytes[run]);
    }
}

/// Whether a Content-Length line says `framing` and is, but for case, what we would write: one space, no leading zero, nothing
/// after the digits.
fn is_plain_length(bytes: &[u8], field: &Field, line_end: usize, length: Option<u64>, framing: Framing) -> bool {
    let value = field.value_start as usize;
    let colon = field.name_start as usize + usize::from(field.name_len);
    length.map(Framing::Length) == Some(framing)
        && bytes[colon..value] == *b": "
        && value + field.value_len as usize + 2 == line_end
        && (bytes[value] != b'0' || field.value_len == 1)
}

fn put_framing(framing: Framing, out: &mut impl Out) {
    match framing {
        Framing::None | Framing::UntilClose => {}
        Framing::Chunked => out.put(b"Transfer-Encoding: chunked\r\n"),
        Framing::Length(length) => {
            out.put(b"Content-Length: ");
            put_number(length, out);
            out.put(b"\r\n");
        }
    }
}

fn put_added_fields(edit: &HeadEdit<'_>, out: &mut impl Out) {
    debug_assert!(edit.lines.is_empty() || edit.lines.ends_with(b"\r\n"), "whole lines");
    for (name, value) in edit.add {
        put_field(name, value, out);
    }
    out.put(edit.lines);
}

/// Writes a field line, for [`HeadEdit::lines`] and its like. Name and value must be clean ([`super::is_field`]): asserted in release
/// too, since a wrong byte here would be a message of an attacker's making.
pub fn put_field(name: &[u8], value: &[u8], out: &mut impl Out) {
    assert!(is_field(name, value), "unclean added field");
    debug_assert!(
        !matches!(Known::from_name(name), Known::Host | Known::ContentLength | Known::TransferEncoding),
        "framing and Host are generated"
    );
    out.put(name);
    out.put(b": ");
    out.put(value);
    out.put(b"\r\n");
}

/// Bytes that [`encode_local_reply`] writes at most.
#[must_use]
pub fn local_reply_size(content_type: Option<&[u8]>, extra: &[(&[u8], &[u8])], date: &[u8]) -> usize {
    let extra: usize = extra.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    extra + content_type.map_or(0, <[u8]>::len) + date.len() + ADDED_BYTES_MAX
}

/// Writes the head of a reply of the proxy's own, for a client of this version: `status` is final (200 to 599); `body_len` bytes of content follow (unless
/// the request was HEAD); `close` says that the connection ends with it; `extra` are clean fields (asserted), and `lines` more
/// of them, written by [`put_field`] (their bytes come on top of [`local_reply_size`]); `date` is an
/// IMF-fixdate (RFC 9110 §5.6.7), which comes in because the codec has no clock.
#[expect(clippy::too_many_arguments, reason = "all that a reply is; it has one caller")]
pub fn encode_local_reply(
    version: Version,
    status: u16,
    content_type: Option<&[u8]>,
    body_len: usize,
    close: bool,
    extra: &[(&[u8], &[u8])],
    lines: &[u8],
    date: &[u8],
    out: &mut impl Out,
) {
    assert!((200..600).contains(&status), "a local reply is final");
    out.put(if version == Version::Http10 { b"HTTP/1.0 " } else { b"HTTP/1.1 " });
    out.put(&status_digits(status));
    out.put(b" ");
    out.put(reason(status).as_bytes());
    out.put(b"\r\n");
    // HTTP/2 needs no word for nothing: its stream ends at the head.
    if !matches!(status, 204 | 304) && (body_len > 0 || version != Version::Http2) {
        put_framing(Framing::Length(body_len as u64), out);
    }
    if let Some(content_type) = content_type {
        put_field(b"Content-Type", content_type, out);
    }
    put_field(b"Date", date, out);
    for (name, value) in extra {
        put_field(name, value, out);
    }
    out.put(lines);
    if close {
        out.put(b"Connection: close\r\n");
    } else if version == Version::Http10 {
        out.put(b"Connection: keep-alive\r\n");
    }
    out.put(b"\r\n");
}

/// Writes the names of a head's fields in the words' proper case (`Content-Type`), in place: a letter that no letter or digit stands
/// before is large, any other is small. What comes after the head stays as it is.
pub fn proper_case(head: &mut [u8]) {
    let Some(mut at) = memchr(b'\n', head).map(|end| end + 1) else { return };
    while head.get(at).is_some_and(|&first| first != b'\r') {
        let mut starts = true;
        while let Some(byte) = head.get_mut(at).filter(|byte| **byte != b':') {
            *byte = if starts { byte.to_ascii_uppercase() } else { byte.to_ascii_lowercase() };
            starts = !byte.is_ascii_alphanumeric();
            at += 1;
        }
        let Some(end) = memchr(b'\n', &head[at..]) else { return };
        at += end + 1;
    }
}

/// Writes the names of a head's fields, in place, as the first of `received` that is the same name spells it; those that are none of
/// them in proper case or in lower case. What comes after the head stays as it is.
pub fn preserve_case<'n>(head: &mut [u8], received: impl Iterator<Item = &'n [u8]> + Clone, proper: bool) {
    if proper {
        proper_case(head);
    }
    let Some(mut at) = memchr(b'\n', head).map(|end| end + 1) else { return };
    while head.get(at).is_some_and(|&first| first != b'\r') {
        let Some(end) = memchr(b':', &head[at..]).map(|len| at + len) else { return };
        let name = &mut head[at..end];
        match received.clone().find(|received| received.eq_ignore_ascii_case(name)) {
            Some(spelled) => name.copy_from_slice(spelled),
            None if !proper => name.make_ascii_lowercase(),
            None => {}
        }
        let Some(next) = memchr(b'\n', &head[end..]) else { return };
        at = end + next + 1;
    }
}

/// The line before `len` bytes of chunk data; [`CHUNK_END`] goes after them. `len` 0 would end the body: asserted.
#[must_use]
pub fn chunk_header(len: usize, buf: &mut [u8; 18]) -> &[u8] {
    assert!(len > 0, "an empty chunk is the last one");
    let mut left = len;
    let mut at = 16;
    while left > 0 {
        at -= 1;
        buf[at] = b"0123456789abcdef"[left & 15];
        left >>= 4;
    }
    buf[16] = b'\r';
    buf[17] = b'\n';
    &buf[at..]
}

/// Puts a number in decimal.
pub fn put_number(mut number: u64, out: &mut impl Out) {
    if number < 10 {
        return out.put(&[b'0' + number as u8]);
    }
    let mut digits = [0u8; 20]; // u64::MAX has 20
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.put(&digits[at..]);
}

fn status_digits(status: u16) -> [u8; 3] {
    assert!((100..1000).contains(&status), "three digits");
    [b'0' + (status / 100) as u8, b'0' + (status / 10 % 10) as u8, b'0' + (status % 10) as u8]
}

/// The reason phrase of a status code (RFC 9110 §15; IANA's registry), empty when there is none.
#[must_use]
pub fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        425 => "Too Early",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        508 => "Loop Detected",
        _ => "",
    }
}

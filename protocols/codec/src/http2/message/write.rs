//! Heads and trailers of ours to fields of HTTP/2: pseudo-fields first, names in lower case, nothing of the connection (RFC 9113 §8.2, §8.3).
//!
//! It checks nothing: the encoders of [`crate::http1`] wrote the lines. Given other bytes it may leave a line out, but it never fails.

use crate::chars::{list, trim};
use crate::head::{Known, KnownSet, is_for_heads_only, is_same_name};
use crate::hpack::{Field, FieldSink, put_line};
use crate::lane::{ALL, LANE_BYTES, Lane, find};

/// Gives the fields of a request's head. `scheme` is that of the way it takes; `tunnel`: an Upgrade in it is one that travels on, as
/// extended CONNECT (RFC 8441), of the first protocol that it names; `never_indexed`: see [`crate::Request::never_indexed`].
/// `lower` is working memory.
pub fn write_request(
    head: &[u8],
    scheme: &[u8],
    tunnel: bool,
    never_indexed: bool,
    lower: &mut Vec<u8>,
    sink: &mut impl FieldSink,
) {
    let mut form = match scheme {
        _ if tunnel || never_indexed => None,
        b"http" => Some(Form::HttpRequest),
        b"https" => Some(Form::HttpsRequest),
        _ => None,
    };
    match form.and_then(|form| sink.again(form as u8, head)) {
        Some(0) => {}
        Some(known) => return write_rest(&head[known..], REQUEST_DROPPED, form, lower, sink),
        None => form = None,
    }
    let method = &head[..find(head, 0, b' ')];
    let target = &head[(method.len() + 1).min(head.len())..];
    let target = &target[..find(target, 0, b' ')];
    let mut lines = Lines::of_head(head);
    let fields_start = lines.0.len();
    let host = lines.take_host();
    let is_host_first = lines.0.len() < fields_start;
    let protocol = if tunnel { protocol(lines.clone()) } else { None };
    let is_connect = method == b"CONNECT";
    write_pseudo(METHOD, if protocol.is_some() { b"CONNECT" } else { method }, sink);
    if !is_connect {
        write_pseudo(SCHEME, scheme, sink);
    }
    // It seldom changes: an encoder finds its line.
    let authority = if is_connect { target } else { host };
    lower.clear();
    put_line(b":authority", authority, lower);
    if sink.next_lines(lower) == 0 && !sink.line(lower) {
        write_pseudo(AUTHORITY, authority, sink);
    }
    if !is_connect {
        write_pseudo(PATH, target, sink);
    }
    if let Some(protocol) = protocol.filter(|_| !is_connect) {
        sink.field(Field { name: b":protocol", value: protocol, never_indexed: false });
    }
    // A tunnel has no content (RFC 9113 §8.5).
    let is_tunnel = protocol.is_some() || is_connect;
    let dropped = if is_tunnel { REQUEST_DROPPED.with(Known::ContentLength) } else { REQUEST_DROPPED };
    // A piece says itself what is written for it: the authority of the first one must not stand in another.
    form = form.filter(|_| is_host_first && !is_tunnel);
    if form.is_some() {
        sink.piece(&head[..head.len() - lines.0.len()]);
    }
    write_fields(lines, dropped, form, never_indexed, lower, sink);
}

/// What the fields of a head depend on beside its text, where that is all; none of a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    HttpRequest,
    HttpsRequest,
    Response,
}

/// Gives the fields of a response's head, interim ones, too. `tunnel`: it grants one, by 101 to an Upgrade or by 2xx to CONNECT. The rest is as
/// for [`write_request`].
pub fn write_response(head: &[u8], tunnel: bool, never_indexed: bool, lower: &mut Vec<u8>, sink: &mut impl FieldSink) {
    /// Where they stand behind `HTTP/1.1 `.
    const DIGITS: std::ops::Range<usize> = 9..12;
    let mut form = if tunnel || never_indexed { None } else { Some(Form::Response) };
    match form.and_then(|form| sink.again(form as u8, head)) {
        Some(0) => {}
        Some(known) => return write_rest(&head[known..], DROPPED, form, lower, sink),
        None => form = None,
    }
    let status = match head.get(DIGITS).unwrap_or(b"502") {
        b"101" if tunnel => b"200",
        status => status,
    };
    write_pseudo(STATUS, status, sink);
    let dropped = if tunnel { DROPPED.with(Known::ContentLength) } else { DROPPED };
    let lines = Lines::of_head(head);
    if form.is_some() {
        sink.piece(&head[..head.len() - lines.0.len()]);
    }
    write_fields(lines, dropped, form, never_indexed, lower, sink);
}

/// Gives the fields of a trailer section, lines and the empty line, but for those that may not travel in one (RFC 9110 §6.5.1) and those that
/// `remove` names, in any case: the options of the message's `Connection`, and what configuration removes.
pub fn write_trailers<'n>(
    section: &[u8],
    remove: impl Iterator<Item = &'n [u8]> + Clone,
    lower: &mut Vec<u8>,
    sink: &mut impl FieldSink,
) {
    for line in Lines(section).map(Line::read) {
        let is_ours = line.name.starts_with(b"grpc-");
        if (is_ours || !is_for_heads_only(line.name)) && !remove.clone().any(|removed| is_same_name(removed, line.name))
        {
            write_field(&line, false, lower, sink);
        }
    }
}

/// Names of pseudo-fields, and where the static table first has each (RFC 7541 appendix A).
const AUTHORITY: (&[u8], usize) = (b":authority", 1);
const METHOD: (&[u8], usize) = (b":method", 2);
const PATH: (&[u8], usize) = (b":path", 4);
const SCHEME: (&[u8], usize) = (b":scheme", 6);
const STATUS: (&[u8], usize) = (b":status", 8);

#[inline]
fn write_pseudo((name, index): (&[u8], usize), value: &[u8], sink: &mut impl FieldSink) {
    sink.pseudo(index, Field { name, value, never_indexed: false });
}

/// What HTTP/2 has no fields for (RFC 9113 §8.2.2).
const DROPPED: KnownSet = KnownSet::NONE
    .with(Known::Connection)
    .with(Known::KeepAlive)
    .with(Known::ProxyConnection)
    .with(Known::TransferEncoding)
    .with(Known::Upgrade)
    .with(Known::Http2Settings);

/// The same of a request, which has said `Host` by then.
const REQUEST_DROPPED: KnownSet = DROPPED.with(Known::Host);

/// The fields of what is left of a head of which the sink knew the front.
#[inline]
fn write_rest(rest: &[u8], dropped: KnownSet, form: Option<Form>, lower: &mut Vec<u8>, sink: &mut impl FieldSink) {
    if !rest.is_empty() {
        let mut lines = Lines(rest);
        // That it does not know the first of them it has said.
        match lines.next() {
            None => sink.end(rest),
            Some(whole) => {
                write_line(whole, dropped, false, lower, sink);
                sink.piece(whole);
                write_fields(lines, dropped, form, false, lower, sink);
            }
        }
    }
}

/// The fields of the lines. `form`: the sink keeps the section, and is told which line is which.
fn write_fields(
    mut lines: Lines<'_>,
    dropped: KnownSet,
    mut form: Option<Form>,
    never_indexed: bool,
    lower: &mut Vec<u8>,
    sink: &mut impl FieldSink,
) {
    loop {
        if let Some(known) = form.and_then(|form| sink.again(form as u8, lines.0)) {
            lines.0 = &lines.0[known..];
            if lines.0.is_empty() {
                return;
            }
        } else if !never_indexed {
            form = None;
            // What is in the table as it stands was not dropped when it went in.
            lines.0 = &lines.0[sink.next_lines(lines.0)..];
        }
        let Some(whole) = lines.next() else { break };
        write_line(whole, dropped, never_indexed, lower, sink);
        if form.is_some() {
            sink.piece(whole);
        }
    }
    if form.is_some() {
        sink.end(lines.0);
    }
}

/// The field of a line, unless it is dropped.
#[inline(always)]
fn write_line(whole: &[u8], dropped: KnownSet, never_indexed: bool, lower: &mut Vec<u8>, sink: &mut impl FieldSink) {
    if !never_indexed && sink.line(whole) {
        return;
    }
    let line = Line::read(whole);
    if begins_like_dropped(line.name) {
        let known = Known::from_name(line.name);
        // RFC 9113 §8.2.2
        let is_te_of_hop = known == Known::Te && !line.value.eq_ignore_ascii_case(b"trailers");
        if is_te_of_hop || dropped.contains(known) {
            return;
        }
    }
    write_field(&line, never_indexed, lower, sink);
}

/// Whether the first letter is one of those that are worth a second look.
#[inline(always)]
fn begins_like_dropped(name: &[u8]) -> bool {
    const LETTERS: u32 = letter(b'c') | letter(b'k') | letter(b'p') | letter(b't') | letter(b'u') | letter(b'h');
    const fn letter(byte: u8) -> u32 {
        1 << (byte & 0x1f)
    }
    name.first().is_some_and(|&first| LETTERS & letter(first) != 0)
}

#[inline(always)]
fn write_field(line: &Line<'_>, never_indexed: bool, lower: &mut Vec<u8>, sink: &mut impl FieldSink) {
    let name = if line.is_lower { line.name } else { lowered(line.name, lower) };
    sink.field(Field { name, value: line.value, never_indexed });
}

#[inline(never)]
fn lowered<'l>(name: &[u8], lower: &'l mut Vec<u8>) -> &'l [u8] {
    lower.clear();
    lower.extend_from_slice(name);
    lower.make_ascii_lowercase();
    lower
}

/// The protocol that an Upgrade asks for first.
#[cold]
fn protocol(lines: Lines<'_>) -> Option<&[u8]> {
    let line = lines.map(Line::read).find(|line| is_same_name(line.name, b"upgrade"))?;
    list(line.value).next()
}

#[derive(Clone, Copy)]
struct Line<'a> {
    name: &'a [u8],
    value: &'a [u8],
    /// The name has no letter in upper case.
    is_lower: bool,
}

impl<'a> Line<'a> {
    /// Of a whole line.
    #[inline]
    fn read(line: &'a [u8]) -> Self {
        let lane = Lane::first_of(line);
        let large = lane.within(b'A', b'Z').bits();
        let (name_len, is_lower) = match lane.equal(b':').bits() {
            0 => {
                let len = find(line, LANE_BYTES.min(line.len()), b':');
                (len, large & ALL == 0 && !line[..len].iter().any(u8::is_ascii_uppercase))
            }
            colons => {
                let len = colons.trailing_zeros();
                (len as usize, large & ((1 << len) - 1) == 0)
            }
        };
        // Behind the value there are CR and LF. A line without a colon has neither name nor value.
        let value = line.get(name_len + 1..line.len().saturating_sub(2)).unwrap_or_default();
        let value = match value {
            [b' ', value @ ..] => value,
            value => value,
        };
        let is_bare = |byte: Option<&u8>| byte.is_none_or(|&byte| byte != b' ' && byte != b'\t');
        let value = if is_bare(value.first()) && is_bare(value.last()) { value } else { trim(value) };
        Self { name: &line[..name_len], value, is_lower }
    }
}

/// The field lines of a head or a section, each with its end; from here on.
#[derive(Clone)]
struct Lines<'a>(&'a [u8]);

impl<'a> Lines<'a> {
    /// Those behind a head's start line.
    fn of_head(head: &'a [u8]) -> Self {
        Self(&head[(find(head, 0, b'\n') + 1).min(head.len())..])
    }
}

impl<'a> Lines<'a> {
    /// The value of Host; nothing where there is none. It is taken off where it comes first, which is where the encoders write it.
    #[inline]
    fn take_host(&mut self) -> &'a [u8] {
        let mut lines = self.clone();
        if let Some(line) = lines.next()
            && let Some(host) = line.strip_prefix(b"Host: ").and_then(|value| value.strip_suffix(b"\r\n"))
        {
            *self = lines;
            return trim(host);
        }
        let is_host = |line: &Line<'_>| is_same_name(line.name, b"host");
        self.clone().map(Line::read).find(is_host).map_or(&b""[..], |line| line.value)
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        // The empty line ends it.
        if matches!(self.0.first(), None | Some(b'\r')) {
            return None;
        }
        let end = (find(self.0, 0, b'\n') + 1).min(self.0.len());
        let (line, rest) = self.0.split_at(end);
        self.0 = rest;
        Some(line)
    }
}

#[cfg(test)]
mod tests;

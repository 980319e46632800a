//! Field sections to heads and trailers, strictly: what RFC 9113 §8 calls malformed is refused, and so is what HTTP/1 could not say.
//!
//! It never decides whether a message that is too large is answered or given up: see [`crate::Error::status`].

use crate::chars::{is_target, is_token_all};
use crate::error::{Error, Rule};
use crate::head::{Field, Framing, HeadTable, Kind, Known, Method, Path, Span, Version};
use crate::hpack::{FieldList, Name, Named, Pseudo, put_line};
use crate::http1::{METHOD_BYTES_MAX, content_length, is_authority_with_port, is_known_authority, reason};
use crate::limits::Limits;

/// What a response answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked<'a> {
    /// The request's method; that of an extended CONNECT is GET here, as in the head that became one.
    pub method: Method,
    /// The protocol that an extended CONNECT asked for (RFC 8441 §4): a 2xx is its 101.
    pub upgrade: Option<&'a [u8]>,
}

/// Reads a request's fields, and writes it as a head of HTTP/1.1 to `out`, which is empty, with its offsets in `table`. `ends`: nothing
/// follows its section. `extended_connect`: we have announced `SETTINGS_ENABLE_CONNECT_PROTOCOL`; such a request reads as GET with an Upgrade.
///
/// Its framing is `Length` where it says so, else `None` where the stream has ended, else [`Framing::UntilClose`]: until the stream ends.
/// A tunnel's is `None`, whatever follows.
///
/// # Errors
/// The rule it breaks. With [`Error::status`] 400 it is malformed (RFC 9113 §8.1.1) and the stream ends with PROTOCOL_ERROR; any other
/// status (414, 417, 431, 501) is an answer to a request that was understood. Table and `out` are then empty.
pub fn read_request(
    fields: &FieldList,
    ends: bool,
    extended_connect: bool,
    limits: &Limits,
    table: &mut HeadTable,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    begin(fields, table, out);
    let read = within(fields, limits).and_then(|()| {
        Reader::new(table, out, limits).request(fields, ends, extended_connect)?;
        whole(table, out, limits, Kind::Request)
    });
    end(read, table, out)
}

/// Reads a response's fields likewise, interim ones, too. Its framing is `None` also for one that could have content and `ends` at its head
/// without saying a length: who sends that on by HTTP/1 gives it a Content-Length of 0.
///
/// # Errors
/// The rule it breaks; the stream ends with PROTOCOL_ERROR, whatever [`Error::status`] says.
pub fn read_response(
    fields: &FieldList,
    ends: bool,
    asked: Asked<'_>,
    limits: &Limits,
    table: &mut HeadTable,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    begin(fields, table, out);
    let read = within(fields, limits).and_then(|()| {
        Reader::new(table, out, limits).response(fields, ends, asked)?;
        whole(table, out, limits, Kind::Response)
    });
    end(read, table, out)
}

/// Reads a trailer section, and writes it to `out`, which is empty, as [`crate::http1::BodyPart::Trailers`] has it: lines, then the empty line. What may not
/// travel in one is still there, as it is after reading one of HTTP/1: the writers leave it out.
///
/// # Errors
/// The rule it breaks; `out` is then empty.
pub fn read_trailers(fields: &FieldList, limits: &Limits, out: &mut Vec<u8>) -> Result<(), Error> {
    debug_assert!(out.is_empty(), "a section of its own");
    let read = trailers(fields, limits, out);
    if read.is_err() {
        out.clear();
    }
    read.map_err(Error::stream)
}

/// What every head begins with: room, so that nothing is moved while it is written.
fn begin(fields: &FieldList, table: &mut HeadTable, out: &mut Vec<u8>) {
    /// The start line's words, `Host` and an Upgrade's two lines beside their values.
    const ADDED_BYTES_MAX: usize = 128;
    debug_assert!(out.is_empty(), "a head's offsets begin at its own first byte");
    out.reserve(fields.lines().len() + ADDED_BYTES_MAX);
    table.clear();
    table.version = Version::Http2;
    table.keep_alive = true;
}

fn within(fields: &FieldList, limits: &Limits) -> Result<(), Rule> {
    debug_assert!(limits.head_bytes_max <= Limits::HEAD_BYTES_CAP);
    if fields.is_too_large() { Err(Rule::HeadTooLarge) } else { Ok(()) }
}

fn whole(table: &mut HeadTable, out: &mut Vec<u8>, limits: &Limits, kind: Kind) -> Result<(), Rule> {
    out.extend_from_slice(b"\r\n");
    if out.len() > limits.head_bytes_max {
        return Err(Rule::HeadTooLarge);
    }
    table.end = out.len() as u32;
    table.kind = kind;
    Ok(())
}

fn end(read: Result<(), Rule>, table: &mut HeadTable, out: &mut Vec<u8>) -> Result<(), Error> {
    read.map_err(|rule| {
        table.clear();
        out.clear();
        Error::stream(rule)
    })
}

/// Fields that are never in HTTP/2 (RFC 9113 §8.2.2).
const CONNECTION_SPECIFIC: u32 = Known::Connection.bit()
    | Known::KeepAlive.bit()
    | Known::ProxyConnection.bit()
    | Known::TransferEncoding.bit()
    | Known::Upgrade.bit();

const ACTED_ON: u32 =
    CONNECTION_SPECIFIC | Known::Host.bit() | Known::ContentLength.bit() | Known::Te.bit() | Known::Expect.bit();

/// The values of a section's pseudo-fields.
#[derive(Default)]
struct PseudoFields<'f>([Option<&'f [u8]>; Pseudo::COUNT]);

impl<'f> PseudoFields<'f> {
    /// Takes them off the front.
    #[inline]
    fn read(fields: &mut (impl Iterator<Item = Named<'f>> + Clone)) -> Result<Self, Rule> {
        let mut all = Self::default();
        loop {
            let mut rest = fields.clone();
            match rest.next() {
                Some(field) if field.is_pseudo() => {
                    let Name::Pseudo(pseudo) = field.read_name()? else {
                        unreachable!("a name that begins with a colon")
                    };
                    field.check_value()?;
                    if all.0[pseudo as usize].replace(field.value()).is_some() {
                        return Err(Rule::PseudoRepeated);
                    }
                }
                _ => return Ok(all),
            }
            *fields = rest;
        }
    }

    fn get(&self, pseudo: Pseudo) -> Option<&'f [u8]> {
        self.0[pseudo as usize]
    }

    fn has(&self, pseudo: Pseudo) -> bool {
        self.get(pseudo).is_some()
    }
}

/// What the start of a request says, before a byte is written.
struct Start<'f> {
    method: &'f [u8],
    path: &'f [u8],
    authority: &'f [u8],
    upgrade: Option<&'f [u8]>,
}

struct Reader<'t> {
    table: &'t mut HeadTable,
    out: &'t mut Vec<u8>,
    limits: &'t Limits,
    fields_max: usize,
    /// The authority that a Host field has to name.
    authority: Span,
    /// Host came as a field, too.
    has_host: bool,
    has_cookie: bool,
    /// An own Content-Length is not sent on: a tunnel has none.
    drops_length: bool,
}

impl<'t> Reader<'t> {
    fn new(table: &'t mut HeadTable, out: &'t mut Vec<u8>, limits: &'t Limits) -> Self {
        let fields_max = limits.headers_max.min(table.headers_max as usize);
        let authority = Span::default();
        Self { table, out, limits, fields_max, authority, has_host: false, has_cookie: false, drops_length: false }
    }

    fn request(&mut self, fields: &FieldList, ends: bool, extended_connect: bool) -> Result<(), Rule> {
        let mut rest = fields.named();
        let pseudo = PseudoFields::read(&mut rest)?;
        let start = self.start(&pseudo, &rest, extended_connect)?;
        self.table.method = Method::from_token(start.method);
        self.request_line(&start)?;
        self.fields(fields.lines(), rest, true)?;
        let length = self.table.content_length;
        let is_tunnel = start.upgrade.is_some() || self.table.method == Method::Connect;
        if is_tunnel && length.is_some_and(|length| length > 0) {
            return Err(Rule::BodyForbidden);
        }
        if ends && length.is_some_and(|length| length > 0) {
            return Err(Rule::ContentLengthMismatch);
        }
        self.table.framing = match length {
            // RFC 9110 §9.3.6: CONNECT has no content.
            _ if self.table.method == Method::Connect => Framing::None,
            Some(length) => Framing::Length(length),
            None if ends || is_tunnel => Framing::None,
            None => Framing::UntilClose,
        };
        Ok(())
    }

    /// What the pseudo-fields say (RFC 9113 §8.3.1), and Host where `:authority` is missing.
    fn start<'f>(
        &mut self,
        pseudo: &PseudoFields<'f>,
        rest: &(impl Iterator<Item = Named<'f>> + Clone),
        extended_connect: bool,
    ) -> Result<Start<'f>, Rule> {
        if pseudo.has(Pseudo::Status) || pseudo.has(Pseudo::Protocol) && !extended_connect {
            return Err(Rule::PseudoUnknown);
        }
        let method = pseudo.get(Pseudo::Method).ok_or(Rule::PseudoMissing)?;
        if method.len() > METHOD_BYTES_MAX {
            return Err(Rule::MethodTooLong);
        }
        if !is_token_all(method) {
            return Err(Rule::MethodToken);
        }
        let is_connect = method == b"CONNECT";
        let upgrade = pseudo.get(Pseudo::Protocol);
        if let Some(protocol) = upgrade {
            let mut parts = protocol.split(|&byte| byte == b'/');
            let is_name = parts.by_ref().take(2).all(is_token_all) && parts.next().is_none();
            if !is_connect || !is_name {
                return Err(Rule::Protocol);
            }
        } else if is_connect {
            if pseudo.has(Pseudo::Scheme) || pseudo.has(Pseudo::Path) {
                return Err(Rule::ConnectForm);
            }
            let authority = pseudo.get(Pseudo::Authority).ok_or(Rule::ConnectForm)?;
            if !is_authority_with_port(authority) {
                return Err(Rule::Authority);
            }
            return Ok(Start { method, path: b"", authority, upgrade });
        }
        let scheme = pseudo.get(Pseudo::Scheme).ok_or(Rule::PseudoMissing)?;
        // RFC 3986 §3.1: schemes are compared without case.
        if !scheme.eq_ignore_ascii_case(b"https") && !scheme.eq_ignore_ascii_case(b"http") {
            return Err(Rule::Scheme);
        }
        self.table.is_https = scheme.len() == b"https".len();
        let path = pseudo.get(Pseudo::Path).ok_or(Rule::PseudoMissing)?;
        if path.len() > self.limits.target_bytes_max {
            return Err(Rule::TargetTooLong);
        }
        match path {
            [b'/', ..] => check_target(path)?,
            b"*" if method == b"OPTIONS" => {}
            _ => return Err(Rule::TargetForm),
        }
        let authority = match pseudo.get(Pseudo::Authority) {
            Some(authority) => authority,
            None => host(rest.clone()).ok_or(Rule::HostMissing)?,
        };
        if !is_known_authority(authority, &mut self.table.known_authority) {
            return Err(Rule::Authority);
        }
        let method = if upgrade.is_some() { b"GET" } else { method };
        Ok(Start { method, path, authority, upgrade })
    }

    /// The request line, Host, and what an Upgrade adds.
    #[inline]
    fn request_line(&mut self, start: &Start<'_>) -> Result<(), Rule> {
        let target = if start.path.is_empty() { start.authority } else { start.path };
        let target_start = start.method.len() + 1;
        let target_end = target_start + target.len();
        self.table.method_span = Span::new(0, start.method.len());
        self.table.target = Span::new(target_start, target_end);
        self.table.path = match start.path {
            b"" => Path::Span(Span::default()),
            b"*" => Path::Asterisk,
            _ => Path::Span(self.table.target),
        };
        self.out.extend_from_slice(start.method);
        self.out.extend_from_slice(b" ");
        self.out.extend_from_slice(target);
        self.out.extend_from_slice(b" HTTP/1.1\r\n");
        self.line(b"Host", start.authority, Known::Host)?;
        self.authority = Span::new(self.out.len() - 2 - start.authority.len(), self.out.len() - 2);
        self.table.authority = if start.path.is_empty() { self.table.target } else { self.authority };
        match start.upgrade {
            Some(protocol) => self.upgrade(protocol),
            None => Ok(()),
        }
    }

    #[cold]
    fn upgrade(&mut self, protocol: &[u8]) -> Result<(), Rule> {
        self.line(b"Connection", b"Upgrade", Known::Connection)?;
        self.table.upgrade = u16::try_from(self.table.fields.len()).ok();
        self.line(b"Upgrade", protocol, Known::Upgrade)
    }

    fn response(&mut self, fields: &FieldList, ends: bool, asked: Asked<'_>) -> Result<(), Rule> {
        let mut rest = fields.named();
        let pseudo = PseudoFields::read(&mut rest)?;
        let is_other = |(at, value): (usize, &Option<&[u8]>)| at != Pseudo::Status as usize && value.is_some();
        if pseudo.0.iter().enumerate().any(is_other) {
            return Err(Rule::PseudoUnknown);
        }
        let digits = pseudo.get(Pseudo::Status).ok_or(Rule::PseudoMissing)?;
        let status = match digits {
            [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9'] => {
                u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0')
            }
            _ => return Err(Rule::Status),
        };
        match status {
            101 => return Err(Rule::SwitchingProtocols),
            100..=199 if ends => return Err(Rule::InterimEnds),
            _ => {}
        }
        let is_success = (200..300).contains(&status);
        let granted = asked.upgrade.filter(|_| is_success);
        // RFC 9110 §9.3.6: a length in such an answer is ignored.
        self.drops_length = granted.is_some() || is_success && asked.method == Method::Connect;
        let status = if granted.is_some() { 101 } else { status };
        self.status_line(status, asked.method);
        if let Some(protocol) = granted {
            self.upgrade(protocol)?;
        }
        self.fields(fields.lines(), rest, false)?;
        let length = self.table.content_length;
        let is_positive = length.is_some_and(|length| length > 0);
        self.table.framing = match (status, asked.method) {
            // RFC 9110 §8.6: no server may send one. A reader that believed it would wait for content.
            (100..=199, _) if is_positive => return Err(Rule::BodyForbidden),
            (100..=199 | 204 | 304, _) | (_, Method::Head) => Framing::None,
            _ if self.drops_length => Framing::None,
            _ if ends && is_positive => return Err(Rule::ContentLengthMismatch),
            _ => match length {
                Some(length) => Framing::Length(length),
                None if ends => Framing::None,
                None => Framing::UntilClose,
            },
        };
        self.table.length_is_of_get =
            self.table.framing == Framing::None && (status == 304 || asked.method == Method::Head);
        self.table.glitches = u32::from(status == 204 && is_positive);
        Ok(())
    }

    fn status_line(&mut self, status: u16, method: Method) {
        let phrase = reason(status).as_bytes();
        let digit = |number: u16| b'0' + (number % 10) as u8;
        self.out.extend_from_slice(b"HTTP/1.1 ");
        self.out.extend_from_slice(&[digit(status / 100), digit(status / 10), digit(status), b' ']);
        let start = self.out.len();
        self.out.extend_from_slice(phrase);
        self.out.extend_from_slice(b"\r\n");
        self.table.reason = Span::new(start, start + phrase.len());
        self.table.status = status;
        self.table.method = method;
    }

    /// The fields behind the pseudo-fields. Their lines go to the head in stretches, each as it stands in the list, up to a field that does not.
    fn fields<'f>(
        &mut self,
        lines: &[u8],
        mut rest: impl Iterator<Item = Named<'f>> + Clone,
        is_request: bool,
    ) -> Result<(), Rule> {
        // Where the stretch begins that is still to be copied.
        let mut from = rest.clone().next().map_or(lines.len(), |field| field.start());
        while let Some(field) = rest.next() {
            let goes = match field.read_name() {
                Ok(Name::Field(known)) => {
                    field.check_value()?;
                    let goes = known.bit() & ACTED_ON == 0 || self.act(&field, known, is_request)?;
                    if goes {
                        if self.table.fields.len() == self.fields_max {
                            return Err(Rule::TooManyFields);
                        }
                        self.list(&field, known, from);
                    }
                    goes
                }
                Ok(Name::Cookie) => false,
                _ if field.is_pseudo() => return Err(Rule::PseudoPlace),
                Ok(Name::Pseudo(_) | Name::Unread) => unreachable!("a name that was read, and has no colon"),
                Err(rule) => return Err(rule),
            };
            if !goes {
                self.out.extend_from_slice(&lines[from..field.start()]);
                from = field.end();
                if !self.has_cookie && field.name() == b"cookie" {
                    self.cookies(field, rest.clone())?;
                }
            }
        }
        self.out.extend_from_slice(&lines[from..]);
        Ok(())
    }

    /// Enters a field whose line will be copied with what begins at `from`, to the end of what is written.
    #[inline(always)]
    fn list(&mut self, field: &Named<'_>, known: Known, from: usize) {
        let moved = self.out.len().wrapping_sub(from);
        self.table.seen |= known.bit();
        // authorization and proxy-authorization our encoder knows by their names.
        self.table.never_indexed |=
            field.never_indexed() && !matches!(field.name(), b"authorization" | b"proxy-authorization");
        self.table.fields.push(Field {
            name_start: field.start().wrapping_add(moved) as u32,
            name_len: field.name_len(),
            known,
            nominated: false,
            value_start: field.value_start().wrapping_add(moved) as u32,
            value_len: field.value_len(),
        });
    }

    /// What a field of the less frequent ones does to the message; whether it goes to the head.
    #[inline(never)]
    fn act(&mut self, field: &Named<'_>, known: Known, is_request: bool) -> Result<bool, Rule> {
        let value = field.value();
        match known {
            Known::ContentLength if self.drops_length => return Ok(false),
            // Equal ones say that somebody before us disagreed.
            Known::ContentLength if self.table.content_length.is_some() => return Err(Rule::ContentLengthRepeated),
            Known::ContentLength => self.table.content_length = Some(content_length(value)?),
            Known::Host if is_request => {
                if self.has_host {
                    return Err(Rule::HostRepeated);
                }
                self.has_host = true;
                let authority = &self.out[self.authority.start as usize..self.authority.end as usize];
                if !value.eq_ignore_ascii_case(authority) {
                    return Err(Rule::AuthorityAndHost);
                }
                return Ok(false);
            }
            Known::Te => {
                if !value.eq_ignore_ascii_case(b"trailers") {
                    return Err(Rule::ConnectionSpecific);
                }
                self.table.te_trailers = true;
            }
            Known::Expect if is_request => {
                if !value.eq_ignore_ascii_case(b"100-continue") {
                    return Err(Rule::Expectation);
                }
                self.table.expect_continue = true;
            }
            known if known.bit() & CONNECTION_SPECIFIC != 0 => return Err(Rule::ConnectionSpecific),
            _ => {}
        }
        Ok(true)
    }

    /// Joins the crumbs of a cookie, of which this is the first one (RFC 9113 §8.2.3).
    fn cookies<'f>(&mut self, first: Named<'f>, rest: impl Iterator<Item = Named<'f>>) -> Result<(), Rule> {
        /// Shorter ones our encoder keeps out of its table anyway.
        const COOKIE_BYTES_MIN: usize = 20;
        first.check_value()?;
        self.has_cookie = true;
        self.line(b"cookie", first.value(), Known::Other)?;
        let mut never_indexed = first.never_indexed();
        let mut len = first.value().len();
        for crumb in rest.filter(|field| matches!(field.read_name(), Ok(Name::Cookie))) {
            crumb.check_value()?;
            never_indexed |= crumb.never_indexed();
            if crumb.value().is_empty() {
                continue; // it would leave a blank at the end
            }
            self.out.truncate(self.out.len() - 2);
            if len > 0 {
                self.out.extend_from_slice(b"; ");
                len += 2;
            }
            self.out.extend_from_slice(crumb.value());
            self.out.extend_from_slice(b"\r\n");
            len += crumb.value().len();
        }
        self.table.never_indexed |= never_indexed && len >= COOKIE_BYTES_MIN;
        let field = self.table.fields.last_mut().expect("it was written just now");
        field.value_len = len as u32;
        Ok(())
    }

    #[inline(always)]
    fn line(&mut self, name: &[u8], value: &[u8], known: Known) -> Result<(), Rule> {
        if self.table.fields.len() == self.fields_max {
            return Err(Rule::TooManyFields);
        }
        let name_start = self.out.len();
        put_line(name, value, self.out);
        self.table.seen |= known.bit();
        self.table.fields.push(Field {
            name_start: name_start as u32,
            name_len: name.len() as u16,
            known,
            nominated: false,
            value_start: (name_start + name.len() + 2) as u32,
            value_len: value.len() as u32,
        });
        Ok(())
    }
}

fn trailers(fields: &FieldList, limits: &Limits, out: &mut Vec<u8>) -> Result<(), Rule> {
    if fields.is_too_large() || fields.len() > limits.headers_max {
        return Err(Rule::TrailersTooLarge);
    }
    for field in fields.named() {
        let is_specific = match field.read_name() {
            _ if field.is_pseudo() => return Err(Rule::PseudoPlace),
            Ok(Name::Field(Known::Te)) => field.value() != b"trailers",
            Ok(Name::Field(known)) => known.bit() & CONNECTION_SPECIFIC != 0,
            Ok(Name::Cookie) => false,
            Ok(Name::Pseudo(_) | Name::Unread) => unreachable!("a name that was read, and has no colon"),
            Err(rule) => return Err(rule),
        };
        if is_specific {
            return Err(Rule::ConnectionSpecific);
        }
        field.check_value()?;
    }
    out.reserve(fields.lines().len() + b"\r\n".len());
    out.extend_from_slice(fields.lines());
    out.extend_from_slice(b"\r\n");
    if out.len() > limits.trailer_bytes_max.max(2) { Err(Rule::TrailersTooLarge) } else { Ok(()) }
}

/// The value of the first Host field.
#[cold]
fn host<'f>(mut rest: impl Iterator<Item = Named<'f>>) -> Option<&'f [u8]> {
    rest.find(|field| field.name() == b"host").map(|field| field.value())
}

/// The bytes of a path and query.
#[inline]
fn check_target(path: &[u8]) -> Result<(), Rule> {
    match path.iter().find(|&&byte| !is_target(byte)) {
        None => Ok(()),
        Some(b'#') => Err(Rule::Fragment),
        Some(_) => Err(Rule::TargetByte),
    }
}

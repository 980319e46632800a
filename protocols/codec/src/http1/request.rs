//! The head of a request: its line, and the rules that hold for requests alone.
//!
//! Invariant: a request that comes out has one meaning: one target, one authority, one framing, and field lines that can be
//! forwarded as they lie.

use super::scan::{Decoded, HeadScan, METHOD_BYTES_MAX, Next, diagnose_request, leading_line};
use super::{authority, fields, target};
use crate::error::{Error, Rule};
use crate::head::{Framing, HeadTable, Kind, Method, Request, Span, Version};
use crate::limits::Limits;
use std::mem::MaybeUninit;

/// Decodes a request head at the start of `bytes`, which may hold more than it. On `Partial`, call again with the same bytes
/// followed by more, and the same `scan`.
///
/// # Errors
/// The first rule broken (RFC 9112 §2 to §6, RFC 9110 §5 to §10); the connection cannot be read any further.
pub fn decode_request<'a>(
    bytes: &'a [u8],
    scan: &mut HeadScan,
    table: &'a mut HeadTable,
    limits: &Limits,
) -> Result<Decoded<Request<'a>>, Error> {
    debug_assert!(limits.head_bytes_max <= Limits::HEAD_BYTES_CAP);
    match decode(bytes, scan, table, limits) {
        Ok(true) => {
            let consumed = table.head_len();
            Ok(Decoded::Complete { head: table.request(bytes), consumed })
        }
        Ok(false) => Ok(Decoded::Partial),
        Err(rule) => {
            table.clear();
            Err(Error::peer(rule))
        }
    }
}

/// True when the table holds the request.
fn decode(bytes: &[u8], scan: &mut HeadScan, table: &mut HeadTable, limits: &Limits) -> Result<bool, Rule> {
    let within = &bytes[..bytes.len().min(limits.head_bytes_max)];
    let Some(start) = leading_line(within)? else { return Ok(false) };
    let refuse = |fallback: Rule| diagnose_request(&within[start..]).unwrap_or(fallback);
    let partial = |scan: &HeadScan| scan.too_large(bytes, true, limits).map_or(Ok(false), |rule| Err(refuse(rule)));

    if let Next::Wait = scan.next(within).map_err(|()| refuse(Rule::BareLf))? {
        return partial(scan);
    }
    let mut storage = [const { MaybeUninit::<httparse::Header<'_>>::uninit() }; Limits::HEADERS_CAP];
    let headers_max = limits.headers_max.min(table.headers_max as usize);
    let mut parsed = httparse::Request::new(&mut []);
    let consumed = match parsed.parse_with_uninit_headers(&within[start..], &mut storage[..headers_max]) {
        Ok(httparse::Status::Complete(consumed)) => consumed,
        Ok(httparse::Status::Partial) => {
            scan.parsed_partial(within).map_err(|()| refuse(Rule::BareLf))?;
            return partial(scan);
        }
        Err(error) => return Err(refuse_as(error, refuse)),
    };
    let head = &bytes[..start + consumed];
    table.clear();
    table.end = head.len() as u32;
    table.glitches = u32::from(start > 0);
    read(head, start, &parsed, table, limits).map_err(|rule| match rule {
        // Limits of the start line are noticed before its end.
        Rule::MethodTooLong | Rule::TargetTooLong => rule,
        // What the tokeniser let pass comes first, so that the answer does not depend on the pieces.
        rule => refuse(rule),
    })?;
    table.kind = Kind::Request;
    Ok(true)
}

fn refuse_as(error: httparse::Error, refuse: impl Fn(Rule) -> Rule) -> Rule {
    match error {
        httparse::Error::TooManyHeaders => Rule::TooManyFields,
        httparse::Error::HeaderName => refuse(Rule::FieldName),
        httparse::Error::HeaderValue => refuse(Rule::FieldValue),
        httparse::Error::NewLine => refuse(Rule::BareCr),
        httparse::Error::Status | httparse::Error::Token | httparse::Error::Version => refuse(Rule::RequestLine),
    }
}

/// Reads the tokenised request in `head`, whose line begins at `start`.
fn read(
    head: &[u8],
    start: usize,
    parsed: &httparse::Request<'_, '_>,
    table: &mut HeadTable,
    limits: &Limits,
) -> Result<(), Rule> {
    let (Some(method), Some(path), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(Rule::RequestLine);
    };
    if method.len() > METHOD_BYTES_MAX {
        return Err(Rule::MethodTooLong);
    }
    let target_start = start + method.len() + 1;
    let target_end = target_start + path.len();
    // SP "HTTP/1.x" CRLF, and no line end of another kind.
    let line_end = target_end + 9;
    if head.get(line_end..line_end + 2) != Some(b"\r\n") {
        return Err(Rule::BareLf);
    }
    if path.len() > limits.target_bytes_max {
        return Err(Rule::TargetTooLong);
    }
    table.version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    table.method = Method::from_token(method.as_bytes());
    table.method_span = Span::new(start, start + method.len());
    table.target = Span::new(target_start, target_end);
    let target = target::read(head, target_start, target_end, table.method)?;
    let seen = fields::read(head, line_end + 2, parsed.headers, table, limits, true)?;

    let host = match (seen.host, target.authority) {
        // Empty is what a client sends when the target has no authority; an http target that needs it is not valid
        // without (RFC 9110 §4.2.1), so it may be empty only where it is replaced.
        (Some(host), Some(_)) if host.start == host.end => host,
        (Some(host), _) if authority::is_valid(&head[host.start as usize..host.end as usize]) => host,
        (Some(_), _) => return Err(Rule::Authority),
        (None, _) if table.version == Version::Http11 => return Err(Rule::HostMissing),
        (None, _) => Span::default(),
    };
    // RFC 9112 §3.2.2: the target's authority wins.
    table.authority = target.authority.unwrap_or(host);
    table.path = target.path;
    if table.method == Method::Connect && !matches!(seen.framing, Framing::None | Framing::Length(0)) {
        return Err(Rule::BodyForbidden);
    }
    table.framing = if table.method == Method::Connect { Framing::None } else { seen.framing };
    // RFC 9112 §9.3
    table.keep_alive = !seen.close && (table.version == Version::Http11 || seen.keep_alive);
    Ok(())
}

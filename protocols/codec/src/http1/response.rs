//! The head of a response: its line, and how its body is framed, which depends on the request (RFC 9112 §6.3).
//!
//! As strict as for requests: an upstream that can be read in two ways would answer the wrong client.

use super::fields;
use super::scan::{Decoded, HeadScan, Next, diagnose_response};
use crate::error::{Error, Rule};
use crate::head::{Framing, HeadTable, Kind, Known, Method, Response, Span, Version};
use crate::limits::Limits;
use std::mem::MaybeUninit;

/// Decodes a response head at the start of `bytes`. A 1xx is complete with [`Framing::None`]; the caller then decodes the next
/// head (101 aside, after which the bytes are no longer HTTP/1). `Partial` is as in [`super::decode_request`].
///
/// # Errors
/// The first rule broken; the caller answers 502 and closes the upstream connection.
pub fn decode_response<'a>(
    bytes: &'a [u8],
    scan: &mut HeadScan,
    table: &'a mut HeadTable,
    limits: &Limits,
    request_method: Method,
) -> Result<Decoded<Response<'a>>, Error> {
    debug_assert!(limits.head_bytes_max <= Limits::HEAD_BYTES_CAP);
    match decode(bytes, scan, table, limits, request_method) {
        Ok(true) => {
            let consumed = table.head_len();
            Ok(Decoded::Complete { head: table.response(bytes), consumed })
        }
        Ok(false) => Ok(Decoded::Partial),
        Err(rule) => {
            table.clear();
            Err(Error::peer(rule))
        }
    }
}

/// True when the table holds the response.
fn decode(
    bytes: &[u8],
    scan: &mut HeadScan,
    table: &mut HeadTable,
    limits: &Limits,
    request_method: Method,
) -> Result<bool, Rule> {
    let within = &bytes[..bytes.len().min(limits.head_bytes_max)];
    match within {
        [] => return Ok(false),
        // No empty line may precede a status line.
        [b'\r' | b'\n', ..] => return Err(Rule::StatusLine),
        _ => {}
    }
    let refuse = |fallback: Rule| diagnose_response(within).unwrap_or(fallback);
    let partial = |scan: &HeadScan| scan.too_large(bytes, false, limits).map_or(Ok(false), |rule| Err(refuse(rule)));

    if let Next::Wait = scan.next(within).map_err(|()| refuse(Rule::BareLf))? {
        return partial(scan);
    }
    let mut storage = [const { MaybeUninit::<httparse::Header<'_>>::uninit() }; Limits::HEADERS_CAP];
    let headers_max = limits.headers_max.min(table.headers_max as usize);
    let mut parsed = httparse::Response::new(&mut []);
    let parser = httparse::ParserConfig::default();
    let result = parser.parse_response_with_uninit_headers(&mut parsed, within, &mut storage[..headers_max]);
    let consumed = match result {
        Ok(httparse::Status::Complete(consumed)) => consumed,
        Ok(httparse::Status::Partial) => {
            scan.parsed_partial(within).map_err(|()| refuse(Rule::BareLf))?;
            return partial(scan);
        }
        Err(httparse::Error::TooManyHeaders) => return Err(Rule::TooManyFields),
        Err(httparse::Error::HeaderName) => return Err(refuse(Rule::FieldName)),
        Err(httparse::Error::HeaderValue) => return Err(refuse(Rule::FieldValue)),
        Err(httparse::Error::NewLine) => return Err(refuse(Rule::BareCr)),
        Err(_) => return Err(refuse(Rule::StatusLine)),
    };
    let head = &bytes[..consumed];
    table.clear();
    table.end = consumed as u32;
    // What the tokeniser let pass comes first, so that the answer does not depend on the pieces.
    read(head, &parsed, table, limits, request_method).map_err(refuse)?;
    table.kind = Kind::Response;
    Ok(true)
}

fn read(
    head: &[u8],
    parsed: &httparse::Response<'_, '_>,
    table: &mut HeadTable,
    limits: &Limits,
    request_method: Method,
) -> Result<(), Rule> {
    // "HTTP/1.1 200", then SP and a phrase that may be empty, then CRLF.
    const STATUS_END: usize = 12;
    let (Some(minor), Some(status)) = (parsed.version, parsed.code) else { return Err(Rule::StatusLine) };
    if !(100..=999).contains(&status) {
        return Err(Rule::StatusLine);
    }
    let line_end = STATUS_END + memchr::memchr(b'\n', &head[STATUS_END..]).ok_or(Rule::StatusLine)?;
    let line = &head[..line_end];
    if line.last() != Some(&b'\r') {
        return Err(Rule::BareLf);
    }
    let reason_end = line_end - 1;
    let reason_start = (STATUS_END + 1).min(reason_end);
    if !head[reason_start..reason_end].iter().all(|&b| crate::chars::is_value(b)) {
        return Err(Rule::StatusLine);
    }
    // RFC 9112 §4 wants the space even before an empty phrase; many servers leave it out.
    table.glitches = u32::from(reason_end == STATUS_END);
    table.version = if minor == 0 { Version::Http10 } else { Version::Http11 };
    table.method = request_method;
    table.status = status;
    table.reason = Span::new(reason_start, reason_end);
    let seen = fields::read(head, line_end + 1, parsed.headers, table, limits, false)?;
    let persistent = !seen.close && (table.version == Version::Http11 || seen.keep_alive);
    let has_body_fields = !matches!(seen.framing, Framing::None | Framing::Length(0));

    // RFC 9112 §6.3, in its order.
    table.framing = match (status, request_method) {
        // RFC 9110 §8.6, RFC 9112 §6.1: no server may send these. A reader that believed them would wait for a body.
        (100..=199, _) if has_body_fields => return Err(Rule::BodyForbidden),
        (100..=199 | 204 | 304, _) | (_, Method::Head) | (200..=299, Method::Connect) => Framing::None,
        _ if seen.framing == Framing::None => Framing::UntilClose,
        _ => seen.framing,
    };
    table.length_is_of_get = table.framing == Framing::None && (status == 304 || request_method == Method::Head);
    // A 204 that announces a body may be followed by it: nothing after this head can be trusted.
    let body_may_follow = status == 204 && has_body_fields;
    table.glitches += u32::from(body_may_follow);
    table.keep_alive = persistent && table.framing != Framing::UntilClose && !body_may_follow;
    debug_assert!(table.framing != Framing::Chunked || table.seen & Known::TransferEncoding.bit() != 0);
    Ok(())
}

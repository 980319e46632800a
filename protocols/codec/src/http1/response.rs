//! The head of a response: its line, and how its body is framed, which depends on the request (RFC 9112 §6.3).
//!
//! As strict as for requests: an upstream that can be read in two ways would answer the wrong client.

use super::fields;
use super::lines::{Line, status_line};
use super::scan::{Decoded, HeadScan};
use crate::error::{Error, Rule};
use crate::head::{Framing, HeadTable, Kind, Method, Response, Span, Version};
use crate::limits::Limits;

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
    if within.is_empty() {
        return Ok(false);
    }
    if scan.is_due(within) {
        table.clear();
        if read(within, table, limits, request_method)? {
            table.kind = Kind::Response;
            return Ok(true);
        }
        table.clear();
        scan.wait(within);
    }
    scan.too_large(bytes, false, limits).map_or(Ok(false), Err)
}

/// Reads the response; false when it is incomplete.
fn read(bytes: &[u8], table: &mut HeadTable, limits: &Limits, request_method: Method) -> Result<bool, Rule> {
    let line = match status_line(bytes)? {
        Line::Read(line) => line,
        Line::More | Line::Empty => return Ok(false),
    };
    let status = line.status;
    table.version = line.version;
    table.method = request_method;
    table.status = status;
    table.reason = Span::new(line.reason_start, line.reason_end);
    // The space that the line should have even before an empty phrase.
    table.glitches = u32::from(bytes[line.reason_start - 1] != b' ');
    let Some(seen) = fields::read(bytes, line.next, table, limits, false)? else { return Ok(false) };
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
    Ok(true)
}

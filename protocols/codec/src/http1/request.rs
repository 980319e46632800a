//! The head of a request: its line, and the rules that hold for requests alone.
//!
//! Invariant: a request that comes out has one meaning: one target, one authority, one framing, and field lines that can be
//! forwarded as they lie.

use super::lines::{Line, request_line};
use super::scan::{Decoded, HeadScan, leading_line};
use super::{authority, fields, target};
use crate::error::{Error, Rule};
use crate::head::{Framing, HeadTable, Kind, Method, Request, Span, Version};
use crate::limits::Limits;

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
    if scan.is_due(within) {
        table.clear();
        table.glitches = u32::from(start > 0);
        if read(within, start, table, limits)? {
            table.kind = Kind::Request;
            return Ok(true);
        }
        table.clear();
        scan.wait(within);
    }
    scan.too_large(bytes, true, limits).map_or(Ok(false), Err)
}

/// Reads the request whose line begins at `start`; false when it is incomplete.
fn read(bytes: &[u8], start: usize, table: &mut HeadTable, limits: &Limits) -> Result<bool, Rule> {
    let line = match request_line(bytes, start)? {
        Line::Read(line) => line,
        Line::More | Line::Empty => return Ok(false),
    };
    let target_start = line.method_end + 1;
    if line.target_end - target_start > limits.target_bytes_max {
        return Err(Rule::TargetTooLong);
    }
    table.version = line.version;
    table.method = Method::from_token(&bytes[start..line.method_end]);
    table.method_span = Span::new(start, line.method_end);
    table.target = Span::new(target_start, line.target_end);
    let target = target::read(bytes, target_start, line.target_end, table.method)?;
    let Some(seen) = fields::read(bytes, line.next, table, limits, true)? else { return Ok(false) };

    let host = match (seen.host, target.authority) {
        // Empty is what a client sends when the target has no authority; an http target that needs it is not valid
        // without (RFC 9110 §4.2.1), so it may be empty only where it is replaced.
        (Some(host), Some(_)) if host.start == host.end => host,
        (Some(host), _)
            if authority::begins(
                &bytes[host.start as usize..],
                (host.end - host.start) as usize,
                &mut table.known_authority,
            ) =>
        {
            host
        }
        (Some(_), _) => return Err(Rule::Authority),
        (None, _) if table.version == Version::Http11 => return Err(Rule::HostMissing),
        (None, _) => Span::default(),
    };
    // RFC 9112 §3.2.2: the target's authority wins.
    table.authority = target.authority.unwrap_or(host);
    table.path = target.path;
    table.framing = seen.framing;
    if table.method == Method::Connect {
        if !matches!(seen.framing, Framing::None | Framing::Length(0)) {
            return Err(Rule::BodyForbidden);
        }
        table.framing = Framing::None;
    }
    // RFC 9112 §9.3
    table.keep_alive = !seen.close && (table.version == Version::Http11 || seen.keep_alive);
    Ok(true)
}

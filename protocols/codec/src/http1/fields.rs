//! The field lines of a head: their offsets, and the rules that decide framing and persistence.
//!
//! It never looks at the start line. Invariant: after `read`, the lines lie one after the other, each ended by CRLF, with
//! nothing between them, so that a run of fields can be forwarded as one slice.

use crate::chars::{is_space, list};
use crate::error::Rule;
use crate::head::is_for_all;
use crate::head::{Field, Framing, HeadTable, Known, Span, Version};
use crate::limits::Limits;

/// What the fields say of framing, before the message's own rules.
pub(super) struct Seen {
    /// The Host field's value.
    pub(super) host: Option<Span>,
    pub(super) framing: Framing,
    pub(super) close: bool,
    pub(super) keep_alive: bool,
}

/// Reads tokenised `headers`, whose lines begin at `bytes[at]`, into the table. `bytes` ends with the head.
pub(super) fn read(
    bytes: &[u8],
    mut at: usize,
    headers: &[httparse::Header<'_>],
    table: &mut HeadTable,
    limits: &Limits,
    is_request: bool,
) -> Result<Seen, Rule> {
    let mut seen = Seen { host: None, framing: Framing::None, close: false, keep_alive: false };
    for header in headers {
        let field = place(bytes, at, header).ok_or(Rule::BareLf)?;
        at = next_line(bytes, &field).ok_or(Rule::BareLf)?;
        act(bytes, &field, table, &mut seen, is_request)?;
        table.seen |= field.known.bit();
        table.fields.push(field);
    }
    // The empty line, and nothing that the tokeniser skipped.
    if bytes.get(at..) != Some(b"\r\n") {
        return Err(Rule::BareLf);
    }
    if seen.framing == Framing::Chunked && table.content_length.is_some() {
        return Err(Rule::LengthAndCoding);
    }
    if let Some(length) = table.content_length {
        seen.framing = Framing::Length(length);
    }
    if table.seen & Known::Connection.bit() != 0 {
        connection_options(bytes, table, &mut seen, limits)?;
    } else {
        table.upgrade = None;
    }
    Ok(seen)
}

/// Where the field lies, if its line begins at `at`.
fn place(bytes: &[u8], at: usize, header: &httparse::Header<'_>) -> Option<Field> {
    let colon = at + header.name.len();
    if *bytes.get(colon)? != b':' {
        return None;
    }
    let mut value_start = colon + 1;
    while is_space(*bytes.get(value_start)?) {
        value_start += 1;
    }
    Some(Field {
        name_start: at as u32,
        name_len: u16::try_from(header.name.len()).ok()?,
        known: Known::from_name(header.name.as_bytes()),
        nominated: false,
        value_start: value_start as u32,
        value_len: header.value.len() as u32,
    })
}

/// Where the next line begins, if this one ends in OWS CRLF.
fn next_line(bytes: &[u8], field: &Field) -> Option<usize> {
    let mut end = (field.value_start + field.value_len) as usize;
    if bytes.get(end..end + 2)? == b"\r\n" {
        return Some(end + 2);
    }
    while is_space(*bytes.get(end)?) {
        end += 1;
    }
    (bytes.get(end..end + 2)? == b"\r\n").then_some(end + 2)
}

/// What a field does to the message.
#[inline]
fn act(bytes: &[u8], field: &Field, table: &mut HeadTable, seen: &mut Seen, is_request: bool) -> Result<(), Rule> {
    let start = field.value_start as usize;
    let value = &bytes[start..start + field.value_len as usize];
    let repeated = table.seen & field.known.bit() != 0;
    match field.known {
        Known::Host if repeated && is_request => return Err(Rule::HostRepeated),
        Known::Host => seen.host = Some(Span::new(start, start + value.len())),
        // RFC 9112 §6.3 would let equal ones be merged; that they are there says that somebody before us disagreed.
        Known::ContentLength if repeated => return Err(Rule::ContentLengthRepeated),
        Known::ContentLength => table.content_length = Some(content_length(value)?),
        Known::TransferEncoding if repeated => return Err(Rule::TransferCoding),
        Known::TransferEncoding => {
            if table.version == Version::Http10 {
                return Err(Rule::TransferCodingVersion);
            }
            transfer_coding(value)?;
            seen.framing = Framing::Chunked;
        }
        // RFC 9110 §2.5: HTTP/1.0 has no chunked coding, so no trailers.
        Known::Te if table.version == Version::Http11 => {
            table.te_trailers |= list(value).any(|coding| coding.eq_ignore_ascii_case(b"trailers"))
        }
        // RFC 9110 §10.1.1: an HTTP/1.0 expectation is ignored.
        Known::Expect if is_request && table.version == Version::Http11 => {
            if !value.eq_ignore_ascii_case(b"100-continue") {
                return Err(Rule::Expectation);
            }
            table.expect_continue = true;
        }
        Known::Upgrade if table.version == Version::Http11 && !repeated => {
            table.upgrade = u16::try_from(table.fields.len()).ok();
        }
        _ => {}
    }
    Ok(())
}

/// 1*DIGIT within 64 bits, RFC 9110 §8.6.
fn content_length(value: &[u8]) -> Result<u64, Rule> {
    if value.is_empty() {
        return Err(Rule::ContentLength);
    }
    let mut length = 0u64;
    for byte in value {
        if !byte.is_ascii_digit() {
            return Err(Rule::ContentLength);
        }
        length = length
            .checked_mul(10)
            .and_then(|length| length.checked_add(u64::from(byte - b'0')))
            .ok_or(Rule::ContentLength)?;
    }
    Ok(length)
}

/// Exactly `chunked`, RFC 9112 §6.1.
fn transfer_coding(value: &[u8]) -> Result<(), Rule> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    // 501 only where the list is well formed and the length could be found: chunked, once, as the last. Else 400.
    let mut members = value.split(|&b| b == b',').map(crate::chars::trim).rev();
    let last_is_chunked = members.next().is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked"));
    let others_are_others =
        members.all(|coding| crate::chars::is_token_all(coding) && !coding.eq_ignore_ascii_case(b"chunked"));
    Err(if last_is_chunked && others_are_others { Rule::TransferCodingUnknown } else { Rule::TransferCoding })
}

/// Applies the options of all Connection fields (RFC 9110 §7.6.1): persistence, and which fields are for this hop alone.
fn connection_options(bytes: &[u8], table: &mut HeadTable, seen: &mut Seen, limits: &Limits) -> Result<(), Rule> {
    let mut options = 0;
    let mut upgrade = false;
    for index in 0..table.fields.len() {
        let field = table.fields[index];
        if field.known != Known::Connection {
            continue;
        }
        let start = field.value_start as usize;
        // What nearly every message says. It nominates Keep-Alive, which is of the hop anyway.
        if &bytes[start..start + field.value_len as usize] == b"keep-alive" {
            seen.keep_alive = true;
            continue;
        }
        for option in list(&bytes[start..start + field.value_len as usize]) {
            options += 1;
            if options > limits.connection_options_max {
                return Err(Rule::TooManyConnectionOptions);
            }
            if option.eq_ignore_ascii_case(b"close") {
                seen.close = true;
            } else if option.eq_ignore_ascii_case(b"keep-alive") {
                seen.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                upgrade = true;
            } else if is_for_all(option) {
                return Err(Rule::Nominated);
            }
            nominate(bytes, &mut table.fields, option);
        }
    }
    // RFC 9110 §7.8: Upgrade counts only when Connection names it.
    if !upgrade {
        table.upgrade = None;
    }
    Ok(())
}

fn nominate(bytes: &[u8], fields: &mut [Field], option: &[u8]) {
    for field in fields {
        let start = field.name_start as usize;
        if usize::from(field.name_len) == option.len()
            && bytes[start..start + option.len()].eq_ignore_ascii_case(option)
        {
            field.nominated = true;
        }
    }
}

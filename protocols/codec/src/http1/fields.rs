//! The field lines of a head: their offsets, and the rules that decide framing and persistence.
//!
//! It never looks at the start line. Invariant: the lines that it has read lie one after the other, each ended by CRLF, with
//! nothing between them, so that a run of fields can be forwarded as one slice.

use super::lines::{Line, field_line, usual_line};
use crate::chars::{is_token_all, list, trim};
use crate::error::Rule;
use crate::head::{Field, Framing, HeadTable, Known, Span, Version, is_for_all};
use crate::limits::Limits;

/// What the fields say of framing, before the message's own rules.
pub(super) struct Seen {
    /// The Host field's value.
    pub(super) host: Option<Span>,
    pub(super) framing: Framing,
    pub(super) close: bool,
    pub(super) keep_alive: bool,
}

/// Reads the field lines at `bytes[at..]` into the table, and sets its end. `None` when the head is incomplete.
pub(super) fn read(
    bytes: &[u8],
    mut at: usize,
    table: &mut HeadTable,
    limits: &Limits,
    is_request: bool,
) -> Result<Option<Seen>, Rule> {
    let fields_max = limits.headers_max.min(table.headers_max as usize);
    let mut seen = Seen { host: None, framing: Framing::None, close: false, keep_alive: false };
    let mut has_options = false;
    loop {
        let rest = &bytes[at..];
        if rest.first_chunk() == Some(b"\r\n") {
            table.end = at as u32 + 2;
            break;
        }
        let (line, known) = match usual_line(rest, at) {
            Some(usual) => usual,
            None => match field_line(bytes, at)? {
                Line::Read(line) => {
                    let known = Known::from_name(&bytes[at..line.name_end]);
                    (line, known)
                }
                Line::More => return Ok(None),
                Line::Empty => unreachable!("looked for just now"),
            },
        };
        if table.fields.len() == fields_max {
            return Err(Rule::TooManyFields);
        }
        if known.bit() & ACTED_ON != 0 {
            let value = &bytes[line.value_start..line.value_end];
            match known {
                // What nearly every message says. It nominates Keep-Alive, which is of the hop anyway.
                Known::Connection if value == b"keep-alive" => seen.keep_alive = true,
                Known::Connection => has_options = true,
                // RFC 9112 §6.3 would let equal ones be merged; that they are there says that somebody before us disagreed.
                Known::ContentLength if table.seen & known.bit() != 0 => return Err(Rule::ContentLengthRepeated),
                Known::ContentLength => table.content_length = Some(content_length(value)?),
                Known::Host if is_request && table.seen & known.bit() != 0 => return Err(Rule::HostRepeated),
                Known::Host => seen.host = Some(Span::new(line.value_start, line.value_end)),
                _ => act(value, known, table, &mut seen, is_request)?,
            }
        }
        table.seen |= known.bit();
        table.fields.push(Field {
            name_start: at as u32,
            name_len: u16::try_from(line.name_end - at).map_err(|_| Rule::HeadTooLarge)?,
            known,
            nominated: false,
            value_start: line.value_start as u32,
            value_len: (line.value_end - line.value_start) as u32,
        });
        at = line.next;
    }
    if let Some(length) = table.content_length {
        if seen.framing == Framing::Chunked {
            return Err(Rule::LengthAndCoding);
        }
        seen.framing = Framing::Length(length);
    }
    if has_options {
        connection_options(bytes, table, &mut seen, limits)?;
    } else {
        table.upgrade = None;
    }
    Ok(Some(seen))
}

const ACTED_ON: u32 = Known::Host.bit()
    | Known::ContentLength.bit()
    | Known::TransferEncoding.bit()
    | Known::Te.bit()
    | Known::Expect.bit()
    | Known::Connection.bit()
    | Known::Upgrade.bit();

/// What a field of the less frequent ones does to the message.
#[inline(never)]
fn act(value: &[u8], known: Known, table: &mut HeadTable, seen: &mut Seen, is_request: bool) -> Result<(), Rule> {
    let repeated = table.seen & known.bit() != 0;
    match known {
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
            table.te_trailers |= list(value).any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
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
pub(crate) fn content_length(value: &[u8]) -> Result<u64, Rule> {
    // No overflow in the first 19 digits; leading zeros are digits too.
    const DIGITS_SAFE: usize = 19;
    let mut length = 0u64;
    for (at, byte) in value.iter().enumerate() {
        let digit = u64::from(byte.wrapping_sub(b'0'));
        if digit > 9 {
            return Err(Rule::ContentLength);
        }
        length = if at < DIGITS_SAFE {
            length * 10 + digit
        } else {
            length.checked_mul(10).and_then(|length| length.checked_add(digit)).ok_or(Rule::ContentLength)?
        };
    }
    if value.is_empty() { Err(Rule::ContentLength) } else { Ok(length) }
}

/// Exactly `chunked`, RFC 9112 §6.1.
fn transfer_coding(value: &[u8]) -> Result<(), Rule> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    // 501 only where the list is well formed and the length could be found: chunked, once, as the last. Else 400.
    let mut members = value.split(|&b| b == b',').map(trim).rev();
    let last_is_chunked = members.next().is_some_and(|coding| coding.eq_ignore_ascii_case(b"chunked"));
    let others_are_others = members.all(|coding| is_token_all(coding) && !coding.eq_ignore_ascii_case(b"chunked"));
    Err(if last_is_chunked && others_are_others { Rule::TransferCodingUnknown } else { Rule::TransferCoding })
}

/// Applies the options of all Connection fields (RFC 9110 §7.6.1): persistence, and which fields are for this hop alone.
#[inline(never)]
fn connection_options(bytes: &[u8], table: &mut HeadTable, seen: &mut Seen, limits: &Limits) -> Result<(), Rule> {
    let mut options = 0;
    let mut upgrade = false;
    for index in 0..table.fields.len() {
        let field = table.fields[index];
        if field.known != Known::Connection {
            continue;
        }
        let start = field.value_start as usize;
        let value = &bytes[start..start + field.value_len as usize];
        // What nearly every message says. It nominates Keep-Alive, which is of the hop anyway.
        if value == b"keep-alive" {
            seen.keep_alive = true;
            continue;
        }
        for option in list(value) {
            options += 1;
            if options > limits.connection_options_max {
                return Err(Rule::TooManyConnectionOptions);
            }
            // The first three name no field that could be forwarded anyway.
            if option.eq_ignore_ascii_case(b"keep-alive") {
                seen.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"close") {
                seen.close = true;
            } else if option.eq_ignore_ascii_case(b"upgrade") {
                upgrade = true;
            } else if is_for_all(option) {
                return Err(Rule::Nominated);
            } else {
                nominate(bytes, &mut table.fields, option);
            }
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

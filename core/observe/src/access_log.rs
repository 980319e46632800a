//! Lines of access logs: whether an exchange gets one, and the line itself as text or JSON.
//!
//! It asks the exchange through [`Values`], as format strings do, and appends to the caller's buffer. It knows no file.

use ringway_model::format::{Fact, Format, GrpcForm, Operator, Piece};
use ringway_model::{AccessLog, JsonNode, LogFilter, LogText};

use crate::format::{ABSENT, Value, Values, port, put_number, write, write_at_most};

/// Whether this exchange is worth a line. `chance` is a uniformly random number; the same number gives the same answer.
pub fn passes(log: &AccessLog, values: &impl Values, chance: u64) -> bool {
    log.filter.as_ref().is_none_or(|filter| filter_passes(filter, values, chance))
}

/// Appends what a format says: an object ends with a line feed, in a body as in a log.
pub fn write_text(text: &LogText, values: &impl Values, out: &mut Vec<u8>) {
    match text {
        LogText::Text { format, omit_empty } => write(format, values, if *omit_empty { b"" } else { ABSENT }, out),
        LogText::Json { object, omit_empty } => {
            // An object of which nothing is left is an object still.
            if !write_json(object, *omit_empty, values, out) {
                out.extend_from_slice(b"{}");
            }
            out.push(b'\n');
        }
    }
}

/// Whether an exchange passes a filter; see [`passes`].
pub fn filter_passes(filter: &LogFilter, values: &impl Values, chance: u64) -> bool {
    let number = |operator: Operator| match values.value(&operator) {
        Value::Number(number) => number,
        _ => 0,
    };
    let flags = || match values.value(&Operator::Fact(Fact::ResponseFlags)) {
        Value::Flags(flags) => flags,
        _ => crate::ResponseFlags::NONE,
    };
    match filter {
        LogFilter::Status(comparison) => comparison.passes(number(Operator::Fact(Fact::ResponseCode))),
        LogFilter::Duration(comparison) => comparison.passes(number(Operator::Fact(Fact::Duration))),
        LogFilter::NotHealthCheck => true,
        LogFilter::AnyFlag => !flags().is_empty(),
        LogFilter::Flags(wanted) => flags().intersects(*wanted),
        LogFilter::Sampled { numerator, denominator, independent } => {
            let by_id = if *independent { None } else { request_id_start(values) };
            by_id.unwrap_or(chance) % u64::from(*denominator) < u64::from(*numerator)
        }
        LogFilter::Header(matcher) => values.request_matches(matcher),
        LogFilter::GrpcStatus { statuses, exclude } => {
            // Without a status of its own, an exchange has that of its HTTP status, also when it is not gRPC's.
            let status = match values.value(&Operator::GrpcStatus(GrpcForm::Number)) {
                Value::Number(status) => status,
                _ => grpc_status_of(number(Operator::Fact(Fact::ResponseCode))),
            };
            statuses.iter().any(|other| u64::from(*other) == status) != *exclude
        }
        LogFilter::All(filters) => filters.iter().all(|filter| filter_passes(filter, values, chance)),
        LogFilter::Any(filters) => filters.iter().any(|filter| filter_passes(filter, values, chance)),
    }
}

/// The first 8 hexadecimal digits of the x-request-id: each proxy on the way samples the same requests (Envoy,
/// `RuntimeFilter`).
fn request_id_start(values: &impl Values) -> Option<u64> {
    let digits = values.request_header("x-request-id")?.get(..8)?;
    u64::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// The gRPC status that an HTTP status stands for (gRPC, "HTTP to gRPC status code mapping").
pub fn grpc_status_of(status: u64) -> u64 {
    match status {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}

/// Appends a value; false where it is absent or empty and is to be left out: then nothing was appended.
fn write_json(node: &JsonNode, omit_empty: bool, values: &impl Values, out: &mut Vec<u8>) -> bool {
    match node {
        JsonNode::Null if omit_empty => return false,
        JsonNode::Null => out.extend_from_slice(b"null"),
        JsonNode::Literal(text) => out.extend_from_slice(text.as_bytes()),
        JsonNode::Text(format) => return write_json_text(format, omit_empty, values, out),
        JsonNode::Object(members) => {
            let begin = out.len();
            out.push(b'{');
            for (name, node) in members {
                let before = out.len();
                if before > begin + 1 {
                    out.push(b',');
                }
                quote(out, |out| out.extend_from_slice(name.as_bytes()));
                out.push(b':');
                if !write_json(node, omit_empty, values, out) {
                    out.truncate(before);
                }
            }
            if omit_empty && out.len() == begin + 1 {
                out.truncate(begin);
                return false;
            }
            out.push(b'}');
        }
        JsonNode::List(items) => {
            let begin = out.len();
            out.push(b'[');
            for node in items {
                let before = out.len();
                if before > begin + 1 {
                    out.push(b',');
                }
                if !write_json(node, omit_empty, values, out) {
                    out.truncate(before);
                }
            }
            // A list stays, also when nothing is left of it.
            out.push(b']');
        }
    }
    true
}

/// A single operator keeps its type and may be absent; what has several pieces is a text.
fn write_json_text(format: &Format, omit_empty: bool, values: &impl Values, out: &mut Vec<u8>) -> bool {
    let [Piece::Value(operator, length_max)] = format.pieces() else {
        quote(out, |out| write(format, values, if omit_empty { b"" } else { ABSENT }, out));
        return true;
    };
    match values.value(operator) {
        Value::Absent if omit_empty => return false,
        value => write_json_value(operator, *length_max, value, out),
    }
    true
}

/// What a single operator says, as a JSON value of its type.
pub(crate) fn write_json_value(operator: &Operator, length_max: Option<usize>, value: Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Absent => out.extend_from_slice(b"null"),
        Value::Number(number) if !is_named(operator) => put_number(number, out),
        Value::Address(address) if port(operator, address).is_some() => put_number(u64::from(address.port()), out),
        value => quote(out, |out| write_at_most(operator, length_max, value, out)),
    }
}

/// Whether a number is written as a name.
fn is_named(operator: &Operator) -> bool {
    matches!(operator, Operator::GrpcStatus(GrpcForm::Camel | GrpcForm::Snake))
}

/// Appends a JSON string of what `write` appends.
pub(crate) fn quote(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    let begin = out.len();
    write(out);
    if !are_plain(&out[begin..]) {
        escape(begin, out);
    }
    out.push(b'"');
}

/// Whether a byte stands for itself in a JSON string.
fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e) && byte != b'"' && byte != b'\\'
}

/// Whether all bytes stand for themselves, which is the usual case: eight at a time.
fn are_plain(bytes: &[u8]) -> bool {
    const WORD: usize = size_of::<u64>();
    let is_word_plain = |word: &[u8; WORD]| is_plain_word(u64::from_le_bytes(*word));
    let Some(last) = bytes.last_chunk::<WORD>() else { return bytes.iter().all(|&byte| is_plain(byte)) };
    let (words, _) = bytes.as_chunks::<WORD>();
    words.iter().all(is_word_plain) && is_word_plain(last)
}

/// Whether each of the eight bytes stands for itself.
#[inline]
fn is_plain_word(word: u64) -> bool {
    const EACH: u64 = u64::MAX / 0xff;
    const HIGH: u64 = EACH * 0x80;
    // The high bit of a byte that is zero, if none before it was: whether there is any is right.
    let zeros = |word: u64| word.wrapping_sub(EACH) & !word;
    let of = |byte: u8| zeros(word ^ (EACH * u64::from(byte)));
    let small = word.wrapping_sub(EACH * 0x20) & !word;
    (word | small | of(b'"') | of(b'\\') | of(0x7f)) & HIGH == 0
}

/// Escapes what begins at `begin`, in place: the text grows to its end size once, and moves from its end.
fn escape(begin: usize, out: &mut Vec<u8>) {
    // In a text, bytes beyond ASCII stand for themselves; where there is no such text each is one character (Latin-1), and
    // Envoy then writes every escape in full.
    let is_text = std::str::from_utf8(&out[begin..]).is_ok();
    let size = |byte: u8| match byte {
        _ if is_plain(byte) || (is_text && byte >= 0x7f) => 1,
        _ if is_text && short(byte).is_some() => 2,
        _ => 6,
    };
    let old = out.len();
    let grown: usize = out[begin..].iter().map(|&byte| size(byte) - 1).sum();
    out.resize(old + grown, 0);
    let mut to = out.len();
    for from in (begin..old).rev() {
        let byte = out[from];
        let size = size(byte);
        to -= size;
        let place = &mut out[to..to + size];
        match size {
            1 => place[0] = byte,
            2 => place.copy_from_slice(&[b'\\', short(byte).expect("only those are written short")]),
            _ => {
                let digit = |value: u8| b"0123456789abcdef"[usize::from(value)];
                place.copy_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte & 15)]);
            }
        }
    }
    debug_assert_eq!(to, begin, "each byte has its place");
}

/// The letter of a short escape.
fn short(byte: u8) -> Option<u8> {
    Some(match byte {
        b'"' | b'\\' => byte,
        8 => b'b',
        b'\t' => b't',
        b'\n' => b'n',
        12 => b'f',
        b'\r' => b'r',
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use ringway_model::format::Surroundings;
    use ringway_model::{Comparison, ComparisonOp, LogSink, ResponseFlag, ResponseFlags};

    use super::*;
    use crate::Line;

    /// An exchange that ended with 503 after 12 ms because it could not connect.
    struct Sample;

    impl Values for Sample {
        fn value(&self, operator: &Operator) -> Value<'_> {
            match operator {
                Operator::Fact(Fact::ResponseCode) => Value::Number(503),
                Operator::Fact(Fact::Duration) => Value::Number(12),
                Operator::Fact(Fact::ResponseFlags) => Value::Flags(ResponseFlags::from(ResponseFlag::UF)),
                Operator::Fact(Fact::ResponseFlagsLong) => Value::Flags(ResponseFlags::NONE),
                Operator::Fact(Fact::Protocol) => Value::Text(b"HTTP/1.1"),
                Operator::Fact(Fact::UpstreamRemotePort | Fact::UpstreamHost) => {
                    Value::Address("10.0.0.1:8080".parse().expect("an address"))
                }
                Operator::Header { name, .. } if name == "text" => Value::Text("q\"\\\té€".as_bytes()),
                Operator::Header { name, .. } if name == "bytes" => Value::Text(b"q\"\\\t\xe9\xff"),
                Operator::Header { name, .. } if name == "empty" => Value::Text(b""),
                _ => Value::Absent,
            }
        }

        fn request_header(&self, name: &str) -> Option<&[u8]> {
            (name == "x-request-id").then_some(b"0000000a-89ab-4cde-8f01-23456789abcd")
        }
    }

    fn format(text: &str) -> JsonNode {
        JsonNode::Text(Format::parse(text, &Surroundings::NONE).expect("a format"))
    }

    #[track_caller]
    fn check_json(members: &[(&str, JsonNode)], expect: &str, expect_omitted: &str) {
        let members: Vec<_> = members.iter().map(|(name, node)| ((*name).to_owned(), node.clone())).collect();
        for (omit_empty, expect) in [(false, expect), (true, expect_omitted)] {
            let text = LogText::Json { object: JsonNode::Object(members.clone()), omit_empty };
            let line = Line::new(&text);
            let (mut out, mut by_steps) = (b"before".to_vec(), b"before".to_vec());
            write_text(&text, &Sample, &mut out);
            line.write(&Sample, &mut by_steps);
            for out in [out, by_steps] {
                assert_eq!(String::from_utf8_lossy(&out[6..]), format!("{expect}\n"), "{omit_empty}");
            }
        }
    }

    /// Each line as Envoy 1.40 writes it.
    #[test]
    fn json_keeps_types_and_leaves_out_what_is_empty_when_asked_to() {
        let absent = || format("%REQ(nope)%");
        check_json(&[], "{}", "{}");
        check_json(&[("a", absent())], r#"{"a":null}"#, "{}");
        check_json(
            &[
                ("code", format("%RESPONSE_CODE%")),
                ("empty", format("")),
                ("flags", format("%RESPONSE_FLAGS_LONG%")),
                ("header", format("%REQ(empty)%")),
                ("mixed", format("a%REQ(nope)%b%RESPONSE_CODE%")),
                ("port", format("%UPSTREAM_REMOTE_PORT%")),
                ("short", format("%PROTOCOL%:%UPSTREAM_HOST%")),
            ],
            r#"{"code":503,"empty":"","flags":"-","header":"","mixed":"a-b503","port":8080,"short":"HTTP/1.1:10.0.0.1:8080"}"#,
            r#"{"code":503,"empty":"","flags":"-","header":"","mixed":"ab503","port":8080,"short":"HTTP/1.1:10.0.0.1:8080"}"#,
        );
        check_json(
            &[
                ("list", JsonNode::List(vec![absent(), JsonNode::Literal("5.5".into()), JsonNode::Null])),
                ("none", JsonNode::List(vec![absent()])),
                ("object", JsonNode::Object(vec![("in".into(), absent()), ("on".into(), JsonNode::Object(vec![]))])),
            ],
            r#"{"list":[null,5.5,null],"none":[null],"object":{"in":null,"on":{}}}"#,
            r#"{"list":[5.5],"none":[]}"#,
        );
    }

    #[test]
    fn texts_are_escaped_once_and_bytes_that_are_none_as_latin_1() {
        let expect = r#"{"a\"b":"q\"\\\té€","b":"q\u0022\u005c\u0009\u00e9\u00ff"}"#;
        check_json(&[("a\"b", format("%REQ(text)%")), ("b", format("%REQ(bytes)%"))], expect, expect);
    }

    /// Every byte at every place, in words and in what is left of them: as one at a time.
    #[test]
    fn words_and_bytes_agree_on_what_is_plain() {
        for byte in 0..=255 {
            for (size, at) in [1, 7, 8, 9, 16, 23].into_iter().flat_map(|size| (0..size).map(move |at| (size, at))) {
                for fill in [b'a', b' ', b'!', b'#', b'~', b'[', b']'] {
                    let mut bytes = [fill; 23];
                    bytes[at] = byte;
                    assert_eq!(are_plain(&bytes[..size]), is_plain(byte), "{byte} at {at} of {size}");
                }
            }
        }
    }

    #[track_caller]
    fn check_filter(filter: LogFilter, expect: bool) {
        let text = LogText::Json { object: JsonNode::Object(vec![]), omit_empty: false };
        let log = AccessLog { sink: LogSink::Stdout, text, filter: Some(filter) };
        assert_eq!(passes(&log, &Sample, 7), expect, "{log:?}");
    }

    #[test]
    fn filters_pass_what_they_describe() {
        let status = |op, value| LogFilter::Status(Comparison { op, value });
        let is = |flag| LogFilter::Flags(ResponseFlags::from(flag));
        let sampled = |numerator, independent| LogFilter::Sampled { numerator, denominator: 100, independent };
        for (filter, expect) in [
            (status(ComparisonOp::AtLeast, 500), true),
            (status(ComparisonOp::AtMost, 499), false),
            (status(ComparisonOp::Equal, 503), true),
            (status(ComparisonOp::Unequal, 503), false),
            (LogFilter::Duration(Comparison { op: ComparisonOp::AtLeast, value: 12 }), true),
            (LogFilter::Duration(Comparison { op: ComparisonOp::AtLeast, value: 13 }), false),
            (LogFilter::NotHealthCheck, true),
            (LogFilter::AnyFlag, true),
            (is(ResponseFlag::UF), true),
            (is(ResponseFlag::DC), false),
            // By the id's 10, or by the 7 that chance gave.
            (sampled(10, false), false),
            (sampled(11, false), true),
            (sampled(8, true), true),
            (sampled(7, true), false),
            (LogFilter::GrpcStatus { statuses: vec![14], exclude: false }, true),
            (LogFilter::GrpcStatus { statuses: vec![14], exclude: true }, false),
            (LogFilter::All(vec![LogFilter::NotHealthCheck, is(ResponseFlag::DC)]), false),
            (LogFilter::Any(vec![is(ResponseFlag::DC), LogFilter::NotHealthCheck]), true),
        ] {
            check_filter(filter, expect);
        }
    }
}

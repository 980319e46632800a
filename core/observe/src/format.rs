//! Writes a format string down for one exchange.
//!
//! Who knows the exchange answers each operator with a [`Value`]; how a value is spelt is decided here, once for access logs
//! and for header operations. It appends to the caller's buffer and allocates nothing that the buffer has room for.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use ringway_model::HeaderMatcher;
use ringway_model::format::{Fact, Format, GrpcForm, Operator, Piece};

use crate::ResponseFlags;

/// What an operator says of one exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'v> {
    /// Nothing: `-` in a text.
    Absent,
    /// These bytes.
    Text(&'v [u8]),
    /// This number: a number in JSON, too. For `%GRPC_STATUS%` the status, whatever its form.
    Number(u64),
    /// An address. The operator says which part of it is asked for.
    Address(SocketAddr),
    /// The path of a unix socket, which has no port.
    Pipe(&'v [u8]),
    /// The reasons why an exchange went as it did.
    Flags(ResponseFlags),
    /// Nanoseconds since 1970.
    Time(u64),
    /// A UUID as text.
    Uuid([u8; 36]),
}

/// An exchange that can be asked.
pub trait Values {
    /// What this operator says. Of addresses it gives the whole one, of details the text with its blanks.
    fn value(&self, operator: &Operator) -> Value<'_>;

    /// The first field of the request with this name, in lower case.
    fn request_header(&self, name: &str) -> Option<&[u8]> {
        let _ = name;
        None
    }

    /// Whether the request's header is as wanted.
    fn request_matches(&self, matcher: &HeaderMatcher) -> bool {
        let _ = matcher;
        false
    }
}

/// What stands for a value that is absent.
pub const ABSENT: &[u8] = b"-";

/// Appends `format` as it reads for this exchange; `absent` stands for what an operator does not say: [`ABSENT`], or nothing
/// where empty values are left out.
pub fn write(format: &Format, values: &impl Values, absent: &[u8], out: &mut Vec<u8>) {
    for piece in format.pieces() {
        match piece {
            Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
            Piece::Value(operator, length_max) => {
                if !write_operator(operator, *length_max, values, out) {
                    out.extend_from_slice(absent);
                }
            }
        }
    }
}

/// Appends what one operator says; false where it says nothing.
pub(crate) fn write_operator(
    operator: &Operator,
    length_max: Option<usize>,
    values: &impl Values,
    out: &mut Vec<u8>,
) -> bool {
    let value = values.value(operator);
    write_at_most(operator, length_max, value, out);
    value != Value::Absent
}

/// Appends a value as `operator` wants it, cut after so many bytes.
pub(crate) fn write_at_most(operator: &Operator, length_max: Option<usize>, value: Value<'_>, out: &mut Vec<u8>) {
    let begin = out.len();
    write_value(operator, value, out);
    if let Some(length_max) = length_max {
        out.truncate(begin.saturating_add(length_max));
    }
}

/// Appends a value as `operator` wants it; false where there is none.
pub(crate) fn write_value(operator: &Operator, value: Value<'_>, out: &mut Vec<u8>) -> bool {
    match value {
        Value::Absent => return false,
        Value::Text(text) if is_one_word(operator) => {
            out.extend(text.iter().map(|&byte| if byte.is_ascii_whitespace() { b'_' } else { byte }));
        }
        Value::Text(text) if matches!(operator, Operator::QueryParameter(_)) => put_decoded(text, out),
        Value::Text(text) => out.extend_from_slice(text),
        Value::Number(number) => match operator {
            Operator::GrpcStatus(form) => grpc_status(*form, number, out),
            _ => put_number(number, out),
        },
        Value::Address(address) => put_address(operator, address, out),
        Value::Pipe(path) if !is_port(operator) => out.extend_from_slice(path),
        Value::Pipe(_) => {}
        Value::Flags(flags) if matches!(operator, Operator::Fact(Fact::ResponseFlagsLong)) => {
            for (at, flag) in flags.iter().enumerate() {
                out.extend_from_slice(if at == 0 { b"" } else { b"," });
                out.extend_from_slice(flag.long().as_bytes());
            }
            put_no_flag(flags, out);
        }
        Value::Flags(flags) => {
            for (at, flag) in flags.iter().enumerate() {
                out.extend_from_slice(if at == 0 { b"" } else { b"," });
                out.extend_from_slice(flag.short().as_bytes());
            }
            put_no_flag(flags, out);
        }
        Value::Time(nanos) => match operator {
            Operator::StartTime(format) | Operator::EmitTime(format) => format.write(nanos, out),
            _ => put_number(nanos, out),
        },
        Value::Uuid(text) => out.extend_from_slice(&text),
    }
    true
}

/// The number that an operator asks an address for, if it does.
pub(crate) fn port(operator: &Operator, address: SocketAddr) -> Option<u16> {
    is_port(operator).then(|| address.port())
}

fn is_port(operator: &Operator) -> bool {
    matches!(
        operator,
        Operator::Fact(
            Fact::UpstreamLocalPort
                | Fact::UpstreamRemotePort
                | Fact::DownstreamLocalPort
                | Fact::DownstreamDirectLocalPort
                | Fact::DownstreamRemotePort
                | Fact::DownstreamDirectRemotePort
        )
    )
}

/// An empty set is a text, too: `-`, also in JSON and where empty values are left out.
fn put_no_flag(flags: ResponseFlags, out: &mut Vec<u8>) {
    if flags.is_empty() {
        out.extend_from_slice(ABSENT);
    }
}

fn put_address(operator: &Operator, address: SocketAddr, out: &mut Vec<u8>) {
    let is_whole = !matches!(
        operator,
        Operator::Fact(
            Fact::UpstreamHostNameWithoutPort
                | Fact::UpstreamLocalAddressWithoutPort
                | Fact::UpstreamRemoteAddressWithoutPort
                | Fact::DownstreamLocalAddressWithoutPort
                | Fact::DownstreamDirectLocalAddressWithoutPort
                | Fact::DownstreamRemoteAddressWithoutPort
                | Fact::DownstreamDirectRemoteAddressWithoutPort
        )
    );
    if let Some(port) = port(operator, address) {
        return put_number(u64::from(port), out);
    }
    if let IpAddr::V4(ip) = address.ip() {
        put_ipv4(ip, out);
        if is_whole {
            out.push(b':');
            put_number(u64::from(address.port()), out);
        }
        return;
    }
    // Writing to a vector cannot fail.
    let _never = if is_whole { write!(out, "{address}") } else { write!(out, "{}", address.ip()) };
}

/// As the standard library writes it, in a tenth of the instructions.
fn put_ipv4(address: Ipv4Addr, out: &mut Vec<u8>) {
    let mut text = [b'.'; 15];
    let mut at = 0;
    for octet in address.octets() {
        let digit = |by: u8| b'0' + octet / by % 10;
        if octet >= 100 {
            text[at] = digit(100);
            at += 1;
        }
        if octet >= 10 {
            text[at] = digit(10);
            at += 1;
        }
        text[at] = digit(1);
        // The point that stands there already.
        at += 2;
    }
    out.extend_from_slice(&text[..at - 1]);
}

/// Whether blanks become `_`: these texts are phrases, and a line is cut at its blanks.
fn is_one_word(operator: &Operator) -> bool {
    matches!(
        operator,
        Operator::ResponseCodeDetails { blanks: false }
            | Operator::Fact(Fact::UpstreamTransportFailureReason | Fact::DownstreamTransportFailureReason)
    )
}

/// A query's value, its `%41` decoded; what is no such escape stays.
fn put_decoded(text: &[u8], out: &mut Vec<u8>) {
    let digit = |at: usize| text.get(at).and_then(|&byte| char::from(byte).to_digit(16));
    let mut at = 0;
    while at < text.len() {
        match (text[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
}

/// A number in decimal.
pub(crate) fn put_number(number: u64, out: &mut Vec<u8>) {
    ringway_model::format::put_number(number, 1, b'0', out);
}

/// The names of gRPC's statuses, by number (gRPC, "Status codes and their use in gRPC").
const GRPC: [(&str, &str); 17] = [
    ("OK", "OK"),
    ("Canceled", "CANCELLED"),
    ("Unknown", "UNKNOWN"),
    ("InvalidArgument", "INVALID_ARGUMENT"),
    ("DeadlineExceeded", "DEADLINE_EXCEEDED"),
    ("NotFound", "NOT_FOUND"),
    ("AlreadyExists", "ALREADY_EXISTS"),
    ("PermissionDenied", "PERMISSION_DENIED"),
    ("ResourceExhausted", "RESOURCE_EXHAUSTED"),
    ("FailedPrecondition", "FAILED_PRECONDITION"),
    ("Aborted", "ABORTED"),
    ("OutOfRange", "OUT_OF_RANGE"),
    ("Unimplemented", "UNIMPLEMENTED"),
    ("Internal", "INTERNAL"),
    ("Unavailable", "UNAVAILABLE"),
    ("DataLoss", "DATA_LOSS"),
    ("Unauthenticated", "UNAUTHENTICATED"),
];

fn grpc_status(form: GrpcForm, status: u64, out: &mut Vec<u8>) {
    let names = usize::try_from(status).ok().and_then(|at| GRPC.get(at));
    match (form, names) {
        (GrpcForm::Camel, Some((camel, _))) => out.extend_from_slice(camel.as_bytes()),
        (GrpcForm::Snake, Some((_, snake))) => out.extend_from_slice(snake.as_bytes()),
        (GrpcForm::Number, _) | (_, None) => put_number(status, out),
    }
}

#[cfg(test)]
mod tests {
    use ringway_model::format::{HeaderSource, Surroundings};

    use super::*;
    use crate::ResponseFlag;

    /// An exchange that says something of everything.
    struct Sample;

    impl Values for Sample {
        fn value(&self, operator: &Operator) -> Value<'_> {
            match operator {
                Operator::Header { of: HeaderSource::Request, name, .. } if name == "a" => Value::Text(b"value of a"),
                Operator::Fact(Fact::ResponseCode) => Value::Number(404),
                Operator::Fact(Fact::ResponseFlags | Fact::ResponseFlagsLong) => {
                    let mut flags = ResponseFlags::from(ResponseFlag::UF);
                    flags.insert(ResponseFlag::URX);
                    Value::Flags(flags)
                }
                Operator::Fact(Fact::DownstreamLocalAddress) => Value::Address("[::1]:80".parse().expect("an address")),
                Operator::Fact(_) if format!("{operator:?}").contains("Upstream") => {
                    Value::Address("10.0.0.1:8080".parse().expect("an address"))
                }
                Operator::QueryParameter(_) => Value::Text(b"%41b%4%zz%"),
                Operator::StartTime(_) => Value::Time(784_111_777_012_345_678),
                Operator::GrpcStatus(_) => Value::Number(5),
                Operator::ResponseCodeDetails { .. } => Value::Text(b"a b"),
                Operator::Fact(Fact::UniqueId) => Value::Uuid(*b"01234567-89ab-4cde-8f01-23456789abcd"),
                _ => Value::Absent,
            }
        }
    }

    #[track_caller]
    fn check(format: &str, expect: &str) {
        let format = Format::parse(format, &Surroundings::NONE).expect("a format");
        let mut out = b"| ".to_vec();
        write(&format, &Sample, ABSENT, &mut out);
        assert_eq!(String::from_utf8_lossy(&out[2..]), expect);
    }

    #[test]
    fn ipv4_addresses_are_written_as_the_standard_library_does() {
        for octet in 0..=255 {
            let address = Ipv4Addr::new(octet, 255 - octet, octet / 2, octet / 10);
            let mut out = Vec::new();
            put_ipv4(address, &mut out);
            assert_eq!(String::from_utf8(out), Ok(address.to_string()));
        }
    }

    #[test]
    fn values_are_spelt_as_their_operators_ask() {
        check("%REQ(a)% %REQ(A):5% %REQ(b)% %REQ(a):0%", "value of a value - ");
        check("%RESPONSE_CODE%%%", "404%");
        check("%RESPONSE_FLAGS% %RESPONSE_FLAGS_LONG%", "URX,UF UpstreamRetryLimitExceeded,UpstreamConnectionFailure");
        check("%DOWNSTREAM_LOCAL_ADDRESS%", "[::1]:80");
        check("%UPSTREAM_REMOTE_ADDRESS% %UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "10.0.0.1:8080 10.0.0.1");
        check("%UPSTREAM_REMOTE_PORT% %UPSTREAM_HOST%", "8080 10.0.0.1:8080");
        check("[%START_TIME%] %START_TIME(%s)%", "[1994-11-06T08:49:37.012Z] 784111777");
        check("%GRPC_STATUS% %GRPC_STATUS(SNAKE_STRING)% %GRPC_STATUS_NUMBER%", "NotFound NOT_FOUND 5");
        check("%RESPONSE_CODE_DETAILS% %RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)%", "a_b a b");
        check("%QUERY_PARAM(a)%", "Ab%4%zz%");
        check("%UNIQUE_ID%", "01234567-89ab-4cde-8f01-23456789abcd");
    }
}

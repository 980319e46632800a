//! How a call ends: a code and a text, as the fields that say so ("gRPC over HTTP2", Responses).

use std::fmt::Write as _;

use http::{HeaderMap, HeaderValue};

/// The codes that are said here, by gRPC's numbers (statuscodes.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// It is answered.
    Ok = 0,
    /// What was asked is not to be asked so.
    InvalidArgument = 3,
    /// The client was too slow.
    DeadlineExceeded = 4,
    /// A message is too large.
    ResourceExhausted = 8,
    /// There is no such method, or it is not called so.
    Unimplemented = 12,
    /// Try again.
    Unavailable = 14,
}

/// A code, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    /// `grpc-status`.
    pub(crate) code: Code,
    /// `grpc-message`, before its encoding.
    pub(crate) text: String,
}

impl Status {
    /// One with this text.
    pub(crate) fn new(code: Code, text: impl Into<String>) -> Status {
        Status { code, text: text.into() }
    }

    /// Adds the fields that say it.
    pub(super) fn write(&self, fields: &mut HeaderMap) {
        fields.insert("grpc-status", HeaderValue::from(self.code as u16));
        if !self.text.is_empty() {
            let text = HeaderValue::from_str(&encoded(&self.text)).expect("what is no ASCII is encoded");
            fields.insert("grpc-message", text);
        }
    }
}

/// The longest text that is said, once it is encoded: clients bound the fields behind an answer to 8 KiB.
const TEXT_BYTES_MAX: usize = 2 << 10;

/// Percent-encoded, all but printable ASCII.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(char::from(byte)),
            _ => _ = write!(out, "%{byte:02X}"),
        }
        if out.len() >= TEXT_BYTES_MAX {
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: &Status, expect: &[(&str, &str)]) {
        let mut fields = HeaderMap::new();
        status.write(&mut fields);
        let found: Vec<_> =
            fields.iter().map(|(name, value)| (name.as_str(), value.to_str().expect("ASCII"))).collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn a_status_is_a_number_and_an_encoded_text() {
        check(&Status::new(Code::Ok, ""), &[("grpc-status", "0")]);
        check(
            &Status::new(Code::InvalidArgument, "50 % of \"ü\"\n"),
            &[("grpc-status", "3"), ("grpc-message", "50 %25 of \"%C3%BC\"%0A")],
        );
    }

    #[test]
    fn a_long_text_is_cut() {
        let mut fields = HeaderMap::new();
        Status::new(Code::Unavailable, "ü".repeat(TEXT_BYTES_MAX)).write(&mut fields);
        let length = fields["grpc-message"].len();
        assert!((TEXT_BYTES_MAX..TEXT_BYTES_MAX + 3).contains(&length), "{length}");
    }
}

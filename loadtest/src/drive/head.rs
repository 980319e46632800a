//! What a response's head of HTTP/2 says of its answer: its status, and how much content comes.
//!
//! A head that RFC 9113 §8.1.1 calls malformed is none: what it says would be counted as an answer. Cost: one look at each field's name.

use ringway_protocols::hpack::Field;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// 100 to 999.
    pub(super) status: u16,
    /// What `content-length` says, in bytes.
    length: Option<u64>,
}

impl Head {
    /// The head that these fields are; `None`: it is malformed.
    pub(super) fn read<'a>(fields: impl Iterator<Item = Field<'a>>) -> Option<Head> {
        let (mut status, mut length, mut is_first) = (None, None, true);
        for field in fields {
            match field.name {
                // The only pseudo-field that there is, before all others (RFC 9113 §8.3).
                b":status" if is_first => status = Some(status_of(field.value)?),
                [b':', ..] => return None,
                b"content-length" => {
                    let bytes = digits(field.value)?;
                    // RFC 9110 §8.6: the same twice is pardoned.
                    if length.replace(bytes).is_some_and(|before| before != bytes) {
                        return None;
                    }
                }
                _ => {}
            }
            is_first = false;
        }
        Some(Head { status: status?, length })
    }

    /// Whether the final head follows.
    pub(super) fn is_interim(self) -> bool {
        self.status < 200
    }

    /// Bytes of content that have to come; `None`: nobody says. Whatever else it says, there are none `to_head` requests and of 204 and 304 (RFC 9110
    /// §6.4.1).
    pub(super) fn content(self, to_head: bool) -> Option<u64> {
        if to_head || matches!(self.status, 204 | 304) { Some(0) } else { self.length }
    }
}

/// The value of `grpc-status`, where it is a number.
pub(super) fn grpc_status<'a>(mut fields: impl Iterator<Item = Field<'a>>) -> Option<u32> {
    let status = fields.find(|field| field.name == b"grpc-status")?;
    u32::try_from(digits(status.value)?).ok()
}

/// Three digits, and no less than 100 (RFC 9110 §15).
fn status_of(value: &[u8]) -> Option<u16> {
    match *value {
        [a @ b'1'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9'] => {
            Some(u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0'))
        }
        _ => None,
    }
}

/// A number of one digit and more, and nothing else; `None` also where it is 2^64 and more.
fn digits(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |number, digit| match digit {
        b'0'..=b'9' => number.checked_mul(10)?.checked_add(u64::from(digit - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = Field<'a>> {
        let field = |(name, value): &(&'a str, &'a str)| Field {
            name: name.as_bytes(),
            value: value.as_bytes(),
            never_indexed: false,
        };
        pairs.iter().map(field)
    }

    #[track_caller]
    fn check(pairs: &[(&str, &str)], expected: Option<(u16, Option<u64>)>) {
        let head = Head::read(fields(pairs));
        assert_eq!(head.map(|head| (head.status, head.length)), expected, "{pairs:?}");
    }

    #[test]
    fn a_status_has_three_digits() {
        for (value, status) in [("200", 200), ("100", 100), ("999", 999)] {
            check(&[(":status", value), ("server", "x")], Some((status, None)));
        }
        // 65736 is 200 modulo 2^16.
        for wrong in ["", "20", "099", "0200", "+20", "+200", "-20", "2x0", " 200", "65736", "2000"] {
            check(&[(":status", wrong)], None);
        }
        check(&[("server", "x")], None);
        check(&[(":status", "200"), (":status", "200")], None);
    }

    #[test]
    fn a_length_is_a_number() {
        let head = |length| [(":status", "200"), ("content-length", length)];
        for (value, bytes) in
            [("0", 0), ("0017", 17), ("4294967301", 4_294_967_301), ("18446744073709551615", u64::MAX)]
        {
            check(&head(value), Some((200, Some(bytes))));
        }
        for wrong in ["", "+5", "-1", "5 ", "5,5", "0x5", "18446744073709551616"] {
            check(&head(wrong), None);
        }
        check(&[(":status", "200"), ("content-length", "5"), ("content-length", "5")], Some((200, Some(5))));
        check(&[(":status", "200"), ("content-length", "5"), ("content-length", "6")], None);
    }

    #[test]
    fn how_much_content_comes() {
        let content = |status, length, to_head| Head { status, length }.content(to_head);
        assert_eq!(content(200, Some(7), false), Some(7));
        assert_eq!(content(200, None, false), None);
        for (status, to_head) in [(200, true), (204, false), (304, false)] {
            assert_eq!(content(status, Some(7), to_head), Some(0), "{status} {to_head}");
            assert_eq!(content(status, None, to_head), Some(0), "{status} {to_head}");
        }
    }

    #[test]
    fn the_status_of_a_call() {
        for (pairs, status) in [
            (&[("x", "1"), ("grpc-status", "0"), ("grpc-message", "")][..], Some(0)),
            (&[("grpc-status", "16")], Some(16)),
            (&[("grpc-status", "")], None),
            (&[("grpc-status", "+1")], None),
            (&[("grpc-status", "4294967296")], None),
            (&[("x", "1")], None),
        ] {
            assert_eq!(grpc_status(fields(pairs)), status, "{pairs:?}");
        }
    }
}

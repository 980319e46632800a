//! Names of fields in HTTP/2: what each means, by the static table where the block named it so.
//!
//! It never looks at values. Cost: a name of the static table is one look-up; any other is looked at once, sixteen bytes at a time.

use crate::chars::is_token;
use crate::error::Rule;
use crate::head::Known;
use crate::hpack::{Named, STATIC_LEN, static_name};
use crate::lane::{ALL, LANE_BYTES, Lane};

/// The pseudo-fields there are (RFC 9113 §8.3, RFC 8441 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pseudo {
    Method,
    Scheme,
    Authority,
    Path,
    Status,
    Protocol,
}

impl Pseudo {
    pub(super) const COUNT: usize = 6;

    /// What a name that begins with a colon is.
    pub(super) fn from_name(name: &[u8]) -> Option<Self> {
        Some(match name {
            b":method" => Self::Method,
            b":scheme" => Self::Scheme,
            b":authority" => Self::Authority,
            b":path" => Self::Path,
            b":status" => Self::Status,
            b":protocol" => Self::Protocol,
            _ => return None,
        })
    }
}

/// What the name of a field is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// It begins with a colon.
    Pseudo,
    /// A crumb of a cookie, perhaps one of several (RFC 9113 §8.2.3).
    Cookie,
    /// Any other, and whether somebody acts on it.
    Field(Known),
}

impl Name {
    /// Of a field as it was listed.
    ///
    /// # Errors
    /// A name that is empty, no token, or not in lower case (RFC 9113 §8.2.1).
    #[inline(always)]
    pub(super) fn of(field: &Named<'_>) -> Result<Self, Rule> {
        match field.static_name {
            0 => Self::read(field),
            index => Ok(STATIC[usize::from(index)]),
        }
    }

    #[inline]
    fn read(field: &Named<'_>) -> Result<Self, Rule> {
        let name = field.name();
        let lane = Lane::first_of(field.bytes_at_name());
        let usual = lane.within(b'a', b'z').or(lane.equal(b'-')).or(lane.within(b'0', b'9'));
        let others = !usual.bits() & ALL;
        let is_usual = match name.len() {
            0 => false,
            len @ 1..LANE_BYTES => others & ((1 << len) - 1) == 0,
            _ => others == 0 && name[LANE_BYTES..].iter().all(|&byte| is_usual(byte)),
        };
        if !is_usual {
            return Self::read_unusual(name);
        }
        Ok(match Known::of_letters(name, lane) {
            Known::Other if name == b"cookie" => Self::Cookie,
            known => Self::Field(known),
        })
    }

    #[cold]
    fn read_unusual(name: &[u8]) -> Result<Self, Rule> {
        match name {
            [b':', ..] => Ok(Self::Pseudo),
            // No name that is known has other bytes than the usual ones, but for x-envoy-'s.
            name if !name.is_empty() && name.iter().all(|&byte| is_token(byte)) => {
                if name.iter().any(u8::is_ascii_uppercase) {
                    Err(Rule::NameCase)
                } else {
                    Ok(Self::Field(Known::from_name(name)))
                }
            }
            _ => Err(Rule::FieldName),
        }
    }
}

fn is_usual(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'-' | b'0'..=b'9')
}

/// What the names of the static table are, by their index.
static STATIC: [Name; STATIC_LEN + 1] = {
    let mut table = [Name::Field(Known::Other); STATIC_LEN + 1];
    let mut index = 1;
    while index <= STATIC_LEN {
        let name = static_name(index).as_bytes();
        table[index] = if name[0] == b':' {
            Name::Pseudo
        } else if is_same(name, b"cookie") {
            Name::Cookie
        } else {
            let (mut known, mut at) = (Known::Other, 0);
            while at < Known::ALL.len() {
                if is_same(name, Known::ALL[at].1.as_bytes()) {
                    known = Known::ALL[at].0;
                }
                at += 1;
            }
            Name::Field(known)
        };
        index += 1;
    }
    table
};

const fn is_same(one: &[u8], other: &[u8]) -> bool {
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    one.len() == other.len() && at == one.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_static_table_says_what_the_bytes_say() {
        for (index, name) in STATIC.iter().enumerate().skip(1) {
            let text = static_name(index).as_bytes();
            let expect = match text {
                [b':', ..] => Name::Pseudo,
                b"cookie" => Name::Cookie,
                text => Name::Field(Known::from_name(text)),
            };
            assert_eq!(*name, expect, "{index}");
            assert_eq!(text[0] == b':', Pseudo::from_name(text).is_some(), "{index}");
        }
    }
}

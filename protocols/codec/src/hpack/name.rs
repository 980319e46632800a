//! What HTTP/2 makes of a field's name, and whether its value is one (RFC 9113 §8.2, §8.3): found out once for an entry of a table, not
//! each time that a block refers to it.
//!
//! Cost: a name or a value is looked at once, sixteen bytes at a time.

use super::line;
use crate::chars::{is_space, is_token, is_value};
use crate::error::Rule;
use crate::head::Known;
use crate::lane::{ALL, LANE_BYTES, Lane};

/// The pseudo-fields there are (RFC 9113 §8.3, RFC 8441 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pseudo {
    Method,
    Scheme,
    Authority,
    Path,
    Status,
    Protocol,
}

impl Pseudo {
    pub(crate) const COUNT: usize = 6;

    /// What a name that begins with a colon is.
    const fn from_name(name: &[u8]) -> Option<Self> {
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
pub(crate) enum Name {
    /// Nobody has looked, or what was seen is wrong: to be read where it matters.
    Unread,
    /// One that begins with a colon.
    Pseudo(Pseudo),
    /// A crumb of a cookie, perhaps one of several (RFC 9113 §8.2.3).
    Cookie,
    /// Any other, and whether somebody acts on it.
    Field(Known),
}

impl Name {
    /// Reads the name at the front of `bytes`, which may go on behind it.
    ///
    /// # Errors
    /// A name that is empty, no token, not in lower case (RFC 9113 §8.2.1), or of a pseudo-field that does not exist.
    #[inline]
    pub(crate) fn read(bytes: &[u8], len: usize) -> Result<Self, Rule> {
        let name = &bytes[..len];
        let lane = Lane::first_of(bytes);
        let usual = lane.within(b'a', b'z').or(lane.equal(b'-')).or(lane.within(b'0', b'9'));
        let others = !usual.bits() & ALL;
        let is_usual = match len {
            0 => false,
            1..LANE_BYTES => others & ((1 << len) - 1) == 0,
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
            [b':', ..] => Pseudo::from_name(name).map(Self::Pseudo).ok_or(Rule::PseudoUnknown),
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

    /// What an entry is that has this line: unread, where its name or its value is wrong. `known`: what is known of its name.
    pub(super) fn of_entry(line: &[u8], name_len: usize, known: Self) -> Self {
        let (_, value) = line::split(line, name_len);
        match known {
            _ if check_value(&line[name_len + line::BETWEEN.len()..], value.len()).is_err() => Self::Unread,
            Self::Unread => Self::read(line, name_len).unwrap_or(Self::Unread),
            known => known,
        }
    }

    /// Of a name in the static table.
    pub(super) const fn of_static(name: &[u8]) -> Self {
        if let Some(pseudo) = Pseudo::from_name(name) {
            return Self::Pseudo(pseudo);
        }
        if is_same(name, b"cookie") {
            return Self::Cookie;
        }
        let mut at = 0;
        while at < Known::ALL.len() {
            if is_same(name, Known::ALL[at].1.as_bytes()) {
                return Self::Field(Known::ALL[at].0);
            }
            at += 1;
        }
        Self::Field(Known::Other)
    }
}

fn is_usual(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'-' | b'0'..=b'9')
}

pub(super) const fn is_same(one: &[u8], other: &[u8]) -> bool {
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    one.len() == other.len() && at == one.len()
}

/// Whether the value at the front of `bytes`, which may go on behind it, has no control bytes (RFC 9110 §5.5) and no whitespace at its
/// ends (RFC 9113 §8.2.1).
///
/// # Errors
/// The rule that it breaks.
#[inline]
pub(crate) fn check_value(bytes: &[u8], len: usize) -> Result<(), Rule> {
    let mut at = 0;
    while at < len {
        let lane = Lane::first_of(&bytes[at..]);
        let controls = lane.within(0, 0x1f).or(lane.equal(0x7f)).bits();
        let here = if len - at < LANE_BYTES { (1 << (len - at)) - 1 } else { ALL };
        if controls & here != 0 {
            return check_odd_value(&bytes[..len]);
        }
        at += LANE_BYTES;
    }
    if len > 0 && (bytes[0] == b' ' || bytes[len - 1] == b' ') { Err(Rule::ValueSpace) } else { Ok(()) }
}

/// The same of a value that has a tab, or something worse.
#[cold]
fn check_odd_value(value: &[u8]) -> Result<(), Rule> {
    if !value.iter().all(|&byte| is_value(byte)) {
        return Err(Rule::FieldValue);
    }
    let is_blank = |byte: Option<&u8>| byte.is_some_and(|&byte| is_space(byte));
    if is_blank(value.first()) || is_blank(value.last()) { Err(Rule::ValueSpace) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_known_where_name_and_value_are_right() {
        for (name, value, expect) in [
            ("te", "trailers", Name::Field(Known::Te)),
            ("x-some", "", Name::Field(Known::Other)),
            ("cookie", "a=b", Name::Cookie),
            (":path", "/", Name::Pseudo(Pseudo::Path)),
            (":paths", "/", Name::Unread),
            ("", "value", Name::Unread),
            ("Te", "trailers", Name::Unread),
            ("t e", "trailers", Name::Unread),
            ("te", " trailers", Name::Unread),
            ("te", "trailers\t", Name::Unread),
            ("te", "trail\ters", Name::Field(Known::Te)),
            ("x-a-name-longer-than-a-lane", "a value longer than a lane\r\n", Name::Unread),
            ("x-a-name-longer-than-a-lane", "a value longer than a lane\0", Name::Unread),
        ] {
            let mut line = Vec::new();
            line::put(name.as_bytes(), value.as_bytes(), &mut line);
            assert_eq!(Name::of_entry(&line, name.len(), Name::Unread), expect, "{name}: {value}");
        }
    }
}

//! The static table (RFC 7541 appendix A), and finding a name in it.

use super::line;
use super::name::{Name, is_same};
use super::table::Found;

/// Entries of the static table; the dynamic table's begin behind them.
pub(super) const LEN: usize = 61;

/// Name and value of index 1, 2, ... Names that stand in it more than once stand together.
#[rustfmt::skip]
pub(super) static ENTRIES: [(&str, &str); LEN] = [
    (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"), (":path", "/index.html"),
    (":scheme", "http"), (":scheme", "https"), (":status", "200"), (":status", "204"), (":status", "206"),
    (":status", "304"), (":status", "400"), (":status", "404"), (":status", "500"), ("accept-charset", ""),
    ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""), ("accept", ""),
    ("access-control-allow-origin", ""), ("age", ""), ("allow", ""), ("authorization", ""), ("cache-control", ""),
    ("content-disposition", ""), ("content-encoding", ""), ("content-language", ""), ("content-length", ""),
    ("content-location", ""), ("content-range", ""), ("content-type", ""), ("cookie", ""), ("date", ""), ("etag", ""),
    ("expect", ""), ("expires", ""), ("from", ""), ("host", ""), ("if-match", ""), ("if-modified-since", ""),
    ("if-none-match", ""), ("if-range", ""), ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""),
    ("location", ""), ("max-forwards", ""), ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""),
    ("referer", ""), ("refresh", ""), ("retry-after", ""), ("server", ""), ("set-cookie", ""),
    ("strict-transport-security", ""), ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""), ("via", ""),
    ("www-authenticate", ""),
];

/// Places of [`BY_NAME`].
const PLACES: usize = 128;

/// The first index of each name, by its [`place`]; 0 where there is none. No two names share one.
static BY_NAME: [u8; PLACES] = by_name();

const fn by_name() -> [u8; PLACES] {
    let mut table = [0; PLACES];
    let mut at = 0;
    while at < LEN {
        let name = ENTRIES[at].0.as_bytes();
        if at == 0 || !is_same(name, ENTRIES[at - 1].0.as_bytes()) {
            assert!(table[place(name)] == 0, "a place of its own");
            table[place(name)] = at as u8 + 1;
        }
        at += 1;
    }
    table
}

/// A number of the name, which has a byte: its length and three of its bytes, by factors that were tried until no two names of the table agreed.
const fn place(name: &[u8]) -> usize {
    let len = name.len();
    (len * 60 + name[0] as usize * 16 + name[len - 1] as usize * 45 + name[len / 2] as usize * 17) % PLACES
}

/// For each first index, how many entries have its name.
static COUNTS: [u8; LEN + 1] = counts();

const fn counts() -> [u8; LEN + 1] {
    let mut counts = [0; LEN + 1];
    let (mut at, mut first) = (0, 1);
    while at < LEN {
        if at > 0 && !is_same(ENTRIES[at].0.as_bytes(), ENTRIES[at - 1].0.as_bytes()) {
            first = at + 1;
        }
        counts[first] += 1;
        at += 1;
    }
    counts
}

/// Bytes of all lines.
const TEXT_BYTES: usize = text_bytes();

const fn text_bytes() -> usize {
    let (mut bytes, mut at) = (0, 0);
    while at < LEN {
        bytes += ENTRIES[at].0.len() + ENTRIES[at].1.len() + line::OVERHEAD;
        at += 1;
    }
    bytes
}

/// The entries as lines, one behind the other, so that a field is copied at once; and where each begins.
static TEXT: ([u8; TEXT_BYTES], [u16; LEN]) = text();

const fn text() -> ([u8; TEXT_BYTES], [u16; LEN]) {
    let (mut text, mut starts) = ([0; TEXT_BYTES], [0; LEN]);
    let (mut end, mut at) = (0, 0);
    while at < LEN {
        starts[at] = end as u16;
        let parts = [ENTRIES[at].0.as_bytes(), line::BETWEEN, ENTRIES[at].1.as_bytes(), line::END];
        let mut part = 0;
        while part < parts.len() {
            let mut byte = 0;
            while byte < parts[part].len() {
                text[end] = parts[part][byte];
                (byte, end) = (byte + 1, end + 1);
            }
            part += 1;
        }
        at += 1;
    }
    (text, starts)
}

/// The entry of a static index.
#[inline]
pub(super) fn get(index: usize) -> Found<'static> {
    let (name, value) = ENTRIES[index - 1];
    let start = usize::from(TEXT.1[index - 1]);
    let line = &TEXT.0[start..start + name.len() + value.len() + line::OVERHEAD];
    Found { line, name_len: name.len(), name: NAMES[index - 1], follower: 0 }
}

/// What the names are.
static NAMES: [Name; LEN] = names();

const fn names() -> [Name; LEN] {
    let mut names = [Name::Unread; LEN];
    let mut at = 0;
    while at < LEN {
        names[at] = Name::of_static(ENTRIES[at].0.as_bytes());
        at += 1;
    }
    names
}

/// The first index of `name`; 0 where there is none.
#[inline]
pub(super) fn find_name(name: &[u8]) -> usize {
    if name.is_empty() {
        return 0;
    }
    match usize::from(BY_NAME[place(name)]) {
        0 => 0,
        index if ENTRIES[index - 1].0.as_bytes() == name => index,
        _ => 0,
    }
}

/// The index of a field whose name has the index `first`; `None` where its value is not there.
#[inline]
pub(super) fn find_value(first: usize, value: &[u8]) -> Option<usize> {
    (first..first + usize::from(COUNTS[first])).find(|&index| ENTRIES[index - 1].1.as_bytes() == value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_entry_is_found_by_name_and_value() {
        for index in 1..=LEN {
            let (name, value) = (ENTRIES[index - 1].0.as_bytes(), ENTRIES[index - 1].1.as_bytes());
            let first = find_name(name);
            assert!(first >= 1 && first <= index && ENTRIES[first - 1].0.as_bytes() == name);
            let found = get(index);
            assert_eq!(
                (line::split(found.line, found.name_len), found.name),
                ((name, value), Name::read(found.line, name.len()).unwrap())
            );
            assert_eq!(find_value(first, value), Some(index));
            assert_eq!(find_value(first, b"something else"), None);
        }
        for name in ["", "x", ":statu", "accept-encodinG", "an-extremely-long-name-of-a-field"] {
            assert_eq!(find_name(name.as_bytes()), 0, "{name}");
        }
    }
}

//! The static table (RFC 7541 appendix A), and finding a name in it.

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

/// Bytes of the longest name, and the most names of one length.
const NAME_MAX: usize = 27;
const PER_LENGTH_MAX: usize = 8;

/// For each length of a name: the first indices of the names that have it; 0 where there are no more.
static BY_LENGTH: [[u8; PER_LENGTH_MAX]; NAME_MAX + 1] = by_length();

const fn by_length() -> [[u8; PER_LENGTH_MAX]; NAME_MAX + 1] {
    let mut table = [[0; PER_LENGTH_MAX]; NAME_MAX + 1];
    let mut at = 0;
    while at < LEN {
        let name = ENTRIES[at].0.as_bytes();
        if at == 0 || !same(name, ENTRIES[at - 1].0.as_bytes()) {
            let mut place = 0;
            while table[name.len()][place] != 0 {
                place += 1;
            }
            table[name.len()][place] = at as u8 + 1;
        }
        at += 1;
    }
    table
}

const fn same(one: &[u8], other: &[u8]) -> bool {
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    one.len() == other.len() && at == one.len()
}

/// Name and value of a static index, 1 to 61.
#[inline]
pub(super) fn get(index: usize) -> (&'static [u8], &'static [u8]) {
    let (name, value) = ENTRIES[index - 1];
    (name.as_bytes(), value.as_bytes())
}

/// The first index of `name`; 0 where there is none.
#[inline]
pub(super) fn find_name(name: &[u8]) -> usize {
    let Some(indices) = BY_LENGTH.get(name.len()) else { return 0 };
    for &index in indices {
        if index == 0 || ENTRIES[usize::from(index) - 1].0.as_bytes() == name {
            return usize::from(index);
        }
    }
    0
}

/// The index of a field whose name has the index `first`; `None` where its value is not there.
#[inline]
pub(super) fn find_value(first: usize, value: &[u8]) -> Option<usize> {
    let name = ENTRIES[first - 1].0;
    (first..=LEN).take_while(|&index| ENTRIES[index - 1].0 == name).find(|&index| {
        let known = ENTRIES[index - 1].1;
        known.as_bytes() == value && !(value.is_empty() && index != first)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_entry_is_found_by_name_and_value() {
        for index in 1..=LEN {
            let (name, value) = get(index);
            let first = find_name(name);
            assert!(first >= 1 && first <= index && get(first).0 == name);
            assert_eq!(find_value(first, value), Some(index));
            assert_eq!(find_value(first, b"something else"), None);
        }
        for name in ["", "x", ":statu", "accept-encodinG", "an-extremely-long-name-of-a-field"] {
            assert_eq!(find_name(name.as_bytes()), 0, "{name}");
        }
    }
}

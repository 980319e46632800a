//! A head that was written by this codec, looked at again for a few of its fields.
//!
//! It checks nothing: the encoders' lines are whole, each ends with CRLF, and no value has a line end. Given other bytes it may find
//! nothing, but it never fails. It says of a field what decoding the head would say of it.
//!
//! Cost (x86-64): some 20 instructions a line and half of one a byte; a name is compared only where it is as long as one that is wanted.
//! Decoding takes nearly ten times that.

use std::ops::Range;

use crate::chars::trim;
use crate::head::is_same_name;
use crate::lane::{LANE_BYTES, Lane, find};

/// A head as it was written, and whatever follows it.
#[derive(Debug, Clone, Copy)]
pub struct Written<'a>(&'a [u8]);

/// Names of fields that are looked for together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldNames {
    /// In lower case.
    names: Vec<Box<[u8]>>,
    /// A bit for each length that occurs, the highest one for all that are longer.
    lengths: u64,
}

/// Where the first field of each name lies, in the order of [`FieldNames`]; kept from one head to the next, so that it allocates once.
#[derive(Debug, Clone, Default)]
pub struct FoundFields(Vec<Range<u32>>);

/// Where nothing was found: no value begins where a head does.
const NOT_FOUND: Range<u32> = 0..0;

const LENGTH_MAX: usize = u64::BITS as usize - 1;

impl FieldNames {
    /// Adds a name, if it is none of them yet.
    pub fn add(&mut self, name: &str) {
        let name = name.to_ascii_lowercase().into_bytes();
        if !name.is_empty() && self.position(&name).is_none() {
            self.lengths |= 1 << name.len().min(LENGTH_MAX);
            self.names.push(name.into());
        }
    }

    /// The place of a name (in lower case) among them.
    #[must_use]
    pub fn position(&self, name: &[u8]) -> Option<usize> {
        self.names.iter().position(|other| **other == *name)
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }
}

impl<'a> Written<'a> {
    /// The head at the start of these bytes.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The method and the target of a request's head.
    #[must_use]
    pub fn request_line(&self) -> (&'a [u8], &'a [u8]) {
        let method = &self.0[..find(self.0, 0, b' ')];
        let target = &self.0[(method.len() + 1).min(self.0.len())..];
        (method, &target[..find(target, 0, b' ')])
    }

    /// Finds the first field of each name.
    pub fn find(&self, names: &FieldNames, found: &mut FoundFields) {
        found.0.clear();
        found.0.resize(names.names.len(), NOT_FOUND);
        let bytes = self.0;
        let (lanes, _) = bytes.as_chunks::<LANE_BYTES>();
        for (chunk, at) in lanes.iter().zip((0..).step_by(LANE_BYTES)) {
            let mut ends = Lane::of(chunk).equal(b'\n').bits();
            while ends != 0 {
                if self.look(at + ends.trailing_zeros() as usize + 1, names, found) {
                    return;
                }
                ends &= ends - 1;
            }
        }
        for (at, byte) in bytes.iter().enumerate().skip(lanes.len() * LANE_BYTES) {
            if *byte == b'\n' && self.look(at + 1, names, found) {
                return;
            }
        }
    }

    /// Looks at the line at `start`; whether it is the empty one, which ends the head.
    #[inline(always)]
    fn look(&self, start: usize, names: &FieldNames, found: &mut FoundFields) -> bool {
        let rest = self.0.get(start..).unwrap_or_default();
        if rest.first() == Some(&b'\r') {
            return true;
        }
        let size = match rest.first_chunk() {
            Some(chunk) => match Lane::of(chunk).equal(b':').bits() {
                0 if names.lengths >> LANE_BYTES == 0 => return false,
                0 => find(rest, LANE_BYTES, b':'),
                colons => colons.trailing_zeros() as usize,
            },
            None => find(rest, 0, b':'),
        };
        if names.lengths >> size.min(LENGTH_MAX) & 1 != 0 && size < rest.len() {
            self.note(start, size, names, found);
        }
        false
    }

    /// Notes the field of a name of this size if it is one of those.
    fn note(&self, start: usize, size: usize, names: &FieldNames, found: &mut FoundFields) {
        let name = &self.0[start..start + size];
        for (wanted, found) in names.names.iter().zip(&mut found.0) {
            if is_same_name(name, wanted) && found.start == 0 {
                let value_start = start + size + 1;
                // Before the line feed there is its carriage return.
                let value_end = find(self.0, value_start, b'\n').max(value_start + 1) - 1;
                *found = value_start as u32..value_end as u32;
            }
        }
    }

    /// What [`Written::find`] found for the name at this place.
    #[must_use]
    pub fn found(&self, found: &FoundFields, position: usize) -> Option<&'a [u8]> {
        let value = found.0.get(position).filter(|value| value.start > 0)?;
        Some(trim(self.0.get(value.start as usize..value.end as usize)?))
    }

    /// The values of all fields of this name (in lower case), in order.
    pub fn fields_named<'n>(&self, name: &'n [u8]) -> impl Iterator<Item = &'a [u8]> + Clone + use<'a, 'n> {
        let bytes = self.0;
        let named = self.lines().filter(move |(other, _)| is_same_name(&bytes[other.clone()], name));
        named.map(move |(_, value)| trim(&bytes[value]))
    }

    /// As [`Written::fields_named`], the last one first. Nothing may follow the head: it would be read, too.
    pub fn last_first<'n>(&self, name: &'n [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.0.rsplit(|&byte| byte == b'\n').filter_map(move |line| {
            let (found, value) = line.split_at(line.iter().position(|&byte| byte == b':')?);
            found.eq_ignore_ascii_case(name).then(|| value[1..].trim_ascii())
        })
    }

    /// Where the name and the value of each field lie, the value with the blanks around it.
    #[inline]
    fn lines(&self) -> Lines<'a> {
        Lines { bytes: self.0, at: find(self.0, 0, b'\n') + 1 }
    }
}

#[derive(Clone)]
struct Lines<'a> {
    bytes: &'a [u8],
    /// Where the next line begins.
    at: usize,
}

impl Iterator for Lines<'_> {
    type Item = (Range<usize>, Range<usize>);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let start = self.at;
        // The empty line ends a head.
        if matches!(self.bytes.get(start), None | Some(b'\r')) {
            return None;
        }
        let colon = find(self.bytes, start, b':');
        let end = find(self.bytes, colon, b'\n');
        self.at = end + 1;
        // Before the line feed there is its carriage return.
        (colon + 1 < end).then(|| (start..colon, colon + 1..end - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::head::HeadTable;
    use crate::http1::{Decoded, HeadEdit, HeadScan, decode_request, encode_request};
    use crate::limits::Limits;

    const NAMES: [&str; 7] = ["host", "a", "x-a", "x-request-id", "x-envoy-expected-rq-timeout-ms", "nope", "e"];

    /// Whatever is found in what was written is what decoding it says.
    #[track_caller]
    fn check(fields: &str, expect: [Option<&str>; NAMES.len()]) {
        let received = format!("GET /p?q HTTP/1.1\r\nhost: h:80\r\n{fields}\r\n");
        let (mut table, mut again) = (HeadTable::new(64), HeadTable::new(64));
        let decode = |bytes, table| match decode_request(bytes, &mut HeadScan::default(), table, &Limits::default()) {
            Ok(Decoded::Complete { head, .. }) => head,
            other => panic!("{other:?}"),
        };
        let request = decode(received.as_bytes(), &mut table);
        let mut bytes = Vec::new();
        encode_request(
            &request,
            request.framing(),
            &HeadEdit { lines: b"added: 1\r\n", ..HeadEdit::default() },
            &mut bytes,
        );
        bytes.extend_from_slice(b"a: of the body\r\nnope: 1\r\n");
        let decoded = decode(&bytes, &mut again);
        let written = Written::new(&bytes);
        let head = Written::new(decoded.bytes());
        let mut names = FieldNames::default();
        NAMES.iter().chain(&NAMES).for_each(|name| names.add(name));
        let mut found = FoundFields::default();
        for _ in 0..2 {
            written.find(&names, &mut found);
            for (name, expect) in NAMES.iter().zip(expect) {
                let position = names.position(name.as_bytes()).expect("it was added");
                let value = written.found(&found, position);
                assert_eq!(value.map(String::from_utf8_lossy), expect.map(Into::into), "{name}");
                assert_eq!(value, decoded.field_named(name.as_bytes()), "{name}");
                let all = decoded.fields().filter(|field| field.name.eq_ignore_ascii_case(name.as_bytes()));
                let all: Vec<_> = all.map(|field| field.value).collect();
                assert!(written.fields_named(name.as_bytes()).eq(all.iter().copied()), "{name}");
                assert!(head.last_first(name.as_bytes()).eq(all.iter().rev().copied()), "{name}");
            }
        }
        assert_eq!(written.request_line(), (decoded.method_str(), decoded.path()));
    }

    #[test]
    fn fields_are_found_as_decoding_finds_them() {
        let long = "v".repeat(300);
        check("", [Some("h:80"), None, None, None, None, None, None]);
        check("A:  1 \t\r\nX-a:2\r\na: 3\r\n", [Some("h:80"), Some("1"), Some("2"), None, None, None, None]);
        check("e:\r\nx-request-id: a: b\r\n", [Some("h:80"), None, None, Some("a: b"), None, None, Some("")]);
        check("e:  \r\nE: 1\r\nxa: 2\r\nx-aa: 3\r\n", [Some("h:80"), None, None, None, None, None, Some("")]);
        let fields =
            format!("X-Long-Name-That-Nobody-Wants: {long}\r\nx-envoy-EXPECTED-rq-timeout-ms: {long}\r\nx-a: \"\r\n");
        check(&fields, [Some("h:80"), None, Some("\""), None, Some(&long), None, None]);
    }

    #[test]
    fn bytes_that_are_no_head_have_nothing() {
        let mut names = FieldNames::default();
        names.add("a");
        let mut found = FoundFields::default();
        for bytes in ["", "\n", "a", "GET", "GET ", "x\na", "x\na:", "x\na:\n", "x\r\na\r\nb\r\n", "x\n:\n\n:"] {
            let written = Written::new(bytes.as_bytes());
            written.find(&names, &mut found);
            assert!(written.found(&found, 0).is_none_or(<[u8]>::is_empty), "{bytes:?}");
            assert_eq!(written.found(&found, 1), None, "{bytes:?}");
            let _never_fails = (written.request_line(), written.fields_named(b"a").count());
        }
    }
}

//! A field as a line of HTTP/1.1: name, colon, space, value, CR and LF. It is how fields stand in tables and lists, and in heads.
//!
//! It never looks at what name and value are.

/// Bytes of a line beside its name and its value.
pub(crate) const OVERHEAD: usize = BETWEEN.len() + END.len();
/// What stands between name and value.
pub(super) const BETWEEN: &[u8] = b": ";
/// What stands behind the value.
pub(super) const END: &[u8] = b"\r\n";

/// Appends a field's line.
#[inline]
pub(crate) fn put(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name);
    out.extend_from_slice(BETWEEN);
    out.extend_from_slice(value);
    out.extend_from_slice(END);
}

/// Name and value of a line.
#[inline]
pub(super) fn split(line: &[u8], name_len: usize) -> (&[u8], &[u8]) {
    (&line[..name_len], &line[name_len + BETWEEN.len()..line.len() - END.len()])
}

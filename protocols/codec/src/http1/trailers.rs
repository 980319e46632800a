//! Trailer sections: reading the fields of one that the body decoder found right, and writing those that may travel on.
//!
//! It never merges a trailer into a head (RFC 9110 §6.5.1), and never writes one that could change framing, routing,
//! authentication or how the content is read.

use crate::chars::trim;
use crate::head::is_for_heads_only;
use crate::out::Out;
use memchr::{memchr, memchr_iter};

/// The line of the last chunk; a trailer section or an empty line follows it.
pub const LAST_CHUNK_LINE: &[u8] = b"0\r\n";

/// The fields of a trailer section as [`super::BodyPart::Trailers`] gives it: names and values, in order.
pub fn trailer_fields(section: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    lines(section).filter_map(|line| {
        let colon = memchr(b':', line)?;
        Some((&line[..colon], trim(&line[colon + 1..line.len() - 2])))
    })
}

/// The lines, CRLF included, up to the empty one.
fn lines(section: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut start = 0;
    memchr_iter(b'\n', section)
        .map(move |line_feed| {
            let line = &section[start..=line_feed];
            start = line_feed + 1;
            line
        })
        .take_while(|line| line.len() > 2)
}

/// Whether a field of this name may be forwarded in a trailer section (RFC 9110 §6.5.1).
#[must_use]
pub fn is_trailer_allowed(name: &[u8]) -> bool {
    !is_for_heads_only(name)
}

/// Ends a chunked body: the last chunk, the fields of `section` that may travel, the empty line. `remove` names more fields
/// that stay behind: the options of the message's `Connection` fields (RFC 9110 §7.6.1), and what configuration removes.
/// Writes at most `LAST_CHUNK_LINE.len() + section.len()` bytes.
pub fn encode_trailers<'n>(section: &[u8], remove: impl Iterator<Item = &'n [u8]> + Clone, out: &mut impl Out) {
    out.put(LAST_CHUNK_LINE);
    for line in lines(section) {
        let Some(colon) = memchr(b':', line) else { continue };
        let name = &line[..colon];
        if is_trailer_allowed(name) && !remove.clone().any(|removed| removed.eq_ignore_ascii_case(name)) {
            out.put(line);
        }
    }
    out.put(b"\r\n");
}

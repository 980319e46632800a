//! HTTP/1.0 and HTTP/1.1 (RFC 9112): heads, bodies, and how both are written again.
//!
//! It reads strictly and writes canonically: what one reader could take differently from another is refused, and what
//! passes is framed anew, so that no two hops can disagree on where a message ends.
//!
//! ```text
//!   decode_request / decode_response      bytes of a head  -> HeadTable, Request, Response
//!   BodyDecoder                           bytes of a body  -> Data, Trailers, End
//!   encode_request / encode_response      a head, edited   -> Out
//!   chunk_header, CHUNK_END, LAST_CHUNK, encode_trailers   the chunked coding around the caller's blocks
//! ```

mod authority;
mod body;
mod encode;
mod fields;
mod lines;
mod request;
mod response;
mod scan;
mod target;
mod trailers;
mod written;

use crate::head::KnownAuthority;
pub use body::{BodyDecoder, BodyPart, BodyStep};
pub use encode::{
    CHUNK_END, HeadEdit, LAST_CHUNK, chunk_header, encode_local_reply, encode_request, encode_response,
    local_reply_size, preserve_case, proper_case, put_field, put_number, reason, request_head_size, response_head_size,
};
pub(crate) use fields::content_length;
pub(crate) use lines::METHOD_BYTES_MAX;
pub use request::decode_request;
pub use response::decode_response;
pub use scan::{Decoded, HeadScan};
pub use trailers::{LAST_CHUNK_LINE, encode_trailers, is_trailer_allowed, trailer_fields};
pub use written::{FieldNames, FoundFields, Written};

/// Whether `bytes` may stand in Host: a host that is not empty and an optional port. To be asked of what a peer had a say in
/// before it becomes [`HeadEdit::authority`].
#[must_use]
pub fn is_authority(bytes: &[u8]) -> bool {
    authority::is_valid(bytes)
}

/// The same, for who knows the one that was valid last.
pub(crate) fn is_known_authority(bytes: &[u8], known: &mut KnownAuthority) -> bool {
    authority::begins(bytes, bytes.len(), known)
}

/// Whether `bytes` are a host and a port from 1 to 65535, as CONNECT wants them (RFC 9110 §9.3.6).
pub(crate) fn is_authority_with_port(bytes: &[u8]) -> bool {
    authority::is_valid_with_port(bytes)
}

/// Whether `bytes` may stand as the target of a request to an origin: origin-form or `*`. To be asked before something becomes
/// [`HeadEdit::path`].
#[must_use]
pub fn is_path(bytes: &[u8]) -> bool {
    (bytes.first() == Some(&b'/') && bytes.iter().all(|&b| crate::chars::is_target(b))) || bytes == b"*"
}

/// Whether a field may be added to a head: its name a token, its value without control bytes. To be asked before something
/// that a peer had a say in becomes part of [`HeadEdit::add`].
#[must_use]
pub fn is_field(name: &[u8], value: &[u8]) -> bool {
    crate::chars::is_token_all(name) && value.iter().all(|&b| crate::chars::is_value(b))
}

//! The bounds of one HTTP message, each with its reason and the memory it may cost.
//!
//! The codec owns no buffers, so the memory is the caller's: a head or a trailer section has to be contiguous, hence gathered.

/// Bounds on what one peer may send. `Default` is what Envoy has where Envoy has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a head, from the start line to the empty line; past it 431. 60 KiB as Envoy's
    /// `HttpConnectionManager.max_request_headers_kb`. Worst case: one gathered block of this size for each connection
    /// whose head is incomplete. At most [`Limits::HEAD_BYTES_CAP`].
    pub head_bytes_max: usize,
    /// Fields of a head, and of a trailer section; past it 431. 100 as Envoy's `HttpProtocolOptions.max_headers_count`.
    /// Worst case: 16 bytes each in a core's one [`crate::HeadTable`]. At most [`Limits::HEADERS_CAP`].
    pub headers_max: usize,
    /// Bytes of a request target; past it 414. RFC 9112 §3 asks for 8,000 at least; beyond 32 KiB there is no honest
    /// use, and route matching pays for each byte. Lies inside `head_bytes_max`: no memory of its own.
    pub target_bytes_max: usize,
    /// Options in all `Connection` fields of a head: each is compared with every field, so this bounds the work to
    /// `connection_options_max * headers_max` compares of lengths. Honest peers send three or fewer. No memory.
    pub connection_options_max: usize,
    /// Bytes of chunk extensions in one body, all chunks together (CVE-2023-39326: extensions make a proxy read many
    /// bytes for each byte that it forwards). 16 KiB as Go's net/http. They are skipped, never kept: no memory.
    pub chunk_extension_bytes_max: usize,
    /// Bytes of a trailer section. Worst case: one gathered block of this size for each body that ends.
    pub trailer_bytes_max: usize,
    /// Legal but odd events (an empty line before a head, an extension, a padded chunk size) in one message. Honest
    /// peers make almost none; a peer that makes this many is probing. A counter: no memory.
    pub glitches_max: u32,
}

impl Limits {
    /// The most that `head_bytes_max` may be: Envoy's own bound for `max_request_headers_kb` (8,192), so that every
    /// offset fits 32 bits with room to spare.
    pub const HEAD_BYTES_CAP: usize = 8192 * 1024;
    /// The most that `headers_max` may be: the tokeniser's scratch for so many fields lies on the stack (16 KiB).
    pub const HEADERS_CAP: usize = 512;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes_max: 60 * 1024,
            headers_max: 100,
            target_bytes_max: 32 * 1024,
            connection_options_max: 32,
            chunk_extension_bytes_max: 16 * 1024,
            trailer_bytes_max: 8 * 1024,
            glitches_max: 1_000,
        }
    }
}

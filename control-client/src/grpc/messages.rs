//! Messages out of a stream's bytes, and into them: a flag, a length, and as many bytes.

use bytes::{BufMut, Bytes, BytesMut};

/// The largest message of a server. The largest that is seen is 4 MiB; gRPC's own default, 4 MiB as well, is too small
/// for it.
pub(super) const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// What stands before a message: whether it is compressed, and its length.
const HEAD: usize = 5;

/// Why bytes are no messages that we take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unread {
    /// We said that we know no compression.
    Compressed,
    /// Of more bytes than we take.
    Large { size: usize, max: usize },
}

/// What came and is no whole message yet.
#[derive(Debug)]
pub(super) struct Messages {
    buffer: BytesMut,
    size_max: usize,
}

impl Messages {
    /// None yet; one of more than `size_max` bytes is refused.
    pub(super) fn new(size_max: usize) -> Self {
        Self { buffer: BytesMut::new(), size_max: size_max.min(MESSAGE_BYTES_MAX) }
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.put_slice(bytes);
    }

    /// The next message that is whole.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, Unread> {
        let Some((head, _)) = self.buffer.split_at_checked(HEAD) else { return Ok(None) };
        if head[0] != 0 {
            return Err(Unread::Compressed);
        }
        let size = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if size > self.size_max {
            return Err(Unread::Large { size, max: self.size_max });
        }
        if self.buffer.len() < HEAD + size {
            return Ok(None);
        }
        let mut message = self.buffer.split_to(HEAD + size);
        if self.buffer.is_empty() {
            self.buffer = BytesMut::new(); // the next one may be small, and this one's room is its own
        }
        Ok(Some(message.split_off(HEAD).freeze()))
    }

    /// Whether a message has begun and is not whole.
    pub(super) fn is_cut(&self) -> bool {
        !self.buffer.is_empty()
    }
}

/// A message as it is sent.
pub(super) fn framed(message: &[u8]) -> Bytes {
    let size = u32::try_from(message.len()).expect("what we say is far below 4 GiB");
    let mut out = BytesMut::with_capacity(HEAD + message.len());
    out.put_u8(0);
    out.put_u32(size);
    out.put_slice(message);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The messages of these bytes, whole and byte by byte; then what stops it.
    #[track_caller]
    fn check(bytes: &[u8], expect: &str) {
        for step in [bytes.len().max(1), 1, 2] {
            let (mut messages, mut out) = (Messages::new(usize::MAX), Vec::new());
            'all: for piece in bytes.chunks(step) {
                messages.push(piece);
                loop {
                    match messages.next() {
                        Ok(Some(message)) => out.push(format!("{message:?}")),
                        Ok(None) => break,
                        Err(unread) => {
                            out.push(format!("{unread:?}"));
                            break 'all;
                        }
                    }
                }
            }
            if messages.is_cut() {
                out.push("…".to_owned());
            }
            assert_eq!(out.join(" "), expect, "in pieces of {step}");
        }
    }

    #[test]
    fn messages_are_found_however_they_are_cut() {
        check(b"", "");
        check(b"\0\0\0\0\x02hi\0\0\0\0\0\0\0\0\0\x01x", r#"b"hi" b"" b"x""#);
        check(b"\0\0\0\0\x03hi", "…");
        check(&framed(b"hello"), r#"b"hello""#);
    }

    #[test]
    fn what_is_compressed_or_too_large_is_refused_at_its_head() {
        check(b"\x01\0\0\0\x01", "Compressed …");
        check(b"\0\x04\0\0\x01", "Large { size: 67108865, max: 67108864 } …");
        check(b"\0\x04\0\0\0", "…");
    }
}

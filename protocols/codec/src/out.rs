//! Where encoders write: the caller's buffer. The codec never owns one.

/// An append-only buffer of the caller's. The encoders' `*_size` functions say beforehand how much room suffices.
pub trait Out {
    /// Appends all of `bytes`; it cannot fail, because the caller made room.
    fn put(&mut self, bytes: &[u8]);
}

impl Out for Vec<u8> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

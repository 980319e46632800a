//! Lines of fields that are ours, as they go into a head: a small buffer of the worker's, which the encoder takes whole.

use ringway_protocols::Out;

/// Lines of fields. The longest: an id of 36 bytes, an address of 46, five numbers and their names.
pub(crate) struct Lines {
    bytes: [u8; LINES_BYTES_MAX],
    len: usize,
}

const LINES_BYTES_MAX: usize = 384;

impl Lines {
    pub(crate) fn new() -> Self {
        Self { bytes: [0; LINES_BYTES_MAX], len: 0 }
    }

    /// Without the last head's.
    #[inline]
    pub(crate) fn cleared(&mut self) -> &mut Self {
        self.len = 0;
        self
    }

    /// Gives name and value of each.
    pub(crate) fn each(&self, mut take: impl FnMut(&str, &[u8])) {
        for line in self.get().split(|&byte| byte == b'\n').filter_map(|line| line.strip_suffix(b"\r")) {
            let name = line.iter().position(|&byte| byte == b':').unwrap_or(line.len());
            if let Ok(text) = std::str::from_utf8(&line[..name]) {
                take(text, line[name..].strip_prefix(b": ").unwrap_or_default());
            }
        }
    }

    /// Where the next one begins.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub(crate) fn get(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Out for Lines {
    #[inline(always)] // a few bytes of a length that is known where it is called
    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }
}

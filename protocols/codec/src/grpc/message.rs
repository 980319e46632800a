//! Length-prefixed messages: how many went by (doc/PROTOCOL-HTTP2.md, "Length-Prefixed-Message").
//!
//! It never holds a byte of them and never looks at one behind the prefix. Invariant: the count does not depend on how the content was cut.

/// The compressed flag and four bytes of length.
const PREFIX_BYTES: usize = 5;

/// Counts the messages of one direction of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MessageCounter {
    /// Bytes left of the message that has begun.
    left: u32,
    /// Bytes of its prefix that have come; 0: none has.
    prefix: u8,
    length: u32,
}

impl MessageCounter {
    /// The next piece of content; how many messages began in it: as Envoy counts, one by its first byte.
    pub fn feed(&mut self, content: &[u8]) -> u64 {
        let mut began = 0;
        let mut rest = content;
        while !rest.is_empty() {
            if self.left > 0 {
                let skipped = rest.len().min(self.left as usize);
                self.left -= skipped as u32;
                rest = &rest[skipped..];
                continue;
            }
            let byte = u32::from(rest[0]);
            rest = &rest[1..];
            match self.prefix {
                0 => {
                    began += 1;
                    self.length = 0;
                }
                _ => self.length = self.length << 8 | byte,
            }
            self.prefix += 1;
            if usize::from(self.prefix) == PREFIX_BYTES {
                (self.prefix, self.left) = (0, self.length);
            }
        }
        began
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_counted_however_they_are_cut() {
        let mut content = Vec::new();
        for len in [0u32, 1, 5, 300, 70_000, 0, 0] {
            content.push((len % 2) as u8);
            content.extend_from_slice(&len.to_be_bytes());
            content.resize(content.len() + len as usize, b'x');
        }
        for step in [1, 2, 3, 5, 7, 64, 16_384, content.len()] {
            let mut counter = MessageCounter::default();
            let began: u64 = content.chunks(step).map(|piece| counter.feed(piece)).sum();
            assert_eq!(began, 7, "{step}");
        }
        for (content, count) in
            [(&b""[..], 0), (b"\0", 1), (b"\0\0\0\0\x02a", 1), (b"\0\0\0\0\x02ab\0", 2), (b"\0\xff\xff\xff\xff\0\0", 1)]
        {
            assert_eq!(MessageCounter::default().feed(content), count, "{content:?}");
        }
    }
}

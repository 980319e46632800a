//! The messages of a gRPC call: each stands behind a prefix that says how long it is (PROTOCOL-HTTP2.md, "Length-Prefixed-Message").

/// Bytes before each message: a flag, and its length.
pub(crate) const PREFIX_BYTES: usize = 5;

/// The messages of an answer that comes in pieces: told apart, and counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Messages {
    count: u64,
    /// The part of a prefix that has come.
    prefix: [u8; PREFIX_BYTES],
    prefix_bytes: usize,
    /// Bytes of a message that have not come.
    left: usize,
    /// A flag was neither of the two that there are.
    is_malformed: bool,
}

impl Messages {
    pub(crate) fn push(&mut self, mut piece: &[u8]) {
        while !piece.is_empty() && !self.is_malformed {
            if self.left > 0 {
                let taken = self.left.min(piece.len());
                self.left -= taken;
                piece = &piece[taken..];
                self.count += u64::from(self.left == 0);
                continue;
            }
            let taken = (PREFIX_BYTES - self.prefix_bytes).min(piece.len());
            self.prefix[self.prefix_bytes..self.prefix_bytes + taken].copy_from_slice(&piece[..taken]);
            self.prefix_bytes += taken;
            piece = &piece[taken..];
            if self.prefix_bytes == PREFIX_BYTES {
                self.prefix_bytes = 0;
                let [flag, length @ ..] = self.prefix;
                self.is_malformed = flag > 1;
                self.left = u32::from_be_bytes(length) as usize;
                self.count += u64::from(self.left == 0);
            }
        }
    }

    /// How many there were; `None`: the last one is not whole, or something is no message.
    pub(crate) fn whole(&self) -> Option<u64> {
        let is_between = self.prefix_bytes == 0 && self.left == 0 && !self.is_malformed;
        is_between.then_some(self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(wire: &[u8], whole: Option<u64>) {
        for size in 1..=wire.len().max(1) {
            let mut messages = Messages::default();
            wire.chunks(size).for_each(|piece| messages.push(piece));
            assert_eq!(messages.whole(), whole, "{wire:?} by {size}");
        }
    }

    #[test]
    fn messages_are_counted_however_they_come() {
        check(&[], Some(0));
        check(&[0, 0, 0, 0, 0], Some(1));
        check(&[0, 0, 0, 0, 2, 7, 7, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 7], Some(3));
    }

    #[test]
    fn what_is_cut_or_is_no_message() {
        check(&[0, 0, 0, 0], None);
        check(&[0, 0, 0, 0, 2, 7], None);
        check(&[0, 0, 0, 0, 1, 7, 0], None);
        check(&[2, 0, 0, 0, 1, 7], None);
        check(b"hello, world", None);
    }
}

//! How far the reading of one head has come.
//!
//! It never accepts or refuses anything by itself: it says "read now" or "wait". Invariant: the work on one head is linear in
//! its length however it arrives, because it is read whole only at the first attempt (so that garbage is refused early), when a
//! line end that is new ends it or is wrong, and when its length has doubled.

use super::lines::METHOD_BYTES_MAX;
use crate::chars::is_token;
use crate::error::Rule;
use crate::limits::Limits;
use memchr::memchr_iter;

/// What decoding a head gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded<T> {
    /// Nothing is wrong so far; call again with the same bytes followed by more.
    Partial,
    /// The head, and how many bytes it took.
    Complete {
        /// The decoded head.
        head: T,
        /// Bytes of it, the empty line included.
        consumed: usize,
    },
}

/// Where an earlier attempt on this head stopped. Use `HeadScan::default()` for each new head, and the same one for as long
/// as the head is partial.
#[derive(Debug, Default, Clone, Copy)]
pub struct HeadScan {
    /// Bytes there were when the head was last read whole.
    read: u32,
    /// Bytes searched for line ends.
    searched: u32,
    /// Where the start line ends; 0 while that is not known.
    start_line_end: u32,
}

impl HeadScan {
    /// Whether reading `bytes` whole can give more than `Partial`.
    #[inline]
    pub(super) fn is_due(&mut self, bytes: &[u8]) -> bool {
        self.read == 0 || self.search(bytes) || bytes.len() >= 2 * self.read as usize
    }

    /// Reading `bytes` whole wanted more of them.
    pub(super) fn wait(&mut self, bytes: &[u8]) {
        self.read = bytes.len() as u32;
        self.search(bytes);
    }

    /// Looks at the line ends that are new; true when one of them ends the head, or is a bare LF.
    fn search(&mut self, bytes: &[u8]) -> bool {
        let from = (self.searched as usize).min(bytes.len());
        self.searched = bytes.len() as u32;
        for offset in memchr_iter(b'\n', &bytes[from..]) {
            let line_end = from + offset;
            if line_end == 0 || bytes[line_end - 1] != b'\r' {
                return true;
            }
            // The empty line that may come before is two bytes.
            if line_end > 1 && self.start_line_end == 0 {
                self.start_line_end = line_end as u32;
            }
            if line_end >= 3 && bytes[line_end - 3..line_end] == *b"\r\n\r" {
                return true;
            }
        }
        false
    }

    /// What a partial head is already too large for.
    pub(super) fn too_large(&self, bytes: &[u8], is_request: bool, limits: &Limits) -> Option<Rule> {
        if is_request {
            // "HTTP/1.1", two spaces and a CR: what may be there beside method and target.
            const AROUND: usize = 11;
            let line_end = if self.start_line_end == 0 { bytes.len() } else { self.start_line_end as usize };
            let line = &bytes[..line_end];
            let line = line.strip_prefix(b"\r\n").unwrap_or(line);
            if line.len() > METHOD_BYTES_MAX && line[..=METHOD_BYTES_MAX].iter().all(|&b| is_token(b)) {
                return Some(Rule::MethodTooLong);
            }
            if line.len() > METHOD_BYTES_MAX + limits.target_bytes_max + AROUND {
                return Some(Rule::TargetTooLong);
            }
        }
        (bytes.len() > limits.head_bytes_max).then_some(Rule::HeadTooLarge)
    }
}

/// The empty line that may precede a request line (RFC 9112 §2.2): how many bytes it takes, `None` when that is not known
/// yet.
#[inline]
pub(super) fn leading_line(bytes: &[u8]) -> Result<Option<usize>, Rule> {
    match bytes {
        [first, ..] if !matches!(first, b'\r' | b'\n') => Ok(Some(0)),
        _ => some_leading_line(bytes),
    }
}

#[cold]
fn some_leading_line(bytes: &[u8]) -> Result<Option<usize>, Rule> {
    match bytes {
        [] | [b'\r'] | [b'\r', b'\n', b'\r'] => Ok(None),
        [b'\r', b'\n', b'\r', b'\n', ..] => Err(Rule::EmptyLines),
        [b'\n', ..] | [b'\r', b'\n', b'\n', ..] => Err(Rule::BareLf),
        [b'\r', b'\n', b'\r', ..] => Err(Rule::BareCr),
        [b'\r', b'\n', ..] => Ok(Some(2)),
        _ => Err(Rule::BareCr),
    }
}

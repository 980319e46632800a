//! One stream: where it stands (RFC 9113 §5.1), its windows, and what its content must come to.
//!
//! An idle stream and a closed one have no [`Stream`]. It knows no other stream and not the connection.

use super::Role;
use super::window::Incoming;

/// A stream's place in the diagram of RFC 9113 §5.1, but for pushes, which are refused:
///
/// ```text
///            send or receive HEADERS                      END_STREAM of the other side,
///     idle -------------------------> Open               or RST_STREAM of either
///                                     |  |                     |
///       END_STREAM of ours            |  |  END_STREAM of the peer's
///               v---------------------+  +-------------------v |
///         EndedByUs -------------------------------> closed <-- EndedByPeer
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Both sides send.
    Open,
    /// half-closed (local): only the peer sends.
    EndedByUs,
    /// half-closed (remote): only we send.
    EndedByPeer,
}

/// Which HEADERS frame comes next from the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    /// A response's head; interim ones come before it.
    Head,
    /// As [`Section::Head`], and an interim one came.
    NextHead,
    /// Trailers.
    Trailers,
}

/// No more than so much content was promised, because nothing was.
pub(super) const LENGTH_UNTOLD: u64 = u64::MAX;

/// One stream. 32 bytes, and 4 for its bucket: ten thousand are 360 KiB.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stream {
    pub(super) id: u32,
    /// The next in its bucket, or in the list of free places.
    pub(super) next: u32,
    pub(super) state: State,
    pub(super) section: Section,
    /// What we may send.
    pub(super) window: i32,
    /// What the peer may send.
    pub(super) incoming: Incoming,
    /// Content that has still to come, where it was told.
    pub(super) left: u64,
}

impl Stream {
    /// A place without a stream.
    pub(super) const FREE: Self = Self {
        id: 0,
        next: 0,
        state: State::Open,
        section: Section::Head,
        window: 0,
        incoming: Incoming::CLOSED,
        left: 0,
    };

    /// One that begins; `window` and `incoming` are the initial windows of the peer and of ours.
    #[inline]
    pub(super) fn new(id: u32, state: State, role: Role, window: u32, incoming: u32) -> Self {
        // A server's first section was the head that began the stream.
        let section = if role == Role::Server { Section::Trailers } else { Section::Head };
        let incoming = Incoming::new(incoming);
        Self { id, next: 0, state, section, window: window as i32, incoming, left: LENGTH_UNTOLD }
    }

    /// Whether the peer may still send.
    #[inline]
    pub(super) fn receives(&self) -> bool {
        self.state != State::EndedByPeer
    }

    /// Whether we may still send.
    #[inline]
    pub(super) fn sends(&self) -> bool {
        self.state != State::EndedByUs
    }

    /// A frame brings so much content; whether it is what was told (RFC 9113 §8.1.1).
    #[inline]
    pub(super) fn content(&mut self, bytes: u32, ends: bool) -> bool {
        if self.left == LENGTH_UNTOLD {
            return true;
        }
        match self.left.checked_sub(u64::from(bytes)) {
            Some(left) => {
                self.left = left;
                !ends || left == 0
            }
            None => false,
        }
    }
}

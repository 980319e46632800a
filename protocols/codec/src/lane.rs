//! Sixteen bytes looked at together: which of them are of a class, as one bit a byte.
//!
//! It knows nothing of messages. Invariant: what it says of a byte depends on that byte alone.

use wide::u8x16;

/// Bytes of a lane.
pub(crate) const LANE_BYTES: usize = 16;

/// A bit for each byte of a lane.
pub(crate) const ALL: u32 = (1 << LANE_BYTES) - 1;

/// Sixteen bytes.
#[derive(Clone, Copy)]
pub(crate) struct Lane(u8x16);

/// Those of a lane's bytes that have a property.
#[derive(Clone, Copy)]
pub(crate) struct Those(u8x16);

impl Lane {
    #[inline(always)]
    pub(crate) fn of(bytes: &[u8; LANE_BYTES]) -> Self {
        Self(u8x16::new(*bytes))
    }

    /// With bit 5 set in every byte, which makes letters lower case.
    #[inline(always)]
    pub(crate) fn lower(self) -> Self {
        Self(self.0 | u8x16::splat(0x20))
    }

    #[inline(always)]
    pub(crate) fn equal(self, byte: u8) -> Those {
        Those(self.0.simd_eq(u8x16::splat(byte)))
    }

    /// Both ends are in.
    #[inline(always)]
    pub(crate) fn within(self, first: u8, last: u8) -> Those {
        let from_first = self.0 - u8x16::splat(first);
        Those(from_first.min(u8x16::splat(last - first)).simd_eq(from_first))
    }
}

impl Those {
    #[inline(always)]
    pub(crate) fn or(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// One bit for each byte, the first one's lowest.
    #[inline(always)]
    pub(crate) fn bits(self) -> u32 {
        self.0.to_bitmask()
    }
}

//! The names of the ring's operations: what a completion says of itself, and whose it is.

use crate::core::Inner;
use crate::listener::ListenSlot;
use crate::socket::{GENERATION_MASK, Socket};

/// What an operation is: the top byte of its user_data. Below: 24 bits of the slot's generation, 32 of its index.
pub(super) mod op {
    pub(in crate::driver) const IGNORED: u64 = 0;
    pub(in crate::driver) const RECV: u64 = 1;
    pub(in crate::driver) const BULK: u64 = 2;
    pub(in crate::driver) const WRITABLE: u64 = 3;
    pub(in crate::driver) const SEND: u64 = 4;
    pub(in crate::driver) const READABLE: u64 = 5;
    pub(in crate::driver) const ACCEPT: u64 = 6;
    pub(in crate::driver) const WAKE: u64 = 7;
}

#[inline]
pub(super) fn user_data(op: u64, socket: &Socket) -> u64 {
    op << 56 | u64::from(socket.generation.get()) << 32 | u64::from(socket.index)
}

#[inline]
pub(super) fn generation(data: u64) -> u32 {
    (data >> 32) as u32 & GENERATION_MASK
}

/// The slot that a completion names.
#[inline]
pub(super) fn named(inner: &Inner, data: u64) -> &Socket {
    let socket = inner.sockets.get(data as u32).expect("completions name slots that exist");
    // A slot is freed only when nothing is in flight for it, so an old generation cannot come back.
    assert_eq!(socket.generation.get(), generation(data), "a completion finds the slot it was made for");
    socket
}

pub(super) fn accept_data(slot: &ListenSlot) -> u64 {
    op::ACCEPT << 56 | u64::from(slot.generation) << 32 | u64::from(slot.index)
}

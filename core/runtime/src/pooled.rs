//! A pinned future in borrowed memory, for states that come and go with each exchange.
//!
//! Invariant: the memory is this handle's alone and never moves until the future was dropped in it.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::ptr::NonNull;
use std::task::{Context, Poll};

use crate::chunk::{HEADER_SIZE, Header};
use crate::pool::Pools;

/// A future whose memory comes from the core's block pool: 8 bytes in its holder, no malloc once the pool is warm.
/// Made by [`crate::Core::pooled`]. `!Send`.
pub struct Pooled<F: Future> {
    header: NonNull<Header>,
    owns: PhantomData<F>,
}

impl<F: Future> Pooled<F> {
    pub(crate) fn new(pools: &Pools, future: F) -> Pooled<F> {
        const { assert!(align_of::<F>() <= HEADER_SIZE, "pooled memory is aligned to 32 bytes") };
        let header = pools.cell(size_of::<F>());
        // SAFETY: fresh memory of at least this size and alignment.
        unsafe { Header::bytes(header).cast::<F>().write(future) };
        Pooled { header, owns: PhantomData }
    }
}

impl<F: Future> Future for Pooled<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // SAFETY: live, exclusive through `&mut self`, and pinned: it is dropped where it lies.
        unsafe { Pin::new_unchecked(&mut *Header::bytes(self.header).cast::<F>()) }.poll(cx)
    }
}

// The handle is only a pointer: moving it does not move the future.
impl<F: Future> Unpin for Pooled<F> {}

impl<F: Future> Drop for Pooled<F> {
    fn drop(&mut self) {
        // SAFETY: live until here; the memory is ours and afterwards empty.
        unsafe {
            Header::bytes(self.header).cast::<F>().drop_in_place();
            Pools::release_cell(self.header);
        }
    }
}

//! What the ring driver asks of its kernel: queue an entry, enter, look at two flags, take completions.
//!
//! In the product there is one kernel, io_uring(7), and this costs nothing. With the feature `fault` (tests only) there is a
//! simulated one, too (`fault.rs`), so that the driver that runs in production is the one that is tortured.
//!
//! Invariant: one thread, and views of a queue live within one call.

use std::io;
use std::mem::ManuallyDrop;
use std::time::Duration;

use io_uring::squeue::Entry;
use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, Submitter};

#[cfg(feature = "fault")]
use super::fault::FaultKernel;
use super::probe;
use crate::core::Options;
use crate::feature::{Feature, FeatureSet};
use crate::pool::Pools;
use crate::report::StartError;

/// The group of the core's provided buffers: there is one.
pub(super) const BUFFER_GROUP: u16 = 0;

pub(super) enum Kernel {
    Ring(RingKernel),
    #[cfg(feature = "fault")]
    Fault(Box<FaultKernel>),
}

impl Kernel {
    /// Entries that fit into the submission queue.
    pub(super) fn queue_size(&self) -> u32 {
        match self {
            Kernel::Ring(kernel) => kernel.ring.params().sq_entries(),
            #[cfg(feature = "fault")]
            Kernel::Fault(kernel) => kernel.queue_size(),
        }
    }

    /// Whether the kernel works on what is in flight only inside `enter` (IORING_SETUP_DEFER_TASKRUN).
    pub(super) fn is_deferred(&self) -> bool {
        match self {
            Kernel::Ring(kernel) => kernel.deferred,
            #[cfg(feature = "fault")]
            Kernel::Fault(kernel) => kernel.is_deferred(),
        }
    }

    /// Queues an entry; there is room.
    ///
    /// # Safety
    /// What the entry names stays valid until its last completion (for sends: until they are decided).
    #[inline]
    pub(super) unsafe fn push(&self, entry: &Entry) {
        match self {
            Kernel::Ring(kernel) => {
                // SAFETY: the only view of the submission queue; the entry by the caller's promise.
                let pushed = unsafe { kernel.ring.submission_shared().push(entry) };
                assert!(pushed.is_ok(), "the queue has room for what we count");
            }
            #[cfg(feature = "fault")]
            Kernel::Fault(kernel) => kernel.push(entry),
        }
    }

    /// One io_uring_enter(2) with GETEVENTS, for `count` queued entries. Says how many were consumed. Waits for
    /// `min_complete` completions, at most `timeout` (for ever when `None`). Errors: those of the call.
    #[inline]
    pub(super) fn enter(&self, count: u32, min_complete: u32, timeout: Option<Duration>) -> io::Result<usize> {
        match self {
            Kernel::Ring(kernel) => kernel.enter(count, min_complete, timeout),
            #[cfg(feature = "fault")]
            Kernel::Fault(kernel) => kernel.enter(count, min_complete, timeout),
        }
    }

    /// Whether completions wait for an `enter` (IORING_SQ_TASKRUN, IORING_SQ_CQ_OVERFLOW).
    #[inline]
    pub(super) fn has_work(&self) -> bool {
        match self {
            Kernel::Ring(kernel) => {
                // SAFETY: the only view.
                let queue = unsafe { kernel.ring.submission_shared() };
                queue.taskrun() || queue.cq_overflow()
            }
            #[cfg(feature = "fault")]
            Kernel::Fault(kernel) => kernel.has_work(),
        }
    }

    /// Whether the kernel holds completions for which the queue had no room.
    #[inline]
    pub(super) fn has_overflowed(&self) -> bool {
        match self {
            // SAFETY: the only view.
            Kernel::Ring(kernel) => unsafe { kernel.ring.submission_shared().cq_overflow() },
            #[cfg(feature = "fault")]
            Kernel::Fault(kernel) => kernel.has_overflowed(),
        }
    }

    /// Whether the completion queue is empty.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        match self {
            // SAFETY: the only view: `visit` in `take_each` does not come back here.
            Kernel::Ring(kernel) => unsafe { kernel.ring.completion_shared().is_empty() },
            #[cfg(feature = "fault")]
            Kernel::Fault(kernel) => kernel.is_empty(),
        }
    }

    /// Hands every completion in the queue to `visit` (user_data, result, flags), which does not come back to this method.
    #[inline]
    pub(super) fn take_each(&self, mut visit: impl FnMut(u64, i32, u32)) -> u64 {
        let mut count = 0;
        match self {
            Kernel::Ring(kernel) => {
                // SAFETY: the only view, by the caller's promise.
                for entry in unsafe { kernel.ring.completion_shared() } {
                    count += 1;
                    visit(entry.user_data(), entry.result(), entry.flags());
                }
            }
            #[cfg(feature = "fault")]
            Kernel::Fault(kernel) => {
                while let Some((data, result, flags)) = kernel.take() {
                    count += 1;
                    visit(data, result, flags);
                }
            }
        }
        count
    }

    /// The core has ended: the kernel forgets the buffers.
    pub(super) fn end(&self) {
        match self {
            // What is left is the poll on the eventfd, which names no memory.
            Kernel::Ring(kernel) => kernel.submitter.unregister_buf_ring(BUFFER_GROUP).expect("it was registered"),
            #[cfg(feature = "fault")]
            Kernel::Fault(kernel) => kernel.end(),
        }
    }
}

/// io_uring itself.
pub(super) struct RingKernel {
    /// Borrows from `ring`, and holds the registered descriptor's number.
    submitter: ManuallyDrop<Submitter<'static>>,
    ring: Box<IoUring>,
    enter_flags: u32,
    deferred: bool,
}

impl RingKernel {
    /// Makes the ring on this thread by really trying, from the fullest set of flags down, and registers the buffers.
    /// Returns the features in use.
    pub(super) fn start(options: &Options, pools: &Pools) -> Result<(RingKernel, FeatureSet), StartError> {
        let (ring, mut features) = probe::build(options)?;
        let ring = Box::new(ring);
        // SAFETY: the box does not move what it holds, and `Drop` drops the submitter first.
        let unbound: &'static IoUring = unsafe { &*std::ptr::from_ref(&*ring) };
        let mut submitter = unbound.submitter();
        if !options.features_denied.contains(Feature::RingFd) && submitter.register_ring_fd().is_ok() {
            features.insert(Feature::RingFd);
        }
        probe::require(options, Feature::BufferRing)?;
        let (address, entries) = pools.buf_ring().expect("the pools were started for a ring");
        // SAFETY: the pools keep the buffer ring until this ring is closed (core.rs: `driver` is dropped before `pools`).
        unsafe { submitter.register_buf_ring_with_flags(address, entries, BUFFER_GROUP, 0) }
            .map_err(|error| StartError::new("registering a ring of provided buffers", error))?;
        let mut enter_flags = EnterFlags::GETEVENTS | EnterFlags::EXT_ARG;
        if features.contains(Feature::NoIowait) {
            enter_flags |= EnterFlags::NO_IOWAIT;
        }
        let kernel = RingKernel {
            submitter: ManuallyDrop::new(submitter),
            enter_flags: enter_flags.bits(),
            deferred: features.contains(Feature::DeferTaskrun),
            ring,
        };
        Ok((kernel, features))
    }

    #[inline]
    fn enter(&self, count: u32, min_complete: u32, timeout: Option<Duration>) -> io::Result<usize> {
        let time = timeout.map_or(Timespec::new(), Timespec::from);
        let mut args = SubmitArgs::new();
        if timeout.is_some() {
            args = args.timespec(&time);
        }
        // SAFETY: the arguments are a local io_uring_getevents_arg, as IORING_ENTER_EXT_ARG says; queued entries name valid
        // memory by `push`'s rule.
        unsafe { self.submitter.enter(count, min_complete, self.enter_flags, Some(&args)) }
    }
}

impl Drop for RingKernel {
    fn drop(&mut self) {
        // The thread's table of registered rings would keep this one alive. An error means that it was never in it.
        let _ = self.submitter.unregister_ring_fd();
        // SAFETY: dropped once, before the ring it borrows from.
        unsafe { ManuallyDrop::drop(&mut self.submitter) };
    }
}

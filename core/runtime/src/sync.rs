//! What threads share is made of these; tests/loom.rs puts loom's in their place and tries all interleavings.

pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

pub(crate) use crossbeam_queue::ArrayQueue;

//! The per-core runtime: one executor over two drivers, `ring` (io_uring) and `poll` (epoll).
//!
//! A core is one thread that owns its sockets, buffers, tasks and timers; it never knows what the bytes mean. It takes no
//! lock and makes no atomic read-modify-write on a connection's way, and allocates nothing once warm. Other threads reach
//! it through [`mailbox`]es and [`Wake`] only.
//!
//! One turn of a core (see `core.rs`): completions, timers, ready tasks, settle (nothing stays in a receive chunk), flush
//! (one gathered send for each socket with output), and one `enter` that submits and waits.
//!
//! Invariants: memory that the kernel was told of belongs to the driver until the kernel is done with it, whoever was
//! dropped meanwhile; a descriptor is closed only when nothing is in flight for it; every list, queue and loop has a limit.

mod block;
mod chunk;
mod connect;
mod core;
pub mod cpus;
mod descriptors;
mod driver;
mod executor;
mod feature;
mod flow;
mod generation;
mod instant;
mod layer;
mod layered;
mod leaf;
mod listener;
mod mail;
mod mailbox;
mod meter;
mod pipe;
mod pool;
mod pooled;
mod pump;
mod queue;
pub mod refusal;
mod report;
#[cfg(feature = "fault")]
pub mod seccomp;
mod socket;
mod spin;
mod stats;
mod stream;
mod sync;
mod sys;
mod target;
mod timer;
mod wake;

pub use crate::block::BlockMut;
pub use crate::chunk::Chunk;
pub use crate::connect::{Connect, ConnectError};
pub use crate::core::{Core, Options, run};
pub use crate::descriptors::raise_descriptor_limit;
pub use crate::feature::{Feature, FeatureSet, Without};
pub use crate::flow::RECV_UNREAD_MAX;
pub use crate::generation::Generation;
pub use crate::instant::Instant;
pub use crate::layer::{Layer, Open, Opening, Sealing};
pub use crate::layered::ANSWERS_UNSENT_MAX;
pub use crate::listener::{
    Listener, bind, bind_foreign_source, bind_source, bind_unix, bind_with, set_option, start_listening,
};
pub use crate::mailbox::{Mailbox, Sender, mailbox};
pub use crate::pooled::Pooled;
pub use crate::pump::{Pump, PumpError, PumpLimits};
pub use crate::report::{IoChoice, IoReport, StartError};
pub use crate::stats::{Counter, Histogram, Hold, LoopStats, Stall};
pub use crate::stream::{Detached, Stream};
pub use crate::target::Target;
pub use crate::timer::Timer;
pub use crate::wake::Wake;

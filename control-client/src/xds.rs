//! Resources from management servers: the thread that speaks to them, and the control thread's end of it.
//!
//! ```text
//!   control thread                          thread "xds": a task for each stream
//!     Streams::settle ── what is wanted ──> Stream (discovery) ──> Call (grpc) ──> Dialled ──> server
//!     Streams::bring <── letterbox ──────── a response, and how the server is
//!       Cache::apply ─── the verdict ─────> ACK or NACK, at once; then the next response is read
//! ```
//! The thread reads the envelope of a response. Its resources become trees one by one where they are judged: a tree is many times its
//! message, and its memory goes back with the thread that judges a large response. An answer never waits for warming or for
//! a commit. A response is read when the one before is answered, so that a stream costs one message, one tree, and the
//! window of its connection, whatever its server does.
//!
//! Invariant: what has come stays, whatever becomes of the server.

mod bundle;
mod dial;
mod letterbox;
mod node;
mod parse;
mod poller;
mod secured;
mod service;
mod streams;
mod task;
mod tokens;

pub(crate) use dial::Dialler;
pub(crate) use node::{for_reports, node, shown_node};
pub use streams::{ControlPlane, Line, Streams};

//! One small TCP server in the same shape on each runtime, as a process of its own, and one load for all of them.
//!
//! ```text
//!   CPU 1: relay-table or criterion (load.rs, with the echo origin)  <--- loopback --->  CPU 0: relay-server (servers/)
//! ```
//! The load is the same whichever server it meets; what is counted is the server's process alone (server.rs). Invariant: an
//! answer that is not what the scene demands panics, so that no figure is of a broken exchange.

pub mod load;
pub mod rows;
pub mod runtimes;
pub mod server;
pub mod servers;
pub mod setup;

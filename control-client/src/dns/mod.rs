//! Clusters whose endpoints are found by names: STRICT_DNS and LOGICAL_DNS.
//!
//! ```text
//!   file ──> plan (what is asked, of whom, how often) ──> follow (a thread: one task a name) ──> lookup (one question)
//!                                                                    │ news
//!   snapshot <── Builder <── endpoints <── directory (control thread) <──┘
//! ```
//! A worker never resolves: an answer that changes a cluster becomes a snapshot, committed like any other. A failure changes
//! nothing; the last good answer stays.

mod directory;
mod follow;
mod lookup;
pub(crate) mod plan;

pub(crate) use lookup::{Asker, Outcome};
pub(crate) use plan::ResolverPlan;

pub use directory::{Changes, Directory, DnsPlans, Updates};
pub use plan::DnsPlan;

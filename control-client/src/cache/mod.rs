//! What was received of dynamic configuration, what depends on what, and the largest part of it that is whole.
//!
//! ```text
//!   transport (files, gRPC, REST)           cache                                    control thread
//!     Update ────────────────> apply ──> Verdict (ACK, or NACK by resource)
//!                              settle(now) ──> Settled: what to commit, what waits ──> Builder, Engine::commit
//!     <──────────────────────  wanted()
//! ```
//! Sans-IO: no file, no socket, no clock. Whoever brings resources does this, and nothing else:
//!
//! 1. `Cache::wanted` says what to ask for, now: of each source and [`Kind`] everything, or these names. It is asked anew after each
//!    `Cache::settle`, because a listener that came names routes, and a cluster endpoints. A name that appears is to be subscribed to
//!    even where the same source already sent it: what nobody wanted was not kept.
//! 2. A response becomes one [`Update`] of that source and kind. State of the world is [`Change::World`]: of listeners and clusters what is
//!    not in it is removed; of routes and assignments it says nothing about those it does not name. Delta is [`Change::Delta`]. A
//!    response that cannot be read at all is no update: `Cache::failed`.
//! 3. `Cache::apply` answers with a [`Verdict`] at once, before anything is warm or in force: it is the ACK, or the NACK with each refused
//!    resource, all its problems and their paths. The others of the same response are accepted all the same, and a refused one keeps its
//!    last good version. What nobody wants is passed over, and is no reason for a NACK.
//! 4. When all that belongs together was applied, the control thread settles once: one commit.
//!
//! ```text
//! fn wanted(&self) -> Vec<Subscription>
//! fn apply(&mut self, update: Update, contexts: &mut TlsContexts, at: Moment) -> Verdict
//! fn failed(&mut self, source: &ConfigSource, kind: Kind)
//! fn settle(&mut self, now: Instant) -> Settled
//! fn versions(&self, source: &ConfigSource, kind: Kind) -> BTreeMap<String, String>
//! ```
//!
//! Versions are those of the server, resource by resource where it gives them, else the response's; `Cache::versions` has what is
//! held, for `initial_resource_versions`.
//!
//! Invariant: what `Cache::settle` gives names no route configuration and no assignment that it does not hold, unless the time to wait
//! for it is over.

mod update;

pub(crate) use update::{Change, Received, Update};
pub use update::{ConfigSource, Kind, Names, Refused, Subscription, Verdict};

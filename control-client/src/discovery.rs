//! The xDS client protocol: what stands between the bytes of a gRPC stream and the resource cache. No socket, no clock,
//! no chance: they come in as arguments.
//!
//! ```text
//!   transport                      Stream                            cache
//!     open, close  ──────────────>
//!     <──── request() ───────────  what is owed or has changed
//!                                  <──────────── want(names) ───────
//!     receive(bytes, now) ───────> Update ───────────────────────>  judges
//!                                  <──────────── answer(refused) ──  ACK or NACK
//! ```
//!
//! A [`Stream`] lives as long as its config source does, through any number of connections: what is per connection
//! (nonces, what was asked for) goes with [`Stream::close`], what is per source (versions, what is held, TTLs) stays.
//! There is no queue of requests: each is made of what is wanted when there is room to send it, so that a slow server
//! costs no memory, and names are asked for all at once.
//!
//! Rules cited as "xDS" are those of Envoy's `xds_protocol.rst`, by section.
//!
//! Invariant: each response that has a nonce of a subscribed type is answered once, before the next one is read.

mod backoff;
mod delta;
mod interest;
mod request;
mod response;
mod state_of_the_world;
mod stream;
mod subscription;

pub(crate) use backoff::Backoff;
pub(crate) use interest::Interest;
pub(crate) use response::ResourceError;
pub(crate) use stream::{Received, Refusal, Stream, Update, Variant};
pub(crate) use subscription::ResourceType;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

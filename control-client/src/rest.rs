//! REST-JSON polling: the transport of a management server that speaks no gRPC.
//!
//! A type of resources is asked for by `POST /v3/discovery:TYPE`, again and again. Request and response are the JSON of
//! `DiscoveryRequest` and `DiscoveryResponse`. There is no ACK: who takes a version says it in the next request, and who
//! refuses one goes on saying the one before (Envoy, "REST-JSON polling subscriptions").
//!
//! [`Poll`] knows what is asked and when, without I/O; [`post`] is one exchange on a connection that somebody else made.

mod exchange;
mod poll;

pub(crate) use exchange::{Post, post};
pub(crate) use poll::{Answer, Poll};

#[cfg(test)]
mod tests;

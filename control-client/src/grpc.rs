//! One gRPC call with messages both ways, as a management server is spoken to: messages in, messages out, and how it ended.
//!
//! It knows nothing of what the messages say, and nothing of where the connection comes from. HTTP/2 is h2's
//! (docs/decisions/0018-grpc-by-h2.md); gRPC is five bytes before each message and a status behind the last ("gRPC over HTTP2").
//!
//! Invariant: nothing is read that nobody asks for. Who does not call [`Call::next`] holds the server at the window.
//!
//! The other half, [`server`], answers calls: who runs this process asks it so.

mod call;
mod keepalive;
mod messages;
pub(crate) mod server;

pub(crate) use call::{Call, Ended, Event, Method};

#[cfg(test)]
mod tests;

//! HTTP/2 in the engine: connections as tasks, and their streams as sides of exchanges.
//!
//! | module | its noun |
//! |---|---|
//! | `scratch` | working memory of a core for heads on their way |
//! | `outgoing` | the bytes that one turn of a connection has to send |
//! | `limits` | the codec's bounds, as the configuration sets them |
//! | `keepalive` | PINGs that show whether the peer is there |
//! | `backlog` | content that waits |
//! | `queue` | a queue that seldom holds more than one |
//! | `places` | memory for what waits from one task to another |
//! | `port` | what one stream holds between its connection's task and its exchange |
//! | `link` | one connection, as its task and its streams share it |
//! | `incoming` | what comes on it |
//! | `sending` | what goes out on it |
//! | `quiet` | since when it has had no request |
//! | `reading` | one poll of its task |
//! | `meter` | what a connection counts |
//! | `links` | an endpoint's connections |
//! | `stream` | a stream as a side of an exchange |
//! | [`server`] | a client's connection |
//! | [`client`] | a connection to an upstream |

mod backlog;
pub(crate) mod client;
mod incoming;
mod keepalive;
mod limits;
mod link;
mod links;
mod meter;
mod outgoing;
mod places;
mod port;
mod queue;
mod quiet;
mod reading;
mod scratch;
mod sending;
pub(crate) mod server;
mod stream;

pub(crate) use links::{ConnectFailure, Links};
pub(crate) use places::{Kept, Places};
pub(crate) use port::Reset;
pub(crate) use scratch::Scratch;
pub(crate) use sending::HeadForm;
pub(crate) use stream::{Http2Stream, Waiting};

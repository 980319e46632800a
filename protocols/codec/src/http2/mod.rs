//! HTTP/2 (RFC 9113), both roles, without I/O: bytes in, events out; wishes in, frames out.
//!
//! A [`Connection`] reads the caller's bytes and answers with events; content is never copied, and field sections come in the caller's list. It
//! never holds a socket and reads no clock: `now` is an argument. Every bound on a peer is in [`Limits`].
//!
//! Ground floor: `code`, `frame`, `budget`, `window`, `closed`, `outbound`; then `limits`, `settings`, `stream`, `streams`, `event`; then `connection`;
//! above it `send`, and `fault`, `control` and `receive`. Beside them, without any of them, [`message`]: what a field section means.

mod budget;
mod closed;
mod code;
mod connection;
mod control;
mod event;
mod fault;
mod frame;
mod limits;
pub mod message;
mod outbound;
mod receive;
mod send;
mod settings;
mod stream;
mod streams;
mod window;

pub use budget::Rate;
pub use code::Code;
pub use connection::{Connection, PINGS_MAX};
pub use event::{Event, Step};
pub use frame::PREFACE;
pub use limits::Limits;
pub use send::Fields;
pub use settings::Settings;
pub use streams::Key;

/// Our side of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The peer asks.
    Server,
    /// We ask.
    Client,
}

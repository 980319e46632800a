//! What bytes mean: sans-IO protocol sides. Bytes go in and parts come out; parts go in and bytes come out.
//!
//! This crate never holds a socket, reads no clock, starts no task, owns no buffer and allocates nothing while it decodes
//! or encodes. A decoder borrows the caller's contiguous bytes, says how many it consumed and answers with ranges; an encoder
//! appends to the caller's [`Out`]. Not calling a decoder is backpressure.
//!
//! Invariant: bytes from a peer never panic. They become a part, a wish for more bytes, or an [`Error`] that names the rule
//! broken. What an encoder writes has one reading only: [`audit`] says so of every test's output.
//!
//! Ground floor: `error`, `limits`, `chars`, `lane`; above it `head` and `part`, the words that all versions share; above
//! them one folder for each version ([`http1`]; [`http2`] over [`hpack`]), and [`grpc`] on top. A file imports only what is below it.
#![forbid(unsafe_code)]

pub mod audit;
mod chars;
mod error;
pub mod fuzz;
pub mod grpc;
mod head;
pub mod hpack;
pub mod http1;
pub mod http2;
mod lane;
mod limits;
mod out;
mod part;
pub mod script;

pub use error::{Error, Fault, Rule, Scope};
pub use head::{
    Field, FieldRef, Framing, HeadTable, Known, KnownSet, Method, Request, Response, Version, is_same_name,
};
pub use limits::Limits;
pub use out::Out;
pub use part::{Block, Head, Part, ResetReason};

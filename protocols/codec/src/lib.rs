//! What bytes mean: sans-IO protocol sides. Bytes go in, and out come heads, content, trailers and ends; those go in and bytes come out.
//!
//! This crate never holds a socket, reads no clock, starts no task, owns no buffer and allocates nothing while it decodes
//! or encodes. A decoder borrows the caller's contiguous bytes, says how many it consumed and answers with ranges; an encoder
//! appends to the caller's [`Out`]. Not calling a decoder is backpressure.
//!
//! Invariant: bytes from a peer never panic. They become a part of a message, a wish for more bytes, or an [`Error`] that names the rule
//! broken. What an encoder writes has one reading only: [`audit`] says so of every test's output.
//!
//! Ground floor: `error`, `limits`, `chars`, `lane`, `wire`; above it `head`, the form of a head that all versions share; above
//! it one folder for each version ([`http1`]; [`http2`] over [`hpack`]), and [`grpc`] and [`websocket`] on top.
//! Beside them what a connection may begin with: [`client_hello`], [`http_inspector`],
//! [`proxy_protocol`]. A file imports only what is below it.
#![forbid(unsafe_code)]

pub mod audit;
mod chars;
pub mod client_hello;
mod error;
pub mod fuzz;
pub mod grpc;
mod head;
pub mod hpack;
pub mod http1;
pub mod http2;
pub mod http_inspector;
mod lane;
mod limits;
mod out;
pub mod proxy_protocol;
pub mod script;
pub mod websocket;
mod wire;

pub use error::{Error, Fault, Rule, Scope};
pub use head::{
    Field, FieldRef, Framing, HeadId, HeadTable, Known, KnownSet, Method, Request, Response, Version, is_same_name,
};
pub use limits::Limits;
pub use out::Out;

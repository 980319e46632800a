//! What a field section of HTTP/2 means, and how a head of ours becomes one (RFC 9113 §8, RFC 8441).
//!
//! Between the versions stands one form of a head: bytes in the form of HTTP/1.1 and the table of where everything lies in them. Reading
//! checks a section and writes those bytes, and fills the table as it goes: nothing is parsed twice. Writing walks the lines of
//! a head that the encoders of [`crate::http1`] wrote and gives its fields, pseudo-fields first, names in lower case.
//!
//! ```text
//!   read_request, read_response    FieldList -> block, HeadTable
//!   read_trailers                  FieldList -> lines, as http1::BodyPart::Trailers has them
//!   write_request, write_response, write_trailers    lines -> fields, one by one, for the HPACK encoder
//! ```
//!
//! An extended CONNECT (RFC 8441) is an Upgrade in that form, and the 2xx that grants it is a 101.
//!
//! It never sees a frame, a stream or an HPACK table, and allocates nothing but what the caller's buffers want to grow. Invariant: what is read
//! is, to the last bit of the table, what [`crate::http1`] would have read from the block, but for how its end is found; and
//! what is written is read without a complaint.

mod read;
mod repeat;
mod write;

pub use read::{Asked, read_request, read_response, read_trailers};
pub use repeat::Repeat;
pub use write::{write_request, write_response, write_trailers};

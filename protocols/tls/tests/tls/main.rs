//! Sessions of both sides against each other, without a network.

#[path = "../common/mod.rs"]
mod common;

mod fuzz;
mod handshakes;
mod records;
mod refusals;

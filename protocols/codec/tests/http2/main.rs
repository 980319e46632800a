//! HTTP/2 connections: scripts of frames, and what must come of them.
//!
//! Each script is played whole, byte by byte and in odd pieces, with the same answer; `side` holds what plays.

mod client;
mod corpus;
mod floods;
mod flow;
mod h2spec;
mod limits;
mod rules;
mod side;

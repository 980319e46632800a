//! What benches are made of: `cargo bench`, `cargo xtask bench-compare` and the `relay-table` command.
//!
//! The suites stand in `benches/`: `micro` and `config` are lists of [`case::Case`]s, `proxy` is a whole proxy over loopback. [`relay`] is one
//! small server on several runtimes and the load that drives them all. Nothing here is in the product; nothing here uses `unsafe`.

pub mod case;
pub mod relay;

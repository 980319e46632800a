//! Comparisons outside the default build: `cargo bench -p ringway-benches` and the `relay-table` command.
//!
//! The micro benches stand in `benches/micro.rs`. [`relay`] is one small server on several runtimes and the load that drives
//! them all. Nothing here is in the product; nothing here uses `unsafe`.

pub mod relay;

//! Nothing but a place for `cargo bench -p ringway-benches`: see `benches/`.

//! Fuzz bodies as plain functions: `cargo test` replays and mutates the corpus through them, libFuzzer may call them.

//! Benchmarks, outside the default build

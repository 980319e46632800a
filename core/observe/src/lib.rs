//! Statistics names and counters; no I/O, no threads

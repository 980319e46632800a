//! What we want: the snapshot of a configuration as plain data, and the pure look-ups on it

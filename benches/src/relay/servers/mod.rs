//! The server on each runtime, each as its own documentation writes one: one thread, one task a connection.
//!
//! All have one shape. The first connection is the runner's: when it ends, the server does. Each further one is served by a
//! task until its end or its first error, which is no error of the server. (glommio's stands in `benches/glommio`.)

pub mod monoio;
pub mod ringway;
pub mod tokio;

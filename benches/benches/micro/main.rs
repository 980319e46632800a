//! Parts of the request's path, without I/O: `cargo bench -p ringway-benches --bench micro`, and counted by `cargo xtask bench-compare`.
#![allow(clippy::print_stderr, reason = "a suite says what it lacks")]

mod balance;
mod grpc;
mod hpack;
mod http1;
mod http2;
mod routes;
#[path = "../timed/mod.rs"]
mod timed;
mod tls;

use std::process::ExitCode;

fn main() -> ExitCode {
    let suites = [
        balance::cases(),
        routes::cases(),
        http1::cases(),
        hpack::cases(),
        http2::cases(),
        grpc::cases(),
        tls::cases(),
    ];
    timed::main(&suites.into_iter().flatten().collect::<Vec<_>>(), |_| {})
}

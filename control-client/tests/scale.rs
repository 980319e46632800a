//! What large files cost. Ignored: figures belong to a quiet host and a release build.
//! `cargo test --release -p ringway-control-client --test scale -- --ignored --nocapture`

use std::fmt::Write as _;
use std::time::Instant;

use ringway_control_client::{Builder, ReadOptions, Source, read_bootstrap};

/// Resident size of this process in KiB (proc_pid_status(5)): now and at most.
fn resident() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let row = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).expect("the row is there");
        line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).expect("a number")
    };
    (row("VmRSS:"), row("VmHWM:"))
}

#[allow(clippy::print_stderr, clippy::disallowed_macros)] // a measurement for people
fn measure(name: &str, text: &str) {
    let mut builder = Builder::new();
    let before = resident();
    let start = Instant::now();
    let bootstrap = read_bootstrap(Source { name, text }, &ReadOptions::default()).expect("the file is right");
    let read = start.elapsed();
    let first = builder.build(&bootstrap);
    let built = start.elapsed();
    drop(bootstrap);
    let after = resident();
    drop(first);
    eprintln!(
        "{name}: {} KiB of text, read {read:?}, built {:?}, resident {} -> {} KiB, at most {} KiB",
        text.len() >> 10,
        built - read,
        before.0,
        after.0,
        after.1
    );
}

#[test]
#[ignore = "a measurement"]
fn ten_thousand_clusters_and_fifty_thousand_endpoints() {
    let mut text = String::from("static_resources:\n  clusters:\n");
    for cluster in 0..10_000 {
        let _ = write!(
            text,
            "  - name: c{cluster}\n    connect_timeout: 1s\n    load_assignment:\n      cluster_name: c{cluster}\n      \
             endpoints:\n      - lb_endpoints:\n"
        );
        for port in 0..5 {
            let _ = writeln!(
                text,
                "        - endpoint:\n            address:\n              socket_address:\n                address: \
                 10.{}.{}.1\n                port_value: {}",
                cluster / 256,
                cluster % 256,
                8000 + port
            );
        }
    }
    measure("clusters", &text);
    let bootstrap =
        read_bootstrap(Source { name: "f", text: &text }, &ReadOptions::default()).expect("the file is right");
    let line: String = bootstrap.dump.to_json().lines().map(str::trim_start).collect();
    measure("clusters as one line of JSON", &line);
}

#[test]
#[ignore = "a measurement"]
fn five_thousand_routes() {
    let mut text = String::from(
        "static_resources:\n  clusters:\n  - name: c\n  listeners:\n  - name: l\n    address: {socket_address: {address: \
         127.0.0.1, port_value: 0}}\n    filter_chains:\n    - filters:\n      - name: h\n        typed_config:\n          \
         '@type': t/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager\n          stat_prefix: \
         s\n          http_filters: [{name: r, typed_config: {'@type': \
         t/envoy.extensions.filters.http.router.v3.Router}}]\n          route_config:\n            virtual_hosts:\n            - \
         name: v\n              domains: ['*']\n              routes:\n",
    );
    for route in 0..5_000 {
        let _ = writeln!(
            text,
            "              - match: {{prefix: /service/{route}/}}\n                route: {{cluster: c, timeout: 15s}}"
        );
    }
    measure("routes", &text);
}

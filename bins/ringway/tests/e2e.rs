//! The end-to-end tests: the real binary as a process of its own. One program, so that the harness is compiled and linked once; a file is a module, and
//! its name a filter (`cargo test -p ringway --test e2e tls::`).

mod common;

mod access_log;
mod addresses;
mod admin;
mod balance;
mod breakers;
mod certificates;
mod check;
mod checklist;
mod deploy;
mod dns;
mod doctor;
mod extensions;
mod eyeballs;
mod filter_chains;
mod grpc;
mod http1;
mod http2;
mod http2_bad_origin;
mod http2_options;
mod http2_streams;
mod http2_unprocessed;
mod http2_upstream_options;
mod iptables;
mod levels;
mod lifecycle;
mod listener_filters;
mod load_balancing;
mod local_reply;
mod manager;
mod network_filters;
mod proxying;
mod reload;
mod retries;
mod routes;
mod seccomp;
mod sockets;
mod tcp_proxy;
mod tls;
mod tls_upstream;
mod tunnels;
mod unix;
mod upstream_http;
mod websocket;

//! An open session takes no memory for a record in either direction, and little to be there at all.
//!
//! A program of its own, with one test: it counts what the whole process allocates.

mod common;

use std::alloc::System;

use ringway_tls::{ClientOptions, Opened, PLAINTEXT_MAX, Parameters, ServerOptions, Session, Version};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use common::{Authority, Leaf, Pair, client, server, target, trusting};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Bytes of Rust's heap that one open session holds at most, its handshake's outcome taken out: of a budget of 8 KiB for an idle
/// connection in all. aws-lc holds the two keys in memory of its own, 600 bytes each.
const IDLE_BYTES_MAX: isize = 4096;

/// A record from one to the other, in memory that is there.
fn send(from: &mut Session, to: &mut Session, plaintext: &[u8], wire: &mut Vec<u8>, reply: &mut Vec<u8>) {
    wire.resize(from.sealed_len(plaintext.len()), 0);
    let (first, second) = plaintext.split_at(plaintext.len() / 2);
    assert_eq!(from.seal([first, second], plaintext.len(), wire), Ok(wire.len()));
    let mut at = 0;
    let mut opened = 0;
    while at < wire.len() {
        match to.open(&mut wire[at..], reply) {
            Ok(Opened::Record { consumed, plaintext }) => {
                at += consumed;
                opened += plaintext.len();
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(opened, plaintext.len());
}

#[test]
#[allow(clippy::print_stdout, reason = "the figures are worth reading")]
fn open_sessions() {
    let authority = Authority::new("root");
    let own = authority.issue(&Leaf::default());
    let plaintext = vec![7; 3 * PLAINTEXT_MAX + 5];
    let (mut wire, mut reply) = (Vec::with_capacity(1 << 17), Vec::with_capacity(1 << 10));
    for version in [Version::Tls12, Version::Tls13] {
        for mutual in [false, true] {
            let parameters = Parameters { version_min: version, version_max: version, ..Parameters::default() };
            let server = server(&ServerOptions {
                certificates: vec![own.clone()],
                parameters: parameters.clone(),
                validation: mutual.then(|| trusting(&authority)),
                require_client_certificate: mutual,
                ..ServerOptions::default()
            });
            let client = client(&ClientOptions {
                certificate: mutual.then(|| own.clone()),
                parameters,
                validation: Some(trusting(&authority)),
                max_session_keys: 0,
                ..ClientOptions::default()
            });
            let open = || {
                let mut pair = Pair::new(&client, &server, target("example.com"));
                pair.open();
                pair.client.session.take_info();
                pair.server.session.take_info();
                (pair.client.session, pair.server.session)
            };
            drop(open()); // what rustls and aws-lc keep once
            let before = Region::new(ALLOCATOR);
            let (idle_client, idle_server) = open();
            let both = before.change();
            let both = both.bytes_allocated as isize - both.bytes_deallocated as isize;
            let before = Region::new(ALLOCATOR);
            drop(idle_server);
            let held = before.change();
            let held = held.bytes_deallocated as isize - held.bytes_allocated as isize;
            println!(
                "{} {}: a server's session {} + {held} bytes, a client's {} bytes of heap",
                version.name(),
                if mutual { "mutual" } else { "one-sided" },
                size_of::<Session>(),
                both - held
            );
            assert!(held > 0 && held <= IDLE_BYTES_MAX && both - held <= IDLE_BYTES_MAX);
            drop(idle_client);
            let (mut client, mut server) = open();
            let before = Region::new(ALLOCATOR);
            for length in [1, 100, PLAINTEXT_MAX, plaintext.len()] {
                for _ in 0..3 {
                    send(&mut client, &mut server, &plaintext[..length], &mut wire, &mut reply);
                    send(&mut server, &mut client, &plaintext[..length], &mut wire, &mut reply);
                }
            }
            let change = before.change();
            assert_eq!((change.allocations, change.reallocations), (0, 0), "{version:?}");
        }
    }
}

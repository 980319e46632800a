//! A warm connection of HTTP/2 takes no memory for a request and its response, nor for content in either direction.
//!
//! A program of its own, with one test: it counts what the whole process allocates.

use std::alloc::System;

use ringway_protocols::hpack::{Field, FieldList};
use ringway_protocols::http2::{Connection, Event, Key, Limits, Role};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// A connection's two ends, and buffers that are used again.
struct Pair {
    client: Connection,
    server: Connection,
    up: Vec<u8>,
    down: Vec<u8>,
    block: Vec<u8>,
    fields: FieldList,
}

impl Pair {
    fn new() -> Self {
        let limits = Limits::default();
        let mut pair = Self {
            client: Connection::new(Role::Client, &limits, 0),
            server: Connection::new(Role::Server, &limits, 0),
            up: Vec::with_capacity(1 << 16),
            down: Vec::with_capacity(1 << 16),
            block: Vec::with_capacity(1 << 12),
            fields: FieldList::new(),
        };
        pair.client.begin(&mut pair.up);
        pair.server.begin(&mut pair.down);
        pair
    }

    /// The server reads what there is; the last request's key.
    fn server_reads(&mut self) -> Option<Key> {
        let (mut at, mut asked) = (0, None);
        while at < self.up.len() {
            let step = self.server.receive(&self.up[at..], 0, &mut self.fields, &mut self.down);
            at += step.consumed;
            match step.event {
                Event::Head { key, .. } => asked = Some(key),
                Event::Data { key, range, .. } => self.server.consumed(key, range.len(), &mut self.down),
                _ => {}
            }
        }
        self.up.clear();
        self.server.unsent(0);
        asked
    }

    fn client_reads(&mut self) {
        let mut at = 0;
        while at < self.down.len() {
            let step = self.client.receive(&self.down[at..], 0, &mut self.fields, &mut self.up);
            at += step.consumed;
            if let Event::Data { key, range, .. } = step.event {
                self.client.consumed(key, range.len(), &mut self.up);
            }
        }
        self.down.clear();
        self.client.unsent(0);
    }

    fn round(&mut self, number: u32) {
        let number = number.to_be_bytes().map(|byte| b'a' + byte % 26);
        let field = |name: &'static [u8], value| Field { name, value, never_indexed: false };
        let key = self.client.send_request(false, &mut self.block, &mut self.up, |fields| {
            fields.put(field(b":method", b"POST"));
            fields.put(field(b":path", &number));
            fields.put(field(b"x-number", &number)); // it goes to the table, and others go out
            fields.put(field(b"user-agent", b"allocations"));
        });
        let key = key.expect("capacity");
        let granted = self.client.send_data(key, 1_000, true, &mut self.up);
        self.up.resize(self.up.len() + granted, b'x');
        let asked = self.server_reads().expect("a request");
        self.server.send_headers(asked, false, &mut self.block, &mut self.down, |fields| {
            fields.put(field(b":status", b"200"));
            fields.put(field(b"x-number", &number));
        });
        let granted = self.server.send_data(asked, 1_000, true, &mut self.down);
        self.down.resize(self.down.len() + granted, b'y');
        self.client_reads();
    }
}

#[test]
fn a_warm_connection_takes_no_memory() {
    let mut pair = Pair::new();
    (0..1_000).for_each(|number| pair.round(number));
    let before = ALLOCATOR.stats();
    (1_000..3_000).for_each(|number| pair.round(number));
    let after = ALLOCATOR.stats();
    assert_eq!((after.allocations - before.allocations, after.reallocations - before.reallocations), (0, 0));
    assert_eq!((pair.client.active(), pair.server.active()), (0, 0));
}

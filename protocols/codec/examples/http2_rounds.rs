//! Requests and responses over one warm HTTP/2 connection, so often as the first argument says: what to count instructions of.
//!
//! `valgrind --tool=callgrind --callgrind-out-file=OUT target/release/examples/http2_rounds 100000`, then `callgrind_annotate --inclusive=yes
//! OUT`: each function named `step_*` has its rounds' instructions; divide by the rounds.
#![allow(clippy::print_stdout)]

use std::hint::black_box;

use ringway_protocols::hpack::{Field, FieldList};
use ringway_protocols::http2::message::read_request;
use ringway_protocols::http2::{Connection, Event, Key, Limits, Role};
use ringway_protocols::{HeadTable, Limits as MessageLimits};

/// Ten fields, of which the path and one identifier are new each time.
const REQUEST: [(&[u8], &[u8]); 9] = [
    (b":method", b"GET"),
    (b":scheme", b"https"),
    (b":authority", b"shop.example.org"),
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    (b"accept", b"*/*"),
    (b"accept-encoding", b"gzip, deflate, br"),
    (b"accept-language", b"en-US,en;q=0.5"),
    (b"cookie", b"session=0123456789abcdef0123456789abcdef"),
    (b"referer", b"https://shop.example.org/"),
];
const RESPONSE: [(&[u8], &[u8]); 5] = [
    (b":status", b"200"),
    (b"content-type", b"application/json"),
    (b"content-length", b"1024"),
    (b"server", b"envoy"),
    (b"date", b"Sun, 06 Nov 1994 08:49:37 GMT"),
];

fn field<'a>((name, value): (&'a [u8], &'a [u8])) -> Field<'a> {
    Field { name, value, never_indexed: false }
}

#[inline(never)]
fn step_request_sent(client: &mut Connection, path: &[u8], scratch: &mut Vec<u8>, out: &mut Vec<u8>) -> Key {
    let key = client.send_request(true, scratch, out, |fields| {
        REQUEST[..3].iter().for_each(|&pair| fields.put(field(pair)));
        fields.put(field((b":path", path)));
        REQUEST[3..].iter().for_each(|&pair| fields.put(field(pair)));
    });
    key.expect("capacity")
}

#[inline(never)]
fn step_request_received(server: &mut Connection, bytes: &[u8], fields: &mut FieldList, out: &mut Vec<u8>) -> Key {
    let step = server.receive(bytes, 0, fields, out);
    let Event::Head { key, ends: true } = step.event else { unreachable!("a head: {:?}", step.event) };
    assert_eq!(step.consumed, bytes.len());
    key
}

#[inline(never)]
fn step_request_read(fields: &FieldList, limits: &MessageLimits, table: &mut HeadTable, head: &mut Vec<u8>) {
    head.clear();
    read_request(fields, true, false, limits, table, head).expect("a request");
    black_box(head.len());
}

#[inline(never)]
fn step_response_sent(server: &mut Connection, key: Key, scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
    server.send_headers(key, false, scratch, out, |fields| RESPONSE.iter().for_each(|&pair| fields.put(field(pair))));
    let granted = server.send_data(key, 1_024, true, out);
    assert_eq!(granted, 1_024);
}

#[inline(never)]
fn step_response_received(client: &mut Connection, bytes: &[u8], fields: &mut FieldList, out: &mut Vec<u8>) {
    let step = client.receive(bytes, 0, fields, out);
    assert!(matches!(step.event, Event::Head { ends: false, .. }));
    let rest = &bytes[step.consumed..];
    let step = client.receive(rest, 0, fields, out);
    let Event::Data { key, range, ends: true } = step.event else { unreachable!("content") };
    client.consumed(key, range.len(), out);
}

/// Frames that carry no message.
fn hear(side: &mut Connection, mut bytes: &[u8], fields: &mut FieldList, out: &mut Vec<u8>) {
    while !bytes.is_empty() {
        bytes = &bytes[side.receive(bytes, 0, fields, out).consumed..];
    }
}

fn main() {
    let rounds: u32 = std::env::args().nth(1).and_then(|word| word.parse().ok()).unwrap_or(1_000);
    let limits = Limits { max_inbound_window_update_frames_per_data_frame_sent: 100, ..Limits::default() };
    let (mut client, mut server) =
        (Connection::new(Role::Client, &limits, 0), Connection::new(Role::Server, &limits, 0));
    let (mut up, mut down, mut scratch) = (Vec::new(), Vec::new(), Vec::new());
    let (mut fields, mut head) = (FieldList::new(), Vec::new());
    let message = MessageLimits::default();
    let mut table = HeadTable::new(message.headers_max);
    client.begin(&mut up);
    server.begin(&mut down);
    hear(&mut server, &up, &mut fields, &mut down);
    up.clear();
    hear(&mut client, &down, &mut fields, &mut up);
    let mut bytes = 0;
    for round in 0..rounds {
        let path = format!("/items/{}?full=1", round % 1_000);
        let before = up.len();
        step_request_sent(&mut client, path.as_bytes(), &mut scratch, &mut up);
        if before > 0 {
            // What the client answered to the last response's window or SETTINGS.
            hear(&mut server, &up[..before], &mut fields, &mut down);
        }
        down.clear();
        let key = step_request_received(&mut server, &up[before..], &mut fields, &mut down);
        step_request_read(&fields, &message, &mut table, &mut head);
        assert!(down.is_empty());
        step_response_sent(&mut server, key, &mut scratch, &mut down);
        down.resize(down.len() + 1_024, b'x');
        bytes += up.len() + down.len();
        up.clear();
        step_response_received(&mut client, &down, &mut fields, &mut up);
        client.unsent(0);
        server.unsent(0);
        down.clear();
    }
    println!("{rounds} rounds, {} bytes each", bytes / rounds.max(1) as usize);
}

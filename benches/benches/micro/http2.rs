//! HTTP/2 without I/O: whole requests and frames, from one end to the other, and heads as one version says them to the other.
//! Field blocks alone are in `hpack`.

use std::hint::black_box;

use ringway_benches::case::{Case, Work};
use ringway_protocols::hpack::{Decoder, Encoder, Field, FieldList, FieldSink, ListLimits};
use ringway_protocols::http2::message::{read_request, write_request};
use ringway_protocols::http2::{Connection, Event, Key, Limits, Rate, Role};
use ringway_protocols::{HeadTable, Limits as HeadLimits};

/// Streams of a connection at once, as many as most servers allow.
const STREAMS: usize = 100;

/// The suite.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (content, rounds) in [(100, 1_000), (16_384, 1_000), (1 << 20, 50)] {
        let name = format!("a request and {content} bytes of content, both ends");
        let pair = move || {
            let mut pair = Pair::new();
            move || pair.round(1, black_box(content))
        };
        cases.push(Case::new("http2", name, pair).doing(Work::Bytes(content as u64)).counted_over(rounds));
    }
    let crowd = || {
        let mut pair = Pair::new();
        move || pair.round(STREAMS, black_box(100))
    };
    let name = format!("{STREAMS} requests at once, 100 bytes of content each, both ends");
    cases.push(Case::new("http2", name, crowd).doing(Work::Elements(STREAMS as u64)).counted_over(100));
    let frames = Case::new("http2", "64 DATA frames of 1024 bytes, both ends", || data_frames(64, 1_024));
    cases.push(frames.doing(Work::Bytes(64 << 10)));
    let pings = || {
        let mut pair = Pair::new();
        move || pair.ping()
    };
    cases.push(Case::new("http2", "PING and its answer, both ends", pings));
    cases.push(Case::new("http2", "a request's section as a head of HTTP/1", read_section));
    cases.push(Case::new("http2", "a head of HTTP/1 as a request's section", write_section));
    cases
}

/// A client and a server, and what is between them.
struct Pair {
    client: Connection,
    server: Connection,
    up: Vec<u8>,
    down: Vec<u8>,
    block: Vec<u8>,
    fields: FieldList,
    /// The streams that the server has to answer.
    asked: Vec<Key>,
}

impl Pair {
    fn new() -> Self {
        // No time passes here, in which budgets would fill again.
        let all = Rate { burst: u32::MAX, per_second: u32::MAX };
        let limits = Limits { pings: all, ..Limits::default() };
        let mut pair = Self {
            client: Connection::new(Role::Client, &limits, 0),
            server: Connection::new(Role::Server, &limits, 0),
            up: Vec::new(),
            down: Vec::new(),
            block: Vec::new(),
            fields: FieldList::new(),
            asked: Vec::new(),
        };
        pair.client.begin(&mut pair.up);
        pair.server.begin(&mut pair.down);
        pair.server_reads();
        pair.client_reads();
        pair
    }

    fn server_reads(&mut self) {
        hear(&mut self.server, &mut self.up, &mut self.fields, &mut self.down, |key| self.asked.push(key));
    }

    fn client_reads(&mut self) {
        hear(&mut self.client, &mut self.down, &mut self.fields, &mut self.up, |_| {});
    }

    fn ask(&mut self, ends: bool) -> Key {
        let field = |name: &'static [u8], value: &'static [u8]| Field { name, value, never_indexed: false };
        let key = self.client.send_request(ends, &mut self.block, &mut self.up, |fields| {
            fields.put(field(b":method", b"GET"));
            fields.put(field(b":scheme", b"https"));
            fields.put(field(b":authority", b"shop.example.org"));
            fields.put(field(b":path", b"/items/42?full=1"));
            fields.put(field(b"user-agent", b"bench/1"));
            fields.put(field(b"accept", b"*/*"));
        });
        key.expect("the server allows it")
    }

    /// So many requests at once, and so much content for each.
    fn round(&mut self, requests: usize, content: usize) {
        for _ in 0..requests {
            self.ask(true);
        }
        self.server_reads();
        assert_eq!(self.asked.len(), requests, "each came");
        while let Some(key) = self.asked.pop() {
            self.answer(key, content);
        }
        self.client_reads();
        self.server_reads();
    }

    fn answer(&mut self, key: Key, content: usize) {
        let field = |name: &'static [u8], value: &'static [u8]| Field { name, value, never_indexed: false };
        self.server.send_headers(key, false, &mut self.block, &mut self.down, |fields| {
            fields.put(field(b":status", b"200"));
            fields.put(field(b"server", b"origin"));
            fields.put(field(b"content-type", b"text/plain"));
        });
        let mut left = content;
        loop {
            let granted = self.server.send_data(key, left, true, &mut self.down);
            self.down.resize(self.down.len() + granted, b'x');
            left -= granted;
            if left == 0 {
                break;
            }
            self.client_reads();
            self.server_reads();
        }
    }

    fn ping(&mut self) {
        self.client.ping(black_box(42), &mut self.up);
        self.server_reads();
        self.client_reads();
    }
}

/// One side reads all that came.
fn hear(
    side: &mut Connection,
    bytes: &mut Vec<u8>,
    fields: &mut FieldList,
    out: &mut Vec<u8>,
    mut asked: impl FnMut(Key),
) {
    let mut at = 0;
    while at < bytes.len() {
        let step = side.receive(&bytes[at..], 0, fields, out);
        at += step.consumed;
        match step.event {
            Event::Head { key, .. } => asked(key),
            Event::Data { key, range, .. } => side.consumed(key, range.len(), out),
            Event::Failed(error) => panic!("{error}"),
            _ => {}
        }
    }
    bytes.clear();
    side.unsent(0);
}

/// A request whose content never ends, and the windows that are given back for it.
fn data_frames(count: usize, size: usize) -> impl FnMut() {
    let mut pair = Pair::new();
    let key = pair.ask(false);
    pair.server_reads();
    move || {
        for _ in 0..count {
            let granted = pair.client.send_data(key, black_box(size), false, &mut pair.up);
            assert_eq!(granted, size, "windows are given back");
            pair.up.resize(pair.up.len() + granted, b'x');
            if pair.up.len() >= 1 << 13 {
                pair.server_reads();
                pair.client_reads();
            }
        }
    }
}

/// As a browser asks, by HTTP/1.
const HEAD: &[u8] = b"GET /items/42?full=1 HTTP/1.1\r\nHost: shop.example.org\r\nUser-Agent: Bench/5.0 (X11; Linux x86_64)\r\n\
    Accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\nAccept-Encoding: gzip, deflate, br\r\nAccept-Language: en\r\n\
    Cookie: session=0123456789abcdef; theme=dark\r\nReferer: https://shop.example.org/items\r\n\r\n";

/// Writes fields as a block.
struct Coded<'a> {
    encoder: &'a mut Encoder,
    block: &'a mut Vec<u8>,
}

impl FieldSink for Coded<'_> {
    fn field(&mut self, field: Field<'_>) {
        self.encoder.field(field, self.block);
    }
}

fn write_section() -> impl FnMut() {
    let (mut encoder, mut block, mut lower) = (Encoder::new(4_096), Vec::new(), Vec::new());
    move || {
        block.clear();
        encoder.begin(&mut block);
        let mut sink = Coded { encoder: &mut encoder, block: &mut block };
        write_request(black_box(HEAD), b"https", false, false, &mut lower, &mut sink);
        black_box(block.len());
    }
}

fn read_section() -> impl FnMut() {
    let (mut encoder, mut block) = (Encoder::new(4_096), Vec::new());
    let mut sink = Coded { encoder: &mut encoder, block: &mut block };
    write_request(HEAD, b"https", false, false, &mut Vec::new(), &mut sink);
    let mut fields = FieldList::new();
    let limits = ListLimits { size_max: 1 << 16, fields_max: 100 };
    Decoder::new(4_096).decode(&block, &limits, &mut fields).expect("ours");
    let limits = HeadLimits::default();
    let (mut table, mut out) = (HeadTable::new(limits.headers_max), Vec::new());
    move || {
        out.clear();
        read_request(black_box(&fields), true, false, &limits, &mut table, &mut out).expect("a request");
        black_box(out.len());
    }
}

//! HTTP/2 without I/O: field blocks of real stories, frames, and whole requests. `cargo bench -p ringway-benches --bench http2`.
//!
//! The stories are the outside judge's (`../shared/conformance`, or `$RINGWAY_CONFORMANCE`); without them that part is left out.
#![allow(missing_docs)] // criterion's macros make public items without any

use std::hint::black_box;
use std::io::{Cursor, Read};
use std::path::PathBuf;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringway_protocols::hpack::{Decoder, Encoder, Field, FieldList, ListLimits};
use ringway_protocols::http2::{Connection, Event, Key, Limits, Rate, Role};
use serde_json::Value;

const LIMITS: ListLimits = ListLimits { size_max: 1 << 20, fields_max: 1_000 };

/// One connection's field sections.
type Story = Vec<Vec<(String, String)>>;

/// The judge's raw stories.
fn stories() -> Vec<Story> {
    let folder = std::env::var_os("RINGWAY_CONFORMANCE")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/conformance"), PathBuf::from);
    let Ok(file) = std::fs::read(folder.join("hpack-test-case.tar.xz")) else { return Vec::new() };
    let mut archive = Vec::new();
    lzma_rs::xz_decompress(&mut Cursor::new(file), &mut archive).expect("xz");
    let mut stories = Vec::new();
    for entry in tar::Archive::new(Cursor::new(archive)).entries().expect("tar") {
        let mut entry = entry.expect("an entry");
        let is_raw = entry.path().is_ok_and(|path| path.to_string_lossy().contains("raw-data/story"));
        if !is_raw {
            continue;
        }
        let mut text = String::new();
        entry.read_to_string(&mut text).expect("text");
        let story: Value = serde_json::from_str(&text).expect("JSON");
        let section = |case: &Value| {
            let fields = case["headers"].as_array().into_iter().flatten().filter_map(Value::as_object);
            fields
                .flatten()
                .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
                .collect()
        };
        stories.push(story["cases"].as_array().into_iter().flatten().map(section).collect());
    }
    stories
}

fn encode(story: &Story, blocks: &mut Vec<Vec<u8>>) {
    let mut encoder = Encoder::new(4_096);
    blocks.resize(story.len(), Vec::new());
    for (section, block) in story.iter().zip(blocks) {
        block.clear();
        encoder.begin(block);
        for (name, value) in section {
            encoder.field(Field { name: name.as_bytes(), value: value.as_bytes(), never_indexed: false }, block);
        }
    }
}

fn hpack(criterion: &mut Criterion) {
    let stories = stories();
    let fields: usize = stories.iter().flatten().map(Vec::len).sum();
    if fields == 0 {
        return;
    }
    let mut group = criterion.benchmark_group("hpack");
    group.throughput(Throughput::Elements(fields as u64));
    let mut blocks = Vec::new();
    group.bench_function("encode the stories (fields)", |bencher| {
        bencher.iter(|| stories.iter().for_each(|story| encode(black_box(story), &mut blocks)));
    });
    let encoded: Vec<Vec<Vec<u8>>> = stories
        .iter()
        .map(|story| {
            let mut blocks = Vec::new();
            encode(story, &mut blocks);
            blocks
        })
        .collect();
    let mut list = FieldList::new();
    group.bench_function("decode the stories (fields)", |bencher| {
        bencher.iter(|| {
            for story in &encoded {
                let mut decoder = Decoder::new(4_096);
                for block in story {
                    decoder.decode(black_box(block), &LIMITS, &mut list).expect("ours");
                }
            }
        });
    });
    group.finish();
}

/// A client and a server, and what is between them.
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
        let all = Rate { burst: u32::MAX, per_second: u32::MAX };
        let limits = Limits { pings: all, ..Limits::default() };
        let mut pair = Self {
            client: Connection::new(Role::Client, &limits, 0),
            server: Connection::new(Role::Server, &limits, 0),
            up: Vec::new(),
            down: Vec::new(),
            block: Vec::new(),
            fields: FieldList::new(),
        };
        pair.client.begin(&mut pair.up);
        pair.server.begin(&mut pair.down);
        pair.server_reads();
        pair.client_reads();
        pair
    }

    fn server_reads(&mut self) -> Option<Key> {
        hear(&mut self.server, &mut self.up, &mut self.fields, &mut self.down)
    }

    fn client_reads(&mut self) {
        hear(&mut self.client, &mut self.down, &mut self.fields, &mut self.up);
    }

    /// One request, and so much content for it.
    fn round(&mut self, content: usize) {
        let field = |name: &'static [u8], value: &'static [u8]| Field { name, value, never_indexed: false };
        self.client.send_request(true, &mut self.block, &mut self.up, |fields| {
            fields.put(field(b":method", b"GET"));
            fields.put(field(b":scheme", b"https"));
            fields.put(field(b":authority", b"shop.example.org"));
            fields.put(field(b":path", b"/items/42?full=1"));
            fields.put(field(b"user-agent", b"bench/1"));
            fields.put(field(b"accept", b"*/*"));
        });
        let key = self.server_reads().expect("a request");
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
            self.client_reads();
            self.server_reads();
            if left == 0 {
                break;
            }
        }
    }
}

fn hear(side: &mut Connection, bytes: &mut Vec<u8>, fields: &mut FieldList, out: &mut Vec<u8>) -> Option<Key> {
    let (mut at, mut asked) = (0, None);
    while at < bytes.len() {
        let step = side.receive(&bytes[at..], 0, fields, out);
        at += step.consumed;
        match step.event {
            Event::Head { key, .. } => asked = Some(key),
            Event::Data { key, range, .. } => side.consumed(key, range.len(), out),
            Event::Failed(error) => panic!("{error}"),
            _ => {}
        }
    }
    bytes.clear();
    side.unsent(0);
    asked
}

fn frames(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("http2");
    for content in [100, 16_384, 1 << 20] {
        let mut pair = Pair::new();
        group.throughput(Throughput::Bytes(content as u64));
        group.bench_function(format!("a request and {content} bytes of content, both ends"), |bencher| {
            bencher.iter(|| pair.round(black_box(content)));
        });
    }
    group.finish();
}

criterion_group!(benches, hpack, frames);
criterion_main!(benches);

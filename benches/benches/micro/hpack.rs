//! Field blocks, both ways: the real stories of the outside judge, and blocks of our own for hosts without them.
//!
//! The stories are in `../shared/conformance`, or `$RINGWAY_CONFORMANCE`.

use std::cell::LazyCell;
use std::hint::black_box;
use std::io::{Cursor, Read};
use std::path::PathBuf;
use std::rc::Rc;

use ringway_benches::case::{Case, Work};
use ringway_protocols::hpack::{Decoder, Encoder, Field, FieldList, ListLimits};
use serde_json::Value;

const LIMITS: ListLimits = ListLimits { size_max: 1 << 20, fields_max: 1_000 };
/// The table that an end allows where it says nothing (RFC 9113 §6.5.2).
const TABLE_BYTES: usize = 4_096;

/// A name and its value.
type Line = (String, String);
/// One connection's field sections.
type Story = Vec<Vec<Line>>;

/// The suite.
pub(crate) fn cases() -> Vec<Case> {
    let ours = both_ways("100 requests of a browser", || vec![own_story()], 20);
    let mut cases = Vec::from(ours);
    match archive().is_file() {
        true => cases.extend(both_ways("the stories", stories, 2)),
        false => eprintln!("hpack: left out: the stories, for want of {}", archive().display()),
    }
    cases
}

/// The stories are read only where one of the cases is run: callgrind looks at each program from its start.
fn both_ways(what: &str, stories: fn() -> Vec<Story>, rounds: u32) -> [Case; 2] {
    let stories: Rc<LazyCell<Vec<Story>>> = Rc::new(LazyCell::new(stories));
    let (to_encode, to_decode) = (Rc::clone(&stories), Rc::clone(&stories));
    [
        Case::new("hpack", format!("encode {what} (fields)"), move || encode_all(Rc::clone(&to_encode))),
        Case::new("hpack", format!("decode {what} (fields)"), move || decode_all(&to_decode)),
    ]
    .map(|case| {
        let stories = Rc::clone(&stories);
        let fields = move || stories.iter().flatten().map(Vec::len).sum::<usize>();
        case.doing_as_found(move || Work::Elements(fields() as u64)).counted_over(rounds)
    })
}

fn encode_all(stories: Rc<LazyCell<Vec<Story>>>) -> impl FnMut() {
    let mut blocks = Vec::new();
    move || stories.iter().for_each(|story| encode(black_box(story), &mut blocks))
}

fn decode_all(stories: &[Story]) -> impl FnMut() + use<> {
    let encoded = |story: &Story| {
        let mut blocks = Vec::new();
        encode(story, &mut blocks);
        blocks
    };
    let encoded: Vec<Vec<Vec<u8>>> = stories.iter().map(encoded).collect();
    let mut list = FieldList::new();
    move || {
        for story in &encoded {
            let mut decoder = Decoder::new(TABLE_BYTES);
            story.iter().for_each(|block| decoder.decode(black_box(block), &LIMITS, &mut list).expect("ours"));
        }
    }
}

fn encode(story: &Story, blocks: &mut Vec<Vec<u8>>) {
    let mut encoder = Encoder::new(TABLE_BYTES);
    blocks.resize(story.len().max(blocks.len()), Vec::new());
    for (section, block) in story.iter().zip(blocks) {
        block.clear();
        encoder.begin(block);
        for (name, value) in section {
            encoder.field(Field { name: name.as_bytes(), value: value.as_bytes(), never_indexed: false }, block);
        }
    }
}

/// What a browser asks of one host: most fields are the same each time, the path is another.
fn own_story() -> Story {
    let section = |at: usize| {
        let line = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        vec![
            line(":method", "GET"),
            line(":scheme", "https"),
            line(":authority", "www.shop.example.org"),
            line(":path", &format!("/assets/{:08x}/image-{at}.webp?width=640", at * 0x9e37_79b9 % 0xffff_ffff)),
            line(
                "user-agent",
                "Bench/5.0 (X11; Linux x86_64) Engine/537.36 (like others) Browser/140.0.0.0 Safe/537.36",
            ),
            line("accept", "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"),
            line("accept-encoding", "gzip, deflate, br, zstd"),
            line("accept-language", "en-GB,en;q=0.9,de;q=0.8"),
            line("referer", &format!("https://www.shop.example.org/catalogue/{}", at / 10)),
            line("cookie", "session=0123456789abcdef0123456789abcdef; theme=dark; basket=42"),
            line("sec-fetch-dest", "image"),
            line("sec-fetch-mode", "no-cors"),
            line("sec-fetch-site", "same-origin"),
        ]
    };
    (0..100).map(section).collect()
}

/// Where the judge's data is.
fn archive() -> PathBuf {
    let folder = std::env::var_os("RINGWAY_CONFORMANCE")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/conformance"), PathBuf::from);
    folder.join("hpack-test-case.tar.xz")
}

/// The judge's raw stories.
fn stories() -> Vec<Story> {
    let file = std::fs::read(archive()).expect("it was there");
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
            let fields = fields.flatten();
            fields.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
        };
        stories.push(story["cases"].as_array().into_iter().flatten().map(section).collect());
    }
    stories
}

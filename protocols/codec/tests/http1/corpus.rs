//! The fuzz corpus: replayed as it is, then mutated from fixed seeds. `RINGWAY_FUZZ_ROUNDS` asks for more rounds.

use ringway_protocols::fuzz;
use ringway_protocols::http1::{Decoded, HeadScan, decode_request, decode_response};
use ringway_protocols::{FieldRef, HeadTable, Limits, Method, Version};
use std::path::Path;

/// Mutations of each target in a plain `cargo test`: a second or two unoptimised.
const ROUNDS: u64 = 20_000;

fn corpus(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("the corpus is in the repository")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| (path.display().to_string(), std::fs::read(&path).expect("a readable file")))
        .collect();
    files.sort();
    assert!(files.len() >= 5, "{target}: a corpus");
    files
}

/// Which input is being tried; a panic prints it, so that it can be replayed and kept.
struct Trying<'i>(&'i str, u64, &'i [u8]);

impl Drop for Trying<'_> {
    #[allow(clippy::print_stderr, reason = "the failing input has to be seen")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{} seed {}: {:?}", self.0, self.1, String::from_utf8_lossy(self.2));
            eprintln!("bytes: {:?}", self.2);
        }
    }
}

fn replay_and_mutate(target: &str, body: fn(&[u8])) {
    let corpus = corpus(target);
    for (name, input) in &corpus {
        let _trying = Trying(name, 0, input);
        body(input);
    }
    let rounds = std::env::var("RINGWAY_FUZZ_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    for round in 0..rounds {
        let mut seed = round;
        let (name, input) = &corpus[fuzz::next(&mut seed) as usize % corpus.len()];
        let (_, other) = &corpus[fuzz::next(&mut seed) as usize % corpus.len()];
        let mutated = fuzz::mutate(input, other, &mut seed);
        let _trying = Trying(name, round, &mutated);
        body(&mutated);
    }
}

/// An oracle: what we take, httparse (a known tokeniser, more lenient) takes too, and cuts at the same bytes.
fn httparse_agrees(input: &[u8]) {
    let mut table = HeadTable::new(100);
    let mut headers = [httparse::EMPTY_HEADER; 100];
    let decoded = decode_request(input, &mut HeadScan::default(), &mut table, &Limits::default());
    if let Ok(Decoded::Complete { head, consumed }) = decoded {
        let mut parsed = httparse::Request::new(&mut headers);
        assert_eq!(parsed.parse(input), Ok(httparse::Status::Complete(consumed)));
        assert_eq!(parsed.method.map(str::as_bytes), Some(head.method_str()));
        assert_eq!(parsed.path.map(str::as_bytes), Some(head.target()));
        assert_eq!(parsed.version == Some(1), head.version() == Version::Http11);
        assert_same_fields(head.fields(), parsed.headers);
    }
    let decoded = decode_response(input, &mut HeadScan::default(), &mut table, &Limits::default(), Method::Get);
    if let Ok(Decoded::Complete { head, consumed }) = decoded {
        let mut parsed = httparse::Response::new(&mut headers);
        assert_eq!(parsed.parse(input), Ok(httparse::Status::Complete(consumed)));
        assert_eq!(parsed.code, Some(head.status()));
        assert_same_fields(head.fields(), parsed.headers);
    }
}

fn assert_same_fields<'a>(ours: impl Iterator<Item = FieldRef<'a>>, theirs: &[httparse::Header<'_>]) {
    let ours: Vec<_> = ours.map(|field| (field.name, field.value)).collect();
    let theirs: Vec<_> = theirs.iter().map(|header| (header.name.as_bytes(), header.value)).collect();
    assert_eq!(ours, theirs);
}

#[test]
fn a_known_tokeniser_cuts_at_the_same_bytes() {
    replay_and_mutate("request", httparse_agrees);
    replay_and_mutate("response", |input| httparse_agrees(input.get(1..).unwrap_or_default()));
}

#[test]
fn requests() {
    replay_and_mutate("request", fuzz::request);
}

#[test]
fn responses() {
    replay_and_mutate("response", fuzz::response);
}

#[test]
fn requests_onward() {
    replay_and_mutate("request", |input| _ = fuzz::Onward::default().request(input));
}

#[test]
fn responses_onward() {
    replay_and_mutate("response", |input| _ = fuzz::Onward::default().response(input));
}

#[test]
fn chunked_bodies() {
    replay_and_mutate("chunked", fuzz::chunked);
}

#[test]
fn field_blocks() {
    replay_and_mutate("hpack", |input| _ = fuzz::Blocks::default().play(input));
}

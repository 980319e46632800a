//! The fuzz corpus: replayed as it is, then mutated from fixed seeds. `RINGWAY_FUZZ_ROUNDS` asks for more rounds.

use ringway_protocols::fuzz;
use std::path::Path;

/// Mutations of each target in a plain `cargo test`: a second or two unoptimised.
const ROUNDS: u64 = 3_000;

/// Which input is being tried; a panic prints it, so that it can be replayed and kept.
struct Trying<'i>(&'i str, u64, &'i [u8]);

impl Drop for Trying<'_> {
    #[allow(clippy::print_stderr, reason = "the failing input has to be seen")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{} seed {}: {:?}", self.0, self.1, self.2);
        }
    }
}

fn replay_and_mutate(target: &str, body: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut corpus: Vec<_> = std::fs::read_dir(&folder)
        .expect("the corpus is in the repository")
        .map(|entry| entry.expect("an entry").path())
        .map(|path| (path.display().to_string(), std::fs::read(&path).expect("a readable file")))
        .collect();
    corpus.sort();
    assert!(corpus.len() >= 5, "{target}: a corpus");
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

#[test]
fn client_hellos() {
    replay_and_mutate("client-hello", fuzz::client_hello);
}

#[test]
fn first_requests() {
    replay_and_mutate("http-inspector", fuzz::http_inspector);
}

#[test]
fn proxy_headers() {
    replay_and_mutate("proxy-protocol", fuzz::proxy_protocol);
}

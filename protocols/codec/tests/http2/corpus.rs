//! The fuzz corpus: replayed as it is, then mutated from fixed seeds. `RINGWAY_FUZZ_ROUNDS` asks for more rounds.

use std::path::Path;

use ringway_protocols::fuzz;

/// Mutations in a plain `cargo test`.
const ROUNDS: u64 = 1_000;

/// Which input is being tried; a panic prints it, so that it can be replayed and kept.
struct Trying<'i>(u64, &'i [u8]);

impl Drop for Trying<'_> {
    #[allow(clippy::print_stderr, reason = "the failing input has to be seen")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {}: {:?}", self.0, self.1);
        }
    }
}

fn replay_and_mutate(target: &str, body: fn(&[u8]) -> u64) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let files = std::fs::read_dir(&folder).expect("the corpus is in the repository");
    let mut paths: Vec<_> = files.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let corpus: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).expect("a readable file")).collect();
    assert!(corpus.len() >= 5, "{target}: a corpus");
    for input in &corpus {
        let _trying = Trying(0, input);
        body(input);
    }
    let rounds = std::env::var("RINGWAY_FUZZ_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(ROUNDS);
    for round in 0..rounds {
        let mut seed = round;
        let input = &corpus[fuzz::next(&mut seed) as usize % corpus.len()];
        let other = &corpus[fuzz::next(&mut seed) as usize % corpus.len()];
        let mutated = fuzz::mutate(input, other, &mut seed);
        let _trying = Trying(round, &mutated);
        body(&mutated);
    }
}

#[test]
fn connections() {
    replay_and_mutate("http2-connection", fuzz::connection);
}

#[test]
fn bytes_that_are_no_script() {
    replay_and_mutate("http2-wire", fuzz::wire);
}

/// Scripts of nothing but chance: longer than what is in the corpus.
#[test]
fn scripts_of_chance() {
    let mut seed = 0;
    for round in 0..4 * ROUNDS {
        let len = 2 + 4 * (fuzz::next(&mut seed) as usize % 120);
        let script: Vec<u8> = (0..len).map(|_| fuzz::next(&mut seed) as u8).collect();
        let _trying = Trying(round, &script);
        fuzz::connection_quick(&script);
    }
}

//! Inputs: one of the corpus, changed at a few places, in a buffer that is used again.

use ringway_protocols::fuzz::next;

/// Longer inputs are cut: a short one reaches the same rules, and costs less.
const INPUT_SIZE_MAX: usize = 512;
/// Changes to one input, at most.
const CHANGES_MAX: u64 = 4;

/// What parsers trip over: line ends, delimiters, signs, numbers at their bounds, and words of the formats.
const TRIPS: &[&[u8]] = &[
    b"\r",
    b"\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\0",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"\"",
    b"'",
    b"\\",
    b"#",
    b"@",
    b"%",
    b"%%",
    b"%2f",
    b"%5C",
    b"%00",
    b"/",
    b"//",
    b"/../",
    b"/./",
    b"?",
    b"[",
    b"]",
    b"{",
    b"}",
    b"- ",
    b"&a",
    b"*a",
    b"(",
    b")",
    b"\x7f",
    b"\xff",
    b"\xc3\xa9",
    b"\x0b",
    b"+5",
    b"0x5",
    b"5, 5",
    b"-1",
    b"0.25s",
    b"18446744073709551615",
    b"18446744073709551616",
    b"ffffffffffffffff",
    b"chunked",
    b"Content-Length: 5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Host: b\r\n",
    b"Connection: Host\r\n",
    b"0\r\n\r\n",
    b"1\r\nZ\r\n",
    b"HTTP/1.0",
    b"HTTP/1.1 101 ",
    b"\n:path=/",
    b"\n:authority=b",
    b"\nhost=b",
    b"\n!cookie=a",
    b"\ncontent-length=5",
    b"\nte=trailers",
    b"CONNECT",
    b"%REQ(",
    b"%START_TIME(",
    b"):5%",
];

/// Makes inputs from a seed.
#[derive(Debug)]
pub(crate) struct Mutator {
    seed: u64,
    input: Vec<u8>,
    piece: Vec<u8>,
}

impl Mutator {
    /// The inputs of this seed.
    pub(crate) fn new(seed: u64) -> Mutator {
        Mutator { seed, input: Vec::with_capacity(4 * INPUT_SIZE_MAX), piece: Vec::with_capacity(64) }
    }

    fn below(&mut self, bound: usize) -> usize {
        ((u128::from(next(&mut self.seed)) * bound as u128) >> 64) as usize
    }

    /// The next input.
    pub(crate) fn next(&mut self, corpus: &[Vec<u8>]) -> &[u8] {
        let from = &corpus[self.below(corpus.len())];
        self.input.clear();
        self.input.extend_from_slice(&from[..from.len().min(INPUT_SIZE_MAX)]);
        for _ in 0..=self.below(CHANGES_MAX as usize) {
            self.change(corpus);
        }
        self.input.truncate(INPUT_SIZE_MAX);
        &self.input
    }

    fn change(&mut self, corpus: &[Vec<u8>]) {
        let at = self.below(self.input.len() + 1);
        let len = self.below(8).min(self.input.len() - at);
        match self.below(6) {
            0 if at < self.input.len() => self.input[at] ^= 1 << self.below(8),
            1 => drop(self.input.drain(at..at + len)),
            2 => {
                self.piece.clear();
                self.piece.extend_from_slice(&self.input[at..at + len]);
                self.input.splice(at..at, self.piece.iter().copied());
            }
            3 => {
                let other = &corpus[self.below(corpus.len())];
                if !other.is_empty() {
                    let from = self.below(other.len());
                    let to = (from + 1 + self.below(40)).min(other.len());
                    self.input.splice(at..at + len, other[from..to].iter().copied());
                }
            }
            _ => {
                let trip = TRIPS[self.below(TRIPS.len())];
                let len = if self.below(2) == 0 { len } else { 0 };
                self.input.splice(at..at + len, trip.iter().copied());
            }
        }
    }
}

/// The input that is being tried: a panic prints it, so that it can be replayed and kept.
#[derive(Debug)]
pub(crate) struct Trying<'i>(&'static str, &'i [u8]);

impl<'i> Trying<'i> {
    /// This one, for this target.
    pub(crate) fn new(target: &'static str, input: &'i [u8]) -> Trying<'i> {
        Trying(target, input)
    }
}

impl Drop for Trying<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}: {:?}\nbytes: {:?}", self.0, String::from_utf8_lossy(self.1), self.1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_the_same_inputs_and_no_long_ones() {
        let corpus = vec![b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![b'a'; 5_000]];
        let inputs = |seed| {
            let mut mutator = Mutator::new(seed);
            (0..500).map(|_| mutator.next(&corpus).to_vec()).collect::<Vec<_>>()
        };
        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(2));
        assert!(inputs(3).iter().all(|input| input.len() <= INPUT_SIZE_MAX));
    }
}

//! Long and empty things: heads, targets, fields, bodies of requests and answers.

use super::{Class, Front};
use crate::judge::differential::case::Case;
use crate::lab::chance::Chance;

pub(super) const CLASS: Class =
    Class { name: "sizes", fronts: &[Front { name: "sizes", ..Front::PLAIN }], cases, ..Class::PLAIN };

fn cases(chance: &mut Chance, count: usize) -> Vec<Case> {
    let mut cases = vec![head(chance, "many fields", 150, 1), head(chance, "a head too long", 1, 70_000)];
    // Around the limits: 100 fields, and 60 KiB of head.
    for (name, fields, size) in [("95 fields", 95, 1), ("40,000 bytes", 1, 40_000), ("61,000 bytes", 1, 61_000)] {
        cases.push(head(chance, name, fields, size));
    }
    for size in SIZES {
        for kind in ["length", "chunked"] {
            let text = format!("GET /a/{kind}-{size} HTTP/1.1\r\nHost: a.test\r\n\r\n");
            cases.push(Case::of(chance, "", "GET", &text));
        }
    }
    while cases.len() < count {
        let (field, query) = (1 << chance.below(15), 1 << chance.below(13));
        let text = format!(
            "POST /a/length-{}?{} HTTP/1.1\r\nHost: a.test\r\nX-Long: {}\r\nContent-Length: {field}\r\n\r\n{}",
            chance.below(100_000),
            "q".repeat(query),
            "v".repeat(field),
            "b".repeat(field),
        );
        cases.push(Case::of(chance, "", "POST", &text));
    }
    cases
}

/// Bodies of answers: nothing, one byte, and around the sizes of segments, chunks and buffers.
const SIZES: [usize; 8] = [0, 1, 1_459, 4_096, 16_383, 16_385, 65_536, 300_000];

fn head(chance: &mut Chance, name: &str, fields: usize, size: usize) -> Case {
    let lines = format!("X-A: {}\r\n", "a".repeat(size)).repeat(fields);
    Case::of(chance, name, "GET", &format!("GET /a/x HTTP/1.1\r\nHost: a\r\n{lines}\r\n"))
}

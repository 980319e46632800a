//! Origins that break off, break rules, or are not there.

use super::{Class, Front};
use crate::judge::differential::case::{Case, Tag};
use crate::lab::chance::Chance;

pub(super) const CLASS: Class =
    Class { name: "resets", fronts: &[Front { name: "resets", ..Front::PLAIN }], cases, ..Class::PLAIN };

fn cases(chance: &mut Chance, count: usize) -> Vec<Case> {
    (0..count)
        .map(|at| {
            let path = PATHS[at % PATHS.len()];
            let case = match chance.below(3) {
                0 => {
                    let text = format!("POST {path} HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody");
                    let case = Case::of(chance, "", "POST", &text).split(chance);
                    if path == "/dead/x" { case.tag(Tag::Unsent) } else { case }
                }
                1 => Case::of(chance, "", "HEAD", &format!("HEAD {path} HTTP/1.1\r\nHost: a.test\r\n\r\n")),
                _ => Case::of(chance, "", "GET", &format!("GET {path} HTTP/1.1\r\nHost: a.test\r\n\r\n")),
            };
            if path.ends_with("/reset") { case.tag(Tag::Reset) } else { case }
        })
        .collect()
}

const PATHS: &[&str] = &[
    "/a/reset",
    "/a/garbage",
    "/a/both",
    "/a/cut",
    "/a/close-0",
    "/a/close-3000",
    "/dead/x",
    "/b/reset",
    "/b/cut",
    "/b/garbage",
];

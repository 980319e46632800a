//! Methods, targets and versions: which are passed on, and what each means for an answer.

use super::{Class, Front, any};
use crate::judge::differential::case::Case;
use crate::lab::chance::Chance;

pub(super) const CLASS: Class =
    Class { name: "methods", fronts: &[Front { name: "methods", ..Front::PLAIN }], cases, ..Class::PLAIN };

fn cases(chance: &mut Chance, count: usize) -> Vec<Case> {
    let mut cases: Vec<Case> = ODD.iter().map(|(name, text)| Case::raw(chance, name, "GET", text)).collect();
    while cases.len() < count {
        cases.push(any::request(chance));
    }
    cases
}

const ODD: &[(&str, &str)] = &[
    ("a lower-case method", "get /a/x HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("an unknown method", "BREW /a/x HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("options of the server", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("connect", "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n"),
    ("options with hops left", "OPTIONS /a/x HTTP/1.1\r\nHost: a\r\nMax-Forwards: 3\r\n\r\n"),
    ("trace", "TRACE /a/x HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("no target", "GET HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("no version", "GET /a/x\r\nHost: a\r\n\r\n"),
    ("version 2.0", "GET /a/x HTTP/2.0\r\nHost: a\r\n\r\n"),
    ("version 1.0", "GET /a/x HTTP/1.0\r\nHost: a\r\n\r\n"),
    ("version 1.2", "GET /a/x HTTP/1.2\r\nHost: a\r\n\r\n"),
    ("a space in the target", "GET /a/x y HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a relative target", "GET a/x HTTP/1.1\r\nHost: a\r\n\r\n"),
    ("a fragment", "GET /a/x#top HTTP/1.1\r\nHost: a\r\n\r\n"),
];

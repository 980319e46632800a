//! Several requests in one write: which are answered, and in which order.

use super::{Class, Front, any};
use crate::judge::differential::case::{Case, Tag};
use crate::lab::chance::Chance;

pub(super) const CLASS: Class =
    Class { name: "pipelining", fronts: &[Front { name: "pipelining", ..Front::PLAIN }], cases, ..Class::PLAIN };

fn cases(chance: &mut Chance, count: usize) -> Vec<Case> {
    let mut cases = vec![
        Case::of(chance, "two", "GET", "GET /a/x HTTP/1.1\r\nHost: a\r\n\r\n")
            .request("GET", "GET /b/x HTTP/1.1\r\nHost: a\r\n\r\n"),
        Case::of(chance, "a body between", "POST", "POST /a/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
            .request("HEAD", "HEAD /b/length-9 HTTP/1.1\r\nHost: a\r\n\r\n")
            .request("GET", "GET /b/chunked-9 HTTP/1.1\r\nHost: a\r\n\r\n"),
        Case::of(chance, "the first closes", "GET", "GET /a/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            .request("GET", "GET /b/x HTTP/1.1\r\nHost: a\r\n\r\n"),
    ];
    // A reply of the proxy's own between two requests that go on.
    let (on, own) = ("/a/length-70000", "/nowhere");
    let mut between = Case::new(chance, "one of the proxy's own between");
    for path in [on, own, on] {
        between = between.request("GET", format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"));
    }
    cases.push(between);
    while cases.len() < count {
        cases.push(any::pipeline(chance));
    }
    cases.into_iter().map(|case| case.tag(Tag::Pipelined)).collect()
}

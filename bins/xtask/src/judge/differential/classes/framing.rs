//! How a body is framed, by lengths and chunks, and what is refused.

use super::{Class, Front, any};
use crate::judge::differential::case::Case;
use crate::lab::chance::Chance;

pub(super) const CLASS: Class =
    Class { name: "framing", fronts: &[Front { name: "framing", ..Front::PLAIN }], cases, ..Class::PLAIN };

fn cases(chance: &mut Chance, count: usize) -> Vec<Case> {
    let mut cases: Vec<Case> = ODD.iter().map(|(name, text)| Case::raw(chance, name, "POST", text)).collect();
    while cases.len() < count {
        cases.push(any::with_body(chance));
    }
    cases
}

const ODD: &[(&str, &str)] = &[
    (
        "length and coding",
        "POST /a/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("two lengths", "POST /a/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd"),
    ("a length twice", "POST /a/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc"),
    ("a list of lengths", "POST /a/x HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc"),
    ("a signed length", "POST /a/x HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc"),
    ("a length of letters", "POST /a/x HTTP/1.1\r\nHost: a\r\nContent-Length: abc\r\n\r\n"),
    ("a length too long", "POST /a/x HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999999\r\n\r\n"),
    ("another coding", "POST /a/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n"),
    ("chunked is not last", "POST /a/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
    (
        "chunked twice",
        "POST /a/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    ("a chunk size of no digits", "POST /a/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n\r\n"),
    (
        "a chunk size too long",
        "POST /a/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nabc\r\n0\r\n\r\n",
    ),
    (
        "a chunk longer than it says",
        "POST /a/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
    ),
];

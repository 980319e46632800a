//! Whatever was written before: a head that an encoder writes says what it says alone.

use super::*;
use crate::fuzz;
use crate::hpack::{Decoder, Encoder, FieldList, ListLimits};

/// An encoder, its block, and how much of the texts was not written anew.
#[derive(Debug)]
struct Coded {
    encoder: Encoder,
    block: Vec<u8>,
    known: usize,
}

impl FieldSink for Coded {
    fn field(&mut self, field: Field<'_>) {
        self.encoder.field(field, &mut self.block);
    }

    fn line(&mut self, line: &[u8]) -> bool {
        self.encoder.line(line, &mut self.block)
    }

    fn next_lines(&mut self, lines: &[u8]) -> usize {
        self.encoder.next_lines(lines, &mut self.block)
    }

    fn again(&mut self, form: u8, text: &[u8]) -> Option<usize> {
        let known = self.encoder.again(form, text, &mut self.block);
        self.known += known.unwrap_or(0);
        known
    }

    fn piece(&mut self, text: &[u8]) {
        self.encoder.piece(text, &self.block);
    }

    fn end(&mut self, text: &[u8]) {
        self.encoder.end(text, &self.block);
    }

    fn pseudo(&mut self, index: usize, field: Field<'_>) {
        self.encoder.pseudo(index, field, &mut self.block);
    }
}

type Told = Vec<(Vec<u8>, Vec<u8>)>;

fn put(told: &mut Told) -> impl FnMut(Field<'_>) {
    |field| told.push((field.name.to_vec(), field.value.to_vec()))
}

/// Both ends of one connection's heads in one direction.
#[derive(Debug)]
struct Way {
    coded: Coded,
    decoder: Decoder,
    list: FieldList,
    lower: Vec<u8>,
}

impl Way {
    fn new(table_bytes: usize) -> Self {
        let coded = Coded { encoder: Encoder::new(table_bytes), block: Vec::new(), known: 0 };
        Self { coded, decoder: Decoder::new(Encoder::TABLE_BYTES), list: FieldList::new(), lower: Vec::new() }
    }

    /// The fields that the other side reads; how much of the text was known.
    fn read(&mut self, write: impl FnOnce(&mut Vec<u8>, &mut Coded)) -> (Told, usize) {
        self.coded.known = 0;
        self.coded.block.clear();
        self.coded.encoder.begin(&mut self.coded.block);
        write(&mut self.lower, &mut self.coded);
        let limits = ListLimits { size_max: 1 << 20, fields_max: 1000 };
        self.decoder.decode(&self.coded.block, &limits, &mut self.list).expect("a block of ours");
        let told = self.list.iter().map(|field| (field.name.to_vec(), field.value.to_vec())).collect();
        (told, self.coded.known)
    }

    fn request(&mut self, head: &[u8], (scheme, tunnel, secret): (&[u8], bool, bool)) -> usize {
        let (told, known) = self.read(|lower, coded| write_request(head, scheme, tunnel, secret, lower, coded));
        let mut alone = Told::new();
        write_request(head, scheme, tunnel, secret, &mut Vec::new(), &mut put(&mut alone));
        assert!(told == alone, "{}", String::from_utf8_lossy(head));
        known
    }

    fn response(&mut self, head: &[u8], tunnel: bool, secret: bool) -> usize {
        let (told, known) = self.read(|lower, coded| write_response(head, tunnel, secret, lower, coded));
        let mut alone = Told::new();
        write_response(head, tunnel, secret, &mut Vec::new(), &mut put(&mut alone));
        assert!(told == alone, "{}", String::from_utf8_lossy(head));
        known
    }
}

#[test]
fn what_comes_again_is_not_written_again() {
    let mut way = Way::new(4096);
    let head = |path: &str, id: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: a.example\r\nx-own: 1\r\nx-request-id: {id}\r\naccept: */*\r\n\r\n")
    };
    let form: (&[u8], bool, bool) = (b"http", false, false);
    // Its fields go to the table; then they are there; then they are kept.
    let mut known = |path: &str, id: &str| way.request(head(path, id).as_bytes(), form);
    assert_eq!([known("/", "one"), known("/", "two"), known("/", "two")], [0, 0, 0]);
    let whole = head("/", "two").len();
    assert_eq!(known("/", "two"), whole);
    // A line that differs is all that is written, and so is the start, which Host belongs to.
    let line = "x-request-id: two\r\n".len();
    let start = "GET / HTTP/1.1\r\nHost: a.example\r\n".len();
    assert_eq!([known("/", "six"), known("/", "six"), known("/", "seven")], [whole - line, whole, whole - line]);
    assert_eq!([known("/path", "seven"), known("/", "six")], [whole + 2 - start, whole - start - line]);
    assert_eq!(known("/", "six"), whole);
    // What is new for the table moves what is in it.
    way.request(b"GET / HTTP/1.1\r\nHost: a.example\r\nx-new: 1\r\n\r\n", form);
    assert_eq!(way.request(head("/", "six").as_bytes(), form), 0);
    // What the fields depend on beside the text is another.
    for _ in 0..3 {
        way.request(head("/", "six").as_bytes(), form);
    }
    assert_eq!(way.request(head("/", "six").as_bytes(), form), whole);
    assert_eq!(way.request(head("/", "six").as_bytes(), (b"https", false, false)), 0);
    assert!(way.coded.encoder.memory() > 0);
    way.coded.encoder.shrink();
    assert_eq!(way.coded.encoder.memory(), 0);
}

/// A host of another line must not be kept with a start line.
#[test]
fn a_host_that_is_not_first_is_no_part_of_the_start() {
    let mut way = Way::new(4096);
    for host in ["a", "a", "a", "a", "b", "a"] {
        let head = format!("GET / HTTP/1.1\r\naccept: */*\r\nHost: {host}.example\r\n\r\n");
        way.request(head.as_bytes(), (b"http", false, false));
    }
}

#[test]
fn heads_in_any_order_say_what_they_say_alone() {
    const STARTS: [&str; 6] = [
        "GET / HTTP/1.1\r\nHost: a\r\n",
        "GET /a/path HTTP/1.1\r\nHost: a\r\n",
        "GET / HTTP/1.1\r\nHost: another.example\r\n",
        "POST /a HTTP/1.1\r\nHost: a\r\n",
        "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n",
        "GET / HTTP/1.1\r\n",
    ];
    const ANSWERS: [&str; 4] =
        ["HTTP/1.1 200 OK\r\n", "HTTP/1.1 101 Switching Protocols\r\n", "HTTP/1.1 404 No\r\n", "HTTP/1.1 299 \r\n"];
    const LINES: [&str; 14] = [
        "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
        "content-length: 5\r\n",
        "content-length: 1234567\r\n",
        "Content-Type: text/plain\r\n",
        "content-type: text/html\r\n",
        "x-envoy-upstream-service-time: 12\r\n",
        "x-envoy-upstream-service-time: 13\r\n",
        "authorization: Basic secret\r\n",
        "cookie: short\r\n",
        "te: trailers\r\nconnection: te\r\n",
        "te: gzip\r\n",
        "upgrade: websocket\r\nConnection: upgrade\r\n",
        "Host: late.example\r\n",
        "empty:\r\n",
    ];
    let (mut seed, mut known, mut bytes) = (11, 0, 0);
    for table_bytes in [4096, 300, 0] {
        let (mut requests, mut responses) = (Way::new(table_bytes), Way::new(table_bytes));
        let mut lines: Vec<String> = Vec::new();
        for _ in 0..2_000 {
            let random = fuzz::next(&mut seed);
            let pick = |from: u32, count: usize| (random >> from) as usize % count;
            match pick(0, 12) {
                0 => lines.insert(pick(8, lines.len() + 1), LINES[pick(16, LINES.len())].to_owned()),
                1 if !lines.is_empty() => drop(lines.remove(pick(8, lines.len()))),
                2 if !lines.is_empty() => {
                    let at = pick(8, lines.len());
                    lines[at] = LINES[pick(16, LINES.len())].to_owned();
                }
                3 => lines.push(format!("x-new-{}: {}\r\n", pick(8, 3), pick(16, 40))),
                4 if pick(8, 8) == 0 => lines.iter_mut().for_each(|line| *line = line.repeat(1 + pick(16, 20))),
                5 if pick(8, 20) == 0 => lines.clear(),
                6 if pick(8, 20) == 0 => {
                    requests.coded.encoder.shrink();
                    responses.coded.encoder.shrink();
                }
                7 if pick(8, 20) == 0 => requests.coded.encoder.allowed(pick(16, 400)),
                8 => {
                    let section: String = lines.concat() + "\r\n";
                    let (told, _) = responses.read(|lower, coded| {
                        write_trailers(section.as_bytes(), std::iter::empty(), lower, coded);
                    });
                    let mut alone = Told::new();
                    let names = std::iter::empty();
                    write_trailers(section.as_bytes(), names, &mut Vec::new(), &mut put(&mut alone));
                    assert_eq!(told, alone);
                }
                _ => {}
            }
            lines.truncate(30);
            if lines.concat().len() > 1_500 {
                lines.clear();
            }
            let start = STARTS[if pick(24, 4) == 0 { pick(28, STARTS.len()) } else { 0 }];
            let answer = ANSWERS[if pick(24, 4) == 0 { pick(28, ANSWERS.len()) } else { 0 }];
            let scheme: &[u8] = if pick(32, 30) == 0 { b"https" } else { b"http" };
            let (tunnel, secret) = (pick(40, 30) == 0, pick(48, 30) == 0);
            let request = [start, &lines.concat(), "\r\n"].concat();
            known += requests.request(request.as_bytes(), (scheme, tunnel, secret));
            let response = [answer, &lines.concat(), "\r\n"].concat();
            known += responses.response(response.as_bytes(), tunnel, secret);
            bytes += request.len() + response.len();
        }
    }
    assert!(known > bytes / 5, "{known} of {bytes}: most heads are like the one before");
}

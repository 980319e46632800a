//! HTTP/1 without I/O: heads of several shapes, read and written, and chunked content.

use std::hint::black_box;

use ringway_benches::case::{Case, Work};
use ringway_protocols::http1::{
    BodyDecoder, Decoded, HeadEdit, HeadScan, chunk_header, decode_request, decode_response, encode_request,
    encode_response,
};
use ringway_protocols::{Framing, HeadTable, Limits, Method, Request, Response};

/// A head of each shape that clients send.
fn requests() -> [(&'static str, Vec<u8>); 5] {
    let shortest = "GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned();
    let tool = "GET /items/42?full=1 HTTP/1.1\r\nHost: shop.example.org\r\nUser-Agent: bench/1\r\nAccept: */*\r\n\r\n"
        .to_owned();
    let post = "POST /items HTTP/1.1\r\nHost: shop.example.org\r\nUser-Agent: bench/1\r\nAccept: application/json\r\n\
                Content-Type: application/json\r\nContent-Length: 1024\r\n\r\n";
    let cookie: String = (0..8).map(|at| format!("key{at}=0123456789abcdef0123456789abcdef; ")).collect();
    let browser = format!(
        "GET /catalogue/shoes/42?colour=red&size=44 HTTP/1.1\r\nHost: www.shop.example.org\r\nConnection: keep-alive\r\n\
         Cache-Control: max-age=0\r\nUpgrade-Insecure-Requests: 1\r\n\
         User-Agent: Bench/5.0 (X11; Linux x86_64) Engine/537.36 (like others) Browser/140.0.0.0 Safe/537.36\r\n\
         Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8\r\n\
         Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\nSec-Fetch-Dest: document\r\n\
         Referer: https://www.shop.example.org/catalogue/shoes\r\nAccept-Encoding: gzip, deflate, br, zstd\r\n\
         Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\nCookie: {}\r\n\r\n",
        cookie.trim_end_matches("; ")
    );
    let fields: String = (0..40).map(|at| format!("x-service-{at}: value-of-the-service-{at}\r\n")).collect();
    let mesh = format!("GET /service/method HTTP/1.1\r\nhost: service.mesh\r\n{fields}\r\n");
    [
        ("the shortest", shortest),
        ("a tool's, 3 fields", tool),
        ("with content, 5 fields", post.to_owned()),
        ("a browser's, 14 fields", browser),
        ("a mesh's, 41 fields", mesh),
    ]
    .map(|(name, head)| (name, head.into_bytes()))
}

fn responses() -> [(&'static str, Vec<u8>); 3] {
    let short = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n".to_owned();
    let usual = "HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain\r\n\
                 Content-Length: 1024\r\n\r\n";
    let page = format!(
        "HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/html; charset=utf-8\r\n\
         Transfer-Encoding: chunked\r\nVary: Accept-Encoding\r\nETag: \"0123456789abcdef\"\r\n\
         Cache-Control: private, max-age=0, must-revalidate\r\nStrict-Transport-Security: max-age=31536000\r\n\
         X-Content-Type-Options: nosniff\r\nX-Frame-Options: SAMEORIGIN\r\nContent-Security-Policy: {}\r\n\
         Set-Cookie: session={}; Path=/; Secure; HttpOnly; SameSite=Lax\r\nContent-Encoding: gzip\r\n\r\n",
        "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'",
        "0123456789abcdef".repeat(4),
    );
    [("the shortest", short), ("usual, 4 fields", usual.to_owned()), ("a page's, 13 fields", page)]
        .map(|(name, head)| (name, head.into_bytes()))
}

/// The suite.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, head) in requests() {
        let (size, again) = (Work::Bytes(head.len() as u64), head.clone());
        cases.push(
            Case::new("http1", format!("decode a request/{name}"), move || decode_requests(head.clone())).doing(size),
        );
        cases.push(
            Case::new("http1", format!("encode a request/{name}"), move || encode_requests(again.clone())).doing(size),
        );
    }
    for (name, head) in responses() {
        let (size, again) = (Work::Bytes(head.len() as u64), head.clone());
        cases.push(
            Case::new("http1", format!("decode a response/{name}"), move || decode_responses(head.clone())).doing(size),
        );
        cases.push(
            Case::new("http1", format!("encode a response/{name}"), move || encode_responses(again.clone()))
                .doing(size),
        );
    }
    for (count, size) in [(64, 1024), (1024, 16), (4, 16_384)] {
        let work = Work::Bytes((count * size) as u64);
        let (decode, encode) =
            (format!("decode chunks/{count} of {size} bytes"), format!("encode chunks/{count} of {size} bytes"));
        cases.push(Case::new("http1", decode, move || decode_chunks(count, size)).doing(work).counted_over(100));
        cases.push(Case::new("http1", encode, move || encode_chunks(count, size)).doing(work).counted_over(100));
    }
    cases
}

fn request<'t>(head: &'t [u8], table: &'t mut HeadTable, limits: &Limits) -> Request<'t> {
    match decode_request(head, &mut HeadScan::default(), table, limits) {
        Ok(Decoded::Complete { head, .. }) => head,
        _ => unreachable!("a whole head"),
    }
}

fn response<'t>(head: &'t [u8], table: &'t mut HeadTable, limits: &Limits) -> Response<'t> {
    match decode_response(head, &mut HeadScan::default(), table, limits, Method::Get) {
        Ok(Decoded::Complete { head, .. }) => head,
        _ => unreachable!("a whole head"),
    }
}

fn decode_requests(head: Vec<u8>) -> impl FnMut() {
    let limits = Limits::default();
    let mut table = HeadTable::new(limits.headers_max);
    move || _ = black_box(request(black_box(&head), &mut table, &limits).framing())
}

fn decode_responses(head: Vec<u8>) -> impl FnMut() {
    let limits = Limits::default();
    let mut table = HeadTable::new(limits.headers_max);
    move || _ = black_box(response(black_box(&head), &mut table, &limits).framing())
}

/// A head that stays decoded lends from what lives as long as the program.
fn kept(head: Vec<u8>) -> (&'static [u8], &'static mut HeadTable, Limits) {
    let limits = Limits::default();
    (head.leak(), Box::leak(Box::new(HeadTable::new(limits.headers_max))), limits)
}

fn encode_requests(head: Vec<u8>) -> impl FnMut() {
    let (head, table, limits) = kept(head);
    let head = request(head, table, &limits);
    let mut out = Vec::with_capacity(1 << 14);
    move || {
        out.clear();
        encode_request(black_box(&head), head.framing(), &HeadEdit::default(), &mut out);
        black_box(out.len());
    }
}

fn encode_responses(head: Vec<u8>) -> impl FnMut() {
    let (head, table, limits) = kept(head);
    let head = response(head, table, &limits);
    let mut out = Vec::with_capacity(1 << 14);
    move || {
        out.clear();
        encode_response(black_box(&head), head.framing(), false, &HeadEdit::default(), &mut out);
        black_box(out.len());
    }
}

fn decode_chunks(count: usize, size: usize) -> impl FnMut() {
    let limits = Limits::default();
    let chunk = [format!("{size:x}\r\n").as_bytes(), &vec![b'x'; size], b"\r\n"].concat();
    let chunked = chunk.repeat(count);
    move || {
        let mut decoder = BodyDecoder::new(Framing::Chunked);
        let mut at = 0;
        while at < chunked.len() {
            at += decoder.decode(black_box(&chunked[at..]), &limits).expect("legal").consumed;
        }
        black_box(at);
    }
}

/// The lines around the chunks: the content itself goes by without being copied.
fn encode_chunks(count: usize, size: usize) -> impl FnMut() {
    move || {
        for _ in 0..count {
            black_box(chunk_header(black_box(size), &mut [0; 18]).len());
        }
    }
}

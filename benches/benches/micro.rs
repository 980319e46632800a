//! The codec, without I/O: `cargo bench -p ringway-benches`.
#![allow(missing_docs)] // criterion's macros make public items without any

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ringway_protocols::http1::{
    BodyDecoder, Decoded, HeadEdit, HeadScan, decode_request, decode_response, encode_request, encode_response,
};
use ringway_protocols::{Framing, HeadTable, Limits, Method};

const REQUEST: &[u8] =
    b"GET /items/42?full=1 HTTP/1.1\r\nHost: shop.example.org\r\nUser-Agent: bench/1\r\nAccept: */*\r\n\r\n";
const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: origin\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n\r\n";

fn heads(criterion: &mut Criterion) {
    let limits = Limits::default();
    let mut table = HeadTable::new(limits.headers_max);
    let mut out = Vec::with_capacity(4096);
    let mut group = criterion.benchmark_group("http1");
    group.bench_function("request: decode and encode", |bencher| {
        bencher.iter(|| {
            out.clear();
            let mut scan = HeadScan::default();
            match decode_request(black_box(REQUEST), &mut scan, &mut table, &limits) {
                Ok(Decoded::Complete { head, .. }) => {
                    encode_request(&head, head.framing(), &HeadEdit::default(), &mut out);
                }
                _ => unreachable!("a whole head"),
            }
            black_box(out.len())
        });
    });
    group.bench_function("response: decode and encode", |bencher| {
        bencher.iter(|| {
            out.clear();
            let mut scan = HeadScan::default();
            match decode_response(black_box(RESPONSE), &mut scan, &mut table, &limits, Method::Get) {
                Ok(Decoded::Complete { head, .. }) => {
                    encode_response(&head, head.framing(), false, &HeadEdit::default(), &mut out);
                }
                _ => unreachable!("a whole head"),
            }
            black_box(out.len())
        });
    });
    let chunked: Vec<u8> = (0..64).flat_map(|_| [&b"400\r\n"[..], &[b'x'; 1024], b"\r\n"].concat()).collect();
    group.throughput(Throughput::Bytes(chunked.len() as u64));
    group.bench_function("chunked body: decode 64 chunks of 1 KiB", |bencher| {
        bencher.iter(|| {
            let mut decoder = BodyDecoder::new(Framing::Chunked);
            let mut at = 0;
            while at < chunked.len() {
                let step = decoder.decode(black_box(&chunked[at..]), &limits).expect("legal");
                at += step.consumed;
            }
            black_box(at)
        });
    });
    group.finish();
}

criterion_group!(benches, heads);
criterion_main!(benches);

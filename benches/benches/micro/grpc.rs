//! What is looked at of gRPC: the framing of messages, deadlines, methods and statuses.

use std::hint::black_box;

use ringway_benches::case::{Case, Work};
use ringway_protocols::grpc::{
    MessageCounter, Status, TIMEOUT_BYTES_MAX, encode_message, is_content_type, parse_timeout, service_and_method,
    write_timeout,
};

/// The suite.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (count, size) in [(1, 100), (100, 100), (4, 16_384)] {
        let name = format!("count messages/{count} of {size} bytes");
        let work = Work::Bytes(count as u64 * (size as u64 + 5));
        cases.push(Case::new("grpc", name, move || count_messages(count, size)).doing(work));
    }
    cases.push(Case::new("grpc", "a call's head: its type, method and deadline, written again", || head));
    cases.push(Case::new("grpc", "a status and its text", status));
    cases
}

fn count_messages(count: usize, size: u32) -> impl FnMut() {
    let message = [&[0][..], &size.to_be_bytes(), &vec![b'x'; size as usize]].concat();
    let content = message.repeat(count);
    move || _ = black_box(MessageCounter::default().feed(black_box(&content)))
}

fn head() {
    black_box(is_content_type(black_box(b"application/grpc+proto")));
    black_box(service_and_method(black_box(b"/grpc.testing.TestService/UnaryCall")));
    let timeout = parse_timeout(black_box(b"1500m")).expect("a timeout");
    black_box(write_timeout(timeout, &mut [0; TIMEOUT_BYTES_MAX]).len());
}

fn status() -> impl FnMut() {
    let mut out = Vec::with_capacity(256);
    move || {
        out.clear();
        black_box(Status::parse(black_box(b"14")));
        encode_message(
            black_box(
                b"upstream connect error or disconnect: reset reason: \xe2\x80\x9cconnection refused\xe2\x80\x9d",
            ),
            &mut out,
        );
        black_box(out.len());
    }
}

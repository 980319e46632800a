//! Answers of our own to a client that speaks gRPC: HTTP status 200, and all else in one head (Trailers-Only, gRPC's
//! PROTOCOL-HTTP2.md), over HTTP/1 as over HTTP/2.
//!
//! The status and the text are those that any other client would get, told as `grpc-status` and `grpc-message`. As Envoy
//! (`Utility::prepareLocalReply`). It never sends a body.

use ringway_protocols::http1::put_field;
use ringway_protocols::{grpc, is_same_name};

use crate::reply::Local;

const STATUS_NAME: &[u8] = b"grpc-status";

/// What a gRPC client is told in the place of `local`.
pub(crate) fn told(local: Local<'_>) -> Local<'_> {
    Local { status: 200, body: b"", ..local }
}

/// Writes the lines that such an answer has beside its content type: those in `lines`, which the answer would have had, then gRPC's.
pub(crate) fn write_lines(local: &Local<'_>, lines: &[u8], head_only: bool, out: &mut Vec<u8>) {
    out.clear();
    let mut has_status = false;
    for line in lines.split_inclusive(|&byte| byte == b'\n') {
        let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
        if is_same_name(name, b"content-type") {
            continue;
        }
        has_status |= is_same_name(name, STATUS_NAME);
        out.extend_from_slice(line);
    }
    if !has_status {
        put_field(STATUS_NAME, status(local).number().to_string().as_bytes(), out);
    }
    if !head_only && !local.body.is_empty() {
        out.extend_from_slice(b"grpc-message: ");
        grpc::encode_message(local.body, out);
        out.extend_from_slice(b"\r\n");
    }
}

/// What an answer of ours means to gRPC.
fn status(local: &Local<'_>) -> grpc::Status {
    match local.details {
        "max_duration_timeout" => grpc::Status::DeadlineExceeded,
        _ => grpc::Status::from_http(local.status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_told_in_lines() {
        for (status, details, body, lines, head_only, expect) in [
            (503, "", "no healthy upstream", "", false, "grpc-status: 14\r\ngrpc-message: no healthy upstream\r\n"),
            (503, "", "no healthy upstream", "", true, "grpc-status: 14\r\n"),
            (404, "", "", "x-a: b\r\nContent-Type: t\r\n", false, "x-a: b\r\ngrpc-status: 12\r\n"),
            (504, "max_duration_timeout", "late", "", false, "grpc-status: 4\r\ngrpc-message: late\r\n"),
            (200, "", "caf\u{e9}\r\nx: y", "", false, "grpc-status: 2\r\ngrpc-message: caf%C3%A9%0D%0Ax: y\r\n"),
            (500, "", "", "GRPC-Status: 5\r\nx: y\r\n", false, "GRPC-Status: 5\r\nx: y\r\n"),
        ] {
            let local = Local { status, flag: None, body: body.as_bytes(), details };
            let mut out = b"before".to_vec();
            write_lines(&local, lines.as_bytes(), head_only, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), expect);
            assert_eq!((told(local).status, told(local).body), (200, &b""[..]));
        }
    }

    /// The log says of a response without a `grpc-status` what gRPC's own table says.
    #[test]
    fn the_tables_agree() {
        for status in 100..600 {
            let told = ringway_observe::access_log::grpc_status_of(u64::from(status));
            assert_eq!(told, u64::from(grpc::Status::from_http(status).number()), "{status}");
        }
    }
}

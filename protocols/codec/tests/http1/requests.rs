//! Request heads: what they mean, and every way in which they are refused.

use crate::check::{check, refused};
use ringway_protocols::Rule;
use ringway_protocols::script::Side::Request;

fn accepts(rows: &[(&str, &str)]) {
    for (wire, expect) in rows {
        check(Request, wire.as_bytes(), expect);
    }
}

#[test]
fn what_a_request_says() {
    accepts(&[
        ("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n", "GET / @a.test 1.1 none keep · end"),
        ("GET /x?y=1&z HTTP/1.1\r\nhost:a.test:8080\r\n\r\n", "GET /x?y=1&z @a.test:8080 1.1 none keep · end"),
        (
            "M-SEARCH /a%2fb/../c HTTP/1.1\r\nHOST: \t [::1]:1 \t\r\n\r\n",
            "M-SEARCH /a%2fb/../c @[::1]:1 1.1 none keep · end",
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\nX-Empty:\r\nX-Text: caf\u{e9}\r\n\r\n", "GET / @a 1.1 none keep · end"),
        ("GET /", "more"),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r", "more"),
        ("", "end"),
    ]);
}

#[test]
fn pipelined_requests_come_in_order() {
    accepts(&[(
        "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhiGET /3 HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /1 @a 1.1 none keep · POST /2 @a 1.1 length=2 keep \"hi\" · GET /3 @a 1.1 none keep · end",
    )]);
}

#[test]
fn one_empty_line_may_come_before_a_request() {
    accepts(&[("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / @a 1.1 none keep · end"), ("\r\n", "more")]);
    refused(Request, b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Rule::EmptyLines);
    refused(Request, b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Rule::BareLf);
    refused(Request, b"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", Rule::BareCr);
    refused(Request, b"\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Rule::BareLf);
    refused(Request, b"\r\n\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", Rule::BareCr);
}

#[test]
fn forms_of_the_target() {
    accepts(&[
        // RFC 9112 §3.2.2: the target's authority wins over Host, whose value must be right all the same.
        ("GET http://b.test/x HTTP/1.1\r\nHost: a.test\r\n\r\n", "GET /x @b.test 1.1 none keep · end"),
        ("GET HTTPS://b.test:444 HTTP/1.1\r\nHost:\r\n\r\n", "GET / @b.test:444 1.1 none keep · end"),
        ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", "OPTIONS * @a 1.1 none keep · end"),
        ("OPTIONS http://b.test HTTP/1.1\r\nHost: b.test\r\n\r\n", "OPTIONS * @b.test 1.1 none keep · end"),
        ("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\n", "CONNECT  @a.test:443 1.1 none keep · close"),
    ]);
    let refuse = |target: &str, rule| {
        refused(Request, format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes(), rule);
    };
    refuse("/a#b", Rule::Fragment);
    refuse("/a\u{e9}", Rule::TargetByte);
    refuse("/a\x01", Rule::TargetByte);
    refuse("/a\x7f", Rule::TargetByte);
    refuse("/a\tb", Rule::TargetByte);
    refuse("/a b", Rule::RequestLine);
    refuse("a", Rule::TargetForm);
    refuse("*", Rule::TargetForm);
    refuse("a.test:80", Rule::TargetForm);
    refuse("ftp://a/", Rule::TargetForm);
    refuse("http:/a/", Rule::TargetForm);
    refuse("http://a?x", Rule::TargetForm);
    refuse("http://", Rule::Authority);
    refuse("http:///x", Rule::Authority);
    refuse("http://u:p@a.test/", Rule::Authority);
    refuse("http://a:99999/", Rule::Authority);
    for target in ["a.test", "a.test:", "a.test:0", ":443", "/", "http://a:443", "u@a:443"] {
        refused(Request, format!("CONNECT {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes(), Rule::Authority);
    }
}

#[test]
fn the_request_line_is_not_repaired() {
    let refuse = |line: &str, rule| refused(Request, format!("{line}\r\nHost: a\r\n\r\n").as_bytes(), rule);
    refuse("GET  / HTTP/1.1", Rule::RequestLine);
    refuse("GET /  HTTP/1.1", Rule::RequestLine);
    refuse("GET / HTTP/1.1 ", Rule::RequestLine);
    refuse("GET / HTTP/1.1\t", Rule::RequestLine);
    refuse("GET\t/ HTTP/1.1", Rule::MethodToken);
    refuse(" GET / HTTP/1.1", Rule::MethodToken);
    refuse("G(T / HTTP/1.1", Rule::MethodToken);
    refuse("GET\0 / HTTP/1.1", Rule::MethodToken);
    refuse("G\u{c9}T / HTTP/1.1", Rule::MethodToken);
    refuse(": / HTTP/1.1", Rule::MethodToken);
    refuse("GET /", Rule::RequestLine); // HTTP/0.9
    refuse("GET", Rule::RequestLine);
    refuse("GET / HTTP/1.10", Rule::RequestLine);
    refuse("GET / http/1.1", Rule::RequestLine);
    refuse("GET / HTTP/1,1", Rule::RequestLine);
    refuse("GET / HTTP/11", Rule::RequestLine);
    refuse("GET / HTTP/1.m", Rule::RequestLine);
    refuse("GET / HTTP/M.1", Rule::RequestLine);
    refuse("GET / HTTP/\x01.1", Rule::RequestLine);
    refuse("GET / HTTP /1.1", Rule::RequestLine);
    refuse("GET / ICE/1.0", Rule::RequestLine);
    refuse("GET / HTTP/2.0", Rule::Version);
    refuse("GET / HTTP/1.9", Rule::Version);
    refuse("GET / HTTP/0.9", Rule::Version);
    refuse("GET / HTTP/1.1\r", Rule::BareCr);
    refuse("GET / HTTP/1.1\r\r", Rule::BareCr);
    refuse("GET\r\n / HTTP/1.1", Rule::RequestLine);
    refuse("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFGH / HTTP/1.1", Rule::MethodTooLong);
    refused(Request, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Rule::Version);
}

#[test]
fn the_field_lines_are_not_repaired() {
    let refuse = |line: &str, rule| {
        refused(Request, format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\nX: y\r\n\r\n").as_bytes(), rule);
        // First and last as well: tokenisers treat these apart.
        refused(Request, format!("GET / HTTP/1.1\r\n{line}\r\nHost: a\r\n\r\n").as_bytes(), rule);
        refused(Request, format!("GET / HTTP/1.1\r\nHost: a\r\n{line}\r\n\r\n").as_bytes(), rule);
    };
    refuse(" X: folded", Rule::ObsFold);
    refuse("\tX: folded", Rule::ObsFold);
    refuse("X: a\r\n b", Rule::ObsFold);
    refuse("X:\r\n\tb", Rule::ObsFold);
    refuse("X : a", Rule::SpaceBeforeColon);
    refuse("X\t: a", Rule::SpaceBeforeColon);
    refuse("X Y: a", Rule::SpaceBeforeColon);
    refuse(": a", Rule::FieldName);
    refuse("X", Rule::FieldName);
    refuse("X(Y): a", Rule::FieldName);
    refuse("X/Y: a", Rule::FieldName);
    refuse("X\"Y\": a", Rule::FieldName);
    refuse("X\u{e9}: a", Rule::FieldName);
    refuse("X\0: a", Rule::FieldName);
    refuse("X\x0b: a", Rule::FieldName);
    refuse("X: a\0b", Rule::FieldValue);
    refuse("X: a\x01b", Rule::FieldValue);
    refuse("X: a\x0bb", Rule::FieldValue);
    refuse("X: a\x7f", Rule::FieldValue);
    refuse("X: \x1b[31m", Rule::FieldValue);
    refuse("X: a\rb", Rule::BareCr);
    refuse("X: a\r", Rule::BareCr);
    refuse("X: a\r\rb: c", Rule::BareCr);
    refuse("\rX: a", Rule::BareCr);
    refuse("X: a\nY: b", Rule::BareLf);
    refuse("X: a\n", Rule::BareLf);
    refuse("\nX: a", Rule::BareLf);
    refuse("X:\nY: b", Rule::BareLf);
}

#[test]
fn line_ends_of_lf_alone_are_refused_wherever_they_stand() {
    for wire in [
        "GET / HTTP/1.1\nHost: a\n\n",
        "GET / HTTP/1.1\nHost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\n",
        "GET / HTTP/1.1\r\nHost: a\n\n",
        "GET / HTTP/1.1\r\nHost:\n\r\n",
    ] {
        refused(Request, wire.as_bytes(), Rule::BareLf);
    }
}

#[test]
fn host_is_there_once_and_right() {
    let host = |lines: &str, rule| refused(Request, format!("GET / HTTP/1.1\r\n{lines}\r\n").as_bytes(), rule);
    host("", Rule::HostMissing);
    host("X-Host: a\r\n", Rule::HostMissing);
    host("Host: a\r\nHost: a\r\n", Rule::HostRepeated);
    host("Host: a\r\nX: y\r\nhOST: b\r\n", Rule::HostRepeated);
    for value in [
        "", "a b", "a, b", "a,b", "u@a", "u:p@a", "a/b", "http://a", "a:b", "a:65536", "a:-1", "a:80:80", "[::1", "a#",
        "a?",
    ] {
        host(&format!("Host: {value}\r\n"), Rule::Authority);
    }
    refused(Request, b"GET http://b/ HTTP/1.1\r\nHost: a@b\r\n\r\n", Rule::Authority);
    refused(Request, b"GET http://b/ HTTP/1.1\r\n\r\n", Rule::HostMissing);
}

#[test]
fn framing_of_a_request() {
    let post = |lines: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    check(Request, post("Content-Length: 0\r\n").as_bytes(), "POST / @a 1.1 length=0 keep · end");
    check(
        Request,
        (post("content-length:\t005 \r\n") + "hello").as_bytes(),
        "POST / @a 1.1 length=5 keep \"hello\" · end",
    );
    check(Request, (post("Content-Length: 5\r\n") + "hel").as_bytes(), "POST / @a 1.1 length=5 keep \"hel\" … more");
    check(
        Request,
        post("Content-Length: 18446744073709551615\r\n").as_bytes(),
        "POST / @a 1.1 length=18446744073709551615 keep … more",
    );
    check(
        Request,
        (post("Transfer-Encoding: CHUNKED\r\n") + "5\r\nhello\r\n0\r\n\r\n").as_bytes(),
        "POST / @a 1.1 chunked keep \"hello\" · end",
    );
    let refuse = |lines: &str, rule| refused(Request, (post(lines) + "0\r\n\r\n").as_bytes(), rule);
    for value in [
        "",
        "+5",
        "-5",
        "5, 5",
        "5,5",
        "5 5",
        "0x5",
        "5.0",
        "five",
        "5;",
        "18446744073709551616",
        "\u{b2}",
        "99999999999999999999999",
    ] {
        refuse(&format!("Content-Length: {value}\r\n"), Rule::ContentLength);
    }
    refuse("Content-Length: 5\r\nContent-Length: 6\r\n", Rule::ContentLengthRepeated);
    refuse("Content-Length: 5\r\ncontent-length: 5\r\n", Rule::ContentLengthRepeated);
    refuse("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", Rule::LengthAndCoding);
    refuse("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", Rule::LengthAndCoding);
    refuse("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", Rule::LengthAndCoding);
    for value in [
        "",
        "chunked, chunked",
        "chunked,",
        ",chunked",
        "identity",
        "gzip",
        "xchunked",
        "chunkedx",
        "chunked, identity",
        "chunked, gzip",
        "chunked;q=1",
        "\"chunked\"",
        "'chunked'",
        "x chunked",
        "chunked chunked",
        "gzip, chunked, chunked",
        "chunked, gzip, chunked",
        "chunke",
        "chunked\u{a0}",
    ] {
        refuse(&format!("Transfer-Encoding: {value}\r\n"), Rule::TransferCoding);
    }
    refuse("Transfer-Encoding: gzip, chunked\r\n", Rule::TransferCodingUnknown);
    refuse("Transfer-Encoding: identity, chunked\r\n", Rule::TransferCodingUnknown);
    refuse("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Rule::TransferCoding);
    refuse("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", Rule::TransferCoding);
    refuse("Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n", Rule::TransferCoding);
    refuse("Transfer-Encoding : chunked\r\n", Rule::SpaceBeforeColon);
    refuse("Transfer-Encoding\x0b: chunked\r\n", Rule::FieldName);
    refuse("Transfer-Encoding: \x0bchunked\r\n", Rule::FieldValue);
    refuse("Transfer-Encoding: chunked\0\r\n", Rule::FieldValue);
    refuse("Transfer-Encoding:\r\n chunked\r\n", Rule::TransferCoding); // its first line is wrong by itself
    // The tokens look like names that frame; they do not.
    check(Request, post("Transfer_Encoding: chunked\r\n").as_bytes(), "POST / @a 1.1 none keep · end");
    refused(
        Request,
        b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Rule::TransferCodingVersion,
    );
    refused(Request, b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", Rule::BodyForbidden);
    refused(
        Request,
        b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Rule::BodyForbidden,
    );
}

#[test]
fn persistence() {
    let wire = |version, connection: &str| format!("GET / HTTP/{version}\r\nHost: a\r\n{connection}\r\n");
    for (version, connection, expect) in [
        ("1.1", "", "keep · end"),
        ("1.1", "Connection: close\r\n", "close · close"),
        ("1.1", "Connection: x, CLOSE ,y\r\n", "close · close"),
        ("1.1", "Connection: keep-alive\r\nConnection: close\r\n", "close · close"),
        ("1.1", "Connection: closed\r\n", "keep · end"),
        ("1.1", "Proxy-Connection: close\r\n", "keep · end"),
        ("1.0", "", "close · close"),
        ("1.0", "Connection: Keep-Alive\r\n", "keep · end"),
        ("1.0", "Connection: keep-alive, close\r\n", "close · close"),
    ] {
        let expect = format!("GET / @a {version} none {expect}");
        check(Request, wire(version, connection).as_bytes(), &expect);
    }
    // RFC 9112 §9.6: nothing after a close is read.
    let pipelined = wire("1.1", "Connection: close\r\n") + "GET /secret HTTP/1.1\r\nHost: a\r\n\r\n";
    check(Request, pipelined.as_bytes(), "GET / @a 1.1 none close · close");
    check(Request, b"GET / HTTP/1.0\r\n\r\n", "GET / @default.test 1.0 none close · close");
}

#[test]
fn expectations_and_upgrades() {
    let wire = |version, lines: &str| format!("GET / HTTP/{version}\r\nHost: a\r\n{lines}\r\n");
    check(Request, wire("1.1", "Expect: 100-Continue\r\n").as_bytes(), "GET / @a 1.1 none keep expect · end");
    check(Request, wire("1.0", "Expect: 100-continue\r\n").as_bytes(), "GET / @a 1.0 none close · close");
    check(
        Request,
        wire("1.1", "Connection: Upgrade\r\nUpgrade: websocket\r\n").as_bytes(),
        "GET / @a 1.1 none keep upgrade=websocket · end",
    );
    // RFC 9110 §7.8: without the nomination, or in HTTP/1.0, Upgrade says nothing.
    check(Request, wire("1.1", "Upgrade: h2c\r\n").as_bytes(), "GET / @a 1.1 none keep · end");
    check(Request, wire("1.0", "Connection: upgrade\r\nUpgrade: x\r\n").as_bytes(), "GET / @a 1.0 none close · close");
    for value in ["x", "x 100-continue", "100-continue, x", ""] {
        refused(Request, wire("1.1", &format!("Expect: {value}\r\n")).as_bytes(), Rule::Expectation);
    }
}

#[test]
fn connection_cannot_strip_what_is_for_all() {
    for name in [
        "Host",
        "content-length",
        "Transfer-Encoding",
        "Authorization",
        "Cookie",
        "X-Forwarded-For",
        "x-forwarded-proto",
        "traceparent",
        "X-Envoy-Internal",
        "Forwarded",
        "Cache-Control",
        "X-Request-Id",
        "Content-Type",
    ] {
        let wire = format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: close, {name}\r\n\r\n");
        refused(Request, wire.as_bytes(), Rule::Nominated);
    }
}

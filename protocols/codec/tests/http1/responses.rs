//! Response heads, and how the request decides on their bodies.

use crate::check::{check, refused};
use ringway_protocols::script::Side::Response;
use ringway_protocols::{Method, Rule};

#[test]
fn what_a_response_says() {
    for (wire, expect) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "200 OK 1.1 length=2 keep \"hi\" · end"),
        ("HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", "200  1.1 length=0 keep · end"),
        // RFC 9112 §4 wants the space; many servers leave it out.
        ("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "200  1.1 length=0 keep · end"),
        ("HTTP/1.1 404 Not  Found\t!\r\nContent-Length: 0\r\n\r\n", "404 Not  Found\t! 1.1 length=0 keep · end"),
        ("HTTP/1.1 599 \u{fc}\r\nContent-Length: 0\r\n\r\n", "599 \u{c3}\u{bc} 1.1 length=0 keep · end"),
        ("HTTP/1.1 200 OK\r\n\r\nuntil the end", "200 OK 1.1 until-close close \"until the end\" · end"),
        ("HTTP/1.0 200 OK\r\n\r\nuntil", "200 OK 1.0 until-close close \"until\" · end"),
        ("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", "200 OK 1.0 length=1 close \"x\" · close"),
        (
            "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx",
            "200 OK 1.0 length=1 keep \"x\" · end",
        ),
        (
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
            "200 OK 1.1 length=1 close \"x\" · close",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
            "200 OK 1.1 chunked keep \"x\" · end",
        ),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", "200 OK 1.1 chunked keep \"x\" … more"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nx", "200 OK 1.1 length=3 keep \"x\" … more"),
        ("HTTP/1.1 2", "more"),
    ] {
        check(Response(Method::Get), wire.as_bytes(), expect);
    }
}

#[test]
fn interim_responses_come_before_the_final_one() {
    check(
        Response(Method::Get),
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        "103 Early Hints 1.1 none keep · 100 Continue 1.1 none keep · 204 No Content 1.1 none keep · end",
    );
    check(
        Response(Method::Get),
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x00",
        "101 Switching Protocols 1.1 none keep · close",
    );
    refused(Response(Method::Get), b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\nhello", Rule::BodyForbidden);
    refused(
        Response(Method::Get),
        b"HTTP/1.1 103 x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Rule::BodyForbidden,
    );
}

#[test]
fn some_responses_have_no_body_whatever_they_say() {
    for (method, wire, expect) in [
        (Method::Head, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "200 OK 1.1 none keep · end"),
        (Method::Head, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "200 OK 1.1 none keep · end"),
        (Method::Head, "HTTP/1.1 200 OK\r\n\r\n", "200 OK 1.1 none keep · end"),
        (Method::Get, "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "304 Not Modified 1.1 none keep · end"),
        (Method::Get, "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", "204 No Content 1.1 none keep · end"),
        // A body may follow in spite of the status: this connection carries nothing more.
        (
            Method::Get,
            "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
            "204 No Content 1.1 none close · close",
        ),
        (Method::Get, "HTTP/1.1 204 x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "204 x 1.1 none close · close"),
        (Method::Connect, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nraw", "200 OK 1.1 none keep · close"),
        (Method::Connect, "HTTP/1.1 407 x\r\nContent-Length: 2\r\n\r\nno", "407 x 1.1 length=2 keep \"no\" · end"),
    ] {
        check(Response(method), wire.as_bytes(), expect);
    }
}

#[test]
fn bad_responses_are_refused() {
    let refuse = |wire: &str, rule| refused(Response(Method::Get), wire.as_bytes(), rule);
    for line in [
        "HTTP/1.1 20 OK",
        "HTTP/1.1 2000 OK",
        "HTTP/1.1 +20 OK",
        "HTTP/1.1 abc OK",
        "HTTP/1.1  200 OK",
        "HTTP/1.1 200OK",
        "HTTP/1.1",
        "HTTP/1.1 099 x",
        "HTTP/1.1 200 O\0K",
        "HTTP/1.1 200 O\x7fK",
        "http/1.1 200 OK",
        " HTTP/1.1 200 OK",
        "200 OK",
        "ICY 200 OK",
        "HTTP/1.10 200 OK",
        "\r\nHTTP/1.1 200 OK",
        "HTTP/1.1\t200 OK",
        "HTTPER/1.1 200 OK",
    ] {
        refuse(&format!("{line}\r\nContent-Length: 0\r\n\r\n"), Rule::StatusLine);
    }
    refuse("HTTP/2.0 200 OK\r\n\r\n", Rule::Version);
    refuse("HTTP/0.9 200 OK\r\n\r\n", Rule::Version);
    refuse("HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", Rule::BareLf);
    refuse("HTTP/1.1 200\nContent-Length: 0\r\n\r\n", Rule::BareLf);
    refuse("HTTP/1.1 200 OK\r\nContent-Length: 0\n\r\n", Rule::BareLf);
    refuse("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\n", Rule::BareLf);
    refuse("HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n", Rule::BareCr);
    refuse("HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", Rule::ObsFold);
    refuse("HTTP/1.1 200 OK\r\nX : a\r\n\r\n", Rule::SpaceBeforeColon);
    refuse("HTTP/1.1 200 OK\r\nX: a\0\r\n\r\n", Rule::FieldValue);
    refuse("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello", Rule::ContentLengthRepeated);
    refuse("HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello", Rule::ContentLength);
    refuse(
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        Rule::LengthAndCoding,
    );
    refuse("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx", Rule::TransferCoding);
    refuse("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", Rule::TransferCodingUnknown);
    refuse("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Rule::TransferCodingVersion);
    refuse("HTTP/1.1 200 OK\r\nConnection: Set-Cookie\r\nContent-Length: 0\r\n\r\n", Rule::Nominated);
}

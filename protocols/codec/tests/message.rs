//! Field sections of HTTP/2 as heads, and heads as sections: RFC 9113 §8 rule by rule.
//!
//! A section is lines of `name=value`. Each is read twice, once with names by their index in the static table and once spelled out, and what is
//! accepted is held against what the decoder of HTTP/1 says of the same bytes.

use ringway_protocols::fuzz::{self, Sections, assert_as_decoded, list};
use ringway_protocols::hpack::{Decoder, Encoder, Field, FieldList, ListLimits};
use ringway_protocols::http2::message::{
    Asked, Repeat, read_request, read_response, read_trailers, write_request, write_response, write_trailers,
};
use ringway_protocols::{Error, Fault, Framing, HeadTable, Limits, Method, Rule, Scope};
use std::path::Path;
use std::rc::Rc;

fn section(text: &str, spells: bool) -> FieldList {
    let mut fields = FieldList::new();
    list(text.as_bytes(), spells, &mut Vec::new(), &mut fields);
    fields
}

/// Guards the short way of a head that comes again: it is the head that is read from the fields, whatever else was asked in between.
#[test]
fn a_head_that_comes_again_is_the_same() {
    let (mut decoder, mut fields) = (Decoder::new(4096), FieldList::new());
    let (mut repeat, mut shared) = (Repeat::default(), Repeat::<Option<Rc<(HeadTable, Vec<u8>)>>>::default());
    let bounds = ListLimits { size_max: 1 << 16, fields_max: 100 };
    let mut encoder = Encoder::new(0);
    let mut block_of = |text: &str| {
        let mut block = Vec::new();
        encoder.begin(&mut block);
        for line in text.lines() {
            let (name, value) = line.split_at(line[1..].find('=').expect("a value") + 1);
            let (name, value) = (name.as_bytes(), &value.as_bytes()[1..]);
            encoder.field(Field { name, value, never_indexed: false }, &mut block);
        }
        block
    };
    let requests = [START.to_owned(), with("content-length=5"), with("cookie=a\ncookie=b"), with("x-a=1\nx-b=2")];
    let responses = [":status=200\nserver=x", ":status=204", ":status=200\ncontent-length=5"];
    let requests: Vec<_> = requests.iter().map(|text| block_of(text)).collect();
    let responses: Vec<_> = responses.iter().map(|text| block_of(text)).collect();
    let mut seed = 3;
    let mut next = move |below: usize| fuzz::next(&mut seed) as usize % below;
    let (mut tables, mut block) = ([HeadTable::new(100), HeadTable::new(1)], Vec::new());
    let mut of = (0, 0);
    for _ in 0..20_000 {
        let table = &mut tables[usize::from(next(9) == 0)];
        let limits = Limits { headers_max: [100, 1][usize::from(next(9) == 0)], ..Limits::default() };
        let ends = next(4) == 0;
        if next(3) == 0 {
            of = (next(2), next(requests.len().min(responses.len())));
        }
        let (mut wanted, mut wanted_block) = (HeadTable::new(table.fields().len().max(100)), Vec::new());
        let wire = if of.0 == 0 { &requests[of.1] } else { &responses[of.1] };
        decoder.decode(wire, &bounds, &mut fields).expect("a block");
        block.clear();
        let (room, mut found) = (HeadTable::clone(table), HeadTable::new(0));
        let (read, plain) = if of.0 == 0 {
            let read = repeat.read_request(&fields, ends, true, &limits, table, &mut block);
            found.clone_from(table);
            wanted.clone_from(&room);
            (read, read_request(&fields, ends, true, &limits, &mut wanted, &mut wanted_block))
        } else {
            let asked = Asked { method: [Method::Get, Method::Head][next(2)], upgrade: None };
            wanted = HeadTable::new(limits.headers_max);
            let read = shared.response(&fields, ends, asked, &limits, |_, id| {
                let mut head = (HeadTable::new(limits.headers_max), Vec::new());
                read_response(&fields, ends, asked, &limits, &mut head.0, &mut head.1)?;
                head.0.know_as(id);
                Ok(Some(Rc::new(head)))
            });
            let read = read.map(|head| {
                let head = head.expect("what was read");
                (found, block) = (head.0.clone(), head.1.clone());
            });
            (read, read_response(&fields, ends, asked, &limits, &mut wanted, &mut wanted_block))
        };
        assert_eq!(read, plain);
        assert_eq!(block, wanted_block);
        if read.is_ok() {
            found.know_as(None); // which alone is its own
            assert_eq!(format!("{found:?}"), format!("{wanted:?}"));
        }
    }
}

/// Whether what follows was to follow: `END_STREAM` stood at the head, or not.
#[derive(Clone, Copy, PartialEq)]
enum Stream {
    Ends,
    GoesOn,
}
use Stream::{Ends, GoesOn};

#[track_caller]
fn request(text: &str, stream: Stream, expect: Result<(&str, Framing), Rule>) {
    let limits = Limits::default();
    for spells in [false, true] {
        let (mut table, mut block) = (HeadTable::new(limits.headers_max), Vec::new());
        let read = read_request(&section(text, spells), stream == Ends, true, &limits, &mut table, &mut block);
        match (read, expect) {
            (Ok(()), Ok((bytes, framing))) => {
                assert_eq!(String::from_utf8_lossy(&block), bytes, "{text}");
                assert_eq!(table.request(&block).framing(), framing, "{text}");
                assert_as_decoded(&table, &block, Method::Get, &limits, &mut HeadTable::new(limits.headers_max));
            }
            (Err(error), Err(rule)) => {
                assert_eq!(error, Error { rule, fault: Fault::Peer, scope: Scope::Stream, status: rule.status() });
                assert!(block.is_empty() && table.fields().is_empty());
            }
            (read, expect) => panic!("{text}: {read:?} {expect:?} {:?}", String::from_utf8_lossy(&block)),
        }
    }
}

#[track_caller]
fn refused(text: &str, rule: Rule) {
    request(text, Ends, Err(rule));
}

const GET: Asked<'_> = Asked { method: Method::Get, upgrade: None };

#[track_caller]
fn response(text: &str, stream: Stream, asked: Asked<'_>, expect: Result<(&str, Framing), Rule>) {
    let limits = Limits::default();
    for spells in [false, true] {
        let (mut table, mut block) = (HeadTable::new(limits.headers_max), Vec::new());
        let read = read_response(&section(text, spells), stream == Ends, asked, &limits, &mut table, &mut block);
        match (read, expect) {
            (Ok(()), Ok((bytes, framing))) => {
                assert_eq!(String::from_utf8_lossy(&block), bytes, "{text}");
                assert_eq!(table.response(&block).framing(), framing, "{text}");
                assert_as_decoded(&table, &block, asked.method, &limits, &mut HeadTable::new(limits.headers_max));
            }
            (Err(error), Err(rule)) => assert_eq!((error.rule, error.scope), (rule, Scope::Stream), "{text}"),
            (read, expect) => panic!("{text}: {read:?} {expect:?} {:?}", String::from_utf8_lossy(&block)),
        }
    }
}

const START: &str = ":method=GET\n:scheme=https\n:authority=a.test\n:path=/p?q";

/// A request with more fields than it needs.
fn with(fields: &str) -> String {
    format!("{START}\n{fields}")
}

#[test]
fn requests_become_heads() {
    let none = Framing::None;
    request(START, Ends, Ok(("GET /p?q HTTP/1.1\r\nHost: a.test\r\n\r\n", none)));
    request(START, GoesOn, Ok(("GET /p?q HTTP/1.1\r\nHost: a.test\r\n\r\n", Framing::UntilClose)));
    for (fields, lines) in [
        ("accept=*/*\nx=\nx-y= \tz", ""),
        ("accept=*/*\nx=\nx-y=a \tz", "accept: */*\r\nx: \r\nx-y: a \tz\r\n"),
        ("te=trailers\nexpect=100-continue", "te: trailers\r\nexpect: 100-continue\r\n"),
        ("host=A.Test\nx_y=1\nx-envoy-a=2\nx|y=3", "x_y: 1\r\nx-envoy-a: 2\r\nx|y: 3\r\n"),
        ("x-a-name-of-more-than-sixteen-bytes=b\u{e9}", "x-a-name-of-more-than-sixteen-bytes: b\u{e9}\r\n"),
        ("http2-settings=AAMAAABkAAQAoAAAAAIAAAAA", "http2-settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"),
        ("content-length=0", "content-length: 0\r\n"),
        ("grpc-status=0\nuser-agent=u\ndate=d\nvia=v", "grpc-status: 0\r\nuser-agent: u\r\ndate: d\r\nvia: v\r\n"),
    ] {
        if lines.is_empty() {
            refused(&with(fields), Rule::ValueSpace);
            continue;
        }
        let framing = if fields.starts_with("content-length") { Framing::Length(0) } else { none };
        let block = format!("GET /p?q HTTP/1.1\r\nHost: a.test\r\n{lines}\r\n");
        request(&with(fields), Ends, Ok((&block, framing)));
    }
    // Any order among the pseudo-fields, Host in the place of :authority, the scheme in any case.
    request(
        ":path=/\n:authority=[::1]:80\n:scheme=HTTP\n:method=PATCH",
        Ends,
        Ok(("PATCH / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", none)),
    );
    request(
        ":method=GET\n:scheme=http\n:path=/\nx=y\nhost=h:80",
        Ends,
        Ok(("GET / HTTP/1.1\r\nHost: h:80\r\nx: y\r\n\r\n", none)),
    );
    request(
        ":method=OPTIONS\n:scheme=http\n:authority=a\n:path=*",
        Ends,
        Ok(("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", none)),
    );
}

#[test]
fn content_is_framed_by_its_length_or_by_the_stream() {
    let post = ":method=POST\n:scheme=https\n:authority=a\n:path=/\ncontent-length=";
    let head = |length| format!("POST / HTTP/1.1\r\nHost: a\r\ncontent-length: {length}\r\n\r\n");
    request(&format!("{post}5"), GoesOn, Ok((&head("5"), Framing::Length(5))));
    request(&format!("{post}007"), GoesOn, Ok((&head("007"), Framing::Length(7))));
    request(&format!("{post}0"), GoesOn, Ok((&head("0"), Framing::Length(0))));
    request(&format!("{post}5"), Ends, Err(Rule::ContentLengthMismatch));
    for wrong in ["", "+5", "5,5", "-1", "0x5", "5 5", "18446744073709551616"] {
        request(&format!("{post}{wrong}"), GoesOn, Err(Rule::ContentLength));
    }
    request(&format!("{post}5\ncontent-length=5"), GoesOn, Err(Rule::ContentLengthRepeated));
}

#[test]
fn crumbs_of_cookies_are_one_field() {
    for (fields, lines) in [
        ("cookie=a=1", "cookie: a=1\r\n"),
        ("cookie=a=1\ncookie=b=2\ncookie=c=3\nx=y", "cookie: a=1; b=2; c=3\r\nx: y\r\n"),
        ("cookie=a=1\nx=y\ncookie=b=2", "cookie: a=1; b=2\r\nx: y\r\n"),
        ("cookie=\ncookie=a\ncookie=\nx=y", "cookie: a\r\nx: y\r\n"),
    ] {
        let block = format!("GET /p?q HTTP/1.1\r\nHost: a.test\r\n{lines}\r\n");
        request(&with(fields), Ends, Ok((&block, Framing::None)));
    }
    refused(&with("cookie=a\nx=y\ncookie=b "), Rule::ValueSpace);
    refused(&with("cookie=a\ncookie=b\0"), Rule::FieldValue);
}

#[test]
fn malformed_requests_are_refused() {
    // §8.2.1: names and values.
    for name in ["X", "accepT", "x-A-name-of-more-than-sixteen-bytes"] {
        refused(&with(&format!("{name}=1")), Rule::NameCase);
    }
    for name in ["", "x y", "x:", "x\r", "x\0", "x\u{7f}", "\u{e9}", "(x)", "x-a-name-of-more-than-sixteen-bytes "] {
        refused(&with(&format!("{name}=1")), Rule::FieldName);
    }
    for value in ["a\0", "\r", "a\rb", "a\u{1}", "a\u{7f}", "more than sixteen bytes \u{b} of a value", "\u{1f}"] {
        refused(&with(&format!("x={value}")), Rule::FieldValue);
        refused(&with(&format!("accept={value}")), Rule::FieldValue);
    }
    for value in [" ", "\t", " a", "a ", "\ta", "a\t", "more than sixteen bytes of a value "] {
        refused(&with(&format!("x={value}")), Rule::ValueSpace);
    }
    // §8.2.2: of the connection.
    for field in [
        "connection=close",
        "connection=keep-alive",
        "proxy-connection=close",
        "keep-alive=timeout=5",
        "transfer-encoding=chunked",
        "upgrade=h2c",
        "te=gzip",
        "te=trailers, deflate",
        "te=",
    ] {
        refused(&with(field), Rule::ConnectionSpecific);
    }
    // §8.3: pseudo-fields.
    refused(&with("x=y\n:path=/other"), Rule::PseudoPlace);
    refused(&with("x=y\n:unknown=1"), Rule::PseudoPlace);
    for field in [":status=200", ":unknown=1", ":=1", ":Method=GET", ":path =/"] {
        refused(&with(field), Rule::PseudoUnknown);
        refused(&format!("{field}\n{START}"), Rule::PseudoUnknown);
    }
    for field in [":method=GET", ":scheme=https", ":authority=a.test", ":path=/p?q"] {
        refused(&with(field), Rule::PseudoRepeated);
    }
    // §8.3.1: what has to be there, and how it looks.
    for missing in [":method", ":scheme", ":path"] {
        let fields: Vec<_> = START.lines().filter(|line| !line.starts_with(missing)).collect();
        refused(&fields.join("\n"), Rule::PseudoMissing);
    }
    refused(":method=GET\n:scheme=https\n:path=/", Rule::HostMissing);
    for (from, to, rule) in [
        ("GET", "", Rule::MethodToken),
        ("GET", "G ET", Rule::MethodToken),
        ("GET", "GET /x", Rule::MethodToken),
        ("GET", "AMETHODOFMORETHANTHIRTYTWOLETTERS", Rule::MethodTooLong),
        ("https", "ftp", Rule::Scheme),
        ("https", "", Rule::Scheme),
        ("https", "https://", Rule::Scheme),
        ("/p?q", "", Rule::TargetForm),
        ("/p?q", "p", Rule::TargetForm),
        ("/p?q", "*", Rule::TargetForm),
        ("/p?q", "http://a.test/", Rule::TargetForm),
        ("/p?q", "/p#f", Rule::Fragment),
        ("/p?q", "/p q", Rule::TargetByte),
        ("/p?q", "/p HTTP/1.1", Rule::TargetByte),
        ("/p?q", "/\u{e9}", Rule::TargetByte),
        ("/p?q", "/\t", Rule::ValueSpace),
        ("/p?q", "/\ta", Rule::TargetByte),
        ("a.test", "", Rule::Authority),
        ("a.test", "u@a.test", Rule::Authority),
        ("a.test", "a.test/", Rule::Authority),
        ("a.test", "a.test:x", Rule::Authority),
        ("a.test", "a.test,b", Rule::Authority),
    ] {
        refused(&START.replacen(from, to, 1), rule);
    }
    for rule in [Rule::FieldValue, Rule::ValueSpace] {
        for pseudo in ["GET", "https", "a.test", "/p?q"] {
            let odd = if rule == Rule::FieldValue { "\0" } else { " " };
            refused(&START.replacen(pseudo, &format!("{pseudo}{odd}"), 1), rule);
        }
    }
    // :authority and Host.
    refused(&with("host=b.test"), Rule::AuthorityAndHost);
    refused(&with("host=a.test:443"), Rule::AuthorityAndHost);
    refused(&with("host="), Rule::AuthorityAndHost);
    refused(&with("host=a.test\nhost=a.test"), Rule::HostRepeated);
    refused(":method=GET\n:scheme=http\n:path=/\nhost=a\nhost=a", Rule::HostRepeated);
    refused(":method=GET\n:scheme=http\n:path=/\nhost=", Rule::Authority);
    refused(&with("expect=more"), Rule::Expectation);
}

#[test]
fn connect_is_a_tunnel() {
    let connect = ":method=CONNECT\n:authority=a.test:443";
    let block = "CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n";
    request(connect, GoesOn, Ok((block, Framing::None)));
    request(connect, Ends, Ok((block, Framing::None)));
    refused(":method=CONNECT", Rule::ConnectForm);
    refused(&format!("{connect}\n:path=/"), Rule::ConnectForm);
    refused(&format!("{connect}\n:scheme=https"), Rule::ConnectForm);
    refused(":method=CONNECT\n:authority=a.test", Rule::Authority);
    refused(":method=CONNECT\nhost=a.test:443", Rule::ConnectForm);
    request(&format!("{connect}\ncontent-length=1"), GoesOn, Err(Rule::BodyForbidden));
}

#[test]
fn extended_connect_is_an_upgrade() {
    let connect = ":method=CONNECT\n:protocol=websocket\n:scheme=https\n:authority=a.test\n:path=/chat";
    let block = "GET /chat HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    request(connect, GoesOn, Ok((block, Framing::None)));
    request(
        &format!("{connect}\nsec-websocket-version=13"),
        GoesOn,
        Ok((&block.replace("\r\n\r\n", "\r\nsec-websocket-version: 13\r\n\r\n"), Framing::None)),
    );
    request(
        &connect.replace("websocket", "HTTP/2.0"),
        GoesOn,
        Ok((&block.replace("websocket", "HTTP/2.0"), Framing::None)),
    );
    for wrong in ["", "a b", "a,b", "a/b/c", "/", "a/"] {
        refused(&connect.replace("websocket", wrong), Rule::Protocol);
    }
    refused(&connect.replace("CONNECT", "GET"), Rule::Protocol);
    refused(&connect.replace("\n:path=/chat", ""), Rule::PseudoMissing);
    request(&format!("{connect}\ncontent-length=1"), GoesOn, Err(Rule::BodyForbidden));
    // Who was not told that we have it may not ask for it.
    let (mut table, limits) = (HeadTable::new(10), Limits::default());
    let read = read_request(&section(connect, false), false, false, &limits, &mut table, &mut Vec::new());
    assert_eq!(read.map_err(|error| error.rule), Err(Rule::PseudoUnknown));
}

#[test]
fn what_is_too_large_is_answered() {
    let mut limits = Limits { head_bytes_max: 100, headers_max: 3, target_bytes_max: 4, ..Limits::default() };
    limits.trailer_bytes_max = 20;
    for (text, expect) in [
        (START.to_owned(), Ok(())),
        (with("a=1\nb=2"), Ok(())),
        (with("a=1\nb=2\nc=3"), Err((Rule::TooManyFields, 431))),
        (with(&format!("a={}", "x".repeat(80))), Err((Rule::HeadTooLarge, 431))),
        (START.replace("/p?q", "/p?qq"), Err((Rule::TargetTooLong, 414))),
        (START.replace("GET", &"G".repeat(33)), Err((Rule::MethodTooLong, 501))),
    ] {
        let (mut table, mut block) = (HeadTable::new(limits.headers_max), Vec::new());
        let read = read_request(&section(&text, false), true, false, &limits, &mut table, &mut block);
        assert_eq!(read.map_err(|error| (error.rule, error.status)), expect, "{text}");
    }
    // What HPACK did not keep is not read as a smaller request.
    let fields = section(&with(&format!("a={}", "x".repeat(70_000))), false);
    assert!(fields.is_too_large());
    let (mut table, mut block) = (HeadTable::new(100), Vec::new());
    let limits = Limits { head_bytes_max: Limits::HEAD_BYTES_CAP, ..Limits::default() };
    let read = read_request(&fields, true, false, &limits, &mut table, &mut block);
    assert_eq!(read.map_err(|error| error.rule), Err(Rule::HeadTooLarge));
}

#[test]
fn responses_become_heads() {
    let ok = |lines: &str| format!("HTTP/1.1 200 OK\r\n{lines}\r\n");
    response(":status=200", GoesOn, GET, Ok((&ok(""), Framing::UntilClose)));
    response(":status=200\nx=y\nserver=s", Ends, GET, Ok((&ok("x: y\r\nserver: s\r\n"), Framing::None)));
    response(":status=200\ncontent-length=5", GoesOn, GET, Ok((&ok("content-length: 5\r\n"), Framing::Length(5))));
    response(":status=200\ncontent-length=0", Ends, GET, Ok((&ok("content-length: 0\r\n"), Framing::Length(0))));
    response(":status=200\ncontent-length=5", Ends, GET, Err(Rule::ContentLengthMismatch));
    let head = Asked { method: Method::Head, ..GET };
    response(":status=200\ncontent-length=5", Ends, head, Ok((&ok("content-length: 5\r\n"), Framing::None)));
    let not_modified = "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n";
    response(":status=304\ncontent-length=5", Ends, GET, Ok((not_modified, Framing::None)));
    response(":status=299", Ends, GET, Ok(("HTTP/1.1 299 \r\n\r\n", Framing::None)));
    response(":status=103\nlink=l", GoesOn, GET, Ok(("HTTP/1.1 103 Early Hints\r\nlink: l\r\n\r\n", Framing::None)));
    response(":status=204", Ends, GET, Ok(("HTTP/1.1 204 No Content\r\n\r\n", Framing::None)));
    for (text, rule) in [
        (":status=101", Rule::SwitchingProtocols),
        (":status=100\ncontent-length=5", Rule::BodyForbidden),
        (":status=20", Rule::Status),
        (":status=099", Rule::Status),
        (":status=2000", Rule::Status),
        (":status=2x0", Rule::Status),
        (":status=", Rule::Status),
        ("x=y", Rule::PseudoMissing),
        ("x=y\n:status=200", Rule::PseudoMissing),
        (":status=200\n:status=200", Rule::PseudoRepeated),
        (":status=200\n:path=/", Rule::PseudoUnknown),
        (":status=200\nx=y\n:status=200", Rule::PseudoPlace),
        (":status=200\nX=y", Rule::NameCase),
        (":status=200\nx=y\0", Rule::FieldValue),
        (":status=200\nx= y", Rule::ValueSpace),
        (":status=200\nconnection=close", Rule::ConnectionSpecific),
        (":status=200\ntransfer-encoding=chunked", Rule::ConnectionSpecific),
        (":status=200\nupgrade=h2,h2c", Rule::ConnectionSpecific),
        (":status=200\ncontent-length=5\ncontent-length=5", Rule::ContentLengthRepeated),
        (":status=200\ncontent-length=five", Rule::ContentLength),
    ] {
        response(text, GoesOn, GET, Err(rule));
    }
    response(":status=100", Ends, GET, Err(Rule::InterimEnds));
}

#[test]
fn a_granted_tunnel_is_one() {
    let websocket = Asked { upgrade: Some(b"websocket"), ..GET };
    let switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nx: y\r\n\r\n";
    response(":status=200\nx=y", GoesOn, websocket, Ok((switching, Framing::None)));
    response(":status=200\nx=y\ncontent-length=5", Ends, websocket, Ok((switching, Framing::None)));
    response(
        ":status=403\nx=y",
        GoesOn,
        websocket,
        Ok(("HTTP/1.1 403 Forbidden\r\nx: y\r\n\r\n", Framing::UntilClose)),
    );
    let connect = Asked { method: Method::Connect, upgrade: None };
    response(":status=200\ncontent-length=5", GoesOn, connect, Ok(("HTTP/1.1 200 OK\r\n\r\n", Framing::None)));
    response(":status=502", GoesOn, connect, Ok(("HTTP/1.1 502 Bad Gateway\r\n\r\n", Framing::UntilClose)));
}

#[test]
fn trailers_are_lines() {
    let limits = Limits { trailer_bytes_max: 60, headers_max: 3, ..Limits::default() };
    for (text, expect) in [
        ("", Ok("\r\n")),
        ("grpc-status=0\ngrpc-message=", Ok("grpc-status: 0\r\ngrpc-message: \r\n\r\n")),
        ("te=trailers\ncookie=a\ncookie=b", Ok("te: trailers\r\ncookie: a\r\ncookie: b\r\n\r\n")),
        (":status=200", Err(Rule::PseudoPlace)),
        ("x=y\n:path=/", Err(Rule::PseudoPlace)),
        ("X=y", Err(Rule::NameCase)),
        ("x=a\0", Err(Rule::FieldValue)),
        ("x=a ", Err(Rule::ValueSpace)),
        ("connection=close", Err(Rule::ConnectionSpecific)),
        ("te=gzip", Err(Rule::ConnectionSpecific)),
        ("a=1\nb=2\nc=3\nd=4", Err(Rule::TrailersTooLarge)),
        ("a=a value that makes it longer than sixty bytes, in all of it", Err(Rule::TrailersTooLarge)),
    ] {
        for spells in [false, true] {
            let mut lines = Vec::new();
            let read = read_trailers(&section(text, spells), &limits, &mut lines).map_err(|error| error.rule);
            assert_eq!(
                read.map(|()| String::from_utf8_lossy(&lines).into_owned()),
                expect.map(str::to_owned),
                "{text}"
            );
        }
    }
}

/// Fields as lines, those that are never indexed with `!` before them.
fn told(write: impl FnOnce(&mut Vec<u8>, &mut dyn FnMut(Field<'_>))) -> String {
    let mut lines = Vec::new();
    let mut put = |field: Field<'_>| {
        let [name, value] = [field.name, field.value].map(String::from_utf8_lossy);
        lines.push(format!("{}{name}={value}", if field.never_indexed { "!" } else { "" }));
    };
    write(&mut Vec::new(), &mut put);
    lines.join("\n")
}

#[test]
fn heads_become_requests() {
    for (head, tunnel, expect) in [
        ("GET /p?q HTTP/1.1\r\nHost: a:80\r\n\r\n", false, ":method=GET\n:scheme=http\n:authority=a:80\n:path=/p?q"),
        (
            "OPTIONS * HTTP/1.1\r\nX-Long-Name-With-Capitals: V\r\nhost: a\r\nTE: trailers\r\nConnection: TE\r\nE:\r\n\r\n",
            false,
            ":method=OPTIONS\n:scheme=http\n:authority=a\n:path=*\nx-long-name-with-capitals=V\nte=trailers\ne=",
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nKeep-Alive: 1\r\nProxy-Connection: x\r\nHTTP2-Settings: x\r\nTE: gzip\r\nContent-Type: t \r\n\r\n",
            false,
            ":method=POST\n:scheme=http\n:authority=a\n:path=/\ncontent-type=t",
        ),
        (
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTrailer: x\r\n\r\nbody: 1\r\n",
            false,
            ":method=PUT\n:scheme=http\n:authority=a\n:path=/\ncontent-length=5\ntrailer=x",
        ),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\nx: y\r\n\r\n", true, ":method=CONNECT\n:authority=a:443\nx=y"),
        (
            "GET /c HTTP/1.1\r\nHost: a\r\nx: y\r\nConnection: Upgrade\r\nUpgrade: websocket, other\r\nContent-Length: 0\r\n\r\n",
            true,
            ":method=CONNECT\n:scheme=http\n:authority=a\n:path=/c\n:protocol=websocket\nx=y",
        ),
        (
            "GET /c HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            false,
            ":method=GET\n:scheme=http\n:authority=a\n:path=/c",
        ),
    ] {
        let fields = told(|lower, mut put| write_request(head.as_bytes(), b"http", tunnel, false, lower, &mut put));
        assert_eq!(fields, expect, "{head:?}");
    }
    let fields = told(|lower, mut put| {
        write_request(b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n", b"https", false, true, lower, &mut put);
    });
    assert_eq!(fields, ":method=GET\n:scheme=https\n:authority=a\n:path=/\n!x=y");
}

#[test]
fn heads_become_responses() {
    for (head, tunnel, expect) in [
        ("HTTP/1.1 200 OK\r\nDate: d\r\nTransfer-Encoding: chunked\r\n\r\n", false, ":status=200\ndate=d"),
        ("HTTP/1.1 503 \r\nContent-Length: 3\r\nConnection: close\r\n\r\nx: y", false, ":status=503\ncontent-length=3"),
        ("HTTP/1.1 103 Early Hints\r\nLink: l\r\n\r\n", false, ":status=103\nlink=l"),
        ("HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nA: b\r\n\r\n", true, ":status=200\na=b"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nA: b\r\n\r\n", true, ":status=200\na=b"),
    ] {
        let fields = told(|lower, mut put| write_response(head.as_bytes(), tunnel, false, lower, &mut put));
        assert_eq!(fields, expect, "{head:?}");
    }
}

#[test]
fn lines_become_trailers() {
    let section =
        b"Grpc-Status: 0\r\nContent-Length: 5\r\nX-Hop: 1\r\ngrpc-message: \r\nConnection: x\r\nX-A: b\r\n\r\nc: d\r\n";
    let remove: [&[u8]; 1] = [b"x-hop"];
    let fields = told(|lower, mut put| write_trailers(section, remove.into_iter(), lower, &mut put));
    assert_eq!(fields, "grpc-status=0\ngrpc-message=\nx-a=b");
}

/// Bytes that no encoder wrote lose lines, and nothing worse.
#[test]
fn other_bytes_never_fail() {
    for bytes in
        ["", "\n", "a", "GET", "GET ", "x\na", "x\na:", "x\na:\n", "x\r\na\r\nb\r\n", "x\n:\n\n:", "a b c\nq\r\n"]
    {
        told(|lower, mut put| write_request(bytes.as_bytes(), b"http", true, true, lower, &mut put));
        told(|lower, mut put| write_response(bytes.as_bytes(), true, true, lower, &mut put));
        told(|lower, mut put| write_trailers(bytes.as_bytes(), std::iter::empty(), lower, &mut put));
    }
}

/// RFC 7541 §7.1.3: what is never to be indexed stays so further on, unless our encoder knows it by its name anyway.
#[test]
fn what_is_never_indexed_is_remembered() {
    for (fields, expect) in [
        ("x=y", false),
        ("!x=y", true),
        ("!authorization=secret", false),
        ("!proxy-authorization=secret", false),
        ("!cookie=short", false),
        ("!cookie=a cookie of some length", true),
        ("!cookie=of two\ncookie=that are long enough", true),
    ] {
        let (mut table, mut block, limits) = (HeadTable::new(10), Vec::new(), Limits::default());
        let read = read_request(&section(&with(fields), false), true, false, &limits, &mut table, &mut block);
        assert_eq!(read, Ok(()), "{fields}");
        assert_eq!(table.request(&block).never_indexed(), expect, "{fields}");
    }
}

/// The corpus as it is, then mutated from fixed seeds.
#[test]
fn the_corpus_is_replayed_and_mutated() {
    const ROUNDS: u64 = 20_000;
    let mut sections = Sections::default();
    let mut play = |target: &str, input: &[u8]| match target {
        "request-section" => sections.request(input),
        "response-section" => sections.response(input),
        _ => sections.trailers(input),
    };
    for target in ["request-section", "response-section", "trailer-section"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
        let files = std::fs::read_dir(&folder).expect("the corpus is in the repository");
        let mut paths: Vec<_> = files.map(|entry| entry.expect("an entry").path()).collect();
        paths.sort();
        let corpus: Vec<_> = paths.iter().map(|path| std::fs::read(path).expect("a readable file")).collect();
        assert!(corpus.len() >= 5, "{target}: a corpus");
        let accepted = corpus.iter().filter(|input| play(target, input) != 0).count();
        assert!(accepted > 0);
        for round in 0..ROUNDS {
            let mut seed = round;
            let input = &corpus[fuzz::next(&mut seed) as usize % corpus.len()];
            let other = &corpus[fuzz::next(&mut seed) as usize % corpus.len()];
            let mutated = fuzz::mutate(input, other, &mut seed);
            play(target, &mutated);
        }
    }
}

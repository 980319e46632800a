//! What is written: byte for byte.

use ringway_protocols::http1::{
    Decoded, HeadEdit, HeadScan, chunk_header, decode_request, decode_response, encode_local_reply, encode_request,
    encode_response, encode_trailers, local_reply_size, preserve_case, proper_case, request_head_size,
    response_head_size,
};
use ringway_protocols::{Framing, HeadTable, Known, KnownSet, Limits, Method, Version};

#[track_caller]
fn request(received: &str, framing: Framing, edit: &HeadEdit<'_>, sent: &str) {
    let mut table = HeadTable::new(100);
    let decoded = decode_request(received.as_bytes(), &mut HeadScan::default(), &mut table, &Limits::default());
    let Ok(Decoded::Complete { head, .. }) = decoded else { panic!("{decoded:?}") };
    let mut out = Vec::new();
    encode_request(&head, framing, edit, &mut out);
    assert_eq!(String::from_utf8_lossy(&out), sent);
    assert!(out.len() <= request_head_size(&head, edit));
}

#[track_caller]
fn response(method: Method, received: &str, framing: Framing, close: bool, edit: &HeadEdit<'_>, sent: &str) {
    let mut table = HeadTable::new(100);
    let limits = Limits::default();
    let decoded = decode_response(received.as_bytes(), &mut HeadScan::default(), &mut table, &limits, method);
    let Ok(Decoded::Complete { head, .. }) = decoded else { panic!("{decoded:?}") };
    let mut out = Vec::new();
    encode_response(&head, framing, close, edit, &mut out);
    assert_eq!(String::from_utf8_lossy(&out), sent);
    assert!(out.len() <= response_head_size(&head, edit));
}

const PLAIN: HeadEdit<'_> = HeadEdit {
    remove: &[],
    drop: KnownSet::NONE,
    add: &[],
    removed: b"",
    lines: b"",
    authority: None,
    path: None,
    upgrade: false,
    http10: false,
};

#[test]
fn a_request_keeps_order_and_case_and_gets_its_host_first() {
    request(
        "GET /a?b HTTP/1.1\r\nUser-Agent: x\r\nX-ONE:1\r\nhost: a.test\r\naccept:  */*  \r\n\r\n",
        Framing::None,
        &PLAIN,
        "GET /a?b HTTP/1.1\r\nHost: a.test\r\nUser-Agent: x\r\nX-ONE:1\r\naccept:  */*  \r\n\r\n",
    );
}

#[test]
fn an_absolute_target_becomes_origin_form_with_its_own_host() {
    request(
        "GET http://b.test:81/x HTTP/1.1\r\nHost: a.test\r\n\r\n",
        Framing::None,
        &PLAIN,
        "GET /x HTTP/1.1\r\nHost: b.test:81\r\n\r\n",
    );
    request(
        "OPTIONS http://b HTTP/1.1\r\nHost:\r\n\r\n",
        Framing::None,
        &PLAIN,
        "OPTIONS * HTTP/1.1\r\nHost: b\r\n\r\n",
    );
    request(
        "CONNECT b:1 HTTP/1.1\r\nHost: a\r\n\r\n",
        Framing::None,
        &PLAIN,
        "CONNECT b:1 HTTP/1.1\r\nHost: b:1\r\n\r\n",
    );
}

/// A start that is copied as it lies is what would be written: what configuration removes is not Host, and no other spelling passes.
#[test]
fn a_request_begins_in_one_spelling() {
    const SENT: &str = "GET /a HTTP/1.1\r\nHost: a.test\r\nX: 1\r\n\r\n";
    for (line, host) in [
        ("GET /a HTTP/1.1", "Host: a.test"),
        ("\r\nGET /a HTTP/1.1", "Host: a.test"),
        ("GET /a HTTP/1.0", "Host: a.test"),
        ("GET http://a.test/a HTTP/1.1", "Host: a.test"),
        ("GET /a HTTP/1.1", "host: a.test"),
        ("GET /a HTTP/1.1", "Host:a.test"),
        ("GET /a HTTP/1.1", "Host:  a.test"),
        ("GET /a HTTP/1.1", "Host: a.test "),
        ("GET /a HTTP/1.1", "Host:\ta.test"),
    ] {
        let edit = HeadEdit { remove: &[b"host"], drop: KnownSet::NONE.with(Known::Host), ..PLAIN };
        request(&format!("{line}\r\n{host}\r\nX: 1\r\n\r\n"), Framing::None, &edit, SENT);
        request(&format!("{line}\r\nX: 1\r\n{host}\r\n\r\n"), Framing::None, &PLAIN, SENT);
    }
    let instead = HeadEdit { authority: Some(b"b"), ..PLAIN };
    request("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Framing::None, &instead, "GET / HTTP/1.1\r\nHost: b\r\n\r\n");
    request("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Framing::None, &PLAIN, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
}

#[test]
fn what_is_for_one_hop_stays_here() {
    request(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: X-Hop, keep-alive, TE, Upgrade, HTTP2-Settings\r\nX-Hop: 1\r\nKeep-Alive: 5\r\n\
         Proxy-Connection: x\r\nX-Kept: 1\r\nTE: gzip;q=1, trailers\r\nTrailer: X-T\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\
         Proxy-Authorization: p\r\nx-hop: 2\r\n\r\n",
        Framing::None,
        &PLAIN,
        "GET / HTTP/1.1\r\nHost: a\r\nX-Kept: 1\r\nProxy-Authorization: p\r\nTE: trailers\r\nConnection: TE\r\n\r\n",
    );
}

/// Of the options that came only those that name no other field, as they were spelled: servers were seen that read them to the letter.
#[test]
fn an_upgrade_is_nominated_in_the_words_of_who_asks() {
    let upgrade = HeadEdit { upgrade: true, ..PLAIN };
    for (options, expect) in [
        ("Connection: upgrade\r\n", "upgrade"),
        ("Connection: keep-alive,X-Hop , UPGRADE\r\nX-Hop: 1\r\n", "keep-alive, UPGRADE"),
        ("Connection: close, Upgrade\r\n", "Upgrade"),
        ("Connection: Upgrade\r\nConnection: TE, Keep-Alive\r\n", "Upgrade, Keep-Alive"),
    ] {
        request(
            &format!("GET / HTTP/1.1\r\nHost: a\r\n{options}Upgrade: b\r\n\r\n"),
            Framing::None,
            &upgrade,
            &format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: {expect}\r\nUpgrade: b\r\n\r\n"),
        );
    }
}

/// A length that is written as we would write it stays where it is; any other is written anew, and never are there two.
#[test]
fn a_length_stays_only_if_it_is_plain_and_true() {
    let plain = |line: &str, framing, expect: &str| {
        let received = format!("POST / HTTP/1.1\r\nHost: a\r\n{line}X: y\r\n\r\n");
        request(&received, framing, &PLAIN, &format!("POST / HTTP/1.1\r\nHost: a\r\n{expect}\r\n"));
    };
    let anew = "X: y\r\nContent-Length: 5\r\n";
    plain("content-length: 5\r\n", Framing::Length(5), "content-length: 5\r\nX: y\r\n");
    plain("Content-Length: 0\r\n", Framing::Length(0), "Content-Length: 0\r\nX: y\r\n");
    plain("Content-Length:5\r\n", Framing::Length(5), anew);
    plain("Content-Length:  5\r\n", Framing::Length(5), anew);
    plain("Content-Length:\t5\r\n", Framing::Length(5), anew);
    plain("Content-Length: 5 \r\n", Framing::Length(5), anew);
    plain("Content-Length: 05\r\n", Framing::Length(5), anew);
    plain("Content-Length: 6\r\n", Framing::Length(5), anew);
    plain("Content-Length: 5\r\n", Framing::Chunked, "X: y\r\nTransfer-Encoding: chunked\r\n");
    plain("Content-Length: 5\r\n", Framing::None, "X: y\r\n");
    let removed = HeadEdit { remove: &[b"content-length"], ..PLAIN };
    request(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
        Framing::Length(5),
        &removed,
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n",
    );
}

/// Found by fuzzing: what HTTP/1.0 ignores would gain a meaning by being sent on as HTTP/1.1.
#[test]
fn what_http10_ignores_does_not_come_alive() {
    request(
        "GET / HTTP/1.0\r\nHost: a\r\nExpect: x\r\nTE: trailers\r\nUpgrade: x\r\nConnection: upgrade\r\nX: y\r\n\r\n",
        Framing::None,
        &PLAIN,
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n",
    );
}

#[test]
fn framing_is_ours() {
    let received = "POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 0005\r\nTrailer: X\r\nX: y\r\n\r\n";
    let sent = |framing: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}\r\n");
    request(received, Framing::Length(5), &PLAIN, &sent("X: y\r\nContent-Length: 5\r\n"));
    request(received, Framing::Chunked, &PLAIN, &sent("Trailer: X\r\nX: y\r\nTransfer-Encoding: chunked\r\n"));
    request(received, Framing::None, &PLAIN, &sent("X: y\r\n"));
    let max = format!("X: y\r\nContent-Length: {}\r\n", u64::MAX);
    request(received, Framing::Length(u64::MAX), &PLAIN, &sent(&max));
}

#[test]
fn edits() {
    let edit = HeadEdit {
        remove: &[b"x-a", b"ACCEPT"],
        add: &[(b"x-request-id", b"1"), (b"X-Empty", b"")],
        authority: Some(b"new.test"),
        path: Some(b"/new?q"),
        removed: b"x-c\nX-D\n",
        lines: b"x-line: 2\r\n",
        ..PLAIN
    };
    request(
        "GET /old HTTP/1.1\r\nX-A: 1\r\nHost: a\r\nX-C: c\r\nAccept: x\r\nX-B: 2\r\nx-d: d\r\n\r\n",
        Framing::None,
        &edit,
        "GET /new?q HTTP/1.1\r\nHost: new.test\r\nX-B: 2\r\nx-request-id: 1\r\nX-Empty: \r\nx-line: 2\r\n\r\n",
    );
    let drop = KnownSet::NONE.with(Known::XRequestId).with(Known::XEnvoy);
    let edit = HeadEdit { drop, lines: b"x-request-id: 2\r\nx-b: 3\r\n", add: &[(b"x-c", b"4")], ..PLAIN };
    request(
        "GET / HTTP/1.1\r\nHost: a\r\nX-Request-Id: 1\r\nX-Envoy-Internal: true\r\nx-envoy: y\r\nx-envoys: z\r\n\r\n",
        Framing::None,
        &edit,
        "GET / HTTP/1.1\r\nHost: a\r\nx-envoy: y\r\nx-envoys: z\r\nx-c: 4\r\nx-request-id: 2\r\nx-b: 3\r\n\r\n",
    );
    let edit = HeadEdit { remove: &[b"server"], add: &[(b"server", b"ringway")], ..PLAIN };
    response(
        Method::Get,
        "HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 1\r\n\r\n",
        Framing::Length(1),
        false,
        &edit,
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nserver: ringway\r\n\r\n",
    );
}

#[test]
#[cfg(panic = "unwind")]
fn an_unclean_edit_is_our_fault_and_never_goes_out() {
    for edit in [
        HeadEdit { add: &[(b"x", b"a\r\nb: c")], ..PLAIN },
        HeadEdit { add: &[(b"x y", b"a")], ..PLAIN },
        HeadEdit { path: Some(b"/a b"), ..PLAIN },
        HeadEdit { path: Some(b""), ..PLAIN },
        HeadEdit { authority: Some(b"a\r\n"), ..PLAIN },
        HeadEdit { authority: Some(b""), ..PLAIN },
    ] {
        let caught =
            std::panic::catch_unwind(|| request("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Framing::None, &edit, ""));
        let message = caught.unwrap_err().downcast_ref::<&str>().map(|text| (*text).to_owned()).unwrap_or_default();
        assert!(message.starts_with("unclean"), "{message}");
    }
}

#[test]
fn responses() {
    response(
        Method::Get,
        "HTTP/1.0 200 Fine\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nHost: kept\r\n\r\n",
        Framing::Chunked,
        false,
        &PLAIN,
        "HTTP/1.1 200 Fine\r\nHost: kept\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    response(
        Method::Get,
        "HTTP/1.1 200\r\n\r\n",
        Framing::UntilClose,
        true,
        &PLAIN,
        "HTTP/1.1 200 \r\nConnection: close\r\n\r\n",
    );
    response(
        Method::Head,
        "HTTP/1.1 200 OK\r\nContent-Length: 42\r\nX: y\r\n\r\n",
        Framing::None,
        false,
        &PLAIN,
        "HTTP/1.1 200 OK\r\nContent-Length: 42\r\nX: y\r\n\r\n",
    );
    response(
        Method::Get,
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 42\r\n\r\n",
        Framing::None,
        false,
        &PLAIN,
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 42\r\n\r\n",
    );
    for (status, method) in [("103 x", Method::Get), ("204 x", Method::Get), ("200 x", Method::Connect)] {
        response(
            method,
            &format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"),
            Framing::None,
            false,
            &PLAIN,
            &format!("HTTP/1.1 {status}\r\n\r\n"),
        );
    }
}

#[test]
fn local_replies() {
    let mut out = Vec::new();
    let content_type = Some(b"text/plain".as_slice());
    let extra: &[(&[u8], &[u8])] = &[(b"Retry-After", b"1")];
    let date = b"Sun, 06 Nov 1994 08:49:37 GMT";
    encode_local_reply(Version::Http11, 503, content_type, 19, true, extra, b"X-Line: 1\r\n", date, &mut out);
    assert_eq!(
        String::from_utf8_lossy(&out),
        "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 19\r\nContent-Type: text/plain\r\n\
         Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nRetry-After: 1\r\nX-Line: 1\r\nConnection: close\r\n\r\n"
    );
    assert!(out.len() <= local_reply_size(content_type, extra, date) + b"X-Line: 1\r\n".len());
    out.clear();
    encode_local_reply(Version::Http11, 204, None, 0, false, &[], b"", date, &mut out);
    assert_eq!(String::from_utf8_lossy(&out), "HTTP/1.1 204 No Content\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\r\n");
}

#[test]
fn chunk_headers() {
    for (len, expect) in
        [(1, "1\r\n"), (15, "f\r\n"), (16, "10\r\n"), (65536, "10000\r\n"), (usize::MAX, "ffffffffffffffff\r\n")]
    {
        assert_eq!(chunk_header(len, &mut [0; 18]), expect.as_bytes());
    }
}

#[test]
fn trailer_sections() {
    let mut out = Vec::new();
    let section = b"X-A: 1\r\nContent-Length: 2\r\nx-hop:3\r\nB:\r\n\r\n";
    encode_trailers(section, [b"X-HOP".as_slice()].into_iter(), &mut out);
    assert_eq!(String::from_utf8_lossy(&out), "0\r\nX-A: 1\r\nB:\r\n\r\n");
}

#[test]
fn a_head_can_wait_as_a_copy() {
    let received = b"GET /a HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\nnext".to_vec();
    let mut table = HeadTable::new(100);
    let decoded = decode_request(&received, &mut HeadScan::default(), &mut table, &Limits::default());
    let Ok(Decoded::Complete { consumed, .. }) = decoded else { panic!("{decoded:?}") };
    assert_eq!(consumed, received.len() - 4);
    let block: std::rc::Rc<[u8]> = received[..consumed].into();
    drop(received);
    let request = table.request(&block);
    assert_eq!(request.path(), b"/a");
    assert_eq!(request.field_named(b"x"), Some(b"y".as_slice()));
}

#[test]
fn names_as_they_came_and_those_of_others() {
    let received: [&[u8]; 4] = [b"hOST", b"X-a", b"x-A", b"ETag"];
    for (head, proper, expect) in [
        (
            "GET /aB http\r\nHost: aB\r\nx-a:1\r\nX-A: 2\r\nVia: b\r\n\r\nETAG: xY\r\n",
            false,
            "GET /aB http\r\nhOST: aB\r\nX-a:1\r\nX-a: 2\r\nvia: b\r\n\r\nETAG: xY\r\n",
        ),
        ("A\r\netag: x\r\nx-new: Y\r\n\r\n", true, "A\r\nETag: x\r\nX-New: Y\r\n\r\n"),
        ("A\r\n\r\nabc", false, "A\r\n\r\nabc"),
        ("", false, ""),
        ("A\nB", false, "A\nB"),
        ("A\nB:", false, "A\nb:"),
    ] {
        let mut bytes = head.as_bytes().to_vec();
        preserve_case(&mut bytes, received.into_iter(), proper);
        assert_eq!(String::from_utf8_lossy(&bytes), expect);
    }
}

#[test]
fn names_in_proper_case_and_nothing_else() {
    for (head, expect) in [
        (
            "GET /aB http\r\nhost: aB\r\nx-a_b$c1d: eF\r\nETAG:x\r\n\r\nbody: xY\r\n",
            "GET /aB http\r\nHost: aB\r\nX-A_B$C1d: eF\r\nEtag:x\r\n\r\nbody: xY\r\n",
        ),
        ("HTTP/1.1 200 ok\r\n\r\nabc", "HTTP/1.1 200 ok\r\n\r\nabc"),
        ("", ""),
        ("x\n", "x\n"),
        ("x\nab", "x\nAb"),
    ] {
        let mut bytes = head.as_bytes().to_vec();
        proper_case(&mut bytes);
        assert_eq!(String::from_utf8_lossy(&bytes), expect);
    }
}

//! Request lines, prefaces, and what other protocols begin with.

use ringway_protocols::http_inspector::{Detected, detect};

const SIZE_MAX: usize = 64 * 1024;

/// The answer for all of `wire`; each part gives it, or asks for more.
#[track_caller]
fn check(wire: &[u8], expect: Detected) {
    assert_eq!(detect(wire, SIZE_MAX), expect, "{}", wire.escape_ascii());
    for cut in 0..wire.len() {
        let part = detect(&wire[..cut], SIZE_MAX);
        assert!(part == Detected::NeedMore || part == expect, "{} of {}: {part:?}", cut, wire.escape_ascii());
    }
}

/// Envoy 1.40 says the same of each.
#[test]
fn http() {
    for (wire, expect) in [
        (b"GET / HTTP/1.1\r\n".as_slice(), Detected::Http11),
        (b"GET / HTTP/1.1\nHost: a\r\n\r\n", Detected::Http11),
        (b"POST http://a/b?c=%20 HTTP/1.0\r\n", Detected::Http10),
        (b"OPTIONS * HTTP/1.1\r\n", Detected::Http11),
        (b"CONNECT a:443 HTTP/1.1\r\n", Detected::Http11),
        (b"X-OWN!~ /#x HTTP/1.1\r\n", Detected::Http11),
        (b"GET  / HTTP/1.1\r\n", Detected::Http11),
        (b"GET /  HTTP/1.1\r\n", Detected::Http11),
        (b"GET\t/\tHTTP/1.1\r\n", Detected::Http11),
        (b"GET / HTTP/1.1 \t\r\n", Detected::Http11),
        (b"GET / HTTP/1.1\r\r\n", Detected::Http11),
        (b"get / HTTP/1.1\r\n", Detected::Http11),
        (b"GET / HTTP/0.9\r\n", Detected::Http10),
        (b"GET / HTTP/1.2\r\n", Detected::Http10),
        (b"GET / HTTP/3.0\r\n", Detected::Http10),
        (b"GET /\r\n", Detected::Http10),
        (b"GET /\n", Detected::Http10),
        (b"GET / \r\n", Detected::Http10),
        (b"GET *\r\n", Detected::Http10),
        (b"GET http://a/\r\n", Detected::Http10),
        (b"CONNECT a:80\r\n", Detected::Http10),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04", Detected::Http2),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nGET / HTTP/1.1\r\n", Detected::Http2),
        (b"PRI * HTTP/2.0\r\n\r\nSN", Detected::Http10),
        (b"PRI * HTTP/1.1\r\n", Detected::Http11),
        (b"PUT / HTTP/1.1\r\n", Detected::Http11),
        (b"", Detected::NeedMore),
        (b"P", Detected::NeedMore),
        (b"GET", Detected::NeedMore),
        (b"GET ", Detected::NeedMore),
        (b"GET htt", Detected::NeedMore),
        (b"GET http:/", Detected::NeedMore),
        (b"GET / ", Detected::NeedMore),
        (b"GET / HTTP/1", Detected::NeedMore),
        (b"GET / HTTP/1.1", Detected::NeedMore),
        (b"GET / HTTP/1.1\r", Detected::NeedMore),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r", Detected::NeedMore),
    ] {
        check(wire, expect);
    }
}

/// Envoy 1.40 says so of each but the last.
#[test]
fn what_is_no_http_is_known_by_its_first_wrong_byte() {
    for wire in [
        b"\r\nGET / HTTP/1.1\r\n".as_slice(),
        b"\n",
        b" ",
        b"GET\r\n",
        b"GET a.test HTTP/1.1\r\n",
        b"GET a:80",
        b"GET ?a HTTP/1.1\r\n",
        b"GET ://",
        b"GET #x HTTP/1.1\r\n",
        b"GET http:x",
        b"GET /\x7f",
        b"GET /\xc3",
        b"GET / /x\r\n",
        b"GET /a b HTTP/1.1\r\n",
        b"GET / HTTP/1.1 x\r\n",
        b"GET / HTTP/1.1\rx",
        b"GET / HTTP/11",
        b"GET / HTTP/11.1\r\n",
        b"GET / HTTP/1.10\r\n",
        b"GET / HTTP/1.1x\r\n",
        b"GET / HTTP/a",
        b"GET / http/1.1\r\n",
        b"GET / HTTQ",
        b"\x16\x03\x01",
        b"\0\0\0\x2a",     // Kafka
        b"\x4a\0\0\0\x0a", // MySQL
        b"*1\r\n$4\r\nPING\r\n",
        b"SSH-2.0-OpenSSH_9.2p1\r\n",
        b"EHLO a.test\r\n",
        b"get key\r\n",
        b"set key 0 900 4\r\n",
        b"{\"a\"",
        b"GETGETGETGETGETGETGETGETGETGETGETGET / HTTP/1.1\r\n",
    ] {
        check(wire, Detected::NotHttp);
        assert_eq!(detect(wire, SIZE_MAX).application_protocol(), None);
    }
}

#[test]
fn limits() {
    for size_max in [64, 8 * 1024, SIZE_MAX] {
        let line = |len: usize| [b"GET /", vec![b'a'; len - 16].as_slice(), b" HTTP/1.1\r\n"].concat();
        assert_eq!(detect(&line(size_max), size_max), Detected::Http11);
        assert_eq!(detect(&line(size_max)[..size_max - 1], size_max), Detected::NeedMore);
        assert_eq!(detect(&line(size_max + 1), size_max), Detected::TooLarge);
        assert_eq!(detect(&line(size_max + 1)[..size_max], size_max), Detected::TooLarge);
        // A wrong byte within the limit decides, one beyond it was never asked for.
        assert_eq!(detect(&[&line(size_max + 9)[..size_max - 1], b"\0"].concat(), size_max), Detected::NotHttp);
    }
}

#[test]
fn names_of_protocols() {
    for (detected, expect) in [
        (Detected::Http2, Some("h2c")),
        (Detected::Http11, Some("http/1.1")),
        (Detected::Http10, Some("http/1.0")),
        (Detected::NeedMore, None),
        (Detected::TooLarge, None),
    ] {
        assert_eq!(detected.application_protocol(), expect);
    }
}

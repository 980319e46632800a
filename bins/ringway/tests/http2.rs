//! HTTP/2 by the letter, through the proxy: messages of every shape in the combinations with HTTP/1, and what must never reach an
//! origin. Pools, resets and draining are in `http2_streams.rs`.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common;
use crate::common::client::Client;
use crate::common::config::{Config, http2_cluster};
use crate::common::http2::{
    CONTINUATION, Came, DATA, ENABLE_CONNECT_PROTOCOL, END_HEADERS, END_STREAM, HEADERS, PROTOCOL_ERROR, Peer, block,
    get, origin,
};
use crate::common::on_each_driver;
use crate::common::origin::{Origin, served_by};
use crate::common::process::Proxy;
use ringway_protocols::websocket::accept;

/// Fields of a cluster of HTTP/1 origins that may send trailers.
const HTTP1: &str = "connect_timeout: 5s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http_protocol_options: {enable_trailers: true}}";

fn config(old: SocketAddr, new: SocketAddr) -> Config {
    Config::new()
        .manager("http_protocol_options: {enable_trailers: true}")
        .manager("http2_protocol_options: {allow_connect: true}")
        .manager("upgrade_configs: [{upgrade_type: websocket}]")
        .route("prefix: /1", "route: {cluster: old, timeout: 0s}")
        .route("prefix: /2", "route: {cluster: new, timeout: 0s}")
        .cluster_with("old", old, HTTP1)
        .cluster_with("new", new, &http2_cluster("allow_connect: true"))
}

/// Answers with a head at once, then gives back each piece of content as it comes, and trailers at the end.
fn streaming(mut peer: Peer, _: usize) {
    while let Some(came) = peer.next() {
        match came {
            Came::Section { stream, fields, ends } if fields.iter().any(|(name, _)| name == ":path") => {
                peer.section(stream, &[(":status", "200"), ("x-origin", "two")], ends);
            }
            Came::Section { stream, fields, .. } => {
                let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
                peer.section(stream, &fields, true);
            }
            Came::Data { stream, bytes, ends } => peer.data(stream, bytes, ends),
            _ => {}
        }
    }
}

/// The same over HTTP/1, for chunked bodies.
fn streaming_old(mut client: Client) {
    while let Ok(head) = client.until(b"\r\n\r\n") {
        client.send("HTTP/1.1 200 OK\r\nX-Origin: one\r\nTransfer-Encoding: chunked\r\n\r\n");
        if !String::from_utf8_lossy(&head).to_lowercase().contains("chunked") {
            client.send("0\r\n\r\n");
            continue;
        }
        loop {
            let line = client.until(b"\r\n").expect("a chunk's size");
            // The line end behind a chunk may come with the next one.
            if line == b"\r\n" {
                continue;
            }
            client.send(&line);
            if line.starts_with(b"0") {
                // Trailers, to the empty line.
                loop {
                    let line = client.until(b"\r\n").expect("a trailer");
                    client.send(&line);
                    if line == b"\r\n" {
                        break;
                    }
                }
                break;
            }
            let size = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16).expect("a size");
            let mut chunk = client.bytes(size);
            chunk.extend(b"\r\n");
            client.send(&chunk);
        }
    }
}

#[test]
fn each_side_is_heard_before_the_other_has_ended() {
    on_each_driver(|io| {
        let proxy = Proxy::start(io, &config(served_by(streaming_old), origin(&[], streaming)));
        for path in ["/1", "/2"] {
            let mut client = Peer::connect(proxy.address);
            let stream = client.post(path);
            // The answer's head comes before any content was sent.
            assert_eq!(client.until(stream, |exchange| !exchange.fields.is_empty()).status(), "200", "{path}");
            for piece in ["one", "two"] {
                client.data(stream, piece, false);
                client.until(stream, |exchange| exchange.text().ends_with(piece));
            }
            client.section(stream, &[("x-sum", "6")], true);
            let answer = client.answer(stream);
            assert_eq!((answer.text().as_str(), answer.reset), ("onetwo", None), "{path}");
            assert_eq!(answer.trailers, [("x-sum".to_owned(), "6".to_owned())], "{path}");
        }
        let mut client = proxy.client();
        client.send("POST /2 HTTP/1.1\r\nHost: test\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n");
        let head = client.until(b"\r\n\r\n").expect("a head before any content");
        assert!(head.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&head));
        client.send("3\r\none\r\n");
        assert_eq!(client.until(b"one").expect("a chunk"), b"3\r\none");
        client.send("0\r\nx-sum: 3\r\n\r\n");
        let end = client.until(b"\r\n\r\n").expect("the end");
        assert_eq!(String::from_utf8_lossy(&end), "\r\n0\r\nx-sum: 3\r\n\r\n");
    });
}

/// Answers as the path's last part says: statuses one after the other, of which the last is final and has no content.
fn statuses(mut peer: Peer, _: usize) {
    while let Some(came) = peer.next() {
        if let Came::Section { stream, fields, .. } = came {
            let path = common::http2::value(&fields, ":path").to_owned();
            let mut words = path.rsplit('/').next().unwrap_or_default().split(',').peekable();
            while let Some(status) = words.next() {
                let last = words.peek().is_none();
                let fields: &[(&str, &str)] = if last {
                    &[(":status", status), ("content-length", "5")]
                } else {
                    &[(":status", status), ("x-early", "1")]
                };
                peer.section(stream, fields, last);
            }
        }
    }
}

/// The same over HTTP/1.
fn statuses_old(mut client: Client) {
    while let Ok(Some(request)) = client.read(false, false) {
        let path = request.line.split(' ').nth(1).unwrap_or_default().to_owned();
        let words: Vec<&str> = path.rsplit('/').next().unwrap_or_default().split(',').collect();
        for (at, status) in words.iter().enumerate() {
            let fields = if at + 1 == words.len() { "Content-Length: 5\r\n" } else { "X-Early: 1\r\n" };
            client.send(format!("HTTP/1.1 {status} Word\r\n{fields}\r\n"));
        }
    }
}

#[test]
fn messages_without_content_and_interim_ones_pass() {
    on_each_driver(|io| {
        let proxy = Proxy::start(io, &config(served_by(statuses_old), origin(&[], statuses)));
        let mut client = Peer::connect(proxy.address);
        for version in [1, 2] {
            for (method, words, interim) in
                [("HEAD", "200", ""), ("GET", "304", ""), ("HEAD", "103,200", "103"), ("GET", "102,103,304", "102 103")]
            {
                let path = format!("/{version}/{words}");
                let mut fields = get(&path);
                fields[0].1 = method;
                let stream = client.open(&fields, true);
                let answer = client.answer(stream);
                let last = words.rsplit(',').next().unwrap_or_default();
                assert_eq!((answer.status(), answer.interim.join(" ").as_str()), (last, interim), "{method} {path}");
                assert_eq!((answer.text().as_str(), answer.field("content-length")), ("", "5"), "{method} {path}");
            }
        }
        // 204 has no content and no length (RFC 9110 §8.6).
        let stream = client.get("/1/204");
        let answer = client.answer(stream);
        assert_eq!((answer.status(), answer.body.len()), ("204", 0));
    });
}

#[test]
fn an_expectation_is_met_before_content_is_sent() {
    on_each_driver(|io| {
        let old = Origin::start("one");
        let proxy = Proxy::start(io, &config(old.address, origin(&[], streaming)).to("/", "old"));
        let mut client = Peer::connect(proxy.address);
        let mut fields = get("/echo");
        fields[0].1 = "POST";
        fields.push(("expect", "100-continue"));
        let stream = client.open(&fields, false);
        client.until(stream, |exchange| exchange.interim == ["100"]);
        client.data(stream, "hello", true);
        let answer = client.answer(stream);
        assert_eq!((answer.status(), answer.text().as_str()), ("200", "hello"));
        assert!(old.request().header("expect").is_none());
    });
}

/// Grants each extended CONNECT and gives back what comes.
fn tunnel(mut peer: Peer, _: usize) {
    while let Some(came) = peer.next() {
        match came {
            Came::Section { stream, fields, .. } => {
                let of = |name: &str| common::http2::value(&fields, name).to_owned();
                let asked = format!("{} {} {}", of(":method"), of(":protocol"), of(":path"));
                let status = if of(":protocol") == "websocket" { "200" } else { "404" };
                let ends = status == "404";
                peer.section(stream, &[(":status", status), ("x-asked", &asked)], ends);
            }
            Came::Data { stream, bytes, ends } => peer.data(stream, bytes, ends),
            _ => {}
        }
    }
}

/// Grants each upgrade and gives back what comes.
fn tunnel_old(mut client: Client) {
    if let Ok(Some(request)) = client.read(false, false) {
        let asked = format!("{} {}", request.line, request.header("upgrade").unwrap_or_default());
        let accept = accept(request.header("sec-websocket-key").unwrap_or_default().as_bytes());
        client.send(format!(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Accept: {}\r\nX-Asked: {asked}\r\n\r\n",
            String::from_utf8_lossy(&accept)
        ));
        while let Ok(bytes) = client.some()
            && !bytes.is_empty()
        {
            client.send(bytes);
        }
        client.finish();
    }
}

/// RFC 8441: a WebSocket in every combination of versions.
#[test]
fn an_extended_connect_is_an_upgrade_on_the_other_side() {
    on_each_driver(|io| {
        let new = origin(&[(ENABLE_CONNECT_PROTOCOL, 1)], tunnel);
        let proxy = Proxy::start(io, &config(served_by(tunnel_old), new));
        let mut client = Peer::connect(proxy.address);
        let rows = [("/1/chat", "GET /1/chat HTTP/1.1 websocket"), ("/2/chat", "CONNECT websocket /2/chat")];
        for (path, asked) in rows {
            let mut fields = get(path);
            fields[0].1 = "CONNECT";
            fields.insert(1, (":protocol", "websocket"));
            fields.push(("sec-websocket-version", "13"));
            let stream = client.open(&fields, false);
            let head = client.until(stream, |exchange| !exchange.fields.is_empty()).clone();
            assert_eq!((head.status(), head.field("x-asked"), head.ended), ("200", asked, false), "{path}");
            assert_eq!((head.field("upgrade"), head.field("connection")), ("", ""), "{path}");
            client.data(stream, "frame", false);
            client.until(stream, |exchange| exchange.text() == "frame");
            client.data(stream, "", true);
            assert_eq!(client.answer(stream).text(), "frame", "{path}");
        }
        let mut client = proxy.client();
        client.send(
            "GET /2/chat HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        );
        let head = client.response(false);
        assert_eq!((head.status(), head.header("upgrade")), (101, Some("websocket")));
        assert_eq!(head.header("x-asked"), Some("CONNECT websocket /2/chat"));
        client.send("frame");
        assert_eq!(client.bytes(5), b"frame");
    });
}

/// h2c smuggling: an upgrade to HTTP/2 over HTTP/1.1 ends here, whatever the upgrades that are allowed.
#[test]
fn an_upgrade_to_h2c_is_a_request_like_others() {
    on_each_driver(|io| {
        let old = Origin::start("one");
        let proxy = Proxy::start(io, &config(old.address, old.address).to("/", "old"));
        let mut client = proxy.client();
        client.send(
            "GET /name HTTP/1.1\r\nHost: test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
        );
        let status = client.response(false).status();
        if status == 200 {
            let came = old.request();
            let left: Vec<_> =
                ["upgrade", "http2-settings"].into_iter().filter(|name| came.header(name).is_some()).collect();
            assert!(left.is_empty(), "the origin got {left:?}");
        } else {
            assert_eq!(status, 403, "refused, or a request like others");
        }
    });
}

#[test]
fn the_codec_type_decides_what_is_spoken() {
    on_each_driver(|io| {
        let old = Origin::start("one");
        let config =
            |kind: &str| Config::new().manager(&format!("codec_type: {kind}")).to("/", "c").cluster("c", old.address);
        let proxy = Proxy::start(io, &config("HTTP1"));
        assert_eq!(proxy.get("/name").text(), "one");
        let mut client = Client::connect(proxy.address);
        client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        let refused = client.response(false).status();
        assert!((400..=505).contains(&refused), "{refused}");
        let proxy = Proxy::start(io, &config("HTTP2"));
        let mut client = Peer::connect(proxy.address);
        let stream = client.get("/name");
        assert_eq!(client.answer(stream).text(), "one");
        let mut client = Client::connect(proxy.address);
        client.send("GET /name HTTP/1.1\r\nHost: test\r\n\r\n");
        let mut all = vec![];
        while let Ok(bytes) = client.some()
            && !bytes.is_empty()
        {
            all.extend(bytes);
        }
        assert!(!all.starts_with(b"HTTP/1"), "{}", String::from_utf8_lossy(&all));
    });
}

/// Counts the requests that came whole, or in part.
static CAME: AtomicUsize = AtomicUsize::new(0);

fn counting(mut client: Client) {
    while let Ok(Some(_)) = client.read(false, false) {
        CAME.fetch_add(1, Ordering::SeqCst);
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
    }
}

fn counting_new(mut peer: Peer, _: usize) {
    while let Some(came) = peer.next() {
        match came {
            Came::Section { stream, ends: true, .. } | Came::Data { stream, ends: true, .. } => {
                CAME.fetch_add(1, Ordering::SeqCst);
                peer.section(stream, &[(":status", "200")], true);
            }
            _ => {}
        }
    }
}

/// RFC 9113 §8.1.1, §8.2, §8.3: a malformed request is a stream error, and no origin ever sees it whole.
#[test]
fn what_could_be_read_otherwise_never_reaches_an_origin() {
    type Row = (&'static str, &'static [(&'static str, &'static str)]);
    // Beside or in place of the fields of a GET: a name with a value in its place, or behind; `-` before a name leaves it out.
    const ROWS: &[Row] = &[
        ("transfer-encoding", &[("transfer-encoding", "chunked")]),
        ("connection", &[("connection", "close")]),
        ("keep-alive", &[("keep-alive", "timeout=5")]),
        ("proxy-connection", &[("proxy-connection", "keep-alive")]),
        ("upgrade", &[("upgrade", "websocket")]),
        ("te", &[("te", "gzip")]),
        ("an upper-case name", &[("X-A", "1")]),
        ("an empty name", &[("", "1")]),
        ("a name with a space", &[("x a", "1")]),
        ("a name with a colon", &[("x:a", "1")]),
        ("a name with CRLF", &[("x: 1\r\ny", "1")]),
        ("a value with CRLF", &[("x-a", "1\r\nx-b: 2")]),
        ("a value with LF", &[("x-a", "1\n2")]),
        ("a value with NUL", &[("x-a", "1\0")]),
        ("a value with a space before", &[("x-a", " 1")]),
        ("a value with a tab behind", &[("x-a", "1\t")]),
        ("a path with a space", &[(":path", "/1 HTTP/1.1")]),
        ("a path with CRLF", &[(":path", "/1 HTTP/1.1\r\nx: 1")]),
        ("an empty path", &[(":path", "")]),
        ("a path without a slash", &[(":path", "1")]),
        ("a method with a space", &[(":method", "GET /1")]),
        ("an empty method", &[(":method", "")]),
        ("a scheme with a slash", &[(":scheme", "http://a/")]),
        ("an authority with CRLF", &[(":authority", "test\r\nx: 1")]),
        ("an authority with a slash", &[(":authority", "test/1")]),
        ("an authority with user information", &[(":authority", "user@test")]),
        ("another host", &[("host", "other")]),
        ("a pseudo-field behind", &[("x-a", "1"), (":late", "1")]),
        ("an unknown pseudo-field", &[(":what", "1")]),
        ("a status", &[(":status", "200")]),
        ("no method", &[("-:method", "")]),
        ("no scheme", &[("-:scheme", "")]),
        ("no path", &[("-:path", "")]),
        ("a length that is none", &[("content-length", "1x")]),
        ("a length with a sign", &[("content-length", "+0")]),
        ("two lengths", &[("content-length", "0"), ("content-length", "1")]),
        ("a length without content", &[("content-length", "3")]),
    ];
    on_each_driver(|io| {
        CAME.store(0, Ordering::SeqCst);
        let proxy = Proxy::start(io, &config(served_by(counting), origin(&[], counting_new)));
        let mut client = Peer::connect(proxy.address);
        for to in ["/1", "/2"] {
            for (name, changes) in ROWS {
                let mut fields = get(to);
                for (key, text) in *changes {
                    match key.strip_prefix('-') {
                        Some(gone) => fields.retain(|(known, _)| known != &gone),
                        None => match fields.iter_mut().find(|(known, _)| known == key && key.starts_with(':')) {
                            Some(field) => field.1 = text,
                            None => fields.push((key, text)),
                        },
                    }
                }
                let stream = client.open(&fields, true);
                let answer = client.answer(stream);
                assert_eq!((answer.reset, answer.status()), (Some(PROTOCOL_ERROR), ""), "{to}: {name}");
            }
            // A pseudo-field twice.
            for twice in [":method", ":scheme", ":path", ":authority"] {
                let mut fields = get(to);
                let field = *fields.iter().find(|(name, _)| *name == twice).expect("one of four");
                fields.insert(0, field);
                let stream = client.open(&fields, true);
                assert_eq!(client.answer(stream).reset, Some(PROTOCOL_ERROR), "{to}: {twice} twice");
            }
            // Content that is not as long as was said (RFC 9113 §8.1.1): no origin has it whole.
            for (length, content) in [("3", "longer"), ("9", "shorter")] {
                let mut fields = get(to);
                fields[0].1 = "POST";
                fields.push(("content-length", length));
                let stream = client.open(&fields, false);
                client.data(stream, content, true);
                assert_eq!(client.answer(stream).reset, Some(PROTOCOL_ERROR), "{to}: {length} bytes are {content:?}");
            }
            // Trailers with a pseudo-field, or that end nothing.
            for (fields, ends) in [(&[(":path", "/x")][..], true), (&[("x-a", "1")][..], false)] {
                let stream = client.post(to);
                client.data(stream, "x", false);
                client.section(stream, fields, ends);
                assert_eq!(client.answer(stream).reset, Some(PROTOCOL_ERROR), "{to}: {fields:?}");
            }
            let before = CAME.load(Ordering::SeqCst);
            let stream = client.get(to);
            assert_eq!(client.answer(stream).status(), "200", "{to}");
            assert_eq!((before, CAME.swap(0, Ordering::SeqCst)), (0, 1), "{to}");
        }
    });
}

/// RFC 9113 §8.2.3, §8.3.1: cookie crumbs are one field for HTTP/1, the authority is the host, and nothing of HTTP/2 is left.
#[test]
fn an_http1_origin_gets_a_clean_request() {
    on_each_driver(|io| {
        let old = Origin::start("one");
        let proxy = Proxy::start(io, &config(old.address, old.address).to("/", "old"));
        let mut client = Peer::connect(proxy.address);
        let mut fields = get("/name?q=1");
        fields.extend([("cookie", "a=1"), ("cookie", "b=2"), ("te", "trailers"), ("x-a", "1"), ("host", "test")]);
        let stream = client.open(&fields, true);
        assert_eq!(client.answer(stream).text(), "one");
        let came = old.request();
        assert_eq!(came.line, "GET /name?q=1 HTTP/1.1");
        assert_eq!(
            (came.header("host"), came.header("cookie"), came.header("x-a")),
            (Some("test"), Some("a=1; b=2"), Some("1"))
        );
        let hosts = came.headers.iter().filter(|(name, _)| name == "host").count();
        assert_eq!(
            (hosts, came.headers.iter().any(|(name, _)| name.starts_with(':'))),
            (1, false),
            "{:?}",
            came.headers
        );
    });
}

/// RFC 9113 §4.2, §6.10: a section that spans frames, with padding and priority; content in padded pieces.
#[test]
fn frames_may_be_cut_and_padded() {
    on_each_driver(|io| {
        let old = Origin::start("one");
        let proxy = Proxy::start(io, &config(old.address, old.address).to("/", "old"));
        let mut client = Peer::connect(proxy.address);
        let mut fields = get("/echo");
        fields[0].1 = "POST";
        let section = block(&fields);
        let (first, rest) = section.split_at(10);
        const PADDED: u8 = 8;
        const PRIORITY: u8 = 0x20;
        let padded = [&[4][..], &[0, 0, 0, 0, 16], first, &[0; 4]].concat();
        client.frame(HEADERS, PADDED | PRIORITY, 1, &padded);
        for (at, byte) in rest.chunks(30).enumerate() {
            let last = (at + 1) * 30 >= rest.len();
            client.frame(CONTINUATION, if last { END_HEADERS } else { 0 }, 1, byte);
        }
        client.frame(DATA, PADDED, 1, b"\x03hel\0\0\0");
        client.frame(DATA, PADDED | END_STREAM, 1, b"\x00lo");
        assert_eq!(client.answer(1).text(), "hello");
    });
}

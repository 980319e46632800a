//! RFC 9113 §8.7: a request of which an origin of HTTP/2 says that it did nothing about it is sent again, with the content that was read.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};

use crate::common;
use crate::common::client::Client;
use crate::common::config::{Config, http2_cluster};
use crate::common::http2::{Came, NO_ERROR, Peer, REFUSED_STREAM, get, origin, value};
use crate::common::on_each_driver;
use crate::common::process::Proxy;

/// How an origin says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Reset,
    GoAway,
}

const WAYS: [Way; 2] = [Way::Reset, Way::GoAway];

/// What is kept of a request's content without a retry policy.
const KEPT_MAX: usize = 64 << 10;

/// Content whose pieces do not look alike.
fn content(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at % 251) as u8).collect()
}

/// An origin that refuses so many requests, each when this much of its content has come, and answers others whole with what they were: size,
/// whether the content is right, trailers. It tells of each request's head.
fn refusing(way: Way, times: usize, after: usize) -> (SocketAddr, Receiver<()>) {
    let (tell, told) = channel();
    let (tell, refused) = (Mutex::new(tell), AtomicUsize::new(0));
    let address = origin(&[], move |mut peer, _| {
        while let Some(came) = peer.next() {
            let Came::Section { stream, fields, .. } = came else { continue };
            if value(&fields, ":method").is_empty() {
                continue; // trailers of a stream that was refused
            }
            let _ended = tell.lock().expect("no panic").send(());
            if value(&fields, "expect") == "100-continue" {
                peer.section(stream, &[(":status", "100")], false);
            }
            if refused.fetch_add(1, Ordering::SeqCst) >= times {
                let whole = peer.answer(stream);
                let is_right = (whole.body == content(whole.body.len())).to_string();
                let size = whole.body.len().to_string();
                let trailer = value(&whole.trailers, "x-trailer");
                let head = [(":status", "200"), ("x-size", &*size), ("x-right", &*is_right), ("x-trailer", trailer)];
                peer.section(stream, &head, true);
                continue;
            }
            peer.until(stream, |exchange| exchange.body.len() >= after);
            match way {
                Way::Reset => peer.reset(stream, REFUSED_STREAM),
                Way::GoAway => peer.go_away(0, NO_ERROR),
            }
        }
    });
    (address, told)
}

/// A proxy before this origin; an answer of its own says in its body why.
fn start(io: &str, origin: SocketAddr, action: &str, manager: &str) -> Proxy {
    let http2 = &http2_cluster("");
    let why = "local_reply_config: {body_format: {text_format_source: {inline_string: \"%RESPONSE_CODE_DETAILS%\"}}}";
    let config = Config::new()
        .manager(why)
        .manager(manager)
        .route("prefix: /", &format!("route: {{cluster: c, timeout: 0s{action}}}"))
        .cluster_with("c", origin, http2);
    Proxy::start(io, &config)
}

fn post(size: usize, fields: &str) -> String {
    format!("POST /a HTTP/1.1\r\nHost: test\r\nContent-Length: {size}\r\n{fields}\r\n")
}

/// Status, size, whether it is right.
fn outcome(client: &mut Client) -> (u16, String) {
    let response = client.response(false);
    let fields = ["x-size", "x-right"].map(|name| response.header(name).unwrap_or_default().to_owned());
    (response.status(), if response.status() == 200 { fields.join(" ") } else { response.text() })
}

#[test]
fn content_that_was_read_arrives_whole_at_the_next_try() {
    const SIZE: usize = 10 << 10;
    for way in WAYS {
        on_each_driver(|io| {
            for http1 in [true, false] {
                let (address, _told) = refusing(way, 1, SIZE);
                let proxy = start(io, address, "", "");
                if http1 {
                    let mut client = proxy.client();
                    client.send(post(SIZE, "")).send(content(SIZE));
                    assert_eq!(outcome(&mut client), (200, format!("{SIZE} true")), "{way:?}");
                } else {
                    let mut client = Peer::connect(proxy.address);
                    let stream = client.post("/a");
                    client.data(stream, content(SIZE), false);
                    client.section(stream, &[("x-trailer", "t")], true);
                    let answer = client.answer(stream);
                    let found = ["x-size", "x-right", "x-trailer"].map(|name| answer.field(name).to_owned());
                    assert_eq!(found, [SIZE.to_string(), "true".to_owned(), "t".to_owned()], "{way:?} {answer:?}");
                }
                let names = ["upstream_rq_retry", "upstream_rq_retry_success", "upstream_rq_total"];
                assert_eq!(names.map(|name| proxy.stat(&format!("cluster.c.{name}"))), [1, 1, 2], "{way:?}");
            }
        });
    }
}

/// Content ends in chunks, with trailers, and in no content at all.
#[test]
fn the_end_arrives_however_it_was_said() {
    on_each_driver(|io| {
        for (body, size) in [
            ("3\r\n\0\u{1}\u{2}\r\n0\r\n\r\n", 3),
            ("3\r\n\0\u{1}\u{2}\r\n0\r\nX-Trailer: t\r\n\r\n", 3),
            ("0\r\nX-Trailer: t\r\n\r\n", 0),
            ("0\r\n\r\n", 0),
        ] {
            let (address, _told) = refusing(Way::Reset, 1, size);
            let proxy = start(io, address, "", "http_protocol_options: {enable_trailers: true}");
            let mut client = proxy.client();
            client.send("POST /a HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n").send(body);
            let response = client.response(false);
            let found = ["x-size", "x-right", "x-trailer"].map(|name| response.header(name).unwrap_or_default());
            // The cluster's side has them without being told: it is HTTP/2.
            let trailer = if body.contains("Trailer") { "t" } else { "" };
            assert_eq!(found, [&*size.to_string(), "true", trailer], "{body:?}");
        }
    });
}

#[test]
fn a_client_that_still_sends_goes_on_with_the_next_try() {
    for way in WAYS {
        on_each_driver(|io| {
            let (address, told) = refusing(way, 2, 5_000);
            let proxy = start(io, address, "", "");
            let mut client = proxy.client();
            let all = content(60_000);
            client.send(post(all.len(), "")).send(&all[..5_000]);
            for _ in 0..3 {
                told.recv_timeout(common::PATIENCE).expect("a try");
            }
            client.send(&all[5_000..]);
            assert_eq!(outcome(&mut client), (200, "60000 true".to_owned()), "{way:?}");
        });
    }
}

/// The limit: content that is larger was let go, and the answer says why.
#[test]
fn what_is_larger_than_is_kept_is_answered_503() {
    const WHY: &str =
        "upstream_reset_before_response_started{remote_refused_stream_reset|request_too_large_to_send_again}";
    for way in WAYS {
        on_each_driver(|io| {
            for size in [KEPT_MAX, KEPT_MAX + 1, 1 << 20] {
                let (address, _told) = refusing(way, 1, size.min(KEPT_MAX + 1));
                let proxy = start(io, address, "", "");
                let mut client = proxy.client();
                client.send(post(size, "")).send(content(size));
                let due = if size <= KEPT_MAX { (200, format!("{size} true")) } else { (503, WHY.to_owned()) };
                assert_eq!(outcome(&mut client), due, "{way:?} {size}");
                // The next request has it all before it again.
                let mut client = proxy.client();
                client.send(post(9, "")).send(content(9));
                assert_eq!(outcome(&mut client), (200, "9 true".to_owned()));
            }
        });
    }
}

#[test]
fn a_client_is_told_once_to_continue() {
    on_each_driver(|io| {
        for manager in ["", "proxy_100_continue: true"] {
            let (address, _told) = refusing(Way::Reset, 1, 7);
            let proxy = start(io, address, "", manager);
            let mut client = proxy.client();
            client.send(post(7, "Expect: 100-continue\r\n"));
            assert_eq!(client.response(false).status(), 100);
            client.send(content(7));
            assert_eq!(outcome(&mut client), (200, "7 true".to_owned()), "{manager}");
        }
    });
}

/// How often: three times without a policy, and then as often as a policy says.
#[test]
fn an_origin_that_refuses_all_is_asked_so_often() {
    const WHY: &str = "upstream_reset_before_response_started{remote_refused_stream_reset}";
    let policy = |on: &str| {
        format!(", retry_policy: {{retry_on: {on}, num_retries: 2, retry_back_off: {{base_interval: 0.001s}}}}")
    };
    for (action, times) in [(String::new(), 4), (policy("refused-stream"), 6), (policy("retriable-4xx"), 4)] {
        on_each_driver(|io| {
            // One that answers at last does so with the content of the first.
            for refused in [times, times - 1] {
                let (address, told) = refusing(Way::Reset, refused, 500);
                let proxy = start(io, address, &action, "");
                let mut client = Peer::connect(proxy.address);
                let mut fields = get("/a");
                fields[0].1 = "POST";
                let stream = client.open(&fields, false);
                client.data(stream, content(500), true);
                let answer = client.answer(stream);
                let found = (answer.status(), answer.field("x-right"), answer.text());
                let due = if refused == times { ("503", "", WHY.to_owned()) } else { ("200", "true", String::new()) };
                assert_eq!((found, told.try_iter().count()), (due, times), "{action}");
            }
        });
    }
}

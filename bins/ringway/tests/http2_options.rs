//! What a file says of HTTP/2, seen on the wire: each option of `http2_protocol_options`, the choice of the version on both sides, and
//! the statistics that go with them.

use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use crate::common;
use crate::common::client::Client;
use crate::common::config::Config;
use crate::common::frames::{
    ACK, CANCEL, DATA, END_STREAM, ENHANCE_YOUR_CALM, Frames, HEADERS, PING, PRIORITY, PROTOCOL_ERROR, REFUSED_STREAM,
    RST_STREAM, SETTINGS, WINDOW_UPDATE,
};
use crate::common::on_each_driver;
use crate::common::origin::{Origin, served_by};
use crate::common::process::Proxy;

// RFC 9113 §6.5.2, RFC 8441 §3.
const HEADER_TABLE_SIZE: u16 = 1;
const ENABLE_PUSH: u16 = 2;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;
const ENABLE_CONNECT_PROTOCOL: u16 = 8;

/// A proxy before an origin of HTTP/1, whose connection manager says this of HTTP/2.
fn start(io: &str, origin: &Origin, options: &str) -> Proxy {
    let options = format!("http2_protocol_options: {{{options}}}");
    Proxy::start(io, &Config::new().manager(&options).to("/", "origin").cluster("origin", origin.address))
}

/// `HttpProtocolOptions` of a cluster.
fn typed(options: &str) -> String {
    format!(
        "typed_extension_protocol_options: {{http: {{'@type': \
         type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, {options}}}}}"
    )
}

const OPTIONS: &str = "max_concurrent_streams: 7, initial_stream_window_size: 70000, initial_connection_window_size: 80000, \
                       hpack_table_size: 128, allow_connect: true";

#[test]
fn the_version_of_a_client_is_as_the_codec_type_says() {
    for (codec, http1, http2) in [("AUTO", true, true), ("HTTP1", true, false), ("HTTP2", false, true)] {
        on_each_driver(|io| {
            let proxy = Proxy::start(io, &Config::new().manager(&format!("codec_type: {codec}")));
            let mut client = Client::connect(proxy.address);
            client.send("GET /direct HTTP/1.1\r\nHost: test\r\n\r\n");
            let answer = String::from_utf8_lossy(&client.some().unwrap_or_default()).into_owned();
            assert_eq!(answer.starts_with("HTTP/1.1 200 "), http1, "{codec}: {answer:?}");
            let mut frames = Frames::connect(proxy.address);
            frames.get(1, "/direct");
            if http2 {
                assert_eq!(frames.until(DATA, 1).payload, b"direct", "{codec}");
            } else {
                let answer = String::from_utf8_lossy(&frames.bytes().some().unwrap_or_default()).into_owned();
                assert!(answer.starts_with("HTTP/1.1 "), "{codec}: {answer:?}");
            }
            let served = [u64::from(http1), u64::from(http2)];
            let counted = ["downstream_rq_http1_total", "downstream_rq_http2_total"];
            if codec == "AUTO" {
                assert_eq!(counted.map(|name| proxy.stat(&format!("http.main.{name}"))), served, "{codec}");
                assert_eq!(proxy.stat("http.main.downstream_cx_http2_total"), 1);
            }
        });
    }
}

#[test]
fn a_client_is_told_what_the_file_says() {
    on_each_driver(|io| {
        let origin = Origin::start("o");
        let proxy = start(io, &origin, OPTIONS);
        let mut frames = Frames::connect(proxy.address);
        let told = frames.settings();
        for (setting, expect) in [
            (HEADER_TABLE_SIZE, 128),
            (MAX_CONCURRENT_STREAMS, 7),
            (INITIAL_WINDOW_SIZE, 70_000),
            (ENABLE_CONNECT_PROTOCOL, 1),
        ] {
            assert_eq!(told.get(&setting), Some(&expect), "{setting}: {told:?}");
        }
        assert_eq!(frames.until(WINDOW_UPDATE, 0).word(0), 80_000 - 65_535);
        let plain = Frames::connect(start(io, &origin, "").address).settings();
        assert_eq!(plain.get(&MAX_CONCURRENT_STREAMS), Some(&1024));
        assert_eq!(plain.get(&ENABLE_CONNECT_PROTOCOL).copied().unwrap_or(0), 0);
    });
}

/// What a connection of HTTP/2 begins with: its settings, and how much it opens the connection's window.
type Begins = (Vec<(u16, u32)>, u32);

/// An origin that tells what each connection begins with; nothing where it is not HTTP/2.
fn told_to_an_origin() -> (SocketAddr, Receiver<Option<Begins>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port of the kernel's choice");
    let address = listener.local_addr().expect("an address");
    let (tell, told) = channel();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut client = Client::on(stream);
            let is_http2 = client.peek(4) == b"PRI ";
            let begins = is_http2.then(|| {
                let mut frames = Frames::accept(client).expect("a preface");
                let settings = frames.settings().into_iter().collect();
                (settings, frames.until(WINDOW_UPDATE, 0).word(0))
            });
            if tell.send(begins).is_err() {
                return;
            }
        }
    });
    (address, told)
}

#[test]
fn an_endpoint_is_told_what_the_file_says() {
    let chosen = |name: &str| typed(&format!("{name}: {{http2_protocol_options: {{{OPTIONS}}}}}"));
    let before = format!("http2_protocol_options: {{{OPTIONS}}}");
    for (fields, http1, http2) in [
        (chosen("explicit_http_config"), true, true),
        (chosen("use_downstream_protocol_config"), false, true),
        (before.clone(), true, true),
        (before + "\n    protocol_selection: USE_DOWNSTREAM_PROTOCOL", false, true),
        (typed("explicit_http_config: {http_protocol_options: {}}"), false, false),
    ] {
        on_each_driver(|io| {
            let (origin, told) = told_to_an_origin();
            let proxy = Proxy::start(io, &Config::new().to("/", "c").cluster_with("c", origin, &fields));
            let check = |is_http2: bool| {
                let begins = told.recv_timeout(common::PATIENCE).expect("a connection");
                assert_eq!(begins.is_some(), is_http2, "{fields}");
                let Some((settings, increment)) = begins else { return };
                for setting in [(HEADER_TABLE_SIZE, 128), (ENABLE_PUSH, 0), (INITIAL_WINDOW_SIZE, 70_000)] {
                    assert!(settings.contains(&setting), "{setting:?}: {settings:?}");
                }
                assert_eq!(increment, 80_000 - 65_535);
            };
            let (mut client, mut frames) = (proxy.client(), Frames::connect(proxy.address));
            client.send("GET / HTTP/1.1\r\nHost: test\r\n\r\n");
            check(http1);
            frames.get(1, "/");
            check(http2);
        });
    }
}

#[test]
fn no_more_streams_are_open_than_the_file_says() {
    on_each_driver(|io| {
        let origin = Origin::start("o");
        let proxy = start(io, &origin, "max_concurrent_streams: 2");
        let mut frames = Frames::connect(proxy.address);
        frames.get(1, "/slow").get(3, "/slow").get(5, "/name");
        assert_eq!(frames.until(RST_STREAM, 5).word(0), REFUSED_STREAM);
        origin.release();
        origin.release();
        assert!(frames.next().is_some_and(|frame| frame.kind == HEADERS && frame.stream < 5));
    });
}

#[test]
fn a_malformed_request_ends_what_the_file_says() {
    for (options, ends_connection) in [
        ("", false),
        ("override_stream_error_on_invalid_http_message: true", false),
        ("override_stream_error_on_invalid_http_message: false", true),
    ] {
        on_each_driver(|io| {
            let origin = Origin::start("o");
            let proxy = start(io, &origin, options);
            // In a head, which no origin sees, and in trailers.
            for (count, in_trailers) in [(1, false), (2, true)] {
                let mut frames = Frames::connect(proxy.address);
                let head = |method| [(":method", method), (":scheme", "http"), (":authority", "test"), (":path", "/")];
                if in_trailers {
                    frames.head(1, &head("POST"), false).head(1, &[("Upper", "a")], true);
                } else {
                    frames.head(1, &[&head("GET")[..], &[("Upper", "a")]].concat(), true);
                }
                if ends_connection {
                    assert_eq!(frames.end(), Some(PROTOCOL_ERROR), "{options}");
                } else {
                    assert_eq!(frames.until(RST_STREAM, 1).word(0), PROTOCOL_ERROR, "{options}");
                    assert_eq!(frames.get(3, "/direct").until(DATA, 3).payload, b"direct", "{options}");
                }
                assert_eq!((origin.requests(), proxy.stat("http2.rx_messaging_error")), (0, count), "{options}");
            }
        });
    }
}

/// Each with a bound of next to nothing, so that a handful of frames is a flood.
#[test]
fn floods_end_connections_and_are_counted() {
    type Flood = fn(&mut Frames);
    let rows: [(&str, &str, Flood); 5] = [
        ("stream_reset_burst: 3, stream_reset_rate: 0", "reset_flood", |frames| {
            for stream in (1..21).step_by(2) {
                frames.get(stream, "/silent").send(RST_STREAM, 0, stream, &CANCEL.to_be_bytes());
            }
        }),
        ("max_consecutive_inbound_frames_with_empty_payload: 0", "inbound_empty_frames_flood", |frames| {
            let post = [(":method", "POST"), (":scheme", "http"), (":authority", "test"), (":path", "/silent")];
            frames.head(1, &post, false).send(DATA, 0, 1, b"");
        }),
        ("max_inbound_priority_frames_per_stream: 0", "inbound_priority_frames_flood", |frames| {
            frames.send(PRIORITY, 0, 1, &[0, 0, 0, 0, 16]);
        }),
        ("max_inbound_window_update_frames_per_data_frame_sent: 1", "inbound_window_update_frames_flood", |frames| {
            for _ in 0..10 {
                frames.send(WINDOW_UPDATE, 0, 0, &1u32.to_be_bytes());
            }
        }),
        ("max_concurrent_streams: 5", "settings_flood", |frames| {
            for _ in 0..1_000 {
                frames.send(SETTINGS, 0, 0, b"");
            }
        }),
    ];
    for (options, counter, flood) in rows {
        on_each_driver(|io| {
            let origin = Origin::start("o");
            let proxy = start(io, &origin, options);
            let mut frames = Frames::connect(proxy.address);
            flood(&mut frames);
            // A reset may come after it, and before it was read.
            assert!(matches!(frames.end(), None | Some(ENHANCE_YOUR_CALM)), "{options}");
            drop(frames);
            proxy.wait_stat(&format!("http2.{counter}"), |count| count == 1);
            proxy.wait_stat("http.main.downstream_cx_http2_active", |count| count == 0);
            // The next client is not held against it.
            assert_eq!(Frames::connect(proxy.address).get(1, "/direct").until(DATA, 1).payload, b"direct");
        });
    }
}

/// A client that takes a flood of content and reads none of it, while it makes us answer.
#[test]
fn frames_that_nobody_reads_end_connections_and_are_counted() {
    /// Answers with a body that has no end.
    fn pours(client: Client) {
        let mut client = client;
        if let Ok(Some(_)) = client.read(false, false) {
            client.send("HTTP/1.1 200 OK\r\n\r\n");
            while client.is_sent(&[b'x'; 64 << 10]) {}
        }
    }
    for (limit, counter) in
        [("max_outbound_control_frames", "outbound_control_flood"), ("max_outbound_frames", "outbound_flood")]
    {
        on_each_driver(|io| {
            let options = format!("http2_protocol_options: {{{limit}: 6}}");
            let config = Config::new().manager(&options).to("/", "c").cluster("c", served_by(pours));
            let proxy = Proxy::start(io, &config);
            let mut frames = Frames::connect(proxy.address);
            let window = (1u32 << 30).to_be_bytes();
            frames
                .send(SETTINGS, 0, 0, &[&INITIAL_WINDOW_SIZE.to_be_bytes()[..], &window].concat())
                .send(WINDOW_UPDATE, 0, 0, &window)
                .get(1, "/");
            proxy.wait_stat("http2.pending_send_bytes", |count| count > 0);
            for _ in 0..40 {
                frames.send(PING, 0, 0, &[0; 8]);
            }
            proxy.wait_stat(&format!("http2.{counter}"), |count| count == 1);
            drop(frames);
            proxy.wait_stat("http.main.downstream_cx_http2_active", |count| count == 0);
            let floods = ["outbound_control_flood", "outbound_flood", "ping_flood"];
            assert_eq!(floods.map(|name| proxy.stat(&format!("http2.{name}"))).iter().sum::<u64>(), 1, "{limit}");
        });
    }
}

#[test]
fn a_silent_client_is_asked_and_given_up() {
    on_each_driver(|io| {
        let origin = Origin::start("o");
        let options = "connection_keepalive: {interval: 0.02s, timeout: 2s, interval_jitter: {value: 0}}";
        let proxy = start(io, &origin, options);
        let mut frames = Frames::connect(proxy.address);
        for _ in 0..3 {
            let ping = frames.until(PING, 0);
            assert_eq!(ping.flags & ACK, 0);
            frames.send(PING, ACK, 0, &ping.payload);
        }
        assert_eq!(proxy.stat("http2.keepalive_timeout"), 0);
        frames.end();
        proxy.wait_stat("http2.keepalive_timeout", |count| count == 1);
    });
}

#[test]
fn extended_connect_is_refused_where_the_file_does_not_allow_it() {
    on_each_driver(|io| {
        let origin = Origin::start("o");
        let proxy = start(io, &origin, "");
        let head = [
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":scheme", "http"),
            (":authority", "test"),
            (":path", "/echo"),
        ];
        let mut frames = Frames::connect(proxy.address);
        frames.head(1, &head, false);
        assert_eq!(frames.until(RST_STREAM, 1).word(0), PROTOCOL_ERROR);
        assert_eq!(origin.requests(), 0);
    });
}

/// Guards upstreams: a request that had come whole is broken off as any other, before its response and within it.
#[test]
fn a_request_that_is_given_up_is_given_up_upstream() {
    /// Answers with the beginning of a body; tells of the connection's end.
    fn begins(client: Client) {
        let mut client = client;
        if let Ok(Some(request)) = client.read(false, false)
            && request.line.starts_with("GET /begins ")
        {
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun");
        }
        let _ = client.some();
    }
    for (path, begun) in [("/begins", true), ("/silent", false)] {
        on_each_driver(|io| {
            let origin = served_by(begins);
            let proxy = Proxy::start(io, &Config::new().to("/", "c").cluster("c", origin));
            let mut frames = Frames::connect(proxy.address);
            frames.get(1, path);
            proxy.wait_stat("cluster.c.upstream_rq_active", |count| count == 1);
            if begun {
                assert_eq!(frames.until(DATA, 1).payload, b"begun");
            }
            frames.send(RST_STREAM, 0, 1, &CANCEL.to_be_bytes());
            proxy.wait_stat("cluster.c.upstream_rq_active", |count| count == 0);
            proxy.wait_stat("cluster.c.upstream_cx_active", |count| count == 0);
            let counted = ["upstream_rq_timeout", "upstream_rq_tx_reset"];
            assert_eq!(counted.map(|name| proxy.stat(&format!("cluster.c.{name}"))), [0, 1], "{path}");
            assert_eq!((proxy.stat("http2.rx_reset"), proxy.stat("http2.streams_active")), (1, 0));
            // The connection goes on.
            assert_eq!(frames.get(3, "/direct").until(DATA, 3).payload, b"direct");
        });
    }
}

/// Guards what a reader of `/workers` divides.
#[test]
fn workers_show_what_they_hold_of_http2() {
    on_each_driver(|io| {
        let origin = Origin::start("o");
        let proxy = start(io, &origin, "");
        let mut frames = Frames::connect(proxy.address);
        frames.get(1, "/slow").get(3, "/slow");
        let figures = || {
            let text = proxy.admin("GET", "/workers").text();
            ["http2_connections", "http2_streams", "http2_memory_bytes"].map(|name| {
                let (_, rest) = text.split_once(&format!("\"{name}\":")).expect("the figure is there");
                rest.trim_start().split([',', '\n', '}']).next().and_then(|n| n.parse::<u64>().ok()).expect("a number")
            })
        };
        common::wait_for("two streams", || {
            let [connections, streams, memory] = figures();
            (connections == 1 && streams == 2 && memory > 0).then_some(())
        });
        assert_eq!(proxy.stat("http2.streams_active"), 2);
        drop(frames);
        common::wait_for("none", || (figures() == [0; 3]).then_some(()));
    });
}

/// An empty frame that ends a stream is none of them.
#[test]
fn what_is_not_empty_is_no_flood() {
    on_each_driver(|io| {
        let origin = Origin::start("o");
        let proxy = start(io, &origin, "max_consecutive_inbound_frames_with_empty_payload: 0");
        let mut frames = Frames::connect(proxy.address);
        let post = [(":method", "POST"), (":scheme", "http"), (":authority", "test"), (":path", "/echo")];
        frames.head(1, &post, false).send(DATA, 0, 1, b"a").send(DATA, END_STREAM, 1, b"");
        assert_eq!(frames.until(DATA, 1).payload, b"a");
        assert_eq!(proxy.stat("http2.inbound_empty_frames_flood"), 0);
    });
}

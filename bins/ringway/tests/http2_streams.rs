//! Streams and connections of HTTP/2 through the proxy: resets mapped, connections that go away, limits of streams, and streams that
//! do not wait for each other.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex};

use crate::common;
use crate::common::client::Client;
use crate::common::config::{Config, http2_cluster};
use crate::common::http2::{
    CANCEL, Came, INITIAL_WINDOW_SIZE, INTERNAL_ERROR, MAX_CONCURRENT_STREAMS, NO_ERROR, Peer, REFUSED_STREAM, get,
    origin, value,
};
use crate::common::on_each_driver;
use crate::common::origin::{Origin, served_by};
use crate::common::process::Proxy;

fn config(origin: SocketAddr, options: &str) -> Config {
    Config::new().route("prefix: /", "route: {cluster: c, timeout: 0s}").cluster_with(
        "c",
        origin,
        &http2_cluster(options),
    )
}

/// An origin that says on a channel what came, and answers by the path: `/reset/CODE` before a head, `/late/CODE` behind one, `/hold` never.
fn telling() -> (SocketAddr, Receiver<Came>) {
    let (tell, told) = channel();
    let tell = Mutex::new(tell);
    let address = origin(&[], move |mut peer, _| {
        while let Some(came) = peer.next() {
            let _ended = tell.lock().expect("no panic").send(came.clone());
            if let Came::Section { stream, fields, .. } = came {
                let path = value(&fields, ":path").to_owned();
                let code = path.rsplit('/').next().and_then(|code| code.parse().ok()).unwrap_or(0);
                match path.split('/').nth(1).unwrap_or_default() {
                    "reset" => peer.reset(stream, code),
                    "late" => {
                        peer.section(stream, &[(":status", "200")], false);
                        peer.data(stream, "part", false);
                        peer.ping();
                        peer.reset(stream, code);
                    }
                    "hold" => {}
                    _ => peer.section(stream, &[(":status", "200")], true),
                }
            }
        }
    });
    (address, told)
}

/// Waits for what this holds of.
#[track_caller]
fn hear(told: &Receiver<Came>, what: &str, holds: impl Fn(&Came) -> bool) {
    loop {
        let came = told.recv_timeout(common::PATIENCE).unwrap_or_else(|_| panic!("the origin never got {what}"));
        if holds(&came) {
            return;
        }
    }
}

#[test]
fn a_reset_goes_to_the_other_side() {
    on_each_driver(|io| {
        let (address, told) = telling();
        let proxy = Proxy::start(io, &config(address, ""));
        let mut client = Peer::connect(proxy.address);
        // From the client on: the origin's stream ends, and no other.
        let (held, other) = (client.get("/hold"), client.get("/hold"));
        hear(&told, "a request", |came| matches!(came, Came::Section { .. }));
        hear(&told, "a request", |came| matches!(came, Came::Section { .. }));
        client.reset(held, CANCEL);
        hear(&told, "a reset", |came| matches!(came, Came::Reset { code: CANCEL, .. }));
        let stream = client.get("/fine");
        assert_eq!(client.answer(stream).status(), "200");
        client.reset(other, CANCEL);
        hear(&told, "another reset", |came| matches!(came, Came::Reset { .. }));
        // From the origin on: an answer of our own before a head, a reset behind one.
        for (path, status) in [(format!("/reset/{INTERNAL_ERROR}"), "503"), (format!("/reset/{CANCEL}"), "503")] {
            let stream = client.get(&path);
            assert_eq!(client.answer(stream).status(), status, "{path}");
        }
        let stream = client.get(&format!("/late/{INTERNAL_ERROR}"));
        let answer = client.answer(stream);
        assert_eq!((answer.status(), answer.ended), ("200", false));
        assert!(answer.reset.is_some());
        let stream = client.get("/fine");
        assert_eq!(client.answer(stream).status(), "200");
    });
}

/// A client's reset ends the connection to an HTTP/1 origin, whose answer nobody waits for any more.
#[test]
fn a_reset_ends_the_connection_of_an_http1_origin() {
    on_each_driver(|io| {
        let (tell, told) = channel();
        // A function cannot hold a channel: the origin's end is the client's own.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut wire = Client::on(stream);
                while let Ok(Some(request)) = wire.read(false, false) {
                    let _ = tell.send(request.line);
                }
                let _ = tell.send("the end".to_owned());
            }
        });
        let proxy = Proxy::start(io, &Config::new().to("/", "c").cluster("c", address));
        let mut client = Peer::connect(proxy.address);
        let stream = client.get("/never");
        assert_eq!(told.recv_timeout(common::PATIENCE).as_deref(), Ok("GET /never HTTP/1.1"));
        client.reset(stream, CANCEL);
        assert_eq!(told.recv_timeout(common::PATIENCE).as_deref(), Ok("the end"));
    });
}

/// RFC 9113 §8.7: what the origin says it did not process is asked for again, on a new connection if that one goes away.
#[test]
fn a_request_that_was_not_processed_is_sent_again() {
    on_each_driver(|io| {
        for (way, method) in
            [("GOAWAY", "GET"), ("GOAWAY", "POST"), ("REFUSED_STREAM", "GET"), ("REFUSED_STREAM", "POST")]
        {
            let refused = AtomicUsize::new(0);
            let address = origin(&[], move |mut peer, _| {
                while let Some(came) = peer.next() {
                    let Came::Section { stream, .. } = came else { continue };
                    if refused.fetch_add(1, Ordering::SeqCst) > 0 {
                        peer.section(stream, &[(":status", "200")], true);
                    } else if way == "GOAWAY" {
                        peer.go_away(0, NO_ERROR);
                    } else {
                        peer.reset(stream, REFUSED_STREAM);
                    }
                }
            });
            let proxy = Proxy::start(io, &config(address, ""));
            let mut client = Peer::connect(proxy.address);
            // Nobody knows what a POST does; but this one was not done.
            let mut fields = get("/once");
            fields[0].1 = method;
            let stream = client.open(&fields, true);
            assert_eq!(client.answer(stream).status(), "200", "{way} {method}");
        }
    });
}

/// What an origin that goes away has begun, it may end; what comes meanwhile goes elsewhere.
#[test]
fn a_connection_that_goes_away_ends_what_it_has() {
    on_each_driver(|io| {
        let address = origin(&[], |mut peer, number| {
            let mut held = 0;
            while let Some(came) = peer.next() {
                let Came::Section { stream, fields, .. } = came else { continue };
                let by = number.to_string();
                match value(&fields, ":path") {
                    "/hold" => {
                        held = stream;
                        peer.section(stream, &[(":status", "200"), ("x-by", &by)], false);
                        peer.go_away(stream, NO_ERROR);
                    }
                    _ => peer.section(stream, &[(":status", "200"), ("x-by", &by)], true),
                }
                if held > 0 && number == 0 {
                    // The proxy has read the GOAWAY when it answers this.
                    peer.ping();
                    peer.data(held, "whole", true);
                }
            }
        });
        let proxy = Proxy::start(io, &config(address, ""));
        let mut client = Peer::connect(proxy.address);
        let stream = client.get("/hold");
        let answer = client.answer(stream);
        assert_eq!((answer.status(), answer.text().as_str(), answer.field("x-by")), ("200", "whole", "0"));
        let stream = client.get("/next");
        assert_eq!(client.answer(stream).field("x-by"), "1");
    });
}

/// SIGTERM says GOAWAY, twice, and fails no stream that runs.
#[test]
fn a_drain_fails_no_stream() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        let config = Config::new().to("/", "c").cluster("c", origin.address);
        let mut proxy = Proxy::start_with(io, &config, &["--drain-time-s", "20", "--concurrency", "2"]);
        let mut client = Peer::connect(proxy.address);
        let stream = client.get("/slow");
        origin.request();
        let mut idle = Peer::connect(proxy.address);
        idle.ping();
        proxy.signal("TERM");
        proxy.line("SIGTERM");
        let (_, code) = idle.until_gone();
        assert_eq!(code, NO_ERROR);
        // A stream that had its answer under way keeps it.
        origin.release();
        let answer = client.answer(stream);
        assert_eq!((answer.status(), answer.text().as_str()), ("200", "one"));
        let (last, code) = client.until_gone();
        assert_eq!(code, NO_ERROR);
        assert!(last >= stream, "GOAWAY {last} fails stream {stream}");
        assert!(client.ends() && idle.ends());
        assert_eq!(proxy.end().code(), Some(0));
    });
}

/// A request beyond our own limit is refused, and may be sent again (RFC 9113 §5.1.2).
#[test]
fn streams_beyond_our_own_limit_are_refused() {
    on_each_driver(|io| {
        let (address, told) = telling();
        let config = config(address, "").manager("http2_protocol_options: {max_concurrent_streams: 2}");
        let proxy = Proxy::start(io, &config);
        let mut client = Peer::connect(proxy.address);
        let limit = loop {
            match client.next() {
                Some(Came::Settings(entries)) => {
                    break entries.into_iter().find(|(id, _)| *id == MAX_CONCURRENT_STREAMS);
                }
                Some(_) => {}
                None => panic!("no SETTINGS"),
            }
        };
        assert_eq!(limit, Some((MAX_CONCURRENT_STREAMS, 2)));
        let held = [client.get("/hold"), client.get("/hold")];
        for _ in held {
            hear(&told, "a request", |came| matches!(came, Came::Section { .. }));
        }
        let stream = client.get("/more");
        assert_eq!(client.answer(stream).reset, Some(REFUSED_STREAM));
        client.reset(held[0], CANCEL);
        hear(&told, "a reset", |came| matches!(came, Came::Reset { .. }));
        let stream = client.get("/more");
        assert_eq!(client.answer(stream).status(), "200");
    });
}

/// A hundred streams at once, each with its own answer.
#[test]
fn many_streams_get_each_its_own() {
    on_each_driver(|io| {
        let address = origin(&[], |mut peer, _| {
            while let Some(came) = peer.next() {
                let Came::Section { stream, fields, .. } = came else { continue };
                let path = value(&fields, ":path").to_owned();
                peer.section(stream, &[(":status", "200")], false);
                peer.data(stream, path, true);
            }
        });
        let proxy = Proxy::start(io, &config(address, ""));
        let mut client = Peer::connect(proxy.address);
        let paths: Vec<String> = (0..100).map(|number| format!("/stream/{number}")).collect();
        let streams: Vec<u32> = paths.iter().map(|path| client.open(&get(path), true)).collect();
        for (path, stream) in paths.iter().zip(streams) {
            assert_eq!(client.answer(stream).text(), *path);
        }
    });
}

/// Streams beyond what an origin takes, or what the file allows, go to further connections.
#[test]
fn streams_beyond_the_limit_open_another_connection() {
    on_each_driver(|io| {
        static TWO: [(u16, u32); 1] = [(MAX_CONCURRENT_STREAMS, 2)];
        let rows: [(&'static [(u16, u32)], &str); 2] = [(&TWO, ""), (&[], "max_concurrent_streams: 2")];
        for (settings, options) in rows {
            // Held until four are there; then all are answered.
            let gate: Arc<(Mutex<usize>, Condvar)> = Arc::default();
            let connections = Arc::new(AtomicUsize::new(0));
            let (at_gate, counted) = (gate.clone(), connections.clone());
            let address = origin(settings, move |mut peer, _| {
                counted.fetch_add(1, Ordering::SeqCst);
                let mut waiting = vec![];
                while let Some(came) = peer.next() {
                    let Came::Section { stream, fields, .. } = came else { continue };
                    if value(&fields, ":path") != "/hold" {
                        peer.section(stream, &[(":status", "200")], true);
                        continue;
                    }
                    waiting.push(stream);
                    assert!(waiting.len() <= 2, "three streams at once");
                    let mut here = at_gate.0.lock().expect("no panic");
                    *here += 1;
                    at_gate.1.notify_all();
                    let full = waiting.len() == 2 || *here == 4;
                    if full {
                        let _here = at_gate.1.wait_while(here, |here| *here < 4).expect("no panic");
                        for stream in waiting.drain(..) {
                            peer.section(stream, &[(":status", "200")], true);
                        }
                    }
                }
            });
            let proxy = Proxy::start(io, &config(address, options));
            let mut client = Peer::connect(proxy.address);
            let stream = client.get("/first");
            assert_eq!(client.answer(stream).status(), "200");
            let streams: Vec<u32> = (0..4).map(|_| client.get("/hold")).collect();
            for stream in streams {
                assert_eq!(client.answer(stream).status(), "200", "{options}");
            }
            assert_eq!(connections.load(Ordering::SeqCst), 2, "{options}");
        }
    });
}

/// A stream whose client does not read holds its window, and nothing of its siblings'.
#[test]
fn a_slow_stream_does_not_stall_its_siblings() {
    /// Within the windows that are set below, so that the origin needs no flow control of its own.
    const LONG: usize = 60_000;
    fn old(mut client: Client) {
        while let Ok(Some(request)) = client.read(false, false) {
            let body = if request.line.contains("/long") { "x".repeat(LONG) } else { "short".to_owned() };
            client.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()));
        }
    }
    on_each_driver(|io| {
        let new = origin(&[], |mut peer, _| {
            while let Some(came) = peer.next() {
                let Came::Section { stream, fields, .. } = came else { continue };
                let body =
                    if value(&fields, ":path").contains("/long") { "x".repeat(LONG) } else { "short".to_owned() };
                peer.section(stream, &[(":status", "200")], false);
                peer.data(stream, body, true);
            }
        });
        let config = config(new, "initial_stream_window_size: 65535")
            .cluster("old", served_by(old))
            .route("prefix: /none", "route: {cluster: old}");
        for to_old in [false, true] {
            let config =
                if to_old { Config::new().to("/", "old").cluster("old", served_by(old)) } else { config.clone() };
            let proxy = Proxy::start(io, &config);
            let mut client = Peer::connect_with(proxy.address, &[(INITIAL_WINDOW_SIZE, 1_000)]);
            client.credits = false;
            let slow = client.get("/long");
            client.until(slow, |exchange| exchange.body.len() == 1_000);
            for _ in 0..20 {
                let stream = client.get("/short");
                assert_eq!(client.answer(stream).text(), "short");
            }
            assert_eq!(client.until(slow, |_| true).body.len(), 1_000);
            client.window(slow, LONG as u32);
            let answer = client.answer(slow);
            assert_eq!((answer.body.len(), answer.ended), (LONG, true));
        }
    });
}

/// What is under way when its client goes is ended and logged, also while a connection of a listener that is gone finishes.
#[test]
fn a_request_may_outlive_its_connection() {
    const LOG: &str = "access_log: [{name: a, typed_config: {'@type': \
        type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog, log_format: \
        {text_format_source: {inline_string: \"logged %DOWNSTREAM_REMOTE_ADDRESS% %RESPONSE_FLAGS%\\n\"}}}}]";
    let is_held = |came: &Came| matches!(came, Came::Section { fields, .. } if value(fields, ":path") == "/hold");
    on_each_driver(|io| {
        let (origin, told) = telling();
        let config = config(origin, "").manager(LOG);
        let yaml = config.yaml();
        let start = yaml.find("  - name: main").expect("the listener");
        let end = yaml.find("  clusters:").expect("the clusters");
        let second = yaml[start..end].replace("name: main", "name: second");
        let mut proxy = Proxy::start(io, &config);
        proxy.replace(&format!("{}{second}{}", &yaml[..end], &yaml[end..]));
        proxy.line("listener second: ");
        let listeners = proxy.admin("GET", "/listeners").text();
        let address = listeners.lines().find_map(|line| line.strip_prefix("second::")).expect("the second listener");
        // Held on a listener that goes.
        let mut finishing = Client::connect(address.parse().expect("an address"));
        finishing.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
        hear(&told, "a request", is_held);
        proxy.replace(&yaml);
        proxy.line("generation 3 in force");
        for _ in 0..3 {
            let mut client = Peer::connect(proxy.address);
            client.get("/hold");
            hear(&told, "a request", is_held);
            drop(client);
            hear(&told, "its end", |came| matches!(came, Came::Reset { .. }));
        }
        assert_eq!(proxy.get("/").status(), 200);
        assert!(proxy.runs());
    });
}

//! A WebSocket's opening handshake in the four combinations of versions: HTTP/1 has a key and what answers it (RFC 6455 §4), HTTP/2 has
//! neither (RFC 8441 §5). What goes through the tunnel is the judge's affair (`cargo xtask judge websocket`).

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use crate::common::client::{Client, Message};
use crate::common::config::{Config, http2_cluster};
use crate::common::http2::{Came, ENABLE_CONNECT_PROTOCOL, Exchange, Peer, get, origin, value};
use crate::common::on_each_driver;
use crate::common::origin::served_by;
use crate::common::process::Proxy;
use ringway_protocols::websocket::{accept, is_key};

/// RFC 6455 §1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Answers as the last word of the path says, then gives back what comes. What it was asked stands in `X-Asked`.
fn serve(mut client: Client) {
    let Ok(Some(request)) = client.read(false, false) else { return };
    let path = request.line.split(' ').nth(1).unwrap_or_default();
    let key = request.header("sec-websocket-key").unwrap_or_default();
    let keys = request.headers.iter().filter(|(name, _)| name == "sec-websocket-key").count();
    let good = format!("Sec-WebSocket-Accept: {}\r\n", String::from_utf8_lossy(&accept(key.as_bytes())));
    let (kind, accept) = match path.rsplit('/').next().unwrap_or_default() {
        "wrong" => ("websocket", "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n".to_owned()),
        "none" => ("websocket", String::new()),
        "twice" => ("websocket", format!("{good}{good}")),
        "other" => ("other", good),
        "refuse" => {
            client.send("HTTP/1.1 403 No\r\nContent-Length: 4\r\nX-Asked: no\r\n\r\nnone");
            return;
        }
        _ => ("WebSocket", good),
    };
    client.send(format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: {kind}\r\n{accept}\
         Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: permessage-deflate\r\nX-Asked: {} {key} {keys}\r\n\r\n",
        told(|name| request.header(name).unwrap_or_default().to_owned()),
    ));
    while let Ok(bytes) = client.some()
        && !bytes.is_empty()
    {
        client.send(bytes);
    }
}

/// The fields of a handshake that travel as they are.
fn told(of: impl Fn(&str) -> String) -> String {
    ["version", "protocol", "extensions"].map(|name| of(&format!("sec-websocket-{name}"))).join(" ")
}

/// The same in HTTP/2; a client that says a key finds it in `x-asked`.
fn serve_http2(mut peer: Peer, _: usize) {
    while let Some(came) = peer.next() {
        match came {
            Came::Section { stream, fields, .. } if value(&fields, ":protocol") == "websocket" => {
                let key = value(&fields, "sec-websocket-key");
                let keys = fields.iter().filter(|(name, _)| name == "sec-websocket-key").count();
                let asked = format!("{} {key} {keys}", told(|name| value(&fields, name).to_owned()));
                let mut answer = vec![
                    (":status", "200"),
                    ("sec-websocket-protocol", "chat"),
                    ("sec-websocket-extensions", "permessage-deflate"),
                    ("x-asked", &asked),
                ];
                if value(&fields, ":path").ends_with("/bogus") {
                    answer.push(("sec-websocket-accept", "bogus"));
                }
                peer.section(stream, &answer, false);
            }
            Came::Section { stream, .. } => peer.section(stream, &[(":status", "404")], true),
            Came::Data { stream, bytes, ends } => peer.data(stream, bytes, ends),
            _ => {}
        }
    }
}

fn config(old: SocketAddr, new: SocketAddr) -> Config {
    Config::new()
        .manager("http2_protocol_options: {allow_connect: true}")
        .manager("upgrade_configs: [{upgrade_type: websocket}]")
        // What an answer of ours is for.
        .manager(
            "local_reply_config: {body_format: {text_format_source: {inline_string: \
             \"%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\"}}}",
        )
        .route("prefix: /1", "route: {cluster: old, timeout: 0s}")
        .route("prefix: /2", "route: {cluster: new, timeout: 0s}")
        .cluster("old", old)
        .cluster_with("new", new, &http2_cluster("allow_connect: true"))
}

const OFFERED: &str = "13 chat, other permessage-deflate";

/// Asks over HTTP/1, with these fields beside what a WebSocket asks for.
fn ask(client: &mut Client, path: &str, fields: &str) -> Message {
    client.send(format!(
        "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: chat, other\r\nSec-WebSocket-Extensions: permessage-deflate\r\n{fields}\r\n"
    ));
    client.response(false)
}

/// The same over HTTP/2.
fn ask_http2(client: &mut Peer, path: &str, more: &[(&'static str, &'static str)]) -> (u32, Exchange) {
    let mut fields = get(path);
    fields[0].1 = "CONNECT";
    fields.insert(1, (":protocol", "websocket"));
    fields.extend([
        ("sec-websocket-version", "13"),
        ("sec-websocket-protocol", "chat, other"),
        ("sec-websocket-extensions", "permessage-deflate"),
    ]);
    fields.extend(more);
    let stream = client.open(&fields, false);
    let head = client.until(stream, |exchange| !exchange.fields.is_empty()).clone();
    (stream, head)
}

fn start(io: &'static str) -> Proxy {
    Proxy::start(io, &config(served_by(serve), origin(&[(ENABLE_CONNECT_PROTOCOL, 1)], serve_http2)))
}

#[test]
fn the_key_stays_where_it_has_a_meaning() {
    on_each_driver(|io| {
        let proxy = start(io);
        let mut new = Peer::connect(proxy.address);
        let key = format!("Sec-WebSocket-Key: {KEY}\r\n");
        // HTTP/1 on both sides: what the client says, and what the origin answers, whether it is right or not.
        for (path, expect) in [("/1", Some(ACCEPT)), ("/1/none", None)] {
            let mut client = proxy.client();
            let head = ask(&mut client, path, &key);
            assert_eq!((head.status(), head.header("sec-websocket-accept")), (101, expect), "{path}");
            assert_eq!(head.header("x-asked"), Some(format!("{OFFERED} {KEY} 1").as_str()), "{path}");
        }
        // To HTTP/2: no key goes up, and the answer is ours, whatever the origin says.
        for path in ["/2", "/2/bogus"] {
            let mut client = proxy.client();
            let head = ask(&mut client, path, &key);
            assert_eq!(head.status(), 101, "{path}");
            let accepts: Vec<_> = head.headers.iter().filter(|(name, _)| name == "sec-websocket-accept").collect();
            assert_eq!(accepts, [&("sec-websocket-accept".to_owned(), ACCEPT.to_owned())], "{path}");
            assert_eq!(head.header("x-asked"), Some(format!("{OFFERED}  0").as_str()), "{path}");
            assert_eq!(head.header("sec-websocket-protocol"), Some("chat"), "{path}");
            assert_eq!(head.header("sec-websocket-extensions"), Some("permessage-deflate"), "{path}");
            client.send("frame");
            assert_eq!(client.bytes(5), b"frame", "{path}");
        }
        // From HTTP/2 to HTTP/1: each has a key of ours, also where the client says one.
        let mut keys = HashSet::new();
        for more in [&[][..], &[("sec-websocket-key", KEY)], &[("content-length", "0")]] {
            let (stream, head) = ask_http2(&mut new, "/1", more);
            assert_eq!((head.status(), head.field("sec-websocket-accept")), ("200", ""), "{more:?}");
            assert_eq!(head.field("sec-websocket-protocol"), "chat", "{more:?}");
            let asked = head.field("x-asked").strip_prefix(OFFERED).expect("they travel as they are");
            let key = asked.trim().strip_suffix(" 1").expect("one key");
            assert!(is_key(key.as_bytes()) && key != KEY && keys.insert(key.to_owned()), "{asked}");
            new.data(stream, "frame", false);
            new.until(stream, |exchange| exchange.text() == "frame");
        }
        // HTTP/2 on both sides: nothing is ours.
        let rows: [(_, &[_], _, _); 3] = [
            ("/2", &[], "", format!("{OFFERED}  0")),
            ("/2/bogus", &[], "bogus", format!("{OFFERED}  0")),
            ("/2", &[("sec-websocket-key", "any")], "", format!("{OFFERED} any 1")),
        ];
        for (path, more, accept, asked) in rows {
            let (_, head) = ask_http2(&mut new, path, more);
            let got = (head.status(), head.field("sec-websocket-accept"), head.field("x-asked"));
            assert_eq!(got, ("200", accept, asked.as_str()), "{path} {more:?}");
        }
    });
}

/// Guards against a tunnel to an origin that did not understand what it was asked: it would take frames for requests.
#[test]
fn an_origin_that_does_not_answer_the_key_speaks_no_websocket() {
    on_each_driver(|io| {
        let proxy = start(io);
        let mut client = Peer::connect(proxy.address);
        for path in ["/1/wrong", "/1/none", "/1/twice", "/1/other"] {
            let (stream, _) = ask_http2(&mut client, path, &[]);
            let answer = client.answer(stream);
            assert_eq!((answer.status(), answer.text().as_str()), ("502", "UPE websocket_accept_invalid"), "{path}");
        }
        assert_eq!(proxy.stat("cluster.old.upstream_cx_protocol_error"), 4);
        // Who refuses has no key to answer.
        let (stream, _) = ask_http2(&mut client, "/1/refuse", &[]);
        let answer = client.answer(stream);
        assert_eq!((answer.status(), answer.text().as_str()), ("403", "none"));
        proxy.wait_stat("cluster.old.upstream_cx_active", |active| active == 0);
    });
}

/// In HTTP/2 its content would be the tunnel's first bytes, and the end of it the tunnel's.
#[test]
fn an_upgrade_with_content_does_not_go_to_http2() {
    on_each_driver(|io| {
        let proxy = start(io);
        for (fields, status) in
            [("Content-Length: 5\r\n", 400), ("Transfer-Encoding: chunked\r\n", 400), ("Content-Length: 0\r\n", 101)]
        {
            let fields = format!("Sec-WebSocket-Key: {KEY}\r\n{fields}");
            let answer = ask(&mut proxy.client(), "/2", &fields);
            assert_eq!(answer.status(), status, "{fields}");
            assert!(status != 400 || answer.text() == "DPE upgrade_with_content", "{}", answer.text());
        }
        assert_eq!(proxy.stat("cluster.new.upstream_rq_total"), 1);
    });
}

/// A client takes no tunnel without an answer to its key, and there is none to these (RFC 6455 §4.2.1).
#[test]
fn a_client_without_a_key_has_no_websocket_over_http2() {
    on_each_driver(|io| {
        let proxy = start(io);
        let rows = [
            String::new(),
            "Sec-WebSocket-Key:\r\n".to_owned(),
            "Sec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n".to_owned(),
            format!("Sec-WebSocket-Key: {KEY}{KEY}\r\n"),
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ!==\r\n".to_owned(),
            format!("Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Key: {KEY}\r\n"),
        ];
        for fields in rows {
            let mut client = proxy.client();
            let answer = ask(&mut client, "/2", &fields);
            assert_eq!((answer.status(), answer.text().as_str()), (400, "DPE websocket_key_invalid"), "{fields}");
            assert!(client.ended(), "{fields}");
            // What it says to HTTP/1 is between the two.
            assert_eq!(ask(&mut proxy.client(), "/1", &fields).status(), 101, "{fields}");
        }
        assert_eq!(proxy.stat("cluster.new.upstream_rq_total"), 0);
    });
}

/// RFC 8441 §3: who has not announced it is not asked; before SETTINGS nobody has. RFC 9113 §8.3 has such a request malformed.
#[test]
fn an_origin_that_has_not_announced_extended_connect_is_not_asked() {
    on_each_driver(|io| {
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let heard = asked.clone();
        let new = origin(&[], move |mut peer: Peer, _| {
            while let Some(came) = peer.next() {
                if let Came::Section { stream, fields, .. } = came {
                    heard.lock().expect("no panic").push(value(&fields, ":method").to_owned());
                    peer.section(stream, &[(":status", "200")], true);
                }
            }
        });
        let proxy = Proxy::start(io, &config(served_by(serve), new));
        let mut client = Peer::connect(proxy.address);
        // On a connection that is new, and on one that is known.
        for _ in 0..2 {
            let (stream, _) = ask_http2(&mut client, "/2", &[]);
            let answer = client.answer(stream);
            assert_eq!((answer.status(), answer.text().as_str()), ("502", "UPE extended_connect_unsupported"));
        }
        let answer = ask(&mut proxy.client(), "/2", &format!("Sec-WebSocket-Key: {KEY}\r\n"));
        assert_eq!((answer.status(), answer.text().as_str()), (502, "UPE extended_connect_unsupported"));
        // Its connection is as good as before.
        let stream = client.get("/2");
        assert_eq!(client.answer(stream).status(), "200");
        assert_eq!(*asked.lock().expect("no panic"), ["GET"]);
        assert_eq!(proxy.stat("cluster.new.upstream_cx_total"), 1);
    });
}

/// RFC 6455 §4.1: a key is made for each connection.
#[test]
fn each_try_has_a_key_of_its_own() {
    on_each_driver(|io| {
        let keys: Arc<Mutex<Vec<String>>> = Arc::default();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port of the kernel's choice");
        let address = listener.local_addr().expect("an address");
        let heard = keys.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut client = Client::on(stream);
                let Ok(Some(request)) = client.read(false, false) else { continue };
                let key = request.header("sec-websocket-key").unwrap_or_default().to_owned();
                let mut heard = heard.lock().expect("no panic");
                heard.push(key.clone());
                if heard.len() < 3 {
                    client.send("HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
                } else {
                    let accept = accept(key.as_bytes());
                    client.send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n");
                    client.send("Sec-WebSocket-Accept: ").send(accept).send("\r\n\r\nframe");
                    drop(heard);
                    _ = client.some();
                }
            }
        });
        let retry = "retry_policy: {retry_on: 5xx, num_retries: 3, retry_back_off: {base_interval: 0.001s}}";
        let config = Config::new()
            .manager("http2_protocol_options: {allow_connect: true}")
            .manager("upgrade_configs: [{upgrade_type: websocket}]")
            .route("prefix: /", &format!("route: {{cluster: c, {retry}}}"))
            .cluster("c", address);
        let proxy = Proxy::start(io, &config);
        let mut client = Peer::connect(proxy.address);
        let (stream, head) = ask_http2(&mut client, "/", &[]);
        assert_eq!(head.status(), "200");
        client.until(stream, |exchange| exchange.text() == "frame");
        let keys = keys.lock().expect("no panic");
        assert_eq!(keys.iter().collect::<HashSet<_>>().len(), 3, "{keys:?}");
        assert!(keys.iter().all(|key| is_key(key.as_bytes())), "{keys:?}");
    });
}

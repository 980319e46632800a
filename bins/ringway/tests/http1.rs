//! HTTP/1 by the letter, through the proxy: expectations, interim and early responses, trailers, HTTP/1.0, the case of names, and
//! responses that are not what they say.

use std::net::SocketAddr;

use crate::common::client::Client;
use crate::common::config::Config;
use crate::common::on_each_driver;
use crate::common::origin::served_by;
use crate::common::process::Proxy;

/// Reads a head, answers as the path says, then reads the body where the path asks for that.
fn scripted(mut connection: Client) {
    while let Ok(head) = connection.until(b"\r\n\r\n") {
        let head = String::from_utf8_lossy(&head).into_owned();
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let (answer, goes_on) = match path.as_str() {
            "/interim" => (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n\
                 HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
                true,
            ),
            "/early" => ("HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno", true),
            "/trailers" => (
                "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 5\r\n\
                 Content-Length: 1\r\n\r\n",
                true,
            ),
            "/chunked" => ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", true),
            "/longer" => {
                ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil", true)
            }
            "/shorter" => ("HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nok", false),
            "/unended" => ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", false),
            "/204" => ("HTTP/1.1 204 No Content\r\nContent-Length: 4\r\n\r\nevil", true),
            "/two-lengths" => ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", true),
            "/folded" => ("HTTP/1.1 200 OK\r\nX-A: 1\r\n 2\r\nContent-Length: 0\r\n\r\n", true),
            "/hop" => ("HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nContent-Length: 0\r\n\r\n", true),
            "/until" => ("HTTP/1.1 200 OK\r\n\r\nok", false),
            // Answers with the head, and with what came behind it.
            _ => {
                let body = if head.to_lowercase().contains("chunked") {
                    connection.until(b"\r\n\r\n").unwrap_or_default()
                } else if head.contains("ength: 2") {
                    connection.bytes(2)
                } else {
                    Vec::new()
                };
                let echo = head.replace("\r\n", "\n") + &String::from_utf8_lossy(&body);
                connection.send(format!(
                    "HTTP/1.1 200 OK\r\nx-oTHER_name: 1\r\nContent-Length: {}\r\n\r\n{echo}",
                    echo.len()
                ));
                continue;
            }
        };
        connection.send(answer);
        if !goes_on {
            return;
        }
    }
}

fn config(origin: SocketAddr, manager: &str, cluster: &str) -> Config {
    Config::new().manager(manager).to("/", "c").cluster_with(
        "c",
        origin,
        &format!("connect_timeout: 5s\n    {cluster}"),
    )
}

/// All that comes until the end, as text with line feeds alone, without the date and what else is new each time.
#[track_caller]
fn all(client: &mut Client) -> String {
    let mut text = Vec::new();
    while let Ok(bytes) = client.some()
        && !bytes.is_empty()
    {
        text.extend(bytes);
    }
    let text = String::from_utf8_lossy(&text).replace("\r\n", "\n");
    let kept = |line: &&str| {
        let line = line.to_lowercase();
        !["date: ", "server: ", "x-envoy-upstream-service-time: "].iter().any(|start| line.starts_with(start))
    };
    text.split_inclusive('\n').filter(kept).collect()
}

/// What a client gets that sends this in one piece and then waits for the end. The last request has to end the connection.
#[track_caller]
fn answers(proxy: &Proxy, wire: &str) -> String {
    let mut client = proxy.client();
    client.send(wire);
    all(&mut client)
}

fn get(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
}

const END: &str = "Connection: close\r\n";

#[test]
fn an_expectation_is_met_by_us_or_by_the_origin() {
    on_each_driver(|io| {
        let post = "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\n";
        let proxy = Proxy::start(io, &config(served_by(scripted), "", ""));
        let mut client = proxy.client();
        client.send(post);
        // The body is sent only once this has come.
        assert_eq!(client.response(false).status(), 100);
        client.send("hi");
        let answer = client.response(false);
        assert_eq!(answer.status(), 200);
        let text = answer.text().to_lowercase();
        assert!(text.ends_with("\nhi") && !text.contains("expect: 100"), "{text}");
        assert_eq!(proxy.stat("http.main.downstream_rq_1xx"), 1);
        // An answer of our own, or an early one, needs no body; the connection ends with it.
        for (path, status) in [("/direct", 200), ("/early", 413)] {
            let mut client = proxy.client();
            client.send(post.replace("/echo", path));
            let answer = client.response(false);
            let answer = if answer.status() == 100 { client.response(false) } else { answer };
            assert_eq!((answer.status(), answer.header("connection")), (status, Some("close")), "{path}");
            assert!(client.ended(), "{path}");
        }
        let mut client = proxy.client();
        client.send(post.replace("100-Continue", "x 100-continue") + "hi");
        assert_eq!(client.response(false).status(), 417);
        let proxy = Proxy::start(io, &config(served_by(scripted), "proxy_100_continue: true", ""));
        let mut client = proxy.client();
        client.send(post.to_owned() + "hi");
        let answer = client.response(false);
        assert!(answer.text().to_lowercase().contains("expect: 100-continue\n"), "{}", answer.text());
    });
}

#[test]
fn interim_responses_pass() {
    on_each_driver(|io| {
        let origin = served_by(scripted);
        for (manager, expect) in [("proxy_100_continue: true", "100 102 103 200"), ("", "102 103 200")] {
            let proxy = Proxy::start(io, &config(origin, manager, ""));
            let text = answers(&proxy, &get("/interim", END));
            let statuses: Vec<_> =
                text.lines().filter_map(|line| line.strip_prefix("HTTP/1.1 ")).map(|rest| &rest[..3]).collect();
            assert_eq!(statuses.join(" "), expect);
            assert!(text.contains("\nLink: </a>\n"), "{text}");
        }
    });
}

/// What is announced for a body that nobody sends any more is not taken for a request, and the answer is not lost to a reset.
#[test]
fn an_early_response_is_delivered_and_ends_the_connection() {
    on_each_driver(|io| {
        let proxy = Proxy::start(io, &config(served_by(scripted), "", ""));
        let mut client = proxy.client();
        client.send(
            "POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        );
        assert_eq!(client.response(false).status(), 413);
        assert!(client.ended());
    });
}

#[test]
fn trailers_pass_where_both_sides_have_them() {
    const OPTIONS: &str = "typed_extension_protocol_options: {o: {'@type': \
        type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: \
        {http_protocol_options: {enable_trailers: true}}}}";
    const MANAGER: &str = "http_protocol_options: {enable_trailers: true}";
    on_each_driver(|io| {
        let origin = served_by(scripted);
        for (manager, cluster, passes) in
            [("", "", false), (MANAGER, "", false), ("", OPTIONS, false), (MANAGER, OPTIONS, true)]
        {
            let proxy = Proxy::start(io, &config(origin, manager, cluster));
            let post = format!(
                "POST /echo HTTP/1.1\r\nHost: a\r\n{END}Transfer-Encoding: chunked\r\n\r\n\
                 2\r\nhi\r\n0\r\nX-Up: 1\r\nHost: b\r\n\r\n"
            );
            let (down, up) = (answers(&proxy, &get("/trailers", END)), answers(&proxy, &post));
            let expect =
                if passes { ["\n0\nX-Sum: 5\n\n", "\n0\r\nX-Up: 1\r\n\r\n"] } else { ["\n0\n\n", "\n0\r\n\r\n"] };
            assert!(down.ends_with(expect[0]), "{manager} {cluster}: {down}");
            assert!(up.ends_with(&expect[1].replace('\r', "")), "{manager} {cluster}: {up}");
        }
    });
}

#[test]
fn a_client_of_http_1_0() {
    const ACCEPTS: &str = "http_protocol_options: {accept_http_10: true}";
    on_each_driver(|io| {
        let origin = served_by(scripted);
        let proxy = Proxy::start(io, &config(origin, "", ""));
        assert!(answers(&proxy, "GET /echo HTTP/1.0\r\nHost: a\r\n\r\n").starts_with("HTTP/1.1 426 "));
        let proxy = Proxy::start(io, &config(origin, ACCEPTS, ""));
        let keep = "Connection: keep-alive\r\n";
        for (requests, expect) in [
            // Closed by default, kept where it asks for that; never a chunk, never a 1xx.
            (vec![("/until", "")], "HTTP/1.0 200 OK\nConnection: close\n\nok"),
            (
                vec![("/direct", keep), ("/direct", "")],
                "HTTP/1.0 200 OK\nContent-Length: 6\nContent-Type: text/plain\nConnection: keep-alive\n\ndirect\
                 HTTP/1.0 200 OK\nContent-Length: 6\nContent-Type: text/plain\nConnection: close\n\ndirect",
            ),
            (
                vec![("/interim", keep), ("/chunked", keep), ("/direct", keep)],
                "HTTP/1.0 200 OK\nContent-Length: 2\nConnection: keep-alive\n\nok\
                 HTTP/1.0 200 OK\nConnection: close\n\nok",
            ),
        ] {
            let wire: String = requests
                .iter()
                .map(|(path, fields)| format!("GET {path} HTTP/1.0\r\nHost: a\r\n{fields}\r\n"))
                .collect();
            assert_eq!(answers(&proxy, &wire), expect, "{wire}");
        }
        // RFC 9112 §6.1: faulty framing. RFC 9110 §7.8, §10.1.1: neither Upgrade nor Expect is heard.
        let text = answers(&proxy, "POST /echo HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
        assert!(text.starts_with("HTTP/1.1 400 "), "{text}");
        let fields = "Connection: upgrade\r\nUpgrade: websocket\r\nExpect: 100-continue\r\n";
        let text = answers(&proxy, &format!("GET /echo HTTP/1.0\r\nHost: a\r\n{fields}\r\n"));
        assert!(text.starts_with("HTTP/1.0 200 ") && !text.contains("websocket") && !text.contains("100-"), "{text}");
        assert!(answers(&proxy, "GET /echo HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 400 "));
        let manager = "http_protocol_options: {accept_http_10: true, default_host_for_http_10: given.test}";
        let proxy = Proxy::start(io, &config(origin, manager, ""));
        let text = answers(&proxy, "\r\nPOST /echo HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi");
        assert!(text.contains("POST /echo HTTP/1.1\nHost: given.test\n") && text.ends_with("\nhi"), "{text}");
        let text = answers(&proxy, "GET http://own.test/echo HTTP/1.0\r\n\r\n");
        assert!(text.contains("GET /echo HTTP/1.1\nHost: own.test\n"), "{text}");
    });
}

#[test]
fn names_in_proper_case() {
    const FORMAT: &str = "http_protocol_options: {header_key_format: {proper_case_words: {}}}";
    on_each_driver(|io| {
        let cluster = format!(
            "typed_extension_protocol_options: {{o: {{'@type': \
             type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: {{{FORMAT}}}}}}}"
        );
        let proxy = Proxy::start(io, &config(served_by(scripted), FORMAT, &cluster));
        let text = answers(&proxy, &get("/echo", &format!("x-a_b$C1d-E: MiXed\r\n{END}")));
        for line in ["\nX-Other_Name: 1\n", "\nX-A_B$C1d-E: MiXed\n", "\nX-Forwarded-Proto: http\n", "\nHost: a\n"] {
            assert!(text.contains(line), "{line}: {text}");
        }
        let text = answers(&proxy, &get("/direct", END));
        assert!(text.contains("\nContent-Type: text/plain\n"), "{text}");
    });
}

/// Names reach the other side as they came, and those that are ours, or another's of the same name, follow.
#[test]
fn names_keep_their_case() {
    let check = |own: &str, lines: &[&str]| {
        let format = format!(
            "http_protocol_options: {{header_key_format: {{stateful_formatter: {{name: preserve_case, typed_config: {{'@type': \
             type.googleapis.com/envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig, \
             formatter_type_on_envoy_headers: {own}, forward_reason_phrase: true}}}}}}}}"
        );
        let cluster = format!(
            "typed_extension_protocol_options: {{o: {{'@type': \
             type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions, explicit_http_config: {{{format}}}}}}}"
        );
        // Where the message comes from decides, not where it goes.
        let proper = "http_protocol_options: {header_key_format: {proper_case_words: {}}}";
        let proper_cluster = cluster.replace(&format[..], proper);
        on_each_driver(|io| {
            let proxy = Proxy::start(io, &config(served_by(scripted), &format, &proper_cluster));
            let text = answers(
                &proxy,
                &format!("POST /echo HTTP/1.1\r\nHOST: a\r\nx-FORWARDED-proto: http\r\n{SPELLED}{END}\r\n"),
            );
            for line in lines {
                assert!(text.contains(line), "{own}: {line}: {text}");
            }
            let proxy = Proxy::start(io, &config(served_by(scripted), "", &cluster));
            let text = answers(&proxy, &get("/echo", END));
            assert!(text.contains("\nx-oTHER_name: 1\n"), "{text}");
            let ours = if own == "DEFAULT" { "\nconnection: close\n" } else { "\nConnection: close\n" };
            assert!(text.contains(ours), "{own}: {text}");
        });
    };
    const SPELLED: &str = "uSER-agent: x\r\nX-tWo: a\r\nx-TWO: b\r\ncontent-LENGTH: 0\r\n";
    let kept = [
        "\nHOST: a\n",
        "\nuSER-agent: x\n",
        "\nX-tWo: a\n",
        "\nX-tWo: b\n",
        "\ncontent-LENGTH: 0\n",
        "\nx-FORWARDED-proto: ",
    ];
    check("DEFAULT", &[&kept[..], &["\nx-envoy-expected-rq-timeout-ms: "]].concat());
    check("PROPER_CASE", &[&kept[..], &["\nX-Envoy-Expected-Rq-Timeout-Ms: "]].concat());
}

/// A response that is not what it says ends or is refused, and nothing of it is taken for the next one.
#[test]
fn responses_that_lie() {
    on_each_driver(|io| {
        let proxy = Proxy::start(io, &config(served_by(scripted), "", ""));
        for (path, status, cut) in [
            ("/longer", 200, false),
            ("/204", 204, false),
            ("/two-lengths", 502, false),
            ("/folded", 502, false),
            ("/shorter", 200, true),
            ("/unended", 200, true),
        ] {
            let mut client = proxy.client();
            client.send(get(path, ""));
            let answer = client.read(false, true);
            match cut {
                // Shorter than it says: the client cannot take a part for the whole.
                true => assert!(answer.is_err(), "{path}"),
                false => assert_eq!(answer.expect("whole").expect("one").status(), status, "{path}"),
            }
            let text = proxy.get("/next").text();
            assert!(text.starts_with("GET /next "), "{path}: {text}");
        }
        assert_eq!(proxy.get("/hop").header("x-hop"), None);
    });
}

/// A client that has no more to say may still listen.
#[test]
fn half_closed_clients_are_answered() {
    on_each_driver(|io| {
        let proxy = Proxy::start(io, &config(served_by(scripted), "", ""));
        let mut client = proxy.client();
        client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
        client.finish();
        let text = all(&mut client);
        assert!(text.starts_with("HTTP/1.1 200 ") && text.ends_with("hi"), "{text}");
    });
}

/// Guards against losing the end of a response to the close of a connection whose client reads slowly and has ended its side: more
/// is under way than the kernels' buffers take.
#[test]
fn a_slow_reader_gets_all_of_the_last_response() {
    const SIZE: usize = 12_000_000;
    fn large(mut connection: Client) {
        while connection.until(b"\r\n\r\n").is_ok() {
            connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n")).send(vec![b'x'; SIZE]);
        }
    }
    on_each_driver(|io| {
        let proxy = Proxy::start(io, &config(served_by(large), "delayed_close_timeout: 5s", ""));
        let mut client = proxy.client();
        client.send(get("/", END));
        client.finish();
        // The proxy has read all of it long before the client has.
        proxy.wait_stat("http.main.downstream_rq_total", |total| total == 1);
        assert!(client.until(b"\r\n\r\n").is_ok());
        assert!(client.bytes(SIZE).iter().all(|byte| *byte == b'x'));
        assert!(client.ended());
    });
}

//! What is made of answers of our own (`local_reply_config`), from the outside: each as Envoy 1.40 answers.

use std::fs;

use crate::common::client::Message;
use crate::common::config::Config;
use crate::common::origin::Origin;
use crate::common::process::{Proxy, TempDir};
use crate::common::{on_each_driver, wait_for};

const MAPPERS: &str = r#"local_reply_config: {mappers: [
            {filter: {status_code_filter: {comparison: {op: EQ, value: {default_value: 404, runtime_key: k}}}},
             status_code: 410, body: {inline_string: gone},
             headers_to_add: [{header: {key: x-l, value: "%RESPONSE_CODE% [%LOCAL_REPLY_BODY%] %REQ(:PATH)% %RESPONSE_FLAGS%"}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}]},
            {filter: {response_flag_filter: {flags: [UF]}}, status_code: 502,
             body_format_override: {json_format: {m: "%LOCAL_REPLY_BODY%", c: "%RESPONSE_CODE%", f: "%RESPONSE_FLAGS%", p: "%REQ(:path)%", h: "%RESP(x-rt)%"}},
             headers_to_add: [{header: {key: x-l, value: mapper}}, {header: {key: x-c, value: "%UPSTREAM_CLUSTER%"}}]},
            {filter: {header_filter: {header: {name: x-me, string_match: {exact: "1"}}}},
             body_format_override: {text_format_source: {inline_string: "T %LOCAL_REPLY_BODY%"}, content_type: "text/html; charset=UTF-8"}}],
            body_format: {text_format_source: {inline_string: "<%LOCAL_REPLY_BODY%:%RESPONSE_CODE%:%REQ(:path)%>"}}}"#;

fn config(origin: &Origin) -> Config {
    let typed = "direct_response: {status: 200, body: {inline_string: '<p>'}}\n                response_headers_to_add: [{header: {key: content-type, value: text/html}, append_action: OVERWRITE_IF_EXISTS_OR_ADD}]";
    let dead = "route: {cluster: dead}\n                response_headers_to_add: [{header: {key: x-l, value: route}}, {header: {key: x-rt, value: '1'}}]";
    Config::new()
        .route("prefix: /d404", "direct_response: {status: 404, body: {inline_string: orig}}")
        .route("prefix: /typed", typed)
        .route("prefix: /r", "redirect: {path_redirect: /z}")
        .route("prefix: /dead", dead)
        .to("/name", "origin")
        .cluster("origin", origin.address)
        .cluster("dead", "127.0.0.1:1".parse().expect("an address"))
}

fn ask(proxy: &Proxy, method: &str, path: &str, fields: &str) -> Message {
    let mut client = proxy.client();
    client.send(format!("{method} {path} HTTP/1.1\r\nHost: h\r\n{fields}\r\n")).response(method == "HEAD")
}

#[test]
fn statuses_bodies_and_fields_are_changed_where_a_filter_passes() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        let proxy = Proxy::start(io, &config(&origin).manager(MAPPERS));
        let check = |path: &str, fields: &str, status: u16, kind: &str, body: &str| {
            let answer = ask(&proxy, "GET", path, fields);
            let found = (answer.status(), answer.header("content-type"), answer.text());
            assert_eq!(found, (status, Some(kind), body.to_owned()), "{path} {fields}");
            // Without the body, all the same.
            let head = ask(&proxy, "HEAD", path, fields);
            assert_eq!(
                (head.status(), head.header("content-length")),
                (status, Some(&*body.len().to_string())),
                "{path}"
            );
            answer
        };
        let plain = "text/plain";
        let answer = check("/none", "", 410, plain, "<gone:410:/none>");
        assert_eq!(answer.header("x-l"), Some("404 [] /none NR"));
        check("/d404", "", 410, plain, "<gone:410:/d404>");
        check("/direct", "", 200, plain, "<direct:200:/direct>");
        check("/typed", "", 200, plain, "<<p>:200:/typed>");
        let answer = check("/r", "", 301, plain, "<:301:/r>");
        assert_eq!(answer.header("location"), Some("http://h/z"));
        check("/r", "X-Me: 1\r\n", 301, "text/html; charset=UTF-8", "T ");
        check("/direct", "X-Me: 1\r\n", 200, "text/html; charset=UTF-8", "T direct");
        let json = r#"{"c":502,"f":"UF","h":"1","m":"upstream connect error or disconnect/reset before headers. reset reason: remote connection failure","p":"/dead"}"#;
        let answer = check("/dead", "", 502, "application/json", &format!("{json}\n"));
        let found: Vec<&str> =
            answer.headers.iter().filter(|(name, _)| name == "x-l").map(|(_, value)| value.as_str()).collect();
        assert_eq!((found, answer.header("x-c")), (vec!["route", "mapper"], Some("dead")));
        // What the codec refuses.
        let mut client = proxy.client();
        let answer = client.send("nonsense\r\n\r\n").response(false);
        assert_eq!((answer.status(), answer.text().as_str()), (400, "<Bad Request:400:->"));
        assert!(client.ended());
        // What an origin answers stays, and the connection goes on after an answer of ours.
        let mut client = proxy.client();
        for (path, status) in [("/none", 410), ("/name", 200), ("/dead", 502), ("/name", 200)] {
            assert_eq!(client.get(path).status(), status, "{path}");
        }
        assert_eq!(proxy.stat("http.main.no_route"), 3);
        assert_eq!(proxy.stat("http.main.downstream_rq_4xx"), 6);
    });
}

#[test]
fn a_body_can_go_and_a_type_stays_with_a_body_that_stays() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        let mappers = r#"local_reply_config: {mappers: [
            {filter: {status_code_filter: {comparison: {op: GE, value: {default_value: 400, runtime_key: k}}}}, body: {inline_string: ""}},
            {filter: {status_code_filter: {comparison: {op: EQ, value: {default_value: 301, runtime_key: k}}}}, status_code: 204}]}"#;
        let proxy = Proxy::start(io, &config(&origin).manager(mappers));
        for (path, status, length, kind, body) in [
            ("/d404", 404, Some("0"), None, ""),
            ("/dead", 503, Some("0"), None, ""),
            ("/typed", 200, Some("3"), Some("text/html"), "<p>"),
            ("/r", 204, None, None, ""),
        ] {
            let answer = ask(&proxy, "GET", path, "");
            assert_eq!((answer.status(), answer.text().as_str()), (status, body), "{path}");
            assert_eq!((answer.header("content-length"), answer.header("content-type")), (length, kind), "{path}");
        }
    });
}

#[test]
fn logs_tell_what_the_client_was_told() {
    on_each_driver(|io| {
        let (dir, origin) = (TempDir::new(), Origin::start("one"));
        let path = dir.0.join("log");
        let log = format!(
            "access_log: [{{name: f, typed_config: {{'@type': type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, \
             path: {}, log_format: {{text_format_source: {{inline_string: \"%REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_FLAGS% \
             %RESPONSE_CODE_DETAILS% %BYTES_SENT% %RESP(x-l)%\\n\"}}}}}}}}]",
            path.display()
        );
        let proxy = Proxy::start_with(
            io,
            &config(&origin).manager(MAPPERS).manager(&log),
            &["--concurrency", "1", "--file-flush-interval-msec", "20"],
        );
        ask(&proxy, "GET", "/none", "");
        ask(&proxy, "HEAD", "/d404", "");
        let read = || fs::read_to_string(&path).unwrap_or_default();
        wait_for("the lines", || (read().lines().count() >= 2).then_some(()));
        let expect = "/none 410 NR route_not_found 16 404 [] /none NR\n/d404 410 - direct_response 0 404 [] /d404 -\n";
        assert_eq!(read(), expect);
    });
}

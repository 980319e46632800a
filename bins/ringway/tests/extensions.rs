//! Small extensions of a connection manager, and where its texts come from.

use crate::common::config::Config;
use crate::common::on_each_driver;
use crate::common::origin::served_by;
use crate::common::process::{Proxy, TempDir, run};

const DETECTION: &str = "original_ip_detection_extensions: [{name: e, typed_config: {'@type': \
    type.googleapis.com/envoy.extensions.http.original_ip_detection.xff.v3.XffConfig, ";
const REQUEST_ID: &str = "request_id_extension: {typed_config: {'@type': \
    type.googleapis.com/envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig, ";

#[test]
fn the_client_is_who_the_last_trusted_hop_saw() {
    let value = "{header: {key: x-client, value: '%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%'}}";
    for (hops, client) in [(0, "192.0.2.3"), (1, "192.0.2.2"), (2, "192.0.2.1"), (3, "127.0.0.1")] {
        on_each_driver(|io| {
            let manager = format!("{DETECTION}xff_num_trusted_hops: {hops}, skip_xff_append: true}}}}]");
            let config = Config::new()
                .manager(&manager)
                .configuration(&format!("response_headers_to_add: [{value}]"))
                .route("prefix: /", "direct_response: {status: 200}");
            let proxy = Proxy::start(io, &config);
            let mut connection = proxy.client();
            connection.send("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1, 192.0.2.2,192.0.2.3\r\n\r\n");
            assert_eq!(connection.response(false).header("x-client"), Some(client), "{hops}");
        });
    }
}

/// Guards against a request's id that is changed, or missing, because of what is only for tracing.
#[test]
fn a_requests_id_is_a_uuid() {
    on_each_driver(|io| {
        let manager = format!(
            "{REQUEST_ID}pack_trace_reason: false, use_request_id_for_trace_sampling: false}}}}\n          \
             generate_request_id: true\n          always_set_request_id_in_response: true"
        );
        let config = Config::new().manager(&manager).route("prefix: /", "direct_response: {status: 200}");
        let proxy = Proxy::start(io, &config);
        let answer = proxy.get("/");
        let id = answer.header("x-request-id").expect("an id").to_owned();
        let groups: Vec<usize> = id.split('-').map(str::len).collect();
        assert!(groups == [8, 4, 4, 4, 12] && id.as_bytes()[14] == b'4', "{id}");
    });
}

#[test]
fn texts_come_from_the_environment_and_as_bytes() {
    let path = std::env::var("PATH").expect("there is one");
    on_each_driver(|io| {
        let echo = served_by(|mut connection| {
            while let Ok(Some(request)) = connection.read(false, false) {
                let raw = request.header("x-raw").unwrap_or("none").to_owned();
                connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{raw}", raw.len()));
            }
        });
        // "raw %PROTOCOL%"
        let raw = "request_headers_to_add: [{header: {key: x-raw, raw_value: cmF3ICVQUk9UT0NPTCU=}}]";
        let config = Config::new()
            .configuration(raw)
            .route("path: /env", "direct_response: {status: 200, body: {environment_variable: PATH}}")
            .to("/", "c")
            .cluster("c", echo);
        let proxy = Proxy::start(io, &config);
        assert_eq!(proxy.get("/env").text(), path);
        assert_eq!(proxy.get("/").text(), "raw HTTP/1.1");
    });
}

#[test]
fn what_is_wrong_is_said() {
    let folder = TempDir::new();
    let config = |manager: &str| Config::new().manager(manager).route("prefix: /", "direct_response: {status: 200}");
    let body =
        |body: &str| Config::new().route("prefix: /", &format!("direct_response: {{status: 200, body: {body}}}"));
    let header = |header: &str| config("").configuration(&format!("request_headers_to_add: [{{header: {header}}}]"));
    for (config, problem) in [
        (config(&format!("{DETECTION}skip_xff_append: false}}}}]")), "skip_xff_append: false is not supported yet"),
        (
            config(&format!("{DETECTION}}}}}]\n          use_remote_address: true")),
            "use_remote_address: Original IP detection",
        ),
        (
            config(&format!("{DETECTION}}}}}]\n          xff_num_trusted_hops: 1")),
            "xff_num_trusted_hops: Original IP detection",
        ),
        (
            config(&DETECTION.replace("xff.v3.XffConfig, ", "custom_header.v3.CustomHeaderConfig, header_name: a}}]")),
            "CustomHeaderConfig is not supported yet",
        ),
        (config("request_id_extension: {typed_config: {}}"), "request_id_extension.typed_config: "),
        (
            body("{environment_variable: RINGWAY_NO_SUCH}"),
            "body.environment_variable: Environment variable doesn't exist: RINGWAY_NO_SUCH",
        ),
        (header("{key: a, value: b, raw_value: Yg==}"), "raw_value: only one of value and raw_value"),
        (header("{key: a, raw_value: /w==}"), "raw_value: bytes that are not UTF-8"),
        (header("{key: a, raw_value: AQ==}"), "raw_value: a header cannot hold control characters"),
    ] {
        let file = folder.rename_over("f.yaml", &config.yaml());
        let output = run(&["check", "-c", file.to_str().expect("a path of ours")]);
        let text = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success() && text.contains(problem), "{problem}: {text}");
    }
}

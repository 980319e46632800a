//! Every protocol against `serve`: all is answered, every byte of it.

mod support;

use support::{Origin, command, load};

/// So many requests are asked for and have to be answered.
const COUNT: u64 = 150;

#[track_caller]
fn check(origin: &[&str], scheme: &str, options: &[&str], bytes_received: u64) {
    let origin = Origin::start(origin);
    let url = origin.as_scheme(scheme);
    for io in ["auto", "poll"] {
        let count = COUNT.to_string();
        let mut arguments = vec![url.as_str(), "-c", "4", "-n", &count, "--io", io];
        if ["h2c", "grpc", "grpcs"].contains(&scheme) {
            arguments.extend_from_slice(&["-s", "5"]);
        }
        arguments.extend_from_slice(options);
        let loaded = load(&arguments);
        let json = format!("{:#}", loaded.json);
        assert_eq!((loaded.status, loaded.number("answered"), loaded.number("failed")), (0, COUNT, 0), "{io} {json}");
        assert_eq!(loaded.number("bytes_received"), COUNT * bytes_received, "{io} {json}");
        assert_eq!(loaded.json["latency_us"]["count"], COUNT, "{io} {json}");
    }
}

#[test]
fn http1() {
    check(&["--size", "300"], "http", &["--expect-body-bytes", "300"], 300);
}

#[test]
fn http1_on_several_cores() {
    check(&["--threads", "2"], "http", &["--threads", "2"], 1024);
}

#[test]
fn http1_in_chunks_and_large() {
    check(&["--size", "200k", "--chunked"], "http", &["--expect-body-bytes", "200k"], 200 << 10);
    check(&["--size", "300k"], "http", &["--expect-body-bytes", "300k"], 300 << 10);
}

#[test]
fn http1_with_a_connection_for_each_request() {
    check(&[], "http", &["--new-connections"], 1024);
}

#[test]
fn connections_that_the_origin_closes_are_made_anew() {
    check(&["--requests-per-connection", "7"], "http", &[], 1024);
    check(&["--requests-per-connection", "7"], "h2c", &[], 1024);
}

#[test]
fn connections_that_the_load_closes_are_made_anew() {
    check(&[], "h2c", &["--requests-per-connection", "7"], 1024);
    check(&[], "http", &["--requests-per-connection", "7"], 1024);
}

#[test]
fn open_loop() {
    check(&[], "http", &["--rate", "2000", "--arrivals", "poisson"], 1024);
    check(&[], "h2c", &["--rate", "2000"], 1024);
}

#[test]
fn bodies_come_back() {
    check(&["--echo"], "http", &["--body-size", "20k", "--expect-body-bytes", "20k"], 20 << 10);
    check(&["--echo"], "h2c", &["--body-size", "100k", "--expect-body-bytes", "100k"], 100 << 10);
    check(&["--echo", "--chunked"], "http", &["--body-size", "100"], 100);
}

#[test]
fn http2() {
    check(&["--size", "300"], "h2c", &["--expect-body-bytes", "300"], 300);
    check(&["--size", "1m"], "h2c", &["--expect-body-bytes", "1m"], 1 << 20);
}

#[test]
fn tls() {
    check(&["--tls"], "https", &["--insecure", "--http1"], 1024);
    check(&["--tls"], "https", &["--insecure", "--http2"], 1024);
    check(&["--tls"], "https", &["--insecure"], 1024);
    check(&["--tls"], "https", &["--insecure", "--new-connections"], 1024);
    check(&["--tls", "--size", "80k"], "https", &["--insecure", "--http1"], 80 << 10);
}

#[test]
fn grpc() {
    check(&[], "grpc", &["--path", "/echo.Echo/Say", "--body-size", "100"], 105);
    check(&["--tls"], "grpcs", &["--insecure", "--body-size", "100", "--messages", "3"], 315);
    check(&[], "grpc", &[], 5);
    check(&[], "grpc", &["--body-size", "100k", "--messages", "3", "--expect-messages", "3"], 3 * ((100 << 10) + 5));
    let origin = Origin::start(&[]);
    let run = |expected| {
        load(&[&origin.as_scheme("grpc"), "-c", "1", "-n", "4", "--messages", "3", "--expect-messages", expected])
    };
    let (right, wrong) = (run("3"), run("2"));
    assert_eq!((right.number("answered"), right.number("messages_received")), (4, 12), "{:#}", right.json);
    assert_eq!((wrong.number("answered"), wrong.failures("body")), (0, 4), "{:#}", wrong.json);
    let [http, grpc] = [&origin.url, &origin.as_scheme("grpc")]
        .map(|url| command(&["run", url, "-q", "-n", "2", "-c", "1", "--expect-messages", "1"]));
    assert_eq!((http.status.code(), grpc.status.code()), (Some(2), Some(0)));
    assert!(String::from_utf8_lossy(&grpc.stdout).contains("\n2 messages received ("));
}

#[test]
fn tcp() {
    check(&["--tcp"], "tcp", &["--body-size", "100"], 100);
    check(&["--tcp"], "tcp", &["--body-size", "400k"], 400 << 10);
    check(&["--tcp"], "tcp", &["--tcp-reply", "none"], 0);
    check(&["--tcp=echo"], "tcp", &["--body-size", "1k"], 1 << 10);
    check(&["--tcp", "--tls"], "tls", &["--insecure", "--body-size", "20k"], 20 << 10);
}

/// Bulk in one direction alone. An echo that nobody reads stands still, and what asks a source may come in any pieces.
#[test]
fn tcp_one_way() {
    check(&["--tcp=sink"], "tcp", &["--tcp-reply", "none", "--body-size", "1m"], 0);
    check(&["--tcp=source", "--size", "300k"], "tcp", &["--body-size", "1", "--tcp-reply", "300k"], 300 << 10);
    check(&["--tcp=source", "--size", "100", "--tls"], "tls", &["-k", "--body-size", "3", "--tcp-reply", "300"], 300);
    let origin = Origin::start(&["--tcp=sink"]);
    let output = command(&[
        "run",
        &origin.url,
        "-q",
        "-c",
        "2",
        "-n",
        "20",
        "--tcp-reply",
        "none",
        "--body-size",
        "1m",
        "--timeout",
        "60s",
    ]);
    let said = String::from_utf8_lossy(&output.stdout);
    let sent = said.split_once(" MB/s), 21.0 MB sent (").and_then(|(_, rest)| rest.split_once(" MB/s)"));
    assert!(sent.is_some_and(|(rate, _)| rate.parse::<f64>().is_ok_and(|rate| rate > 0.0)), "{said}");
    assert_eq!(command(&["serve", "--tcp=source", "--size", "0"]).status.code(), Some(2));
}

/// A certificate is for its names, and trusted by who was given it.
#[test]
fn certificates_are_verified() {
    let file = std::env::temp_dir().join(format!("ringway-load-{}.pem", std::process::id()));
    let path = file.to_str().expect("a path of text");
    let origin = Origin::start(&["--tls", "--cert-out", path]);
    let run = |more: &[&str]| load(&[&[origin.url.as_str(), "-c", "1", "-n", "2", "--ca", path], more].concat());
    let (trusted, other) = (run(&[]), run(&["--sni", "example.com"]));
    std::fs::remove_file(&file).expect("the origin wrote it");
    assert_eq!((trusted.status, trusted.number("answered")), (0, 2), "{:#}", trusted.json);
    assert_eq!((other.status, other.failures("tls")), (1, 2), "{:#}", other.json);
}

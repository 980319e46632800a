//! What goes wrong is counted by its kind, and never passed over.

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;

use serde_json::Value;
use support::{Loaded, Origin, PROGRAM, Running, command, load};

#[track_caller]
fn check(loaded: &Loaded, kind: &str, status: i32) {
    assert!(loaded.failures(kind) > 0 && loaded.status == status, "{} {:#}", loaded.status, loaded.json);
}

/// An address where nobody listens: nothing else of these tests is of 127.0.0.77.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.77:0").expect("a loopback address");
    listener.local_addr().expect("it is bound").to_string()
}

#[test]
fn a_refused_connection() {
    let nobody = nobody();
    for scheme in ["http", "h2c", "tcp", "grpc"] {
        let url = format!("{scheme}://{nobody}");
        let loaded = load(&[&url, "-c", "2", "-n", "4"]);
        check(&loaded, "connect_refused", 1);
        assert_eq!((loaded.failures("connect_refused"), loaded.number("answered")), (4, 0));
        let loaded = load(&[&url, "-c", "2", "-n", "4", "--rate", "100"]);
        assert_eq!(loaded.failures("connect_refused"), 4, "{:#}", loaded.json);
    }
    let loaded = load(&[&format!("https://{nobody}"), "--insecure", "-c", "1", "-n", "1"]);
    check(&loaded, "connect_refused", 1);
}

#[test]
fn a_killed_origin() {
    for scheme in ["http", "h2c", "tcp"] {
        let mut origin = Origin::start(if scheme == "tcp" { &["--tcp"] } else { &[] });
        let url = origin.as_scheme(scheme);
        let mut running = Running::start(&[&url, "-c", "2"]);
        running.wait_for(|line| !line.contains(" 0/s"));
        origin.kill();
        running.wait_for(|line| line.contains("connect_refused"));
        let loaded = running.interrupt();
        check(&loaded, "connect_refused", 130);
        assert!(loaded.number("answered") > 0, "{:#}", loaded.json);
    }
}

#[test]
fn an_interrupt_says_what_was_measured_so_far() {
    let origin = Origin::start(&[]);
    for options in [&["-c", "2"][..], &["-c", "2", "--rate", "200"]] {
        let mut running = Running::start(&[&[origin.url.as_str()], options].concat());
        running.wait_for(|line| !line.contains(" 0/s"));
        let loaded = running.interrupt();
        assert_eq!((loaded.status, loaded.json["verdict"].as_str()), (130, Some("interrupted")));
        assert!(loaded.number("answered") > 0 && loaded.number("failed") == 0, "{:#}", loaded.json);
    }
}

#[test]
fn answers_that_end_too_early() {
    for (scheme, kind) in [("http", "cut_short"), ("h2c", "cut_short")] {
        let origin = Origin::start(&["--cut-rate", "0.5"]);
        let loaded = load(&[&origin.as_scheme(scheme), "-c", "1", "-n", "40"]);
        check(&loaded, kind, 1);
        // Some are resets: an origin that closes before it has read all sends one, as TCP has it.
        assert_eq!(loaded.number("answered") + loaded.number("failed"), 40, "{:#}", loaded.json);
    }
}

#[test]
fn resets() {
    for (scheme, kind) in [("http", "reset"), ("h2c", "stream_reset"), ("grpc", "stream_reset")] {
        let origin = Origin::start(&["--reset-rate", "0.5"]);
        let loaded = load(&[&origin.as_scheme(scheme), "-c", "2", "-n", "40"]);
        check(&loaded, kind, 1);
        assert_eq!(loaded.number("answered") + loaded.number("failed"), 40, "{:#}", loaded.json);
    }
}

#[test]
fn statuses() {
    let origin = Origin::start(&["--error-rate", "0.5", "--error-status", "502"]);
    for (scheme, kind) in [("http", "status"), ("h2c", "status"), ("grpc", "grpc_status")] {
        let loaded = load(&[&origin.as_scheme(scheme), "-c", "2", "-n", "40"]);
        check(&loaded, kind, 1);
        assert_eq!(loaded.number("answered") + loaded.failures(kind), 40, "{:#}", loaded.json);
    }
    let loaded = load(&[&origin.url, "-c", "2", "-n", "40", "--expect-status", "2xx,502"]);
    assert_eq!((loaded.status, loaded.number("answered")), (0, 40), "{:#}", loaded.json);
    assert_eq!(loaded.json["statuses"]["200"].as_u64().unwrap() + loaded.json["statuses"]["502"].as_u64().unwrap(), 40);
}

#[test]
fn bodies_that_are_not_as_expected() {
    let origin = Origin::start(&["--echo"]);
    let folder = std::env::temp_dir();
    let [sent, other] =
        ["sent", "other"].map(|name| folder.join(format!("ringway-load-{name}-{}", std::process::id())));
    std::fs::write(&sent, "what is sent").expect("a temporary file");
    std::fs::write(&other, "what is Sent").expect("a temporary file");
    let [sent_path, other_path] = [&sent, &other].map(|path| path.to_str().expect("a path of text"));
    for scheme in ["http", "h2c"] {
        let run = |expected| {
            load(&[
                &origin.as_scheme(scheme),
                "-n",
                "3",
                "-c",
                "1",
                "--body-file",
                sent_path,
                "--expect-body",
                expected,
            ])
        };
        assert_eq!(run(sent_path).status, 0);
        let loaded = run(other_path);
        check(&loaded, "body", 1);
        assert_eq!(loaded.failures("body"), 3);
    }
    [sent, other].iter().for_each(|file| std::fs::remove_file(file).expect("it was written"));
}

#[test]
fn what_is_never_answered() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback address");
    let address = listener.local_addr().expect("it is bound").to_string();
    for scheme in ["http", "h2c", "tcp"] {
        let loaded = load(&[&format!("{scheme}://{address}"), "-n", "2", "-c", "1", "--timeout", "50ms"]);
        check(&loaded, "timeout", 1);
        assert_eq!(loaded.number("failed"), 2, "{:#}", loaded.json);
    }
    let loaded = load(&[&format!("https://{address}"), "-k", "-n", "1", "-c", "1", "--connect-timeout", "50ms"]);
    check(&loaded, "connect_timeout", 1);
}

/// The type, flags and stream of the next frame of HTTP/2; `None`: the peer has gone.
fn next_frame(stream: &mut TcpStream) -> Option<(u8, u8, u32)> {
    let mut header = [0; 9];
    stream.read_exact(&mut header).ok()?;
    let [a, b, c, kind, flags, stream_id @ ..] = header;
    let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
    stream.read_exact(&mut payload).ok()?;
    Some((kind, flags, u32::from_be_bytes(stream_id)))
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u32).to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Answers one request of HTTP/2 with these fields (index in the static table, value) and, unless they are all, this content.
fn answer_once(listener: &TcpListener, fields: &[(u8, &str)], content: Option<&str>) {
    let [data, headers, settings] = [0, 1, 4];
    let (mut stream, _) = listener.accept().expect("it connects");
    stream.read_exact(&mut [0; 24]).expect("a preface");
    stream.write_all(&frame(settings, 0, 0, &[])).expect("it reads");
    let id = std::iter::from_fn(|| next_frame(&mut stream)).find(|(kind, ..)| *kind == headers).expect("a request").2;
    let mut block = Vec::new();
    for (index, value) in fields {
        let index = if *index < 15 { vec![*index] } else { vec![15, index - 15] }; // RFC 7541 §6.2.2, §5.1
        block.extend_from_slice(&[&index, &[value.len() as u8][..], value.as_bytes()].concat());
    }
    let (end_stream, end_headers) = (1, 4);
    let mut answer = frame(headers, end_headers | u8::from(content.is_none()), id, &block);
    if let Some(content) = content {
        answer.extend_from_slice(&frame(data, end_stream, id, content.as_bytes()));
    }
    stream.write_all(&answer).expect("it reads");
    while next_frame(&mut stream).is_some() {}
}

#[test]
fn heads_that_are_not_as_http2_wants_them_are_no_answers() {
    const STATUS: u8 = 8;
    const LENGTH: u8 = 28;
    for (fields, content, is_answer) in [
        (&[(STATUS, "200"), (LENGTH, "5")][..], Some("hello"), true),
        (&[(STATUS, "200"), (LENGTH, "0")], None, true),
        (&[(STATUS, "200")], Some("hello"), true),
        // 200 modulo 2^16, and what a parser of numbers takes for 200.
        (&[(STATUS, "65736")], Some("hello"), false),
        (&[(STATUS, "+200")], Some("hello"), false),
        (&[(STATUS, "200"), (LENGTH, "+5")], Some("hello"), false),
        (&[(STATUS, "200"), (LENGTH, "five")], Some("hello"), false),
        (&[(STATUS, "200"), (LENGTH, "5"), (LENGTH, "6")], Some("hello"), false),
        // Less than was told: also of more than 2^32 bytes, and where nothing comes at all.
        (&[(STATUS, "200"), (LENGTH, "6")], Some("hello"), false),
        (&[(STATUS, "200"), (LENGTH, "4294967301")], Some("hello"), false),
        (&[(STATUS, "200"), (LENGTH, "5")], None, false),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback address");
        let url = format!("h2c://{}", listener.local_addr().expect("it is bound"));
        let loaded = std::thread::scope(|scope| {
            scope.spawn(|| answer_once(&listener, fields, content));
            load(&[&url, "-n", "1", "-c", "1", "-s", "1"])
        });
        let found = (loaded.number("answered"), loaded.failures("protocol"));
        assert_eq!(found, if is_answer { (1, 0) } else { (0, 1) }, "{fields:?} {content:?} {:#}", loaded.json);
    }
}

/// Serves one connection of HTTP/2, and refuses every request whose number, from 0, `is_refused`. How many came before the client had
/// acknowledged our settings, and in all.
fn refuse(listener: &TcpListener, is_refused: impl Fn(u32) -> bool) -> (u32, u32) {
    let [headers, rst_stream, settings] = [1, 3, 4];
    let (ack, end_stream_and_headers) = (1, 5);
    let refused_stream = 7_u32.to_be_bytes();
    let (mut stream, _) = listener.accept().expect("it connects");
    stream.read_exact(&mut [0; 24]).expect("a preface");
    let (mut before, mut count) = (None, 0);
    while let Some((kind, flags, id)) = next_frame(&mut stream) {
        if kind == settings && flags & ack == 0 {
            continue;
        }
        if kind == settings {
            before = Some(count);
        }
        if kind == headers {
            if count == 0 {
                stream.write_all(&frame(settings, 0, 0, &[])).expect("it reads");
            }
            let answer = if is_refused(count) {
                frame(rst_stream, 0, id, &refused_stream)
            } else {
                frame(headers, end_stream_and_headers, id, &[0x88]) // :status 200
            };
            stream.write_all(&answer).expect("it reads");
            count += 1;
        }
    }
    (before.expect("settings are acknowledged"), count)
}

/// Guards against running over the limit of a server that has not told it yet, and against counting what is to be sent again as failed.
#[test]
fn requests_wait_for_the_servers_limit_and_refused_ones_are_sent_again() {
    for (is_refused, answered, reset, sent) in [
        (&(|_| false) as &(dyn Fn(u32) -> bool + Sync), 20, 0, 20),
        (&|number| number < 3, 20, 0, 23),
        // Each is tried four times.
        (&|_| true, 0, 20, 80),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback address");
        let url = format!("h2c://{}", listener.local_addr().expect("it is bound"));
        let (loaded, seen) = std::thread::scope(|scope| {
            let server = scope.spawn(|| refuse(&listener, is_refused));
            let loaded = load(&[&url, "-n", "20", "-c", "1", "-s", "4"]);
            (loaded, server.join().expect("it ends"))
        });
        let found = (loaded.number("answered"), loaded.failures("stream_reset"), loaded.number("failed"));
        assert_eq!(found, (answered, reset, reset), "{:#}", loaded.json);
        assert_eq!(seen, (1, sent));
    }
}

#[test]
fn what_speaks_something_else() {
    let origin = Origin::start(&["--tcp"]);
    check(&load(&[&origin.as_scheme("http"), "-n", "1", "-c", "1"]), "protocol", 1);
    let origin = Origin::start(&[]);
    check(&load(&[&origin.as_scheme("https"), "-k", "-n", "1", "-c", "1"]), "tls", 1);
}

/// Guards against laying our own shortage at the target's door: exit status 3, and the system's words.
#[test]
fn what_this_host_has_no_more_of_is_the_generators_fault() {
    let origin = Origin::start(&[]);
    let script = "ulimit -n 60; exec \"$0\" run \"$1\" -q -c 100 -n 200 --timeout 60s --json -";
    let output = Command::new("sh").args(["-c", script, PROGRAM, &origin.url]).output().expect("a shell");
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((output.status.code(), json["verdict"].as_str()), (Some(3), Some("generator")), "{json:#}");
    assert!(json["failures"]["shortage"].as_u64() > Some(0) && json["failures"]["connect"].is_null(), "{json:#}");
    for said in [&json["causes"]["shortage"], &json["generator"]["fault"]] {
        assert!(said.as_str().is_some_and(|said| said.contains("Too many open files")), "{json:#}");
    }
}

#[test]
fn the_cause_of_a_failure_is_told() {
    let folder = std::env::temp_dir();
    let certificate = folder.join(format!("ringway-load-cause-{}.pem", std::process::id()));
    let path = certificate.to_str().expect("a path of text");
    let tls = Origin::start(&["--tls", "--cert-out", path]);
    let [broken, reset, tcp] = [&["--error-rate", "1"][..], &["--reset-rate", "1"], &["--tcp"]].map(Origin::start);
    for (url, options, kind, said) in [
        (tls.url.clone(), &["--ca", path, "--sni", "elsewhere.example"][..], "tls", "verify cert failed: SAN"),
        (broken.url.clone(), &[], "status", "status 503, "),
        (reset.as_scheme("h2c"), &[], "stream_reset", "INTERNAL_ERROR"),
        (tcp.as_scheme("http"), &[], "protocol", "RFC 9112"),
        (format!("http://{}", nobody()), &[], "connect_refused", "Connection refused"),
    ] {
        let loaded = load(&[&[url.as_str(), "-c", "1", "-n", "2"], options].concat());
        check(&loaded, kind, 1);
        let cause = loaded.json["causes"][kind].as_str();
        assert!(cause.is_some_and(|cause| cause.contains(said)), "{said} {:#}", loaded.json);
    }
    std::fs::remove_file(certificate).expect("it was written");
}

#[test]
fn a_command_line_that_cannot_be_carried_out() {
    for arguments in [
        &["run"][..],
        &["run", "ftp://host"],
        &["run", "https://127.0.0.1:1"], // whom to trust?
        &["run", "127.0.0.1:1", "--fail-if", "beauty<1"],
        &["run", "127.0.0.1:1", "--path", "/a HTTP/1.1\r\nX-Evil: 1\r\nY: "],
        &["run", "h2c://127.0.0.1:1", "--path", "/a b"],
        &["run", "127.0.0.1:1", "-d", "1s", "--warm-up", "1s"],
        &["run", "127.0.0.1:1", "-c", "1", "-t", "2"],
        &["run", "127.0.0.1:1", "--ca", "/does/not/exist"],
        &["serve", "--stall", "2s/1s"],
        &["run", "127.0.0.1:1", "--rate", "1e-300"],
        &["run", "grpc://127.0.0.1:1/p.S/M", "--messages", "4000000000", "--body-size", "1k"],
        &["sweep", "127.0.0.1:1", "--rates", "2,1"],
        &["sweep", "127.0.0.1:1", "--rates", "inf"],
        &["sweep", "127.0.0.1:1", "--rates", "1e-300"],
        &["127.0.0.1:1", "--no-such-option"],
    ] {
        let output = command(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty() && output.stdout.is_empty(), "{arguments:?}");
    }
}

/// A core that cannot begin is told of, and nobody waits for it.
#[test]
fn a_core_that_cannot_begin_ends_the_run() {
    let origin = Origin::start(&[]);
    let output = command(&["run", &origin.url, "-q", "-n", "1", "--cpus", "0,1000"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), said.contains("CPU 1000")), (Some(2), true), "{said}");
}

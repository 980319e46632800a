//! Calls to a server in the same process, by a client that speaks by h2 as well and says what it is told, byte by byte.

use std::future::Future;

use h2::client::SendRequest;
use h2::{Reason, client};
use http::{HeaderMap, Response, StatusCode};
use tokio::io::{DuplexStream, duplex};
use tokio::task::spawn_local;

use super::*;

const METHODS: [Method; 2] =
    [Method { path: "/a.B/One", form: Form::Unary }, Method { path: "/a.B/Many", form: Form::Stream }];
/// Nobody is slow here.
const LIMITS: Limits = Limits { patience: PATIENCE, quiet_max: QUIET_MAX };
/// Whoever is waited for is too slow.
const HASTY: Limits = Limits { patience: Duration::from_millis(20), quiet_max: Duration::from_millis(20) };

/// What was asked, in upper case; of a number as many bytes; of `?` nothing.
fn answer(request: &[u8]) -> Result<Vec<u8>, Status> {
    let text = std::str::from_utf8(request).map_err(|_| Status::new(Code::InvalidArgument, "no text"))?;
    match (text, text.parse()) {
        ("?", _) => Err(Status::new(Code::Unavailable, "50 % is not here")),
        (_, Ok(size)) => Ok(vec![b'x'; size]),
        (text, Err(_)) => Ok(text.to_uppercase().into_bytes()),
    }
}

/// Runs a client before a server with these limits.
fn run<C: Future<Output = ()>>(limits: Limits, client: impl FnOnce(DuplexStream) -> C) {
    let runtime = runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        let (ours, theirs) = duplex(64 << 10);
        let service = Rc::new(Service { methods: &METHODS, answer, limits, turn: Mutex::new(()) });
        spawn_local(connection(Replayed::new(Vec::new(), theirs), service));
        client(ours).await;
    });
}

async fn connect(io: DuplexStream) -> SendRequest<Bytes> {
    let (sender, connection) = client::handshake(io).await.expect("HTTP/2");
    spawn_local(async move { _ = connection.await });
    sender.ready().await.expect("it is open")
}

fn post(path: &str) -> Request<()> {
    let request = Request::post(format!("http://admin{path}")).header("content-type", "application/grpc");
    request.header("te", "trailers").body(()).expect("a request")
}

fn framed(text: &str) -> Vec<u8> {
    [&[0][..], &(text.len() as u32).to_be_bytes(), text.as_bytes()].concat()
}

/// All that comes of a response, in one line: its HTTP status unless that is 200, its messages, its status.
async fn heard(response: Response<RecvStream>) -> String {
    let (head, mut body) = response.into_parts();
    let (mut bytes, mut out) = (Vec::new(), Vec::new());
    while let Some(data) = body.data().await {
        match data {
            Ok(data) => {
                let _ = body.flow_control().release_capacity(data.len());
                bytes.extend_from_slice(&data);
            }
            Err(error) => return format!("{:?}", error.reason()),
        }
    }
    if head.status != StatusCode::OK {
        return format!("{} {}", head.status.as_u16(), String::from_utf8_lossy(&bytes).trim_end());
    }
    assert_eq!(head.headers["content-type"], "application/grpc");
    let mut rest = &bytes[..];
    while let [0, a, b, c, d, after @ ..] = rest {
        let (message, after) = after.split_at(u32::from_be_bytes([*a, *b, *c, *d]) as usize);
        out.push(String::from_utf8_lossy(message).into_owned());
        rest = after;
    }
    assert_eq!(rest, b"", "whole messages");
    let trailers = body.trailers().await.expect("they are read");
    assert_eq!(trailers.is_none(), head.headers.contains_key("grpc-status"), "one place says it");
    out.push(status(&trailers.unwrap_or(head.headers)));
    out.join(" ")
}

fn status(fields: &HeaderMap) -> String {
    let text = fields.get("grpc-message").map_or(String::new(), |text| format!(": {}", text.to_str().expect("ASCII")));
    format!("{}{text}", fields["grpc-status"].to_str().expect("a number"))
}

/// One call, whose client says these bytes, and its end where `ends`.
#[track_caller]
fn check(limits: Limits, request: Request<()>, bytes: &[u8], ends: bool, expect: &str) {
    run(limits, |io| async {
        let mut sender = connect(io).await;
        let (response, mut body) = sender.send_request(request, false).expect("a call");
        // Refused may be what is not said to its end.
        let _ = body.send_data(Bytes::copy_from_slice(bytes), ends);
        assert_eq!(heard(response.await.expect("an answer")).await, expect);
    });
}

#[test]
fn a_call_of_one_message_is_answered_at_its_end() {
    check(LIMITS, post("/a.B/One"), &framed("hello"), true, "HELLO 0");
    check(LIMITS, post("/a.B/One"), &framed(""), true, " 0");
    check(LIMITS, post("/a.B/One"), &framed("?"), true, "14: 50 %25 is not here");
    check(LIMITS, post("/a.B/One"), &[0, 0, 0, 0, 1, 0xff], true, "3: no text");
    check(LIMITS, post("/a.B/One"), b"", true, "12: no message for a method of one");
    check(
        LIMITS,
        post("/a.B/One"),
        &[framed("a"), framed("b")].concat(),
        true,
        "12: more than one message for a method of one",
    );
}

#[test]
fn each_message_of_a_stream_is_answered() {
    check(LIMITS, post("/a.B/Many"), &[framed("a"), framed("b")].concat(), true, "A B 0");
    check(LIMITS, post("/a.B/Many"), b"", true, "0");
    check(LIMITS, post("/a.B/Many"), &[framed("a"), framed("?")].concat(), false, "A 14: 50 %25 is not here");
}

#[test]
fn what_is_no_call_of_ours_is_refused() {
    check(LIMITS, post("/a.B/Two"), &framed("a"), true, "12: unknown method /a.B/Two");
    let compressed = [&[1][..], &framed("a")[1..]].concat();
    check(LIMITS, post("/a.B/One"), &compressed, true, "12: compressed messages are not read");
    check(LIMITS, post("/a.B/One"), &[0, 0, 1, 0, 1], false, "8: a message of 65537 bytes is larger than 65536");
    check(LIMITS, post("/a.B/Many"), &framed("hello")[..7], true, "3: the request ends within a message");
    let mut json = post("/a.B/One");
    json.headers_mut().insert("content-type", "application/grpc+json".parse().expect("a value"));
    check(LIMITS, json, b"", true, "415 by HTTP/2 gRPC alone is served here");
    let mut get = post("/a.B/One");
    *get.method_mut() = http::Method::GET;
    check(LIMITS, get, b"", true, "405 a call is a POST");
}

#[test]
fn the_largest_message_is_taken() {
    let text = "a".repeat(64 << 10);
    run(LIMITS, |io| async {
        let mut sender = connect(io).await;
        let (response, mut body) = sender.send_request(post("/a.B/One"), false).expect("a call");
        body.reserve_capacity(1);
        body.send_data(framed(&text).into(), true).expect("it waits for its window");
        assert_eq!(heard(response.await.expect("an answer")).await, format!("{} 0", text.to_uppercase()));
    });
}

#[test]
fn who_says_nothing_in_time_has_no_call() {
    check(HASTY, post("/a.B/One"), &framed("a")[..3], false, "4: no message came in time");
    check(HASTY, post("/a.B/One"), &framed("a"), false, "4: no message came in time");
    check(HASTY, post("/a.B/Many"), &framed("a"), false, "A 4: no message came in time");
}

#[test]
fn an_answer_goes_as_its_client_makes_room() {
    check(LIMITS, post("/a.B/One"), &framed("1000000"), true, &format!("{} 0", "x".repeat(1_000_000)));
}

#[test]
fn an_answer_that_nobody_takes_is_given_up() {
    run(HASTY, |io| async {
        let mut sender = connect(io).await;
        let (response, mut body) = sender.send_request(post("/a.B/Many"), false).expect("a call");
        body.send_data(framed("1000000").into(), false).expect("it is said");
        let mut answer = response.await.expect("an answer").into_body();
        // What has come is not released, so that the window stays shut.
        let reason = loop {
            match answer.data().await.expect("no end") {
                Ok(_) => {}
                Err(error) => break error.reason(),
            }
        };
        assert_eq!(reason, Some(Reason::CANCEL));
    });
}

#[test]
fn calls_at_once_wait_for_their_turn_and_are_bounded() {
    run(LIMITS, |io| async {
        let (sender, mut connection) = client::handshake(io).await.expect("HTTP/2");
        let mut pings = connection.ping_pong().expect("the first time");
        let mut driver = Box::pin(connection);
        // Our settings have come with the answer.
        let First::Other(pong) = race(driver.as_mut(), pings.ping(h2::Ping::opaque())).await else { panic!("an end") };
        pong.expect("an answer");
        assert_eq!(sender.current_max_send_streams(), STREAMS_MAX as usize);
        spawn_local(async move { _ = driver.await });
        let mut sender = sender.ready().await.expect("it is open");
        let mut calls = Vec::new();
        for _ in 0..STREAMS_MAX {
            let (response, mut body) = sender.send_request(post("/a.B/Many"), false).expect("a call");
            body.send_data(framed("100000").into(), true).expect("it is said");
            calls.push(response);
        }
        for call in calls {
            assert_eq!(heard(call.await.expect("an answer")).await.len(), 100_002);
        }
    });
}

#[test]
fn a_connection_without_a_call_ends() {
    run(HASTY, |io| async {
        let (mut sender, connection) = client::handshake(io).await.expect("HTTP/2");
        // Its end is a graceful one: GOAWAY without an error.
        connection.await.expect("no error");
        let refused = std::future::poll_fn(|context| sender.poll_ready(context)).await;
        assert!(refused.is_err());
    });
    // Neither does one that says no preface hold us.
    run(HASTY, |mut io| async move {
        use tokio::io::AsyncReadExt;
        let mut all = Vec::new();
        io.read_to_end(&mut all).await.expect("an end");
    });
}

#[test]
fn what_was_read_before_comes_first() {
    let runtime = runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut ours, theirs) = duplex(64);
        ours.write_all(b"defg").await.expect("room");
        ours.shutdown().await.expect("an end");
        let (mut io, mut two, mut all) = (Replayed::new(b"abc".to_vec(), theirs), [0; 2], String::new());
        io.read_exact(&mut two).await.expect("two");
        io.read_to_string(&mut all).await.expect("an end");
        assert_eq!((&two, all.as_str()), (b"ab", "cdefg"));
    });
}

//! Exchanges with a server in the same process that says what it is told, byte by byte; and what is asked.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::runtime::Builder;

use super::*;
use crate::cache::{Kind, Names};

/// The answer, and the request as it came, when the server says this and closes.
fn ask(says: &'static [u8]) -> (Answer, String) {
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let (ours, mut theirs) = duplex(1 << 10);
        let server = async move {
            let mut heard = Vec::new();
            while !heard.ends_with(b"{}") {
                assert_ne!(theirs.read_buf(&mut heard).await.expect("a request"), 0);
            }
            // Who has heard enough closes.
            let _ = theirs.write_all(says).await;
            String::from_utf8(heard).expect("text")
        };
        let client = post(ours, Post { authority: "xds", path: "/v3/discovery:clusters", body: "{}".to_owned() });
        tokio::join!(client, server)
    })
}

#[track_caller]
fn check(says: &'static [u8], expect: Answer) {
    assert_eq!(ask(says).0, expect);
}

#[test]
fn a_request_is_one_post_of_json() {
    let (_, heard) = ask(b"HTTP/1.1 304 x\r\n\r\n");
    let (head, body) = heard.split_once("\r\n\r\n").expect("a head");
    let mut lines = head.lines();
    assert_eq!(lines.next(), Some("POST /v3/discovery:clusters HTTP/1.1"));
    for line in ["host: xds", "content-type: application/json", "content-length: 2", "connection: close"] {
        assert!(head.lines().any(|have| have == line), "{line} in {head}");
    }
    assert_eq!(body, "{}");
}

#[test]
fn answers_are_what_their_status_says() {
    check(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi", Answer::Response("hi".into()));
    check(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nh\r\n1\r\ni\r\n0\r\n\r\n",
        Answer::Response("hi".into()),
    );
    check(b"HTTP/1.0 200 OK\r\n\r\nhi", Answer::Response("hi".into()));
    check(b"HTTP/1.1 304 Not Modified\r\n\r\n", Answer::Unchanged);
    check(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", Answer::Nothing);
    check(
        b"HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n",
        Answer::Failed("the server answered with HTTP status 503".into()),
    );
    check(
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n\xff",
        Answer::Failed("the server's answer is not UTF-8".into()),
    );
}

#[test]
fn what_is_cut_or_no_http_is_a_failure() {
    for says in [&b""[..], b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhi", b"\x16\x03\x01", b"HTTP/1.1 200"] {
        assert!(matches!(ask(says).0, Answer::Failed(_)), "{says:?}");
    }
    check(
        b"HTTP/1.1 200 OK\r\ncontent-length: 67108865\r\n\r\n",
        Answer::Failed("the server's answer has more than 67108864 bytes".into()),
    );
}

#[test]
fn a_request_says_what_is_held_and_wanted() {
    let mut poll = Poll::new(Kind::Routes, Duration::from_secs(1));
    let names = Names::These(BTreeSet::from(["a".to_owned(), "\"".to_owned()]));
    assert_eq!(poll.path(), "/v3/discovery:routes");
    let url = r#""type_url": "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"}"#;
    assert_eq!(
        poll.body("{\"id\": \"n\"}\n", &names),
        format!(r#"{{"node": {{"id": "n"}}, "resource_names": ["\"", "a"], {url}"#)
    );
    poll.take("7".to_owned());
    assert_eq!(poll.body("{}", &Names::All), format!(r#"{{"version_info": "7", "node": {{}}, {url}"#));
    poll.forget();
    assert_eq!(poll.body("{}", &Names::All), format!(r#"{{"node": {{}}, {url}"#));
}

#[test]
fn waits_lie_between_one_interval_and_two() {
    let ms = Duration::from_millis;
    let poll = Poll::new(Kind::Cluster, ms(10));
    assert_eq!(poll.wait(0), ms(10));
    assert_eq!(poll.wait(9_999_999), ms(10) + Duration::from_nanos(9_999_999));
    assert_eq!(poll.wait(10_000_000), ms(10));
    assert_eq!(Poll::new(Kind::Cluster, Duration::MAX).wait(u64::MAX), Duration::MAX);
}

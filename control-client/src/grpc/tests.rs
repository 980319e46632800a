//! Calls to a server in the same process, which speaks by h2 as well but says what it is told, frame by frame.

use std::future::Future;
use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};
use h2::server::{self, SendResponse};
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response};
use tokio::io::{DuplexStream, duplex};
use tokio::runtime::Builder;
use tokio::task::{LocalSet, spawn_local};

use super::*;
use crate::discovery::{Interest, Received, ResourceType, Stream, Variant};
use crate::wire::Writer;

const METHOD: Method<'_> =
    Method { path: "/a.B/C", authority: "xds", metadata: &[], message_bytes_max: None, keepalive: None };

/// The server's side of one call.
type Server = (Request<RecvStream>, SendResponse<Bytes>);

/// Runs a client against a server that has taken one call.
fn run<S, C>(serve: impl FnOnce(Server) -> S + 'static, client: impl FnOnce(DuplexStream) -> C)
where
    S: Future<Output = ()> + 'static,
    C: Future<Output = ()>,
{
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, async {
        let (ours, theirs) = duplex(64 << 10);
        spawn_local(async move {
            let mut connection = server::handshake(theirs).await.expect("HTTP/2");
            let call = connection.accept().await.expect("a call").expect("a call");
            spawn_local(serve(call));
            while connection.accept().await.is_some() {}
        });
        client(ours).await;
    });
}

/// A call's end, when the server does this.
#[track_caller]
fn check<S: Future<Output = ()> + 'static>(serve: impl FnOnce(Server) -> S + 'static, expect: &str) {
    run(serve, |io| async move {
        let mut call = Call::begin(io, METHOD).await.expect("a call");
        let ended = loop {
            match call.next().await {
                Ok(event) => assert!(matches!(event, Event::Message(_)), "{event:?}"),
                Err(ended) => break ended,
            }
        };
        assert_eq!(ended.to_string(), expect);
    });
}

fn framed(message: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(0);
    out.put_u32(message.len() as u32);
    out.put_slice(message);
    out.freeze()
}

fn fields(rows: &[(&'static str, &'static str)]) -> HeaderMap {
    rows.iter().map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value"))).collect()
}

/// The next message of the client.
async fn hear(body: &mut RecvStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        if let Some(head) = bytes.get(..5) {
            let size = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
            if bytes.len() == 5 + size {
                return Some(bytes.split_off(5));
            }
        }
        let data = body.data().await?.ok()?;
        body.flow_control().release_capacity(data.len()).expect("it was received");
        bytes.extend_from_slice(&data);
    }
}

#[test]
fn a_call_says_what_grpc_wants_and_what_the_configuration_adds() {
    let serve = |(mut request, mut respond): Server| async move {
        let head = request.headers();
        assert_eq!(request.method(), "POST");
        assert_eq!(request.uri(), "http://xds/a.B/C");
        assert_eq!(head["te"], "trailers");
        assert_eq!(head["content-type"], "application/grpc");
        assert_eq!(head["x-token"], "secret");
        assert_eq!(hear(request.body_mut()).await.as_deref(), Some(&b"hello"[..]));
        let mut send = respond.send_response(Response::new(()), false).expect("an answer");
        send.send_data(framed(b"one"), false).expect("it is open");
        // Two in one frame, and one that is in two.
        send.send_data([framed(b""), framed(b"two"), framed(b"three").slice(..4)].concat().into(), false)
            .expect("open");
        send.send_data(framed(b"three").slice(4..), false).expect("it is open");
        send.send_trailers(fields(&[("grpc-status", "0")])).expect("it is open");
    };
    run(serve, |io| async move {
        let metadata = [("x-token".to_owned(), "secret".to_owned())];
        let mut call = Call::begin(io, Method { metadata: &metadata, ..METHOD }).await.expect("a call");
        assert!(call.has_room());
        call.send(b"hello");
        assert!(!call.has_room());
        assert_eq!(call.next().await, Ok(Event::Room));
        for expect in [&b"one"[..], b"", b"two", b"three"] {
            assert_eq!(call.next().await, Ok(Event::Message(Bytes::from_static(expect))));
        }
        assert_eq!(call.next().await, Err(Ended::Status(0, String::new())));
    });
}

#[test]
fn metadata_that_http_does_not_allow_begins_no_call() {
    for (name, value) in [("a b", "x"), ("x", "a\nb"), (":path", "/")] {
        run(
            |_| async {},
            |io| async move {
                let metadata = [(name.to_owned(), value.to_owned())];
                let ended = Call::begin(io, Method { metadata: &metadata, ..METHOD }).await.expect_err("no call");
                assert_eq!(ended, Ended::Metadata(name.to_owned()));
            },
        );
    }
}

#[test]
fn a_status_ends_a_call_behind_its_messages_or_at_once() {
    let behind = |(_request, mut respond): Server| async move {
        let mut send = respond.send_response(Response::new(()), false).expect("an answer");
        send.send_data(framed(b"one"), false).expect("it is open");
        let why = [("grpc-status", "14"), ("grpc-message", "gone for 5%25 %C3%BCber 100%")];
        send.send_trailers(fields(&why)).expect("it is open");
    };
    check(behind, "the server ended the stream with status 14: gone for 5% über 100%");
    let at_once = |(_request, mut respond): Server| async move {
        let mut response = Response::new(());
        *response.headers_mut() = fields(&[("grpc-status", "12")]);
        respond.send_response(response, true).expect("an answer");
    };
    check(at_once, "the server ended the stream with status 12");
}

#[test]
fn who_speaks_no_grpc_is_named_by_its_status() {
    let busy = |(_request, mut respond): Server| async move {
        respond.send_response(Response::builder().status(503).body(()).expect("a head"), true).expect("an answer");
    };
    check(busy, "the server is no gRPC server: it answered with HTTP status 503");
}

#[test]
fn an_end_without_a_status_is_no_good_end() {
    let silent = |(_request, mut respond): Server| async move {
        respond.send_response(Response::new(()), true).expect("an answer");
    };
    check(silent, "the server ended the stream without a status");
    let within = |(_request, mut respond): Server| async move {
        let mut send = respond.send_response(Response::new(()), false).expect("an answer");
        send.send_data(framed(b"three").slice(..6), false).expect("it is open");
        send.send_trailers(fields(&[("grpc-status", "0")])).expect("it is open");
    };
    check(within, "the server ended the stream without a status");
    let reset = |(_request, mut respond): Server| async move {
        let mut send = respond.send_response(Response::new(()), false).expect("an answer");
        send.send_reset(Reason::INTERNAL_ERROR);
    };
    check(reset, "the connection to the server: stream error received: unexpected internal error encountered");
}

#[test]
fn a_message_has_a_limit_and_is_refused_before_it_comes() {
    let large = |(_request, mut respond): Server| async move {
        let mut send = respond.send_response(Response::new(()), false).expect("an answer");
        let head = Bytes::from_static(b"\0\x04\0\0\x01");
        send.send_data(head, false).expect("it is open");
        std::future::pending::<()>().await;
    };
    check(large, "the server's message has 67108865 bytes, more than 67108864");
    let packed = |(_request, mut respond): Server| async move {
        let mut send = respond.send_response(Response::new(()), false).expect("an answer");
        send.send_data(Bytes::from_static(b"\x01\0\0\0\x01x"), false).expect("it is open");
        std::future::pending::<()>().await;
    };
    check(packed, "the server's message is compressed, which was not agreed");
}

#[test]
fn messages_larger_than_any_window_arrive_both_ways() {
    const SIZE: usize = 9 << 20;
    let serve = |(mut request, mut respond): Server| async move {
        let heard = hear(request.body_mut()).await.expect("a message");
        assert!(heard.len() == SIZE && heard.iter().all(|byte| *byte == 7));
        let mut send = respond.send_response(Response::new(()), false).expect("an answer");
        send.send_data(framed(&heard), false).expect("it is open");
        std::future::pending::<()>().await;
    };
    run(serve, |io| async move {
        let mut call = Call::begin(io, METHOD).await.expect("a call");
        call.send(&vec![7; SIZE]);
        assert_eq!(call.next().await, Ok(Event::Room));
        match call.next().await {
            Ok(Event::Message(message)) => assert!(message.len() == SIZE && message.iter().all(|byte| *byte == 7)),
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn a_discovery_stream_runs_on_a_call() {
    const CDS: ResourceType = ResourceType { name: "envoy.config.cluster.v3.Cluster", is_whole: true };
    let serve = |(mut request, mut respond): Server| async move {
        let first = hear(request.body_mut()).await.expect("a request");
        assert!(first.windows(7).any(|piece| piece == b"Cluster"));
        let mut send = respond.send_response(Response::new(()), false).expect("an answer");
        let mut out = Writer::default();
        out.text(1, "v1");
        out.message(2, |out| {
            out.text(1, &CDS.url());
            out.message(2, |out| out.text(1, "c"));
        });
        out.text(4, &CDS.url());
        out.text(5, "n1");
        send.send_data(framed(&out.bytes), false).expect("it is open");
        let answer = hear(request.body_mut()).await.expect("an answer");
        assert!(answer.windows(2).any(|piece| piece == b"v1") && answer.windows(2).any(|piece| piece == b"n1"));
        send.send_trailers(fields(&[("grpc-status", "0")])).expect("it is open");
    };
    run(serve, |io| async move {
        let mut stream = Stream::new(Variant::StateOfTheWorld, Vec::new(), &[CDS]);
        stream.want(CDS, Interest::all());
        stream.open();
        let mut call = Call::begin(io, METHOD).await.expect("a call");
        let mut names = Vec::new();
        let ended = loop {
            if call.has_room()
                && let Some(request) = stream.request()
            {
                call.send(&request);
            }
            match call.next().await {
                Ok(Event::Room) => {}
                Ok(Event::Message(message)) => match stream.receive(&message, Instant::now()) {
                    Ok(Received::Update(update)) => {
                        names.extend(update.changed.iter().map(|(resource, _)| resource.name.to_owned()));
                        stream.answer(Vec::new());
                    }
                    other => panic!("{other:?}"),
                },
                Err(ended) => break ended,
            }
        };
        assert_eq!((names, ended), (vec!["c".to_owned()], Ended::Status(0, String::new())));
    });
}

//! Both ends of a connection on one core, on both drivers.

use std::sync::Arc;
use std::time::Duration;

use ringway_runtime::{IoChoice, Options, Wake, run};
use ringway_tls::{ClientContext, ClientOptions, Identity, Secret, ServerContext, ServerOptions, Target};

use super::*;

fn contexts() -> (Arc<ServerContext>, Arc<ClientContext>) {
    let made = rcgen::generate_simple_self_signed(vec!["a.test".to_owned()]).expect("a certificate");
    let certificates = vec![Identity {
        certificate_chain: made.cert.pem().into_bytes(),
        private_key: Secret::new(made.signing_key.serialize_pem()),
    }];
    let server = ServerOptions { certificates, alpn: vec![b"h2".to_vec()], ..ServerOptions::default() };
    let client = ClientOptions { alpn: vec![b"h2".to_vec()], ..ClientOptions::default() };
    (ServerContext::new(&server).expect("right"), ClientContext::new(&client).expect("right"))
}

/// Sends `size` bytes each way at once, in pieces of `piece`, and ends both ways: what both saw.
fn exchange(io: IoChoice, size: usize, piece: usize) -> (Vec<u8>, Vec<u8>) {
    let (server, client) = contexts();
    let options = Options { io, ..Options::default() };
    let wake = Wake::new().expect("an eventfd");
    run(&options, wake, move |core, _| async move {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound");
        let deadline = core.now() + Duration::from_secs(20);
        let near = core.connect(address, deadline).await.expect("it listens");
        let far = core.attach(listener.accept().expect("connected").0.into());
        let tls = Rc::new(Tls::default());
        let end = |stream: Stream, session: Session, letter: u8| {
            let (core, tls) = (core.clone(), Rc::clone(&tls));
            async move {
                let timer = core.timer();
                let info = secure((&core, &tls), &stream, session, &timer, deadline).await.expect("a handshake");
                assert_eq!((info.alpn.as_deref(), info.server_name.as_deref()), (Some(&b"h2"[..]), Some("a.test")));
                let mut sent = 0;
                let mut seen = Vec::new();
                poll_fn(|context| {
                    while sent < size && stream.poll_unsent_below(context, 64 << 10).is_ready() {
                        let next = piece.min(size - sent);
                        let bytes: Vec<u8> = (sent..sent + next).map(|at| (at % 251) as u8 ^ letter).collect();
                        stream.send(core.chunk(&bytes));
                        sent += next;
                        if sent == size {
                            stream.shutdown_write();
                        }
                    }
                    loop {
                        match stream.poll_recv(context) {
                            Poll::Pending => return Poll::Pending,
                            Poll::Ready(Ok(Some(chunk))) => seen.extend_from_slice(&chunk),
                            Poll::Ready(Ok(None)) if sent == size => return Poll::Ready(()),
                            Poll::Ready(Ok(None)) => return Poll::Pending,
                            Poll::Ready(Err(error)) => panic!("{error}"),
                        }
                    }
                })
                .await;
                stream.flushed().await.expect("it reads");
                seen
            }
        };
        let target = Target { server_name: Some("a.test"), endpoint: b"origin", subject_alt_names: &[], alpn: &[] };
        let mut near = Box::pin(end(near, Session::client(&client, target).expect("a name"), 1));
        let mut far = Box::pin(end(far, Session::server(&server), 2));
        let (mut nears, mut fars) = (None, None);
        poll_fn(|context| {
            if nears.is_none()
                && let Poll::Ready(bytes) = near.as_mut().poll(context)
            {
                nears = Some(bytes);
            }
            if fars.is_none()
                && let Poll::Ready(bytes) = far.as_mut().poll(context)
            {
                fars = Some(bytes);
            }
            if nears.is_some() && fars.is_some() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        (nears.expect("done"), fars.expect("done"))
    })
    .expect("the driver runs")
}

#[test]
fn bytes_are_the_same_on_both_sides_whatever_their_sizes() {
    for io in [IoChoice::Poll, IoChoice::Auto] {
        for (size, piece) in [(1, 1), (100_000, 1), (1 << 20, 4096), (1 << 20, 70_000), (SEALED_MAX + 1, SEALED_MAX)] {
            let (near, far) = exchange(io, size, piece);
            let expect = |letter: u8| (0..size).map(|at| (at % 251) as u8 ^ letter).collect::<Vec<_>>();
            assert!(near == expect(2), "{io:?} {size} {piece}: {} bytes", near.len());
            assert!(far == expect(1), "{io:?} {size} {piece}: {} bytes", far.len());
        }
    }
}

/// A connection's two ends on one core.
async fn ends(core: &Core) -> (Stream, Stream) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let near = core.connect(address, core.now() + Duration::from_secs(20)).await.expect("it listens");
    (near, core.attach(listener.accept().expect("connected").0.into()))
}

/// What a client begins with.
fn hello(client: &Arc<ClientContext>) -> Vec<u8> {
    let target = Target { server_name: Some("a.test"), endpoint: b"origin", subject_alt_names: &[], alpn: &[] };
    let mut out = Vec::new();
    let mut session = Session::client(client, target).expect("a name");
    session.handshake(&mut [], &mut out).expect("it speaks first");
    out
}

/// Runs on both drivers.
fn on_each_driver<F: Future<Output = ()> + 'static>(work: impl Fn(Core) -> F + Send + Copy + 'static) {
    for io in [IoChoice::Poll, IoChoice::Auto] {
        let options = Options { io, ..Options::default() };
        run(&options, Wake::new().expect("an eventfd"), move |core, _| work(core)).expect("the driver runs");
    }
}

/// Guards against a handshake that waits in line for ever, and against one whose end holds up all behind it.
#[test]
fn who_waits_in_line_waits_until_its_deadline_and_leaves_its_place() {
    on_each_driver(|core| async move {
        let ((server, client), tls) = (contexts(), Tls::default());
        let in_front = tls.turns.enter(true).expect("room");
        for _ in 0..3 {
            let (near, far) = ends(&core).await;
            near.send(core.chunk(&hello(&client)));
            let (timer, soon) = (core.timer(), core.now() + Duration::from_millis(30));
            let ended = secure((&core, &tls), &far, Session::server(&server), &timer, soon).await;
            assert!(matches!(ended, Err(Unsecured::Timeout)), "{ended:?}");
        }
        // Given up by its user, as a route's timeout does.
        let (near, far) = ends(&core).await;
        near.send(core.chunk(&hello(&client)));
        let (timer, user) = (core.timer(), core.timer());
        user.set(core.now() + Duration::from_millis(30));
        {
            let late = core.now() + Duration::from_secs(20);
            let mut waiting = pin!(secure((&core, &tls), &far, Session::server(&server), &timer, late));
            poll_fn(|context| {
                assert!(waiting.as_mut().poll(context).is_pending());
                user.poll_expired(context)
            })
            .await;
        }
        drop(in_front);
        let (near, far) = ends(&core).await;
        near.send(core.chunk(&hello(&client)));
        let (timer, late) = (core.timer(), core.now() + Duration::from_secs(20));
        let mut served = pin!(secure((&core, &tls), &far, Session::server(&server), &timer, late));
        poll_fn(|context| {
            assert!(served.as_mut().poll(context).is_pending());
            near.poll_recv(context).map(|came| assert!(came.expect("a reply").is_some()))
        })
        .await;
    });
}

/// Guards against a worker that computes for clients that have gone while those that wait grow old, and against a line without end.
#[test]
fn nothing_is_computed_for_who_has_gone_or_comes_too_late() {
    on_each_driver(|core| async move {
        let ((server, client), tls) = (contexts(), Tls::default());
        let hello = hello(&client);
        let (half, _) = hello.split_at(hello.len() / 2);
        let mut line = vec![tls.turns.enter(true).expect("room")];
        let (long, soon) = (Duration::from_secs(20), Duration::from_millis(100));
        let asked = async |sent: &[u8], is_gone: bool, patience: Duration| {
            let (near, far) = ends(&core).await;
            near.send(core.chunk(sent));
            if is_gone {
                near.shutdown_write();
            }
            let (timer, until) = (core.timer(), core.now() + patience);
            secure((&core, &tls), &far, Session::server(&server), &timer, until).await.expect_err("nobody answers it")
        };
        assert!(matches!(asked(&hello, true, long).await, Unsecured::Ended), "it has gone");
        assert!(matches!(asked(&hello, false, soon).await, Unsecured::Timeout), "it waits");
        line.extend((1..turns::FRESH_MAX).map(|_| tls.turns.enter(true).expect("room")));
        assert!(matches!(asked(&hello, false, long).await, Unsecured::Overflow), "too many wait");
        assert!(matches!(asked(half, false, soon).await, Unsecured::Timeout), "it never was in line");
    });
}

//! How connections end: FIN, RST, failures to connect, handles and futures dropped at any point.

mod support;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Duration;

use ringway_runtime::{ConnectError, Core, Detached, Instant, Stream, Wake};
use support::*;

#[test]
fn fin_comes_after_all_output() {
    each_driver(|core: Core| async move {
        let (near, far) = pair(&core).await;
        let bytes = pattern(200_000);
        near.send(core.chunk(&bytes[..100_000]));
        near.send(core.chunk(&bytes[100_000..]));
        near.shutdown_write();
        assert!(recv_all(&far).await.expect("a clean end") == bytes);
        // The other direction goes on.
        far.send(core.chunk(b"still here"));
        assert_eq!(recv_exact(&near, 10).await, b"still here");
        drop(far);
        assert!(recv_all(&near).await.expect("a clean end").is_empty());
    });
}

#[test]
fn close_flushes_once() {
    each_driver(|core: Core| async move {
        let (near, far) = pair(&core).await;
        near.send(core.chunk(b"last "));
        near.send(core.chunk(b"words"));
        drop(near);
        let got = recv_all(&far).await.expect("a clean end");
        // One attempt it is: a kernel short of memory takes less, which counts as a stall.
        let stalled = core.stats().send_stalls.get() > 0;
        assert!(got == b"last words" || stalled && b"last words".starts_with(&got[..]), "{got:?}");
    });
}

/// What the kernel does not take at once is dropped, and the descriptor is closed all the same.
#[test]
fn close_with_more_output_than_fits() {
    each_driver(|core: Core| async move {
        let (near, far) = pair(&core).await;
        let bytes = pattern(32 << 20);
        near.send(core.chunk(&bytes));
        drop(near);
        until(&core, || core.stats().streams.get() == 1).await;
        let got = recv_all(&far).await.expect("a clean end");
        assert!(got.len() < bytes.len() && got == bytes[..got.len()], "a prefix arrives");
    });
}

#[test]
fn close_of_a_stalled_stream() {
    each_driver(|core: Core| async move {
        let (near, far) = pair(&core).await;
        near.send(core.chunk(&pattern(32 << 20)));
        until(&core, || core.stats().send_stalls.get() > 0).await;
        drop(near);
        until(&core, || core.stats().streams.get() == 1).await;
        drop(far);
    });
}

#[test]
fn abort_is_seen_as_reset() {
    each_driver(|core: Core| async move {
        let (near, far) = pair(&core).await;
        far.send(core.chunk(b"x"));
        assert_eq!(recv_exact(&near, 1).await, b"x");
        near.send(core.chunk(b"never sent"));
        near.abort();
        let error = far.recv().await.expect_err("a reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert_eq!(far.recv().await.expect_err("it stays").kind(), ErrorKind::ConnectionReset);
        assert!(!far.is_quiet());
    });
}

/// An RST is told apart from FIN after what came before it, whichever of our operations the kernel tells of it first.
#[test]
fn a_reset_is_no_end() {
    for (bulk, sends) in [(false, false), (false, true), (true, false), (true, true)] {
        each_driver(move |core: Core| async move {
            for turns_between in 0..6 {
                let (near, far) = pair(&core).await;
                near.set_bulk(bulk);
                if sends {
                    near.send(core.chunk(&[7; 8 << 20])); // Stalls: what the reset makes writable again is a send.
                }
                far.send(core.chunk(b"before"));
                assert_eq!(recv_exact(&near, 3).await, b"bef");
                turns(&core, turns_between).await;
                far.abort();
                turns(&core, turns_between).await;
                if sends {
                    near.send(core.chunk(b"more"));
                }
                let error = recv_all(&near).await.expect_err("a reset");
                assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
            }
        });
    }
}

/// An end that came before the reset stays one.
#[test]
fn a_reset_after_the_end_leaves_the_end() {
    each_driver(|core: Core| async move {
        let (near, far) = pair(&core).await;
        far.send(core.chunk(b"x"));
        far.shutdown_write();
        assert_eq!(recv_all(&near).await.expect("a clean end"), b"x");
        near.send(core.chunk(b"?"));
        assert_eq!(recv_exact(&far, 1).await, b"?");
        far.abort();
        near.send(core.chunk(b"anybody there?"));
        turns(&core, 20).await;
        assert!(near.recv().await.expect("the end stays").is_none());
    });
}

#[test]
fn sending_to_a_closed_peer_fails() {
    each_driver(|core: Core| async move {
        let (near, far) = pair(&core).await;
        drop(far);
        assert!(recv_all(&near).await.expect("a clean end").is_empty());
        let mut tries = 0;
        let error = loop {
            near.send(core.chunk(b"anybody there?"));
            if let Err(error) = near.flushed().await {
                break error;
            }
            tries += 1;
            assert!(tries < 1_000_000, "the reset comes");
        };
        assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
        near.send(core.chunk(b"without effect"));
        assert_eq!(near.unsent(), 0);
    });
}

#[test]
fn a_refused_connect_says_so() {
    each_driver(|core: Core| async move {
        // Bound and not listening: nobody else has the port, and it refuses.
        let fd = ringway_runtime::bind(anywhere(), false).expect("bind");
        let listener = core.listen(fd);
        let address = listener.local_addr().expect("an address");
        match core.connect(address, core.now() + LONG).await {
            Err(ConnectError::Io(error)) => assert_eq!(error.kind(), ErrorKind::ConnectionRefused),
            other => panic!("{:?}", other.map(|_| "connected")),
        }
    });
}

/// Fills the backlog of a listener that never accepts; further handshakes get no answer.
async fn full_backlog(core: &Core, address: SocketAddr) -> Vec<Stream> {
    let mut streams = Vec::new();
    loop {
        match core.connect(address, core.now() + Duration::from_millis(300)).await {
            Ok(stream) => streams.push(stream),
            Err(ConnectError::Timeout) => return streams,
            Err(error) => panic!("{error}"),
        }
        assert!(streams.len() < 100, "a backlog of nothing fills up");
    }
}

#[test]
fn a_connect_without_answer_times_out() {
    each_driver(|core: Core| async move {
        let fd = ringway_runtime::bind(anywhere(), false).expect("bind");
        ringway_runtime::start_listening(fd.as_fd(), 0).expect("listen");
        let listener = core.listen(fd);
        let address = listener.local_addr().expect("an address");
        let streams = full_backlog(&core, address).await;
        let began = core.now();
        let deadline = began + Duration::from_millis(50);
        assert!(matches!(core.connect(address, deadline).await, Err(ConnectError::Timeout)));
        assert!(core.now() >= deadline, "never early");
        // Given up before its time: the socket goes away with the future.
        let before = core.stats().streams.get();
        let gone = within(&core, Duration::from_millis(20), core.connect(address, core.now() + LONG)).await;
        assert!(gone.is_none());
        until(&core, || core.stats().streams.get() == before).await;
        drop(streams);
    });
}

/// A future that waits for bytes is dropped; the bytes are there for the next one.
#[test]
fn a_dropped_receive_loses_nothing() {
    each_driver(|core: Core| async move {
        let (near, far) = pair(&core).await;
        for bulk in [false, true, false] {
            far.set_bulk(bulk);
            assert!(within(&core, Duration::from_millis(1), far.recv()).await.is_none());
            near.send(core.chunk(b"late"));
            turns(&core, 3).await;
            assert_eq!(recv_exact(&far, 4).await, b"late");
        }
    });
}

#[test]
fn unread_bytes_come_first() {
    each_driver(|core: Core| async move {
        let (near, far) = pair(&core).await;
        near.send(core.chunk(b"abcdef"));
        let mut chunk = core.chunk(&recv_exact(&far, 6).await);
        let head = chunk.split_to(2);
        far.unread(chunk);
        assert_eq!(&*head, b"ab");
        assert!(!far.is_quiet());
        far.watch().await;
        turns(&core, 2).await;
        near.send(core.chunk(b"gh"));
        assert_eq!(recv_exact(&far, 6).await, b"cdefgh");
        assert!(far.try_recv().is_none());
        assert!(far.is_quiet());
    });
}

/// Tasks blocked in every way when `main` ends.
#[test]
fn the_end_of_a_core_takes_everything_along() {
    each_driver(|core: Core| async move {
        let (listener, address) = listener(&core, 16);
        core.spawn("acceptor", {
            let (core, much) = (core.clone(), core.chunk(&pattern(16 << 20)));
            async move {
                while let Ok(stream) = listener.accept().await {
                    let much = much.clone();
                    core.spawn("reader", async move {
                        stream.set_bulk(true);
                        stream.send(much);
                        while let Ok(Some(_)) = stream.recv().await {}
                    });
                }
            }
        });
        for _ in 0..5 {
            let stream = connect(&core, address).await;
            stream.send(core.chunk(b"hello"));
            core.spawn("timer", {
                let core = core.clone();
                async move {
                    let timer = core.timer();
                    timer.set(core.now() + LONG);
                    timer.expired().await;
                    drop(stream);
                }
            });
        }
        until(&core, || core.stats().send_stalls.get() >= 5 && core.census().contains(&("reader", 5))).await;
        assert!(core.census().contains(&("timer", 5)), "{:?}", core.census());
    });
}

/// The result of `main` may hold buffers and handles of the core that made it.
#[test]
fn what_outlives_its_core_does_no_harm() {
    for io in drivers() {
        let options = ringway_runtime::Options { io, ..Default::default() };
        let kept = ringway_runtime::run(&options, Wake::new().expect("an eventfd"), |core, report| async move {
            assert!(format!("{report}").starts_with("io "));
            let (near, far) = pair(&core).await;
            near.send(core.chunk(b"bytes"));
            let chunk = far.recv().await.expect("no error").expect("bytes");
            (chunk, near, core.timer(), core)
        });
        let (chunk, near, timer, core) = kept.expect("a core");
        assert!(!chunk.is_empty() && b"bytes".starts_with(&chunk));
        timer.set(Instant::now());
        near.send(chunk.clone());
        drop((near, timer));
        drop(core);
        assert!(!chunk.is_empty() && b"bytes".starts_with(&chunk));
    }
}

#[test]
fn connections_move_between_cores() {
    for (from, to) in drivers().into_iter().flat_map(|from| drivers().into_iter().map(move |to| (from, to))) {
        let options = |io| ringway_runtime::Options { io, ..Default::default() };
        let moved = ringway_runtime::run(&options(from), Wake::new().expect("an eventfd"), |core, _| async move {
            let (near, far) = pair(&core).await;
            // It has been in use, and its receive is armed.
            near.send(core.chunk(b"x"));
            assert_eq!(recv_exact(&far, 1).await, b"x");
            assert!(within(&core, Duration::from_millis(1), far.recv()).await.is_none());
            // Bytes that have come stay with the stream.
            near.send(core.chunk(b"early"));
            until(&core, || !far.is_quiet()).await;
            let far = far.detach().await.expect_err("bytes had come");
            assert_eq!(recv_exact(&far, 5).await, b"early");
            assert!(within(&core, Duration::from_millis(1), far.recv()).await.is_none());
            let far = far.detach().await.unwrap_or_else(|_| panic!("a quiet stream"));
            assert_eq!(core.stats().streams.get(), 1);
            (near.detach().await.unwrap_or_else(|_| panic!("a quiet stream")), far)
        });
        let (near, far): (Detached, Detached) = moved.expect("a core");
        fn is_send<T: Send>(_: &T) {}
        is_send(&near);
        ringway_runtime::run(&options(to), Wake::new().expect("an eventfd"), |core, _| async move {
            let (near, far) = (core.attach(near), core.attach(far));
            for (a, b) in [(&near, &far), (&far, &near)] {
                a.send(core.chunk(b"after the move"));
                assert_eq!(recv_exact(b, 14).await, b"after the move");
            }
        })
        .expect("a core");
    }
}

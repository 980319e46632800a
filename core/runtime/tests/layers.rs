//! A stream with a layer speaks of plain bytes; the wire carries what the layer makes of them (`support/toy.rs`).

mod support;

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use ringway_runtime::{ANSWERS_UNSENT_MAX, Core, Options, RECV_UNREAD_MAX, Stream};
use support::toy::{ALERT, ASK, DATA, END, HEAD, RECORD_MAX, Seen, TICKET, Toy, record};
use support::*;

fn over(stream: &Stream) -> Rc<Seen> {
    let (toy, seen) = Toy::new();
    stream.set_layer(toy);
    seen
}

/// Two ends with a layer each.
async fn layered_pair(core: &Core) -> (Stream, Stream) {
    let (near, far) = pair(core).await;
    over(&near);
    over(&far);
    (near, far)
}

fn tiny(chunk_size: usize) -> Options {
    Options {
        chunk_size,
        chunks_initial: 2,
        chunks_max: 8,
        bulk_size: 10_000,
        sq_entries: 8,
        cq_entries: 8,
        pieces_per_send_max: 2,
        ..Options::default()
    }
}

/// Asks once whether there is something to take.
async fn is_watched(stream: &Stream) -> bool {
    poll_fn(|cx| Poll::Ready(stream.poll_watch(cx).is_ready())).await
}

/// Lets the bare far end's records reach the near one's socket.
async fn arrive(core: &Core, far: &Stream, bytes: usize) {
    let before = core.stats().bytes_received.get();
    far.flushed().await.expect("an open socket");
    until(core, || core.stats().bytes_received.get() >= before + bytes as u64).await;
}

/// Guards against an end that is lost because its stream was dropped as soon as the bytes before it were out: who waits for all output
/// waits for the end, too.
#[test]
fn the_end_counts_as_output_that_waits() {
    each_driver_with(Options::default(), |core: Core| async move {
        let (near, far) = layered_pair(&core).await;
        near.send(core.chunk(b"last words"));
        near.flushed().await.expect("an open socket");
        near.shutdown_write();
        assert_eq!(near.unsent(), 0, "the layer makes its end when it leaves");
        let is_out = poll_fn(|cx| Poll::Ready(near.poll_unsent_below(cx, 0).is_ready())).await;
        assert!(!is_out, "the end is not sent yet");
        near.flushed().await.expect("an open socket");
        drop(near);
        assert_eq!(recv_all(&far).await.expect("the layer's end, not just that of the socket"), b"last words");
    });
}

// --- Bytes both ways ---------------------------------------------------------------------------------------------------------

/// Echoes `sizes`, then ends one direction after the other.
#[track_caller]
fn check_echo(options: Options, bulk: bool, sizes: &'static [usize]) {
    each_driver_with(options, move |core: Core| async move {
        let (near, far) = pair(&core).await;
        let seen = (over(&near), over(&far));
        near.set_bulk(bulk);
        far.set_bulk(bulk);
        let echo = async {
            while let Some(chunk) = far.recv().await.expect("an open socket") {
                far.send(chunk);
            }
            far.send(core.chunk(b"after the end"));
            far.shutdown_write();
        };
        let exchange = async {
            for &size in sizes {
                let bytes = pattern(size);
                let (head, tail) = bytes.split_at(size / 3);
                near.send(core.chunk(head));
                near.send(core.chunk(tail));
                assert!(near.unsent() >= size, "what is queued counts");
                assert!(recv_exact(&near, size).await == bytes, "{size} bytes come back as they were");
            }
            near.flushed().await.expect("an open socket");
            assert_eq!(near.unsent(), 0);
            near.shutdown_write();
            assert_eq!(recv_all(&near).await.expect("a clean end"), b"after the end");
            assert!(near.recv().await.expect("the end stays").is_none());
        };
        both(echo, exchange).await;
        drop((near, far));
        until(&core, || seen.0.dropped.get() && seen.1.dropped.get()).await;
    });
}

#[test]
fn echo() {
    check_echo(Options::default(), false, &[1, 2, 100, 2999, 3000, 3001, 9000, 100_000, 700_000]);
}

#[test]
fn echo_in_bulk() {
    check_echo(Options::default(), true, &[1, 100, 64 << 10, 700_000]);
}

#[test]
fn echo_a_byte_at_a_time() {
    check_echo(tiny(1), false, &[1, 2, 3005]);
}

#[test]
fn echo_in_odd_chunks() {
    check_echo(tiny(7), false, &[1, 100, 7000]);
    check_echo(tiny(1000), true, &[1, 3000, 70_000]);
}

/// A quarter of a MiB both ways at once past slow readers, who take what they take in order, and hold the writers back.
#[test]
fn slow_readers() {
    const UNSENT_MAX: usize = 64 << 10;
    async fn write(core: &Core, stream: &Stream, bytes: &[u8]) {
        for part in bytes.chunks(10_000) {
            stream.send(core.chunk(part));
            poll_fn(|cx| stream.poll_unsent_below(cx, UNSENT_MAX)).await.expect("an open socket");
            assert!(stream.unsent() <= UNSENT_MAX);
        }
        stream.shutdown_write();
    }
    async fn read(core: &Core, stream: &Stream) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.recv().await.expect("an open socket") {
            bytes.extend_from_slice(&chunk);
            stream.set_bulk(bytes.len() % 5 == 0);
            turns(core, 2).await;
        }
        bytes
    }
    each_driver(|core: Core| async move {
        let (near, far) = layered_pair(&core).await;
        let (there, back) = (pattern(256 << 10), pattern(300 << 10));
        let (((), ()), (at_near, at_far)) = both(
            both(write(&core, &near, &there), write(&core, &far, &back)),
            both(read(&core, &near), read(&core, &far)),
        )
        .await;
        assert!(at_far == there && at_near == back);
    });
}

/// Records cut at random points on the wire, several or a part of one in a receive.
#[test]
fn records_cut_anywhere() {
    for seed in 0..4 {
        each_driver(move |core: Core| async move {
            let mut chance = Chance(seed);
            let (near, far) = pair(&core).await;
            over(&near);
            let (mut plain, mut wire) = (Vec::new(), Vec::new());
            for number in 0..60u8 {
                let kind = if chance.below(5) == 0 { TICKET } else { DATA };
                let n = [0, 1, 10, 500, 3000][chance.below(5) as usize];
                let bytes = pattern(n + usize::from(number))[usize::from(number)..].to_vec();
                wire.extend(record(kind, number, &bytes));
                if kind == DATA {
                    plain.extend(bytes);
                }
            }
            wire.extend(record(END, 60, b""));
            let (all, ()) = both(recv_all(&near), async {
                let mut rest = &wire[..];
                while !rest.is_empty() {
                    let most = [3, 30, 9000][chance.below(3) as usize];
                    let (part, left) = rest.split_at((1 + chance.below(most) as usize).min(rest.len()));
                    far.send(core.chunk(part));
                    turns(&core, chance.below(3) as usize).await;
                    rest = left;
                }
            })
            .await;
            assert!(all.expect("a clean end") == plain, "seed {seed}");
        });
    }
}

/// Whole records in a receive are opened where they lie.
#[test]
fn whole_records_are_opened_in_place() {
    each_kernel_driver(|core: Core| async move {
        let (near, far) = pair(&core).await;
        let seen = over(&near);
        far.send(core.chunk(&[record(DATA, 0, b"two "), record(DATA, 1, b"records")].concat()));
        assert_eq!(recv_exact(&near, 4).await, b"two ");
        assert_eq!(recv_exact(&near, 7).await, b"records");
        assert_eq!((seen.opened.get(), seen.in_place.get()), (2, 1), "the second one shares what the first is part of");
    });
}

/// What came before the layer passes it, also what was looked at and put back.
#[test]
fn what_came_before_passes_the_layer() {
    each_driver(|core: Core| async move {
        let (near, far) = pair(&core).await;
        far.send(core.chunk(&[b"hello".to_vec(), record(DATA, 0, b"early"), record(DATA, 1, b" bird")].concat()));
        assert_eq!(recv_exact(&near, 5).await, b"hello");
        let bytes = recv_exact(&near, 3).await;
        near.send(core.chunk(b"bare "));
        near.unread(core.chunk(&bytes));
        over(&near);
        near.send(core.chunk(b"sealed"));
        assert_eq!(recv_exact(&near, 10).await, b"early bird");
        assert_eq!(recv_exact(&far, 5).await, b"bare ");
        assert_eq!(recv_exact(&far, HEAD + 6).await, record(DATA, 0, b"sealed"));
        near.unread(core.chunk(b"again"));
        assert_eq!(recv_exact(&near, 5).await, b"again", "what is put back now is plain");
    });
}

// --- Ends --------------------------------------------------------------------------------------------------------------------

/// The end record comes after all output and before FIN, once, whether the writer says so or goes.
#[test]
fn the_end_is_said() {
    for shut in [true, false] {
        each_kernel_driver(move |core: Core| async move {
            let (near, far) = pair(&core).await;
            over(&near);
            near.send(core.chunk(b"last words"));
            if shut {
                near.shutdown_write();
                near.shutdown_write();
                turns(&core, 3).await;
            }
            drop(near);
            let wire = recv_all(&far).await.expect("FIN");
            assert_eq!(wire, [record(DATA, 0, b"last words"), record(END, 1, b"")].concat(), "shut {shut}");
        });
    }
}

#[test]
fn an_abort_says_no_end() {
    each_driver(|core: Core| async move {
        let (near, far) = layered_pair(&core).await;
        near.send(core.chunk(b"never sent"));
        near.abort();
        assert_eq!(ended(&far).await.kind(), ErrorKind::ConnectionReset);
    });
}

async fn ended(stream: &Stream) -> io::Error {
    recv_all(stream).await.expect_err("no clean end")
}

/// FIN without the layer's end may be somebody else's cut: the layer says so, after what came before, and stays with it.
#[test]
fn a_cut_is_an_error() {
    for (cut, plain) in [(0, 0), (2, 0), (HEAD + 3, 0), (HEAD + 5, 5), (HEAD + 6, 5)] {
        each_driver(move |core: Core| async move {
            let (near, far) = pair(&core).await;
            over(&near);
            let wire = [record(DATA, 0, b"whole"), record(DATA, 1, b"")].concat();
            far.send(core.chunk(&wire[..cut]));
            far.shutdown_write();
            assert_eq!(recv_exact(&near, plain).await, &b"whole"[..plain]);
            assert_eq!(near.recv().await.expect_err("cut").kind(), ErrorKind::UnexpectedEof, "cut at {cut}");
            assert_eq!(near.recv().await.expect_err("ever after").kind(), ErrorKind::UnexpectedEof);
            assert!(!near.is_quiet() && is_watched(&near).await);
            // The other direction is open.
            near.send(core.chunk(b"?"));
            assert_eq!(recv_exact(&far, HEAD + 1).await, record(DATA, 0, b"?"));
        });
    }
}

/// The peer's end within the layer ends its bytes, with FIN or without, whatever follows.
#[test]
fn nothing_is_opened_after_the_end() {
    each_driver(|core: Core| async move {
        let (near, far) = pair(&core).await;
        let seen = over(&near);
        far.send(core.chunk(&[record(DATA, 0, b"x"), record(END, 1, b""), b"garbage".to_vec()].concat()));
        assert_eq!(recv_all(&near).await.expect("a clean end"), b"x");
        far.send(core.chunk(b"more of it"));
        turns(&core, 20).await;
        assert!(near.recv().await.expect("the end stays").is_none());
        assert_eq!((seen.opened.get(), near.is_quiet()), (2, false));
        near.send(core.chunk(b"still here"));
        near.shutdown_write();
        let wire = recv_all(&far).await.expect("FIN");
        assert_eq!(wire, [record(DATA, 0, b"still here"), record(END, 1, b"")].concat());
    });
}

/// An error comes after what was opened before it; the peer learns of it, though its finder goes at once.
#[test]
fn an_error_ends_receiving_and_its_answer_leaves() {
    each_driver(|core: Core| async move {
        let (near, far) = pair(&core).await;
        over(&near);
        far.send(core.chunk(&[record(DATA, 0, b"fine"), record(DATA, 7, b"wrong number")].concat()));
        assert_eq!(recv_exact(&near, 4).await, b"fine");
        let error = near.recv().await.expect_err("the layer's error");
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Other, "no record"));
        drop(near);
        assert_eq!(recv_exact(&far, HEAD).await, record(ALERT, 0, b""));
    });
}

/// The socket's own error comes as it is, after what could be opened.
#[test]
fn a_reset_below() {
    each_driver(|core: Core| async move {
        let (near, far) = pair(&core).await;
        over(&near);
        far.send(core.chunk(&record(DATA, 0, b"before")));
        assert_eq!(recv_exact(&near, 6).await, b"before");
        far.abort();
        assert_eq!(ended(&near).await.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_stream_with_a_layer_does_not_leave_its_core() {
    each_driver(|core: Core| async move {
        let (near, far) = layered_pair(&core).await;
        let near = near.detach().await.expect_err("as it was");
        near.send(core.chunk(b"here"));
        assert_eq!(recv_exact(&far, 4).await, b"here");
    });
}

// --- Idle streams, and slow peers --------------------------------------------------------------------------------------------

/// A record without plain bytes leaves a pooled stream as it was.
#[test]
fn a_ticket_is_no_noise() {
    each_driver(|core: Core| async move {
        let (near, far) = pair(&core).await;
        let seen = over(&near);
        assert!(near.is_quiet() && !is_watched(&near).await);
        let ticket = record(TICKET, 0, &pattern(200));
        far.send(core.chunk(&ticket));
        until(&core, || {
            assert!(near.is_quiet());
            seen.opened.get() == 1
        })
        .await;
        assert!(near.is_quiet() && !is_watched(&near).await && near.try_recv().is_none());
        assert_eq!(core.stats().chunks_free.get(), core.stats().chunks_total.get());
        far.send(core.chunk(&record(DATA, 1, b"x")));
        near.watch().await;
        assert!(!near.is_quiet());
        assert_eq!(recv_exact(&near, 1).await, b"x");
    });
}

/// Neither opened bytes nor parts of records stay in receive chunks over a turn.
#[test]
fn nothing_stays_in_receive_chunks() {
    each_driver(|core: Core| async move {
        let (near, far) = pair(&core).await;
        over(&near);
        let wire = [record(DATA, 0, b"two"), record(DATA, 1, &pattern(2000))].concat();
        far.send(core.chunk(&wire[..1000]));
        far.flushed().await.expect("an open socket");
        near.watch().await; // Opens, takes nothing.
        turns(&core, 20).await;
        assert_eq!(core.stats().chunks_free.get(), core.stats().chunks_total.get());
        assert_eq!(recv_exact(&near, 3).await, b"two");
        assert!(near.try_recv().is_none_or(|result| result.is_err()));
        far.send(core.chunk(&wire[1000..]));
        assert!(recv_exact(&near, 2000).await == pattern(2000));
    });
}

/// Who does not ask is not opened for, and holds its peer back.
#[test]
fn an_idle_reader_is_bounded() {
    each_driver(|core: Core| async move {
        let (near, far) = layered_pair(&core).await;
        near.send(core.chunk(b"x"));
        assert_eq!(recv_exact(&far, 1).await, b"x");
        let (received, before) = (core.stats().bytes_received.get(), core.stats().blocks_in_use_bytes.get());
        for _ in 0..400 {
            near.send(core.chunk(&[7; 16 << 10]));
            turns(&core, 1).await;
        }
        turns(&core, 20).await;
        let held = core.stats().bytes_received.get() - received;
        // As without a layer (bulk.rs): one burst of a multishot, and what came before the cancel.
        assert!(held as usize <= RECV_UNREAD_MAX + 2 * 32 * 4096, "{held} bytes received that nobody takes");
        assert!(core.stats().blocks_in_use_bytes.get() > before);
        assert_eq!(core.stats().chunks_free.get(), core.stats().chunks_total.get());
        far.abort();
    });
}

#[test]
fn what_nobody_asks_for_is_not_opened() {
    each_driver(|core: Core| async move {
        let (near, far) = pair(&core).await;
        let seen = over(&near);
        assert!(!is_watched(&near).await);
        let wire = record(DATA, 0, b"unasked");
        far.send(core.chunk(&wire));
        arrive(&core, &far, wire.len()).await;
        turns(&core, 10).await;
        assert_eq!(seen.opened.get(), 0);
        assert_eq!(recv_exact(&near, 7).await, b"unasked");
        assert_eq!(seen.opened.get(), 1);
    });
}

/// Answers go between what is queued, and count as unsent.
#[test]
fn answers_leave() {
    each_driver(|core: Core| async move {
        let (near, far) = pair(&core).await;
        over(&near);
        far.send(core.chunk(&[record(ASK, 0, b""), record(DATA, 1, b"x")].concat()));
        assert_eq!(recv_exact(&near, 1).await, b"x");
        assert_eq!(recv_exact(&far, HEAD).await, record(TICKET, 0, b""));
        near.send(core.chunk(b"y"));
        near.flushed().await.expect("an open socket");
        assert_eq!((recv_exact(&far, HEAD + 1).await, near.unsent()), (record(DATA, 1, b"y"), 0));
    });
}

/// A peer that asks for answers and does not read them is cut off.
#[test]
fn answers_that_nobody_reads_are_bounded() {
    each_driver(|core: Core| async move {
        let (near, far) = pair(&core).await;
        over(&near);
        // Until the far end's window and our own buffers are full: each attempt is a turn.
        let mut stalled = 0;
        while stalled < 50 {
            if near.unsent() < 4 << 20 {
                near.send(core.chunk(&[7; 64 << 10]));
                stalled = 0;
            }
            stalled += 1;
            turns(&core, 1).await;
        }
        let asks = ANSWERS_UNSENT_MAX as usize / HEAD + 1;
        let before = near.unsent();
        // The kernel may find room for some output yet, and what went is not counted: as many are asked as it takes.
        let asking = async {
            for round in 0.. {
                let number = |at: usize| (round * asks + at) as u8;
                let wire: Vec<u8> = (0..asks).flat_map(|at| record(ASK, number(at), b"")).collect();
                far.send(core.chunk(&wire));
                far.flushed().await.expect("an open socket");
            }
        };
        let error = {
            let (mut ended, mut asking) = (pin!(ended(&near)), pin!(asking));
            let poll = |context: &mut Context<'_>| {
                let polled = ended.as_mut().poll(context);
                if polled.is_pending() {
                    let _ = asking.as_mut().poll(context);
                }
                polled
            };
            poll_fn(poll).await
        };
        assert_eq!(error.kind(), ErrorKind::Other, "{error}");
        assert!(near.unsent() <= before + 2 * ANSWERS_UNSENT_MAX as usize + RECV_UNREAD_MAX);
        near.abort();
    });
}

/// Pieces are gathered to full records, and what waits behind a stall is no receive chunk.
#[test]
fn output_is_gathered() {
    each_kernel_driver(|core: Core| async move {
        let (near, far) = pair(&core).await;
        over(&near);
        let bytes = pattern(RECORD_MAX + 10);
        for part in bytes.chunks(100) {
            near.send(core.chunk(part));
        }
        let wire = [record(DATA, 0, &bytes[..RECORD_MAX]), record(DATA, 1, &bytes[RECORD_MAX..])].concat();
        assert!(recv_exact(&far, wire.len()).await == wire);
    });
}

/// The seal's own errors end both directions.
#[test]
fn a_seal_that_fails_ends_the_stream() {
    struct Worn;
    impl ringway_runtime::Layer for Worn {
        fn open(
            &mut self,
            raw: ringway_runtime::Chunk,
            opening: &mut ringway_runtime::Opening<'_>,
        ) -> io::Result<ringway_runtime::Open> {
            opening.plain(raw);
            Ok(ringway_runtime::Open::More)
        }
        fn open_end(&mut self) -> io::Result<()> {
            Ok(())
        }
        fn seal(&mut self, _: &mut ringway_runtime::Sealing<'_>) -> io::Result<()> {
            Err(io::Error::other("worn out"))
        }
        fn seal_end(&mut self, _: &mut ringway_runtime::Sealing<'_>) {}
    }
    each_driver(|core: Core| async move {
        let (near, _far) = pair(&core).await;
        near.set_layer(Box::new(Worn));
        near.send(core.chunk(b"never"));
        assert_eq!(near.recv().await.expect_err("ended").to_string(), "worn out");
        assert!(near.flushed().await.is_err());
        assert_eq!(near.unsent(), 0);
        near.send(core.chunk(b"nor this"));
        assert_eq!(near.unsent(), 0);
    });
}

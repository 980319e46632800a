//! Bytes go through a pump as they came, whichever way it chooses, with ends, errors and slow sides.

mod support;

use std::future::poll_fn;
use std::io::ErrorKind;
use std::task::Poll;

use ringway_runtime::{Core, Options, Pump, PumpError, PumpLimits, Stream};
use support::toy::Toy;
use support::*;

const LIMITS: PumpLimits = PumpLimits { bytes_per_poll: 512 << 10, held_max: 256 << 10, left: None };

/// A relay between two connections: the client's end, the server's, and the two that the relay holds.
struct Relay {
    client: Stream,
    near: Stream,
    far: Stream,
    server: Stream,
}

async fn relay(core: &Core) -> Relay {
    let (client, near) = pair(core).await;
    let (far, server) = pair(core).await;
    Relay { client, near, far, server }
}

/// Pumps both ways until both sides have ended, each end passed on.
async fn pump_both(near: &Stream, far: &Stream, limits: PumpLimits) -> Result<(u64, u64), PumpError> {
    let (mut there, mut back) = (Pump::new(), Pump::new());
    let (mut there_shut, mut back_shut) = (false, false);
    poll_fn(|cx| {
        if let Poll::Ready(result) = there.poll(cx, near, far, limits) {
            result?;
            if !std::mem::replace(&mut there_shut, true) {
                far.shutdown_write();
            }
        }
        if let Poll::Ready(result) = back.poll(cx, far, near, limits) {
            result?;
            if !std::mem::replace(&mut back_shut, true) {
                near.shutdown_write();
            }
        }
        if there.is_done() && back.is_done() { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await?;
    Ok((there.moved(), back.moved()))
}

/// Sends `bytes` with pauses by chance, then FIN.
async fn write(core: &Core, stream: &Stream, bytes: &[u8], mut chance: Chance) {
    let mut rest = bytes;
    while !rest.is_empty() {
        let most = [10, 5_000, 400_000, 400_000][chance.below(4) as usize];
        let (part, left) = rest.split_at((1 + chance.below(most) as usize).min(rest.len()));
        stream.send(core.chunk(part));
        poll_fn(|cx| stream.poll_unsent_below(cx, 256 << 10)).await.expect("an open socket");
        if chance.below(8) == 0 {
            turns(core, chance.below(10) as usize).await;
        }
        rest = left;
    }
    stream.shutdown_write();
}

async fn read(core: &Core, stream: &Stream, mut chance: Chance) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.set_bulk(chance.below(2) == 0);
    while let Some(chunk) = stream.recv().await.expect("an open socket") {
        bytes.extend_from_slice(&chunk);
        if chance.below(30) == 0 {
            turns(core, chance.below(60) as usize).await;
        }
    }
    bytes
}

/// Two different streams of bytes at once; says how many bytes were spliced.
async fn exchange(core: &Core, ends: &Relay, limits: PumpLimits, seed: u64, sizes: (usize, usize)) -> u64 {
    let before = core.stats().bytes_spliced.get();
    let (there, back) = (pattern(sizes.0), pattern(sizes.1 + 7)[7..].to_vec());
    let chance = |n: u64| Chance(seed * 10 + n);
    let writes = both(write(core, &ends.client, &there, chance(0)), write(core, &ends.server, &back, chance(1)));
    let reads = both(read(core, &ends.client, chance(2)), read(core, &ends.server, chance(3)));
    let (_, ((at_client, at_server), moved)) =
        both(writes, both(reads, pump_both(&ends.near, &ends.far, limits))).await;
    assert!(at_server == there && at_client == back, "seed {seed}: what arrives is what was sent");
    assert_eq!(moved.expect("no error"), (sizes.0 as u64, sizes.1 as u64));
    core.stats().bytes_spliced.get() - before
}

#[test]
fn bytes_arrive_as_they_were() {
    for seed in 0..3 {
        each_driver(move |core: Core| async move {
            let ends = relay(&core).await;
            exchange(&core, &ends, LIMITS, seed, (2 << 20, 1 << 20)).await;
            assert_eq!(core.stats().bulk_in_use.get(), 0);
        });
    }
}

#[test]
fn with_too_little_of_everything() {
    let options = Options {
        chunk_size: 1000,
        chunks_initial: 2,
        chunks_max: 8,
        bulk_size: 5_000,
        bulk_buffers_max: 1,
        pipe_size: 64 << 10,
        pipes_max: 1,
        sq_entries: 8,
        cq_entries: 8,
        pieces_per_send_max: 2,
        ..Options::default()
    };
    for held_max in [64 << 10, 100_000] {
        each_driver_with(options.clone(), move |core: Core| async move {
            let ends = relay(&core).await;
            exchange(&core, &ends, PumpLimits { bytes_per_poll: 10_000, held_max, ..LIMITS }, 1, (300_000, 500_000))
                .await;
        });
    }
}

/// Of little that may be held: what fills its chunks is spliced, never received in bulk; with less than a pipe is worth, not even that.
#[test]
fn sparing_sources() {
    for (held_max, pipes_max, spliced) in
        [(28 << 10, 4, true), (28 << 10, 0, false), (8 << 10, 4, false), (0, 4, false)]
    {
        each_driver_with(
            Options { pipes_max, bulk_buffers_max: 0, ..Options::default() },
            move |core: Core| async move {
                let ends = relay(&core).await;
                [&ends.near, &ends.far].iter().for_each(|stream| stream.set_sparing(true));
                let limits = PumpLimits { bytes_per_poll: 100_000, held_max, ..LIMITS };
                let some = exchange(&core, &ends, limits, 9, (1 << 20, 300_000)).await;
                // What comes in bits and pieces, as from the simulated kernel, is not spliced.
                assert!(spliced || some == 0, "{some} bytes of {held_max}");
            },
        );
    }
}

/// Fills a sink as fast as it takes it, with nothing in between.
async fn rush(core: &Core, stream: &Stream, bytes: &[u8]) {
    for part in bytes.chunks(256 << 10) {
        stream.send(core.chunk(part));
        poll_fn(|cx| stream.poll_unsent_below(cx, 128 << 10)).await.expect("an open socket");
    }
}

async fn pump_one(core: &Core, ends: &Relay, pump: &mut Pump, bytes: &[u8]) {
    let want = pump.moved() + bytes.len() as u64;
    let through = poll_fn(|cx| match pump.poll(cx, &ends.near, &ends.far, LIMITS) {
        Poll::Ready(result) => panic!("no end yet: {result:?}"),
        Poll::Pending => {
            if pump.moved() == want && pump.held() == 0 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }
    });
    let ((), (got, ())) =
        both(rush(core, &ends.client, bytes), both(recv_exact(&ends.server, bytes.len()), through)).await;
    assert!(got == bytes);
}

/// What keeps coming is spliced; small messages are not, neither before nor afterwards, and hold no pipe.
#[test]
fn the_way_follows_the_flow() {
    // A pipe for all, so that one that was held would be missed by the other flow.
    let options = Options { pipes_max: 1, ..Options::default() };
    for io in kernel_drivers() {
        on_driver(io, &options, &|core: Core| async move {
            let stats = core.stats().clone();
            let flows = [relay(&core).await, relay(&core).await];
            let mut pumps = [Pump::new(), Pump::new()];
            for (ends, pump) in flows.iter().zip(&mut pumps) {
                for size in [1, 100, 5_000, 4_000] {
                    pump_one(&core, ends, pump, &pattern(size)).await;
                }
                assert_eq!((stats.bytes_spliced.get(), stats.pipes.get()), (0, 0));
            }
            for _ in 0..2 {
                for (ends, pump) in flows.iter().zip(&mut pumps) {
                    let before = stats.bytes_spliced.get();
                    while !pump.is_splicing() || stats.bytes_spliced.get() == before {
                        pump_one(&core, ends, pump, &pattern(4 << 20)).await;
                    }
                    for _ in 0..10 {
                        pump_one(&core, ends, pump, b"small talk").await;
                    }
                    assert!(!pump.is_splicing());
                    let before = stats.bytes_spliced.get();
                    pump_one(&core, ends, pump, b"in chunks").await;
                    assert_eq!(stats.bytes_spliced.get(), before);
                }
            }
        });
    }
}

/// A flow that was held back once and is idle now holds neither a buffer nor a pipe, bare or with a layer.
#[test]
fn an_idle_flow_holds_nothing() {
    for layered in [false, true] {
        each_driver(move |core: Core| async move {
            let ends = relay(&core).await;
            if layered {
                [&ends.client, &ends.near].iter().for_each(|stream| stream.set_layer(Toy::new().0));
            }
            let mut pump = Pump::new();
            for size in [1, 20_000, 70_000, 300_000, 20_000] {
                pump_one(&core, &ends, &mut pump, &pattern(size)).await;
                for _ in 0..20 {
                    assert!(poll_once(&mut pump, &ends.near, &ends.far, LIMITS).await.is_pending());
                    turns(&core, 1).await;
                }
                let stats = core.stats();
                assert_eq!((stats.bulk_in_use.get(), pump.held()), (0, 0), "after {size} bytes");
            }
        });
    }
}

/// Without pipes, and with a layer on either side, bytes are copied.
#[test]
fn what_cannot_be_spliced_is_copied() {
    for (pipes_max, layered) in [(0, [false, false]), (4, [true, false]), (4, [false, true])] {
        each_driver_with(Options { pipes_max, ..Options::default() }, move |core: Core| async move {
            let ends = relay(&core).await;
            for (over, pair) in layered.into_iter().zip([[&ends.client, &ends.near], [&ends.far, &ends.server]]) {
                if over {
                    pair.iter().for_each(|stream| stream.set_layer(Toy::new().0));
                }
            }
            assert_eq!(exchange(&core, &ends, LIMITS, 5, (1 << 20, 700_000)).await, 0);
        });
    }
}

/// Polls a pump once.
async fn poll_once(pump: &mut Pump, from: &Stream, to: &Stream, limits: PumpLimits) -> Poll<Result<(), PumpError>> {
    poll_fn(|cx| Poll::Ready(pump.poll(cx, from, to, limits))).await
}

/// Pumps into a server that stops reading, until bytes lie in the pipe and nothing moves any more. Says how many bytes the client has
/// queued, and what the server has read.
async fn stall(core: &Core, ends: &Relay, pump: &mut Pump, limits: PumpLimits) -> (usize, Vec<u8>) {
    let piece = pattern(256 << 10);
    let (mut still, mut queued, mut read) = (0, 0, Vec::new());
    ends.server.set_bulk(true);
    while still < 500 {
        if ends.client.unsent() == 0 {
            ends.client.send(core.chunk(&piece));
            queued += piece.len();
        }
        let before = pump.moved();
        assert!(poll_once(pump, &ends.near, &ends.far, limits).await.is_pending());
        if !pump.is_splicing()
            && let Poll::Ready(chunk) = poll_fn(|cx| Poll::Ready(ends.server.poll_recv(cx))).await
        {
            read.extend_from_slice(&chunk.expect("no error").expect("not the end"));
        }
        let stands = pump.is_splicing() && pump.moved() == before && pump.held() > 0;
        still = if stands { still + 1 } else { 0 };
        turns(core, 1).await;
    }
    (queued, read)
}

/// A reader that does not read leaves no more with us than it may. When it reads again, all of it comes.
#[test]
fn a_slow_reader_is_bounded() {
    for held_max in [28 << 10, 64 << 10, 256 << 10] {
        each_kernel_driver(move |core: Core| async move {
            let limits = PumpLimits { held_max, ..LIMITS };
            let (ends, mut pump) = (relay(&core).await, Pump::new());
            if held_max < 64 << 10 {
                ends.near.set_sparing(true);
            }
            let (queued, mut bytes) = stall(&core, &ends, &mut pump, limits).await;
            let stats = core.stats();
            assert!(pump.held() <= held_max, "{} bytes", pump.held());
            assert_eq!((ends.far.unsent(), stats.pipes.get()), (0, 1));
            ends.client.shutdown_write();
            let (rest, ()) = both(recv_all(&ends.server), async {
                poll_fn(|cx| pump.poll(cx, &ends.near, &ends.far, limits)).await.expect("no error");
                ends.far.shutdown_write();
            })
            .await;
            bytes.extend(rest.expect("a clean end"));
            let piece = pattern(256 << 10);
            assert!(bytes.len() == queued && bytes.chunks(piece.len()).all(|part| part == piece));
        });
    }
}

/// The server goes, with bytes in the pipe: the sink has failed, and the pipe is closed with its bytes.
#[test]
fn a_sink_that_fails() {
    each_kernel_driver(|core: Core| async move {
        let (ends, mut pump) = (relay(&core).await, Pump::new());
        stall(&core, &ends, &mut pump, LIMITS).await;
        let Relay { client, near, far, server } = ends;
        server.abort();
        let error = poll_fn(|cx| pump.poll(cx, &near, &far, LIMITS)).await.expect_err("no sink");
        let PumpError::Sink(error) = error else { panic!("{error:?}") };
        assert!(matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe), "{error}");
        let again = poll_fn(|cx| pump.poll(cx, &near, &far, LIMITS)).await.expect_err("ever after");
        assert!(matches!(again, PumpError::Sink(_)));
        turns(&core, 2).await;
        assert_eq!(core.stats().pipes.get(), 0);
        client.abort();
    });
}

/// The client resets its connection, in each mode.
#[test]
fn a_source_that_fails() {
    for (bytes, splices) in [(10, false), (20_000, false), (4 << 20, true)] {
        each_kernel_driver(move |core: Core| async move {
            let (ends, mut pump) = (relay(&core).await, Pump::new());
            pump_one(&core, &ends, &mut pump, &pattern(bytes)).await;
            while pump.is_splicing() != splices {
                pump_one(&core, &ends, &mut pump, &pattern(bytes)).await;
            }
            let Relay { client, near, far, server } = ends;
            client.abort();
            let error = poll_fn(|cx| pump.poll(cx, &near, &far, LIMITS)).await.expect_err("a reset");
            let PumpError::Source(error) = error else { panic!("{error:?}") };
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
            // What becomes of the other side is its holder's decision: it is as it was.
            far.send(core.chunk(b"sorry"));
            assert_eq!(recv_exact(&server, 5).await, b"sorry");
        });
    }
}

/// Given up in the middle of it, with bytes in the pipe: no pipe, no descriptor, no buffer stays, and others get theirs.
#[test]
fn a_pump_that_is_given_up() {
    for io in kernel_drivers() {
        on_driver(io, &Options { pipes_max: 1, ..Options::default() }, &|core: Core| async move {
            let (ends, mut pump) = (relay(&core).await, Pump::new());
            stall(&core, &ends, &mut pump, LIMITS).await;
            // The only pipe is held: another flow copies, and loses nothing by it.
            let other = relay(&core).await;
            assert_eq!(exchange(&core, &other, LIMITS, 9, (2 << 20, 1)).await, 0);
            drop((pump, ends));
            turns(&core, 2).await;
            assert_eq!(core.stats().pipes.get(), 0);
            let mut pump = Pump::new();
            let other = relay(&core).await;
            while !pump.is_splicing() {
                pump_one(&core, &other, &mut pump, &pattern(4 << 20)).await;
            }
        });
    }
}

/// Pumps the next `size` bytes.
async fn pump_part(
    pump: &mut Pump,
    (from, to): (&Stream, &Stream),
    limits: PumpLimits,
    size: usize,
) -> Result<(), PumpError> {
    poll_fn(|cx| {
        let left = size as u64 - pump.moved();
        pump.poll(cx, from, to, PumpLimits { left: Some(left), ..limits })
    })
    .await
}

/// One part of a flow after another: between two pumps somebody reads some bytes himself, as a head, and none is lost or taken too early.
#[test]
fn parts_of_a_flow() {
    const HEAD: usize = 10;
    for (held_max, pipes_max) in [(256 << 10, 4), (64 << 10, 4), (256 << 10, 0)] {
        let limits = PumpLimits { held_max, ..LIMITS };
        each_driver_with(Options { pipes_max, ..Options::default() }, move |core: Core| async move {
            let (ends, mut chance) = (relay(&core).await, Chance(7));
            let mut size =
                || [1, 3_000, 70_000, 300_000, 1_500_000][chance.below(5) as usize] + chance.below(99) as usize;
            let sizes: Vec<usize> = (0..12).map(|_| size()).collect();
            let all = pattern(sizes.iter().map(|size| size + HEAD).sum());
            let Relay { client, near, far, server } = &ends;
            let parts = async {
                for size in &sizes {
                    let mut head = HEAD;
                    while head > 0 {
                        let mut chunk = near.recv().await.expect("an open socket").expect("no end yet");
                        let ours = chunk.split_to(head.min(chunk.len()));
                        near.unread(chunk);
                        head -= ours.len();
                        far.send(ours);
                    }
                    let mut pump = Pump::of_part(near);
                    pump_part(&mut pump, (near, far), limits, *size).await.expect("all of it");
                    assert_eq!((pump.moved(), pump.held(), pump.is_done()), (*size as u64, 0, true));
                }
                far.shutdown_write();
            };
            let ((), (got, ())) =
                both(write(&core, client, &all, Chance(8)), both(read(&core, server, Chance(9)), parts)).await;
            assert!(got == all, "{} bytes", got.len());
            let stats = core.stats();
            assert!(pipes_max > 0 || stats.bytes_spliced.get() == 0);
            assert_eq!(stats.bulk_in_use.get(), 0);
        });
    }
}

/// Of what is known to come nearly all is spliced, each time; an empty pipe goes home with the last byte.
#[test]
fn a_large_part_is_spliced_from_the_beginning() {
    const SIZE: usize = 1 << 20;
    for io in kernel_drivers() {
        on_driver(io, &Options { pipes_max: 1, ..Options::default() }, &|core: Core| async move {
            let flows = [relay(&core).await, relay(&core).await];
            for ends in flows.iter().chain(&flows) {
                let before = core.stats().bytes_spliced.get();
                let mut pump = Pump::of_part(&ends.near);
                let through = async {
                    pump_part(&mut pump, (&ends.near, &ends.far), LIMITS, SIZE).await.expect("all of it");
                };
                let bytes = pattern(SIZE);
                let reads = both(recv_exact(&ends.server, SIZE), through);
                let ((), (got, ())) = both(rush(&core, &ends.client, &bytes), reads).await;
                let spliced = core.stats().bytes_spliced.get() - before;
                assert!(got == bytes && spliced > SIZE as u64 / 2, "{spliced} of {SIZE} bytes");
            }
        });
    }
}

/// A source that ends, or fails, before it has given what was to come.
#[test]
fn a_part_that_is_cut_off() {
    for (bytes, reset) in [(10, false), (100_000, false), (2 << 20, false), (2 << 20, true)] {
        each_kernel_driver(move |core: Core| async move {
            let Relay { client, near, far, server } = relay(&core).await;
            let mut pump = Pump::of_part(&near);
            let all = pattern(bytes);
            let (((), error), got) = both(
                both(
                    async {
                        rush(&core, &client, &all).await;
                        if reset {
                            poll_fn(|cx| client.poll_unsent_below(cx, 0)).await.expect("an open socket");
                            turns(&core, 20).await;
                            client.abort();
                        } else {
                            client.shutdown_write();
                            client.flushed().await.expect("an open socket");
                        }
                    },
                    async {
                        let error = pump_part(&mut pump, (&near, &far), LIMITS, (4 << 20) + 1).await;
                        far.shutdown_write();
                        error
                    },
                ),
                read(&core, &server, Chance(3)),
            )
            .await;
            let Err(PumpError::Source(error)) = error else { panic!("{error:?}") };
            let kind = if reset { ErrorKind::ConnectionReset } else { ErrorKind::UnexpectedEof };
            assert_eq!(error.kind(), kind);
            assert!(all.starts_with(&got) && (reset || got.len() == bytes), "{} bytes", got.len());
        });
    }
}

/// Given up while its sink takes nothing: the end that is said then comes when the sink takes again, behind what it had.
#[test]
fn an_end_behind_a_pump_that_was_given_up() {
    for io in kernel_drivers() {
        on_driver(io, &Options::default(), &|core: Core| async move {
            let (ends, mut pump) = (relay(&core).await, Pump::new());
            let (queued, mut bytes) = stall(&core, &ends, &mut pump, LIMITS).await;
            drop(pump);
            let Relay { far, server, client, .. } = ends;
            far.shutdown_write();
            bytes.extend(read(&core, &server, Chance(3)).await);
            let piece = pattern(256 << 10);
            assert!(!bytes.is_empty() && bytes.len() < queued, "{} bytes of {queued}", bytes.len());
            assert!(bytes.chunks(piece.len()).all(|part| piece.starts_with(part)));
            drop(client);
        });
    }
}

/// Budgets hold: a poll moves about as much as it may, and comes back.
#[test]
fn a_poll_has_a_budget() {
    each_kernel_driver(|core: Core| async move {
        let limits = PumpLimits { bytes_per_poll: 64 << 10, held_max: 64 << 10, ..LIMITS };
        let (ends, mut pump) = (relay(&core).await, Pump::new());
        let bytes = pattern(4 << 20);
        let work = async {
            let mut most = 0;
            while pump.moved() < bytes.len() as u64 {
                let before = pump.moved();
                assert!(poll_once(&mut pump, &ends.near, &ends.far, limits).await.is_pending());
                most = most.max(pump.moved() - before);
                turns(&core, 1).await;
            }
            assert!(most <= 128 << 10, "{most} bytes in one poll");
        };
        let ((), (got, ())) =
            both(rush(&core, &ends.client, &bytes), both(recv_exact(&ends.server, bytes.len()), work)).await;
        assert!(got == bytes);
    });
}

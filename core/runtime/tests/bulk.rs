//! Many bytes at once: nothing is lost or reordered, and neither side piles up more than its bounds.

mod support;

use ringway_runtime::{Core, Options, RECV_UNREAD_MAX, Stream};
use support::toy::{RECORD_MAX, Toy};
use support::*;

const MIB: usize = 1 << 20;
/// What a writer keeps queued at most.
const UNSENT_MAX: usize = 128 << 10;

/// Sends `bytes` in pieces of `piece`, keeping at most `UNSENT_MAX` queued, then FIN.
async fn write_all(core: &Core, stream: &Stream, bytes: &[u8], piece: usize) {
    for part in bytes.chunks(piece) {
        stream.send(core.chunk(part));
        assert!(stream.unsent() <= UNSENT_MAX + piece, "the writer's queue is bounded");
        std::future::poll_fn(|cx| stream.poll_unsent_below(cx, UNSENT_MAX)).await.expect("an open socket");
    }
    stream.flushed().await.expect("an open socket");
    stream.shutdown_write();
}

/// How the reader takes what comes.
#[derive(Clone, Copy)]
struct Reader {
    bulk: bool,
    /// Switches bulk on and off after so many chunks.
    switch_every: usize,
    /// Turns of the loop to let pass between two takes.
    slow: usize,
    /// Becomes sparing after so many chunks.
    sparing_after: usize,
}

async fn read_all(core: &Core, stream: &Stream, reader: Reader) -> Vec<u8> {
    let (mut bytes, mut taken) = (Vec::new(), 0);
    stream.set_bulk(reader.bulk);
    let mut bulk = reader.bulk;
    while let Some(chunk) = stream.recv().await.expect("an open socket") {
        bytes.extend_from_slice(&chunk);
        drop(chunk);
        taken += 1;
        if reader.switch_every > 0 && taken % reader.switch_every == 0 {
            bulk = !bulk;
            stream.set_bulk(bulk);
        }
        if taken == reader.sparing_after {
            stream.set_sparing(true);
        }
        turns(core, reader.slow).await;
    }
    bytes
}

/// One MiB in each direction at once.
#[track_caller]
fn check(options: Options, piece: usize, client: Reader, server: Reader) {
    each_driver_with(options, move |core: Core| async move {
        let (near, far) = pair(&core).await;
        let (there, back) = (pattern(MIB), pattern(MIB + 77)[77..].to_vec());
        let ((), ((), (at_near, at_far))) = both(write_all(&core, &near, &there, piece), async {
            both(
                write_all(&core, &far, &back, piece),
                both(read_all(&core, &near, client), read_all(&core, &far, server)),
            )
            .await
        })
        .await;
        assert!(at_far == there, "what arrives there is what was sent");
        assert!(at_near == back, "what arrives here is what was sent");
    });
}

const PLAIN: Reader = Reader { bulk: false, switch_every: 0, slow: 0, sparing_after: usize::MAX };
const BULK: Reader = Reader { bulk: true, ..PLAIN };

#[test]
fn chunks_both_ways() {
    check(Options::default(), 10_000, PLAIN, PLAIN);
}

#[test]
fn bulk_on_one_side() {
    check(Options::default(), 64 << 10, PLAIN, BULK);
}

#[test]
fn bulk_and_a_slow_reader() {
    check(Options::default(), 64 << 10, Reader { slow: 3, ..PLAIN }, Reader { slow: 5, ..BULK });
}

#[test]
fn bulk_switched_on_and_off_on_the_way() {
    check(Options::default(), 5_000, Reader { switch_every: 2, ..PLAIN }, Reader { switch_every: 3, slow: 1, ..BULK });
}

#[test]
fn a_chunk_at_a_time() {
    let sparing = Reader { sparing_after: 1, ..PLAIN };
    check(Options::default(), 10_000, sparing, Reader { slow: 1, sparing_after: 9, ..PLAIN });
    check(Options::default(), 5_000, Reader { switch_every: 3, ..sparing }, Reader { sparing_after: 4, ..BULK });
    check(Options { chunks_initial: 1, chunks_max: 2, ..Options::default() }, 50_000, sparing, sparing);
}

/// Of what nobody asks for, a sparing stream reads nothing; with a layer no more than until a record is whole.
#[test]
fn a_sparing_stream_reads_nothing_ahead() {
    for layered in [false, true] {
        each_driver(move |core: Core| async move {
            let (near, far) = pair(&core).await;
            if layered {
                [&near, &far].iter().for_each(|stream| stream.set_layer(Toy::new().0));
            }
            far.set_sparing(true);
            near.send(core.chunk(b"x"));
            assert_eq!(recv_exact(&far, 1).await, b"x");
            for asked in 1..4 {
                let before = core.stats().bytes_received.get();
                for _ in 0..20 {
                    near.send(core.chunk(&[7; 16 << 10]));
                    turns(&core, 1).await;
                }
                assert_eq!(core.stats().bytes_received.get(), before, "nobody has asked");
                far.watch().await;
                turns(&core, 20).await;
                let received = core.stats().bytes_received.get() - before;
                // A part of a record, and the chunk that has the rest.
                let bound = 4096 + if layered { RECORD_MAX as u64 } else { 0 };
                assert!((1..=bound).contains(&received), "asked {asked} times: {received}");
                while let Some(chunk) = far.try_recv() {
                    assert!(!chunk.expect("no error").expect("no end").is_empty());
                }
            }
            far.abort();
        });
    }
}

#[test]
fn no_bulk_buffer_means_chunks() {
    let options = Options { bulk_buffers_max: 0, ..Options::default() };
    check(options, 30_000, PLAIN, BULK);
}

#[test]
fn two_chunks_for_all() {
    let options = Options { chunks_initial: 1, chunks_max: 2, ..Options::default() };
    check(options, 50_000, PLAIN, PLAIN);
}

#[test]
fn a_small_ring_and_small_buffers() {
    let options = Options {
        chunk_size: 64,
        chunks_initial: 2,
        chunks_max: 32,
        bulk_size: 1000,
        sq_entries: 8,
        cq_entries: 8,
        pieces_per_send_max: 3,
        ..Options::default()
    };
    check(options, 700, PLAIN, Reader { switch_every: 7, ..BULK });
}

/// A reader that does not take holds the peer back, not this core's memory: neither with chunks enough, nor when each receive
/// ends for want of one.
fn check_idle_reader(options: Options) {
    each_driver_with(options, |core: Core| async move {
        let (near, far) = pair(&core).await;
        // Armed, with one byte taken: from here on nobody reads.
        near.send(core.chunk(b"x"));
        assert_eq!(recv_exact(&far, 1).await, b"x");
        let before = core.stats().bytes_received.get();
        for _ in 0..400 {
            near.send(core.chunk(&[7; 16 << 10]));
            turns(&core, 1).await;
        }
        turns(&core, 20).await;
        let held = core.stats().bytes_received.get() - before;
        // One burst of a multishot: 32 buffers (io_uring's MULTISHOT_MAX_RETRY), and what came before the cancel.
        assert!(held as usize <= RECV_UNREAD_MAX + 2 * 32 * 4096, "{held} bytes received that nobody takes");
        assert_eq!(core.stats().chunks_free.get(), core.stats().chunks_total.get(), "none of them in a chunk");
        until(&core, || !far.is_quiet()).await;
        far.abort();
    });
}

#[test]
fn an_idle_reader_is_bounded() {
    check_idle_reader(Options::default());
}

#[test]
fn an_idle_reader_is_bounded_also_without_chunks() {
    check_idle_reader(Options { chunks_initial: 2, chunks_max: 2, ..Options::default() });
}

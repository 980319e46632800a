//! Everything at once on a core that has too little of everything: futures and streams are dropped at random points, by a
//! seed, and no byte is lost, reordered or leaked. It has this file to itself because it counts the process's descriptors.

#![allow(clippy::print_stdout)] // how many steps a run has tried

mod support;

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use ringway_runtime::{Core, IoChoice, Options, Stream};
use support::*;

thread_local! {
    /// Operations on streams, so that a run can say how much it has tried.
    static STEPS: Cell<u64> = const { Cell::new(0) };
    /// Streams that came off their core, likewise.
    static DETACHED: Cell<u64> = const { Cell::new(0) };
}

fn step() {
    STEPS.set(STEPS.get() + 1);
}

/// The tiny options: two chunks or a few, queues of eight, short buffers.
fn tiny(chance: &mut Chance) -> Options {
    Options {
        chunk_size: [1, 7, 100, 4096][chance.below(4) as usize],
        chunks_initial: 2,
        chunks_max: [2, 8][chance.below(2) as usize],
        bulk_size: [10, 5000][chance.below(2) as usize],
        bulk_buffers_max: 1,
        blocks_bytes_max: 10_000,
        sq_entries: 8,
        cq_entries: 8,
        pieces_per_send_max: 2,
        ..Options::default()
    }
}

/// Takes a stream off its core and puts it on again, at once or some turns later; or drops it on the way. Gives back what is left.
async fn move_about(core: &Core, stream: Stream, chance: &mut Chance) -> Option<Stream> {
    step();
    let detached = match chance.below(4) {
        // Given up, at once or while it waits: that closes the connection.
        0 => {
            let mut detach = pin!(stream.detach());
            let polls = chance.below(3);
            for _ in 0..polls {
                let polled = poll_fn(|cx| Poll::Ready(detach.as_mut().poll(cx))).await;
                if let Poll::Ready(result) = polled {
                    return result.map_or_else(Some, |detached| Some(core.attach(detached)));
                }
                core.yield_now().await;
            }
            return None;
        }
        _ => match stream.detach().await {
            Ok(detached) => detached,
            Err(stream) => return Some(stream), // Bytes had come, or the end, or output waits.
        },
    };
    DETACHED.set(DETACHED.get() + 1);
    if chance.below(3) == 0 {
        turns(core, chance.below(5) as usize).await;
    }
    if chance.below(10) == 0 {
        return None;
    }
    step();
    Some(core.attach(detached))
}

/// Sends a pattern with pauses; may vanish on the way.
async fn write(core: &Core, mut stream: Stream, mut chance: Chance, total: usize) {
    let bytes = pattern(total);
    let mut sent = 0;
    while sent < total {
        let n = (1 + chance.below(900) as usize).min(total - sent);
        stream.send(core.chunk(&bytes[sent..sent + n]));
        sent += n;
        step();
        match chance.below(40) {
            0 => return drop(stream),
            1 => return stream.abort(),
            2 => core.yield_now().await,
            3 => {
                step();
                let _ = within(core, Duration::from_micros(chance.below(3)), stream.flushed()).await;
            }
            4 => match move_about(core, stream, &mut chance).await {
                Some(left) => stream = left,
                None => return,
            },
            _ => {}
        }
        step();
        if stream.flushed().await.is_err() {
            return;
        }
    }
    step();
    stream.shutdown_write();
    // The other side decides when this connection ends.
    let _ = recv_all(&stream).await;
}

/// Receives a prefix of the pattern, giving up waits and switching modes at random; may vanish on the way.
async fn read(core: &Core, mut stream: Stream, mut chance: Chance, total: usize) {
    let bytes = pattern(total);
    let mut got = 0;
    loop {
        step();
        match chance.below(50) {
            0 => return drop(stream),
            1 => return stream.abort(),
            2 => stream.set_bulk(true),
            3 => stream.set_bulk(false),
            4 => turns(core, 3).await,
            5 | 6 => match move_about(core, stream, &mut chance).await {
                Some(left) => stream = left,
                None => return,
            },
            _ => {}
        }
        step();
        let received = if chance.below(3) == 0 {
            match within(core, Duration::from_micros(chance.below(5)), stream.recv()).await {
                Some(received) => received,
                None => continue, // The future was dropped; nothing may be lost.
            }
        } else {
            stream.recv().await
        };
        match received {
            Ok(Some(mut chunk)) => {
                if chance.below(5) == 0 && chunk.len() > 1 {
                    let n = chance.below(chunk.len() as u64) as usize;
                    let head = chunk.split_to(n);
                    step();
                    stream.unread(chunk);
                    chunk = head;
                }
                assert_eq!(*chunk, bytes[got..got + chunk.len()], "at {got}");
                got += chunk.len();
            }
            Ok(None) | Err(_) => return,
        }
    }
}

/// One life of a core: connections come and go, each with a writer and a reader that do as chance tells them.
async fn life(core: Core, seed: u64) {
    let mut chance = Chance(seed);
    let (nobody, lost) = listener(&core, 64);
    let (listener, address) = listener(&core, 64);
    let ended = Rc::new(Cell::new(0));
    let connections = 12;
    for _ in 0..connections {
        let (client, server) = both(connect(&core, address), listener.accept()).await;
        let server = server.expect("accept");
        step();
        step();
        if chance.below(3) == 0 {
            client.set_layer(toy::Toy::new().0);
            server.set_layer(toy::Toy::new().0);
        }
        let (writer, reader) = if chance.below(2) == 0 { (client, server) } else { (server, client) };
        let total = chance.below(6000) as usize;
        let chances = (Chance(chance.below(u64::MAX)), Chance(chance.below(u64::MAX)));
        for (kind, work) in [
            ("writer", core.pooled(work(core.clone(), true, writer, chances.0, total, ended.clone()))),
            ("reader", core.pooled(work(core.clone(), false, reader, chances.1, total, ended.clone()))),
        ] {
            core.spawn(kind, work);
        }
        if chance.below(4) == 0 {
            // Given up at once.
            (0..3).for_each(|_| step());
            drop(core.connect(lost, core.now() + LONG));
            let _ = within(&core, Duration::ZERO, core.connect(lost, core.now() + LONG)).await;
            let _ = within(&core, Duration::ZERO, nobody.accept()).await;
        }
    }
    // Sometimes the core ends in the middle of it.
    if chance.below(3) > 0 {
        until(&core, || ended.get() == 2 * connections).await;
    } else {
        let some = chance.below(2 * connections);
        until(&core, || ended.get() >= some).await;
    }
}

async fn work(core: Core, writer: bool, stream: Stream, chance: Chance, total: usize, ended: Rc<Cell<u64>>) {
    if writer {
        write(&core, stream, chance, total).await;
    } else {
        read(&core, stream, chance, total).await;
    }
    ended.set(ended.get() + 1);
}

/// Names the seed of a life that panics.
struct Naming(u64);

impl Drop for Naming {
    fn drop(&mut self) {
        #[allow(clippy::print_stderr)]
        {
            eprintln!("failed: RINGWAY_FAULT_SEED={}", self.0);
        }
    }
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("procfs").count()
}

#[test]
fn chance_loses_nothing() {
    let number = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let seeds = match number("RINGWAY_FAULT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("RINGWAY_FAULT_SEEDS").unwrap_or(60),
    };
    each_driver(|_| async {}); // Whatever is opened once is open now.
    let before = descriptors();
    let drivers = kernel_drivers();
    let mut steps = [0; 3];
    for seed in seeds {
        let failed = Naming(seed);
        // Each life meets a simulated kernel of its own; not one that runs out of descriptors (3 modulo 4): `accept` may not fail here.
        let simulated = IoChoice::Fault(seed / 3 * 4 + seed % 3);
        for (io, steps) in drivers.iter().copied().chain([simulated]).zip(&mut steps) {
            let at = STEPS.get();
            on_driver(io, &tiny(&mut Chance(seed)), &move |core: Core| life(core, seed));
            *steps += STEPS.get() - at;
        }
        std::mem::forget(failed);
        assert_eq!(descriptors(), before, "seed {seed}: descriptors");
    }
    for (io, steps) in drivers.iter().map(|io| format!("{io:?}")).chain(["Fault".to_string()]).zip(steps) {
        println!("{io}: {steps} steps");
        assert!(steps > 0, "{io}");
    }
    println!("{} streams came off their core", DETACHED.get());
    assert!(DETACHED.get() > 0);
}

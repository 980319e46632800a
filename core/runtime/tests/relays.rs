//! Many relays at once, of which each side and the relay itself may vanish at any point, by a seed: what arrives is a beginning of what
//! was sent, all of it where nobody vanished, and nothing is left behind. It has this file to itself because it counts the process's
//! descriptors.

mod support;

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;

use ringway_runtime::{Core, IoChoice, Options, Pump, PumpError, PumpLimits, Stream};
use support::*;

/// What a relay's four tasks leave: how many have ended, and whether one did before its time.
#[derive(Default)]
struct Fate {
    ended: Cell<u32>,
    broken: Cell<bool>,
}

const RELAYS: usize = 6;

/// Sends a pattern with pauses, and reads to the other direction's end; may vanish.
async fn side(core: Core, stream: Stream, mut chance: Chance, sizes: (usize, usize), fate: Rc<Fate>) {
    let (out, back) = (pattern(sizes.0), pattern(sizes.1));
    let (mut sent, mut got, mut shut) = (0, 0, false);
    stream.set_bulk(chance.below(2) == 0);
    loop {
        if chance.below(400) == 0 {
            fate.broken.set(true);
            if chance.below(2) == 0 {
                stream.abort();
            }
            break;
        }
        if sent < out.len() && stream.unsent() < 100_000 {
            let n = (1 + chance.below(90_000) as usize).min(out.len() - sent);
            stream.send(core.chunk(&out[sent..sent + n]));
            sent += n;
        } else if sent == out.len() && !std::mem::replace(&mut shut, true) {
            stream.shutdown_write();
        }
        if chance.below(10) == 0 {
            turns(&core, chance.below(30) as usize).await;
        }
        match stream.try_recv() {
            None => core.yield_now().await,
            Some(Ok(Some(chunk))) => {
                assert!(*chunk == back[got..got + chunk.len()], "at {got}");
                got += chunk.len();
            }
            Some(Ok(None)) if got == back.len() && sent == out.len() && shut && stream.unsent() == 0 => break,
            Some(Ok(None)) if !fate.broken.get() => {
                assert!(got == back.len(), "an end after {got} of {}", back.len());
                core.yield_now().await;
            }
            Some(Ok(None) | Err(_)) => {
                assert!(fate.broken.get(), "nobody has vanished");
                break;
            }
        }
        // Keeps the receive armed.
        let _ = poll_fn(|cx| Poll::Ready(stream.poll_watch(cx))).await;
    }
    fate.ended.set(fate.ended.get() + 1);
}

async fn relay(core: Core, ends: (Stream, Stream), mut chance: Chance, fate: Rc<Fate>) {
    let (near, far) = ends;
    let limits = PumpLimits {
        bytes_per_poll: 100_000,
        held_max: [30_000, 64 << 10, 200_000][chance.below(3) as usize],
        left: None,
    };
    if chance.below(4) == 0 {
        near.set_sparing(true);
    }
    let (mut there, mut back) = (Pump::new(), Pump::new());
    let (mut far_shut, mut near_shut) = (false, false);
    let result = poll_fn(|cx| {
        if chance.below(1000) == 0 {
            fate.broken.set(true);
            return Poll::Ready(Ok::<_, PumpError>(()));
        }
        for (pump, from, to, shut) in
            [(&mut there, &near, &far, &mut far_shut), (&mut back, &far, &near, &mut near_shut)]
        {
            if let Poll::Ready(result) = pump.poll(cx, from, to, limits) {
                result?;
                if !std::mem::replace(shut, true) {
                    to.shutdown_write();
                }
            }
        }
        if there.is_done() && back.is_done() { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await;
    match result {
        Ok(()) if fate.broken.get() => {}
        Ok(()) => {
            for stream in [&near, &far] {
                let _ = stream.flushed().await;
            }
        }
        Err(error) => assert!(fate.broken.get(), "nobody has vanished: {error:?}"),
    }
    drop((there, back));
    turns(&core, chance.below(3) as usize).await;
    fate.ended.set(fate.ended.get() + 1);
}

async fn life(core: Core, seed: u64) {
    let mut chance = Chance(seed);
    let mut fates = Vec::new();
    for _ in 0..RELAYS {
        let (client, near) = pair(&core).await;
        let (far, server) = pair(&core).await;
        let fate = Rc::new(Fate::default());
        let mut size = || [0, 3_000, 900_000][chance.below(3) as usize];
        let sizes = (size(), size());
        let mut next = || Chance(chance.below(u64::MAX));
        core.spawn("client", side(core.clone(), client, next(), sizes, fate.clone()));
        core.spawn("server", side(core.clone(), server, next(), (sizes.1, sizes.0), fate.clone()));
        core.spawn("relay", relay(core.clone(), (near, far), next(), fate.clone()));
        fates.push(fate);
    }
    // Sometimes the core ends in the middle of it.
    let some = if chance.below(4) == 0 { chance.below(RELAYS as u64) as usize } else { RELAYS };
    until(&core, || fates.iter().filter(|fate| fate.ended.get() == 3).count() >= some).await;
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("procfs").count()
}

#[test]
fn relays_leave_nothing_behind() {
    let seeds = match number("RINGWAY_FAULT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("RINGWAY_FAULT_SEEDS").unwrap_or(60) / 10,
    };
    each_driver(|_| async {}); // Whatever is opened once is open now.
    let before = descriptors();
    let drivers = kernel_drivers();
    for seed in seeds {
        let simulated = IoChoice::Fault(seed / 3 * 4 + seed % 3); // None that runs out of descriptors.
        for io in drivers.iter().copied().chain([simulated]) {
            let options = Options {
                chunk_size: [1000, 4096][seed as usize % 2],
                chunks_initial: 2,
                chunks_max: [8, 64][seed as usize / 2 % 2],
                bulk_size: [10_000, 64 << 10][seed as usize % 2],
                bulk_buffers_max: 3,
                pipe_size: 128 << 10,
                pipes_max: 2,
                sq_entries: 8,
                cq_entries: 8,
                ..Options::default()
            };
            on_driver(io, &options, &move |core: Core| life(core, seed));
        }
        assert_eq!(descriptors(), before, "seed {seed}: descriptors");
    }
}

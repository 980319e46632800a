//! A warm core allocates nothing: counted by the global allocator of this test, which has this file to itself.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use ringway_runtime::{Core, Stream};
use support::*;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// One request and its answer: two pieces there, three back, with a timer, a pooled future and a task on the way.
async fn exchange(core: &Core, client: &Stream) {
    let mut head = core.block(300);
    head.extend_from_slice(&[b'h'; 200]);
    client.send(head.freeze());
    client.send(core.chunk(&[b'b'; 1000]));
    let timer = core.timer();
    timer.set(core.now() + LONG);
    core.spawn("aside", core.yield_now());
    core.pooled(async {
        let mut left = 3 * 1200;
        while left > 0 {
            let chunk = client.recv().await.expect("no error").expect("bytes");
            left -= chunk.len();
        }
    })
    .await;
}

#[test]
fn an_echo_allocates_nothing() {
    // The simulated kernel allocates by itself.
    each_kernel_driver(|core: Core| async move {
        let (client, server) = pair(&core).await;
        core.spawn("echo", async move {
            while let Ok(Some(chunk)) = server.recv().await {
                for _ in 0..3 {
                    server.send(chunk.slice(0..chunk.len()));
                }
            }
        });
        for _ in 0..200 {
            exchange(&core, &client).await;
        }
        let before = ALLOCATIONS.get();
        for _ in 0..1000 {
            exchange(&core, &client).await;
        }
        assert_eq!(ALLOCATIONS.get() - before, 0, "allocations in 1000 exchanges");
    });
}

#[test]
fn bulk_allocates_nothing() {
    // The simulated kernel allocates by itself.
    each_kernel_driver(|core: Core| async move {
        let (near, far) = pair(&core).await;
        far.set_bulk(true);
        let piece = core.chunk(&pattern(64 << 10));
        let mut before = 0;
        for round in 0..300 {
            if round == 100 {
                before = ALLOCATIONS.get();
            }
            near.send(piece.clone());
            let mut left = piece.len();
            while left > 0 {
                left -= far.recv().await.expect("no error").expect("bytes").len();
            }
        }
        assert_eq!(ALLOCATIONS.get() - before, 0, "allocations in 200 rounds");
    });
}

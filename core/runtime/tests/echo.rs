//! Bytes go there and come back, on both drivers.

mod support;

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use ringway_runtime::{Core, Options};
use support::*;

/// Echoes `sizes` over one connection, in order, byte for byte.
#[track_caller]
fn check(options: Options, sizes: &'static [usize]) {
    each_driver_with(options, move |core: Core| async move {
        let (client, server) = pair(&core).await;
        core.spawn("echo", async move {
            while let Ok(Some(chunk)) = server.recv().await {
                server.send(chunk);
            }
        });
        for &size in sizes {
            let bytes = pattern(size);
            client.send(core.chunk(&bytes));
            assert!(recv_exact(&client, size).await == bytes, "{size} bytes come back as they were");
        }
        client.shutdown_write();
        assert!(client.recv().await.expect("a clean end").is_none());
        assert!(client.recv().await.expect("the end stays").is_none());
    });
}

#[test]
fn small_messages() {
    check(Options::default(), &[1, 2, 100, 1000, 1, 4095, 4096, 4097]);
}

#[test]
fn messages_larger_than_all_initial_chunks() {
    check(Options::default(), &[300_000, 1, 700_000]);
}

#[test]
fn spinning_before_sleep() {
    check(Options { spin_us: 50, ..Options::default() }, &[1, 1000, 100_000]);
}

/// More receives are armed in one turn than the submission queue holds; those that complete while it is emptied are not slept over.
#[test]
fn what_completes_while_the_queue_overflows_is_seen() {
    let options = Options { sq_entries: 8, ..Options::default() };
    each_driver_with(options, |core: Core| async move {
        let mut ends = Vec::new();
        for i in 0..30 {
            let (near, far) = pair(&core).await;
            if i < 4 {
                near.send(core.chunk(b"!"));
                near.flushed().await.expect("an open socket");
            }
            ends.push((near, far));
        }
        turns(&core, 20).await;
        // (readers that are done, who waits for them)
        let done = Rc::new((Cell::new(0), RefCell::new(None::<Waker>)));
        let (nears, fars): (Vec<_>, Vec<_>) = ends.into_iter().unzip();
        for far in fars {
            let done = done.clone();
            core.spawn("reader", async move {
                if let Ok(Some(_)) = far.recv().await {
                    done.0.set(done.0.get() + 1);
                    if let Some(waker) = done.1.borrow_mut().take() {
                        waker.wake();
                    }
                }
            });
        }
        // Nothing but the completions wakes this core.
        poll_fn(|cx| {
            done.1.replace(Some(cx.waker().clone()));
            if done.0.get() == 4 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        drop(nears);
    });
}

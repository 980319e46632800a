//! Bytes go there and come back, on both drivers.

mod support;

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

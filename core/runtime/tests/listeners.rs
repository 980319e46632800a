//! Listening: late listen(2), holding back, and stopping without losing a connection.

mod support;

use std::os::fd::AsFd;
use std::time::Duration;

use ringway_runtime::{Core, Stream};
use support::*;

async fn say_hello(core: &Core, from: &Stream, to: &Stream) {
    from.send(core.chunk(b"hello"));
    assert_eq!(recv_exact(to, 5).await, b"hello");
}

#[test]
fn a_burst_is_accepted_whole() {
    each_driver(|core: Core| async move {
        let (listener, address) = listener(&core, 1024);
        // More than what may wait between the driver and the task.
        let mut clients = Vec::new();
        for _ in 0..200 {
            clients.push(connect(&core, address).await);
        }
        for client in &clients {
            let server = listener.accept().await.expect("accept");
            assert_eq!(server.local_addr(), Some(address));
            assert!(server.peer_addr().is_some());
            say_hello(&core, &server, client).await;
        }
        assert!(within(&core, Duration::from_millis(1), listener.accept()).await.is_none());
    });
}

/// Bound first, waited on, and only then told to listen, as a commit does it.
#[test]
fn listen_may_come_late() {
    each_driver(|core: Core| async move {
        let fd = ringway_runtime::bind(anywhere(), true).expect("bind");
        let twin = fd.try_clone().expect("a second descriptor");
        let listener = core.listen(fd);
        let address = listener.local_addr().expect("an address");
        assert!(within(&core, Duration::from_millis(1), listener.accept()).await.is_none());
        let wake = core.wake_handle().clone();
        let control = std::thread::spawn(move || {
            ringway_runtime::start_listening(twin.as_fd(), 16).expect("listen");
            wake.wake();
        });
        let (client, server) = both(
            async {
                core.woken().await;
                connect(&core, address).await
            },
            listener.accept(),
        )
        .await;
        say_hello(&core, &client, &server.expect("accept")).await;
        control.join().expect("the control thread");
    });
}

#[test]
fn a_paused_listener_accepts_nothing() {
    each_driver(|core: Core| async move {
        let (listener, address) = listener(&core, 16);
        assert!(within(&core, Duration::from_millis(1), listener.accept()).await.is_none());
        listener.pause();
        turns(&core, 3).await;
        let client = connect(&core, address).await;
        let before = core.stats().accepts.get();
        assert!(within(&core, Duration::from_millis(5), listener.accept()).await.is_none());
        assert_eq!(core.stats().accepts.get(), before, "it waits in the backlog");
        listener.resume();
        let server = listener.accept().await.expect("accept");
        say_hello(&core, &client, &server).await;
    });
}

/// Clients that were connected when the listener stopped are all taken; a later one meets nobody.
#[test]
fn refuse_and_drain_lose_nobody() {
    each_driver(|core: Core| async move {
        let (listener, address) = listener(&core, 1024);
        assert!(within(&core, Duration::from_millis(1), listener.accept()).await.is_none());
        let mut clients = Vec::new();
        for _ in 0..100 {
            clients.push(connect(&core, address).await);
        }
        listener.refuse_new().expect("a socket filter");
        let late = core.connect(address, core.now() + Duration::from_millis(50)).await;
        assert!(late.is_err(), "a new handshake gets no answer");
        let servers = listener.drain().await;
        drop(listener);
        assert_eq!(servers.len(), clients.len());
        for (client, server) in clients.iter().zip(&servers) {
            say_hello(&core, server, client).await;
        }
    });
}

/// Dropped with connections in its queue and in the backlog: all are closed, none leaks.
#[test]
fn a_dropped_listener_closes_what_it_had() {
    each_driver(|core: Core| async move {
        let (listener, address) = listener(&core, 1024);
        let mut clients = vec![connect(&core, address).await];
        drop(listener.accept().await.expect("accept"));
        for _ in 0..100 {
            clients.push(connect(&core, address).await);
        }
        turns(&core, 2).await;
        drop(listener);
        for client in clients {
            let _ = recv_all(&client).await; // FIN or RST: an end.
        }
    });
}

//! No descriptor left: an error for the acceptor, a pause, and everything goes on. It has this file to itself because it changes
//! the process's limit.

mod support;

use ringway_runtime::Core;
use support::*;

fn limit_descriptors(limit: u64) -> u64 {
    let mut old = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the calls read and write one rlimit, which is ours.
    unsafe {
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut old), 0);
        let new = libc::rlimit { rlim_cur: limit, rlim_max: old.rlim_max };
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const new), 0);
    }
    old.rlim_cur
}

#[test]
fn an_acceptor_survives_the_want_of_descriptors() {
    each_driver(|core: Core| async move {
        let (listener, address) = listener(&core, 16);
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.push(connect(&core, address).await);
        }
        let before = limit_descriptors(3);
        let error = listener.accept().await.err().expect("no descriptor is left");
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
        assert!(core.stats().accept_errors.get() > 0);
        limit_descriptors(before);
        let began = core.now();
        for client in &clients {
            let server = listener.accept().await.expect("accept");
            server.send(core.chunk(b"hello"));
            assert_eq!(recv_exact(client, 5).await, b"hello");
        }
        assert!(core.now() > began, "after a pause");
    });
}

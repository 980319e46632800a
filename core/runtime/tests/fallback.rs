//! A host that blocks io_uring, as the default seccomp profiles of Docker and containerd do: auto runs on poll and says why.

mod support;

use ringway_runtime::seccomp::{Action, Rule, filter_this_thread};
use ringway_runtime::{IoChoice, Options, Wake, run};
use support::*;

#[track_caller]
fn check(errno: i32, to_do: &'static str) {
    let thread = std::thread::spawn(move || {
        let rule = Rule { call: libc::SYS_io_uring_setup, when: None, action: Action::Errno(errno as u16) };
        filter_this_thread(&[rule], Action::Allow).expect("a filter needs no privilege");
        let wake = || Wake::new().expect("an eventfd");
        let report = run(&Options::default(), wake(), |core, report| async move {
            let (near, far) = pair(&core).await;
            near.send(core.chunk(b"works"));
            assert_eq!(recv_exact(&far, 5).await, b"works");
            report
        });
        let report = report.expect("poll always works");
        assert_eq!(report.driver, "poll");
        let reason = std::io::Error::from_raw_os_error(errno).to_string();
        assert!(report.to_string().contains(&reason) && report.advice.contains(to_do), "{report}");
        let options = Options { io: IoChoice::Ring, ..Options::default() };
        let error = run(&options, wake(), |_, _| async {}).expect_err("no ring here");
        assert_eq!(error.error.raw_os_error(), Some(errno));
        let text = error.to_string();
        assert!(text.contains("io_uring_setup") && text.contains(to_do), "{text}");
    });
    thread.join().expect("the checks hold");
}

#[test]
fn blocked_by_seccomp() {
    check(libc::EPERM, "a seccomp filter forbids it");
}

#[test]
fn no_such_system_call() {
    check(libc::ENOSYS, "SECCOMP.md");
}

#[test]
fn no_memory_for_a_ring() {
    check(libc::ENOMEM, "ulimit -l");
}

//! A host that blocks io_uring, as the default seccomp profiles of Docker and containerd do: auto runs on poll and says why.

mod support;

use ringway_runtime::{IoChoice, Options, Wake, run};
use support::*;

/// From here on io_uring_setup(2) fails with `errno` on this thread.
fn forbid_io_uring(errno: i32) {
    let instruction = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut program = [
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0), // seccomp_data.nr
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_io_uring_setup as u32),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | errno as u32),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the kernel copies the program, which outlives the call; both concern this thread only.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter), 0);
    }
}

#[track_caller]
fn check(errno: i32) {
    let thread = std::thread::spawn(move || {
        forbid_io_uring(errno);
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
        assert!(report.to_string().contains(&reason), "{report}");
        let options = Options { io: IoChoice::Ring, ..Options::default() };
        let error = run(&options, wake(), |_, _| async {}).expect_err("no ring here");
        assert_eq!(error.error.raw_os_error(), Some(errno));
        assert!(error.to_string().contains("io_uring_setup"), "{error}");
    });
    thread.join().expect("the checks hold");
}

#[test]
fn blocked_by_seccomp() {
    check(libc::EPERM);
}

#[test]
fn no_such_system_call() {
    check(libc::ENOSYS);
}

#[test]
fn no_memory_for_a_ring() {
    check(libc::ENOMEM);
}

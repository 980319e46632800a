//! Why a host refuses io_uring, and what its owner can do about it, in one sentence.
//!
//! Judges by the error's number and by what the kernel shows under /proc, which comes in under a root path. Runs once, at
//! start-up.

use std::fs;
use std::io;
use std::path::Path;

/// What to do about an error of setting up a ring; empty where nothing is known.
///
/// Reads `proc/sys/kernel/io_uring_disabled` (admin-guide/sysctl/kernel.rst) and `proc/thread-self/status` (proc_pid_status(5)) below
/// `root`, which is `/` in life.
pub fn advice(error: &io::Error, root: &Path) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => forbidden(root),
        Some(libc::ENOSYS) => {
            "the kernel was built without io_uring, or a sandbox hides it (gVisor, or a seccomp profile that answers ENOSYS): \
             docs/deploy/SECCOMP.md"
        }
        Some(libc::ENOMEM) => {
            "raise the locked-memory limit (ulimit -l; kernels before 5.12 charge rings to it) or the memory limit of the \
             cgroup"
        }
        Some(libc::EMFILE | libc::ENFILE) => {
            "raise the limit of open files (ulimit -n): each worker needs three to start"
        }
        Some(libc::EOPNOTSUPP | libc::EINVAL) => "Linux 6.0 or newer has what the ring driver needs, 6.1 what it likes",
        _ => "",
    }
}

fn forbidden(root: &Path) -> &'static str {
    match io_uring_disabled(root) {
        Some(2) => "kernel.io_uring_disabled is 2, which forbids it to all: sysctl -w kernel.io_uring_disabled=0",
        Some(1) => {
            "kernel.io_uring_disabled is 1: set kernel.io_uring_group to a group of this process, give it CAP_SYS_ADMIN, or \
             sysctl -w kernel.io_uring_disabled=0"
        }
        _ if seccomp_mode(root) == Some(2) => {
            "a seccomp filter forbids it, as the default profiles of Docker and containerd do: docs/deploy/SECCOMP.md"
        }
        _ => "a security module or sandbox forbids it: SELinux and AppArmor log what they deny to the kernel's log",
    }
}

/// `kernel.io_uring_disabled` (since 6.6): 0 for all, 1 for the privileged and one group, 2 for nobody.
pub fn io_uring_disabled(root: &Path) -> Option<u32> {
    fs::read_to_string(root.join("proc/sys/kernel/io_uring_disabled")).ok()?.trim().parse().ok()
}

/// The calling thread's seccomp mode: 0 none, 1 strict, 2 filter.
pub fn seccomp_mode(root: &Path) -> Option<u32> {
    let status = fs::read_to_string(root.join("proc/thread-self/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("Seccomp:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, errno: i32, disabled: &str, seccomp: &str, expect: &str) {
        let root = std::env::temp_dir().join(format!("ringway-refusal-{}-{name}", std::process::id()));
        fs::create_dir_all(root.join("proc/sys/kernel")).expect("a folder");
        fs::create_dir_all(root.join("proc/thread-self")).expect("a folder");
        fs::write(root.join("proc/sys/kernel/io_uring_disabled"), disabled).expect("a file");
        fs::write(root.join("proc/thread-self/status"), format!("Name:\tx\nSeccomp:\t{seccomp}\n")).expect("a file");
        let said = advice(&io::Error::from_raw_os_error(errno), &root);
        let _ = fs::remove_dir_all(&root);
        assert!(if expect.is_empty() { said.is_empty() } else { said.contains(expect) }, "{name}: {said}");
    }

    #[test]
    fn each_refusal_has_its_remedy() {
        check("sysctl-2", libc::EPERM, "2\n", "0", "forbids it to all: sysctl -w");
        check("sysctl-1", libc::EPERM, "1\n", "2", "kernel.io_uring_group");
        check("seccomp", libc::EPERM, "0\n", "2", "a seccomp filter");
        check("old-kernel-seccomp", libc::EPERM, "", "2", "a seccomp filter");
        check("lsm", libc::EACCES, "0\n", "0", "SELinux");
        check("no-such-call", libc::ENOSYS, "0\n", "0", "without io_uring");
        check("memory", libc::ENOMEM, "0\n", "0", "ulimit -l");
        check("descriptors", libc::EMFILE, "0\n", "0", "ulimit -n");
        check("old-kernel", libc::EOPNOTSUPP, "", "0", "Linux 6.0");
        check("unknown", libc::EIO, "0\n", "0", "");
    }
}

//! docs/deploy/seccomp.json as a real filter: under it the proxy starts on a ring, serves, reloads and drains.
#![cfg(target_arch = "x86_64")] // the table of numbers

use crate::common;
use crate::common::config::Config;
use crate::common::origin::Origin;
use crate::common::process::{Proxy, ring_works};
use ringway_runtime::seccomp::{Action, Masked, Rule};
use serde_json::Value;

/// The profile, as Docker and Kubernetes read it.
fn profile() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/deploy/seccomp.json");
    serde_json::from_str(&std::fs::read_to_string(path).expect("the profile")).expect("JSON")
}

/// The profile as rules, without the calls that `left_out` names, and what it says of all others.
fn rules(profile: &Value, left_out: &str) -> (Vec<Rule>, Action) {
    let action = |name: &Value, errno: &Value| match name.as_str() {
        Some("SCMP_ACT_ALLOW") => Action::Allow,
        Some("SCMP_ACT_ERRNO") => Action::Errno(errno.as_u64().expect("an error number") as u16),
        other => panic!("no such action: {other:?}"),
    };
    let mut rules = Vec::new();
    for group in profile["syscalls"].as_array().expect("groups") {
        let when = group["args"].as_array().map(|args| {
            let [arg] = &args[..] else { panic!("one argument at most: {args:?}") };
            assert_eq!(arg["op"], "SCMP_CMP_MASKED_EQ");
            let number = |key: &str| u32::try_from(arg[key].as_u64().expect("a number")).expect("32 bits");
            Masked { argument: number("index") as u8, mask: number("value"), value: number("valueTwo") }
        });
        for name in group["names"].as_array().expect("names").iter().filter_map(Value::as_str) {
            if !name.starts_with(left_out) || left_out.is_empty() {
                let known = CALLS.iter().find(|(known, _)| *known == name);
                let call = known.unwrap_or_else(|| panic!("no number for {name}")).1;
                rules.push(Rule { call, when, action: action(&group["action"], &group["errnoRet"]) });
            }
        }
    }
    (rules, action(&profile["defaultAction"], &profile["defaultErrnoRet"]))
}

/// A whole life under the profile without some calls: start, requests to itself and to an origin, reload, drain, end.
#[track_caller]
fn check(left_out: &str, io: &str, says: &str) {
    let (rules, otherwise) = rules(&profile(), left_out);
    let origin = Origin::start("one");
    let config = Config::new().to("/", "origin").cluster("origin", origin.address);
    let options = ["--concurrency", "2", "--pin", "on", "--drain-time-s", "20"];
    let mut proxy = Proxy::start_filtered(&rules, otherwise, io, &config, &options);
    proxy.said(says);
    assert_eq!(proxy.get("/direct").text(), "direct");
    let mut client = proxy.client();
    client.send("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 300000\r\n\r\n").send(vec![b'x'; 300_000]);
    assert_eq!(client.response(false).body.len(), 300_000);
    origin.request();
    for path in ["/workers", "/stats", "/stats/prometheus", "/config_dump", "/clusters", "/server_info"] {
        assert_eq!(proxy.admin("GET", path).status(), 200, "{path}");
    }
    proxy.replace(&config.yaml().replace("inline_string: direct", "inline_string: other"));
    proxy.line("generation 2 in force");
    assert_eq!(proxy.get("/direct").text(), "other");
    client.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n");
    origin.request();
    proxy.signal("TERM");
    proxy.line("SIGTERM");
    origin.release();
    assert_eq!(client.response(false).text(), "one");
    assert_eq!(proxy.end().code(), Some(0));
}

#[test]
fn the_profile_is_enough_for_a_ring() {
    if !ring_works() {
        return common::skip("this kernel grants no io_uring");
    }
    check("", "ring", "io ring");
}

#[test]
fn the_profile_is_enough_for_poll() {
    check("", "poll", "io poll");
}

/// What a default profile comes to: the same, over epoll, and a line that says why.
#[test]
fn without_io_uring_it_is_poll() {
    check("io_uring_", "auto", "a seccomp filter forbids it");
}

/// A profile that somebody wrote for a version before: what would be spliced is copied.
#[test]
fn without_splice_large_bodies_are_copied() {
    check("splice", "poll", "io poll");
}

#[test]
fn the_profile_allows_nothing_that_leads_out_of_a_container() {
    let profile = profile();
    let text = profile.to_string();
    for name in [
        "add_key",
        "bpf",
        "delete_module",
        "finit_module",
        "fsopen",
        "init_module",
        "kexec_load",
        "keyctl",
        "mknod",
        "mount",
        "move_mount",
        "open_by_handle_at",
        "perf_event_open",
        "pivot_root",
        "process_vm_writev",
        "ptrace",
        "reboot",
        "setns",
        "swapon",
        "umount2",
        "unshare",
        "userfaultfd",
    ] {
        assert!(!text.contains(&format!("\"{name}\"")), "{name}");
    }
    // All namespaces that clone(2) can make: CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}.
    let flags = [0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000].iter().sum::<u32>();
    let (rules, otherwise) = rules(&profile, "");
    let clone = rules.iter().find(|rule| rule.call == libc::SYS_clone).expect("a rule");
    assert_eq!(clone.when, Some(Masked { argument: 0, mask: flags, value: 0 }));
    assert_eq!(otherwise, Action::Errno(1));
}

/// The numbers of the profile's calls on this machine.
#[rustfmt::skip]
const CALLS: &[(&str, i64)] = &[
    ("accept", libc::SYS_accept),
    ("accept4", libc::SYS_accept4),
    ("access", libc::SYS_access),
    ("arch_prctl", libc::SYS_arch_prctl),
    ("bind", libc::SYS_bind),
    ("brk", libc::SYS_brk),
    ("capget", libc::SYS_capget),
    ("capset", libc::SYS_capset),
    ("chdir", libc::SYS_chdir),
    ("clock_gettime", libc::SYS_clock_gettime),
    ("clock_nanosleep", libc::SYS_clock_nanosleep),
    ("clone", libc::SYS_clone),
    ("clone3", libc::SYS_clone3),
    ("close", libc::SYS_close),
    ("close_range", libc::SYS_close_range),
    ("connect", libc::SYS_connect),
    ("dup", libc::SYS_dup),
    ("dup2", libc::SYS_dup2),
    ("dup3", libc::SYS_dup3),
    ("epoll_create1", libc::SYS_epoll_create1),
    ("epoll_ctl", libc::SYS_epoll_ctl),
    ("epoll_pwait", libc::SYS_epoll_pwait),
    ("epoll_wait", libc::SYS_epoll_wait),
    ("eventfd2", libc::SYS_eventfd2),
    ("execve", libc::SYS_execve),
    ("execveat", libc::SYS_execveat),
    ("exit", libc::SYS_exit),
    ("exit_group", libc::SYS_exit_group),
    ("faccessat", libc::SYS_faccessat),
    ("faccessat2", libc::SYS_faccessat2),
    ("fchdir", libc::SYS_fchdir),
    ("fchown", libc::SYS_fchown),
    ("fcntl", libc::SYS_fcntl),
    ("fstat", libc::SYS_fstat),
    ("fstatfs", libc::SYS_fstatfs),
    ("futex", libc::SYS_futex),
    ("getcwd", libc::SYS_getcwd),
    ("getdents64", libc::SYS_getdents64),
    ("getegid", libc::SYS_getegid),
    ("geteuid", libc::SYS_geteuid),
    ("getgid", libc::SYS_getgid),
    ("getpeername", libc::SYS_getpeername),
    ("getpgrp", libc::SYS_getpgrp),
    ("getpid", libc::SYS_getpid),
    ("getppid", libc::SYS_getppid),
    ("getrandom", libc::SYS_getrandom),
    ("getsockname", libc::SYS_getsockname),
    ("getsockopt", libc::SYS_getsockopt),
    ("gettid", libc::SYS_gettid),
    ("getuid", libc::SYS_getuid),
    ("inotify_add_watch", libc::SYS_inotify_add_watch),
    ("inotify_init1", libc::SYS_inotify_init1),
    ("inotify_rm_watch", libc::SYS_inotify_rm_watch),
    ("io_uring_enter", libc::SYS_io_uring_enter),
    ("io_uring_register", libc::SYS_io_uring_register),
    ("io_uring_setup", libc::SYS_io_uring_setup),
    ("ioctl", libc::SYS_ioctl),
    ("kill", libc::SYS_kill),
    ("listen", libc::SYS_listen),
    ("lseek", libc::SYS_lseek),
    ("madvise", libc::SYS_madvise),
    ("mmap", libc::SYS_mmap),
    ("mprotect", libc::SYS_mprotect),
    ("mremap", libc::SYS_mremap),
    ("munmap", libc::SYS_munmap),
    ("nanosleep", libc::SYS_nanosleep),
    ("newfstatat", libc::SYS_newfstatat),
    ("open", libc::SYS_open),
    ("openat", libc::SYS_openat),
    ("openat2", libc::SYS_openat2),
    ("pipe2", libc::SYS_pipe2),
    ("poll", libc::SYS_poll),
    ("ppoll", libc::SYS_ppoll),
    ("prctl", libc::SYS_prctl),
    ("pread64", libc::SYS_pread64),
    ("prlimit64", libc::SYS_prlimit64),
    ("read", libc::SYS_read),
    ("readlink", libc::SYS_readlink),
    ("readlinkat", libc::SYS_readlinkat),
    ("readv", libc::SYS_readv),
    ("recvfrom", libc::SYS_recvfrom),
    ("recvmsg", libc::SYS_recvmsg),
    ("rename", libc::SYS_rename),
    ("renameat", libc::SYS_renameat),
    ("renameat2", libc::SYS_renameat2),
    ("restart_syscall", libc::SYS_restart_syscall),
    ("rseq", libc::SYS_rseq),
    ("rt_sigaction", libc::SYS_rt_sigaction),
    ("rt_sigprocmask", libc::SYS_rt_sigprocmask),
    ("rt_sigreturn", libc::SYS_rt_sigreturn),
    ("sched_getaffinity", libc::SYS_sched_getaffinity),
    ("sched_setaffinity", libc::SYS_sched_setaffinity),
    ("sched_yield", libc::SYS_sched_yield),
    ("sendmmsg", libc::SYS_sendmmsg),
    ("sendmsg", libc::SYS_sendmsg),
    ("sendto", libc::SYS_sendto),
    ("set_robust_list", libc::SYS_set_robust_list),
    ("set_tid_address", libc::SYS_set_tid_address),
    ("setgid", libc::SYS_setgid),
    ("setgroups", libc::SYS_setgroups),
    ("setresgid", libc::SYS_setresgid),
    ("setresuid", libc::SYS_setresuid),
    ("setsid", libc::SYS_setsid),
    ("setsockopt", libc::SYS_setsockopt),
    ("setuid", libc::SYS_setuid),
    ("shutdown", libc::SYS_shutdown),
    ("sigaltstack", libc::SYS_sigaltstack),
    ("socket", libc::SYS_socket),
    ("socketpair", libc::SYS_socketpair),
    ("splice", libc::SYS_splice),
    ("statfs", libc::SYS_statfs),
    ("statx", libc::SYS_statx),
    ("sysinfo", libc::SYS_sysinfo),
    ("tgkill", libc::SYS_tgkill),
    ("tkill", libc::SYS_tkill),
    ("umask", libc::SYS_umask),
    ("uname", libc::SYS_uname),
    ("unlink", libc::SYS_unlink),
    ("unlinkat", libc::SYS_unlinkat),
    ("wait4", libc::SYS_wait4),
    ("waitid", libc::SYS_waitid),
    ("write", libc::SYS_write),
    ("writev", libc::SYS_writev),
];

//! What a host may withhold: features of io_uring, io_uring itself, descriptors, locked memory. The proxy starts, serves, and
//! says in its log, in /workers and under `--io ring` what it lacks and what to do.

use std::net::TcpStream;

use crate::common;
use crate::common::config::Config;
use crate::common::origin::Origin;
use crate::common::process::{Proxy, TempDir, ring_works, run};
use crate::common::{driver, skip, wait_for};
use ringway_runtime::seccomp::{Action, Rule, filter_this_thread};
use serde_json::Value;

/// Requests of several shapes through the proxy; then what /workers says of its only worker's io.
#[track_caller]
fn serves(proxy: &Proxy, origin: &Origin) -> Value {
    assert_eq!(proxy.get("/direct").text(), "direct");
    let mut client = proxy.client();
    for size in [0, 10_000, 300_000] {
        client
            .send(format!("POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: {size}\r\n\r\n"))
            .send(vec![b'x'; size]);
        assert_eq!(client.response(false).body.len(), size);
        origin.request();
    }
    drop(client);
    let text = proxy.admin("GET", "/workers").text();
    let workers: Value = serde_json::from_str(&text).expect("JSON");
    workers["workers"][0]["io"].clone()
}

fn config(origin: &Origin) -> Config {
    Config::new().to("/", "origin").cluster("origin", origin.address)
}

#[test]
fn levels_of_io_uring() {
    if !ring_works() {
        return skip("this kernel grants no io_uring");
    }
    let origin = Origin::start("one");
    for (without, driver, says) in [
        ("no_iowait", "ring", "without no_iowait (Linux 6.15)"),
        ("no_sqarray,no_iowait", "ring", "no_sqarray (Linux 6.6)"),
        ("defer_taskrun,no_sqarray,no_iowait", "ring", "defer_taskrun (Linux 6.1)"),
        ("single_issuer,ring_fd", "ring", "ring_fd (Linux 5.18)"),
        ("multishot_recv", "poll", "io_uring without multishot_recv (Linux 6.0)"),
        ("buffer_ring", "poll", "io_uring without buffer_ring (Linux 5.19)"),
        ("ext_arg", "poll", "to do: Linux 6.0 or newer"),
    ] {
        let mut proxy = Proxy::start_with("auto", &config(&origin), &["--concurrency", "1", "--io-without", without]);
        proxy.said(&format!("io {driver}"));
        proxy.said(says);
        let io = serves(&proxy, &origin);
        assert_eq!(io["driver"], driver, "{io}");
        if driver == "ring" {
            assert!(
                without.split(',').all(|feature| io["missing"].as_str().is_some_and(|m| m.contains(feature))),
                "{io}"
            );
        } else {
            assert!(io["to_do"].as_str().is_some_and(|to_do| to_do.contains("6.0")), "{io}");
        }
        proxy.signal("TERM");
        assert_eq!(proxy.end().code(), Some(0), "{without}");
    }
}

/// What a container's default profile does, and what other sandboxes do instead.
#[test]
fn io_uring_is_forbidden() {
    for (errno, says, to_do) in [
        (1, "Operation not permitted", "a seccomp filter forbids it"),
        (38, "Function not implemented", "SECCOMP.md"),
        (12, "Cannot allocate memory", "ulimit -l"),
    ] {
        let thread = std::thread::spawn(move || {
            // x86-64, aarch64 and riscv64 agree on this number.
            let rule = Rule { call: 425, when: None, action: Action::Errno(errno) };
            filter_this_thread(&[rule], Action::Allow).expect("a filter needs no privilege");
            let origin = Origin::start("one");
            let proxy = Proxy::start_with("auto", &config(&origin), &["--concurrency", "1"]);
            proxy.said(&format!("io poll (epoll_edge): no io_uring here: io_uring_setup: {says}"));
            proxy.said(to_do);
            assert_eq!(serves(&proxy, &origin)["driver"], "poll");
            let dir = TempDir::new();
            let file = dir.rename_over("c.yaml", &Config::new().yaml()).display().to_string();
            let output = run(&["-c", &file, "--io", "ring"]);
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{text}");
            assert!(text.contains(says) && text.contains(to_do), "{text}");
        });
        thread.join().expect("the checks hold");
    }
}

/// Rings are charged to the memory cgroup since Linux 5.12: no locked memory is needed.
#[test]
fn no_locked_memory() {
    common::on_each_driver(|io| {
        let origin = Origin::start("one");
        let proxy = Proxy::start_limited("-l 0", io, &config(&origin));
        assert_eq!(serves(&proxy, &origin)["driver"], driver(io));
    });
}

/// Sixty-four descriptors: more clients than that wait in the backlog, and are served when others have gone.
#[test]
fn few_descriptors() {
    common::on_each_driver(|io| {
        let origin = Origin::start("one");
        let proxy = Proxy::start_limited("-n 64", io, &config(&origin));
        proxy.said("descriptors: 64");
        assert_eq!(serves(&proxy, &origin)["driver"], driver(io));
        let crowd: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(proxy.address).expect("the backlog")).collect();
        proxy.wait_stat("http.main.downstream_cx_active", |active| active >= 16);
        drop(crowd);
        wait_for("a served client", || (proxy.get("/direct").text() == "direct").then_some(()));
    });
}

/// Where the workers run is said at the start and in /workers.
#[test]
fn workers_have_their_places() {
    let cpus = ringway_runtime::cpus::affinity().expect("the affinity");
    let first = cpus[0].to_string();
    let proxy = Proxy::start_with("poll", &Config::new(), &["--cpus", &first]);
    proxy.said(&format!("workers: 1 (asked for by CPU list), on CPUs {first} (--cpus)"));
    let workers: Value = serde_json::from_str(&proxy.admin("GET", "/workers").text()).expect("JSON");
    let worker = &workers["workers"][0];
    assert_eq!(worker["cpu"], cpus[0], "{worker}");
    assert!(worker["smt_siblings"].is_array(), "{worker}");
    let proxy = Proxy::start_with("poll", &Config::new(), &["--cpus", &first, "--concurrency", "2"]);
    proxy.said("[warning] workers: 2 workers share 1 CPUs");
}

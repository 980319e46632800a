//! From the first line of the log to the exit code: start, drain, stop, and what stands in the way.

use std::net::TcpListener;

use crate::common;
use crate::common::config::Config;
use crate::common::origin::Origin;
use crate::common::process::{Proxy, TempDir, run};
use crate::common::{driver, on_each_driver};

#[test]
fn sigterm_fails_ready_at_once_and_lets_what_runs_finish() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        let config = Config::new().to("/", "origin").cluster("origin", origin.address);
        let mut proxy = Proxy::start_with(io, &config, &["--drain-time-s", "20", "--concurrency", "2"]);
        assert_eq!(proxy.admin("GET", "/ready").status(), 200);
        let mut idle = proxy.client();
        assert_eq!(idle.get("/name").text(), "one");
        origin.request();
        let mut slow = proxy.client();
        slow.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n");
        origin.request();
        proxy.signal("TERM");
        proxy.line("SIGTERM");
        let ready = proxy.admin("GET", "/ready");
        assert_eq!((ready.status(), ready.text().as_str()), (503, "DRAINING\n"));
        // A balancer that has not noticed yet is still served, and told to look elsewhere.
        let late = proxy.get("/name");
        assert_eq!((late.text().as_str(), late.header("connection")), ("one", Some("close")));
        assert!(proxy.runs());
        origin.release();
        let last = slow.response(false);
        assert_eq!((last.text().as_str(), last.header("connection")), ("one", Some("close")));
        assert!(slow.ended());
        drop(idle);
        assert_eq!(proxy.end().code(), Some(0));
        proxy.line("all connections are done");
    });
}

#[test]
fn the_drain_time_is_kept() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        let config = Config::new().to("/", "origin").cluster("origin", origin.address);
        let mut proxy = Proxy::start_with(io, &config, &["--drain-time-s", "1"]);
        let mut stuck = proxy.client();
        stuck.send("GET /silent HTTP/1.1\r\nHost: test\r\n\r\n");
        origin.request();
        proxy.signal("TERM");
        assert_eq!(proxy.end().code(), Some(0));
        proxy.line("the drain time is over");
    });
}

#[test]
fn what_ends_the_process_at_once() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        let config = Config::new().to("/", "origin").cluster("origin", origin.address);
        type Way<'w> = (&'w str, &'w dyn Fn(&mut Proxy));
        let ways: [Way<'_>; 3] = [
            ("SIGINT", &|proxy| proxy.signal("INT")),
            ("a second SIGTERM", &|proxy| {
                proxy.signal("TERM");
                proxy.line("SIGTERM");
                proxy.signal("TERM");
            }),
            ("/quitquitquit", &|proxy| assert_eq!(proxy.admin("POST", "/quitquitquit").text(), "OK\n")),
        ];
        for (name, end) in ways {
            let mut proxy = Proxy::start(io, &config);
            let mut stuck = proxy.client();
            stuck.send("GET /silent HTTP/1.1\r\nHost: test\r\n\r\n");
            origin.request();
            end(&mut proxy);
            assert_eq!(proxy.end().code(), Some(0), "{name}");
        }
    });
}

#[test]
fn sigusr1_is_harmless() {
    let mut proxy = Proxy::start("poll", &Config::new());
    proxy.signal("USR1");
    proxy.signal("HUP");
    proxy.line("nothing changed");
    assert!(proxy.runs());
}

#[test]
fn drain_listeners_closes_the_listeners_and_the_process_stays() {
    on_each_driver(|io| {
        let mut proxy = Proxy::start_with(io, &Config::new(), &["--drain-time-s", "2", "--concurrency", "1"]);
        assert_eq!(proxy.admin("POST", "/drain_listeners?graceful").text(), "OK\n");
        common::wait_for("a closed port", || std::net::TcpStream::connect(proxy.address).err());
        assert_eq!(proxy.admin("GET", "/ready").status(), 200);
        assert!(proxy.runs());
    });
}

#[test]
fn a_port_that_is_taken_ends_the_start_with_a_reason() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let dir = TempDir::new();
    let yaml = Config::new().yaml();
    for (what, yaml) in [
        (
            "listener",
            yaml.replacen("port_value: 0", "PORT", 1)
                .replacen("port_value: 0", &format!("port_value: {port}"), 1)
                .replace("PORT", "port_value: 0"),
        ),
        ("admin", yaml.replacen("port_value: 0", &format!("port_value: {port}"), 1)),
    ] {
        let file = dir.rename_over("c.yaml", &yaml).display().to_string();
        let output = run(&["-c", &file, "--concurrency", "1"]);
        let log = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{log}");
        let line = log.lines().find(|line| line.contains("[critical]")).unwrap_or_else(|| panic!("{log}"));
        assert!(line.contains(what) && line.contains(&port.to_string()), "{line}");
    }
}

#[test]
fn the_start_says_which_io_level_is_active_and_why() {
    on_each_driver(|io| {
        let dir = TempDir::new();
        let file = dir.rename_over("c.yaml", &Config::new().yaml()).display().to_string();
        let output = run(&["-c", &file, "--io", io, "--mode", "init_only", "--disable-hot-restart"]);
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{log}");
        assert!(log.contains(&format!("][info] io {}", driver(io))), "{log}");
    });
}

#[test]
fn the_demo_passes_its_own_test() {
    on_each_driver(|io| {
        let output = run(&["demo", "--self-test", "--port", "0", "--io", io, "--concurrency", "2"]);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(text.lines().filter(|line| line.starts_with("ok: GET /")).count(), 5, "{text}");
    });
}

//! Unix sockets: listeners and endpoints with a path, and with a name of the abstract namespace.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::thread;

use crate::common::config::Config;
use crate::common::process::{Proxy, TempDir, run};
use crate::common::{on_each_driver, wait_for};

/// A path, or after `@` a name of the abstract namespace.
fn address(path: &str) -> SocketAddr {
    match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(path),
    }
    .expect("a short path")
}

/// An origin that answers each request with its head, and `/large` with a mebibyte.
fn origin(path: &str) {
    let listener = UnixListener::bind_addr(&address(path)).expect("a socket");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
}

fn serve(mut stream: UnixStream) -> io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?);
    let mut head = String::new();
    while lines.read_line(&mut head)? > 0 {
        if head.ends_with("\r\n\r\n") {
            let body = if head.starts_with("GET /large") { "x".repeat(1 << 20) } else { std::mem::take(&mut head) };
            head.clear();
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
        }
    }
    Ok(())
}

/// One request on a connection of its own.
fn ask(path: &str, target: &str) -> io::Result<String> {
    let mut stream = UnixStream::connect_addr(&address(path))?;
    write!(stream, "GET {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The file with a second listener, `pipe`, in place of nothing.
fn with_pipe(config: &Config, pipe: &str, manager: &str) -> String {
    let yaml = config.yaml();
    let (start, end) = (yaml.find("  - name: main").expect("a listener"), yaml.find("  clusters:").expect("clusters"));
    let second = yaml[start..end]
        .replace(
            "name: main\n    address: {socket_address: {address: 127.0.0.1, port_value: 0}}",
            &format!("name: pipe\n    address: {{pipe: {pipe}}}"),
        )
        .replace("stat_prefix: main", &format!("stat_prefix: pipe\n          {manager}"));
    format!("{}{second}{}", &yaml[..end], &yaml[end..])
}

/// A cluster `c` at a unix socket, and the route to it, which tells who the client is.
fn config(origin: &str) -> Config {
    Config::new()
        .route(
            "prefix: /",
            "route: {cluster: c}\n                request_headers_to_add: [{header: {key: x-client, value: \
             '%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS%'}}]",
        )
        .pipe("c", origin)
}

/// A proxy whose listener `pipe` is there.
fn start(io: &str, before: &Config, after: &str, options: &[&str]) -> Proxy {
    let mut proxy = Proxy::start_with(io, before, options);
    proxy.replace(after);
    proxy.line("listener pipe: ");
    proxy
}

#[test]
fn requests_go_over_unix_sockets_on_both_sides() {
    on_each_driver(|io| {
        let dir = TempDir::new();
        let path = |name: &str| dir.0.join(name).display().to_string();
        for (listener, upstream) in
            [(path("l.sock"), path("o.sock")), (format!("@{}", path("l")), format!("@{}", path("o")))]
        {
            origin(&upstream);
            let config = config(&upstream);
            let manager = "use_remote_address: true\n          access_log: [{name: a, typed_config: {'@type': \
                           type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: ACCESS, \
                           log_format: {text_format_source: {inline_string: \"%DOWNSTREAM_LOCAL_ADDRESS%|%DOWNSTREAM_REMOTE_ADDRESS%|\
                           %DOWNSTREAM_REMOTE_PORT%|%UPSTREAM_HOST%|%UPSTREAM_LOCAL_ADDRESS%\\n\"}}}}]"
                .replace("ACCESS", &path("access.log"));
            let after = with_pipe(&config, &format!("{{path: \"{listener}\", mode: 384}}"), &manager);
            let proxy = start(io, &config, &after, &["--concurrency", "2", "--file-flush-interval-msec", "20"]);
            let answer = ask(&listener, "/").expect("it is served");
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
            // Envoy calls both ends by the listener's path, and names no client.
            assert!(answer.contains(&format!("x-client: {listener} {listener}")), "{answer}");
            assert!(!answer.contains("x-forwarded-for") && !answer.contains("x-envoy-external-address"), "{answer}");
            assert_eq!(ask(&listener, "/large").expect("it is served").len() >> 20, 1);
            assert_eq!(proxy.stat(&format!("listener.{listener}.downstream_cx_total")), 2);
            assert_eq!(proxy.get("/").status(), 200, "TCP goes on");
            let lines =
                wait_for("the log", || fs::read_to_string(path("access.log")).ok().filter(|log| log.contains('\n')));
            assert!(lines.starts_with(&format!("{listener}|{listener}||{upstream}|-\n")), "{lines}");
            fs::remove_file(path("access.log")).expect("it is there");
            if !listener.starts_with('@') {
                let mode = fs::metadata(&listener).expect("a socket").permissions().mode();
                assert_eq!(mode & 0o777, 0o600);
            }
            let listeners = proxy.admin("GET", "/listeners").text();
            assert!(listeners.contains(&format!("pipe::{listener}\n")), "{listeners}");
            let clusters = proxy.admin("GET", "/clusters?format=json").text();
            assert!(clusters.contains(&upstream), "{clusters}");
        }
    });
}

#[test]
fn clients_of_a_unix_socket_may_be_internal() {
    for (unix_sockets, expect) in [(true, true), (false, false)] {
        let dir = TempDir::new();
        let (listener, upstream) = (dir.0.join("l").display().to_string(), dir.0.join("o").display().to_string());
        origin(&upstream);
        let config = config(&upstream);
        let manager =
            format!("use_remote_address: true\n          internal_address_config: {{unix_sockets: {unix_sockets}}}");
        let _proxy = start(
            "poll",
            &config,
            &with_pipe(&config, &format!("{{path: {listener}}}"), &manager),
            &["--concurrency", "1"],
        );
        let answer = ask(&listener, "/").expect("it is served");
        assert_eq!(answer.contains("x-envoy-internal: true"), expect, "{answer}");
    }
}

#[test]
fn a_socket_stays_over_reloads_and_goes_with_its_listener() {
    on_each_driver(|io| {
        let dir = TempDir::new();
        let (listener, upstream) = (dir.0.join("l").display().to_string(), dir.0.join("o").display().to_string());
        origin(&upstream);
        let before = config(&upstream);
        let pipe = format!("{{path: {listener}}}");
        let mut proxy = start(io, &before, &with_pipe(&before, &pipe, ""), &["--concurrency", "2"]);
        let inode = fs::metadata(&listener).expect("a socket").ino();
        let mut kept = UnixStream::connect(&listener).expect("it listens");
        let changed = before.clone().to("/more", "c");
        proxy.replace(&with_pipe(&changed, &pipe, ""));
        proxy.line("generation 3 in force");
        assert_eq!(fs::metadata(&listener).expect("a socket").ino(), inode);
        write!(kept, "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").expect("it is open");
        let mut answer = String::new();
        kept.read_to_string(&mut answer).expect("it is answered");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        // Connected, and not served before its listener goes: it is answered all the same.
        let mut last = UnixStream::connect(&listener).expect("it listens");
        write!(last, "GET / HTTP/1.1\r\nHost: test\r\n\r\n").expect("it is open");
        proxy.replace(&changed.yaml());
        proxy.line("generation 4 in force");
        let mut answer = String::new();
        last.read_to_string(&mut answer).expect("it is answered");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        wait_for("nobody listens", || UnixStream::connect(&listener).err());
    });
}

#[test]
fn the_next_process_takes_the_path() {
    on_each_driver(|io| {
        let dir = TempDir::new();
        let (listener, upstream) = (dir.0.join("l").display().to_string(), dir.0.join("o").display().to_string());
        origin(&upstream);
        let config = config(&upstream);
        let after = with_pipe(&config, &format!("{{path: {listener}}}"), "");
        let mut first = start(io, &config, &after, &["--concurrency", "2"]);
        let mut old = UnixStream::connect(&listener).expect("it listens");
        let _second = start(io, &config, &after, &["--concurrency", "2"]);
        assert!(ask(&listener, "/").expect("the second serves").starts_with("HTTP/1.1 200"));
        write!(old, "GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n").expect("the first serves on");
        let mut answer = String::new();
        old.read_to_string(&mut answer).expect("it is answered");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        first.signal("TERM");
        assert!(first.end().success());
        // The first leaves the file alone: it is the second's.
        assert!(ask(&listener, "/").expect("the second serves").starts_with("HTTP/1.1 200"));
    });
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let dir = TempDir::new();
    let path = dir.rename_over("data", "precious");
    let yaml = with_pipe(&Config::new(), &format!("{{path: {}}}", path.display()), "");
    let file = dir.rename_over("c.yaml", &yaml);
    let output = run(&["-c", &file.display().to_string(), "--mode", "init_only", "--io", "poll"]);
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && log.contains("listener 'pipe': cannot bind"), "{log}");
    assert_eq!(fs::read_to_string(path).expect("it is there"), "precious");
}

/// One request to an admin server.
fn ask_admin(path: &str) -> io::Result<String> {
    ask(path, "/ready")
}

#[test]
fn the_admin_server_listens_at_a_unix_socket() {
    on_each_driver(|io| {
        for is_abstract in [false, true] {
            let dir = TempDir::new();
            let name = dir.0.join("admin.sock").display().to_string();
            let path = if is_abstract { format!("@{name}") } else { name };
            let yaml = Config::new().yaml().replace(
                "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}",
                &format!("admin: {{address: {{pipe: {{path: \"{path}\", mode: 384}}}}}}"),
            );
            let mut proxy = Proxy::start_somewhere(io, &yaml);
            proxy.line("[info] serving");
            proxy.said(&format!("admin: {path}"));
            let told = fs::read_to_string(proxy.dir.0.join("admin")).expect("--admin-address-path is written");
            assert_eq!(told, path);
            assert!(ask_admin(&path).expect("it is served").starts_with("HTTP/1.1 200 OK\r\n"));
            let stats = ask(&path, "/stats?filter=server.live").expect("it is served");
            assert!(stats.contains("server.live: 1"), "{stats}");
            if !is_abstract {
                let file = fs::metadata(&path).expect("a socket");
                assert_eq!(file.permissions().mode() & 0o777, 0o600);
            }
        }
        // What is not a socket is not removed.
        let dir = TempDir::new();
        let path = dir.rename_over("file", "somebody's").display().to_string();
        let yaml = Config::new().yaml().replace(
            "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}",
            &format!("admin: {{address: {{pipe: {{path: \"{path}\"}}}}}}"),
        );
        let file = dir.rename_over("c.yaml", &yaml).display().to_string();
        let output = run(&["-c", &file, "--io", io]);
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && log.contains(&format!("admin: cannot serve at {path}: ")), "{log}");
        assert_eq!(fs::read_to_string(&path).expect("it is there still"), "somebody's");
    });
}

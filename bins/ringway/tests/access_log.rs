//! Access logs from the outside: lines in files, reopening, and disks that take none.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Command;

use crate::common;
use crate::common::config::Config;
use crate::common::origin::Origin;
use crate::common::process::{Proxy, TempDir};
use crate::common::{on_each_driver, wait_for};

const FILE: &str = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog";
/// So that a test need not wait for Envoy's ten seconds.
const SOON: &[&str] = &["--concurrency", "1", "--file-flush-interval-msec", "20", "--file-flush-min-size-kb", "1"];

/// A configuration that logs to this path, with further fields of the log.
fn config(path: &Path, fields: &str) -> Config {
    let path = path.display();
    Config::new()
        .manager(&format!("access_log: [{{name: f, typed_config: {{'@type': {FILE}, path: {path}{fields}}}}}]"))
}

/// A text format, as fields of a log.
fn text(format: &str) -> String {
    format!(", log_format: {{text_format_source: {{inline_string: \"{format}\"}}}}")
}

/// Waits until the file holds as many lines, and compares them.
#[track_caller]
fn check(path: &Path, expect: &str) {
    let read = || fs::read_to_string(path).unwrap_or_default();
    wait_for("the lines", || (read().lines().count() >= expect.lines().count()).then_some(()));
    assert_eq!(read(), expect, "{}", path.display());
}

#[test]
fn an_exchange_is_a_line_in_the_file() {
    on_each_driver(|io| {
        let dir = TempDir::new();
        let path = dir.0.join("log");
        let origin = Origin::start("origin");
        let format = "%REQ(:METHOD)% %REQ(:PATH)% %PROTOCOL% %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% \
                      %BYTES_RECEIVED% %BYTES_SENT% %UPSTREAM_CLUSTER% %UPSTREAM_HOST% %REQ(nope)% %LISTENER_NAME%\\n";
        let config = config(&path, &text(format))
            .to("/up", "c")
            .cluster("c", origin.address)
            .to("/dead", "dead")
            .cluster("dead", "127.0.0.1:1".parse().expect("an address"));
        let proxy = Proxy::start_with(io, &config, SOON);
        for path in ["/up?q=1", "/direct", "/nope", "/dead"] {
            proxy.get(path);
        }
        let mut client = proxy.client();
        client.send(b"nonsense\r\n\r\n");
        let answer = client.read(false, true).expect("a connection").expect("an answer");
        assert_eq!(answer.status(), 400);
        let host = origin.address;
        check(
            &path,
            &format!(
                "GET /up?q=1 HTTP/1.1 200 - via_upstream 0 6 c {host} - main\n\
                 GET /direct HTTP/1.1 200 - direct_response 0 6 - - - main\n\
                 GET /nope HTTP/1.1 404 NR route_not_found 0 0 - - - main\n\
                 GET /dead HTTP/1.1 503 UF upstream_reset_before_response_started{{remote_connection_failure|\
                 delayed_connect_error:_Connection_refused}} 0 98 dead 127.0.0.1:1 - main\n\
                 - - HTTP/1.1 400 DPE http1.codec_error 0 11 - - - main\n"
            ),
        );
        assert_eq!(proxy.stat("access_log.lines_read"), 5);
        assert_eq!(proxy.stat("access_log.lines_dropped"), 0);
    });
}

#[test]
fn filters_and_json() {
    on_each_driver(|io| {
        let dir = TempDir::new();
        let (errors, all) = (dir.0.join("errors"), dir.0.join("all"));
        let json = "log_format: {json_format: {path: '%REQ(:PATH)%', code: '%RESPONSE_CODE%', none: '%REQ(nope)%'}}";
        let config = Config::new().manager(&format!(
            "access_log: [{{name: f, filter: {{status_code_filter: {{comparison: {{op: GE, value: {{default_value: 400, \
             runtime_key: k}}}}}}}}, typed_config: {{'@type': {FILE}, path: {}{}}}}}, {{name: f, typed_config: \
             {{'@type': {FILE}, path: {}, {json}}}}}]",
            errors.display(),
            text("%RESPONSE_CODE%\\n"),
            all.display()
        ));
        let proxy = Proxy::start_with(io, &config, SOON);
        for path in ["/direct", "/nope"] {
            proxy.get(path);
        }
        check(&errors, "404\n");
        check(
            &all,
            "{\"code\":200,\"none\":null,\"path\":\"/direct\"}\n{\"code\":404,\"none\":null,\"path\":\"/nope\"}\n",
        );
    });
}

#[test]
fn a_renamed_file_is_opened_anew_on_sigusr1_and_what_is_left_is_written_at_the_end() {
    on_each_driver(|io| {
        let dir = TempDir::new();
        let (path, old) = (dir.0.join("log"), dir.0.join("log.1"));
        let mut proxy = Proxy::start_with(io, &config(&path, &text("%REQ(:PATH)%\\n")), SOON);
        proxy.get("/direct");
        check(&path, "/direct\n");
        fs::rename(&path, &old).expect("a rename");
        proxy.signal("USR1");
        wait_for("the new file", || path.exists().then_some(()));
        proxy.get("/new");
        check(&path, "/new\n");
        check(&old, "/direct\n");
        // A reload keeps the file.
        proxy.replace(&config(&path, &text("2 %REQ(:PATH)%\\n")).yaml());
        proxy.line("generation 2 in force");
        proxy.get("/last");
        proxy.signal("INT");
        assert!(proxy.end().success());
        check(&path, "/new\n2 /last\n");
    });
}

#[test]
fn a_file_that_cannot_be_opened_refuses_the_configuration() {
    let dir = TempDir::new();
    let missing = dir.0.join("no/such/folder");
    let file = dir.rename_over("c.yaml", &config(&missing, "").yaml());
    let out = common::process::run(&["-c", &file.display().to_string(), "--mode", "init_only", "--io", "poll"]);
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(
        !out.status.success() && said.contains("cannot open the access log") && said.contains("listener 'main'"),
        "{said}"
    );
}

/// A full disk, by the device that always is one.
#[test]
fn a_full_disk_costs_lines_and_nothing_else() {
    on_each_driver(|io| {
        let mut proxy = Proxy::start_with(io, &config(Path::new("/dev/full"), &text("%REQ(:PATH)%\\n")), SOON);
        for _ in 0..5 {
            assert_eq!(proxy.get("/direct").status(), 200);
        }
        proxy.wait_stat("access_log.lines_dropped", |count| count == 5);
        assert!(proxy.stat("filesystem.write_failed") > 0);
        proxy.line("access log /dev/full: No space left on device");
    });
}

/// A pipe without a reader takes 64 KiB and then nothing: what waits is bounded, and requests are answered.
#[test]
fn a_pipe_that_nobody_reads_costs_lines_and_nothing_else() {
    on_each_driver(|io| {
        let dir = TempDir::new();
        let path = dir.0.join("pipe");
        assert!(Command::new("mkfifo").arg(&path).status().expect("coreutils").success());
        let mut proxy = Proxy::start_with(io, &config(&path, &text("%REQ(:PATH)%%REQ(:PATH)%\\n")), SOON);
        let long = format!("/direct?{}", "x".repeat(30_000));
        let mut client = proxy.client();
        // Each line has 60 KB: 25 of them are more than the pipe and the buffer hold.
        for _ in 0..25 {
            assert_eq!(client.get(&long).status(), 200);
        }
        proxy.line("nobody reads the pipe");
        proxy.wait_stat("access_log.lines_dropped", |count| count > 0);
        // Its reader comes: what waited arrives, whole lines in order.
        let mut pipe = fs::File::open(&path).expect("a reader");
        let mut first = vec![0; long.len() * 2 + 1];
        pipe.read_exact(&mut first).expect("a line");
        assert_eq!(String::from_utf8_lossy(&first), format!("{long}{long}\n"));
    });
}

//! nginx's configuration: a server for each listener. What it writes stays in the folder.

use std::fmt::Write;
use std::path::Path;

use super::{BACKLOG, CERTIFICATE, CONNECTIONS_MAX, Format, IDLE_TIMEOUT_S, KEPT_MAX, Way, Wiring};

/// Where distributions put the module of raw connections, where it is not built in.
const STREAM_MODULES: [&str; 3] = [
    "/usr/lib/nginx/modules/ngx_stream_module.so",
    "/usr/lib64/nginx/modules/ngx_stream_module.so",
    "/usr/share/nginx/modules/ngx_stream_module.so",
];
/// What an nginx with a number for its requests per connection understands as none.
const REQUESTS_MAX: u64 = 1_000_000_000;

pub(super) fn write(wiring: &Wiring) -> String {
    let served = || wiring.listeners.iter().filter(|(way, _)| Format::Nginx.cannot(*way).is_none());
    let mut out = String::from("# Written by ringway-load compare.\n");
    if served().any(|(way, _)| way.is_raw())
        && let Some(module) = STREAM_MODULES.iter().find(|path| Path::new(path).is_file())
    {
        let _ = writeln!(out, "load_module {module};");
    }
    let [log, pid] = ["error.log", "pid"].map(|kind| wiring.path(&format!("{}.{kind}", wiring.name)));
    let _ = write!(
        out,
        "daemon off;\nworker_processes {};\nworker_rlimit_nofile {};\nerror_log {log};\npid {pid};\n\
         events {{ worker_connections {CONNECTIONS_MAX}; }}\n",
        wiring.workers,
        2 * CONNECTIONS_MAX
    );
    let [mut http, mut stream] = [String::new(), String::new()];
    for (way, port) in served() {
        let listen = format!("listen 127.0.0.1:{port} reuseport backlog={BACKLOG}");
        if way.is_raw() {
            let _ = writeln!(stream, "    server {{ {listen}; proxy_pass {}; }}", wiring.origins.of(*way));
            continue;
        }
        let more = match way {
            Way::Http2ToHttp1 => " http2",
            Way::Tls => " ssl",
            _ => "",
        };
        let upstream = if way.is_bulk() { "bulk" } else { "small" };
        let _ = write!(http, "    server {{\n        {listen}{more};\n");
        if *way == Way::Tls {
            let [certificate, key, _] = CERTIFICATE.map(|name| wiring.path(name));
            let _ = write!(http, "        ssl_certificate {certificate};\n        ssl_certificate_key {key};\n");
        }
        let _ = write!(
            http,
            "        location / {{\n            proxy_pass http://{upstream};\n            proxy_http_version 1.1;\n            \
             proxy_set_header Connection \"\";\n        }}\n    }}\n"
        );
    }
    if !http.is_empty() {
        let mut before = format!(
            "    access_log off;\n    keepalive_timeout {IDLE_TIMEOUT_S}s;\n    keepalive_requests {REQUESTS_MAX};\n"
        );
        for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            let _ = writeln!(before, "    {kind}_temp_path {};", wiring.path(&format!("{}.{kind}", wiring.name)));
        }
        for (name, origin) in [("small", wiring.origins.small), ("bulk", wiring.origins.bulk)] {
            let _ = write!(
                before,
                "    upstream {name} {{\n        server {origin};\n        keepalive {KEPT_MAX};\n        keepalive_requests {REQUESTS_MAX};\n    }}\n"
            );
        }
        let _ = write!(out, "http {{\n{before}{http}}}\n");
    }
    if !stream.is_empty() {
        let _ = write!(out, "stream {{\n{stream}}}\n");
    }
    out
}

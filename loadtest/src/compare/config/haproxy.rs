//! HAProxy's configuration: a section in front and one behind for each listener.

use std::fmt::Write;

use super::{BACKLOG, CERTIFICATE, CONNECTIONS_MAX, Format, IDLE_TIMEOUT_S, KEPT_MAX, Way, Wiring};

pub(super) fn write(wiring: &Wiring) -> String {
    let mut out = format!(
        "# Written by ringway-load compare.\n\
         global\n    nbthread {}\n    maxconn {CONNECTIONS_MAX}\n    stats socket ipv4@127.0.0.1:{} level operator\n\n\
         defaults\n    http-reuse always\n    timeout connect 5s\n    timeout server 60s\n    timeout client {IDLE_TIMEOUT_S}s\n",
        wiring.workers, wiring.admin
    );
    for (way, port) in wiring.listeners.iter().filter(|(way, _)| Format::Haproxy.cannot(*way).is_none()) {
        let name = way.name();
        let mode = if way.is_raw() { "tcp" } else { "http" };
        let bound = match way {
            Way::Http2 | Way::Http2ToHttp1 => " proto h2".to_owned(),
            Way::Tls => format!(" ssl crt {}", wiring.path(CERTIFICATE[2])),
            _ => String::new(),
        };
        let server = match way {
            Way::Http2 => " proto h2".to_owned(),
            way if way.is_raw() => String::new(),
            _ => format!(" pool-max-conn {KEPT_MAX}"),
        };
        let origin = wiring.origins.of(*way);
        let _ = write!(
            out,
            "\nfrontend {name}\n    mode {mode}\n    bind 127.0.0.1:{port} backlog {BACKLOG}{bound}\n    default_backend {name}-origin\n\n\
             backend {name}-origin\n    mode {mode}\n    server origin {origin}{server}\n"
        );
    }
    out
}

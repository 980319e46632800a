//! The kinds of connections from one host to the other, and what each is to leave behind in the counts of both sidecars.
//!
//! Runs nothing: counts come in, and a verdict goes out.

use super::app;
use super::sidecar::{Stats, sum};

/// Whom the application sees as its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// 127.0.0.6 or ::6, from which the inbound side comes.
    Passthrough,
    /// The client's host.
    Client,
}

/// One kind of connection from the client's host to the server's application, and what is to become of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) port: u16,
    /// Whether the client's sidecar gets it.
    pub(super) outbound: bool,
    /// Whether the server's sidecar gets it.
    pub(super) inbound: bool,
    /// Whether there is mTLS between them; else the wire shows what is sent.
    pub(super) tls: bool,
    pub(super) source: Source,
}

/// All kinds.
pub(super) const CASES: [Case; 7] = [
    Case {
        name: "HTTP, in the mesh",
        port: app::HTTP,
        outbound: true,
        inbound: true,
        tls: true,
        source: Source::Passthrough,
    },
    Case {
        name: "TCP, in the mesh",
        port: app::ECHO,
        outbound: true,
        inbound: true,
        tls: true,
        source: Source::Passthrough,
    },
    Case {
        name: "TCP, passed",
        port: app::PLAIN,
        outbound: true,
        inbound: true,
        tls: false,
        source: Source::Passthrough,
    },
    Case {
        name: "server first",
        port: app::SERVER_FIRST,
        outbound: true,
        inbound: true,
        tls: false,
        source: Source::Passthrough,
    },
    Case {
        name: "not inbound",
        port: app::NOT_INBOUND,
        outbound: true,
        inbound: false,
        tls: false,
        source: Source::Client,
    },
    Case {
        name: "not outbound",
        port: app::NOT_OUTBOUND,
        outbound: false,
        inbound: true,
        tls: false,
        source: Source::Passthrough,
    },
    Case {
        name: "not at all",
        port: app::NOT_AT_ALL,
        outbound: false,
        inbound: false,
        tls: false,
        source: Source::Client,
    },
];

/// What both sidecars have counted, and the server's wire.
#[derive(Clone, Debug)]
pub(super) struct Counts {
    pub(super) client: Stats,
    pub(super) server: Stats,
    pub(super) wire: u64,
}

/// Connections that a proxy accepted from those whom it serves; not those of probes.
pub(super) fn accepted(stats: &Stats) -> u64 {
    let others = ["listener.admin.", "listener.127.0.0.1_15000.", "listener.[__]_15021."];
    sum(stats, |name| {
        // Each listener's own count, not that of its workers.
        let own = name.starts_with("listener.") && name.ends_with(".downstream_cx_total") && !name.contains(".worker_");
        own && !others.iter().any(|other| name.starts_with(other))
    })
}

/// Connections that a proxy made.
pub(super) fn made(stats: &Stats) -> u64 {
    sum(stats, |name| {
        name.starts_with("cluster.") && name.ends_with(".upstream_cx_total") && !name.starts_with("cluster.admin.")
    })
}

/// TLS handshakes that a proxy took part in as the server.
pub(super) fn handshakes(stats: &Stats) -> u64 {
    sum(stats, |name| name.starts_with("listener.") && name.ends_with(".ssl.handshake"))
}

impl Case {
    /// Whether `asked` connections were counted as they should.
    pub(super) fn judge(&self, asked: u64, before: &Counts, after: &Counts) -> Result<(), String> {
        let change = |of: fn(&Stats) -> u64, server: bool| {
            if server { of(&after.server) - of(&before.server) } else { of(&after.client) - of(&before.client) }
        };
        let wanted = |captured: bool| if captured { asked } else { 0 };
        // Between sidecars, HTTP's connections are used again.
        let least = |captured: bool| if self.port == app::HTTP { 0 } else { wanted(captured) };
        let rows = [
            ("accepted by the client's sidecar", change(accepted, false), wanted(self.outbound), wanted(self.outbound)),
            ("made by the client's sidecar", change(made, false), least(self.outbound), wanted(self.outbound)),
            ("accepted by the server's sidecar", change(accepted, true), least(self.inbound), wanted(self.inbound)),
            ("made by the server's sidecar", change(made, true), least(self.inbound), wanted(self.inbound)),
            ("TLS handshakes of the server's sidecar", change(handshakes, true), least(self.tls), wanted(self.tls)),
        ];
        for (what, found, least, most) in rows {
            if !(least..=most).contains(&found) {
                return Err(format!("{asked} connections of clients, {found} {what}, not {least} to {most}"));
            }
        }
        let shown = after.wire - before.wire;
        if (shown == 0) != self.tls {
            return Err(format!("{shown} packets on the wire show what is sent"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(client: u64, server: u64, handshakes: u64, wire: u64) -> Counts {
        let stats = |connections: u64, handshakes: u64| {
            let names = [
                ("listener.[__]_15006.downstream_cx_total", connections),
                ("listener.[__]_15006.ssl.handshake", handshakes),
                ("listener.[__]_15021.downstream_cx_total", 7),
                ("cluster.any.upstream_cx_total", connections),
                ("cluster.admin.upstream_cx_total", 9),
            ];
            names.into_iter().map(|(name, count)| (name.to_owned(), count)).collect::<Stats>()
        };
        Counts { client: stats(client, 0), server: stats(server, handshakes), wire }
    }

    #[track_caller]
    fn check(case: usize, after: &Counts, word: Option<&str>) {
        let judged = CASES[case].judge(2, &counts(0, 0, 0, 0), after);
        assert_eq!(judged.is_err(), word.is_some(), "{judged:?}");
        if let (Err(why), Some(word)) = (judged, word) {
            assert!(why.contains(word), "{why}");
        }
    }

    #[test]
    fn what_is_counted_is_judged() {
        check(1, &counts(2, 2, 2, 0), None);
        check(0, &counts(2, 1, 1, 0), None);
        check(1, &counts(2, 2, 2, 1), Some("on the wire"));
        check(1, &counts(2, 2, 1, 0), Some("handshakes"));
        check(1, &counts(2, 3, 2, 0), Some("3 accepted by the server's"));
        check(1, &counts(90, 2, 2, 0), Some("90 accepted by the client's"));
        check(2, &counts(2, 2, 0, 40), None);
        check(2, &counts(2, 2, 0, 0), Some("0 packets"));
        check(6, &counts(0, 0, 0, 40), None);
        check(6, &counts(1, 0, 0, 40), Some("1 accepted by the client's"));
    }
}

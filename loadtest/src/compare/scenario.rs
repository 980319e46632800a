//! What is compared: a listener of each proxy, and the load on it.

use std::time::Duration;

/// The way through a proxy that a scenario takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// HTTP/1 on both sides.
    Http1,
    /// The same, to the origin of large bodies.
    Http1Bulk,
    /// HTTP/1 with what a sidecar has to do: 200 routes, a request id, an access log.
    Sidecar,
    /// HTTP/2 on both sides.
    Http2,
    /// HTTP/2 to HTTP/1.
    Http2ToHttp1,
    /// Raw bytes (in which HTTP/1 is spoken).
    Tcp,
    /// The same, to the origin of large bodies.
    TcpBulk,
    /// HTTP/1 by TLS to HTTP/1.
    Tls,
}

impl Way {
    /// All of them.
    #[cfg(test)]
    pub(crate) const ALL: [Way; 8] =
        [Way::Http1, Way::Http1Bulk, Way::Sidecar, Way::Http2, Way::Http2ToHttp1, Way::Tcp, Way::TcpBulk, Way::Tls];

    /// The name of its listener.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Way::Http1 => "h1",
            Way::Http1Bulk => "h1-bulk",
            Way::Sidecar => "sidecar",
            Way::Http2 => "h2",
            Way::Http2ToHttp1 => "h2h1",
            Way::Tcp => "tcp",
            Way::TcpBulk => "tcp-bulk",
            Way::Tls => "tls",
        }
    }

    pub(crate) fn is_bulk(self) -> bool {
        matches!(self, Way::Http1Bulk | Way::TcpBulk)
    }

    pub(crate) fn is_raw(self) -> bool {
        matches!(self, Way::Tcp | Way::TcpBulk)
    }

    /// Whether the client speaks HTTP/2.
    pub(crate) fn is_http2(self) -> bool {
        matches!(self, Way::Http2 | Way::Http2ToHttp1)
    }

    /// Whether the origin can take the same load without a proxy, so that there is a floor.
    pub(crate) fn has_floor(self) -> bool {
        !matches!(self, Way::Sidecar | Way::Tls)
    }
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Load {
    /// So many connections are made, have one request each, and stay.
    Idle { connections: u32 },
    /// The next request when the last is answered.
    Closed { connections: u32, streams: u32 },
    /// As many new connections as can be had, by so many at once.
    NewConnections { at_once: u32 },
    /// Open loop at a part of what the closed loop of `capacity` came to.
    Part { part: f64, capacity: &'static str, whose: Whose },
}

/// Whose capacity it is of which an open loop asks a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Each one's own: the faster has more to do.
    Own,
    /// The slowest one's: the same rate for all.
    Slowest,
}

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) way: Way,
    pub(crate) load: Load,
    /// In words.
    pub(crate) what: &'static str,
}

const fn row(name: &'static str, way: Way, load: Load, what: &'static str) -> Scenario {
    Scenario { name, way, load, what }
}

const fn closed(connections: u32, streams: u32) -> Load {
    Load::Closed { connections, streams }
}

const fn part(part: f64, capacity: &'static str) -> Load {
    Load::Part { part, capacity, whose: Whose::Own }
}

const fn same(part: f64, capacity: &'static str) -> Load {
    Load::Part { part, capacity, whose: Whose::Slowest }
}

/// All of them, in the order in which they run: memory first, on fresh processes.
pub(crate) const SCENARIOS: [Scenario; 24] = [
    row("idle", Way::Http1, Load::Idle { connections: 7000 }, "idle connections, HTTP/1"),
    row("idle-h2", Way::Http2, Load::Idle { connections: 3000 }, "idle connections, HTTP/2"),
    row("idle-tls", Way::Tls, Load::Idle { connections: 3000 }, "idle connections, TLS"),
    row("h1-1", Way::Http1, closed(1, 1), "HTTP/1, 1 connection, 1 KiB"),
    row("h1-64", Way::Http1, closed(64, 1), "HTTP/1, 64 connections, 1 KiB"),
    row("h1-256", Way::Http1, closed(256, 1), "HTTP/1, 256 connections, 1 KiB"),
    row("h1-1MB", Way::Http1Bulk, closed(8, 1), "HTTP/1, 8 connections, 1 MiB"),
    row("h1-sidecar", Way::Sidecar, closed(64, 1), "HTTP/1, 64 connections, 200 routes, 20 fields, access log"),
    row("h2-1", Way::Http2, closed(1, 1), "HTTP/2, 1 connection, 1 stream"),
    row("h2-100", Way::Http2, closed(1, 100), "HTTP/2, 1 connection, 100 streams"),
    row("h2-16x10", Way::Http2, closed(16, 10), "HTTP/2, 16 connections, 10 streams each"),
    row("h2h1-16x10", Way::Http2ToHttp1, closed(16, 10), "HTTP/2 to HTTP/1, 16 connections, 10 streams each"),
    row("tcp-64", Way::Tcp, closed(64, 1), "raw bytes, 64 connections, 1 KiB"),
    row("tcp-1MB", Way::TcpBulk, closed(8, 1), "raw bytes, 8 connections, 1 MiB"),
    row("tls-64", Way::Tls, closed(64, 1), "TLS, 64 connections, 1 KiB"),
    row("tls-new", Way::Tls, Load::NewConnections { at_once: 16 }, "TLS, a handshake for each request"),
    row("h1-rate-20", Way::Http1, part(0.2, "h1-64"), "HTTP/1, open loop at 20 % of capacity"),
    row("h1-rate-50", Way::Http1, part(0.5, "h1-64"), "HTTP/1, open loop at 50 % of capacity"),
    row("h1-rate-80", Way::Http1, part(0.8, "h1-64"), "HTTP/1, open loop at 80 % of capacity"),
    row("h2-rate-20", Way::Http2, part(0.2, "h2-16x10"), "HTTP/2, open loop at 20 % of capacity"),
    row("h2-rate-50", Way::Http2, part(0.5, "h2-16x10"), "HTTP/2, open loop at 50 % of capacity"),
    row("h2-rate-80", Way::Http2, part(0.8, "h2-16x10"), "HTTP/2, open loop at 80 % of capacity"),
    row("h1-same-50", Way::Http1, same(0.5, "h1-64"), "HTTP/1, open loop at 50 % of the slowest one's capacity"),
    row("h2-same-50", Way::Http2, same(0.5, "h2-16x10"), "HTTP/2, open loop at 50 % of the slowest one's capacity"),
];

/// The scenario of this name, if there is one.
pub(crate) fn named(name: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.name == name)
}

/// Of a name like `rate-50` there is one for each protocol.
const BOTH: [&str; 2] = ["rate-", "same-"];

/// Reads `idle,h1-64,rate-50`, of which the last stands for both of its kind; `all`.
///
/// # Errors
/// A name that there is not.
pub(crate) fn parse(text: &str) -> Result<Vec<Scenario>, String> {
    if text == "all" {
        return Ok(SCENARIOS.to_vec());
    }
    let mut wanted = Vec::new();
    for word in text.split(',') {
        let is_meant = |scenario: &&Scenario| {
            scenario.name == word
                || (BOTH.iter().any(|kind| word.starts_with(kind))
                    && scenario.name.strip_suffix(word).is_some_and(|rest| rest.ends_with('-')))
        };
        let before = wanted.len();
        wanted.extend(SCENARIOS.iter().filter(is_meant));
        if wanted.len() == before {
            let names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
            return Err(format!("no scenario {word:?}; there are {}", names.join(", ")));
        }
    }
    Ok(wanted)
}

/// What a request of a sidecar brings beside its own, as applications do: 18 fields of 40 bytes.
const SIDECAR_FIELDS: u8 = 18;
/// The route that it takes, of [`super::config::SIDECAR_ROUTES`]: far down the list.
const SIDECAR_PATH: &str = "/app150/items?page=7";

impl Scenario {
    /// The arguments of `ringway-load run` towards a listener at `address`, but for how long it takes and at what rate.
    pub(crate) fn arguments(&self, address: &str) -> Vec<String> {
        let scheme = match self.way {
            Way::Http2 | Way::Http2ToHttp1 => "h2c",
            Way::Tls => "https",
            _ => "http",
        };
        let mut all = vec![format!("{scheme}://{address}/")];
        let mut say = |words: &[&str]| all.extend(words.iter().map(|word| (*word).to_owned()));
        if self.way == Way::Tls {
            say(&["--insecure", "--http1"]);
        }
        if self.way == Way::Sidecar {
            say(&["--path", SIDECAR_PATH]);
            (0..SIDECAR_FIELDS).for_each(|at| say(&["-H", &format!("x-request-field-{at}: {}", "v".repeat(40))]));
        }
        let (connections, streams) = match self.load {
            Load::Idle { connections } => (connections, 1),
            Load::Closed { connections, streams } => (connections, streams),
            Load::NewConnections { at_once } => (at_once, 1),
            Load::Part { capacity, .. } => match named(capacity).map(|base| base.load) {
                Some(Load::Closed { connections, streams }) => (connections, streams),
                _ => unreachable!("a capacity is that of a closed loop: a test looks after it"),
            },
        };
        say(&["-c", &connections.to_string()]);
        if self.way.is_http2() {
            say(&["-s", &streams.to_string()]);
        }
        if let Load::NewConnections { .. } = self.load {
            say(&["--new-connections"]);
        }
        all
    }

    /// Whether it is an open loop: its latencies are what counts.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.load, Load::Part { .. })
    }

    /// Whether what counts of it is memory.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.load, Load::Idle { .. })
    }
}

/// Requests of a warm-up: long enough for pools and tables to be there.
pub(crate) const WARM_UP: Duration = Duration::from_millis(300);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_different_and_capacities_are_of_closed_loops() {
        for (at, scenario) in SCENARIOS.iter().enumerate() {
            assert!(SCENARIOS[..at].iter().all(|other| other.name != scenario.name), "{scenario:?}");
            if let Load::Part { part, capacity, .. } = scenario.load {
                let base = named(capacity).unwrap();
                assert!(matches!(base.load, Load::Closed { .. }) && base.way == scenario.way && part < 1.0);
                assert!(SCENARIOS[..at].contains(base), "it runs before");
            }
        }
    }

    #[test]
    fn wishes_are_read_or_refused() {
        let names = |text| parse(text).map(|all| all.iter().map(|one| one.name).collect::<Vec<_>>());
        assert_eq!(names("h1-64,rate-50"), Ok(vec!["h1-64", "h1-rate-50", "h2-rate-50"]));
        assert_eq!(names("same-50"), Ok(vec!["h1-same-50", "h2-same-50"]));
        assert_eq!(names("all").map(|all| all.len()), Ok(SCENARIOS.len()));
        for wrong in ["", "h1", "rate-", "same-", "50", "h1-64,,tcp-64"] {
            assert!(names(wrong).unwrap_err().contains("no scenario"), "{wrong}");
        }
    }

    #[test]
    fn arguments_say_what_a_scenario_is() {
        let said = |name: &str| named(name).unwrap().arguments("127.0.0.1:9").join(" ");
        assert_eq!(said("h2-16x10"), "h2c://127.0.0.1:9/ -c 16 -s 10");
        assert_eq!(said("h1-rate-20"), "http://127.0.0.1:9/ -c 64");
        assert_eq!(said("h2-same-50"), "h2c://127.0.0.1:9/ -c 16 -s 10");
        assert_eq!(said("tls-new"), "https://127.0.0.1:9/ --insecure --http1 -c 16 --new-connections");
        assert!(said("h1-sidecar").contains("--path /app150/items?page=7 -H x-request-field-0: vvv"));
    }
}

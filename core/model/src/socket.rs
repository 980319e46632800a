//! What is set on sockets before they are used.

use std::net::SocketAddr;

/// `envoy.config.core.v3.SocketOption`: one setsockopt(2).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SocketOption {
    /// `level`, as the kernel numbers it.
    pub level: i32,
    /// `name`, likewise.
    pub name: i32,
    /// `int_value` in the host's byte order, or `buf_value`.
    pub value: Vec<u8>,
    /// `state`.
    pub when: SocketState,
}

/// `SocketOption.SocketState`, as far as it is acted upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SocketState {
    /// STATE_PREBIND: before bind(2), or before connect(2).
    Prebind,
    /// STATE_BOUND: after bind(2), before listen(2).
    Bound,
}

impl SocketOption {
    /// An option whose value is a number.
    pub fn number(level: i32, name: i32, value: i32, when: SocketState) -> Self {
        Self { level, name, value: value.to_ne_bytes().to_vec(), when }
    }
}

/// What is special about a listener's sockets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ListenSocket {
    /// `ipv4_compat`: an IPv6 socket takes IPv4 connections, too.
    pub takes_ipv4: bool,
    /// `socket_options`, and what other fields come to: `freebind`, `transparent`, `tcp_fast_open_queue_length`, `tcp_keepalive`.
    pub options: Vec<SocketOption>,
}

/// What is special about connections to a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// `upstream_bind_config.source_address` and one of the other family: where connections come from. Empty: the system chooses.
    pub sources: Vec<SocketAddr>,
    /// `upstream_bind_config.socket_options`, and what other fields come to: `freebind`, `tcp_keepalive`.
    pub options: Vec<SocketOption>,
}

impl Outgoing {
    /// The source for connections to `target`: the first of its family, or else the first, with which binding then fails, as in Envoy.
    pub fn source_for(&self, target: SocketAddr) -> Option<SocketAddr> {
        let fits = |source: &&SocketAddr| source.is_ipv4() == target.is_ipv4();
        self.sources.iter().find(fits).or(self.sources.first()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_source_is_of_the_targets_family_where_there_is_one() {
        let at = |text: &str| -> SocketAddr { text.parse().expect("an address") };
        for (sources, target, expect) in [
            (&[][..], "1.1.1.1:1", None),
            (&["127.0.0.6:0", "[::6]:0"], "1.1.1.1:1", Some("127.0.0.6:0")),
            (&["127.0.0.6:0", "[::6]:0"], "[::1]:1", Some("[::6]:0")),
            (&["127.0.0.6:0"], "[::1]:1", Some("127.0.0.6:0")),
        ] {
            let outgoing = Outgoing { sources: sources.iter().map(|text| at(text)).collect(), options: Vec::new() };
            assert_eq!(outgoing.source_for(at(target)), expect.map(at), "{sources:?} {target}");
        }
    }
}

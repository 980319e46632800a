//! `envoy.config.listener.v3.FilterChainMatch`: what a connection must be for a chain to take it.
//!
//! It never matches anything by itself: which of several chains takes a connection is for all of them together to say
//! ([`crate::ChainIndex`]).

use std::fmt;

use crate::cidr::Cidr;

/// What a chain asks of a connection. What says nothing takes everything. The fields stand in the order in which they are looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilterChainMatch {
    /// `destination_port`; not 0.
    pub destination_port: Option<u16>,
    /// `prefix_ranges`: the destination's address.
    pub prefix_ranges: Vec<Cidr>,
    /// `server_names`.
    pub server_names: Vec<ServerNames>,
    /// `transport_protocol`: `tls`, `raw_buffer`; empty: any.
    pub transport_protocol: String,
    /// `application_protocols`: one of these is among the client's.
    pub application_protocols: Vec<String>,
    /// `direct_source_prefix_ranges`: the peer's own address.
    pub direct_source_prefix_ranges: Vec<Cidr>,
    /// `source_type`.
    pub source_type: SourceType,
    /// `source_prefix_ranges`: the client's address, which the PROXY protocol may have said.
    pub source_prefix_ranges: Vec<Cidr>,
    /// `source_ports`; none is 0.
    pub source_ports: Vec<u16>,
}

impl FilterChainMatch {
    /// Whether it asks for what a client says first: its server name, its protocols, or whether it is TLS.
    pub fn asks_first_bytes(&self) -> bool {
        !(self.server_names.is_empty() && self.transport_protocol.is_empty() && self.application_protocols.is_empty())
    }
}

/// What it asks for, in the words of Envoy's fields; nothing where it takes everything.
impl fmt::Display for FilterChainMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn list<T: fmt::Display>(entries: &[T]) -> String {
            entries.iter().map(T::to_string).collect::<Vec<_>>().join(" or ")
        }
        let names: Vec<String> = self.server_names.iter().map(ServerNames::to_string).collect();
        let source_type = match self.source_type {
            SourceType::Any => "",
            SourceType::SameIpOrLoopback => "SAME_IP_OR_LOOPBACK",
            SourceType::External => "EXTERNAL",
        };
        let said = [
            ("destination_port", self.destination_port.map(|port| port.to_string()).unwrap_or_default()),
            ("prefix_ranges", list(&self.prefix_ranges)),
            ("server_names", list(&names)),
            ("transport_protocol", self.transport_protocol.clone()),
            ("application_protocols", list(&self.application_protocols)),
            ("direct_source_prefix_ranges", list(&self.direct_source_prefix_ranges)),
            ("source_type", source_type.to_owned()),
            ("source_prefix_ranges", list(&self.source_prefix_ranges)),
            ("source_ports", list(&self.source_ports)),
        ];
        let mut comma = "";
        said.iter()
            .filter(|(_, text)| !text.is_empty())
            .try_for_each(|(field, text)| write!(f, "{}{field} {text}", std::mem::replace(&mut comma, ", ")))
    }
}

/// `FilterChainMatch.ConnectionSourceType`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourceType {
    /// `ANY`
    #[default]
    Any,
    /// `SAME_IP_OR_LOOPBACK`: 127.0.0.1, ::1, a unix socket, or the destination's own address.
    SameIpOrLoopback,
    /// `EXTERNAL`: any other.
    External,
}

/// One entry of `server_names`: a name, or the names that end alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerNames(String);

impl ServerNames {
    /// Reads one entry as Envoy writes it, in any case: `www.example.com`, or `*.example.com` for everything below `example.com`. `None` for a `*` anywhere
    /// else, alone too: a chain for any name has no entry.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let key = if text.starts_with("*.") { &text[1..] } else { &text };
        (!key.contains('*')).then(|| Self(key.to_owned()))
    }

    /// The name, or what follows the `*`, which begins with a dot; in lower case.
    pub fn key(&self) -> &str {
        &self.0
    }
}

/// As Envoy writes it.
impl fmt::Display for ServerNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", if self.0.starts_with('.') { "*" } else { "" }, self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_match_is_told_as_its_file_says_it() {
        assert_eq!(FilterChainMatch::default().to_string(), "");
        let matches = FilterChainMatch {
            destination_port: Some(443),
            prefix_ranges: vec![Cidr::new("10.1.2.3".parse().expect("an address"), 8)],
            server_names: ["*.a.test", "b.test"].iter().filter_map(|name| ServerNames::parse(name)).collect(),
            transport_protocol: "tls".into(),
            source_type: SourceType::External,
            ..FilterChainMatch::default()
        };
        let expect = "destination_port 443, prefix_ranges 10.0.0.0/8, server_names *.a.test or b.test, transport_protocol tls, \
                      source_type EXTERNAL";
        assert_eq!(matches.to_string(), expect);
    }

    #[test]
    fn server_names_are_whole_or_begin_with_a_star() {
        for (text, expect) in [
            ("www.Example.com", Some("www.example.com")),
            ("*.Example.com", Some(".example.com")),
            ("*.com", Some(".com")),
            ("", Some("")),
            ("*", None),
            ("*example.com", None),
            ("www.*.com", None),
            ("*.*.com", None),
            ("www.*", None),
        ] {
            assert_eq!(ServerNames::parse(text).as_ref().map(ServerNames::key), expect, "{text}");
        }
    }
}

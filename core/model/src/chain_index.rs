//! Which of a listener's chains takes a connection.
//!
//! As in Envoy (`FilterChainMatch`, its order of specificity) the chains are narrowed down by one criterion after another, and each
//! keeps those that say most exactly what the connection is: the port, the longest range, the name before its wildcards, the client's first
//! protocol that any of them names. What was narrowed away does not come back: where no chain of those that are left meets a later
//! criterion, none takes the connection, though one that says less of an earlier criterion might have.
//!
//! A chain with lists stands in the index once for each combination of their entries. The rows are sorted by criteria in that order, so each
//! step is a look for one run within the run before it: nine steps of two binary searches, and of one comparison of the ends where the
//! criterion tells nothing apart. Nothing is allocated.
//!
//! Invariant: no two rows are equal but for their chain, so at most one is left in the end.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;

use crate::cidr::Cidr;
use crate::filter_chain_match::{FilterChainMatch, SourceType};

/// Rows of one listener's index: a chain counts as often as its lists have combinations, which a short file can make any number. An edge
/// with 100,000 names has as many. Worst case: 120 bytes each, 30 MiB, once for all workers.
const ROWS_MAX: usize = 1 << 18;

/// The chains of one listener, ready to be looked up; see the module.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChainIndex {
    rows: Vec<Row>,
    destinations: Lengths,
    direct_sources: Lengths,
    sources: Lengths,
}

/// What is known of a connection when its chain is chosen. Addresses are as the listener's own filters left them.
#[derive(Clone, Copy, Debug)]
pub struct ChainFacts<'a> {
    /// Where the client wanted to go: the original destination, what the PROXY protocol said, else our own address. `None`: a unix socket.
    pub destination: Option<SocketAddr>,
    /// The server name in lower case; empty: none.
    pub server_name: &'a [u8],
    /// `tls` or `raw_buffer`, which Envoy says too where nobody has looked.
    pub transport_protocol: &'a str,
    /// The peer of the connection. `None`: a unix socket.
    pub direct_source: Option<SocketAddr>,
    /// The client: the peer, unless the PROXY protocol has said otherwise.
    pub source: Option<SocketAddr>,
}

/// Why there is no index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainProblem {
    /// Some connections would belong to both chains; to one chain twice, where they are the same.
    Conflict {
        /// The one that comes first in the file.
        first: usize,
        /// The other.
        second: usize,
    },
    /// With this chain there are more combinations than [`ChainIndex`] takes (262,144).
    TooLarge {
        /// The chain.
        chain: usize,
    },
}

/// One combination of what a chain asks for. What asks for nothing is 0, `None` or empty; the order of fields is that of the criteria.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    destination_port: u16,
    destination: Option<Cidr>,
    server_name: Arc<str>,
    transport_protocol: Arc<str>,
    application_protocol: Arc<str>,
    direct_source: Option<Cidr>,
    source_type: SourceType,
    source: Option<Cidr>,
    source_port: u16,
    chain: usize,
}

impl ChainIndex {
    /// Makes the index of these chains; a chain's number is its position.
    ///
    /// # Errors
    /// Each pair of chains that a connection could not tell apart (Envoy: `multiple filter chains with overlapping matching rules`), or the chain
    /// with which there are too many combinations.
    pub fn new<'m>(matches: impl IntoIterator<Item = &'m FilterChainMatch>) -> Result<Self, Vec<ChainProblem>> {
        let mut index = Self::default();
        for (chain, of) in matches.into_iter().enumerate() {
            if index.rows.len().checked_add(combinations(of).unwrap_or(usize::MAX)).is_none_or(|rows| rows > ROWS_MAX) {
                return Err(vec![ChainProblem::TooLarge { chain }]);
            }
            index.put(chain, of);
        }
        index.rows.sort_unstable();
        let mut seen = HashSet::new();
        let pairs = index.rows.windows(2).filter(|pair| Row { chain: pair[1].chain, ..pair[0].clone() } == pair[1]);
        let pairs = pairs.map(|pair| (pair[0].chain, pair[1].chain)).filter(|&pair| seen.insert(pair));
        let conflicts: Vec<_> = pairs.map(|(first, second)| ChainProblem::Conflict { first, second }).collect();
        if !conflicts.is_empty() {
            return Err(conflicts);
        }
        index.rows.shrink_to_fit();
        index.destinations = Lengths::new(index.rows.iter().map(|row| row.destination));
        index.direct_sources = Lengths::new(index.rows.iter().map(|row| row.direct_source));
        index.sources = Lengths::new(index.rows.iter().map(|row| row.source));
        Ok(index)
    }

    fn put(&mut self, chain: usize, of: &FilterChainMatch) {
        let names = or_any(of.server_names.iter().map(|names| Arc::from(names.key())), Arc::from(""));
        let protocols = or_any(of.application_protocols.iter().map(|name| Arc::from(name.as_str())), Arc::from(""));
        let ranges = |ranges: &[Cidr]| or_any(ranges.iter().copied().map(Some), None);
        let (destinations, direct_sources, sources) =
            (ranges(&of.prefix_ranges), ranges(&of.direct_source_prefix_ranges), ranges(&of.source_prefix_ranges));
        let source_ports = or_any(of.source_ports.iter().copied(), 0);
        let mut rows = vec![Row {
            destination_port: of.destination_port.unwrap_or(0),
            destination: None,
            server_name: Arc::from(""),
            transport_protocol: Arc::from(of.transport_protocol.as_str()),
            application_protocol: Arc::from(""),
            direct_source: None,
            source_type: of.source_type,
            source: None,
            source_port: 0,
            chain,
        }];
        rows = each(&rows, &destinations, |row, destination| Row { destination, ..row });
        rows = each(&rows, &names, |row, server_name| Row { server_name, ..row });
        rows = each(&rows, &protocols, |row, application_protocol| Row { application_protocol, ..row });
        rows = each(&rows, &direct_sources, |row, direct_source| Row { direct_source, ..row });
        rows = each(&rows, &sources, |row, source| Row { source, ..row });
        rows = each(&rows, &source_ports, |row, source_port| Row { source_port, ..row });
        self.rows.append(&mut rows);
    }

    /// The chain that takes a connection, if one does; otherwise it is the default chain's. `protocols` are those that the client asks for, in its
    /// order.
    pub fn find<'p>(&self, facts: &ChainFacts<'_>, protocols: impl IntoIterator<Item = &'p [u8]>) -> Option<usize> {
        // Envoy looks for a unix socket's address as for this one.
        const PIPE: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::BROADCAST, 0));
        let destination = facts.destination.unwrap_or(PIPE);
        let direct_source = facts.direct_source.unwrap_or(PIPE).ip();
        let source = facts.source.unwrap_or(PIPE);

        let rows = self.rows.as_slice();
        let rows = by_port(rows, destination.port(), |row| row.destination_port);
        let rows = self.destinations.longest(rows, destination.ip(), |row| row.destination);
        let rows = by_name(rows, facts.server_name);
        let transport = |name: &str| run(rows, |row| (*row.transport_protocol).cmp(name));
        let rows = or(transport(facts.transport_protocol), || transport(""));
        let protocol = |name: &[u8]| run(rows, |row| row.application_protocol.as_bytes().cmp(name));
        let named = protocols.into_iter().map(protocol).find(|rows| !rows.is_empty());
        let rows = named.unwrap_or_else(|| protocol(b""));
        let rows = self.direct_sources.longest(rows, direct_source, |row| row.direct_source);
        let source_type = |of: SourceType| run(rows, |row| row.source_type.cmp(&of));
        let own = if is_local(facts) { SourceType::SameIpOrLoopback } else { SourceType::External };
        let rows = or(source_type(own), || source_type(SourceType::Any));
        let rows = self.sources.longest(rows, source.ip(), |row| row.source);
        let rows = by_port(rows, source.port(), |row| row.source_port);
        debug_assert!(rows.len() <= 1, "{rows:?}");
        rows.first().map(|row| row.chain)
    }
}

/// How many rows a chain comes to.
fn combinations(of: &FilterChainMatch) -> Option<usize> {
    let lens = [
        of.prefix_ranges.len(),
        of.server_names.len(),
        of.application_protocols.len(),
        of.direct_source_prefix_ranges.len(),
        of.source_prefix_ranges.len(),
        of.source_ports.len(),
    ];
    lens.into_iter().try_fold(1_usize, |product, len| product.checked_mul(len.max(1)))
}

/// The entries of a list, or what stands for none.
fn or_any<T>(entries: impl Iterator<Item = T>, any: T) -> Vec<T> {
    let entries: Vec<T> = entries.collect();
    if entries.is_empty() { vec![any] } else { entries }
}

/// Each row with each entry.
fn each<T: Clone>(rows: &[Row], entries: &[T], with: impl Fn(Row, T) -> Row) -> Vec<Row> {
    rows.iter().flat_map(|row| entries.iter().map(|entry| with(row.clone(), entry.clone()))).collect()
}

/// The rows that are `Equal`, which lie together: all rows have the same in the fields before the one that is compared.
#[inline]
fn run(rows: &[Row], compare: impl Fn(&Row) -> Ordering) -> &[Row] {
    let [first, .., last] = rows else {
        return if rows.iter().any(|row| compare(row).is_eq()) { rows } else { &[] };
    };
    if compare(first).is_eq() && compare(last).is_eq() {
        return rows;
    }
    let start = rows.partition_point(|row| compare(row).is_lt());
    let len = rows[start..].partition_point(|row| compare(row).is_eq());
    &rows[start..start + len]
}

/// These rows; where there are none, those.
fn or<'r>(these: &'r [Row], those: impl FnOnce() -> &'r [Row]) -> &'r [Row] {
    if these.is_empty() { those() } else { these }
}

fn by_port(rows: &[Row], port: u16, field: impl Fn(&Row) -> u16) -> &[Row] {
    or(run(rows, |row| field(row).cmp(&port)), || run(rows, |row| field(row).cmp(&0)))
}

/// The name itself, then what is left of it from each dot on, then no name. As in Envoy a dot at its very beginning or end is none of these.
fn by_name<'r>(rows: &'r [Row], name: &[u8]) -> &'r [Row] {
    let named = |name: &[u8]| run(rows, |row| row.server_name.as_bytes().cmp(name));
    let exact = named(name);
    if !exact.is_empty() {
        return exact;
    }
    let dots = (1..name.len().saturating_sub(1)).filter(|&at| name[at] == b'.');
    let wildcard = dots.map(|at| named(&name[at..])).find(|rows| !rows.is_empty());
    wildcard.unwrap_or_else(|| named(b""))
}

/// Envoy: `Utility::isSameIpOrLoopback`.
fn is_local(facts: &ChainFacts<'_>) -> bool {
    let Some(source) = facts.source.map(|source| source.ip()) else { return true };
    let is_loopback = source == IpAddr::V4(Ipv4Addr::LOCALHOST) || source == IpAddr::V6(Ipv6Addr::LOCALHOST);
    is_loopback || facts.destination.is_some_and(|destination| destination.ip() == source)
}

/// The lengths of prefix that one criterion has in any row, the longest first.
#[derive(Clone, Debug, Default, PartialEq)]
struct Lengths {
    v4: Vec<u8>,
    v6: Vec<u8>,
}

impl Lengths {
    fn new(ranges: impl Iterator<Item = Option<Cidr>>) -> Self {
        let mut lengths = Self::default();
        for range in ranges.flatten() {
            let of = if range.address().is_ipv4() { &mut lengths.v4 } else { &mut lengths.v6 };
            if let Err(at) = of.binary_search_by(|length| range.prefix().cmp(length)) {
                of.insert(at, range.prefix());
            }
        }
        lengths
    }

    /// The rows of the longest range that has this address, or of no range.
    fn longest<'r>(&self, rows: &'r [Row], address: IpAddr, field: impl Fn(&Row) -> Option<Cidr>) -> &'r [Row] {
        let lengths = if address.is_ipv4() { &self.v4 } else { &self.v6 };
        let of = |range: Option<Cidr>| run(rows, |row| field(row).cmp(&range));
        let ranges = lengths.iter().map(|&length| Some(Cidr::new(address, length.into())));
        ranges.map(of).find(|rows| !rows.is_empty()).unwrap_or_else(|| of(None))
    }
}

#[cfg(test)]
mod tests;

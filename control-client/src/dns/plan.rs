//! What a cluster of names asks for: which names, of whom, how often.
//!
//! Plain data with Envoy's defaults filled in. Equal plans ask for the same, so that a reload that leaves one as it was keeps its
//! answers.

use std::net::SocketAddr;
use std::time::Duration;

use ringway_model::{Endpoint, HappyEyeballs};

/// `dns_refresh_rate` where the file says nothing.
pub(crate) const REFRESH_RATE: Duration = Duration::from_secs(5);
/// `CaresDnsResolverConfig.query_timeout_seconds` where the file says nothing.
pub(crate) const QUERY_TIMEOUT: Duration = Duration::from_secs(5);
/// `CaresDnsResolverConfig.query_tries` where the file says nothing.
pub(crate) const QUERY_TRIES: u32 = 4;
/// `CaresDnsResolverConfig.edns0_max_payload_size` where the file says nothing: what one packet carries anywhere.
pub(crate) const EDNS_PAYLOAD: u16 = 1232;

/// The names of one cluster and the rules for asking for them.
#[derive(Clone, Debug, PartialEq)]
pub struct DnsPlan {
    /// The cluster's name in statistics.
    pub(crate) stat_name: String,
    /// What the addresses of a name become.
    pub(crate) hosts: DnsHosts,
    /// In the order of the file.
    pub(crate) names: Vec<DnsName>,
    pub(crate) family: LookupFamily,
    /// `dns_refresh_rate`: from an answer to the next question.
    pub(crate) refresh: Duration,
    /// `dns_failure_refresh_rate`; where the file says nothing, `refresh` goes on.
    pub(crate) failure: Option<BackOff>,
    /// `respect_dns_ttl`: the smallest TTL of an answer takes the place of `refresh`.
    pub(crate) respect_ttl: bool,
    /// `dns_min_refresh_rate`: no TTL counts for less.
    pub(crate) ttl_min: Duration,
    /// `dns_jitter`: up to so much is added to each wait.
    pub(crate) jitter: Duration,
    /// In which order the addresses of a LOGICAL_DNS cluster's name are tried.
    pub(crate) eyeballs: HappyEyeballs,
    /// Who is asked.
    pub(crate) resolver: ResolverPlan,
    /// `wait_for_warm_on_init`: the configuration takes effect after the first answer.
    pub(crate) waits: bool,
}

/// What the addresses of a name become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DnsHosts {
    /// STRICT_DNS: each address is an endpoint.
    Each,
    /// LOGICAL_DNS: the name is one endpoint, reached at the first address of the last answer.
    One,
}

/// One name of a cluster.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DnsName {
    /// What is asked for: a name, or an address written as one.
    pub(crate) name: String,
    pub(crate) port: u16,
    /// The endpoint but for its address.
    pub(crate) endpoint: Endpoint,
}

/// `DnsLookupFamily`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum LookupFamily {
    /// IPv6, and IPv4 where there is none.
    Auto,
    V4Only,
    V6Only,
    /// IPv4, and IPv6 where there is none.
    V4Preferred,
    All,
}

/// `dns_failure_refresh_rate`: waits after failures in a row, drawn below bounds that double.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BackOff {
    pub(crate) base: Duration,
    pub(crate) max: Duration,
}

impl BackOff {
    /// The wait after this many failures in a row (at least 1). `chance` is any number.
    pub(crate) fn wait(&self, failures: u32, chance: u64) -> Duration {
        let doubled = 1u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        below(self.base.saturating_mul(doubled).min(self.max), chance)
    }
}

/// A time from zero to `bound` by chance, in milliseconds as Envoy has it.
pub(crate) fn below(bound: Duration, chance: u64) -> Duration {
    let bound = u64::try_from(bound.as_millis()).unwrap_or(u64::MAX);
    if bound == 0 { Duration::ZERO } else { Duration::from_millis(chance % bound) }
}

/// Who is asked for addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ResolverPlan {
    /// `envoy.network.dns_resolver.cares`: name servers, asked by us.
    Servers(Servers),
    /// `envoy.network.dns_resolver.getaddrinfo`: the C library, with all that it is configured to ask.
    Library {
        /// `num_retries`: how often EAI_AGAIN is asked again at once. Envoy's default is "for ever"; ours is none, and the next
        /// question after the failure's refresh rate.
        retries: u32,
    },
}

impl Default for ResolverPlan {
    /// As in Envoy on Linux: the name servers of /etc/resolv.conf.
    fn default() -> Self {
        ResolverPlan::Servers(Servers::default())
    }
}

/// `CaresDnsResolverConfig`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Servers {
    /// `resolvers`; empty: those of /etc/resolv.conf.
    pub(crate) addresses: Vec<SocketAddr>,
    /// `use_resolvers_as_fallback`: `addresses` count only where /etc/resolv.conf names nobody.
    pub(crate) as_fallback: bool,
    /// `use_tcp_for_dns_lookups`.
    pub(crate) tcp: bool,
    /// `no_default_search_domain`: names are asked for as they stand.
    pub(crate) no_search: bool,
    /// `query_timeout_seconds`.
    pub(crate) timeout: Duration,
    /// `query_tries`.
    pub(crate) tries: u32,
    /// `rotate_nameservers`.
    pub(crate) rotate: bool,
    /// `edns0_max_payload_size`.
    pub(crate) edns_payload: u16,
}

impl Default for Servers {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            as_fallback: false,
            tcp: false,
            no_search: false,
            timeout: QUERY_TIMEOUT,
            tries: QUERY_TRIES,
            rotate: false,
            edns_payload: EDNS_PAYLOAD,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_after_failures_double_up_to_their_maximum() {
        let ms = Duration::from_millis;
        let rate = BackOff { base: ms(100), max: ms(1_000) };
        for (failures, chance, expect) in [
            (1, 0, 0),
            (1, 99, 99),
            (1, 100, 0),
            (2, 199, 199),
            (3, 399, 399),
            (4, 799, 799),
            (5, 1_599, 599),
            (200, 999, 999),
        ] {
            assert_eq!(rate.wait(failures, chance), ms(expect), "{failures} {chance}");
        }
    }
}

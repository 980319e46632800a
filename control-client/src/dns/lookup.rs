//! One look-up: a name to its addresses, by name servers or by the C library.
//!
//! It decides nothing about when, and keeps nothing between two look-ups but the configuration of the servers: caching is what
//! TTLs and refresh rates are for.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs};
use std::time::{Duration, SystemTime};

use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts, ServerOrderingStrategy,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::{Hosts, Resolver, TokioResolver};

use super::plan::{LookupFamily, ResolverPlan, Servers};

/// What came of a look-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// These addresses, each once, in the order of the answer. None: the name has no address, or does not exist.
    Found {
        addresses: Vec<IpAddr>,
        /// The smallest TTL on the way to them. `None`: no server said one.
        ttl: Option<Duration>,
    },
    /// Nobody answered, or the answer says nothing about the name.
    Failed(String),
}

impl Outcome {
    fn has_addresses(&self) -> bool {
        matches!(self, Outcome::Found { addresses, .. } if !addresses.is_empty())
    }

    /// Both families' answers as one. A family that failed does not count where the other has something to say.
    fn and(self, other: Outcome) -> Outcome {
        match (self, other) {
            (Outcome::Found { mut addresses, ttl }, Outcome::Found { addresses: more, ttl: other }) => {
                addresses.extend(more);
                Outcome::Found { addresses, ttl: ttl.into_iter().chain(other).min() }
            }
            (found, Outcome::Failed(_)) if found.has_addresses() => found,
            (Outcome::Failed(_), found) if found.has_addresses() => found,
            (failed @ Outcome::Failed(_), _) | (_, failed) => failed,
        }
    }
}

/// Who answers.
pub(crate) enum Asker {
    Servers(Box<Client>),
    Library { retries: u32 },
}

impl Asker {
    pub(crate) fn new(plan: &ResolverPlan) -> Asker {
        match plan {
            ResolverPlan::Servers(servers) => Asker::Servers(Box::new(Client::new(servers))),
            ResolverPlan::Library { retries } => Asker::Library { retries: *retries },
        }
    }

    /// Whether it was made from the system's files as they are.
    pub(crate) fn is_current(&self) -> bool {
        match self {
            Asker::Servers(client) => client.stamp == Stamp::now(),
            Asker::Library { .. } => true,
        }
    }

    /// Looks `name` up. An address written as one is its own answer, where the family fits.
    pub(crate) async fn look_up(&self, name: &str, family: LookupFamily) -> Outcome {
        if let Ok(address) = name.parse::<IpAddr>() {
            let fits = match family {
                LookupFamily::V4Only => address.is_ipv4(),
                LookupFamily::V6Only => address.is_ipv6(),
                LookupFamily::Auto | LookupFamily::V4Preferred | LookupFamily::All => true,
            };
            return Outcome::Found { addresses: fits.then_some(address).into_iter().collect(), ttl: None };
        }
        match self {
            Asker::Servers(client) => client.look_up(name, family).await,
            Asker::Library { retries } => {
                let (name, retries) = (name.to_owned(), *retries);
                let asked = tokio::task::spawn_blocking(move || library(&name, retries)).await;
                match asked {
                    Ok(outcome) => chosen(outcome, family),
                    Err(error) => Outcome::Failed(error.to_string()),
                }
            }
        }
    }
}

/// A client of name servers, with the files that it was made from.
pub(crate) struct Client {
    resolver: Result<TokioResolver, String>,
    hosts: Hosts,
    no_search: bool,
    stamp: Stamp,
}

/// When the system's files were last changed: a client made from others is out of date.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stamp([Option<SystemTime>; 2]);

impl Stamp {
    fn now() -> Stamp {
        let changed = |path| fs::metadata(path).and_then(|file| file.modified()).ok();
        Stamp(["/etc/resolv.conf", "/etc/hosts"].map(changed))
    }
}

impl Client {
    fn new(servers: &Servers) -> Client {
        let stamp = Stamp::now();
        let (config, options) = settings(servers);
        let builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options);
        let resolver = builder.build().map_err(|error| error.to_string());
        Client { resolver, hosts: Hosts::from_system().unwrap_or_default(), no_search: servers.no_search, stamp }
    }

    async fn look_up(&self, name: &str, family: LookupFamily) -> Outcome {
        use RecordType::{A, AAAA};
        let name = match Name::from_utf8(name) {
            Ok(mut name) => {
                if self.no_search {
                    name.set_fqdn(true);
                }
                name
            }
            Err(error) => return Outcome::Failed(error.to_string()),
        };
        let (first, second) = match family {
            LookupFamily::V4Only => return self.ask(&name, A).await,
            LookupFamily::V6Only => return self.ask(&name, AAAA).await,
            LookupFamily::All => return self.ask(&name, A).await.and(self.ask(&name, AAAA).await),
            LookupFamily::Auto => (AAAA, A),
            LookupFamily::V4Preferred => (A, AAAA),
        };
        let preferred = self.ask(&name, first).await;
        if preferred.has_addresses() { preferred } else { preferred.and(self.ask(&name, second).await) }
    }

    async fn ask(&self, name: &Name, kind: RecordType) -> Outcome {
        let mut absolute = name.clone();
        absolute.set_fqdn(true);
        if let Some(known) = self.hosts.lookup_static_host(&Query::query(absolute, kind)) {
            return Outcome::Found { addresses: addresses(known.answers()), ttl: None };
        }
        let resolver = match &self.resolver {
            Ok(resolver) => resolver,
            Err(error) => return Outcome::Failed(error.clone()),
        };
        match resolver.lookup(name.clone(), kind).await {
            Ok(found) => {
                let ttl = found.answers().iter().map(|record| record.ttl).min();
                Outcome::Found {
                    addresses: addresses(found.answers()),
                    ttl: ttl.map(|seconds| Duration::from_secs(seconds.into())),
                }
            }
            Err(NetError::Dns(DnsError::NoRecordsFound(none)))
                if matches!(none.response_code, ResponseCode::NoError | ResponseCode::NXDomain) =>
            {
                Outcome::Found { addresses: Vec::new(), ttl: None }
            }
            Err(error) => Outcome::Failed(error.to_string()),
        }
    }
}

/// The servers and the rules for asking them.
fn settings(servers: &Servers) -> (ResolverConfig, ResolverOpts) {
    // Without the file, or without a server in it: c-ares asks the server of this host.
    let system = hickory_resolver::system_conf::read_system_conf().ok();
    let system_has_some = system.is_some();
    let (system, mut options) = system.unwrap_or_else(|| {
        let local = NameServerConfig::udp_and_tcp(Ipv4Addr::LOCALHOST.into());
        (ResolverConfig::from_parts(None, Vec::new(), vec![local]), ResolverOpts::default())
    });
    let (_, search, mut name_servers) = system.into_parts();
    let system_is_asked = servers.as_fallback && system_has_some;
    if !servers.addresses.is_empty() && !system_is_asked {
        name_servers = servers
            .addresses
            .iter()
            .map(|address| {
                let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                    connection.port = address.port();
                    connection
                });
                NameServerConfig::new(address.ip(), true, connections.into())
            })
            .collect();
    }
    if servers.tcp {
        for server in &mut name_servers {
            server.connections = server.connections.split_off(1);
        }
    }
    options.timeout = servers.timeout;
    options.attempts = (servers.tries - 1) as usize;
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never; // asked by us, since they have no TTL
    options.edns0 = true;
    options.edns_payload_len = servers.edns_payload;
    options.num_concurrent_reqs = 1;
    options.server_ordering_strategy = match servers.rotate {
        true => ServerOrderingStrategy::RoundRobin,
        false => ServerOrderingStrategy::UserProvidedOrder,
    };
    (ResolverConfig::from_parts(None, search, name_servers), options)
}

fn addresses(records: &[Record]) -> Vec<IpAddr> {
    let address = |record: &Record| match &record.data {
        RData::A(address) => Some(IpAddr::V4(address.0)),
        RData::AAAA(address) => Some(IpAddr::V6(address.0)),
        _ => None,
    };
    distinct(records.iter().filter_map(address))
}

fn distinct(addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut seen = Vec::new();
    for address in addresses {
        if !seen.contains(&address) {
            seen.push(address);
        }
    }
    seen
}

/// Asks the C library. It waits.
fn library(name: &str, retries: u32) -> Outcome {
    let mut left = retries;
    loop {
        match (name, 0).to_socket_addrs() {
            Ok(found) => return Outcome::Found { addresses: distinct(found.map(|address| address.ip())), ttl: None },
            Err(error) => {
                // std keeps getaddrinfo's code to itself and gives its text, in the C locale: of glibc or of musl.
                let text = error.to_string();
                let says = |texts: [&str; 2]| texts.into_iter().any(|one| text.contains(one));
                if says(["Name or service not known", "Name does not resolve"]) || text.contains("No address") {
                    return Outcome::Found { addresses: Vec::new(), ttl: None };
                }
                if left == 0 || !says(["Temporary failure", "Try again"]) {
                    return Outcome::Failed(text);
                }
                left -= 1;
            }
        }
    }
}

/// Of both families' addresses those that are asked for.
fn chosen(outcome: Outcome, family: LookupFamily) -> Outcome {
    let Outcome::Found { mut addresses, ttl } = outcome else { return outcome };
    let has = |v4: bool| addresses.iter().any(|address| address.is_ipv4() == v4);
    let v4 = match family {
        LookupFamily::All => None,
        LookupFamily::V4Only => Some(true),
        LookupFamily::V6Only => Some(false),
        LookupFamily::Auto => Some(!has(false)),
        LookupFamily::V4Preferred => Some(has(true)),
    };
    addresses.retain(|address| v4.is_none_or(|v4| address.is_ipv4() == v4));
    Outcome::Found { addresses, ttl }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(addresses: &[&str], ttl: Option<u64>) -> Outcome {
        let addresses = addresses.iter().map(|text| text.parse().expect("an address")).collect();
        Outcome::Found { addresses, ttl: ttl.map(Duration::from_secs) }
    }

    #[test]
    fn families_are_put_together() {
        let failed = || Outcome::Failed("why".into());
        for (one, other, expect) in [
            (found(&["1.1.1.1"], Some(9)), found(&["::1"], Some(3)), found(&["1.1.1.1", "::1"], Some(3))),
            (found(&["1.1.1.1"], None), found(&[], None), found(&["1.1.1.1"], None)),
            (found(&["1.1.1.1"], Some(1)), failed(), found(&["1.1.1.1"], Some(1))),
            (failed(), found(&["::1"], Some(1)), found(&["::1"], Some(1))),
            // Half an answer that says "nothing" is none: what was known stays.
            (failed(), found(&[], None), failed()),
            (found(&[], None), failed(), failed()),
        ] {
            assert_eq!(one.clone().and(other.clone()), expect, "{one:?} and {other:?}");
        }
    }

    #[test]
    fn a_family_is_chosen_from_what_the_library_gives() {
        use LookupFamily::{All, Auto, V4Only, V4Preferred, V6Only};
        let (both, v4) = (["::1", "1.1.1.1"], ["1.1.1.1"]);
        for (given, family, expect) in [
            (&both[..], All, &both[..]),
            (&both, Auto, &both[..1]),
            (&both, V4Preferred, &v4),
            (&both, V4Only, &v4),
            (&both, V6Only, &both[..1]),
            (&v4, Auto, &v4),
            (&v4, V6Only, &[]),
            (&both[..1], V4Preferred, &both[..1]),
        ] {
            assert_eq!(chosen(found(given, None), family), found(expect, None), "{given:?} {family:?}");
        }
    }
}

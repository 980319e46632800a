//! One version of the whole configuration, as resources of the four types, each of which names its version.
//!
//! | part | how version k shows |
//! |---|---|
//! | listener | `server: k` in each answer; of `secured`, the serial number of its certificate |
//! | route | `x-route: k` in each answer, and in each request that the origin gets |
//! | cluster | the address of the origin's clients |
//! | endpoint | the address at which the origin is asked |
//!
//! `/s` leads to the cluster `stable`, which keeps its name, `/n` to `named-0` and `named-1` by turns; or to clusters of other names in each version.
//! Numbers and addresses have the same length in all versions: a control plane may make one version of the bytes of another.

use std::net::IpAddr;

use serde_json::{Value, json};

/// The last version that is written with five digits.
pub(super) const VERSION_MAX: u64 = 99_999;
/// Certificates of the listener `secured`; version k shows the one with the serial number 1 + k mod so many.
pub(super) const CERTIFICATES: u64 = 16;
/// What a request asks for.
pub(super) const PATHS: [&str; 2] = ["/s", "/n"];
/// The second byte of an endpoint's address, and of a cluster's own, in the first versions.
const ENDPOINTS: u64 = 100;
const CLUSTERS: u64 = 150;
/// Values of one byte that are used: all have three digits.
const BYTE_VALUES: u64 = 100;

const TYPES: &str = "type.googleapis.com/envoy";

/// What comes together: a type of resource, but that a file of endpoints may have those of one cluster only (on Envoy).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Cluster,
    /// Of `stable`, and of the two clusters that take turns.
    Endpoints(u64),
    Listener,
    Routes,
}

impl Kind {
    /// Each after what it refers to.
    pub(super) const ALL: [Kind; 6] =
        [Kind::Endpoints(0), Kind::Endpoints(1), Kind::Endpoints(2), Kind::Cluster, Kind::Routes, Kind::Listener];

    /// The file's name.
    pub(super) fn file(self) -> &'static str {
        match self {
            Kind::Cluster => "cds.json",
            Kind::Endpoints(0) => "eds-stable.json",
            Kind::Endpoints(1) => "eds-named-0.json",
            Kind::Endpoints(_) => "eds-named-1.json",
            Kind::Listener => "lds.json",
            Kind::Routes => "rds.json",
        }
    }
}

/// How clusters and routes are named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Naming {
    /// `named-0` and `named-1` by turns: one is there in each version.
    ByTurns,
    /// The same, but both are there in all versions.
    Both,
    /// All clusters and the routes have names of their version.
    ByVersion,
}

/// What all versions share.
#[derive(Clone, Debug)]
pub(super) struct Common {
    /// Where the listeners `plain` and `secured` are bound.
    pub(super) ports: [u16; 2],
    /// Where the origin listens, at each address of 127.0.0.0/8.
    pub(super) origin: u16,
    /// Chain and key of each certificate, as PEM.
    pub(super) certificates: Vec<[String; 2]>,
    pub(super) naming: Naming,
}

/// A version as it is written everywhere.
pub(super) fn text(version: u64) -> String {
    assert!(version <= VERSION_MAX, "five digits");
    format!("{version:05}")
}

/// The serial number that `secured` shows in this version.
pub(super) fn serial(version: u64) -> u64 {
    1 + version % CERTIFICATES
}

/// The version that an address stands for.
pub(super) fn version_of(ip: IpAddr) -> Option<u64> {
    let IpAddr::V4(ip) = ip else { return None };
    let [127, what, high, low] = ip.octets().map(u64::from) else { return None };
    let what = what.checked_sub(if what < CLUSTERS { ENDPOINTS } else { CLUSTERS })?;
    let (high, low) = (high.checked_sub(BYTE_VALUES)?, low.checked_sub(BYTE_VALUES)?);
    Some((what * BYTE_VALUES + high) * BYTE_VALUES + low)
}

fn address_of(what: u64, version: u64) -> String {
    let (low, rest) = (version % BYTE_VALUES, version / BYTE_VALUES);
    format!("127.{}.{}.{}", what + rest / BYTE_VALUES, BYTE_VALUES + rest % BYTE_VALUES, BYTE_VALUES + low)
}

/// The address of this version's clusters towards the origin.
pub(super) fn source(version: u64) -> String {
    address_of(CLUSTERS, version)
}

/// The address of this version's endpoints.
pub(super) fn endpoint(version: u64) -> String {
    address_of(ENDPOINTS, version)
}

impl Common {
    /// The resources of one type and version. `source` says where those of a type are to be had.
    pub(super) fn resources(&self, kind: Kind, version: u64, source: &dyn Fn(Kind) -> Value) -> Vec<Value> {
        match kind {
            Kind::Cluster => {
                let names = (0..3).filter_map(|at| Some((self.cluster(at, version)?, at)));
                let is_there = |at: u64| at == 0 || self.naming != Naming::ByTurns || at == 1 + version % 2;
                let there = names.filter(|(_, at)| is_there(*at));
                there.map(|(name, at)| cluster(&name, version, source(Kind::Endpoints(at)))).collect()
            }
            // Of all, so that each file is there when its cluster comes.
            Kind::Endpoints(at) => {
                self.cluster(at, version).iter().map(|name| self.assignment(name, version)).collect()
            }
            Kind::Routes => vec![self.routes(version)],
            Kind::Listener => {
                let [plain, secured] = self.ports;
                vec![
                    self.listener("plain", plain, version, None, source),
                    self.listener("secured", secured, version, Some(self.certificate(version)), source),
                ]
            }
        }
    }

    /// The cluster at this place of three; the last two take turns.
    fn cluster(&self, at: u64, version: u64) -> Option<String> {
        match (self.naming, at) {
            (Naming::ByVersion, 0) => Some(format!("stable-{}", text(version))),
            (Naming::ByVersion, 1) => Some(format!("named-{}", text(version))),
            (Naming::ByVersion, _) => None,
            (_, 0) => Some("stable".to_owned()),
            (_, turn) => Some(format!("named-{}", turn - 1)),
        }
    }

    fn routes_name(&self, version: u64) -> String {
        match self.naming {
            Naming::ByVersion => format!("routes-{}", text(version)),
            Naming::ByTurns | Naming::Both => "routes".to_owned(),
        }
    }

    fn certificate(&self, version: u64) -> &[String; 2] {
        &self.certificates[(version % CERTIFICATES) as usize]
    }

    fn assignment(&self, name: &str, version: u64) -> Value {
        let address = json!({"socket_address": {"address": endpoint(version), "port_value": self.origin}});
        json!({
            "@type": format!("{TYPES}.config.endpoint.v3.ClusterLoadAssignment"),
            "cluster_name": name,
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        })
    }

    fn routes(&self, version: u64) -> Value {
        let field = json!([{
            "header": {"key": "x-route", "value": text(version)},
            "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
        }]);
        let to = |(prefix, cluster): (&&str, &Option<String>)| {
            json!({
                "match": {"prefix": prefix},
                "route": {"cluster": cluster},
                "request_headers_to_add": field,
                "response_headers_to_add": field,
            })
        };
        let turn = if self.naming == Naming::ByVersion { 1 } else { 1 + version % 2 };
        let clusters = [0, turn].map(|at| self.cluster(at, version));
        let routes: Vec<Value> = PATHS.iter().zip(&clusters).map(to).collect();
        json!({
            "@type": format!("{TYPES}.config.route.v3.RouteConfiguration"),
            "name": self.routes_name(version),
            "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}],
        })
    }

    fn listener(
        &self,
        name: &str,
        port: u16,
        version: u64,
        certificate: Option<&[String; 2]>,
        source: &dyn Fn(Kind) -> Value,
    ) -> Value {
        let manager = json!({
            "@type": format!("{TYPES}.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"),
            "stat_prefix": name,
            "server_name": text(version),
            "rds": {"route_config_name": self.routes_name(version), "config_source": source(Kind::Routes)},
            "http_filters": [{
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": format!("{TYPES}.extensions.filters.http.router.v3.Router")},
            }],
        });
        let mut chain = json!({
            "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}],
        });
        if let Some([certificate, key]) = certificate {
            chain["transport_socket"] = json!({"name": "envoy.transport_sockets.tls", "typed_config": {
                "@type": format!("{TYPES}.extensions.transport_sockets.tls.v3.DownstreamTlsContext"),
                "common_tls_context": {"tls_certificates": [{
                    "certificate_chain": {"inline_string": certificate}, "private_key": {"inline_string": key},
                }]},
            }});
        }
        json!({
            "@type": format!("{TYPES}.config.listener.v3.Listener"),
            "name": name,
            // All addresses: a client that makes many connections has many.
            "address": {"socket_address": {"address": "0.0.0.0", "port_value": port}},
            "filter_chains": [chain],
        })
    }
}

fn cluster(name: &str, version: u64, source: Value) -> Value {
    let source_address = self::source(version);
    // Wide enough for any judge.
    let limits = json!({"max_connections": 100_000, "max_pending_requests": 100_000, "max_requests": 100_000});
    json!({
        "@type": format!("{TYPES}.config.cluster.v3.Cluster"),
        "name": name,
        "type": "EDS",
        "eds_cluster_config": {"eds_config": source},
        "connect_timeout": "5s",
        "circuit_breakers": {"thresholds": [limits]},
        "upstream_bind_config": {"source_address": {"address": source_address, "port_value": 0}},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn common(naming: Naming) -> Common {
        let certificates = (0..CERTIFICATES).map(|at| [format!("chain {at}"), format!("key {at}")]).collect();
        Common { ports: [1, 2], origin: 3, certificates, naming }
    }

    fn names(naming: Naming, kind: Kind, version: u64) -> Vec<String> {
        let resources = common(naming).resources(kind, version, &|_| json!({"ads": {}}));
        resources.iter().map(|resource| resource["name"].as_str().expect("a name").to_owned()).collect()
    }

    #[test]
    fn each_part_names_its_version() {
        let wanted = [
            (Kind::Cluster, "127.150.102.159"),
            (Kind::Endpoints(1), "127.100.102.159"),
            (Kind::Listener, "\"server_name\":\"00259\""),
            (Kind::Routes, "\"value\":\"00259\""),
        ];
        for (kind, part) in wanted {
            let resources = common(Naming::ByTurns).resources(kind, 259, &|_| json!({"ads": {}}));
            let text = Value::from(resources).to_string();
            assert!(text.contains(part), "{kind:?}: {text}");
        }
        for version in [0, 1, 99, 100, 9_999, 10_000, VERSION_MAX] {
            for address in [endpoint(version), source(version)] {
                assert_eq!(version_of(address.parse().expect("an address")), Some(version), "{address}");
                assert_eq!(address.len(), "127.100.100.100".len());
            }
        }
        assert_eq!(version_of(IpAddr::from([127, 0, 0, 1])), None);
    }

    #[test]
    fn clusters_come_and_go_as_they_are_named() {
        assert_eq!(names(Naming::ByTurns, Kind::Cluster, 7), ["stable", "named-1"]);
        assert_eq!(names(Naming::ByTurns, Kind::Cluster, 8), ["stable", "named-0"]);
        assert_eq!(names(Naming::Both, Kind::Cluster, 8), ["stable", "named-0", "named-1"]);
        assert_eq!(names(Naming::ByVersion, Kind::Cluster, 8), ["stable-00008", "named-00008"]);
        assert_eq!(names(Naming::ByVersion, Kind::Routes, 8), ["routes-00008"]);
    }
}

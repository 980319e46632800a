//! Routes, and the pure look-up from a request's host and path to what is to be done with it.
//!
//! The search costs one hash look-up for the virtual host, then the routes of that host in the order of the file:
//! the first that matches wins (Envoy, `VirtualHost.routes`).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::ClusterId;

/// `envoy.config.route.v3.RouteConfiguration`.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteConfiguration {
    /// `name`.
    pub name: String,
    /// `virtual_hosts`, in the order of the file.
    pub virtual_hosts: Vec<VirtualHost>,
    index: HostIndex,
}

/// `envoy.config.route.v3.VirtualHost`.
#[derive(Clone, Debug, PartialEq)]
pub struct VirtualHost {
    /// `name`.
    pub name: String,
    /// `domains`.
    pub domains: Vec<Domain>,
    /// `routes`, in the order of the file.
    pub routes: Vec<Route>,
}

/// One entry of `VirtualHost.domains`. Texts are lower case: hosts are compared without regard to case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Domain {
    /// `www.example.org`.
    Exact(String),
    /// `*.example.org`: held as `.example.org`. The `*` stands for at least one character.
    Suffix(String),
    /// `www.example.*`: held as `www.example.`. The `*` stands for at least one character.
    Prefix(String),
    /// `*`.
    Any,
}

impl Domain {
    /// Reads one entry as Envoy writes it; `None` where the `*` is not alone, first or last, or the text is empty.
    pub fn parse(text: &str) -> Option<Domain> {
        let text = text.to_ascii_lowercase();
        match text.matches('*').count() {
            0 if !text.is_empty() => Some(Domain::Exact(text)),
            1 if text == "*" => Some(Domain::Any),
            1 => match (text.strip_prefix('*'), text.strip_suffix('*')) {
                (Some(rest), _) => Some(Domain::Suffix(rest.to_owned())),
                (_, Some(rest)) => Some(Domain::Prefix(rest.to_owned())),
                _ => None,
            },
            _ => None,
        }
    }
}

/// `envoy.config.route.v3.Route`.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// `name`, for statistics and logs; may be empty.
    pub name: String,
    /// `match.path_specifier`.
    pub path: PathMatch,
    /// What is done with a request that matches.
    pub action: Action,
}

/// `RouteMatch.path_specifier`; matched against the path without its query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathMatch {
    /// `prefix`: the path begins with it.
    Prefix(String),
    /// `path`: the path equals it.
    Exact(String),
}

impl PathMatch {
    /// Whether `path` (without query) is one that this matches. Case counts.
    pub fn matches(&self, path: &[u8]) -> bool {
        match self {
            PathMatch::Prefix(prefix) => path.starts_with(prefix.as_bytes()),
            PathMatch::Exact(exact) => path == exact.as_bytes(),
        }
    }
}

/// `Route.action`.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// `route`: to a cluster.
    Forward(ForwardAction),
    /// `direct_response`: an answer of our own.
    Direct(Arc<DirectResponse>),
}

/// `envoy.config.route.v3.RouteAction`.
#[derive(Clone, Debug, PartialEq)]
pub struct ForwardAction {
    /// `cluster_specifier`.
    pub target: Target,
    /// `timeout`: from the end of the request to the end of the response. Envoy: 15 s; `None` (0 s): none.
    pub timeout: Option<Duration>,
}

/// `RouteAction.cluster_specifier`.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// `cluster`.
    Cluster(ClusterId),
    /// `weighted_clusters`.
    Weighted {
        /// In the order of the file; none has weight 0 but for those that are never chosen.
        clusters: Vec<WeightedCluster>,
        /// The sum of the weights; at least 1.
        total: u32,
    },
}

impl Target {
    /// The cluster for one request. `chance` is a uniformly random number; the same number gives the same cluster.
    pub fn pick(&self, chance: u64) -> ClusterId {
        match self {
            Target::Cluster(id) => *id,
            Target::Weighted { clusters, total } => {
                assert!(*total > 0, "a weighted target has weight");
                let mut point = (chance % u64::from(*total)) as u32;
                for entry in clusters {
                    if point < entry.weight {
                        return entry.cluster;
                    }
                    point -= entry.weight;
                }
                unreachable!("the weights add up to the total")
            }
        }
    }
}

/// `WeightedCluster.ClusterWeight`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WeightedCluster {
    /// `name`.
    pub cluster: ClusterId,
    /// `weight`.
    pub weight: u32,
}

/// `envoy.config.route.v3.DirectResponseAction`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectResponse {
    /// `status`: 200 to 599.
    pub status: u16,
    /// `body`; at most `max_direct_response_body_size_bytes`, 4 KiB by default.
    pub body: Vec<u8>,
}

/// The domains of a route configuration, by kind: what makes the search for a virtual host short.
#[derive(Clone, Debug, Default, PartialEq)]
struct HostIndex {
    exact: HashMap<String, usize>,
    /// Longest first, so that the first that matches is the right one.
    suffixes: Vec<(String, usize)>,
    /// Longest first.
    prefixes: Vec<(String, usize)>,
    any: Option<usize>,
}

impl RouteConfiguration {
    /// Builds the index over `virtual_hosts`.
    ///
    /// # Errors
    /// The first domain that two virtual hosts (or one, twice) claim, as the pair of it and the later host's index:
    /// Envoy refuses such a configuration.
    pub fn new(name: String, virtual_hosts: Vec<VirtualHost>) -> Result<Self, (Domain, usize)> {
        let mut index = HostIndex::default();
        for (position, host) in virtual_hosts.iter().enumerate() {
            for domain in &host.domains {
                let taken = match domain {
                    Domain::Exact(text) => index.exact.insert(text.clone(), position).is_some(),
                    Domain::Suffix(text) => push_new(&mut index.suffixes, text, position),
                    Domain::Prefix(text) => push_new(&mut index.prefixes, text, position),
                    Domain::Any => index.any.replace(position).is_some(),
                };
                if taken {
                    return Err((domain.clone(), position));
                }
            }
        }
        for list in [&mut index.suffixes, &mut index.prefixes] {
            list.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
        }
        Ok(Self { name, virtual_hosts, index })
    }

    /// The virtual host for `host` (the authority as received, port included, as Envoy does by default): exact
    /// before suffix before prefix before `*`, and of several the longest (Envoy, `VirtualHost.domains`).
    pub fn virtual_host(&self, host: &[u8]) -> Option<&VirtualHost> {
        let index = &self.index;
        let found = if index.exact.is_empty() && index.suffixes.is_empty() && index.prefixes.is_empty() {
            index.any
        } else {
            let mut lower = [0u8; HOST_BYTES_MAX];
            let host = lower_case(host, &mut lower)?;
            index
                .exact
                .get(host)
                .copied()
                .or_else(|| first(&index.suffixes, |text| host.len() > text.len() && host.ends_with(text)))
                .or_else(|| first(&index.prefixes, |text| host.len() > text.len() && host.starts_with(text)))
                .or(index.any)
        };
        found.map(|position| &self.virtual_hosts[position])
    }

    /// The route for a request: its host, then the first route whose path matches. `path` may carry a query.
    pub fn route(&self, host: &[u8], path: &[u8]) -> Option<&Route> {
        let path = path.split(|&byte| byte == b'?').next().unwrap_or(path);
        self.virtual_host(host)?.routes.iter().find(|route| route.path.matches(path))
    }
}

/// The longest host that is looked up: a DNS name is at most 253 bytes (RFC 1035 §2.3.4), a port adds 6. A longer one
/// matches nothing but `*`.
const HOST_BYTES_MAX: usize = 260;

fn push_new(list: &mut Vec<(String, usize)>, text: &str, position: usize) -> bool {
    let taken = list.iter().any(|(other, _)| other == text);
    list.push((text.to_owned(), position));
    taken
}

fn first(list: &[(String, usize)], matches: impl Fn(&str) -> bool) -> Option<usize> {
    list.iter().find(|(text, _)| matches(text)).map(|(_, position)| *position)
}

/// `host` in lower case inside `buffer`; the empty text where it is too long or no text, which only `*` matches.
fn lower_case<'b>(host: &[u8], buffer: &'b mut [u8; HOST_BYTES_MAX]) -> Option<&'b str> {
    if host.len() > HOST_BYTES_MAX {
        return Some("");
    }
    let lower = &mut buffer[..host.len()];
    lower.copy_from_slice(host);
    lower.make_ascii_lowercase();
    Some(std::str::from_utf8(lower).unwrap_or(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str, domains: &[&str], paths: &[PathMatch]) -> VirtualHost {
        VirtualHost {
            name: name.into(),
            domains: domains.iter().map(|text| Domain::parse(text).expect("a domain")).collect(),
            routes: paths
                .iter()
                .enumerate()
                .map(|(at, path)| Route {
                    name: format!("{name}{at}"),
                    path: path.clone(),
                    action: Action::Direct(Arc::new(DirectResponse { status: 200, body: vec![] })),
                })
                .collect(),
        }
    }

    fn table() -> RouteConfiguration {
        let all = || vec![PathMatch::Prefix("/".into())];
        RouteConfiguration::new(
            "r".into(),
            vec![
                host("exact", &["a.example.org", "b.example.org:8080"], &all()),
                host("short", &["*.org"], &all()),
                host("long", &["*.example.org"], &all()),
                host("pre", &["api.*"], &all()),
                host(
                    "any",
                    &["*"],
                    &[PathMatch::Exact("/x".into()), PathMatch::Prefix("/x".into()), PathMatch::Prefix("/y/".into())],
                ),
            ],
        )
        .expect("no domain twice")
    }

    #[track_caller]
    fn check(authority: &str, path: &str, expect: Option<&str>) {
        let table = table();
        assert_eq!(table.route(authority.as_bytes(), path.as_bytes()).map(|route| route.name.as_str()), expect);
    }

    #[test]
    fn hosts_exact_before_longest_suffix_before_prefix_before_any() {
        check("a.example.org", "/", Some("exact0"));
        check("A.Example.ORG", "/", Some("exact0"));
        check("b.example.org:8080", "/", Some("exact0"));
        check("b.example.org", "/", Some("long0"));
        check("x.y.example.org", "/", Some("long0"));
        check(".example.org", "/", Some("short0"));
        check("api.example.org", "/", Some("long0"));
        check("api.test", "/", Some("pre0"));
        check("api.", "/", None);
        check("elsewhere", "/x", Some("any0"));
    }

    #[test]
    fn the_first_path_that_matches_wins_and_the_query_does_not_count() {
        check("h", "/x", Some("any0"));
        check("h", "/x?q=/y/", Some("any0"));
        check("h", "/xy", Some("any1"));
        check("h", "/y", None);
        check("h", "/y/", Some("any2"));
        check("h", "/X", None);
        check("h", "", None);
    }

    #[test]
    fn a_host_too_long_to_be_a_name_matches_only_any() {
        let long = "a".repeat(HOST_BYTES_MAX) + ".example.org";
        check(&long, "/x", Some("any0"));
    }

    #[test]
    fn a_domain_claimed_twice_is_an_error() {
        let twice = vec![host("a", &["x"], &[]), host("b", &["y", "X"], &[])];
        assert_eq!(RouteConfiguration::new("r".into(), twice), Err((Domain::Exact("x".into()), 1)));
        for text in ["", "a*b", "*.a.*", "**"] {
            assert_eq!(Domain::parse(text), None, "{text}");
        }
    }

    #[test]
    fn weights_are_kept_exactly_over_one_whole_turn() {
        let target = Target::Weighted {
            clusters: [(1, 3), (2, 0), (3, 7)]
                .map(|(id, weight)| WeightedCluster { cluster: ClusterId(id), weight })
                .to_vec(),
            total: 10,
        };
        let picks = |id| (0..10).filter(|&chance| target.pick(chance) == ClusterId(id)).count();
        assert_eq!([picks(1), picks(2), picks(3)], [3, 0, 7]);
    }
}

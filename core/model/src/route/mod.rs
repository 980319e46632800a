//! Routes, and the pure look-up from a request to what is to be done with it.
//!
//! Host, then path, then what else a route asks: `domain` and `index` make the first two cost what the request's own
//! host and path are long, not how many there are to choose from. The answer is that of trying one route after the other
//! in the order of the file (Envoy, `VirtualHost.routes`), which a property test compares.

mod action;
mod domain;
mod grpc_timeout;
mod hash_policy;
mod header;
mod index;
mod matcher;
mod mutation;
mod query;
mod radix;
mod redirect;
mod regex;
mod request;
mod retry;
mod rewrite;
mod text;
mod told;

pub use action::{Action, DirectResponse, ForwardAction, Target, WeightedCluster};
pub use domain::Domain;
pub use grpc_timeout::{GrpcBound, GrpcTimeout};
pub use hash_policy::{HASH_POLICIES_MAX, HashCookie, HashPolicy, HashSource, HashValues, Hashed};
pub use header::{HeaderMatcher, HeaderTest, Subject};
pub use matcher::{Conditions, Fraction, PathMatch, RouteMatch};
pub use mutation::{AppendAction, HeaderAddition, HeaderMutation, HeaderMutations};
pub use query::{QueryMatcher, QueryTest, query_parameter};
pub use redirect::{Redirect, RedirectPath, own_location};
pub use regex::{Regex, RegexCaches, Regexes, Substitution};
pub use request::{Caches, RequestView};
pub use retry::{BackOff, RateLimitedBackOff, Reset, ResetHeader, RetryOn, RetryPolicy, RetryRules};
pub use rewrite::{HostRewrite, PathRewrite, Rewrite};
pub use text::{TextMatcher, TextPattern};

use domain::DomainIndex;
use index::PathIndex;

/// `envoy.config.route.v3.RouteConfiguration`.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteConfiguration {
    /// `name`.
    pub name: String,
    /// `ignore_port_in_host_matching`.
    pub ignore_port: bool,
    /// `request_headers_to_*`, `response_headers_to_*`.
    pub headers: Option<Box<HeaderMutations>>,
    /// `most_specific_header_mutations_wins`: the route configuration's come first and the route's last. Otherwise the other
    /// way round.
    pub most_specific_wins: bool,
    /// `internal_only_headers`, in lower case: fields that only a client of ours may send.
    pub internal_only: Vec<String>,
    virtual_hosts: Vec<VirtualHost>,
    index: DomainIndex,
}

/// `envoy.config.route.v3.VirtualHost`.
#[derive(Clone, Debug, PartialEq)]
pub struct VirtualHost {
    /// `name`.
    pub name: String,
    /// `domains`.
    pub domains: Vec<Domain>,
    /// `request_headers_to_*`, `response_headers_to_*`.
    pub headers: Option<Box<HeaderMutations>>,
    /// `require_tls`.
    pub require_tls: RequireTls,
    routes: Vec<Route>,
    index: PathIndex,
}

/// `VirtualHost.require_tls`: who is sent to `https` where it does not come by TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RequireTls {
    /// `NONE`: nobody.
    #[default]
    None,
    /// `EXTERNAL_ONLY`: who is none of ours.
    ExternalOnly,
    /// `ALL`
    All,
}

/// `envoy.config.route.v3.Route`.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// `name`, for statistics and logs; may be empty.
    pub name: String,
    /// `match`.
    pub rule: RouteMatch,
    /// What is done with a request that matches.
    pub action: Action,
    /// `request_headers_to_*`, `response_headers_to_*`.
    pub headers: Option<Box<HeaderMutations>>,
}

/// What a look-up came to.
#[derive(Clone, Copy, Debug)]
pub enum LookUp<'c> {
    /// A route.
    Found(Found<'c>),
    /// The virtual host is for TLS alone.
    RequiresTls,
    /// No virtual host, or none of its routes.
    Nothing,
}

/// The route that a look-up found.
#[derive(Clone, Copy, Debug)]
pub struct Found<'c> {
    configuration: &'c RouteConfiguration,
    host: &'c VirtualHost,
    /// The route.
    pub route: &'c Route,
    /// Where it stands, to be found again with [`RouteConfiguration::at`].
    pub position: Position,
}

/// Where a route stands in a route configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    host: u32,
    route: u32,
}

impl<'c> Found<'c> {
    /// Where it stands among its virtual host's, for people: `route 3 of 12`; the first is 1.
    pub fn place(&self) -> String {
        format!("route {} of {}", self.position.route + 1, self.host.routes.len())
    }

    /// The header mutations for a request that takes this route, and of weighted clusters `weighted`, in the order in which
    /// they are applied.
    pub fn mutations(&self, weighted: Option<&'c WeightedCluster>) -> impl Iterator<Item = &'c HeaderMutations> {
        let mut levels = [
            weighted.and_then(|weighted| weighted.headers.as_deref()),
            self.route.headers.as_deref(),
            self.host.headers.as_deref(),
            self.configuration.headers.as_deref(),
        ];
        if self.configuration.most_specific_wins {
            levels.reverse();
        }
        levels.into_iter().flatten()
    }
}

impl VirtualHost {
    /// Builds the index over `routes`, which are in the order of the file.
    pub fn new(name: String, domains: Vec<Domain>, routes: Vec<Route>) -> Self {
        let index = PathIndex::new(routes.iter().map(|route| &route.rule));
        Self { name, domains, headers: None, require_tls: RequireTls::None, routes, index }
    }

    /// `routes`, in the order of the file.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The position of the first route that matches. `chance` is the request's random number.
    fn find(&self, request: &impl RequestView, chance: u64, caches: &mut Caches) -> Option<u32> {
        if request.path().is_empty() {
            return self.find_connect(request, chance, caches);
        }
        let rules = |route: u32| &self.routes[route as usize].rule;
        self.index.find(rules, without_query(request.path()), request, chance, caches)
    }

    /// The position of the first route that takes this CONNECT, the one request without a path.
    #[cold]
    fn find_connect(&self, request: &impl RequestView, chance: u64, caches: &mut Caches) -> Option<u32> {
        let takes = |route: &Route| {
            route.rule.path == PathMatch::Connect
                && route.rule.conditions.as_ref().is_none_or(|conditions| conditions.hold(request, chance, caches))
        };
        self.routes.iter().position(takes).map(|at| at as u32)
    }
}

impl RouteConfiguration {
    /// Builds the index over `virtual_hosts`, which are in the order of the file.
    ///
    /// # Errors
    /// The first domain that two virtual hosts (or one, twice) claim, as the pair of it and the later host's index:
    /// Envoy refuses such a configuration.
    pub fn new(name: String, virtual_hosts: Vec<VirtualHost>) -> Result<Self, (Domain, usize)> {
        let index = DomainIndex::new(virtual_hosts.iter().map(|host| host.domains.as_slice()))?;
        Ok(Self {
            name,
            ignore_port: false,
            headers: None,
            most_specific_wins: false,
            internal_only: Vec::new(),
            virtual_hosts,
            index,
        })
    }

    /// `virtual_hosts`, in the order of the file.
    pub fn virtual_hosts(&self) -> &[VirtualHost] {
        &self.virtual_hosts
    }

    /// What is done by each route, to be given other numbers for its clusters. Paths and domains are indexed and stay.
    pub fn actions_mut(&mut self) -> impl Iterator<Item = &mut Action> {
        self.virtual_hosts.iter_mut().flat_map(|host| &mut host.routes).map(|route| &mut route.action)
    }

    /// The virtual host for an authority, and which of its domains led to it.
    pub fn virtual_host(&self, authority: &[u8]) -> Option<(&VirtualHost, &Domain)> {
        let authority = self.host_of(authority);
        let host = &self.virtual_hosts[self.index.find(authority)?];
        let exactness = |domain: &&Domain| domain.exactness(authority);
        let domains = host.domains.iter().filter(|domain| exactness(domain).is_some());
        Some((host, domains.max_by_key(exactness).expect("one of them has led to it")))
    }

    /// What virtual hosts are looked up by.
    fn host_of<'a>(&self, authority: &'a [u8]) -> &'a [u8] {
        if self.ignore_port { domain::without_port(authority) } else { authority }
    }

    /// The route for a request: the virtual host for its authority, then the first route that matches. `chance` is the
    /// request's random number.
    pub fn route(&self, request: &impl RequestView, chance: u64, caches: &mut Caches) -> LookUp<'_> {
        let Some(at) = self.index.find(self.host_of(request.authority())) else { return LookUp::Nothing };
        let host = &self.virtual_hosts[at];
        let wants_tls = match host.require_tls {
            RequireTls::None => false,
            RequireTls::ExternalOnly => !request.is_internal(),
            RequireTls::All => true,
        };
        if wants_tls && !is_from_https(request) {
            return LookUp::RequiresTls;
        }
        match host.find(request, chance, caches) {
            Some(route) => LookUp::Found(self.at(Position { host: at as u32, route })),
            None => LookUp::Nothing,
        }
    }

    /// What a look-up in this very configuration found.
    pub fn at(&self, position: Position) -> Found<'_> {
        let host = &self.virtual_hosts[position.host as usize];
        Found { configuration: self, host, route: &host.routes[position.route as usize], position }
    }
}

/// Whether a proxy before us says that the client came by TLS. Several that say something say nothing.
pub fn is_from_https(request: &impl RequestView) -> bool {
    let mut said = request.values("x-forwarded-proto");
    said.next() == Some(b"https") && said.next().is_none()
}

/// A path without its query.
pub fn without_query(path: &[u8]) -> &[u8] {
    let end = path.iter().position(|&byte| byte == b'?').unwrap_or(path.len());
    &path[..end]
}

#[cfg(test)]
mod tests;

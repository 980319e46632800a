//! Routes, and the pure look-up from a request to what is to be done with it.
//!
//! Host, then path, then what else a route asks: `domain` and `index` make the first two cost what the request's own
//! host and path are long, not how many there are to choose from. The answer is that of trying one route after the other
//! in the order of the file (Envoy, `VirtualHost.routes`), which a property test compares.

mod action;
mod domain;
mod header;
mod index;
mod matcher;
mod query;
mod radix;
mod regex;
mod request;
mod text;

pub use action::{Action, DirectResponse, ForwardAction, Target, WeightedCluster};
pub use domain::Domain;
pub use header::{HeaderMatcher, HeaderTest, Subject};
pub use matcher::{Conditions, Fraction, PathMatch, RouteMatch};
pub use query::{QueryMatcher, QueryTest};
pub use regex::{Regex, RegexCaches, Regexes, Substitution};
pub use request::{Caches, RequestView};
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
    routes: Vec<Route>,
    index: PathIndex,
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
}

impl VirtualHost {
    /// Builds the index over `routes`, which are in the order of the file.
    pub fn new(name: String, domains: Vec<Domain>, routes: Vec<Route>) -> Self {
        let index = PathIndex::new(routes.iter().map(|route| &route.rule));
        Self { name, domains, routes, index }
    }

    /// `routes`, in the order of the file.
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The first route that matches. `chance` is the request's random number.
    pub fn route(&self, request: &impl RequestView, chance: u64, caches: &mut Caches) -> Option<&Route> {
        let path = without_query(request.path());
        let rules = |route: u32| &self.routes[route as usize].rule;
        let found = self.index.find(rules, path, request, chance, caches);
        found.map(|route| &self.routes[route as usize])
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
        Ok(Self { name, ignore_port: false, virtual_hosts, index })
    }

    /// `virtual_hosts`, in the order of the file.
    pub fn virtual_hosts(&self) -> &[VirtualHost] {
        &self.virtual_hosts
    }

    /// What is done by each route, to be given other numbers for its clusters. Paths and domains are indexed and stay.
    pub fn actions_mut(&mut self) -> impl Iterator<Item = &mut Action> {
        self.virtual_hosts.iter_mut().flat_map(|host| &mut host.routes).map(|route| &mut route.action)
    }

    /// The virtual host for `host`, the authority as received.
    pub fn virtual_host(&self, host: &[u8]) -> Option<&VirtualHost> {
        let host = if self.ignore_port { domain::without_port(host) } else { host };
        self.index.find(host).map(|position| &self.virtual_hosts[position])
    }

    /// The route for a request: its host, then the first route that matches. `chance` is the request's random number.
    pub fn route(&self, request: &impl RequestView, chance: u64, caches: &mut Caches) -> Option<&Route> {
        self.virtual_host(request.authority())?.route(request, chance, caches)
    }
}

/// A path without its query.
pub fn without_query(path: &[u8]) -> &[u8] {
    let end = path.iter().position(|&byte| byte == b'?').unwrap_or(path.len());
    &path[..end]
}

#[cfg(test)]
mod tests;

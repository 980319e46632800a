//! What a route changes in the head of a response.

use std::rc::Rc;

use ringway_model::Position;
use ringway_model::format::{Fact, HeaderSource, Operator};
use ringway_observe::format::Value;
use ringway_protocols::Response;
use ringway_protocols::http1::Written;
use ringway_runtime::Chunk;

use crate::connection::Downstream;
use crate::core_cluster::CoreCluster;
use crate::fields::{Facts, Fields};
use crate::hash_policy;
use crate::hop::{self, ResponseHop, RouterFields};
use crate::routing::{of_exchange, remote_address};
use crate::told_heads;
use crate::view::CoreChain;

/// Kept from a request's decision to its response, only where the configuration asks for it.
pub(crate) struct ResponseEdit {
    chain: Rc<CoreChain>,
    position: Position,
    /// Which of weighted clusters the request went to, or [`NOT_WEIGHTED`]: an exchange's task has no room to spare.
    weighted: u32,
    /// The head of the request as it went up, for values that are taken from it.
    head: Chunk,
    /// The hash policies, each a bit, whose cookies the client is given with an endpoint's response.
    cookies: u32,
}

/// A position that no cluster has: its weight would be one too many.
const NOT_WEIGHTED: u32 = u32::MAX;

impl ResponseEdit {
    pub(crate) fn new(
        chain: &Rc<CoreChain>,
        position: Position,
        weighted: Option<u32>,
        head: Chunk,
        cookies: u32,
    ) -> Self {
        Self { chain: Rc::clone(chain), position, weighted: weighted.unwrap_or(NOT_WEIGHTED), head, cookies }
    }

    /// Makes `fields` what is changed in `response`: by the router, by the route, then by the connection manager.
    pub(crate) fn apply(
        &self,
        connection: &Downstream,
        cluster: &CoreCluster,
        response: Option<&Response<'_>>,
        hop: &ResponseHop<'_>,
        fields: &mut Fields,
    ) {
        fields.clear();
        hop.before(fields);
        if self.cookies != 0 {
            hash_policy::give(connection, &self.chain.http.routes, self.position, self.cookies, fields);
        }
        self.mutate(connection, cluster, response, fields);
        hop.after(fields);
        fields.write_lines();
    }

    /// Makes `fields` all fields of an answer of our own in the response's place, which has a body or not.
    pub(crate) fn apply_local(
        &self,
        connection: &Downstream,
        cluster: &CoreCluster,
        has_body: bool,
        request_id: Option<&Chunk>,
        routers: &RouterFields,
        fields: &mut Fields,
    ) {
        fields.clear();
        routers.apply(fields);
        self.mutate(connection, cluster, None, fields);
        hop::end_local(&self.chain.http.headers, request_id, fields);
        fields.end_local(has_body);
    }

    fn mutate(
        &self,
        connection: &Downstream,
        cluster: &CoreCluster,
        response: Option<&Response<'_>>,
        fields: &mut Fields,
    ) {
        let found = self.chain.http.routes.at(self.position);
        let weighted = match &found.route.action {
            ringway_model::Action::Forward(action) => action.target.weighted(self.weighted as usize),
            _ => None,
        };
        let facts =
            ResponseFacts { connection, response, head: Written::new(&self.head), route: &found.route.name, cluster };
        found.mutations(weighted).for_each(|level| fields.apply(&level.response, &facts));
    }
}

/// What is known of an exchange when its response's head has come.
struct ResponseFacts<'a> {
    connection: &'a Downstream,
    response: Option<&'a Response<'a>>,
    head: Written<'a>,
    route: &'a str,
    cluster: &'a CoreCluster,
}

impl<'a> ResponseFacts<'a> {
    fn request(&self, name: &str) -> Option<&'a [u8]> {
        told_heads::of_request(self.head, name, |name| self.head.fields_named(name.as_bytes()).next())
    }
}

impl Facts for ResponseFacts<'_> {
    fn received(&self, name: &str) -> Option<&[u8]> {
        self.response?.field_named(name.as_bytes())
    }

    fn value<'v>(&'v self, operator: &Operator, fields: &'v Fields) -> Value<'v> {
        let text = |text: Option<&'v [u8]>| text.map_or(Value::Absent, Value::Text);
        match operator {
            Operator::Header { of: HeaderSource::Request, name, otherwise } => {
                text(self.request(name).or_else(|| self.request(otherwise)))
            }
            Operator::Header { of: HeaderSource::Response, name, otherwise } => {
                let of_response = |name: &str| fields.first(self, name);
                text(of_response(name).or_else(|| of_response(otherwise)))
            }
            Operator::Fact(
                Fact::DownstreamRemoteAddress | Fact::DownstreamRemoteAddressWithoutPort | Fact::DownstreamRemotePort,
            ) => remote_address(self.connection, self.head.last_first(b"x-forwarded-for")),
            operator => {
                let status = Some(self.response.map_or(0, |response| response.status()));
                let field = |name: &str| self.request(name);
                of_exchange(operator, self.connection, field, self.route, Some(self.cluster), status)
            }
        }
    }
}

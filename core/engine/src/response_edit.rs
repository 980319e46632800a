//! What a route changes in the head of a response.

use std::rc::Rc;

use ringway_model::Position;
use ringway_model::format::{Fact, HeaderSource, Operator};
use ringway_observe::format::Value;
use ringway_protocols::Response;
use ringway_runtime::Chunk;

use crate::connection::Downstream;
use crate::fields::{Facts, Fields};
use crate::hop::{self, ResponseHop, RouterFields};
use crate::routing::{of_exchange, remote_address};
use crate::view::{CoreChain, CoreCluster};

/// Kept from a request's decision to its response, only where the configuration asks for it.
pub(crate) struct ResponseEdit {
    chain: Rc<CoreChain>,
    position: Position,
    /// Which of weighted clusters the request went to.
    weighted: Option<u32>,
    /// The head of the request as it went up, for values that are taken from it.
    head: Chunk,
}

impl ResponseEdit {
    pub(crate) fn new(chain: &Rc<CoreChain>, position: Position, weighted: Option<u32>, head: Chunk) -> Self {
        Self { chain: Rc::clone(chain), position, weighted, head }
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
        let weighted = match (&found.route.action, self.weighted) {
            (ringway_model::Action::Forward(action), Some(position)) => action.target.weighted(position as usize),
            _ => None,
        };
        let facts = ResponseFacts { connection, response, head: Head(&self.head), route: &found.route.name, cluster };
        found.mutations(weighted).for_each(|level| fields.apply(&level.response, &facts));
    }
}

/// What is known of an exchange when its response's head has come.
struct ResponseFacts<'a> {
    connection: &'a Downstream,
    response: Option<&'a Response<'a>>,
    head: Head<'a>,
    route: &'a str,
    cluster: &'a CoreCluster,
}

impl Facts for ResponseFacts<'_> {
    fn received(&self, name: &str) -> Option<&[u8]> {
        self.response?.field_named(name.as_bytes())
    }

    fn value<'v>(&'v self, operator: &Operator, fields: &'v Fields) -> Value<'v> {
        let text = |text: Option<&'v [u8]>| text.map_or(Value::Absent, Value::Text);
        match operator {
            Operator::Header { of: HeaderSource::Request, name, otherwise } => {
                text(self.head.get(name).or_else(|| self.head.get(otherwise)))
            }
            Operator::Header { of: HeaderSource::Response, name, otherwise } => {
                let of_response = |name: &str| fields.first(self, name);
                text(of_response(name).or_else(|| of_response(otherwise)))
            }
            Operator::Fact(
                Fact::DownstreamRemoteAddress | Fact::DownstreamRemoteAddressWithoutPort | Fact::DownstreamRemotePort,
            ) => remote_address(self.connection, self.head.last_first("x-forwarded-for")),
            operator => {
                let status = Some(self.response.map_or(0, |response| response.status()));
                let field = |name: &str| self.head.get(name);
                of_exchange(operator, self.connection, field, self.route, Some(self.cluster), status)
            }
        }
    }
}

/// A request's head that we wrote ourselves: its lines are as the encoder makes them.
#[derive(Clone, Copy)]
struct Head<'a>(&'a [u8]);

impl<'a> Head<'a> {
    /// The first field of this name (in lower case), or a pseudo-field.
    fn get(&self, name: &str) -> Option<&'a [u8]> {
        let mut lines = self.0.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let start = lines.next()?;
        let name = match name {
            ":method" => return start.split(|&byte| byte == b' ').next(),
            ":path" => return start.split(|&byte| byte == b' ').nth(1),
            ":authority" => "host",
            ":scheme" => return Some(if self.get("x-forwarded-proto") == Some(b"https") { b"https" } else { b"http" }),
            name => name,
        };
        lines.find_map(|line| {
            let (found, value) = line.split_at(line.iter().position(|&byte| byte == b':')?);
            found.eq_ignore_ascii_case(name.as_bytes()).then(|| value[1..].trim_ascii())
        })
    }

    /// The values of all fields of this name (in lower case), the last one first.
    fn last_first(self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.0.rsplit(|&byte| byte == b'\n').filter_map(move |line| {
            let (found, value) = line.split_at(line.iter().position(|&byte| byte == b':')?);
            found.eq_ignore_ascii_case(name.as_bytes()).then(|| value[1..].trim_ascii())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_of_ours_is_read_again() {
        let head = Head(b"GET /a?b HTTP/1.1\r\nHost: h\r\nX-A: 1 2 \r\nx-a: 3\r\nx-e:\r\n\r\n");
        for (name, expect) in [
            (":method", Some("GET")),
            (":path", Some("/a?b")),
            (":authority", Some("h")),
            (":scheme", Some("http")),
            ("x-a", Some("1 2")),
            ("x-e", Some("")),
            ("x-none", None),
            ("", None),
        ] {
            assert_eq!(head.get(name), expect.map(str::as_bytes), "{name}");
        }
        assert_eq!(head.last_first("x-a").collect::<Vec<_>>(), [&b"3"[..], b"1 2"]);
    }
}

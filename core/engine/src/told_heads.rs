//! The heads of an exchange as its access logs ask for them: a few fields by name, out of the bytes that were sent.
//!
//! Which ones a chain's logs ask for is known from its configuration, so that a head is gone through once for all of them. What is not
//! among those is looked for by itself: slower, and the same. Only what looks at whole heads has them decoded again.

use ringway_model::format::{Fact, HeaderSource, Operator, PathSource};
use ringway_model::{AccessLog, LogFilter};
use ringway_protocols::http1::{FieldNames, FoundFields, Written};

/// What the logs of a chain ask of its heads.
#[derive(Debug, Default)]
pub(crate) struct AskedFields {
    request: FieldNames,
    response: FieldNames,
    /// A filter looks at the whole head of the request.
    pub(crate) whole_request: bool,
}

const AUTHORITY: &str = "host";
const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED_PROTO: &str = "x-forwarded-proto";
const ORIGINAL_PATH: &str = "x-envoy-original-path";

impl AskedFields {
    pub(crate) fn of(logs: &[AccessLog]) -> Self {
        let mut asked = Self::default();
        for log in logs {
            log.text.each_operator(&mut |operator| asked.add(operator));
            if let Some(filter) = &log.filter {
                filter.each(&mut |filter| match filter {
                    LogFilter::Header(_) => asked.whole_request = true,
                    LogFilter::GrpcStatus { .. } => asked.add_grpc(),
                    LogFilter::Sampled { independent: false, .. } => asked.request.add("x-request-id"),
                    _ => {}
                });
            }
        }
        asked
    }

    fn add(&mut self, operator: &Operator) {
        use Fact::{DownstreamRemoteAddress, DownstreamRemoteAddressWithoutPort, DownstreamRemotePort, StreamId};
        match operator {
            Operator::Header { of: HeaderSource::Request, name, otherwise } => {
                for name in [name.as_str(), otherwise] {
                    match name {
                        ":authority" => self.request.add(AUTHORITY),
                        ":scheme" => self.request.add(FORWARDED_PROTO),
                        // The others are in the request's line.
                        name if name.starts_with(':') => {}
                        name => self.request.add(name),
                    }
                }
            }
            Operator::Header { of: HeaderSource::Response, name, otherwise } => {
                for name in [name, otherwise].into_iter().filter(|name| !name.starts_with(':')) {
                    self.response.add(name);
                }
            }
            Operator::Path { of: PathSource::Original | PathSource::Either, .. } => self.request.add(ORIGINAL_PATH),
            Operator::GrpcStatus(_) => self.add_grpc(),
            Operator::Fact(StreamId) => self.request.add("x-request-id"),
            Operator::Fact(DownstreamRemoteAddress | DownstreamRemoteAddressWithoutPort | DownstreamRemotePort) => {
                self.request.add(FORWARDED_FOR)
            }
            _ => {}
        }
    }

    fn add_grpc(&mut self) {
        self.request.add("content-type");
        self.response.add("grpc-status");
    }
}

/// A worker's memory of where in two heads the asked fields are.
#[derive(Debug, Default)]
pub(crate) struct FoundHeads {
    request: FoundFields,
    response: FoundFields,
}

/// The two heads of an exchange, each where there is one.
#[derive(Clone, Copy)]
pub(crate) struct ToldHeads<'t> {
    request: Option<Written<'t>>,
    response: Option<Written<'t>>,
    asked: &'t AskedFields,
    found: &'t FoundHeads,
}

/// Fields that are for one hop: Envoy takes them off before anything looks.
const OF_THE_HOP: [&str; 4] = ["connection", "keep-alive", "proxy-connection", "transfer-encoding"];

impl<'t> ToldHeads<'t> {
    /// Goes through both heads, as they were sent.
    pub(crate) fn find(
        (request, response): (Option<&'t [u8]>, Option<&'t [u8]>),
        asked: &'t AskedFields,
        found: &'t mut FoundHeads,
    ) -> Self {
        let (request, response) = (request.map(Written::new), response.map(Written::new));
        if let Some(head) = request.filter(|_| !asked.request.is_empty()) {
            head.find(&asked.request, &mut found.request);
        }
        if let Some(head) = response.filter(|_| !asked.response.is_empty()) {
            head.find(&asked.response, &mut found.response);
        }
        Self { request, response, asked, found }
    }

    /// The first field of this name (in lower case) of the request, or what its line says.
    pub(crate) fn request_field(&self, name: &str) -> Option<&'t [u8]> {
        let head = self.request?;
        of_request(head, name, |name| field(head, name, &self.asked.request, &self.found.request))
    }

    /// The first field of this name (in lower case) of the response.
    pub(crate) fn response_field(&self, name: &str) -> Option<&'t [u8]> {
        field(self.response?, name, &self.asked.response, &self.found.response)
    }

    /// The path that was asked for before it was rewritten.
    pub(crate) fn original_path(&self) -> Option<&'t [u8]> {
        self.request_field(ORIGINAL_PATH)
    }

    /// The values of all x-forwarded-for fields of the request, the last one first.
    pub(crate) fn forwarded(&self) -> impl Iterator<Item = &'t [u8]> + use<'t> {
        let head = self.request.filter(|_| self.request_field(FORWARDED_FOR).is_some());
        head.into_iter().flat_map(|head| head.last_first(FORWARDED_FOR.as_bytes()))
    }
}

fn field<'t>(head: Written<'t>, name: &str, asked: &FieldNames, found: &FoundFields) -> Option<&'t [u8]> {
    match asked.position(name.as_bytes()) {
        _ if OF_THE_HOP.contains(&name) => None,
        Some(position) => head.found(found, position),
        None => head.fields_named(name.as_bytes()).next(),
    }
}

/// A field (its name in lower case) of a request's head that we wrote, or what its line says; `field` finds the fields.
pub(crate) fn of_request<'h, 'n>(
    head: Written<'h>,
    name: &'n str,
    field: impl Fn(&'n str) -> Option<&'h [u8]>,
) -> Option<&'h [u8]> {
    match name {
        "" => None,
        name if !name.starts_with(':') => field(name),
        ":method" => Some(head.request_line().0),
        ":path" => match head.request_line() {
            // Its target is no path.
            (b"CONNECT", _) => None,
            (_, path) => Some(path).filter(|path| !path.is_empty()),
        },
        ":authority" => field(AUTHORITY),
        // In the head that we sent, it is what we believe.
        ":scheme" if field(FORWARDED_PROTO) == Some(b"https") => Some(b"https"),
        ":scheme" => Some(b"http"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(head: &[u8], name: &str, expect: Option<&str>) {
        let mut found = FoundHeads::default();
        let (asked, mut asked_all) = (AskedFields::default(), AskedFields::default());
        for name in [name, ""] {
            asked_all.add(&Operator::Header { of: HeaderSource::Request, name: name.into(), otherwise: "x-b".into() });
        }
        // Looked for by itself, or found with others: the same.
        for asked in [&asked, &asked_all] {
            let heads = ToldHeads::find((Some(head), None), asked, &mut found);
            assert_eq!(heads.request_field(name), expect.map(str::as_bytes), "{name}");
            assert_eq!(heads.response_field(name), None, "{name}");
        }
    }

    #[test]
    fn a_head_of_ours_is_read_again() {
        let head = b"GET /a?b HTTP/1.1\r\nHost: h\r\nX-A: 1 2 \r\nx-a: 3\r\nx-e:\r\nTransfer-Encoding: chunked\r\n\r\n";
        for (name, expect) in [
            (":method", Some("GET")),
            (":path", Some("/a?b")),
            (":authority", Some("h")),
            (":scheme", Some("http")),
            (":nope", None),
            ("host", Some("h")),
            ("x-a", Some("1 2")),
            ("x-e", Some("")),
            ("x-none", None),
            ("transfer-encoding", None),
            ("", None),
        ] {
            check(head, name, expect);
        }
        let connect = b"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\nx-forwarded-proto: https\r\n\r\n";
        for (name, expect) in [(":method", "CONNECT"), (":authority", "h:1"), (":scheme", "https")] {
            check(connect, name, Some(expect));
        }
        check(connect, ":path", None);
    }
}

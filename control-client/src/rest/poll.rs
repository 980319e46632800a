//! What a server is asked, when, and what its answer means.

use std::time::Duration;

use crate::cache::{Kind, Names};
use crate::json;

/// The state of one subscription: one type of one server.
#[derive(Clone, Debug)]
pub(crate) struct Poll {
    kind: Kind,
    /// `refresh_delay`.
    interval: Duration,
    /// Of the last response that was taken whole.
    version: String,
}

/// What came of one exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// A `DiscoveryResponse` as JSON.
    Response(String),
    /// 304: nothing is newer than the version that was said.
    Unchanged,
    /// 404: the server has nothing of that. sovereign says so instead of an empty list. It is an answer, so that nobody
    /// waits for more, but it removes nothing: a wrong path would say the same.
    Nothing,
    /// Anything else, in words.
    Failed(String),
}

impl Poll {
    /// Nothing was received yet.
    pub(crate) fn new(kind: Kind, interval: Duration) -> Poll {
        Poll { kind, interval, version: String::new() }
    }

    /// What is asked of the server (`google.api.http` in Envoy's discovery services).
    pub(crate) fn path(&self) -> &'static str {
        match self.kind {
            Kind::Cluster => "/v3/discovery:clusters",
            Kind::Assignment => "/v3/discovery:endpoints",
            Kind::Listener => "/v3/discovery:listeners",
            Kind::Routes => "/v3/discovery:routes",
            Kind::Secret => "/v3/discovery:secrets",
            Kind::Runtime => "/v3/discovery:runtime",
            Kind::Extension => "/v3/discovery:extension_configs",
        }
    }

    /// A `DiscoveryRequest` for these names, from a `node` that is JSON already.
    pub(crate) fn body(&self, node: &str, names: &Names) -> String {
        let mut out = String::from("{");
        if !self.version.is_empty() {
            out.push_str("\"version_info\": ");
            out.push_str(&json::text(&self.version));
            out.push_str(", ");
        }
        out.push_str("\"node\": ");
        out.push_str(node.trim_end());
        if let Names::These(names) = names {
            let names: Vec<String> = names.iter().map(|name| json::text(name)).collect();
            out.push_str(", \"resource_names\": [");
            out.push_str(&names.join(", "));
            out.push(']');
        }
        out.push_str(", \"type_url\": ");
        out.push_str(&json::text(&format!("type.googleapis.com/{}", self.kind.type_name())));
        out.push('}');
        out
    }

    /// A response was taken whole.
    pub(crate) fn take(&mut self, version: String) {
        self.version = version;
    }

    /// Other names are wanted: a server that answers by version alone would say that nothing changed.
    pub(crate) fn forget(&mut self) {
        self.version.clear();
    }

    /// How long to wait from one request to the next: the interval, and up to as much again by chance, as Envoy, so
    /// that proxies that were started together do not ask together.
    pub(crate) fn wait(&self, chance: u64) -> Duration {
        let nanos = u64::try_from(self.interval.as_nanos()).unwrap_or(u64::MAX).max(1);
        self.interval.saturating_add(Duration::from_nanos(chance % nanos))
    }
}

impl Answer {
    /// What a status and a body mean.
    pub(crate) fn of(status: u16, body: Vec<u8>) -> Answer {
        match status {
            200 => match String::from_utf8(body) {
                Ok(text) => Answer::Response(text),
                Err(_) => Answer::Failed("the server's answer is not UTF-8".to_owned()),
            },
            304 => Answer::Unchanged,
            404 => Answer::Nothing,
            other => Answer::Failed(format!("the server answered with HTTP status {other}")),
        }
    }
}

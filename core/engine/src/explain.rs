//! Which way a request would take through a snapshot, step by step, and where it would end; nothing is sent.
//!
//! It asks the very look-ups of the data path (the index of filter chains, domains, routes, the balancer's tables), over a head that the codec has
//! decoded and that the connection manager's rules have been applied to: what it says is what is done. What chance or load decides is said to be
//! so, with all that may come of it: whose turn it is, and how much of a limit is in use, only workers know.
//!
//! Pure: it reads a snapshot, on the thread of whoever asks, and never touches a worker.

mod cluster;
mod connection;
mod request;

use std::net::SocketAddr;

use ringway_model::{Address, HealthStatus, NetworkFilter, ResponseFlag, Snapshot};

/// A request, and what is known of the connection that it comes by. What is not said is assumed, and told as an assumption.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// The name of the listener.
    pub listener: Option<String>,
    /// The address that the client connects to.
    pub destination: Option<SocketAddr>,
    /// The port of the request's URL: which listener, where neither of them is said.
    pub port: Option<u16>,
    /// Where the client wanted to go before it was redirected to the listener.
    pub original_destination: Option<SocketAddr>,
    /// The client; port 0: any. Where the listener takes the PROXY protocol, whom that tells of.
    pub source: Option<SocketAddr>,
    /// The peer of the connection, where it is not the client itself.
    pub direct_source: Option<SocketAddr>,
    /// The client speaks TLS.
    pub is_tls: bool,
    /// The server name of its ClientHello; empty: none.
    pub server_name: String,
    /// The protocols of its ClientHello (ALPN), in its order.
    pub protocols: Vec<String>,
    /// The names in its certificate; `None`: it shows none.
    pub peer: Option<Peer>,
    /// The method.
    pub method: String,
    /// Host and port; without effect where `fields` have a Host.
    pub authority: String,
    /// Path and query.
    pub path: String,
    /// The other fields, names and values.
    pub fields: Vec<(String, String)>,
}

/// The names in a client's certificate, which is taken to be verified.
#[derive(Clone, Debug, Default)]
pub struct Peer {
    /// URIs among its subject alternative names.
    pub uris: Vec<String>,
    /// DNS names among them.
    pub dns_names: Vec<String>,
    /// The subject, as RFC 2253 writes it.
    pub subject: String,
}

/// What would become of the request.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What it goes through, in order.
    pub steps: Vec<Step>,
    /// The clusters that it may go to; several share the requests by weight.
    pub clusters: Vec<ClusterStep>,
    /// Where it ends.
    pub end: End,
}

/// One step on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is taken: `listener`, `route`, ...
    pub noun: &'static str,
    /// Its name, where it has one.
    pub name: String,
    /// Why it is, and what is to be known of it.
    pub notes: Vec<String>,
}

/// A cluster that a request may go to.
#[derive(Clone, Debug)]
pub struct ClusterStep {
    /// Its name.
    pub name: String,
    /// Its weight, and the sum of all, where there are weights.
    pub weight: Option<(u32, u32)>,
    /// What is to be known of it.
    pub notes: Vec<String>,
    /// Its endpoints, in the order of the configuration.
    pub endpoints: Vec<EndpointStep>,
    /// What becomes of a request that goes there.
    pub end: End,
}

/// An endpoint of such a cluster.
#[derive(Clone, Debug)]
pub struct EndpointStep {
    /// Where it is.
    pub address: Address,
    /// By the word of its configuration.
    pub health: HealthStatus,
    /// Its weight.
    pub weight: u32,
    /// Its priority.
    pub priority: u32,
    /// Its region, zone and sub-zone, with slashes between; empty: none.
    pub locality: String,
    /// Of how many requests out of 100 it is among those that one is picked from.
    pub percent: u32,
}

/// Where a request ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// At an endpoint of its cluster.
    Forwarded,
    /// It depends on which of the clusters it goes to.
    ByCluster,
    /// Here, with an answer of our own.
    Answered {
        /// The status.
        status: u16,
        /// The response flag, where there is one.
        flag: Option<ResponseFlag>,
        /// Why, in words.
        why: String,
    },
    /// With its connection, which is closed.
    Closed {
        /// Why, in words.
        why: String,
    },
}

impl End {
    fn closed(why: impl Into<String>) -> Self {
        End::Closed { why: why.into() }
    }
}

impl Step {
    fn new(noun: &'static str, name: impl Into<String>, notes: impl IntoIterator<Item = String>) -> Self {
        Step { noun, name: name.into(), notes: notes.into_iter().collect() }
    }
}

/// Says which way a request would take. `bound` are the listeners' names and their addresses as bound.
///
/// # Errors
/// What the question leaves open: which listener.
pub fn explain(
    snapshot: &Snapshot,
    bound: &[(String, Vec<Address>)],
    question: &Question,
) -> Result<Explanation, String> {
    let mut steps = Vec::new();
    let head = request::head(question);
    let arrived = match connection::arrive((snapshot, bound), question, &head, &mut steps)? {
        Ok(arrived) => arrived,
        Err(end) => return Ok(Explanation { steps, clusters: Vec::new(), end }),
    };
    let (clusters, end) = match &arrived.chain.filter {
        NetworkFilter::Http(http) => request::take(snapshot, http, &arrived, &head, &mut steps),
        NetworkFilter::Tcp(tcp) => cluster::raw(snapshot, tcp, &arrived, &mut steps),
    };
    Ok(Explanation { steps, clusters, end })
}

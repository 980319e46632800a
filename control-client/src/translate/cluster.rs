//! `envoy.config.cluster.v3.Cluster` and `envoy.config.endpoint.v3.ClusterLoadAssignment`.

use std::collections::HashSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ringway_model::{
    Balancer, CircuitBreakers, Cluster, ClusterId, Endpoint, Family, HappyEyeballs, HealthStatus, LoadBalancing,
    Locality, Placement, RetryBudget, UpstreamHttp, UpstreamProtocol, UpstreamTransport,
};

use super::config_source::{SourceUse, config_source};
use super::dns::{self, Discovery};
use super::load_balancing::{assignment_policy, load_balancing};
use super::transport::{self, Criteria};
use super::{Context, RuntimeUses, SecretUses, extension, original_dst, socket, upstream_http};
use crate::compatibility::refuse_unsupported;
use crate::dns::plan::{DnsHosts, DnsName, DnsPlan};
use crate::message::Message;
use crate::tls::ContextCertificates;

/// `Cluster.connect_timeout` where the file says nothing.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// `RetryBudget.budget_percent` and `min_retry_concurrency` where the file says nothing.
const RETRY_BUDGET_PERCENT: f64 = 20.0;
const RETRY_CONCURRENCY_MIN: u32 = 3;

/// A cluster, and where the rest of it comes from.
#[derive(Debug)]
pub(crate) struct ClusterDraft {
    /// Without endpoints, where an assignment or names give them.
    pub(crate) cluster: Cluster,
    /// `eds_cluster_config`.
    pub(crate) assignment: Option<Box<AssignmentUse>>,
    /// Of a cluster of names.
    pub(crate) names: Option<Arc<DnsPlan>>,
    /// What the certificates of its contexts say; of one without TLS there are none.
    pub(crate) certificates: Vec<ContextCertificates>,
    /// The secrets of sources that it names.
    pub(crate) secrets: Option<Box<SecretUses>>,
    /// What it took from a runtime that may change.
    pub(crate) runtime: Option<Box<RuntimeUses>>,
}

/// Where a cluster's assignment is, and what of the cluster decides what the assignment means.
#[derive(Debug)]
pub(crate) struct AssignmentUse {
    pub(crate) source: SourceUse,
    /// `service_name`, or the cluster's name.
    pub(crate) name: String,
    balancing: LoadBalancing,
    criteria: Criteria,
    eyeballs: HappyEyeballs,
}

impl AssignmentUse {
    /// The cluster with the endpoints of an assignment; `None` where that has a problem.
    pub(super) fn apply(&self, context: &mut Context<'_>, cluster: &Cluster, message: &Message) -> Option<Cluster> {
        if let Some(policy) = message.message("policy")
            && policy.get("endpoint_stale_after").is_some()
        {
            context.field("policy", |context| {
                context.problem(policy, "endpoint_stale_after", "not supported yet");
            });
        }
        let mut balancing = self.balancing.clone();
        let endpoints = load_assignment(context, message, &mut balancing, &self.criteria, |context, endpoint, like| {
            at_addresses(context, endpoint, like, self.eyeballs)
        });
        let mut endpoints = endpoints?;
        // As in Envoy, of endpoints with one address the first one counts.
        let mut seen = HashSet::with_capacity(endpoints.len());
        endpoints.retain(|endpoint| seen.insert(endpoint.address.clone()));
        Some(Cluster {
            balancer: Balancer::draft(balancing, &endpoints),
            endpoints: endpoints.into(),
            ..cluster.clone()
        })
    }
}

pub(super) fn cluster(context: &mut Context<'_>, message: &Message) -> Option<ClusterDraft> {
    refuse_unsupported(message, context.report);
    let name = message.text("name");
    let stat_name = match message.text("alt_stat_name") {
        "" => name,
        other => other,
    };
    let criteria = Criteria::of(message);
    let mut balancing = load_balancing(context, message);
    let mut endpoints = Vec::new();
    let (mut logical, mut assignment, mut names) = (false, None, None);
    let eyeballs = eyeballs(context, message);
    match dns::discovery(context, message) {
        Discovery::Addresses => {
            let read = |context: &mut Context<'_>, message: &Message| {
                load_assignment(context, message, &mut balancing, &criteria, |context, endpoint, like| {
                    at_addresses(context, endpoint, like, eyeballs)
                })
            };
            endpoints = context.inside(message, "load_assignment", read).unwrap_or_default();
        }
        Discovery::Names(mut plan) => {
            plan.eyeballs = eyeballs;
            let read = |context: &mut Context<'_>, message: &Message| {
                load_assignment(context, message, &mut balancing, &criteria, at_name)
            };
            let found = context.inside(message, "load_assignment", read).unwrap_or_default();
            logical = plan.hosts == DnsHosts::One;
            names = Some(dns::plan(context, message, *plan, stat_name, found));
        }
        Discovery::Assignment => {
            let balancing = balancing.clone();
            assignment = assignment_use(context, message, eyeballs, balancing, &criteria).map(Box::new);
        }
        // What an assignment may hold depends on the type; where the type is refused, that says enough.
        Discovery::Other => {}
    }
    let [breakers, high_breakers] = context.inside(message, "circuit_breakers", circuit_breakers).unwrap_or_default();
    let protocol = upstream_http::of_cluster(context, message);
    let transports = transport::upstream(context, message, protocol.auto_sni);
    let is_announced = |transport: &UpstreamTransport| transport.proxy_protocol.is_some();
    if protocol.version.may_be_http2(true) && transports.as_ref().is_some_and(|all| all.iter().any(is_announced)) {
        // A connection of HTTP/2 is one for the streams of all clients, and its header could name none of them: an origin that goes by
        // addresses would see ours. Envoy has connections for each client.
        let rule = match protocol.version {
            UpstreamProtocol::ByAlpn => "a version by ALPN (auto_config) behind a PROXY header is not supported yet",
            _ => "HTTP/2 behind a PROXY header is not supported yet",
        };
        let names = ["typed_extension_protocol_options", "protocol_selection", "http2_protocol_options"];
        let name = names.into_iter().find(|name| message.get(name).is_some());
        context.problem(message, name.unwrap_or("transport_socket"), rule);
    }
    if assignment.is_none() && message.number("type") != dns::EDS && message.get("eds_cluster_config").is_some() {
        // Envoy's words.
        context.problem(message, "eds_cluster_config", "eds_cluster_config set in a non-EDS cluster");
    }
    context.each(message, "filters", |context, message| {
        refuse_unsupported(message, context.report);
        if message.get("config_discovery").is_none() && !extension::is_ignored(message) {
            extension::of(context, message, &[], |_, _| None::<()>);
        }
    });
    let service_name = message.message("eds_cluster_config").map_or("", |eds| eds.text("service_name"));
    let cluster = Cluster {
        id: ClusterId(0), // the builder's to give
        name: name.to_owned(),
        stat_name: stat_name.to_owned(),
        service_name: service_name.to_owned(),
        buffer_bytes_max: super::listener::buffer_bytes_max(message),
        connect_timeout: message.duration("connect_timeout").unwrap_or(CONNECT_TIMEOUT),
        circuit_breakers: breakers.unwrap_or_default(),
        high_breakers,
        balancer: Balancer::draft(balancing, &endpoints),
        endpoints: endpoints.into(),
        logical,
        outgoing: socket::of_cluster(context, message),
        http: UpstreamHttp { keeps_alpn: transport::keeps_alpn(message), ..protocol.http },
        http1: protocol.http1,
        http2: protocol.http2,
        protocol: protocol.version,
        transports: transports?.into(),
        original_dst: original_dst::original_dst(context, message),
    };
    let certificates = std::mem::take(&mut context.certificates);
    let secrets = std::mem::take(&mut context.secrets).kept();
    let runtime = RuntimeUses::kept(std::mem::take(&mut context.asked));
    Some(ClusterDraft { cluster, assignment, names, certificates, secrets, runtime })
}

/// `eds_cluster_config`.
fn assignment_use(
    context: &mut Context<'_>,
    message: &Message,
    eyeballs: HappyEyeballs,
    balancing: LoadBalancing,
    criteria: &Criteria,
) -> Option<AssignmentUse> {
    if message.get("load_assignment").is_some() {
        // Envoy passes over it.
        context.problem(message, "load_assignment", "an EDS cluster has its endpoints from eds_cluster_config alone");
    }
    let name = message.text("name");
    let used = context.inside(message, "eds_cluster_config", |context, message| {
        refuse_unsupported(message, context.report);
        let source = context.inside(message, "eds_config", config_source);
        let name = match message.text("service_name") {
            "" => name.to_owned(),
            other => other.to_owned(),
        };
        Some((message.get("eds_config").is_some(), source, name))
    });
    match used {
        Some((true, source, name)) => {
            Some(AssignmentUse { source: source?, name, balancing, criteria: criteria.clone(), eyeballs })
        }
        _ => {
            // Envoy's words.
            context.problem(message, "eds_cluster_config", "cannot create an EDS cluster without an EDS config");
            None
        }
    }
}

/// Of the priorities DEFAULT and HIGH.
fn circuit_breakers(context: &mut Context<'_>, message: &Message) -> Option<[Option<CircuitBreakers>; 2]> {
    refuse_unsupported(message, context.report);
    let mut limits = [None; 2];
    context.each(message, "thresholds", |context, message| {
        refuse_unsupported(message, context.report);
        let (place, name) = match message.number("priority") {
            1 => (1, "HIGH"),
            _ => (0, "DEFAULT"),
        };
        if limits[place].is_some() {
            // Envoy takes the first and says nothing.
            let rule = format!("a second threshold for the priority {name}: only one would count");
            context.report.problem(message.place, rule);
        }
        let default = CircuitBreakers::default();
        let limit = |name, default| message.uint(name).unwrap_or(default);
        limits[place] = Some(CircuitBreakers {
            connections_max: limit("max_connections", default.connections_max),
            pending_requests_max: limit("max_pending_requests", default.pending_requests_max),
            requests_max: limit("max_requests", default.requests_max),
            retries_max: limit("max_retries", default.retries_max),
            retry_budget: context.inside(message, "retry_budget", retry_budget),
        });
    });
    Some(limits)
}

fn retry_budget(context: &mut Context<'_>, message: &Message) -> Option<RetryBudget> {
    refuse_unsupported(message, context.report);
    let percent = context.inside(message, "budget_percent", |context, message| {
        refuse_unsupported(message, context.report);
        Some(message.double("value").unwrap_or(0.0))
    });
    Some(RetryBudget {
        percent: percent.unwrap_or(RETRY_BUDGET_PERCENT),
        retries_min: message.uint("min_retry_concurrency").unwrap_or(RETRY_CONCURRENCY_MIN),
    })
}

/// `happy_eyeballs_config`. Its message is looked into with the connection options.
fn eyeballs(context: &mut Context<'_>, message: &Message) -> HappyEyeballs {
    let options = message.message("upstream_connection_options");
    let Some(config) = options.and_then(|options| options.message("happy_eyeballs_config")) else {
        return HappyEyeballs::default();
    };
    context.field("upstream_connection_options", |context| {
        context.field("happy_eyeballs_config", |context| refuse_unsupported(config, context.report));
    });
    let first = match config.number("first_address_family_version") {
        1 => Some(Family::V4),
        2 => Some(Family::V6),
        _ => None,
    };
    let default = HappyEyeballs::default();
    HappyEyeballs { first, count: config.uint("first_address_family_count").unwrap_or(default.count) }
}

/// What an endpoint has of what is said around it.
#[derive(Clone)]
struct Like {
    placement: Placement,
    transport: u16,
}

/// The metadata of an endpoint or of a locality.
fn metadata<'m>(context: &mut Context<'_>, message: &'m Message) -> Option<&'m Message> {
    context.inside(message, "metadata", |context, metadata| {
        refuse_unsupported(metadata, context.report);
        Some(metadata)
    })
}

/// The endpoint at an address, or at several.
fn at_addresses(
    context: &mut Context<'_>,
    message: &Message,
    like: &Like,
    eyeballs: HappyEyeballs,
) -> Option<Endpoint> {
    let address = context.inside(message, "address", super::address);
    let additional = context.each(message, "additional_addresses", |context, message| {
        refuse_unsupported(message, context.report);
        if message.get("address").is_none() {
            context.problem(message, "address", "value is required");
        }
        context.inside(message, "address", ip_address)
    });
    let mut all: Vec<SocketAddr> = additional.into_iter().collect::<Option<_>>()?;
    let address = address?;
    match address.ip() {
        Some(first) => all.insert(0, first),
        None if all.is_empty() => {}
        None => context.problem(message, "additional_addresses", "a unix socket has no other addresses"),
    }
    let hostname = message.text("hostname").to_owned();
    let Like { placement, transport } = like.clone();
    Some(Endpoint { address, attempts: eyeballs.order(&all), hostname, placement, transport })
}

/// One of several addresses.
fn ip_address(context: &mut Context<'_>, message: &Message) -> Option<SocketAddr> {
    if let Some(pipe) = message.get("pipe") {
        context.report.problem_in("pipe", pipe.place, "one of several addresses must be a socket_address");
        return None;
    }
    super::tcp_address(context, message)
}

/// The endpoints at the addresses of a name. They go by that name where the file gives them no other.
fn at_name(context: &mut Context<'_>, message: &Message, like: &Like) -> Option<DnsName> {
    if message.get("additional_addresses").is_some() {
        // Envoy takes them and asks the one name only.
        context.problem(message, "additional_addresses", "a cluster of names has none, only a STATIC one");
    }
    let hostname = message.text("hostname");
    context.inside(message, "address", |context, message| {
        if let Some(pipe) = message.get("pipe") {
            context.report.problem_in("pipe", pipe.place, "a cluster of names has no unix sockets");
            return None;
        }
        let (name, port, socket) = super::named_address(context, message)?;
        if socket.get("resolver_name").is_some() {
            return None; // refused above
        }
        let hostname = if hostname.is_empty() { name } else { hostname };
        let (address, hostname) = ((Ipv4Addr::UNSPECIFIED, port).into(), hostname.to_owned());
        let Like { placement, transport } = like.clone();
        let endpoint = Endpoint { address, attempts: Vec::new(), hostname, placement, transport };
        Some(DnsName { name: name.to_owned(), port, endpoint })
    })
}

/// What `read` makes of each endpoint and its place among the others, flattened in the order of the file.
fn load_assignment<T>(
    context: &mut Context<'_>,
    message: &Message,
    balancing: &mut LoadBalancing,
    criteria: &Criteria,
    read: impl Fn(&mut Context<'_>, &Message, &Like) -> Option<T>,
) -> Option<Vec<T>> {
    refuse_unsupported(message, context.report);
    context.inside(message, "policy", |context, message| {
        assignment_policy(context, message, balancing);
        Some(())
    });
    let mut endpoints = Vec::new();
    context.each(message, "endpoints", |context, message| {
        refuse_unsupported(message, context.report);
        let locality = context.inside(message, "locality", locality);
        let priority = message.uint("priority").unwrap_or(0);
        let of_locality = metadata(context, message);
        if let (Some(weights), Some(_)) = (&mut balancing.locality_weights, &locality)
            && let Some(weight) = message.uint("load_balancing_weight")
        {
            weights.push((priority, locality.clone(), weight));
        }
        context.each(message, "lb_endpoints", |context, message| {
            refuse_unsupported(message, context.report);
            if message.get("endpoint_name").is_some() {
                return; // refused above
            }
            let metadata = metadata(context, message);
            let placement = Placement {
                weight: message.uint("load_balancing_weight").unwrap_or(1).max(1),
                health: health(message.number("health_status")),
                priority,
                locality: locality.clone(),
                hash_key: metadata.and_then(transport::hash_key),
            };
            let transport = criteria.transport(metadata, of_locality);
            let like = Like { placement, transport };
            let endpoint = context.inside(message, "endpoint", |context, message| {
                refuse_unsupported(message, context.report);
                message.get("address")?;
                Some(read(context, message, &like))
            });
            match endpoint {
                Some(endpoint) => endpoints.extend(endpoint),
                // Envoy: "Address must be set".
                None => context.report.problem_in("endpoint.address", message.place, "value is required"),
            }
        });
    });
    Some(endpoints)
}

fn locality(context: &mut Context<'_>, message: &Message) -> Option<Arc<Locality>> {
    refuse_unsupported(message, context.report);
    let text = |name| message.text(name).to_owned();
    Some(Arc::new(Locality { region: text("region"), zone: text("zone"), sub_zone: text("sub_zone") }))
}

/// `envoy.config.core.v3.HealthStatus`; a number without a name is as good as none.
fn health(number: i32) -> HealthStatus {
    match number {
        2 => HealthStatus::Unhealthy,
        3 => HealthStatus::Draining,
        4 => HealthStatus::Timeout,
        5 => HealthStatus::Degraded,
        _ => HealthStatus::Healthy,
    }
}

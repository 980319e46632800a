//! The end of the way: a cluster, which of its endpoints may be picked, and what stands in the way.

use ringway_model::{
    Cluster, ClusterId, ForwardAction, LbPolicy, LoadPart, Snapshot, TcpProxy, TcpTarget, UpstreamProtocol,
};

use super::connection::Arrived;
use super::{ClusterStep, End, EndpointStep, Step};
use crate::reply::{Failure, Local};

/// A cluster that is named, whether there is one or not, and its part of the requests.
pub(super) struct Share {
    pub(super) id: Option<ClusterId>,
    pub(super) name: String,
    pub(super) weight: Option<(u32, u32)>,
}

impl Share {
    pub(super) fn of(snapshot: &Snapshot, id: ClusterId, weight: Option<(u32, u32)>) -> Self {
        Self { id: Some(id), name: snapshot.clusters.name_of(id).unwrap_or_default().to_owned(), weight }
    }
}

/// What becomes of a request that goes to this cluster. `action`: that of its route; `None`: it is a raw connection. `field` finds the first value of
/// one of its fields.
pub(super) fn step(
    snapshot: &Snapshot,
    share: &Share,
    action: Option<&ForwardAction>,
    arrived: &Arrived<'_>,
    field: impl Fn(&str) -> Option<Vec<u8>>,
) -> ClusterStep {
    let mut step = ClusterStep {
        name: share.name.clone(),
        weight: share.weight,
        notes: Vec::new(),
        endpoints: Vec::new(),
        end: End::Forwarded,
    };
    let ends = |failure: Failure, why: &str| match action {
        Some(_) => {
            let Local { status, flag, .. } = failure.local();
            End::Answered { status, flag, why: why.into() }
        }
        None => End::closed(why),
    };
    let Some(cluster) = share.id.and_then(|id| snapshot.clusters.get(id)) else {
        let mut end = ends(Failure::NoCluster, "no such cluster");
        if let (End::Answered { status, .. }, Some(action)) = (&mut end, action) {
            *status = action.not_found_status;
        }
        step.end = end;
        return step;
    };
    step.notes.push(policy_told(cluster, action));
    if let Some(drop) = cluster.balancer.config().drop_overload.filter(|_| action.is_some()) {
        step.notes.push(format!("drop_overloads: {drop} of all requests are answered 503"));
        if drop.numerator == drop.denominator {
            step.end = ends(Failure::UnconditionalDrop, "drop_overloads: all");
        }
    }
    if let Some(config) = &cluster.original_dst {
        let told = config.header.as_deref().and_then(field);
        let told = told.and_then(|told| std::str::from_utf8(&told).ok()?.parse().ok());
        match told.or(arrived.restored()) {
            Some(mut address) => {
                address.set_port(config.port.unwrap_or(address.port()));
                step.notes.push(format!("ORIGINAL_DST: to {address}"));
            }
            None => {
                step.end =
                    ends(Failure::NoHealthyUpstream, "ORIGINAL_DST: it is not known where the client wanted to go")
            }
        }
        return step;
    }
    let parts = cluster.balancer.parts(&cluster.endpoints);
    if parts.iter().any(|part| part.is_panic) {
        step.notes.push("panic: too few are healthy, and health counts for nothing".into());
    }
    let nobody: u32 = parts.iter().filter(|part| part.members.is_empty()).map(|part| part.percent).sum();
    if parts.is_empty() || nobody == 100 {
        let why =
            if cluster.endpoints.is_empty() { "the cluster has no endpoint" } else { "no endpoint may be picked" };
        step.end = ends(Failure::NoHealthyUpstream, why);
    } else if nobody > 0 {
        step.notes.push(format!("{nobody} of 100 requests find no endpoint that may be picked"));
    }
    step.endpoints = endpoints(cluster, &parts);
    step
}

fn endpoints(cluster: &Cluster, parts: &[LoadPart]) -> Vec<EndpointStep> {
    let mut percents = vec![0; cluster.endpoints.len()];
    for part in parts {
        part.members.iter().for_each(|member| percents[*member as usize] += part.percent);
    }
    let told = cluster.endpoints.iter().zip(percents).map(|(endpoint, percent)| {
        let placement = &endpoint.placement;
        let locality = placement.locality.as_deref().map_or_else(String::new, |locality| {
            let parts = [&locality.region, &locality.zone, &locality.sub_zone].map(String::as_str);
            parts.join("/").trim_end_matches('/').to_owned()
        });
        EndpointStep {
            address: endpoint.address.clone(),
            health: placement.health,
            weight: placement.weight,
            priority: placement.priority,
            locality,
            percent,
        }
    });
    told.collect()
}

/// How its endpoints are picked and spoken to.
fn policy_told(cluster: &Cluster, action: Option<&ForwardAction>) -> String {
    let policy = match cluster.balancer.config().policy {
        LbPolicy::RoundRobin => "round robin",
        LbPolicy::Random => "random",
        LbPolicy::LeastRequest(_) => "least request",
        LbPolicy::RingHash(_) => "ring hash",
        LbPolicy::Maglev(_) => "Maglev",
    };
    let without_hash = match action {
        Some(action) if cluster.balancer.config().policy.is_by_hash() && action.hash_policies.is_empty() => {
            " by chance: the route has no hash_policy"
        }
        _ => "",
    };
    let protocol = match cluster.protocol {
        _ if action.is_none() => "bytes as they are",
        UpstreamProtocol::Http1 => "HTTP/1.1",
        UpstreamProtocol::Http2 => "HTTP/2",
        UpstreamProtocol::AsDownstream => "the version that the client speaks",
        UpstreamProtocol::ByAlpn => "HTTP/2 or HTTP/1.1 by ALPN",
    };
    let tls = if cluster.transports.iter().any(|transport| transport.tls.is_some()) { ", TLS" } else { "" };
    format!("{policy}{without_hash}; {protocol}{tls}")
}

/// Where a connection ends that `tcp_proxy` serves.
pub(super) fn raw(
    snapshot: &Snapshot,
    tcp: &TcpProxy,
    arrived: &Arrived<'_>,
    steps: &mut Vec<Step>,
) -> (Vec<ClusterStep>, End) {
    steps.push(Step::new("network filter", format!("tcp_proxy {}", tcp.stat_prefix), []));
    let shares: Vec<Share> = match &tcp.target {
        TcpTarget::Cluster(id) => vec![Share::of(snapshot, *id, None)],
        TcpTarget::Weighted(all) => {
            let total = all.iter().fold(0_u32, |sum, (_, weight)| sum.saturating_add(*weight));
            all.iter().map(|(id, weight)| Share::of(snapshot, *id, Some((*weight, total)))).collect()
        }
    };
    let clusters: Vec<_> = shares.iter().map(|share| step(snapshot, share, None, arrived, |_| None)).collect();
    let end = end_of(&clusters);
    (clusters, end)
}

/// What is common to the ends of all.
pub(super) fn end_of(clusters: &[ClusterStep]) -> End {
    match clusters {
        [first, others @ ..] if others.iter().all(|other| other.end == first.end) => first.end.clone(),
        _ => End::ByCluster,
    }
}

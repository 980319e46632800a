//! STRICT_DNS and LOGICAL_DNS: by `type`, by `cluster_type`, and who is asked.

use std::sync::Arc;
use std::time::Duration;

use ringway_model::HappyEyeballs;

use super::{Context, numeric_address};
use crate::compatibility::refuse_unsupported;
use crate::dns::plan::{
    BackOff, DnsHosts, DnsName, DnsPlan, EDNS_PAYLOAD, LookupFamily, QUERY_TIMEOUT, QUERY_TRIES, REFRESH_RATE,
    ResolverPlan, Servers,
};
use crate::message::{Message, Value};

const DNS_CLUSTER: &str = "envoy.extensions.clusters.dns.v3.DnsCluster";
const CARES: &str = "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig";
const GETADDRINFO: &str = "envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig";

/// How a cluster finds its endpoints.
pub(super) enum Discovery {
    /// STATIC.
    Addresses,
    /// By names; the plan has none yet.
    Names(Box<DnsPlan>),
    /// EDS.
    Assignment,
    /// Refused.
    Other,
}

/// Numbers of `Cluster.DiscoveryType`.
const STATIC: i32 = 0;
const STRICT_DNS: i32 = 1;
const LOGICAL_DNS: i32 = 2;
pub(super) const EDS: i32 = 3;

/// What `type` or `cluster_type` asks for.
pub(super) fn discovery(context: &mut Context<'_>, message: &Message) -> Discovery {
    if message.get("cluster_type").is_some() {
        return context.inside(message, "cluster_type", |c, kind| custom(c, message, kind)).unwrap_or(Discovery::Other);
    }
    match message.number("type") {
        STATIC => Discovery::Addresses,
        STRICT_DNS => by_cluster(context, message, DnsHosts::Each),
        LOGICAL_DNS => by_cluster(context, message, DnsHosts::One),
        EDS => Discovery::Assignment,
        _ => Discovery::Other,
    }
}

/// `CustomClusterType`: known by its type or, where it has none, by its name.
fn custom(context: &mut Context<'_>, cluster: &Message, kind: &Message) -> Option<Discovery> {
    refuse_unsupported(kind, context.report);
    let name = kind.text("name");
    match kind.any("typed_config").and_then(|any| any.value.as_deref()) {
        Some(Value::Message(config)) if config.kind.name() == DNS_CLUSTER => {
            context.field("typed_config", |context| typed(context, cluster, config))
        }
        Some(Value::Message(config)) => {
            let rule = format!("{} is not supported yet", config.kind.name());
            context.problem(kind, "typed_config", rule);
            None
        }
        _ => match name {
            "envoy.cluster.static" => Some(Discovery::Addresses),
            "envoy.cluster.strict_dns" | "envoy.cluster.dns" => Some(by_cluster(context, cluster, DnsHosts::Each)),
            "envoy.cluster.logical_dns" => Some(by_cluster(context, cluster, DnsHosts::One)),
            _ => {
                context.problem(kind, "name", format!("the cluster type {name:?} is not supported yet"));
                None
            }
        },
    }
}

/// A plan from the fields of `Cluster` itself.
fn by_cluster(context: &mut Context<'_>, message: &Message, hosts: DnsHosts) -> Discovery {
    let family = match message.number("dns_lookup_family") {
        1 => LookupFamily::V4Only,
        2 => LookupFamily::V6Only,
        3 => LookupFamily::V4Preferred,
        4 => LookupFamily::All,
        _ => LookupFamily::Auto,
    };
    let typed = context.inside(message, "typed_dns_resolver_config", resolver);
    let options = context.inside(message, "dns_resolution_config", resolution_config);
    let listed = servers(context, message, "dns_resolvers");
    let listed = (!listed.is_empty()).then(|| {
        let tcp = message.boolean("use_tcp_for_dns_lookups").unwrap_or(false);
        ResolverPlan::Servers(Servers { addresses: listed, tcp, ..Servers::default() })
    });
    let resolver = typed.or(options).or(listed).unwrap_or_else(|| context.around.resolver.clone());
    Discovery::Names(Box::new(DnsPlan {
        stat_name: String::new(),
        eyeballs: HappyEyeballs::default(),
        hosts,
        names: Vec::new(),
        family,
        refresh: message.duration("dns_refresh_rate").unwrap_or(REFRESH_RATE),
        failure: context.inside(message, "dns_failure_refresh_rate", back_off),
        respect_ttl: message.boolean("respect_dns_ttl").unwrap_or(false),
        ttl_min: Duration::ZERO,
        jitter: message.duration("dns_jitter").unwrap_or_default(),
        resolver,
        waits: waits(message),
    }))
}

/// A plan from a `DnsCluster`.
fn typed(context: &mut Context<'_>, cluster: &Message, message: &Message) -> Option<Discovery> {
    refuse_unsupported(message, context.report);
    let family = match message.number("dns_lookup_family") {
        2 => LookupFamily::V4Only,
        3 => LookupFamily::V6Only,
        4 => LookupFamily::V4Preferred,
        5 => LookupFamily::All,
        _ => LookupFamily::Auto,
    };
    let one = message.boolean("all_addresses_in_single_endpoint").unwrap_or(false);
    let typed = context.inside(message, "typed_dns_resolver_config", resolver);
    Some(Discovery::Names(Box::new(DnsPlan {
        stat_name: String::new(),
        eyeballs: HappyEyeballs::default(),
        hosts: if one { DnsHosts::One } else { DnsHosts::Each },
        names: Vec::new(),
        family,
        refresh: message.duration("dns_refresh_rate").unwrap_or(REFRESH_RATE),
        failure: context.inside(message, "dns_failure_refresh_rate", back_off),
        respect_ttl: message.boolean("respect_dns_ttl").unwrap_or(false),
        ttl_min: message.duration("dns_min_refresh_rate").unwrap_or_default(),
        jitter: message.duration("dns_jitter").unwrap_or_default(),
        resolver: typed.unwrap_or_else(|| context.around.resolver.clone()),
        waits: waits(cluster),
    })))
}

fn waits(cluster: &Message) -> bool {
    cluster.boolean("wait_for_warm_on_init").unwrap_or(true)
}

/// `Cluster.RefreshRate` and `DnsCluster.RefreshRate`, which are alike.
fn back_off(context: &mut Context<'_>, message: &Message) -> Option<BackOff> {
    refuse_unsupported(message, context.report);
    let base = message.duration("base_interval")?;
    let max = message.duration("max_interval").unwrap_or(base.saturating_mul(10));
    if max < base {
        context.problem(message, "max_interval", "must not be less than base_interval");
    }
    Some(BackOff { base, max })
}

/// The plan with its names.
pub(super) fn plan(
    context: &mut Context<'_>,
    message: &Message,
    mut plan: DnsPlan,
    stat_name: &str,
    names: Vec<DnsName>,
) -> Arc<DnsPlan> {
    if plan.hosts == DnsHosts::One && names.len() != 1 {
        let rule = "a LOGICAL_DNS cluster has one locality with one endpoint";
        context.problem(message, "load_assignment", rule);
    }
    plan.names = names;
    stat_name.clone_into(&mut plan.stat_name);
    Arc::new(plan)
}

/// Who is asked by clusters that do not say.
pub(super) fn default_resolver(context: &mut Context<'_>, bootstrap: &Message) -> ResolverPlan {
    let typed = context.inside(bootstrap, "typed_dns_resolver_config", resolver);
    let options = context.inside(bootstrap, "dns_resolution_config", resolution_config);
    typed.or(options).unwrap_or_else(|| {
        let tcp = bootstrap.boolean("use_tcp_for_dns_lookups").unwrap_or(false);
        ResolverPlan::Servers(Servers { tcp, ..Servers::default() })
    })
}

/// `typed_dns_resolver_config`.
fn resolver(context: &mut Context<'_>, message: &Message) -> Option<ResolverPlan> {
    refuse_unsupported(message, context.report);
    match message.any("typed_config").and_then(|any| any.value.as_deref()) {
        Some(Value::Message(config)) if config.kind.name() == CARES => {
            context.field("typed_config", |context| cares(context, config))
        }
        Some(Value::Message(config)) if config.kind.name() == GETADDRINFO => context.field("typed_config", |context| {
            refuse_unsupported(config, context.report);
            Some(ResolverPlan::Library { retries: config.uint("num_retries").unwrap_or(0) })
        }),
        Some(Value::Message(config)) => {
            let rule = format!("{} is not supported yet", config.kind.name());
            context.problem(message, "typed_config", rule);
            None
        }
        _ => {
            let rule = format!("no implementation for {:?} without a type", message.text("name"));
            context.problem(message, "typed_config", rule);
            None
        }
    }
}

fn cares(context: &mut Context<'_>, message: &Message) -> Option<ResolverPlan> {
    refuse_unsupported(message, context.report);
    let addresses = servers(context, message, "resolvers");
    let (tcp, no_search) = context.inside(message, "dns_resolver_options", resolver_options).unwrap_or_default();
    Some(ResolverPlan::Servers(Servers {
        addresses,
        as_fallback: message.boolean("use_resolvers_as_fallback").unwrap_or(false),
        tcp,
        no_search,
        timeout: message.wide_uint("query_timeout_seconds").map_or(QUERY_TIMEOUT, Duration::from_secs),
        tries: message.uint("query_tries").unwrap_or(QUERY_TRIES),
        rotate: message.boolean("rotate_nameservers").unwrap_or(false),
        edns_payload: message
            .uint("edns0_max_payload_size")
            .map_or(EDNS_PAYLOAD, |size| u16::try_from(size).expect("the schema allows 4,096 at most")),
    }))
}

/// `DnsResolutionConfig`, the form before `typed_dns_resolver_config`.
fn resolution_config(context: &mut Context<'_>, message: &Message) -> Option<ResolverPlan> {
    refuse_unsupported(message, context.report);
    let addresses = servers(context, message, "resolvers");
    let (tcp, no_search) = context.inside(message, "dns_resolver_options", resolver_options).unwrap_or_default();
    Some(ResolverPlan::Servers(Servers { addresses, tcp, no_search, ..Servers::default() }))
}

/// `use_tcp_for_dns_lookups` and `no_default_search_domain`.
fn resolver_options(context: &mut Context<'_>, message: &Message) -> Option<(bool, bool)> {
    refuse_unsupported(message, context.report);
    let flag = |name| message.boolean(name).unwrap_or(false);
    Some((flag("use_tcp_for_dns_lookups"), flag("no_default_search_domain")))
}

/// Name servers: addresses as numbers; port 0 or none is 53.
fn servers(context: &mut Context<'_>, message: &Message, field: &str) -> Vec<std::net::SocketAddr> {
    let found = context.each(message, field, |context, address| {
        let mut address = numeric_address(context, address)?;
        if address.port() == 0 {
            address.set_port(53);
        }
        Some(address)
    });
    found.into_iter().flatten().collect()
}

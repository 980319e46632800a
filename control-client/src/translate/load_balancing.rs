//! How a cluster's endpoints are chosen from: `lb_policy` and what belongs to it, `load_balancing_policy`, `common_lb_config`, and the
//! `policy` of an assignment.

use ringway_model::{
    CHOICES_MAX, Fraction, HashFunction, LbPolicy, LeastRequest, LoadBalancing, MAGLEV_SIZE_MAX, Maglev, RING_SIZE_MAX,
    RingHash, Selection,
};

use super::{Context, matcher};
use crate::compatibility::refuse_unsupported;
use crate::message::{Any, Message, Value};

/// Where the typed policies are.
const POLICIES: &str = "envoy.extensions.load_balancing_policies.";

/// `Cluster.DiscoveryType`.
const STRICT_DNS: i32 = 1;

/// `Cluster.LbPolicy`.
const LEAST_REQUEST: i32 = 1;
const RING_HASH: i32 = 2;
const RANDOM: i32 = 3;
const MAGLEV: i32 = 5;
const LOAD_BALANCING_POLICY_CONFIG: i32 = 7;

/// All of it, but for what an assignment says.
pub(super) fn load_balancing(context: &mut Context<'_>, message: &Message) -> LoadBalancing {
    let mut found = LoadBalancing::default();
    let has_names = match message.message("cluster_type") {
        Some(custom) => custom.text("name") == "envoy.cluster.strict_dns",
        None => message.number("type") == STRICT_DNS,
    };
    let by_hostname = context.inside(message, "common_lb_config", |context, message| {
        common(context, message, &mut found);
        context.inside(message, "consistent_hashing_lb_config", |context, message| {
            let by_hostname = by_hostname(context, message);
            if by_hostname && !has_names {
                // Envoy's words, nearly.
                let rule = "cannot use hostname for consistent hashing in a cluster of another type than STRICT_DNS";
                context.problem(message, "use_hostname_for_hashing", rule);
            }
            Some(by_hostname)
        })
    });
    let by_hostname = by_hostname.unwrap_or(false);
    // Read also where another policy makes them moot, so that what is wrong in them is said.
    let least =
        context.inside(message, "least_request_lb_config", |context, message| Some(least_request(context, message)));
    let ring = context.inside(message, "ring_hash_lb_config", |context, message| {
        let is_murmur = message.number("hash_function") == 1;
        Some(ring_hash(context, message, is_murmur))
    });
    let table = context.inside(message, "maglev_lb_config", |context, message| Some(maglev(context, message)));
    context.inside(message, "round_robin_lb_config", |context, message| {
        refuse_unsupported(message, context.report);
        Some(())
    });
    match message.number("lb_policy") {
        _ if message.get("load_balancing_policy").is_some() => {
            let both = message.message("common_lb_config").is_some_and(|common| {
                let parts = ["zone_aware_lb_config", "locality_weighted_lb_config", "consistent_hashing_lb_config"];
                parts.into_iter().any(|name| common.get(name).is_some())
            });
            if both {
                // Envoy: "cannot be combined with partial fields ... of common_lb_config".
                context.problem(
                    message,
                    "load_balancing_policy",
                    "cannot be combined with zone_aware_lb_config, locality_weighted_lb_config or \
                     consistent_hashing_lb_config of common_lb_config",
                );
            }
            context.inside(message, "load_balancing_policy", |context, message| {
                typed(context, message, &mut found);
                Some(())
            });
        }
        LEAST_REQUEST => found.policy = LbPolicy::LeastRequest(least.unwrap_or_default()),
        RANDOM => found.policy = LbPolicy::Random,
        RING_HASH => found.policy = LbPolicy::RingHash(RingHash { by_hostname, ..ring.unwrap_or_default() }),
        MAGLEV => found.policy = LbPolicy::Maglev(Maglev { by_hostname, ..table.unwrap_or_default() }),
        // Envoy: "field load_balancing_policy need to be set".
        LOAD_BALANCING_POLICY_CONFIG => context.problem(message, "load_balancing_policy", "value is required"),
        // ROUND_ROBIN; CLUSTER_PROVIDED, which asks nobody; any other is refused.
        _ => found.policy = LbPolicy::RoundRobin,
    }
    found
}

/// `ClusterLoadAssignment.policy`.
pub(super) fn assignment_policy(context: &mut Context<'_>, message: &Message, found: &mut LoadBalancing) {
    refuse_unsupported(message, context.report);
    if let Some(factor) = message.uint("overprovisioning_factor") {
        found.overprovisioning_factor = factor;
    }
    found.weighted_priority_health = message.boolean("weighted_priority_health").unwrap_or(false);
    let drops = context.each(message, "drop_overloads", |context, message| {
        refuse_unsupported(message, context.report);
        let fraction =
            context.inside(message, "drop_percentage", |context, message| Some(matcher::fractional(context, message)));
        if fraction.is_some_and(|fraction| fraction.numerator > fraction.denominator) {
            // Envoy: "drop_ratio=... The valid range is 0~1".
            context.problem(message, "drop_percentage", "must not be more than the whole");
        }
        Some((fraction?, message.text("category").into()))
    });
    if drops.len() > 1 {
        // Envoy: "Envoy only support one".
        context.problem(message, "drop_overloads", format!("{} categories: only one is supported", drops.len()));
    }
    let some = |(fraction, _): &(Fraction, _)| fraction.numerator > 0;
    (found.drop_overload, found.drop_category) = drops.into_iter().flatten().next().filter(some).unzip();
}

/// `Cluster.CommonLbConfig`.
fn common(context: &mut Context<'_>, message: &Message, found: &mut LoadBalancing) {
    refuse_unsupported(message, context.report);
    if let Some(percent) = message.message("healthy_panic_threshold") {
        refuse_unsupported(percent, context.report);
        // Envoy takes the whole percents.
        found.panic_threshold = percent.double("value").unwrap_or(0.0) as u32;
    }
    found.closes_with_changes = message.boolean("close_connections_on_host_set_change").unwrap_or(false);
    context.inside(message, "zone_aware_lb_config", |context, message| {
        zone_aware(context, message, found);
        Some(())
    });
    locality_weighted(context, message, found);
}

/// Either `ZoneAwareLbConfig`.
fn zone_aware(context: &mut Context<'_>, message: &Message, found: &mut LoadBalancing) {
    refuse_unsupported(message, context.report);
    found.fail_traffic_on_panic = message.boolean("fail_traffic_on_panic").unwrap_or(false);
}

/// `LocalityLbConfig` of a typed policy.
fn locality(context: &mut Context<'_>, message: &Message, found: &mut LoadBalancing) {
    context.inside(message, "locality_lb_config", |context, message| {
        refuse_unsupported(message, context.report);
        context.inside(message, "zone_aware_lb_config", |context, message| {
            zone_aware(context, message, found);
            Some(())
        });
        locality_weighted(context, message, found);
        Some(())
    });
}

/// Either message of this name.
fn least_request(context: &mut Context<'_>, message: &Message) -> LeastRequest {
    refuse_unsupported(message, context.report);
    let defaults = LeastRequest::default();
    let bias = context.inside(message, "active_request_bias", |context, message| {
        refuse_unsupported(message, context.report);
        context.runtime_double(message.text("runtime_key")).or(message.double("default_value")).or(Some(0.0))
    });
    LeastRequest {
        selection: message
            .uint("choice_count")
            .map_or(defaults.selection, |count| Selection::Choices(count.min(CHOICES_MAX))),
        // Envoy, too, takes its default in the place of what is none.
        active_request_bias: bias.filter(|bias| *bias >= 0.0).unwrap_or(defaults.active_request_bias),
    }
}

/// Either message of this name, but for how its hash function is numbered.
fn ring_hash(context: &mut Context<'_>, message: &Message, is_murmur: bool) -> RingHash {
    refuse_unsupported(message, context.report);
    let default = RingHash::default();
    // The rules bound both.
    let size = |name, default| message.wide_uint(name).map_or(default, |size| size.min(RING_SIZE_MAX.into()) as u32);
    let found = RingHash {
        size_min: size("minimum_ring_size", default.size_min),
        size_max: size("maximum_ring_size", default.size_max),
        function: if is_murmur { HashFunction::MurmurHash2 } else { HashFunction::XxHash },
        by_hostname: false,
    };
    if found.size_min > found.size_max {
        // Envoy's words.
        let rule =
            format!("ring hash: minimum_ring_size ({}) > maximum_ring_size ({})", found.size_min, found.size_max);
        context.report.problem(message.place, rule);
    }
    found
}

/// Either message of this name.
fn maglev(context: &mut Context<'_>, message: &Message) -> Maglev {
    refuse_unsupported(message, context.report);
    let default = Maglev::default();
    let size =
        message.wide_uint("table_size").map_or(default.table_size, |size| size.min(MAGLEV_SIZE_MAX.into()) as u32);
    if !is_prime(size) {
        // Envoy's words.
        context.problem(message, "table_size", "The table size of maglev must be prime number");
        return default;
    }
    Maglev { table_size: size, by_hostname: false }
}

fn is_prime(number: u32) -> bool {
    number > 1 && (2..).take_while(|by| by * by <= number).all(|by| !number.is_multiple_of(by))
}

/// Either `ConsistentHashingLbConfig`: whether endpoints are known by their names.
fn by_hostname(context: &mut Context<'_>, message: &Message) -> bool {
    refuse_unsupported(message, context.report);
    message.boolean("use_hostname_for_hashing").unwrap_or(false)
}

/// What the typed policies that go by hashes have beside it.
fn typed_hashing(context: &mut Context<'_>, message: &Message, found: &mut LoadBalancing) -> bool {
    locality_weighted(context, message, found);
    let config =
        context.inside(message, "consistent_hashing_lb_config", |context, message| Some(by_hostname(context, message)));
    config.unwrap_or(false)
}

fn locality_weighted(context: &mut Context<'_>, message: &Message, found: &mut LoadBalancing) {
    context.inside(message, "locality_weighted_lb_config", |context, message| {
        refuse_unsupported(message, context.report);
        found.locality_weights = Some(Vec::new());
        Some(())
    });
}

/// `LoadBalancingPolicy`: the first policy that Envoy has counts.
fn typed(context: &mut Context<'_>, message: &Message, found: &mut LoadBalancing) {
    refuse_unsupported(message, context.report);
    let mut is_found = false;
    context.each(message, "policies", |context, message| {
        refuse_unsupported(message, context.report);
        context.inside(message, "typed_extension_config", |context, message| {
            refuse_unsupported(message, context.report);
            let any = message.any("typed_config");
            if is_found || any.is_none_or(is_skipped) {
                return None;
            }
            is_found = true;
            match any.and_then(|any| any.value.as_deref()) {
                Some(Value::Message(config)) => {
                    context.field("typed_config", |context| policy(context, config, found));
                }
                _ => unreachable!("what is no policy is skipped"),
            }
            Some(())
        })
    });
    if !is_found {
        // Envoy: "didn't find a registered load balancer factory implementation".
        context.problem(message, "policies", "none of the policies is one that Envoy has");
    }
}

/// Whether Envoy passes over it: it is no load balancing policy.
fn is_skipped(any: &Any) -> bool {
    match any.value.as_deref() {
        Some(Value::Message(message)) => !message.kind.name().starts_with(POLICIES),
        _ => true,
    }
}

fn policy(context: &mut Context<'_>, message: &Message, found: &mut LoadBalancing) {
    found.policy = match message.kind.name().strip_prefix(POLICIES) {
        Some("round_robin.v3.RoundRobin") => LbPolicy::RoundRobin,
        Some("random.v3.Random") => LbPolicy::Random,
        Some("least_request.v3.LeastRequest") => {
            let rule = least_request(context, message);
            let scans = message.number("selection_method") == 1 || message.boolean("enable_full_scan").unwrap_or(false);
            locality(context, message, found);
            let selection = if scans { Selection::FullScan } else { rule.selection };
            found.policy = LbPolicy::LeastRequest(LeastRequest { selection, ..rule });
            return;
        }
        Some("ring_hash.v3.RingHash") => {
            let rule = ring_hash(context, message, message.number("hash_function") == 2);
            let by_hostname =
                typed_hashing(context, message, found) || message.boolean("use_hostname_for_hashing").unwrap_or(false);
            found.policy = LbPolicy::RingHash(RingHash { by_hostname, ..rule });
            return;
        }
        Some("maglev.v3.Maglev") => {
            let rule = maglev(context, message);
            let by_hostname = typed_hashing(context, message, found);
            found.policy = LbPolicy::Maglev(Maglev { by_hostname, ..rule });
            return;
        }
        _ => {
            context.report.problem(message.place, format!("{} is not supported yet", message.kind.name()));
            return;
        }
    };
    refuse_unsupported(message, context.report);
    locality(context, message, found);
}

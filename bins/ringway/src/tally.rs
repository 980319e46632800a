//! What became of resources, as Envoy's statistics.

use std::time::{SystemTime, UNIX_EPOCH};

use ringway_control_client::{Counted, ExtensionEvent, RoutesEvent, Scope};
use ringway_model::hash::xx_hash;
use ringway_observe::{ExtensionStats, Registry, SubscriptionStats};

use crate::dynamic::Tally;

/// Counts all of it. For the control thread alone, which is the one writer of these numbers.
pub(crate) fn tally(registry: &Registry, tallies: &[Tally]) {
    for tally in tallies {
        let scope = match tally {
            Tally::Attempt(scope) | Tally::Failure(scope) | Tally::TimedOut(scope) | Tally::Took(scope, _) => scope,
            Tally::Routes(scope, event) => {
                count_routes(registry, scope, *event);
                continue;
            }
            Tally::Answer(Counted { scope, .. }) => scope,
            Tally::LayerFailed => {
                registry.runtime().load_error.add(1);
                continue;
            }
            Tally::Extension(name, event) => {
                count_event(&registry.extension(name), *event);
                continue;
            }
        };
        match scope {
            Scope::Clusters => count(&registry.cds(), tally),
            Scope::Listeners => count(&registry.lds(), tally),
            Scope::Assignment(stat_name) => count_assignment(registry, stat_name, tally),
            Scope::Routes { stat_prefix, name } => count(&registry.rds(stat_prefix, name), tally),
            Scope::Secret(name) => count(&registry.sds(name), tally),
            Scope::Runtime => count(&registry.rtds(), tally),
            Scope::Extension(name) => {
                let events = registry.extension(name);
                count(&registry.ecds(name), tally);
                let is_lost = matches!(tally, Tally::Failure(_) | Tally::TimedOut(_));
                if is_lost || matches!(tally, Tally::Answer(Counted { accepted: None, .. })) {
                    events.config_fail.add(1);
                }
            }
        }
        if let Tally::Answer(Counted { scope, accepted: Some(version) }) = tally
            && let Some(subscription) = subscription(scope)
        {
            registry.tell_version(&subscription, version);
        }
    }
}

/// What a subscription is called whose version is shown as a text. Ten thousand clusters' would be a megabyte of each scrape: theirs
/// are in `/config_dump` alone.
fn subscription(scope: &Scope) -> Option<String> {
    Some(match scope {
        Scope::Clusters => "cluster_manager.cds".to_owned(),
        Scope::Listeners => "listener_manager.lds".to_owned(),
        Scope::Assignment(_) => return None,
        Scope::Routes { stat_prefix, name } => format!("http.{stat_prefix}.rds.{name}"),
        Scope::Secret(name) => format!("sds.{name}"),
        Scope::Runtime => "runtime".to_owned(),
        Scope::Extension(name) => format!("extension_config_discovery.http_filter.{name}"),
    })
}

fn count(stats: &SubscriptionStats, tally: &Tally) {
    match tally {
        Tally::Attempt(_) => stats.update_attempt.add(1),
        Tally::Failure(_) => stats.update_failure.add(1),
        Tally::TimedOut(_) => stats.init_fetch_timeout.add(1),
        Tally::Took(_, took) => stats.update_duration.record(u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
        Tally::Answer(Counted { accepted: None, .. }) => stats.update_rejected.add(1),
        Tally::Answer(Counted { accepted: Some(version), .. }) => {
            stats.update_success.add(1);
            stats.update_time.set(now_ms());
            stats.version.set(number(version));
        }
        Tally::Routes(..) | Tally::Extension(..) | Tally::LayerFailed => {}
    }
}

fn count_routes(registry: &Registry, scope: &Scope, event: RoutesEvent) {
    let Scope::Routes { stat_prefix, name } = scope else { return };
    let stats = registry.route_config(stat_prefix, name);
    match event {
        RoutesEvent::Reload => {
            stats.config_reload.add(1);
            stats.config_reload_time_ms.set(now_ms());
        }
        RoutesEvent::Empty => stats.update_empty.add(1),
    }
}

fn count_event(stats: &ExtensionStats, event: ExtensionEvent) {
    match event {
        ExtensionEvent::Reload => stats.config_reload.add(1),
        ExtensionEvent::Conflict => stats.config_conflict.add(1),
    }
}

/// A cluster's look-ups of either kind are counted under the same names.
fn count_assignment(registry: &Registry, stat_name: &str, tally: &Tally) {
    let (cluster, stats) = (&registry.cluster(stat_name)[0], registry.assignment(stat_name));
    match tally {
        Tally::Attempt(_) => cluster.update_attempt.add(1),
        Tally::Failure(_) => cluster.update_failure.add(1),
        Tally::TimedOut(_) => stats.init_fetch_timeout.add(1),
        Tally::Answer(Counted { accepted: None, .. }) => stats.update_rejected.add(1),
        Tally::Answer(Counted { accepted: Some(version), .. }) => {
            cluster.update_success.add(1);
            stats.update_time.set(now_ms());
            stats.version.set(number(version));
        }
        // Ten thousand clusters would have as many histograms.
        Tally::Took(..) | Tally::Routes(..) | Tally::Extension(..) | Tally::LayerFailed => {}
    }
}

/// A version as a number that is another where the text is: Envoy's hash of it.
fn number(version: &str) -> u64 {
    xx_hash(version.as_bytes(), 0)
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

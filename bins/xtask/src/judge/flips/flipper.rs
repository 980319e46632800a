//! Flips, a hundred times a second; now and then waits until the proxy reports that the last one is in force, and lets the clients
//! ask for a while meanwhile.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::resources::{Kind, VERSION_MAX, endpoint, text};
use super::watch::Watch;
use crate::lab::pace::{pause, wait_for};
use crate::lab::proxy::Proxy;

/// From one flip to the next: a hundred a second.
const BETWEEN: Duration = Duration::from_millis(10);
/// Flips from one report to the next.
const UNREPORTED: u64 = 50;
/// How long nothing moves after a report.
const QUIET: Duration = Duration::from_millis(20);
/// A report takes milliseconds; on a busy machine it may wait for its turn. Longer is one that does not come.
const REPORT_LIMIT: Duration = Duration::from_secs(60);
/// Where it may not come, it is not waited for so long.
const MISSING_LIMIT: Duration = Duration::from_secs(10);

/// How far a run goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Until {
    pub(super) requests: u64,
    pub(super) flips: u64,
    /// It ends then in any case.
    pub(super) limit: Duration,
}

/// By what a proxy reports that a version is in force, beside what its admin server shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reports {
    /// Each version is one commit: the next of `config.generation` reports it.
    pub(super) by_generation: bool,
    /// Only listeners are of one version; what they refer to stays for a while.
    pub(super) by_listeners: bool,
    /// A report that does not come is counted; else it is an error.
    pub(super) may_be_missing: bool,
}

/// What a run of the flipper came to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Flipped {
    pub(super) flips: u64,
    /// Versions that were reported to be in force, with requests that began after that.
    pub(super) reported: u64,
    /// Versions whose report did not come in time.
    pub(super) unreported: u64,
    /// From the last flip before a report to the report, at the longest.
    pub(super) slowest: Duration,
    pub(super) took: Duration,
}

/// Flips from version 1, which is in force, on. `put` puts a version in place.
pub(super) fn flip(
    proxy: &Proxy,
    reports: Reports,
    watch: &Watch,
    until: Until,
    mut put: impl FnMut(u64) -> Result<(), String>,
) -> Result<Flipped, String> {
    let begun = Instant::now();
    let mut flipped = Flipped::default();
    let mut version = 1;
    let mut go = |version: &mut u64| -> Result<(), String> {
        *version += 1;
        watch.written.store(*version, Ordering::SeqCst);
        put(*version)
    };
    let is_over = |version: u64| {
        let enough = watch.answered.load(Ordering::Relaxed) >= until.requests && version > until.flips;
        // A client that is a program of its own may have to begin yet.
        let enough = enough && watch.all_answered();
        enough || begun.elapsed() >= until.limit || version + UNREPORTED > VERSION_MAX
    };
    while !is_over(version) {
        let mut due = Instant::now();
        for _ in 0..UNREPORTED {
            go(&mut version)?;
            due += BETWEEN;
            pause(due.saturating_duration_since(Instant::now()));
        }
        // All is in force when the admin server shows it.
        let waited = Instant::now();
        let mut other = String::new();
        let shown = || shows(proxy, version, reports).map_err(|why| other = why).ok();
        let limit = if reports.may_be_missing { MISSING_LIMIT } else { REPORT_LIMIT };
        match wait_for(&format!("version {version} in /config_dump"), limit, shown) {
            Ok(()) => {
                flipped.slowest = flipped.slowest.max(waited.elapsed());
                watch.committed.store(version, Ordering::SeqCst);
                pause(QUIET);
                flipped.reported += 1;
            }
            Err(why) if reports.may_be_missing => {
                if flipped.unreported == 0 {
                    println!("  {why}; {other}");
                }
                flipped.unreported += 1;
            }
            Err(why) => return Err(format!("{why}; {other}")),
        }
        // Nothing else is on its way: the next generation is the next version's.
        if reports.by_generation {
            let wanted = proxy.stat("config.generation")? + 1;
            let waited = Instant::now();
            go(&mut version)?;
            let reported = || (proxy.stat("config.generation").ok()? >= wanted).then_some(());
            wait_for(&format!("generation {wanted}"), REPORT_LIMIT, reported)?;
            flipped.slowest = flipped.slowest.max(waited.elapsed());
            watch.committed.store(version, Ordering::SeqCst);
            pause(QUIET);
            flipped.reported += 1;
        }
    }
    flipped.flips = version - 1;
    flipped.took = begun.elapsed();
    Ok(flipped)
}

/// Whether the admin server shows all types in this version, and none in another; else what it shows.
fn shows(proxy: &Proxy, version: u64, reports: Reports) -> Result<(), String> {
    for kind in Kind::ALL.into_iter().filter(|kind| *kind == Kind::Listener || !reports.by_listeners) {
        let (list, options) = match kind {
            Kind::Cluster => ("dynamic_active_clusters", ""),
            Kind::Endpoints(_) => ("dynamic_endpoint_configs", "&include_eds"),
            Kind::Listener => ("dynamic_listeners", ""),
            Kind::Routes => ("dynamic_route_configs", ""),
        };
        let text = proxy.admin(&format!("/config_dump?resource={list}{options}"))?;
        let json: Value = serde_json::from_str(&text).map_err(|e| format!("/config_dump is not JSON: {e}"))?;
        if !is_of(&json, kind, version) {
            return Err(format!("{kind:?}: {}", text.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
    }
    Ok(())
}

fn is_of(dump: &Value, kind: Kind, version: u64) -> bool {
    let Some(configs) = dump["configs"].as_array().filter(|configs| !configs.is_empty()) else { return false };
    let wanted = text(version);
    configs.iter().all(|config| match kind {
        Kind::Cluster | Kind::Routes => config["version_info"] == wanted.as_str(),
        // Envoy says the version of the one before where only filter chains are others.
        Kind::Listener => config["active_state"].to_string().contains(&format!("\"server_name\":\"{wanted}\"")),
        // Envoy says no version of them.
        Kind::Endpoints(_) => config.to_string().contains(&format!("\"{}\"", endpoint(version))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_dump_is_of_a_version_when_all_of_it_is() {
        let clusters = json!({"configs": [{"version_info": "00007"}, {"version_info": "00007"}]});
        assert!(is_of(&clusters, Kind::Cluster, 7) && !is_of(&clusters, Kind::Cluster, 8));
        assert!(!is_of(&json!({}), Kind::Routes, 7) && !is_of(&json!({"configs": []}), Kind::Routes, 7));
        let listener =
            json!({"configs": [{"active_state": {"server_name": "00007"}, "warming_state": {"server_name": "00008"}}]});
        assert!(is_of(&listener, Kind::Listener, 7) && !is_of(&listener, Kind::Listener, 8));
        let endpoints = json!({"configs": [{"endpoint_config": {"address": "127.100.100.107"}}]});
        assert!(is_of(&endpoints, Kind::Endpoints(0), 7) && !is_of(&endpoints, Kind::Endpoints(0), 77));
    }
}

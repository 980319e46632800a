//! Network filters before the last one: who may connect, how many, and how often.
//!
//! `connection_limit` and `local_ratelimit` judge a connection when it comes, `rbac` when its peer is known, after the TLS handshake. Limits are the
//! whole process's: permits are leased to cores in slices, tokens are taken from one word.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ringway_model::rbac::{ConnectionFacts, Decision, NetworkRbac, PeerNames};
use ringway_model::{ChainId, ConnectionFilter, ConnectionLimit, ListenerId, RegexCaches, TokenBucket};
use ringway_observe::{ConnectionLimitStats, RateLimitStats, RbacStats, Registry};
use ringway_runtime::Instant;

use crate::arrived::Arrived;
use crate::lease::{Lease, SharedLimit};

/// Where a filter stands.
pub(crate) type FilterKey = (ListenerId, ChainId, usize);

/// What the control side gives a worker for one filter.
#[derive(Clone)]
pub(crate) enum FilterSeed {
    ConnectionLimit(Arc<SharedLimit>, Arc<ConnectionLimitStats>),
    RateLimit(Arc<SharedBucket>, Arc<RateLimitStats>),
    Rbac(Arc<RbacStats>),
}

/// The limits of the whole process, as the control side keeps them over generations.
#[derive(Default)]
pub(crate) struct FilterBook {
    limits: HashMap<FilterKey, Kept<SharedLimit>>,
    /// By filter, or by `share_key`.
    buckets: HashMap<(Result<FilterKey, String>, TokenBucket), Kept<SharedBucket>>,
}

/// What is kept of one of them.
struct Kept<T> {
    shared: Arc<T>,
    /// The generation that is being prepared has it.
    asked: bool,
}

impl<T> Kept<T> {
    fn new(shared: Arc<T>) -> Self {
        Self { shared, asked: true }
    }

    fn ask(&mut self) -> &Arc<T> {
        self.asked = true;
        &self.shared
    }
}

impl FilterBook {
    /// The seeds of one filter, by worker. A limit that changed goes on with the connections that it has; a bucket that changed begins full.
    pub(crate) fn seeds(
        &mut self,
        key: FilterKey,
        filter: &ConnectionFilter,
        registry: &Registry,
        now: Instant,
    ) -> Vec<FilterSeed> {
        match filter {
            ConnectionFilter::ConnectionLimit(config) => {
                let max = u32::try_from(config.connections_max).unwrap_or(u32::MAX);
                let fresh = || SharedLimit::new(max, registry.workers());
                let limit = self.limits.entry(key).or_insert_with(|| Kept::new(fresh())).ask();
                limit.set_max(max);
                let stats = registry.connection_limit(&config.stat_prefix).into_iter();
                stats.map(|stats| FilterSeed::ConnectionLimit(Arc::clone(limit), stats)).collect()
            }
            ConnectionFilter::LocalRateLimit(config) => {
                let whose = if config.share_key.is_empty() { Ok(key) } else { Err(config.share_key.clone()) };
                let fresh = || Arc::new(SharedBucket::new(config.bucket, now));
                let bucket = self.buckets.entry((whose, config.bucket)).or_insert_with(|| Kept::new(fresh())).ask();
                let stats = registry.rate_limit(&config.stat_prefix).into_iter();
                stats.map(|stats| FilterSeed::RateLimit(Arc::clone(bucket), stats)).collect()
            }
            ConnectionFilter::Rbac(config) => {
                registry.rbac(&config.stat_prefix).into_iter().map(FilterSeed::Rbac).collect()
            }
        }
    }

    /// Forgets what nobody asked for since the last time: filters that are gone, and buckets that are others now.
    pub(crate) fn forget_others(&mut self) {
        self.limits.retain(|_, kept| std::mem::take(&mut kept.asked));
        self.buckets.retain(|_, kept| std::mem::take(&mut kept.asked));
    }
}

/// A token bucket that all cores take from: which fill it is, and the tokens that are left, in one word.
pub(crate) struct SharedBucket {
    config: TokenBucket,
    epoch: Instant,
    /// The fill in the upper half.
    state: AtomicU64,
}

impl SharedBucket {
    /// Full.
    fn new(config: TokenBucket, now: Instant) -> Self {
        Self { config, epoch: now, state: AtomicU64::new(u64::from(config.tokens_max)) }
    }

    /// Takes a token, if one is left.
    fn take(&self, now: Instant) -> bool {
        let interval = self.config.fill_interval.as_nanos().max(1);
        let fill = now.saturating_duration_since(self.epoch).as_nanos() / interval;
        let fill = u64::try_from(fill).unwrap_or(u64::MAX).min(u64::from(u32::MAX));
        let taken = self.state.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |state| {
            let (last, left) = (state >> 32, state & u64::from(u32::MAX));
            // A core whose clock is a little behind fills nothing.
            let fills = fill.saturating_sub(last);
            let filled = left.saturating_add(fills.saturating_mul(u64::from(self.config.tokens_per_fill)));
            let left = filled.min(u64::from(self.config.tokens_max)).checked_sub(1)?;
            Some(fill.max(last) << 32 | left)
        });
        taken.is_ok()
    }
}

/// A filter on this core.
pub(crate) enum CoreFilter {
    ConnectionLimit {
        config: Arc<ConnectionLimit>,
        lease: Rc<Lease>,
        shared: Arc<SharedLimit>,
        stats: Arc<ConnectionLimitStats>,
    },
    RateLimit {
        bucket: Arc<SharedBucket>,
        stats: Arc<RateLimitStats>,
    },
    Rbac {
        config: Arc<NetworkRbac>,
        stats: Arc<RbacStats>,
    },
}

impl CoreFilter {
    /// `before`: the filter that stood there in the generation before, whose lease goes on.
    pub(crate) fn new(filter: &ConnectionFilter, seed: &FilterSeed, before: Option<&CoreFilter>) -> Self {
        match (filter, seed) {
            (ConnectionFilter::ConnectionLimit(config), FilterSeed::ConnectionLimit(shared, stats)) => {
                let lease = match before {
                    Some(CoreFilter::ConnectionLimit { lease, shared: known, .. }) if Arc::ptr_eq(known, shared) => {
                        Rc::clone(lease)
                    }
                    _ => Rc::new(Lease::new(Arc::clone(shared))),
                };
                let (config, shared, stats) = (Arc::clone(config), Arc::clone(shared), Arc::clone(stats));
                CoreFilter::ConnectionLimit { config, lease, shared, stats }
            }
            (ConnectionFilter::LocalRateLimit(_), FilterSeed::RateLimit(bucket, stats)) => {
                CoreFilter::RateLimit { bucket: Arc::clone(bucket), stats: Arc::clone(stats) }
            }
            (ConnectionFilter::Rbac(config), FilterSeed::Rbac(stats)) => {
                CoreFilter::Rbac { config: Arc::clone(config), stats: Arc::clone(stats) }
            }
            _ => unreachable!("a seed is its filter's"),
        }
    }
}

/// A connection's place under a limit.
pub(crate) struct Place {
    lease: Rc<Lease>,
    stats: Arc<ConnectionLimitStats>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.lease.release();
        self.stats.active_connections.sub(1);
    }
}

/// A connection is to be closed, after this time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Denied<'f> {
    pub(crate) delay: Option<Duration>,
    pub(crate) by: By<'f>,
}

/// Which filter denied a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By<'f> {
    ConnectionLimit,
    RateLimit,
    /// And what its rules said.
    Rbac(Decision<'f>),
}

/// What the filters say that judge a connection when it comes. Its places are held for as long as it is there.
pub(crate) fn come(filters: &[CoreFilter], now: Instant) -> Result<Vec<Place>, Denied<'_>> {
    let mut places = Vec::new();
    for filter in filters {
        match filter {
            CoreFilter::ConnectionLimit { config, lease, stats, .. } => {
                if !lease.try_acquire() {
                    stats.limited_connections.add(1);
                    return Err(Denied { delay: config.delay, by: By::ConnectionLimit });
                }
                stats.active_connections.add(1);
                places.push(Place { lease: Rc::clone(lease), stats: Arc::clone(stats) });
            }
            CoreFilter::RateLimit { bucket, stats } => {
                if !bucket.take(now) {
                    stats.rate_limited.add(1);
                    return Err(Denied { delay: None, by: By::RateLimit });
                }
            }
            CoreFilter::Rbac { .. } => {}
        }
    }
    Ok(places)
}

/// What the filters say that ask who the peer is.
pub(crate) fn judge<'f>(filters: &'f [CoreFilter], arrived: &Arrived) -> Result<(), Denied<'f>> {
    for filter in filters {
        let CoreFilter::Rbac { config, stats } = filter else { continue };
        let peer = arrived.tls.as_ref().map(|info| info.peer.as_ref().map(|peer| &peer.certificate));
        let certificate = peer.flatten();
        let uris: Vec<&str> = certificate.into_iter().flat_map(|certificate| certificate.uris()).collect();
        let dns_names: Vec<&str> = certificate.into_iter().flat_map(|certificate| certificate.dns_names()).collect();
        let subject = certificate.map_or("", |certificate| certificate.subject.as_str());
        let is_validated = arrived.tls.as_ref().is_some_and(|info| info.validated && info.peer.is_some());
        let facts = ConnectionFacts {
            destination: arrived.local,
            source: arrived.peer,
            direct_source: arrived.direct_peer,
            server_name: arrived.server_name.as_deref().unwrap_or_default().as_bytes(),
            peer: peer.map(|_| PeerNames { uris: &uris, dns_names: &dns_names, subject, is_validated }),
        };
        // Once a connection: what its expressions need is made anew.
        let verdict = config.decide(&facts, &mut RegexCaches::default());
        if let Some(shadow) = verdict.shadow {
            if shadow.allowed { stats.shadow_allowed.add(1) } else { stats.shadow_denied.add(1) }
        }
        if let Some(enforced) = verdict.enforced {
            if !enforced.allowed {
                stats.denied.add(1);
                return Err(Denied { delay: config.delay_deny, by: By::Rbac(enforced) });
            }
            stats.allowed.add(1);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use ringway_model::LocalRateLimit;

    use super::*;

    /// Guards against buckets of configurations that are gone: they would stay for as long as their filter, and come back as they were.
    #[test]
    fn a_bucket_that_changed_begins_full() {
        let (registry, now) = (Registry::new(1), Instant::now());
        for share_key in ["", "shared"] {
            let mut book = FilterBook::default();
            let mut commit = |tokens_max: u32| {
                let bucket = TokenBucket { tokens_max, tokens_per_fill: 1, fill_interval: Duration::from_secs(1) };
                let config = LocalRateLimit { stat_prefix: "r".into(), bucket, share_key: share_key.into() };
                let filter = ConnectionFilter::LocalRateLimit(Arc::new(config));
                let key = (ListenerId(0), ChainId(0), 0);
                let seed = book.seeds(key, &filter, &registry, now).remove(0);
                book.forget_others();
                assert_eq!(book.buckets.len(), 1, "one filter has one bucket");
                let FilterSeed::RateLimit(bucket, _) = seed else { unreachable!("a seed is its filter's") };
                bucket
            };
            let before = commit(2);
            assert!(before.take(now));
            assert!(Arc::ptr_eq(&before, &commit(2)), "what did not change goes on");
            commit(3);
            let again = commit(2);
            assert_eq!((0..5).filter(|_| again.take(now)).count(), 2, "{share_key:?}");
        }
    }

    #[test]
    fn tokens_come_by_fills_and_are_never_more_than_fit() {
        let config = TokenBucket { tokens_max: 3, tokens_per_fill: 2, fill_interval: Duration::from_secs(1) };
        let now = Instant::now();
        let bucket = SharedBucket::new(config, now);
        let at = |ms: u64| now + Duration::from_millis(ms);
        let taken = |ms| (0..10).filter(|_| bucket.take(at(ms))).count();
        for (ms, expect) in [(0, 3), (999, 0), (1000, 2), (1000, 0), (3500, 3), (3400, 0), (4000, 2)] {
            assert_eq!(taken(ms), expect, "{ms}");
        }
    }
}

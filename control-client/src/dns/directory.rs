//! What is known of names: the control thread's own book of DNS clusters.
//!
//! ```text
//!   want ──> warming ──(each cluster has its first answer)──> warm ──> adopt: in force
//!              └──────────────── discard, or the next want ─────────────> gone
//!   expect ──> expected ──(its first answer)──> answered: may be wanted
//! ```
//! Whatever a configuration shares with the one in force keeps its answers: an equal plan under an equal name is followed once.
//!
//! Invariant: what is followed is in force, or warming, or expected.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use ringway_model::{Address, Endpoint};

use super::follow::{Event, FollowId, Follower, Letterbox};
use super::lookup::Outcome;
use super::plan::{DnsHosts, DnsPlan};

/// The DNS clusters of a configuration: by name.
pub type DnsPlans = BTreeMap<String, Arc<DnsPlan>>;

/// What there is to count of one cluster: Envoy's `cluster.<name>.update_*`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Updates {
    /// `update_attempt`: look-ups begun.
    pub attempts: u64,
    /// `update_success`.
    pub successes: u64,
    /// `update_failure`.
    pub failures: u64,
    /// `update_no_rebuild`: successes that changed nothing.
    pub no_rebuilds: u64,
}

/// What has come in for the clusters in force.
#[derive(Debug, Default)]
pub struct Changes {
    /// Clusters with other endpoints than before.
    pub endpoints: BTreeMap<String, Vec<Endpoint>>,
    /// What there is to count, by the clusters' names in statistics.
    pub updates: Vec<(String, Updates)>,
    /// Failures of names that had not failed before: lines for the log.
    pub failures: Vec<String>,
}

/// One cluster being followed.
struct Followed {
    cluster: String,
    plan: Arc<DnsPlan>,
    names: Vec<Known>,
    endpoints: Vec<Endpoint>,
    /// Counted when it is in force: what only warms has no statistics yet.
    uncounted: Updates,
}

/// What is known of one name.
#[derive(Clone, Default)]
struct Known {
    asked: bool,
    failed: bool,
    addresses: Vec<SocketAddr>,
}

impl DnsPlan {
    /// Whether an outcome is a failure: it leaves what is known as it is.
    pub(crate) fn is_failure(&self, outcome: &Outcome) -> bool {
        match outcome {
            Outcome::Failed(_) => true,
            // Envoy: a LOGICAL_DNS cluster keeps its last address when there is none any more.
            Outcome::Found { addresses, .. } => self.hosts == DnsHosts::One && addresses.is_empty(),
        }
    }
}

impl Followed {
    /// A configuration need not wait for it any more: some endpoint is known, or all names have been asked for.
    fn is_warm(&self) -> bool {
        !self.plan.waits || !self.endpoints.is_empty() || self.names.iter().all(|name| name.asked)
    }

    /// Whether the endpoints changed.
    fn learn(&mut self, name: usize, outcome: &Outcome, failures: &mut Vec<String>) -> bool {
        let updates = &mut self.uncounted;
        let (known, rules) = (&mut self.names[name], &self.plan.names[name]);
        let failed = self.plan.is_failure(outcome);
        if failed && !known.failed {
            let why = match outcome {
                Outcome::Failed(why) => why.as_str(),
                Outcome::Found { .. } => "it has no address",
            };
            failures.push(format!("cluster '{}': cannot look up {}: {why}", self.cluster, rules.name));
        }
        (known.asked, known.failed) = (true, failed);
        let addresses = match outcome {
            Outcome::Found { addresses, .. } if !failed => addresses,
            _ => {
                updates.failures += 1;
                return false;
            }
        };
        updates.successes += 1;
        let mut found: Vec<SocketAddr> = addresses.iter().map(|ip| SocketAddr::new(*ip, rules.port)).collect();
        // Answers come in any order: what stays keeps its place. Of one endpoint the first address matters.
        let moved = self.plan.hosts == DnsHosts::One && found.first() != known.addresses.first();
        let stays: Vec<SocketAddr> = match moved {
            true => Vec::new(),
            false => known.addresses.iter().copied().filter(|address| found.contains(address)).collect(),
        };
        found.retain(|address| !stays.contains(address));
        let changed = !found.is_empty() || stays.len() != known.addresses.len();
        known.addresses = stays.into_iter().chain(found).collect();
        if changed {
            self.endpoints = self.endpoints();
        } else {
            updates.no_rebuilds += 1;
        }
        changed
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        if self.plan.hosts == DnsHosts::One {
            // The name is one endpoint, whatever addresses it has.
            let all = self.names.iter().zip(&self.plan.names).filter_map(|(known, rules)| {
                let address = (*known.addresses.first()?).into();
                let attempts = self.plan.eyeballs.order(&known.addresses);
                Some(Endpoint { address, attempts, ..rules.endpoint.clone() })
            });
            return all.collect();
        }
        let mut endpoints: Vec<Endpoint> = Vec::new();
        for (known, rules) in self.names.iter().zip(&self.plan.names) {
            for address in &known.addresses {
                // Two names with one address are one endpoint, the first's.
                if endpoints.iter().all(|endpoint| endpoint.address != Address::Ip(*address)) {
                    endpoints.push(Endpoint { address: (*address).into(), ..rules.endpoint.clone() });
                }
            }
        }
        endpoints
    }
}

/// See the module.
pub struct Directory {
    letterbox: Letterbox,
    /// Started by the first cluster that needs it.
    follower: Option<Follower>,
    followed: BTreeMap<FollowId, Followed>,
    next: FollowId,
    in_force: BTreeMap<String, FollowId>,
    warming: Option<BTreeMap<String, FollowId>>,
    /// Clusters that are in no configuration yet.
    expected: BTreeMap<String, FollowId>,
}

impl Directory {
    /// An empty one. `ring` is called, on a thread of the directory's own, when there is something for [`Directory::take`].
    pub fn new(ring: impl Fn() + Send + Sync + 'static) -> Directory {
        Directory {
            letterbox: Letterbox::new(ring),
            follower: None,
            followed: BTreeMap::new(),
            next: 0,
            in_force: BTreeMap::new(),
            warming: None,
            expected: BTreeMap::new(),
        }
    }

    /// Begins to warm the clusters of a configuration that is not in force yet, in place of any other that was warming.
    ///
    /// # Errors
    /// The thread that asks could not be started.
    pub fn want(&mut self, plans: &DnsPlans) -> io::Result<()> {
        self.warming = Some(self.follow_all(plans)?);
        self.forget();
        Ok(())
    }

    /// Looks up the names of clusters that are to be in a configuration once these are known: of these and no others.
    ///
    /// # Errors
    /// As [`Directory::want`].
    pub fn expect(&mut self, plans: &DnsPlans) -> io::Result<()> {
        if plans.is_empty() && self.expected.is_empty() {
            return Ok(());
        }
        self.expected = self.follow_all(plans)?;
        self.forget();
        Ok(())
    }

    /// Of the expected ones those that may be wanted now: some endpoint is known, or all names have been asked for.
    pub fn answered(&self) -> DnsPlans {
        let answered = self.expected.iter().map(|(cluster, id)| (cluster, &self.followed[id]));
        let answered = answered.filter(|(_, followed)| followed.is_warm());
        answered.map(|(cluster, followed)| (cluster.clone(), followed.plan.clone())).collect()
    }

    fn follow_all(&mut self, plans: &DnsPlans) -> io::Result<BTreeMap<String, FollowId>> {
        if !plans.is_empty() && self.follower.is_none() {
            self.follower = Some(Follower::start(self.letterbox.clone())?);
        }
        let ids = plans.iter().map(|(cluster, plan)| {
            let known = [Some(&self.in_force), self.warming.as_ref(), Some(&self.expected)];
            let known = known.into_iter().flatten().filter_map(|clusters| clusters.get(cluster)).copied();
            let mut known = known.filter(|id| self.followed.get(id).is_some_and(|followed| followed.plan == *plan));
            (cluster.clone(), known.next(), plan)
        });
        let ids: Vec<_> = ids.collect();
        Ok(ids
            .into_iter()
            .map(|(cluster, id, plan)| {
                let id = id.unwrap_or_else(|| self.follow(&cluster, plan));
                (cluster, id)
            })
            .collect())
    }

    fn follow(&mut self, cluster: &str, plan: &Arc<DnsPlan>) -> FollowId {
        self.next += 1;
        let names = vec![Known::default(); plan.names.len()];
        let followed = Followed {
            cluster: cluster.to_owned(),
            plan: plan.clone(),
            names,
            endpoints: Vec::new(),
            uncounted: Updates::default(),
        };
        self.followed.insert(self.next, followed);
        self.follower.as_ref().expect("started above").follow(self.next, plan);
        self.next
    }

    /// Lets go of what is neither in force nor warming nor expected.
    fn forget(&mut self) {
        let sets = [Some(&self.in_force), self.warming.as_ref(), Some(&self.expected)];
        let all: HashSet<FollowId> = sets.into_iter().flatten().flat_map(BTreeMap::values).copied().collect();
        let follower = &self.follower;
        self.followed.retain(|id, _| {
            let kept = all.contains(id);
            if !kept && let Some(follower) = follower {
                follower.forget(*id);
            }
            kept
        });
        if self.followed.is_empty() {
            self.follower = None;
        }
    }

    /// Whether the configuration that warms may take effect. `None`: there is none.
    pub fn is_warm(&self) -> Option<bool> {
        let warming = self.warming.as_ref()?;
        Some(warming.values().all(|id| self.followed[id].is_warm()))
    }

    /// The endpoints of the clusters that warm, as far as they are known.
    pub fn endpoints(&self) -> BTreeMap<String, Vec<Endpoint>> {
        let warming = self.warming.iter().flatten();
        warming.map(|(cluster, id)| (cluster.clone(), self.followed[id].endpoints.clone())).collect()
    }

    /// The configuration that warmed is in force.
    pub fn adopt(&mut self) {
        if let Some(warm) = self.warming.take() {
            self.in_force = warm;
            self.forget();
        }
    }

    /// The configuration that warmed came to nothing.
    pub fn discard(&mut self) {
        self.warming = None;
        self.forget();
    }

    /// Takes in what has come since the last call.
    pub fn take(&mut self) -> Changes {
        let mut changes = Changes::default();
        for news in self.letterbox.take() {
            let Some(followed) = self.followed.get_mut(&news.id) else { continue };
            let changed = match news.event {
                Event::Asked => {
                    followed.uncounted.attempts += 1;
                    false
                }
                Event::Answered { name, outcome } => followed.learn(name, &outcome, &mut changes.failures),
            };
            if changed && self.in_force.get(&followed.cluster) == Some(&news.id) {
                changes.endpoints.insert(followed.cluster.clone(), followed.endpoints.clone());
            }
        }
        for id in self.in_force.values() {
            let followed = self.followed.get_mut(id).expect("what is in force is followed");
            let updates = std::mem::take(&mut followed.uncounted);
            if updates != Updates::default() {
                changes.updates.push((followed.plan.stat_name.clone(), updates));
            }
        }
        changes
    }
}

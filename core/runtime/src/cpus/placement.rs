//! How many workers, on which CPUs, and why: a decision over what is wished for and what the host has.
//!
//! Pure. Invariant: without a wish, workers never outnumber the CPUs of the process, nor the whole CPUs of its quota
//! (docs/decisions/0009-workers-under-a-quota.md).

use super::{Host, list};

/// Whether workers are tied to their CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pin {
    /// Where the CPUs were named, or are the process's alone.
    #[default]
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// What the owner asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// One worker on each of these, in this order; empty: not said.
    pub cpus: Vec<usize>,
    /// The number of workers.
    pub concurrency: Option<usize>,
    /// Whether they are tied to their CPUs.
    pub pin: Pin,
    /// Where all other threads run; empty: not said.
    pub housekeeping: Vec<usize>,
}

/// How many workers and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// One entry per worker, at least one: the CPU that it is tied to.
    pub workers: Vec<Option<usize>>,
    /// Why this many.
    pub reason: String,
    /// Why they are tied to CPUs, or not.
    pub pinning: String,
    /// What the owner should know of this placement, a sentence each.
    pub notes: Vec<String>,
}

impl Placement {
    /// Decides.
    ///
    /// # Errors
    /// A named CPU is not the process's, or none is left for the workers.
    pub fn new(wishes: &Wishes, host: &Host) -> Result<Placement, String> {
        for (what, cpus) in [("cpus", &wishes.cpus), ("housekeeping-cpus", &wishes.housekeeping)] {
            if let Some(cpu) = cpus.iter().find(|cpu| !host.affinity.contains(cpu)) {
                return Err(format!("--{what}: this process may not use CPU {cpu}"));
            }
        }
        let candidates = candidates(wishes, host);
        let (count, reason) = count(wishes, host, candidates.len().max(1));
        let (pinned, pinning) = pinning(wishes, host);
        if pinned && candidates.is_empty() {
            return Err(format!("no CPU is left for the workers ({pinning})"));
        }
        let cpu = |worker: usize| if pinned { Some(candidates[worker % candidates.len()]) } else { None };
        let workers = (0..count).map(cpu).collect();
        let mut placement = Placement { workers, reason, pinning, notes: vec![] };
        placement.notes = placement.notes_on(wishes, host);
        Ok(placement)
    }

    /// The CPUs that workers are tied to, each once.
    pub fn cpus(&self) -> Vec<usize> {
        let mut cpus: Vec<usize> = self.workers.iter().flatten().copied().collect();
        cpus.sort_unstable();
        cpus.dedup();
        cpus
    }

    fn notes_on(&self, wishes: &Wishes, host: &Host) -> Vec<String> {
        let mut notes = Vec::new();
        let (cpus, count) = (self.cpus(), self.workers.len());
        let places = if cpus.is_empty() { host.affinity.len() } else { cpus.len() };
        if count > places {
            notes.push(format!("{count} workers share {places} CPUs: each waits for the others; ask for {places}"));
        }
        if let Some(quota) = host.quota.filter(|quota| count as f64 > *quota && count > 1) {
            notes.push(format!(
                "{count} busy workers use up the quota of {quota} CPUs before its period ends and stand still for the rest: \
                 ask for {}",
                workers_fed(quota)
            ));
        }
        for core in &host.topology.cores {
            let shared: Vec<usize> = core.iter().copied().filter(|cpu| cpus.contains(cpu)).collect();
            if shared.len() > 1 {
                notes.push(format!(
                    "CPUs {} are siblings on one core (SMT): workers there share its units",
                    list::format(&shared)
                ));
            }
        }
        let mut nodes: Vec<usize> = cpus.iter().filter_map(|cpu| host.topology.node_of(*cpu)).collect();
        nodes.sort_unstable();
        nodes.dedup();
        if nodes.len() > 1 {
            notes.push(format!(
                "workers are on NUMA nodes {}: what they share crosses between them",
                list::format(&nodes)
            ));
        }
        if cpus.is_empty() && wishes.pin == Pin::Auto && host.affinity.len() < host.topology.online.len() {
            notes.push(format!(
                "the process has {} of {} CPUs: if they are its own (Kubernetes' static CPU manager), use --pin on",
                host.affinity.len(),
                host.topology.online.len()
            ));
        }
        notes
    }
}

/// The CPUs for workers, best first.
fn candidates(wishes: &Wishes, host: &Host) -> Vec<usize> {
    if !wishes.cpus.is_empty() {
        return wishes.cpus.clone();
    }
    let free: Vec<usize> = host.affinity.iter().copied().filter(|cpu| !wishes.housekeeping.contains(cpu)).collect();
    host.topology.spread(&free)
}

fn count(wishes: &Wishes, host: &Host, candidates: usize) -> (usize, String) {
    if let Some(count) = wishes.concurrency.filter(|count| *count > 0) {
        return (count, "asked for".into());
    }
    if !wishes.cpus.is_empty() {
        return (candidates, "asked for by CPU list".into());
    }
    match host.quota {
        Some(quota) if workers_fed(quota) < candidates => (workers_fed(quota), format!("a CPU quota of {quota}")),
        _ => (candidates, format!("{candidates} CPUs may be used")),
    }
}

/// The workers that a quota feeds without a stop: its whole CPUs, and at least one. What is left over is for the other threads.
fn workers_fed(quota: f64) -> usize {
    (quota.floor() as usize).max(1)
}

fn pinning(wishes: &Wishes, host: &Host) -> (bool, String) {
    let isolated = !host.affinity.is_empty() && host.affinity.iter().all(|cpu| host.topology.isolated.contains(cpu));
    match (wishes.pin, host.exclusive) {
        (Pin::Off, _) => (false, "not tied to CPUs: --pin off".into()),
        (Pin::On, _) => (true, "--pin on".into()),
        (Pin::Auto, _) if !wishes.cpus.is_empty() => (true, "--cpus".into()),
        (Pin::Auto, Some(why)) => (true, why.into()),
        // The kernel would leave all workers on the one CPU where they began.
        (Pin::Auto, None) if isolated => (true, "all CPUs are isolated from balancing".into()),
        // Tying workers to CPUs that others use, too, costs more than it gives.
        (Pin::Auto, None) => (false, "not tied to CPUs: others may use them, too".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpus::Topology;
    use crate::cpus::tests::{FakeRoot, TWO_NODES};

    fn host(affinity: &[usize]) -> Host {
        let topology = Topology { online: vec![0, 1, 2, 3], ..Topology::default() };
        Host { affinity: affinity.to_vec(), topology, ..Host::default() }
    }

    #[track_caller]
    fn check(wishes: &Wishes, host: &Host, workers: &[Option<usize>], says: &str) -> Placement {
        let placement = Placement::new(wishes, host).expect("a placement");
        assert_eq!(placement.workers, workers, "{wishes:?} {host:?}");
        let Placement { reason, pinning, notes, .. } = &placement;
        let all = format!("{reason}; {pinning}; {}", notes.join("; "));
        assert!(all.contains(says), "{all}");
        placement
    }

    fn wishes(cpus: &[usize], concurrency: usize, pin: Pin, housekeeping: &[usize]) -> Wishes {
        let concurrency = (concurrency > 0).then_some(concurrency);
        Wishes { cpus: cpus.to_vec(), concurrency, pin, housekeeping: housekeeping.to_vec() }
    }

    #[test]
    fn counts() {
        let four = host(&[0, 1, 2, 3]);
        let none = [None; 4];
        check(&Wishes::default(), &four, &none, "4 CPUs may be used; not tied to CPUs: others may");
        check(&wishes(&[], 3, Pin::Auto, &[]), &four, &none[..3], "asked for");
        check(&wishes(&[], 0, Pin::Auto, &[0]), &four, &none[..3], "3 CPUs may be used");
        check(&wishes(&[], 6, Pin::Auto, &[]), &four, &[None; 6], "6 workers share 4 CPUs");
        let quota = |quota: f64| Host { quota: Some(quota), ..four.clone() };
        for (cpus, workers) in [(0.2, 1), (1.0, 1), (1.5, 1), (1.99, 1), (2.0, 2), (3.5, 3), (64.0, 4)] {
            check(&Wishes::default(), &quota(cpus), &none[..workers], "");
        }
        check(&Wishes::default(), &quota(1.5), &none[..1], "a CPU quota of 1.5");
        check(&wishes(&[], 3, Pin::Auto, &[]), &quota(1.5), &none[..3], "use up the quota of 1.5 CPUs");
        check(&wishes(&[1, 3], 0, Pin::Auto, &[]), &quota(1.0), &[Some(1), Some(3)], "ask for 1");
    }

    #[test]
    fn homes() {
        let four = host(&[0, 1, 2, 3]);
        check(&wishes(&[3, 1], 0, Pin::Auto, &[0]), &four, &[Some(3), Some(1)], "asked for by CPU list; --cpus");
        check(&wishes(&[3, 1], 3, Pin::Auto, &[0]), &four, &[Some(3), Some(1), Some(3)], "3 workers share 2 CPUs");
        check(&wishes(&[3, 1], 0, Pin::Off, &[]), &four, &[None, None], "--pin off");
        check(&wishes(&[], 2, Pin::On, &[0]), &four, &[Some(1), Some(2)], "--pin on");
        let own = Host { exclusive: Some("the cpuset is a partition root"), ..host(&[2, 3]) };
        check(&Wishes::default(), &own, &[Some(2), Some(3)], "2 CPUs may be used; the cpuset is a partition root");
        check(&wishes(&[], 0, Pin::Off, &[]), &own, &[None, None], "--pin off");
        check(&Wishes::default(), &host(&[2, 3]), &[None, None], "the process has 2 of 4 CPUs: if they are its own");
    }

    #[test]
    fn siblings_nodes_and_isolation_are_seen() {
        let root = FakeRoot::new("placement", TWO_NODES);
        let host = |affinity: &[usize]| Host::read(&root.0, affinity.to_vec());
        let pinned = wishes(&[], 0, Pin::On, &[]);
        check(&pinned, &host(&[0, 1, 2, 3]), &[Some(0), Some(1), Some(2), Some(3)], "NUMA nodes 0-1");
        check(&pinned, &host(&[0, 2]), &[Some(0), Some(2)], "CPUs 0,2 are siblings on one core");
        let apart = check(&wishes(&[], 2, Pin::On, &[]), &host(&[0, 2, 1]), &[Some(0), Some(1)], "NUMA");
        assert!(!apart.notes.iter().any(|note| note.contains("siblings")), "{apart:?}");
        check(&Wishes::default(), &host(&[3]), &[Some(3)], "all CPUs are isolated from balancing");
        check(&Wishes::default(), &host(&[2, 3]), &[None, None], "others may use them");
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        let four = host(&[0, 1, 2, 3]);
        for (wishes, says) in [
            (wishes(&[4], 0, Pin::Auto, &[]), "--cpus: this process may not use CPU 4"),
            (wishes(&[], 0, Pin::Auto, &[9]), "--housekeeping-cpus: this process"),
            (wishes(&[], 0, Pin::On, &[0, 1, 2, 3]), "no CPU is left"),
        ] {
            let error = Placement::new(&wishes, &four).expect_err(says);
            assert!(error.contains(says), "{error}");
        }
    }
}

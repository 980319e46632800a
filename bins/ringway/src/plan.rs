//! Which CPUs the threads run on. The runtime decides how many workers there are and where; here the options are put to
//! it, and what it says is put into words.

use std::fmt;

use ringway_runtime::cpus::{self, Host, Placement, Topology, Wishes};

use crate::args::Tuning;

/// Who runs where.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The workers.
    pub(crate) placement: Placement,
    /// How the host's CPUs lie.
    pub(crate) topology: Topology,
    /// Where the other threads run; empty: anywhere.
    housekeeping: Vec<usize>,
}

impl Plan {
    /// The plan for these options on this host.
    ///
    /// # Errors
    /// A list is none, or names a CPU that the process may not use.
    pub(crate) fn new(tuning: &Tuning) -> Result<Plan, String> {
        let host = Host::here().map_err(|error| format!("the CPUs of this process are not known: {error}"))?;
        Self::on(tuning, host)
    }

    /// The plan for these options on a host.
    ///
    /// # Errors
    /// As for [`Plan::new`].
    pub(crate) fn on(tuning: &Tuning, host: Host) -> Result<Plan, String> {
        let list = |flag: &str, text: &Option<String>| -> Result<Vec<usize>, String> {
            let Some(text) = text else { return Ok(vec![]) };
            cpus::parse(text).map_err(|error| format!("--{flag}: {error}"))
        };
        let wishes = Wishes {
            cpus: list("cpus", &tuning.cpus)?,
            concurrency: tuning.concurrency,
            pin: tuning.pin,
            housekeeping: list("housekeeping-cpus", &tuning.housekeeping_cpus)?,
        };
        let placement = Placement::new(&wishes, &host)?;
        Ok(Plan { placement, topology: host.topology, housekeeping: wishes.housekeeping })
    }

    /// Ties the calling thread, and those that it starts from now on, to the housekeeping CPUs.
    ///
    /// # Errors
    /// The kernel refuses them.
    pub(crate) fn keep_house(&self) -> Result<(), String> {
        if self.housekeeping.is_empty() {
            return Ok(());
        }
        cpus::pin_current_thread_to(&self.housekeeping).map_err(|error| format!("--housekeeping-cpus: {error}"))
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Placement { workers, reason, pinning, .. } = &self.placement;
        write!(f, "workers: {} ({reason})", workers.len())?;
        let pinned: Vec<String> = workers.iter().flatten().map(ToString::to_string).collect();
        if pinned.is_empty() {
            write!(f, ", {pinning}")?;
        } else {
            write!(f, ", on CPUs {} ({pinning})", pinned.join(","))?;
        }
        if !self.housekeeping.is_empty() {
            write!(f, "; other threads on CPUs {}", cpus::format(&self.housekeeping))?;
        }
        for (node, cpus) in &self.topology.nodes {
            let here: Vec<usize> = self.placement.cpus().into_iter().filter(|cpu| cpus.contains(cpu)).collect();
            if !here.is_empty() {
                write!(f, "; NUMA node {node}: {}", cpus::format(&here))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::tests::tuning;

    #[track_caller]
    fn check(cpus: &str, housekeeping: &str, expect: Result<&str, &str>) {
        let flag = |name: &str, list: &str| if list.is_empty() { String::new() } else { format!("--{name} {list} ") };
        let tuning = tuning(&(flag("cpus", cpus) + &flag("housekeeping-cpus", housekeeping)));
        let topology = Topology { nodes: vec![(0, vec![0, 1]), (1, vec![2, 3])], ..Topology::default() };
        let host = Host { affinity: vec![0, 1, 2, 3], quota: Some(2.5), exclusive: None, topology };
        let found = Plan::on(&tuning, host).map(|plan| plan.to_string());
        match expect {
            Ok(line) => assert_eq!(found.as_deref(), Ok(line)),
            Err(part) => assert!(found.as_ref().is_err_and(|error| error.contains(part)), "{found:?}"),
        }
    }

    #[test]
    fn a_plan_in_words() {
        check("", "", Ok("workers: 2 (a CPU quota of 2.5), not tied to CPUs: others may use them, too"));
        check(
            "3,1",
            "0,2",
            Ok("workers: 2 (asked for by CPU list), on CPUs 3,1 (--cpus); other threads on CPUs 0,2; NUMA node 0: 1; \
                NUMA node 1: 3"),
        );
    }

    #[test]
    fn what_is_no_list_is_refused_by_its_flag() {
        check("x", "", Err("--cpus: "));
        check("", "1-0", Err("--housekeeping-cpus: "));
        check("4", "", Err("--cpus: this process may not use CPU 4"));
    }
}

//! How the host's CPUs lie: which are siblings on one core (SMT), which NUMA node each belongs to, which the kernel keeps
//! free of ordinary work.
//!
//! Reads /sys/devices/system under a root path. What is not there is not known, and nothing depends on it but words and order.

use std::fs;
use std::path::Path;

use super::list;

/// The host's CPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    /// Those that run.
    pub online: Vec<usize>,
    /// Those that the kernel does not balance load over (isolcpus=).
    pub isolated: Vec<usize>,
    /// Those without a timer tick while one thread runs (nohz_full=).
    pub nohz_full: Vec<usize>,
    /// NUMA nodes with CPUs: their number, and their CPUs.
    pub nodes: Vec<(usize, Vec<usize>)>,
    /// Cores with more than one CPU.
    pub cores: Vec<Vec<usize>>,
}

impl Topology {
    /// Reads it from below `root`, which is `/` in life.
    pub fn read(root: &Path) -> Topology {
        let devices = root.join("sys/devices/system");
        // A file without CPUs is empty, or says "(null)".
        let cpus = |file: &str| {
            let text = fs::read_to_string(devices.join(file)).unwrap_or_default();
            list::parse(&text).unwrap_or_default()
        };
        let online = cpus("cpu/online");
        let mut cores: Vec<Vec<usize>> =
            online.iter().map(|cpu| cpus(&format!("cpu/cpu{cpu}/topology/thread_siblings_list"))).collect();
        cores.retain(|core| core.len() > 1);
        cores.sort_unstable();
        cores.dedup();
        let nodes = cpus("node/online").into_iter().map(|node| (node, cpus(&format!("node/node{node}/cpulist"))));
        let nodes = nodes.filter(|(_, cpus)| !cpus.is_empty()).collect();
        Topology { isolated: cpus("cpu/isolated"), nohz_full: cpus("cpu/nohz_full"), online, nodes, cores }
    }

    /// The NUMA node of a CPU.
    pub fn node_of(&self, cpu: usize) -> Option<usize> {
        self.nodes.iter().find(|(_, cpus)| cpus.contains(&cpu)).map(|(node, _)| *node)
    }

    /// The other CPUs of its core.
    pub fn siblings_of(&self, cpu: usize) -> Vec<usize> {
        let core = self.cores.iter().find(|core| core.contains(&cpu));
        core.map_or(vec![], |core| core.iter().copied().filter(|other| *other != cpu).collect())
    }

    /// The same CPUs, so that each core comes once before any comes twice.
    pub(super) fn spread(&self, cpus: &[usize]) -> Vec<usize> {
        let nth_of_core = |index: usize| {
            let siblings = self.siblings_of(cpus[index]);
            cpus[..index].iter().filter(|before| siblings.contains(before)).count()
        };
        let mut ranked: Vec<(usize, usize)> = (0..cpus.len()).map(|index| (nth_of_core(index), cpus[index])).collect();
        ranked.sort_by_key(|(rank, _)| *rank); // Stable: the order within a round stays.
        ranked.into_iter().map(|(_, cpu)| cpu).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpus::tests::{FakeRoot, TWO_NODES};

    #[test]
    fn a_machine_with_two_nodes_and_siblings() {
        let topology = Topology::read(&FakeRoot::new("two-nodes", TWO_NODES).0);
        assert_eq!(topology.online, [0, 1, 2, 3]);
        assert_eq!(topology.nodes, [(0, vec![0, 2]), (1, vec![1, 3])]);
        assert_eq!(topology.cores, [vec![0, 2], vec![1, 3]]);
        assert_eq!((topology.isolated.as_slice(), topology.nohz_full.as_slice()), (&[3][..], &[][..]));
        assert_eq!((topology.node_of(3), topology.node_of(9)), (Some(1), None));
        assert_eq!((topology.siblings_of(0), topology.siblings_of(9)), (vec![2], vec![]));
        assert_eq!(topology.spread(&[0, 2, 1, 3]), [0, 1, 2, 3]);
        assert_eq!(topology.spread(&[2, 0]), [2, 0]);
    }

    #[test]
    fn a_machine_that_says_nothing() {
        assert_eq!(Topology::read(&FakeRoot::new("silent", &[]).0), Topology::default());
    }
}

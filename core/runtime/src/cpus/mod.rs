//! Which CPUs there are for this process, how many workers that makes and where, and pinning a thread.
//!
//! The files of /proc and /sys come in under a root path, so that tests can bring their own. Nothing here runs while
//! traffic does.

mod affinity;
mod cgroup;
mod list;
mod placement;
mod topology;

pub use affinity::{affinity, pin_current_thread, pin_current_thread_to};
pub use cgroup::{exclusive, quota};
pub use list::{CpuListError, format, parse};
pub use placement::{Pin, Placement, Wishes};
pub use topology::Topology;

use std::io;
use std::path::Path;

/// What decides how many workers there are and where: the process's CPUs on this host.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Host {
    /// The CPUs that this thread may run on: affinity and cpuset.
    pub affinity: Vec<usize>,
    /// CPU time for each unit of time, `None` without a limit.
    pub quota: Option<f64>,
    /// Why the cpuset is the process's own, where it is.
    pub exclusive: Option<&'static str>,
    /// How the CPUs lie.
    pub topology: Topology,
}

impl Host {
    /// This host, for the calling thread. Errors: those of sched_getaffinity(2).
    pub fn here() -> io::Result<Host> {
        Ok(Host::read(Path::new("/"), affinity()?))
    }

    /// A host whose files lie below `root`.
    pub fn read(root: &Path, affinity: Vec<usize>) -> Host {
        let topology = Topology::read(root);
        let exclusive = exclusive(root, &topology.online);
        Host { affinity, quota: quota(root), exclusive, topology }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    /// A folder with the files of a host, gone when dropped.
    pub(crate) struct FakeRoot(pub(crate) PathBuf);

    impl FakeRoot {
        pub(crate) fn new(name: &str, files: &[(&str, &str)]) -> FakeRoot {
            let thread = format!("{:?}", std::thread::current().id());
            let root = std::env::temp_dir().join(format!("ringway-host-{}-{name}-{thread}", std::process::id()));
            for (path, text) in files {
                let path = root.join(path);
                fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a temporary folder");
                fs::write(path, text).expect("a temporary file");
            }
            FakeRoot(root)
        }
    }

    impl Drop for FakeRoot {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    /// Two nodes of one core each, each core of two CPUs.
    pub(crate) const TWO_NODES: &[(&str, &str)] = &[
        ("sys/devices/system/cpu/online", "0-3\n"),
        ("sys/devices/system/cpu/isolated", "3\n"),
        ("sys/devices/system/cpu/nohz_full", "(null)\n"),
        ("sys/devices/system/cpu/cpu0/topology/thread_siblings_list", "0,2\n"),
        ("sys/devices/system/cpu/cpu1/topology/thread_siblings_list", "1,3\n"),
        ("sys/devices/system/cpu/cpu2/topology/thread_siblings_list", "0,2\n"),
        ("sys/devices/system/cpu/cpu3/topology/thread_siblings_list", "1,3\n"),
        ("sys/devices/system/node/online", "0-1\n"),
        ("sys/devices/system/node/node0/cpulist", "0,2\n"),
        ("sys/devices/system/node/node1/cpulist", "1,3\n"),
    ];
}

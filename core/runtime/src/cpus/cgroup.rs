//! What the process's control groups say of its CPUs: the quota (v1 and v2) and whether the cpuset is its own.
//!
//! A file that is missing or unreadable says nothing: no limit, not exclusive.

use std::fs;
use std::path::{Path, PathBuf};

use super::list;

/// The version of the control groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// The folders of the process's own group and of all above it, innermost first, for each hierarchy with this controller.
///
/// A container without a cgroup namespace names its group by the host's path, and sees it mounted as the root: the root of the
/// mount stands for that.
fn groups(root: &Path, controller: &str) -> Vec<(Version, Vec<PathBuf>)> {
    let base = root.join("sys/fs/cgroup");
    let text = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let mut found = Vec::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(group)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let (version, mounts) = if controllers.is_empty() {
            (Version::Two, [base.clone(), base.join("unified")])
        } else if controllers.split(',').any(|name| name == controller) {
            (Version::One, [base.join(controllers), base.join(controller)])
        } else {
            continue;
        };
        for mount in mounts {
            let ancestors = Path::new(group.trim_start_matches('/')).ancestors();
            found.push((version, ancestors.map(|group| mount.join(group)).filter(|folder| folder.is_dir()).collect()));
        }
    }
    found
}

/// CPU time that the process may use for each unit of time: 1.5 is one and a half CPUs. `None` without a limit.
///
/// Reads `proc/self/cgroup` and the controllers under `sys/fs/cgroup` below `root` (`/` in life), v2 and v1, the process's own group
/// and all above it: the tightest counts (cgroup-v2.rst, cpu.max; sched-bwc.rst, cpu.cfs_quota_us).
pub fn quota(root: &Path) -> Option<f64> {
    let limits = groups(root, "cpu")
        .into_iter()
        .flat_map(|(version, folders)| folders.into_iter().filter_map(move |folder| limit_of(&folder, version)));
    limits.reduce(f64::min)
}

fn limit_of(group: &Path, version: Version) -> Option<f64> {
    let (quota, period): (f64, f64) = match version {
        Version::Two => {
            let text = fs::read_to_string(group.join("cpu.max")).ok()?;
            let mut words = text.split_whitespace();
            (words.next()?.parse().ok()?, words.next()?.parse().ok()?)
        }
        Version::One => {
            let number = |name: &str| fs::read_to_string(group.join(name)).ok()?.trim().parse().ok();
            (number("cpu.cfs_quota_us")?, number("cpu.cfs_period_us")?)
        }
    };
    (quota > 0.0 && period > 0.0).then_some(quota / period)
}

/// Why the CPUs of the process's cpuset are its group's alone; `None` where others may run there, too, or nothing says so.
///
/// v2: a valid partition (`cpuset.cpus.partition`: root or isolated). `cpuset.cpus.exclusive` alone is not used by the kernel
/// (cgroup-v2.rst), so it is not used here. v1: `cpuset.cpu_exclusive`, which the root group always has: there must be CPUs
/// outside it (cpuset(7)).
pub fn exclusive(root: &Path, online: &[usize]) -> Option<&'static str> {
    groups(root, "cpuset").into_iter().find_map(|(version, folders)| {
        let own = folders.first()?;
        let file = |name: &str| fs::read_to_string(own.join(name)).unwrap_or_default();
        match version {
            Version::Two => match file("cpuset.cpus.partition").trim() {
                "root" => Some("the cpuset is a partition root"),
                "isolated" => Some("the cpuset is an isolated partition"),
                _ => None,
            },
            Version::One => {
                let cpus = list::parse(&file("cpuset.cpus")).ok()?;
                let exclusive = file("cpuset.cpu_exclusive").trim() == "1" && cpus.len() < online.len();
                exclusive.then_some("cpuset.cpu_exclusive is set")
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpus::tests::FakeRoot;

    #[track_caller]
    fn check_quota(name: &str, files: &[(&str, &str)], expect: Option<f64>) {
        assert_eq!(quota(&FakeRoot::new(name, files).0), expect, "{name}");
    }

    #[test]
    fn quotas() {
        check_quota("none", &[], None);
        check_quota("v2-max", &[("proc/self/cgroup", "0::/a\n"), ("sys/fs/cgroup/a/cpu.max", "max 100000\n")], None);
        check_quota(
            "v2-tightest-ancestor",
            &[
                ("proc/self/cgroup", "0::/a/b\n"),
                ("sys/fs/cgroup/a/b/cpu.max", "300000 100000\n"),
                ("sys/fs/cgroup/a/cpu.max", "150000 100000\n"),
            ],
            Some(1.5),
        );
        check_quota(
            "v2-in-a-container-sees-its-group-as-root",
            &[("proc/self/cgroup", "0::/\n"), ("sys/fs/cgroup/cpu.max", "50000 100000\n")],
            Some(0.5),
        );
        check_quota(
            "v1",
            &[
                ("proc/self/cgroup", "4:memory:/a\n3:cpu,cpuacct:/a\n"),
                ("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "200000\n"),
                ("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n"),
            ],
            Some(2.0),
        );
        check_quota(
            "v1-unlimited",
            &[
                ("proc/self/cgroup", "3:cpu:/\n"),
                ("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n"),
                ("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n"),
            ],
            None,
        );
    }

    #[track_caller]
    fn check_exclusive(name: &str, files: &[(&str, &str)], expect: Option<&str>) {
        assert_eq!(exclusive(&FakeRoot::new(name, files).0, &[0, 1, 2, 3]), expect, "{name}");
    }

    #[test]
    fn exclusive_cpusets() {
        let v2 = ("proc/self/cgroup", "0::/pod\n");
        let partition = "sys/fs/cgroup/pod/cpuset.cpus.partition";
        check_exclusive("none", &[], None);
        check_exclusive("v2-root", &[v2, (partition, "root\n")], Some("the cpuset is a partition root"));
        check_exclusive("v2-isolated", &[v2, (partition, "isolated\n")], Some("the cpuset is an isolated partition"));
        check_exclusive("v2-member", &[v2, (partition, "member\n")], None);
        check_exclusive("v2-invalid", &[v2, (partition, "root invalid (Parent is not a partition root)\n")], None);
        check_exclusive(
            "v2-not-used-by-the-kernel",
            &[v2, (partition, "member\n"), ("sys/fs/cgroup/pod/cpuset.cpus.exclusive", "2-3\n")],
            None,
        );
        let v1 = ("proc/self/cgroup", "5:cpuset:/pod\n");
        let set = "sys/fs/cgroup/cpuset/pod/cpuset.cpu_exclusive";
        let cpus = "sys/fs/cgroup/cpuset/pod/cpuset.cpus";
        check_exclusive("v1", &[v1, (set, "1\n"), (cpus, "2-3\n")], Some("cpuset.cpu_exclusive is set"));
        check_exclusive("v1-shared", &[v1, (set, "0\n"), (cpus, "2-3\n")], None);
        check_exclusive("v1-all", &[v1, (set, "1\n"), (cpus, "0-3\n")], None);
    }
}

//! Which CPUs there are for this process, how many workers that makes, and pinning a thread to one of them.
//!
//! The files of /proc and /sys come in under a root path, so that tests can bring their own. Nothing here runs while
//! traffic does.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// CPUs beyond this number are not looked at: as many as cpu_set_t has.
const CPUS_MAX: usize = libc::CPU_SETSIZE as usize;

/// A CPU list that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuListError {
    /// The part that is wrong.
    pub part: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl fmt::Display for CpuListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CPU list: {:?} {}", self.part, self.problem)
    }
}

impl std::error::Error for CpuListError {}

/// Reads a list such as `0,2-3` (the kernel's list format), in the order written, each CPU once.
pub fn parse(list: &str) -> Result<Vec<usize>, CpuListError> {
    let mut cpus = Vec::new();
    for part in list.trim().split(',') {
        let wrong = |problem| CpuListError { part: part.to_string(), problem };
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let cpu: usize = text.parse().ok().filter(|_| digits).ok_or(wrong("is no number"))?;
            if cpu < CPUS_MAX { Ok(cpu) } else { Err(wrong("is beyond the largest CPU number")) }
        };
        let (first, last) = match part.trim().split_once('-') {
            Some((first, last)) => (number(first)?, number(last)?),
            None => (number(part.trim())?, number(part.trim())?),
        };
        if first > last {
            return Err(wrong("runs backwards"));
        }
        for cpu in first..=last {
            if cpus.contains(&cpu) {
                return Err(wrong("names a CPU twice"));
            }
            cpus.push(cpu);
        }
    }
    Ok(cpus)
}

/// The CPUs that this thread may run on (sched_getaffinity(2)). Errors: those of the call.
pub fn affinity() -> io::Result<Vec<usize>> {
    // SAFETY: all-zero is a valid cpu_set_t, and the call writes at most its size.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) < 0 {
            return Err(io::Error::last_os_error());
        }
        set
    };
    // SAFETY: the index is below CPU_SETSIZE.
    Ok((0..CPUS_MAX).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).collect())
}

/// Binds this thread to one CPU (sched_setaffinity(2)). Errors: those of the call; EINVAL for one that is not ours.
pub fn pin_current_thread(cpu: usize) -> io::Result<()> {
    pin_current_thread_to(&[cpu])
}

/// Binds this thread to a set of CPUs. Errors: those of sched_setaffinity(2).
pub fn pin_current_thread_to(cpus: &[usize]) -> io::Result<()> {
    // SAFETY: all-zero is a valid cpu_set_t; the indices are checked; the call reads its size.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        for &cpu in cpus {
            if cpu >= CPUS_MAX {
                return Err(io::Error::from_raw_os_error(libc::EINVAL));
            }
            libc::CPU_SET(cpu, &mut set);
        }
        if libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// CPU time that the process may use for each unit of time: 1.5 is one and a half CPUs. `None` without a limit.
///
/// Reads `proc/self/cgroup` and the controllers under `sys/fs/cgroup` below `root` (`/` in life), v2 and v1, the process's own group
/// and all above it: the tightest counts. A file that is missing or unreadable is no limit (cgroup-v2.rst, cpu.max;
/// sched-bwc.rst, cpu.cfs_quota_us).
pub fn quota(root: &Path) -> Option<f64> {
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let mut tightest: Option<f64> = None;
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(group)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let version2 = controllers.is_empty();
        if !version2 && !controllers.split(',').any(|name| name == "cpu") {
            continue;
        }
        for mount in mounts(root, version2, controllers) {
            for ancestor in Path::new(group.trim_start_matches('/')).ancestors() {
                let limit = limit_of(&mount.join(ancestor), version2);
                tightest = match (tightest, limit) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
            }
        }
    }
    tightest
}

fn mounts(root: &Path, version2: bool, controllers: &str) -> Vec<PathBuf> {
    let base = root.join("sys/fs/cgroup");
    if version2 { vec![base.clone(), base.join("unified")] } else { vec![base.join(controllers), base.join("cpu")] }
}

fn limit_of(group: &Path, version2: bool) -> Option<f64> {
    let (quota, period): (f64, f64) = if version2 {
        let text = fs::read_to_string(group.join("cpu.max")).ok()?;
        let mut words = text.split_whitespace();
        (words.next()?.parse().ok()?, words.next()?.parse().ok()?)
    } else {
        let number = |name: &str| fs::read_to_string(group.join(name)).ok()?.trim().parse().ok();
        (number("cpu.cfs_quota_us")?, number("cpu.cfs_period_us")?)
    };
    (quota > 0.0 && period > 0.0).then_some(quota / period)
}

/// How many workers and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The workers' CPUs, one each; empty when they are not bound to any.
    pub cpus: Vec<usize>,
    /// The number of workers, at least one.
    pub workers: usize,
    /// Why this many.
    pub reason: String,
}

/// Decides the number of workers: `--cpus` says it outright, then `--concurrency`, else one for each CPU that affinity
/// and cpuset leave, but no more than the quota feeds (rounded up).
pub fn placement(
    cpus: Option<&[usize]>,
    concurrency: Option<usize>,
    affinity: &[usize],
    quota: Option<f64>,
) -> Placement {
    if let Some(cpus) = cpus
        && !cpus.is_empty()
    {
        let workers = concurrency.filter(|&n| n > 0).unwrap_or(cpus.len());
        let cpus = (0..workers).map(|i| cpus[i % cpus.len()]).collect();
        return Placement { cpus, workers, reason: "asked for by CPU list".into() };
    }
    if let Some(workers) = concurrency.filter(|&n| n > 0) {
        return Placement { cpus: Vec::new(), workers, reason: "asked for".into() };
    }
    let available = affinity.len().max(1);
    match quota.map(|cpus| cpus.ceil().max(1.0) as usize) {
        Some(fed) if fed < available => Placement {
            cpus: Vec::new(),
            workers: fed,
            reason: format!("a CPU quota of {}", quota.unwrap_or_default()),
        },
        _ => Placement { cpus: Vec::new(), workers: available, reason: format!("{available} CPUs may be used") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_list(list: &str, expect: Result<&[usize], &str>) {
        let got = parse(list).map_err(|error| error.problem);
        assert_eq!(got.as_deref().map_err(|problem| *problem), expect, "{list:?}");
    }

    #[test]
    fn lists() {
        check_list("0", Ok(&[0]));
        check_list("0,2-3", Ok(&[0, 2, 3]));
        check_list(" 7-7 , 1\n", Ok(&[7, 1]));
        check_list("", Err("is no number"));
        check_list("1,", Err("is no number"));
        check_list("a", Err("is no number"));
        check_list("+1", Err("is no number"));
        check_list("3-1", Err("runs backwards"));
        check_list("0-2,1", Err("names a CPU twice"));
        check_list("99999", Err("is beyond the largest CPU number"));
    }

    /// Writes the files under a fresh directory and asks for the quota there.
    #[track_caller]
    fn check_quota(name: &str, files: &[(&str, &str)], expect: Option<f64>) {
        let root = std::env::temp_dir().join(format!("ringway-cpus-{}-{name}", std::process::id()));
        for (path, text) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().expect("a file has a folder")).expect("a temporary folder");
            fs::write(path, text).expect("a temporary file");
        }
        let got = quota(&root);
        let _ = fs::remove_dir_all(&root);
        assert_eq!(got, expect, "{name}");
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

    #[test]
    fn placements() {
        let four = [0, 1, 2, 3];
        for (cpus, concurrency, quota, expect) in [
            (None, None, None, (4, vec![])),
            (None, None, Some(1.2), (2, vec![])),
            (None, None, Some(64.0), (4, vec![])),
            (None, Some(3), Some(1.0), (3, vec![])),
            (Some(&[1usize, 3][..]), None, Some(1.0), (2, vec![1, 3])),
            (Some(&[1, 3][..]), Some(3), None, (3, vec![1, 3, 1])),
        ] {
            let got = placement(cpus, concurrency, &four, quota);
            assert_eq!((got.workers, got.cpus), expect, "{cpus:?} {concurrency:?} {quota:?}");
        }
    }

    #[test]
    fn a_thread_is_bound_to_one_of_its_cpus() {
        let before = affinity().expect("the affinity of this thread");
        pin_current_thread(before[0]).expect("one of ours");
        assert_eq!(affinity().expect("the affinity"), before[..1]);
        pin_current_thread_to(&before).expect("as before");
    }
}

//! A control group of a judge's own with a CPU quota, v1 or v2, whichever hierarchy has the cpu controller here.
//!
//! Made below the group of this process, and removed when dropped; no other group is changed, but this process visits its own one
//! to start a proxy in it. Needs root or a delegated hierarchy; who asks is told why there is none.

use std::fs;
use std::path::{Path, PathBuf};

/// A group with a quota.
#[derive(Debug)]
pub(crate) struct QuotaGroup {
    /// Where this process lives.
    home: PathBuf,
    folder: PathBuf,
}

/// What the kernel has counted of a group so far (sched-bwc.rst, cpu.stat).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Throttling {
    /// Periods in which some thread of it wanted to run.
    pub(crate) periods: u64,
    /// Those in which the quota was used up.
    pub(crate) throttled: u64,
    /// The time for which its threads stood still, each CPU's for itself, in microseconds.
    pub(crate) stood_us: u64,
}

/// The period: the kernel's default, and what container runtimes set.
const PERIOD_US: u32 = 100_000;

impl QuotaGroup {
    /// Makes a group that may use `quota_us` of CPU time in each period of 100 ms, and is preferred to all others, so that
    /// its quota is what bounds it.
    pub(crate) fn new(name: &str, quota_us: u32) -> Result<QuotaGroup, String> {
        let text = fs::read_to_string("/proc/self/cgroup").map_err(|e| format!("no control groups: {e}"))?;
        let mut why = "no hierarchy with the cpu controller".to_owned();
        for (home, version2) in homes(&text, Path::new("/sys/fs/cgroup")) {
            let folder = home.join(format!("{name}-{}", std::process::id()));
            match fs::create_dir(&folder) {
                Ok(()) => {}
                Err(e) => {
                    why = format!("no control group can be made: {e}");
                    continue;
                }
            }
            let group = QuotaGroup { home, folder };
            match group.limit(quota_us, version2) {
                Ok(()) => return Ok(group),
                Err(e) => why = format!("no CPU quota can be set: {e}"),
            }
        }
        Err(why)
    }

    fn limit(&self, quota_us: u32, version2: bool) -> std::io::Result<()> {
        let write = |file: &str, text: &str| fs::write(self.folder.join(file), text);
        if version2 {
            write("cpu.max", &format!("{quota_us} {PERIOD_US}"))?;
            return write("cpu.weight", "10000");
        }
        write("cpu.cfs_period_us", &PERIOD_US.to_string())?;
        write("cpu.cfs_quota_us", &quota_us.to_string())?;
        write("cpu.shares", "262144")
    }

    /// Runs `start` while this process is in the group: what it starts stays there.
    pub(crate) fn inside<T>(&self, start: impl FnOnce() -> T) -> Result<T, String> {
        let enter = |group: &Path| {
            let procs = group.join("cgroup.procs");
            fs::write(&procs, std::process::id().to_string()).map_err(|e| format!("{}: {e}", procs.display()))
        };
        enter(&self.folder)?;
        let started = start();
        enter(&self.home)?;
        Ok(started)
    }

    /// The counts so far.
    pub(crate) fn throttling(&self) -> Result<Throttling, String> {
        let text = fs::read_to_string(self.folder.join("cpu.stat")).map_err(|e| format!("cpu.stat: {e}"))?;
        Ok(read(&text))
    }
}

impl Drop for QuotaGroup {
    fn drop(&mut self) {
        // Fails while somebody lives there, which the judge would see at its next start as one more folder.
        let _gone = fs::remove_dir(&self.folder);
    }
}

/// The folders of this process's groups that may have the cpu controller, and whether each is of v2.
fn homes(own: &str, base: &Path) -> Vec<(PathBuf, bool)> {
    let mut found = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(group)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let group = group.trim_start_matches('/');
        if controllers.is_empty() {
            found.extend([base.join(group), base.join("unified").join(group)].map(|home| (home, true)));
        } else if controllers.split(',').any(|name| name == "cpu") {
            found.extend([base.join(controllers).join(group), base.join("cpu").join(group)].map(|home| (home, false)));
        }
    }
    found.retain(|(home, _)| home.join("cgroup.procs").exists());
    found
}

fn read(stat: &str) -> Throttling {
    let number = |name: &str| {
        let value = stat.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.and_then(|value| value.trim().parse::<u64>().ok())
    };
    // v2 says microseconds, v1 nanoseconds.
    let stood_us = number("throttled_usec").or(number("throttled_time").map(|ns| ns / 1_000));
    Throttling {
        periods: number("nr_periods").unwrap_or(0),
        throttled: number("nr_throttled").unwrap_or(0),
        stood_us: stood_us.unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_of_cpu_stat_are_read() {
        let expect = Throttling { periods: 9, throttled: 4, stood_us: 1_500 };
        assert_eq!(read("nr_periods 9\nnr_throttled 4\nthrottled_time 1500000\nnr_bursts 0\n"), expect);
        assert_eq!(read("usage_usec 7\nnr_periods 9\nnr_throttled 4\nthrottled_usec 1500\n"), expect);
        assert_eq!(read(""), Throttling::default());
    }
}

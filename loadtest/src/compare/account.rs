//! What processes take, as the kernel counts it in /proc: CPU time by thread, memory now and at most, and who is whose child.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// CPU time of the threads of some processes, by thread id, in nanoseconds; and what the threads are called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct CpuTimes(BTreeMap<u32, (String, u64)>);

/// Memory of some processes together, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// Resident now. Pages that processes share count for each of them.
    pub(crate) resident: u64,
    /// Resident at most, since the start or since [`reset_peak`]; likewise.
    pub(crate) peak: u64,
    /// Resident now, each shared page in parts; 0 where the kernel does not tell.
    pub(crate) proportional: u64,
}

/// The kernel's unit of times in `stat`: a hundred a second on every Linux that is told of in user space.
const TICK_NS: u64 = 10_000_000;

impl CpuTimes {
    /// Of all threads of these processes. One that ends meanwhile is left out.
    pub(crate) fn of(processes: &[u32]) -> CpuTimes {
        let mut times = BTreeMap::new();
        for process in processes {
            let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else { continue };
            for thread in threads.flatten() {
                let Some(id) = thread.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
                let Some(time) = thread_time(&thread.path()) else { continue };
                let name = fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
                times.insert(id, (name.trim().to_owned(), time));
            }
        }
        CpuTimes(times)
    }

    /// What each thread took since `before`, in nanoseconds: those that took something.
    pub(crate) fn since(&self, before: &CpuTimes) -> Vec<(String, u64)> {
        let took = self.0.iter().map(|(id, (name, time))| {
            let old = before.0.get(id).map_or(0, |(_, time)| *time);
            (name.clone(), time.saturating_sub(old))
        });
        took.filter(|(_, time)| *time > 0).collect()
    }
}

/// To the nanosecond, where the kernel keeps that; else in ticks.
fn thread_time(folder: &Path) -> Option<u64> {
    let read = |name: &str| fs::read_to_string(folder.join(name)).ok();
    match read("schedstat").as_deref().and_then(schedstat) {
        Some(time) => Some(time),
        None => read("stat").as_deref().and_then(ticks).map(|ticks| ticks * TICK_NS),
    }
}

/// Time on a CPU, in nanoseconds: the first of three numbers (sched-stats.rst).
fn schedstat(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

/// User and system time in ticks: the 14th and 15th field, of which the second, a name in brackets, may hold anything (proc_pid_stat(5)).
fn ticks(text: &str) -> Option<u64> {
    let mut fields = text.rsplit_once(')')?.1.split_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

/// The parent: the fourth field.
fn parent(text: &str) -> Option<u32> {
    text.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

impl Memory {
    /// Of all these processes together.
    pub(crate) fn of(processes: &[u32]) -> Memory {
        let mut all = Memory::default();
        for process in processes {
            let read = |name: &str| fs::read_to_string(format!("/proc/{process}/{name}")).unwrap_or_default();
            let status = read("status");
            all.resident += kib(&status, "VmRSS:") << 10;
            all.peak += kib(&status, "VmHWM:") << 10;
            all.proportional += kib(&read("smaps_rollup"), "Pss:") << 10;
        }
        all
    }
}

/// The number behind a name, of a line like `VmRSS:   1234 kB`; 0 where there is none.
fn kib(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()).and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Lets the peak of these processes' memory begin anew, where the kernel allows it (proc_pid_clear_refs(5)).
pub(crate) fn reset_peak(processes: &[u32]) {
    for process in processes {
        let _kept = fs::write(format!("/proc/{process}/clear_refs"), "5"); // then it is the peak since the start
    }
}

/// All processes below this one.
pub(crate) fn descendants(process: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pairs: Vec<(u32, u32)> = entries
        .filter_map(|entry| {
            let id = entry.file_name().to_str()?.parse().ok()?;
            Some((id, parent(&fs::read_to_string(entry.path().join("stat")).ok()?)?))
        })
        .collect();
    below(process, &pairs)
}

/// Those below `root` in pairs of a process and its parent.
fn below(root: u32, pairs: &[(u32, u32)]) -> Vec<u32> {
    let mut found = vec![root];
    let mut at = 0;
    while at < found.len() {
        let children = pairs.iter().filter(|(id, parent)| *parent == found[at] && !found.contains(id));
        let children: Vec<u32> = children.map(|(id, _)| *id).collect();
        found.extend(children);
        at += 1;
    }
    found.split_off(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_writes_is_read() {
        assert_eq!(schedstat("51232000 4521 12\n"), Some(51_232_000));
        // The name of a process may hold spaces and brackets.
        let stat = "77 (a) b (c) S 12 77 77 0 -1 4194560 153 0 0 0 250 50 0 0 20 0 1 0 100 1000 10 0";
        assert_eq!((ticks(stat), parent(stat)), (Some(300), Some(12)));
        assert_eq!((ticks("77"), parent("77 (a)")), (None, None));
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!((kib(status, "VmRSS:"), kib(status, "VmHWM:"), kib(status, "Pss:")), (1024, 2048, 0));
    }

    #[test]
    fn descendants_are_found_however_deep() {
        let pairs = [(2, 1), (3, 1), (5, 4), (4, 3), (9, 8)];
        assert_eq!(below(1, &pairs), [2, 3, 4, 5]);
        assert!(below(7, &pairs).is_empty());
    }

    #[test]
    fn a_difference_is_of_each_thread() {
        let times =
            |rows: &[(u32, u64)]| CpuTimes(rows.iter().map(|(id, time)| (*id, (format!("t{id}"), *time))).collect());
        let took = times(&[(1, 50), (2, 70), (3, 9)]).since(&times(&[(1, 50), (2, 30), (4, 1000)]));
        assert_eq!(took, [("t2".to_owned(), 40), ("t3".to_owned(), 9)]);
    }

    #[test]
    fn this_process_takes_something() {
        let own = [std::process::id()];
        let mut spun = 0_u64;
        while CpuTimes::of(&own).since(&CpuTimes::default()).is_empty() {
            spun += 1; // until the kernel has counted something
        }
        let memory = Memory::of(&own);
        assert!(memory.resident > 0 && memory.peak >= memory.resident / 2, "{memory:?} after {spun}");
    }
}

//! How much of its CPU a thread had.

use std::time::Duration;

use ringway_runtime::LoopStats;

/// What a thread had of its CPU, and what it wanted and did not get.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CpuTime {
    pub(crate) ran: Duration,
    /// It could have run, and others did (the second number of `/proc/thread-self/schedstat`); zero where the kernel does not tell.
    pub(crate) waited: Duration,
}

impl CpuTime {
    /// Of this thread, since it began.
    pub(crate) fn now(stats: &LoopStats) -> CpuTime {
        let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        let waited = told.split_whitespace().nth(1).and_then(|ns| ns.parse().ok()).unwrap_or(0);
        CpuTime { ran: stats.cpu_time().unwrap_or_default(), waited: Duration::from_nanos(waited) }
    }

    pub(crate) fn since(self, before: CpuTime) -> CpuTime {
        CpuTime { ran: self.ran.saturating_sub(before.ran), waited: self.waited.saturating_sub(before.waited) }
    }

    pub(crate) fn wanted(self) -> Duration {
        self.ran + self.waited
    }
}

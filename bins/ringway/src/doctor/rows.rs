//! The doctor's rows: one subject each, judged over what was found on the host.
//!
//! Files come from below a root path, drivers and CPUs come as values: no row asks the kernel by itself. A row whose file
//! is missing is left out.

use std::fs;
use std::path::Path;

use ringway_engine::Limits;
use ringway_runtime::cpus::{self, Host};
use ringway_runtime::{Feature, FeatureSet, IoReport, StartError, Without, refusal};

use crate::plan::Plan;

/// How a row is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As it should be.
    Ok,
    /// It runs, and could run better.
    Note,
    /// It does not run, or not for long.
    Problem,
}

impl Verdict {
    pub(super) fn text(self) -> &'static str {
        match self {
            Verdict::Ok => "ok",
            Verdict::Note => "note",
            Verdict::Problem => "problem",
        }
    }
}

/// One subject.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) verdict: Verdict,
    pub(super) subject: String,
    pub(super) found: String,
    /// Empty where nothing is to be done.
    pub(super) to_do: String,
}

/// What the rows judge.
pub(super) struct Found<'r> {
    /// Below it are /proc and /sys.
    pub(super) root: &'r Path,
    pub(super) ring: Result<IoReport, StartError>,
    pub(super) poll: Result<IoReport, StartError>,
    pub(super) plan: Result<Plan, String>,
    pub(super) host: Host,
}

/// All rows, in the order in which a start meets their subjects.
pub(super) fn rows(found: &Found<'_>, ring_asked: bool) -> Vec<Row> {
    let mut rows = Rows(Vec::new());
    rows.kernel(found);
    rows.io(found, ring_asked);
    rows.features(found);
    rows.limits(found);
    rows.cpus(found);
    rows.network(found);
    rows.0
}

/// Descriptors below which even a sidecar runs short: the soft limit of an ordinary login.
const DESCRIPTORS_WISHED: u64 = 1024;
/// Locked memory that rings were charged to before Linux 5.12: about 150 KiB each, for a handful of workers.
const LOCKED_WISHED: u64 = 1 << 20;
/// Connections that wait to be accepted: Linux's own default since 5.4.
const BACKLOG_WISHED: u64 = 4096;
/// Ports towards one address of an upstream: half of the kernel's default range.
const PORTS_WISHED: u64 = 14_116;

struct Rows(Vec<Row>);

impl Rows {
    fn add(&mut self, subject: &str, found: impl Into<String>) {
        self.0.push(Row { verdict: Verdict::Ok, subject: subject.into(), found: found.into(), to_do: String::new() });
    }

    fn judge(&mut self, verdict: Verdict, subject: &str, found: impl Into<String>, to_do: impl Into<String>) {
        self.0.push(Row { verdict, subject: subject.into(), found: found.into(), to_do: to_do.into() });
    }

    fn kernel(&mut self, found: &Found<'_>) {
        let release = read(found.root, "proc/sys/kernel/osrelease").unwrap_or_else(|| "of unknown version".into());
        match found.host.topology.online.len() {
            0 => self.add("kernel", format!("Linux {release}")),
            cpus => self.add("kernel", format!("Linux {release}, {cpus} CPUs online")),
        }
        let container = [
            (".dockerenv", "Docker's file /.dockerenv"),
            ("run/.containerenv", "Podman's file /run/.containerenv"),
            ("var/run/secrets/kubernetes.io", "a Kubernetes service account"),
        ];
        let group = read(found.root, "proc/1/cgroup").unwrap_or_default();
        let by_group = ["kubepods", "docker", "containerd", "libpod"].into_iter().find(|word| group.contains(word));
        let by_file = container.iter().find(|(file, _)| found.root.join(file).exists()).map(|(_, what)| *what);
        if let Some(what) = by_group.map(|word| format!("a control group of {word}")).or(by_file.map(str::to_owned)) {
            self.add("container", format!("probably: {what}"));
        }
    }

    fn io(&mut self, found: &Found<'_>, ring_asked: bool) {
        let refused = if ring_asked { Verdict::Problem } else { Verdict::Note };
        match &found.ring {
            Ok(report) => self.add("io ring", format!("works ({})", report.features)),
            Err(error) => self.judge(refused, "io ring", format!("{}: {}", error.tried, error.error), error.advice),
        }
        match &found.poll {
            Ok(_) if found.ring.is_ok() => self.add("io poll", "works"),
            Ok(_) => self.add("io poll", "works; it is what --io auto takes here"),
            Err(error) => self.judge(Verdict::Problem, "io poll", format!("{}: {}", error.tried, error.error), ""),
        }
        match refusal::io_uring_disabled(found.root) {
            Some(0) => self.add("kernel.io_uring_disabled", "0: io_uring is for all"),
            // What to do stands at the ring, if it was refused.
            Some(1) => {
                self.add("kernel.io_uring_disabled", "1: io_uring is for CAP_SYS_ADMIN and kernel.io_uring_group")
            }
            Some(other) => self.add("kernel.io_uring_disabled", format!("{other}: io_uring is for nobody")),
            None => {}
        }
        match refusal::seccomp_mode(found.root) {
            Some(0) => self.add("seccomp", "no filter"),
            Some(2) if found.ring.is_ok() => self.add("seccomp", "a filter, which allows io_uring"),
            Some(2) => self.add("seccomp", "a filter"),
            Some(mode) => self.add("seccomp", format!("mode {mode}")),
            None => {}
        }
    }

    fn features(&mut self, found: &Found<'_>) {
        let Ok(report) = &found.ring else { return };
        let has: FeatureSet = report.features.parse().unwrap_or_default();
        for feature in Feature::ALL.iter().copied() {
            let subject = format!("  {feature}");
            let since = feature.since();
            match feature.without() {
                Without::Poll => self.add(&subject, format!("yes (Linux {since})")),
                Without::Price(_) if has.contains(feature) => self.add(&subject, format!("yes (Linux {since})")),
                Without::Price(_) if !report.missing.contains(feature) => {
                    self.add(&subject, format!("not needed (Linux {since})"));
                }
                Without::Price(price) => {
                    let to_do = format!("Linux {since} or newer");
                    self.judge(Verdict::Note, &subject, format!("no: {price}"), to_do);
                }
            }
        }
    }

    fn limits(&mut self, found: &Found<'_>) {
        let limits = read(found.root, "proc/self/limits").unwrap_or_default();
        if let Some([soft, hard]) = limit(&limits, "Max open files") {
            let workers = found.plan.as_ref().map_or(1, |plan| plan.placement.workers.len());
            let clients = Limits::default().for_descriptors(hard, workers).downstreams_max.saturating_mul(workers);
            let text =
                format!("{} now, raised to {} at the start: at most {clients} clients", shown(soft), shown(hard));
            if hard < DESCRIPTORS_WISHED {
                self.judge(Verdict::Note, "descriptors", text, "raise the hard limit (ulimit -Hn, LimitNOFILE=)");
            } else {
                self.add("descriptors", text);
            }
        }
        if let Some([soft, _]) = limit(&limits, "Max locked memory") {
            let old = matches!(release(found.root), Some(release) if release < (5, 12));
            let text = format!("{} may be locked", shown_bytes(soft));
            match (old, soft < LOCKED_WISHED) {
                (true, true) => {
                    self.judge(Verdict::Note, "memlock", text, "before Linux 5.12 rings need it: ulimit -l 8192")
                }
                (true, false) => self.add("memlock", text),
                (false, _) => self.add("memlock", text + "; rings need none since Linux 5.12"),
            }
        }
    }

    fn cpus(&mut self, found: &Found<'_>) {
        let (host, topology) = (&found.host, &found.host.topology);
        self.add("affinity", format!("CPUs {}", cpus::format(&host.affinity)));
        match host.quota {
            Some(quota) => self.add("quota", format!("{quota} CPUs")),
            None => self.add("quota", "none"),
        }
        self.add("cpuset", host.exclusive.unwrap_or("shared with others, or not known"));
        if !topology.isolated.is_empty() {
            self.add("isolated CPUs", cpus::format(&topology.isolated));
        }
        if !topology.nohz_full.is_empty() {
            self.add("nohz_full CPUs", cpus::format(&topology.nohz_full));
        }
        if topology.cores.is_empty() {
            self.add("SMT", "one CPU on each core");
        } else {
            let cores: Vec<String> = topology.cores.iter().map(|core| cpus::format(core)).collect();
            self.add("SMT", format!("siblings {}", cores.join(" | ")));
        }
        let nodes: Vec<String> =
            topology.nodes.iter().map(|(node, list)| format!("node {node}: CPUs {}", cpus::format(list))).collect();
        if !nodes.is_empty() {
            self.add("NUMA", nodes.join("; "));
        }
        match &found.plan {
            Ok(plan) => {
                self.add("workers", plan.to_string().trim_start_matches("workers: "));
                plan.placement.notes.iter().for_each(|note| self.judge(Verdict::Note, "  placement", note, ""));
            }
            Err(problem) => self.judge(Verdict::Problem, "workers", problem, "mend the option"),
        }
    }

    fn network(&mut self, found: &Found<'_>) {
        let number = |name: &str| read(found.root, &format!("proc/sys/net/{name}"))?.parse::<u64>().ok();
        for (name, wished, what) in [
            ("core/somaxconn", BACKLOG_WISHED, "connections may wait to be accepted"),
            ("ipv4/tcp_max_syn_backlog", 1024, "handshakes may be under way"),
        ] {
            let Some(value) = number(name) else { continue };
            let sysctl = format!("net.{}", name.replace('/', "."));
            let text = format!("{value} {what}");
            if value < wished {
                let to_do = format!("for bursts of new clients: sysctl -w {sysctl}={wished}");
                self.judge(Verdict::Note, &sysctl, text, to_do);
            } else {
                self.add(&sysctl, text);
            }
        }
        let range = read(found.root, "proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
        if let [Ok(first), Ok(last)] = range.split_whitespace().map(str::parse::<u64>).collect::<Vec<_>>()[..] {
            let ports = (last + 1).saturating_sub(first);
            let text = format!("{first}-{last}: {ports} connections to one upstream address");
            if ports < PORTS_WISHED {
                let to_do = "sysctl -w net.ipv4.ip_local_port_range='32768 60999'";
                self.judge(Verdict::Note, "net.ipv4.ip_local_port_range", text, to_do);
            } else {
                self.add("net.ipv4.ip_local_port_range", text);
            }
        }
        match number("ipv4/tcp_slow_start_after_idle") {
            Some(0) => self.add("net.ipv4.tcp_slow_start_after_idle", "0: a reused connection keeps its window"),
            Some(_) => self.judge(
                Verdict::Note,
                "net.ipv4.tcp_slow_start_after_idle",
                "1: a reused connection that was idle begins large bodies slowly",
                "where the path is long: sysctl -w net.ipv4.tcp_slow_start_after_idle=0",
            ),
            None => {}
        }
        match number("ipv4/tcp_tw_reuse") {
            Some(0) => self.judge(
                Verdict::Note,
                "net.ipv4.tcp_tw_reuse",
                "0: a port rests for a minute after each connection that we close",
                "with many short connections to upstreams: sysctl -w net.ipv4.tcp_tw_reuse=1",
            ),
            Some(1) => self.add("net.ipv4.tcp_tw_reuse", "1: ports are reused early"),
            Some(_) => self.add("net.ipv4.tcp_tw_reuse", "2: ports are reused early on loopback"),
            None => {}
        }
    }
}

fn read(root: &Path, path: &str) -> Option<String> {
    fs::read_to_string(root.join(path)).ok().map(|text| text.trim().to_owned())
}

/// Major and minor of the kernel's release.
fn release(root: &Path) -> Option<(u32, u32)> {
    let text = read(root, "proc/sys/kernel/osrelease")?;
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

/// Soft and hard limit from /proc/self/limits; without a limit the largest number.
fn limit(limits: &str, name: &str) -> Option<[u64; 2]> {
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    let mut words = line.split_whitespace().map(|word| word.parse().unwrap_or(u64::MAX));
    Some([words.next()?, words.next()?])
}

fn shown(limit: u64) -> String {
    if limit == u64::MAX { "unlimited".into() } else { limit.to_string() }
}

fn shown_bytes(limit: u64) -> String {
    if limit == u64::MAX { "all memory".into() } else { format!("{} KiB", limit >> 10) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::tests::tuning;
    use std::path::PathBuf;

    struct FakeRoot(PathBuf);

    impl FakeRoot {
        fn new(name: &str, files: &[(&str, &str)]) -> FakeRoot {
            let root = std::env::temp_dir().join(format!("ringway-doctor-{}-{name}", std::process::id()));
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

    fn report(driver: &'static str, features: &str, missing: &str) -> IoReport {
        let missing = missing.parse().expect("names of features");
        IoReport { driver, features: features.into(), missing, reason: String::new(), advice: "" }
    }

    /// The rows of a host with these files; a ring with these features missing, or refused with an error number.
    #[track_caller]
    fn check(name: &str, files: &[(&str, &str)], arguments: &str, ring: Result<(&str, &str), i32>, expect: &str) {
        let root = FakeRoot::new(name, files);
        let host = Host::read(&root.0, vec![0, 1]);
        let error = |errno| {
            let error = std::io::Error::from_raw_os_error(errno);
            let advice = refusal::advice(&error, &root.0);
            StartError { tried: "io_uring_setup".into(), error, advice }
        };
        let found = Found {
            root: &root.0,
            ring: ring.map(|(features, missing)| report("ring", features, missing)).map_err(error),
            poll: Ok(report("poll", "epoll_edge", "")),
            plan: Plan::on(&tuning(arguments), host.clone()),
            host,
        };
        let rows = rows(&found, arguments.contains("--io ring"));
        assert_eq!(super::super::table(&rows).trim_end(), expect.trim(), "{name}");
    }

    /// The same number on every Linux.
    const EPERM: i32 = 1;

    const LIMITS: &str = "Limit  Soft Limit  Hard Limit  Units\nMax open files  1024  524288  files\n\
                          Max locked memory  8388608  8388608  bytes\n";

    #[test]
    fn a_good_host() {
        let files = [
            ("proc/sys/kernel/osrelease", "6.18.44-x\n"),
            ("proc/sys/kernel/io_uring_disabled", "0\n"),
            ("proc/thread-self/status", "Seccomp:\t0\n"),
            ("proc/self/limits", LIMITS),
            ("proc/sys/net/core/somaxconn", "4096\n"),
            ("proc/sys/net/ipv4/tcp_max_syn_backlog", "2048\n"),
            ("proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n"),
            ("proc/sys/net/ipv4/tcp_slow_start_after_idle", "0\n"),
            ("proc/sys/net/ipv4/tcp_tw_reuse", "2\n"),
            ("sys/devices/system/cpu/online", "0-1\n"),
            ("sys/devices/system/node/online", "0\n"),
            ("sys/devices/system/node/node0/cpulist", "0-1\n"),
        ];
        let expect = "
ok       kernel                              Linux 6.18.44-x, 2 CPUs online
ok       io ring                             works (ring_fd,single_issuer,defer_taskrun,no_sqarray,no_iowait)
ok       io poll                             works
ok       kernel.io_uring_disabled            0: io_uring is for all
ok       seccomp                             no filter
ok         io_uring                          yes (Linux 5.1)
ok         nodrop                            yes (Linux 5.5)
ok         ext_arg                           yes (Linux 5.11)
ok         cqe_skip                          yes (Linux 5.17)
ok         ring_fd                           yes (Linux 5.18)
ok         buffer_ring                       yes (Linux 5.19)
ok         multishot_accept                  yes (Linux 5.19)
ok         coop_taskrun                      not needed (Linux 5.19)
ok         multishot_recv                    yes (Linux 6.0)
ok         single_issuer                     yes (Linux 6.0)
ok         defer_taskrun                     yes (Linux 6.1)
ok         no_sqarray                        yes (Linux 6.6)
ok         no_iowait                         yes (Linux 6.15)
ok       descriptors                         1024 now, raised to 524288 at the start: at most 262144 clients
ok       memlock                             8192 KiB may be locked; rings need none since Linux 5.12
ok       affinity                            CPUs 0-1
ok       quota                               none
ok       cpuset                              shared with others, or not known
ok       SMT                                 one CPU on each core
ok       NUMA                                node 0: CPUs 0-1
ok       workers                             2 (2 CPUs may be used), not tied to CPUs: others may use them, too
ok       net.core.somaxconn                  4096 connections may wait to be accepted
ok       net.ipv4.tcp_max_syn_backlog        2048 handshakes may be under way
ok       net.ipv4.ip_local_port_range        32768-60999: 28232 connections to one upstream address
ok       net.ipv4.tcp_slow_start_after_idle  0: a reused connection keeps its window
ok       net.ipv4.tcp_tw_reuse               2: ports are reused early on loopback

problems: 0, notes: 0";
        check("good", &files, "", Ok(("ring_fd,single_issuer,defer_taskrun,no_sqarray,no_iowait", "")), expect);
    }

    #[test]
    fn a_pod_with_a_default_profile_a_quota_and_little_of_all() {
        let files = [
            ("proc/sys/kernel/osrelease", "5.10.0\n"),
            ("proc/thread-self/status", "Seccomp:\t2\n"),
            ("proc/1/cgroup", "0::/kubepods/pod1\n"),
            ("proc/self/cgroup", "0::/\n"),
            ("sys/fs/cgroup/cpu.max", "150000 100000\n"),
            ("sys/fs/cgroup/cpuset.cpus.partition", "member\n"),
            ("proc/self/limits", "Max open files  64  64  files\nMax locked memory  65536  65536  bytes\n"),
            ("proc/sys/net/core/somaxconn", "128\n"),
            ("proc/sys/net/ipv4/ip_local_port_range", "60000\t60999\n"),
            ("proc/sys/net/ipv4/tcp_slow_start_after_idle", "1\n"),
            ("proc/sys/net/ipv4/tcp_tw_reuse", "0\n"),
            ("sys/devices/system/cpu/online", "0-7\n"),
            ("sys/devices/system/cpu/isolated", "6-7\n"),
            ("sys/devices/system/cpu/cpu0/topology/thread_siblings_list", "0-1\n"),
        ];
        let expect = "
ok       kernel                              Linux 5.10.0, 8 CPUs online
ok       container                           probably: a control group of kubepods
note     io ring                             io_uring_setup: Operation not permitted (os error 1)
                                             to do: a seccomp filter forbids it, as the default profiles of Docker and containerd do: docs/deploy/SECCOMP.md
ok       io poll                             works; it is what --io auto takes here
ok       seccomp                             a filter
note     descriptors                         64 now, raised to 64 at the start: at most 32 clients
                                             to do: raise the hard limit (ulimit -Hn, LimitNOFILE=)
note     memlock                             64 KiB may be locked
                                             to do: before Linux 5.12 rings need it: ulimit -l 8192
ok       affinity                            CPUs 0-1
ok       quota                               1.5 CPUs
ok       cpuset                              shared with others, or not known
ok       isolated CPUs                       6-7
ok       SMT                                 siblings 0-1
ok       workers                             1 (a CPU quota of 1.5), not tied to CPUs: others may use them, too
note       placement                         the process has 2 of 8 CPUs: if they are its own (Kubernetes' static CPU manager), use --pin on
note     net.core.somaxconn                  128 connections may wait to be accepted
                                             to do: for bursts of new clients: sysctl -w net.core.somaxconn=4096
note     net.ipv4.ip_local_port_range        60000-60999: 1000 connections to one upstream address
                                             to do: sysctl -w net.ipv4.ip_local_port_range='32768 60999'
note     net.ipv4.tcp_slow_start_after_idle  1: a reused connection that was idle begins large bodies slowly
                                             to do: where the path is long: sysctl -w net.ipv4.tcp_slow_start_after_idle=0
note     net.ipv4.tcp_tw_reuse               0: a port rests for a minute after each connection that we close
                                             to do: with many short connections to upstreams: sysctl -w net.ipv4.tcp_tw_reuse=1

problems: 0, notes: 8";
        check("pod", &files, "", Err(EPERM), expect);
    }

    #[test]
    fn what_was_asked_for_and_is_not_there_is_a_problem() {
        let files = [("proc/sys/kernel/osrelease", "6.1.0\n"), ("proc/sys/kernel/io_uring_disabled", "2\n")];
        let expect = "
ok       kernel                    Linux 6.1.0
problem  io ring                   io_uring_setup: Operation not permitted (os error 1)
                                   to do: kernel.io_uring_disabled is 2, which forbids it to all: sysctl -w kernel.io_uring_disabled=0
ok       io poll                   works; it is what --io auto takes here
ok       kernel.io_uring_disabled  2: io_uring is for nobody
ok       affinity                  CPUs 0-1
ok       quota                     none
ok       cpuset                    shared with others, or not known
ok       SMT                       one CPU on each core
problem  workers                   --cpus: this process may not use CPU 9
                                   to do: mend the option

problems: 2, notes: 0";
        check("asked", &files, "--io ring --cpus 9", Err(EPERM), expect);
    }

    #[test]
    fn an_older_ring_says_what_it_lacks() {
        let root = FakeRoot::new("older", &[("proc/sys/kernel/osrelease", "6.1.0\n")]);
        let host = Host::read(&root.0, vec![0]);
        let ring = Ok(report("ring", "ring_fd,single_issuer,defer_taskrun", "no_sqarray,no_iowait"));
        let poll = Ok(report("poll", "epoll_edge", ""));
        let found = Found { root: &root.0, ring, poll, plan: Plan::on(&tuning(""), host.clone()), host };
        let text = super::super::table(&rows(&found, false));
        for part in ["no_sqarray        no: one more cache line", "to do: Linux 6.15 or newer", "notes: 2"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}

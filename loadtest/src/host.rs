//! The host that was measured on, as far as it tells.

use std::fs;
use std::path::Path;

use ringway_runtime::cpus;
use serde_json::{Value, json};

/// What a reader needs to know of the host.
pub(crate) fn describe() -> Value {
    let read = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    let cpuinfo = read("/proc/cpuinfo").unwrap_or_default();
    let meminfo = read("/proc/meminfo").unwrap_or_default();
    let memory = field(&meminfo, "MemTotal").and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    let load = read("/proc/loadavg").and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
    json!({
        "kernel": read("/proc/sys/kernel/osrelease"),
        "cpu": field(&cpuinfo, "model name"),
        "cpus": cpus::affinity().map(|all| all.len()).unwrap_or(0),
        "governor": read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "cpu_quota": cpus::quota(Path::new("/")),
        "virtualised": field(&cpuinfo, "flags").map(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
        "memory_bytes": memory.map(|kib| kib << 10),
        "load_before": load,
    })
}

/// The value of the first line `NAME : VALUE`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_read() {
        let text = "processor\t: 0\nmodel name\t: A CPU\nflags\t\t: fpu hypervisor\nmodel name\t: another\n";
        assert_eq!((field(text, "model name"), field(text, "flags")), (Some("A CPU"), Some("fpu hypervisor")));
    }

    #[test]
    fn a_host_has_a_kernel_and_cpus() {
        let host = describe();
        assert!(host["kernel"].is_string() && host["cpus"].as_u64() > Some(0), "{host}");
    }
}

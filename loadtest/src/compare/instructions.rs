//! Instructions of processes by `perf stat`, where there is one and the CPU lets it count: many virtual machines do not.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::held::Held;

const EVENTS: &str = "instructions:u,instructions:k";

/// Whether they can be counted here: asked of the kernel once.
pub(crate) fn are_counted() -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    *KNOWN.get_or_init(|| {
        let output = Command::new("perf").args(["stat", "-x,", "-e", EVENTS, "true"]).stdin(Stdio::null()).output();
        output.is_ok_and(|output| parse(&String::from_utf8_lossy(&output.stderr)).is_some())
    })
}

/// A count that goes on.
#[derive(Debug)]
pub(crate) struct Count {
    perf: Held,
    file: std::path::PathBuf,
}

impl Count {
    /// Begins to count what these processes do, on `cpus`; `None` where nothing can be counted.
    pub(crate) fn begin(processes: &[u32], cpus: &[usize], folder: &Path) -> Option<Count> {
        if !are_counted() {
            return None;
        }
        let file = folder.join("perf.csv");
        let list: Vec<String> = processes.iter().map(u32::to_string).collect();
        let words = ["perf", "stat", "-x,", "-e", EVENTS, "-o", file.to_str()?, "-p", &list.join(",")];
        let words: Vec<String> = words.map(str::to_owned).to_vec();
        let perf = Held::start(&words, cpus, Stdio::null(), Stdio::null()).ok()?;
        Some(Count { perf, file })
    }

    /// Instructions since the beginning, in user space and in the kernel.
    pub(crate) fn end(mut self) -> Option<(u64, u64)> {
        self.perf.end();
        parse(&fs::read_to_string(&self.file).ok()?)
    }
}

/// perf-stat(1), CSV FORMAT: the counter's value, its unit, the event's name.
fn parse(text: &str) -> Option<(u64, u64)> {
    let of = |event: &str| {
        text.lines().find_map(|line| {
            let mut fields = line.split(',');
            let count = fields.next()?.parse::<u64>().ok()?;
            (fields.nth(1)? == event).then_some(count)
        })
    };
    Some((of("instructions:u")?, of("instructions:k")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_and_what_is_no_count_is_none() {
        let text = "# started\n\n1234,,instructions:u,5,100.00,,\n99,,instructions:k,5,100.00,,\n";
        assert_eq!(parse(text), Some((1234, 99)));
        assert_eq!(parse("<not supported>,,instructions:u,0,100.00,,\n1,,instructions:k,1,100.00,,\n"), None);
    }
}

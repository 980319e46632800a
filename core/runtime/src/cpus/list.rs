//! The kernel's list format of CPUs, `0,2-3`.

use std::fmt;

/// CPUs beyond this number are not looked at: as many as cpu_set_t has.
pub(super) const CPUS_MAX: usize = libc::CPU_SETSIZE as usize;

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

/// Writes a list as the kernel does: in order, neighbours as ranges.
pub fn format(cpus: &[usize]) -> String {
    let mut sorted = cpus.to_vec();
    sorted.sort_unstable();
    let runs = sorted.chunk_by(|a, b| a + 1 == *b).map(|run| match run {
        [one] => one.to_string(),
        run => format!("{}-{}", run[0], run[run.len() - 1]),
    });
    runs.collect::<Vec<_>>().join(",")
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

    #[test]
    fn lists_are_written() {
        for (cpus, expect) in [(&[][..], ""), (&[3], "3"), (&[3, 0, 1, 2, 7, 6], "0-3,6-7"), (&[0, 2], "0,2")] {
            assert_eq!(format(cpus), expect);
        }
    }
}

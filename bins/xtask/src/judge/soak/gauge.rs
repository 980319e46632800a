//! What a proxy holds, sampled; whether it grows, and whether it is given back.

use std::time::Duration;

use serde_json::Value;

use crate::lab::pace::wait_for;
use crate::lab::proxy::Proxy;

/// What is looked at, in the order of [`Sample`]: name, and how much more the last quarter's median may be than the
/// second quarter's: of 100, and besides.
const GAUGES: [(&str, u64, u64); 7] = [
    ("resident bytes", 2, 1 << 20),
    // The receive pools grow with the worst moment so far and free blocks are kept, each up to its limit: as much as the
    // pools grew resident memory may have grown, too.
    ("pool bytes", 0, POOLS_MAX),
    // The rest swings with the load: what is held at one moment by some twenty clients.
    ("descriptors", 10, 32),
    ("chunks", 10, 32),
    ("block bytes", 10, 1 << 20),
    ("tasks", 10, 32),
    ("streams", 10, 32),
];
/// What the pools of two workers may come to (docs/LIMITS.md): 1,024 chunks of 4 KiB and 4 MiB of free blocks each.
const POOLS_MAX: u64 = 2 * ((4 << 20) + (4 << 20));
const CHUNK_SIZE: u64 = 4 << 10;
const RESIDENT: usize = 0;
const POOLS: usize = 1;
/// A run shorter than this is still warming up in its second quarter: allocators and pools fill for minutes.
const LONG: Duration = Duration::from_secs(1_000);
/// Besides, for shorter runs.
const SHORT_SLACK: u64 = 8 << 20;

/// One look, in the order of [`GAUGES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample([u64; GAUGES.len()]);

impl Sample {
    /// Looks at a proxy. What a program has no number for (Envoy's chunks) is 0.
    pub(super) fn take(proxy: &Proxy) -> Result<Sample, String> {
        let workers = proxy.admin("/workers").unwrap_or_default();
        let json: Value = serde_json::from_str(&workers).unwrap_or(Value::Null);
        let sum = |key: &str| -> u64 {
            let loops = json["workers"].as_array().map(Vec::as_slice).unwrap_or_default();
            loops.iter().filter_map(|worker| worker["loop"][key].as_u64()).sum()
        };
        Ok(Sample([
            proxy.resident_bytes(),
            sum("chunks_total") * CHUNK_SIZE + sum("blocks_cached_bytes"),
            proxy.descriptors(),
            sum("chunks_total").saturating_sub(sum("chunks_free")) + sum("bulk_in_use"),
            sum("blocks_in_use_bytes"),
            sum("tasks"),
            sum("streams"),
        ]))
    }

    /// One short line.
    pub(super) fn line(&self) -> String {
        let [resident, pools, descriptors, chunks, blocks, tasks, streams] = self.0;
        format!(
            "{:.1} MiB ({:.1} of them pools), fds {descriptors}, chunks {chunks}, blocks {} KiB, tasks {tasks}, streams {streams}",
            resident as f64 / 1_048_576.0,
            pools as f64 / 1_048_576.0,
            blocks >> 10
        )
    }

    /// What is still held that was not at `base`: all but resident memory and pools, which keep what they may need again.
    fn beyond(&self, base: &Sample) -> Vec<String> {
        let gauges = GAUGES.iter().zip(self.0).zip(base.0).skip(POOLS + 1);
        let more = gauges.filter(|((_, now), base)| now > base);
        more.map(|(((name, ..), now), base)| format!("{name} {now} instead of {base}")).collect()
    }
}

/// The medians of the quarters of a run, in the order of [`GAUGES`], as lines; an error names what grew.
pub(super) fn judge_growth(samples: &[Sample], ran: Duration) -> (Vec<String>, Result<(), String>) {
    let quarter = samples.len() / 4;
    if quarter == 0 {
        return (Vec::new(), Err(format!("{} samples are too few", samples.len())));
    }
    let slack = if ran < LONG { SHORT_SLACK } else { 0 };
    let medians = |index: usize| -> [u64; 4] {
        std::array::from_fn(|number| {
            let part = &samples[number * quarter..(number + 1) * quarter];
            let mut values: Vec<u64> = part.iter().map(|sample| sample.0[index]).collect();
            values.sort_unstable();
            values[values.len() / 2]
        })
    };
    let pools = medians(POOLS);
    let (mut lines, mut grown) = (Vec::new(), Vec::new());
    for (index, (name, percent, besides)) in GAUGES.iter().enumerate() {
        let now = medians(index);
        let most = samples.iter().map(|sample| sample.0[index]).max().unwrap_or(0);
        let allowed = match index {
            RESIDENT => now[1] + now[1] * percent / 100 + besides + slack + pools[3].saturating_sub(pools[1]),
            POOLS => *besides,
            _ if *besides > 1_000 => now[1] + now[1] * percent / 100 + besides + slack,
            _ => now[1] + now[1] * percent / 100 + besides,
        };
        let line = format!("{name:<15} medians of the quarters {now:?}, allowed {allowed}, most {most}");
        if now[3] > allowed {
            grown.push(line.clone());
        }
        lines.push(line);
    }
    let verdict = if grown.is_empty() { Ok(()) } else { Err(format!("grows: {}", grown.join("; "))) };
    (lines, verdict)
}

/// Waits until the proxy holds no more than at `base`; an error says what it still holds.
pub(super) fn wait_given_back(proxy: &Proxy, base: &Sample, limit: Duration) -> Result<Sample, String> {
    let mut held = Vec::new();
    let given = wait_for("what was held to be given back", limit, || {
        let now = Sample::take(proxy).ok()?;
        held = now.beyond(base);
        held.is_empty().then_some(now)
    });
    given.map_err(|why| format!("{why}: {}", held.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(resident: impl Fn(u64) -> u64, pools: impl Fn(u64) -> u64, seconds: u64, flat: bool) {
        let sample = |at| Sample([resident(at) << 20, pools(at) << 20, 50, 5, 5, 5, 5]);
        let samples: Vec<Sample> = (0..100).map(sample).collect();
        let (lines, verdict) = judge_growth(&samples, Duration::from_secs(seconds));
        assert_eq!(verdict.is_ok(), flat, "{lines:?}");
    }

    #[test]
    fn growth_after_the_first_quarter_is_seen() {
        check(|_| 30, |_| 1, 7_200, true);
        check(|at| if at < 25 { at } else { 30 }, |_| 1, 7_200, true); // warming up
        check(|at| if at == 80 { 900 } else { 30 }, |_| 1, 7_200, true); // one peak
        check(|at| 30 + at / 10, |_| 1, 7_200, false);
        check(|at| 30 + at / 10, |at| 1 + at / 10, 7_200, true); // what grew are the pools
        check(|_| 30, |at| at / 4, 7_200, false); // beyond their limit
        check(|at| 30 + at / 10, |_| 1, 60, true);
        check(|at| 30 + at, |_| 1, 60, false);
    }

    #[test]
    fn what_is_still_held_is_named() {
        let base = Sample([9, 0, 14, 0, 0, 2, 0]);
        assert!(Sample([99, 9, 14, 0, 0, 2, 0]).beyond(&base).is_empty());
        assert_eq!(Sample([9, 0, 15, 0, 0, 2, 0]).beyond(&base), ["descriptors 15 instead of 14"]);
    }
}

//! One load on one target: what the generator saw, and what the target's processes took for it.

use std::io::Read;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::account::CpuTimes;
use super::bed::{LOOK, Places, own};
use super::held::Held;
use super::row::rounded;
use super::workers::Workers;

/// Why there is no sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The user wants no more.
    Interrupted,
    /// In words.
    Failed(String),
}

impl From<String> for Fault {
    fn from(why: String) -> Fault {
        Fault::Failed(why)
    }
}

/// What is loaded.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// Whose CPU time counts; none: it is not ours to look at.
    pub(crate) processes: Vec<u32>,
    /// Who tells of its workers.
    pub(crate) workers: Option<Workers>,
}

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// As `ringway-load run --json` has it.
    pub(crate) run: Value,
    /// CPU time of the target's threads, in nanoseconds.
    pub(crate) threads: Vec<(String, u64)>,
    /// Connections of each worker, half way through.
    pub(crate) connections: Option<Vec<u64>>,
}

impl Sample {
    fn number(&self, pointer: &str) -> f64 {
        self.run.pointer(pointer).and_then(Value::as_f64).unwrap_or(0.0)
    }

    pub(crate) fn rate(&self) -> f64 {
        self.number("/rate")
    }

    pub(crate) fn answered(&self) -> f64 {
        self.number("/answered")
    }

    pub(crate) fn failed(&self) -> u64 {
        self.number("/failed") as u64
    }

    /// Failures by kind, in words.
    pub(crate) fn failures(&self) -> String {
        let kinds = self.run["failures"].as_object().into_iter().flatten();
        let kinds = kinds.filter(|(_, count)| count.as_u64() != Some(0)).map(|(kind, count)| format!("{count} {kind}"));
        kinds.collect::<Vec<_>>().join(", ")
    }

    /// CPU time of the target for each answer, in microseconds.
    pub(crate) fn cpu_us(&self) -> f64 {
        self.cpu_s() * 1e6 / self.answered().max(1.0)
    }

    /// CPU time of the target for each 10^9 bytes of bodies, in seconds.
    pub(crate) fn cpu_s_per_gb(&self) -> f64 {
        self.cpu_s() * 1e9 / self.number("/bytes_received").max(1.0)
    }

    /// Bodies, in 10^9 bits a second.
    pub(crate) fn gbit_s(&self) -> f64 {
        self.number("/bytes_received") * 8e-9 / self.number("/measured_s").max(1e-9)
    }

    pub(crate) fn cpu_s(&self) -> f64 {
        self.threads.iter().map(|(_, time)| *time as f64).sum::<f64>() / 1e9
    }

    /// The generator's own CPU time for each answer, in microseconds.
    pub(crate) fn generator_us(&self) -> f64 {
        let cores = self.run.pointer("/generator/cpu_s").and_then(Value::as_array).into_iter().flatten();
        cores.filter_map(Value::as_f64).sum::<f64>() * 1e6 / self.answered().max(1.0)
    }

    /// A round, as the document has it.
    pub(crate) fn document(&self, has_cpu: bool) -> Value {
        json!({
            "rate": rounded(self.rate()),
            "answered": self.answered(),
            "failed": self.failed(),
            "cpu_us": has_cpu.then(|| rounded(self.cpu_us())),
            "generator_cpu_us": rounded(self.generator_us()),
            "p50_us": rounded(self.number("/latency_us/p50")),
            "p99_us": rounded(self.number("/latency_us/p99")),
            "p99.9_us": rounded(self.number("/latency_us/p99.9")),
        })
    }
}

/// A load that runs.
pub(crate) struct Load {
    held: Held,
}

impl Load {
    /// Starts `ringway-load run` with these arguments.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn start(arguments: &[String], places: &Places) -> Result<Load, String> {
        let mut words = vec![own()?, "run".to_owned(), "--json".to_owned(), "-".to_owned()];
        words.extend_from_slice(arguments);
        Ok(Load { held: Held::start(&words, &places.load, Stdio::piped(), Stdio::piped())? })
    }

    /// Its output, line by line, as it comes on either way.
    pub(crate) fn held(&mut self) -> &mut Held {
        &mut self.held
    }

    /// Waits for its end; `each` is called now and then meanwhile.
    ///
    /// # Errors
    /// It was interrupted, or told nothing.
    pub(crate) fn finish(mut self, interrupted: &AtomicBool, mut each: impl FnMut()) -> Result<Value, Fault> {
        let mut output = self.held.output().expect("it was asked for");
        let errors = self.held.errors();
        let (told, said) = channel();
        let reader = std::thread::spawn(move || {
            let mut text = String::new();
            let _end = output.read_to_string(&mut text); // what came before an error is not whole, and no JSON
            let _gone = told.send(text);
        });
        let complaints = std::thread::spawn(move || {
            let mut text = String::new();
            if let Some(mut errors) = errors {
                let _end = errors.read_to_string(&mut text); // it is shown as far as it came
            }
            text
        });
        let text = loop {
            match said.recv_timeout(LOOK) {
                Ok(text) => break text,
                Err(RecvTimeoutError::Timeout) if interrupted.load(Ordering::Relaxed) => {
                    return Err(Fault::Interrupted);
                }
                Err(RecvTimeoutError::Timeout) => each(),
                Err(RecvTimeoutError::Disconnected) => break String::new(),
            }
        };
        self.held.end();
        let _done = reader.join();
        let complaints = complaints.join().unwrap_or_default();
        serde_json::from_str(&text).map_err(|_| Fault::Failed(format!("the generator: {}", complaints.trim())))
    }
}

/// Loads a target with these arguments of `ringway-load run`, for so long.
///
/// # Errors
/// It was interrupted, or the generator could not do it.
pub(crate) fn measure(
    target: &Target,
    arguments: &[String],
    time: Duration,
    places: &Places,
    interrupted: &AtomicBool,
) -> Result<Sample, Fault> {
    let mut all = arguments.to_vec();
    let cores = places.cores().min(connections(arguments)).to_string();
    let duration = format!("{}ms", time.as_millis());
    all.extend(["--quiet", "-d", &duration, "-t", &cores].map(str::to_owned));
    let before = CpuTimes::of(&target.processes);
    let began = Instant::now();
    let mut connections = None;
    let mut asked = false;
    let run = Load::start(&all, places)?.finish(interrupted, || {
        if !asked && began.elapsed() > time / 2 {
            asked = true;
            connections = target.workers.as_ref().and_then(|workers| workers.connections(places.proxy.len()));
        }
    })?;
    let threads = CpuTimes::of(&target.processes).since(&before);
    Ok(Sample { run, threads, connections })
}

/// What stands behind `-c`.
fn connections(arguments: &[String]) -> usize {
    let at = arguments.iter().position(|word| word == "-c");
    at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_follow_from_what_was_counted() {
        let run = json!({
            "rate": 500.0, "answered": 1000, "failed": 3, "bytes_received": 2_000_000_000_u64, "measured_s": 2.0,
            "failures": {"reset": 3, "status": 0}, "generator": {"cpu_s": [0.25, 0.25]}, "latency_us": {},
        });
        let threads = vec![("a".to_owned(), 300_000_000), ("b".to_owned(), 200_000_000)];
        let sample = Sample { run, threads, connections: None };
        assert_eq!((sample.cpu_us(), sample.cpu_s_per_gb(), sample.gbit_s()), (500.0, 0.25, 8.0));
        assert_eq!((sample.generator_us(), sample.failed(), sample.failures()), (500.0, 3, "3 reset".to_owned()));
    }
}

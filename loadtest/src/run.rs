//! A run: the cores are started, told when to begin and when to stop, and what they measure is put together second by second.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use ringway_runtime::{Instant, Wake, cpus, raise_descriptor_limit};

use crate::connect;
use crate::plan::{Pace, Plan};
use crate::report::hdr::Log;
use crate::tally::Second;
use crate::view::View;
use crate::worker::{self, Place, Report, Shared};

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) plan: Arc<Plan>,
    /// What the runtime says of its driver.
    pub(crate) io: String,
    pub(crate) began: SystemTime,
    /// From the end of the warm-up to the end of the last request.
    pub(crate) measured: Duration,
    pub(crate) total: Second,
    pub(crate) series: Vec<Point>,
    /// Requests that the schedule had no time for.
    pub(crate) missed: u64,
    /// CPU time of each core of the generator, and how long they ran.
    pub(crate) cpu: Vec<Duration>,
    pub(crate) ran: Duration,
    /// The user wanted no more.
    pub(crate) interrupted: bool,
}

/// A second of the series, in nanoseconds where it is of time.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Point {
    pub(crate) number: u32,
    pub(crate) answered: u64,
    pub(crate) failed: u64,
    pub(crate) bytes_received: u64,
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) p999: u64,
    pub(crate) max: u64,
}

impl Point {
    fn new(number: u32, second: &Second) -> Point {
        let at = |quantile| second.latency.value_at_quantile(quantile);
        Point {
            number,
            answered: second.answered,
            failed: second.failures.total(),
            bytes_received: second.bytes_received,
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            max: second.latency.max(),
        }
    }
}

impl Outcome {
    /// Answers a second that were as expected.
    pub(crate) fn rate(&self) -> f64 {
        self.total.answered as f64 / self.measured.as_secs_f64().max(1e-9)
    }

    /// How busy the busiest of the generator's cores was, as a part of 1.
    pub(crate) fn busiest(&self) -> f64 {
        let busiest = self.cpu.iter().max().copied().unwrap_or_default();
        busiest.as_secs_f64() / self.ran.as_secs_f64().max(1e-9)
    }

    /// Why the generator itself did not keep the rate, if it did not.
    pub(crate) fn own_fault(&self) -> Option<String> {
        if !matches!(self.plan.pace, Pace::Open { .. }) {
            return None;
        }
        if self.missed > 0 {
            return Some(format!("{} requests were due and there was no time to send them", self.missed));
        }
        let late = Duration::from_nanos(self.total.late.value_at_quantile(0.99));
        (late > self.plan.late_max).then(|| {
            format!(
                "one request in a hundred was looked at {late:?} after it was due, or later (--late-max {:?})",
                self.plan.late_max
            )
        })
    }
}

/// How often whoever waits for the cores looks at what else there is.
const LOOK: Duration = Duration::from_millis(50);
/// Seconds of the series that are kept: a week, of 64 bytes each. The sums go on.
const SERIES_MAX: usize = 7 * 86_400;
/// Cores begin so long after all are ready: longer than it takes to tell them.
const LEAD: Duration = Duration::from_millis(10);

/// Runs the plan. `interrupted` is set when the user wants no more; `log` gets each second's latencies.
///
/// # Errors
/// What cannot be set up, in words.
pub(crate) fn run(
    plan: Arc<Plan>,
    interrupted: &AtomicBool,
    view: &mut View,
    mut log: Option<&mut Log>,
) -> Result<Outcome, String> {
    let _descriptors = raise_descriptor_limit(); // where it cannot be raised, connecting says so
    let tls = connect::context(&plan).map_err(|error| format!("TLS: {error}"))?;
    let shared: Arc<Shared> = Arc::default();
    let (told, io) = channel();
    let (reports, incoming) = channel();
    let mut wakes = Vec::new();
    let mut threads = Vec::new();
    for core in 0..plan.threads {
        let wake = Wake::new().map_err(|error| error.to_string())?;
        wakes.push(Arc::clone(&wake));
        threads.push(start(&plan, tls.clone(), Place { core, wake }, &shared, reports.clone(), told.clone())?);
    }
    drop((reports, told));
    let mut gathering = Gathering {
        cores: plan.threads,
        ready: 0,
        done: 0,
        seconds: BTreeMap::new(),
        total: Second::default(),
        series: Vec::new(),
        missed: 0,
        cpu: Vec::new(),
        ended: None,
    };
    let mut began: Option<(Instant, SystemTime)> = None;
    let mut stopped = false;
    loop {
        match incoming.recv_timeout(LOOK) {
            Ok(report) => gathering.take(report),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        while let Some((number, second)) = gathering.whole() {
            if Duration::from_secs(number.into()) < plan.duration {
                view.second(number, &second);
            }
            if let Some(log) = &mut log {
                log.second(number, &second.latency).map_err(|error| format!("--hdr: {error}"))?;
            }
        }
        if began.is_none() && gathering.ready == plan.threads {
            let start = Instant::now() + LEAD;
            began = Some((start, SystemTime::now() + LEAD));
            shared.begin(start);
            wakes.iter().for_each(|wake| wake.wake());
        }
        if !stopped && interrupted.load(Ordering::Relaxed) {
            stopped = true;
            shared.stop();
            wakes.iter().for_each(|wake| wake.wake());
        }
        if let Some((start, _)) = began {
            view.at(start.elapsed());
        }
    }
    view.end();
    for thread in threads {
        thread.join().map_err(|_| "a core panicked".to_owned())??;
    }
    while let Some((number, second)) = gathering.rest() {
        if let Some(log) = &mut log {
            log.second(number, &second.latency).map_err(|error| format!("--hdr: {error}"))?;
        }
    }
    let (start, began) = began.ok_or("no core was ready")?;
    let from = start + plan.warm_up;
    let ended = gathering.ended.unwrap_or(from);
    Ok(Outcome {
        io: io.iter().next().unwrap_or_default(),
        began,
        measured: ended.saturating_duration_since(from),
        ran: ended.saturating_duration_since(start),
        total: gathering.total,
        series: gathering.series,
        missed: gathering.missed,
        cpu: gathering.cpu,
        interrupted: stopped,
        plan,
    })
}

fn start(
    plan: &Arc<Plan>,
    tls: Option<Arc<ringway_tls::ClientContext>>,
    place: Place,
    shared: &Arc<Shared>,
    reports: Sender<Report>,
    told: Sender<String>,
) -> Result<JoinHandle<Result<(), String>>, String> {
    let (plan, shared) = (Arc::clone(plan), Arc::clone(shared));
    let body = move || {
        if let Some(cpu) = plan.cpus.get(place.core) {
            cpus::pin_current_thread(*cpu).map_err(|error| format!("CPU {cpu}: {error}"))?;
        }
        let told = move |report: ringway_runtime::IoReport| _ = told.send(report.to_string());
        worker::run(plan, tls, place, shared, reports, told).map_err(|error| error.to_string())
    };
    std::thread::Builder::new().name("load".into()).spawn(body).map_err(|error| format!("a thread: {error}"))
}

/// What the cores' reports have come to so far.
struct Gathering {
    cores: usize,
    ready: usize,
    done: usize,
    /// Seconds that not all cores have told of, and how many have.
    seconds: BTreeMap<u32, (Second, usize)>,
    total: Second,
    series: Vec<Point>,
    missed: u64,
    cpu: Vec<Duration>,
    ended: Option<Instant>,
}

impl Gathering {
    fn take(&mut self, report: Report) {
        match report {
            Report::Ready => self.ready += 1,
            Report::Second { number, second } => {
                let (all, count) = self.seconds.entry(number).or_default();
                all.merge(&second);
                *count += 1;
            }
            Report::Done { missed, cpu, ended } => {
                self.done += 1;
                self.missed += missed;
                self.cpu.push(cpu);
                self.ended = self.ended.max(Some(ended));
            }
        }
    }

    /// The next second that all have told of.
    fn whole(&mut self) -> Option<(u32, Second)> {
        let first = self.seconds.first_entry()?;
        if first.get().1 < self.cores { None } else { self.rest() }
    }

    /// The next second, whoever has told of it.
    fn rest(&mut self) -> Option<(u32, Second)> {
        let (number, (second, _)) = self.seconds.pop_first()?;
        self.total.merge(&second);
        if self.series.len() < SERIES_MAX {
            self.series.push(Point::new(number, &second));
        }
        Some((number, second))
    }
}

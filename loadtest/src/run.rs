//! A run: the cores are started, told when to begin and when to stop, and what they measure is put together second by second.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use ringway_runtime::{Instant, Wake, cpus, raise_descriptor_limit};

use crate::connect;
use crate::cpu_time::CpuTime;
use crate::outcome::{Outcome, Point};
use crate::plan::Plan;
use crate::report::hdr::Log;
use crate::tally::{Interval, Second};
use crate::view::View;
use crate::worker::{self, Place, Report, Shared};

/// How often whoever waits for the cores looks at what else there is.
const LOOK: Duration = Duration::from_millis(50);
/// Seconds of the series that are kept: a week, of 88 bytes each. The sums go on.
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
        warm_up: plan.warm_up,
        early: Second::default(),
        series: Vec::new(),
        missed: 0,
        cpu: Vec::new(),
        ran: Duration::ZERO,
        is_exhausted: true,
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
        while let Some((interval, second)) = gathering.whole() {
            if interval.from < plan.duration {
                view.second(interval, &second);
            }
            if let Some(log) = log.as_mut().filter(|_| interval.from >= plan.warm_up) {
                log.second(interval, &second.latency).map_err(log_failed)?;
            }
        }
        if began.is_none() && gathering.ready == plan.threads {
            let start = Instant::now() + LEAD;
            let at = SystemTime::now() + LEAD;
            began = Some((start, at));
            if let Some(log) = &mut log {
                log.begin(at).map_err(log_failed)?;
            }
            shared.begin(start);
            wakes.iter().for_each(|wake| wake.wake());
        }
        if began.is_none() && threads.iter().any(JoinHandle::is_finished) {
            // It could not begin, and says why when it is joined: nobody else will.
            shared.give_up();
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
    while let Some((interval, second)) = gathering.rest() {
        if let Some(log) = log.as_mut().filter(|_| interval.from >= plan.warm_up) {
            log.second(interval, &second.latency).map_err(log_failed)?;
        }
    }
    let (start, began) = began.ok_or("no core was ready")?;
    let from = start + plan.warm_up;
    let ended = gathering.ended.unwrap_or(from);
    let age = ended.saturating_duration_since(start);
    // Seconds in which nothing was left to do are none of the run's.
    gathering.series.retain(|point| point.interval.from < age || !point.is_empty());
    if let Some(log) = log {
        log.end(age).map_err(log_failed)?;
    }
    Ok(Outcome {
        io: io.iter().next().unwrap_or_default(),
        began,
        measured: ended.saturating_duration_since(from),
        ran: gathering.ran,
        total: gathering.total,
        series: gathering.series,
        missed: gathering.missed,
        cpu: gathering.cpu,
        is_counted_off: stopped || gathering.is_exhausted,
        interrupted: stopped,
        plan,
    })
}

fn log_failed(error: std::io::Error) -> String {
    format!("--hdr: {error}")
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
    /// Seconds that not all cores have told of, by when they begin: until when they last, and how many cores have.
    seconds: BTreeMap<Duration, (Duration, Second, usize)>,
    total: Second,
    /// Seconds up to then are in no series.
    warm_up: Duration,
    /// What counts and was told with the warm-up, for a core cuts between two of its turns.
    early: Second,
    series: Vec<Point>,
    missed: u64,
    cpu: Vec<CpuTime>,
    ran: Duration,
    /// No core had anything left to send.
    is_exhausted: bool,
    ended: Option<Instant>,
}

impl Gathering {
    fn take(&mut self, report: Report) {
        match report {
            Report::Ready => self.ready += 1,
            Report::Second { interval, second } => {
                let (until, all, count) = self.seconds.entry(interval.from).or_default();
                *until = interval.until.max(*until);
                all.merge(&second);
                *count += 1;
            }
            Report::Done { missed, cpu, ran, ended, is_exhausted } => {
                self.done += 1;
                self.is_exhausted &= is_exhausted;
                self.ran = self.ran.max(ran);
                self.missed += missed;
                self.cpu.push(cpu);
                self.ended = self.ended.max(Some(ended));
            }
        }
    }

    /// The next second that all have told of.
    fn whole(&mut self) -> Option<(Interval, Second)> {
        let first = self.seconds.first_entry()?;
        if first.get().2 < self.cores { None } else { self.rest() }
    }

    /// The next second, whoever has told of it.
    fn rest(&mut self) -> Option<(Interval, Second)> {
        let (from, (until, mut second, _)) = self.seconds.pop_first()?;
        let interval = Interval { from, until };
        self.total.merge(&second);
        if from < self.warm_up {
            self.early.merge(&second);
            return Some((interval, second));
        }
        second.merge(&std::mem::take(&mut self.early));
        if self.series.len() < SERIES_MAX {
            self.series.push(Point::new(interval, &second));
        }
        Some((interval, second))
    }
}

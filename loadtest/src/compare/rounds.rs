//! The rounds: in each of a scenario all take their turn, so that a noisy host moves all of them alike.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::account::{Memory, reset_peak};
use super::bed::{Folder, Origin, Places, Running};
use super::capacity::{Asked, Capacities};
use super::config::Format;
use super::idle;
use super::instructions::{self, Count};
use super::measure::{Fault, Sample, Target, measure};
use super::peer::Peer;
use super::row::{Measured, Outcome, Row, rounded};
use super::scenario::{Load, Scenario, WARM_UP, Way, named};
use super::text::{ORIGIN, floor};
use super::workers::Workers;
use super::{progress, shown_arguments};

/// What is to be measured.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) scenarios: Vec<Scenario>,
    pub(crate) rounds: u32,
    /// Of each round of each subject.
    pub(crate) time: Duration,
    /// Idle connections are as many as a scenario says divided by this.
    pub(crate) idle_divisor: u32,
}

/// A proxy under comparison.
struct Subject {
    peer: Peer,
    running: Option<Running>,
    /// Memory when it had just started, of the last start.
    idle: Memory,
}

/// See the module.
pub(crate) struct Run<'a> {
    plan: &'a Plan,
    folder: &'a Folder,
    origin: &'a Origin,
    places: &'a Places,
    interrupted: &'a AtomicBool,
    subjects: Vec<Subject>,
    /// What the proxies that run have listeners for.
    configured: Vec<Way>,
    done: Vec<(Scenario, Vec<Row>)>,
    capacities: Capacities,
}

impl<'a> Run<'a> {
    pub(crate) fn new(
        plan: &'a Plan,
        folder: &'a Folder,
        origin: &'a Origin,
        places: &'a Places,
        peers: Vec<Peer>,
        interrupted: &'a AtomicBool,
    ) -> Run<'a> {
        let subject = |peer| Subject { peer, running: None, idle: Memory::default() };
        let subjects = peers.into_iter().map(subject).collect();
        let (configured, done, capacities) = (Vec::new(), Vec::new(), Capacities::default());
        Run { plan, folder, origin, places, interrupted, subjects, configured, done, capacities }
    }

    /// Runs all scenarios, each told of when it is through.
    ///
    /// # Errors
    /// A proxy does not start the first time: the rest would be about something else than was asked for.
    pub(crate) fn all(&mut self, mut tell: impl FnMut(&Scenario, &[Row])) -> Result<(), String> {
        let mut ways = Vec::new();
        for scenario in self.plan.scenarios.clone() {
            if self.is_interrupted() {
                break;
            }
            // Memory is compared on fresh processes, that have nothing but what the scenario needs.
            let needed = if scenario.is_idle() { vec![scenario.way] } else { self.ways() };
            if needed != ways {
                let is_first = ways.is_empty();
                ways = needed;
                self.restart(&ways, is_first)?;
            }
            let rows = if scenario.is_idle() { self.idle(&scenario) } else { self.load(&scenario) };
            if let Some(rows) = rows {
                tell(&scenario, &rows);
                self.done.push((scenario, rows));
            }
        }
        Ok(())
    }

    /// Starts all of them anew, with these listeners.
    fn restart(&mut self, ways: &[Way], is_first: bool) -> Result<(), String> {
        self.subjects.iter_mut().for_each(|subject| subject.running = None);
        self.configured = ways.to_vec();
        for at in 0..self.subjects.len() {
            let started = self.start(at);
            // Later it is a row's failure, for a scenario tries it again.
            if is_first {
                started?;
            }
        }
        Ok(())
    }

    fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// The ways that scenarios of loads take.
    fn ways(&self) -> Vec<Way> {
        let loads = self.plan.scenarios.iter().filter(|scenario| !scenario.is_idle());
        let mut ways: Vec<Way> = loads.map(|scenario| scenario.way).collect();
        ways.sort_unstable();
        ways.dedup();
        ways
    }

    fn start(&mut self, at: usize) -> Result<(), String> {
        let ways = self.configured.clone();
        let subject = &mut self.subjects[at];
        subject.running = None;
        let running = Running::start(&subject.peer, &ways, self.folder, self.origin.addresses, self.places)?;
        subject.idle = running.idle;
        subject.running = Some(running);
        Ok(())
    }

    /// The proxy at this place with a listener for a scenario, started anew where it has ended.
    fn target(&mut self, at: usize, scenario: &Scenario) -> Result<Target, Outcome> {
        if let Some(why) = self.subjects[at].peer.format.cannot(scenario.way) {
            return Err(Outcome::Cannot(why.to_owned()));
        }
        if self.subjects[at].running.as_mut().is_none_or(|running| running.ended().is_some()) {
            self.start(at).map_err(Outcome::Failed)?;
        }
        let running = self.subjects[at].running.as_ref().expect("it was started");
        let address = running.wiring.address(scenario.way).expect("every way of a scenario is configured");
        let (admin, port) = (([127, 0, 0, 1], running.wiring.admin).into(), address.port());
        let processes = running.processes();
        let workers = match running.peer.format {
            Format::V3 => Workers::Admin(admin),
            Format::Haproxy => Workers::Stats { socket: admin, port },
            Format::Nginx => Workers::Processes { all: processes.clone(), port },
        };
        Ok(Target { address, processes, workers: Some(workers) })
    }

    fn origin_target(&self, scenario: &Scenario) -> Option<Target> {
        let processes =
            self.origin.processes(scenario.way).filter(|_| scenario.way.has_floor() && !scenario.is_idle())?;
        Some(Target { address: self.origin.addresses.of(scenario.way), processes, workers: None })
    }

    /// Who takes part, in turn: the origin alone, and each proxy. `None` is the origin.
    fn turns(&self) -> Vec<Option<usize>> {
        std::iter::once(None).chain((0..self.subjects.len()).map(Some)).collect()
    }

    fn name(&self, who: Option<usize>) -> String {
        who.map_or_else(|| ORIGIN.to_owned(), |at| self.subjects[at].peer.name.clone())
    }

    /// What a fault means for a subject: that it has ended is the reason for anything else.
    fn because(&mut self, who: Option<usize>, why: String) -> String {
        let ended = who.and_then(|at| self.subjects[at].running.as_mut()?.ended());
        ended.unwrap_or(why)
    }

    /// The rows of a scenario of idle connections; `None`: it was interrupted.
    fn idle(&mut self, scenario: &Scenario) -> Option<Vec<Row>> {
        let Load::Idle { connections } = scenario.load else { unreachable!("the caller looked") };
        let connections = (connections / self.plan.idle_divisor).max(1);
        let mut rows = Vec::new();
        for at in 0..self.subjects.len() {
            progress(&format!("{}: {}", scenario.name, self.subjects[at].peer.name));
            let outcome = match self.target(at, scenario) {
                Err(outcome) => outcome,
                Ok(target) => match idle::measure(scenario, &target, connections, self.places, self.interrupted) {
                    Ok(idle) => Outcome::Idle(idle),
                    Err(Fault::Interrupted) => return None,
                    Err(Fault::Failed(why)) => Outcome::Failed(self.because(Some(at), why)),
                },
            };
            rows.push(Row { subject: self.name(Some(at)), outcome });
        }
        Some(rows)
    }

    /// The rows of any other scenario; `None`: it was interrupted.
    fn load(&mut self, scenario: &Scenario) -> Option<Vec<Row>> {
        let turns: Vec<Option<usize>> =
            self.turns().into_iter().filter(|who| who.is_some() || self.origin_target(scenario).is_some()).collect();
        if let Load::Part { capacity, .. } = scenario.load {
            self.find_capacities(&turns, named(capacity).expect("a test looks after it"))?;
        }
        let mut outcomes = self.rounds(&turns, scenario, scenario.name)?;
        for (who, outcome) in turns.iter().zip(&mut outcomes) {
            if let Ok(measured) = outcome {
                self.complete(*who, scenario, measured)?;
            }
        }
        let row = |(who, outcome): (&Option<usize>, Result<Measured, Outcome>)| Row {
            subject: self.name(*who),
            outcome: outcome.map_or_else(|outcome| outcome, Outcome::Measured),
        };
        Some(turns.iter().zip(outcomes).map(row).collect())
    }

    /// The closed loop of those whose capacity is not known yet: before the open loop's first round, for its rate follows from all of them.
    fn find_capacities(&mut self, turns: &[Option<usize>], base: &'static Scenario) -> Option<()> {
        let is_unknown = |who: &&Option<usize>| !self.capacities.is_known(&self.name(**who), base.name);
        let unknown: Vec<Option<usize>> = turns.iter().filter(is_unknown).copied().collect();
        let outcomes = self.rounds(&unknown, base, &format!("capacity ({})", base.name))?;
        for (who, outcome) in unknown.iter().zip(outcomes) {
            if let Err(Outcome::Failed(why)) = outcome {
                self.capacities.failed(&self.name(*who), base.name, why);
            }
        }
        Some(())
    }

    /// All rounds of a scenario, of those whose turns these are; `None`: it was interrupted.
    fn rounds(
        &mut self,
        turns: &[Option<usize>],
        scenario: &Scenario,
        called: &str,
    ) -> Option<Vec<Result<Measured, Outcome>>> {
        let mut outcomes: Vec<Result<Measured, Outcome>> = Vec::new();
        for who in turns {
            outcomes.push(self.prepare(*who, turns, scenario)?);
        }
        for round in 1..=self.plan.rounds {
            for (who, outcome) in turns.iter().zip(&mut outcomes) {
                let Ok(measured) = outcome else { continue };
                progress(&format!("{called}, round {round} of {}: {}", self.plan.rounds, self.name(*who)));
                match self.once(*who, scenario, measured.asked.as_ref()) {
                    Ok(sample) => measured.rounds.push(sample),
                    Err(Fault::Interrupted) => return None,
                    Err(Fault::Failed(why)) => *outcome = Err(Outcome::Failed(self.because(*who, why))),
                }
            }
        }
        if let Load::Closed { .. } = scenario.load {
            for (who, outcome) in turns.iter().zip(&outcomes) {
                if let Ok(measured) = outcome {
                    self.capacities.measured(&self.name(*who), scenario.name, &measured.rounds);
                }
            }
        }
        Some(outcomes)
    }

    fn target_of(&mut self, who: Option<usize>, scenario: &Scenario) -> Result<Target, Outcome> {
        match who {
            Some(at) => self.target(at, scenario),
            None => Ok(self.origin_target(scenario).expect("it takes part only then")),
        }
    }

    /// Warms a subject up, and knows the rate of an open loop; `None`: it was interrupted.
    fn prepare(
        &mut self,
        who: Option<usize>,
        turns: &[Option<usize>],
        scenario: &Scenario,
    ) -> Option<Result<Measured, Outcome>> {
        let target = match self.target_of(who, scenario) {
            Ok(target) => target,
            Err(outcome) => return Some(Err(outcome)),
        };
        let mut measured = Measured { has_cpu: true, is_bulk: scenario.way.is_bulk(), ..Measured::default() };
        if let Load::Part { part, capacity, whose } = scenario.load {
            let subjects: Vec<String> = turns.iter().map(|who| self.name(*who)).collect();
            match self.capacities.asked(&self.name(who), &subjects, (part, capacity, whose)) {
                Ok(asked) => measured.asked = Some(asked),
                Err(why) => return Some(Err(Outcome::Failed(why))),
            }
        }
        reset_peak(&target.processes);
        // Without a rate this is a closed loop, whatever the scenario is.
        let arguments = scenario.arguments(&target.address.to_string());
        match measure(&target, &arguments, WARM_UP, self.places, self.interrupted) {
            Ok(_) => Some(Ok(measured)),
            Err(Fault::Interrupted) => None,
            Err(Fault::Failed(why)) => Some(Err(Outcome::Failed(self.because(who, why)))),
        }
    }

    /// One round of one subject.
    fn once(&mut self, who: Option<usize>, scenario: &Scenario, asked: Option<&Asked>) -> Result<Sample, Fault> {
        let target = match self.target_of(who, scenario) {
            Ok(target) => target,
            Err(Outcome::Failed(why)) => return Err(Fault::Failed(why)),
            Err(_) => unreachable!("who cannot was left out"),
        };
        let mut arguments = scenario.arguments(&target.address.to_string());
        if let Some(asked) = asked {
            arguments.extend(["--rate".to_owned(), format!("{:.1}", asked.rate)]);
        }
        let sample = measure(&target, &arguments, self.plan.time, self.places, self.interrupted)?;
        let ended = who.and_then(|at| self.subjects[at].running.as_mut()?.ended());
        ended.map_or(Ok(sample), |why| Err(Fault::Failed(why)))
    }

    /// What is taken once, behind the rounds: the peak, the instructions; `None`: it was interrupted.
    fn complete(&mut self, who: Option<usize>, scenario: &Scenario, measured: &mut Measured) -> Option<()> {
        let Ok(target) = self.target_of(who, scenario) else { return Some(()) };
        measured.peak = Memory::of(&target.processes).peak;
        if instructions::are_counted() {
            // In a pass of its own: counting slows every switch of tasks.
            let count = Count::begin(&target.processes, &self.places.load, &self.folder.path);
            match self.once(who, scenario, measured.asked.as_ref()) {
                Ok(sample) => {
                    let each = |count: u64| count as f64 / sample.answered().max(1.0);
                    measured.instructions = count.and_then(Count::end).map(|(user, kernel)| (each(user), each(kernel)));
                }
                Err(Fault::Interrupted) => return None,
                Err(Fault::Failed(_)) => {} // the rounds were good, and stand
            }
        }
        Some(())
    }

    /// What failed, in words.
    pub(crate) fn failures(&self) -> Vec<String> {
        let rows = self.done.iter().flat_map(|(scenario, rows)| rows.iter().map(move |row| (scenario, row)));
        rows.filter_map(|(scenario, row)| Some(format!("{}, {}: {}", scenario.name, row.subject, row.failed()?)))
            .collect()
    }

    pub(crate) fn subjects_document(&self) -> Value {
        let subject = |subject: &Subject| {
            json!({
                "name": subject.peer.name,
                "version": subject.peer.version,
                "command": subject.peer.shown(),
                "ours": subject.peer.is_ours,
                "idle_resident_bytes": subject.idle.resident,
                "idle_proportional_bytes": subject.idle.proportional,
            })
        };
        self.subjects.iter().map(subject).collect()
    }

    pub(crate) fn scenarios_document(&self) -> Value {
        let document = |(scenario, rows): &(Scenario, Vec<Row>)| {
            json!({
                "name": scenario.name,
                "what": scenario.what,
                "generator": shown_arguments(scenario),
                "floor_cpu_us": floor(scenario, rows).map(rounded),
                "rows": rows.iter().map(Row::document).collect::<Vec<_>>(),
            })
        };
        self.done.iter().map(document).collect()
    }
}

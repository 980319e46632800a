//! The control thread: loads, stages, commits, reloads, drains, ends. The only thread that holds the engine.
//!
//! ```text
//!   Serving --SIGTERM--> Leaving (until drained, or the drain time is over) --> end
//!      \----------------------- SIGINT, /quitquitquit, second SIGTERM --------> end
//! ```
//!
//! Invariant: a configuration that cannot be put in force as a whole changes nothing; what is in force stays.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, SystemTime};

use ringway_control_client::{Changes, Counted, Directory, Scope};
use ringway_engine::Engine;
use ringway_observe::ServerState;
use ringway_runtime::Instant;

use crate::access_log::LogThread;
use crate::admin::{days_until_first, loop_json, worker_json};
use crate::command::{Command, DynamicView};
use crate::dynamic::{News, Tally};
use crate::load::{Candidate, Content, Loaded, Loader};
use crate::load_reports::Reporting;
use crate::log::Log;
use crate::state::{Rejection, State};
use crate::tally::tally;
use crate::watch::Watch;

/// How often retired configuration is freed and the uptime moves on.
const TICK: Duration = Duration::from_secs(1);

/// How often a leaving process looks whether it is empty.
const LEAVING_TICK: Duration = Duration::from_millis(20);

/// What came of a beginning.
pub(crate) enum Began {
    /// The configuration is in force.
    Serving,
    /// The process was told to end before that.
    Ended,
}

/// Who waits since now is said of so many: thousands of clusters may come at once.
const WAITS_SAID_MAX: usize = 16;

enum Phase {
    Serving,
    /// Until this instant at the latest.
    Leaving(Instant),
    Ended,
}

/// The control thread's own.
pub(crate) struct Control {
    /// Where it says what it did.
    pub(crate) log: Log,
    /// The workers.
    pub(crate) engine: Engine,
    /// Where the configuration comes from.
    pub(crate) loader: Loader,
    /// What it shows to the admin server.
    pub(crate) state: Arc<State>,
    /// What the workers' loops were at when last looked at.
    pub(crate) watch: Watch,
    /// Who writes the access logs.
    pub(crate) logs: LogThread,
    /// What is known of names.
    pub(crate) directory: Directory,
    /// Who is told how much was sent where.
    pub(crate) reporting: Reporting,
    /// What takes effect when its names are known.
    pub(crate) warming: Option<Loaded>,
    /// Something is in force. Before that nobody is left out: what waits for something holds up all, as in Envoy.
    pub(crate) is_serving: bool,
    /// How long [`Command::Terminate`] may take.
    pub(crate) drain_time: Duration,
}

impl Control {
    /// Puts a configuration in force before anything else: waits until its names are known, and obeys meanwhile.
    ///
    /// # Errors
    /// What stands in the way, each problem a text. Nothing is in force then.
    pub(crate) fn begin(&mut self, loaded: Loaded, inbox: &Receiver<Command>) -> Result<Began, Vec<String>> {
        self.accept(loaded)?;
        while self.warming.is_some() {
            let command = match self.loader.until() {
                Some(until) => inbox.recv_timeout(until.saturating_duration_since(std::time::Instant::now())),
                None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            };
            match command {
                Ok(Command::Terminate | Command::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    return Ok(Began::Ended);
                }
                Ok(Command::Names) => self.learn().and_then(|()| self.take_up_names())?,
                Ok(command) => _ = self.obey(command, Phase::Serving),
                Err(RecvTimeoutError::Timeout) => self.bring(&BTreeSet::new())?,
            }
        }
        if self.engine.snapshot().is_none() {
            return Err(vec!["what was to be put in force first was refused, as said above".to_owned()]);
        }
        self.is_serving = true;
        let took = self.state.started.elapsed().as_millis();
        self.state.registry.server.initialization_time_ms.record(u64::try_from(took).unwrap_or(u64::MAX));
        self.show();
        Ok(Began::Serving)
    }

    /// Serves until told to end; then ends the workers.
    pub(crate) fn serve(mut self, inbox: &Receiver<Command>) -> ExitCode {
        let mut phase = Phase::Serving;
        let mut tick = Instant::now() + TICK;
        loop {
            let now = Instant::now();
            if let Phase::Leaving(until) = phase
                && (now >= until || self.engine.drained())
            {
                let how = if self.engine.drained() { "all connections are done" } else { "the drain time is over" };
                self.log.info(format_args!("{how}: exiting"));
                phase = Phase::Ended;
            }
            if now >= tick {
                self.engine.sweep();
                self.show();
                self.watch.look(now).iter().for_each(|line| self.log.warning(line));
                self.engine.complaints().for_each(|line| self.log.warning(line));
                if matches!(phase, Phase::Serving) {
                    self.look_after_watches();
                }
                trim();
                tick = now + TICK;
            }
            if matches!(phase, Phase::Serving)
                && self.loader.until().is_some_and(|until| until <= std::time::Instant::now())
            {
                self.bring_or_say(&BTreeSet::new());
            }
            let wait = match phase {
                Phase::Ended => break,
                Phase::Serving => match self.loader.until() {
                    Some(until) => (tick - now).min(until.saturating_duration_since(std::time::Instant::now())),
                    None => tick - now,
                },
                Phase::Leaving(until) => LEAVING_TICK.min(until - now),
            };
            match inbox.recv_timeout(wait) {
                Ok(command) => phase = self.obey(command, phase),
                Err(RecvTimeoutError::Timeout) => {}
                // Nobody is left who could ask for anything: the threads that send never end by themselves.
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.end();
        ExitCode::SUCCESS
    }

    /// Ends the workers, then the thread that writes what they logged.
    pub(crate) fn end(self) {
        self.engine.stop();
        self.logs.end();
    }

    fn obey(&mut self, command: Command, phase: Phase) -> Phase {
        match command {
            Command::Reload(who) => match phase {
                Phase::Serving => self.reload(who),
                Phase::Leaving(_) | Phase::Ended => self.log.warning(format_args!("{who}: not reloaded: leaving")),
            },
            Command::Rotate => match phase {
                Phase::Serving => self.rotate(),
                Phase::Leaving(_) | Phase::Ended => {}
            },
            Command::Sources(moved) => match phase {
                Phase::Serving => self.bring_or_say(&moved),
                Phase::Leaving(_) | Phase::Ended => {}
            },
            Command::Responses => match phase {
                Phase::Serving => self.bring_or_say(&BTreeSet::new()),
                // What was asked for is not read any more, and nobody waits for the answer.
                Phase::Leaving(_) | Phase::Ended => {}
            },
            Command::Dynamic(reply) => {
                let (resources, waits) = (self.loader.shown(), self.loader.waits().to_vec());
                // Who asked may have lost patience.
                let _ = reply.try_send(DynamicView { resources, waits });
            }
            Command::Terminate => {
                self.engine.drain();
                // Said when the workers know: who reads it may count on it.
                self.log.info(format_args!("SIGTERM: draining for up to {} s", self.drain_time.as_secs()));
                self.show();
                return Phase::Leaving(Instant::now() + self.drain_time);
            }
            Command::DrainListeners => {
                self.engine.drain();
                self.log.info("draining the listeners, as asked for");
            }
            Command::Stop => {
                self.log.info("exiting at once, as asked for");
                return Phase::Ended;
            }
            Command::ReopenLogs => self.logs.reopen(),
            Command::Show => self.show(),
            Command::Names => {
                let learnt = self.learn();
                // Also where that could not be put in force: what was told is told once.
                let taken = match phase {
                    Phase::Serving => self.take_up_names(),
                    Phase::Leaving(_) | Phase::Ended => Ok(()),
                };
                if let Err(problems) = learnt.and(taken) {
                    self.refuse("names are known", problems);
                }
            }
            Command::Workers(reply) => {
                let now = Instant::now();
                let rows = self.engine.workers().into_iter().zip(self.engine.reports()).zip(self.engine.loop_stats());
                let rows = rows.map(|((row, io), stats)| {
                    let load = self.watch.load(row.index);
                    worker_json(&row, io, &self.state.topology, loop_json(stats, load, now))
                });
                // Who asked may have lost patience.
                let _ = reply.try_send(rows.collect());
            }
        }
        phase
    }

    fn reload(&mut self, who: &str) {
        let refused = match self.loader.load() {
            Ok(loaded) => self.accept(loaded).err(),
            Err(problems) => Some(problems),
        };
        if let Some(problems) = refused {
            self.refuse(who, problems);
        }
    }

    /// Takes up what changed in files of certificates and keys. The text of the configuration is the last one: that which was refused, if
    /// the files mend it; that which waits for its names; or that which is in force.
    fn rotate(&mut self) {
        const WHO: &str = "a file of certificates or keys changed";
        match self.loader.reread_refused() {
            Some(Ok(loaded)) => match self.accept(loaded) {
                Ok(()) => return,
                // What is in force has certificates, too.
                Err(problems) => self.refuse(WHO, problems),
            },
            // It was said and counted when it was refused. It is shown again where a rotation was refused since, of which half had been there.
            Some(Err(problems)) => self.state.change_view(|view| {
                if view.rejection.as_ref().is_none_or(|shown| shown.problems != problems) {
                    view.rejection = Some(Rejection { at: SystemTime::now(), problems });
                }
            }),
            None => {}
        }
        let warming = self.warming.as_ref().and_then(|loaded| loaded.file.as_ref()).map(|file| file.dump.clone());
        let Some(text) = warming.or_else(|| self.state.view().bootstrap.clone()) else { return };
        let refused = match self.loader.reread(&text) {
            Ok(loaded) => self.accept(loaded).err(),
            Err(problems) => Some(problems),
        };
        if let Some(problems) = refused {
            self.refuse(WHO, problems);
        }
    }

    /// Says which files of certificates are not watched, and takes up what changed once they are.
    fn look_after_watches(&mut self) {
        if self.loader.rewatch() {
            self.rotate();
        }
        let moved = self.loader.rewatch_sources();
        if !moved.is_empty() {
            self.bring_or_say(&moved);
        }
        for line in self.loader.untold() {
            self.log
                .warning(format_args!("{line}: what changes there is taken up at a reload, or once it can be watched"));
        }
    }

    /// Takes up files of resources that have moved, what has come of management servers, and what has waited long enough.
    ///
    /// # Errors
    /// What came cannot be put in force: what is in force stays.
    fn bring(&mut self, moved: &BTreeSet<PathBuf>) -> Result<(), Vec<String>> {
        match self.loader.bring(moved) {
            Some(loaded) => self.accept(loaded),
            // What nobody asks for is no news, and shown all the same.
            None => {
                self.show_runtime();
                self.expect_names()
            }
        }
    }

    fn bring_or_say(&mut self, moved: &BTreeSet<PathBuf>) {
        if let Err(problems) = self.bring(moved) {
            self.log.error("resources came that cannot be put in force; what is in force stays:");
            problems.iter().for_each(|problem| self.log.error(problem));
        }
    }

    /// Says and counts what became of resources.
    fn tell(&self, news: &News) {
        news.refusals.iter().for_each(|line| self.log.error(line));
        for line in &news.lines {
            match line.is_warning {
                true => self.log.warning(&line.text),
                false => self.log.info(&line.text),
            }
        }
        let waits = news.waits.iter().take(WAITS_SAID_MAX);
        waits.for_each(|wait| self.log.info(format_args!("{} waits for {}", wait.who, wait.what)));
        if news.waits.len() > WAITS_SAID_MAX {
            let count = news.waits.len() - WAITS_SAID_MAX;
            self.log.info(format_args!("and {count} more wait: /init_dump has them"));
        }
        if let Some(control_plane) = &news.control_plane {
            let stats = self.state.registry.control_plane();
            stats.connected_state.set(control_plane.is_connected.into());
            stats.pending_requests.set(control_plane.pending_requests);
            let enforced = &stats.rate_limit_enforced;
            enforced.add(control_plane.rate_limit_enforced.saturating_sub(enforced.value()));
            let identifier = control_plane.identifier.clone();
            self.state.change_view(|view| view.control_plane = identifier);
        }
        tally(&self.state.registry, &news.tallies);
    }

    fn refuse(&mut self, who: &str, problems: Vec<String>) {
        self.state.registry.server.reload_failed.add(1);
        let rejection = Rejection { at: SystemTime::now(), problems: problems.clone() };
        self.state.change_view(|view| view.rejection = Some(rejection));
        let count = problems.len();
        self.log.error(format_args!("{who}: configuration refused, the old one stays in force; {count} problems:"));
        problems.iter().for_each(|problem| self.log.error(problem));
    }

    /// Takes a configuration in, in place of one that still waits for its names, and has names looked up that are to be known before
    /// their cluster is in one.
    fn accept(&mut self, loaded: Loaded) -> Result<(), Vec<String>> {
        let outcome = self.take_in(loaded);
        outcome.and(self.expect_names())
    }

    /// Has the names looked up that clusters wait for. Those that are followed already, as what is in force or on its way has them, are answered:
    /// nobody tells of them again before they change.
    fn expect_names(&mut self) -> Result<(), Vec<String>> {
        self.directory.expect(self.loader.awaited_names()).map_err(no_thread)?;
        if self.loader.know_names(self.directory.answered()) {
            self.loader.hasten();
        }
        Ok(())
    }

    fn take_in(&mut self, mut loaded: Loaded) -> Result<(), Vec<String>> {
        self.tell(&std::mem::take(&mut loaded.news));
        match loaded.content {
            Content::Same if loaded.file.is_none() => {
                self.show_runtime();
                // It may have been waited for by nobody but the beginning.
                return self.advance();
            }
            Content::Endpoints(candidate) => {
                let report = self.enforce(*candidate)?;
                self.loader.caught_up();
                let (snapshot, certificates) = (self.engine.snapshot(), loaded.certificates);
                let is_other = certificates.is_some();
                self.state.change_view(|view| {
                    view.snapshot = snapshot;
                    if let Some(certificates) = certificates {
                        view.certificates = certificates;
                    }
                });
                if is_other {
                    self.loader.settle();
                }
                self.show_runtime();
                self.log.debug(format_args!("endpoints: {report}"));
                return Ok(());
            }
            Content::Built(_) | Content::Named(_) | Content::Same => {}
        }
        self.directory.want(&loaded.dns).map_err(no_thread)?;
        if let Some(before) = self.warming.take()
            && loaded.file.is_none()
        {
            // The file is still the one that is on its way.
            loaded.file = before.file;
        }
        self.warming = Some(loaded);
        self.advance()?;
        if let Some(waiting) = self.warming.as_ref().filter(|waiting| !waiting.dns.is_empty()) {
            self.log.info(format_args!("configuration: {} clusters wait for their names", waiting.dns.len()));
        }
        Ok(())
    }

    /// Puts in force what need not wait any more.
    fn advance(&mut self) -> Result<(), Vec<String>> {
        let is_whole = self.is_serving || self.loader.waits().iter().all(|wait| wait.is_over);
        let warm = self.warming.take_if(|_| is_whole && self.directory.is_warm() == Some(true));
        let Some(mut loaded) = warm else { return Ok(()) };
        if let Content::Named(mut resources) = loaded.content {
            resources.resolve(self.directory.endpoints());
            loaded.content = Content::Built(Box::new(self.loader.build(&resources)));
        }
        let dump = loaded.file.as_ref().map(|file| file.dump.clone());
        let committed = self.commit(loaded);
        match committed {
            Ok(()) => self.directory.adopt(),
            Err(_) => {
                self.directory.discard();
                if let Some(dump) = dump {
                    self.loader.refuse(&dump);
                    self.return_to_what_is_in_force();
                }
            }
        }
        committed
    }

    /// A file came to nothing: what it took the place of is what resources belong to again, with what has come since.
    fn return_to_what_is_in_force(&mut self) {
        self.loader.take_back();
        let Some(text) = self.state.view().bootstrap.clone() else { return };
        let outcome = self.loader.reread(&text).and_then(|loaded| self.accept(Loaded { file: None, ..loaded }));
        if let Err(problems) = outcome {
            self.log.error("what is in force stays as it is, but cannot be read again:");
            problems.iter().for_each(|problem| self.log.error(problem));
        }
    }

    /// Takes in what is new of names: what is in force follows it, what waits for it may go on.
    fn learn(&mut self) -> Result<(), Vec<String>> {
        let Changes { endpoints, updates, failures } = self.directory.take();
        failures.iter().for_each(|line| self.log.warning(line));
        for (cluster, updates) in updates {
            // Written by this thread alone, in the first worker's block.
            let stats = &self.state.registry.cluster(&cluster)[0];
            stats.update_attempt.add(updates.attempts);
            stats.update_success.add(updates.successes);
            stats.update_failure.add(updates.failures);
            stats.update_no_rebuild.add(updates.no_rebuilds);
        }
        if let Some(candidate) = self.loader.with_endpoints(endpoints) {
            let report = self.enforce(candidate)?;
            let snapshot = self.engine.snapshot();
            self.state.change_view(|view| view.snapshot = snapshot);
            self.log.debug(format_args!("endpoints: {report}"));
        }
        self.advance()
    }

    /// Takes up clusters that have waited for their names.
    fn take_up_names(&mut self) -> Result<(), Vec<String>> {
        match self.loader.know_names(self.directory.answered()) {
            true => self.bring(&BTreeSet::new()),
            false => Ok(()),
        }
    }

    /// Stages and commits. A listener that came by itself and that the host refuses is refused alone.
    fn enforce(&mut self, mut candidate: Candidate) -> Result<String, Vec<String>> {
        let staged = loop {
            let problems = match self.engine.stage(candidate.snapshot.clone()) {
                Ok(staged) => break staged,
                Err(problems) => problems,
            };
            let listeners: Vec<_> =
                problems.iter().map(|problem| (problem.listener().to_owned(), problem.to_string())).collect();
            let Some(mut others) = self.loader.refuse_listeners(&listeners) else {
                return Err(problems.iter().map(ToString::to_string).collect());
            };
            problems.iter().for_each(|problem| self.log.error(format_args!("listener refused: {problem}")));
            tally(&self.state.registry, &[Tally::Answer(Counted { scope: Scope::Listeners, accepted: None })]);
            others.resolve(self.directory.endpoints());
            candidate = self.loader.build(&others);
            // All that was new may have been refused.
            if self.engine.snapshot().is_some_and(|current| current.generation >= candidate.snapshot.generation) {
                self.loader.keep(candidate);
                return Ok("nothing changed".to_owned());
            }
        };
        let report = self.engine.commit(staged).to_string();
        self.loader.keep(candidate);
        Ok(report)
    }

    /// Stages and commits what was loaded, and shows it.
    fn commit(&mut self, loaded: Loaded) -> Result<(), Vec<String>> {
        let Loaded { content, certificates, file, .. } = loaded;
        let Content::Built(candidate) = content else { unreachable!("built when its names were known") };
        file.iter().flat_map(|file| &file.warnings).for_each(|warning| self.log.warning(warning));
        let committed = self.engine.snapshot().map_or(0, |snapshot| snapshot.generation);
        let load_reports = file.as_ref().map(|file| file.load_reports.clone());
        if committed == 0 && load_reports.iter().any(Option::is_some) {
            self.state.registry.begin_loads();
        }
        let report = match candidate.snapshot.generation > committed {
            true => self.enforce(*candidate)?,
            false => {
                // It knows which part is of which version now.
                self.loader.keep(*candidate);
                "nothing changed".to_owned()
            }
        };
        self.loader.caught_up();
        let (snapshot, listeners) = (self.engine.snapshot(), self.engine.listeners());
        let (before, is_last) = (self.state.view(), self.loader.is_last_accepted());
        let is_file = file.is_some();
        self.state.change_view(|view| {
            view.snapshot = snapshot;
            view.listeners = listeners.clone();
            if let Some(certificates) = certificates {
                view.certificates = certificates;
            }
            let Some(file) = file else { return };
            view.bootstrap = Some(file.dump);
            view.node = file.node;
            view.stats = file.stats;
            view.updated = SystemTime::now();
            // What is in force may be older than a file that is still refused.
            if is_last {
                view.rejection = None;
            }
        });
        if let Some(plan) = load_reports {
            self.reporting.follow(plan.as_ref(), &self.state.registry, self.log);
        }
        if is_file {
            self.state.registry.server.reload_success.add(1);
        }
        self.loader.settle();
        self.show_runtime();
        self.show();
        // Said last: whoever reads the line finds everything as it says.
        self.log.info(format_args!("configuration: {report}"));
        for (name, addresses) in &listeners {
            let known = before.listeners.iter().find(|(other, _)| other == name).map_or(&[][..], |(_, known)| known);
            for address in addresses.iter().filter(|address| !known.contains(address)) {
                self.log.info(format_args!("listener {name}: {address}"));
            }
        }
        Ok(())
    }

    /// Shows what fields with a `runtime_key` are given, where that is another.
    fn show_runtime(&self) {
        let (runtime, stats) = (self.loader.runtime(), self.state.registry.runtime());
        if stats.load_success.value() > 0 && Arc::ptr_eq(&self.state.view().runtime, &runtime) {
            return;
        }
        stats.load_success.add(1);
        stats.num_keys.set(runtime.key_count() as u64);
        stats.num_layers.set(runtime.layers().count() as u64);
        self.state.change_view(|view| view.runtime = runtime);
    }

    /// Brings the process's own gauges up to date.
    fn show(&self) {
        let server = &self.state.registry.server;
        let state = self.state.server_state();
        server.state.set(state.number());
        server.live.set(u64::from(state == ServerState::Live));
        server.uptime.set(self.state.started.elapsed().as_secs());
        let days = days_until_first(&self.state.view().certificates, SystemTime::now());
        server.days_until_first_cert_expiring.set(days);
    }
}

fn no_thread(error: std::io::Error) -> Vec<String> {
    vec![format!("no thread to look names up: {error}")]
}

/// Lets the allocator give back what was freed: mimalloc does it a second later, but only when somebody frees a whole
/// page, and an idle process frees nothing. One that has read 10,000 clusters would keep a hundred MiB for ever.
fn trim() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(TRIM_SIZE)));
}

/// Large enough to have a page of the allocator for itself; never touched.
const TRIM_SIZE: usize = 1 << 20;

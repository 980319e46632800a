//! `ringway run`: the order in which a process comes to life.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::{fs, io, thread};

use ringway_control_client::{Directory, Dump, FileWatch, SecretWatch, SourceWatch};
use ringway_engine::{Balance, Engine, Limits};
use ringway_model::Address;
use ringway_observe::Registry;
use ringway_runtime::{Instant, IoReport};

use crate::STACK_SIZE;
use crate::access_log::LogThread;
use crate::admin::{self, Context};
use crate::args::{Run, Tuning};
use crate::command::{COMMANDS_MAX, Command};
use crate::control::{Began, Control};
use crate::load::Loader;
use crate::load_reports::Reporting;
use crate::log::Log;
use crate::plan::Plan;
use crate::signals::Signals;
use crate::state::State;
use crate::watch::Watch;

/// Serves until told to end.
pub(crate) fn run(options: Run) -> ExitCode {
    let log = Log::from_level(options.log_level);
    match start(&options, log) {
        Ok((control, _, Began::Ended)) => {
            log.info("exiting at once, as asked for");
            control.end();
            ExitCode::SUCCESS
        }
        Ok((control, ..)) if options.init_only => {
            log.info("configuration loaded: exiting, as --mode init_only asks");
            control.end();
            ExitCode::SUCCESS
        }
        Ok((control, inbox, Began::Serving)) => {
            log.info("serving");
            control.serve(&inbox)
        }
        Err(problems) => {
            problems.iter().for_each(|problem| log.critical(problem));
            ExitCode::FAILURE
        }
    }
}

fn start(options: &Run, log: Log) -> Result<(Control, Receiver<Command>, Began), Vec<String>> {
    for flag in &options.without_effect {
        log.debug(format_args!("--{flag} has no effect (see --help)"));
    }
    // Handlers and the watch come first: a signal or a change during start-up is not lost.
    let signals = Signals::install().map_err(|error| vec![format!("signals: {error}")])?;
    let (secrets, files) = SecretWatch::new().map_err(|error| vec![format!("watching certificates: {error}")])?;
    let (sources, source_files) =
        SourceWatch::new().map_err(|error| vec![format!("watching files of resources: {error}")])?;
    let mut loader = Loader::new(options.source.clone()).watching(files).following(source_files);
    let watch = match loader.path() {
        Some(path) => {
            Some(FileWatch::new(path).map_err(|error| vec![format!("watching {}: {error}", path.display())])?)
        }
        None => None,
    };
    let loaded = loader.load()?;
    let file = loaded.file.as_ref().expect("it comes of a file");
    let (command_line, admin) = (command_line(options, &file.dump), file.admin.clone());
    let Process { mut control, commands, inbox } = Process::start(&options.engine, log, loader, command_line)?;
    let started = match &admin {
        Some(address) => serve_admin(&control, &commands, address, options.admin_address_path.as_deref()),
        None => Ok(()),
    };
    let started = started
        // Before the beginning, which may have to wait: who sends a signal meanwhile is heard.
        .and_then(|()| forward(signals, &control.state, &commands).map_err(|error| vec![format!("signals: {error}")]))
        .and_then(|()| match watch {
            Some(watch) => follow(watch, &commands, log).map_err(|error| vec![format!("watch: {error}")]),
            None => Ok(()),
        })
        .and_then(|()| follow_secrets(secrets, &commands, log).map_err(|error| vec![format!("watch: {error}")]))
        .and_then(|()| follow_sources(sources, &commands, log).map_err(|error| vec![format!("watch: {error}")]))
        .and_then(|()| control.begin(loaded, &inbox));
    match started {
        Ok(began) => Ok((control, inbox, began)),
        Err(problems) => {
            control.end();
            Err(problems)
        }
    }
}

/// A process whose workers run without a configuration yet.
pub(crate) struct Process {
    /// The control thread's own.
    pub(crate) control: Control,
    /// Where commands are sent.
    pub(crate) commands: SyncSender<Command>,
    /// Where the control thread takes them.
    pub(crate) inbox: Receiver<Command>,
}

impl Process {
    /// Starts the workers, then ties this thread (and those that it will start) to the housekeeping CPUs.
    ///
    /// # Errors
    /// The plan of CPUs cannot be kept, or a worker did not start.
    pub(crate) fn start(
        tuning: &Tuning,
        log: Log,
        mut loader: Loader,
        command_line: serde_json::Value,
    ) -> Result<Process, Vec<String>> {
        let started = Instant::now();
        let plan = Plan::new(tuning).map_err(|error| vec![error])?;
        let registry = Registry::new(plan.placement.workers.len());
        log.info(&plan);
        plan.placement.notes.iter().for_each(|note| log.warning(format_args!("workers: {note}")));
        let descriptors = ringway_runtime::raise_descriptor_limit()
            .map_err(|error| vec![format!("the limit of descriptors is not known: {error}")])?;
        let limits = Limits::default().for_descriptors(descriptors, plan.placement.workers.len());
        let line = descriptors_line(descriptors, limits.downstreams_max.saturating_mul(plan.placement.workers.len()));
        if descriptors < DESCRIPTORS_WISHED {
            log.warning(line)
        } else {
            log.info(line)
        }
        let mut runtime = runtime_options(tuning);
        if tuning.spin_us > 0
            && !may_spin(&plan.placement.workers, thread::available_parallelism().map_or(1, usize::from))
        {
            log.warning("--spin-us is off: the workers share their CPUs; to do: name CPUs for them (--cpus, --pin on)");
            runtime.spin_us = 0;
        }
        let logs = LogThread::start(tuning.log_flush, registry.clone(), log)
            .map_err(|error| vec![format!("no thread to write access logs: {error}")])?;
        let engine = Engine::start(ringway_engine::Options {
            workers: plan.placement.workers.clone(),
            runtime,
            drain_time: tuning.drain_time,
            balance: tuning.balance.unwrap_or_else(|| Balance::for_workers(plan.placement.workers.len())),
            registry: registry.clone(),
            limits,
            logs: Box::new(logs.outlet()),
        })
        .map_err(|error| vec![error.to_string()])?;
        io_lines(engine.reports()).iter().for_each(|line| log.info(line));
        if let Err(problem) = plan.keep_house() {
            engine.stop();
            return Err(vec![problem]);
        }
        let (reports, loop_stats) = (engine.reports().to_vec(), engine.loop_stats().to_vec());
        let state = Arc::new(State::new(started, registry, reports, plan.topology, loop_stats, command_line));
        let (commands, inbox) = sync_channel(COMMANDS_MAX);
        let watch = Watch::new(engine.loop_stats().to_vec(), started);
        let ring = commands.clone();
        // Waits for room among the commands; fails only when control has ended, and the process with it.
        let directory = Directory::new(move || _ = ring.send(Command::Names));
        let ring = commands.clone();
        loader.ask(tuning.bundle_wait, move || _ = ring.send(Command::Responses));
        let drain_time = tuning.drain_time;
        let control = Control {
            log,
            engine,
            loader,
            state,
            watch,
            logs,
            directory,
            reporting: Reporting::default(),
            warming: None,
            is_serving: false,
            drain_time,
        };
        Ok(Process { control, commands, inbox })
    }
}

/// Whether workers may spin: tied to CPUs that their owner named, or fewer than the CPUs (as affinity and quota leave them). Otherwise a
/// spin takes the CPU from whoever would bring the work, or burns a quota.
fn may_spin(workers: &[Option<usize>], cpus: usize) -> bool {
    workers.iter().all(Option::is_some) || (cpus > 2 && workers.len() < cpus)
}

/// Below this the start-up line is a warning: the soft limit of an ordinary login, which is too low for a server.
const DESCRIPTORS_WISHED: u64 = 1024;

fn descriptors_line(descriptors: u64, clients: usize) -> String {
    let to_do =
        if descriptors < DESCRIPTORS_WISHED { "; to do: raise the hard limit (ulimit -Hn, LimitNOFILE=)" } else { "" };
    format!("descriptors: {descriptors}, for at most {clients} clients at once{to_do}")
}

/// The runtime's part of the options.
pub(crate) fn runtime_options(tuning: &Tuning) -> ringway_runtime::Options {
    ringway_runtime::Options {
        io: tuning.io,
        spin_us: tuning.spin_us,
        features_denied: tuning.io_without,
        ..Default::default()
    }
}

/// Which io level is active and why: one line, where all workers agree.
fn io_lines(reports: &[IoReport]) -> Vec<String> {
    let texts: Vec<String> = reports.iter().map(ToString::to_string).collect();
    if texts.windows(2).all(|pair| pair[0] == pair[1]) {
        return texts.into_iter().take(1).collect();
    }
    texts.iter().enumerate().map(|(worker, text)| format!("worker {worker}: {text}")).collect()
}

/// Starts the admin server and says where it is.
///
/// # Errors
/// Its address cannot be bound, or not be written into the file.
pub(crate) fn serve_admin(
    control: &Control,
    commands: &SyncSender<Command>,
    address: &Address,
    address_path: Option<&Path>,
) -> Result<(), Vec<String>> {
    let context = Context { state: control.state.clone(), commands: commands.clone(), log: control.log };
    let bound = admin::start(address, context, control.log)
        .map_err(|error| vec![format!("admin: cannot serve at {address}: {error}")])?;
    control.log.info(format_args!("admin: {bound}"));
    match address_path {
        Some(path) => write_whole(path, &bound.to_string())
            .map_err(|error| vec![format!("admin: the address cannot be written to {}: {error}", path.display())]),
        None => Ok(()),
    }
}

/// Writes a file that is never seen half written.
fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    fs::write(&new, text)?;
    fs::rename(&new, path)
}

/// Hands signals to the control thread. SIGTERM shows in `/ready` before control has even heard of it.
///
/// # Errors
/// The thread could not be started.
pub(crate) fn forward(signals: Signals, state: &Arc<State>, commands: &SyncSender<Command>) -> io::Result<()> {
    let (state, commands) = (state.clone(), commands.clone());
    signals.forward(move |command| {
        if matches!(command, Command::Terminate) {
            state.terminating.store(true, Ordering::SeqCst);
        }
        // Fails only when control has ended, and the process with it.
        let _ = commands.send(command);
    })
}

/// Starts the thread that asks for a reload whenever the file may have changed.
fn follow(mut watch: FileWatch, commands: &SyncSender<Command>, log: Log) -> io::Result<()> {
    let commands = commands.clone();
    let body = move || {
        loop {
            match watch.wait() {
                Ok(()) if commands.send(Command::Reload("the file changed")).is_err() => return,
                Ok(()) => {}
                Err(error) => {
                    log.error(format_args!("the file is no longer watched, SIGHUP still reloads it: {error}"));
                    return;
                }
            }
        }
    };
    thread::Builder::new().name("watch".into()).stack_size(STACK_SIZE).spawn(body).map(drop)
}

/// Starts the thread that asks for a rotation whenever a file of certificates or keys may have changed.
fn follow_secrets(mut watch: SecretWatch, commands: &SyncSender<Command>, log: Log) -> io::Result<()> {
    let commands = commands.clone();
    let body = move || {
        loop {
            match watch.wait() {
                Ok(()) if commands.send(Command::Rotate).is_err() => return,
                Ok(()) => {}
                Err(error) => {
                    log.error(format_args!(
                        "certificates are no longer watched, SIGHUP still reads them again: {error}"
                    ));
                    return;
                }
            }
        }
    };
    thread::Builder::new().name("secrets".into()).stack_size(STACK_SIZE).spawn(body).map(drop)
}

/// Starts the thread that tells which files of resources may have been replaced.
fn follow_sources(mut watch: SourceWatch, commands: &SyncSender<Command>, log: Log) -> io::Result<()> {
    let commands = commands.clone();
    let body = move || {
        loop {
            match watch.wait() {
                Ok(moved) => {
                    if commands.send(Command::Sources(moved)).is_err() {
                        return;
                    }
                }
                Err(error) => {
                    log.error(format_args!(
                        "files of resources are no longer watched, SIGHUP still reads them again: {error}"
                    ));
                    return;
                }
            }
        }
    };
    thread::Builder::new().name("sources".into()).stack_size(STACK_SIZE).spawn(body).map(drop)
}

/// Envoy's `CommandLineOptions`, as far as there is something to say.
fn command_line(options: &Run, dump: &Dump) -> serde_json::Value {
    let (source, tuning) = (&options.source, &options.engine);
    let path =
        |path: &Option<std::path::PathBuf>| path.as_ref().map_or(String::new(), |path| path.display().to_string());
    serde_json::json!({
        "concurrency": tuning.concurrency,
        "config_path": path(&source.path),
        "config_yaml": source.yaml.as_deref().map_or_else(String::new, |yaml| without_keys(yaml, dump)),
        "allow_unknown_static_fields": source.allow_unknown_static_fields,
        "admin_address_path": path(&options.admin_address_path),
        "log_level": options.log_level.text(),
        "xds_bundle_wait_ms": u64::try_from(tuning.bundle_wait.as_millis()).unwrap_or(u64::MAX),
        "drain_time": format!("{}s", tuning.drain_time.as_secs()),
        "mode": if options.init_only { "InitOnly" } else { "Serve" },
        "disable_hot_restart": true,
        "cpus": tuning.cpus,
        "balance": match tuning.balance {
            None => "auto",
            Some(Balance::Local) => "local",
            Some(Balance::LeastOfTwo) => "least-of-two",
            Some(Balance::Exact) => "exact",
        },
        "io": tuning.io.to_string(),
        "io_without": tuning.io_without.to_string(),
        "pin": format!("{:?}", tuning.pin).to_lowercase(),
        "spin_us": tuning.spin_us,
    })
}

/// A configuration from the command line as it was given, or as `/config_dump` shows it where it holds keys.
fn without_keys(yaml: &str, dump: &Dump) -> String {
    let shown = dump.to_json();
    if shown.contains("[redacted]") { shown } else { yaml.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::may_spin;

    #[test]
    fn workers_spin_on_cpus_of_their_own() {
        for (workers, cpus, expect) in [
            (vec![Some(1)], 1, true),
            (vec![Some(0), Some(1)], 2, true),
            (vec![None], 1, false),
            (vec![None], 2, false),
            (vec![None; 4], 4, false),
            (vec![None; 3], 4, true),
            (vec![Some(0), None], 2, false),
        ] {
            assert_eq!(may_spin(&workers, cpus), expect, "{workers:?} of {cpus}");
        }
    }
}

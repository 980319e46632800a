//! What the control thread shows and the admin threads read.
//!
//! The control thread replaces the view after each commit; a reader takes the whole of it by one clone of an `Arc`,
//! so that nobody sees half a commit and no lock is held while an answer is written.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use ringway_control_client::{ContextCertificates, Dump, Runtime};
use ringway_model::{Address, Snapshot, StatsRules};
use ringway_observe::{Registry, ServerState};
use ringway_runtime::cpus::Topology;
use ringway_runtime::{Instant, IoReport, LoopStats};

/// The process, as far as it can be seen.
pub(crate) struct State {
    /// When it started.
    pub(crate) started: Instant,
    /// Its numbers.
    pub(crate) registry: Arc<Registry>,
    /// How each worker talks to the kernel.
    pub(crate) reports: Vec<IoReport>,
    /// How the host's CPUs lie.
    pub(crate) topology: Topology,
    /// Each worker's loop.
    pub(crate) loop_stats: Vec<Arc<LoopStats>>,
    /// What was given on the command line, for `/server_info`.
    pub(crate) command_line: serde_json::Value,
    /// `/healthcheck/fail` was asked for.
    pub(crate) health_failed: AtomicBool,
    /// SIGTERM was received. Set by the signal's thread, so that `/ready` fails at once, whatever control is at.
    pub(crate) terminating: AtomicBool,
    view: Mutex<Arc<View>>,
}

/// The configuration in force.
#[derive(Clone)]
pub(crate) struct View {
    /// What was committed; `None` before the first commit.
    pub(crate) snapshot: Option<Arc<Snapshot>>,
    /// Listeners' names and addresses, as bound.
    pub(crate) listeners: Vec<(String, Vec<Address>)>,
    /// The bootstrap as read; `None` before the first commit.
    pub(crate) bootstrap: Option<Dump>,
    /// What the certificates of its TLS contexts say.
    pub(crate) certificates: Arc<[ContextCertificates]>,
    /// `node.id` and `node.cluster`.
    pub(crate) node: (String, String),
    /// What fields with a `runtime_key` are given.
    pub(crate) runtime: Arc<Runtime>,
    /// What is shown of the statistics.
    pub(crate) stats: Arc<StatsRules>,
    /// What the management server calls itself; empty where none did.
    pub(crate) control_plane: String,
    /// When it was committed.
    pub(crate) updated: SystemTime,
    /// The last configuration that was refused, until a later one is accepted.
    pub(crate) rejection: Option<Rejection>,
}

/// A configuration that was refused.
#[derive(Clone, Debug)]
pub(crate) struct Rejection {
    /// When.
    pub(crate) at: SystemTime,
    /// All that was wrong with it.
    pub(crate) problems: Vec<String>,
}

impl State {
    /// A process that has just started.
    pub(crate) fn new(
        started: Instant,
        registry: Arc<Registry>,
        reports: Vec<IoReport>,
        topology: Topology,
        loop_stats: Vec<Arc<LoopStats>>,
        command_line: serde_json::Value,
    ) -> State {
        let view = View {
            snapshot: None,
            listeners: vec![],
            bootstrap: None,
            certificates: Arc::from([]),
            node: Default::default(),
            runtime: Arc::default(),
            stats: Arc::default(),
            control_plane: String::new(),
            updated: SystemTime::UNIX_EPOCH,
            rejection: None,
        };
        State {
            started,
            registry,
            reports,
            topology,
            loop_stats,
            command_line,
            health_failed: AtomicBool::new(false),
            terminating: AtomicBool::new(false),
            view: Mutex::new(Arc::new(view)),
        }
    }

    /// What `/ready` and `/server_info` say.
    pub(crate) fn server_state(&self) -> ServerState {
        if self.terminating.load(Ordering::SeqCst) || self.health_failed.load(Ordering::SeqCst) {
            return ServerState::Draining;
        }
        match self.view().snapshot {
            Some(_) => ServerState::Live,
            None => ServerState::Initializing,
        }
    }

    /// Brings the figures of the process's memory up to date: what only matters to who looks.
    pub(crate) fn measure(&self) {
        let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let row = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
        };
        let server = &self.registry.server;
        let own = row("RssAnon:").unwrap_or(0);
        server.memory_allocated.set(own);
        server.memory_heap_size.set(own);
        server.memory_physical_size.set(row("VmRSS:").unwrap_or(0));
    }

    /// The configuration in force.
    pub(crate) fn view(&self) -> Arc<View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces the view by a changed copy. For the control thread alone.
    pub(crate) fn change_view(&self, change: impl FnOnce(&mut View)) {
        let mut view = (*self.view()).clone();
        change(&mut view);
        *self.view.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(view);
    }
}

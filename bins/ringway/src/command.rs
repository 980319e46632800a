//! What the control thread can be told.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::mpsc::SyncSender;

use ringway_control_client::{ShownResource, Wait};

/// What came besides the bootstrap.
#[derive(Debug)]
pub(crate) struct DynamicView {
    /// All of it.
    pub(crate) resources: Vec<ShownResource>,
    /// Who waits, and for what.
    pub(crate) waits: Vec<Wait>,
}

/// What the control thread can be told.
#[derive(Debug)]
pub(crate) enum Command {
    /// Read the configuration again; the text says who asked.
    Reload(&'static str),
    /// A file of certificates or keys may have changed.
    Rotate,
    /// These files of resources may have been replaced, all at once.
    Sources(BTreeSet<PathBuf>),
    /// Something came of management servers.
    Responses,
    /// SIGTERM: leave gracefully.
    Terminate,
    /// `/drain_listeners`: as [`Command::Terminate`], but the process stays.
    DrainListeners,
    /// End at once.
    Stop,
    /// SIGUSR1: open the access logs anew.
    ReopenLogs,
    /// Something came in for clusters of names.
    Names,
    /// Something that is shown has changed.
    Show,
    /// What came besides the bootstrap, for `/config_dump` and `/init_dump`.
    Dynamic(SyncSender<DynamicView>),
    /// `/workers`: each worker as JSON.
    Workers(SyncSender<Vec<serde_json::Value>>),
}

/// Commands that may wait for the control thread. Who finds no room is answered 503, or waits (signals, file watch).
pub(crate) const COMMANDS_MAX: usize = 64;

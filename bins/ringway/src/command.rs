//! What the control thread can be told.

use std::sync::mpsc::SyncSender;

/// What the control thread can be told.
#[derive(Debug)]
pub(crate) enum Command {
    /// Read the configuration again; the text says who asked.
    Reload(&'static str),
    /// A file of certificates or keys may have changed.
    Rotate,
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
    /// `/workers`: each worker as JSON.
    Workers(SyncSender<Vec<serde_json::Value>>),
}

/// Commands that may wait for the control thread. Who finds no room is answered 503, or waits (signals, file watch).
pub(crate) const COMMANDS_MAX: usize = 64;

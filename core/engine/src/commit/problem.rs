//! Why the engine does not start, and why a configuration cannot be committed.

use std::{fmt, io};

use ringway_model::{Address, LogSink};

/// Why the engine did not start.
#[derive(Debug)]
pub enum StartError {
    /// A worker's thread could not be made.
    Thread(io::Error),
    /// A worker's runtime did not start.
    Runtime(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Thread(error) => write!(formatter, "a worker thread could not be started: {error}"),
            StartError::Runtime(error) => write!(formatter, "a worker's runtime did not start: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

/// Why a configuration cannot be committed.
#[derive(Debug)]
pub enum StageProblem {
    /// A listener cannot be bound.
    Listener {
        /// Its name.
        listener: String,
        /// Its address.
        address: Address,
        /// What the kernel said.
        error: io::Error,
    },
    /// An access log cannot be opened.
    AccessLog {
        /// The name of its listener.
        listener: String,
        /// Where its lines were to go.
        sink: LogSink,
        /// What the system said.
        error: io::Error,
    },
}

impl StageProblem {
    /// The name of the listener that cannot be put in force.
    pub fn listener(&self) -> &str {
        match self {
            StageProblem::Listener { listener, .. } | StageProblem::AccessLog { listener, .. } => listener,
        }
    }
}

impl fmt::Display for StageProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StageProblem::Listener { listener, address, error } => {
                write!(formatter, "listener '{listener}': cannot bind {address}: {error}")
            }
            StageProblem::AccessLog { listener, sink, error } => {
                write!(formatter, "listener '{listener}': cannot open the access log {sink}: {error}")
            }
        }
    }
}

//! Which driver was asked for, which one runs, and why.

use std::fmt;
use std::io;
use std::str::FromStr;

/// The driver that is asked for (`--io`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IoChoice {
    /// `ring` where the host allows it, else `poll`.
    #[default]
    Auto,
    /// io_uring, or no start.
    Ring,
    /// epoll.
    Poll,
}

impl FromStr for IoChoice {
    type Err = String;

    fn from_str(word: &str) -> Result<IoChoice, String> {
        match word {
            "auto" => Ok(IoChoice::Auto),
            "ring" => Ok(IoChoice::Ring),
            "poll" => Ok(IoChoice::Poll),
            _ => Err(format!("{word:?} is none of auto, ring, poll")),
        }
    }
}

/// What a core runs on. Its `Display` is the start-up line.
#[derive(Clone, Debug)]
pub struct IoReport {
    /// `ring` or `poll`.
    pub driver: &'static str,
    /// What of the driver's wishes the kernel has, comma-separated.
    pub features: String,
    /// Why this driver and these features.
    pub reason: String,
}

impl fmt::Display for IoReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "io {}", self.driver)?;
        if !self.features.is_empty() {
            write!(f, " ({})", self.features)?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// A core that could not start: what was tried, and what the system said.
#[derive(Debug)]
pub struct StartError {
    /// The step that failed.
    pub tried: String,
    /// The system's answer.
    pub error: io::Error,
}

impl StartError {
    pub(crate) fn new(tried: impl Into<String>, error: io::Error) -> StartError {
        StartError { tried: tried.into(), error }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.tried, self.error)
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

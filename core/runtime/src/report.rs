//! Which driver was asked for, which one runs, and why.

use std::fmt;
use std::io;
use std::str::FromStr;

use crate::feature::FeatureSet;

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
    /// `ring` over a simulated kernel that does, by this seed, the worst that the real one may do. Tests only.
    #[cfg(feature = "fault")]
    Fault(u64),
}

impl FromStr for IoChoice {
    type Err = String;

    fn from_str(word: &str) -> Result<IoChoice, String> {
        match word {
            "auto" => Ok(IoChoice::Auto),
            "ring" => Ok(IoChoice::Ring),
            "poll" => Ok(IoChoice::Poll),
            #[cfg(feature = "fault")]
            _ if let Some(Ok(seed)) = word.strip_prefix("fault:").map(str::parse) => Ok(IoChoice::Fault(seed)),
            _ => Err(format!("{word:?} is none of auto, ring, poll")),
        }
    }
}

impl fmt::Display for IoChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            IoChoice::Auto => f.write_str("auto"),
            IoChoice::Ring => f.write_str("ring"),
            IoChoice::Poll => f.write_str("poll"),
            #[cfg(feature = "fault")]
            IoChoice::Fault(seed) => write!(f, "fault:{seed}"),
        }
    }
}

/// What a core runs on. Its `Display` is the start-up line.
#[derive(Clone, Debug)]
pub struct IoReport {
    /// `ring` or `poll` (in tests `fault`, too).
    pub driver: &'static str,
    /// What of the driver's wishes the kernel has, comma-separated.
    pub features: String,
    /// What of the ring driver's wishes the kernel lacks. Empty on `poll`, which lacks them all.
    pub missing: FeatureSet,
    /// Why this driver and these features.
    pub reason: String,
    /// What would bring a better one; empty where there is none, or none is known.
    pub advice: &'static str,
}

impl fmt::Display for IoReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "io {}", self.driver)?;
        if !self.features.is_empty() {
            write!(f, " ({})", self.features)?;
        }
        write!(f, ": {}", self.reason)?;
        for (index, feature) in self.missing.iter().enumerate() {
            write!(f, "{} {feature} (Linux {})", if index == 0 { "; without" } else { "," }, feature.since())?;
        }
        if !self.advice.is_empty() {
            write!(f, "; to do: {}", self.advice)?;
        }
        Ok(())
    }
}

/// A core that could not start: what was tried, and what the system said.
#[derive(Debug)]
pub struct StartError {
    /// The step that failed.
    pub tried: String,
    /// The system's answer.
    pub error: io::Error,
    /// What to do about it; empty where nothing is known.
    pub advice: &'static str,
}

impl StartError {
    pub(crate) fn new(tried: impl Into<String>, error: io::Error) -> StartError {
        StartError { tried: tried.into(), error, advice: "" }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.tried, self.error)?;
        if self.advice.is_empty() { Ok(()) } else { write!(f, "; to do: {}", self.advice) }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

//! The process's log: lines on stderr with time and level, `[2026-11-21T04:00:00.000Z][info] text`.
//!
//! Written by the control, admin and signal threads only; a worker never logs. One line is one write, so that lines
//! of several threads never mix. A control character in a text becomes a space: nobody can forge a line.

use std::fmt;
use std::io::Write;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use ringway_model::format::TimeFormat;

/// How much a line matters. Envoy's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Every step.
    Trace,
    /// What helps to find a fault.
    Debug,
    /// What an operator wants to have seen.
    Info,
    /// Something is odd, and all goes on.
    Warning,
    /// Something was refused or failed.
    Error,
    /// The process ends.
    Critical,
    /// As a threshold: no line at all.
    Off,
}

impl Level {
    const ALL: [Level; 7] =
        [Level::Trace, Level::Debug, Level::Info, Level::Warning, Level::Error, Level::Critical, Level::Off];

    /// The level of this name, `warn` included (Envoy, `--log-level`).
    pub(crate) fn parse(text: &str) -> Option<Level> {
        Some(match text {
            "trace" => Level::Trace,
            "debug" => Level::Debug,
            "info" => Level::Info,
            "warning" | "warn" => Level::Warning,
            "error" => Level::Error,
            "critical" => Level::Critical,
            "off" => Level::Off,
            _ => return None,
        })
    }

    /// Its name.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warning => "warning",
            Level::Error => "error",
            Level::Critical => "critical",
            Level::Off => "off",
        }
    }
}

/// From which level on lines are written. The process's, as stderr is.
static THRESHOLD: AtomicU8 = AtomicU8::new(Level::Info as u8);

/// Writes lines of the process's level and above to stderr.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Log(());

impl Log {
    /// The log, from this level on.
    pub(crate) fn from_level(level: Level) -> Log {
        let log = Log(());
        log.set_level(level);
        log
    }

    /// Writes lines from this level on.
    pub(crate) fn set_level(self, level: Level) {
        THRESHOLD.store(level as u8, Ordering::Relaxed);
    }

    /// From which level on lines are written.
    pub(crate) fn level(self) -> Level {
        let number = THRESHOLD.load(Ordering::Relaxed);
        Level::ALL.into_iter().find(|level| *level as u8 == number).expect("only levels are stored")
    }

    /// Writes a line. What stderr refuses is lost: there is nowhere else to say it.
    pub(crate) fn write(self, level: Level, text: impl fmt::Display) {
        let threshold = self.level();
        if level >= threshold && threshold != Level::Off {
            let _ = std::io::stderr().write_all(line(SystemTime::now(), level, &text.to_string()).as_bytes());
        }
    }

    /// Writes a line at [`Level::Debug`].
    pub(crate) fn debug(self, text: impl fmt::Display) {
        self.write(Level::Debug, text);
    }

    /// Writes a line at [`Level::Info`].
    pub(crate) fn info(self, text: impl fmt::Display) {
        self.write(Level::Info, text);
    }

    /// Writes a line at [`Level::Warning`].
    pub(crate) fn warning(self, text: impl fmt::Display) {
        self.write(Level::Warning, text);
    }

    /// Writes a line at [`Level::Error`].
    pub(crate) fn error(self, text: impl fmt::Display) {
        self.write(Level::Error, text);
    }

    /// Writes a line at [`Level::Critical`].
    pub(crate) fn critical(self, text: impl fmt::Display) {
        self.write(Level::Critical, text);
    }
}

fn line(now: SystemTime, level: Level, text: &str) -> String {
    let text = text.replace(|c: char| c.is_control(), " ");
    format!("[{}][{}] {text}\n", timestamp(now), level.text())
}

/// `now` as RFC 3339 in UTC with milliseconds; a time before 1970 is shown as 1970.
pub(crate) fn timestamp(now: SystemTime) -> String {
    let nanos = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let mut text = Vec::with_capacity(24);
    TimeFormat::default().write(u64::try_from(nanos).unwrap_or(u64::MAX), &mut text);
    String::from_utf8(text).expect("digits and signs")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[track_caller]
    fn check(seconds: u64, millis: u64, expect: &str) {
        let now = UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_millis(millis);
        assert_eq!(timestamp(now), expect);
    }

    #[test]
    fn times_are_civil_dates() {
        check(0, 0, "1970-01-01T00:00:00.000Z");
        check(951_782_399, 999, "2000-02-28T23:59:59.999Z");
        check(951_782_400, 0, "2000-02-29T00:00:00.000Z");
        check(951_868_800, 1, "2000-03-01T00:00:00.001Z");
        check(1_795_233_600, 0, "2026-11-21T04:00:00.000Z");
        check(4_107_542_400, 0, "2100-03-01T00:00:00.000Z");
    }

    #[test]
    fn a_text_never_makes_a_second_line() {
        let line = line(UNIX_EPOCH, Level::Warning, "a\nb\u{1b}[31m");
        assert_eq!(line, "[1970-01-01T00:00:00.000Z][warning] a b [31m\n");
    }
}

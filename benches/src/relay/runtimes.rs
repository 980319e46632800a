//! The runtimes that are compared, and their names.

use std::fmt;
use std::str::FromStr;

/// What a server runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// Ours over io_uring.
    Ring,
    /// Ours over epoll.
    Poll,
    /// monoio over io_uring, as it comes.
    Monoio,
    /// monoio over io_uring with SINGLE_ISSUER and DEFER_TASKRUN.
    MonoioTuned,
    /// monoio over epoll (its `legacy` driver).
    MonoioEpoll,
    /// glommio, as it comes; a package of its own.
    Glommio,
    /// tokio's current-thread runtime.
    Tokio,
}

impl Runtime {
    /// In the order of the tables.
    pub const ALL: [Runtime; 7] = [
        Runtime::Ring,
        Runtime::Poll,
        Runtime::Monoio,
        Runtime::MonoioTuned,
        Runtime::MonoioEpoll,
        Runtime::Glommio,
        Runtime::Tokio,
    ];

    /// Its name on the command line and in the tables.
    pub fn name(self) -> &'static str {
        match self {
            Runtime::Ring => "ring",
            Runtime::Poll => "poll",
            Runtime::Monoio => "monoio",
            Runtime::MonoioTuned => "monoio-tuned",
            Runtime::MonoioEpoll => "monoio-epoll",
            Runtime::Glommio => "glommio",
            Runtime::Tokio => "tokio",
        }
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Runtime {
    type Err = String;

    fn from_str(word: &str) -> Result<Runtime, String> {
        let names = || Runtime::ALL.map(Runtime::name).join(", ");
        Runtime::ALL
            .into_iter()
            .find(|runtime| runtime.name() == word)
            .ok_or_else(|| format!("{word:?} is none of {}", names()))
    }
}

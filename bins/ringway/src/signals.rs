//! Signals become commands for the control thread.
//!
//! Their handlers only raise a flag and write a byte into a socket pair; a small thread reads it and does the rest.
//! SIGTERM takes the process out of service and lets what runs finish; SIGINT, or a second SIGTERM, ends it at once;
//! SIGHUP reloads; SIGUSR1 opens the access logs anew, as in Envoy.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};

use crate::STACK_SIZE;
use crate::command::Command;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Terminate,
    Interrupt,
    Reload,
    Reopen,
}

const SIGNALS: [(i32, Meaning); 4] = [
    (SIGTERM, Meaning::Terminate),
    (SIGINT, Meaning::Interrupt),
    (SIGHUP, Meaning::Reload),
    (SIGUSR1, Meaning::Reopen),
];

/// Handlers installed; nothing is done with what they say until [`Signals::forward`].
pub(crate) struct Signals {
    wake: UnixStream,
    raised: [Arc<AtomicBool>; SIGNALS.len()],
}

impl Signals {
    /// Installs the handlers. From now on none of the signals kills the process.
    ///
    /// # Errors
    /// What the kernel refuses: no descriptors left.
    pub(crate) fn install() -> io::Result<Signals> {
        let (wake, handler_end) = UnixStream::pair()?;
        let raised: [Arc<AtomicBool>; SIGNALS.len()] = Default::default();
        for ((signal, _), flag) in SIGNALS.iter().zip(&raised) {
            // The order counts: the flag is up before the byte is there to be read.
            signal_hook::flag::register(*signal, flag.clone())?;
            signal_hook::low_level::pipe::register(*signal, handler_end.try_clone()?)?;
        }
        Ok(Signals { wake, raised })
    }

    /// Starts the thread that hands signals to `send`, for as long as the process lives.
    ///
    /// # Errors
    /// The thread could not be started.
    pub(crate) fn forward(mut self, mut send: impl FnMut(Command) + Send + 'static) -> io::Result<()> {
        thread::Builder::new().name("signals".into()).stack_size(STACK_SIZE).spawn(move || {
            let mut terminating = false;
            let mut byte = [0; 1];
            while self.wake.read_exact(&mut byte).is_ok() {
                for ((_, meaning), raised) in SIGNALS.iter().zip(&self.raised) {
                    if raised.swap(false, Ordering::SeqCst) {
                        send(command(*meaning, &mut terminating));
                    }
                }
            }
        })?;
        Ok(())
    }
}

/// What the control thread is told; `terminating` is whether a SIGTERM was there before.
fn command(meaning: Meaning, terminating: &mut bool) -> Command {
    match meaning {
        Meaning::Terminate if !*terminating => {
            *terminating = true;
            Command::Terminate
        }
        Meaning::Terminate | Meaning::Interrupt => Command::Stop,
        Meaning::Reload => Command::Reload("SIGHUP"),
        Meaning::Reopen => Command::ReopenLogs,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_sigterm_ends_the_process_at_once() {
        let mut terminating = false;
        let mut check = |meaning, expect: Command| {
            assert_eq!(format!("{:?}", command(meaning, &mut terminating)), format!("{expect:?}"));
        };
        check(Meaning::Reload, Command::Reload("SIGHUP"));
        check(Meaning::Reopen, Command::ReopenLogs);
        check(Meaning::Terminate, Command::Terminate);
        check(Meaning::Reload, Command::Reload("SIGHUP"));
        check(Meaning::Terminate, Command::Stop);
        check(Meaning::Interrupt, Command::Stop);
    }
}

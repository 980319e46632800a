//! System calls of a process that may be stopped, frozen or moved to another host while it waits.

use std::io::{self, ErrorKind};

/// Does it until no signal interrupts it. What waits on a socket with a time limit ends with `EINTR` where the process is stopped and
/// goes on, without any signal handler (signal(7)).
pub(crate) fn uninterrupted<T>(mut once: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match once() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

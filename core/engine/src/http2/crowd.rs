//! What bounds the content that waits on a connection, over all of its streams: who may bring more of it, and who waits until less is there.
//!
//! A peer that opens every window and never reads would else make us hold as much for each of its streams as for one (CVE-2019-9517).

use std::task::Waker;

use super::link::{PortId, State};
use super::port::TURN_BYTES;
use super::sending::PUMPED_PER_TURN_MAX;
use crate::relay::BULK_BYTES;

/// Content of all streams that waits to be sent, beyond which a stream gets only what its next turn sends, and nothing of what comes in a stream
/// itself, where as much lies already: as much as one turn of the connection takes. Worst case a turn's content more for each of those that
/// were woken at once.
const CROWDED_BYTES: usize = PUMPED_PER_TURN_MAX;

impl State {
    /// Whether as much content waits as the connection may hold.
    pub(super) fn is_crowded(&self) -> bool {
        self.pending >= CROWDED_BYTES
    }

    /// Whether this port may bring more of what lies in memory already: it was called, or nobody waits to be.
    pub(super) fn may_bring(&self, id: PortId) -> bool {
        !self.is_crowded() && (self.crowd.is_empty() || self.ports[id].called_for > 0)
    }

    /// Lets the writer of this port wait until less does.
    pub(super) fn wait_in_crowd(&mut self, id: PortId, waker: &Waker) {
        let port = &mut self.ports[id];
        port.called_for = 0;
        port.writer = Some(waker.clone());
        if !std::mem::replace(&mut port.is_in_crowd, true) {
            self.crowd.push_back(id);
        }
    }

    /// Wakes as many of those as there is room for, who waits longest first: each may bring a turn's content. Whether others wait where there was
    /// room: those that were woken may have nothing to bring, so they are to be asked behind them.
    pub(super) fn wake_crowd(&mut self) -> bool {
        if self.crowd.is_empty() || self.is_crowded() {
            return false;
        }
        let woken = (CROWDED_BYTES - self.pending).div_ceil(TURN_BYTES).min(self.crowd.len());
        for id in self.crowd.drain(..woken) {
            let port = &mut self.ports[id];
            (port.is_in_crowd, port.called_for) = (false, TURN_BYTES);
            if let Some(writer) = port.writer.take() {
                writer.wake();
            }
        }
        !self.crowd.is_empty()
    }

    /// Whether the content of this port may be received in bulk buffers: there is room for all that may come at once.
    pub(super) fn take_bulk(&mut self, id: PortId) -> bool {
        let reserved = self.bulky * BULK_BYTES;
        let is_free = match self.ports[id].is_bulky {
            true => !self.is_crowded(),
            false => self.pending + reserved < CROWDED_BYTES,
        };
        self.set_bulky(id, is_free);
        is_free
    }

    /// Whether it is.
    pub(super) fn set_bulky(&mut self, id: PortId, on: bool) {
        if std::mem::replace(&mut self.ports[id].is_bulky, on) != on {
            self.bulky = if on { self.bulky + 1 } else { self.bulky - 1 };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use ringway_protocols::http2::{Connection, Limits, Role};
    use ringway_runtime::{Core, IoChoice, Options, Wake, run};

    use super::super::port::Port;
    use super::*;

    #[derive(Default)]
    struct Woken(AtomicU32);

    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn those_that_waited_longest_are_woken_as_there_is_room() {
        let options = Options { io: IoChoice::Poll, ..Options::default() };
        let wake = Wake::new().expect("an eventfd");
        let work = |core: Core, _| async move {
            let codec = Connection::new(Role::Server, &Limits::default(), 0);
            let mut state = State::new(&core, codec, None);
            let woken: Vec<Arc<Woken>> = (0..5).map(|_| Arc::default()).collect();
            let counts = || -> Vec<u32> { woken.iter().map(|woken| woken.0.load(Ordering::Relaxed)).collect() };
            state.pending = CROWDED_BYTES;
            for woken in &woken {
                let id = state.ports.insert(Port::new(None));
                // Whoever looks twice stands where he stood.
                for _ in 0..2 {
                    state.wait_in_crowd(id, &Waker::from(Arc::clone(woken)));
                }
            }
            assert!(!state.wake_crowd());
            assert_eq!(counts(), [0; 5]);
            state.pending -= TURN_BYTES + 1;
            assert!(state.wake_crowd(), "there was room, and others wait");
            assert_eq!(counts(), [1, 1, 0, 0, 0]);
            assert_eq!(
                [0, 1, 2].map(|id| state.may_bring(id)),
                [true, true, false],
                "none goes before those that wait"
            );
            state.ports[1].push_outbound(core.chunk(&[1]));
            assert!(state.may_bring(1), "a call is for a turn");
            state.ports[1].push_outbound(core.chunk(&[1; TURN_BYTES - 1]));
            assert!(!state.may_bring(1));
            // One of them brought something and waits again, behind the rest.
            state.wait_in_crowd(0, &Waker::from(Arc::clone(&woken[0])));
            state.pending = CROWDED_BYTES - 1;
            assert!(state.wake_crowd());
            assert_eq!(counts(), [1, 1, 1, 0, 0]);
            state.pending = 0;
            assert!(!state.wake_crowd(), "all were woken");
            assert_eq!(counts(), [2, 1, 1, 1, 1]);
        };
        run(&options, wake, work).expect("the poll driver runs everywhere");
    }
}

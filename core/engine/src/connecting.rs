//! Making a connection to an endpoint: at its one address, or by RFC 8305 (Happy Eyeballs) at the first of several that answers.
//!
//! ```text
//!   attempt 1 ──────────────────────────────────────> fails: the next begins at once
//!      └─ 300 ms ─> attempt 2 ──────────> connected: the others are closed
//!                     └─ 300 ms ─> attempt 3 ...
//! ```
//!
//! The order was fixed when the configuration was read, or when the name was answered: RFC 8305 §4. To everything above it is one
//! connection of one endpoint, with one `connect_timeout`. It knows no clock but its core's, and asks for no name.

use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use ringway_model::{Address, Outgoing};
use ringway_runtime::{Connect, ConnectError, Core, Instant, Stream, Timer};

use crate::breakers::Breakers;
use crate::limits::Limits;
use crate::pool::connect;

/// A connection that is being made. The rare case is boxed: most endpoints have one address.
pub(crate) enum Connecting<'o> {
    One(Connect),
    Several(Box<Attempts<'o>>),
}

impl Future for Connecting<'_> {
    type Output = Result<Stream, ConnectError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Connecting::One(connect) => Pin::new(connect).poll(context),
            Connecting::Several(attempts) => attempts.poll(context),
        }
    }
}

/// Attempts at the addresses of one endpoint.
pub(crate) struct Attempts<'o> {
    core: Core,
    breakers: Rc<Breakers>,
    outgoing: Option<&'o Outgoing>,
    deadline: Instant,
    addresses: Rc<[SocketAddr]>,
    /// How many of them have begun.
    begun: usize,
    running: Vec<Connect>,
    /// When the next one begins.
    next: Timer,
    delay: Duration,
    running_max: usize,
}

impl<'o> Attempts<'o> {
    /// At two addresses or more, in this order, until `deadline`.
    pub(crate) fn new(
        core: &Core,
        limits: &Limits,
        addresses: Rc<[SocketAddr]>,
        breakers: &Rc<Breakers>,
        outgoing: Option<&'o Outgoing>,
        deadline: Instant,
    ) -> Self {
        assert!(addresses.len() > 1, "one address needs no attempts");
        let mut attempts = Self {
            core: core.clone(),
            breakers: Rc::clone(breakers),
            outgoing,
            deadline,
            addresses,
            begun: 0,
            running: Vec::new(),
            next: core.timer(),
            delay: limits.connect_attempt_delay,
            running_max: limits.connect_attempts_max,
        };
        attempts.begin();
        attempts
    }

    fn has_more(&self) -> bool {
        self.begun < self.addresses.len()
    }

    /// Begins the next attempt.
    fn begin(&mut self) {
        let address = Address::Ip(self.addresses[self.begun]);
        if self.begun > 0 {
            // Envoy counts each attempt; the first was counted with the connection.
            self.breakers.stats.upstream_cx_total.add(1);
        }
        self.begun += 1;
        self.running.push(connect(&self.core, &address, self.outgoing, self.deadline));
        self.next.set(self.core.now() + self.delay);
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Stream, ConnectError>> {
        let mut at = 0;
        while at < self.running.len() {
            match Pin::new(&mut self.running[at]).poll(context) {
                Poll::Pending => at += 1,
                Poll::Ready(Ok(stream)) => {
                    self.running.clear();
                    return Poll::Ready(Ok(stream));
                }
                // All have the same deadline.
                Poll::Ready(Err(ConnectError::Timeout)) => return Poll::Ready(Err(ConnectError::Timeout)),
                Poll::Ready(Err(error)) => {
                    drop(self.running.remove(at));
                    if self.has_more() {
                        // It stands last and is polled in its turn.
                        self.begin();
                    } else if self.running.is_empty() {
                        return Poll::Ready(Err(error));
                    }
                }
            }
            if at == self.running.len() && self.is_next_due(context) {
                self.begin();
            }
        }
        Poll::Pending
    }

    fn is_next_due(&mut self, context: &mut Context<'_>) -> bool {
        self.has_more() && self.running.len() < self.running_max && self.next.poll_expired(context).is_ready()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::{AsFd, OwnedFd};
    use std::sync::Arc;

    use ringway_model::CircuitBreakers;
    use ringway_observe::ClusterStats;
    use ringway_runtime::{IoChoice, Options, Wake, run};

    use super::*;
    use crate::breakers;

    /// A socket at which a connect neither succeeds nor fails: its queue is full.
    fn silent() -> (OwnedFd, SocketAddr, Vec<TcpStream>) {
        let socket = ringway_runtime::bind(([127, 0, 0, 1], 0).into(), false).expect("a port");
        ringway_runtime::start_listening(socket.as_fd(), 0).expect("it is bound");
        let address = TcpListener::from(socket.try_clone().expect("a descriptor")).local_addr().expect("bound");
        let connect = || TcpStream::connect_timeout(&address, Duration::from_millis(50)).ok();
        (socket, address, std::iter::from_fn(connect).collect())
    }

    /// So often a time as long as between two attempts passes before no other is expected to begin. Counted, for a host may stand still for longer.
    const CALM: usize = 20;

    /// Attempts at two silent addresses and one that answers: whether it is reached, and how many began.
    #[track_caller]
    fn check(running_max: usize, reached: bool, begun: u64) {
        let (silent, origin) = (silent(), TcpListener::bind("127.0.0.1:0").expect("a port"));
        let addresses = vec![silent.1, silent.1, origin.local_addr().expect("bound")];
        for io in [IoChoice::Poll, IoChoice::Auto] {
            let list = addresses.clone();
            let options = Options { io, ..Options::default() };
            let wake = Wake::new().expect("an eventfd");
            let work = move |core: Core, _| async move {
                let limits = Limits {
                    connect_attempt_delay: Duration::from_millis(1),
                    connect_attempts_max: running_max,
                    ..Limits::default()
                };
                let stats = Arc::<ClusterStats>::default();
                let shared = breakers::Limits::of_one(&CircuitBreakers::default(), &stats);
                let breakers = Breakers::new(&stats, &shared);
                let deadline = core.now() + Duration::from_secs(60);
                let attempts = Attempts::new(&core, &limits, Rc::from(list), &breakers, None, deadline);
                let mut connecting = std::pin::pin!(Connecting::Several(Box::new(attempts)));
                let (timer, count) = (core.timer(), || stats.upstream_cx_total.value() + 1);
                timer.set(core.now() + limits.connect_attempt_delay);
                let mut calm = 0;
                let made = std::future::poll_fn(|context| {
                    if let Poll::Ready(made) = connecting.as_mut().poll(context) {
                        return Poll::Ready(made.is_ok());
                    }
                    while timer.poll_expired(context).is_ready() {
                        calm += usize::from(!reached && count() >= begun);
                        if calm == CALM {
                            return Poll::Ready(false);
                        }
                        timer.set(core.now() + limits.connect_attempt_delay);
                    }
                    Poll::Pending
                });
                (made.await, count())
            };
            let found = run(&options, wake, work).expect("a driver runs");
            assert_eq!(found, (reached, begun), "{running_max} at once");
        }
    }

    #[test]
    fn attempts_under_way_are_bounded() {
        for (running_max, reached, begun) in [(1, false, 1), (2, false, 2), (3, true, 3)] {
            check(running_max, reached, begun);
        }
    }
}

//! Connecting: connect(2) on a non-blocking socket, then writability, then SO_ERROR; the same on both drivers.
//!
//! The kernel never holds an address of ours: connect(2) copies it. A dropped future closes the socket.

use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::core::{Core, Inner};
use crate::instant::Instant;
use crate::socket::{Phase, Send};
use crate::stream::Stream;
use crate::sys;
use crate::target::Target;
use crate::timer::Timer;

/// Why there is no connection.
#[derive(Debug)]
pub enum ConnectError {
    /// The deadline passed.
    Timeout,
    /// The system's answer.
    Io(io::Error),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::Timeout => f.write_str("connect timed out"),
            ConnectError::Io(error) => write!(f, "connect: {error}"),
        }
    }
}

impl std::error::Error for ConnectError {}

enum State {
    Failed(io::Error),
    Made(Stream),
    Waiting(Stream),
    Done,
}

/// The future of [`Core::connect`]: a stream, with TCP_NODELAY set where it is TCP.
pub struct Connect {
    timer: Timer,
    state: State,
}

impl Connect {
    pub(crate) fn new(
        core: &Core,
        target: Target<'_>,
        deadline: Instant,
        prepare: impl FnOnce(BorrowedFd<'_>) -> io::Result<()>,
    ) -> Connect {
        let timer = core.timer();
        timer.set(deadline);
        let inner = core.inner();
        let state = match Connect::start(inner, target, prepare) {
            Err(error) => State::Failed(error),
            Ok((stream, true)) => State::Made(stream),
            Ok((stream, false)) => {
                inner.driver.arm_writable(stream.socket());
                State::Waiting(stream)
            }
        };
        Connect { timer, state }
    }

    fn start(
        inner: &Rc<Inner>,
        target: Target<'_>,
        prepare: impl FnOnce(BorrowedFd<'_>) -> io::Result<()>,
    ) -> io::Result<(Stream, bool)> {
        inner.stats.syscalls.add(3);
        let fd = sys::stream_socket(target)?;
        if matches!(target, Target::Ip(_)) {
            sys::set_nodelay(fd.as_raw_fd())?;
        }
        prepare(fd.as_fd())?;
        let connected = sys::connect(fd.as_raw_fd(), target)?;
        let phase = if connected { Phase::Open } else { Phase::Connecting };
        Ok((Stream::open(inner, fd.into_raw_fd(), phase), connected))
    }
}

impl Future for Connect {
    type Output = Result<Stream, ConnectError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Failed(error) => return Poll::Ready(Err(ConnectError::Io(error))),
            State::Made(stream) => return Poll::Ready(Ok(stream)),
            waiting => self.state = waiting,
        }
        let State::Waiting(stream) = &self.state else { panic!("a connect is not polled after its completion") };
        let socket = stream.socket();
        if socket.send.get() == Send::Stalled {
            if self.timer.poll_expired(cx).is_ready() {
                self.state = State::Done;
                return Poll::Ready(Err(ConnectError::Timeout));
            }
            socket.send_waker.register(cx.waker());
            return Poll::Pending;
        }
        let State::Waiting(stream) = std::mem::replace(&mut self.state, State::Done) else { unreachable!() };
        let socket = stream.socket();
        let errno = match socket.send_error.get() {
            0 => {
                stream.inner().stats.syscalls.add(1);
                sys::socket_error(socket.fd.get())
            }
            errno => i32::from(errno),
        };
        if errno != 0 {
            return Poll::Ready(Err(ConnectError::Io(io::Error::from_raw_os_error(errno))));
        }
        socket.phase.set(Phase::Open);
        Poll::Ready(Ok(stream))
    }
}

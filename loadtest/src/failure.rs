//! What may become of a request that does not become what was expected.

use std::fmt::Display;

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Failure {
    /// Nobody listens there.
    ConnectRefused,
    /// The connection took longer than its timeout.
    ConnectTimeout,
    /// The connection failed otherwise: no route, and the like.
    Connect,
    /// There were no descriptors, ports or memory left for a connection on our own host.
    Shortage,
    /// The TLS handshake failed.
    Tls,
    /// The peer reset the connection.
    Reset,
    /// The peer ended the connection before the answer had ended.
    CutShort,
    /// There was no whole answer in time.
    Timeout,
    /// It never went out: no connection was free in time, or too many waited.
    Unsent,
    /// The answer broke the rules of its protocol.
    Protocol,
    /// The peer reset the stream (HTTP/2).
    StreamReset,
    /// The answer has a status that was not expected.
    Status,
    /// A gRPC call ended with another status than OK.
    GrpcStatus,
    /// The answer's body is not what was expected.
    Body,
}

impl Failure {
    /// All of them, in the order in which they are told.
    pub(crate) const ALL: [Failure; 14] = [
        Failure::ConnectRefused,
        Failure::ConnectTimeout,
        Failure::Connect,
        Failure::Shortage,
        Failure::Tls,
        Failure::Reset,
        Failure::CutShort,
        Failure::Timeout,
        Failure::Unsent,
        Failure::Protocol,
        Failure::StreamReset,
        Failure::Status,
        Failure::GrpcStatus,
        Failure::Body,
    ];

    /// As the output and `--fail-if` name it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Failure::ConnectRefused => "connect_refused",
            Failure::ConnectTimeout => "connect_timeout",
            Failure::Connect => "connect",
            Failure::Shortage => "shortage",
            Failure::Tls => "tls",
            Failure::Reset => "reset",
            Failure::CutShort => "cut_short",
            Failure::Timeout => "timeout",
            Failure::Unsent => "unsent",
            Failure::Protocol => "protocol",
            Failure::StreamReset => "stream_reset",
            Failure::Status => "status",
            Failure::GrpcStatus => "grpc_status",
            Failure::Body => "body",
        }
    }
}

/// How many of each, and why the first of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Failures {
    counts: [u64; Failure::ALL.len()],
    causes: [Option<Box<str>>; Failure::ALL.len()],
}

impl Failures {
    pub(crate) fn add(&mut self, failure: Failure, count: u64) {
        self.counts[failure as usize] += count;
    }

    /// Keeps why one failed, where it is the first of its kind.
    pub(crate) fn because(&mut self, failure: Failure, why: impl Display) {
        self.causes[failure as usize].get_or_insert_with(|| why.to_string().into());
    }

    /// Adds what came later, or elsewhere.
    pub(crate) fn merge(&mut self, other: &Failures) {
        self.counts.iter_mut().zip(other.counts).for_each(|(mine, theirs)| *mine += theirs);
        for (mine, theirs) in self.causes.iter_mut().zip(&other.causes) {
            if mine.is_none() {
                mine.clone_from(theirs);
            }
        }
    }

    pub(crate) fn of(&self, failure: Failure) -> u64 {
        self.counts[failure as usize]
    }

    pub(crate) fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Why the first of those that occurred, where it is known.
    pub(crate) fn causes(&self) -> impl Iterator<Item = (Failure, &str)> {
        self.some().filter_map(|(failure, _)| Some((failure, self.causes[failure as usize].as_deref()?)))
    }

    /// Those that occurred.
    pub(crate) fn some(&self) -> impl Iterator<Item = (Failure, u64)> {
        Failure::ALL.into_iter().map(|failure| (failure, self.of(failure))).filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_place_and_its_name() {
        let mut failures = Failures::default();
        for (at, failure) in (1..).zip(Failure::ALL) {
            failures.add(failure, at);
            assert_eq!((failures.of(failure), failure as u64 + 1), (at, at));
        }
        let names: std::collections::BTreeSet<_> = Failure::ALL.map(Failure::name).into();
        assert_eq!(names.len(), Failure::ALL.len());
        assert_eq!(failures.total(), 105);
    }

    #[test]
    fn the_first_cause_of_what_occurred_is_kept() {
        let [mut first, mut second] = [(); 2].map(|()| Failures::default());
        second.because(Failure::Tls, "expired");
        second.because(Failure::Tls, "another name");
        second.because(Failure::Connect, "of a request that did not count");
        second.add(Failure::Tls, 2);
        first.merge(&second);
        first.add(Failure::Timeout, 1);
        first.merge(&second);
        assert_eq!(first.causes().collect::<Vec<_>>(), [(Failure::Tls, "expired")]);
        assert_eq!(first.of(Failure::Tls), 4);
    }
}

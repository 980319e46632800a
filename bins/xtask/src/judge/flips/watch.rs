//! What the flipper and the clients tell each other, and the verdict on one answer.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::resources::serial;

/// Faults told in words; all are counted.
const TOLD_MAX: usize = 8;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    /// HTTP/1.1, one request after the other on a connection that stays.
    Http1,
    /// HTTP/1.1, a connection for each request.
    Http1New,
    /// HTTP/2, many streams at once on a connection that stays.
    Http2,
    /// HTTP/2, a connection for a few streams.
    Http2New,
    /// HTTP/1.1 over TLS, a connection for each request.
    TlsNew,
}

impl Client {
    pub(super) const ALL: [Client; 5] =
        [Client::Http1, Client::Http1New, Client::Http2, Client::Http2New, Client::TlsNew];

    /// Whether each connection is fresh when it asks.
    pub(super) fn is_new(self) -> bool {
        matches!(self, Client::Http1New | Client::Http2New | Client::TlsNew)
    }
}

/// What was known when a request was begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) client: Client,
    /// The newest version that had been reported before its connection was begun.
    pub(super) connected: u64,
    /// The newest version that had been reported before it was begun.
    pub(super) committed: u64,
}

/// What an answer says of each part; none where it says nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The serial number of the certificate, on a connection by TLS.
    pub(super) serial: Option<u64>,
    /// The listener's connection manager.
    pub(super) listener: Option<u64>,
    /// The route, on the answer's way.
    pub(super) route: Option<u64>,
    /// Route, cluster and endpoint on the request's way.
    pub(super) seen: Option<[u64; 3]>,
}

impl Answer {
    /// Reads the fields of an answer; names in any case.
    pub(super) fn read(status: u16, fields: &[(String, String)]) -> Answer {
        let value = |name: &str| {
            fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
        };
        let mut words = value("x-seen").split(' ').map(str::parse);
        let seen = match [words.next(), words.next(), words.next()] {
            [Some(Ok(route)), Some(Ok(cluster)), Some(Ok(endpoint))] => Some([route, cluster, endpoint]),
            _ => None,
        };
        Answer {
            status,
            serial: None,
            listener: value("server").parse().ok(),
            route: value("x-route").parse().ok(),
            seen,
        }
    }
}

/// What is wrong with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// No 200, or parts are missing.
    Failed,
    /// Route, cluster and endpoint are not of one version that was written by then.
    Mixed,
    /// The listener's header is of another version than they are.
    ListenerMixed,
    /// The certificate is of no version from the connection's begin to the request's.
    CertificateMixed,
    /// An older version than the newest that was reported before.
    Older,
}

/// The version of an answer, or what is wrong with it. With `is_listener_strict` the listener's header must agree on connections that
/// stay, too.
fn judge(asked: &Asked, written: u64, answer: &Answer, is_listener_strict: bool) -> Result<u64, Fault> {
    let (200, Some(listener), Some(route), Some(seen)) = (answer.status, answer.listener, answer.route, answer.seen)
    else {
        return Err(Fault::Failed);
    };
    if seen.iter().any(|part| *part != route) || route > written {
        return Err(Fault::Mixed);
    }
    if route < asked.committed {
        return Err(Fault::Older);
    }
    if (asked.client.is_new() || is_listener_strict) && listener != route {
        return Err(Fault::ListenerMixed);
    }
    match answer.serial {
        Some(shown) if !(asked.connected..=route).any(|version| serial(version) == shown) => {
            Err(Fault::CertificateMixed)
        }
        _ => Ok(route),
    }
}

/// What was counted.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Answers, in the order of [`Client::ALL`].
    pub(super) answers: [u64; 5],
    pub(super) connections: u64,
    pub(super) failed: u64,
    pub(super) mixed: u64,
    pub(super) listener_mixed: u64,
    pub(super) certificate_mixed: u64,
    pub(super) older: u64,
    /// Streams that the proxy said it had not begun with, at the end of a connection.
    pub(super) unprocessed: u64,
    /// Versions that some answer had.
    pub(super) seen: BTreeSet<u64>,
    /// Some of the faults, in words.
    pub(super) told: Vec<String>,
}

impl Counts {
    /// All answers.
    pub(super) fn requests(&self) -> u64 {
        self.answers.iter().sum()
    }

    /// All that must not be.
    pub(super) fn faults(&self) -> u64 {
        self.failed + self.mixed + self.listener_mixed + self.certificate_mixed + self.older
    }

    fn tell(&mut self, what: String) {
        if self.told.len() < TOLD_MAX {
            self.told.push(what);
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Watch {
    /// The newest version that may be in force.
    pub(super) written: AtomicU64,
    /// The newest version that was reported to be.
    pub(super) committed: AtomicU64,
    /// Answers so far.
    pub(super) answered: AtomicU64,
    pub(super) done: AtomicBool,
    is_listener_strict: bool,
    counts: Mutex<Counts>,
}

impl Watch {
    /// See [`judge`].
    pub(super) fn new(is_listener_strict: bool) -> Watch {
        Watch { is_listener_strict, ..Watch::default() }
    }

    /// Whether clients are to end.
    pub(super) fn is_done(&self) -> bool {
        self.done.load(Ordering::Relaxed)
    }

    /// A request on a connection that was begun when `connected` was reported is about to be sent.
    pub(super) fn asks(&self, client: Client, connected: u64) -> Asked {
        Asked { client, connected, committed: self.committed() }
    }

    /// The newest version that was reported.
    pub(super) fn committed(&self) -> u64 {
        self.committed.load(Ordering::SeqCst)
    }

    /// Whether each client has had answers.
    pub(super) fn all_answered(&self) -> bool {
        !self.counts.lock().expect("no client panicked").answers.contains(&0)
    }

    pub(super) fn connected(&self) {
        self.counts.lock().expect("no client panicked").connections += 1;
    }

    /// Streams that were not begun with, and may be sent again.
    pub(super) fn unprocessed(&self, streams: u64) {
        self.counts.lock().expect("no client panicked").unprocessed += streams;
    }

    /// Judges one answer.
    pub(super) fn answered(&self, asked: &Asked, answer: &Answer) {
        let written = self.written.load(Ordering::SeqCst);
        let judged = judge(asked, written, answer, self.is_listener_strict);
        self.answered.fetch_add(1, Ordering::Relaxed);
        let mut counts = self.counts.lock().expect("no client panicked");
        counts.answers[asked.client as usize] += 1;
        match judged {
            Ok(version) => {
                counts.seen.insert(version);
                return;
            }
            Err(Fault::Failed) => counts.failed += 1,
            Err(Fault::Mixed) => counts.mixed += 1,
            Err(Fault::ListenerMixed) => counts.listener_mixed += 1,
            Err(Fault::CertificateMixed) => counts.certificate_mixed += 1,
            Err(Fault::Older) => counts.older += 1,
        }
        counts.tell(format!("{judged:?}: {answer:?} to {asked:?}, written {written}"));
    }

    /// A request that got no answer.
    pub(super) fn failed(&self, client: Client, why: &str) {
        let (written, committed) = (self.written.load(Ordering::SeqCst), self.committed());
        let mut counts = self.counts.lock().expect("no client panicked");
        counts.failed += 1;
        counts.tell(format!("{client:?}: {why}; committed {committed}, written {written}"));
    }

    /// All that was counted.
    pub(super) fn into_counts(self) -> Counts {
        self.counts.into_inner().expect("no client panicked")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Asked = Asked { client: Client::Http1New, connected: 6, committed: 7 };

    fn answer(listener: u64, route: u64, seen: [u64; 3]) -> Answer {
        Answer { status: 200, serial: None, listener: Some(listener), route: Some(route), seen: Some(seen) }
    }

    #[track_caller]
    fn check(answer: Answer, expect: Result<u64, Fault>) {
        assert_eq!(judge(&ASKED, 9, &answer, false), expect, "{answer:?}");
    }

    #[test]
    fn each_fault_is_told_from_the_others() {
        check(answer(8, 8, [8; 3]), Ok(8));
        check(answer(9, 9, [9; 3]), Ok(9));
        check(answer(8, 8, [8, 8, 9]), Err(Fault::Mixed));
        check(answer(8, 8, [8, 7, 8]), Err(Fault::Mixed));
        check(answer(9, 9, [8; 3]), Err(Fault::Mixed));
        check(answer(10, 10, [10; 3]), Err(Fault::Mixed)); // nobody wrote it yet
        check(answer(6, 6, [6; 3]), Err(Fault::Older));
        check(answer(7, 8, [8; 3]), Err(Fault::ListenerMixed));
        check(Answer { status: 503, ..answer(8, 8, [8; 3]) }, Err(Fault::Failed));
        check(Answer { seen: None, ..answer(8, 8, [8; 3]) }, Err(Fault::Failed));
    }

    #[test]
    fn a_listener_may_be_older_only_where_the_connection_is() {
        let old = answer(3, 8, [8; 3]);
        let asked = Asked { client: Client::Http1, ..ASKED };
        assert_eq!(judge(&asked, 9, &old, false), Ok(8));
        assert_eq!(judge(&asked, 9, &old, true), Err(Fault::ListenerMixed));
    }

    #[test]
    fn a_certificate_is_as_old_as_its_connection_at_most() {
        let with = |version| Answer { serial: Some(serial(version)), ..answer(8, 8, [8; 3]) };
        check(with(6), Ok(8));
        check(with(8), Ok(8));
        check(with(5), Err(Fault::CertificateMixed));
        check(with(9), Err(Fault::CertificateMixed));
    }

    #[test]
    fn fields_are_read_whatever_their_case() {
        let fields = [("Server", "8"), ("x-route", "7"), ("x-seen", "7 6 5")];
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let expect = Answer { status: 200, serial: None, listener: Some(8), route: Some(7), seen: Some([7, 6, 5]) };
        assert_eq!(Answer::read(200, &fields), expect);
        assert_eq!(Answer::read(200, &fields[..2]).seen, None);
    }
}

//! The listener filters: they look at a connection's first bytes, and leave them for whoever serves it.
//!
//! What they look at is gathered in one block, at most as large as the largest ClientHello or request line that one of them takes. A client that
//! says nothing is waited for as long as the listener says, and only where a chain depends on what it says: a protocol in which the server
//! speaks first passes at once where nothing depends on it.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::Poll;

use ringway_model::{ChainFacts, Listener, ListenerFilterKind, ProxyProtocolIn};
use ringway_observe::{HttpInspectorStats, ListenerStats, ProxyProtocolStats, TlsInspectorStats};
use ringway_protocols::client_hello::{self, Decoded, SERVER_NAME_BYTES_MAX};
use ringway_protocols::http_inspector::{self, Detected};
use ringway_protocols::proxy_protocol::{self, Endpoints, Version, Versions};
use ringway_runtime::{BlockMut, Chunk, Stream, Timer};

use crate::arrived::Arrived;
use crate::inspector_stats::{InspectorStats, count_detected, count_hello, of_version};
use crate::worker::Worker;

/// What is known of a connection before it has a chain.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) arrived: Arrived,
    /// The protocols of its ClientHello, each with its length before it as in ALPN, or what the HTTP inspector found.
    protocols: Vec<u8>,
    is_tls: bool,
    /// What has come of it.
    held: Option<BlockMut>,
    has_ended: bool,
}

/// Why a connection is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It said nothing in time.
    Timeout,
    /// It ended before the filters had seen enough.
    Ended,
    /// What it began with breaks a rule.
    Malformed,
}

/// Why there is no header of the PROXY protocol.
enum Unproxied {
    /// It breaks this rule.
    Wrong(&'static str),
    Refused(Refused),
}

impl From<Refused> for Unproxied {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// The versions that are looked for: where a connection may do without a header, one that is not wanted is none.
fn versions(rules: &ProxyProtocolIn) -> Versions {
    match rules.is_optional {
        true => Versions { v1: !rules.refuses_v1, v2: !rules.refuses_v2 },
        false => Versions::ALL,
    }
}

/// Bytes of a wrong header that the log shows: the longest line of version 1.
const COMPLAINT_BYTES: usize = 107;
/// Protocol names of one ClientHello that are kept for the choice of a chain. Browsers send two; the list itself may have 64 KiB.
const PROTOCOL_BYTES_MAX: usize = 1024;
/// Bytes of a request line that the HTTP inspector looks at: what the engine takes as a head by default.
const REQUEST_LINE_BYTES_MAX: usize = 16 << 10;

impl Seen {
    /// Of a connection that has just come to this listener.
    pub(super) fn new(stream: &Stream, listener: Option<&Arc<Listener>>) -> Self {
        let ends = (stream.local_addr(), stream.peer_addr());
        let arrived = Arrived::told(ends, listener.map(|listener| &**listener), || stream.local_path());
        Self { arrived, ..Self::default() }
    }

    /// What a chain is chosen by, and the client's protocols.
    pub(super) fn facts(&self) -> (ChainFacts<'_>, impl Iterator<Item = &[u8]>) {
        let facts = ChainFacts {
            destination: self.arrived.local,
            server_name: self.arrived.server_name.as_deref().unwrap_or_default().as_bytes(),
            transport_protocol: if self.is_tls { "tls" } else { "raw_buffer" },
            direct_source: self.arrived.direct_peer,
            source: self.arrived.peer,
        };
        let mut rest = &self.protocols[..];
        let names = std::iter::from_fn(move || {
            let (&size, after) = rest.split_first()?;
            let (name, after) = after.split_at(usize::from(size));
            rest = after;
            Some(name)
        });
        (facts, names)
    }

    /// Runs the filters of one listener.
    ///
    /// # Errors
    /// The connection is to be closed.
    pub(super) async fn pass(
        &mut self,
        (worker, stream, timer): (&Worker, &Stream, &Timer),
        listener: &Listener,
        (stats, inspectors): (&ListenerStats, &[InspectorStats]),
        waits: bool,
    ) -> Result<(), Refused> {
        match listener.inspects.timeout {
            Some(timeout) => timer.set(worker.core.now() + timeout),
            None => timer.clear(),
        }
        let mut io = Io { worker, stream, timer, waits };
        let passed = self.each_filter(&mut io, listener, inspectors).await;
        match passed {
            Err(Refused::Timeout) => {
                stats.downstream_pre_cx_timeout.add(1);
                if listener.inspects.continues_on_timeout { Ok(()) } else { Err(Refused::Timeout) }
            }
            Err(Refused::Ended) => {
                stats.downstream_listener_filter_remote_close.add(1);
                Err(Refused::Ended)
            }
            Err(Refused::Malformed) => {
                stats.downstream_listener_filter_error.add(1);
                Err(Refused::Malformed)
            }
            Ok(()) => Ok(()),
        }
    }

    async fn each_filter(
        &mut self,
        io: &mut Io<'_>,
        listener: &Listener,
        inspectors: &[InspectorStats],
    ) -> Result<(), Refused> {
        for (filter, stats) in listener.inspects.filters.iter().zip(inspectors) {
            if !filter.applies(self.arrived.local.map_or(0, |local| local.port())) {
                continue;
            }
            match &filter.kind {
                ListenerFilterKind::OriginalDst => self.original_destination(io.stream, listener),
                ListenerFilterKind::TlsInspector { client_hello_bytes_max } => {
                    self.client_hello(io, *client_hello_bytes_max, stats.tls()).await?;
                }
                ListenerFilterKind::HttpInspector => self.http(io, stats.http()).await?,
                ListenerFilterKind::ProxyProtocol(rules) => {
                    let read = self.proxy_header(io, rules, stats.proxy()).await;
                    if let Err(Unproxied::Wrong(rule)) = read {
                        self.complain(io.worker, &listener.name, rules, rule);
                    }
                    read.map_err(|unproxied| match unproxied {
                        Unproxied::Wrong(_) => Refused::Malformed,
                        Unproxied::Refused(refused) => refused,
                    })?;
                }
            }
        }
        Ok(())
    }

    /// Where the packet filter sent it away from (REDIRECT), or our end, where that may be another host's (TPROXY). A client that connected
    /// to the listener itself wanted to go nowhere: a cluster that followed it would connect to us, and so on.
    fn original_destination(&mut self, stream: &Stream, listener: &Listener) {
        let own = stream.local_addr();
        let redirected = stream.original_destination().filter(|original| Some(*original) != own);
        let bound = || listener.addresses.iter().filter(|_| listener.binds).filter_map(|at| at.address.ip());
        let taken = || own.filter(|own| stream.is_transparent() && !bound().any(|bound| is_bound_to(bound, *own)));
        if let Some(original) = redirected.or_else(taken) {
            (self.arrived.local, self.arrived.is_restored) = (Some(original), true);
        }
    }

    async fn client_hello(
        &mut self,
        io: &mut Io<'_>,
        bytes_max: usize,
        stats: &TlsInspectorStats,
    ) -> Result<(), Refused> {
        while self.reads_no_hello(io.worker, bytes_max, stats)? {
            if !self.more(io).await? {
                break;
            }
        }
        Ok(())
    }

    /// Reads the ClientHello if it is there; whether more bytes may make one.
    fn reads_no_hello(
        &mut self,
        worker: &Worker,
        bytes_max: usize,
        stats: &TlsInspectorStats,
    ) -> Result<bool, Refused> {
        let mut joined = worker.hello.borrow_mut();
        match client_hello::decode(self.held.as_deref().unwrap_or_default(), bytes_max, &mut joined) {
            Decoded::NeedMore => Ok(true),
            Decoded::NotTls(_) => {
                stats.tls_not_found.add(1);
                Ok(false)
            }
            Decoded::TooLarge => {
                stats.client_hello_too_large.add(1);
                Err(Refused::Malformed)
            }
            Decoded::Hello(hello) => {
                count_hello(stats, &hello);
                let mut buffer = [0; SERVER_NAME_BYTES_MAX];
                let name = hello.server_name_lowercase(&mut buffer);
                // What is not text matches no name, and cannot be shown.
                let name: Option<Arc<str>> = name.and_then(|name| std::str::from_utf8(name).ok()).map(Arc::from);
                let mut protocols = Vec::new();
                for protocol in hello.protocols() {
                    if protocols.len() + protocol.len() < PROTOCOL_BYTES_MAX {
                        protocols.push(u8::try_from(protocol.len()).expect("its length was one byte"));
                        protocols.extend_from_slice(protocol);
                    }
                }
                (self.arrived.server_name, self.protocols, self.is_tls) = (name, protocols, true);
                Ok(false)
            }
        }
    }

    async fn http(&mut self, io: &mut Io<'_>, stats: &HttpInspectorStats) -> Result<(), Refused> {
        // Within TLS there is nothing to see.
        while !self.is_tls {
            let detected = http_inspector::detect(self.bytes(), REQUEST_LINE_BYTES_MAX);
            count_detected(stats, detected);
            if detected == Detected::TooLarge {
                return Err(Refused::Malformed);
            }
            if detected != Detected::NeedMore {
                if let Some(name) = detected.application_protocol() {
                    self.protocols = vec![u8::try_from(name.len()).expect("a short name")];
                    self.protocols.extend_from_slice(name.as_bytes());
                }
                return Ok(());
            }
            if !self.more(io).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Takes the word of the proxy before us, and takes it off.
    async fn proxy_header(
        &mut self,
        io: &mut Io<'_>,
        rules: &ProxyProtocolIn,
        stats: &ProxyProtocolStats,
    ) -> Result<(), Unproxied> {
        let versions = versions(rules);
        // Whoever stands before us speaks first.
        let waits = std::mem::replace(&mut io.waits, true);
        let size = loop {
            match proxy_protocol::decode(self.bytes(), versions) {
                proxy_protocol::Decoded::NeedMore => {
                    if !self.more(io).await? {
                        return Err(Refused::Ended.into());
                    }
                }
                proxy_protocol::Decoded::NotProxy if rules.is_optional => {
                    stats.not_found_allowed.add(1);
                    break 0;
                }
                proxy_protocol::Decoded::NotProxy => {
                    stats.not_found_disallowed.add(1);
                    return Err(Unproxied::Wrong("a connection begins with a header"));
                }
                proxy_protocol::Decoded::Malformed(malformed) => {
                    if let Some(version) = proxy_protocol::version(self.bytes()) {
                        of_version(stats, version).error.add(1);
                    }
                    return Err(Unproxied::Wrong(malformed.text()));
                }
                proxy_protocol::Decoded::Header(header) => {
                    let of_version = of_version(stats, header.version);
                    of_version.found.add(1);
                    let is_refused = match header.version {
                        Version::V1 => rules.refuses_v1,
                        Version::V2 => rules.refuses_v2,
                    };
                    if is_refused {
                        of_version.disallowed.add(1);
                        return Err(Unproxied::Wrong("its version is not among disallowed_versions"));
                    }
                    let size = header.size;
                    let mut tlvs = Vec::new();
                    for (kind, value) in header.tlvs.filter(|(kind, _)| rules.kept.has(*kind)) {
                        let length = u16::try_from(value.len()).expect("it came with a length of 16 bits");
                        tlvs.push(kind);
                        tlvs.extend_from_slice(&length.to_be_bytes());
                        tlvs.extend_from_slice(value);
                    }
                    let tlvs: Option<Arc<[u8]>> = (!tlvs.is_empty()).then(|| tlvs.into());
                    if let Endpoints::Inet { source, destination } = header.endpoints {
                        self.arrived.is_restored |= self.arrived.local != Some(destination);
                        (self.arrived.peer, self.arrived.local) = (Some(source), Some(destination));
                    }
                    self.arrived.tlvs = tlvs;
                    break size;
                }
            }
        };
        io.waits = waits;
        if let Some(held) = self.held.take() {
            self.held = (size < held.len()).then(|| io.worker.copy(&held[size..]));
        }
        Ok(())
    }

    /// Says in the process's log who is set up wrong: which rule is broken, from which byte on that is so, and what came.
    fn complain(&self, worker: &Worker, listener: &str, rules: &ProxyProtocolIn, rule: &str) {
        worker.shared.complaints.say(|| {
            let (bytes, versions) = (self.bytes(), versions(rules));
            let sizes: Vec<usize> = (1..=bytes.len()).collect();
            let is_open =
                |size: &usize| proxy_protocol::decode(&bytes[..*size], versions) == proxy_protocol::Decoded::NeedMore;
            let at = sizes.partition_point(is_open) + 1;
            let from = self.arrived.direct_peer.map_or_else(|| "a unix socket".to_owned(), |peer| peer.to_string());
            let begin = &bytes[..bytes.len().min(COMPLAINT_BYTES)];
            format!(
                "listener {listener:?}: PROXY protocol: {from} is refused: {rule}; not so from byte {at} on of \"{}\"",
                begin.escape_ascii()
            )
        });
    }

    fn bytes(&self) -> &[u8] {
        self.held.as_deref().unwrap_or_default()
    }

    /// Waits for more bytes. `false`: there will be none worth waiting for, and what is known has to do.
    async fn more(&mut self, io: &mut Io<'_>) -> Result<bool, Refused> {
        if self.has_ended {
            return Ok(false);
        }
        let came = poll_fn(|context| {
            if let Poll::Ready(came) = io.stream.poll_recv(context) {
                return Poll::Ready(Some(came));
            }
            // Who has begun to speak is not one that waits for the server.
            if !io.waits && self.held.is_none() {
                return Poll::Ready(None);
            }
            io.timer.poll_expired(context).map(|()| None)
        })
        .await;
        match came {
            Some(Ok(Some(chunk))) => {
                self.hold(io.worker, &chunk);
                Ok(true)
            }
            // It has sent all that it will send, and may want an answer.
            Some(Ok(None)) if self.held.is_some() => {
                self.has_ended = true;
                Ok(false)
            }
            Some(Ok(None) | Err(_)) => Err(Refused::Ended),
            None if io.waits || self.held.is_some() => Err(Refused::Timeout),
            None => Ok(false),
        }
    }

    fn hold(&mut self, worker: &Worker, chunk: &Chunk) {
        self.held = Some(match self.held.take() {
            None => worker.copy(chunk),
            Some(held) => worker.append(held, chunk),
        });
    }

    /// Gives what was looked at back to the stream.
    pub(super) fn give_back(&mut self, stream: &Stream) {
        if let Some(held) = self.held.take() {
            stream.unread(held.freeze());
        }
    }

    /// Where it goes on to, where its listener hands connections on.
    pub(super) fn restored(&self) -> Option<SocketAddr> {
        self.arrived.local.filter(|_| self.arrived.is_restored)
    }
}

/// Whether a listener that is bound to one address may have been asked for by the other. Bound to all it has its port on any: which addresses are
/// this host's is not asked.
fn is_bound_to(bound: SocketAddr, address: SocketAddr) -> bool {
    bound.port() == address.port() && (bound.ip().is_unspecified() || bound.ip() == address.ip())
}

/// What the filters read by.
struct Io<'i> {
    worker: &'i Worker,
    stream: &'i Stream,
    timer: &'i Timer,
    /// A client that says nothing is waited for.
    waits: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards against a transparent listener that takes itself for where a client wanted to go.
    #[test]
    fn a_listener_is_asked_for_by_its_port() {
        for (bound, address, expect) in [
            ("10.0.0.1:15001", "10.0.0.1:15001", true),
            ("10.0.0.1:15001", "10.0.0.2:15001", false),
            ("10.0.0.1:15001", "10.0.0.1:80", false),
            ("0.0.0.0:15001", "10.0.0.1:15001", true),
            ("0.0.0.0:15001", "10.0.0.1:80", false),
            ("[::]:15001", "10.0.0.1:15001", true),
            ("[::]:15001", "[fd00::1]:15001", true),
            ("[::]:15001", "[fd00::1]:80", false),
        ] {
            let [bound, address] = [bound, address].map(|text| text.parse().expect("an address"));
            assert_eq!(is_bound_to(bound, address), expect, "{address} at {bound}");
        }
    }
}

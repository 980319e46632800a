//! A management server of the tests' own, on h2: it has a world of resources, serves it in either form of the protocol by ADS or by
//! type, and notes what it is asked. It can be told to go away, to say nothing, and to talk garbage.
//!
//! | a request in the log | |
//! |---|---|
//! | `#1 CDS [] node` | the first one of connection 1: all clusters, with the node |
//! | `#1 CDS [] version 3 nonce 3` | an ACK of state of the world |
//! | `#1 EDS [c] -[d] held[c:1] nonce 3 NACK "c": why` | what delta has besides |

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use bytes::{BufMut, Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::task::{LocalSet, spawn_local};

use super::wait_for;

/// The types that are served, by the names that people give the services.
const TYPES: [(&str, &str); 7] = [
    ("CDS", "envoy.config.cluster.v3.Cluster"),
    ("EDS", "envoy.config.endpoint.v3.ClusterLoadAssignment"),
    ("LDS", "envoy.config.listener.v3.Listener"),
    ("RDS", "envoy.config.route.v3.RouteConfiguration"),
    ("SDS", "envoy.extensions.transport_sockets.tls.v3.Secret"),
    ("RTDS", "envoy.service.runtime.v3.Runtime"),
    ("ECDS", "envoy.config.core.v3.TypedExtensionConfig"),
];

/// A running server. Its thread ends with the test's process.
pub(crate) struct Server {
    /// Where it listens; of one at a unix socket nothing.
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    world: Mutex<World>,
    log: Mutex<Vec<String>>,
    connections: AtomicUsize,
    changes: watch::Sender<u64>,
}

#[derive(Default)]
struct World {
    /// By the service's name, then the resource's: its version and its bytes.
    resources: BTreeMap<&'static str, BTreeMap<String, (u64, Bytes)>>,
    /// Of each type the last change.
    versions: BTreeMap<&'static str, u64>,
    clock: u64,
    mood: Mood,
    /// Streams of connections up to this one are ended.
    killed: usize,
}

/// What it does with who connects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    #[default]
    Serving,
    /// Sends what was refused again, and again.
    Insisting,
    /// Takes requests, and answers none.
    Silent,
    /// Answers with what is no message of the protocol.
    Garbage,
    /// Says that a message of 100 MiB comes.
    Huge,
    /// Sends a byte at a time, and the last one of a message when its mood is another.
    Trickling,
    /// Ends each stream after as many messages as connections there have been.
    Flapping,
}

impl Server {
    /// One at a port of the kernel's choice.
    pub(crate) fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port of the kernel's choice");
        Server::on(listener)
    }

    /// One at this socket.
    pub(crate) fn on(listener: TcpListener) -> Server {
        let address = listener.local_addr().expect("bound");
        listener.set_nonblocking(true).expect("a socket");
        let shared = Arc::new(Shared::default());
        let own = shared.clone();
        run(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
            while let Ok((socket, _)) = listener.accept().await {
                spawn_local(connection(socket, own.clone()));
            }
        });
        Server { address, shared }
    }

    /// One at a unix socket.
    pub(crate) fn at(path: &Path) -> Server {
        let listener = std::os::unix::net::UnixListener::bind(path).expect("a path of its own");
        listener.set_nonblocking(true).expect("a socket");
        let shared = Arc::new(Shared::default());
        let own = shared.clone();
        run(async move {
            let listener = tokio::net::UnixListener::from_std(listener).expect("a socket");
            while let Ok((socket, _)) = listener.accept().await {
                spawn_local(connection(socket, own.clone()));
            }
        });
        Server { address: SocketAddr::from(([0, 0, 0, 0], 0)), shared }
    }

    /// The world of a type from now on: names, and resources as in a file. What is as before keeps its version.
    pub(crate) fn set(&self, service: &'static str, resources: &[(&str, String)]) {
        let encoded =
            resources.iter().map(|(name, text)| ((*name).to_owned(), ringway_control_client::fuzz::encoded(text)));
        self.set_encoded(service, encoded.collect());
    }

    /// The same of what is in its wire form already.
    pub(crate) fn set_encoded(&self, service: &'static str, resources: Vec<(String, Vec<u8>)>) {
        self.change(|world| {
            world.clock += 1;
            let clock = world.clock;
            let before = world.resources.remove(service).unwrap_or_default();
            let now = resources.into_iter().map(|(name, bytes)| {
                let bytes = Bytes::from(bytes);
                let version =
                    before.get(&name).filter(|(_, known)| *known == bytes).map_or(clock, |(version, _)| *version);
                (name, (version, bytes))
            });
            world.resources.insert(service, now.collect());
            world.versions.insert(service, clock);
        });
    }

    /// What it does from now on.
    pub(crate) fn feel(&self, mood: Mood) {
        self.change(|world| world.mood = mood);
    }

    /// Ends all streams that there are.
    pub(crate) fn kill(&self) {
        let last = self.connections();
        self.change(|world| world.killed = last);
    }

    /// How many connections there have been.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Waits for a request that begins so and contains that, and gives it.
    #[track_caller]
    pub(crate) fn asked(&self, start: &str, part: &str) -> String {
        let found = || {
            let log = lock(&self.shared.log);
            log.iter().find(|line| line.starts_with(start) && line.contains(part)).cloned()
        };
        let deadline = std::time::Instant::now() + super::PATIENCE;
        loop {
            if let Some(line) = found() {
                return line;
            }
            let log = lock(&self.shared.log).join("\n");
            assert!(std::time::Instant::now() < deadline, "no request {start:?} .. {part:?} in\n{log}");
            thread::park_timeout(std::time::Duration::from_millis(5));
        }
    }

    /// All requests so far.
    pub(crate) fn log(&self) -> Vec<String> {
        lock(&self.shared.log).clone()
    }

    /// Waits for that many connections.
    #[track_caller]
    pub(crate) fn connected(&self, count: usize) {
        wait_for("connections to the management server", || (self.connections() >= count).then_some(()));
    }

    fn change(&self, change: impl FnOnce(&mut World)) {
        change(&mut lock(&self.shared.world));
        self.shared.changes.send_modify(|count| *count += 1);
    }
}

impl Default for Shared {
    fn default() -> Self {
        Shared {
            world: Mutex::default(),
            log: Mutex::default(),
            connections: AtomicUsize::new(0),
            changes: watch::Sender::new(0),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no panic")
}

pub(crate) fn run(body: impl Future<Output = ()> + Send + 'static) {
    thread::spawn(|| {
        let runtime = Builder::new_current_thread().enable_io().build().expect("a runtime");
        LocalSet::new().block_on(&runtime, body);
    });
}

async fn connection(socket: impl AsyncRead + AsyncWrite + Unpin + 'static, shared: Arc<Shared>) {
    let number = shared.connections.fetch_add(1, Ordering::SeqCst) + 1;
    let Ok(mut connection) = h2::server::handshake(socket).await else { return };
    // Who is killed is killed with its connection, as where a process ends.
    let mut changes = shared.changes.subscribe();
    loop {
        let next = either(connection.accept(), changes.changed()).await;
        match next {
            Either::One(Some(Ok((request, respond)))) => {
                spawn_local(serve(request, respond, number, shared.clone()));
            }
            Either::One(_) => return,
            Either::Other(_) if lock(&shared.world).killed >= number => return,
            Either::Other(_) => {}
        }
    }
}

pub(crate) enum Either<A, B> {
    One(A),
    Other(B),
}

pub(crate) async fn either<A, B>(one: impl Future<Output = A>, other: impl Future<Output = B>) -> Either<A, B> {
    let (mut one, mut other) = (std::pin::pin!(one), std::pin::pin!(other));
    std::future::poll_fn(|context| match one.as_mut().poll(context) {
        std::task::Poll::Ready(output) => std::task::Poll::Ready(Either::One(output)),
        std::task::Poll::Pending => other.as_mut().poll(context).map(Either::Other),
    })
    .await
}

/// What a stream knows of one type.
#[derive(Default)]
struct Subscription {
    is_asked: bool,
    is_wildcard: bool,
    names: BTreeSet<String>,
    /// Of delta: what the client has.
    sent: BTreeMap<String, u64>,
    /// Of state of the world: what it was last told, and of which names.
    last: Option<(u64, BTreeSet<String>)>,
    is_answered: bool,
}

async fn serve(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, number: usize, shared: Arc<Shared>) {
    let path = request.uri().path().to_owned();
    let metadata: Vec<String> = request
        .headers()
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("x-"))
        .map(|(name, value)| format!("{name}={}", value.to_str().unwrap_or("?")))
        .collect();
    lock(&shared.log).push(format!(
        "#{number} {path} {} {}",
        request.uri().authority().map_or("", |a| a.as_str()),
        metadata.join(" ")
    ));
    let is_delta = path.contains("/Delta");
    let mut body = request.into_body();
    let Ok(mut out) = respond.send_response(Response::new(()), false) else { return };
    let mut changes = shared.changes.subscribe();
    let mut types: BTreeMap<&'static str, Subscription> = BTreeMap::new();
    let mut bytes = BytesMut::new();
    let (mut nonce, mut sent_count) = (0, 0);
    loop {
        let (mood, killed) = {
            let world = lock(&shared.world);
            (world.mood, world.killed)
        };
        if killed >= number {
            return;
        }
        match mood {
            Mood::Serving | Mood::Insisting | Mood::Trickling | Mood::Flapping => {
                for (service, subscription) in &mut types {
                    let message = {
                        let world = lock(&shared.world);
                        match is_delta {
                            true => delta(service, subscription, &world, &mut nonce),
                            false => state_of_the_world(service, subscription, &world, &mut nonce),
                        }
                    };
                    let Some(message) = message else { continue };
                    let sent = match mood {
                        Mood::Trickling => trickle(&mut out, &message, (service, number), &shared).await,
                        _ => send(&mut out, &message),
                    };
                    sent_count += 1;
                    if sent.is_err() || mood == Mood::Flapping && sent_count >= number {
                        return;
                    }
                }
            }
            Mood::Garbage if !types.is_empty() => {
                let _ = send(&mut out, b"<html>");
                let _ = out.send_trailers(HeaderMap::new());
                return;
            }
            Mood::Huge if !types.is_empty() => {
                let _ = out.send_data(Bytes::from_static(b"\0\x06\x40\0\0"), false);
            }
            Mood::Silent | Mood::Garbage | Mood::Huge => {}
        }
        match either(body.data(), changes.changed()).await {
            Either::One(Some(Ok(data))) => {
                let _ = body.flow_control().release_capacity(data.len());
                bytes.put_slice(&data);
                while let Some(message) = next_message(&mut bytes) {
                    let heard = Heard::read(&message, is_delta);
                    lock(&shared.log).push(format!("#{number} {}", heard.line(is_delta)));
                    let subscription = types.entry(heard.service).or_default();
                    if mood == Mood::Insisting && !heard.error.is_empty() {
                        (subscription.last, subscription.sent) = (None, BTreeMap::new());
                    }
                    heard.take(subscription, is_delta);
                }
            }
            Either::One(_) => return,
            Either::Other(_) => {}
        }
    }
}

pub(crate) fn send(out: &mut SendStream<Bytes>, message: &[u8]) -> Result<(), h2::Error> {
    out.send_data(framed(message), false)
}

fn framed(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::new();
    framed.put_u8(0);
    framed.put_u32(message.len() as u32);
    framed.put_slice(message);
    framed.freeze()
}

/// Sends a message byte by byte, each in a frame of its own, and notes in the log when only the last one is missing.
async fn trickle(
    out: &mut SendStream<Bytes>,
    message: &[u8],
    (service, number): (&str, usize),
    shared: &Shared,
) -> Result<(), h2::Error> {
    let mut changes = shared.changes.subscribe();
    let mut rest = framed(message);
    while rest.len() > 1 {
        out.send_data(rest.split_to(1), false)?;
        // The connection is another task's.
        tokio::task::yield_now().await;
    }
    lock(&shared.log).push(format!("#{number} {service} but for a byte"));
    while lock(&shared.world).mood == Mood::Trickling && lock(&shared.world).killed < number {
        changes.changed().await.expect("the server lives");
    }
    out.send_data(rest, false)
}

pub(crate) fn next_message(bytes: &mut BytesMut) -> Option<Bytes> {
    let head = bytes.get(..5)?;
    let size = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    (bytes.len() >= 5 + size).then(|| bytes.split_to(5 + size).split_off(5).freeze())
}

fn delta(service: &'static str, state: &mut Subscription, world: &World, nonce: &mut u64) -> Option<Vec<u8>> {
    if !state.is_asked {
        return None;
    }
    let empty = BTreeMap::new();
    let all = world.resources.get(service).unwrap_or(&empty);
    let wants = |name: &String| state.is_wildcard || state.names.contains(name);
    let changed: Vec<(&String, &(u64, Bytes))> =
        all.iter().filter(|(name, (version, _))| wants(name) && state.sent.get(*name) != Some(version)).collect();
    let removed: Vec<String> = state.sent.keys().filter(|name| !all.contains_key(*name)).cloned().collect();
    if changed.is_empty() && removed.is_empty() && (state.is_answered || !state.is_wildcard) {
        return None;
    }
    *nonce += 1;
    let mut out = Vec::new();
    field(&mut out, 1, world.versions.get(service).unwrap_or(&0).to_string().as_bytes());
    let mut sent = state.sent.clone();
    for (name, (version, bytes)) in changed {
        let mut resource = Vec::new();
        field(&mut resource, 1, version.to_string().as_bytes());
        field(&mut resource, 2, &any(service, bytes));
        field(&mut resource, 3, name.as_bytes());
        field(&mut out, 2, &resource);
        sent.insert(name.clone(), *version);
    }
    field(&mut out, 4, url(service).as_bytes());
    field(&mut out, 5, nonce.to_string().as_bytes());
    for name in removed {
        field(&mut out, 6, name.as_bytes());
        sent.remove(&name);
    }
    let mut who = Vec::new();
    field(&mut who, 1, b"scripted");
    field(&mut out, 7, &who);
    (state.sent, state.is_answered) = (sent, true);
    Some(out)
}

fn state_of_the_world(
    service: &'static str,
    state: &mut Subscription,
    world: &World,
    nonce: &mut u64,
) -> Option<Vec<u8>> {
    if !state.is_asked {
        return None;
    }
    let version = *world.versions.get(service)?;
    if let Some((last, names)) = &state.last
        && *last == version
        && state.names.is_subset(names)
    {
        return None;
    }
    *nonce += 1;
    let mut out = Vec::new();
    field(&mut out, 1, version.to_string().as_bytes());
    for (_, (_, bytes)) in
        world.resources[service].iter().filter(|(name, _)| state.is_wildcard || state.names.contains(*name))
    {
        field(&mut out, 2, &any(service, bytes));
    }
    field(&mut out, 4, url(service).as_bytes());
    field(&mut out, 5, nonce.to_string().as_bytes());
    let mut who = Vec::new();
    field(&mut who, 1, b"scripted");
    field(&mut out, 6, &who);
    state.last = Some((version, state.names.clone()));
    Some(out)
}

/// A request.
#[derive(Default)]
struct Heard {
    service: &'static str,
    has_node: bool,
    version: String,
    nonce: String,
    error: String,
    names: Vec<String>,
    less: Vec<String>,
    held: BTreeMap<String, String>,
}

impl Heard {
    fn read(message: &[u8], is_delta: bool) -> Heard {
        let mut heard = Heard::default();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("a text");
        for (number, bytes) in fields(message) {
            match (number, is_delta) {
                (1, true) | (2, false) => heard.has_node = true,
                (1, false) => heard.version = text(bytes),
                (2, true) | (4, false) => {
                    let url = text(bytes);
                    let found = TYPES.iter().find(|(_, name)| url == format!("type.googleapis.com/{name}"));
                    heard.service = found.expect("a type that is served").0;
                }
                (3, _) => heard.names.push(text(bytes)),
                (4, true) => heard.less.push(text(bytes)),
                (5, true) => {
                    let entry: BTreeMap<u64, &[u8]> = fields(bytes).into_iter().collect();
                    let part = |number| entry.get(&number).map_or_else(String::new, |bytes| text(bytes));
                    heard.held.insert(part(1), part(2));
                }
                (6, true) | (5, false) => heard.nonce = text(bytes),
                (7, true) | (6, false) => {
                    let status: BTreeMap<u64, &[u8]> = fields(bytes).into_iter().collect();
                    heard.error = status.get(&2).map_or_else(String::new, |bytes| text(bytes));
                }
                _ => panic!("field {number} of a request"),
            }
        }
        heard
    }

    fn line(&self, is_delta: bool) -> String {
        let mut line = format!("{} [{}]", self.service, self.names.join(" "));
        if is_delta && !self.less.is_empty() {
            let _ = write!(line, " -[{}]", self.less.join(" "));
        }
        if !self.held.is_empty() {
            let held: Vec<String> = self.held.iter().map(|(name, version)| format!("{name}:{version}")).collect();
            let _ = write!(line, " held[{}]", held.join(" "));
        }
        for (label, value) in [("version", &self.version), ("nonce", &self.nonce), ("NACK", &self.error)] {
            if !value.is_empty() {
                let _ = write!(line, " {label} {value}");
            }
        }
        if self.has_node {
            line.push_str(" node");
        }
        line
    }

    fn take(self, state: &mut Subscription, is_delta: bool) {
        let is_first = !state.is_asked;
        state.is_asked = true;
        match is_delta {
            true => {
                state.is_wildcard |= is_first && self.names.is_empty() || self.names.iter().any(|name| name == "*");
                for name in self.names {
                    // Who subscribes anew is sent it anew.
                    state.sent.remove(&name);
                    state.names.insert(name);
                }
                for name in self.less {
                    state.names.remove(&name);
                    state.sent.remove(&name);
                }
                for (name, version) in self.held {
                    state.sent.insert(name, version.parse().unwrap_or(0));
                }
            }
            false => {
                state.is_wildcard = self.names.is_empty() && (is_first || state.is_wildcard);
                state.names = self.names.into_iter().collect();
                if is_first && !self.version.is_empty() {
                    state.last = Some((self.version.parse().expect("ours"), state.names.clone()));
                }
            }
        }
    }
}

fn url(service: &str) -> String {
    let (_, name) = TYPES.iter().find(|(known, _)| *known == service).expect("a service");
    format!("type.googleapis.com/{name}")
}

fn any(service: &str, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    field(&mut out, 1, url(service).as_bytes());
    field(&mut out, 2, bytes);
    out
}

pub(crate) fn field(out: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    varint(out, number << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(crate) fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The fields with a length.
pub(crate) fn fields(mut bytes: &[u8]) -> Vec<(u64, &[u8])> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let tag = read_varint(&mut bytes);
        let value = read_varint(&mut bytes);
        if tag & 7 == 2 {
            let (inner, rest) = bytes.split_at(value as usize);
            all.push((tag >> 3, inner));
            bytes = rest;
        }
    }
    all
}

pub(crate) fn read_varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let (first, rest) = bytes.split_first().expect("a message");
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if *first < 0x80 {
            break;
        }
    }
    value
}

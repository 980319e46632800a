//! A server of load reports (LRS) of the tests' own, on h2: it says what it is told to say, and keeps what it is told.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::{BufMut, Bytes, BytesMut};
use h2::RecvStream;
use h2::server::SendResponse;
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::spawn_local;

use super::wait_for;
use super::xds::{Either, either, field, next_message, read_varint, run, send, varint};

/// A running server. Its thread ends with the test's process.
pub(crate) struct Server {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    reports: Mutex<Vec<Report>>,
    streams: AtomicUsize,
    says: watch::Sender<Says>,
}

/// What is said to whoever reports.
#[derive(Clone, Default)]
struct Says {
    /// Nothing, as long as there is nothing.
    response: Option<Bytes>,
    /// Streams up to this one are ended, with status 0 or without any.
    ended: usize,
    is_proper: bool,
}

/// One report.
#[derive(Clone, Debug, Default)]
pub(crate) struct Report {
    /// The number of its stream, from 1 on.
    pub(crate) stream: usize,
    /// `node`, where it has one: the id, and `client_features`.
    pub(crate) node: Option<(String, Vec<String>)>,
    pub(crate) clusters: BTreeMap<String, Cluster>,
}

/// What it says of one cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cluster {
    pub(crate) service_name: String,
    /// By zone and priority.
    pub(crate) localities: BTreeMap<(String, u64), Locality>,
    pub(crate) dropped: u64,
    pub(crate) dropped_by: BTreeMap<String, u64>,
    pub(crate) interval_ms: u64,
}

/// Requests to one locality.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Locality {
    pub(crate) issued: u64,
    pub(crate) successful: u64,
    pub(crate) failed: u64,
    /// Of all reports together it is that of the last.
    pub(crate) in_progress: u64,
}

impl Server {
    /// One that says nothing yet.
    pub(crate) fn start() -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port of the kernel's choice");
        let address = listener.local_addr().expect("bound");
        listener.set_nonblocking(true).expect("a socket");
        let says = watch::Sender::new(Says::default());
        let shared = Arc::new(Shared { reports: Mutex::default(), streams: AtomicUsize::new(0), says });
        let own = shared.clone();
        run(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a socket");
            while let Ok((socket, _)) = listener.accept().await {
                spawn_local(connection(socket, own.clone()));
            }
        });
        Server { address, shared }
    }

    /// Wants these clusters every so many milliseconds from now on.
    pub(crate) fn want(&self, names: &[&str], interval_ms: u64) {
        self.say(names, false, interval_ms);
    }

    /// Wants all of them.
    pub(crate) fn want_all(&self, interval_ms: u64) {
        self.say(&[], true, interval_ms);
    }

    fn say(&self, names: &[&str], is_all: bool, interval_ms: u64) {
        let (mut out, mut interval) = (Vec::new(), Vec::new());
        names.iter().for_each(|name| field(&mut out, 1, name.as_bytes()));
        varint(&mut interval, 1 << 3);
        varint(&mut interval, interval_ms / 1_000);
        varint(&mut interval, 2 << 3);
        varint(&mut interval, interval_ms % 1_000 * 1_000_000);
        field(&mut out, 2, &interval);
        // report_endpoint_granularity, which changes nothing.
        varint(&mut out, 3 << 3);
        varint(&mut out, 1);
        varint(&mut out, 4 << 3);
        varint(&mut out, is_all.into());
        self.shared.says.send_modify(|says| says.response = Some(out.into()));
    }

    /// Ends all streams that there are: properly, or with their connections.
    pub(crate) fn end(&self, is_proper: bool) {
        let ended = self.streams();
        self.shared.says.send_modify(|says| (says.ended, says.is_proper) = (ended, is_proper));
    }

    /// How many streams there have been.
    pub(crate) fn streams(&self) -> usize {
        self.shared.streams.load(Ordering::SeqCst)
    }

    /// All reports so far.
    pub(crate) fn reports(&self) -> Vec<Report> {
        lock(&self.shared.reports).clone()
    }

    /// All that was said of a cluster, together.
    pub(crate) fn sum(&self, name: &str) -> Cluster {
        let mut sum = Cluster::default();
        for cluster in self.reports().iter().filter_map(|report| report.clusters.get(name)) {
            sum.service_name.clone_from(&cluster.service_name);
            sum.dropped += cluster.dropped;
            sum.interval_ms += cluster.interval_ms;
            cluster.dropped_by.iter().for_each(|(category, count)| {
                *sum.dropped_by.entry(category.clone()).or_default() += count;
            });
            sum.localities.values_mut().for_each(|locality| locality.in_progress = 0);
            for (key, locality) in &cluster.localities {
                let all = sum.localities.entry(key.clone()).or_default();
                *all = Locality {
                    issued: all.issued + locality.issued,
                    successful: all.successful + locality.successful,
                    failed: all.failed + locality.failed,
                    in_progress: locality.in_progress,
                };
            }
        }
        sum
    }

    /// Waits until the localities of a cluster come to that: zone, issued, successful, failed, in progress.
    #[track_caller]
    pub(crate) fn comes_to(&self, name: &str, expect: &[(&str, [u64; 4])]) {
        let expect: BTreeMap<(String, u64), Locality> = expect
            .iter()
            .map(|(zone, [issued, successful, failed, in_progress])| {
                let locality =
                    Locality { issued: *issued, successful: *successful, failed: *failed, in_progress: *in_progress };
                (((*zone).to_owned(), 0), locality)
            })
            .collect();
        let deadline = std::time::Instant::now() + super::PATIENCE;
        while self.sum(name).localities != expect {
            let late = std::time::Instant::now() >= deadline;
            assert!(!late, "{name}: {:?} instead of {expect:?}", self.sum(name).localities);
            std::thread::park_timeout(std::time::Duration::from_millis(5));
        }
    }

    /// Waits for so many more reports.
    #[track_caller]
    pub(crate) fn more(&self, count: usize) {
        let before = self.reports().len();
        wait_for("load reports", || (self.reports().len() >= before + count).then_some(()));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no panic")
}

async fn connection(socket: TcpStream, shared: Arc<Shared>) {
    let Ok(mut connection) = h2::server::handshake(socket).await else { return };
    let number = shared.streams.fetch_add(1, Ordering::SeqCst) + 1;
    let mut says = shared.says.subscribe();
    loop {
        match either(connection.accept(), says.changed()).await {
            Either::One(Some(Ok((request, respond)))) => {
                spawn_local(serve(request, respond, number, shared.clone()));
            }
            Either::One(_) => return,
            // Who does not end properly ends with the connection.
            Either::Other(_) if says.borrow().ended >= number && !says.borrow().is_proper => return,
            Either::Other(_) => {}
        }
    }
}

async fn serve(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, number: usize, shared: Arc<Shared>) {
    assert_eq!(request.uri().path(), "/envoy.service.load_stats.v3.LoadReportingService/StreamLoadStats");
    let mut body = request.into_body();
    let Ok(mut out) = respond.send_response(Response::new(()), false) else { return };
    let mut says = shared.says.subscribe();
    says.mark_changed();
    let mut bytes = BytesMut::new();
    let mut said = None;
    loop {
        let Says { response, ended, is_proper } = says.borrow_and_update().clone();
        if ended >= number {
            if is_proper {
                let ok = [(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))];
                let _ = out.send_trailers(HeaderMap::from_iter(ok));
            }
            return;
        }
        // It answers who has said who it is, and says nothing twice.
        let is_known = lock(&shared.reports).iter().any(|report| report.stream == number);
        if let Some(response) = response.filter(|response| is_known && said.as_ref() != Some(response)) {
            if send(&mut out, &response).is_err() {
                return;
            }
            said = Some(response);
        }
        match either(body.data(), says.changed()).await {
            Either::One(Some(Ok(data))) => {
                let _ = body.flow_control().release_capacity(data.len());
                bytes.put_slice(&data);
                while let Some(message) = next_message(&mut bytes) {
                    let report = Report { stream: number, ..report(&message) };
                    lock(&shared.reports).push(report);
                }
            }
            Either::One(_) => return,
            Either::Other(_) => {}
        }
    }
}

/// A field's value.
enum Value<'b> {
    Number(u64),
    Bytes(&'b [u8]),
}

impl<'b> Value<'b> {
    fn bytes(&self) -> &'b [u8] {
        match self {
            Value::Bytes(bytes) => bytes,
            Value::Number(number) => panic!("{number} where bytes are expected"),
        }
    }

    fn text(&self) -> String {
        String::from_utf8(self.bytes().to_vec()).expect("a text")
    }

    fn number(&self) -> u64 {
        match self {
            Value::Number(number) => *number,
            Value::Bytes(bytes) => panic!("{bytes:?} where a number is expected"),
        }
    }
}

fn fields(mut bytes: &[u8]) -> Vec<(u64, Value<'_>)> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let tag = read_varint(&mut bytes);
        let value = read_varint(&mut bytes);
        all.push((
            tag >> 3,
            match tag & 7 {
                0 => Value::Number(value),
                2 => {
                    let (inner, rest) = bytes.split_at(value as usize);
                    bytes = rest;
                    Value::Bytes(inner)
                }
                other => panic!("wire type {other}"),
            },
        ));
    }
    all
}

fn report(message: &[u8]) -> Report {
    let mut report = Report::default();
    for (number, value) in fields(message) {
        match number {
            1 => {
                let (mut id, mut features) = (String::new(), Vec::new());
                for (number, value) in fields(value.bytes()) {
                    match number {
                        1 => id = value.text(),
                        10 => features.push(value.text()),
                        _ => {}
                    }
                }
                report.node = Some((id, features));
            }
            2 => {
                let (name, cluster) = cluster(value.bytes());
                let is_first = report.clusters.insert(name, cluster).is_none();
                assert!(is_first, "a cluster stands in a report once");
            }
            other => panic!("field {other} of a report"),
        }
    }
    report
}

fn cluster(bytes: &[u8]) -> (String, Cluster) {
    let (mut name, mut cluster) = (String::new(), Cluster::default());
    for (number, value) in fields(bytes) {
        match number {
            1 => name = value.text(),
            2 => {
                let (mut key, mut locality) = ((String::new(), 0), Locality::default());
                for (number, value) in fields(value.bytes()) {
                    match number {
                        1 => {
                            let zone = fields(value.bytes()).into_iter().find(|(number, _)| *number == 2);
                            key.0 = zone.map(|(_, zone)| zone.text()).unwrap_or_default();
                        }
                        2 => locality.successful = value.number(),
                        3 => locality.in_progress = value.number(),
                        4 => locality.failed = value.number(),
                        6 => key.1 = value.number(),
                        8 => locality.issued = value.number(),
                        other => panic!("field {other} of a locality"),
                    }
                }
                assert_ne!(locality, Locality::default(), "an idle locality is left out");
                let is_first = cluster.localities.insert(key, locality).is_none();
                assert!(is_first, "a locality stands in a report once");
            }
            3 => cluster.dropped = value.number(),
            4 => {
                let parts = fields(value.bytes());
                cluster.interval_ms = parts
                    .iter()
                    .map(|(number, value)| match number {
                        1 => value.number() * 1_000,
                        _ => value.number() / 1_000_000,
                    })
                    .sum();
            }
            5 => {
                let mut parts = fields(value.bytes()).into_iter();
                let (category, count) = (parts.next().expect("a category"), parts.next().expect("a count"));
                cluster.dropped_by.insert(category.1.text(), count.1.number());
            }
            6 => cluster.service_name = value.text(),
            other => panic!("field {other} of a cluster's report"),
        }
    }
    (name, cluster)
}

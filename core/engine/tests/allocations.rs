//! No heap allocation on an HTTP/1 exchange once warm, on both drivers, over a mix of requests, nor in a tunnel or on a raw connection.
//!
//! The count is the process's: client and origin are plain threads that reuse their buffers, so whatever is counted
//! after the warm-up is the engine's.

#![expect(clippy::print_stdout, reason = "a skip is never silent")]

use std::alloc::System;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::Thread;
use std::time::Duration;

use ringway_engine::{Engine, Limits, LogReader, Logs, Options};
use ringway_model::format::{DEFAULT_ACCESS_LOG_FORMAT, Format, Surroundings};
use ringway_model::{
    AccessLog, Action, AppendAction, Balancer, ChainId, ChainIndex, CircuitBreakers, Cluster, ClusterId, CodecType,
    Conditions, ConnectionRules, CountedMethods, Domain, DownstreamTransport, Endpoint, EscapedSlashes, FilterChain,
    FilterChainMatch, ForwardAction, GrpcStatsRules, HANDSHAKE_TIMEOUT, HeaderAddition, HeaderMatcher, HeaderMutation,
    HeaderMutations, HeaderRules, HeaderTest, HostRewrite, HostRules, Http1Rules, Http2Options, HttpConnectionManager,
    JsonNode, ListenAddress, ListenSocket, Listener, ListenerFilters, ListenerId, LoadBalancing, LocalReplies, LogSink,
    LogText, NetworkFilter, OwnNames, PathMatch, PathRewrite, PathRules, Placement, Regexes, RequestRules, RetryOn,
    RetryPolicy, RetryRules, Rewrite, Route, RouteConfiguration, RouteMatch, Snapshot, StripPort, Subject,
    Substitution, Target, TcpProxy, TcpTarget, TextMatcher, TextPattern, Underscores, Upgrade, UpstreamHttp,
    UpstreamProtocol, UpstreamTransport, VirtualHost,
};
use ringway_observe::Registry;
use ringway_runtime::{self as runtime, IoChoice};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// A body that moves in bulk buffers.
const LARGE: usize = 64 << 10;

/// One step of the mix: what the client writes at once, and each answer of the origin to it, in order.
struct Step {
    requests: Vec<u8>,
    answers: Vec<Vec<u8>>,
}

/// Each step is played in turn on one connection; the path's letter names the answer.
/// `way` is what stands before it.
fn mix(way: &str) -> Vec<Step> {
    let large = vec![b'x'; LARGE];
    let get = |letter: &str| format!("GET {way}{letter} HTTP/1.1\r\nHost: x.:80\r\nX_A: 1\r\n\r\n").into_bytes();
    let step = |requests: Vec<u8>, answer: &[u8]| Step { requests, answers: vec![answer.to_vec()] };
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n";
    let mut steps = vec![
        step(get("a"), b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
        step(
            format!("POST {way}b HTTP/1.1\r\nHost: x.:80\r\nX_A: 1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n").into_bytes(),
            chunked,
        ),
        step(
            format!("PUT {way}c HTTP/1.1\r\nHost: x.:80\r\nX_A: 1\r\nContent-Length: 4\r\n\r\nbody").into_bytes(),
            b"HTTP/1.1 204 No Content\r\n\r\n",
        ),
        step(format!("HEAD {way}d HTTP/1.1\r\nHost: x.:80\r\nX_A: 1\r\n\r\n").into_bytes(), b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
    ];
    let mut upload =
        format!("PUT {way}e HTTP/1.1\r\nHost: x.:80\r\nX_A: 1\r\nContent-Length: {LARGE}\r\n\r\n").into_bytes();
    upload.extend_from_slice(&large);
    let mut download = format!("HTTP/1.1 200 OK\r\nContent-Length: {LARGE}\r\n\r\n").into_bytes();
    download.extend_from_slice(&large);
    steps.push(step(upload, &download));
    let mut upload =
        format!("POST {way}f HTTP/1.1\r\nHost: x.:80\r\nX_A: 1\r\nTransfer-Encoding: chunked\r\n\r\n10000\r\n")
            .into_bytes();
    upload.extend_from_slice(&large);
    upload.extend_from_slice(b"\r\n0\r\n\r\n");
    let mut download = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10000\r\n".to_vec();
    download.extend_from_slice(&large);
    download.extend_from_slice(b"\r\n0\r\n\r\n");
    steps.push(step(upload, &download));
    steps.push(step(
        format!("POST {way}g/m HTTP/1.1\r\nHost: x.:80\r\nX_A: 1\r\nContent-Type: application/grpc\r\nContent-Length: 5\r\n\r\n\0\0\0\0\0").into_bytes(),
        b"HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\ngrpc-status: 0\r\nContent-Length: 5\r\n\r\n\0\0\0\0\0",
    ));
    // Pipelined: three requests in one write.
    let answer = steps[0].answers[0].clone();
    steps.push(Step { requests: get("a").repeat(3), answers: vec![answer; 3] });
    steps
}

/// Envoy's default text, and the same as JSON.
fn access_logs() -> Vec<AccessLog> {
    let format = |text: &str| Format::parse(text, &Surroundings::NONE).expect("a format");
    let text = LogText::Text { format: format(DEFAULT_ACCESS_LOG_FORMAT), omit_empty: false };
    let member = |text: &str| (text.to_owned(), JsonNode::Text(format(text)));
    let members = ["%RESPONSE_CODE%", "%REQ(:PATH)%", "%RESPONSE_FLAGS%", "%UPSTREAM_LOCAL_ADDRESS%", "%UNIQUE_ID%"];
    let object = JsonNode::Object(members.into_iter().map(member).collect());
    let json = LogText::Json { object, omit_empty: false };
    [text, json].into_iter().map(|text| AccessLog { sink: LogSink::Stdout, text, filter: None }).collect()
}

/// Keeps the ends of the rings.
#[derive(Default, Clone)]
struct Kept(Arc<Mutex<Vec<LogReader>>>);

impl Logs for Kept {
    fn open(&mut self, _: &LogSink) -> std::io::Result<u32> {
        Ok(0)
    }

    fn attach(&mut self, ring: LogReader) {
        self.0.lock().expect("no panic").push(ring);
    }

    fn thread(&self) -> Thread {
        std::thread::current()
    }
}

impl Kept {
    /// Lines that were written or dropped since this was last asked.
    fn lines(&self) -> u64 {
        let mut readers = self.0.lock().expect("no panic");
        readers
            .iter_mut()
            .map(|reader| {
                reader.read(|_, line| assert!(line.windows(3).any(|three| three == b"200" || three == b"204")))
                    + reader.take_dropped()
            })
            .sum()
    }
}

/// Straight to the cluster.
fn plain_route() -> Route {
    Route {
        name: String::new(),
        rule: RouteMatch::of_path(PathMatch::Prefix("/".into())),
        action: Action::Forward(Box::new(ForwardAction::new(Target::Cluster(ClusterId(0))))),
        headers: None,
    }
}

/// The same with a policy for tries: bodies are kept until the response begins.
fn patient_route() -> Route {
    let policy = RetryPolicy {
        on: RetryOn::STATUS_5XX | RetryOn::RESET,
        per_try_timeout: Some(Duration::from_secs(10)),
        ..RetryRules::DEFAULT.policy
    };
    let rules = RetryRules { policy, counts_in_request: true, counts_in_response: true, ..RetryRules::DEFAULT };
    let action = ForwardAction { retry: Some(Arc::new(rules)), ..ForwardAction::new(Target::Cluster(ClusterId(0))) };
    Route { action: Action::Forward(Box::new(action)), ..plain_route() }
}

/// The same with all that a route can change, and to the same path in the end.
fn busy_route() -> Route {
    let mut regexes = Regexes::default();
    let format = |text: &str| Format::parse(text, &Surroundings::NONE).expect("a format");
    let add = |name: &str, value: &str, action| HeaderAddition {
        name: name.into(),
        value: format(value),
        action,
        keep_empty: false,
    };
    let headers = HeaderMutations {
        request: HeaderMutation {
            remove: vec!["user-agent".into()],
            add: vec![
                add("x-path", "%REQ(:path)% %REQ(x-none?host)% %PROTOCOL%", AppendAction::AppendIfExistsOrAdd),
                add("x-client", "%DOWNSTREAM_REMOTE_ADDRESS%", AppendAction::OverwriteIfExistsOrAdd),
                add("host-of", "%REQ(:authority)%", AppendAction::AddIfAbsent),
            ],
        },
        response: HeaderMutation {
            remove: vec!["server".into()],
            add: vec![add("x-seen", "%REQ(x-path)% %RESPONSE_CODE%", AppendAction::OverwriteIfExistsOrAdd)],
        },
    };
    let pattern = regexes.search("^/(.+)$").expect("a pattern");
    let substitution = Substitution::parse(r"/\1", &pattern).expect("a rewrite string");
    let mut rule = RouteMatch::of_path(PathMatch::Regex(regexes.whole("/[a-z/]+").expect("a pattern")));
    let test = HeaderTest::Text(TextMatcher { pattern: TextPattern::Prefix("x".into()), ignore_case: true });
    let host = HeaderMatcher { subject: Subject::Authority, test, invert: false, missing_is_empty: false };
    rule.conditions = Some(Box::new(Conditions { headers: vec![host], ..Conditions::default() }));
    let action = ForwardAction {
        path: Some(PathRewrite::Regex(Rewrite { pattern, substitution })),
        host: Some(HostRewrite::Literal("other.test".into())),
        append_x_forwarded_host: true,
        max_stream_duration: Some(Some(Duration::from_secs(60))),
        ..ForwardAction::new(Target::Cluster(ClusterId(0)))
    };
    Route { name: "busy".into(), rule, action: Action::Forward(Box::new(action)), headers: Some(Box::new(headers)) }
}

/// All that is done to a request before anything looks at it.
fn busy_rules() -> RequestRules {
    RequestRules {
        path: PathRules { normalize: true, merge_slashes: true, escaped_slashes: EscapedSlashes::Forward },
        host: HostRules { strip_dot: true, strip_port: StripPort::Any },
        underscores: Underscores::Drop,
    }
}

fn snapshot(origin: SocketAddr, route: Route, requests: RequestRules, access_logs: Vec<AccessLog>) -> Arc<Snapshot> {
    let preserve_case = (!requests.is_none()).then_some(OwnNames::ProperCase);
    let http1 = Http1Rules { preserve_case, ..Http1Rules::default() };
    let host = VirtualHost::new("v".into(), vec![Domain::Any], vec![route]);
    let http = HttpConnectionManager {
        stat_prefix: "t".into(),
        routes: Arc::new(RouteConfiguration::new("r".into(), vec![host]).expect("one domain")),
        idle_timeout: Some(Duration::from_secs(3600)),
        request_headers_timeout: None,
        request_timeout: Some(Duration::from_secs(60)),
        max_stream_duration: None,
        connections: ConnectionRules { duration_max: Some(Duration::from_secs(3600)), ..ConnectionRules::default() },
        stream_idle_timeout: Some(Duration::from_secs(300)),
        request_head_bytes_max: 60 * 1024,
        delayed_close_timeout: Duration::from_secs(1),
        access_logs,
        headers: HeaderRules::default(),
        local_replies: (!requests.is_none()).then(|| LocalReplies { mappers: Vec::new(), format: None }),
        upgrades: vec![Upgrade { kind: "tunnel".into(), enabled: true, terminates: false }],
        requests,
        request_fields_max: 100,
        keeps_after_400: false,
        codec: CodecType::Auto,
        http1: http1.clone(),
        http2: Http2Options::default(),
        proxy_100_continue: false,
        grpc_stats: Some(GrpcStatsRules { methods: CountedMethods::All { replaces_dots: true }, times: true }),
        alpn: None,
        lacks_filter: false,
    };
    let chain = FilterChain {
        id: ChainId(0),
        name: String::new(),
        matches: FilterChainMatch::default(),
        transport: DownstreamTransport::Raw,
        handshake_timeout: HANDSHAKE_TIMEOUT,
        before: Vec::new(),
        filter: NetworkFilter::Http(Arc::new(http)),
    };
    let mut snapshot = Snapshot { generation: 1, ..Snapshot::default() };
    snapshot.listeners.push(Arc::new(Listener {
        exact_balance: false,
        id: ListenerId(0),
        name: "l".into(),
        addresses: vec![ListenAddress { address: ([127, 0, 0, 1], 0).into(), socket: ListenSocket::default() }],
        backlog: 128,
        buffer_bytes_max: Some(32 << 10),
        binds: true,
        hands_off: false,
        inspects: ListenerFilters::default(),
        access_logs: Vec::new(),
        chains: vec![Arc::new(chain)],
        index: ChainIndex::default(),
        default_chain: None,
    }));
    let endpoints = vec![Endpoint {
        address: origin.into(),
        attempts: Vec::new(),
        hostname: String::new(),
        placement: Placement::default(),
        transport: 0,
    }];
    snapshot.clusters.insert(Arc::new(Cluster {
        id: ClusterId(0),
        name: "c".into(),
        stat_name: "c".into(),
        service_name: String::new(),
        buffer_bytes_max: None,
        connect_timeout: Duration::from_secs(5),
        circuit_breakers: CircuitBreakers::default(),
        high_breakers: None,
        balancer: Balancer::new(LoadBalancing::default(), &endpoints),
        endpoints: endpoints.into(),
        logical: false,
        outgoing: None,
        http: UpstreamHttp::default(),
        http1,
        http2: Http2Options::default(),
        protocol: UpstreamProtocol::Http1,
        transports: [UpstreamTransport::default()].into(),
        original_dst: None,
    }));
    Arc::new(snapshot)
}

/// The same where the bytes of the connection go on as they are.
fn raw(snapshot: Arc<Snapshot>) -> Arc<Snapshot> {
    let tcp = TcpProxy {
        stat_prefix: "t".into(),
        target: TcpTarget::Cluster(ClusterId(0)),
        idle_timeout: Some(Duration::from_secs(3600)),
        duration_max: Some(Duration::from_secs(3600)),
        connect_attempts_max: 1,
        access_logs: Vec::new(),
        hashes_source_ip: false,
    };
    let mut snapshot = Arc::unwrap_or_clone(snapshot);
    let listener = Arc::make_mut(&mut snapshot.listeners[0]);
    Arc::make_mut(&mut listener.chains[0]).filter = NetworkFilter::Tcp(Arc::new(tcp));
    Arc::new(snapshot)
}

/// Messages on a raw connection.
fn check_raw(io: IoChoice) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let snapshot = snapshot(listener.local_addr().expect("bound"), plain_route(), RequestRules::default(), Vec::new());
    let upstream = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the proxy connects");
        echo(&mut stream, &mut vec![0; 2 * LARGE]);
    });
    let Some(engine) = start(io, &Kept::default(), raw(snapshot)) else { return };
    let mut client = TcpStream::connect(engine.listeners()[0].1[0].ip().expect("TCP")).expect("the proxy listens");
    client.set_nodelay(true).expect("a socket");
    let mut buffer = vec![0; 2 * LARGE];
    converse(&mut client, &mut buffer, 200);
    quiet(&format!("{io:?} on a raw connection"), || converse(&mut client, &mut buffer, 100));
    drop(client);
    upstream.join().expect("it ends with the client");
    engine.stop();
}

/// Answers each request by the letter of its path.
fn origin(listener: &TcpListener) {
    let mix = mix("/");
    let (mut stream, _) = listener.accept().expect("the proxy connects");
    stream.set_nodelay(true).expect("a socket");
    let mut buffer = vec![0; 4 * LARGE];
    let mut filled = 0;
    loop {
        let got = stream.read(&mut buffer[filled..]).unwrap_or(0);
        if got == 0 {
            return;
        }
        filled += got;
        let text = &buffer[..filled];
        let Some(end) = text.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        if text.starts_with(b"GET /tunnel ") {
            stream.write_all(SWITCHED.as_bytes()).expect("the proxy listens");
            return echo(&mut stream, &mut buffer);
        }
        let which = usize::from(text[text.iter().position(|&byte| byte == b'/').expect("a path") + 1] - b'a');
        let whole = match which {
            1 | 5 => text.ends_with(b"\r\n0\r\n\r\n"),
            2 => text.len() == end + 4 + 4,
            4 => text.len() == end + 4 + LARGE,
            6 => text.len() == end + 4 + 5,
            _ => true,
        };
        if whole {
            stream.write_all(&mix[which].answers[0]).expect("the proxy listens");
            filled = 0;
        }
    }
}

const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: tunnel\r\n\r\n";

/// Says back what comes, to its end.
fn echo(stream: &mut TcpStream, buffer: &mut [u8]) {
    loop {
        let got = stream.read(buffer).unwrap_or(0);
        if got == 0 {
            return;
        }
        stream.write_all(&buffer[..got]).expect("the proxy listens");
    }
}

/// Messages through a tunnel that are said back: a byte, a frame, and more than one buffer of the kernel's ring.
fn converse(client: &mut TcpStream, buffer: &mut [u8], rounds: usize) {
    const SIZES: [usize; 3] = [1, 1_000, LARGE];
    for size in (0..rounds).flat_map(|_| SIZES) {
        let (sent, came) = buffer.split_at_mut(LARGE);
        client.write_all(&sent[..size]).expect("the proxy listens");
        client.read_exact(&mut came[..size]).expect("the same bytes");
        assert!(came[..size] == sent[..size]);
    }
}

/// Changes to a tunnel; the head that says so is read.
fn change(client: &mut TcpStream) {
    client
        .write_all(b"GET /tunnel HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: tunnel\r\n\r\n")
        .expect("the proxy listens");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).expect("an answer");
        head.push(byte[0]);
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
}

/// The end of one whole answer in `text`, by its own framing: without a body after HEAD.
fn answer_end(text: &[u8], head_only: bool) -> Option<usize> {
    let find = |what: &[u8]| text.windows(what.len()).position(|window| window == what);
    let body = find(b"\r\n\r\n")? + 4;
    assert!(text.starts_with(b"HTTP/1.1 20"), "a success");
    let head = &text[..body];
    if head_only || text.starts_with(b"HTTP/1.1 204") {
        return Some(body);
    }
    if head.windows(7).any(|window| window.eq_ignore_ascii_case(b"chunked")) {
        return text.ends_with(b"\r\n0\r\n\r\n").then_some(text.len());
    }
    let length = if head.windows(7).any(|window| window == b": 65536") { LARGE } else { 5 };
    (text.len() >= body + length).then_some(body + length)
}

fn play(client: &mut TcpStream, mix: &[Step], buffer: &mut [u8], rounds: usize) {
    for step in (0..rounds).flat_map(|_| mix) {
        client.write_all(&step.requests).expect("the proxy listens");
        let (mut begin, mut filled) = (0, 0);
        for _ in &step.answers {
            loop {
                if let Some(end) = answer_end(&buffer[begin..filled], step.requests.starts_with(b"HEAD")) {
                    begin += end;
                    break;
                }
                let got = client.read(&mut buffer[filled..]).expect("an answer");
                assert!(got > 0, "answered, not closed");
                filled += got;
            }
        }
        assert_eq!(begin, filled, "nothing behind the last answer");
    }
}

/// Windows of 100 rounds, of which one must be without any allocation. On a busy machine the core may seem quiet for a second and
/// give buffers back, and a pool may meet its deepest moment late; what an exchange allocates is in every window.
const WINDOWS_MAX: usize = 8;

/// Plays windows until one is without any allocation.
#[track_caller]
fn quiet(what: &str, mut window: impl FnMut()) {
    let mut counts = Vec::new();
    while counts.last() != Some(&0) {
        assert!(counts.len() < WINDOWS_MAX, "allocations on {what}: {counts:?} in 100 rounds each");
        let before = ALLOCATOR.stats();
        window();
        let after = ALLOCATOR.stats();
        counts.push((after.allocations - before.allocations) + (after.reallocations - before.reallocations));
    }
}

/// An engine that serves this; `None`: not on this host.
fn start(io: IoChoice, logs: &Kept, snapshot: Arc<Snapshot>) -> Option<Engine> {
    let options = Options {
        workers: vec![None],
        runtime: runtime::Options { io, ..runtime::Options::default() },
        drain_time: Duration::from_secs(1),
        balance: ringway_engine::Balance::for_workers(1),
        registry: Registry::new(1),
        limits: Limits { adoption_wait: Duration::from_secs(60), ..Limits::default() },
        logs: Box::new(logs.clone()),
    };
    let mut engine = match Engine::start(options) {
        Ok(engine) => engine,
        Err(error) if io == IoChoice::Ring && std::env::var_os("RINGWAY_REQUIRE_ALL").is_none() => {
            println!("SKIP allocations on ring: {error}");
            return None;
        }
        Err(error) => panic!("{error}"),
    };
    let staged = engine.stage(snapshot).unwrap_or_else(|problems| panic!("{}", problems[0]));
    let report = engine.commit(staged);
    assert_eq!((report.generation, report.late), (1, 0));
    Some(engine)
}

fn check(io: IoChoice, route: Route, requests: RequestRules, access_logs: Vec<AccessLog>) {
    // What the rules make nothing of.
    let way = if requests.is_none() { "/" } else { "//./x/..%2F" };
    let (logs, log_count) = (Kept::default(), access_logs.len() as u64);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let upstream = std::thread::spawn(move || origin(&listener));
    let snapshot = snapshot(address, route, requests, access_logs);
    let Some(engine) = start(io, &logs, snapshot) else { return };
    let mut client = TcpStream::connect(engine.listeners()[0].1[0].ip().expect("TCP")).expect("the proxy listens");
    client.set_nodelay(true).expect("a socket");
    let (mix, mut buffer) = (mix(way), vec![0; 4 * LARGE]);
    play(&mut client, &mix, &mut buffer, 200);
    // The last lines of a round may be on their way.
    let mut lines = logs.lines();
    let mut rounds = 200;
    quiet(&format!("{io:?} with {log_count} logs"), || {
        play(&mut client, &mix, &mut buffer, 100);
        rounds += 100;
    });
    if log_count == 0 {
        change(&mut client);
        converse(&mut client, &mut buffer, 200);
        quiet(&format!("{io:?} in a tunnel"), || converse(&mut client, &mut buffer, 100));
    }
    drop(client);
    lines += logs.lines();
    let exchanges = rounds * mix.iter().map(|step| step.answers.len() as u64).sum::<u64>();
    let expect = exchanges * log_count;
    assert!(lines <= expect && lines + 10 * log_count >= expect, "{lines} lines of {expect}");
    engine.stop();
    upstream.join().expect("the origin ends when the proxy does");
}

/// One test, not two: the count is the process's.
#[test]
fn a_warm_exchange_allocates_nothing_on_either_driver() {
    for io in [IoChoice::Poll, IoChoice::Ring] {
        let none = RequestRules::default();
        check(io, plain_route(), none, Vec::new());
        check(io, busy_route(), none, Vec::new());
        check(io, patient_route(), none, Vec::new());
        check(io, busy_route(), busy_rules(), access_logs());
        check_raw(io);
    }
}

//! `tcp_proxy` over real sockets, on both drivers: what becomes of bytes, ends, resets and times, and what is counted.

#![expect(clippy::print_stdout, reason = "a skip is never silent, and a failure tells its driver")]

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, IntoRawFd};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use ringway_engine::{Engine, Limits, LogReader, Logs, Options};
use ringway_model::format::{Format, Surroundings};
use ringway_model::{
    AccessLog, Balancer, ChainId, ChainIndex, CircuitBreakers, Cluster, ClusterId, DownstreamTransport, Endpoint,
    FilterChain, FilterChainMatch, HANDSHAKE_TIMEOUT, Http1Rules, Http2Options, ListenAddress, ListenSocket, Listener,
    ListenerFilter, ListenerFilterKind, ListenerFilters, ListenerId, LoadBalancing, LogSink, LogText, NetworkFilter,
    OriginalDst, Placement, ProxyProtocolIn, Snapshot, TcpProxy, TcpTarget, UpstreamHttp, UpstreamProtocol,
    UpstreamTransport,
};
use ringway_observe::Registry;
use ringway_runtime::{self as runtime, IoChoice};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// Keeps the ends of the rings.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<LogReader>>>);

impl Logs for Kept {
    fn open(&mut self, _: &LogSink) -> std::io::Result<u32> {
        Ok(0)
    }

    fn attach(&mut self, ring: LogReader) {
        self.0.lock().expect("no panic").push(ring);
    }

    fn thread(&self) -> thread::Thread {
        thread::current()
    }
}

impl Kept {
    /// The next line.
    fn line(&self) -> String {
        let until = Instant::now() + PATIENCE;
        let mut found = String::new();
        while found.is_empty() {
            assert!(Instant::now() < until, "no line");
            for reader in self.0.lock().expect("no panic").iter_mut() {
                reader.read(|_, line| found.push_str(std::str::from_utf8(line).expect("text")));
            }
            thread::yield_now();
        }
        found
    }
}

/// What a case says otherwise than usual.
#[derive(Clone)]
struct Setup {
    endpoints: Vec<SocketAddr>,
    tcp: TcpProxy,
    connections_max: u32,
    buffer_bytes_max: Option<u32>,
    /// Clients say by the PROXY protocol where they wanted to go, and that is where the cluster leads.
    is_original: bool,
}

impl Setup {
    fn new(endpoints: &[SocketAddr]) -> Self {
        let tcp = TcpProxy {
            stat_prefix: "t".into(),
            target: TcpTarget::Cluster(ClusterId(0)),
            idle_timeout: Some(Duration::from_secs(3600)),
            duration_max: None,
            connect_attempts_max: 1,
            access_logs: Vec::new(),
            hashes_source_ip: false,
        };
        Self { endpoints: endpoints.to_vec(), tcp, connections_max: 1024, buffer_bytes_max: None, is_original: false }
    }

    fn snapshot(&self, generation: u64, chain: u32) -> Arc<Snapshot> {
        let mut snapshot = Snapshot { generation, ..Snapshot::default() };
        let chain = FilterChain {
            id: ChainId(chain),
            name: String::new(),
            transport: DownstreamTransport::Raw,
            matches: FilterChainMatch::default(),
            handshake_timeout: HANDSHAKE_TIMEOUT,
            before: Vec::new(),
            filter: NetworkFilter::Tcp(Arc::new(self.tcp.clone())),
        };
        let kind = ListenerFilterKind::ProxyProtocol(ProxyProtocolIn::default());
        let proxy_protocol = ListenerFilter { kind, disabled: None };
        snapshot.listeners.push(Arc::new(Listener {
            exact_balance: false,
            id: ListenerId(0),
            name: "l".into(),
            addresses: vec![ListenAddress { address: ([127, 0, 0, 1], 0).into(), socket: ListenSocket::default() }],
            backlog: 128,
            buffer_bytes_max: self.buffer_bytes_max,
            binds: true,
            hands_off: false,
            access_logs: Vec::new(),
            inspects: ListenerFilters {
                filters: if self.is_original { vec![proxy_protocol] } else { Vec::new() },
                ..ListenerFilters::default()
            },
            chains: vec![Arc::new(chain)],
            default_chain: None,
            index: ChainIndex::new([&FilterChainMatch::default()]).expect("one chain"),
        }));
        let endpoint = |address: &SocketAddr| Endpoint {
            address: (*address).into(),
            attempts: Vec::new(),
            hostname: String::new(),
            placement: Placement::default(),
            transport: 0,
        };
        let endpoints: Vec<_> = self.endpoints.iter().map(endpoint).collect();
        snapshot.clusters.insert(Arc::new(Cluster {
            id: ClusterId(0),
            name: "c".into(),
            stat_name: "c".into(),
            service_name: String::new(),
            buffer_bytes_max: self.buffer_bytes_max,
            connect_timeout: Duration::from_secs(5),
            circuit_breakers: CircuitBreakers { connections_max: self.connections_max, ..CircuitBreakers::default() },
            high_breakers: None,
            balancer: Balancer::new(LoadBalancing::default(), &endpoints),
            endpoints: endpoints.into(),
            logical: false,
            outgoing: None,
            http: UpstreamHttp::default(),
            http1: Http1Rules::default(),
            http2: Http2Options::default(),
            protocol: UpstreamProtocol::Http1,
            transports: [UpstreamTransport::default()].into(),
            original_dst: self.is_original.then_some(OriginalDst {
                header: None,
                port: None,
                cleanup_interval: Duration::from_millis(20),
            }),
        }));
        Arc::new(snapshot)
    }
}

struct Proxy {
    engine: Engine,
    registry: Arc<Registry>,
    logs: Kept,
    address: SocketAddr,
}

impl Proxy {
    fn start(io: IoChoice, setup: &Setup) -> Option<Self> {
        let (registry, logs) = (Registry::new(1), Kept::default());
        let options = Options {
            workers: vec![None],
            runtime: runtime::Options { io, ..runtime::Options::default() },
            drain_time: Duration::from_secs(3),
            balance: ringway_engine::Balance::for_workers(1),
            registry: Arc::clone(&registry),
            limits: Limits::default(),
            logs: Box::new(logs.clone()),
        };
        let engine = match Engine::start(options) {
            Ok(engine) => engine,
            Err(error) if io == IoChoice::Ring && std::env::var_os("RINGWAY_REQUIRE_ALL").is_none() => {
                println!("SKIP tcp on ring: {error}");
                return None;
            }
            Err(error) => panic!("{error}"),
        };
        let mut proxy = Self { engine, registry, logs, address: ([0, 0, 0, 0], 0).into() };
        proxy.commit(setup.snapshot(1, 0));
        proxy.address = proxy.engine.listeners()[0].1[0].ip().expect("TCP");
        Some(proxy)
    }

    fn commit(&mut self, snapshot: Arc<Snapshot>) {
        let staged = self.engine.stage(snapshot).unwrap_or_else(|problems| panic!("{}", problems[0]));
        self.engine.commit(staged);
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("the proxy listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
        stream.set_nodelay(true).expect("a socket");
        stream
    }

    fn value(&self, name: &str) -> u64 {
        let mut found = None;
        let visited = self.registry.visit(&mut |other, _, value| {
            if other == name {
                found = Some(value);
            }
            Ok(())
        });
        visited.expect("a list takes all");
        found.unwrap_or_else(|| panic!("no {name}"))
    }

    /// Waits until these numbers are so: what follows an end is counted a turn later.
    #[track_caller]
    fn counts(&self, expect: &[(&str, u64)]) {
        let until = Instant::now() + PATIENCE;
        let now = || expect.iter().map(|(name, _)| (*name, self.value(name))).collect::<Vec<_>>();
        while now() != expect {
            assert!(Instant::now() < until, "{:?}", now());
            thread::yield_now();
        }
    }
}

/// Does it until no signal interrupts it: with a time limit `EINTR` comes where the process is stopped meanwhile (signal(7)).
fn uninterrupted<T>(mut once: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match once() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// An upstream that does one thing with each of its connections.
fn upstream(work: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let work = Arc::new(work);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
            let work = Arc::clone(&work);
            thread::spawn(move || work(stream));
        }
    });
    address
}

fn echo(mut stream: TcpStream) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(got @ 1..) = uninterrupted(|| stream.read(&mut buffer)) {
        stream.write_all(&buffer[..got]).expect("the proxy reads");
    }
}

/// An address that refuses connections as long as this process lives: a socket is bound to it and never listens.
fn dead() -> SocketAddr {
    let socket = runtime::bind(([127, 0, 0, 1], 0).into(), false).expect("a port");
    let address = TcpListener::from(socket.try_clone().expect("a descriptor")).local_addr().expect("bound");
    let _ = socket.into_raw_fd();
    address
}

/// Bytes that are their own place, so that none is lost or moved unseen.
fn bytes(size: usize) -> Vec<u8> {
    (0..size as u64).map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect()
}

fn close_with_reset(stream: TcpStream) {
    // SOL_SOCKET, SO_LINGER: on, zero seconds.
    let linger: Vec<u8> = [1_i32, 0].iter().flat_map(|word| word.to_ne_bytes()).collect();
    runtime::set_option(stream.as_fd(), 1, 13, &linger).expect("a socket");
}

#[track_caller]
fn on_both(setup: &Setup, case: impl Fn(&mut Proxy)) {
    for io in [IoChoice::Poll, IoChoice::Ring] {
        println!("on {io:?}");
        if let Some(mut proxy) = Proxy::start(io, setup) {
            case(&mut proxy);
            proxy.engine.stop();
        }
    }
}

fn send_all(stream: &TcpStream, bytes: Vec<u8>) -> JoinHandle<()> {
    let mut stream = stream.try_clone().expect("a descriptor");
    thread::spawn(move || {
        stream.write_all(&bytes).expect("the proxy reads");
        stream.shutdown(Shutdown::Write).expect("open");
    })
}

#[test]
fn every_byte_arrives_once_and_in_its_place() {
    const SIZE: usize = 20 << 20;
    for buffer_bytes_max in [None, Some(1), Some(40 << 10), Some(1 << 20)] {
        let setup = Setup { buffer_bytes_max, ..Setup::new(&[upstream(echo)]) };
        on_both(&setup, |proxy| {
            let mut client = proxy.connect();
            // Small ones first, each answered before the next.
            for size in [1, 2, 1000, 5000, 1, 30_000] {
                let (sent, mut came) = (bytes(size), vec![0; size]);
                client.write_all(&sent).expect("the proxy reads");
                client.read_exact(&mut came).expect("an answer");
                assert!(sent == came);
            }
            let size = if buffer_bytes_max == Some(1) { SIZE / 10 } else { SIZE };
            let sender = send_all(&client, bytes(size));
            let mut came = Vec::new();
            client.read_to_end(&mut came).expect("to the end");
            sender.join().expect("sent");
            assert!(came == bytes(size), "{} bytes of {size}", came.len());
            let all = (size + 36_004) as u64;
            proxy.counts(&[
                ("tcp.t.downstream_cx_rx_bytes_total", all),
                ("tcp.t.downstream_cx_tx_bytes_total", all),
                ("cluster.c.upstream_cx_rx_bytes_total", all),
                ("cluster.c.upstream_cx_tx_bytes_total", all),
                ("tcp.t.downstream_cx_total", 1),
                ("cluster.c.upstream_cx_total", 1),
                ("cluster.c.upstream_cx_active", 0),
                ("cluster.c.upstream_cx_http1_total", 0),
                ("cluster.c.upstream_cx_destroy_local", 1),
                ("cluster.c.upstream_rq_total", 1),
                ("cluster.c.upstream_rq_active", 0),
                ("cluster.c.upstream_rq_pending_total", 1),
            ]);
        });
    }
}

#[test]
fn who_speaks_first_is_the_upstream_if_it_wants() {
    let setup = Setup::new(&[upstream(|mut stream| {
        stream.write_all(b"220 hello\r\n").expect("the proxy reads");
        echo(stream);
    })]);
    on_both(&setup, |proxy| {
        let mut came = [0; 11];
        proxy.connect().read_exact(&mut came).expect("a greeting");
        assert_eq!(&came, b"220 hello\r\n");
    });
}

#[test]
fn an_end_is_an_end_and_the_other_way_stays_open() {
    // The client ends, the upstream answers afterwards; and the other way round.
    let late = upstream(|mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).expect("to the end");
        all.reverse();
        stream.write_all(&all).expect("the proxy reads");
    });
    on_both(&Setup::new(&[late]), |proxy| {
        let mut client = proxy.connect();
        client.write_all(b"abc").expect("the proxy reads");
        client.shutdown(Shutdown::Write).expect("open");
        let mut came = String::new();
        client.read_to_string(&mut came).expect("to the end");
        assert_eq!(came, "cba");
        proxy.counts(&[("cluster.c.upstream_cx_destroy_local", 1)]);
    });
    let (told, heard) = mpsc::channel();
    let early = upstream(move |mut stream| {
        stream.write_all(b"bye").expect("the proxy reads");
        stream.shutdown(Shutdown::Write).expect("open");
        let mut all = String::new();
        stream.read_to_string(&mut all).expect("to the end");
        told.send(all).expect("the test listens");
    });
    on_both(&Setup::new(&[early]), |proxy| {
        let mut client = proxy.connect();
        let mut came = String::new();
        client.read_to_string(&mut came).expect("to the end");
        assert_eq!(came, "bye");
        client.write_all(b"thanks").expect("the proxy reads");
        drop(client);
        assert_eq!(heard.recv_timeout(PATIENCE).expect("an end"), "thanks");
        proxy.counts(&[("cluster.c.upstream_cx_destroy_remote", 1)]);
    });
}

#[test]
fn a_reset_is_a_reset_on_the_other_side_behind_what_came_before_it() {
    let setup = Setup::new(&[upstream(|mut stream| {
        stream.read_exact(&mut [0]).expect("a byte");
        stream.write_all(b"last words").expect("the proxy reads");
        close_with_reset(stream);
    })]);
    on_both(&setup, |proxy| {
        let (mut client, mut came) = (proxy.connect(), [0; 10]);
        client.write_all(b"x").expect("the proxy reads");
        client.read_exact(&mut came).expect("words");
        assert_eq!(&came, b"last words");
        assert_eq!(
            uninterrupted(|| client.read(&mut came)).map_err(|error| error.kind()),
            Err(ErrorKind::ConnectionReset)
        );
        proxy.counts(&[("cluster.c.upstream_cx_destroy_remote_with_active_rq", 1)]);
    });
    let (told, heard) = mpsc::channel();
    let setup = Setup::new(&[upstream(move |mut stream| {
        stream.write_all(b"x").expect("the proxy reads");
        told.send(uninterrupted(|| stream.read(&mut [0])).map_err(|error| error.kind())).expect("the test listens");
    })]);
    on_both(&setup, |proxy| {
        let mut client = proxy.connect();
        client.read_exact(&mut [0]).expect("a byte");
        close_with_reset(client);
        assert_eq!(heard.recv_timeout(PATIENCE).expect("an end"), Err(ErrorKind::ConnectionReset));
        proxy.counts(&[("cluster.c.upstream_cx_destroy_local_with_active_rq", 1)]);
    });
}

/// Guards against an end that is not seen: the upstream's end has been passed on, and then it will have no more of what comes.
#[test]
fn a_side_that_ended_and_takes_nothing_more_resets_the_other() {
    let setup = Setup::new(&[upstream(drop)]);
    on_both(&setup, |proxy| {
        let mut client = proxy.connect();
        assert_eq!(uninterrupted(|| client.read(&mut [0])).expect("an end"), 0);
        let until = Instant::now() + PATIENCE;
        while let Ok(()) = client.write_all(b"x") {
            assert!(Instant::now() < until, "still taken");
            thread::yield_now();
        }
        proxy.counts(&[("cluster.c.upstream_cx_destroy_remote", 1), ("cluster.c.upstream_cx_active", 0)]);
    });
}

#[test]
fn an_upstream_that_cannot_be_had_closes_the_connection_and_is_counted() {
    let living = upstream(echo);
    let cases: &[(Setup, &[(&str, u64)])] = &[
        (
            Setup { tcp: TcpProxy { connect_attempts_max: 3, ..Setup::new(&[]).tcp }, ..Setup::new(&[dead()]) },
            &[
                ("cluster.c.upstream_cx_connect_fail", 3),
                ("cluster.c.upstream_cx_connect_attempts_exceeded", 1),
                ("cluster.c.upstream_cx_total", 3),
                ("cluster.c.upstream_cx_destroy_remote", 3),
                ("cluster.c.upstream_rq_pending_failure_eject", 3),
                ("cluster.c.upstream_rq_pending_active", 0),
                ("cluster.c.upstream_rq_total", 0),
            ],
        ),
        (Setup::new(&[]), &[("cluster.c.upstream_cx_none_healthy", 1), ("cluster.c.upstream_cx_total", 0)]),
        (
            Setup { connections_max: 0, ..Setup::new(&[living]) },
            &[("cluster.c.upstream_cx_overflow", 1), ("cluster.c.upstream_cx_total", 0)],
        ),
        (
            Setup {
                tcp: TcpProxy { target: TcpTarget::Cluster(ClusterId(7)), ..Setup::new(&[]).tcp },
                ..Setup::new(&[living])
            },
            &[("tcp.t.downstream_cx_no_route", 1), ("cluster.c.upstream_cx_total", 0)],
        ),
    ];
    for (setup, expect) in cases {
        on_both(setup, |proxy| {
            let mut client = proxy.connect();
            assert_eq!(uninterrupted(|| client.read(&mut [0])).expect("closed, not reset"), 0);
            proxy.counts(expect);
            proxy.counts(&[("tcp.t.downstream_cx_total", 1)]);
        });
    }
}

#[test]
fn an_attempt_picks_anew_and_a_place_is_given_back() {
    let tcp = TcpProxy { connect_attempts_max: 2, ..Setup::new(&[]).tcp };
    let setup = Setup { tcp, connections_max: 1, ..Setup::new(&[dead(), upstream(echo)]) };
    on_both(&setup, |proxy| {
        for _ in 0..4 {
            let mut client = proxy.connect();
            client.write_all(b"x").expect("the proxy reads");
            client.read_exact(&mut [0]).expect("an answer, at the second attempt if not at the first");
            let mut second = proxy.connect();
            assert_eq!(uninterrupted(|| second.read(&mut [0])).expect("closed: there is no place"), 0);
            drop(client);
            proxy.counts(&[("cluster.c.upstream_cx_active", 0)]);
        }
        proxy.counts(&[("cluster.c.upstream_cx_overflow", 4), ("cluster.c.upstream_cx_connect_attempts_exceeded", 0)]);
        assert!(proxy.value("cluster.c.upstream_cx_connect_fail") > 0);
    });
}

#[test]
fn time_ends_a_connection_that_is_idle_or_old_or_whose_chain_is_gone() {
    let (soon, long) = (Duration::from_secs(1), Duration::from_secs(3600));
    let address = upstream(echo);
    let with = |idle, duration_max| Setup {
        tcp: TcpProxy { idle_timeout: Some(idle), duration_max, ..Setup::new(&[]).tcp },
        ..Setup::new(&[address])
    };
    on_both(&with(soon, None), |proxy| {
        let mut client = proxy.connect();
        client.write_all(b"x").expect("the proxy reads");
        client.read_exact(&mut [0]).expect("an answer");
        assert_eq!(uninterrupted(|| client.read(&mut [0])).expect("closed"), 0);
        proxy.counts(&[("tcp.t.idle_timeout", 1), ("tcp.t.max_downstream_connection_duration", 0)]);
    });
    on_both(&with(long, Some(soon)), |proxy| {
        let mut client = proxy.connect();
        assert_eq!(uninterrupted(|| client.read(&mut [0])).expect("closed"), 0);
        proxy.counts(&[("tcp.t.idle_timeout", 0), ("tcp.t.max_downstream_connection_duration", 1)]);
    });
    let setup = with(long, None);
    on_both(&setup, |proxy| {
        let mut client = proxy.connect();
        client.write_all(b"x").expect("the proxy reads");
        client.read_exact(&mut [0]).expect("an answer");
        // The same chain in another generation changes nothing; another one has the drain time.
        proxy.commit(setup.snapshot(2, 0));
        proxy.commit(setup.snapshot(3, 1));
        client.write_all(b"y").expect("the proxy reads");
        client.read_exact(&mut [0]).expect("an answer while it drains");
        assert_eq!(uninterrupted(|| client.read(&mut [0])).expect("closed"), 0);
        proxy.counts(&[("tcp.t.downstream_cx_drain_close", 1)]);
    });
}

#[test]
fn a_connection_goes_where_its_client_wanted_to_go() {
    let origin = upstream(echo);
    on_both(&Setup { is_original: true, ..Setup::new(&[]) }, |proxy| {
        for round in 1..4 {
            let mut client = proxy.connect();
            // What came with the header goes first.
            let first = format!("PROXY TCP4 10.0.0.1 {} 4321 {}\r\nearly ", origin.ip(), origin.port());
            client.write_all(first.as_bytes()).expect("the proxy reads");
            client.write_all(b"late").expect("the proxy reads");
            let mut came = [0; 10];
            client.read_exact(&mut came).expect("an answer");
            assert_eq!(&came, b"early late");
            drop(client);
            proxy.counts(&[("cluster.c.upstream_rq_total", round), ("cluster.c.upstream_cx_active", 0)]);
        }
        // It does not say where.
        let mut client = proxy.connect();
        client.write_all(b"PROXY UNKNOWN\r\n").expect("the proxy reads");
        assert_eq!(uninterrupted(|| client.read(&mut [0])).expect("closed"), 0);
        proxy.counts(&[("cluster.c.upstream_cx_none_healthy", 1), ("cluster.c.lb_healthy_panic", 0)]);
    });
}

/// As Envoy 1.40 writes the same lines of the same connections, but for the order of two flags (`UF,URX`).
#[test]
fn a_connection_is_one_line_of_a_log() {
    const FORMAT: &str = "%PROTOCOL% %RESPONSE_CODE% %RESPONSE_CODE_DETAILS% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% \
        %UPSTREAM_CLUSTER% %UPSTREAM_HOST% %UPSTREAM_REMOTE_ADDRESS% %UPSTREAM_TRANSPORT_FAILURE_REASON% \
        %UPSTREAM_REQUEST_ATTEMPT_COUNT% %REQUESTED_SERVER_NAME% %ACCESS_LOG_TYPE% %REQ(:METHOD)% %CONNECTION_TERMINATION_DETAILS% \
        %DOWNSTREAM_WIRE_BYTES_RECEIVED% %UPSTREAM_WIRE_BYTES_RECEIVED% %DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% \
        %UPSTREAM_LOCAL_ADDRESS%";
    let format = Format::parse(FORMAT, &Surroundings::NONE).expect("a format");
    let text = LogText::Text { format, omit_empty: false };
    let log = AccessLog { sink: LogSink::Stdout, text, filter: None };
    let (told, heard) = mpsc::channel();
    let living = upstream(move |mut stream| {
        told.send(stream.peer_addr().expect("connected")).expect("the test listens");
        let mut byte = [0];
        while let Ok(1) = uninterrupted(|| stream.read(&mut byte)) {
            if byte == [b'R'] {
                return close_with_reset(stream);
            }
            stream.write_all(&byte).expect("the proxy reads");
        }
    });
    let dead = dead();
    let soon = Some(Duration::from_secs(1));
    let ends = |flags: &str, bytes: &str| {
        let (received, sent) = bytes.split_once(' ').expect("two");
        format!("- 0 - {flags} {bytes} c {living} {living} - 1 - TcpConnectionEnd - - {received} {sent} ")
    };
    let failed = |flags: &str, host: &str, reason: &str, attempts: u32| {
        format!("- 0 - {flags} 0 0 c {host} - {reason} {attempts} - TcpConnectionEnd - - 0 0 ")
    };
    let dead_is = |attempts| failed("URX,UF", &dead.to_string(), "delayed_connect_error:_Connection_refused", attempts);
    for (endpoints, connections_max, duration_max, attempts, says, expect) in [
        (vec![living], 9, None, 1, "ab", ends("-", "2 2")),
        (vec![living], 9, None, 1, "aR", ends("UR", "2 1")),
        (vec![living], 9, soon, 1, "", ends("DT", "0 0")),
        (vec![dead], 9, None, 2, "", dead_is(2)),
        (vec![], 9, None, 1, "", failed("UH", "-", "-", 0)),
        (vec![living], 0, None, 1, "", failed("UO", "-", "-", 0)),
    ] {
        let tcp = TcpProxy {
            connect_attempts_max: attempts,
            duration_max,
            access_logs: vec![log.clone()],
            ..Setup::new(&[]).tcp
        };
        on_both(&Setup { connections_max, tcp, ..Setup::new(&endpoints) }, |proxy| {
            let mut client = proxy.connect();
            let ours = client.local_addr().expect("connected");
            for byte in says.bytes() {
                client.write_all(&[byte]).expect("the proxy reads");
                let _answered = uninterrupted(|| client.read(&mut [0]));
            }
            if duration_max.is_some() {
                assert_eq!(uninterrupted(|| client.read(&mut [0])).expect("closed"), 0);
            }
            drop(client);
            let upstream = if expect.contains(" 1 - Tcp") {
                heard.recv_timeout(PATIENCE).expect("a connection").to_string()
            } else {
                "-".to_owned()
            };
            assert_eq!(proxy.logs.line(), format!("{expect}{ours} {} {upstream}", proxy.address));
        });
    }
}

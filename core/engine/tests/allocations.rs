//! No heap allocation on an HTTP/1 exchange once warm, on both drivers, over a mix of requests.
//!
//! The count is the process's: client and origin are plain threads that reuse their buffers, so whatever is counted
//! after the warm-up is the engine's.

#![expect(clippy::print_stdout, reason = "a skip is never silent")]

use std::alloc::System;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use ringway_engine::{Engine, Limits, Options};
use ringway_model::{
    Action, ChainId, CircuitBreakers, Cluster, ClusterId, Domain, Endpoint, FilterChain, ForwardAction,
    HttpConnectionManager, LbPolicy, Listener, ListenerId, NetworkFilter, PathMatch, Route, RouteConfiguration,
    Snapshot, Target, VirtualHost,
};
use ringway_observe::Registry;
use ringway_runtime::{self as runtime, IoChoice};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Requests of the mix with what the origin answers; each is played in turn on one connection.
const MIX: [(&[u8], &[u8]); 4] = [
    (b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"),
    (
        b"POST /b HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n",
    ),
    (b"PUT /c HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody", b"HTTP/1.1 204 No Content\r\n\r\n"),
    (b"HEAD /d HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"),
];

fn snapshot(origin: SocketAddr) -> Arc<Snapshot> {
    let route = Route {
        name: String::new(),
        path: PathMatch::Prefix("/".into()),
        action: Action::Forward(ForwardAction {
            target: Target::Cluster(ClusterId(0)),
            timeout: Some(Duration::from_secs(15)),
        }),
    };
    let host = VirtualHost { name: "v".into(), domains: vec![Domain::Any], routes: vec![route] };
    let http = HttpConnectionManager {
        stat_prefix: "t".into(),
        routes: Arc::new(RouteConfiguration::new("r".into(), vec![host]).expect("one domain")),
        idle_timeout: Some(Duration::from_secs(3600)),
        request_headers_timeout: None,
        stream_idle_timeout: Some(Duration::from_secs(300)),
        request_head_bytes_max: 60 * 1024,
        delayed_close_timeout: Duration::from_secs(1),
    };
    let chain = FilterChain { id: ChainId(0), name: String::new(), filter: NetworkFilter::Http(Arc::new(http)) };
    let mut snapshot = Snapshot { generation: 1, ..Snapshot::default() };
    snapshot.listeners.push(Arc::new(Listener {
        id: ListenerId(0),
        name: "l".into(),
        address: "127.0.0.1:0".parse().expect("an address"),
        backlog: 128,
        chains: vec![Arc::new(chain)],
    }));
    snapshot.clusters.insert(Arc::new(Cluster {
        id: ClusterId(0),
        name: "c".into(),
        stat_name: "c".into(),
        connect_timeout: Duration::from_secs(5),
        lb_policy: LbPolicy::RoundRobin,
        circuit_breakers: CircuitBreakers::default(),
        endpoints: vec![Endpoint { address: origin }],
        idle_timeout: Duration::from_secs(3600),
    }));
    Arc::new(snapshot)
}

/// Answers request `n` of the mix with answer `n`, telling them apart by the path's letter.
fn origin(listener: &TcpListener) {
    let (mut stream, _) = listener.accept().expect("the proxy connects");
    stream.set_nodelay(true).expect("a socket");
    let mut buffer = [0; 4096];
    let mut filled = 0;
    loop {
        let got = stream.read(&mut buffer[filled..]).unwrap_or(0);
        if got == 0 {
            return;
        }
        filled += got;
        let text = &buffer[..filled];
        let Some(end) = text.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let which = usize::from(text[text.iter().position(|&byte| byte == b'/').expect("a path") + 1] - b'a');
        let whole = match which {
            1 => text.ends_with(b"0\r\n\r\n"),
            2 => text.len() == end + 4 + 4,
            _ => true,
        };
        if whole {
            stream.write_all(MIX[which].1).expect("the proxy listens");
            filled = 0;
        }
    }
}

fn play(client: &mut TcpStream, rounds: usize) {
    let mut buffer = [0; 4096];
    for _ in 0..rounds {
        for (at, (request, _)) in MIX.iter().enumerate() {
            client.write_all(request).expect("the proxy listens");
            let mut filled = 0;
            loop {
                let got = client.read(&mut buffer[filled..]).expect("an answer");
                assert!(got > 0, "answered, not closed");
                filled += got;
                let text = &buffer[..filled];
                let done = match at {
                    0 => text.ends_with(b"\r\n\r\nhello"),
                    1 => text.ends_with(b"0\r\n\r\n"),
                    _ => text.ends_with(b"\r\n\r\n"),
                };
                if done {
                    assert!(text.starts_with(b"HTTP/1.1 20"), "a success");
                    break;
                }
            }
        }
    }
}

fn check(io: IoChoice) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    let upstream = std::thread::spawn(move || origin(&listener));
    let options = Options {
        workers: vec![None],
        runtime: runtime::Options { io, ..runtime::Options::default() },
        drain_time: Duration::from_secs(1),
        registry: Registry::new(1),
        limits: Limits::default(),
    };
    let mut engine = match Engine::start(options) {
        Ok(engine) => engine,
        Err(error) if io == IoChoice::Ring && std::env::var_os("RINGWAY_REQUIRE_ALL").is_none() => {
            println!("SKIP allocations on ring: {error}");
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let staged = engine.stage(snapshot(address)).unwrap_or_else(|problems| panic!("{}", problems[0]));
    let report = engine.commit(staged);
    assert_eq!((report.generation, report.late), (1, 0));
    let mut client = TcpStream::connect(engine.listeners()[0].1).expect("the proxy listens");
    client.set_nodelay(true).expect("a socket");
    play(&mut client, 200);
    let before = ALLOCATOR.stats();
    play(&mut client, 500);
    let after = ALLOCATOR.stats();
    let count = (after.allocations - before.allocations) + (after.reallocations - before.reallocations);
    assert_eq!(count, 0, "allocations in 2,000 exchanges");
    drop(client);
    engine.stop();
    upstream.join().expect("the origin ends when the proxy does");
}

/// One test, not two: the count is the process's.
#[test]
fn a_warm_exchange_allocates_nothing_on_either_driver() {
    check(IoChoice::Poll);
    check(IoChoice::Ring);
}

//! How many requests find a warm upstream connection in pools that each worker has for itself.

use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::{Stand, Table, Variant};
use crate::lab::config::{Config, route};
use crate::lab::http::{Head, read_body};
use crate::lab::origin::Origin;
use crate::lab::pace::pause;
use crate::lab::proxy::{Kind, Launch, Proxy};

/// One way in which clients come.
struct Way {
    name: &'static str,
    /// Requests of each client.
    requests: usize,
    /// Requests on one connection.
    per_connection: usize,
    /// Requests without a pause, then the pause.
    burst: usize,
    pause: Duration,
}

const CLIENTS: usize = 64;
const WORKERS: usize = 8;
const FOR_EVER: usize = usize::MAX;

const WAYS: &[Way] = &[
    Way {
        name: "closed loop, keep-alive",
        requests: 500,
        per_connection: FOR_EVER,
        burst: FOR_EVER,
        pause: Duration::ZERO,
    },
    Way {
        name: "a new connection every 100 requests",
        requests: 500,
        per_connection: 100,
        burst: FOR_EVER,
        pause: Duration::ZERO,
    },
    Way {
        name: "a new connection every 10 requests",
        requests: 500,
        per_connection: 10,
        burst: FOR_EVER,
        pause: Duration::ZERO,
    },
    Way {
        name: "a new connection for each request",
        requests: 200,
        per_connection: 1,
        burst: FOR_EVER,
        pause: Duration::ZERO,
    },
    Way {
        name: "bursts of 10, 300 ms between",
        requests: 100,
        per_connection: FOR_EVER,
        burst: 10,
        pause: Duration::from_millis(300),
    },
    Way {
        name: "bursts of 10 on new connections, 300 ms between",
        requests: 100,
        per_connection: 10,
        burst: 10,
        pause: Duration::from_millis(300),
    },
    Way {
        name: "one request each 300 ms",
        requests: 40,
        per_connection: FOR_EVER,
        burst: 1,
        pause: Duration::from_millis(300),
    },
];

/// How long the origin takes: a connection is in use for as long, so that requests meet.
const ANSWER_TIME: Duration = Duration::from_millis(1);

pub(super) fn run(stand: &Stand) -> Result<Table, String> {
    let mut table = Table {
        note: format!(
            "{WORKERS} workers, {CLIENTS} clients, one endpoint that answers after 1 ms, ring; a fresh proxy for each row"
        ),
        columns: [
            "clients",
            "origin closes an idle connection after",
            "--balance",
            "requests",
            "upstream connections",
            "reused",
        ]
        .map(str::to_owned)
        .to_vec(),
        rows: Vec::new(),
    };
    for way in WAYS {
        for (idle, idle_name) in [(Duration::from_secs(60), "60 s"), (Duration::from_millis(1000), "1 s")] {
            for balance in ["local", "least-of-two"] {
                let [requests, connections] = measure(stand, way, idle, balance)?;
                let reused = 100.0 * (1.0 - connections as f64 / requests as f64);
                table.rows.push(vec![
                    way.name.to_owned(),
                    idle_name.to_owned(),
                    balance.to_owned(),
                    requests.to_string(),
                    connections.to_string(),
                    format!("{reused:.2} %"),
                ]);
            }
        }
    }
    Ok(table)
}

/// Requests sent upstream, and connections made for them.
fn measure(stand: &Stand, way: &Way, idle: Duration, balance: &str) -> Result<[u64; 2], String> {
    let origin = Origin::start("127.0.0.1", move |stream| serve(stream, idle))?;
    let any = SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 0));
    let config = Config::default().listener("front", any, &[route("/", "back")]).cluster("back", &[origin.address]);
    let file = stand.folder.join("reuse.yaml");
    std::fs::write(&file, config.text()).map_err(|e| format!("cannot write: {e}"))?;
    let variant = Variant::of(Kind::Ring).workers(WORKERS).with("reuse", &["--balance", balance]);
    let arguments: Vec<&str> = variant.arguments.iter().map(String::as_str).collect();
    let folder = stand.folder.as_path();
    let proxy = Proxy::start(&Launch {
        kind: variant.kind,
        folder,
        name: "reuse",
        file: &file,
        concurrency: WORKERS,
        arguments: &arguments,
    })?;
    let front = proxy.listener("front")?;
    let failed: usize = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| client(front, way).is_err())).collect();
        clients.into_iter().map(|client| usize::from(client.join().unwrap_or(true))).sum()
    });
    if failed > 0 {
        return Err(format!("{}: {failed} clients were not answered", way.name));
    }
    Ok([proxy.stat("cluster.back.upstream_rq_total")?, proxy.stat("cluster.back.upstream_cx_total")?])
}

fn client(front: SocketAddr, way: &Way) -> io::Result<()> {
    let mut stream = None;
    for number in 0..way.requests {
        if number.is_multiple_of(way.per_connection) {
            stream = None;
        }
        let stream = match &mut stream {
            Some(open) => open,
            none => none.insert(BufReader::new(TcpStream::connect(front)?)),
        };
        stream.get_mut().write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")?;
        let head = Head::read(stream)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        read_body(stream, head.response_framing("GET")?)?;
        if head.status() != 200 {
            return Err(io::Error::other(head.line));
        }
        if (number + 1).is_multiple_of(way.burst) {
            pause(way.pause);
        }
    }
    Ok(())
}

/// Answers until nothing has come for `idle`; then closes, as origins do.
fn serve(mut stream: TcpStream, idle: Duration) -> io::Result<()> {
    stream.set_read_timeout(Some(idle))?;
    let mut from = BufReader::new(stream.try_clone()?);
    while Head::read(&mut from)?.is_some() {
        pause(ANSWER_TIME);
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhere")?;
    }
    Ok(())
}

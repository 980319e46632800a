//! Origins: a thread per connection, and a behaviour for each path.
//!
//! | path | what it does |
//! |---|---|
//! | `/name` | answers its own name |
//! | `/echo` | answers with the body that it got, by Content-Length |
//! | `/echo-chunked` | the same, chunked, in several pieces |
//! | `/until-close` | a body that ends with the connection |
//! | `/silent` | takes the request and never answers |
//! | `/die-if-reused` | answers the first request of a connection; at a later one it closes without a byte |
//! | `/script/a,b,c` | the first request with this very target is served as `a` says, the next one as `b`, ...: a status (`503`), `reset`,
//! | | `silent`, `cut` (a head without its body), `broken` (no HTTP), or a status and a field (`200:name=value`); the last one stays |
//! | `/slow` | answers as soon as [`Origin::release`] was called |

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::IntoRawFd;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use ringway_tls::ServerContext;

use super::client::{Client, Message};
use super::wait_for;

/// A running origin. Its threads end with the test's process.
pub(crate) struct Origin {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    name: String,
    requests: Mutex<VecDeque<Message>>,
    released: Mutex<usize>,
    scripts: Mutex<HashMap<String, usize>>,
    release: Condvar,
}

impl Origin {
    /// Starts an origin that answers `/name` with `name`.
    pub(crate) fn start(name: &str) -> Origin {
        Origin::on(TcpListener::bind("127.0.0.1:0").expect("a port of the kernel's choice"), name, None)
    }

    /// The same behind TLS.
    pub(crate) fn secured(name: &str, context: Arc<ServerContext>) -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port of the kernel's choice");
        Origin::on(listener, name, Some(context))
    }

    /// Starts origins that answer `/name` with their address, all on one port of the kernel's choice.
    pub(crate) fn on_one_port<const N: usize>(addresses: [&str; N]) -> [Origin; N] {
        let listeners = wait_for("a port that is free at all these addresses", || {
            let mut port = 0;
            let mut listeners = vec![];
            for address in addresses {
                let ip: std::net::IpAddr = address.parse().expect("an address");
                let listener = TcpListener::bind((ip, port)).ok()?;
                port = listener.local_addr().expect("bound").port();
                listeners.push(listener);
            }
            <[TcpListener; N]>::try_from(listeners).ok()
        });
        let mut at = addresses.into_iter();
        listeners.map(|listener| Origin::on(listener, at.next().expect("as many"), None))
    }

    fn on(listener: TcpListener, name: &str, tls: Option<Arc<ServerContext>>) -> Origin {
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared { name: name.into(), ..Shared::default() });
        let origin = Origin { address, shared: shared.clone() };
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (shared, tls) = (shared.clone(), tls.clone());
                thread::spawn(move || {
                    // A proxy that goes away in the middle is nothing to an origin.
                    let connection = match &tls {
                        None => Ok(Client::on(stream)),
                        Some(context) => Client::accept(stream, context),
                    };
                    let _ = connection.and_then(|connection| serve(connection, &shared));
                });
            }
        });
        origin
    }

    /// The next request that arrived, waiting for it.
    #[track_caller]
    pub(crate) fn request(&self) -> Message {
        wait_for("a request at the origin", || self.shared.requests.lock().expect("no panic").pop_front())
    }

    /// How many requests arrived and were not taken by [`Origin::request`].
    pub(crate) fn requests(&self) -> usize {
        self.shared.requests.lock().expect("no panic").len()
    }

    /// Lets one request to `/slow` be answered.
    pub(crate) fn release(&self) {
        *self.shared.released.lock().expect("no panic") += 1;
        self.shared.release.notify_all();
    }
}

/// An address that refuses connections as long as this process lives: a socket is bound to it and never listens. A port that
/// was merely free a moment ago may be that of another test's origin by the time of the connect.
pub(crate) fn refusing(ip: &str) -> SocketAddr {
    let ip: std::net::IpAddr = ip.parse().expect("an address");
    let socket = ringway_runtime::bind((ip, 0).into(), false).expect("a port of the kernel's choice");
    let address = TcpListener::from(socket.try_clone().expect("a descriptor")).local_addr().expect("bound");
    // Left open for good.
    let _ = socket.into_raw_fd();
    address
}

/// An origin that does with each connection what `serve` says.
pub(crate) fn served_by(serve: fn(Client)) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port of the kernel's choice");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(Client::on(stream)));
        }
    });
    address
}

fn serve(mut connection: Client, shared: &Shared) -> io::Result<()> {
    let mut served = 0;
    while let Some(request) = connection.read(false, false)? {
        shared.requests.lock().expect("no panic").push_back(request.clone());
        served += 1;
        let path = request.line.split(' ').nth(1).unwrap_or_default().to_owned();
        let head_only = request.line.starts_with("HEAD ");
        match path.split('?').next().unwrap_or_default() {
            "/silent" => {
                connection.read(false, false)?;
                return Ok(());
            }
            script if script.starts_with("/script/") => {
                let target = request.line.split(' ').nth(1).unwrap_or_default().to_owned();
                let mut scripts = shared.scripts.lock().expect("no panic");
                let turn = scripts.entry(target).or_default();
                let steps: Vec<&str> = script["/script/".len()..].split(',').collect();
                let step = steps[(*turn).min(steps.len() - 1)];
                *turn += 1;
                drop(scripts);
                if !play(&mut connection, step, &request.body, head_only)? {
                    return Ok(());
                }
            }
            "/die-if-reused" if served > 1 => return Ok(()),
            "/slow" => {
                let mut released = shared.released.lock().expect("no panic");
                while *released == 0 {
                    released = shared.release.wait(released).expect("no panic");
                }
                *released -= 1;
                drop(released);
                answer(&mut connection, shared.name.as_bytes(), head_only);
            }
            "/echo" => answer(&mut connection, &request.body, head_only),
            "/echo-chunked" => {
                connection.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
                for piece in request.body.chunks(1000) {
                    connection.send(format!("{:x};ext=1\r\n", piece.len())).send(piece).send("\r\n");
                }
                connection.send("0\r\n\r\n");
            }
            "/until-close" => {
                connection.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end");
                return Ok(());
            }
            _ => answer(&mut connection, shared.name.as_bytes(), head_only),
        }
    }
    Ok(())
}

/// One step of a script; whether the connection goes on.
fn play(connection: &mut Client, step: &str, body: &[u8], head_only: bool) -> io::Result<bool> {
    match step {
        "reset" => return Ok(false),
        "silent" => {
            connection.read(false, false)?;
            return Ok(false);
        }
        "broken" => {
            connection.send("HTTP/1.1 abc\r\nno field\r\n\r\n");
            return Ok(false);
        }
        "cut" => {
            connection.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart");
            return Ok(false);
        }
        _ => {}
    }
    let (status, field) = step.split_once(':').unwrap_or((step, ""));
    let field = field.split_once('=').map(|(name, value)| format!("{name}: {value}\r\n")).unwrap_or_default();
    connection.send(format!("HTTP/1.1 {status} As Asked\r\n{field}Content-Length: {}\r\n\r\n", body.len()));
    if !head_only {
        connection.send(body);
    }
    Ok(true)
}

fn answer(connection: &mut Client, body: &[u8], head_only: bool) {
    connection.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nX-Origin: yes\r\n\r\n", body.len()));
    if !head_only {
        connection.send(body);
    }
}

//! The admin server: Envoy's endpoints under Envoy's names, on threads of their own.
//!
//! Never touches a worker: it reads counters, the view that the control thread left behind ([`crate::state`]), and
//! sends commands. Each connection has a thread, so that a scrape never delays `/ready`; their number is bounded. HTTP/1 has the
//! endpoints; a connection of HTTP/2 has gRPC ([`grpc`]).

mod certs;
mod client_status;
mod config;
mod config_dump;
mod explain;
mod figures;
mod grpc;
mod http;
mod logging;
mod process;
mod socket;
mod stats;

use std::fmt::Write;
use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Instant;
use std::{io, thread};

use ringway_model::Address;

use crate::STACK_SIZE;
use crate::command::Command;
use crate::log::Log;
use crate::state::State;
use http::{Opening, PATIENCE, Request, Response, Taking};
use socket::{Listener, Stream};

pub(crate) use certs::days_until_first;
pub(crate) use process::{loop_json, worker_json};

/// Connections served at once; one more waits in the backlog until one ends. A thread costs some 20 KiB resident while
/// it serves, and the text of a scrape as long as it is being sent.
const CONNECTIONS_MAX: usize = 32;

/// What an endpoint may use.
pub(crate) struct Context {
    /// What can be seen.
    pub(crate) state: Arc<State>,
    /// Where commands go.
    pub(crate) commands: SyncSender<Command>,
    /// The process's log.
    pub(crate) log: Log,
}

/// One endpoint.
struct Endpoint {
    path: &'static str,
    /// It changes something: by POST only. The others: by GET (and HEAD).
    post: bool,
    help: &'static str,
    /// Its parameters, for `/help`.
    parameters: &'static [(&'static str, &'static str)],
    answer: fn(&Context, &Request) -> Response,
}

/// All endpoints, in the order of `/help`.
const ENDPOINTS: &[Endpoint] = &[
    Endpoint { path: "/", post: false, help: "this list", parameters: &[], answer: |_, _| Response::text(200, help()) },
    Endpoint {
        path: "/certs",
        post: false,
        help: "certificates and when they end",
        parameters: &[],
        answer: certs::certs,
    },
    Endpoint {
        path: "/client_status",
        post: false,
        help: "each resource that came or was asked for, and its status (CSDS)",
        parameters: &[("exclude_resource_contents", "without the resources themselves")],
        answer: client_status::client_status,
    },
    Endpoint {
        path: "/clusters",
        post: false,
        help: "clusters and their endpoints",
        parameters: &[("filter", FILTER), ("format", "text or json")],
        answer: config::clusters,
    },
    Endpoint {
        path: "/config_dump",
        post: false,
        help: "the configuration in force, and the last one that was refused",
        parameters: &[
            ("resource", "only the items of this list, static_clusters for one"),
            ("mask", "only these fields, paths separated by commas"),
            ("name_regex", "only what has a name that matches as a whole"),
            ("include_eds", "with the endpoints of the clusters, as they are in force and as they came"),
        ],
        answer: config_dump::config_dump,
    },
    Endpoint {
        path: "/drain_listeners",
        post: true,
        help: "close the listeners gracefully; the process stays",
        parameters: &[("graceful", "what is always done: connections end at their next response")],
        answer: process::drain_listeners,
    },
    Endpoint {
        path: "/explain",
        post: false,
        help: "which way a request would take, and who is held back (ringway explain)",
        parameters: &[
            ("url", "of the request: http://host/path or https://"),
            ("method", "GET where it is not given"),
            ("header", "a field, NAME: VALUE; as often as there are fields"),
            ("listener", "the listener's name; else by destination, or by the URL"),
            ("destination", "IP:PORT that the client connects to"),
            ("original_destination", "IP:PORT that it wanted to go to before it was redirected"),
            ("source", "IP or IP:PORT of the client"),
            ("direct_source", "that of the connection's peer, where it is another"),
            ("sni", "the server name of its ClientHello"),
            ("alpn", "the protocols of its ClientHello, with commas between"),
            ("peer_uri", "a URI in its certificate; as often as there are any"),
            ("peer_dns", "a DNS name in its certificate; likewise"),
            ("peer_subject", "the subject of its certificate"),
            ("format", "text or json"),
        ],
        answer: explain::explain,
    },
    Endpoint {
        path: "/healthcheck/fail",
        post: true,
        help: "let /ready fail",
        parameters: &[],
        answer: process::healthcheck_fail,
    },
    Endpoint {
        path: "/healthcheck/ok",
        post: true,
        help: "take /healthcheck/fail back",
        parameters: &[],
        answer: process::healthcheck_ok,
    },
    Endpoint {
        path: "/help",
        post: false,
        help: "this list",
        parameters: &[],
        answer: |_, _| Response::text(200, help()),
    },
    Endpoint {
        path: "/hot_restart_version",
        post: false,
        help: "disabled",
        parameters: &[],
        answer: figures::hot_restart_version,
    },
    Endpoint {
        path: "/init_dump",
        post: false,
        help: "who waits, and for what",
        parameters: &[("mask", "only listeners, or only clusters")],
        answer: process::init_dump,
    },
    Endpoint {
        path: "/listeners",
        post: false,
        help: "listeners and the addresses they are bound to",
        parameters: &[("format", "text or json")],
        answer: config::listeners,
    },
    Endpoint {
        path: "/logging",
        post: true,
        help: "show the level of the process's log, or change it",
        parameters: &[("level", "trace, debug, info, warning, error, critical or off")],
        answer: logging::logging,
    },
    Endpoint { path: "/memory", post: false, help: "memory of the process", parameters: &[], answer: figures::memory },
    Endpoint {
        path: "/quitquitquit",
        post: true,
        help: "end the process at once",
        parameters: &[],
        answer: process::quit,
    },
    Endpoint {
        path: "/ready",
        post: false,
        help: "the process's state: 200 if LIVE, else 503",
        parameters: &[],
        answer: process::ready,
    },
    Endpoint {
        path: "/reopen_logs",
        post: true,
        help: "open the access logs anew",
        parameters: &[],
        answer: figures::reopen_logs,
    },
    Endpoint {
        path: "/reset_counters",
        post: true,
        help: "let all counters begin at zero",
        parameters: &[],
        answer: stats::reset_counters,
    },
    Endpoint { path: "/runtime", post: false, help: "runtime values", parameters: &[], answer: figures::runtime },
    Endpoint {
        path: "/server_info",
        post: false,
        help: "version, state, uptime and options",
        parameters: &[],
        answer: process::server_info,
    },
    Endpoint {
        path: "/stats",
        post: false,
        help: "counters, gauges and histograms",
        parameters: &[
            ("filter", FILTER),
            ("invert_filter", "show what does not match instead"),
            ("usedonly", "only what was ever counted"),
            ("type", "All, Counters, Gauges, Histograms or TextReadouts"),
            ("format", "text, json or prometheus"),
            ("histogram_buckets", "summary, cumulative, disjoint or detailed"),
        ],
        answer: stats::stats,
    },
    Endpoint {
        path: "/stats/prometheus",
        post: false,
        help: "counters, gauges and histograms for Prometheus",
        parameters: &[
            ("filter", FILTER),
            ("invert_filter", "show what does not match instead"),
            ("usedonly", "only what was ever counted"),
            ("text_readouts", "without effect: there are none"),
            ("histogram_buckets", "cumulative or summary"),
        ],
        answer: stats::prometheus,
    },
    Endpoint {
        path: "/stats/recentlookups",
        post: false,
        help: "without effect: lookups are not tracked",
        parameters: &[],
        answer: figures::recent_lookups,
    },
    Endpoint {
        path: "/stats/recentlookups/clear",
        post: true,
        help: "refused: lookups are not tracked",
        parameters: &[],
        answer: figures::no_lookups,
    },
    Endpoint {
        path: "/stats/recentlookups/disable",
        post: true,
        help: "refused: lookups are not tracked",
        parameters: &[],
        answer: figures::no_lookups,
    },
    Endpoint {
        path: "/stats/recentlookups/enable",
        post: true,
        help: "refused: lookups are not tracked",
        parameters: &[],
        answer: figures::no_lookups,
    },
    Endpoint {
        path: "/workers",
        post: false,
        help: "each worker: its CPU, its io level, its generation, its connections, its loop (docs/WORKERS.md)",
        parameters: &[],
        answer: process::workers,
    },
];

const FILTER: &str = "a regular expression that the name must contain a match of";

/// Binds `address` and starts serving. Returns the address as bound.
///
/// # Errors
/// The address cannot be bound, or the thread cannot be started.
pub(crate) fn start(address: &Address, context: Context, log: Log) -> io::Result<Address> {
    let (listener, bound) = Listener::bind(address)?;
    let context = Arc::new(context);
    spawn("admin", move || accept(&listener, &context, log))?;
    Ok(bound)
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new().name(name.into()).stack_size(STACK_SIZE).spawn(body).map(drop)
}

/// Accepts for as long as the process lives; waits while all threads are busy.
fn accept(listener: &Listener, context: &Arc<Context>, log: Log) {
    let grpc_count = AtomicUsize::new(0);
    let serving = Arc::new(Serving { count: AtomicUsize::new(0), grpc_count, acceptor: thread::current() });
    loop {
        while serving.count.load(Ordering::Acquire) >= CONNECTIONS_MAX {
            thread::park();
        }
        match listener.accept() {
            Ok(stream) => {
                serving.count.fetch_add(1, Ordering::AcqRel);
                let (context, seat) = (context.clone(), Seat(serving.clone()));
                let started = spawn("admin:conn", move || {
                    serve(stream, &context, &seat.0);
                    drop(seat);
                });
                if let Err(error) = started {
                    log.warning(format_args!("admin: no thread for a connection: {error}"));
                }
            }
            Err(error) => {
                // Out of descriptors, or a connection that ended in the backlog: the next accept may succeed.
                log.debug(format_args!("admin: accept: {error}"));
                thread::park_timeout(ACCEPT_BACK_OFF);
            }
        }
    }
}

/// How long a failed accept waits: long enough not to spin, short enough not to be missed.
const ACCEPT_BACK_OFF: std::time::Duration = std::time::Duration::from_millis(100);

struct Serving {
    count: AtomicUsize,
    /// Those of them that speak gRPC.
    grpc_count: AtomicUsize,
    acceptor: thread::Thread,
}

/// One of the [`CONNECTIONS_MAX`] seats; given back when dropped, also when its thread never started.
struct Seat(Arc<Serving>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::AcqRel);
        self.0.acceptor.unpark();
    }
}

fn serve(mut stream: Stream, context: &Arc<Context>, serving: &Serving) {
    let deadline = Instant::now() + PATIENCE;
    let (mut response, taking) = match http::read(&mut stream, deadline) {
        Ok(Opening::Http2(before)) => return grpc::serve(stream, before, context, serving),
        Ok(Opening::Request(request)) => {
            let taking = Taking { body: request.method != "HEAD", chunks: request.takes_chunks };
            (answer(context, &request), taking)
        }
        Err(Some(refusal)) => (refusal, Taking { body: true, chunks: false }),
        Err(None) => return,
    };
    let then = response.then.take();
    let written = http::write(&mut stream, response, taking);
    if let Some(command) = then {
        // Waits for its turn: this thread has nothing else to do. An error means that the control thread has ended.
        let _ = context.commands.send(command);
    }
    if written.is_ok() {
        // The client's last bytes are taken before the socket closes: a reset could overtake our answer.
        let _ = stream.set_read_timeout(PATIENCE).and_then(|()| stream.read(&mut [0; 256]));
    }
}

fn answer(context: &Context, request: &Request) -> Response {
    let Some(endpoint) = ENDPOINTS.iter().find(|endpoint| endpoint.path == request.path) else {
        return Response::text(404, format!("invalid path. {}", help()));
    };
    let allowed: &[&str] = if endpoint.post { &["POST"] } else { &["GET", "HEAD"] };
    if !allowed.contains(&request.method.as_str()) {
        return Response::text(405, format!("Method {} not allowed, {} required.", request.method, allowed[0]));
    }
    (endpoint.answer)(context, request)
}

fn help() -> String {
    let mut text = String::from("admin commands are:\n");
    for endpoint in ENDPOINTS {
        let post = if endpoint.post { " (POST)" } else { "" };
        let _ = writeln!(text, "  {}{post}: {}", endpoint.path, endpoint.help);
        for (name, help) in endpoint.parameters {
            let _ = writeln!(text, "      {name}: {help}");
        }
    }
    text
}

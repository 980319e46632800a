//! An engine in this process, as the command starts one: the same threads, mailboxes and commits, without an admin server.

use std::io;
use std::sync::Arc;
use std::thread::{self, Thread};
use std::time::Duration;

use ringway_control_client::{Bootstrap, ReadOptions, Source, read_bootstrap};
use ringway_engine::{Balance, Engine, Limits, LogReader, Logs, Options, StartError};
use ringway_model::{LogSink, Snapshot};
use ringway_observe::Registry;
use ringway_runtime::{self as runtime, IoChoice};

/// There are no access logs here.
struct NoLogs;

impl Logs for NoLogs {
    fn open(&mut self, _: &LogSink) -> io::Result<u32> {
        Err(io::Error::other("nothing here has an access log"))
    }

    fn attach(&mut self, _: LogReader) {}

    fn thread(&self) -> Thread {
        thread::current()
    }
}

/// Nothing that works takes so long.
const ADOPTION_WAIT: Duration = Duration::from_secs(120);

/// Starts an engine with a worker on each of these CPUs. Errors: the host does not have the driver, or has no thread to give.
pub(crate) fn start(io: IoChoice, cpus: &[Option<usize>]) -> Result<Engine, StartError> {
    Engine::start(Options {
        workers: cpus.to_vec(),
        runtime: runtime::Options { io, ..runtime::Options::default() },
        drain_time: Duration::from_secs(1),
        balance: Balance::for_workers(cpus.len()),
        registry: Registry::new(cpus.len()),
        // A commit is timed until all have adopted it, however busy the host is.
        limits: Limits { adoption_wait: ADOPTION_WAIT, ..Limits::default() },
        logs: Box::new(NoLogs),
    })
}

/// Puts a snapshot in force on all workers.
pub(crate) fn commit(engine: &mut Engine, snapshot: Arc<Snapshot>) {
    let staged = engine.stage(snapshot).unwrap_or_else(|problems| panic!("{}", problems[0]));
    assert_eq!(engine.commit(staged).late, 0, "each worker adopts");
}

/// A file of ours, which is right.
pub(crate) fn read(text: &str) -> Bootstrap {
    let source = Source { name: "bench.yaml", text };
    read_bootstrap(source, &ReadOptions::default()).unwrap_or_else(|problems| panic!("{}", problems[0]))
}

/// The beginning of a file: a listener on a port of the kernel's choice. Its routes follow, and then the clusters.
pub(crate) const LISTENER: &str = "static_resources:
  listeners:
  - name: in
    address: {socket_address: {address: 127.0.0.1, port_value: 0}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
          route_config:
            name: all
            virtual_hosts:
            - name: all
              domains: ['*']
              routes:
";

//! A worker's access log: lines into its ring, and who takes them out.
//!
//! Writing a line never waits and never allocates once warm: the line grows in one buffer of the worker's, and a full ring drops
//! it. Files are opened and written by the [`Logs`] of whoever runs the engine.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::rc::Rc;
use std::thread::Thread;

use ringway_model::{AccessLog, LogSink, Snapshot};
use ringway_observe::access_log;
use ringway_observe::format::Values;
use ringway_protocols::http1::{Decoded, HeadScan, decode_request, decode_response};
use ringway_protocols::{HeadTable, Limits, Request, Response};
use ringway_runtime::Instant;

use crate::connection::Downstream;
use crate::log_ring::{LogReader, LogTail};
use crate::record::{Record, Told};
use crate::told_heads::{FoundHeads, ToldHeads};
use crate::view::{CoreChain, CoreLogs, View};
use crate::worker::Worker;

/// Whoever writes the lines of access logs. Called on the control thread alone.
pub trait Logs: Send {
    /// Makes sure that lines can go to this sink, and gives the number under which they will. Asked when a configuration is staged:
    /// one that is not committed afterwards costs an open file.
    ///
    /// # Errors
    /// What the system said when the file was opened.
    fn open(&mut self, sink: &LogSink) -> io::Result<u32>;

    /// Takes the other end of a worker's ring.
    fn attach(&mut self, ring: LogReader);

    /// The thread that reads the rings; it is unparked when a ring fills.
    fn thread(&self) -> Thread;
}

/// Numbers of the sinks of a configuration.
pub(crate) type LogSinks = HashMap<LogSink, u32>;

/// The access logs of a configuration, each with the name of its listener.
pub(crate) fn access_logs(snapshot: &Snapshot) -> impl Iterator<Item = (&str, &AccessLog)> {
    snapshot.listeners.iter().flat_map(|listener| {
        let logs = listener.all_chains().flat_map(|chain| chain.access_logs());
        logs.chain(&listener.access_logs).map(|log| (listener.name.as_str(), log))
    })
}

/// Records kept for reuse: at most as many exchanges as were under way at once, some 400 bytes each.
const RECORDS_KEPT_MAX: usize = 4096;
/// Room for a line from the start; only a longer one makes its buffer grow.
const LINE_BYTES_USUAL: usize = 4096;

/// One worker's log. Empty until a configuration has an access log.
#[derive(Default)]
pub(crate) struct Log {
    state: RefCell<Option<State>>,
    #[expect(clippy::vec_box, reason = "what is kept is the memory of the boxes")]
    spare: RefCell<Vec<Box<Record>>>,
}

struct State {
    tail: LogTail,
    line: Vec<u8>,
    found: FoundHeads,
    /// For filters that look at a whole head.
    request: HeadTable,
}

impl Log {
    pub(crate) fn attach(&self, tail: LogTail) {
        *self.state.borrow_mut() = Some(State {
            tail,
            line: Vec::with_capacity(LINE_BYTES_USUAL),
            found: FoundHeads::default(),
            request: HeadTable::new(Limits::HEADERS_CAP),
        });
    }

    /// A fresh record of an exchange that began then.
    pub(crate) fn record(&self, began: Instant) -> Box<Record> {
        let spare = self.spare.borrow_mut().pop();
        match spare {
            None => Box::new(Record::new(began)),
            Some(mut record) => {
                record.begin(began);
                record
            }
        }
    }

    /// Writes the exchange's lines, and keeps the record's memory.
    pub(crate) fn write(&self, connection: &Downstream, chain: &CoreChain, mut record: Box<Record>) {
        // First: taking up a generation may attach a ring.
        let view = connection.worker.view_for(connection.key);
        if let Some(state) = &mut *self.state.borrow_mut() {
            state.write(connection, chain, &record, &view);
        }
        record.forget();
        let mut spare = self.spare.borrow_mut();
        if spare.len() < RECORDS_KEPT_MAX {
            spare.push(record);
        }
    }
}

impl Log {
    /// Writes the lines of a connection.
    pub(crate) fn write_connection(&self, worker: &Rc<Worker>, logs: (&[AccessLog], &CoreLogs), told: &impl Values) {
        // First: taking up a generation may attach a ring.
        worker.refresh();
        if let Some(State { tail, line, .. }) = &mut *self.state.borrow_mut() {
            write_lines((tail, line), worker, logs, told);
        }
    }
}

/// Writes a line of each log that wants one.
fn write_lines(
    (tail, line): (&mut LogTail, &mut Vec<u8>),
    worker: &Worker,
    (logs, core): (&[AccessLog], &CoreLogs),
    told: &impl Values,
) {
    for (log, (text, sink)) in logs.iter().zip(&core.lines) {
        if access_log::passes(log, told, worker.chance()) {
            line.clear();
            text.write(told, line);
            if !line.is_empty() {
                tail.push(*sink, line);
            }
        }
    }
}

impl State {
    fn write(&mut self, connection: &Downstream, chain: &CoreChain, record: &Record, view: &View) {
        let worker = &connection.worker;
        let now = worker.core.now();
        let Self { tail, line, found, request } = self;
        let clocks = (now, worker.date.nanos(now));
        let whole = chain.logs.asked_fields.whole_request.then(|| whole_request(worker, record, request)).flatten();
        let told = told(connection, chain, record, view, found, whole, clocks);
        write_lines((tail, line), worker, (&chain.http.access_logs, &chain.logs), &told);
    }
}

/// The whole head of the request as it was sent, read again.
pub(crate) fn whole_request<'t>(worker: &Worker, record: &'t Record, table: &'t mut HeadTable) -> Option<Request<'t>> {
    let decoded = decode_request(record.request.as_deref()?, &mut HeadScan::default(), table, &of_ours(worker));
    match decoded {
        Ok(Decoded::Complete { head, .. }) => Some(head),
        _ => None,
    }
}

/// The whole head of the response as it was sent, read again.
pub(crate) fn whole_response<'t>(
    worker: &Worker,
    record: &'t Record,
    table: &'t mut HeadTable,
) -> Option<Response<'t>> {
    let bytes = record.response.as_deref()?;
    match decode_response(bytes, &mut HeadScan::default(), table, &of_ours(worker), record.method) {
        Ok(Decoded::Complete { head, .. }) => Some(head),
        _ => None,
    }
}

/// Bounds on our own bytes: what bounds those of a peer has been asked before.
fn of_ours(worker: &Worker) -> Limits {
    Limits {
        head_bytes_max: Limits::HEAD_BYTES_CAP,
        target_bytes_max: Limits::HEAD_BYTES_CAP,
        headers_max: Limits::HEADERS_CAP,
        ..worker.codec_limits
    }
}

/// An exchange that can be asked. `clocks` are the time, and the nanoseconds from 1970 to it.
pub(crate) fn told<'t>(
    connection: &'t Downstream,
    chain: &'t CoreChain,
    record: &'t Record,
    view: &'t View,
    found: &'t mut FoundHeads,
    request: Option<Request<'t>>,
    (now, wall_nanos): (Instant, u64),
) -> Told<'t> {
    let worker = &connection.worker;
    let heads = (record.request.as_deref(), record.response.as_deref());
    let listener = view.snapshot.listener(connection.listener);
    let (downstream_local, downstream_remote) = connection.addresses();
    let digit = |by: u16| b'0' + (record.status / by % 10) as u8;
    Told {
        record,
        heads: ToldHeads::find(heads, &chain.logs.asked_fields, found),
        request,
        rules: &chain.http.headers,
        caches: &chain.caches,
        now,
        wall_nanos,
        downstream_local,
        downstream_remote,
        downstream_direct: connection.arrived().direct_peer,
        pipe: connection.pipe(),
        arrived: connection.arrived(),
        connection_id: connection.id,
        listener_name: listener.map_or("", |listener| &listener.name),
        filter_chain_name: &chain.config.name,
        chance: [worker.chance(), worker.chance()],
        status_text: [digit(100), digit(10), digit(1)],
    }
}

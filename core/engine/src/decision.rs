//! From the bytes of a request's head to what is to be done with it: the pure part of an exchange, under one generation of the
//! configuration, in one call without waiting.
//!
//! It never sends: an answer of our own, or the head for an upstream, is written into a block and handed on.

use std::cell::RefMut;
use std::rc::Rc;
use std::time::Duration;

use ringway_model::format::Moment;
use ringway_observe::{HttpStats, Origin, ResponseFlag};
use ringway_protocols::http1::{BodyDecoder, BodyPart, Decoded, HeadScan, decode_request};
use ringway_protocols::{Error, Framing, HeadTable, Known, Method, Rule, Version, grpc};
use ringway_runtime::Chunk;

use crate::client;
use crate::connection::Downstream;
use crate::hop::RequestHop;
use crate::local_reply;
use crate::outbox::Spelling;
use crate::prepare;
use crate::record::Record;
use crate::reply::{self, Local, Reader};
use crate::routing::{self, Answer, Forward};
use crate::tunnel::Tunnel;
use crate::view::{CoreChain, View};
use crate::worker::Worker;

/// What a complete head leads to. Everything that the exchange needs of its generation is in here.
pub(crate) struct Decision {
    pub(crate) method: Method,
    pub(crate) framing: Framing,
    pub(crate) keep_alive: bool,
    /// The client waits to be told that it may send the body, and we tell it.
    pub(crate) continues: bool,
    pub(crate) chain: Rc<CoreChain>,
    pub(crate) stream_idle: Option<Duration>,
    /// What the access logs are told; `None` without one.
    pub(crate) record: Option<Box<Record>>,
    /// The request's id, where the response is to tell it.
    pub(crate) request_id: Option<Chunk>,
    /// Where it came from, for the cluster's statistics.
    pub(crate) origin: Origin,
    pub(crate) then: Then,
}

pub(crate) enum Then {
    /// A reply of our own, written already.
    Answer { response: Chunk, status: u16, complete: bool },
    /// To a cluster.
    Forward(Forward),
}

/// Decides what is to be done with the request whose head begins `bytes`, and leaves it in [`Worker::decided`]. How many bytes are done
/// with: the head, and for a reply of our own the body that came with it; `None` while the head is not complete.
///
/// # Errors
/// The rule of HTTP/1.1 that the head, or the part of the body that came with it, breaks.
pub(crate) fn decide(connection: &Downstream, bytes: &[u8], scan: &mut HeadScan) -> Result<Option<usize>, Error> {
    // From here to the end of the exchange one generation holds. A connection whose chain is gone finishes on the
    // last generation that had it.
    let view = connection.worker.view_for(connection.key);
    let chain = view.chain(connection.listener, connection.chain).expect("a connection's view has its chain");
    let worker = &*connection.worker;
    let mut table = worker.table.borrow_mut();
    let head_size = match decode_request(bytes, scan, &mut table, &chain.codec_limits)? {
        Decoded::Partial => return Ok(None),
        Decoded::Complete { consumed, .. } => consumed,
    };
    connection.age.request(&chain.http.connections, &chain.stats);
    decide_head(connection, (&view, chain), (bytes, head_size), table).map(Some)
}

/// The same for a head of HTTP/2, which is in the table already, and is all of `bytes`.
///
/// # Errors
/// As [`decide`].
#[inline(never)]
pub(crate) fn decide_stream(
    connection: &Downstream,
    of: (&View, &Rc<CoreChain>),
    bytes: &[u8],
    table: RefMut<'_, HeadTable>,
) -> Result<(), Error> {
    decide_head(connection, of, (bytes, bytes.len()), table).map(|_| ())
}

/// In both of them: each has its own.
#[inline(always)]
fn decide_head(
    connection: &Downstream,
    (view, chain): (&View, &Rc<CoreChain>),
    (bytes, head_size): (&[u8], usize),
    mut table: RefMut<'_, HeadTable>,
) -> Result<usize, Error> {
    let worker = &*connection.worker;
    let (http, rules) = (&*chain.http, &chain.http.headers);
    let has_rules = !http.requests.is_none();
    if has_rules {
        prepare::fields(&http.requests, &mut table, bytes, &chain.stats)?;
    }
    if !http.routes.internal_only.is_empty() {
        prepare::internal_only(http, &mut table, bytes, |request| client::of(connection, rules, request));
    }
    let request = table.request(bytes);
    connection.version.set(request.version());
    connection.is_grpc.set(request.field(Known::ContentType).is_some_and(grpc::is_content_type));
    if request.version() == Version::Http10 {
        if !chain.http.http1.accept_http_10 {
            // Envoy: "low_version".
            return Err(Error { status: 426, ..Error::peer(Rule::Version) });
        }
        if request.authority().is_empty() {
            drop(table);
            return decide_with_host(connection, bytes, &chain.http.http1.default_host);
        }
    }
    // A start of the body that is wrong is refused before an origin sees anything.
    let body_size = match connection.stream.is_http2() {
        true => 0,
        false => check_body(request.framing(), &bytes[head_size..], worker)?,
    };
    chain.stats.downstream_rq_total.add(1);
    chain.stats.count_version(request.version() == Version::Http2);
    chain.stats.rq_total.add(1);
    let mut buffers;
    let (request, prepared) = if !has_rules {
        (request, Ok(false))
    } else {
        buffers = worker.prepared_head.borrow_mut();
        let local_port = || connection.addresses().0.map(|local| local.port());
        prepare::target(local_port, &http.requests, request, &mut buffers, &chain.stats)
    };
    let lines = &mut *worker.lines.borrow_mut();
    let mut hop = RequestHop::new(connection, rules, &request, lines);
    if request.expect_continue() && !chain.http.proxy_100_continue {
        hop.answer_expectation();
    }
    let counts_down = request.has(Known::MaxForwards) && matches!(request.method(), Method::Options | Method::Trace);
    let routed = match prepared {
        Ok(_) if counts_down && hop.count_down(&request).is_err() => Err(reply::last_hop(request.method()).into()),
        Ok(false) => routing::route(connection, view, chain, &request, &mut hop),
        Ok(true) => {
            let url = [request.path()];
            Err(routing::sent_to(worker, chain, &request, &hop, reply::PATH_REDIRECTED, &url))
        }
        Err(local) => Err(local.into()),
    };
    let request_id = hop.told_id(worker, rules, &request);
    let origin = if hop.is_internal { Origin::Internal } else { Origin::External };
    let mut record = chain.keeps_records().then(|| {
        let name = match &routed {
            Ok(forward) => &chain.http.routes.at(forward.position).route.name,
            Err(answer) => answer.route,
        };
        let mut record = worker.log.record(connection.began.get());
        record.method = request.method();
        record.version = request.version();
        record.downstream_received = head_size as u64;
        record.route = (!name.is_empty()).then(|| worker.core.chunk(name.as_bytes()));
        record
    });
    let then = match routed {
        Ok(forward) => {
            if let Some(record) = &mut record {
                record.request = Some(forward.head.clone());
                record.cluster = Some(Rc::clone(&forward.cluster));
                record.attempts = 1;
            }
            Then::Forward(forward)
        }
        Err(Answer { local, edited, .. }) => {
            count_local(&chain.stats, &local);
            // What follows a refused CONNECT or Upgrade may be meant for a tunnel: it is no request of ours.
            let is_tunnel = Tunnel::asked(&request).0 != Tunnel::Not;
            // Envoy: a bad request that could be framed may be told apart from the next by nobody else.
            let is_bad = local.status == 400 && !http.keeps_after_400;
            let must_close = is_bad || is_tunnel || connection.closes_after();
            // As Envoy: what is answered at its head leaves its body unread, and the connection ends with it. A client that sees
            // the answer may stop in the middle of the body.
            let is_unread = !matches!(request.framing(), Framing::None | Framing::Length(0));
            let close = must_close || is_unread || !request.keep_alive();
            let to = Reader {
                version: request.version(),
                head_only: request.method() == Method::Head,
                proper_case: chain.http.http1.proper_case,
                grpc: connection.is_grpc.get() && http.local_replies.is_none(),
            };
            let told = to.told(local);
            let mut response = match edited {
                true => reply::write_edited(worker, local, worker.fields.borrow().lines(), close, to),
                false => reply::write(worker, rules, request_id.as_ref(), local, close, to),
            };
            if let Some(record) = &mut record {
                record.request =
                    Some(hop.with(|edit| routing::write_request(worker, &request, edit, Spelling::AsReceived, false)));
                record.mark(Moment::RequestEnded, worker.core.now());
                record.local(&told, &response, worker.core.now());
            }
            let mut status = told.status;
            if let (Some(record), Some(_)) = (&mut record, &http.local_replies) {
                (status, response) = local_reply::map(connection, chain, record, response, local.body, close);
            }
            Then::Answer { response, status, complete: !close }
        }
    };
    let consumed = match then {
        Then::Answer { .. } => head_size + body_size,
        Then::Forward(_) => head_size,
    };
    *worker.decided.borrow_mut().place() = Some(Decision {
        method: request.method(),
        framing: request.framing(),
        keep_alive: request.keep_alive(),
        continues: request.expect_continue() && !chain.http.proxy_100_continue,
        chain: Rc::clone(chain),
        stream_idle: chain.http.stream_idle_timeout,
        record,
        request_id,
        origin,
        then,
    });
    Ok(consumed)
}

/// Decides about an HTTP/1.0 request without a Host as if it had said this one (`default_host_for_http_10`).
#[cold]
fn decide_with_host(connection: &Downstream, bytes: &[u8], host: &str) -> Result<usize, Error> {
    // The empty line that may come before the start line is two bytes.
    let line_end = bytes.iter().skip(2).position(|&byte| byte == b'\n').map(|at| at + 3);
    let (Some(line_end), false) = (line_end, host.is_empty()) else { return Err(Error::peer(Rule::HostMissing)) };
    let field = [b"Host: ", host.as_bytes(), b"\r\n"];
    let added: usize = field.iter().map(|part| part.len()).sum();
    let mut head = connection.worker.core.block(bytes.len() + added);
    for part in [&bytes[..line_end], field[0], field[1], field[2], &bytes[line_end..]] {
        head.extend_from_slice(part);
    }
    let consumed = decide(connection, &head, &mut HeadScan::default())?;
    Ok(consumed.expect("a whole head") - added)
}

/// Checks what came of the body together with its head; its size.
fn check_body(framing: Framing, bytes: &[u8], worker: &Worker) -> Result<usize, Error> {
    let mut decoder = BodyDecoder::new(framing);
    let mut at = 0;
    while !decoder.is_done() {
        let step = decoder.decode(&bytes[at..], &worker.codec_limits)?;
        at += step.consumed;
        if matches!(step.part, BodyPart::NeedMore) || (at == bytes.len() && !decoder.is_done()) {
            break;
        }
    }
    Ok(at)
}

fn count_local(stats: &HttpStats, local: &Local<'_>) {
    use ResponseFlag::{NC, NR};
    match local.flag {
        None if local.details.is_empty() => stats.rq_direct_response.add(1),
        Some(NR) => stats.no_route.add(1),
        Some(NC) => stats.no_cluster.add(1),
        None | Some(_) => {}
    }
}

//! The head of a response: decoded where it lies, and written anew for the client in the same call.
//!
//! It never sends anything and waits for nothing.

use ringway_model::format::Moment;
use ringway_protocols::http1::{Decoded, HeadEdit, HeadScan, decode_response, encode_response, response_head_size};
use ringway_protocols::{Error, Framing, Known, KnownSet, Method, Out, Response, Rule, Version, grpc};
use ringway_runtime::Chunk;

use super::{Exchange, Response as Progress};
use crate::grpc_stats::{Direction, count_end};
use crate::hop::ResponseHop;
use crate::http2::Http2Stream;
use crate::load::is_grpc_failure;
use crate::outbox::{Outbox, Spelling};
use crate::side::Side;
use crate::tunnel::Tunnel;
use crate::written::{Form, Written};

/// What the head of a response leads to.
pub(super) enum Seen {
    /// It is passed on.
    Head(ResponseHead),
    /// Another try is made.
    Refused { reusable: bool },
}

/// The head of a response, decoded and written for the client.
pub(super) struct ResponseHead {
    pub(super) consumed: usize,
    pub(super) status: u16,
    pub(super) out: Chunk,
    pub(super) framing: Framing,
    pub(super) framing_out: Framing,
    pub(super) upstream_keep_alive: bool,
    pub(super) close: bool,
    /// The body is in `out` too: it was short and there already.
    pub(super) whole: bool,
    /// What follows is a tunnel.
    pub(super) tunnels: bool,
    /// It is a gRPC response.
    pub(super) grpc: bool,
    /// Whether it is a success for load reports; `None`: its end will say, or nobody asks.
    pub(super) verdict: Option<bool>,
}

/// A body of at most this size that came with its head is copied behind the new head: one buffer to send is cheaper for
/// the kernel than two are, by more than the copy costs.
const BODY_COPIED_MAX: usize = 2048;

impl Exchange<'_> {
    /// Decodes a response's head and writes it for the client.
    pub(super) fn decode(&mut self, from: &Side, bytes: &[u8], scan: &mut HeadScan) -> Result<Option<Seen>, Error> {
        if let Side::Http2(stream) = from {
            return self.decode_stream(stream, bytes);
        }
        let mut table = self.worker().table.borrow_mut();
        let decoded = decode_response(bytes, scan, &mut table, &self.cluster.codec_limits, self.method)?;
        let Decoded::Complete { head: response, consumed } = decoded else { return Ok(None) };
        let framing = response.framing();
        self.pass(&response, &bytes[consumed..], framing, framing, false)
    }

    /// The same for the head of a stream, which was read when it came.
    #[inline(never)]
    fn decode_stream(&mut self, stream: &Http2Stream, bytes: &[u8]) -> Result<Option<Seen>, Error> {
        let table = stream.take_table().expect("a head comes with its table");
        let response = table.response(bytes);
        // The end of a stream is the end of its message.
        let framing = if stream.is_finished() { Framing::None } else { Framing::UntilClose };
        // Who has content to say on HTTP/1 and says none, says so.
        let has_none = self.method == Method::Head || matches!(response.status(), 100..200 | 204 | 304);
        let told = match framing {
            Framing::None if !self.connection.stream.is_http2() && !has_none => Framing::Length(0),
            _ => response.framing(),
        };
        let seen = self.pass(&response, &[], framing, told, true);
        self.worker().http2.borrow_mut().give_table(table);
        seen
    }

    /// Writes a head for the client. `framing`: how its body comes, of which this `rest` came with it; `told`: what the head says of that.
    /// `keeps`: the connection that it came on lives on whatever it says.
    #[inline(always)]
    fn pass(
        &mut self,
        response: &Response<'_>,
        rest: &[u8],
        mut framing: Framing,
        mut told: Framing,
        keeps: bool,
    ) -> Result<Option<Seen>, Error> {
        let worker = self.worker();
        let consumed = response.bytes().len();
        let status = response.status();
        let tunnels = self.tunnel.begins(status, response);
        if status == 101 && !tunnels || tunnels && !self.upload.is_done() {
            // Nobody asked, or not all of what was to come first has come (RFC 9110 §7.8).
            return Err(Error::peer(Rule::StatusLine));
        }
        if tunnels && self.crosses() && !self.handshake.is_answered_by(response) {
            return Err(Error::peer(Rule::WebSocketAccept));
        }
        let is_final = status >= 200 || tunnels;
        let to_http2 = self.connection.stream.is_http2();
        if self.retry.is_some() && status >= 200 && self.refuses(response) {
            let is_whole = framing == Framing::None || framing == Framing::Length(rest.len() as u64);
            let reusable = is_whole && response.keep_alive() && self.upload.is_done();
            return Ok(Some(Seen::Refused { reusable }));
        }
        let http10 = self.connection.version.get() == Version::Http10;
        let is_missed = self.tunnel.is_missed_by(status);
        if is_missed {
            (framing, told) = (Framing::None, Framing::None);
        }
        let framing_out = match told {
            // The end of the stream says it.
            Framing::UntilClose | Framing::Chunked if to_http2 => Framing::None,
            Framing::None if is_missed && self.method != Method::Head && !matches!(status, 204 | 304) => {
                Framing::Length(0)
            }
            // HTTP/1.0 has no chunks (RFC 9112 §7.1).
            Framing::UntilClose | Framing::Chunked if http10 => Framing::UntilClose,
            // A body that ends with the connection gets an end of its own.
            Framing::UntilClose => Framing::Chunked,
            framing => framing,
        };
        let ends = !self.keep_alive || !self.upload.is_done() || self.connection.closes_after();
        let close = (status >= 200 && !tunnels && ends) || framing_out == Framing::UntilClose;
        let now = worker.core.now();
        // A request for a tunnel has no end (Envoy).
        let is_ordinary = self.tunnel == Tunnel::Not;
        let service_time = self.requested_at.filter(|_| is_ordinary).map(|since| now.saturating_duration_since(since));
        let rules = &self.chain.http.headers;
        let attempts = self.attempts_told();
        let (id, lines) = (self.request_id.as_ref(), &mut *worker.lines.borrow_mut());
        let hop = ResponseHop::new((worker, lines), rules, id, response, is_final, service_time, attempts);
        let mut fields = worker.fields.borrow_mut();
        let changes = self.edit.as_ref().filter(|_| is_final);
        if let Some(changes) = changes {
            changes.apply(self.connection, self.cluster, Some(response), &hop, &mut fields);
        }
        let whole = !to_http2 && rest.len() <= BODY_COPIED_MAX && framing == Framing::Length(rest.len() as u64);
        let body: &[u8] = if whole { rest } else { &[] };
        let drop = if is_missed { KnownSet::NONE.with(Known::ContentType) } else { KnownSet::NONE };
        let form = HeadEdit { upgrade: self.tunnel.is_upgrade(), http10, drop, ..HeadEdit::default() };
        let write = |edit: &HeadEdit<'_>| {
            let spelling = Spelling::of(&self.cluster.config.http1, &self.chain.http.http1);
            let form = Form::of(response.id().filter(|_| body.is_empty()), (framing_out, close), edit, spelling);
            Written::or(&worker.response_written, form, edit.lines, || {
                let mut out = Outbox::new(&worker.core, response_head_size(response, edit) + body.len());
                encode_response(response, framing_out, close, edit, &mut out);
                out.put(body);
                out.finish_spelled(spelling, response.fields().map(|field| field.name))
            })
        };
        let out = match changes {
            None => hop.with(response.has(Known::XEnvoy), form, write),
            Some(_) => write(&HeadEdit { removed: fields.removed(), lines: fields.lines(), ..form }),
        };
        let out = if tunnels && self.crosses() { self.handshake.response(&worker.core, out) } else { out };
        let consumed = consumed + body.len();
        let verdict = if is_final { self.verdict(response) } else { None };
        let grpc = is_final && self.count_head(response, body);
        let upstream_keep_alive = keeps || response.keep_alive() && framing != Framing::UntilClose;
        let head = ResponseHead {
            consumed,
            status,
            out,
            framing,
            framing_out,
            upstream_keep_alive,
            close,
            whole,
            tunnels,
            grpc,
            verdict,
        };
        Ok(Some(Seen::Head(head)))
    }

    /// What load reports count it as.
    #[inline]
    fn verdict(&self, response: &Response<'_>) -> Option<bool> {
        if !self.is_unjudged() {
            return None;
        }
        match (response.status() >= 500, self.connection.is_grpc.get(), response.field(Known::GrpcStatus)) {
            (true, ..) => Some(false),
            (false, false, _) => Some(true),
            (false, true, None) => None,
            (false, true, Some(text)) => {
                let status = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
                Some(!is_grpc_failure(status))
            }
        }
    }

    /// Counts what the head of a gRPC response says, and the messages of a body that goes with it; whether it is one.
    fn count_head(&self, response: &Response<'_>, body: &[u8]) -> bool {
        let (Some(stats), Some(mut meter)) = (&self.grpc, self.meter(Direction::FromCluster)) else { return false };
        count_end(stats, response.field(Known::GrpcStatus));
        let is_grpc = response.field(Known::ContentType).is_some_and(grpc::is_content_type);
        if is_grpc {
            meter.content(body);
        }
        is_grpc
    }

    pub(super) fn begin(&mut self, head: &ResponseHead) {
        self.response = Progress::Begun;
        if let Some(is_successful) = head.verdict {
            self.judge(is_successful);
        }
        self.begin_response();
        self.keep_alive &= !head.close;
        self.stats.count_status(head.status);
        self.cluster_stats.count_status(self.origin, head.status);
        self.active_at = self.worker().core.now();
        let is_missed = self.tunnel.is_missed_by(head.status);
        self.note(|record, now| {
            record.status = head.status;
            record.details = if is_missed { "websocket_handshake_unsuccessful" } else { "via_upstream" };
            record.is_bare = is_missed;
            record.response = Some(head.out.clone());
            record.downstream_sent += head.out.len() as u64;
            record.upstream_received += head.consumed as u64;
            if let (true, Framing::Length(length)) = (head.whole, head.framing) {
                record.body_sent = length;
            }
            record.mark(Moment::AnswerBegan, now);
        });
    }
}

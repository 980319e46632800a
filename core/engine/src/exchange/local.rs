//! Answers of our own in the place of an upstream's.
//!
//! Invariant: a client gets one response: once one has begun, it can only be cut short.

use ringway_observe::ResponseFlag;
use ringway_protocols::Method;

use super::{Exchange, Response};
use crate::connection::After;
use crate::hop::RouterFields;
use crate::local_reply;
use crate::reply::{self, Failure, Local, Reader};

impl Exchange<'_> {
    /// Ends the exchange for this reason; where there are rules for tries, they have it first.
    pub(super) fn answer(&mut self, failure: Failure) -> After {
        if self.retry.is_some() {
            return self.answer_tries(failure);
        }
        self.answer_local(failure.local(), failure == Failure::Overflow)
    }

    /// Ends the exchange with a reply of our own, if the response has not begun; else ends the response where it is.
    pub(super) fn answer_local(&mut self, local: Local<'_>, is_overloaded: bool) -> After {
        if self.response == Response::Begun {
            self.stats.rq_reset_after_downstream_response_started.add(1);
            self.stats.downstream_rq_tx_reset.add(1);
            self.connection.is_cut.set(true);
            if !self.connection.stream.is_http2() {
                self.stats.downstream_cx_destroy_local_active_rq.add(1);
            }
            self.note(|record, _| record.cut(local.flag, local.details));
            // What came is delivered, and then the end: it is shorter than its framing says, so that nobody takes it for the whole.
            return After::Linger;
        }
        let worker = self.worker();
        let complete = self.upload.is_done();
        let close = !self.keep_alive || !complete || self.connection.closes_after();
        self.cluster_stats.count_status(self.origin, local.status);
        self.stats.downstream_rq_completed.add(1);
        let to = Reader {
            version: self.connection.version.get(),
            head_only: self.method == Method::Head,
            proper_case: self.chain.http.http1.proper_case,
            grpc: self.connection.is_grpc.get() && self.chain.http.local_replies.is_none(),
        };
        let told = to.told(local);
        let (rules, id) = (&self.chain.http.headers, self.request_id.as_ref());
        let why = match local.flag {
            _ if rules.suppress_envoy_headers => None,
            Some(ResponseFlag::DO) => Some("x-envoy-drop-overload"),
            Some(ResponseFlag::UDO) => Some("x-envoy-unconditional-drop-overload"),
            _ => is_overloaded.then_some("x-envoy-overloaded"),
        };
        let routers = RouterFields::new(why, self.attempts_told());
        let mut reply = match &self.edit {
            None => reply::write_lines(worker, rules, id, local, routers.lines(), close, to),
            Some(edit) => {
                let fields = &mut worker.fields.borrow_mut();
                edit.apply_local(self.connection, self.cluster, !local.body.is_empty(), id, &routers, fields);
                reply::write_edited(worker, local, fields.lines(), close, to)
            }
        };
        self.note(|record, now| record.local(&told, &reply, now));
        let mut status = told.status;
        if let (Some(record), Some(_)) = (&mut self.record, &self.chain.http.local_replies) {
            (status, reply) = local_reply::map(self.connection, self.chain, record, reply, local.body, close);
        }
        self.stats.count_status(status);
        self.stats.downstream_cx_tx_bytes_total.add(reply.len() as u64);
        self.connection.stream.send_whole(reply);
        if close { After::Linger } else { After::KeepAlive }
    }
}

//! What goes out on a connection: heads at once, content when its port has its turn, all of a turn in one send.

use std::task::Context;

use ringway_protocols::Method;
use ringway_protocols::http2::message::{write_request, write_response};
use ringway_protocols::http2::{Code, Role};
use ringway_runtime::{Chunk, Core};
use slab::Slab;

use super::link::{Link, PortId, State, enqueue, place};
use super::meter::Held;
use super::port::{AskedFor, Port, Reset, Sent, Turn};
use super::scratch::Scratch;

/// Bytes of content that one turn of a connection sends at most before others have theirs.
pub(super) const PUMPED_PER_TURN_MAX: usize = 512 * 1024;

/// How a head goes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HeadForm {
    /// It is the whole message.
    pub(crate) ends: bool,
    /// It asks for a tunnel that travels on, or grants one.
    pub(crate) tunnel: bool,
    /// Its fields are to be kept out of every table (RFC 7541 §7.1.3).
    pub(crate) never_indexed: bool,
    /// A request's scheme.
    pub(crate) is_https: bool,
}

impl Link {
    /// Sends what may go; ready when all that is possible now is with the socket.
    pub(super) fn pump(&self, context: &mut Context<'_>) {
        let State { codec, socket, ports, out, sending, unsettled, pending, .. } = &mut *self.state.borrow_mut();
        let Some(socket) = socket else { return };
        let scratch = &mut *self.scratch.borrow_mut();
        codec.unsent(socket.unsent() + out.len());
        let mut budget = PUMPED_PER_TURN_MAX;
        while let Some(id) = sending.pop_front() {
            if socket.unsent() + out.len() > self.unsent_high {
                // The rest goes when the peer has taken of it.
                sending.push_front(id);
                settle_outbound(ports, unsettled, &self.core);
                if !out.is_empty() {
                    out.flush(socket);
                }
                let _wakes = socket.poll_unsent_below(context, self.unsent_high / 2);
                break;
            }
            if budget == 0 {
                sending.push_front(id);
                settle_outbound(ports, unsettled, &self.core);
                context.waker().wake_by_ref();
                break;
            }
            let Some(port) = ports.get_mut(id) else { continue };
            let (before, waited) = (out.len(), port.unsent());
            let turn = port.send(codec, scratch, out);
            *pending -= waited - port.unsent();
            budget = budget.saturating_sub(out.len() - before);
            match turn {
                Turn::More => sending.push_back(id),
                Turn::Blocked if codec.window() <= 0 => {
                    // All wait for the connection's window, in their turn.
                    sending.push_front(id);
                    settle_outbound(ports, unsettled, &self.core);
                    break;
                }
                Turn::Blocked => {
                    port.is_queued = false;
                    port.settle_outbound(&self.core);
                }
                Turn::Done => port.is_queued = false,
            }
            port.forget_if_over();
        }
        if sending.is_empty() {
            for id in unsettled.drain(..) {
                if let Some(port) = ports.get_mut(id) {
                    port.is_unsettled = false;
                }
            }
        }
        if !out.is_empty() {
            out.flush(socket);
        }
        self.meter.holds(Held { streams: codec.active(), pending: *pending, memory: codec.memory() });
    }

    /// Sends a head of ours.
    pub(super) fn send_head(&self, id: PortId, head: &[u8], form: HeadForm) {
        let State { codec, ports, by_key, out, reserved, end, .. } = &mut *self.state.borrow_mut();
        let port = &mut ports[id];
        if end.is_some() && port.key.is_none() {
            port.break_off(Reset { code: Code::REFUSED_STREAM, is_unprocessed: true, is_ours: false });
            return;
        }
        let Scratch { lower, coded, .. } = &mut *self.scratch.borrow_mut();
        let HeadForm { ends, tunnel, never_indexed, is_https } = form;
        match (codec.role(), port.key) {
            (Role::Server, Some(key)) if !port.is_over && matches!(port.sent, Sent::Open) => {
                codec.send_headers(key, ends, coded, out, |fields| {
                    write_response(head, tunnel, never_indexed, lower, fields);
                });
            }
            (Role::Client, None) => {
                port.asked = Some(asked_for(head, tunnel));
                let key = codec.send_request(ends, coded, out, |fields| {
                    let scheme: &[u8] = if is_https { b"https" } else { b"http" };
                    write_request(head, scheme, tunnel, never_indexed, lower, fields);
                });
                match key {
                    Some(key) => {
                        *reserved -= 1;
                        port.key = Some(key);
                        place(by_key, key, id);
                    }
                    // The peer has said GOAWAY since.
                    None => {
                        port.break_off(Reset { code: Code::REFUSED_STREAM, is_unprocessed: true, is_ours: false });
                    }
                }
            }
            _ => return,
        }
        if ends && matches!(port.sent, Sent::Open) {
            port.sent = Sent::Ended;
            port.forget_if_over();
        }
        self.wake();
    }

    /// Queues content of a stream.
    pub(super) fn send_data(&self, id: PortId, chunk: Chunk) {
        let State { ports, sending, unsettled, pending, .. } = &mut *self.state.borrow_mut();
        let port = &mut ports[id];
        if !port.is_over && matches!(port.sent, Sent::Open) && !chunk.is_empty() {
            *pending += chunk.len();
            if !port.is_unsettled {
                port.is_unsettled = true;
                unsettled.push(id);
            }
            port.push_outbound(chunk);
            enqueue(ports, sending, id);
            self.wake();
        }
    }

    /// The message ends behind what was queued, with trailers or without.
    pub(super) fn end(&self, id: PortId, trailers: Option<Chunk>) {
        let State { codec, socket, ports, out, sending, unsettled, pending, .. } = &mut *self.state.borrow_mut();
        let port = &mut ports[id];
        if matches!(port.sent, Sent::Open) {
            port.sent = trailers.map_or(Sent::Ending, Sent::Trailers);
            let waited = port.unsent();
            // What needs no window waits for nobody's turn; and where nobody else has something to send, it is this one's: it is over before its task
            // rests.
            let is_alone = || sending.len() == 1 && sending.front() == Some(&id);
            let has_room = || socket.as_ref().is_some_and(|socket| socket.unsent() + out.len() <= self.unsent_high);
            if waited == 0 || is_alone() && has_room() {
                let turn = port.send(codec, &mut self.scratch.borrow_mut(), out);
                *pending -= waited - port.unsent();
                if waited > 0 && turn == Turn::Done {
                    port.is_queued = false;
                    sending.clear();
                    if unsettled.pop_if(|last| *last == id).is_some() {
                        port.is_unsettled = false;
                    }
                }
                port.forget_if_over();
            } else {
                enqueue(ports, sending, id);
            }
            self.wake();
        }
    }
}

/// What the response to a head of ours has to know of it.
fn asked_for(head: &[u8], tunnel: bool) -> AskedFor {
    let method = head.split(|&byte| byte == b' ').next().map_or(Method::Other, Method::from_token);
    let lines = || head.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let upgrade = || {
        const NAME: &[u8] = b"upgrade: ";
        let line = lines().find(|line| line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME))?;
        Some(Box::from(&line[NAME.len()..]))
    };
    AskedFor { method, upgrade: if tunnel && method != Method::Connect { upgrade() } else { None } }
}

/// What waits on the way out lies in no receive chunk any more.
fn settle_outbound(ports: &mut Slab<Port>, unsettled: &mut Vec<PortId>, core: &Core) {
    for id in unsettled.drain(..) {
        if let Some(port) = ports.get_mut(id) {
            port.is_unsettled = false;
            port.settle_outbound(core);
        }
    }
}

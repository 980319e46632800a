//! The response on its way to the client, while the rest of the request goes up: its heads, its content, its end.
//!
//! Whether another try is made is for `again` to say; here is only what happened to this one.

use std::future::poll_fn;
use std::task::{Context, Poll};

use ringway_model::format::Moment;
use ringway_protocols::http1::HeadScan;
use ringway_protocols::{Framing, Rule, Version};
use ringway_runtime::{BlockMut, Chunk};

use super::response_head::{ResponseHead, Seen};
use super::{Exchange, Response, Stop};
use crate::grpc_stats::{Direction, Meter};
use crate::http2::{HeadForm, Http2Stream};
use crate::load::is_grpc_failure;
use crate::pool::Upstream;
use crate::relay::{Relay, RelayError};
use crate::reply::Failure;
use crate::side::Side;
use crate::tunnel::Tunnel;

impl Exchange<'_> {
    /// Awaits the response's final head, with which it begins, while the rest of the request goes up; and what came behind it.
    async fn final_head(&mut self, upstream: &Upstream) -> Result<(ResponseHead, Chunk), Stop> {
        let mut scan = HeadScan::default();
        let mut held: Option<BlockMut> = None;
        let mut interims = 0;
        self.heard = false;
        loop {
            let chunk = poll_fn(|context| self.poll_awaiting(context, &upstream.stream)).await?;
            self.heard = true;
            self.note(|record, now| record.mark(Moment::ResponseBegan, now));
            let bytes = match held.take() {
                None => Err(chunk),
                Some(block) => Ok(self.worker().append(block, &chunk)),
            };
            let decoded = match &bytes {
                Ok(block) => self.decode(&upstream.stream, block, &mut scan),
                Err(chunk) => self.decode(&upstream.stream, chunk, &mut scan),
            };
            match decoded {
                Ok(None) => held = Some(bytes.unwrap_or_else(|chunk| self.worker().copy(&chunk))),
                Ok(Some(Seen::Refused { reusable })) => return Err(Stop::Refused { reusable }),
                Ok(Some(Seen::Head(mut head))) => {
                    let bytes = bytes.map_or_else(|chunk| chunk, BlockMut::freeze);
                    let rest = bytes.slice(head.consumed..bytes.len());
                    if self.tunnel == Tunnel::Terminated {
                        head.consumed = 0; // said by ourselves
                    }
                    self.cluster_stats.upstream_cx_rx_bytes_total.add(head.consumed as u64);
                    if head.status >= 200 || head.tunnels {
                        self.begin(&head);
                        return Ok((head, rest));
                    }
                    // An interim response: pass it on, and read the next head (RFC 9110 §15.2).
                    interims += 1;
                    if interims > self.worker().limits.interim_responses_max {
                        self.cluster_stats.upstream_cx_protocol_error.add(1);
                        return Err(Stop::Fail(Failure::UpstreamProtocol));
                    }
                    if self.passes_interim(head.status) && !(self.continued && head.status == 100) {
                        self.continued |= head.status == 100;
                        self.connection.stream.send_head(head.out, HeadForm::default());
                    }
                    scan = HeadScan::default();
                    self.heard = !rest.is_empty();
                    if !rest.is_empty() {
                        upstream.stream.unread(rest);
                    }
                }
                Err(error) => {
                    self.cluster_stats.upstream_cx_protocol_error.add(1);
                    return Err(Stop::Fail(match error.rule {
                        Rule::WebSocketAccept => Failure::Handshake,
                        _ => Failure::UpstreamProtocol,
                    }));
                }
            }
        }
    }

    /// Sends the rest of the request and brings the response to the client. `true`: the connection may be reused.
    ///
    #[expect(clippy::manual_async_fn, reason = "an async fn keeps its arguments twice, as its own and as locals")]
    pub(super) fn respond(&mut self, upstream: &Upstream) -> impl Future<Output = Result<bool, Stop>> {
        async move {
            // Taken apart at once: what is not needed any more is not kept as long as the content takes.
            let (
                ResponseHead {
                    out, framing, framing_out, whole: is_at_hand, tunnels, grpc, upstream_keep_alive, ..
                },
                rest,
            ) = self.final_head(upstream).await?;
            self.stats.downstream_cx_tx_bytes_total.add(out.len() as u64);
            let is_empty = matches!(framing, Framing::None | Framing::Length(0));
            let framing = if is_at_hand { Framing::None } else { framing };
            let unsent_max = self.chain.unsent_max;
            let mut download = Relay::new(framing, framing_out).within(unsent_max);
            let form = HeadForm {
                ends: download.is_done() && !tunnels,
                tunnel: tunnels,
                never_indexed: upstream.stream.http2().is_some_and(Http2Stream::never_indexed),
                is_https: false,
            };
            self.connection.stream.send_head(out, form);
            download.trailers = self.passes_trailers();
            download.grpc = if grpc { self.meter(Direction::FromCluster) } else { None };
            let mut whole = Ok(());
            // An empty slice, too, would keep its chunk from going home as long as the body takes.
            let rest = Some(rest).filter(|rest| !rest.is_empty());
            if tunnels {
                if let Some(rest) = rest {
                    upstream.stream.unread(rest);
                }
                self.upload.open_tunnel();
                download = Relay::tunnel().within(unsent_max);
                self.deadline = None;
                self.arm();
            } else if let Some(rest) = rest {
                if download.is_done() {
                    upstream.stream.unread(rest);
                } else {
                    // Fed directly: it needs no second look at the socket.
                    let fed = download.feed(self.worker(), rest, &upstream.stream, &self.connection.stream);
                    whole = fed.map_err(|error| self.cut(&error));
                }
            }
            if tunnels || whole.is_ok() && !download.is_done() {
                // One place to wait in: what lives in two has memory of its own while the head is waited for, too.
                whole = poll_fn(|context| match tunnels {
                    true => self.poll_tunnel(context, &mut download, &upstream.stream),
                    false => self.poll_body(context, &mut download, &upstream.stream),
                })
                .await;
            }
            let stats = self.cluster_stats;
            stats.upstream_cx_rx_bytes_total.add(download.received);
            stats.upstream_cx_tx_bytes_total.add(self.upload.sent);
            self.stats.downstream_cx_tx_bytes_total.add(download.sent);
            self.stats.downstream_cx_rx_bytes_total.add(self.upload.received);
            let is_whole = whole.is_ok();
            if is_whole && self.is_unjudged() {
                // A gRPC call, whose end says what became of it.
                self.judge(!is_grpc_failure(download.grpc_status.map(u32::from)));
            }
            if self.grpc.is_some() {
                self.is_ended |= is_empty || download.grpc.as_ref().is_some_and(Meter::is_ended);
            }
            self.note(|record, now| {
                record.body_sent += download.given();
                record.grpc_status = download.grpc_status.map(u32::from);
                record.downstream_sent += download.sent;
                record.upstream_received += download.received;
                if is_whole {
                    record.mark(Moment::ResponseEnded, now);
                    record.mark(Moment::AnswerEnded, now);
                }
            });
            whole?;
            if !upstream_keep_alive {
                self.cluster_stats.upstream_cx_close_notify.add(1);
            }
            Ok(upstream_keep_alive && self.upload.is_done() && self.tunnel == Tunnel::Not)
        }
    }

    /// Until the first bytes of a response: the request's body goes up, the timeouts run, the client is watched.
    fn poll_awaiting(&mut self, context: &mut Context<'_>, upstream: &Side) -> Poll<Result<Chunk, Stop>> {
        if !self.upload.is_done()
            && let Some(stop) = self.poll_upload(context, upstream)
        {
            return Poll::Ready(Err(stop));
        }
        match upstream.poll_recv(context) {
            Poll::Ready(Ok(Some(chunk))) => return Poll::Ready(Ok(chunk)),
            Poll::Ready(Ok(None) | Err(_)) if self.heard => {
                return Poll::Ready(Err(Stop::Fail(Failure::UpstreamProtocol)));
            }
            Poll::Ready(Ok(None) | Err(_)) => return Poll::Ready(Err(Stop::Died)),
            Poll::Pending => {}
        }
        if let Some(error) = self.poll_client(context) {
            return Poll::Ready(Err(Stop::Client(error)));
        }
        self.poll_expired(context).map(|failure| Err(Stop::Fail(failure)))
    }

    /// Until the last byte of the response; a request's body may still be on its way up.
    fn poll_body(
        &mut self,
        context: &mut Context<'_>,
        download: &mut Relay,
        upstream: &Side,
    ) -> Poll<Result<(), Stop>> {
        if !self.upload.is_done()
            && let Some(stop) = self.poll_upload(context, upstream)
        {
            return Poll::Ready(Err(stop));
        }
        if let Poll::Ready(result) = download.poll(context, self.worker(), upstream, &self.connection.stream) {
            return Poll::Ready(result.map_err(|error| self.cut(&error)));
        }
        // What a pump holds for a slow client goes bit by bit.
        let moved = self.upload.moved + self.upload.sent + download.moved + download.sent;
        if moved != self.moved {
            self.moved = moved;
            self.active_at = self.worker().core.now();
        }
        // A socket's end shows when it takes no more; a stream's is told, and its upstream may be silent for long.
        if self.connection.stream.is_http2()
            && let Some(error) = self.poll_client(context)
        {
            return Poll::Ready(Err(Stop::Client(error)));
        }
        self.poll_expired(context).map(|failure| Err(Stop::Fail(failure)))
    }

    /// Whether trailers pass: both sides have to have them (Envoy, `enable_trailers`).
    pub(super) fn passes_trailers(&self) -> bool {
        (self.chain.http.http1.trailers || self.connection.stream.is_http2())
            && (self.cluster.config.http1.trailers || self.to_http2)
    }

    /// Whether an interim response is the client's affair: HTTP/1.0 has none, and a 100 only where it is the origin's to say
    /// (RFC 9110 §15.2).
    fn passes_interim(&self, status: u16) -> bool {
        self.connection.version.get() != Version::Http10 && (status != 100 || self.chain.http.proxy_100_continue)
    }

    /// Moves the request's body. An upstream that stops taking it may still answer: only the client's faults stop it.
    fn poll_upload(&mut self, context: &mut Context<'_>, upstream: &Side) -> Option<Stop> {
        match self.upload.poll(context, self.worker(), &self.connection.stream, upstream) {
            Poll::Ready(Ok(())) => {
                self.request_ended();
                self.arm();
                None
            }
            Poll::Ready(Err(RelayError::Sink)) | Poll::Pending => {
                let moved = self.upload.moved + self.upload.sent;
                if self.moved != moved && self.response == Response::Awaited {
                    self.moved = moved;
                    self.active_at = self.worker().core.now();
                }
                None
            }
            Poll::Ready(Err(error)) => Some(Stop::Client(error)),
        }
    }

    /// What it means that the response's body broke off. By the rules of the two sides only the upstream can have
    /// broken them; a client that went away is its own affair.
    fn cut(&self, error: &RelayError) -> Stop {
        match error {
            RelayError::Sink => Stop::Client(RelayError::Source),
            RelayError::Malformed(_) => {
                self.cluster_stats.upstream_cx_protocol_error.add(1);
                Stop::Fail(Failure::UpstreamProtocol)
            }
            RelayError::Source => Stop::Fail(Failure::Reset),
        }
    }
}

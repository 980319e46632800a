//! What a connection of HTTP/2 counts, on its side of the statistics and for its worker.
//!
//! Gauges are told of what has changed since they were told last, and of the rest when the connection goes.

use std::cell::Cell;
use std::sync::Arc;

use ringway_observe::{ClusterStats, Http2Stats, HttpStats};
use ringway_protocols::Rule;
use ringway_protocols::http2::Code;

use crate::message::Shared;

/// Whose connection it is.
pub(super) enum Of {
    Manager(Arc<HttpStats>),
    Cluster(Arc<ClusterStats>),
}

/// What gauges show of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Held {
    pub(super) streams: u32,
    /// Bytes of content that wait for a window.
    pub(super) pending: usize,
    /// Bytes of heap that the codec holds.
    pub(super) memory: usize,
}

/// See the module.
pub(super) struct Meter {
    of: Of,
    shared: Arc<Shared>,
    told: Cell<Held>,
}

impl Meter {
    pub(super) fn new(of: Of, shared: &Arc<Shared>) -> Self {
        shared.http2.connections.add(1);
        Self { of, shared: Arc::clone(shared), told: Cell::default() }
    }

    pub(super) fn stats(&self) -> &Http2Stats {
        match &self.of {
            Of::Manager(stats) => stats.http2.write(),
            Of::Cluster(stats) => stats.http2.write(),
        }
    }

    /// A stream was broken off.
    #[cold]
    pub(super) fn reset(&self, code: Code, rule: Option<Rule>) {
        let stats = self.stats();
        match rule {
            None => {
                stats.rx_reset.add(1);
                if code == Code::REFUSED_STREAM {
                    stats.stream_refused_errors.add(1);
                }
            }
            Some(rule) => {
                stats.tx_reset.add(1);
                if rule == Rule::HeadTooLarge {
                    stats.header_overflow.add(1);
                } else {
                    stats.rx_messaging_error.add(1);
                }
            }
        }
    }

    /// The connection was ended for this rule.
    #[cold]
    pub(super) fn failed(&self, rule: Rule) {
        let stats = self.stats();
        stats.goaway_sent.add(1);
        let counter = match rule {
            Rule::TooManyResets => &stats.reset_flood,
            Rule::TooManySettings => &stats.settings_flood,
            Rule::TooManyPings => &stats.ping_flood,
            Rule::TooManyPriorities => &stats.inbound_priority_frames_flood,
            Rule::TooManyWindowUpdates => &stats.inbound_window_update_frames_flood,
            Rule::TooManyEmptyFrames => &stats.inbound_empty_frames_flood,
            Rule::TooManyContinuations => &stats.continuation_flood,
            Rule::FieldBlockTooLarge => &stats.header_overflow,
            Rule::TooManyFramesUnsent => &stats.outbound_flood,
            Rule::TooManyAnswersUnsent => &stats.outbound_control_flood,
            Rule::TooManyGlitches => &stats.glitch_flood,
            _ => return,
        };
        counter.add(1);
    }

    /// What is held now.
    #[inline]
    pub(super) fn holds(&self, held: Held) {
        let told = self.told.replace(held);
        let stats = self.stats();
        if told.streams != held.streams {
            let by = i64::from(held.streams) - i64::from(told.streams);
            change(&stats.streams_active, by);
            change(&self.shared.http2.streams, by);
        }
        if told.pending != held.pending {
            change(&stats.pending_send_bytes, held.pending as i64 - told.pending as i64);
        }
        if told.memory != held.memory {
            change(&self.shared.http2.memory_bytes, held.memory as i64 - told.memory as i64);
        }
    }
}

fn change(gauge: &ringway_observe::Gauge, by: i64) {
    if by >= 0 { gauge.add(by as u64) } else { gauge.sub(by.unsigned_abs()) }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.holds(Held::default());
        self.shared.http2.connections.sub(1);
    }
}

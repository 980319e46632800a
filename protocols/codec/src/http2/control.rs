//! Frames that carry no message: SETTINGS, PING, GOAWAY, WINDOW_UPDATE, RST_STREAM, PRIORITY.
//!
//! Each is answered at once where it has to be, and each is counted. It never touches content or fields.

use super::Role;
use super::code::Code;
use super::connection::{Connection, PeerLeaving};
use super::event::Event;
use super::fault::Call;
use super::frame::{self, ACK, Header, PRIORITY_BYTES, STREAM_MAX};
use super::window::{self, MEASURE, WINDOW_INITIAL};
use crate::error::Rule;
use crate::out::Out;

/// WINDOW_UPDATE frames that a peer may send whatever it got, and as many for each stream and again for each DATA frame's worth, as Envoy counts.
const WINDOW_UPDATES_FREE: u32 = 5;
/// A shut window that opens by less than this is a glitch: it asks for a frame for hardly any bytes (CVE-2019-9511).
const WINDOW_TINY: u32 = 16;

impl Connection {
    /// RFC 9113 §5.3.2: told, and of no meaning any more.
    pub(super) fn priority(&mut self, header: Header, payload: &[u8]) -> Result<Option<Event>, Rule> {
        if header.stream == 0 {
            return Err(Rule::FrameStream);
        }
        if payload.len() != PRIORITY_BYTES {
            return Err(Rule::FrameSize);
        }
        if frame::number(payload, 0) & STREAM_MAX == header.stream {
            return Err(Rule::SelfDependency);
        }
        self.counts.priorities = self.counts.priorities.saturating_add(1);
        let allowed = u64::from(self.limits.max_inbound_priority_frames_per_stream);
        if u64::from(self.counts.priorities) > allowed * (1 + u64::from(self.counts.streams)) {
            return Err(Rule::TooManyPriorities);
        }
        Ok(None)
    }

    /// RFC 9113 §6.4.
    pub(super) fn rst_stream(
        &mut self,
        header: Header,
        payload: &[u8],
        call: &mut Call<'_, impl Out>,
    ) -> Result<Option<Event>, Rule> {
        if header.stream == 0 {
            return Err(Rule::FrameStream);
        }
        if payload.len() != 4 {
            return Err(Rule::FrameSize);
        }
        let Some(key) = self.streams.find(header.stream) else {
            if self.is_idle(header.stream) {
                return Err(Rule::StreamIdle);
            }
            self.glitch(call.now)?; // it crossed the end of the stream
            return Ok(None);
        };
        let code = Code(frame::number(payload, 0));
        let receives = self.streams.get(key).is_some_and(|stream| stream.receives());
        // A server that has answered may well not want the rest of the request (RFC 9113 §8.1).
        if self.role == Role::Server || receives {
            self.spend_reset(call.now)?;
        }
        self.end_stream(key, false);
        Ok(Some(Event::Reset { key, code, rule: None, unprocessed: code == Code::REFUSED_STREAM }))
    }

    /// RFC 9113 §6.5.
    pub(super) fn settings(
        &mut self,
        header: Header,
        payload: &[u8],
        call: &mut Call<'_, impl Out>,
    ) -> Result<Option<Event>, Rule> {
        if header.stream != 0 {
            return Err(Rule::FrameStream);
        }
        if header.has(ACK) {
            if !payload.is_empty() {
                return Err(Rule::FrameSize);
            }
            self.acknowledged(call)?;
            return Ok(None);
        }
        if self.told && !self.budgets.settings.spend(self.limits.settings, call.now) {
            return Err(Rule::TooManySettings);
        }
        self.told = true;
        let before = i64::from(self.peer.initial_window_size);
        let encoder = &mut self.encoder;
        self.peer.read(self.role, payload, &self.limits, |size| encoder.allowed(size as usize))?;
        let more = i64::from(self.peer.initial_window_size) - before;
        if more != 0 {
            // RFC 9113 §6.9.2: of every stream, and it may go below zero.
            for stream in self.streams.iter_mut() {
                stream.window = window::opened(stream.window, more).ok_or(Rule::WindowOverflow)?;
            }
        }
        self.answer(&frame::settings_ack(), call.out)?;
        Ok(Some(Event::Settings))
    }

    /// The peer knows our SETTINGS. A window that is smaller by them is opened at once: perhaps its reader has taken all already, and will not come
    /// again.
    fn acknowledged(&mut self, call: &mut Call<'_, impl Out>) -> Result<(), Rule> {
        if self.acknowledged {
            return self.glitch(call.now);
        }
        self.acknowledged = true;
        self.decoder.announced(self.limits.decoder_table_bytes as usize);
        let more = i64::from(self.limits.stream_window) - i64::from(WINDOW_INITIAL);
        if more == 0 {
            return Ok(());
        }
        let target = self.stream_target();
        for stream in self.streams.iter_mut().filter(|stream| stream.receives()) {
            stream.incoming.shift(more);
            let told = stream.incoming.increment(target);
            if told > 0 {
                let frame = frame::window_update(stream.id, told);
                self.outbound.frame(frame.len());
                call.out.put(&frame);
            }
        }
        Ok(())
    }

    /// RFC 9113 §6.7.
    pub(super) fn pinged(
        &mut self,
        header: Header,
        payload: &[u8],
        call: &mut Call<'_, impl Out>,
    ) -> Result<Option<Event>, Rule> {
        if header.stream != 0 {
            return Err(Rule::FrameStream);
        }
        let payload: [u8; 8] = payload.try_into().map_err(|_| Rule::FrameSize)?;
        if header.has(ACK) {
            if payload == MEASURE {
                let key = self.growth.measures().and_then(|id| self.streams.find(id));
                let stream = key.and_then(|key| self.streams.get(key)).filter(|stream| stream.receives());
                let held = stream.map(|stream| stream.incoming.held());
                self.growth.measured(held, self.limits.stream_window_max, self.limits.connection_window_max);
            } else if self.counts.pings == 0 {
                self.glitch(call.now)?;
            } else {
                self.counts.pings -= 1;
                return Ok(Some(Event::Pong(u64::from_be_bytes(payload))));
            }
            return Ok(None);
        }
        // Who got something of ours may measure its path.
        if self.counts.sent != self.counts.sent_at_ping {
            self.counts.sent_at_ping = self.counts.sent;
        } else if !self.budgets.pings.spend(self.limits.pings, call.now) {
            return Err(Rule::TooManyPings);
        }
        self.answer(&frame::ping(ACK, &payload), call.out)?;
        Ok(None)
    }

    /// RFC 9113 §6.8.
    pub(super) fn goaway(
        &mut self,
        header: Header,
        payload: &[u8],
        call: &mut Call<'_, impl Out>,
    ) -> Result<Option<Event>, Rule> {
        if header.stream != 0 {
            return Err(Rule::FrameStream);
        }
        if payload.len() < 8 {
            return Err(Rule::FrameSize);
        }
        let mut last = frame::number(payload, 0) & STREAM_MAX;
        if let Some(before) = self.peer_leaving {
            self.spend_reset(call.now)?; // two are all that leaving takes, and each has the caller look at every stream
            last = last.min(before.last); // it only goes down
        }
        self.peer_leaving = Some(PeerLeaving { last, unsaid: self.role == Role::Client });
        Ok(Some(Event::GoAway { code: Code(frame::number(payload, 4)) }))
    }

    /// RFC 9113 §6.9.
    pub(super) fn window_update(
        &mut self,
        header: Header,
        payload: &[u8],
        call: &mut Call<'_, impl Out>,
    ) -> Result<Option<Event>, Rule> {
        if payload.len() != 4 {
            return Err(Rule::FrameSize);
        }
        self.counts.window_updates = self.counts.window_updates.saturating_add(1);
        let by_data = u64::from(self.limits.max_inbound_window_update_frames_per_data_frame_sent)
            * u64::from(self.counts.data_sent);
        let allowed = u64::from(WINDOW_UPDATES_FREE) + 2 * (u64::from(self.counts.streams) + by_data);
        if u64::from(self.counts.window_updates) > allowed {
            return Err(Rule::TooManyWindowUpdates);
        }
        let more = frame::number(payload, 0) & STREAM_MAX;
        let key = if header.stream == 0 { None } else { self.streams.find(header.stream) };
        if header.stream != 0 && key.is_none() {
            // It crossed the end of the stream.
            return if self.is_idle(header.stream) { Err(Rule::StreamIdle) } else { Ok(None) };
        }
        let window = match key.and_then(|key| self.streams.get_mut(key)) {
            Some(stream) => &mut stream.window,
            None => &mut self.window,
        };
        let before = *window;
        let rule = match window::opened(before, i64::from(more)) {
            _ if more == 0 => Rule::WindowIncrement,
            None => Rule::WindowOverflow,
            Some(after) => {
                *window = after;
                let opens = before <= 0 && after > 0;
                if opens && (after as u32) < WINDOW_TINY {
                    self.glitch(call.now)?;
                }
                return Ok(opens.then_some(Event::Window { key }));
            }
        };
        match key {
            Some(key) => self.stream_error(key, rule, call).map(Some),
            None => Err(rule),
        }
    }
}

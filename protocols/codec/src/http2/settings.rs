//! SETTINGS (RFC 9113 §6.5): what the peer told, and our own frame.
//!
//! It changes nothing but itself: what a new value means for streams and tables is the connection's affair.

use super::Role;
use super::frame::{HEADER_BYTES, Header, PAYLOAD_MAX, SETTINGS};
use super::limits::Limits;
use super::window::{WINDOW_INITIAL, WINDOW_MAX};
use crate::error::Rule;
use crate::hpack::Encoder;

const HEADER_TABLE_SIZE: u16 = 1;
const ENABLE_PUSH: u16 = 2;
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;
const MAX_FRAME_SIZE: u16 = 5;
const MAX_HEADER_LIST_SIZE: u16 = 6;
/// RFC 8441 §3.
const ENABLE_CONNECT_PROTOCOL: u16 = 8;
/// RFC 9218 §2.1.
const NO_RFC7540_PRIORITIES: u16 = 9;

/// Streams that we open before the peer has said how many it takes: RFC 9113 §6.5.2 wishes for no less.
const STREAMS_UNTOLD: u32 = 100;
/// Bytes of an entry.
const ENTRY_BYTES: usize = 6;
/// Entries that we send at most.
const OURS_MAX: usize = 6;

/// What the peer has told, or what holds until it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes of the table that it reads our blocks with.
    pub header_table_size: u32,
    /// Streams of ours at once.
    pub max_concurrent_streams: u32,
    /// Bytes on a stream before it says more.
    pub initial_window_size: u32,
    /// Bytes of a frame's payload.
    pub max_frame_size: u32,
    /// Bytes of a field section, as [`crate::hpack::FieldList::size`] counts; advice.
    pub max_header_list_size: u32,
    /// It takes extended CONNECT (RFC 8441).
    pub enable_connect_protocol: bool,
}

impl Settings {
    /// Before the peer's SETTINGS.
    pub(super) const UNTOLD: Self = Self {
        header_table_size: Encoder::TABLE_BYTES as u32,
        max_concurrent_streams: STREAMS_UNTOLD,
        initial_window_size: WINDOW_INITIAL,
        max_frame_size: PAYLOAD_MAX,
        max_header_list_size: u32::MAX,
        enable_connect_protocol: false,
    };

    /// One entry of the peer's frame, as `role` reads it.
    fn set(&mut self, role: Role, identifier: u16, value: u32) -> Result<(), Rule> {
        match identifier {
            HEADER_TABLE_SIZE => self.header_table_size = value,
            // Only a client may say 1, and we push nothing.
            ENABLE_PUSH if value > 1 || (value == 1 && role == Role::Client) => return Err(Rule::SettingsValue),
            MAX_CONCURRENT_STREAMS => self.max_concurrent_streams = value,
            INITIAL_WINDOW_SIZE if value > WINDOW_MAX => return Err(Rule::SettingsWindow),
            INITIAL_WINDOW_SIZE => self.initial_window_size = value,
            MAX_FRAME_SIZE if !(PAYLOAD_MAX..1 << 24).contains(&value) => return Err(Rule::SettingsValue),
            MAX_FRAME_SIZE => self.max_frame_size = value,
            MAX_HEADER_LIST_SIZE => self.max_header_list_size = value,
            // RFC 8441 §3: what was offered is not taken back.
            ENABLE_CONNECT_PROTOCOL if value > 1 || (value == 0 && self.enable_connect_protocol) => {
                return Err(Rule::SettingsValue);
            }
            ENABLE_CONNECT_PROTOCOL => self.enable_connect_protocol = value == 1,
            NO_RFC7540_PRIORITIES if value > 1 => return Err(Rule::SettingsValue),
            _ => {} // RFC 9113 §6.5.2: unknown ones are ignored
        }
        Ok(())
    }

    /// A whole frame's payload, in its order (RFC 9113 §6.5.3). `told` gets each size of the table on the way: the smallest counts (RFC 7541 §4.2).
    pub(super) fn read(
        &mut self,
        role: Role,
        payload: &[u8],
        limits: &Limits,
        mut told: impl FnMut(u32),
    ) -> Result<(), Rule> {
        let (entries, rest) = payload.as_chunks::<ENTRY_BYTES>();
        if !rest.is_empty() {
            return Err(Rule::FrameSize);
        }
        if entries.len() > limits.settings_entries_max as usize {
            return Err(Rule::TooManySettings);
        }
        for &[i0, i1, v0, v1, v2, v3] in entries {
            let (identifier, value) = (u16::from_be_bytes([i0, i1]), u32::from_be_bytes([v0, v1, v2, v3]));
            self.set(role, identifier, value)?;
            if identifier == HEADER_TABLE_SIZE {
                told(value);
            }
        }
        Ok(())
    }
}

/// Our own frame.
pub(super) struct Ours {
    bytes: [u8; HEADER_BYTES + OURS_MAX * ENTRY_BYTES],
    len: usize,
}

impl Ours {
    /// What `limits` say, where it is not what holds without saying.
    pub(super) fn new(role: Role, limits: &Limits) -> Self {
        let mut ours = Self { bytes: [0; HEADER_BYTES + OURS_MAX * ENTRY_BYTES], len: HEADER_BYTES };
        if limits.decoder_table_bytes != Encoder::TABLE_BYTES as u32 {
            ours.entry(HEADER_TABLE_SIZE, limits.decoder_table_bytes);
        }
        match role {
            Role::Client => ours.entry(ENABLE_PUSH, 0),
            Role::Server => ours.entry(MAX_CONCURRENT_STREAMS, limits.max_concurrent_streams),
        }
        if limits.stream_window != WINDOW_INITIAL {
            ours.entry(INITIAL_WINDOW_SIZE, limits.stream_window);
        }
        ours.entry(MAX_HEADER_LIST_SIZE, u32::try_from(limits.fields.size_max).unwrap_or(u32::MAX));
        if role == Role::Server && limits.extended_connect {
            ours.entry(ENABLE_CONNECT_PROTOCOL, 1);
        }
        let header = Header { len: (ours.len - HEADER_BYTES) as u32, kind: SETTINGS, flags: 0, stream: 0 };
        ours.bytes[..HEADER_BYTES].copy_from_slice(&header.write());
        ours
    }

    fn entry(&mut self, identifier: u16, value: u32) {
        self.bytes[self.len..self.len + 2].copy_from_slice(&identifier.to_be_bytes());
        self.bytes[self.len + 2..self.len + ENTRY_BYTES].copy_from_slice(&value.to_be_bytes());
        self.len += ENTRY_BYTES;
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

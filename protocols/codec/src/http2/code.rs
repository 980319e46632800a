//! Error codes (RFC 9113 §7): why a stream or a connection ends, as the wire says it.
//!
//! It never decides what ends: that is the rule's affair. Unknown codes are kept as they came.

use crate::error::Rule;

/// An error code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Code(pub u32);

impl Code {
    /// Nothing went wrong.
    pub const NO_ERROR: Code = Code(0x0);
    /// The other side broke the protocol.
    pub const PROTOCOL_ERROR: Code = Code(0x1);
    /// The sender of the code failed.
    pub const INTERNAL_ERROR: Code = Code(0x2);
    /// A window was exceeded, or grew too large.
    pub const FLOW_CONTROL_ERROR: Code = Code(0x3);
    /// SETTINGS were not acknowledged in time.
    pub const SETTINGS_TIMEOUT: Code = Code(0x4);
    /// A frame came for a side of a stream that had ended.
    pub const STREAM_CLOSED: Code = Code(0x5);
    /// A frame had a size that it may not have.
    pub const FRAME_SIZE_ERROR: Code = Code(0x6);
    /// The stream was not processed at all: safe to send again (RFC 9113 §8.7).
    pub const REFUSED_STREAM: Code = Code(0x7);
    /// The stream is no longer wanted.
    pub const CANCEL: Code = Code(0x8);
    /// A field block could not be read.
    pub const COMPRESSION_ERROR: Code = Code(0x9);
    /// The connection behind a CONNECT request failed.
    pub const CONNECT_ERROR: Code = Code(0xa);
    /// The other side makes too much work.
    pub const ENHANCE_YOUR_CALM: Code = Code(0xb);
    /// The transport is not secure enough.
    pub const INADEQUATE_SECURITY: Code = Code(0xc);
    /// The request is to be sent over HTTP/1.1.
    pub const HTTP_1_1_REQUIRED: Code = Code(0xd);

    /// What a peer that broke `rule` is told.
    #[must_use]
    pub const fn of(rule: Rule) -> Code {
        match rule {
            Rule::FrameTooLarge | Rule::FrameSize => Code::FRAME_SIZE_ERROR,
            Rule::StreamClosed => Code::STREAM_CLOSED,
            Rule::SettingsWindow | Rule::WindowOverflow | Rule::WindowExceeded => Code::FLOW_CONTROL_ERROR,
            Rule::StreamsTooMany => Code::REFUSED_STREAM,
            Rule::HpackTruncated
            | Rule::HpackInteger
            | Rule::HpackHuffman
            | Rule::HpackIndex
            | Rule::HpackSizeUpdate => Code::COMPRESSION_ERROR,
            Rule::TooManyResets
            | Rule::TooManyGlitches
            | Rule::TooManySettings
            | Rule::TooManyPings
            | Rule::TooManyPriorities
            | Rule::TooManyWindowUpdates
            | Rule::TooManyEmptyFrames
            | Rule::TooManyContinuations
            | Rule::FieldBlockTooLarge
            | Rule::TooManyFramesUnsent
            | Rule::TooManyAnswersUnsent => Code::ENHANCE_YOUR_CALM,
            _ => Code::PROTOCOL_ERROR,
        }
    }

    /// Its name in RFC 9113 §7, if it has one.
    #[must_use]
    pub const fn name(self) -> &'static str {
        const NAMES: [&str; 14] = [
            "NO_ERROR",
            "PROTOCOL_ERROR",
            "INTERNAL_ERROR",
            "FLOW_CONTROL_ERROR",
            "SETTINGS_TIMEOUT",
            "STREAM_CLOSED",
            "FRAME_SIZE_ERROR",
            "REFUSED_STREAM",
            "CANCEL",
            "COMPRESSION_ERROR",
            "CONNECT_ERROR",
            "ENHANCE_YOUR_CALM",
            "INADEQUATE_SECURITY",
            "HTTP_1_1_REQUIRED",
        ];
        if (self.0 as usize) < NAMES.len() { NAMES[self.0 as usize] } else { "UNKNOWN" }
    }
}

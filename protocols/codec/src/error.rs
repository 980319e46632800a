//! What went wrong with a peer's bytes: the rule that was broken, whose fault it was, and what has to end.
//!
//! It never carries bytes of the message: what a peer sent stays out of logs. Ground floor: imports nothing of ours.

use std::fmt;

/// Why a message was refused. `Copy` and small: it is made on the path of hostile traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Error {
    /// The rule that was broken.
    pub rule: Rule,
    /// Who broke it.
    pub fault: Fault,
    /// What has to end because of it.
    pub scope: Scope,
    /// The status to answer a client with (400, 414, 417, 431, 501 or 505). When the message was a response, the caller
    /// answers 502 instead.
    pub status: u16,
}

/// Who broke the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The other side sent it.
    Peer,
    /// We asked for what cannot be done.
    Us,
}

/// What has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// This exchange alone.
    Stream,
    /// The connection: nothing after this point can be framed. Always so in HTTP/1.
    Connection,
}

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident = $status:literal, $text:literal;)*) => {
        /// One variant for each rule; [`Rule::text`] names its source.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Rule { $(#[doc = $text] $name,)* }

        impl Rule {
            /// Every rule, for tables of counters and of documentation.
            pub const ALL: &'static [Rule] = &[$(Rule::$name,)*];

            /// The rule in words, with the section it stands in.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Rule::$name => $text,)* }
            }

            /// The status for a client that broke it.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Rule::$name => $status,)* }
            }
        }
    };
}

rules! {
    // The head's lines.
    BareLf = 400, "a line ends in CRLF, not in LF alone (RFC 9112 §2.2)";
    BareCr = 400, "CR is followed by LF (RFC 9112 §2.2)";
    EmptyLines = 400, "at most one empty line before a request line (RFC 9112 §2.2)";
    RequestLine = 400, "request-line is method SP request-target SP HTTP-version (RFC 9112 §3)";
    MethodToken = 400, "method is a token (RFC 9110 §9.1)";
    MethodTooLong = 501, "no method is this long (RFC 9112 §3)";
    Version = 505, "HTTP-version is HTTP/1.0 or HTTP/1.1 (RFC 9112 §2.3)";
    StatusLine = 400, "status-line is HTTP-version SP 3DIGIT SP reason-phrase (RFC 9112 §4)";
    ObsFold = 400, "a field line does not begin with whitespace (RFC 9112 §5.2)";
    SpaceBeforeColon = 400, "no whitespace in or after a field name (RFC 9112 §5.1)";
    FieldName = 400, "a field name is a token, then a colon (RFC 9110 §5.1)";
    FieldValue = 400, "no control bytes in a field value (RFC 9110 §5.5)";
    HeadTooLarge = 431, "the head is within the limit (Limits::head_bytes_max)";
    TooManyFields = 431, "the fields are within the limit (Limits::headers_max)";
    Underscore = 400, "no underscore in a field name, where the caller forbids it";
    TooManyConnectionOptions = 400, "Connection options are within the limit (Limits::connection_options_max)";

    // The target and the authority.
    TargetTooLong = 414, "the request target is within the limit (Limits::target_bytes_max)";
    TargetByte = 400, "a target has visible ASCII alone (RFC 9112 §3.2)";
    Fragment = 400, "a target has no fragment (RFC 9112 §3.2)";
    TargetForm = 400, "a target is in origin, absolute, authority or asterisk form (RFC 9112 §3.2)";
    Authority = 400, "an authority is uri-host [ \":\" port ] without userinfo (RFC 9110 §4.2.4, §7.2)";
    HostMissing = 400, "an HTTP/1.1 request has a Host field (RFC 9112 §3.2)";
    HostRepeated = 400, "a request has one Host field (RFC 9112 §3.2)";

    // Framing.
    ContentLength = 400, "Content-Length is 1*DIGIT within 64 bits (RFC 9110 §8.6)";
    ContentLengthRepeated = 400, "a message has one Content-Length field (RFC 9112 §6.3, kept strictly)";
    LengthAndCoding = 400, "Content-Length and Transfer-Encoding exclude each other (RFC 9112 §6.1)";
    TransferCoding = 400, "chunked is the final transfer coding, once (RFC 9112 §6.1)";
    TransferCodingUnknown = 501, "no transfer coding but chunked is understood (RFC 9112 §6.1)";
    TransferCodingVersion = 400, "no Transfer-Encoding in HTTP/1.0 (RFC 9112 §6.1)";
    BodyForbidden = 400, "this message has no content (RFC 9110 §9.3.6, RFC 9112 §6.3)";
    Nominated = 400, "Connection does not nominate a field meant for all recipients (RFC 9110 §7.6.1)";
    Expectation = 417, "the only expectation is 100-continue (RFC 9110 §10.1.1)";

    // Bodies.
    ChunkSize = 400, "chunk-size is 1*HEXDIG, 16 at most (RFC 9112 §7.1)";
    ChunkExtension = 400, "chunk-ext is *( BWS \";\" BWS name [ BWS \"=\" BWS value ] ) (RFC 9112 §7.1.1)";
    ChunkExtensionTooLarge = 400, "chunk extensions are within the limit (Limits::chunk_extension_bytes_max)";
    ChunkLine = 400, "a chunk line ends in CRLF (RFC 9112 §7.1)";
    ChunkEnd = 400, "CRLF follows the chunk data at once (RFC 9112 §7.1)";
    TrailersTooLarge = 431, "the trailer section is within the limit (Limits::trailer_bytes_max, Limits::headers_max)";
    Truncated = 400, "the connection does not end within a message (RFC 9112 §8)";

    // Field blocks (HPACK). All are COMPRESSION_ERROR, RFC 9113 §4.3.
    HpackTruncated = 400, "a field block is whole (RFC 7541 §3, §6)";
    HpackInteger = 400, "an integer of a field block is small, and no longer than it has to be (RFC 7541 §5.1)";
    HpackHuffman = 400, "a coded string ends in ones, fewer than 8, and has no EOS (RFC 7541 §5.2)";
    HpackIndex = 400, "an index names an entry of the tables (RFC 7541 §2.3.3)";
    HpackSizeUpdate = 400, "the table's size changes before the first field, within what was announced, and where it has to (RFC 7541 §4.2, §6.3)";

    // Frames of HTTP/2. `http2::Code::of` says what a peer is told.
    Preface = 400, "a connection begins with its preface, then SETTINGS (RFC 9113 §3.4)";
    FrameTooLarge = 400, "a frame is within SETTINGS_MAX_FRAME_SIZE (RFC 9113 §4.2)";
    FrameSize = 400, "a frame has the size of its type (RFC 9113 §4.2, §6)";
    FrameStream = 400, "a frame is about a stream or about the connection, by its type (RFC 9113 §6)";
    Padding = 400, "padding is shorter than its frame (RFC 9113 §6.1, §6.2)";
    StreamIdentifier = 400, "a client's streams are odd, and each is higher than those before (RFC 9113 §5.1.1)";
    StreamIdle = 400, "a stream begins with HEADERS (RFC 9113 §5.1)";
    StreamClosed = 400, "no DATA or HEADERS on a side that has ended (RFC 9113 §5.1)";
    StreamsTooMany = 400, "streams at once are within SETTINGS_MAX_CONCURRENT_STREAMS (RFC 9113 §5.1.2)";
    SelfDependency = 400, "a stream does not depend on itself (RFC 7540 §5.3.1)";
    FieldBlockInterrupted = 400, "nothing comes between the frames of a field block (RFC 9113 §6.10)";
    ContinuationUnexpected = 400, "CONTINUATION follows a field block that has not ended (RFC 9113 §6.10)";
    PushPromise = 400, "nothing is pushed to us (RFC 9113 §8.4)";
    SettingsValue = 400, "a setting has a value that it may have (RFC 9113 §6.5.2)";
    SettingsWindow = 400, "SETTINGS_INITIAL_WINDOW_SIZE is at most 2^31-1 (RFC 9113 §6.5.2)";
    WindowIncrement = 400, "WINDOW_UPDATE opens a window (RFC 9113 §6.9)";
    WindowOverflow = 400, "a window is at most 2^31-1 (RFC 9113 §6.9.1)";
    WindowExceeded = 400, "DATA is within the windows (RFC 9113 §6.9)";
    DataBeforeHead = 400, "content follows a final head (RFC 9113 §8.1)";
    InterimEnds = 400, "an interim response does not end the stream (RFC 9113 §8.1)";
    TrailersEnd = 400, "trailers end the stream (RFC 9113 §8.1)";
    ContentLengthMismatch = 400, "content comes to what Content-Length says (RFC 9113 §8.1.1)";
    TooManyInterims = 400, "interim responses are within the limit (the caller's)";
    TooManyResets = 400, "streams that one side makes end early are within the limit (http2::Limits::resets)";
    TooManySettings = 400, "SETTINGS are within the limits (http2::Limits::settings, settings_entries_max)";
    TooManyPings = 400, "PINGs are within the limit (http2::Limits::pings)";
    TooManyPriorities = 400, "PRIORITY frames are within the limit (http2::Limits::max_inbound_priority_frames_per_stream)";
    TooManyWindowUpdates = 400, "WINDOW_UPDATE frames are within the limit (http2::Limits::max_inbound_window_update_frames_per_data_frame_sent)";
    TooManyEmptyFrames = 400, "empty frames are within the limit (http2::Limits::max_consecutive_inbound_frames_with_empty_payload)";
    TooManyContinuations = 400, "CONTINUATION frames of a field block are within the limit (http2::Limits::continuations_max)";
    FieldBlockTooLarge = 431, "a field block, and what it stands for, is within the limits (http2::Limits::block_bytes_max)";
    TooManyFramesUnsent = 400, "what is sent is read (http2::Limits::max_outbound_frames)";
    TooManyAnswersUnsent = 400, "answers to frames are read (http2::Limits::max_outbound_control_frames)";

    // Messages of HTTP/2: malformed ones are a stream error PROTOCOL_ERROR, RFC 9113 §8.1.1.
    NameCase = 400, "a field name is in lower case (RFC 9113 §8.2.1)";
    ValueSpace = 400, "a field value neither begins nor ends with whitespace (RFC 9113 §8.2.1)";
    ConnectionSpecific = 400, "no field is for this connection alone, and TE says trailers (RFC 9113 §8.2.2)";
    PseudoPlace = 400, "pseudo-fields stand in front of all others, and not in trailers (RFC 9113 §8.3)";
    PseudoUnknown = 400, "a pseudo-field is one of those defined for this message (RFC 9113 §8.3)";
    PseudoRepeated = 400, "a pseudo-field stands once (RFC 9113 §8.3)";
    PseudoMissing = 400, "a request has :method, :scheme and :path, a response :status (RFC 9113 §8.3.1, §8.3.2)";
    ConnectForm = 400, "CONNECT has :authority, and neither :scheme nor :path (RFC 9113 §8.5)";
    Scheme = 400, ":scheme is http or https (RFC 9113 §8.3.1)";
    AuthorityAndHost = 400, ":authority and Host name the same (RFC 9113 §8.3.1)";
    Protocol = 400, ":protocol is a protocol's name, and of CONNECT alone (RFC 8441 §4)";
    Status = 400, ":status is three digits, the first of them not 0 (RFC 9113 §8.3.2)";
    SwitchingProtocols = 400, "there is no 101 in HTTP/2 (RFC 9113 §8.6)";

    WebSocketAccept = 400, "a 101 to a WebSocket's key names the protocol and answers the key (RFC 6455 §4.1)";
    GrpcMessage = 400, "a message is prefixed, within its length and what its method answers (gRPC, PROTOCOL-HTTP2.md)";

    TooManyGlitches = 400, "legal but odd events are within the limit (Limits::glitches_max)";
}

impl Error {
    /// The peer broke `rule` in one exchange of several on its connection, and that one ends.
    #[must_use]
    pub const fn stream(rule: Rule) -> Self {
        Self { scope: Scope::Stream, ..Self::peer(rule) }
    }

    /// The peer broke `rule`, and its connection cannot be read any further.
    #[must_use]
    pub const fn peer(rule: Rule) -> Self {
        Self { rule, fault: Fault::Peer, scope: Scope::Connection, status: rule.status() }
    }
}

impl From<Rule> for Error {
    fn from(rule: Rule) -> Self {
        Self::peer(rule)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rule.text())
    }
}

impl std::error::Error for Error {}

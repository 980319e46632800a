//! Field names that somebody acts on, as one byte, and the fields that a peer may not have stripped.
//!
//! It never looks at values.

use crate::lane::{LANE_BYTES, Lane};

macro_rules! known {
    ($($name:ident = $text:literal,)*) => {
        /// Field names that the codec or the engine acts on.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Known {
            /// Any other name.
            Other,
            $(#[doc = $text] $name,)*
        }

        impl Known {
            /// Every name but `Other`, with its text in lower case.
            pub const ALL: &'static [(Known, &'static str)] = &[$((Known::$name, $text),)*];
        }
    };
}

known! {
    Host = "host",
    ContentLength = "content-length",
    TransferEncoding = "transfer-encoding",
    Connection = "connection",
    KeepAlive = "keep-alive",
    ProxyConnection = "proxy-connection",
    Te = "te",
    Trailer = "trailer",
    Upgrade = "upgrade",
    Http2Settings = "http2-settings",
    Expect = "expect",
    ContentType = "content-type",
    MaxForwards = "max-forwards",
    UserAgent = "user-agent",
    Via = "via",
    Date = "date",
    Server = "server",
    XRequestId = "x-request-id",
    XForwardedFor = "x-forwarded-for",
    XForwardedProto = "x-forwarded-proto",
    XForwardedHost = "x-forwarded-host",
    XForwardedPort = "x-forwarded-port",
    XForwardedClientCert = "x-forwarded-client-cert",
    Traceparent = "traceparent",
    GrpcStatus = "grpc-status",
    GrpcTimeout = "grpc-timeout",
    XEnvoy = "x-envoy-",
}

const _: () = assert!(Known::ALL.len() < 32, "the table's bit set has 32 bits");

impl Known {
    pub(crate) const fn bit(self) -> u32 {
        1 << self as u8
    }

    /// The meaning of a name, compared without case. All names that begin with `x-envoy-` are one. Length and first letter choose, so a name costs one compare or none.
    #[must_use]
    pub fn from_name(name: &[u8]) -> Self {
        #[inline(always)]
        fn is<const N: usize>(name: &[u8], text: &[u8; N], known: Known) -> Known {
            let Ok(name) = <&[u8; N]>::try_from(name) else { return Known::Other };
            // Bit 5 is the case of a letter; what is no letter is compared as it is. A fixed length: no loop is left.
            let mut differences = 0;
            for at in 0..N {
                let case = if text[at].is_ascii_lowercase() { 0x20 } else { 0 };
                differences |= (name[at] | case) ^ text[at];
            }
            if differences == 0 { known } else { Known::Other }
        }
        let first = name.first().map_or(0, |b| b | 0x20);
        match (name.len(), first) {
            (8.., b'x') if is(&name[..8], b"x-envoy-", Self::XEnvoy) == Self::XEnvoy => Self::XEnvoy,
            (2, b't') => is(name, b"te", Self::Te),
            (3, b'v') => is(name, b"via", Self::Via),
            (4, b'h') => is(name, b"host", Self::Host),
            (4, b'd') => is(name, b"date", Self::Date),
            (6, b'e') => is(name, b"expect", Self::Expect),
            (6, b's') => is(name, b"server", Self::Server),
            (7, b't') => is(name, b"trailer", Self::Trailer),
            (7, b'u') => is(name, b"upgrade", Self::Upgrade),
            (10, b'c') => is(name, b"connection", Self::Connection),
            (10, b'k') => is(name, b"keep-alive", Self::KeepAlive),
            (10, b'u') => is(name, b"user-agent", Self::UserAgent),
            (11, b't') => is(name, b"traceparent", Self::Traceparent),
            (11, b'g') => is(name, b"grpc-status", Self::GrpcStatus),
            (12, b'c') => is(name, b"content-type", Self::ContentType),
            (12, b'g') => is(name, b"grpc-timeout", Self::GrpcTimeout),
            (12, b'm') => is(name, b"max-forwards", Self::MaxForwards),
            (12, b'x') => is(name, b"x-request-id", Self::XRequestId),
            (14, b'c') => is(name, b"content-length", Self::ContentLength),
            (14, b'h') => is(name, b"http2-settings", Self::Http2Settings),
            (15, b'x') => is(name, b"x-forwarded-for", Self::XForwardedFor),
            (16, b'p') => is(name, b"proxy-connection", Self::ProxyConnection),
            (16, b'x') => match is(name, b"x-forwarded-host", Self::XForwardedHost) {
                Self::Other => is(name, b"x-forwarded-port", Self::XForwardedPort),
                host => host,
            },
            (17, b't') => is(name, b"transfer-encoding", Self::TransferEncoding),
            (17, b'x') => is(name, b"x-forwarded-proto", Self::XForwardedProto),
            (23, b'x') => is(name, b"x-forwarded-client-cert", Self::XForwardedClientCert),
            _ => Self::Other,
        }
    }

    /// The meaning of a name of letters, digits and dashes that begins `lane`.
    #[inline(always)]
    pub(crate) fn of_letters(name: &[u8], lane: Lane) -> Self {
        // Names of ours begin with x, and so do those that share length and first letter.
        let Some(first) =
            name.first().map(|first| first | 0x20).filter(|first| *first != b'x' && name.len() <= LANE_BYTES)
        else {
            return Self::from_name(name);
        };
        let (text, known, size) = &SHORT[place(first, name.len())];
        let differs = !lane.lower().same(text).bits() & ((1 << name.len()) - 1);
        if differs == 0 && name.len() == usize::from(*size) { *known } else { Self::Other }
    }

    /// Whether a field of this name is for one hop alone, nominated or not (RFC 9110 §7.6.1), or frames the message: the
    /// encoder never copies it, and writes its own where one is due.
    #[must_use]
    pub const fn is_of_the_hop(self) -> bool {
        self.bit() & OF_THE_HOP != 0
    }
}

/// Places for names by length and first letter.
const PLACES: usize = 64;

/// Where a name stands in [`SHORT`]; no two of them at one place, which is seen to when it is made.
#[inline(always)]
const fn place(first: u8, len: usize) -> usize {
    (first as usize * 9 + len) % PLACES
}

/// The names that fit a lane and do not begin with x: text, meaning, length.
static SHORT: [([u8; LANE_BYTES], Known, u8); PLACES] = {
    let mut table = [([0; LANE_BYTES], Known::Other, 0); PLACES];
    let mut at = 0;
    while at < Known::ALL.len() {
        let (known, text) = Known::ALL[at];
        let text = text.as_bytes();
        if text.len() <= LANE_BYTES && text[0] != b'x' {
            let entry = &mut table[place(text[0], text.len())];
            assert!(entry.2 == 0, "two names at one place: choose another factor");
            let mut byte = 0;
            while byte < text.len() {
                entry.0[byte] = text[byte];
                byte += 1;
            }
            (entry.1, entry.2) = (known, text.len() as u8);
        }
        at += 1;
    }
    table
};

/// A set of names that somebody acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KnownSet(u32);

impl KnownSet {
    /// No name.
    pub const NONE: Self = Self(0);
    /// The names of which [`Known::is_of_the_hop`] is true.
    pub(crate) const OF_THE_HOP: Self = Self(OF_THE_HOP);

    /// With one more name. Not for [`Known::Other`], which is many (asserted).
    #[must_use]
    pub const fn with(self, known: Known) -> Self {
        assert!(known as u8 != Known::Other as u8, "other names are removed by their bytes");
        Self(self.0 | known.bit())
    }

    /// Without a name.
    pub(crate) const fn without(self, known: Known) -> Self {
        Self(self.0 & !known.bit())
    }

    /// The names of both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether this name is in it.
    #[inline]
    #[must_use]
    pub const fn contains(self, known: Known) -> bool {
        self.0 & known.bit() != 0
    }
}

const OF_THE_HOP: u32 = Known::ContentLength.bit()
    | Known::TransferEncoding.bit()
    | Known::Connection.bit()
    | Known::KeepAlive.bit()
    | Known::ProxyConnection.bit()
    | Known::Te.bit()
    | Known::Trailer.bit()
    | Known::Upgrade.bit()
    | Known::Http2Settings.bit();

/// Whether a field is meant for all recipients, so that `Connection` must not nominate it: stripping it would change who
/// is asking, what is asked, or where the message ends (RFC 9110 §7.6.1; checklist row HH-04).
pub(crate) fn is_for_all(name: &[u8]) -> bool {
    any(name, &FOR_ALL, &FOR_ALL_PREFIXES)
}

/// Whether a field may not travel in a trailer section, RFC 9110 §6.5.1: framing, routing, modifiers, authentication,
/// and what says how to read the content.
pub(crate) fn is_for_heads_only(name: &[u8]) -> bool {
    any(name, &FOR_HEADS_ONLY, &FOR_HEADS_ONLY_PREFIXES)
}

fn any(name: &[u8], names: &[&str], prefixes: &[&str]) -> bool {
    names.iter().any(|text| name.eq_ignore_ascii_case(text.as_bytes()))
        || prefixes
            .iter()
            .any(|text| name.get(..text.len()).is_some_and(|start| start.eq_ignore_ascii_case(text.as_bytes())))
}

const FOR_ALL: [&str; 21] = [
    "host",
    "transfer-encoding",
    "authorization",
    "proxy-authorization",
    "proxy-authenticate",
    "www-authenticate",
    "cookie",
    "set-cookie",
    "cache-control",
    "forwarded",
    "via",
    "expect",
    "date",
    "location",
    "origin",
    "range",
    "traceparent",
    "tracestate",
    "baggage",
    "x-request-id",
    "x-real-ip",
];
const FOR_ALL_PREFIXES: [&str; 6] = ["content-", "x-forwarded-", "x-envoy-", "x-b3-", "grpc-", "sec-"];

const FOR_HEADS_ONLY: [&str; 39] = [
    "host",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
    "http2-settings",
    "expect",
    "max-forwards",
    "range",
    "cache-control",
    "pragma",
    "authorization",
    "proxy-authorization",
    "proxy-authenticate",
    "proxy-authentication-info",
    "www-authenticate",
    "cookie",
    "set-cookie",
    "age",
    "date",
    "expires",
    "location",
    "retry-after",
    "vary",
    "warning",
    "forwarded",
    "via",
    "origin",
    "referer",
    "user-agent",
    "accept-encoding",
    "traceparent",
    "tracestate",
    "x-request-id",
    "x-real-ip",
    "strict-transport-security",
];
const FOR_HEADS_ONLY_PREFIXES: [&str; 5] = ["content-", "if-", "x-forwarded-", "x-envoy-", "sec-"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_is_found_in_any_case_and_nothing_near_it() {
        for &(known, text) in Known::ALL {
            let near = if known == Known::XEnvoy { known } else { Known::Other };
            assert_eq!(Known::from_name(text.as_bytes()), known, "{text}");
            assert_eq!(Known::from_name(text.to_uppercase().as_bytes()), known, "{text}");
            if text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-') {
                for (text, known) in
                    [(text.to_owned(), known), (text.to_uppercase(), known), (format!("{text}s"), near)]
                {
                    let lane = Lane::first_of(format!("{text}: value and more").as_bytes());
                    assert_eq!(Known::of_letters(text.as_bytes(), lane), known, "{text}");
                }
            }
            let mut near = text.as_bytes().to_vec();
            *near.last_mut().unwrap() ^= 1;
            assert_eq!(Known::from_name(&near), Known::Other, "{text}");
            assert_eq!(Known::from_name(&text.as_bytes()[1..]), Known::Other, "{text}");
        }
        assert_eq!(Known::from_name(b""), Known::Other);
    }

    #[test]
    fn what_is_for_all_and_what_is_for_heads() {
        for name in ["Host", "content-length", "X-Forwarded-For", "Authorization", "transfer-encoding"] {
            assert!(is_for_all(name.as_bytes()), "{name}");
            assert!(is_for_heads_only(name.as_bytes()), "{name}");
        }
        for name in ["x-hop", "close", "te", "upgrade", "keep-alive"] {
            assert!(!is_for_all(name.as_bytes()), "{name}");
        }
        for name in ["grpc-status", "grpc-message", "x-checksum", "server-timing", "etag", "digest"] {
            assert!(!is_for_heads_only(name.as_bytes()), "{name}");
        }
    }
}

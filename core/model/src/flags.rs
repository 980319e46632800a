//! Response flags: why an exchange went as it did, in Envoy's codes (docs: access log, `%RESPONSE_FLAGS%`).

use std::fmt;

macro_rules! flags {
    ($($(#[$doc:meta])* $flag:ident = $short:literal, $long:literal;)*) => {
        /// One reason. Named by Envoy's short code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(clippy::upper_case_acronyms, reason = "the names are Envoy's codes")]
        #[repr(u8)]
        pub enum ResponseFlag {
            $($(#[$doc])* $flag,)*
        }

        impl ResponseFlag {
            /// All flags, in the order in which a set of them is written.
            pub const ALL: &[ResponseFlag] = &[$(ResponseFlag::$flag,)*];

            /// `%RESPONSE_FLAGS%`.
            pub fn short(self) -> &'static str {
                match self { $(ResponseFlag::$flag => $short,)* }
            }

            /// `%RESPONSE_FLAGS_LONG%`.
            pub fn long(self) -> &'static str {
                match self { $(ResponseFlag::$flag => $long,)* }
            }
        }
    };
}

flags! {
    // Envoy writes them as they came: what stood in the way of a retry is known before what the try ended for.
    /// The retries were used up.
    URX = "URX", "UpstreamRetryLimitExceeded";
    /// A circuit breaker was open; answered 503.
    UO = "UO", "UpstreamOverflow";
    /// No healthy endpoint in the cluster; answered 503.
    UH = "UH", "NoHealthyUpstream";
    /// The upstream's connection could not be opened; answered 503.
    UF = "UF", "UpstreamConnectionFailure";
    /// No route for the request; answered 404.
    NR = "NR", "NoRouteFound";
    /// A filter of the listener has no configuration; answered 500.
    NFCF = "NFCF", "NoFilterConfigFound";
    /// No such cluster; answered 503.
    NC = "NC", "NoClusterFound";
    /// The upstream closed its connection before its response was complete; answered 503.
    UC = "UC", "UpstreamConnectionTermination";
    /// We broke off the upstream's stream; answered 503.
    LR = "LR", "LocalReset";
    /// The upstream broke off its stream; answered 503.
    UR = "UR", "UpstreamRemoteReset";
    /// The upstream gave no response in time; answered 504.
    UT = "UT", "UpstreamRequestTimeout";
    /// The cluster's `max_stream_duration` ran out; answered 504 or 408.
    UMSDR = "UMSDR", "UpstreamMaxStreamDurationReached";
    /// The upstream broke the protocol; answered 502.
    UPE = "UPE", "UpstreamProtocolError";
    /// The client closed its connection before it had its response.
    DC = "DC", "DownstreamConnectionTermination";
    /// The client broke off its stream.
    DR = "DR", "DownstreamRemoteReset";
    /// The client broke the protocol; answered 400.
    DPE = "DPE", "DownstreamProtocolError";
    /// `stream_idle_timeout` ran out; answered 408 or 504.
    SI = "SI", "StreamIdleTimeout";
    /// The time for the whole request ran out; answered 408.
    DT = "DT", "DurationTimeout";
    /// A limit of the process stood in the way; answered 503.
    OM = "OM", "OverloadManager";
    /// The cluster is told to drop a part of its requests, and this was one; answered 503.
    DO = "DO", "DropOverload";
    /// The cluster is told to drop all of its requests; answered 503.
    UDO = "UDO", "UnconditionalDropOverload";
}

/// The set of reasons of one exchange. Written as the short codes with commas between, or `-` where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponseFlags(u32);

impl ResponseFlags {
    /// No reason.
    pub const NONE: ResponseFlags = ResponseFlags(0);

    /// Adds a reason.
    #[inline]
    pub fn insert(&mut self, flag: ResponseFlag) {
        self.0 |= 1 << flag as u32;
    }

    /// Whether this reason is in the set.
    #[inline]
    pub fn contains(self, flag: ResponseFlag) -> bool {
        self.0 & (1 << flag as u32) != 0
    }

    /// Whether there is no reason.
    #[inline]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether the sets have a reason in common.
    #[inline]
    pub fn intersects(self, other: ResponseFlags) -> bool {
        self.0 & other.0 != 0
    }

    /// The reasons in the set.
    pub fn iter(self) -> impl Iterator<Item = ResponseFlag> {
        ResponseFlag::ALL.iter().copied().filter(move |&flag| self.contains(flag))
    }
}

impl From<ResponseFlag> for ResponseFlags {
    fn from(flag: ResponseFlag) -> Self {
        let mut set = ResponseFlags::NONE;
        set.insert(flag);
        set
    }
}

impl fmt::Display for ResponseFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("-");
        }
        for (at, flag) in self.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { "," })?;
            f.write_str(flag.short())?;
        }
        Ok(())
    }
}

const _: () = assert!(ResponseFlag::ALL.len() <= u32::BITS as usize);

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(flags: &[ResponseFlag], expect: &str) {
        let mut set = ResponseFlags::NONE;
        flags.iter().for_each(|&flag| set.insert(flag));
        assert_eq!(set.to_string(), expect);
        assert!(ResponseFlag::ALL.iter().all(|flag| set.contains(*flag) == flags.contains(flag)));
    }

    #[test]
    fn sets_are_written_as_envoy_writes_them() {
        check(&[], "-");
        check(&[ResponseFlag::NR], "NR");
        check(&[ResponseFlag::UF, ResponseFlag::URX], "URX,UF");
        check(ResponseFlag::ALL, "URX,UO,UH,UF,NR,NFCF,NC,UC,LR,UR,UT,UMSDR,UPE,DC,DR,DPE,SI,DT,OM,DO,UDO");
        for flag in ResponseFlag::ALL {
            assert_eq!(flag.short(), format!("{flag:?}"));
            assert!(!flag.long().is_empty());
        }
    }
}

//! What a route asks for when an upstream fails: `envoy.config.route.v3.RetryPolicy`, and what goes with it.
//!
//! Plain data and the arithmetic on it. Chance comes in as a number; when to retry is the data side's to decide, which has the
//! response.

use std::ops::{BitOr, BitOrAssign};
use std::time::Duration;

use super::header::HeaderMatcher;

/// When a request is sent again: a set of the words of `RetryPolicy.retry_on`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetryOn(u32);

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident = $bit:literal, $word:literal;)*) => {
        impl RetryOn {
            $($(#[$doc])* pub const $name: RetryOn = RetryOn(1 << $bit);)*

            /// The set of one word; `None` where there is no such word.
            pub fn of_word(word: &[u8]) -> Option<RetryOn> {
                $(if word == $word.as_bytes() {
                    return Some(RetryOn::$name);
                })*
                None
            }
        }
    };
}

words! {
    /// A status of 500 to 599, or no response at all.
    STATUS_5XX = 0, "5xx";
    /// A status of 502, 503 or 504, or no response at all.
    GATEWAY_ERROR = 1, "gateway-error";
    /// No response at all: the connection ended, it broke the protocol, or the try's time ran out.
    RESET = 2, "reset";
    /// No response at all, and not one byte of the request was sent.
    RESET_BEFORE_REQUEST = 3, "reset-before-request";
    /// The connection could not be made.
    CONNECT_FAILURE = 4, "connect-failure";
    /// The response has `x-envoy-ratelimited`.
    RATE_LIMITED = 5, "envoy-ratelimited";
    /// A status of 409.
    RETRIABLE_4XX = 6, "retriable-4xx";
    /// The upstream has refused the stream (HTTP/2).
    REFUSED_STREAM = 7, "refused-stream";
    /// One of `retriable_status_codes`.
    STATUS_CODES = 8, "retriable-status-codes";
    /// One of `retriable_headers` passes.
    HEADERS = 9, "retriable-headers";
    /// A failure of HTTP/3 after its handshake: never in HTTP/1.
    HTTP3_POST_CONNECT = 10, "http3-post-connect-failure";
    /// `grpc-status: 1` in the response's head.
    GRPC_CANCELLED = 11, "cancelled";
    /// `grpc-status: 4` in the response's head.
    GRPC_DEADLINE_EXCEEDED = 12, "deadline-exceeded";
    /// `grpc-status: 8` in the response's head.
    GRPC_RESOURCE_EXHAUSTED = 13, "resource-exhausted";
    /// `grpc-status: 13` in the response's head.
    GRPC_INTERNAL = 14, "internal";
    /// `grpc-status: 14` in the response's head.
    GRPC_UNAVAILABLE = 15, "unavailable";
}

impl RetryOn {
    /// Never.
    pub const NEVER: RetryOn = RetryOn(0);

    /// Whether it is never.
    #[inline]
    pub fn is_never(self) -> bool {
        self.0 == 0
    }

    /// Whether the sets have a word in common.
    #[inline]
    pub fn has(self, any: RetryOn) -> bool {
        self.0 & any.0 != 0
    }

    /// Words with commas between, blanks around them allowed; those that are none are given to `unknown`.
    pub fn parse<'t>(text: &'t [u8], mut unknown: impl FnMut(&'t [u8])) -> RetryOn {
        let mut on = RetryOn::NEVER;
        for word in text.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|word| !word.is_empty()) {
            match RetryOn::of_word(word) {
                Some(one) => on |= one,
                None => unknown(word),
            }
        }
        on
    }

    /// Whether a response of this status, and with this `grpc-status`, is among them. `listed`: it is one of the
    /// statuses listed for [`RetryOn::STATUS_CODES`].
    pub fn takes_response(self, status: u16, grpc_status: Option<u32>, listed: bool) -> bool {
        let grpc = match grpc_status {
            Some(1) => RetryOn::GRPC_CANCELLED,
            Some(4) => RetryOn::GRPC_DEADLINE_EXCEEDED,
            Some(8) => RetryOn::GRPC_RESOURCE_EXHAUSTED,
            Some(13) => RetryOn::GRPC_INTERNAL,
            Some(14) => RetryOn::GRPC_UNAVAILABLE,
            _ => RetryOn::NEVER,
        };
        let by_status = match status {
            409 => RetryOn::RETRIABLE_4XX,
            502..=504 => RetryOn::GATEWAY_ERROR | RetryOn::STATUS_5XX,
            500..=599 => RetryOn::STATUS_5XX,
            _ => RetryOn::NEVER,
        };
        let by_list = if listed { RetryOn::STATUS_CODES } else { RetryOn::NEVER };
        self.has(by_status | by_list | grpc)
    }

    /// Whether a try that ended without a response is among them.
    pub fn takes_reset(self, reset: Reset) -> bool {
        let any = RetryOn::RESET | RetryOn::STATUS_5XX | RetryOn::GATEWAY_ERROR;
        self.has(match reset {
            Reset::Connect => any | RetryOn::CONNECT_FAILURE | RetryOn::RESET_BEFORE_REQUEST,
            Reset::Unsent => any | RetryOn::RESET_BEFORE_REQUEST,
            Reset::Refused => any | RetryOn::REFUSED_STREAM,
            Reset::Sent => any,
        })
    }
}

impl BitOr for RetryOn {
    type Output = RetryOn;

    fn bitor(self, other: RetryOn) -> RetryOn {
        RetryOn(self.0 | other.0)
    }
}

impl BitOrAssign for RetryOn {
    fn bitor_assign(&mut self, other: RetryOn) {
        self.0 |= other.0;
    }
}

/// How a try ended that had no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// The connection could not be made.
    Connect,
    /// Before a byte of the request was sent, over a connection that was made.
    Unsent,
    /// The upstream said that it did nothing about the request (RFC 9113 §8.7).
    Refused,
    /// After something of the request was sent: the upstream may have acted on it.
    Sent,
}

/// `RetryPolicy.RetryBackOff`: waits that double, and by chance any time up to that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackOff {
    /// `base_interval`: before the first retry. Envoy: 25 ms.
    pub base: Duration,
    /// `max_interval`. Envoy: ten times the base.
    pub max: Duration,
}

impl Default for BackOff {
    fn default() -> Self {
        let base = Duration::from_millis(25);
        Self { base, max: base * 10 }
    }
}

impl BackOff {
    /// The wait before a retry, the first of which is number 0: whole milliseconds below the interval, each as likely.
    pub fn wait(&self, number: u32, chance: u64) -> Duration {
        let interval = 1_u32.checked_shl(number).and_then(|times| self.base.checked_mul(times));
        let interval = interval.map_or(self.max, |interval| interval.min(self.max));
        let milliseconds = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1);
        Duration::from_millis(chance % milliseconds)
    }
}

/// `RetryPolicy.RateLimitedRetryBackOff`: the wait that the upstream asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimitedBackOff {
    /// `reset_headers`, in the order in which they are tried.
    pub headers: Vec<ResetHeader>,
    /// `max_interval`: a longer wait is not believed. Envoy: 300 s.
    pub max: Duration,
}

/// `RetryPolicy.ResetHeader`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResetHeader {
    /// `name`, in lower case.
    pub name: String,
    /// `format: UNIX_TIMESTAMP`: seconds from 1970. Otherwise (`SECONDS`) from now.
    pub is_timestamp: bool,
}

impl RateLimitedBackOff {
    /// How long the upstream wants to be left alone: the first header that says so in a way to be believed.
    /// `unix_seconds` is the time of day.
    pub fn asked<'v>(&self, value: impl Fn(&str) -> Option<&'v [u8]>, unix_seconds: u64) -> Option<Duration> {
        self.headers.iter().find_map(|header| {
            let said: u64 = std::str::from_utf8(value(&header.name)?).ok()?.parse().ok()?;
            let seconds = if header.is_timestamp { said.checked_sub(unix_seconds)? } else { said };
            let asked = Duration::from_secs(seconds);
            (!asked.is_zero() && asked <= self.max).then_some(asked)
        })
    }

    /// The wait for what was asked: that, and by chance up to half of it more, so that not all come back at once.
    pub fn wait(asked: Duration, chance: u64) -> Duration {
        let milliseconds = u64::try_from(asked.as_millis()).unwrap_or(u64::MAX);
        asked + Duration::from_millis(chance % (milliseconds / 2).max(1))
    }
}

/// `RetryPolicy`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RetryPolicy {
    /// `retry_on`.
    pub on: RetryOn,
    /// `num_retries`. Envoy: 1.
    pub retries_max: u32,
    /// `per_try_timeout`: from the end of the request, on a connection that is made, to the response's head.
    pub per_try_timeout: Option<Duration>,
    /// `per_try_idle_timeout`: so long nothing moves on the connection.
    pub per_try_idle_timeout: Option<Duration>,
    /// `retry_back_off`.
    pub back_off: BackOff,
    /// `rate_limited_retry_back_off`.
    pub rate_limited: Option<RateLimitedBackOff>,
    /// `retriable_status_codes`.
    pub statuses: Vec<u16>,
    /// `retriable_headers`: one of them passing is enough.
    pub response_headers: Vec<HeaderMatcher>,
    /// `retriable_request_headers`: where there are some, one must pass for the request to be retried at all.
    pub request_headers: Vec<HeaderMatcher>,
    /// `retry_host_predicate` with `previous_hosts`: an endpoint that was tried is not wanted again.
    pub avoids_previous_hosts: bool,
    /// `host_selection_retry_max_attempts`: how often another endpoint is looked for. Envoy: 1.
    pub host_selections_max: u32,
}

/// All that a route says of tries: its policy, else its virtual host's, and what tells of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RetryRules {
    /// `retry_policy`.
    pub policy: RetryPolicy,
    /// `VirtualHost.include_request_attempt_count`.
    pub counts_in_request: bool,
    /// `VirtualHost.include_attempt_count_in_response`.
    pub counts_in_response: bool,
    /// `VirtualHost.include_is_timeout_retry_header`.
    pub tells_timeout_retry: bool,
    /// `request_body_buffer_limit`: bytes of a request's body kept for another try.
    pub body_bytes_max: Option<u64>,
    /// `per_request_buffer_limit_bytes`: the same, but no more than what is buffered for a connection.
    pub request_bytes_max: Option<u32>,
}

impl RetryRules {
    /// What holds where nothing is said: no retries.
    pub const DEFAULT: RetryRules = RetryRules {
        policy: RetryPolicy {
            on: RetryOn::NEVER,
            retries_max: 1,
            per_try_timeout: None,
            per_try_idle_timeout: None,
            back_off: BackOff { base: Duration::from_millis(25), max: Duration::from_millis(250) },
            rate_limited: None,
            statuses: Vec::new(),
            response_headers: Vec::new(),
            request_headers: Vec::new(),
            avoids_previous_hosts: false,
            host_selections_max: 1,
        },
        counts_in_request: false,
        counts_in_response: false,
        tells_timeout_retry: false,
        body_bytes_max: None,
        request_bytes_max: None,
    };

    /// Bytes of a request's body that are kept for another try, where this much is buffered for a connection; a larger body is not sent
    /// again.
    pub fn kept_bytes_max(&self, connection_bytes_max: Option<u32>) -> u64 {
        let connection = connection_bytes_max.unwrap_or(CONNECTION_BYTES_MAX);
        let request = self.request_bytes_max.unwrap_or(connection).min(connection);
        self.body_bytes_max.unwrap_or(u64::from(request))
    }
}

/// Envoy's `per_connection_buffer_limit_bytes` where the file says nothing.
const CONNECTION_BYTES_MAX: u32 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(on: &str, status: u16, grpc: Option<u32>, listed: bool, expect: bool) {
        let on = RetryOn::parse(on.as_bytes(), |word| panic!("{word:?}"));
        assert_eq!(on.takes_response(status, grpc, listed), expect, "{on:?} {status} {grpc:?} {listed}");
    }

    #[test]
    fn which_responses_are_retried() {
        for (on, status, expect) in [
            ("5xx", 500, true),
            ("5xx", 599, true),
            ("5xx", 404, false),
            ("gateway-error", 500, false),
            ("gateway-error", 502, true),
            ("gateway-error", 504, true),
            ("gateway-error", 505, false),
            ("retriable-4xx", 409, true),
            ("retriable-4xx", 404, false),
            ("reset,connect-failure,refused-stream", 503, false),
            ("reset, 5xx ,,", 503, true),
        ] {
            check(on, status, None, false, expect);
        }
        check("retriable-status-codes", 418, None, true, true);
        check("retriable-status-codes", 418, None, false, false);
        check("5xx", 418, None, true, false);
        for (word, code) in [
            ("cancelled", 1),
            ("deadline-exceeded", 4),
            ("resource-exhausted", 8),
            ("internal", 13),
            ("unavailable", 14),
        ] {
            for other in 0..17 {
                check(word, 200, Some(other), false, other == code);
            }
        }
    }

    #[test]
    fn which_resets_are_retried() {
        use Reset::{Connect, Sent, Unsent};
        for (on, expect) in [
            ("5xx", [true, true, true]),
            ("gateway-error", [true, true, true]),
            ("reset", [true, true, true]),
            ("reset-before-request", [true, true, false]),
            ("connect-failure", [true, false, false]),
            ("refused-stream,retriable-4xx,unavailable,envoy-ratelimited", [false, false, false]),
        ] {
            let on = RetryOn::parse(on.as_bytes(), |word| panic!("{word:?}"));
            assert_eq!([Connect, Unsent, Sent].map(|reset| on.takes_reset(reset)), expect, "{on:?}");
        }
    }

    #[test]
    fn how_much_of_a_body_is_kept() {
        for (body, request, connection, expect) in [
            (None, None, None, 1 << 20),
            (None, None, Some(5), 5),
            (None, None, Some(2 << 20), 2 << 20),
            (None, Some(7), None, 7),
            (None, Some(7), Some(5), 5),
            (None, Some(u32::MAX), None, 1 << 20),
            (Some(u64::MAX), Some(7), Some(5), u64::MAX),
            (Some(0), None, None, 0),
        ] {
            let rules = RetryRules { body_bytes_max: body, request_bytes_max: request, ..RetryRules::DEFAULT };
            assert_eq!(rules.kept_bytes_max(connection), expect, "{body:?} {request:?} {connection:?}");
        }
    }

    #[test]
    fn words_that_are_none_are_told() {
        let mut unknown = Vec::new();
        let on = RetryOn::parse(b"5xx,nonsense, ,reset", |word| unknown.push(word.to_vec()));
        assert_eq!((on, unknown), (RetryOn::STATUS_5XX | RetryOn::RESET, vec![b"nonsense".to_vec()]));
    }

    #[test]
    fn waits_double_up_to_the_longest_and_are_any_shorter_time() {
        let back_off = BackOff::default();
        for (number, interval) in
            [(0, 25), (1, 50), (2, 100), (3, 200), (4, 250), (31, 250), (32, 250), (u32::MAX, 250)]
        {
            assert_eq!(back_off.wait(number, interval - 1), Duration::from_millis(interval - 1), "{number}");
            assert_eq!(back_off.wait(number, interval), Duration::ZERO, "{number}");
        }
        let short = BackOff { base: Duration::from_micros(1), max: Duration::from_micros(1) };
        assert_eq!(short.wait(0, 7), Duration::ZERO);
    }

    #[test]
    fn what_an_upstream_asks_for_is_believed_within_bounds() {
        let header = |name: &str, is_timestamp| ResetHeader { name: name.into(), is_timestamp };
        let headers = vec![header("retry-after", false), header("x-ratelimit-reset", true)];
        let back_off = RateLimitedBackOff { headers, max: Duration::from_secs(300) };
        for (after, reset, expect) in [
            (Some("7"), None, Some(7)),
            (Some("300"), None, Some(300)),
            (Some("301"), Some("1005"), Some(5)),
            (Some("0"), None, None),
            (Some("Fri, 31 Dec 1999 23:59:59 GMT"), Some("1001"), Some(1)),
            (None, Some("999"), None),
            (Some("-1"), None, None),
            (None, None, None),
        ] {
            let value = |name: &str| if name == "retry-after" { after } else { reset }.map(str::as_bytes);
            assert_eq!(back_off.asked(value, 1000), expect.map(Duration::from_secs), "{after:?} {reset:?}");
        }
        let asked = Duration::from_secs(1);
        assert_eq!(RateLimitedBackOff::wait(asked, 499), Duration::from_millis(1499));
        assert_eq!(RateLimitedBackOff::wait(asked, 500), asked);
    }
}

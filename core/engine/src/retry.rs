//! What one exchange knows of its tries: what its route and its client allow, and how many were made.
//!
//! Made only where a route has rules for tries or a client of ours asks for something, and then from the worker's own store. It
//! decides; `exchange/again.rs` carries out. Time and chance are arguments.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use ringway_model::{Address, Caches, RateLimitedBackOff, RequestView, Reset, RetryOn, RetryRules};
use ringway_observe::ClusterStats;
use ringway_protocols::{Method, Response};
use ringway_runtime::{Chunk, Core, Instant};

use crate::breakers::Breakers;
use crate::kept::{Kept, KeptBudget};
use crate::retry_limit::RetryPermit;

/// States, and places for bodies, kept for reuse: at most as many exchanges as were under way at once, some 300 bytes each.
const KEPT_MAX: usize = 4096;

/// Statuses that a client may list: more than there are that make sense.
const STATUSES_ASKED_MAX: usize = 100;

/// What holds for a route without rules.
pub(crate) static DEFAULT_RULES: RetryRules = RetryRules::DEFAULT;

/// A worker's spare states.
pub(crate) struct Retries {
    #[expect(clippy::vec_box, reason = "what is kept is the memory of the boxes")]
    spare: RefCell<Vec<Box<Retry>>>,
    #[expect(clippy::vec_box, reason = "likewise")]
    spare_kept: RefCell<Vec<Box<Kept>>>,
    budget: KeptBudget,
}

impl Retries {
    /// `kept_bytes_max`: what the bodies of all requests that may be sent again take.
    pub(crate) fn new(kept_bytes_max: usize) -> Self {
        Self { spare: RefCell::default(), spare_kept: RefCell::default(), budget: KeptBudget::new(kept_bytes_max) }
    }

    fn take(&self) -> Box<Retry> {
        self.spare.borrow_mut().pop().unwrap_or_else(|| Box::new(Retry::new()))
    }

    /// The memory for a body of which so many bytes are kept at most.
    pub(crate) fn take_kept(&self, bytes_max: u64) -> Box<Kept> {
        let spare = self.spare_kept.borrow_mut().pop();
        let mut kept = spare.unwrap_or_else(|| Box::new(Kept::new(&self.budget)));
        kept.begin(bytes_max);
        kept
    }

    /// Takes it back; what it keeps is let go.
    pub(crate) fn put_kept(&self, mut kept: Box<Kept>) {
        kept.clear();
        let mut spare = self.spare_kept.borrow_mut();
        if spare.len() < KEPT_MAX {
            spare.push(kept);
        }
    }

    /// Takes back what [`Retry::plan`] gave.
    pub(crate) fn put(&self, mut retry: Box<Retry>) {
        retry.forget();
        let mut spare = self.spare.borrow_mut();
        if spare.len() < KEPT_MAX {
            spare.push(retry);
        }
    }
}

/// What a client of ours may ask of the router (Envoy, "HTTP headers (consumed)").
struct Orders<'r, R>(&'r R);

impl<R: RequestView> Orders<'_, R> {
    fn text(&self, name: &'static str) -> Option<&[u8]> {
        self.0.values(name).next()
    }

    fn number(&self, name: &'static str) -> Option<u64> {
        std::str::from_utf8(self.text(name)?).ok()?.parse().ok()
    }
}

/// What became of the wish to try once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is not wanted.
    No,
    /// Another try is made.
    Yes,
    /// As many were made as may be (`URX`).
    LimitExceeded,
    /// Too many of the whole process are under way (`UO`).
    Overflow,
}

/// When a try, or the wait for the next one, ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// `per_try_timeout` passes.
    TryTimeout(Instant),
    /// The wait before the next try is over.
    BackOff(Instant),
}

/// The state of one exchange's tries.
pub(crate) struct Retry {
    on: RetryOn,
    /// Tries that may still be made.
    left: u32,
    /// Tries made so far.
    pub(crate) attempts: u32,
    /// Somebody who knows says that the request may be sent twice, whatever its method.
    is_repeatable: bool,
    pub(crate) per_try_timeout: Option<Duration>,
    pub(crate) per_try_idle: Option<Duration>,
    /// Of this try.
    pub(crate) wake: Option<Wake>,
    /// When the request's head went to the upstream; `None` while there is no connection.
    pub(crate) sent_at: Option<Instant>,
    /// Statuses that the client has listed beside those of the route.
    statuses: Vec<u16>,
    /// `x-envoy-retriable-header-names`, as it came.
    header_names: Option<Chunk>,
    /// How long the upstream has asked to be left alone.
    asked: Option<Duration>,
    /// What of the request says where it goes, where the cluster goes by that.
    pub(crate) hash: Option<u64>,
    /// Endpoints that were tried, where that counts.
    pub(crate) tried: Vec<Address>,
    permit: Option<RetryPermit>,
    /// What answers a try that took too long (`x-envoy-upstream-rq-timeout-alt-response`: 204).
    pub(crate) timeout_is_empty: bool,
}

impl Retry {
    fn new() -> Self {
        Self {
            on: RetryOn::NEVER,
            left: 0,
            attempts: 1,
            is_repeatable: false,
            per_try_timeout: None,
            per_try_idle: None,
            wake: None,
            sent_at: None,
            statuses: Vec::new(),
            header_names: None,
            asked: None,
            hash: None,
            tried: Vec::new(),
            permit: None,
            timeout_is_empty: false,
        }
    }

    /// What is allowed for a request, and how long it may take in all. `is_ours`: the client may give orders.
    pub(crate) fn plan(
        (worker, core): (&Retries, &Core),
        rules: &RetryRules,
        timeout: Option<Duration>,
        request: &impl RequestView,
        (is_ours, respects_expected): (bool, bool),
        caches: &mut Caches,
    ) -> (Box<Retry>, Option<Duration>) {
        let policy = &rules.policy;
        let mut retry = worker.take();
        retry.on = policy.on;
        retry.left = policy.retries_max;
        retry.per_try_timeout = policy.per_try_timeout;
        retry.per_try_idle = policy.per_try_idle_timeout;
        let mut timeout = timeout;
        let orders = Orders(request);
        if is_ours {
            // An answer to one word is no answer to another: what is unknown is passed over.
            for name in ["x-envoy-retry-on", "x-envoy-retry-grpc-on"] {
                if let Some(words) = orders.text(name) {
                    retry.on |= RetryOn::parse(words, |_| ());
                    retry.is_repeatable = true;
                }
            }
            let expected = respects_expected.then(|| orders.number("x-envoy-expected-rq-timeout-ms")).flatten();
            if let Some(milliseconds) = expected.or_else(|| orders.number("x-envoy-upstream-rq-timeout-ms")) {
                timeout = Some(Duration::from_millis(milliseconds)).filter(|timeout| !timeout.is_zero());
            }
            if let Some(milliseconds) = orders.number("x-envoy-upstream-rq-per-try-timeout-ms") {
                retry.per_try_timeout = Some(Duration::from_millis(milliseconds)).filter(|timeout| !timeout.is_zero());
            }
            retry.timeout_is_empty = orders.text("x-envoy-upstream-rq-timeout-alt-response").is_some();
        }
        if !policy.request_headers.is_empty() {
            let is_named = policy.request_headers.iter().any(|matcher| matcher.matches(request, caches));
            retry.is_repeatable |= is_named;
            if !is_named {
                retry.on = RetryOn::NEVER;
            }
        }
        if is_ours && !retry.on.is_never() {
            if let Some(count) = orders.number("x-envoy-max-retries") {
                retry.left = u32::try_from(count).unwrap_or(u32::MAX);
            }
            let codes = orders.text("x-envoy-retriable-status-codes").unwrap_or_default();
            let codes = codes.split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
            let codes = codes.filter_map(|code| std::str::from_utf8(code).ok()?.parse::<u16>().ok());
            retry.statuses.extend(codes.take(STATUSES_ASKED_MAX));
            retry.header_names = orders.text("x-envoy-retriable-header-names").map(|names| core.chunk(names));
        }
        // Envoy: one that is not shorter than the whole is none.
        if timeout.is_some_and(|all| retry.per_try_timeout.is_some_and(|one| one >= all)) {
            retry.per_try_timeout = None;
        }
        (retry, timeout)
    }

    /// Makes it as it was before any request, and lets go of what it holds.
    fn forget(&mut self) {
        let (mut statuses, mut tried) = (std::mem::take(&mut self.statuses), std::mem::take(&mut self.tried));
        statuses.clear();
        tried.clear();
        *self = Self {
            on: RetryOn::NEVER,
            left: 0,
            attempts: 1,
            is_repeatable: false,
            per_try_timeout: None,
            per_try_idle: None,
            wake: None,
            sent_at: None,
            statuses,
            header_names: None,
            asked: None,
            hash: None,
            tried,
            permit: None,
            timeout_is_empty: false,
        };
    }

    /// Whether another try may ever be made: only then the request's body is kept.
    pub(crate) fn is_enabled(&self) -> bool {
        !self.on.is_never()
    }

    /// No other try: the request's body is too large to be kept.
    pub(crate) fn disable(&mut self) {
        self.on = RetryOn::NEVER;
    }

    /// How long a try may take that begins now, `elapsed` after the end of the request, when all may take `timeout`. What an upstream
    /// is told; never zero, which would mean forever. (Envoy, `x-envoy-expected-rq-timeout-ms`.)
    pub(crate) fn expected(&self, timeout: Option<Duration>, elapsed: Duration) -> Option<Duration> {
        let left = timeout.map(|timeout| timeout.saturating_sub(elapsed).max(Duration::from_millis(1)));
        match (self.per_try_timeout, left) {
            (Some(one), Some(left)) => Some(one.min(left)),
            (one, left) => one.or(left),
        }
    }

    /// Whether a response is one after which another try is wanted; what it asks for is remembered.
    pub(crate) fn wants_after_response(
        &mut self,
        rules: &RetryRules,
        response: &Response<'_>,
        unix_seconds: u64,
        caches: &mut Caches,
    ) -> bool {
        if self.on.is_never() {
            return false;
        }
        let policy = &rules.policy;
        let status = response.status();
        let view = Answered { response, status: status_text(status) };
        let wanted = if response.field_named(b"x-envoy-ratelimited").is_some() {
            self.on.has(RetryOn::RATE_LIMITED)
        } else {
            let listed = policy.statuses.contains(&status) || self.statuses.contains(&status);
            let grpc = response.field_named(b"grpc-status");
            let grpc = grpc.and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
            self.on.takes_response(status, grpc, listed)
                || self.on.has(RetryOn::HEADERS)
                    && (policy.response_headers.iter().any(|matcher| matcher.matches(&view, caches))
                        || self.header_names.as_ref().is_some_and(|names| names_one_of(names, response)))
        };
        if wanted {
            let asked = |name: &str| response.field_named(name.as_bytes());
            self.asked = policy.rate_limited.as_ref().and_then(|rate| rate.asked(asked, unix_seconds));
        }
        wanted
    }

    /// Whether another try is wanted after one without a response. A request that may have been acted on is sent again only when
    /// that cannot do harm (RFC 9110 §9.2.2), or when somebody who knows says so.
    pub(crate) fn wants_after_reset(&self, reset: Reset, method: Method) -> bool {
        let is_safe = reset != Reset::Sent || method.is_idempotent() || self.is_repeatable;
        is_safe && self.on.takes_reset(reset)
    }

    /// Decides on another try, and counts it.
    pub(crate) fn decide(&mut self, wanted: bool, breakers: &Rc<Breakers>) -> Verdict {
        let stats = &*breakers.stats;
        // The try that ended now was one more of those under way.
        let was_retry = self.permit.take().is_some();
        if !wanted {
            if was_retry {
                stats.upstream_rq_retry_success.add(1);
            }
            return Verdict::No;
        }
        if self.left == 0 {
            stats.upstream_rq_retry_limit_exceeded.add(1);
            return Verdict::LimitExceeded;
        }
        self.left -= 1;
        self.permit = RetryPermit::acquire(breakers);
        if self.permit.is_none() {
            stats.upstream_rq_retry_overflow.add(1);
            return Verdict::Overflow;
        }
        stats.upstream_rq_retry.add(1);
        Verdict::Yes
    }

    /// How long to wait before the try that was decided on.
    pub(crate) fn back_off(&mut self, rules: &RetryRules, chance: u64, stats: &ClusterStats) -> Duration {
        match self.asked.take() {
            Some(asked) => {
                stats.upstream_rq_retry_backoff_ratelimited.add(1);
                RateLimitedBackOff::wait(asked, chance)
            }
            None => {
                stats.upstream_rq_retry_backoff_exponential.add(1);
                rules.policy.back_off.wait(self.attempts - 1, chance)
            }
        }
    }

    /// The next try begins.
    pub(crate) fn next(&mut self) {
        self.attempts += 1;
        (self.wake, self.sent_at) = (None, None);
    }

    /// When the try or the wait ends by itself, if nothing has moved since `active_at`.
    pub(crate) fn wakes_at(&self, active_at: Instant) -> Option<Instant> {
        let wake = self.wake.map(|(Wake::TryTimeout(at) | Wake::BackOff(at))| at);
        let idle = self.sent_at.zip(self.per_try_idle).map(|(sent, idle)| sent.max(active_at) + idle);
        [wake, idle].into_iter().flatten().min()
    }
}

fn status_text(status: u16) -> [u8; 3] {
    [100, 10, 1].map(|by| b'0' + (status / by % 10) as u8)
}

/// Whether a response has a field of one of these names, which have commas between.
fn names_one_of(names: &[u8], response: &Response<'_>) -> bool {
    let mut names = names.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|name| !name.is_empty());
    names.any(|name| response.field_named(name).is_some())
}

/// A response, as matchers of headers look at it.
struct Answered<'a> {
    response: &'a Response<'a>,
    status: [u8; 3],
}

impl RequestView for Answered<'_> {
    fn method(&self) -> &[u8] {
        b""
    }

    fn authority(&self) -> &[u8] {
        b""
    }

    fn path(&self) -> &[u8] {
        b""
    }

    fn scheme(&self) -> &[u8] {
        b""
    }

    fn values<'r>(&'r self, name: &'r str) -> impl Iterator<Item = &'r [u8]> {
        let status = (name == ":status").then_some(&self.status[..]);
        let fields = self.response.fields().filter(move |field| field.name.eq_ignore_ascii_case(name.as_bytes()));
        status.into_iter().chain(fields.map(|field| field.value))
    }
}

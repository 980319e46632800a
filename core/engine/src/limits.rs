//! Every bound of the engine, with its reason and what it costs at worst. docs/LIMITS.md lists them with those of the
//! other rooms.

use std::time::Duration;

/// The engine's own limits. Those that Envoy's configuration sets are in the snapshot.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Client connections of one worker; beyond it accepting pauses and the rest wait in the kernel's backlog. Keeps
    /// descriptors for upstreams: at most half of RLIMIT_NOFILE is spent on clients. Worst case about 1 KiB each when idle.
    pub downstreams_max: usize,
    /// Bytes queued towards one peer before its source is no longer read. Worst-case memory per direction: this plus
    /// one receive (a bulk buffer, or one burst of chunks).
    pub unsent_high: usize,
    /// Body bytes moved by one poll of a task before others have their turn.
    pub relay_bytes_per_poll: usize,
    /// A body with at least this many bytes to come, or of unknown size after as many, is received into bulk buffers.
    pub bulk_body_min: u64,
    /// Fresh connections tried for one idempotent request whose reused connection died before a response byte.
    pub replays_max: u32,
    /// How often a request is sent anew that an HTTP/2 upstream did nothing about (REFUSED_STREAM, GOAWAY): enough for an upstream that
    /// restarts connection by connection, and no loop with one that refuses all.
    pub unprocessed_replays_max: u32,
    /// Bytes of a request's body that are kept while an HTTP/2 upstream has not answered and may say that it did nothing about the request; one of
    /// which more was read is then answered 503. Most gRPC messages and forms are smaller. With a retry policy its own bound holds.
    /// Worst case: as much for each such request (at most twice that, in blocks), within `kept_bytes_max`.
    pub unprocessed_bytes_max: usize,
    /// Interim responses to one request; beyond it its upstream has broken the rules. RFC 9110 §15.2 sets no bound, and honest origins send one or
    /// two. Each is passed on at once: no memory, but in HTTP/2, where so many wait at most for a request that does not take them.
    pub interim_responses_max: u32,
    /// Bytes of requests' bodies that one worker keeps for another try, over all its requests; beyond it a request is not
    /// sent again. Worst case that much memory: what 64 requests keep of a mebibyte each.
    pub kept_bytes_max: usize,
    /// Idle connections kept per endpoint and core. Beyond it the oldest is closed. About 0.5 KiB each.
    pub idle_per_endpoint_max: usize,
    /// How long the control thread waits for a worker to adopt before it reports it late.
    pub adoption_wait: Duration,
    /// Messages that a worker's mailbox holds; one commit is two of them.
    pub mailbox_capacity: usize,
    /// Connections that other workers have handed to a worker and that it has not taken yet; beyond it they stay with who
    /// accepted them. A worker takes all at its next turn, so this is a burst of one turn. 32 bytes each.
    pub handoffs_max: usize,
    /// Where an endpoint has several addresses: from an attempt to connect that neither succeeds nor fails to the next one (RFC 8305
    /// §5: 100 ms to 2 s). Envoy: 300 ms.
    pub connect_attempt_delay: Duration,
    /// Attempts under way at once for one connection; beyond it the next waits until one has failed. A descriptor each. With Envoy's
    /// times, 17 begin before `connect_timeout`.
    pub connect_attempts_max: usize,
    /// From refusing new handshakes to closing the socket: what was begun can finish. A handshake on a LAN is over
    /// in well under this; a slower client's SYN is repeated by its kernel and meets the next process.
    pub handshake_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            downstreams_max: 1 << 20,
            unsent_high: 128 * 1024,
            relay_bytes_per_poll: 512 * 1024,
            bulk_body_min: 64 * 1024,
            replays_max: 1,
            unprocessed_replays_max: 3,
            unprocessed_bytes_max: 64 << 10,
            interim_responses_max: 64,
            kept_bytes_max: 64 << 20,
            idle_per_endpoint_max: 4096,
            adoption_wait: Duration::from_millis(100),
            mailbox_capacity: 64,
            handoffs_max: 256,
            connect_attempt_delay: Duration::from_millis(300),
            connect_attempts_max: 32,
            handshake_grace: Duration::from_millis(30),
        }
    }
}

impl Limits {
    /// The limits for a process that may have so many descriptors: half of them are for clients, shared by the workers;
    /// the other half is for upstreams and for ourselves.
    #[must_use]
    pub fn for_descriptors(self, descriptors: u64, workers: usize) -> Self {
        let share = usize::try_from(descriptors / 2).unwrap_or(usize::MAX) / workers.max(1);
        Self { downstreams_max: self.downstreams_max.min(share.max(1)), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_get_half_of_the_descriptors_and_never_none() {
        for (descriptors, workers, expect) in [(20_000, 2, 5_000), (64, 2, 16), (1, 4, 1), (u64::MAX, 1, 1 << 20)] {
            assert_eq!(Limits::default().for_descriptors(descriptors, workers).downstreams_max, expect);
        }
    }
}

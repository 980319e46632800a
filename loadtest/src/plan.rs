//! What is to be sent, where to, how fast and for how long: all that a run is told, and nothing that it finds out.

use std::net::SocketAddr;
use std::time::Duration;

use ringway_protocols::Method;
use ringway_runtime::IoChoice;

use crate::content::Sizes;
use crate::expect::Expect;
use crate::schedule::Arrivals;
use crate::target::{Protocol, Target};

/// How requests are set off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// The next when the last is answered.
    Closed,
    /// When they are due, so many a second, whether earlier ones were answered or not.
    Open { rate: f64, arrivals: Arrivals },
}

/// What requests are.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Fields beyond those that the protocol wants.
    pub(crate) headers: Vec<(String, String)>,
    /// Bytes of their bodies; of gRPC: of each message.
    pub(crate) sizes: Sizes,
    /// The bytes themselves, at least as many as the largest takes.
    pub(crate) content: Vec<u8>,
    /// Messages of a gRPC call: more than one make it a stream.
    pub(crate) messages: u32,
}

impl Request {
    pub(crate) fn method(&self) -> Method {
        Method::from_token(self.method.as_bytes())
    }
}

/// What comes back on a raw connection for what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// As much.
    Echo,
    /// Nothing: what was sent is done with when the kernel has it.
    None,
    /// So many bytes.
    Bytes(u64),
}

/// How a server is trusted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trust {
    /// PEM of the authorities; none: it is not verified.
    pub(crate) ca: Option<Vec<u8>>,
    /// The name that is sent and that the certificate must be for.
    pub(crate) name: String,
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) target: Target,
    pub(crate) address: SocketAddr,
    pub(crate) trust: Trust,
    pub(crate) request: Request,
    pub(crate) reply: Reply,
    pub(crate) expect: Expect,
    pub(crate) pace: Pace,
    pub(crate) connections: usize,
    /// Requests at once on a connection of HTTP/2.
    pub(crate) streams: u32,
    /// Requests of a connection before it is closed; `None`: as many as there are.
    pub(crate) requests_per_connection: Option<u64>,
    /// Cores; those of `cpus`, where there are any.
    pub(crate) threads: usize,
    pub(crate) cpus: Vec<usize>,
    /// Connections (closed loop) or the rate (open loop) grow so long from nothing.
    pub(crate) ramp: Duration,
    /// What falls due in it is not counted.
    pub(crate) warm_up: Duration,
    /// How long, warm-up included.
    pub(crate) duration: Duration,
    /// The duration ends it. Else `count` does, and the duration is a bound that nobody asked for.
    pub(crate) is_timed: bool,
    /// How many requests at most, beside those of the warm-up.
    pub(crate) count: Option<u64>,
    /// Connections stay open so long when nothing more is due.
    pub(crate) hold: Duration,
    /// For a whole answer, from when its request was due.
    pub(crate) timeout: Duration,
    pub(crate) connect_timeout: Duration,
    /// Lateness of one request in a hundred beyond which the generator has not kept the rate.
    pub(crate) late_max: Duration,
    pub(crate) spin_us: u32,
    pub(crate) io: IoChoice,
    pub(crate) seed: u64,
}

impl Plan {
    /// The version of HTTP, where it is known before connecting.
    pub(crate) fn is_http2(&self) -> bool {
        matches!(self.target.protocol, Protocol::Http2 | Protocol::Grpc)
    }

    /// One core's part of a number.
    pub(crate) fn share(&self, all: u64, core: usize) -> u64 {
        let (threads, core) = (self.threads as u64, core as u64);
        all / threads + u64::from(core < all % threads)
    }

    /// The plan in one line.
    pub(crate) fn summary(&self) -> String {
        self.summary_up_to(self)
    }

    /// This plan and others up to `last`, which are faster or have more connections, in one line.
    pub(crate) fn summary_up_to(&self, last: &Plan) -> String {
        let up_to = |from: String, to: String| if from == to { from } else { format!("{from} to {to}") };
        let pace = match (self.pace, last.pace) {
            (Pace::Open { rate, arrivals }, Pace::Open { rate: last, .. }) => {
                let rates = up_to(format!("{rate}/s"), format!("{last}/s"));
                format!("open loop at {rates}{}", if arrivals == Arrivals::Poisson { " (Poisson)" } else { "" })
            }
            _ => "closed loop".to_owned(),
        };
        let connections = up_to(self.connections.to_string(), last.connections.to_string());
        let cores = up_to(self.threads.to_string(), last.threads.to_string());
        let streams = if self.target.protocol == Protocol::Http1 || self.target.protocol == Protocol::Tcp {
            String::new()
        } else {
            format!(" x {} streams", self.streams)
        };
        let until = match self.count {
            Some(count) => format!("{count} requests"),
            None => format!("{:?}", self.duration),
        };
        let tls = if self.target.tls { " by TLS" } else { "" };
        format!(
            "{}{tls} to {}, {pace}, {connections} connections{streams}, {cores} core{}, {until}",
            self.target.protocol.name(),
            self.address,
            if last.threads == 1 { "" } else { "s" },
        )
    }
}

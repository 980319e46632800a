//! What the origin does with a request, and its answers as bytes.

use std::time::Duration;

use ringway_protocols::http1::{put_number, reason};
use ringway_runtime::{Chunk, Core, Instant};

use crate::chance::Chance;
use crate::content::filling;

/// Times in which nothing is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stall {
    pub(super) time: Duration,
    /// One begins in each.
    pub(super) period: Duration,
}

/// What is asked of the origin.
#[derive(Clone, Debug)]
pub(super) struct Behaviour {
    pub(super) size: usize,
    pub(super) echo: bool,
    pub(super) chunked: bool,
    pub(super) headers: Vec<(String, String)>,
    pub(super) delay: Duration,
    pub(super) stall: Option<Stall>,
    pub(super) error_rate: f64,
    pub(super) error_status: u16,
    pub(super) cut_rate: f64,
    pub(super) reset_rate: f64,
    pub(super) requests_per_connection: Option<u64>,
}

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Answer,
    Error,
    /// Half of the answer, and then the end.
    Cut,
    Reset,
}

impl Behaviour {
    /// When a request that came at `now` may be answered.
    pub(super) fn answers_at(&self, began: Instant, now: Instant) -> Instant {
        let ready = now + self.delay;
        let Some(stall) = self.stall else { return ready };
        let age = (ready - began).as_nanos();
        let into = Duration::from_nanos((age % stall.period.as_nanos().max(1)) as u64);
        if into < stall.time { ready + (stall.time - into) } else { ready }
    }

    /// What becomes of the next request.
    pub(super) fn fate(&self, chance: &mut Chance) -> Fate {
        if self.error_rate + self.cut_rate + self.reset_rate == 0.0 {
            return Fate::Answer;
        }
        let drawn = chance.unit();
        if drawn < self.error_rate {
            Fate::Error
        } else if drawn < self.error_rate + self.cut_rate {
            Fate::Cut
        } else if drawn < self.error_rate + self.cut_rate + self.reset_rate {
            Fate::Reset
        } else {
            Fate::Answer
        }
    }
}

/// One core's answers, written once.
pub(super) struct Replies {
    /// Heads in the form of HTTP/1.1, whole.
    pub(super) head: Chunk,
    pub(super) last_head: Chunk,
    pub(super) error: Chunk,
    pub(super) body: Chunk,
    /// Head and body in one, where that is small.
    pub(super) whole: Option<Chunk>,
    /// The body with its framing, where it is chunked.
    pub(super) chunked: Option<Chunk>,
}

/// An answer up to this size goes in one piece.
const WHOLE_MAX: usize = 16 << 10;

impl Replies {
    pub(super) fn new(core: &Core, behaviour: &Behaviour) -> Replies {
        let body = filling(behaviour.size);
        let head = head(behaviour, 200, behaviour.size, false);
        let chunked = behaviour.chunked.then(|| {
            let mut framed = format!("{:x}\r\n", body.len()).into_bytes();
            if body.is_empty() {
                framed.clear();
            } else {
                framed.extend_from_slice(&body);
                framed.extend_from_slice(b"\r\n");
            }
            framed.extend_from_slice(b"0\r\n\r\n");
            core.chunk(&framed)
        });
        let whole = [head.as_slice(), &body].concat();
        Replies {
            head: core.chunk(&head),
            last_head: core.chunk(&self::head(behaviour, 200, behaviour.size, true)),
            error: core.chunk(&self::head(behaviour, behaviour.error_status, 0, false)),
            whole: (whole.len() <= WHOLE_MAX && chunked.is_none()).then(|| core.chunk(&whole)),
            body: core.chunk(&body),
            chunked,
        }
    }
}

/// A head in the form of HTTP/1.1. `size` is of its body.
pub(super) fn head(behaviour: &Behaviour, status: u16, size: usize, is_last: bool) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} {}\r\n", reason(status)).into_bytes();
    if behaviour.chunked && status == 200 {
        head.extend_from_slice(b"transfer-encoding: chunked\r\n");
    } else {
        head.extend_from_slice(b"content-length: ");
        put_number(size as u64, &mut head);
        head.extend_from_slice(b"\r\n");
    }
    for (name, value) in &behaviour.headers {
        head.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    if is_last {
        head.extend_from_slice(b"connection: close\r\n");
    }
    head.extend_from_slice(b"\r\n");
    head
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn behaviour() -> Behaviour {
        Behaviour {
            size: 4,
            echo: false,
            chunked: false,
            headers: Vec::new(),
            delay: Duration::ZERO,
            stall: None,
            error_rate: 0.0,
            error_status: 503,
            cut_rate: 0.0,
            reset_rate: 0.0,
            requests_per_connection: None,
        }
    }

    #[test]
    fn a_stall_holds_what_falls_into_it() {
        let ms = Duration::from_millis;
        let stall = Some(Stall { time: ms(100), period: ms(1000) });
        let behaviour = Behaviour { stall, delay: ms(5), ..behaviour() };
        let began = Instant::now();
        for (at, answered) in [(0, 100), (90, 100), (95, 100), (96, 101), (500, 505), (999, 1100), (1050, 1100)] {
            assert_eq!(behaviour.answers_at(began, began + ms(at)), began + ms(answered), "{at}");
        }
    }

    #[test]
    fn fates_have_their_parts() {
        let behaviour = Behaviour { error_rate: 0.1, cut_rate: 0.2, reset_rate: 0.3, ..behaviour() };
        let mut chance = Chance::new(1);
        let drawn: Vec<Fate> = (0..10_000).map(|_| behaviour.fate(&mut chance)).collect();
        for (fate, part) in [(Fate::Error, 1000), (Fate::Cut, 2000), (Fate::Reset, 3000), (Fate::Answer, 4000)] {
            let count: usize = drawn.iter().filter(|drawn| **drawn == fate).count();
            assert!(count.abs_diff(part) < 200, "{fate:?} {count}");
        }
    }

    #[test]
    fn heads() {
        let written = head(&Behaviour { headers: vec![("a".into(), "b".into())], ..behaviour() }, 200, 4, true);
        assert_eq!(written, b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\na: b\r\nconnection: close\r\n\r\n");
    }
}

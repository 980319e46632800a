//! One case: a connection of a client, what is sent on it, and what is special about it.
//!
//! A case has a number of its own, drawn from the seed. It stands in a field of each request, so that what reaches an origin
//! is known to be this case's while others run. A case whose bytes have no room for a field runs alone.

use std::fmt;
use std::time::Duration;

use crate::lab::chance::Chance;

/// The field that carries a case's number through a proxy.
pub(super) const MARK: &str = "x-case";

/// What is special about a case, so that a reviewed difference can be confined to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    /// Goes to one of two clusters by chance.
    Weighted,
    /// The origin closes without an answer.
    Reset,
    /// May have been acted on, and is not to be done twice.
    Once,
    /// The origin's Connection field nominates another.
    Nominated,
    /// Has trailers.
    Trailers,
    /// Asks for 100 (Continue).
    Expect,
    /// The origin sends other interim responses than 100.
    Interim,
    /// Several requests in one write.
    Pipelined,
    /// Is told of as a client of the loopback.
    Loopback,
    /// Has a body, and no origin can be reached.
    Unsent,
}

/// What a client does, in order. After the last step it reads the answers that have not come yet.
#[allow(dead_code, reason = "for the classes that are being filled")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Sends this, in one write.
    Send(Vec<u8>),
    /// Reads one head: an interim one, or the next answer's.
    Head,
    /// Reads one whole answer.
    Answer,
    /// Says that it will send no more.
    HalfClose,
    /// Lets this much time pass, where time is what is tested.
    Pause(Duration),
}

/// One connection of a client.
#[derive(Clone, Debug, Default)]
pub(super) struct Case {
    /// Its class's name.
    pub(super) class: &'static str,
    /// What is odd about it; empty where it was drawn.
    pub(super) name: String,
    /// The front that it connects to: the class's first if empty.
    pub(super) front: &'static str,
    /// Its number.
    pub(super) id: u64,
    /// What the client does.
    pub(super) steps: Vec<Step>,
    /// The methods of the requests, which say how answers are framed.
    pub(super) methods: Vec<&'static str>,
    /// Sent when the connection has become a tunnel; then the client half-closes and reads to the end.
    pub(super) tunnel: Vec<u8>,
    /// Bytes that come back through the tunnel before the client half-closes: Envoy's tunnel of HTTP/1 ends with that.
    pub(super) tunnel_back: usize,
    /// Whether it runs while no other does, because its number stands in no field.
    pub(super) alone: bool,
    tags: Vec<Tag>,
}

impl Case {
    /// A case without a request so far.
    pub(super) fn new(chance: &mut Chance, name: impl Into<String>) -> Case {
        Case { name: name.into(), id: chance.number(), ..Case::default() }
    }

    /// Of one request, from its text. The number is put after the first line.
    pub(super) fn of(chance: &mut Chance, name: &str, method: &'static str, text: &str) -> Case {
        Case::new(chance, name).request(method, text)
    }

    /// Of bytes that are sent as they are, while no other case runs.
    pub(super) fn raw(chance: &mut Chance, name: &str, method: &'static str, bytes: impl AsRef<[u8]>) -> Case {
        let mut case = Case::new(chance, name);
        case.alone = true;
        case.methods.push(method);
        case.append(bytes.as_ref());
        case
    }

    /// Connects to this front of its class.
    #[allow(dead_code, reason = "for the classes that are being filled")]
    pub(super) fn on(mut self, front: &'static str) -> Case {
        self.front = front;
        self
    }

    /// Has this tag, too.
    pub(super) fn tag(mut self, tag: Tag) -> Case {
        self.tags.push(tag);
        self
    }

    /// One more request: appended to what is sent in one write, if that is the last step.
    pub(super) fn request(mut self, method: &'static str, text: impl AsRef<[u8]>) -> Case {
        let text = text.as_ref();
        let line = text.windows(2).position(|pair| pair == b"\r\n").map(|at| at + 2);
        let line = line.unwrap_or_else(|| panic!("{}: a request without a first line: Case::raw", self.name));
        self.methods.push(method);
        self.append(&text[..line]);
        let mark = format!("{MARK}: {:016x}\r\n", self.id);
        self.append(mark.as_bytes());
        self.append(&text[line..]);
        self
    }

    /// One more step.
    #[allow(dead_code, reason = "for the classes that are being filled")]
    pub(super) fn step(mut self, step: Step) -> Case {
        self.steps.push(step);
        self
    }

    /// Cuts the last write in two at a point of chance: a head or body that comes in two segments.
    pub(super) fn split(mut self, chance: &mut Chance) -> Case {
        if let Some(Step::Send(bytes)) = self.steps.last_mut()
            && bytes.len() > 1
        {
            let rest = bytes.split_off(1 + chance.below(bytes.len() - 1));
            self.steps.push(Step::Send(rest));
        }
        self
    }

    /// Whether it has this tag.
    pub(super) fn has(&self, tag: Tag) -> bool {
        self.tags.contains(&tag)
    }

    fn append(&mut self, more: &[u8]) {
        match self.steps.last_mut() {
            Some(Step::Send(bytes)) => bytes.extend_from_slice(more),
            _ => self.steps.push(Step::Send(more.to_vec())),
        }
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sent = self.steps.iter().filter_map(|step| match step {
            Step::Send(bytes) => Some(&bytes[..bytes.len().min(300)]),
            _ => None,
        });
        let bytes = sent.collect::<Vec<_>>().concat();
        let start = String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned();
        write!(f, "{} {:016x} {:?} {:?} {start:?}", self.class, self.id, self.name, self.tags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_carries_its_number_after_the_first_line() {
        let mut chance = Chance::new(1);
        let case = Case::of(&mut chance, "two", "GET", "GET / HTTP/1.1\r\nHost: a\r\n\r\n").request("GET", "A\r\n\r\n");
        let mark = format!("x-case: {:016x}\r\n", case.id);
        let expect = format!("GET / HTTP/1.1\r\n{mark}Host: a\r\n\r\nA\r\n{mark}\r\n");
        assert_eq!(case.steps, [Step::Send(expect.into_bytes())]);
        let halves = case.split(&mut chance);
        assert_eq!(halves.steps.len(), 2);
        assert!(Case::raw(&mut chance, "raw", "GET", "x\n").alone);
    }
}

//! What an answer is expected to be, and whether it was.

use std::fmt;
use std::hash::Hasher;

use twox_hash::XxHash64;

use crate::failure::Failure;
use crate::grpc::Messages;

/// What is expected of each answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Expect {
    /// Statuses, as ranges; those of 2xx by default.
    pub(crate) statuses: Vec<(u16, u16)>,
    /// Bytes of the body.
    pub(crate) body_bytes: Option<u64>,
    /// The body's xxHash64 with seed 0.
    pub(crate) body_hash: Option<u64>,
    /// Messages of a gRPC call's answer.
    pub(crate) messages: Option<u64>,
}

impl Default for Expect {
    fn default() -> Expect {
        Expect { statuses: vec![(200, 299)], body_bytes: None, body_hash: None, messages: None }
    }
}

impl Expect {
    /// Reads `200,404` or `2xx,304`.
    ///
    /// # Errors
    /// The part that is no status.
    pub(crate) fn statuses(text: &str) -> Result<Vec<(u16, u16)>, String> {
        text.split(',')
            .map(|part| match part.trim().as_bytes() {
                [class @ b'1'..=b'5', b'x', b'x'] => {
                    let first = u16::from(class - b'0') * 100;
                    Ok((first, first + 99))
                }
                _ => match part.trim().parse() {
                    Ok(status @ 100..=999) => Ok((status, status)),
                    _ => Err(format!("{part:?} is neither a status nor 1xx to 5xx")),
                },
            })
            .collect()
    }

    /// What is wrong with an answer, if anything is.
    pub(crate) fn judge(&self, answer: &Answer) -> Option<Failure> {
        if answer.status != 0 && !self.statuses.iter().any(|(first, last)| (*first..=*last).contains(&answer.status)) {
            return Some(Failure::Status);
        }
        if answer.grpc_status.is_some_and(|status| status != 0) {
            return Some(Failure::GrpcStatus);
        }
        let is_other_size = self.body_bytes.is_some_and(|bytes| bytes != answer.body.bytes);
        let is_other = self.body_hash.is_some_and(|hash| hash != answer.body.hash());
        let is_other_count = self.messages.is_some_and(|count| answer.body.messages() != Some(count));
        (is_other_size || is_other || is_other_count).then_some(Failure::Body)
    }
}

/// The hash by which bodies are compared.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = XxHash64::with_seed(0);
    hasher.write(bytes);
    hasher.finish()
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// 0 where the protocol has none.
    pub(crate) status: u16,
    pub(crate) grpc_status: Option<u32>,
    pub(crate) body: Body,
}

/// What may be wrong with it.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "status {}, ", self.status)?;
        if let Some(status) = self.grpc_status {
            write!(f, "grpc-status {status}, ")?;
        }
        write!(f, "{} bytes", self.body.bytes)
    }
}

/// A body that comes in pieces.
#[derive(Debug, Default)]
pub(crate) struct Body {
    pub(crate) bytes: u64,
    hasher: Option<Box<XxHash64>>,
    /// Of a gRPC call.
    messages: Option<Messages>,
}

impl Body {
    /// One that is hashed only where somebody expects a hash: that costs more than the rest of reading it.
    pub(crate) fn new(expect: &Expect) -> Body {
        Body { bytes: 0, hasher: expect.body_hash.map(|_| Box::new(XxHash64::with_seed(0))), messages: None }
    }

    /// One of messages.
    pub(crate) fn of_messages(expect: &Expect) -> Body {
        Body { messages: Some(Messages::default()), ..Body::new(expect) }
    }

    #[inline]
    pub(crate) fn push(&mut self, piece: &[u8]) {
        self.bytes += piece.len() as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.write(piece);
        }
        if let Some(messages) = &mut self.messages {
            messages.push(piece);
        }
    }

    /// How many messages it has; `None`: they are not whole, or it has none by its protocol.
    pub(crate) fn messages(&self) -> Option<u64> {
        self.messages.as_ref().and_then(Messages::whole)
    }

    fn hash(&self) -> u64 {
        self.hasher.as_ref().map_or(0, |hasher| hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(expect: &Expect, status: u16, pieces: &[&[u8]]) -> Answer {
        let mut body = Body::new(expect);
        pieces.iter().for_each(|piece| body.push(piece));
        Answer { status, grpc_status: None, body }
    }

    #[test]
    fn statuses_are_read() {
        assert_eq!(Expect::statuses("2xx, 304"), Ok(vec![(200, 299), (304, 304)]));
        for wrong in ["", "20", "6xx", "2xy", "1000"] {
            assert!(Expect::statuses(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_wrong_with_an_answer() {
        let expect = Expect { body_bytes: Some(4), body_hash: Some(hash(b"abcd")), ..Expect::default() };
        for (status, pieces, wrong) in [
            (200, &[b"ab".as_slice(), b"cd"][..], None),
            (0, &[b"abcd".as_slice()][..], None),
            (503, &[b"abcd".as_slice()][..], Some(Failure::Status)),
            (200, &[b"abc".as_slice()][..], Some(Failure::Body)),
            (200, &[b"abce".as_slice()][..], Some(Failure::Body)),
        ] {
            assert_eq!(expect.judge(&answer(&expect, status, pieces)), wrong, "{status} {pieces:?}");
        }
        let two = Expect { messages: Some(2), ..Expect::default() };
        for (wire, wrong) in [(&[0; 10][..], None), (&[0; 5], Some(Failure::Body)), (&[0; 9], Some(Failure::Body))] {
            let mut body = Body::of_messages(&two);
            body.push(wire);
            assert_eq!(two.judge(&Answer { status: 200, grpc_status: Some(0), body }), wrong, "{wire:?}");
        }
        let refused = Answer { grpc_status: Some(8), ..answer(&Expect::default(), 200, &[]) };
        assert_eq!(Expect::default().judge(&refused), Some(Failure::GrpcStatus));
    }
}

//! A layer to test with: records with a head of four bytes (kind, number, length), their bytes XORed with the record's number.
//!
//! It opens whole records in place where it holds the raw bytes alone, and gathers the others in a block of the record's size.

use std::cell::Cell;
use std::io;
use std::rc::Rc;

use ringway_runtime::{BlockMut, Chunk, Layer, Open, Opening, Sealing};

pub const HEAD: usize = 4;
/// Bytes of a record at most.
pub const RECORD_MAX: usize = 3000;

pub const DATA: u8 = 0;
/// No more data follows.
pub const END: u8 = 1;
/// Holds nothing for the user, as a session ticket.
pub const TICKET: u8 = 2;
/// Wants a ticket in answer.
pub const ASK: u8 = 3;
/// The last word of a side that found a wrong record.
pub const ALERT: u8 = 4;

/// What the test sees of a layer.
#[derive(Default)]
pub struct Seen {
    pub opened: Cell<usize>,
    pub in_place: Cell<usize>,
    pub dropped: Cell<bool>,
}

#[derive(Default)]
pub struct Toy {
    received: u8,
    sent: u8,
    partial: Option<BlockMut>,
    seen: Rc<Seen>,
}

impl Toy {
    pub fn new() -> (Box<Toy>, Rc<Seen>) {
        let toy = Toy::default();
        let seen = toy.seen.clone();
        (Box::new(toy), seen)
    }

    fn record(&mut self, block: &mut BlockMut, kind: u8, bytes: &[u8]) {
        block.extend_from_slice(&head(kind, self.sent, bytes.len()));
        let at = block.len();
        block.extend_from_slice(bytes);
        block[at..].iter_mut().for_each(|byte| *byte ^= self.sent);
        self.sent = self.sent.wrapping_add(1);
    }

    /// The length of the record that begins with `head`.
    fn expect(&mut self, head: [u8; HEAD], opening: &mut Opening<'_>) -> io::Result<usize> {
        let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
        if head[0] > ALERT || head[1] != self.received || len > RECORD_MAX {
            let mut alert = opening.block(HEAD);
            self.record(&mut alert, ALERT, b"");
            opening.answer(alert.freeze());
            return Err(io::Error::other("no record"));
        }
        Ok(len)
    }

    /// A whole record, opened already.
    fn whole(&mut self, kind: u8, bytes: Chunk, opening: &mut Opening<'_>) -> io::Result<Open> {
        self.received = self.received.wrapping_add(1);
        self.seen.opened.set(self.seen.opened.get() + 1);
        match kind {
            DATA => opening.plain(bytes),
            END => return Ok(Open::End),
            TICKET => {}
            ASK => {
                let mut ticket = opening.block(HEAD);
                self.record(&mut ticket, TICKET, b"");
                opening.answer(ticket.freeze());
            }
            _ => return Err(io::Error::other("the peer found a wrong record")),
        }
        Ok(Open::More)
    }

    fn fill(&mut self, raw: &mut Chunk, to: usize) -> bool {
        let block = self.partial.as_mut().expect("begun");
        let n = to.saturating_sub(block.len()).min(raw.len());
        block.extend_from_slice(&raw.split_to(n));
        block.len() >= to
    }
}

pub fn head(kind: u8, number: u8, len: usize) -> [u8; HEAD] {
    let len = (len as u16).to_be_bytes();
    [kind, number, len[0], len[1]]
}

/// A record as it is on the wire.
pub fn record(kind: u8, number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut wire = head(kind, number, bytes.len()).to_vec();
    wire.extend(bytes.iter().map(|byte| byte ^ number));
    wire
}

impl Layer for Toy {
    fn open(&mut self, mut raw: Chunk, opening: &mut Opening<'_>) -> io::Result<Open> {
        while !raw.is_empty() {
            if self.partial.is_none()
                && let Some(&first) = raw.first_chunk::<HEAD>()
            {
                let len = self.expect(first, opening)?;
                if raw.len() >= HEAD + len {
                    raw.advance(HEAD);
                    let number = self.received;
                    let alone = raw.unique_mut().map(|bytes| bytes[..len].iter_mut().for_each(|byte| *byte ^= number));
                    let plain = if alone.is_some() {
                        self.seen.in_place.set(self.seen.in_place.get() + 1);
                        raw.split_to(len)
                    } else {
                        let mut block = opening.block(len);
                        block.extend_from_slice(&raw.split_to(len));
                        block.iter_mut().for_each(|byte| *byte ^= number);
                        block.freeze()
                    };
                    match self.whole(first[0], plain, opening)? {
                        Open::More => continue,
                        end => return Ok(end),
                    }
                }
                self.partial = Some(opening.block(HEAD + len));
            }
            if self.partial.is_none() {
                self.partial = Some(opening.block(HEAD));
            }
            if !self.fill(&mut raw, HEAD) {
                break;
            }
            let first = *self.partial.as_ref().and_then(|block| block.first_chunk::<HEAD>()).expect("filled");
            let len = self.expect(first, opening)?;
            let block = self.partial.as_ref().expect("begun");
            if block.capacity() < HEAD + len {
                let mut larger = opening.block(HEAD + len);
                larger.extend_from_slice(block);
                self.partial = Some(larger);
            }
            if !self.fill(&mut raw, HEAD + len) {
                break;
            }
            let mut block = self.partial.take().expect("begun");
            block[HEAD..].iter_mut().for_each(|byte| *byte ^= self.received);
            let mut bytes = block.freeze();
            bytes.advance(HEAD);
            if self.whole(first[0], bytes, opening)? == Open::End {
                return Ok(Open::End);
            }
        }
        Ok(Open::More)
    }

    fn open_end(&mut self) -> io::Result<()> {
        Err(io::Error::new(io::ErrorKind::UnexpectedEof, "no end record"))
    }

    fn seal(&mut self, sealing: &mut Sealing<'_>) -> io::Result<()> {
        while sealing.left() > 0 {
            let n = sealing.left().min(RECORD_MAX);
            let mut block = sealing.block(HEAD + n);
            block.extend_from_slice(&head(DATA, self.sent, n));
            let mut left = n;
            for piece in sealing.pieces() {
                let part = piece.len().min(left);
                block.extend_from_slice(&piece[..part]);
                left -= part;
            }
            sealing.advance(n);
            block[HEAD..].iter_mut().for_each(|byte| *byte ^= self.sent);
            self.sent = self.sent.wrapping_add(1);
            sealing.raw(block.freeze());
        }
        Ok(())
    }

    fn seal_end(&mut self, sealing: &mut Sealing<'_>) {
        assert_eq!(sealing.left(), 0);
        let mut block = sealing.block(HEAD);
        self.record(&mut block, END, b"");
        sealing.raw(block.freeze());
    }
}

impl Drop for Toy {
    fn drop(&mut self) {
        self.seen.dropped.set(true);
    }
}

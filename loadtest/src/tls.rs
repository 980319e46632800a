//! TLS on a stream, either side: the handshake on the bare connection, then a layer that opens and seals its records.
//!
//! The engine's is made for many strangers; this one makes as many handshakes as the plan says, one step after another.

use std::io;
use std::ops::Range;

use ringway_runtime::{BlockMut, Chunk, Core, Layer, Open, Opening, Sealing, Stream};
use ringway_tls::{HANDSHAKE_MAX, Info, Opened, PLAINTEXT_MAX, Session};

/// Makes a session on a bare stream; afterwards the stream speaks of plain bytes.
///
/// # Errors
/// Why the handshake failed, in words. What the peer is told has been queued.
pub(crate) async fn secure(core: &Core, stream: &Stream, mut session: Session) -> Result<Box<Info>, String> {
    let (mut held, mut out) = (Vec::new(), Vec::new());
    loop {
        let stepped = session.handshake(&mut held, &mut out);
        if !out.is_empty() {
            stream.send(core.chunk(&out));
            out.clear();
        }
        let progress = stepped.map_err(|error| error.reason)?;
        held.drain(..progress.consumed);
        if progress.done {
            break;
        }
        let received = stream.recv().await.map_err(|error| error.to_string())?;
        let chunk = received.ok_or("the peer ended the connection within the handshake")?;
        if held.len() + chunk.len() > HANDSHAKE_MAX {
            return Err(format!("a message of the handshake is longer than {HANDSHAKE_MAX} bytes"));
        }
        held.extend_from_slice(&chunk);
    }
    if !held.is_empty() {
        stream.unread(core.chunk(&held));
    }
    let info = session.take_info().ok_or("the session has told of itself before")?;
    stream.set_layer(Box::new(Records {
        session,
        partial: Vec::new(),
        needed: 0,
        opened: Vec::new(),
        reply: Vec::new(),
    }));
    Ok(info)
}

/// The records of one connection.
struct Records {
    session: Session,
    /// The start of a record whose end has not come, and how long it is, as far as is known.
    partial: Vec<u8>,
    needed: usize,
    /// Working memory: where the plaintext of a chunk's records lies, and what the session answers by itself.
    opened: Vec<Range<usize>>,
    reply: Vec<u8>,
}

/// Plaintext of a record that we seal: with header and tag it fits a block of 16 KiB.
const SEALED_MAX: usize = PLAINTEXT_MAX - 64;

fn block_of(bytes: &[u8], mut block: BlockMut) -> Chunk {
    block.extend_from_slice(bytes);
    block.freeze()
}

impl Records {
    /// Opens the records that `raw`, which nobody else holds, has whole, and hands them on.
    fn open_chunk(&mut self, mut raw: Chunk, opening: &mut Opening<'_>) -> io::Result<Open> {
        let mut at = 0;
        let ended = loop {
            let bytes = raw.unique_mut().expect("nobody else holds it");
            match self.session.open(&mut bytes[at..], &mut self.reply) {
                Ok(Opened::Record { consumed, plaintext }) => {
                    if !plaintext.is_empty() {
                        self.opened.push(at + plaintext.start..at + plaintext.end);
                    }
                    at += consumed;
                }
                Ok(Opened::Partial(needed)) => {
                    self.partial.extend_from_slice(&bytes[at..]);
                    self.needed = needed;
                    break Ok(Open::More);
                }
                Ok(Opened::Closed) => break Ok(Open::End),
                Err(error) => break Err(io::Error::other(error)),
            }
        };
        for range in self.opened.drain(..) {
            opening.plain(raw.slice(range));
        }
        if !self.reply.is_empty() {
            let answer = block_of(&self.reply, opening.block(self.reply.len()));
            self.reply.clear();
            opening.answer(answer);
        }
        ended
    }
}

impl Layer for Records {
    fn open(&mut self, mut raw: Chunk, opening: &mut Opening<'_>) -> io::Result<Open> {
        while !self.partial.is_empty() {
            let taken = self.needed.saturating_sub(self.partial.len()).min(raw.len());
            self.partial.extend_from_slice(&raw[..taken]);
            raw.advance(taken);
            if self.partial.len() < self.needed {
                return Ok(Open::More);
            }
            // Whole, or now with a header that tells how long it is.
            let whole = block_of(&self.partial, opening.block(self.partial.len()));
            self.partial.clear();
            if self.open_chunk(whole, opening)? == Open::End {
                return Ok(Open::End);
            }
        }
        if raw.is_empty() {
            return Ok(Open::More);
        }
        if raw.unique_mut().is_none() {
            raw = block_of(&raw, opening.block(raw.len()));
        }
        self.open_chunk(raw, opening)
    }

    fn open_end(&mut self) -> io::Result<()> {
        if self.session.peer_closed() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    fn seal(&mut self, sealing: &mut Sealing<'_>) -> io::Result<()> {
        loop {
            let size = sealing.left().min(SEALED_MAX);
            if size == 0 {
                return Ok(());
            }
            let mut block = sealing.block(self.session.sealed_len(size));
            let mut sealed = Ok(0);
            block.extend_with(|room| {
                sealed = self.session.seal(sealing.pieces(), size, room);
                *sealed.as_ref().unwrap_or(&0)
            });
            sealed.map_err(io::Error::other)?;
            sealing.advance(size);
            sealing.raw(block.freeze());
        }
    }

    fn seal_end(&mut self, sealing: &mut Sealing<'_>) {
        self.session.close(&mut self.reply);
        if !self.reply.is_empty() {
            let end = block_of(&self.reply, sealing.block(self.reply.len()));
            self.reply.clear();
            sealing.raw(end);
        }
    }
}

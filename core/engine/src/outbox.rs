//! The block in which a head is written before it is sent, as the codec's `Out`.

use ringway_model::{Http1Rules, OwnNames};
use ringway_protocols::Out;
use ringway_protocols::http1::{preserve_case, proper_case};
use ringway_runtime::{BlockMut, Chunk, Core};

/// How the names in a head that is passed on are spelled.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Spelling {
    AsReceived,
    ProperCase,
    Preserved(OwnNames),
}

impl Spelling {
    /// What preserves the case where a message comes from goes before what the other side writes (as in Envoy: the formatter
    /// belongs to the message).
    #[inline]
    pub(crate) fn of(from: &Http1Rules, to: &Http1Rules) -> Self {
        match from.preserve_case {
            Some(own) => Self::Preserved(own),
            None if to.proper_case => Self::ProperCase,
            None => Self::AsReceived,
        }
    }
}

/// A head being written. Sized by the codec's upper bound, so that it never grows.
pub(crate) struct Outbox(BlockMut);

impl Outbox {
    pub(crate) fn new(core: &Core, capacity: usize) -> Self {
        Self(core.block(capacity))
    }

    /// A head of our own in the case that its reader wants.
    #[inline]
    pub(crate) fn finish_in_case(mut self, proper: bool) -> Chunk {
        if proper {
            proper_case(&mut self.0);
        }
        self.finish()
    }

    /// A head that came with these names.
    #[inline]
    pub(crate) fn finish_spelled<'n>(self, spelling: Spelling, names: impl Iterator<Item = &'n [u8]> + Clone) -> Chunk {
        match spelling {
            Spelling::AsReceived => self.finish(),
            Spelling::ProperCase => self.finish_in_case(true),
            Spelling::Preserved(own) => self.finish_preserved(own, names),
        }
    }

    #[cold]
    fn finish_preserved<'n>(mut self, own: OwnNames, names: impl Iterator<Item = &'n [u8]> + Clone) -> Chunk {
        preserve_case(&mut self.0, names, own == OwnNames::ProperCase);
        self.finish()
    }

    pub(crate) fn finish(self) -> Chunk {
        self.0.freeze()
    }
}

/// A head of ours without the fields of some names (in any case; empty ones are none), and with these lines at its end.
pub(crate) fn with_lines(core: &Core, head: &[u8], gone: &[&[u8]], lines: &[u8]) -> Chunk {
    let mut out = Outbox::new(core, head.len() + lines.len());
    for line in head.split_inclusive(|&byte| byte == b'\n') {
        let name = line.iter().position(|&byte| byte == b':').map_or(&b""[..], |at| &line[..at]);
        if line == b"\r\n" {
            break;
        }
        if name.is_empty() || !gone.iter().any(|gone| gone.eq_ignore_ascii_case(name)) {
            out.put(line);
        }
    }
    out.put(lines);
    out.put(b"\r\n");
    out.finish()
}

impl Out for Outbox {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

//! The head that was written last of one that comes again and again: with the same lines of ours it is not written again.
//!
//! It never looks at what a head says: the codec says which head it is ([`HeadId`]), and what is done to it is compared.
//!
//! Cost: a comparison of the lines of ours, less than a quarter of writing a head; one block and the lines, a core and direction.

use std::cell::RefCell;

use ringway_protocols::http1::HeadEdit;
use ringway_protocols::{Framing, HeadId, KnownSet};
use ringway_runtime::Chunk;

use crate::outbox::Spelling;

/// See the module.
#[derive(Default)]
pub(crate) struct Written {
    last: Option<(Form, Chunk)>,
    /// Our lines in it.
    lines: Vec<u8>,
}

/// What a head is written from beside the lines of ours.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Form {
    id: HeadId,
    framing: Framing,
    close: bool,
    drop: KnownSet,
    upgrade: bool,
    http10: bool,
}

impl Form {
    /// Where what is written follows from this and from the edit's lines. `close`: as [`ringway_protocols::http1::encode_response`] is told.
    #[inline]
    pub(crate) fn of(
        id: Option<HeadId>,
        (framing, close): (Framing, bool),
        edit: &HeadEdit<'_>,
        spelling: Spelling,
    ) -> Option<Self> {
        let id = id?;
        let HeadEdit { remove, drop, add, removed, lines: _, authority, path, upgrade, http10 } = *edit;
        let is_plain = remove.is_empty() && add.is_empty() && removed.is_empty();
        let is_itself = authority.is_none() && path.is_none() && matches!(spelling, Spelling::AsReceived);
        (is_plain && is_itself).then_some(Self { id, framing, close, drop, upgrade, http10 })
    }
}

impl Written {
    /// The head of this form with these lines: the one that was written last, if it is that, or what `write` writes.
    #[inline]
    pub(crate) fn or(last: &RefCell<Self>, form: Option<Form>, lines: &[u8], write: impl FnOnce() -> Chunk) -> Chunk {
        if let Some(form) = &form
            && let Some(head) = last.borrow().again(form, lines)
        {
            return head;
        }
        let head = write();
        if let Some(form) = form {
            last.borrow_mut().keep(form, lines, &head);
        }
        head
    }

    #[inline]
    fn again(&self, form: &Form, lines: &[u8]) -> Option<Chunk> {
        let (last, head) = self.last.as_ref()?;
        (form == last && self.lines == lines).then(|| head.clone())
    }

    fn keep(&mut self, form: Form, lines: &[u8], head: &Chunk) {
        self.last = Some((form, head.clone()));
        self.lines.clear();
        self.lines.extend_from_slice(lines);
    }
}

#[cfg(test)]
mod tests {
    use ringway_protocols::hpack::{Decoder, FieldList, ListLimits};
    use ringway_protocols::http2::message::{Asked, Repeat};
    use ringway_protocols::{Limits, Method};
    use ringway_runtime::{Core, IoChoice, Options, Wake, run};

    use super::*;

    /// The number of a head that came twice.
    fn id() -> HeadId {
        let (mut decoder, mut fields) = (Decoder::new(0), FieldList::new());
        for _ in 0..2 {
            let limits = ListLimits { size_max: 1000, fields_max: 10 };
            decoder.decode(&[0x88], &limits, &mut fields).expect("a block");
        }
        let (mut repeat, mut given) = (Repeat::<()>::default(), None);
        let asked = Asked { method: Method::Get, upgrade: None };
        let read = |(), id| {
            given = id;
            Ok(())
        };
        repeat.response(&fields, true, asked, &Limits::default(), read).expect("a head");
        given.expect("it came twice")
    }

    #[test]
    fn what_is_written_from_anything_else_is_written() {
        let work = |core: Core, _| async move {
            let (last, plain, ids) = (RefCell::default(), HeadEdit::default(), [Some(id()), Some(id()), None]);
            let mut count = 0;
            let mut write = |id: Option<HeadId>, (framing, close), edit: &HeadEdit<'_>, spelling, is_known: bool| {
                let form = Form::of(id, (framing, close), edit, spelling);
                let before = count;
                let head = Written::or(&last, form, edit.lines, || {
                    count += 1;
                    core.chunk(&[count])
                });
                assert_eq!((count == before, head[0]), (is_known, count));
            };
            let (none, chunked) = ((Framing::None, false), (Framing::Chunked, false));
            let as_received = Spelling::AsReceived;
            let lines = HeadEdit { lines: b"a: b\r\n", ..plain };
            for (of, how, edit) in [
                (ids[0], none, plain),
                (ids[1], none, plain),
                (ids[1], chunked, plain),
                (ids[1], (Framing::Chunked, true), plain),
                (ids[1], none, lines),
                (ids[1], none, HeadEdit { lines: b"a: c\r\n", ..plain }),
                (ids[1], none, HeadEdit { upgrade: true, ..lines }),
                (ids[1], none, HeadEdit { http10: true, ..lines }),
                (ids[1], none, HeadEdit { drop: KnownSet::NONE.with(ringway_protocols::Known::Te), ..lines }),
            ] {
                write(of, how, &edit, as_received, false);
                write(of, how, &edit, as_received, true);
                // What has no number is never known.
                write(ids[2], how, &edit, as_received, false);
            }
            for edit in [
                HeadEdit { remove: &[b"a"], ..plain },
                HeadEdit { add: &[(b"a", b"b")], ..plain },
                HeadEdit { removed: b"a\n", ..plain },
                HeadEdit { authority: Some(b"a"), ..plain },
                HeadEdit { path: Some(b"/"), ..plain },
            ] {
                write(ids[0], none, &edit, as_received, false);
                write(ids[0], none, &edit, as_received, false);
            }
            write(ids[0], none, &plain, Spelling::ProperCase, false);
            write(ids[0], none, &plain, Spelling::ProperCase, false);
        };
        let options = Options { io: IoChoice::Poll, ..Options::default() };
        run(&options, Wake::new().expect("an eventfd"), work).expect("the poll driver runs everywhere");
    }
}

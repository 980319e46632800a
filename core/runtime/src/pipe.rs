//! The pipes of one core, for splice(2): a few, each held only while bytes lie in it or are moved through it.
//!
//! A pipe whose bytes nobody wants any more is closed; an empty one goes back to the list, which a quiet core empties.
//! Invariant: `made` counts the pipes that exist, on the list or held, and never exceeds `max`; those on the list are empty.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;

use crate::stats::LoopStats;
use crate::sys;

/// A pipe. Dropping it closes it, and what lies in it is lost.
pub(crate) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    made: Rc<Cell<usize>>,
}

impl Pipe {
    /// Moves at most `len` bytes from a socket into it.
    pub(crate) fn fill(&self, socket: i32, len: usize) -> Result<usize, i32> {
        sys::splice(socket, self.write.as_raw_fd(), len)
    }

    /// Moves at most `len` bytes from it to a socket.
    pub(crate) fn empty(&self, socket: i32, len: usize) -> Result<usize, i32> {
        sys::splice(self.read.as_raw_fd(), socket, len)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.made.set(self.made.get() - 1);
    }
}

pub(crate) struct Pipes {
    list: RefCell<Vec<Pipe>>,
    made: Rc<Cell<usize>>,
    max: usize,
    size: usize,
    /// One could not be made: no more are tried until the next look.
    refused: Cell<bool>,
}

impl Pipes {
    pub(crate) fn new(max: usize, size: usize) -> Pipes {
        Pipes { list: RefCell::default(), made: Rc::default(), max, size, refused: Cell::new(false) }
    }

    /// The bytes that a pipe holds.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Whether [`Pipes::take`] may have one.
    pub(crate) fn may_take(&self) -> bool {
        !self.list.borrow().is_empty() || !self.refused.get() && self.made.get() < self.max
    }

    /// An empty pipe; `None` when all are held, or the system grants none.
    pub(crate) fn take(&self, stats: &LoopStats) -> Option<Pipe> {
        if !self.may_take() {
            return None;
        }
        if let listed @ Some(_) = self.list.borrow_mut().pop() {
            return listed;
        }
        stats.syscalls.add(3);
        let made = self.make();
        self.refused.set(made.is_err());
        made.ok()
    }

    #[cold]
    fn make(&self) -> io::Result<Pipe> {
        let (read, write) = sys::pipe(self.size)?;
        self.made.set(self.made.get() + 1);
        Ok(Pipe { read, write, made: self.made.clone() })
    }

    /// Takes an empty pipe back.
    pub(crate) fn put(&self, pipe: Pipe) {
        self.list.borrow_mut().push(pipe);
    }

    /// They are of no use: none is given until the next look.
    #[cold]
    pub(crate) fn refuse(&self) {
        self.list.borrow_mut().clear();
        self.refused.set(true);
    }

    /// Pipes that exist, on the list or held.
    pub(crate) fn made(&self) -> usize {
        self.made.get()
    }

    pub(crate) fn could_shrink(&self) -> bool {
        !self.list.borrow().is_empty()
    }

    /// The housekeeper's look: what was refused may be granted now, and a quiet core needs no pipes.
    pub(crate) fn look(&self, quiet: bool) {
        self.refused.set(false);
        if quiet {
            self.list.borrow_mut().clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the system refuses is not asked for again until the housekeeper looks; what is held counts until it is dropped.
    #[test]
    fn pipes_are_counted_and_refused() {
        let stats = LoopStats::default();
        let pipes = Pipes::new(2, 64 << 10);
        let (one, two) = (pipes.take(&stats).expect("below the limit"), pipes.take(&stats).expect("below the limit"));
        assert!(pipes.take(&stats).is_none() && !pipes.may_take());
        pipes.put(one);
        drop(two);
        assert_eq!((pipes.made(), pipes.may_take(), pipes.could_shrink()), (1, true, true));
        pipes.look(true);
        assert_eq!((pipes.made(), pipes.could_shrink()), (0, false));

        let too_large = Pipes::new(2, 1 << 31); // EINVAL, as EPERM for a user who has too many pages in pipes.
        assert!(too_large.may_take() && too_large.take(&stats).is_none());
        assert_eq!((too_large.may_take(), too_large.made()), (false, 0));
        too_large.look(false);
        assert!(too_large.may_take());
    }
}

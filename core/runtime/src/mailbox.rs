//! Mailboxes: bounded queues from any thread to one core.
//!
//! A full mailbox refuses; nothing blocks. It has no end: a core that is done drops it. Invariant: a message that was
//! accepted is seen by the core's next turn (the push comes before the wake, see wake.rs).

use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::task::{Context, Poll};

use crate::core::Core;
use crate::sync::ArrayQueue;
use crate::wake::Wake;

/// A mailbox for at most `capacity` messages, to the core that `wake` wakes.
pub fn mailbox<T: Send>(capacity: usize, wake: &Arc<Wake>) -> (Sender<T>, Mailbox<T>) {
    let queue = Arc::new(ArrayQueue::new(capacity));
    (Sender { queue: queue.clone(), wake: wake.clone() }, Mailbox { queue })
}

/// The end of a mailbox that any thread may hold.
#[derive(Debug)]
pub struct Sender<T> {
    queue: Arc<ArrayQueue<T>>,
    wake: Arc<Wake>,
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Sender<T> {
        Sender { queue: self.queue.clone(), wake: self.wake.clone() }
    }
}

impl<T: Send> Sender<T> {
    /// Puts a message in and wakes the core. Gives it back when the mailbox is full.
    pub fn try_send(&self, message: T) -> Result<(), T> {
        self.queue.push(message)?;
        self.wake.wake();
        Ok(())
    }

    /// The wake of the core behind it.
    pub fn wake(&self) -> &Arc<Wake> {
        &self.wake
    }
}

/// The end of a mailbox that its core reads. It may be sent to the core's thread, and is then polled there only.
#[derive(Debug)]
pub struct Mailbox<T> {
    queue: Arc<ArrayQueue<T>>,
}

impl<T: Send> Mailbox<T> {
    /// The next message.
    pub fn poll_recv(&self, core: &Core, cx: &mut Context<'_>) -> Poll<T> {
        if let Some(message) = self.queue.pop() {
            return Poll::Ready(message);
        }
        // A message pushed since is not lost: its wake is pending, and the turn that takes it wakes every mailbox's task.
        core.inner().mail.register(cx.waker());
        Poll::Pending
    }

    /// The next message if one is there. Remembers no task.
    pub fn try_recv(&self) -> Option<T> {
        self.queue.pop()
    }

    /// Waits for the next message.
    pub fn recv(&self, core: &Core) -> impl Future<Output = T> {
        poll_fn(|cx| self.poll_recv(core, cx))
    }
}

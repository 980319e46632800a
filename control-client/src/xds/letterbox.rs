//! What the thread has for the control thread, until that takes it.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::cache::{Kind, Update};
use crate::discovery::Refusal;

/// A stream; given out once.
pub(super) type StreamId = u64;

/// One thing that a stream has to say.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) id: StreamId,
    pub(super) event: Event,
}

#[derive(Debug)]
pub(super) enum Event {
    /// A response. What the cache refuses of it goes back, before the stream says or reads anything else.
    Response(Box<Response>),
    /// One that was refused as a whole, and why.
    Refused(Kind, String),
    /// The server says that it has none of these, and has not said so the last time.
    Nothing(Kind),
    /// These are gone: nobody renewed them in time.
    Expired(Kind, Vec<String>),
    /// A connection is there, to this address.
    Connected(String),
    /// It has lasted, or something came by it.
    Proven,
    /// There is none any more, or none could be made.
    Lost { why: String },
    /// A request waits because of `rate_limit_settings`; or does so no longer.
    Limited(bool),
}

/// A response, read.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) update: Update,
    /// What of it was refused before the cache saw it, or could not be given, as lines.
    pub(super) complaints: Vec<String>,
    /// How many of its resources the stream passed over, because nobody wants them.
    pub(super) unwanted: usize,
    /// Who sent it, as it says itself.
    pub(super) control_plane: String,
    /// Its size on the wire.
    pub(super) bytes: usize,
    pub(super) answer: oneshot::Sender<Vec<Refusal>>,
}

/// See the module. Bounded by the streams: each has one response at a time, and connects no oftener than its backoff allows.
#[derive(Clone)]
pub(super) struct Letterbox {
    letters: Arc<Mutex<Vec<Letter>>>,
    /// Called after something was put into an empty box.
    ring: Arc<dyn Fn() + Send + Sync>,
}

impl Letterbox {
    pub(super) fn new(ring: impl Fn() + Send + Sync + 'static) -> Letterbox {
        Letterbox { letters: Arc::default(), ring: Arc::new(ring) }
    }

    pub(super) fn take(&self) -> Vec<Letter> {
        std::mem::take(&mut *self.letters.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How many bytes wait, as they were on the wire.
    pub(super) fn bytes(&self) -> usize {
        let letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        let size = |letter: &Letter| match &letter.event {
            Event::Response(response) => response.bytes,
            _ => 0,
        };
        letters.iter().map(size).sum()
    }

    pub(super) fn put(&self, id: StreamId, event: Event) {
        let mut letters = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        let rings = letters.is_empty();
        letters.push(Letter { id, event });
        drop(letters);
        if rings {
            (self.ring)();
        }
    }
}

//! What a worker has to say in the process's log: of a peer that is set up wrong, which somebody ought to see.
//!
//! A place for one text, which the control side takes out about once a second: so many lines a worker gets, however many peers are wrong, and the
//! next one tells how many there were meanwhile. A worker never waits for the place: what finds it taken is only counted.

use std::sync::Mutex;

/// The place of one worker.
#[derive(Debug, Default)]
pub(crate) struct Complaints(Mutex<Place>);

#[derive(Debug, Default)]
struct Place {
    text: Option<String>,
    /// Those that were not kept.
    more: u64,
}

impl Complaints {
    /// Keeps what is to be said, if the place is free: only then is it made.
    #[cold]
    pub(crate) fn say(&self, text: impl FnOnce() -> String) {
        // Held for as long as it takes to take a text out.
        let Ok(mut place) = self.0.try_lock() else { return };
        match place.text {
            Some(_) => place.more += 1,
            None => place.text = Some(text()),
        }
    }

    /// Takes out what was said since the last time.
    pub(crate) fn take(&self) -> Option<String> {
        let mut place = self.0.lock().ok()?;
        let text = place.text.take()?;
        match std::mem::take(&mut place.more) {
            0 => Some(text),
            more => Some(format!("{text}; and {more} more like it")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_kept_and_the_others_are_counted() {
        let complaints = Complaints::default();
        assert_eq!(complaints.take(), None);
        for (said, expect) in [(1, "1"), (3, "1; and 2 more like it"), (1, "1")] {
            (1..=said).for_each(|at| complaints.say(|| at.to_string()));
            assert_eq!(complaints.take().as_deref(), Some(expect));
        }
        assert_eq!(complaints.take(), None);
    }
}

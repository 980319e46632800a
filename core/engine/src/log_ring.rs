//! Lines of access logs on their way from one worker to the thread that writes them.
//!
//! A ring of words with one writer and one reader. Who has no room drops the line and counts it: a full or slow disk never makes
//! a worker wait. An entry is a word with its size and its sink, then the line, padded to whole words. Words are atomics that are
//! read and written relaxed, so that this needs no `unsafe`; what orders them is the release of `tail` after a line and of `head`
//! after its reading.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::thread::Thread;

use crossbeam_utils::CachePadded;

/// Bytes of one worker's ring: at 20,000 lines of 400 bytes a second it holds what comes while the log's thread is kept from its
/// CPU for 130 ms. Made when the first configuration with an access log is committed.
pub(crate) const LOG_RING_BYTES: usize = 1 << 20;
/// The longest line; a longer one is dropped and counted. Half the largest request head (`max_request_headers_kb`, 60 KiB by
/// default) several times over; and more than one always fits.
pub(crate) const LOG_LINE_BYTES_MAX: usize = 256 << 10;
const WORD: usize = size_of::<u64>();
const _: () = assert!(2 * (LOG_LINE_BYTES_MAX + 2 * WORD) <= LOG_RING_BYTES, "a line finds room in an empty ring");

struct Ring {
    words: Box<[AtomicU64]>,
    /// Words read and words written, since ever.
    head: CachePadded<AtomicU64>,
    tail: CachePadded<AtomicU64>,
    /// Lines for which there was no room.
    dropped: AtomicU64,
    /// The reader has been woken and has not read since.
    woken: AtomicBool,
}

/// The worker's end.
pub(crate) struct LogTail {
    ring: Arc<Ring>,
    /// The reader's `head`, as last seen.
    head: u64,
    /// Words that make the reader be woken before its time.
    wake_words: u64,
    reader: Thread,
}

/// The end of whoever writes the lines to files.
pub struct LogReader {
    ring: Arc<Ring>,
    dropped_seen: u64,
    line: Vec<u8>,
}

/// A ring. `reader` is unparked when `wake_bytes` are waiting.
pub(crate) fn log_ring(bytes: usize, wake_bytes: usize, reader: Thread) -> (LogTail, LogReader) {
    assert!(
        bytes.is_power_of_two() && bytes >= 2 * WORD,
        "a power of two, so that a position is an index after a mask"
    );
    let ring = Arc::new(Ring {
        words: (0..bytes / WORD).map(|_| AtomicU64::new(0)).collect(),
        head: CachePadded::default(),
        tail: CachePadded::default(),
        dropped: AtomicU64::new(0),
        woken: AtomicBool::new(false),
    });
    let tail = LogTail { ring: Arc::clone(&ring), head: 0, wake_words: (wake_bytes / WORD) as u64, reader };
    (tail, LogReader { ring, dropped_seen: 0, line: Vec::new() })
}

impl Ring {
    fn word(&self, position: u64) -> &AtomicU64 {
        &self.words[position as usize & (self.words.len() - 1)]
    }

    /// So many words from a position on: up to the end of the ring, and then from its start.
    fn places(&self, position: u64, count: usize) -> (&[AtomicU64], &[AtomicU64]) {
        let start = position as usize & (self.words.len() - 1);
        let end = (start + count).min(self.words.len());
        (&self.words[start..end], &self.words[..count - (end - start)])
    }
}

impl LogTail {
    /// Puts a line for a sink into the ring, or drops and counts it.
    pub(crate) fn push(&mut self, sink: u32, line: &[u8]) {
        let ring = &*self.ring;
        // This end is the one writer of `tail`.
        let tail = ring.tail.load(Relaxed);
        let size = 1 + line.len().div_ceil(WORD) as u64;
        let room = ring.words.len() as u64;
        if tail + size - self.head > room {
            self.head = ring.head.load(Acquire);
        }
        if line.len() > LOG_LINE_BYTES_MAX || tail + size - self.head > room {
            ring.dropped.store(ring.dropped.load(Relaxed) + 1, Relaxed);
            return;
        }
        ring.word(tail).store(u64::from(sink) << 32 | line.len() as u64, Relaxed);
        let (words, rest) = line.as_chunks::<WORD>();
        let (places, wrapped) = ring.places(tail + 1, words.len());
        let (front, back) = words.split_at(places.len());
        let store = |(place, word): (&AtomicU64, &[u8; WORD])| place.store(u64::from_ne_bytes(*word), Relaxed);
        places.iter().zip(front).for_each(store);
        wrapped.iter().zip(back).for_each(store);
        if !rest.is_empty() {
            let mut word = [0; WORD];
            word[..rest.len()].copy_from_slice(rest);
            store((ring.word(tail + size - 1), &word));
        }
        let position = tail + size;
        ring.tail.store(position, Release);
        if position - self.head >= self.wake_words {
            self.head = ring.head.load(Acquire);
            if position - self.head >= self.wake_words && !ring.woken.swap(true, Relaxed) {
                self.reader.unpark();
            }
        }
    }
}

impl LogReader {
    /// Gives each line that is waiting to `take`, with its sink, in order. Lines that come meanwhile are left for the next time.
    /// Returns how many there were.
    pub fn read(&mut self, mut take: impl FnMut(u32, &[u8])) -> u64 {
        let ring = &*self.ring;
        ring.woken.store(false, Relaxed);
        let mut head = ring.head.load(Relaxed);
        let tail = ring.tail.load(Acquire);
        let mut lines = 0;
        while head < tail {
            let entry = ring.word(head).load(Relaxed);
            let (sink, size) = ((entry >> 32) as u32, entry as u32 as usize);
            let count = size.div_ceil(WORD);
            let (places, wrapped) = ring.places(head + 1, count);
            head += 1 + count as u64;
            // Grows to the longest line there is; what is behind this one is of another.
            if self.line.len() < count * WORD {
                self.line.resize(count * WORD, 0);
            }
            let (words, _) = self.line[..count * WORD].as_chunks_mut::<WORD>();
            let (front, back) = words.split_at_mut(places.len());
            let load = |(place, word): (&AtomicU64, &mut [u8; WORD])| *word = place.load(Relaxed).to_ne_bytes();
            places.iter().zip(front).for_each(load);
            wrapped.iter().zip(back).for_each(load);
            // Before `take`: it may wait for a disk, and the worker has use for the room.
            ring.head.store(head, Release);
            take(sink, &self.line[..size]);
            lines += 1;
        }
        lines
    }

    /// Lines that were dropped since this was last asked.
    pub fn take_dropped(&mut self) -> u64 {
        let dropped = self.ring.dropped.load(Relaxed);
        dropped - std::mem::replace(&mut self.dropped_seen, dropped)
    }
}

impl std::fmt::Debug for LogReader {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("LogReader").field("dropped_seen", &self.dropped_seen).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn read(reader: &mut LogReader) -> Vec<(u32, String)> {
        let mut lines = Vec::new();
        reader.read(|sink, line| lines.push((sink, String::from_utf8_lossy(line).into_owned())));
        lines
    }

    #[test]
    fn lines_arrive_in_order_whatever_their_size() {
        let (mut tail, mut reader) = log_ring(256, 1 << 20, thread::current());
        for round in 0..100 {
            let lines: Vec<String> = (0..6).map(|at| "x".repeat((round + at * 7) % 20)).collect();
            lines.iter().zip(0..).for_each(|(line, sink)| tail.push(sink, line.as_bytes()));
            let expect: Vec<_> = (0..).zip(lines).collect();
            assert_eq!(read(&mut reader), expect, "{round}");
        }
        assert_eq!(reader.take_dropped(), 0);
    }

    #[test]
    fn what_finds_no_room_is_dropped_and_counted() {
        let (mut tail, mut reader) = log_ring(64, 1 << 20, thread::current());
        for line in ["0123456789", "0123456789abcdefgh", "next"] {
            tail.push(7, line.as_bytes());
        }
        assert_eq!(read(&mut reader), [(7, "0123456789".into()), (7, "0123456789abcdefgh".into())]);
        assert_eq!((reader.take_dropped(), reader.take_dropped()), (1, 0));
        // Room again, but never for what is larger than the ring.
        tail.push(1, b"again");
        tail.push(1, &[b'x'; 64]);
        assert_eq!(read(&mut reader), [(1, "again".into())]);
        assert_eq!(reader.take_dropped(), 1);
        let (mut tail, mut reader) = log_ring(LOG_RING_BYTES, 1 << 20, thread::current());
        tail.push(1, &vec![b'x'; LOG_LINE_BYTES_MAX]);
        tail.push(1, &vec![b'x'; LOG_LINE_BYTES_MAX + 1]);
        assert_eq!((read(&mut reader).len(), reader.take_dropped()), (1, 1));
    }

    /// Two threads: each line that arrives is whole, in order, and none is both counted and delivered.
    #[test]
    fn a_reader_on_another_thread_sees_whole_lines() {
        const LINES: u64 = 20_000;
        let (mut tail, mut reader) = log_ring(4096, 1024, thread::current());
        let writer = thread::spawn(move || {
            for number in 0..LINES {
                tail.push(number as u32, number.to_string().repeat(1 + number as usize % 9).as_bytes());
            }
        });
        let (mut seen, mut dropped, mut last) = (0, 0, None);
        let mut is_last = false;
        while !is_last {
            is_last = writer.is_finished();
            reader.read(|sink, line| {
                let number = u64::from(sink);
                assert_eq!(line, number.to_string().repeat(1 + number as usize % 9).as_bytes());
                assert!(last.is_none_or(|last| last < number), "in order");
                last = Some(number);
                seen += 1;
            });
            dropped += reader.take_dropped();
            thread::yield_now();
        }
        writer.join().expect("the writer ends");
        assert_eq!(seen + dropped, LINES);
    }
}

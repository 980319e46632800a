//! All streams of a connection: dense places, used again, and found by identifier without hashing.
//!
//! Identifiers are taken in order, so that their low bits are a bucket: streams in a row never share one while there are as many buckets as places.
//! A peer that skips identifiers to fill one bucket pays a glitch for each. It holds no memory while it never had a stream.

use super::stream::Stream;

/// No place.
const NONE: u32 = u32::MAX;
/// Places that a connection begins with.
const PLACES_MIN: usize = 4;

/// A place and who is in it, so that a key to a stream that is gone opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    index: u32,
    id: u32,
}

impl Key {
    /// Dense, and used again when the stream is gone: the caller's own table goes by it.
    #[must_use]
    pub fn index(self) -> usize {
        self.index as usize
    }

    /// The stream's identifier on the wire.
    #[must_use]
    pub fn id(self) -> u32 {
        self.id
    }
}

/// The streams.
#[derive(Debug)]
pub(super) struct Streams {
    /// A free place has the identifier 0.
    places: Vec<Stream>,
    /// The first place of each chain. As many as there may be places, a power of two.
    buckets: Vec<u32>,
    free: u32,
    count: u32,
}

impl Streams {
    pub(super) fn new() -> Self {
        Self { places: Vec::new(), buckets: Vec::new(), free: NONE, count: 0 }
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    #[inline]
    fn bucket(&self, id: u32) -> usize {
        (id >> 1) as usize & (self.buckets.len() - 1)
    }

    /// The stream with this identifier.
    #[inline]
    pub(super) fn find(&self, id: u32) -> Option<Key> {
        if self.count == 0 {
            return None;
        }
        let mut index = self.buckets[self.bucket(id)];
        while index != NONE {
            let place = &self.places[index as usize];
            if place.id == id {
                return Some(Key { index, id });
            }
            index = place.next;
        }
        None
    }

    #[inline]
    pub(super) fn get(&self, key: Key) -> Option<&Stream> {
        self.places.get(key.index()).filter(|place| place.id == key.id)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Stream> {
        self.places.get_mut(key.index()).filter(|place| place.id == key.id)
    }

    /// Every stream, in no order that means anything.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Key, &Stream)> {
        let places = self.places.iter().enumerate();
        places
            .filter(|(_, place)| place.id != 0)
            .map(|(index, place)| (Key { index: index as u32, id: place.id }, place))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Stream> {
        self.places.iter_mut().filter(|place| place.id != 0)
    }

    /// A stream that is not there yet.
    #[inline]
    pub(super) fn insert(&mut self, stream: Stream) -> Key {
        debug_assert!(stream.id != 0 && self.find(stream.id).is_none());
        if self.free == NONE {
            self.grow();
        }
        let index = self.free;
        let bucket = self.bucket(stream.id);
        let place = &mut self.places[index as usize];
        self.free = place.next;
        *place = Stream { next: self.buckets[bucket], ..stream };
        self.buckets[bucket] = index;
        self.count += 1;
        Key { index, id: stream.id }
    }

    /// Takes out the stream that is there.
    #[inline]
    pub(super) fn remove(&mut self, key: Key) {
        let bucket = self.bucket(key.id);
        let next = self.places[key.index()].next;
        let mut index = self.buckets[bucket];
        if index == key.index {
            self.buckets[bucket] = next;
        } else {
            while self.places[index as usize].next != key.index {
                index = self.places[index as usize].next;
            }
            self.places[index as usize].next = next;
        }
        let place = &mut self.places[key.index()];
        (place.id, place.next) = (0, self.free);
        self.free = key.index;
        self.count -= 1;
    }

    /// Twice the places; every chain anew.
    #[cold]
    fn grow(&mut self) {
        let (before, after) = (self.places.len(), (2 * self.places.len()).max(PLACES_MIN));
        self.places.reserve_exact(after - before);
        self.places.resize(after, Stream::FREE);
        self.buckets = vec![NONE; after];
        for index in 0..before {
            let bucket = self.bucket(self.places[index].id);
            self.places[index].next = self.buckets[bucket];
            self.buckets[bucket] = index as u32;
        }
        for index in (before..after).rev() {
            self.places[index].next = self.free;
            self.free = index as u32;
        }
    }

    /// Gives memory back that no stream needs.
    pub(super) fn shrink(&mut self) {
        if self.count == 0 {
            *self = Self::new();
        }
    }

    /// Bytes of memory held.
    pub(super) fn memory(&self) -> usize {
        self.places.capacity() * size_of::<Stream>() + self.buckets.capacity() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn they_are_found_by_identifier_and_their_places_used_again() {
        assert_eq!(size_of::<Stream>(), 32);
        let (mut streams, mut map, mut seed, mut id) = (Streams::new(), BTreeMap::<u32, Key>::new(), 7, 1);
        for _ in 0..20_000 {
            let random = crate::fuzz::next(&mut seed);
            if random.is_multiple_of(2) && map.len() < 60 {
                id += 2 + 128 * ((random >> 8) as u32 % 2); // some chains
                map.insert(id, streams.insert(Stream { id, ..Stream::FREE }));
            } else if let Some((&id, &key)) = map.iter().nth((random >> 8) as usize % map.len().max(1)) {
                streams.remove(key);
                map.remove(&id);
                assert!(streams.get(key).is_none() && streams.find(id).is_none());
            }
            assert_eq!(streams.count() as usize, map.len());
            assert!(map.iter().all(|(&id, &key)| streams.find(id) == Some(key) && key.index() < 64));
            assert_eq!(streams.iter().count(), map.len());
        }
        assert!(streams.memory() <= 64 * 36);
    }
}

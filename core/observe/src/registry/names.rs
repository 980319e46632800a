//! The names of one kind of block, behind their lock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::entry::{Base, Entry};
use crate::Block;

/// A panic while a lock was held leaves a whole map behind: inserting and removing are all that happens.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The names of one kind of block.
#[derive(Debug)]
pub(super) struct Names<B>(Mutex<BTreeMap<Arc<str>, Named<B>>>);

#[derive(Debug)]
struct Named<B> {
    blocks: Arc<[Arc<B>]>,
    base: Option<Arc<Base>>,
}

impl<B> Default for Names<B> {
    fn default() -> Self {
        Names(Mutex::default())
    }
}

impl<B: Block> Names<B> {
    pub(super) fn find(&self, name: &str, count: usize) -> Vec<Arc<B>> {
        let mut names = lock(&self.0);
        if let Some(named) = names.get(name) {
            return named.blocks.to_vec();
        }
        let blocks = fresh(count);
        names.insert(name.into(), Named { blocks: blocks.clone(), base: None });
        blocks.to_vec()
    }

    /// Gives a name further blocks, and these.
    pub(super) fn extend(&self, name: &str, count: usize) -> Arc<[Arc<B>]> {
        let blocks = fresh(count);
        let mut names = lock(&self.0);
        let none = || Named { blocks: Arc::default(), base: None };
        let named = names.entry(name.into()).or_insert_with(none);
        named.blocks = named.blocks.iter().chain(blocks.iter()).cloned().collect();
        blocks
    }

    pub(super) fn forget(&self, name: &str) {
        lock(&self.0).remove(name);
    }

    /// A copy of the list, so that numbers are read without the lock.
    pub(super) fn entries(&self) -> Vec<Entry<B>> {
        let entry = |(name, Named { blocks, base }): (&Arc<str>, &Named<B>)| Entry {
            name: name.clone(),
            blocks: blocks.clone(),
            base: base.clone(),
        };
        lock(&self.0).iter().map(entry).collect()
    }

    pub(super) fn reset(&self) {
        let entries = self.entries();
        let bases: Vec<_> = entries.iter().map(|entry| (entry.name.clone(), Arc::new(entry.base()))).collect();
        let mut names = lock(&self.0);
        for (name, base) in bases {
            if let Some(named) = names.get_mut(&name) {
                named.base = Some(base);
            }
        }
    }
}

fn fresh<B: Block>(count: usize) -> Arc<[Arc<B>]> {
    (0..count).map(|_| Arc::default()).collect()
}

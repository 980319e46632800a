//! Which responses of one server belong together: those of one version, where it gives all types of a snapshot the same.
//!
//! xDS has no transactions, but go-control-plane and what is built on it number whole snapshots: `version_info` is then the same for
//! every type, and a new one comes for every type. Once that was seen, a change of one type is the beginning of a bundle; it is whole
//! when every type has come to the same version again. A server that turns out to number otherwise is not waited for any more, until it
//! is seen to bring all types to a new version.
//!
//! No I/O, and no clock: the time comes as an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use crate::cache::Kind;

/// Who notices the end of a wait later than this stood still, as did who was to bring the rest, or was busy with what had come: either way the rest
/// may be there and not have been read.
const LATE: Duration = Duration::from_millis(20);
/// So often a bundle is waited for anew because of that: a host that always stands still gets its changes all the same.
const AGAIN_MAX: u32 = 3;

/// The state of one stream of several types.
#[derive(Debug, Default)]
pub(super) struct Bundle {
    /// The last version of each type that is wanted.
    versions: BTreeMap<Kind, String>,
    /// The types that are wanted.
    wanted: BTreeSet<Kind>,
    /// When the first response of a bundle came whose others are missing.
    since: Option<Instant>,
    /// How often that was set anew.
    again: u32,
    /// It did not come to one version in time, and has not since.
    is_doubted: bool,
}

impl Bundle {
    /// Types are wanted, or are not any more.
    pub(super) fn want(&mut self, wanted: impl Iterator<Item = Kind>) {
        self.wanted = wanted.collect();
        self.versions.retain(|kind, _| self.wanted.contains(kind));
    }

    /// A response of this version came.
    pub(super) fn hear(&mut self, kind: Kind, version: &str, now: Instant) {
        if self.versions.get(&kind).is_some_and(|before| before == version) {
            return;
        }
        let was_whole = self.is_whole();
        self.versions.insert(kind, version.to_owned());
        if self.is_whole() {
            (self.since, self.is_doubted) = (None, false);
        } else if was_whole && !self.is_doubted {
            (self.since, self.again) = (Some(now), 0);
        }
    }

    /// Until when what has come waits for the rest; `None`: it need not, or has done so for long enough. It is to be asked again then.
    pub(super) fn held_until(&mut self, wait: Duration, now: Instant) -> Option<Instant> {
        let until = self.since?.checked_add(wait)?;
        if until > now {
            return Some(until);
        }
        let stood_still = now - until > LATE && !wait.is_zero();
        if stood_still && self.again < AGAIN_MAX {
            (self.since, self.again) = (Some(now), self.again + 1);
            return now.checked_add(wait);
        }
        (self.since, self.is_doubted) = (None, true);
        None
    }

    /// Whether each type is there, all of one version. One type alone has nothing to wait for.
    fn is_whole(&self) -> bool {
        let mut versions = self.versions.values();
        let Some(first) = versions.next().filter(|first| !first.is_empty()) else { return false };
        self.wanted.len() > 1 && self.versions.len() == self.wanted.len() && versions.all(|version| version == first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: Duration = Duration::from_millis(100);

    /// What is heard, at a time in milliseconds each; then at which of these times it is held back.
    fn held(wanted: &[Kind], heard: &[(u64, Kind, &str)]) -> Vec<bool> {
        let (mut bundle, start) = (Bundle::default(), Instant::now());
        bundle.want(wanted.iter().copied());
        let held = heard.iter().map(|(millis, kind, version)| {
            let now = start + Duration::from_millis(*millis);
            bundle.hear(*kind, version, now);
            bundle.held_until(WAIT, now).is_some()
        });
        held.collect()
    }

    use Kind::{Assignment as A, Cluster as C, Routes as R};

    #[test]
    fn a_bundle_is_held_until_each_type_has_come_to_its_version() {
        // The first start has nothing to hold: there is no version before.
        let start = [(0, C, "1"), (0, A, "1"), (0, R, "1")];
        assert_eq!(held(&[C, A, R], &start), [false; 3]);
        let mut heard = start.to_vec();
        heard.extend([(10, C, "2"), (11, A, "2"), (12, R, "2"), (13, R, "3"), (14, A, "3"), (15, C, "3")]);
        assert_eq!(held(&[C, A, R], &heard)[3..], [true, true, false, true, true, false]);
        // A type may skip a version that the others had.
        let mut heard = start.to_vec();
        heard.extend([(10, C, "2"), (11, A, "3"), (12, C, "3"), (13, R, "3")]);
        assert_eq!(held(&[C, A, R], &heard)[3..], [true, true, true, false]);
    }

    /// Guards against half of a version in force because nobody had a CPU while the other half was on its way.
    #[test]
    fn who_stood_still_waits_anew_and_not_for_ever() {
        let late = WAIT.as_millis() as u64 + LATE.as_millis() as u64 + 1;
        let start = [(0, C, "1"), (0, A, "1"), (10, C, "2")];
        let with = |more: &[(u64, Kind, &'static str)]| held(&[C, A], &[&start, more].concat())[2..].to_vec();
        assert_eq!(with(&[(10 + late, C, "2"), (11 + late, A, "2")]), [true, true, false]);
        // Noticed in time, it is over.
        assert_eq!(with(&[(10 + late - 1, C, "2"), (11 + late, A, "2")]), [true, false, false]);
        let each: Vec<_> = (1..=AGAIN_MAX as u64 + 2).map(|time| (10 + time * late, C, "2")).collect();
        assert_eq!(with(&each), [true, true, true, true, false, false]);
    }

    #[test]
    fn who_numbers_otherwise_is_waited_for_once() {
        let heard = [
            (0, C, "1"),
            (0, A, "1"),
            (10, A, "2"),
            (109, A, "3"),
            (110, A, "4"),
            (120, A, "5"),
            (300, C, "5"),
            (310, A, "6"),
            (311, C, "6"),
        ];
        // At 300 it has come to one version again, and is believed.
        assert_eq!(held(&[C, A], &heard), [false, false, true, true, false, false, false, true, false]);
    }

    #[test]
    fn without_versions_or_with_one_type_nothing_is_held() {
        assert_eq!(held(&[C, A], &[(0, C, ""), (0, A, ""), (1, C, "1"), (2, A, "2")]), [false; 4]);
        assert_eq!(held(&[C], &[(0, C, "1"), (1, C, "2")]), [false; 2]);
        // A type that has never come may never come.
        assert_eq!(held(&[C, A, R], &[(0, C, "1"), (0, A, "1"), (1, C, "2")]), [false; 3]);
    }
}

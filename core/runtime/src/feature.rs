//! What the `ring` driver wants of io_uring, by name: since when a kernel has it, and what its absence means.
//!
//! Names and versions only; `driver/probe.rs` finds out. A feature is wished for (its absence costs something) or needed
//! (its absence means `poll`). The newest that is needed came with Linux 6.0.

use std::fmt;
use std::str::FromStr;

macro_rules! features {
    ($($(#[doc = $doc:literal])+ $variant:ident, $name:literal, $since:literal, $without:expr;)+) => {
        /// One thing that the `ring` driver wants of io_uring.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Feature {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Feature {
            /// All, oldest first.
            pub const ALL: &[Feature] = &[$(Feature::$variant,)+];

            /// The word for it: io_uring's own, in lower case.
            pub fn name(self) -> &'static str {
                match self { $(Feature::$variant => $name,)+ }
            }

            /// The first kernel that has it, by io_uring's manual pages.
            pub fn since(self) -> &'static str {
                match self { $(Feature::$variant => $since,)+ }
            }

            /// What it costs to be without.
            pub fn without(self) -> Without {
                match self { $(Feature::$variant => $without,)+ }
            }
        }
    };
}

/// What the absence of a feature means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Without {
    /// There is no ring: `poll` runs.
    Poll,
    /// The ring runs, at this price.
    Price(&'static str),
}

use Without::{Poll, Price};

features! {
    /// io_uring_setup(2) itself.
    IoUring, "io_uring", "5.1", Poll;
    /// IORING_FEAT_NODROP: completions are never lost.
    Nodrop, "nodrop", "5.5", Poll;
    /// IORING_ENTER_EXT_ARG: waiting with a timeout that needs no entry of its own.
    ExtArg, "ext_arg", "5.11", Poll;
    /// IOSQE_CQE_SKIP_SUCCESS: a send that was taken says nothing.
    CqeSkip, "cqe_skip", "5.17", Poll;
    /// IORING_REGISTER_RING_FDS.
    RingFd, "ring_fd", "5.18", Price("each enter looks its descriptor up");
    /// IORING_REGISTER_PBUF_RING: an idle connection holds no buffer.
    BufferRing, "buffer_ring", "5.19", Poll;
    /// IORING_ACCEPT_MULTISHOT.
    MultishotAccept, "multishot_accept", "5.19", Poll;
    /// IORING_SETUP_COOP_TASKRUN: completions do not interrupt. What DEFER_TASKRUN does better; one of the two is needed.
    CoopTaskrun, "coop_taskrun", "5.19", Price("none where there is defer_taskrun; else poll runs");
    /// IORING_RECV_MULTISHOT.
    MultishotRecv, "multishot_recv", "6.0", Poll;
    /// IORING_SETUP_SINGLE_ISSUER.
    SingleIssuer, "single_issuer", "6.0", Price("the kernel locks what one thread alone uses, and cannot defer");
    /// IORING_SETUP_DEFER_TASKRUN: completions arrive when the worker asks for them.
    DeferTaskrun, "defer_taskrun", "6.1", Price("completions are made in the middle of other work");
    /// IORING_SETUP_NO_SQARRAY.
    NoSqarray, "no_sqarray", "6.6", Price("one more cache line for a batch of submissions");
    /// IORING_ENTER_NO_IOWAIT.
    NoIowait, "no_iowait", "6.15", Price("an idle worker counts as waiting for a disk: iowait and io pressure near 100 %");
}

impl Feature {
    /// Whether there is no ring without it.
    pub fn is_needed(self) -> bool {
        self.without() == Poll
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeatureSet(u32);

const _: () = assert!(Feature::ALL.len() <= 32); // one bit each

impl FeatureSet {
    /// Whether `feature` is in it.
    pub fn contains(self, feature: Feature) -> bool {
        self.0 & 1 << feature as u32 != 0
    }

    /// Puts `feature` in.
    pub fn insert(&mut self, feature: Feature) {
        self.0 |= 1 << feature as u32;
    }

    /// Takes `feature` out.
    pub fn remove(&mut self, feature: Feature) {
        self.0 &= !(1 << feature as u32);
    }

    /// Its features, oldest first.
    pub fn iter(self) -> impl Iterator<Item = Feature> {
        Feature::ALL.iter().copied().filter(move |feature| self.contains(*feature))
    }
}

impl FromIterator<Feature> for FeatureSet {
    fn from_iter<I: IntoIterator<Item = Feature>>(features: I) -> FeatureSet {
        let mut set = FeatureSet::default();
        features.into_iter().for_each(|feature| set.insert(feature));
        set
    }
}

impl fmt::Display for FeatureSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, feature) in self.iter().enumerate() {
            write!(f, "{}{feature}", if index > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

impl FromStr for FeatureSet {
    type Err = String;

    /// Reads names separated by commas. Errors: the name that is none.
    fn from_str(list: &str) -> Result<FeatureSet, String> {
        let one = |name: &str| {
            let known = Feature::ALL.iter().copied().find(|feature| feature.name() == name.trim());
            known.ok_or_else(|| format!("{name:?} is none of {}", Feature::ALL.iter().copied().collect::<FeatureSet>()))
        };
        list.split(',').filter(|name| !name.trim().is_empty()).map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_are_read_and_written() {
        for (list, expect) in [
            ("", Ok("")),
            ("no_iowait", Ok("no_iowait")),
            ("no_iowait, ring_fd,ring_fd", Ok("ring_fd,no_iowait")),
            ("sqpoll", Err("\"sqpoll\" is none of io_uring,")),
        ] {
            match (list.parse::<FeatureSet>(), expect) {
                (Ok(set), Ok(expect)) => assert_eq!(set.to_string(), expect, "{list}"),
                (Err(error), Err(expect)) => assert!(error.starts_with(expect), "{error}"),
                (found, _) => panic!("{list}: {found:?}"),
            }
        }
    }

    /// What the documents call the minimum: it follows from the table.
    #[test]
    fn the_oldest_kernel_with_a_ring_is_6_0() {
        let version = |feature: &Feature| -> (u32, u32) {
            let (major, minor) = feature.since().split_once('.').expect("major.minor");
            (major.parse().expect("a number"), minor.parse().expect("a number"))
        };
        let needed = Feature::ALL.iter().filter(|feature| feature.is_needed()).map(version).max();
        assert_eq!(needed, Some((6, 0)));
        assert!(Feature::ALL.is_sorted_by_key(version), "oldest first");
    }
}

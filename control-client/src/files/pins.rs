//! Where the links lead through which files are replaced together, as of one moment.
//!
//! A directory of files is replaced whole by a move of one link: Kubernetes' `..data` beside the files, or a link on the way to their directory. One
//! reading of the sources goes in rounds, since what a file holds says which files are wanted next, and the link may move between two of them. So
//! each directory is looked at once, and read where it led then, until it is told to have moved.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use crate::directories::{KUBERNETES_LINK, parent};

/// How often directories are looked at again because one moved meanwhile.
const LOOKS_MAX: usize = 8;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Pins {
    /// By the directory's name.
    by_directory: BTreeMap<PathBuf, Pin>,
}

/// Where a directory led.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pin {
    /// Without links. `None`: it was not there.
    directory: Option<PathBuf>,
    /// What `..data` in it led to.
    data: Option<PathBuf>,
}

impl Pins {
    /// Forgets where this file's directory led: it is looked at again before the next reading.
    pub(super) fn forget(&mut self, file: &Path) {
        self.by_directory.remove(&parent(file));
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.by_directory.clear();
    }

    /// Looks where the directories of these files lead that were not looked at yet: all of them at one moment, if there is one.
    pub(super) fn look<'f>(&mut self, files: impl Iterator<Item = &'f Path>) {
        let unknown: BTreeSet<PathBuf> =
            files.map(parent).filter(|directory| !self.by_directory.contains_key(directory)).collect();
        let look = || -> BTreeMap<PathBuf, Pin> {
            unknown.iter().map(|directory| (directory.clone(), Pin::of(directory))).collect()
        };
        let mut seen = look();
        for _ in 1..LOOKS_MAX {
            let again = look();
            if again == seen {
                break;
            }
            seen = again;
        }
        self.by_directory.append(&mut seen);
    }

    /// The path of a file that was looked at, by the links as they led then.
    pub(super) fn place(&self, file: &Path) -> PathBuf {
        let place = || -> Option<PathBuf> {
            let pin = self.by_directory.get(&parent(file))?;
            let own = pin.directory.as_ref()?.join(file.file_name()?);
            let beside = own.read_link().ok().and_then(|to| to.strip_prefix(KUBERNETES_LINK).map(Path::to_owned).ok());
            match (beside, &pin.data) {
                (Some(rest), Some(data)) => Some(data.join(rest)),
                _ => Some(own),
            }
        };
        place().unwrap_or_else(|| file.to_owned())
    }

    /// Whether reading failed because the directory is not where it led any more.
    pub(super) fn is_stale(&self, file: &Path, error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::NotFound && self.has_moved(file)
    }

    /// Whether the directory of a file that was looked at leads elsewhere by now.
    pub(super) fn has_moved(&self, file: &Path) -> bool {
        let directory = parent(file);
        self.by_directory.get(&directory).is_some_and(|pin| *pin != Pin::of(&directory))
    }
}

impl Pin {
    fn of(directory: &Path) -> Pin {
        let data = directory.join(KUBERNETES_LINK).canonicalize().ok();
        Pin { directory: directory.canonicalize().ok(), data }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// A volume as the kubelet makes it, with a file `f` in the versions `1` and `2`; version 1 is in place.
    fn volume(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("ringway-pins-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        for version in ["1", "2"] {
            fs::create_dir_all(path.join(format!("..{version}"))).expect("a directory");
            fs::write(path.join(format!("..{version}/f")), version).expect("a file");
        }
        symlink("..data/f", path.join("f")).expect("a link");
        swap(&path, "1");
        path
    }

    fn swap(volume: &Path, version: &str) {
        symlink(format!("..{version}"), volume.join("new")).expect("a link");
        fs::rename(volume.join("new"), volume.join(KUBERNETES_LINK)).expect("a move");
    }

    fn read(pins: &mut Pins, file: &Path) -> String {
        pins.look([file].into_iter());
        fs::read_to_string(pins.place(file)).expect("it is there")
    }

    #[test]
    fn a_swap_shows_when_the_directory_is_forgotten() {
        let volume = volume("swap");
        let (mut pins, file) = (Pins::default(), volume.join("f"));
        assert_eq!(read(&mut pins, &file), "1");
        swap(&volume, "2");
        assert_eq!(read(&mut pins, &file), "1");
        pins.forget(&file);
        assert_eq!(read(&mut pins, &file), "2");
        // A version that was removed is one that is stale.
        swap(&volume, "1");
        fs::remove_dir_all(volume.join("..2")).expect("removed");
        let error = fs::read_to_string(pins.place(&file)).expect_err("it is gone");
        assert!(pins.is_stale(&file, &error));
        pins.clear();
        assert_eq!(read(&mut pins, &file), "1");
        assert!(!pins.is_stale(&file, &error));
        fs::remove_dir_all(volume).expect("removed");
    }

    #[test]
    fn a_link_to_the_directory_is_followed_as_it_led() {
        let volume = volume("way");
        let link = volume.join("way");
        symlink("..1", &link).expect("a link");
        let (mut pins, file) = (Pins::default(), link.join("f"));
        assert_eq!(read(&mut pins, &file), "1");
        fs::remove_file(&link).expect("removed");
        symlink("..2", &link).expect("a link");
        assert_eq!(read(&mut pins, &file), "1");
        pins.clear();
        assert_eq!(read(&mut pins, &file), "2");
        fs::remove_dir_all(volume).expect("removed");
    }

    #[test]
    fn a_plain_file_is_where_it_is_named() {
        let volume = volume("plain");
        let file = volume.join("plain");
        let mut pins = Pins::default();
        pins.look([file.as_path()].into_iter());
        fs::write(&file, "written later").expect("a file");
        assert_eq!(read(&mut pins, &file), "written later");
        let missing = volume.join("none/f");
        pins.look([missing.as_path()].into_iter());
        assert_eq!(pins.place(&missing), missing);
        fs::remove_dir_all(volume).expect("removed");
    }
}

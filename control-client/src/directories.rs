//! The directories in which files are watched, and of which file an event speaks.
//!
//! Watched are directories, because a file is replaced by a move; Kubernetes moves the link `..data` beside it instead. A link on the way to a
//! file's directory is looked after as well, and so is a move of the directory itself.
//!
//! Invariant: after [`Directories::watch`], each change of a file that the mask asks for is an event that concerns it, until its directory is gone from
//! its path: that is told, too, and whoever reads the file again watches it again.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use inotify::{EventMask, Events, WatchDescriptor, WatchMask, Watches};

/// The link that a Kubernetes volume swaps.
pub(crate) const KUBERNETES_LINK: &str = "..data";
/// Room for one read: an event takes 16 bytes and the name, at most 256; more events come with the next read.
pub(crate) const BUFFER_SIZE: usize = 4096;

/// A file that a configuration named, and where its replacement shows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WatchedFile {
    /// The file.
    pub path: PathBuf,
    /// `watched_directory`: a move into this directory says that the file may have changed. `None`: into its own.
    pub directory: Option<PathBuf>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Directories {
    by_path: BTreeMap<PathBuf, Directory>,
}

#[derive(Debug)]
struct Directory {
    watch: WatchDescriptor,
    /// The files, and what must change here for each; `None`: anything.
    files: BTreeSet<(PathBuf, Option<OsString>)>,
}

impl Directories {
    /// Watches this file, too. Called before it is read, so that no change is missed, and at each reading: another directory may have come in the place
    /// of the one that is watched. `mask`: what counts besides a move of the directory itself.
    ///
    /// # Errors
    /// What inotify_add_watch(2) reports: a directory is not there, may not be read, or there are too many watches.
    pub(crate) fn watch(&mut self, watches: &Watches, mask: WatchMask, file: &WatchedFile) -> io::Result<()> {
        for (path, name) in places(file) {
            // Of a directory that is watched already it is the watch that there is.
            let watch = watches.clone().add(&path, mask | WatchMask::MOVE_SELF | WatchMask::ONLYDIR)?;
            let known =
                self.by_path.entry(path).or_insert_with(|| Directory { watch: watch.clone(), files: BTreeSet::new() });
            known.files.insert((file.path.clone(), name));
            let before = std::mem::replace(&mut known.watch, watch);
            self.unwatch(watches, before);
        }
        Ok(())
    }

    /// Watches no file but these any more.
    pub(crate) fn retain(&mut self, watches: &Watches, files: impl Iterator<Item = WatchedFile>) {
        let mut wanted: BTreeMap<PathBuf, BTreeSet<(PathBuf, Option<OsString>)>> = BTreeMap::new();
        for file in files {
            for (directory, name) in places(&file) {
                wanted.entry(directory).or_default().insert((file.path.clone(), name));
            }
        }
        let mut dropped = Vec::new();
        self.by_path.retain(|path, directory| match wanted.remove(path) {
            Some(files) => {
                directory.files = files;
                true
            }
            None => {
                dropped.push(directory.watch.clone());
                false
            }
        });
        dropped.into_iter().for_each(|watch| self.unwatch(watches, watch));
    }

    /// The files of which these events speak.
    pub(crate) fn concerned(&mut self, watches: &Watches, events: Events<'_>) -> BTreeSet<PathBuf> {
        let mut concerned = BTreeSet::new();
        for event in events {
            if event.mask.contains(EventMask::Q_OVERFLOW) {
                // Anything may have happened.
                let all = self.by_path.values().flat_map(|directory| &directory.files);
                concerned.extend(all.map(|(path, _)| path.clone()));
                continue;
            }
            let is_gone = event.mask.intersects(EventMask::IGNORED | EventMask::MOVE_SELF);
            let concerns = |name: &Option<OsString>| match name {
                Some(name) => event.name.is_some_and(|changed| changed == name || changed == KUBERNETES_LINK),
                None => true,
            };
            // Two paths may lead to one directory, which has one watch.
            for directory in self.by_path.values().filter(|directory| directory.watch == event.wd) {
                let files = directory.files.iter().filter(|(_, name)| is_gone || concerns(name));
                concerned.extend(files.map(|(path, _)| path.clone()));
            }
            if is_gone {
                self.by_path.retain(|_, directory| directory.watch != event.wd);
                if event.mask.contains(EventMask::MOVE_SELF) {
                    self.unwatch(watches, event.wd);
                }
            }
        }
        concerned
    }

    /// Ends a watch that no path leads to any more.
    fn unwatch(&self, watches: &Watches, watch: WatchDescriptor) {
        if self.by_path.values().all(|directory| directory.watch != watch) {
            // It may be gone already.
            let _ = watches.clone().remove(watch);
        }
    }
}

/// The directories to watch for a file, and the name in each; `None`: any. The file's own, and those of the links on the way there.
fn places(file: &WatchedFile) -> Vec<(PathBuf, Option<OsString>)> {
    let (directory, name) = match &file.directory {
        Some(directory) => (directory.clone(), None),
        None => (parent(&file.path), file.path.file_name().map(OsString::from)),
    };
    let is_link = |path: &&Path| path.symlink_metadata().is_ok_and(|metadata| metadata.is_symlink());
    let links = directory.ancestors().filter(is_link).map(|link| (parent(link), link.file_name().map(OsString::from)));
    let mut places: Vec<_> = links.collect();
    places.push((directory, name));
    places
}

/// The directory that a file is in, as it is named.
pub(crate) fn parent(path: &Path) -> PathBuf {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

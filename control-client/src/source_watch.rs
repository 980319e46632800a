//! Says which files of resources may have been replaced.
//!
//! Only moves count, as in Envoy: a file that is written in place would be read half-written. Watched are directories:
//! a file's own for a move onto its name or the swap of Kubernetes' link `..data`, or its `watched_directory` for any
//! move. One move may concern many files: they are told together, and taken up together.
//!
//! Invariant: after a file was given to [`SourceFiles::watch`], each replacement of it is told by
//! [`SourceWatch::wait`], once or more often.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use inotify::{EventMask, Events, Inotify, WatchDescriptor, WatchMask, Watches};

use crate::cache::ConfigSource;

/// The link that a Kubernetes volume swaps.
const KUBERNETES_LINK: &str = "..data";
/// Room for one read: an event takes 16 bytes and the name, at most 256; more events come with the next read.
const BUFFER_SIZE: usize = 4096;

/// What is told, for a thread of its own.
#[derive(Debug)]
pub struct SourceWatch {
    inotify: Inotify,
    directories: Arc<Mutex<Directories>>,
}

/// Which files are watched, for whoever reads them.
#[derive(Clone, Debug)]
pub struct SourceFiles {
    watches: Watches,
    directories: Arc<Mutex<Directories>>,
}

type Directories = BTreeMap<PathBuf, Directory>;

#[derive(Debug)]
struct Directory {
    watch: WatchDescriptor,
    /// The files, and the name that each has there; `None`: any move concerns it.
    files: BTreeSet<(PathBuf, Option<OsString>)>,
}

impl SourceWatch {
    /// A watch for no file yet.
    ///
    /// # Errors
    /// What inotify_init1(2) reports.
    pub fn new() -> io::Result<(Self, SourceFiles)> {
        let inotify = Inotify::init()?;
        let directories = Arc::default();
        let files = SourceFiles { watches: inotify.watches(), directories: Arc::clone(&directories) };
        Ok((Self { inotify, directories }, files))
    }

    /// Waits until files may have been replaced, and says which: all of which the kernel has told by now.
    ///
    /// # Errors
    /// What read(2) reports.
    pub fn wait(&mut self) -> io::Result<BTreeSet<PathBuf>> {
        let mut buffer = [0; BUFFER_SIZE];
        loop {
            let mut moved = match self.inotify.read_events_blocking(&mut buffer) {
                Ok(events) => concerned(&self.directories, events),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            moved.append(&mut self.take()?);
            if !moved.is_empty() {
                return Ok(moved);
            }
        }
    }

    /// Takes all that has happened, without waiting.
    fn take(&mut self) -> io::Result<BTreeSet<PathBuf>> {
        let mut buffer = [0; BUFFER_SIZE];
        let mut moved = BTreeSet::new();
        loop {
            match self.inotify.read_events(&mut buffer) {
                Ok(events) => moved.append(&mut concerned(&self.directories, events)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(moved),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl SourceFiles {
    /// Watches this file, too. Called before it is read, so that no replacement is missed.
    ///
    /// # Errors
    /// What inotify_add_watch(2) reports: the directory is not there, or there are too many watches.
    pub(crate) fn watch(&self, source: &ConfigSource) -> io::Result<()> {
        let (directory, file) = place(source);
        let mut known = self.directories.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get_mut(&directory) {
            known.files.insert(file);
            return Ok(());
        }
        // The lock is held: an event of the new watch waits for its file.
        let watch = self.watches.clone().add(&directory, WatchMask::MOVED_TO | WatchMask::ONLYDIR)?;
        known.insert(directory, Directory { watch, files: BTreeSet::from([file]) });
        Ok(())
    }

    /// Watches no file but these any more.
    pub(crate) fn retain<'s>(&self, sources: impl Iterator<Item = &'s ConfigSource>) {
        let mut wanted: BTreeMap<PathBuf, BTreeSet<(PathBuf, Option<OsString>)>> = BTreeMap::new();
        for (directory, file) in sources.map(place) {
            wanted.entry(directory).or_default().insert(file);
        }
        let mut known = self.directories.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|path, directory| match wanted.remove(path) {
            Some(files) => {
                directory.files = files;
                true
            }
            None => {
                // It may be gone already.
                let _ = self.watches.clone().remove(directory.watch.clone());
                false
            }
        });
    }
}

/// The directory to watch for a source, its file, and the name that it has there; `None`: any.
fn place(source: &ConfigSource) -> (PathBuf, (PathBuf, Option<OsString>)) {
    let ConfigSource::Path { path, watched_directory } = source;
    if let Some(directory) = watched_directory {
        return (directory.clone(), (path.clone(), None));
    }
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    (directory.to_owned(), (path.clone(), path.file_name().map(OsString::from)))
}

fn concerned(directories: &Mutex<Directories>, events: Events<'_>) -> BTreeSet<PathBuf> {
    let mut known = directories.lock().unwrap_or_else(PoisonError::into_inner);
    let mut moved = BTreeSet::new();
    for event in events {
        if event.mask.contains(EventMask::Q_OVERFLOW) {
            // Anything may have happened.
            moved.extend(known.values().flat_map(|directory| directory.files.iter().map(|(path, _)| path.clone())));
            continue;
        }
        let is_gone = event.mask.contains(EventMask::IGNORED);
        let Some((path, directory)) = known.iter().find(|(_, directory)| directory.watch == event.wd) else { continue };
        let concerns = |name: &Option<OsString>| match name {
            Some(name) => event.name.is_some_and(|moved| moved == name || moved == KUBERNETES_LINK),
            None => true,
        };
        let files = directory.files.iter().filter(|(_, name)| is_gone || concerns(name));
        moved.extend(files.map(|(path, _)| path.clone()));
        if is_gone {
            // A new one of its name is watched when its files are read.
            let path = path.clone();
            known.remove(&path);
        }
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// A directory of its own, which goes away with it.
    struct Home(PathBuf);

    impl Home {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("ringway-sources-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).expect("a directory");
            Self(path)
        }

        fn file(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }

        fn moved(&self, name: &str) {
            fs::write(self.file("tmp"), "1").expect("write");
            fs::rename(self.file("tmp"), self.file(name)).expect("rename");
        }
    }

    impl Drop for Home {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn at(path: PathBuf) -> ConfigSource {
        ConfigSource::Path { path, watched_directory: None }
    }

    #[test]
    fn only_moves_onto_a_name_count() {
        let home = Home::new("moves");
        let (mut watch, files) = SourceWatch::new().expect("a watch");
        for name in ["cds.yaml", "lds.yaml"] {
            files.watch(&at(home.file(name))).expect("it can be watched");
        }
        fs::write(home.file("cds.yaml"), "in place").expect("write");
        home.moved("other.yaml");
        assert_eq!(watch.take().expect("read"), BTreeSet::new());
        home.moved("cds.yaml");
        assert_eq!(watch.wait().expect("read"), BTreeSet::from([home.file("cds.yaml")]));
        home.moved("lds.yaml");
        home.moved("cds.yaml");
        assert_eq!(watch.wait().expect("read").len(), 2);
        files.retain([at(home.file("lds.yaml"))].iter());
        home.moved("cds.yaml");
        assert_eq!(watch.take().expect("read"), BTreeSet::new());
    }

    #[test]
    fn one_swap_concerns_all_files_of_its_directory() {
        let (home, other) = (Home::new("of"), Home::new("watched"));
        let (mut watch, files) = SourceWatch::new().expect("a watch");
        files.watch(&at(home.file("cds.yaml"))).expect("it can be watched");
        files.watch(&at(home.file("lds.yaml"))).expect("it can be watched");
        let elsewhere = home.file("eds.yaml");
        let source = ConfigSource::Path { path: elsewhere.clone(), watched_directory: Some(other.0.clone()) };
        files.watch(&source).expect("it can be watched");
        symlink("..1", home.file("tmp")).expect("link");
        fs::rename(home.file("tmp"), home.file(KUBERNETES_LINK)).expect("rename");
        assert_eq!(watch.wait().expect("read"), BTreeSet::from([home.file("cds.yaml"), home.file("lds.yaml")]));
        home.moved("eds.yaml");
        assert_eq!(watch.take().expect("read"), BTreeSet::new(), "not where it is watched");
        other.moved("anything");
        assert_eq!(watch.wait().expect("read"), BTreeSet::from([elsewhere]));
        assert!(files.watch(&at(home.file("no/such/directory"))).is_err());
    }
}

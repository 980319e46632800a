//! Says that a file of certificates or keys may have changed.
//!
//! Watched are directories, because a file is replaced by a move; Kubernetes moves the link `..data` beside it instead. Other than of a configuration,
//! writing in place counts, too: what is half-written is refused, and told anew when its writer closes it. A certificate and its key are two files, so
//! that a change is told when it has been quiet for a moment.
//!
//! Invariant: after a file was named to [`SecretFiles::watch`], each change of it is told by [`SecretWatch::wait`], once or more often.

use std::collections::{BTreeSet, HashMap};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use inotify::{EventMask, Events, Inotify, WatchDescriptor, WatchMask, Watches};

/// The link that a Kubernetes volume swaps.
const KUBERNETES_LINK: &str = "..data";
/// Room for one read: an event takes 16 bytes and the name, at most 256; more events come with the next read.
const BUFFER_SIZE: usize = 4096;
/// How long nothing must have happened: tools write a key and its certificate within milliseconds.
const QUIET: Duration = Duration::from_millis(50);
/// How often the wait for quiet is renewed: a file that is written for ever does not hold up the others by more than a second.
const QUIET_WAITS_MAX: u32 = 20;

/// What is told, for a thread of its own.
#[derive(Debug)]
pub struct SecretWatch {
    inotify: Inotify,
    directories: Arc<Mutex<Directories>>,
}

/// Which files are watched, for whoever reads them.
#[derive(Clone, Debug)]
pub struct SecretFiles {
    watches: Watches,
    directories: Arc<Mutex<Directories>>,
}

/// A file that a configuration named, and where its replacement shows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WatchedFile {
    /// The file.
    pub path: PathBuf,
    /// `watched_directory`: a move into this directory says that the file may have changed. `None`: into its own.
    pub directory: Option<PathBuf>,
}

#[derive(Debug, Default)]
struct Directories {
    by_path: HashMap<PathBuf, Directory>,
    /// Files whose directory could not be watched.
    unwatched: BTreeSet<PathBuf>,
}

#[derive(Debug)]
struct Directory {
    watch: WatchDescriptor,
    /// What must change there; `None`: anything.
    names: Option<BTreeSet<OsString>>,
}

impl SecretWatch {
    /// A watch for no file yet.
    ///
    /// # Errors
    /// What inotify_init1(2) reports.
    pub fn new() -> io::Result<(Self, SecretFiles)> {
        let inotify = Inotify::init()?;
        let directories = Arc::default();
        let files = SecretFiles { watches: inotify.watches(), directories: Arc::clone(&directories) };
        Ok((Self { inotify, directories }, files))
    }

    /// Waits until a file may have changed and it has been quiet since.
    ///
    /// # Errors
    /// What read(2) reports.
    pub fn wait(&mut self) -> io::Result<()> {
        let mut buffer = [0; BUFFER_SIZE];
        loop {
            match self.inotify.read_events_blocking(&mut buffer) {
                Ok(events) => {
                    if concerns(&self.directories, events) {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        for _ in 0..QUIET_WAITS_MAX {
            // Nobody unparks it; who does costs a look.
            thread::park_timeout(QUIET);
            if !self.take()? {
                break;
            }
        }
        Ok(())
    }

    /// Takes all that has happened, without waiting: whether a file may have changed.
    fn take(&mut self) -> io::Result<bool> {
        let mut buffer = [0; BUFFER_SIZE];
        let mut changed = false;
        loop {
            match self.inotify.read_events(&mut buffer) {
                Ok(events) => changed |= concerns(&self.directories, events),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(changed),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl SecretFiles {
    /// Watches this file, too. Called before it is read, so that no change is missed.
    pub(crate) fn watch(&self, file: &WatchedFile) {
        let (directory, name) = place(file);
        let mut known = self.directories.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.by_path.get_mut(&directory) {
            match (&mut known.names, name) {
                (Some(names), Some(name)) => _ = names.insert(name),
                (names, None) => *names = None,
                (None, Some(_)) => {}
            }
            return;
        }
        let mask = WatchMask::MOVED_TO | WatchMask::CLOSE_WRITE | WatchMask::CREATE | WatchMask::ONLYDIR;
        // The lock is held: an event of the new watch waits for its name.
        match self.watches.clone().add(&directory, mask) {
            Ok(watch) => {
                known.unwatched.remove(&file.path);
                let names = name.map(|name| BTreeSet::from([name]));
                known.by_path.insert(directory, Directory { watch, names });
            }
            Err(_) => _ = known.unwatched.insert(file.path.clone()),
        }
    }

    /// Watches no file but these any more.
    pub fn retain(&self, files: &BTreeSet<WatchedFile>) {
        let mut wanted: HashMap<PathBuf, Option<BTreeSet<OsString>>> = HashMap::new();
        for (directory, name) in files.iter().map(place) {
            let names = wanted.entry(directory).or_insert_with(|| Some(BTreeSet::new()));
            match (names.as_mut(), name) {
                (Some(names), Some(name)) => _ = names.insert(name),
                _ => *names = None,
            }
        }
        let mut known = self.directories.lock().unwrap_or_else(PoisonError::into_inner);
        let known = &mut *known;
        known.unwatched.retain(|path| files.iter().any(|file| file.path == *path));
        let watches = &self.watches;
        known.by_path.retain(|path, directory| match wanted.remove(path) {
            Some(names) => {
                directory.names = names;
                true
            }
            None => {
                // It may be gone already.
                let _ = watches.clone().remove(directory.watch.clone());
                false
            }
        });
    }

    /// The files whose directory could not be watched: it is not there, or there are too many watches.
    pub fn unwatched(&self) -> BTreeSet<PathBuf> {
        self.directories.lock().unwrap_or_else(PoisonError::into_inner).unwatched.clone()
    }
}

/// The directory to watch for a file, and the name in it; `None`: any.
fn place(file: &WatchedFile) -> (PathBuf, Option<OsString>) {
    if let Some(directory) = &file.directory {
        return (directory.clone(), None);
    }
    let directory = match file.path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    (directory.to_owned(), file.path.file_name().map(OsString::from))
}

fn concerns(directories: &Mutex<Directories>, events: Events<'_>) -> bool {
    let mut known = directories.lock().unwrap_or_else(PoisonError::into_inner);
    events.fold(false, |concerned, event| {
        if event.mask.contains(EventMask::IGNORED) {
            // The directory is gone, unless nobody asked for it any more; a new one of its name is watched when it is read from.
            let before = known.by_path.len();
            known.by_path.retain(|_, directory| directory.watch != event.wd);
            return concerned || known.by_path.len() < before;
        }
        let watched = known.by_path.values().find(|directory| directory.watch == event.wd);
        let named =
            |names: &BTreeSet<OsString>| event.name.is_some_and(|name| name == KUBERNETES_LINK || names.contains(name));
        let changed = watched.is_some_and(|directory| directory.names.as_ref().is_none_or(named));
        concerned || changed || event.mask.contains(EventMask::Q_OVERFLOW)
    })
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
            let path = std::env::temp_dir().join(format!("ringway-secrets-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).expect("a directory");
            Self(path)
        }

        fn file(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }

        fn watched(&self, name: &str) -> WatchedFile {
            WatchedFile { path: self.file(name), directory: None }
        }
    }

    impl Drop for Home {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn moves_writes_and_the_kubernetes_link_count_and_others_do_not() {
        let home = Home::new("kinds");
        let (mut watch, files) = SecretWatch::new().expect("a watch");
        files.watch(&home.watched("a.pem"));
        files.watch(&home.watched("a.key"));
        fs::write(home.file("new"), "1").expect("write");
        assert!(!watch.take().expect("read"), "another file");
        fs::rename(home.file("new"), home.file("a.pem")).expect("rename");
        assert!(watch.take().expect("read"), "moved");
        fs::write(home.file("a.key"), "2").expect("write");
        watch.wait().expect("read");
        assert!(!watch.take().expect("read"), "told once");
        symlink("..1", home.file("tmp")).expect("link");
        assert!(!watch.take().expect("read"), "another link");
        fs::rename(home.file("tmp"), home.file(KUBERNETES_LINK)).expect("rename");
        assert!(watch.take().expect("read"), "swapped");
    }

    #[test]
    fn a_watched_directory_stands_for_its_files() {
        let (home, other) = (Home::new("of"), Home::new("watched"));
        let (mut watch, files) = SecretWatch::new().expect("a watch");
        files.watch(&WatchedFile { path: home.file("a.pem"), directory: Some(other.0.clone()) });
        fs::write(home.file("a.pem"), "1").expect("write");
        assert!(!watch.take().expect("read"), "not where it is watched");
        fs::write(other.file("anything"), "1").expect("write");
        assert!(watch.take().expect("read"));
    }

    #[test]
    fn what_is_not_retained_is_not_told() {
        let (home, other) = (Home::new("kept"), Home::new("dropped"));
        let (mut watch, files) = SecretWatch::new().expect("a watch");
        [home.watched("a"), home.watched("b"), other.watched("a")].iter().for_each(|file| files.watch(file));
        files.retain(&BTreeSet::from([home.watched("a")]));
        let _ = watch.take().expect("read");
        fs::write(home.file("b"), "1").expect("write");
        fs::write(other.file("a"), "1").expect("write");
        assert!(!watch.take().expect("read"));
        fs::write(home.file("a"), "1").expect("write");
        assert!(watch.take().expect("read"));
        files.watch(&home.watched("no/such/directory"));
        assert_eq!(files.unwatched(), BTreeSet::from([home.file("no/such/directory")]));
    }
}

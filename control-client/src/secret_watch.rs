//! Says that a file of certificates or keys may have changed.
//!
//! Other than of a configuration, writing in place counts, too: what is half-written is refused, and told anew when its writer closes it. A certificate
//! and its key are two files, so that a change is told when it has been quiet for a moment.
//!
//! Invariant: after a file was named to [`SecretFiles::watch`], each change of it is told by [`SecretWatch::wait`], once or more often; or the file
//! is among those that [`SecretFiles::untold`] names and [`SecretFiles::retry`] tries again.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use inotify::{Events, Inotify, WatchMask, Watches};

use crate::directories::{BUFFER_SIZE, Directories, WatchedFile};

/// A file is replaced, written in place and closed, or a link is made.
const MASK: WatchMask = WatchMask::MOVED_TO.union(WatchMask::CLOSE_WRITE).union(WatchMask::CREATE);
/// How long nothing must have happened: tools write a key and its certificate within milliseconds.
const QUIET: Duration = Duration::from_millis(50);
/// How often the wait for quiet is renewed: a file that is written for ever does not hold up the others by more than a second.
const QUIET_WAITS_MAX: u32 = 20;

/// What is told, for a thread of its own.
#[derive(Debug)]
pub struct SecretWatch {
    inotify: Inotify,
    known: Arc<Mutex<Known>>,
}

/// Which files are watched, for whoever reads them.
#[derive(Clone, Debug)]
pub struct SecretFiles {
    watches: Watches,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    directories: Directories,
    /// Files whose directory could not be watched, and why.
    unwatched: BTreeMap<WatchedFile, Unwatched>,
}

#[derive(Debug)]
struct Unwatched {
    why: io::Error,
    is_told: bool,
}

impl SecretWatch {
    /// A watch for no file yet.
    ///
    /// # Errors
    /// What inotify_init1(2) reports.
    pub fn new() -> io::Result<(Self, SecretFiles)> {
        let inotify = Inotify::init()?;
        let known = Arc::default();
        let files = SecretFiles { watches: inotify.watches(), known: Arc::clone(&known) };
        Ok((Self { inotify, known }, files))
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
                    if concerns(&self.known, &self.inotify, events) {
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
                Ok(events) => changed |= concerns(&self.known, &self.inotify, events),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(changed),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl SecretFiles {
    /// As [`Directories::watch`]; what cannot be watched is told by [`SecretFiles::untold`].
    pub(crate) fn watch(&self, file: &WatchedFile) {
        let mut known = self.lock();
        // The lock is held: an event of a new watch waits for its name.
        match known.directories.watch(&self.watches, MASK, file) {
            Ok(()) => _ = known.unwatched.remove(file),
            Err(why) => {
                let before = known.unwatched.get(file);
                let is_told = before.is_some_and(|before| before.why.kind() == why.kind() && before.is_told);
                known.unwatched.insert(file.clone(), Unwatched { why, is_told });
            }
        }
    }

    /// Watches no file but these any more.
    pub fn retain(&self, files: &BTreeSet<WatchedFile>) {
        let mut known = self.lock();
        known.unwatched.retain(|file, _| files.contains(file));
        known.directories.retain(&self.watches, files.iter().cloned());
    }

    /// Tries again to watch the files whose directory could not be watched: whether one can be now, and may have changed before.
    pub fn retry(&self) -> bool {
        let files: Vec<WatchedFile> = self.lock().unwatched.keys().cloned().collect();
        files.iter().for_each(|file| self.watch(file));
        let known = self.lock();
        files.iter().any(|file| !known.unwatched.contains_key(file))
    }

    /// The files whose directory cannot be watched (it is not there, it may not be read, or there are too many watches) and why, each once.
    pub fn untold(&self) -> Vec<String> {
        let mut known = self.lock();
        let untold = known.unwatched.iter_mut().filter(|(_, unwatched)| !unwatched.is_told);
        let tell = |(file, unwatched): (&WatchedFile, &mut Unwatched)| {
            unwatched.is_told = true;
            format!("{}: its directory cannot be watched: {}", file.path.display(), unwatched.why)
        };
        untold.map(tell).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn concerns(known: &Mutex<Known>, inotify: &Inotify, events: Events<'_>) -> bool {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    !known.directories.concerned(&inotify.watches(), events).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directories::KUBERNETES_LINK;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

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
    }

    #[test]
    fn what_cannot_be_watched_is_said_once_and_tried_again() {
        let home = Home::new("late");
        let (mut watch, files) = SecretWatch::new().expect("a watch");
        files.watch(&home.watched("late/a"));
        let untold = files.untold();
        assert!(
            matches!(&untold[..], [line] if line.contains("late/a: its directory cannot be watched: ")),
            "{untold:?}"
        );
        assert!(!files.retry());
        assert_eq!(files.untold(), [""; 0]);
        fs::create_dir(home.file("late")).expect("a directory");
        assert!(files.retry());
        fs::write(home.file("late/a"), "1").expect("write");
        assert!(watch.take().expect("read"));
    }

    #[test]
    fn one_directory_may_have_two_paths() {
        let home = Home::new("paths");
        let (mut watch, files) = SecretWatch::new().expect("a watch");
        fs::create_dir(home.file("real")).expect("a directory");
        symlink("real", home.file("link")).expect("link");
        let named = ["real/a", "link/b", "real/../real/c"].map(|name| home.watched(name));
        named.iter().for_each(|file| files.watch(file));
        let told = |watch: &mut SecretWatch, name: &str| {
            fs::write(home.file(name), "1").expect("write");
            watch.take().expect("read")
        };
        assert_eq!(["real/a", "real/b", "real/c"].map(|name| told(&mut watch, name)), [true; 3]);
        files.retain(&BTreeSet::from([home.watched("link/b")]));
        assert_eq!(["real/a", "real/b", "real/c"].map(|name| told(&mut watch, name)), [false, true, false]);
    }

    #[test]
    fn a_directory_that_another_one_replaces_is_followed() {
        let home = Home::new("replaced");
        let (mut watch, files) = SecretWatch::new().expect("a watch");
        ["one", "two", "three"].iter().for_each(|name| fs::create_dir(home.file(name)).expect("a directory"));
        symlink("three", home.file("link")).expect("link");
        let named = [home.watched("one/a"), home.watched("link/a")];
        let reread = || named.iter().for_each(|file| files.watch(file));
        reread();
        fs::rename(home.file("one"), home.file("zero")).expect("rename");
        fs::rename(home.file("two"), home.file("one")).expect("rename");
        assert!(watch.take().expect("read"), "the directory itself");
        reread();
        assert!(!watch.take().expect("read"));
        symlink("zero", home.file("new")).expect("link");
        fs::rename(home.file("new"), home.file("link")).expect("rename");
        assert!(watch.take().expect("read"), "a link to a directory");
        reread();
        for (name, counts) in [("one/a", true), ("three/a", false), ("zero/a", true)] {
            fs::write(home.file(name), "1").expect("write");
            assert_eq!(watch.take().expect("read"), counts, "{name}");
        }
    }
}

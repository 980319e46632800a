//! Says which files of resources may have been replaced.
//!
//! Only moves count, as in Envoy: a file that is written in place would be read half-written. Watched are directories:
//! a file's own for a move onto its name or the swap of Kubernetes' link `..data`, or its `watched_directory` for any
//! move. One move may concern many files: they are told together, and taken up together.
//!
//! Invariant: after a file was given to [`SourceFiles::watch`], each replacement of it is told by
//! [`SourceWatch::wait`], once or more often.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use inotify::{Events, Inotify, WatchMask, Watches};

use crate::cache::ConfigSource;
use crate::directories::{BUFFER_SIZE, Directories, WatchedFile};

/// What is told, for a thread of its own.
#[derive(Debug)]
pub struct SourceWatch {
    inotify: Inotify,
    known: Arc<Mutex<Known>>,
}

/// Which files are watched, for whoever reads them.
#[derive(Clone, Debug)]
pub struct SourceFiles {
    watches: Watches,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Default)]
struct Known {
    directories: Directories,
    /// The files whose directory could not be watched, why, and whether that was told.
    unwatched: BTreeMap<WatchedFile, (io::Error, bool)>,
}

impl SourceWatch {
    /// A watch for no file yet.
    ///
    /// # Errors
    /// What inotify_init1(2) reports.
    pub fn new() -> io::Result<(Self, SourceFiles)> {
        let inotify = Inotify::init()?;
        let known = Arc::default();
        let files = SourceFiles { watches: inotify.watches(), known: Arc::clone(&known) };
        Ok((Self { inotify, known }, files))
    }

    /// Waits until files may have been replaced, and says which: all of which the kernel has told by now.
    ///
    /// # Errors
    /// What read(2) reports.
    pub fn wait(&mut self) -> io::Result<BTreeSet<PathBuf>> {
        let mut buffer = [0; BUFFER_SIZE];
        loop {
            let mut moved = match self.inotify.read_events_blocking(&mut buffer) {
                Ok(events) => concerned(&self.known, &self.inotify, events),
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
                Ok(events) => moved.append(&mut concerned(&self.known, &self.inotify, events)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(moved),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl SourceFiles {
    /// Watches this file, too. Called before it is read, so that no replacement is missed. What cannot be watched is
    /// told by [`SourceFiles::untold`].
    pub(crate) fn watch(&self, source: &ConfigSource) {
        if let Some(file) = file(source) {
            self.watch_file(&file);
        }
    }

    fn watch_file(&self, file: &WatchedFile) {
        let mut known = self.lock();
        // The lock is held: an event of the new watch waits for its file.
        match known.directories.watch(&self.watches, WatchMask::MOVED_TO, file) {
            Ok(()) => _ = known.unwatched.remove(file),
            Err(why) => {
                let before = known.unwatched.get(file);
                let is_told = before.is_some_and(|(before, is_told)| before.kind() == why.kind() && *is_told);
                known.unwatched.insert(file.clone(), (why, is_told));
            }
        }
    }

    /// Watches no file but these any more.
    pub(crate) fn retain<'s>(&self, sources: impl Iterator<Item = &'s ConfigSource>) {
        let files: BTreeSet<WatchedFile> = sources.filter_map(file).collect();
        let mut known = self.lock();
        known.unwatched.retain(|file, _| files.contains(file));
        known.directories.retain(&self.watches, files.into_iter());
    }

    /// Tries again to watch the files whose directory could not be watched: those that are now, and may have been
    /// replaced before.
    pub(crate) fn retry(&self) -> BTreeSet<PathBuf> {
        let files: Vec<WatchedFile> = self.lock().unwatched.keys().cloned().collect();
        files.iter().for_each(|file| self.watch_file(file));
        let known = self.lock();
        files.into_iter().filter(|file| !known.unwatched.contains_key(file)).map(|file| file.path).collect()
    }

    /// The files whose directory cannot be watched (it is not there, it may not be read, or there are too many
    /// watches) and why, each once.
    pub(crate) fn untold(&self) -> Vec<String> {
        let mut known = self.lock();
        let untold = known.unwatched.iter_mut().filter(|(_, (_, is_told))| !is_told);
        let tell = |(file, (why, is_told)): (&WatchedFile, &mut (io::Error, bool))| {
            *is_told = true;
            format!("{}: its directory cannot be watched: {why}", file.path.display())
        };
        untold.map(tell).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The file of a source; `None`: it has none.
fn file(source: &ConfigSource) -> Option<WatchedFile> {
    match source {
        ConfigSource::Path { path, watched_directory } => {
            Some(WatchedFile { path: path.clone(), directory: watched_directory.clone() })
        }
        ConfigSource::Directory { link, .. } => Some(WatchedFile { path: link.clone(), directory: None }),
        ConfigSource::Ads | ConfigSource::Api(_) => None,
    }
}

fn concerned(known: &Mutex<Known>, inotify: &Inotify, events: Events<'_>) -> BTreeSet<PathBuf> {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    known.directories.concerned(&inotify.watches(), events)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directories::KUBERNETES_LINK;
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
            files.watch(&at(home.file(name)));
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

    /// Both paths are told, and the directory that comes in the place of another one is followed.
    #[test]
    fn one_directory_of_two_paths_and_one_that_is_replaced() {
        let home = Home::new("paths");
        let (mut watch, files) = SourceWatch::new().expect("a watch");
        fs::create_dir(home.file("real")).expect("a directory");
        symlink("real", home.file("link")).expect("link");
        let sources = ["real/cds.yaml", "link/cds.yaml"].map(|name| at(home.file(name)));
        let both = BTreeSet::from(["real/cds.yaml", "link/cds.yaml"].map(|name| home.file(name)));
        let mut read_after = |change: &dyn Fn()| {
            sources.iter().for_each(|source| files.watch(source));
            change();
            watch.wait().expect("read")
        };
        assert_eq!(read_after(&|| home.moved("real/cds.yaml")), both);
        let replaced = read_after(&|| {
            fs::create_dir(home.file("new")).expect("a directory");
            fs::rename(home.file("real"), home.file("old")).expect("rename");
            fs::rename(home.file("new"), home.file("real")).expect("rename");
        });
        assert_eq!(replaced, both);
        assert_eq!(read_after(&|| home.moved("real/cds.yaml")), both);
    }

    #[test]
    fn one_swap_concerns_all_files_of_its_directory() {
        let (home, other) = (Home::new("of"), Home::new("watched"));
        let (mut watch, files) = SourceWatch::new().expect("a watch");
        files.watch(&at(home.file("cds.yaml")));
        files.watch(&at(home.file("lds.yaml")));
        let elsewhere = home.file("eds.yaml");
        let source = ConfigSource::Path { path: elsewhere.clone(), watched_directory: Some(other.0.clone()) };
        files.watch(&source);
        symlink("..1", home.file("tmp")).expect("link");
        fs::rename(home.file("tmp"), home.file(KUBERNETES_LINK)).expect("rename");
        assert_eq!(watch.wait().expect("read"), BTreeSet::from([home.file("cds.yaml"), home.file("lds.yaml")]));
        home.moved("eds.yaml");
        assert_eq!(watch.take().expect("read"), BTreeSet::new(), "not where it is watched");
        other.moved("anything");
        assert_eq!(watch.wait().expect("read"), BTreeSet::from([elsewhere]));
        files.watch(&at(home.file("late/cds.yaml")));
        let untold = files.untold();
        assert!(
            matches!(&untold[..], [line] if line.contains("late/cds.yaml: its directory cannot be watched: ")),
            "{untold:?}"
        );
        assert_eq!((files.retry(), files.untold()), (BTreeSet::new(), Vec::new()));
        fs::create_dir(home.file("late")).expect("a directory");
        assert_eq!(files.retry(), BTreeSet::from([home.file("late/cds.yaml")]));
        home.moved("late/cds.yaml");
        assert_eq!(watch.wait().expect("read"), BTreeSet::from([home.file("late/cds.yaml")]));
    }
}

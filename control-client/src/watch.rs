//! Says that a configuration file may have been replaced.
//!
//! Only a move counts, as in Envoy: a file that is written in place would be read half-written. The watch is on the directory,
//! because a move replaces the file and would take a watch on the file itself along. Kubernetes replaces the link `..data`
//! beside the file instead of the file; that counts, too. A link that leads to another directory is not followed.
//!
//! Invariant: after a move that the kernel reported, the next [`FileWatch::take`] is true; it may be true without one.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use inotify::{EventMask, Events, Inotify, WatchMask};

/// The link that a Kubernetes volume swaps.
const KUBERNETES_LINK: &str = "..data";
/// Room for one read: an event takes 16 bytes and the name, at most 256; more events come with the next read.
const BUFFER_SIZE: usize = 4096;

/// A watch for one file.
#[derive(Debug)]
pub struct FileWatch {
    inotify: Inotify,
    name: OsString,
}

impl FileWatch {
    /// Watches for `path` being replaced. The file itself need not exist yet, its directory must.
    ///
    /// # Errors
    /// `path` names no file; or what inotify_init1(2) and inotify_add_watch(2) report.
    pub fn new(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no file name"))?;
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let inotify = Inotify::init()?;
        inotify.watches().add(directory, WatchMask::MOVED_TO | WatchMask::ONLYDIR)?;
        Ok(Self { inotify, name: name.to_owned() })
    }

    /// Takes all that has happened, without waiting: whether the file may have been replaced since the last call.
    ///
    /// # Errors
    /// What read(2) reports.
    pub fn take(&mut self) -> io::Result<bool> {
        let mut buffer = [0; BUFFER_SIZE];
        let mut replaced = false;
        loop {
            match self.inotify.read_events(&mut buffer) {
                Ok(events) => replaced |= concerns(&self.name, events),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(replaced),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until the file may have been replaced. Who waits for other things, too, polls the descriptor and calls
    /// [`FileWatch::take`].
    ///
    /// # Errors
    /// What read(2) reports.
    pub fn wait(&mut self) -> io::Result<()> {
        let mut buffer = [0; BUFFER_SIZE];
        loop {
            match self.inotify.read_events_blocking(&mut buffer) {
                Ok(events) => {
                    if concerns(&self.name, events) {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Readable when something has happened in the directory.
impl AsFd for FileWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

fn concerns(name: &OsStr, events: Events<'_>) -> bool {
    events.fold(false, |replaced, event| {
        // After an overflow, or when the directory itself is gone, anything may have happened.
        let lost = event.mask.intersects(EventMask::Q_OVERFLOW | EventMask::IGNORED);
        replaced || lost || event.name.is_some_and(|moved| moved == name || moved == KUBERNETES_LINK)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    /// A directory of its own, which goes away with it.
    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("ringway-watch-{}-{name}", std::process::id()));
            fs::create_dir_all(&path).expect("a directory");
            Self(path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn only_a_move_onto_the_name_counts() {
        let directory = Directory::new("move");
        let file = |name: &str| directory.0.join(name);
        fs::write(file("c.yaml"), "1").expect("write");
        let mut watch = FileWatch::new(&file("c.yaml")).expect("a watch");
        assert!(!watch.take().expect("read"));

        fs::write(file("c.yaml"), "2").expect("write");
        assert!(!watch.take().expect("read"), "written in place");

        fs::write(file("other.tmp"), "3").expect("write");
        fs::rename(file("other.tmp"), file("other.yaml")).expect("rename");
        assert!(!watch.take().expect("read"), "another file");

        for _ in 0..2 {
            fs::write(file("new"), "4").expect("write");
            fs::rename(file("new"), file("c.yaml")).expect("rename");
            watch.wait().expect("read");
            assert!(!watch.take().expect("read"), "told once");
        }
        fs::rename(file("other.yaml"), file("c.yaml")).expect("rename");
        assert!(watch.take().expect("read"), "replaced");
    }

    /// As the kubelet does it: c.yaml -> ..data/c.yaml, ..data -> ..1; then ..data is replaced by a link to ..2.
    #[test]
    fn a_swap_of_the_kubernetes_link_counts() {
        let directory = Directory::new("swap");
        let path = |name: &str| directory.0.join(name);
        for version in ["..1", "..2"] {
            fs::create_dir(path(version)).expect("a directory");
            fs::write(path(version).join("c.yaml"), version).expect("write");
        }
        symlink("..1", path("..data")).expect("link");
        symlink("..data/c.yaml", path("c.yaml")).expect("link");
        let mut watch = FileWatch::new(&path("c.yaml")).expect("a watch");
        symlink("..2", path("..data_tmp")).expect("link");
        assert!(!watch.take().expect("read"));
        fs::rename(path("..data_tmp"), path("..data")).expect("rename");
        assert!(watch.take().expect("read"));
        assert_eq!(fs::read_to_string(path("c.yaml")).expect("read"), "..2");
    }

    #[test]
    fn a_path_without_a_directory_or_name_is_an_error() {
        assert!(FileWatch::new(Path::new("/nowhere/at/all.yaml")).is_err());
        assert!(FileWatch::new(Path::new("/")).is_err());
    }
}

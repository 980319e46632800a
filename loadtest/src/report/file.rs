//! A file of the outcome: there before anything is measured, so that nothing is measured in vain.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// See the module.
#[derive(Debug)]
pub(crate) struct File {
    path: PathBuf,
    file: fs::File,
}

impl File {
    /// An empty one.
    ///
    /// # Errors
    /// Why it cannot be there, with its path.
    pub(crate) fn create(path: &Path) -> Result<File, String> {
        let file = fs::File::create(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(File { path: path.to_owned(), file })
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// Why not, with its path.
    pub(crate) fn write(mut self, text: &str) -> Result<(), String> {
        self.file.write_all(text.as_bytes()).map_err(|error| format!("{}: {error}", self.path.display()))
    }
}

/// A document for programs: `-` is standard output, on which nothing else is said then.
#[derive(Debug)]
pub(crate) enum Document {
    Stdout,
    File(File),
}

impl Document {
    /// One of this path.
    ///
    /// # Errors
    /// Those of [`File::create`].
    pub(crate) fn create(path: &Path) -> Result<Document, String> {
        if path == Path::new("-") { Ok(Document::Stdout) } else { File::create(path).map(Document::File) }
    }

    /// Writes it.
    ///
    /// # Errors
    /// Those of [`File::write`].
    pub(crate) fn write(self, text: &str) -> Result<(), String> {
        match self {
            Document::Stdout => {
                crate::say(text);
                Ok(())
            }
            Document::File(file) => file.write(text),
        }
    }
}

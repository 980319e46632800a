//! A control plane of files: a directory whose link `..data` is swapped, as the kubelet does it, or files that are moved one by one.

use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::resources::{Common, Kind, text};

/// Directories of versions that stay: a reader may still be in one that was swapped away. Reading takes less than so many flips.
const KEPT: u64 = 16;

/// The files of one run.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    /// All at once, by one rename; else each file by its own.
    is_swapped: bool,
}

impl Files {
    /// An empty place.
    pub(super) fn new(folder: &Path, is_swapped: bool) -> io::Result<Files> {
        std::fs::create_dir_all(folder)?;
        if is_swapped {
            for kind in Kind::ALL {
                symlink(format!("..data/{}", kind.file()), folder.join(kind.file()))?;
            }
        }
        Ok(Files { folder: folder.to_owned(), is_swapped })
    }

    /// Where the resources of a type are, as a `ConfigSource`.
    pub(super) fn source(&self, kind: Kind) -> Value {
        let mut source = json!({"path": self.folder.join(kind.file())});
        if self.is_swapped {
            source["watched_directory"] = json!({"path": self.folder});
        }
        json!({"path_config_source": source, "resource_api_version": "V3"})
    }

    /// The bootstrap's part.
    pub(super) fn bootstrap(&self) -> Value {
        json!({"dynamic_resources": {
            "cds_config": self.source(Kind::Cluster), "lds_config": self.source(Kind::Listener),
        }})
    }

    /// Puts a version in place.
    pub(super) fn put(&self, common: &Common, version: u64) -> io::Result<()> {
        let own = self.folder.join(directory(version));
        std::fs::create_dir(&own)?;
        for kind in Kind::ALL {
            let resources = common.resources(kind, version, &|kind| self.source(kind));
            let response = json!({"version_info": text(version), "resources": resources});
            std::fs::write(own.join(kind.file()), response.to_string())?;
        }
        if self.is_swapped {
            let new = self.folder.join("..data_new");
            symlink(directory(version), &new)?;
            std::fs::rename(new, self.folder.join("..data"))?;
        } else {
            for kind in Kind::ALL {
                std::fs::rename(own.join(kind.file()), self.folder.join(kind.file()))?;
            }
        }
        match version.checked_sub(KEPT) {
            Some(old) if old > 0 => std::fs::remove_dir_all(self.folder.join(directory(old))),
            _ => Ok(()),
        }
    }
}

fn directory(version: u64) -> String {
    format!("..v{version}")
}

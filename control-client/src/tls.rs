//! TLS contexts by what they were made of, the files that they were made from, and what their certificates say.
//!
//! Never keeps a context or a key alive: whoever holds the snapshot does. A context whose configuration and files are as they were is
//! the same one, so that who compares snapshots sees no change.
//!
//! Invariant: within one reading a file is read once, so that all contexts have the same version of it.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, Weak};

use ringway_tls::{Certificate, ClientContext, ServerContext, sha256};

use crate::directories::WatchedFile;
use crate::secret_watch::SecretFiles;

/// The largest file that a context is made from. The largest bundles of CAs in use have 500 KiB, large revocation lists some MiB; a file is in memory
/// only while it is read.
const FILE_BYTES_MAX: usize = 16 << 20;

/// What lasts from one reading of a configuration to the next.
#[derive(Debug, Default)]
pub struct TlsContexts {
    servers: HashMap<[u8; 32], Weak<ServerContext>>,
    clients: HashMap<[u8; 32], Weak<ClientContext>>,
    /// What this reading has read.
    read: HashMap<String, Result<Arc<[u8]>, String>>,
    files: BTreeSet<WatchedFile>,
    /// Who is told of each file before it is read.
    watch: Option<SecretFiles>,
}

/// What the certificates of one context say, for `/certs`.
#[derive(Clone, Debug, Default)]
pub struct ContextCertificates {
    /// Of the trusted CA.
    pub authorities: Vec<CertificateFacts>,
    /// Our own, without the rest of their chains.
    pub own: Vec<CertificateFacts>,
}

/// One certificate and where it came from.
#[derive(Clone, Debug)]
pub struct CertificateFacts {
    /// The file; `<inline>` where there is none.
    pub path: String,
    /// What it says.
    pub certificate: Certificate,
}

impl ContextCertificates {
    /// The second since 1970 at which the first of them ends.
    pub fn first_expiration(&self) -> Option<i64> {
        self.authorities.iter().chain(&self.own).map(|facts| facts.certificate.not_after).min()
    }
}

impl TlsContexts {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// None yet; files are watched from before they are read.
    pub fn watched_by(watch: SecretFiles) -> Self {
        Self { watch: Some(watch), ..Self::default() }
    }

    /// What the last reading named is in force: no other files are watched any more.
    pub fn in_force(&self) {
        if let Some(watch) = &self.watch {
            watch.retain(&self.files);
        }
    }

    /// The files that the last reading named, whether they could be read or not.
    #[doc(hidden)]
    pub fn files(&self) -> &BTreeSet<WatchedFile> {
        &self.files
    }

    /// Files that are not watched, each told once.
    pub fn untold(&self) -> Vec<String> {
        self.watch.as_ref().map_or_else(Vec::new, SecretFiles::untold)
    }

    /// Tries again to watch those: whether one of them is watched now, and may have changed before.
    pub fn rewatch(&self) -> bool {
        self.watch.as_ref().is_some_and(SecretFiles::retry)
    }

    /// A new reading begins: files are read anew.
    pub(crate) fn begin(&mut self) {
        self.read.clear();
        self.files.clear();
        self.servers.retain(|_, context| context.strong_count() > 0);
        self.clients.retain(|_, context| context.strong_count() > 0);
    }

    /// The reading is over: what was read is forgotten.
    pub(crate) fn end(&mut self) {
        self.read.clear();
    }

    /// Something is read besides: its files anew, and those of before are still named.
    pub(crate) fn resume(&mut self) {
        self.read.clear();
        self.servers.retain(|_, context| context.strong_count() > 0);
        self.clients.retain(|_, context| context.strong_count() > 0);
    }

    /// A file's bytes.
    pub(crate) fn file(&mut self, path: &str, directory: Option<&str>) -> Result<Arc<[u8]>, String> {
        let file = WatchedFile { path: path.into(), directory: directory.map(PathBuf::from) };
        if let Some(watch) = &self.watch {
            watch.watch(&file);
        }
        self.files.insert(file);
        if let Some(known) = self.read.get(path) {
            return known.clone();
        }
        let bytes = read(path).map(Arc::from);
        self.read.insert(path.to_owned(), bytes.clone());
        bytes
    }

    /// The context of this digest, or what `make` makes.
    pub(crate) fn server<E>(
        &mut self,
        digest: [u8; 32],
        make: impl FnOnce() -> Result<Arc<ServerContext>, E>,
    ) -> Result<Arc<ServerContext>, E> {
        known_or_made(&mut self.servers, digest, make)
    }

    /// The context of this digest, or what `make` makes.
    pub(crate) fn client<E>(
        &mut self,
        digest: [u8; 32],
        make: impl FnOnce() -> Result<Arc<ClientContext>, E>,
    ) -> Result<Arc<ClientContext>, E> {
        known_or_made(&mut self.clients, digest, make)
    }
}

fn known_or_made<T, E>(
    known: &mut HashMap<[u8; 32], Weak<T>>,
    digest: [u8; 32],
    make: impl FnOnce() -> Result<Arc<T>, E>,
) -> Result<Arc<T>, E> {
    if let Some(context) = known.get(&digest).and_then(Weak::upgrade) {
        return Ok(context);
    }
    let context = make()?;
    known.insert(digest, Arc::downgrade(&context));
    Ok(context)
}

/// What tells one context from another: its configuration and all that files and secrets held.
pub(crate) fn digest<'d>(identity: &str, data: impl Iterator<Item = Option<&'d [u8]>>) -> [u8; 32] {
    let mut text = identity.as_bytes().to_vec();
    for bytes in data {
        // A part that is not there differs from an empty one.
        let length = bytes.map_or(u64::MAX, |bytes| bytes.len() as u64);
        text.extend_from_slice(&length.to_be_bytes());
        text.extend_from_slice(bytes.unwrap_or_default());
    }
    sha256(&text)
}

/// Reads a file, but no more of it than shows that it is too large.
fn read(path: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let cannot = |error: std::io::Error| format!("{path} cannot be read: {error}");
    let file = File::open(path).map_err(cannot)?;
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() > FILE_BYTES_MAX {
        return Err(format!("{path} is larger than {FILE_BYTES_MAX} bytes"));
    }
    Ok(bytes)
}

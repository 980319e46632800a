//! From the files named on the command line to a snapshot. Reads files; decides nothing about their content.

use std::fs::File;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use ringway_control_client::{Builder, Dump, Problem, ReadOptions, Source as ConfigSource, read_bootstrap};
use ringway_model::Snapshot;

use crate::STACK_SIZE;
use crate::args::Source;

/// The largest configuration file, as the reader allows it: 50,000 endpoints take some 15 MB.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Loads the same configuration again and again. Keeps the builder, so that what did not change keeps its identity.
pub(crate) struct Loader {
    source: Source,
    builder: Builder,
}

/// A configuration without a known fault.
pub(crate) struct Loaded {
    /// What is to be put in force.
    pub(crate) snapshot: Arc<Snapshot>,
    /// Where the admin server is to be.
    pub(crate) admin: Option<SocketAddr>,
    /// `node.id` and `node.cluster`.
    pub(crate) node: (String, String),
    /// The bootstrap as read.
    pub(crate) dump: Dump,
    /// What was accepted but deserves a line.
    pub(crate) warnings: Vec<String>,
}

impl Loader {
    /// A loader that has loaded nothing yet.
    pub(crate) fn new(source: Source) -> Loader {
        Loader { source, builder: Builder::new() }
    }

    /// What to call the configuration.
    pub(crate) fn name(&self) -> String {
        self.source.path.as_ref().map_or("--config-yaml".into(), |path| path.display().to_string())
    }

    /// The path to watch, if there is a file.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.source.path.as_deref()
    }

    /// Takes another configuration from now on; what both have in common keeps its identity.
    pub(crate) fn replace(&mut self, source: Source) {
        self.source = source;
    }

    /// Reads the configuration and builds a snapshot of it.
    ///
    /// # Errors
    /// Every problem as a line.
    pub(crate) fn load(&mut self) -> Result<Loaded, Vec<String>> {
        let texts = |problems: Vec<Problem>| problems.iter().map(ToString::to_string).collect::<Vec<_>>();
        let name = self.name();
        let file = match &self.source.path {
            Some(path) => Some(read(path).map_err(|error| vec![format!("{name}: cannot be read: {error}")])?),
            None => None,
        };
        let options = ReadOptions { allow_unknown_static_fields: self.source.allow_unknown_static_fields };
        let text = file.as_deref().or(self.source.yaml.as_deref()).unwrap_or_default();
        let builder = &mut self.builder;
        // On a thread of its own, which ends with it: the allocator gives a thread's memory back when the thread is
        // gone, and reading needs many times what stays.
        let read = || -> Result<_, Vec<Problem>> {
            let bootstrap = read_bootstrap(ConfigSource { name: &name, text }, &options)?;
            let snapshot = builder.build(&bootstrap).snapshot().clone();
            Ok((bootstrap, snapshot))
        };
        let (bootstrap, snapshot) = thread::scope(|scope| {
            let load = thread::Builder::new().name("load".into()).stack_size(STACK_SIZE).spawn_scoped(scope, read);
            load.map_err(|error| vec![format!("{name}: no thread to read it: {error}")])?
                .join()
                .expect("a panic ends the process")
                .map_err(texts)
        })?;
        Ok(Loaded {
            snapshot,
            admin: bootstrap.admin,
            node: (bootstrap.node.id.clone(), bootstrap.node.cluster.clone()),
            warnings: bootstrap.warnings.iter().map(ToString::to_string).collect(),
            dump: bootstrap.dump,
        })
    }
}

/// Reads a whole file, if it is not larger than any configuration.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    Ok(text)
}

//! From the files named on the command line to a snapshot. Reads files; decides nothing about their content.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::thread;

use ringway_control_client::{
    Builder, Built, ContextCertificates, DnsPlans, Dump, Problem, ReadOptions, Resources, SecretFiles,
    Source as ConfigSource, TlsContexts, read_bootstrap_with,
};
use ringway_model::{Address, Endpoint, Snapshot, StatsRules};

use crate::STACK_SIZE;
use crate::args::Source;

/// The largest configuration file, as the reader allows it: 50,000 endpoints take some 15 MB.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// Loads the same configuration again and again. Keeps the builder, so that what did not change keeps its identity.
pub(crate) struct Loader {
    source: Source,
    builder: Builder,
    contexts: TlsContexts,
    last: Last,
}

/// What became of the configuration that was read last, rereading because of changed certificates aside.
enum Last {
    /// It is in force, or waits for names.
    Accepted,
    /// It could not be read.
    Unreadable,
    /// It was refused: new files of certificates may mend it.
    Refused(Arc<str>),
}

/// A configuration without a known fault.
pub(crate) struct Loaded {
    /// What is to be put in force.
    pub(crate) content: Content,
    /// The clusters whose endpoints are found by names.
    pub(crate) dns: DnsPlans,
    /// Where the admin server is to be.
    pub(crate) admin: Option<Address>,
    /// `node.id` and `node.cluster`.
    pub(crate) node: (String, String),
    /// What the certificates of its TLS contexts say.
    pub(crate) certificates: Arc<[ContextCertificates]>,
    /// What is shown of the statistics.
    pub(crate) stats: Arc<StatsRules>,
    /// The bootstrap as read.
    pub(crate) dump: Dump,
    /// What was accepted but deserves a line.
    pub(crate) warnings: Vec<String>,
}

/// How far a configuration has come.
pub(crate) enum Content {
    /// It can be committed.
    Built(Box<Candidate>),
    /// Its names are to be looked up first.
    Named(Box<Resources>),
}

/// A snapshot, and the builder that made it: whoever commits the one keeps the other.
pub(crate) struct Candidate {
    pub(crate) snapshot: Arc<Snapshot>,
    builder: Builder,
}

impl Loader {
    /// A loader that has loaded nothing yet.
    pub(crate) fn new(source: Source) -> Loader {
        Loader { source, builder: Builder::new(), contexts: TlsContexts::new(), last: Last::Accepted }
    }

    /// The same, which has the files of certificates and keys watched.
    pub(crate) fn watching(self, files: SecretFiles) -> Loader {
        Loader { contexts: TlsContexts::watched_by(files), ..self }
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

    /// Reads the configuration and, where no name stands in the way, builds a snapshot of it.
    ///
    /// # Errors
    /// Every problem as a line.
    pub(crate) fn load(&mut self) -> Result<Loaded, Vec<String>> {
        let name = self.name();
        self.last = Last::Unreadable;
        let file = match &self.source.path {
            Some(path) => Some(read(path).map_err(|error| vec![format!("{name}: cannot be read: {error}")])?),
            None => None,
        };
        let text: Arc<str> = match file {
            Some(text) => text.into(),
            None => self.source.yaml.as_deref().unwrap_or_default().into(),
        };
        let loaded = self.read(&text);
        self.last = if loaded.is_err() { Last::Refused(text) } else { Last::Accepted };
        loaded
    }

    /// Reads the text again that was refused last, because files that it names have changed. `None`: the last one was not refused.
    pub(crate) fn reread_refused(&mut self) -> Option<Result<Loaded, Vec<String>>> {
        let Last::Refused(text) = &self.last else { return None };
        let text = Arc::clone(text);
        let loaded = self.read(&text);
        if loaded.is_ok() {
            self.last = Last::Accepted;
        }
        Some(loaded)
    }

    /// Reads a text again that is in force or waits for names, because files that it names have changed.
    ///
    /// # Errors
    /// Every problem as a line: a file is not as it must be.
    pub(crate) fn reread(&mut self, accepted: &Dump) -> Result<Loaded, Vec<String>> {
        self.read(accepted.text())
    }

    /// What was read could not be put in force.
    pub(crate) fn refuse(&mut self, dump: &Dump) {
        if matches!(self.last, Last::Accepted) {
            self.last = Last::Refused(dump.text().into());
        }
    }

    /// Whether what was read last is in force or waits for names.
    pub(crate) fn is_last_accepted(&self) -> bool {
        matches!(self.last, Last::Accepted)
    }

    fn read(&mut self, text: &str) -> Result<Loaded, Vec<String>> {
        let texts = |problems: Vec<Problem>| problems.iter().map(ToString::to_string).collect::<Vec<_>>();
        let name = self.name();
        let options = ReadOptions { allow_unknown_static_fields: self.source.allow_unknown_static_fields };
        let (builder, contexts) = (&self.builder, &mut self.contexts);
        // On a thread of its own, which ends with it: the allocator gives a thread's memory back when the thread is
        // gone, and reading needs many times what stays.
        let read = || -> Result<_, Vec<Problem>> {
            let mut bootstrap = read_bootstrap_with(ConfigSource { name: &name, text }, &options, contexts)?;
            let dns = bootstrap.resources.dns().clone();
            let resources = std::mem::take(&mut bootstrap.resources);
            let content = match dns.is_empty() {
                true => Content::Built(Box::new(candidate(builder, &resources))),
                false => Content::Named(Box::new(resources)),
            };
            Ok((bootstrap, content, dns))
        };
        let (bootstrap, content, dns) = thread::scope(|scope| {
            let load = thread::Builder::new().name("load".into()).stack_size(STACK_SIZE).spawn_scoped(scope, read);
            load.map_err(|error| vec![format!("{name}: no thread to read it: {error}")])?
                .join()
                .expect("a panic ends the process")
                .map_err(texts)
        })?;
        Ok(Loaded {
            content,
            dns,
            admin: bootstrap.admin,
            node: (bootstrap.node.id.clone(), bootstrap.node.cluster.clone()),
            warnings: bootstrap.warnings.iter().map(ToString::to_string).collect(),
            certificates: bootstrap.certificates.into(),
            stats: Arc::new(bootstrap.stats),
            dump: bootstrap.dump,
        })
    }

    /// Builds a snapshot over the one in force.
    pub(crate) fn build(&self, resources: &Resources) -> Candidate {
        candidate(&self.builder, resources)
    }

    /// The snapshot in force but for these clusters' endpoints. `None`: nothing differs.
    pub(crate) fn with_endpoints(&self, endpoints: BTreeMap<String, Vec<Endpoint>>) -> Option<Candidate> {
        let mut builder = self.builder.clone();
        match builder.with_endpoints(endpoints) {
            Built::New(snapshot) => Some(Candidate { snapshot, builder }),
            Built::Same(_) => None,
        }
    }

    /// A candidate is in force: the next ones are built over it.
    pub(crate) fn keep(&mut self, candidate: Candidate) {
        self.builder = candidate.builder;
    }

    /// Files of certificates that are not watched, each told once.
    pub(crate) fn untold(&self) -> Vec<String> {
        self.contexts.untold()
    }

    /// Tries again to watch those: whether one of them is watched now, and may have changed before.
    pub(crate) fn rewatch(&self) -> bool {
        self.contexts.rewatch()
    }

    /// What was read last is in force: files that only others named are not watched any more.
    pub(crate) fn settle(&self) {
        if self.is_last_accepted() {
            self.contexts.in_force();
        }
    }
}

fn candidate(builder: &Builder, resources: &Resources) -> Candidate {
    let mut builder = builder.clone();
    let snapshot = builder.build_resources(resources).snapshot().clone();
    Candidate { snapshot, builder }
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

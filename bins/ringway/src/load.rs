//! From the files named on the command line to a snapshot. Reads files; decides nothing about their content.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ringway_control_client::{
    Builder, Built, ContextCertificates, DnsPlans, Dump, Files, LoadReports, Moment, Outcome, Problem, ReadOptions,
    Resources, Roots, Runtime, SecretFiles, ShownResource, Source as ConfigSource, SourceFiles, Streams, TlsContexts,
    Wait, read_bootstrap_with,
};
use ringway_model::{Address, Endpoint, Snapshot, StatsRules};

use crate::STACK_SIZE;
use crate::args::Source;
use crate::dynamic::{Dynamic, News, refusal_lines};

/// The largest configuration file, as the reader allows it: 50,000 endpoints take some 15 MB.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// How long to wait when the system had no thread to give.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Loads the same configuration again and again. Keeps the builder, so that what did not change keeps its identity.
pub(crate) struct Loader {
    source: Source,
    builder: Builder,
    contexts: TlsContexts,
    last: Last,
    dynamic: Dynamic,
    /// What the cache had when it was last in force as a whole.
    in_force: Arc<Roots>,
    /// What fields with a `runtime_key` are given.
    runtime: Arc<Runtime>,
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
    /// What the certificates of its TLS contexts say; `None`: what those in force do.
    pub(crate) certificates: Option<Arc<[ContextCertificates]>>,
    /// What the file says besides resources; `None`: the file is the one in force.
    pub(crate) file: Option<Box<FromFile>>,
    /// What is to be said of resources that came besides the file.
    pub(crate) news: News,
}

/// What a bootstrap says besides resources.
pub(crate) struct FromFile {
    /// Where the admin server is to be.
    pub(crate) admin: Option<Address>,
    /// `node.id` and `node.cluster`.
    pub(crate) node: (String, String),
    /// What is shown of the statistics.
    pub(crate) stats: Arc<StatsRules>,
    /// Who is told how much was sent where.
    pub(crate) load_reports: Option<LoadReports>,
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
    /// It can be committed, and has the names and the listeners of what is in force.
    Endpoints(Box<Candidate>),
    /// It is what is in force.
    Same,
}

/// A snapshot, and the builder that made it: whoever commits the one keeps the other.
pub(crate) struct Candidate {
    pub(crate) snapshot: Arc<Snapshot>,
    builder: Builder,
}

impl Loader {
    /// A loader that has loaded nothing yet.
    pub(crate) fn new(source: Source) -> Loader {
        let (builder, contexts, dynamic) = (Builder::new(), TlsContexts::new(), Dynamic::default());
        let (last, in_force, runtime) = (Last::Accepted, Arc::default(), Arc::default());
        Loader { source, builder, contexts, last, dynamic, in_force, runtime }
    }

    /// The same, which has files of resources watched.
    pub(crate) fn following(mut self, files: SourceFiles) -> Loader {
        self.dynamic.files = Files::watched_by(files);
        self
    }

    /// Asks management servers from now on. `ring` is called when there is something for [`Loader::bring`].
    /// What comes of one version is waited for for `bundle_wait`, and up to three times more by who notices its end late.
    pub(crate) fn ask(&mut self, bundle_wait: Duration, ring: impl Fn() + Send + Sync + 'static) {
        self.dynamic.bundle_wait = bundle_wait;
        let mut streams = Streams::new(ring);
        streams.settle(&self.dynamic.cache);
        self.dynamic.streams = Some(streams);
    }

    /// Who is held back, and for what.
    pub(crate) fn waits(&self) -> &[Wait] {
        &self.dynamic.waits
    }

    /// Clusters that wait for the first answer to their names.
    pub(crate) fn awaited_names(&self) -> &DnsPlans {
        self.dynamic.cache.awaited_names()
    }

    /// The names of these are known. Gives whether somebody waited for them: then [`Loader::bring`].
    pub(crate) fn know_names(&mut self, known: DnsPlans) -> bool {
        self.dynamic.cache.know_names(known)
    }

    /// Somebody need not wait any more.
    pub(crate) fn hasten(&mut self) {
        self.dynamic.until = Some(Instant::now());
    }

    /// When somebody has waited long enough: then [`Loader::bring`].
    pub(crate) fn until(&self) -> Option<Instant> {
        self.dynamic.until
    }

    /// What fields with a `runtime_key` are given, of the file and what came for its layers.
    pub(crate) fn runtime(&self) -> Arc<Runtime> {
        self.dynamic.cache.runtime().unwrap_or(&self.runtime).clone()
    }

    /// What came besides the file, for who shows it.
    pub(crate) fn shown(&self) -> Vec<ShownResource> {
        self.dynamic.cache.shown()
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
        let loaded = self.read(&text, true, false);
        self.last = if loaded.is_err() { Last::Refused(text) } else { Last::Accepted };
        loaded
    }

    /// Takes up files of resources that have `moved`, what came of management servers, and what may go on now without
    /// what it waited for. `None`: there is nothing to do or to say.
    pub(crate) fn bring(&mut self, moved: &BTreeSet<PathBuf>) -> Option<Loaded> {
        let Loader { builder, contexts, dynamic, in_force, .. } = self;
        if !dynamic.cache.wants_more() {
            // Nothing more has to come than the file has, which the cache does not hold then.
            (dynamic.waits, dynamic.until) = (Vec::new(), None);
            return None;
        }
        let is_light = moved.is_empty() && dynamic.streams.as_ref().is_none_or(Streams::is_light);
        dynamic.missed.extend(moved.iter().cloned());
        let mut bring = || -> Option<Loaded> {
            let moved = std::mem::take(&mut dynamic.missed);
            let (outcome, news) = dynamic.bring(contexts, Some(&moved));
            let certificates = match outcome {
                Outcome::All => Some(dynamic.cache.certificates().into()),
                // There may be many, and most changes are of endpoints.
                Outcome::Clusters(_) => dynamic.cache.take_new_certificates().map(Arc::from),
                Outcome::Same => None,
            };
            let (content, dns) = match outcome {
                Outcome::Same if news.is_empty() => return None,
                Outcome::Same => (Content::Same, DnsPlans::new()),
                Outcome::Clusters(parts) => {
                    let mut next = builder.clone();
                    let content = match next.with_clusters(&parts) {
                        Built::New(snapshot) => Content::Endpoints(Box::new(Candidate { snapshot, builder: next })),
                        Built::Same(_) => {
                            // In force already, under other numbers: what comes next is not made with it.
                            *builder = next;
                            dynamic.cache.share(builder);
                            dynamic.is_ahead = false;
                            *in_force = dynamic.cache.caught_up();
                            Content::Same
                        }
                    };
                    (content, DnsPlans::new())
                }
                Outcome::All => content(builder, dynamic.cache.resources()),
            };
            Some(Loaded { content, dns, certificates, file: None, news })
        };
        if is_light {
            return bring();
        }
        on_a_thread(bring).unwrap_or_else(|error| {
            self.dynamic.until = Some(Instant::now() + AGAIN_AFTER);
            let refusals = vec![format!("no thread to read resources: {error}")];
            let news = News { refusals, ..News::default() };
            let (content, dns, certificates) = (Content::Same, DnsPlans::new(), None);
            Some(Loaded { content, dns, certificates, file: None, news })
        })
    }

    /// Refuses listeners that cannot be put in force, each alone; then what remains. `None`: one of them cannot be
    /// refused alone.
    pub(crate) fn refuse_listeners(&mut self, problems: &[(String, String)]) -> Option<Resources> {
        let at = Moment::now();
        let (cache, contexts) = (&mut self.dynamic.cache, &mut self.contexts);
        let mut refuse = |name: &str, rule: &str| cache.refuse_listener(name, rule.to_owned(), contexts, at);
        // Each of them, whatever becomes of the others.
        let refused = problems.iter().filter(|(name, rule)| refuse(name, rule)).count();
        // A version that came back may want what was given up since, and has not seen what came since.
        self.dynamic.until = Some(at.instant);
        (refused == problems.len()).then(|| self.dynamic.cache.resources())
    }

    /// A file came to nothing: what is in force is what resources belong to again, and is read again next.
    pub(crate) fn take_back(&mut self) {
        let at = Moment::now();
        self.dynamic.cache.set_roots(self.in_force.clone(), at);
        // What was made of secrets is the cache's, and not in the roots.
        self.dynamic.cache.translate_again(false, &mut self.contexts, at);
        self.dynamic.files.forget();
        if let Some(streams) = &mut self.dynamic.streams {
            streams.settle(&self.dynamic.cache);
        }
    }

    /// Reads the text again that was refused last, because files that it names have changed. `None`: the last one was
    /// not refused.
    pub(crate) fn reread_refused(&mut self) -> Option<Result<Loaded, Vec<String>>> {
        let Last::Refused(text) = &self.last else { return None };
        let text = Arc::clone(text);
        let loaded = self.read(&text, false, false);
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
        self.read(accepted.text(), false, true)
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

    /// Reads a bootstrap and what it leads to; `again`: also those files that were read before; `accepted`: it was
    /// accepted once, so that files of resources may have gone since.
    fn read(&mut self, text: &str, again: bool, accepted: bool) -> Result<Loaded, Vec<String>> {
        let texts = |problems: Vec<Problem>| problems.iter().map(ToString::to_string).collect::<Vec<_>>();
        let name = self.name();
        let options = ReadOptions {
            allow_unknown_static_fields: self.source.allow_unknown_static_fields,
            sources_may_be_gone: accepted,
            node: self.source.node.clone(),
        };
        let Loader { builder, contexts, dynamic, runtime, .. } = self;
        let read = || -> Result<Loaded, Vec<Problem>> {
            let mut bootstrap = read_bootstrap_with(ConfigSource { name: &name, text }, &options, contexts)?;
            let at = Moment::now();
            let is_dynamic = bootstrap.roots.is_some();
            dynamic.cache.set_roots(bootstrap.roots.take().unwrap_or_default(), at);
            let refused = dynamic.cache.translate_again(true, contexts, at);
            let known = BTreeSet::new();
            let (_, mut news) = dynamic.bring(contexts, if again { None } else { Some(&known) });
            news.refusals.extend(refused.iter().flat_map(|(kind, refused)| refusal_lines(*kind, refused)));
            let (resources, certificates) = match is_dynamic {
                true => (dynamic.cache.resources(), dynamic.cache.certificates()),
                false => (std::mem::take(&mut bootstrap.resources), std::mem::take(&mut bootstrap.certificates)),
            };
            let (content, dns) = content(builder, resources);
            *runtime = bootstrap.runtime;
            let file = FromFile {
                admin: bootstrap.admin,
                node: (bootstrap.node.id.clone(), bootstrap.node.cluster.clone()),
                warnings: bootstrap.warnings.iter().map(ToString::to_string).collect(),
                stats: Arc::new(bootstrap.stats),
                load_reports: bootstrap.load_reports,
                dump: bootstrap.dump,
            };
            Ok(Loaded { content, dns, certificates: Some(certificates.into()), file: Some(Box::new(file)), news })
        };
        on_a_thread(read).map_err(|error| vec![format!("{name}: no thread to read it: {error}")])?.map_err(texts)
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
        self.dynamic.cache.share(&self.builder);
    }

    /// Files of certificates and of resources that are not watched, each told once.
    pub(crate) fn untold(&self) -> Vec<String> {
        let mut untold = self.contexts.untold();
        untold.extend(self.dynamic.files.untold());
        untold
    }

    /// Tries again to watch files of resources: those that can be watched now, and may have changed before.
    pub(crate) fn rewatch_sources(&self) -> BTreeSet<PathBuf> {
        self.dynamic.files.rewatch()
    }

    /// Tries again to watch those: whether one of them is watched now, and may have changed before.
    pub(crate) fn rewatch(&self) -> bool {
        self.contexts.rewatch()
    }

    /// All that was settled is in force.
    pub(crate) fn caught_up(&mut self) {
        self.dynamic.is_ahead = false;
        self.in_force = self.dynamic.cache.caught_up();
    }

    /// What was read last is in force: files that only others named are not watched any more.
    pub(crate) fn settle(&self) {
        if self.is_last_accepted() {
            self.contexts.in_force();
        }
    }
}

/// Runs on a thread of its own, which ends with it: the allocator gives a thread's memory back when the thread is gone,
/// and reading needs many times what stays.
fn on_a_thread<T: Send>(body: impl FnOnce() -> T + Send) -> io::Result<T> {
    thread::scope(|scope| {
        let load = thread::Builder::new().name("load".into()).stack_size(STACK_SIZE).spawn_scoped(scope, body)?;
        Ok(load.join().expect("a panic ends the process"))
    })
}

/// What can be built at once is built.
fn content(builder: &Builder, resources: Resources) -> (Content, DnsPlans) {
    let dns = resources.dns().clone();
    let content = match dns.is_empty() {
        true => Content::Built(Box::new(candidate(builder, &resources))),
        false => Content::Named(Box::new(resources)),
    };
    (content, dns)
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

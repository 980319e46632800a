//! Resources from files: `path_config_source`, and the files of a `disk_layer`. The first of the transports that feed the [`Cache`].
//!
//! A file holds a `DiscoveryResponse` as YAML or JSON. It is read when somebody wants what it may have, and when it was
//! replaced. There is nobody to acknowledge to: what is refused is said in the log and in `/config_dump`.
//!
//! Invariant: files that one move replaced are of one version when they are applied ([`pins`]).

mod disk_layer;
mod pins;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use self::pins::Pins;
use crate::brought::{Brought, Failure};
use crate::cache::{Cache, Change, ConfigSource, Kind, Moment, Names, Received, Subscription, Unread, Update};
use crate::document::{self, Content, Node, TEXT_BYTES_MAX};
use crate::message::{Message, Value};
use crate::problem::{Problem, Report};
use crate::reader::{self, Unknown};
use crate::runtime::LayerValues;
use crate::scalar;
use crate::schema::MessageType;
use crate::source_watch::SourceFiles;
use crate::tls::TlsContexts;

/// The full name of what a file holds.
const RESPONSE: &str = "envoy.service.discovery.v3.DiscoveryResponse";
/// What may stand around a resource.
const WRAPPER: &str = "envoy.service.discovery.v3.Resource";
/// How often all is read again because a directory went away while it was read: one that is swapped and removed all the time is
/// read as it is, and again after the next move.
const READS_MAX: usize = 8;
/// The longest way from a source to the last file that it leads to: listeners to routes, clusters to assignments.
const ROUNDS_MAX: usize = 4;

/// See the module.
#[derive(Debug, Default)]
pub struct Files {
    /// Who is told of each file before it is read.
    watch: Option<SourceFiles>,
    /// What each file was read for, and where it was then.
    read: BTreeMap<(Kind, Arc<ConfigSource>), (Names, PathBuf)>,
    /// What was wanted when the cache was last settled, as [`Cache::wants_serial`] has it.
    settled: Option<u64>,
    /// Where the directories led when they were last looked at.
    pins: Pins,
}

impl Files {
    /// None yet; nobody is told of changes.
    pub fn new() -> Self {
        Self::default()
    }

    /// None yet; files are watched from before they are read.
    pub fn watched_by(watch: SourceFiles) -> Self {
        Self { watch: Some(watch), ..Self::default() }
    }

    /// Brings the cache what it wants: of files that were not read for that, and of those that have `moved` (`None`:
    /// any may have).
    pub fn bring(
        &mut self,
        cache: &mut Cache,
        contexts: &mut TlsContexts,
        moved: Option<&BTreeSet<PathBuf>>,
        at: Moment,
    ) -> Vec<Brought> {
        match moved {
            Some(moved) => moved.iter().for_each(|path| self.pins.forget(path)),
            None => self.pins.clear(),
        }
        let mut brought = Vec::new();
        if self.settled == Some(cache.wants_serial()) && moved.is_some_and(BTreeSet::is_empty) {
            return brought;
        }
        contexts.resume();
        let mut moved = moved;
        for attempt in 1..=READS_MAX {
            if self.bring_once(cache, contexts, moved, at, attempt < READS_MAX, &mut brought) {
                break;
            }
            // What was read is of a version that is gone: all is read as it is now.
            self.pins.clear();
            moved = None;
        }
        contexts.end();
        brought
    }

    /// One attempt of [`Files::bring`]. `false`, if that `may_fail`: a directory went away meanwhile.
    fn bring_once(
        &mut self,
        cache: &mut Cache,
        contexts: &mut TlsContexts,
        moved: Option<&BTreeSet<PathBuf>>,
        at: Moment,
        may_fail: bool,
        brought: &mut Vec<Brought>,
    ) -> bool {
        let mut is_first = true;
        for _ in 0..ROUNDS_MAX {
            let wanted = cache.wanted();
            self.look(&wanted);
            let due: Vec<&Subscription> = wanted.iter().filter(|wanted| self.is_due(wanted, moved, is_first)).collect();
            is_first = false;
            if due.is_empty() {
                break;
            }
            let (texts, is_stale) = self.texts(&due);
            if is_stale && may_fail {
                return false;
            }
            for wanted in due {
                let Subscription { source, kind, names } = wanted;
                self.read.insert((*kind, source.clone()), (names.clone(), self.place(source)));
                let scopes = cache.scopes(source, *kind);
                let began = Instant::now();
                let text = &texts[source];
                let name = source.to_string();
                let read = match text {
                    Ok(Held::Text(text)) => read_response(&name, text, source, *kind, Unknown::Refused),
                    Ok(Held::Layer(values)) => {
                        let (outcome, took) = (Ok(cache.apply_directory(source, values.clone(), at)), began.elapsed());
                        brought.push(Brought { source: source.clone(), kind: *kind, outcome, scopes, took });
                        continue;
                    }
                    Err(why) => {
                        let problem =
                            Problem { file: name, line: 1, column: 1, path: String::new(), rule: why.clone() };
                        Err(vec![problem])
                    }
                };
                let outcome = match read {
                    Ok(update) => {
                        let verdict = cache.apply(update, contexts, at);
                        if verdict.is_change {
                            cache.retry_after(&BTreeSet::from([*kind]), contexts, at);
                        }
                        Ok(verdict)
                    }
                    Err(problems) => Err(Failure { problems, scopes: cache.failed(source, *kind) }),
                };
                let took = began.elapsed();
                brought.push(Brought { source: source.clone(), kind: *kind, outcome, scopes, took });
            }
        }
        true
    }

    /// Forgets the files that nobody wants any more, after the cache has settled.
    pub fn settle(&mut self, cache: &Cache) {
        if self.settled.replace(cache.wants_serial()) == Some(cache.wants_serial()) {
            return;
        }
        let wanted = cache.wanted();
        let names: BTreeMap<_, _> =
            wanted.into_iter().map(|wanted| ((wanted.kind, wanted.source), wanted.names)).collect();
        // A name that nobody wants any more is read anew for whoever wants it next.
        self.read = std::mem::take(&mut self.read)
            .into_iter()
            .filter_map(|(key, (read, place))| Some((names.get(&key)?.clone(), key, read, place)))
            .map(|(now, key, read, place)| (key, (common(read, now), place)))
            .collect();
        if let Some(watch) = &self.watch {
            watch.retain(names.keys().map(|(_, source)| &**source));
        }
    }

    /// Reads every file anew at the next time.
    pub fn forget(&mut self) {
        self.read.clear();
        self.pins.clear();
    }

    /// Files whose directory cannot be watched, each told once.
    pub fn untold(&self) -> Vec<String> {
        self.watch.as_ref().map_or_else(Vec::new, SourceFiles::untold)
    }

    /// Tries again to watch those: the ones that are now, and may have moved before.
    pub fn rewatch(&self) -> BTreeSet<PathBuf> {
        self.watch.as_ref().map_or_else(BTreeSet::new, SourceFiles::retry)
    }

    fn is_due(&self, wanted: &Subscription, moved: Option<&BTreeSet<PathBuf>>, is_first: bool) -> bool {
        let Some(path) = path_of(&wanted.source) else { return false };
        let known = self.read.get(&(wanted.kind, wanted.source.clone()));
        let is_read = match (known, &wanted.names) {
            (None, _) => false,
            (Some((Names::These(known), _)), Names::These(names)) => names.is_subset(known),
            (Some(_), _) => true,
        };
        // One move is told with the files that were watched when it came. What was read since may have been swapped by it, too.
        let is_elsewhere = || known.is_some_and(|(_, place)| *place != self.pins.place(path));
        !is_read || is_first && moved.is_none_or(|moved| moved.contains(path)) || is_elsewhere()
    }

    /// Looks where the wanted files are, after somebody was told to hear of moves.
    fn look(&mut self, wanted: &[Subscription]) {
        let is_new = |wanted: &&Subscription| !self.read.contains_key(&(wanted.kind, wanted.source.clone()));
        if let Some(watch) = &self.watch {
            wanted.iter().filter(is_new).for_each(|wanted| watch.watch(&wanted.source));
        }
        self.pins.look(wanted.iter().filter_map(|wanted| path_of(&wanted.source)));
    }

    fn place(&self, source: &ConfigSource) -> PathBuf {
        path_of(source).map_or_else(PathBuf::new, |path| self.pins.place(path))
    }

    /// The texts of all these files, and whether the directory of one of them went away meanwhile.
    fn texts(&mut self, due: &[&Subscription]) -> (BTreeMap<Arc<ConfigSource>, Result<Held, String>>, bool) {
        let path = |wanted: &&Subscription| Some((wanted.source.clone(), path_of(&wanted.source)?.to_owned()));
        let paths: BTreeMap<Arc<ConfigSource>, PathBuf> = due.iter().filter_map(path).collect();
        if let Some(watch) = &self.watch {
            // Before it is known where they lead: who moves it afterwards is heard of.
            paths.keys().for_each(|source| watch.watch(source));
        }
        self.pins.look(paths.values().map(PathBuf::as_path));
        let mut is_stale = false;
        let texts = paths.into_iter().map(|(source, path)| {
            let place = self.pins.place(&path);
            let held = match &*source {
                ConfigSource::Directory { below, .. } => {
                    let values = disk_layer::read(&place, below);
                    let is_gone = self.pins.has_moved(&path);
                    is_stale |= is_gone;
                    match values {
                        // Where there is none, it says nothing, as in Envoy.
                        Ok(values) if !is_gone => Ok(Held::Layer(values.unwrap_or_default())),
                        // Another version has taken its place: files of this one may have gone.
                        Ok(_) => Err("it was replaced while it was read".to_owned()),
                        Err(why) => Err(why),
                    }
                }
                _ => read(&place).map(Held::Text).map_err(|error| {
                    is_stale |= self.pins.is_stale(&path, &error);
                    format!("cannot be read: {error}")
                }),
            };
            (source, held)
        });
        let texts = texts.collect();
        (texts, is_stale)
    }
}

/// What a source holds.
enum Held {
    Text(String),
    /// Of a `disk_layer`.
    Layer(LayerValues),
}

/// What is watched and read of a source; `None`: it is none of files.
fn path_of(source: &ConfigSource) -> Option<&Path> {
    match source {
        ConfigSource::Path { path, .. } => Some(path),
        ConfigSource::Directory { link, .. } => Some(link),
        ConfigSource::Ads | ConfigSource::Api(_) => None,
    }
}

fn common(read: Names, wanted: Names) -> Names {
    match (read, wanted) {
        (Names::These(read), Names::These(wanted)) => Names::These(read.intersection(&wanted).cloned().collect()),
        (read, _) => read,
    }
}

/// Reads a whole file, if it is not larger than any configuration.
fn read(path: &Path) -> io::Result<String> {
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file")); // a pipe would be waited for
    }
    let mut text = String::new();
    File::open(path)?.take(TEXT_BYTES_MAX as u64 + 1).read_to_string(&mut text)?;
    if text.len() > TEXT_BYTES_MAX {
        return Err(io::Error::other(format!("it has more than {TEXT_BYTES_MAX} bytes")));
    }
    Ok(text)
}

/// A `DiscoveryResponse` of one kind. What is wrong with a resource is left to the cache to say of that resource.
///
/// # Errors
/// It is no response: all that is wrong.
pub(crate) fn read_response(
    name: &str,
    text: &str,
    source: &Arc<ConfigSource>,
    kind: Kind,
    unknown: Unknown,
) -> Result<Update, Vec<Problem>> {
    let mut report = Report::new(name);
    let Some(document) = document::parse(text, &mut report) else {
        return Err(report.finish().expect_err("a text that is not read has a problem"));
    };
    let mut update = Update { source: source.clone(), kind, version: String::new(), change: Change::World(Vec::new()) };
    let Content::Map(entries) = document.content() else {
        report.problem(document.place, format!("expected an object ({RESPONSE}), found {}", document.noun()));
        return Err(report.finish().expect_err("it has a problem"));
    };
    let response = MessageType::by_name(RESPONSE).expect("the schema has responses");
    let mut received = Vec::new();
    for (key, node) in entries {
        match response.field(&key.text).map(|field| field.name()) {
            None => report.problem_in(&key.text, key.place, format!("no such field in {RESPONSE}")),
            Some("version_info") if !matches!(node.content(), Content::Null) => match scalar::text(node) {
                Ok(version) => update.version = version,
                Err(rule) => report.problem_in("version_info", node.place, rule),
            },
            Some("type_url") if !matches!(node.content(), Content::Null) => match scalar::text(node) {
                Ok(url) if url.rsplit('/').next() == Some(kind.type_name()) => {}
                Ok(url) => {
                    let rule = format!("{url:?} is not the type that is asked for, {}", kind.type_name());
                    report.problem_in("type_url", node.place, rule);
                }
                Err(rule) => report.problem_in("type_url", node.place, rule),
            },
            Some("resources") => {
                let mut nodes = Vec::new();
                flatten(node, &mut nodes);
                received =
                    nodes.iter().enumerate().map(|(at, node)| read_resource(name, at, node, kind, unknown)).collect();
            }
            // A nonce, a control plane's name: nobody is answered.
            Some(_) => {}
        }
    }
    report.finish()?;
    update.change = Change::World(received);
    Ok(update)
}

/// One value is a list of one, and lists in lists are read as one list, as everywhere.
fn flatten<'n>(node: &'n Node, nodes: &mut Vec<&'n Node>) {
    match node.content() {
        Content::List(items) => items.iter().for_each(|item| flatten(item, nodes)),
        Content::Null => {}
        _ => nodes.push(node),
    }
}

fn read_resource(file: &str, at: usize, node: &Node, kind: Kind, unknown: Unknown) -> Received {
    let mut report = Report::new(file);
    report.enter_field("resources");
    report.enter_item(at);
    let (mut name, mut version) = (String::new(), String::new());
    let any = reader::read_any(node, unknown, &mut report);
    let mut message = any.and_then(|any| match any.value.map(|value| *value) {
        Some(Value::Message(message)) => Some(message),
        _ => None,
    });
    if let Some(wrapper) = message.take_if(|message| message.kind.name() == WRAPPER) {
        name = wrapper.text("name").to_owned();
        version = wrapper.text("version").to_owned();
        report.enter_field("resource");
        message = unwrapped(wrapper);
        if message.is_none() {
            report.problem(node.place, "value is required");
        }
    }
    let other = message.take_if(|message| message.kind.name() != kind.type_name());
    // Its name is that of something else.
    let is_other = other.is_some();
    if let Some(other) = other {
        let rule = format!("{} is not the type that is asked for, {}", other.kind.name(), kind.type_name());
        report.problem(other.place, rule);
    }
    match &message {
        Some(message) if name.is_empty() => name = message.text(kind.name_field()).to_owned(),
        Some(_) => {}
        None if report.problems.is_empty() => report.problem(node.place, "no resource"),
        None => {}
    }
    if is_other {
        name.clear();
    } else if name.is_empty() {
        name = spelled_name(node, kind).unwrap_or_default();
    }
    Received { name, version, body: Unread::Tree(message), report }
}

fn unwrapped(wrapper: Message) -> Option<Message> {
    let set = wrapper.fields.into_iter().find(|set| set.field.name() == "resource")?;
    match set.value {
        Value::Any(any) => match *any.value? {
            Value::Message(message) => Some(message),
            _ => None,
        },
        _ => None,
    }
}

/// The name of a resource that could not be read.
fn spelled_name(node: &Node, kind: Kind) -> Option<String> {
    let Content::Map(entries) = node.content() else { return None };
    let (_, name) = entries.iter().find(|(key, _)| &*key.text == kind.name_field())?;
    scalar::text(name).ok()
}

#[cfg(test)]
mod tests;

//! A bootstrap file as what the command and the snapshot builder need of it.
//!
//! Reading is three steps, and each collects all its problems: text to document, document to message tree by Envoy's
//! rules, message tree to resources. A file with a problem gives no resources at all, as Envoy does not start on one.
//!
//! Invariant: a [`Bootstrap`] that exists can be built into a snapshot without further questions.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use ringway_model::{Address, Cluster, Endpoint, Listener, StatsRules};

use crate::cache::Roots;
use crate::dns::DnsPlans;
use crate::document;
use crate::json;
use crate::lrs::LoadReports;
use crate::message::{Message, Value};
use crate::problem::{Problem, Report};
use crate::reader::{self, Unknown};
use crate::runtime::Runtime;
use crate::schema::MessageType;
use crate::tls::{ContextCertificates, TlsContexts};
use crate::translate;
use crate::translate::{ClusterDraft, ListenerDraft};
use crate::xds;

/// The full name of what a bootstrap file holds.
const BOOTSTRAP: &str = "envoy.config.bootstrap.v3.Bootstrap";

/// A text and the name under which problems speak of it. Names that end in `.json` are read like all others: JSON is YAML.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Usually the path.
    pub name: &'a str,
    /// YAML or JSON, at most 64 MiB.
    pub text: &'a str,
}

/// What stands in the place of the file's `node`; empty: what the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeOptions {
    /// `--service-node`, for `node.id`.
    pub id: String,
    /// `--service-cluster`, for `node.cluster`.
    pub cluster: String,
    /// `--service-zone`, for `node.locality.zone`.
    pub zone: String,
}

/// What the command line decides about reading.
#[derive(Clone, Debug, Default)]
pub struct ReadOptions {
    /// `--allow-unknown-static-fields`: a field that Envoy's API does not have gives a warning, not a problem. Fields that it
    /// has and that are not supported are refused either way.
    pub allow_unknown_static_fields: bool,
    /// It was accepted once and is read again: files of resources may have gone since.
    pub sources_may_be_gone: bool,
    /// Who we are, where the file does not say.
    pub node: NodeOptions,
}

impl NodeOptions {
    fn put(&self, bootstrap: &mut Message) {
        let rows: [(&[&str], &str, &String); 3] = [
            (&["node"], "id", &self.id),
            (&["node"], "cluster", &self.cluster),
            (&["node", "locality"], "zone", &self.zone),
        ];
        for (path, name, text) in rows.into_iter().filter(|(.., text)| !text.is_empty()) {
            let message = path.iter().fold(&mut *bootstrap, |message, name| message.child(name));
            message.put(name, Value::Text(text.clone()));
        }
    }
}

/// `envoy.config.bootstrap.v3.Bootstrap`, as far as it is acted upon.
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// `node`.
    pub node: Node,
    /// `admin.address`; `None`: no admin server.
    pub admin: Option<Address>,
    /// `static_resources`, where that is all; else nothing.
    pub resources: Resources,
    /// What more has to come, where the file says that more comes.
    pub roots: Option<Arc<Roots>>,
    /// `stats_config`.
    pub stats: StatsRules,
    /// Of each TLS context, in the order of the file: clusters, then listeners. None where there are `roots`, which
    /// have them.
    pub certificates: Vec<ContextCertificates>,
    /// `layered_runtime`; layers of sources are empty.
    pub runtime: Arc<Runtime>,
    /// `cluster_manager.load_stats_config`: who is told how much was sent where.
    pub load_reports: Option<LoadReports>,
    /// Fields that were accepted without being known, on request.
    pub warnings: Vec<Problem>,
    /// What `/config_dump` shows.
    pub dump: Dump,
}

/// `envoy.config.core.v3.Node`. What only a control plane is told is in the dump alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// `id`; empty where the file gives none.
    pub id: String,
    /// `cluster`; empty where the file gives none.
    pub cluster: String,
    /// `locality.region`.
    pub region: String,
    /// `locality.zone`.
    pub zone: String,
    /// `locality.sub_zone`.
    pub sub_zone: String,
}

/// Listeners and clusters by name, in the order of the file; what came later stands behind.
///
/// Their ids are not yet those that last: [`Builder`](crate::Builder) gives them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resources {
    pub(crate) listeners: Vec<Arc<ListenerPart>>,
    pub(crate) clusters: Vec<ClusterPart>,
    /// Of the clusters those whose endpoints are found by names; they have none here.
    pub(crate) dns: DnsPlans,
}

/// A listener that wants nothing more.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ListenerPart {
    /// Parts of one serial are one part: [`Builder`](crate::Builder) need not compare them. 0 is no serial.
    pub(crate) serial: u64,
    /// The clusters that it names have positions in `cluster_names`.
    pub(crate) listener: Listener,
    pub(crate) cluster_names: Vec<String>,
}

/// A cluster that wants nothing more. Its id means nothing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ClusterPart {
    /// As [`ListenerPart::serial`].
    pub(crate) serial: u64,
    pub(crate) cluster: Arc<Cluster>,
}

impl Resources {
    /// How many listeners there are.
    pub fn listener_count(&self) -> usize {
        self.listeners.len()
    }

    /// The clusters whose endpoints are found by names.
    pub fn dns(&self) -> &DnsPlans {
        &self.dns
    }

    /// Gives clusters the endpoints that were found for them.
    pub fn resolve(&mut self, mut endpoints: BTreeMap<String, Vec<Endpoint>>) {
        for part in &mut self.clusters {
            if let Some(found) = endpoints.remove(&part.cluster.name) {
                part.serial = 0;
                Arc::make_mut(&mut part.cluster).set_endpoints(found);
            }
        }
    }

    /// How many clusters there are.
    pub fn cluster_count(&self) -> usize {
        self.clusters.len()
    }
}

/// The bootstrap as read, for `/config_dump`. It keeps the text and reads it again when asked: the text is the smallest of all
/// forms, and a dump is rare.
#[derive(Clone)]
pub struct Dump {
    text: Arc<str>,
    /// What stands in the place of its node.
    node: NodeOptions,
}

/// Without the text, which may hold keys.
impl fmt::Debug for Dump {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Dump({} bytes)", self.text.len())
    }
}

impl Dump {
    /// The text, with its keys: for reading it again, not for showing it.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The message as JSON in Envoy's spelling (snake_case, defaults left out, secrets as `[redacted]`).
    pub fn to_json(&self) -> String {
        let mut report = Report::new("");
        // It has been read before with the same rules, or laxer ones, so that problems are known and not news.
        let message = parse(&self.text, Unknown::Warned, &mut report);
        let written = |mut message: Message| {
            self.node.put(&mut message);
            json::write(message)
        };
        message.map_or_else(|| "{}".to_owned(), written)
    }

    /// Its node in protobuf's wire form, as a client's status has it.
    pub(crate) fn encoded_node(&self) -> Vec<u8> {
        let mut message = parse(&self.text, Unknown::Warned, &mut Report::new(""));
        if let Some(message) = &mut message {
            self.node.put(message);
        }
        xds::shown_node(message.as_ref().and_then(|message| message.message("node")))
    }
}

/// Reads a bootstrap file.
///
/// # Errors
/// Every problem of the file, in the order of the text: what is no YAML, what Envoy would refuse, and what Ringway does
/// not do yet.
pub fn read_bootstrap(source: Source<'_>, options: &ReadOptions) -> Result<Bootstrap, Vec<Problem>> {
    read_bootstrap_with(source, options, &mut TlsContexts::new())
}

/// Reads a bootstrap file, and takes those TLS contexts again that are made of the same.
///
/// # Errors
/// As [`read_bootstrap`].
pub fn read_bootstrap_with(
    source: Source<'_>,
    options: &ReadOptions,
    contexts: &mut TlsContexts,
) -> Result<Bootstrap, Vec<Problem>> {
    contexts.begin();
    let mut report = if options.sources_may_be_gone { Report::again(source.name) } else { Report::new(source.name) };
    let unknown = if options.allow_unknown_static_fields { Unknown::Warned } else { Unknown::Refused };
    let Some(mut message) = parse(source.text, unknown, &mut report) else {
        return Err(report.finish().expect_err("a text that is not read has a problem"));
    };
    options.node.put(&mut message);
    let read = translate::bootstrap(&message, &mut report, contexts);
    drop(message);
    contexts.end();
    let warnings = report.finish()?;
    let (node, admin, stats) = (read.node.clone(), read.admin.clone(), read.stats.clone());
    let dump = Dump { text: source.text.into(), node: options.node.clone() };
    let mut bootstrap = Bootstrap {
        node,
        admin,
        resources: Resources::default(),
        roots: None,
        stats,
        certificates: Vec::new(),
        runtime: read.around.runtime().clone(),
        load_reports: read.load_reports.clone(),
        warnings,
        dump,
    };
    match Roots::of(read) {
        Ok(roots) => bootstrap.roots = Some(Arc::new(roots)),
        Err((clusters, listeners)) => {
            (bootstrap.resources, bootstrap.certificates) = whole(clusters, listeners);
        }
    }
    Ok(bootstrap)
}

/// Resources that want nothing but what stands in the file, and what their certificates say.
fn whole(clusters: Vec<ClusterDraft>, listeners: Vec<ListenerDraft>) -> (Resources, Vec<ContextCertificates>) {
    let mut resources = Resources::default();
    let mut certificates = Vec::new();
    let has_high_routes = listeners.iter().any(|draft| translate::has_high_routes(&draft.listener));
    for mut draft in clusters {
        certificates.append(&mut draft.certificates);
        if has_high_routes {
            draft.cluster.high_breakers.get_or_insert_default();
        }
        if let Some(plan) = draft.names {
            resources.dns.insert(draft.cluster.name.clone(), plan);
        }
        resources.clusters.push(ClusterPart { serial: 0, cluster: Arc::new(draft.cluster) });
    }
    for mut draft in listeners {
        certificates.append(&mut draft.certificates);
        let ListenerDraft { listener, cluster_names, .. } = draft;
        resources.listeners.push(Arc::new(ListenerPart { serial: 0, listener, cluster_names }));
    }
    (resources, certificates)
}

fn parse(text: &str, unknown: Unknown, report: &mut Report) -> Option<Message> {
    let document = document::parse(text, report)?;
    let kind = MessageType::by_name(BOOTSTRAP).expect("the schema has the bootstrap");
    reader::read(&document, kind, unknown, report)
}

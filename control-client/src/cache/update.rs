//! What comes into the cache, and what is said of it.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::api_source::{ApiSource, Form};
use crate::message::Message;
use crate::problem::{Problem, Report};
use crate::reader::Unknown;
use crate::schema::MessageType;
use crate::wire;

/// The kinds of resources. The order is that in which a kind may need the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// CDS: `envoy.config.cluster.v3.Cluster`.
    Cluster,
    /// EDS: `envoy.config.endpoint.v3.ClusterLoadAssignment`.
    Assignment,
    /// LDS: `envoy.config.listener.v3.Listener`.
    Listener,
    /// RDS: `envoy.config.route.v3.RouteConfiguration`.
    Routes,
    /// SDS: `envoy.extensions.transport_sockets.tls.v3.Secret`.
    Secret,
    /// RTDS: `envoy.service.runtime.v3.Runtime`.
    Runtime,
    /// ECDS: `envoy.config.core.v3.TypedExtensionConfig`, of an HTTP filter.
    Extension,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 7] =
        [Kind::Cluster, Kind::Assignment, Kind::Listener, Kind::Routes, Kind::Secret, Kind::Runtime, Kind::Extension];

    /// The full name of the message; behind `type.googleapis.com/` it is the type URL.
    pub fn type_name(self) -> &'static str {
        match self {
            Kind::Cluster => "envoy.config.cluster.v3.Cluster",
            Kind::Assignment => "envoy.config.endpoint.v3.ClusterLoadAssignment",
            Kind::Listener => "envoy.config.listener.v3.Listener",
            Kind::Routes => "envoy.config.route.v3.RouteConfiguration",
            Kind::Secret => "envoy.extensions.transport_sockets.tls.v3.Secret",
            Kind::Runtime => "envoy.service.runtime.v3.Runtime",
            Kind::Extension => "envoy.config.core.v3.TypedExtensionConfig",
        }
    }

    /// The kind of a message of this full name.
    pub fn of_type(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.type_name() == name)
    }

    /// The field that a resource is named by.
    pub(crate) fn name_field(self) -> &'static str {
        match self {
            Kind::Assignment => "cluster_name",
            Kind::Cluster | Kind::Listener | Kind::Routes | Kind::Secret | Kind::Runtime | Kind::Extension => "name",
        }
    }

    /// Whether the state of the world is all there is: what it does not have is removed. Of the other kinds a resource
    /// goes when nobody wants it any more ("Deleting Resources" of the xDS protocol).
    pub fn is_whole(self) -> bool {
        matches!(self, Kind::Cluster | Kind::Listener)
    }
}

/// As people write it.
impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Kind::Cluster => "cluster",
            Kind::Assignment => "assignment",
            Kind::Listener => "listener",
            Kind::Routes => "route configuration",
            Kind::Secret => "secret",
            Kind::Runtime => "runtime layer",
            Kind::Extension => "extension configuration",
        })
    }
}

/// `envoy.config.core.v3.ConfigSource`, without the time that each user of it waits. Equal sources are one: names and
/// versions are counted for each.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConfigSource {
    /// `path_config_source`, or the `path` of before.
    Path {
        /// A file that holds a `DiscoveryResponse`.
        path: PathBuf,
        /// `watched_directory`: a move into this directory says that the file may have changed. `None`: onto the file
        /// itself.
        watched_directory: Option<PathBuf>,
    },
    /// A `disk_layer` of the runtime: a directory of files, which a link leads to. No resources: see [`files`](crate::Files).
    Directory {
        /// `symlink_root`: a move onto it says that there is another version.
        link: PathBuf,
        /// Where the files are, below what the link leads to.
        below: PathBuf,
    },
    /// `ads`: the one stream of `dynamic_resources.ads_config`, whatever that says.
    Ads,
    /// `api_config_source`: a stream for each kind.
    Api(Arc<ApiSource>),
}

impl ConfigSource {
    /// What it says is for nobody else, and is all there is: a file, and a server by REST.
    pub(crate) fn is_of_one(&self) -> bool {
        match self {
            ConfigSource::Path { .. } | ConfigSource::Directory { .. } => true,
            ConfigSource::Api(api) => matches!(api.form, Form::Rest { .. }),
            ConfigSource::Ads => false,
        }
    }
}

/// As people write it.
impl fmt::Display for ConfigSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigSource::Path { path, .. } => write!(formatter, "{}", path.display()),
            ConfigSource::Directory { link, below } => write!(formatter, "{}", link.join(below).display()),
            ConfigSource::Ads => formatter.write_str("ADS"),
            ConfigSource::Api(api) => write!(formatter, "{api}"),
        }
    }
}

/// What is wanted of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// Of whom.
    pub source: Arc<ConfigSource>,
    /// Which kind.
    pub kind: Kind,
    /// Which of them.
    pub names: Names,
}

/// Which resources of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Names {
    /// Whatever there is: the wildcard.
    All,
    /// At least one.
    These(BTreeSet<String>),
}

/// One response.
#[derive(Debug)]
pub(crate) struct Update {
    pub(crate) source: Arc<ConfigSource>,
    pub(crate) kind: Kind,
    /// `version_info` or `system_version_info`: what is shown where nothing else is.
    pub(crate) version: String,
    pub(crate) change: Change,
}

/// How much a response says.
#[derive(Debug)]
pub(crate) enum Change {
    /// State of the world.
    World(Vec<Received>),
    /// The resources that changed, and the names of those that are gone. A name that is not held is no mistake.
    Delta { changed: Vec<Received>, removed: Vec<String> },
}

/// One resource of a response.
#[derive(Debug)]
pub(crate) struct Received {
    /// As the resource itself says, or the `Resource` around it.
    pub(crate) name: String,
    /// `Resource.version`; empty: the response's.
    pub(crate) version: String,
    pub(crate) body: Unread,
    /// What was wrong when it was read, and the path that leads to it.
    pub(crate) report: Report,
}

/// A resource as it came.
#[derive(Debug)]
pub(crate) enum Unread {
    /// In protobuf's wire form.
    Wire(Bytes),
    /// A message of the response's kind; `None` where it could not be read, and the report says why.
    Tree(Option<Message>),
}

impl Received {
    /// Makes a tree of it. What Envoy's API does not have is passed over, as in Envoy: control planes may be newer than we
    /// are.
    pub(crate) fn read(&mut self, kind: Kind) {
        if let Unread::Wire(bytes) = &self.body {
            let kind = MessageType::by_name(kind.type_name()).expect("the schema has the kinds of resources");
            self.body = Unread::Tree(wire::read(bytes, kind, Unknown::Kept, &mut self.report));
        }
    }

    /// The message, where it has been read and could be.
    pub(crate) fn message(&self) -> Option<&Message> {
        match &self.body {
            Unread::Tree(message) => message.as_ref(),
            Unread::Wire(_) => None,
        }
    }

    /// The same, taken out.
    pub(crate) fn take_message(&mut self) -> Option<Message> {
        match &mut self.body {
            Unread::Tree(message) => message.take(),
            Unread::Wire(_) => None,
        }
    }
}

/// What the cache says of a response. ACK where nothing is refused.
#[derive(Debug, Default)]
pub struct Verdict {
    /// In the order of the response.
    pub refused: Vec<Refused>,
    /// What statistics say of it.
    pub counted: Vec<Counted>,
    /// What else they say of configurations of filters, by name.
    pub extensions: Vec<(String, ExtensionEvent)>,
    /// The same of route configurations, by whose statistics count it.
    pub routes: Vec<(Scope, RoutesEvent)>,
    /// How many were accepted, whether they changed anything or not.
    pub accepted: usize,
    /// How many nobody wants.
    pub unwanted: usize,
    /// Whether [`Cache::settle`](super::Cache::settle) may give something else than before.
    pub is_change: bool,
}

/// Whose statistics count what came.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// `cluster_manager.cds`.
    Clusters,
    /// `listener_manager.lds`.
    Listeners,
    /// `cluster.<name>` of EDS: the name in statistics.
    Assignment(String),
    /// `http.<stat_prefix>.rds.<name>`.
    Routes {
        /// Of the connection manager.
        stat_prefix: String,
        /// Of the route configuration.
        name: String,
    },
    /// `sds.<name>`
    Secret(String),
    /// `runtime`, whichever layer it is.
    Runtime,
    /// `extension_config_discovery.http_filter.<name>`
    Extension(String),
}

/// What became of the configuration of a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExtensionEvent {
    /// Another one than before is used from the next commit on.
    Reload,
    /// A listener came for whose filter the one that is held is not.
    Conflict,
}

/// What became of a route configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoutesEvent {
    /// Another one than before came.
    Reload,
    /// A source for nobody else had none at all.
    Empty,
}

/// What is to be counted of a response for one scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// For whom.
    pub scope: Scope,
    /// The version that was accepted; `None`: something was rejected.
    pub accepted: Option<String>,
}

/// A resource that is not taken. Its last good version stays.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Its name.
    pub name: String,
    /// All of them.
    pub problems: Vec<Problem>,
}

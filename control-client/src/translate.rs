//! From the message tree of a bootstrap to the model's plain data.
//!
//! Each function takes one message, refuses what it sets and Ringway does not do ([`crate::compatibility`]), and gives the
//! model's counterpart; `None` where a problem stands in the way. Defaults are Envoy's. The only files read are those that a
//! `filename` names.

mod access_log;
mod api_source;
mod chain;
mod cluster;
mod config_source;
mod dns;
mod extension;
mod extension_config;
mod grpc_stats;
mod http1;
mod http2;
mod http_filter;
mod identity;
mod listener;
mod listener_filter;
mod load_balancing;
mod load_reports;
mod local_reply;
mod manager;
mod matcher;
mod network_filter;
mod original_dst;
mod process;
mod rbac;
mod request;
mod route;
mod runtime;
mod secret;
mod socket;
mod stats;
mod tcp_proxy;
mod timeout;
mod tls;
mod transport;
mod upgrade;
mod upstream_http;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ringway_model::{
    Action, Address, Cidr, Cluster, ClusterId, Listener, Pipe, Priority, Regexes, RouteConfiguration, StatsRules,
};

use self::api_source::Servers;
pub(crate) use self::cluster::{AssignmentUse, ClusterDraft};
pub(crate) use self::config_source::SourceUse;
pub(crate) use self::extension_config::{ExtensionUse, ExtensionUses, Given};
pub(crate) use self::listener::{ListenerDraft, RoutesUse};
pub(crate) use self::runtime::{LayerUse, RuntimeUses, layer as runtime_layer, missed as runtime_missed};
pub(crate) use self::secret::SecretDraft;
use crate::api_source::ApiSource;
use crate::bootstrap::Node;
use crate::cache::ConfigSource;
use crate::compatibility::refuse_unsupported;
use crate::dns::plan::ResolverPlan;
use crate::json;
use crate::lrs::LoadReports;
use crate::message::Message;
use crate::problem::Report;
use crate::runtime::Runtime;
use crate::tls::{ContextCertificates, TlsContexts};
use crate::xds;

/// What the parts of a translation share.
struct Context<'r> {
    report: &'r mut Report,
    names: Names,
    /// Whether there is a cluster of this name, for routes that name it.
    knows: &'r dyn Fn(&str) -> bool,
    /// The expressions of the route configuration at hand.
    regexes: Regexes,
    /// The listener at hand is a unix socket.
    is_pipe: bool,
    /// What the bootstrap says for all.
    around: Around,
    /// The `rds` of the listener at hand.
    routes: Vec<RoutesUse>,
    /// Those that are there already, and the files that they are made from.
    tls: &'r mut TlsContexts,
    /// What the certificates of the resource at hand say.
    certificates: Vec<ContextCertificates>,
    /// The secrets of sources that the resource at hand names.
    secrets: SecretUses,
    /// What the resource at hand took from a runtime that may change.
    asked: runtime::Asked,
    /// The configurations of filters that it names.
    extensions: ExtensionUses,
}

/// The secrets of sources (`sds_config`) that a listener or a cluster names.
#[derive(Debug, Default)]
pub(crate) struct SecretUses {
    /// In the order of the file; one may stand there twice.
    pub(crate) uses: Vec<SecretUse>,
    /// One of them had not come when the resource was translated: what was made of it is not to be committed.
    pub(crate) lacks: bool,
    /// Of the bootstrap's own: the resource, for translating it again with what comes. Those that came by themselves are kept with their version.
    pub(crate) text: Option<Arc<str>>,
}

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct SecretUse {
    /// `sds_config`.
    pub(crate) source: SourceUse,
    /// `name`.
    pub(crate) name: String,
}

impl SecretUses {
    /// What is kept of them; `None` where there are none.
    fn kept(self) -> Option<Box<SecretUses>> {
        (!self.uses.is_empty()).then(|| Box::new(self))
    }
}

/// Secrets of sources that have come, by source and name.
pub(crate) type Came = BTreeMap<(Arc<ConfigSource>, String), Arc<SecretDraft>>;

/// Configurations of filters that have come, likewise.
pub(crate) type Extensions = BTreeMap<(Arc<ConfigSource>, String), Arc<Message>>;

/// What of a bootstrap decides what resources mean, its own and those that come later.
#[derive(Clone, Default)]
pub(crate) struct Around {
    /// Who is asked for names where a cluster does not say.
    resolver: ResolverPlan,
    /// `node`.
    node: Node,
    /// `static_resources.secrets`.
    secrets: Arc<secret::Secrets>,
    /// Which of `static_resources.clusters` may lead to a management server.
    servers: Arc<Servers>,
    /// There is a `dynamic_resources.ads_config`.
    has_ads: bool,
    /// `layered_runtime`.
    runtime: Arc<Runtime>,
    /// Which of its layers come of sources.
    layers: Arc<[LayerUse]>,
    /// What came by `sds_config`.
    pub(crate) came: Arc<Came>,
    /// Configurations of HTTP filters that came, as `TypedExtensionConfig`.
    pub(crate) extensions: Arc<Extensions>,
}

impl Around {
    /// The same with what came for `before`.
    pub(crate) fn with(self, before: &Around) -> Self {
        Self { came: before.came.clone(), extensions: before.extensions.clone(), ..self }
    }
}

/// All that a file says.
pub(crate) struct Read {
    pub(crate) node: Node,
    pub(crate) admin: Option<Address>,
    pub(crate) clusters: Vec<ClusterDraft>,
    pub(crate) listeners: Vec<ListenerDraft>,
    /// `dynamic_resources.cds_config`.
    pub(crate) cds: Option<SourceUse>,
    /// `dynamic_resources.lds_config`.
    pub(crate) lds: Option<SourceUse>,
    /// `dynamic_resources.ads_config`.
    pub(crate) ads: Option<ApiSource>,
    /// `node` as a management server is told it.
    pub(crate) node_told: Vec<u8>,
    pub(crate) around: Around,
    pub(crate) stats: StatsRules,
    /// `cluster_manager.load_stats_config`.
    pub(crate) load_reports: Option<LoadReports>,
}

/// A route configuration that came by itself.
#[derive(Debug)]
pub(crate) struct RoutesDraft {
    /// The clusters that it names have positions in `cluster_names`.
    pub(crate) routes: RouteConfiguration,
    pub(crate) cluster_names: Vec<String>,
    pub(crate) runtime: Option<Box<RuntimeUses>>,
}

impl<'r> Context<'r> {
    fn new(report: &'r mut Report, around: Around, tls: &'r mut TlsContexts, knows: &'r dyn Fn(&str) -> bool) -> Self {
        Context {
            report,
            names: Names::default(),
            knows,
            regexes: Regexes::default(),
            is_pipe: false,
            around,
            routes: Vec::new(),
            tls,
            certificates: Vec::new(),
            secrets: SecretUses::default(),
            asked: runtime::Asked::new(),
            extensions: ExtensionUses::default(),
        }
    }
}

/// A cluster of CDS; what is given counts only if the report has no problem.
pub(crate) fn cluster(
    message: &Message,
    report: &mut Report,
    around: &Around,
    tls: &mut TlsContexts,
) -> Option<ClusterDraft> {
    let mut context = Context::new(report, around.clone(), tls, &|_| true);
    let mut draft = cluster::cluster(&mut context, message)?;
    // Any route that comes may ask for it.
    draft.cluster.high_breakers.get_or_insert_default();
    Some(draft)
}

/// A listener of LDS, likewise.
pub(crate) fn listener(
    message: &Message,
    report: &mut Report,
    around: &Around,
    tls: &mut TlsContexts,
    knows: &dyn Fn(&str) -> bool,
) -> Option<ListenerDraft> {
    listener::listener(&mut Context::new(report, around.clone(), tls, knows), message)
}

/// A route configuration of RDS, likewise.
pub(crate) fn routes(
    message: &Message,
    report: &mut Report,
    around: &Around,
    knows: &dyn Fn(&str) -> bool,
) -> Option<RoutesDraft> {
    let mut tls = TlsContexts::new();
    let mut context = Context::new(report, around.clone(), &mut tls, knows);
    // What comes by RDS names clusters that may come later: false is its default.
    let routes = route::configuration(&mut context, message, false)?;
    let runtime = RuntimeUses::kept(std::mem::take(&mut context.asked));
    Some(RoutesDraft { routes, cluster_names: std::mem::take(&mut context.names).names, runtime })
}

/// A configuration of an HTTP filter of ECDS: whether it is one, by itself.
pub(crate) fn extension(message: &Message, report: &mut Report) {
    let mut tls = TlsContexts::new();
    extension_config::check(&mut Context::new(report, Around::default(), &mut tls, &|_| true), message);
}

/// A secret of SDS, likewise.
pub(crate) fn secret(message: &Message, report: &mut Report, tls: &mut TlsContexts) -> Option<SecretDraft> {
    secret::secret(&mut Context::new(report, Around::default(), tls, &|_| true), message)
}

/// A cluster with the endpoints of an assignment of EDS, likewise.
pub(crate) fn assignment(
    message: &Message,
    report: &mut Report,
    used: &AssignmentUse,
    cluster: &Cluster,
) -> Option<Cluster> {
    let mut tls = TlsContexts::new();
    used.apply(&mut Context::new(report, Around::default(), &mut tls, &|_| true), cluster, message)
}

impl Context<'_> {
    /// Does `inner` one field deeper.
    fn field<T>(&mut self, name: &str, inner: impl FnOnce(&mut Self) -> T) -> T {
        let size = self.report.enter_field(name);
        let value = inner(self);
        self.report.leave(size);
        value
    }

    /// Does `inner` for each message of a list.
    fn each<'m, T>(
        &mut self,
        message: &'m Message,
        name: &str,
        mut inner: impl FnMut(&mut Self, &'m Message) -> T,
    ) -> Vec<T> {
        let field = self.report.enter_field(name);
        let mut values = Vec::with_capacity(message.items(name).len());
        for (index, item) in message.messages(name).enumerate() {
            let size = self.report.enter_item(index);
            values.push(inner(self, item));
            self.report.leave(size);
        }
        self.report.leave(field);
        values
    }

    /// Does `inner` for a message that is set.
    fn inside<'m, T>(
        &mut self,
        message: &'m Message,
        name: &str,
        inner: impl FnOnce(&mut Self, &'m Message) -> Option<T>,
    ) -> Option<T> {
        let child = message.message(name)?;
        self.field(name, |context| inner(context, child))
    }

    /// Notes a problem with a field of `message`, where it is set or else where the message begins.
    fn problem(&mut self, message: &Message, name: &str, rule: impl Into<String>) {
        self.report.problem_in(name, message.place_of(name), rule);
    }
}

/// Numbers for names, in the order in which they are first seen.
#[derive(Default)]
struct Names {
    by_name: HashMap<String, u32>,
    names: Vec<String>,
}

impl Names {
    /// These names, by position; none stands there twice.
    fn of(names: Vec<String>) -> Self {
        let by_name = (0..).zip(&names).map(|(id, name)| (name.clone(), id)).collect();
        Self { by_name, names }
    }

    fn id(&mut self, name: &str) -> ClusterId {
        if let Some(id) = self.by_name.get(name) {
            return ClusterId(*id);
        }
        let id = u32::try_from(self.names.len()).expect("a document has fewer nodes");
        self.by_name.insert(name.to_owned(), id);
        self.names.push(name.to_owned());
        ClusterId(id)
    }
}

/// Translates the whole file; what is given counts only if the report has no problem.
pub(crate) fn bootstrap(message: &Message, report: &mut Report, tls: &mut TlsContexts) -> Read {
    refuse_unsupported(message, report);
    let clusters: HashSet<&str> = message
        .message("static_resources")
        .into_iter()
        .flat_map(|resources| resources.messages("clusters"))
        .map(|cluster| cluster.text("name"))
        .collect();
    let knows = |name: &str| clusters.contains(name);
    let mut context = Context::new(report, Around::default(), tls, &knows);
    context.around.servers = Arc::new(Servers::of(message));
    let dynamic = message.message("dynamic_resources");
    context.around.has_ads = dynamic.is_some_and(|dynamic| dynamic.get("ads_config").is_some());
    context.around.node = context.inside(message, "node", node).unwrap_or_default();
    let (runtime, layers) = runtime::of_bootstrap(&mut context, message);
    (context.around.runtime, context.around.layers) = (Arc::new(runtime), layers.into());
    context.around.resolver = dns::default_resolver(&mut context, message);
    let admin = context.inside(message, "admin", |context, admin| {
        refuse_unsupported(admin, context.report);
        context.inside(admin, "address", address)
    });
    let resources = context.inside(message, "static_resources", static_resources);
    let (clusters, listeners) = resources.unwrap_or_default();
    let dynamic = context.inside(message, "dynamic_resources", |context, message| {
        refuse_unsupported(message, context.report);
        let source = config_source::config_source;
        let ads = context.inside(message, "ads_config", api_source::ads);
        Some((context.inside(message, "cds_config", source), context.inside(message, "lds_config", source), ads))
    });
    let (cds, lds, ads) = dynamic.unwrap_or_default();
    let node_told = xds::node(message.message("node"));
    let load_reports = context.inside(message, "cluster_manager", |context, message| {
        load_reports::load_reports(context, message, &clusters, &node_told)
    });
    let stats = context.inside(message, "stats_config", stats::rules).unwrap_or_default();
    process::without_resources(&mut context, message);
    let (node, around) = (context.around.node.clone(), context.around);
    Read { node, admin, clusters, listeners, cds, lds, ads, node_told, around, stats, load_reports }
}

fn node(context: &mut Context<'_>, message: &Message) -> Option<Node> {
    refuse_unsupported(message, context.report);
    let mut node = Node { id: message.text("id").into(), cluster: message.text("cluster").into(), ..Node::default() };
    context.inside(message, "locality", |context, locality| {
        refuse_unsupported(locality, context.report);
        node.region = locality.text("region").into();
        node.zone = locality.text("zone").into();
        node.sub_zone = locality.text("sub_zone").into();
        Some(())
    });
    Some(node)
}

fn static_resources(context: &mut Context<'_>, message: &Message) -> Option<(Vec<ClusterDraft>, Vec<ListenerDraft>)> {
    refuse_unsupported(message, context.report);
    context.around.secrets = Arc::new(secret::secrets(context, message));
    let mut seen = HashSet::new();
    let clusters = context.each(message, "clusters", |context, message| {
        if !seen.insert(message.text("name")) {
            // Envoy: "cluster manager: duplicate cluster".
            context.problem(message, "name", format!("a second cluster {:?}", message.text("name")));
        }
        let mut draft = cluster::cluster(context, message)?;
        keep_text(draft.secrets.as_deref_mut(), draft.runtime.as_deref_mut(), message);
        Some(draft)
    });
    let mut listeners_seen = listener::Seen::default();
    let listeners = context.each(message, "listeners", |context, message| {
        let mut draft = listener::listener(context, message)?;
        if draft.secrets.is_some() || draft.runtime.is_some() || draft.extensions.is_some() {
            draft.keep_text(Some(json::write_whole(message).into()));
        }
        listeners_seen.check(context, message, &mut draft.listener);
        Some(draft)
    });
    Some((clusters.into_iter().flatten().collect(), listeners.into_iter().flatten().collect()))
}

/// What of the bootstrap wants secrets, or values that may change, is translated again when they come.
fn keep_text(secrets: Option<&mut SecretUses>, runtime: Option<&mut RuntimeUses>, message: &Message) {
    if secrets.is_none() && runtime.is_none() {
        return;
    }
    let text: Arc<str> = json::write_whole(message).into();
    if let Some(secrets) = secrets {
        secrets.text = Some(text.clone());
    }
    if let Some(runtime) = runtime {
        runtime.text = Some(text);
    }
}

/// Whether a route of it gives requests the priority HIGH.
pub(crate) fn has_high_routes(listener: &Listener) -> bool {
    listener.all_chains().filter_map(|chain| chain.http()).any(|http| {
        let mut routes = http.routes.virtual_hosts().iter().flat_map(|host| host.routes());
        routes.any(|route| matches!(&route.action, Action::Forward(action) if action.priority == Priority::High))
    })
}

/// `envoy.config.core.v3.Address`: a TCP address written as numbers, or a unix socket.
fn address(context: &mut Context<'_>, message: &Message) -> Option<Address> {
    match message.message("pipe") {
        None => tcp_address(context, message).map(Address::Ip),
        Some(pipe) => {
            refuse_unsupported(message, context.report);
            context.field("pipe", |context| self::pipe(context, pipe)).map(Address::Pipe)
        }
    }
}

fn pipe(context: &mut Context<'_>, message: &Message) -> Option<Pipe> {
    refuse_unsupported(message, context.report);
    let path = message.text("path");
    let name = path.strip_prefix('@').unwrap_or(path);
    if name.len() > PIPE_BYTES_MAX || name.contains('\0') || (name.is_empty() && !path.is_empty()) {
        let rule = format!("a unix socket's path has 1 to {PIPE_BYTES_MAX} bytes, and none of them is NUL");
        context.problem(message, "path", rule);
        return None;
    }
    Some(Pipe { path: path.into(), mode: message.uint("mode").unwrap_or(0) })
}

/// unix(7): `sun_path` has 108 bytes, of which a NUL is the last or, before an abstract name, the first.
const PIPE_BYTES_MAX: usize = 107;

/// A TCP address written as numbers.
fn tcp_address(context: &mut Context<'_>, message: &Message) -> Option<SocketAddr> {
    if let Some(socket) = message.message("socket_address")
        && socket.number("protocol") == UDP
    {
        context.field("socket_address", |context| context.problem(socket, "protocol", "UDP is not supported yet"));
    }
    numeric_address(context, message)
}

/// `SocketAddress.Protocol`.
const UDP: i32 = 1;

/// `envoy.config.core.v3.SocketAddress` where a source is named: an address as numbers, of any protocol.
fn socket_address(context: &mut Context<'_>, message: &Message) -> Option<SocketAddr> {
    refuse_unsupported(message, context.report);
    let port = message.uint("port_value").and_then(|port| u16::try_from(port).ok());
    match message.text("address").parse::<IpAddr>() {
        Ok(ip) => Some(SocketAddr::new(ip, port?)),
        Err(_) => {
            context.problem(message, "address", format!("malformed IP address: {}", message.text("address")));
            None
        }
    }
}

/// The same for any protocol.
fn numeric_address(context: &mut Context<'_>, message: &Message) -> Option<SocketAddr> {
    let (text, port, socket) = named_address(context, message)?;
    let ip: Option<IpAddr> = text.parse().ok();
    if ip.is_none() && !text.is_empty() {
        context.field("socket_address", |context| {
            context.problem(socket, "address", format!("malformed IP address: {text}"));
        });
    }
    Some(SocketAddr::new(ip?, port))
}

/// A name or an address, its port, and where they stand.
fn named_address<'m>(context: &mut Context<'_>, message: &'m Message) -> Option<(&'m str, u16, &'m Message)> {
    refuse_unsupported(message, context.report);
    context.inside(message, "socket_address", |context, message| {
        refuse_unsupported(message, context.report);
        let port = message.uint("port_value").and_then(|port| u16::try_from(port).ok());
        Some((message.text("address"), port?, message))
    })
}

/// `envoy.config.core.v3.CidrRange`.
fn cidr(context: &mut Context<'_>, message: &Message) -> Option<Cidr> {
    refuse_unsupported(message, context.report);
    let text = message.text("address_prefix");
    match text.parse() {
        Ok(address) => Some(Cidr::new(address, message.uint("prefix_len").unwrap_or(0))),
        Err(_) => {
            context.problem(message, "address_prefix", format!("malformed IP address: {text}"));
            None
        }
    }
}

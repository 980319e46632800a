//! `envoy.config.listener.v3.Listener`.

use std::collections::HashSet;
use std::sync::Arc;

use ringway_model::{
    ClusterId, FilterChain, HttpConnectionManager, ListenAddress, Listener, ListenerId, NetworkFilter,
    RouteConfiguration,
};

use super::access_log::LogType;
use super::config_source::SourceUse;
use super::{
    Context, ExtensionUses, Names, RuntimeUses, SecretUses, access_log, address, chain, listener_filter, socket,
};
use crate::builder::numbered;
use crate::compatibility::refuse_unsupported;
use crate::message::Message;
use crate::tls::ContextCertificates;

/// `Listener.tcp_backlog_size` where the file says nothing: what the kernel allows at most by default.
const BACKLOG: u32 = 4096;

/// What the listeners before have taken.
#[derive(Default)]
pub(super) struct Seen {
    names: HashSet<String>,
    addresses: HashSet<String>,
}

impl Seen {
    pub(super) fn check(&mut self, context: &mut Context<'_>, message: &Message, listener: &mut Listener) {
        let additional: Vec<_> = message.messages("additional_addresses").collect();
        for (at, ListenAddress { address, .. }) in listener.addresses.iter().enumerate() {
            // Port 0 is another port each time.
            if address.is_of_any_port() || self.addresses.insert(address.to_string()) {
                continue;
            }
            // Envoy binds one that the same listener has twice.
            let rule = format!("a second listener on {address}");
            match at.checked_sub(1) {
                None => context.problem(message, "address", rule),
                Some(at) => context.field("additional_addresses", |context| {
                    let size = context.report.enter_item(at);
                    context.problem(additional[at], "address", rule);
                    context.report.leave(size);
                }),
            }
        }
        // One without a name is named by its address, and several may be on the ports of the kernel's choice. Envoy gives them random
        // names.
        if message.text("name").is_empty() {
            let address = listener.name.clone();
            for number in 2.. {
                if !self.names.contains(&listener.name) {
                    break;
                }
                listener.name = format!("{address} ({number})");
            }
        }
        // Envoy lets the later one replace the earlier one without a word.
        if !self.names.insert(listener.name.clone()) {
            context.problem(message, "name", format!("a second listener {:?}", listener.name));
        }
    }
}

/// A listener, and where its route configurations come from.
#[derive(Debug)]
pub(crate) struct ListenerDraft {
    /// The clusters that it names have positions in `cluster_names`.
    pub(crate) listener: Listener,
    pub(crate) cluster_names: Vec<String>,
    /// `rds` of its connection managers.
    pub(crate) routes: Vec<RoutesUse>,
    /// What the certificates of its contexts say; of one without TLS there are none.
    pub(crate) certificates: Vec<ContextCertificates>,
    /// The secrets of sources that it names.
    pub(crate) secrets: Option<Box<SecretUses>>,
    /// What it took from a runtime that may change.
    pub(crate) runtime: Option<Box<RuntimeUses>>,
    /// The configurations of filters of sources that it names.
    pub(crate) extensions: Option<Box<ExtensionUses>>,
}

/// The `rds` of one connection manager.
#[derive(Debug)]
pub(crate) struct RoutesUse {
    pub(crate) source: SourceUse,
    /// `route_config_name`.
    pub(crate) name: String,
    /// The connection manager's, for statistics.
    pub(crate) stat_prefix: String,
    /// What stands in its place: this very one.
    pub(super) place: Arc<RouteConfiguration>,
}

impl ListenerDraft {
    /// Of the bootstrap's own that names what comes: the resource.
    pub(crate) fn text(&self) -> Option<Arc<str>> {
        let of_secrets = self.secrets.as_ref().and_then(|secrets| secrets.text.clone());
        let of_runtime = || self.runtime.as_ref()?.text.clone();
        of_secrets.or_else(of_runtime).or_else(|| self.extensions.as_ref()?.text.clone())
    }

    /// Keeps the resource, for translating it again with what comes.
    pub(crate) fn keep_text(&mut self, text: Option<Arc<str>>) {
        if let Some(secrets) = &mut self.secrets {
            secrets.text.clone_from(&text);
        }
        if let Some(runtime) = &mut self.runtime {
            runtime.text.clone_from(&text);
        }
        if let Some(extensions) = &mut self.extensions {
            extensions.text = text;
        }
    }

    /// The listener with the route configurations that `find` gives; where it gives none, nothing is routed.
    pub(crate) fn with_routes<'f>(
        &self,
        find: impl Fn(&RoutesUse) -> Option<(&'f RouteConfiguration, &'f [String])>,
    ) -> (Listener, Vec<String>) {
        let mut listener = self.listener.clone();
        let mut names = Names::of(self.cluster_names.clone());
        let mut fill = |chain: &mut Arc<FilterChain>| {
            let NetworkFilter::Http(manager) = &chain.filter else { return };
            let mut uses = self.routes.iter();
            let Some(used) = uses.find(|used| Arc::ptr_eq(&used.place, &manager.routes)) else { return };
            let Some((routes, its_names)) = find(used) else { return };
            let ids: Vec<ClusterId> = its_names.iter().map(|name| names.id(name)).collect();
            let routes = Arc::new(numbered(routes, |id| ids[id.0 as usize]));
            let filter = NetworkFilter::Http(Arc::new(HttpConnectionManager { routes, ..(**manager).clone() }));
            *chain = Arc::new(FilterChain { filter, ..(**chain).clone() });
        };
        listener.chains.iter_mut().for_each(&mut fill);
        listener.default_chain.iter_mut().for_each(fill);
        (listener, names.names)
    }
}

/// The id is the builder's to give.
pub(super) fn listener(context: &mut Context<'_>, message: &Message) -> Option<ListenerDraft> {
    context.names = Names::default();
    let listener = translated(context, message);
    let cluster_names = std::mem::take(&mut context.names).names;
    let (routes, certificates) = (std::mem::take(&mut context.routes), std::mem::take(&mut context.certificates));
    let secrets = std::mem::take(&mut context.secrets).kept();
    let runtime = RuntimeUses::kept(std::mem::take(&mut context.asked));
    let extensions = std::mem::take(&mut context.extensions).kept();
    Some(ListenerDraft { listener: listener?, cluster_names, routes, certificates, secrets, runtime, extensions })
}

fn translated(context: &mut Context<'_>, message: &Message) -> Option<Listener> {
    refuse_unsupported(message, context.report);
    let address = match message.get("address") {
        Some(_) => context.inside(message, "address", address),
        None if message.get("internal_listener").is_some() || message.get("api_listener").is_some() => None, // refused above
        None => {
            context.problem(message, "address", "value is required");
            None
        }
    };
    let sockets = socket::OfListener::read(context, message);
    let socket = sockets.first(context, message);
    let mut addresses = vec![address.map(|address| ListenAddress { address, socket })];
    addresses.extend(context.each(message, "additional_addresses", |context, additional| {
        refuse_unsupported(additional, context.report);
        if additional.get("address").is_none() {
            context.problem(additional, "address", "value is required");
        }
        let address = context.inside(additional, "address", super::address);
        let socket = sockets.additional(context, additional);
        address.map(|address| ListenAddress { address, socket })
    }));
    context.is_pipe = addresses.iter().flatten().any(|at| at.address.pipe().is_some());
    let chains = chain::chains(context, message);
    // A default chain is enough; what else takes the place of the chains has been refused above.
    let instead = ["default_filter_chain", "udp_listener_config", "api_listener", "internal_listener", "fcds_config"];
    let is_elsewhere = instead.into_iter().any(|name| message.get(name).is_some()) || is_udp(message);
    if message.items("filter_chains").is_empty() && !is_elsewhere {
        // Envoy's words.
        context.problem(message, "filter_chains", "no filter chains specified");
    }
    let default_chain = context.inside(message, "default_filter_chain", chain::default_chain);
    let inspects = listener_filter::filters(context, message, chains.iter().flatten());
    let access_logs = access_log::access_logs(context, message, LogType::NotSet);
    let balance = context.inside(message, "connection_balance_config", |context, message| {
        refuse_unsupported(message, context.report);
        Some(message.get("exact_balance").is_some())
    });
    let exact_balance = balance.unwrap_or(false);
    let chains: Vec<_> = chains.into_iter().collect::<Option<_>>()?;
    let index = chain::index(context, message, &chains)?;
    let addresses: Vec<ListenAddress> = addresses.into_iter().collect::<Option<_>>()?;
    let name = match message.text("name") {
        "" => addresses[0].address.to_string(),
        name => name.to_owned(),
    };
    Some(Listener {
        id: ListenerId(0),
        name,
        addresses,
        exact_balance,
        backlog: message.uint("tcp_backlog_size").unwrap_or(BACKLOG),
        buffer_bytes_max: buffer_bytes_max(message),
        binds: message.boolean("bind_to_port").unwrap_or(true),
        hands_off: message.boolean("use_original_dst").unwrap_or(false),
        inspects,
        index,
        chains,
        default_chain,
        access_logs,
    })
}

/// `per_connection_buffer_limit_bytes`. 0 is Envoy's word for no bound, and nothing here is without one: the engine's own holds.
pub(super) fn buffer_bytes_max(message: &Message) -> Option<u32> {
    message.uint("per_connection_buffer_limit_bytes").filter(|&bytes| bytes > 0)
}

/// Refused with the address.
fn is_udp(message: &Message) -> bool {
    let socket = message.message("address").and_then(|address| address.message("socket_address"));
    socket.is_some_and(|socket| socket.get("protocol").is_some())
}

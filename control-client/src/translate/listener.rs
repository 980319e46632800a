//! `envoy.config.listener.v3.Listener`.

use std::collections::HashSet;

use ringway_model::{ListenAddress, Listener, ListenerId};

use super::access_log::LogType;
use super::{Context, access_log, address, chain, listener_filter, socket};
use crate::compatibility::refuse_unsupported;
use crate::message::Message;

/// `Listener.tcp_backlog_size` where the file says nothing: what the kernel allows at most by default.
const BACKLOG: u32 = 4096;

/// What the listeners before have taken.
#[derive(Default)]
pub(super) struct Seen {
    names: HashSet<String>,
    addresses: HashSet<String>,
}

impl Seen {
    pub(super) fn check(&mut self, context: &mut Context<'_>, message: &Message, listener: &Listener) {
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
        // Envoy lets the later one replace the earlier one without a word. One without a name is named by its address.
        if !self.names.insert(listener.name.clone()) {
            context.problem(message, "name", format!("a second listener {:?}", listener.name));
        }
    }
}

/// The id is set by the caller, who knows the position.
pub(super) fn listener(context: &mut Context<'_>, message: &Message) -> Option<Listener> {
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

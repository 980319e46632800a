//! What is set on sockets: `SocketOption`, `BindConfig`, `TcpKeepalive`, and the listener's fields that are options by other names.

use ringway_model::{ListenSocket, Outgoing, SocketOption, SocketState};

use super::Context;
use crate::compatibility::refuse_unsupported;
use crate::message::{Message, Value};

/// Linux's numbers (asm-generic/socket.h, linux/in.h, linux/tcp.h).
const SOL_IP: i32 = 0;
const SOL_SOCKET: i32 = 1;
const SOL_TCP: i32 = 6;
const SO_KEEPALIVE: i32 = 9;
/// These two count for IPv6 sockets, too.
const IP_FREEBIND: i32 = 15;
const IP_TRANSPARENT: i32 = 19;
const TCP_KEEPIDLE: i32 = 4;
const TCP_KEEPINTVL: i32 = 5;
const TCP_KEEPCNT: i32 = 6;
const TCP_FASTOPEN: i32 = 23;

/// tcp(7), linux/tcp.h: MAX_TCP_KEEPIDLE, MAX_TCP_KEEPINTVL, and MAX_TCP_KEEPCNT.
const KEEPALIVE_SECONDS_MAX: u32 = 32767;
const KEEPALIVE_PROBES_MAX: u32 = 127;

/// What a listener asks of its sockets, whichever of its addresses they are of.
pub(super) struct OfListener {
    /// What its other fields come to.
    fields: Vec<SocketOption>,
    /// Its `tcp_keepalive`. What is accepted inherits it (tcp(7)).
    keepalive: Vec<SocketOption>,
    /// Its `socket_options`.
    options: Vec<SocketOption>,
}

impl OfListener {
    pub(super) fn read(context: &mut Context<'_>, message: &Message) -> Self {
        use SocketState::{Bound, Prebind};
        let mut fields = Vec::new();
        for (field, name) in [("transparent", IP_TRANSPARENT), ("freebind", IP_FREEBIND)] {
            if let Some(on) = message.boolean(field) {
                fields.push(SocketOption::number(SOL_IP, name, on.into(), Prebind));
            }
        }
        if let Some(queue) = message.uint("tcp_fast_open_queue_length") {
            let queue = i32::try_from(queue).unwrap_or(i32::MAX);
            fields.push(SocketOption::number(SOL_TCP, TCP_FASTOPEN, queue, Bound));
        }
        let keepalive = context.inside(message, "tcp_keepalive", keepalive).unwrap_or_default();
        Self { fields, keepalive, options: socket_options(context, message, true) }
    }

    /// For the listener's own address.
    pub(super) fn first(&self, context: &mut Context<'_>, message: &Message) -> ListenSocket {
        let options = [&self.fields, &self.keepalive, &self.options].into_iter().flatten();
        ListenSocket { takes_ipv4: takes_ipv4(context, message), options: options.cloned().collect() }
    }

    /// For an `AdditionalAddress`, which may have keep-alive and options of its own in the place of the listener's.
    pub(super) fn additional(&self, context: &mut Context<'_>, message: &Message) -> ListenSocket {
        let keepalive = context.inside(message, "tcp_keepalive", |context, message| {
            // A zero turns it off.
            let is_off = ["keepalive_probes", "keepalive_time", "keepalive_interval"].map(|name| message.uint(name));
            if is_off.contains(&Some(0)) { Some(Vec::new()) } else { keepalive(context, message) }
        });
        // An empty one is none, not the listener's.
        let options = context.inside(message, "socket_options", |context, message| {
            refuse_unsupported(message, context.report);
            Some(socket_options(context, message, true))
        });
        let (keepalive, own) =
            (keepalive.as_ref().unwrap_or(&self.keepalive), options.as_ref().unwrap_or(&self.options));
        let options = [&self.fields, keepalive, own].into_iter().flatten();
        ListenSocket { takes_ipv4: takes_ipv4(context, message), options: options.cloned().collect() }
    }
}

/// `ipv4_compat` of the address that `message` has.
fn takes_ipv4(context: &mut Context<'_>, message: &Message) -> bool {
    let socket = message.message("address").and_then(|address| address.message("socket_address"));
    let takes_ipv4 = socket.is_some_and(|socket| socket.boolean("ipv4_compat").unwrap_or(false));
    if takes_ipv4 && socket.is_some_and(|socket| !socket.text("address").contains(':')) {
        context.field("address", |context| {
            context.problem(message, "socket_address", "ipv4_compat is for IPv6 addresses");
        });
    }
    takes_ipv4
}

/// What a cluster asks of its connections; `None`: nothing.
pub(super) fn of_cluster(context: &mut Context<'_>, message: &Message) -> Option<Box<Outgoing>> {
    let mut outgoing = context.inside(message, "upstream_bind_config", bind_config).unwrap_or_default();
    let keepalive = context.inside(message, "upstream_connection_options", |context, message| {
        refuse_unsupported(message, context.report);
        context.inside(message, "tcp_keepalive", keepalive)
    });
    outgoing.options.extend(keepalive.unwrap_or_default());
    (outgoing != Outgoing::default()).then(|| Box::new(outgoing))
}

fn bind_config(context: &mut Context<'_>, message: &Message) -> Option<Outgoing> {
    refuse_unsupported(message, context.report);
    let mut sources = Vec::new();
    sources.extend(context.inside(message, "source_address", super::socket_address));
    let extra = context.each(message, "extra_source_addresses", |context, message| {
        refuse_unsupported(message, context.report);
        context.inside(message, "address", super::socket_address)
    });
    let extra: Vec<_> = extra.into_iter().flatten().collect();
    // Envoy: "Cluster's upstream binding config has more than one extra source addresses", and wants another family.
    let is_other = |extra: &std::net::SocketAddr| sources.first().is_some_and(|one| one.is_ipv4() != extra.is_ipv4());
    if extra.len() > 1 || !extra.iter().all(is_other) {
        let rule = "one source address, and one more of the other family, are all that there may be";
        context.problem(message, "extra_source_addresses", rule);
    }
    sources.extend(extra);
    let mut options = Vec::new();
    if let Some(on) = message.boolean("freebind") {
        options.push(SocketOption::number(SOL_IP, IP_FREEBIND, on.into(), SocketState::Prebind));
    }
    options.extend(socket_options(context, message, false));
    Some(Outgoing { sources, options })
}

/// `TcpKeepalive`.
fn keepalive(context: &mut Context<'_>, message: &Message) -> Option<Vec<SocketOption>> {
    refuse_unsupported(message, context.report);
    let mut options = vec![SocketOption::number(SOL_SOCKET, SO_KEEPALIVE, 1, SocketState::Prebind)];
    for (field, name, max) in [
        ("keepalive_probes", TCP_KEEPCNT, KEEPALIVE_PROBES_MAX),
        ("keepalive_time", TCP_KEEPIDLE, KEEPALIVE_SECONDS_MAX),
        ("keepalive_interval", TCP_KEEPINTVL, KEEPALIVE_SECONDS_MAX),
    ] {
        match message.uint(field) {
            None => {}
            Some(value) if (1..=max).contains(&value) => {
                let value = i32::try_from(value).expect("it is small");
                options.push(SocketOption::number(SOL_TCP, name, value, SocketState::Prebind));
            }
            // Envoy takes it, and then each socket fails.
            Some(_) => context.problem(message, field, format!("the kernel takes 1 to {max}")),
        }
    }
    Some(options)
}

/// `socket_options`. Those of a connection have no state but STATE_PREBIND.
fn socket_options(context: &mut Context<'_>, message: &Message, of_listener: bool) -> Vec<SocketOption> {
    let options = context.each(message, "socket_options", |context, message| {
        refuse_unsupported(message, context.report);
        let mut number = |field: &str| match i32::try_from(message.int(field).unwrap_or(0)) {
            Ok(number) => Some(number),
            Err(_) => {
                context.problem(message, field, "the kernel's numbers have 32 bits");
                None
            }
        };
        let (level, name) = (number("level")?, number("name")?);
        let value = match message.get("buf_value").map(|set| &set.value) {
            Some(Value::Bytes(bytes)) => bytes.clone(),
            _ => number("int_value")?.to_ne_bytes().to_vec(),
        };
        let when = match message.number("state") {
            0 => SocketState::Prebind,
            1 if of_listener => SocketState::Bound,
            _ => {
                let only = if of_listener { "STATE_PREBIND and STATE_BOUND" } else { "STATE_PREBIND" };
                context.problem(message, "state", format!("not supported yet, only {only}"));
                return None;
            }
        };
        Some(SocketOption { level, name, value, when })
    });
    options.into_iter().flatten().collect()
}

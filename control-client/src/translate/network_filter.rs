//! Network filters: those that let a connection on, and the terminal one.

use std::sync::Arc;
use std::time::Duration;

use ringway_model::{ConnectionFilter, ConnectionLimit, LocalRateLimit, NetworkFilter, TokenBucket};

use super::{Context, extension, manager, rbac, tcp_proxy};
use crate::compatibility::refuse_unsupported;
use crate::message::Message;

const HTTP_CONNECTION_MANAGER: &str =
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager";
const TCP_PROXY: &str = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";
const CONNECTION_LIMIT: &str = "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit";
const RBAC: &str = "envoy.extensions.filters.network.rbac.v3.RBAC";
const LOCAL_RATE_LIMIT: &str = "envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit";

/// `LocalRateLimit.token_bucket.fill_interval`: Envoy's bound.
const FILL_INTERVAL_MIN: Duration = Duration::from_millis(50);

enum Read {
    /// `None`: it is turned off, or does nothing.
    Before(Option<ConnectionFilter>),
    Terminal(NetworkFilter),
}

/// `filters` of a chain: those before the last, and the last.
pub(super) fn filters(context: &mut Context<'_>, message: &Message) -> Option<(Vec<ConnectionFilter>, NetworkFilter)> {
    let count = message.items("filters").len();
    if count == 0 {
        // Envoy closes the connections of such a chain.
        context.problem(message, "filters", "a chain without a filter is not supported yet");
        return None;
    }
    let mut at = 0;
    let read = context.each(message, "filters", |context, message| {
        at += 1;
        let read = filter(context, message)?;
        match (&read, at == count) {
            (Read::Terminal(_), false) => {
                // Envoy's words, nearly.
                let rule = "a terminal filter must be the last filter in a network filter chain";
                context.report.problem(message.place, rule);
            }
            (Read::Before(_), true) => {
                let rule = "a non-terminal filter is the last filter in a network filter chain";
                context.report.problem(message.place, rule);
            }
            _ => {}
        }
        Some(read)
    });
    let (mut before, mut terminal) = (Vec::new(), None);
    for read in read.into_iter().collect::<Option<Vec<Read>>>()? {
        match read {
            Read::Before(filter) => before.extend(filter),
            Read::Terminal(filter) => terminal = Some(filter),
        }
    }
    Some((before, terminal?))
}

fn filter(context: &mut Context<'_>, message: &Message) -> Option<Read> {
    refuse_unsupported(message, context.report);
    if message.get("config_discovery").is_some() {
        return None; // refused above
    }
    if extension::is_ignored(message) {
        return Some(Read::Before(None));
    }
    let supported = [HTTP_CONNECTION_MANAGER, TCP_PROXY, CONNECTION_LIMIT, LOCAL_RATE_LIMIT, RBAC];
    extension::of(context, message, &supported, |context, config| {
        Some(match config.kind.name() {
            HTTP_CONNECTION_MANAGER => {
                let manager = manager::connection_manager(context, config)?;
                Read::Terminal(NetworkFilter::Http(Arc::new(manager)))
            }
            TCP_PROXY => Read::Terminal(NetworkFilter::Tcp(Arc::new(tcp_proxy::tcp_proxy(context, config)?))),
            RBAC => Read::Before(Some(ConnectionFilter::Rbac(Arc::new(rbac::network_rbac(context, config)?)))),
            CONNECTION_LIMIT => {
                let limit = connection_limit(context, config)?;
                let is_on = is_enabled(context, config);
                Read::Before(is_on.then(|| ConnectionFilter::ConnectionLimit(Arc::new(limit))))
            }
            _ => {
                let limit = local_rate_limit(context, config)?;
                let is_on = is_enabled(context, config);
                Read::Before(is_on.then(|| ConnectionFilter::LocalRateLimit(Arc::new(limit))))
            }
        })
    })
}

fn connection_limit(context: &mut Context<'_>, message: &Message) -> Option<ConnectionLimit> {
    refuse_unsupported(message, context.report);
    if message.get("max_connections").is_none() {
        // Envoy: "Field 'max_connections' is missing".
        context.problem(message, "max_connections", "value is required");
    }
    Some(ConnectionLimit {
        stat_prefix: message.text("stat_prefix").to_owned(),
        connections_max: message.wide_uint("max_connections")?,
        delay: message.duration("delay").filter(|delay| !delay.is_zero()),
    })
}

fn local_rate_limit(context: &mut Context<'_>, message: &Message) -> Option<LocalRateLimit> {
    refuse_unsupported(message, context.report);
    let bucket = context.inside(message, "token_bucket", |context, message| {
        refuse_unsupported(message, context.report);
        let fill_interval = message.duration("fill_interval")?;
        if fill_interval < FILL_INTERVAL_MIN {
            // Envoy's words.
            let rule = "local rate limit token bucket fill timer must be >= 50ms";
            context.problem(message, "fill_interval", rule);
        }
        Some(TokenBucket {
            tokens_max: message.uint("max_tokens").unwrap_or(0),
            tokens_per_fill: message.uint("tokens_per_fill").unwrap_or(1),
            fill_interval,
        })
    });
    Some(LocalRateLimit {
        stat_prefix: message.text("stat_prefix").to_owned(),
        bucket: bucket?,
        share_key: message.text("share_key").to_owned(),
    })
}

/// `runtime_enabled`.
fn is_enabled(context: &mut Context<'_>, message: &Message) -> bool {
    let flag = context.inside(message, "runtime_enabled", |context, flag| {
        refuse_unsupported(flag, context.report);
        context.runtime_boolean(flag.text("runtime_key")).or(flag.boolean("default_value"))
    });
    flag.unwrap_or(true)
}

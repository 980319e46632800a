//! `envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy`.

use std::time::Duration;

use ringway_model::{TcpProxy, TcpTarget};

use super::Context;
use super::access_log::{LogType, access_logs};
use super::timeout::unless_zero;
use crate::compatibility::refuse_unsupported;
use crate::message::Message;

/// `idle_timeout` where the file says nothing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3600);

/// A cluster that the file does not have is no problem, as in Envoy: there is nobody to connect to.
pub(super) fn tcp_proxy(context: &mut Context<'_>, message: &Message) -> Option<TcpProxy> {
    refuse_unsupported(message, context.report);
    let weighted = context.inside(message, "weighted_clusters", |context, message| {
        refuse_unsupported(message, context.report);
        let clusters = context.each(message, "clusters", |context, message| {
            refuse_unsupported(message, context.report);
            // At least 1, by the rules of the field.
            (context.names.id(message.text("name")), message.uint("weight").unwrap_or(1).max(1))
        });
        Some(TcpTarget::Weighted(clusters))
    });
    let hashes = context.each(message, "hash_policy", |context, message| {
        refuse_unsupported(message, context.report);
        let source = context.inside(message, "source_ip", |context, message| {
            refuse_unsupported(message, context.report);
            Some(())
        });
        source.is_some()
    });
    let access_logs = access_logs(context, message, LogType::TcpConnectionEnd);
    let target = weighted.or_else(|| {
        // Envoy: "cluster_specifier: is required", which the rules say.
        let set = message.get("cluster").is_some();
        set.then(|| TcpTarget::Cluster(context.names.id(message.text("cluster"))))
    })?;
    Some(TcpProxy {
        stat_prefix: message.text("stat_prefix").to_owned(),
        target,
        idle_timeout: unless_zero(message.duration("idle_timeout").unwrap_or(IDLE_TIMEOUT)),
        duration_max: message.duration("max_downstream_connection_duration"),
        connect_attempts_max: message.uint("max_connect_attempts").unwrap_or(1).max(1),
        access_logs,
        hashes_source_ip: hashes.contains(&true),
    })
}

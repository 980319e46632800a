//! Clusters of the type ORIGINAL_DST.

use std::time::Duration;

use ringway_model::OriginalDst;

use super::Context;
use crate::compatibility::refuse_unsupported;
use crate::message::Message;

const CONFIG: &str = "original_dst_lb_config";
/// `Cluster.DiscoveryType` and `Cluster.LbPolicy`.
const ORIGINAL_DST: i32 = 4;
const CLUSTER_PROVIDED: i32 = 6;
/// `cleanup_interval` where the file says nothing.
const CLEANUP_INTERVAL: Duration = Duration::from_secs(5);
/// `http_header_name` where the file says nothing.
const HEADER: &str = "x-envoy-original-dst-host";

pub(super) fn is_original_dst(message: &Message) -> bool {
    message.get("cluster_type").is_none() && message.number("type") == ORIGINAL_DST
}

/// What the type and the policy ask of each other, and the settings of the type. `None`: it is another type.
pub(super) fn original_dst(context: &mut Context<'_>, message: &Message) -> Option<OriginalDst> {
    let provided = message.number("lb_policy") == CLUSTER_PROVIDED;
    let config = context.inside(message, CONFIG, |context, message| {
        refuse_unsupported(message, context.report);
        Some(message)
    });
    if !is_original_dst(message) {
        if provided {
            // Envoy: "cluster provided LB specified but cluster did not provide one".
            context.problem(message, "lb_policy", "CLUSTER_PROVIDED is for clusters of the type ORIGINAL_DST");
        }
        return None;
    }
    if !provided {
        // Envoy's words.
        context.problem(message, "lb_policy", "Only 'CLUSTER_PROVIDED' is allowed with cluster type 'ORIGINAL_DST'");
    }
    if message.get("load_assignment").is_some() {
        // Envoy's words.
        let rule = "ORIGINAL_DST clusters must have no load assignment configured";
        context.problem(message, "load_assignment", rule);
    }
    let by_header = config.is_some_and(|config| config.boolean("use_http_header").unwrap_or(false));
    let name = config.map_or("", |config| config.text("http_header_name"));
    if let Some(config) = config
        && !by_header
        && !name.is_empty()
    {
        // Envoy's words.
        let rule = "Set use_http_header to true if http_header_name is desired.";
        context.field(CONFIG, |context| context.problem(config, "http_header_name", rule));
    }
    Some(OriginalDst {
        header: by_header.then(|| if name.is_empty() { HEADER.to_owned() } else { name.to_ascii_lowercase() }),
        port: config.and_then(|config| config.uint("upstream_port_override")).and_then(|port| u16::try_from(port).ok()),
        cleanup_interval: message.duration("cleanup_interval").unwrap_or(CLEANUP_INTERVAL),
    })
}

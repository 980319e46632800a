//! `envoy.config.bootstrap.v3.ClusterManager`: where load is reported.

use std::sync::Arc;

use super::{ClusterDraft, Context, api_source};
use crate::api_source::ApiSource;
use crate::compatibility::refuse_unsupported;
use crate::lrs::LoadReports;
use crate::message::Message;
use crate::xds;

/// `load_stats_config`, with what is needed of the bootstrap's clusters. `node`: as management servers are told it.
pub(super) fn load_reports(
    context: &mut Context<'_>,
    message: &Message,
    clusters: &[ClusterDraft],
    node: &[u8],
) -> Option<LoadReports> {
    refuse_unsupported(message, context.report);
    let api = context.inside(message, "load_stats_config", |context, message| {
        if message.items("grpc_services").is_empty() && message.items("cluster_names").is_empty() {
            // Envoy 1.40: "Skipping initialization of secondary cluster: API configs must have either a gRPC service or a cluster name
            // defined". Istio's bootstrap has it so.
            context.report.warning(message.place, "names no server: load is not reported");
            return None;
        }
        let api = api_source::reports(context, message)?;
        for at in 0..api.services.len() {
            let is_used = |draft: &&ClusterDraft| draft.cluster.name == api.services[at].cluster;
            if clusters.iter().find(is_used).is_some_and(|draft| draft.secrets.is_some()) {
                let rule = "load reports by a cluster with secrets of a source (sds_config) are not supported yet";
                context.problem(message, "grpc_services", rule);
            }
        }
        Some(api)
    })?;
    Some(LoadReports { servers: servers(&api, clusters), node: xds::for_reports(node).into(), api: Arc::new(api) })
}

/// What is dialled of these clusters.
fn servers(api: &ApiSource, clusters: &[ClusterDraft]) -> Arc<[ClusterDraft]> {
    let is_used = |draft: &&ClusterDraft| api.services.iter().any(|service| service.cluster == draft.cluster.name);
    let server = |draft: &ClusterDraft| ClusterDraft {
        cluster: draft.cluster.clone(),
        names: draft.names.clone(),
        assignment: None,
        certificates: Vec::new(),
        secrets: None,
        runtime: None,
    };
    clusters.iter().filter(is_used).map(server).collect()
}

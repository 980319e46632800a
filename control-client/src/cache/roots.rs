//! What a bootstrap holds where more has to come: its own resources, and where the others are.

use std::fmt;
use std::sync::Arc;

use crate::api_source::ApiSource;
use crate::translate::{Around, ClusterDraft, ListenerDraft, Read, SourceUse};

/// See the module.
#[derive(Default)]
pub struct Roots {
    /// `static_resources.clusters`, in the order of the file.
    pub(crate) clusters: Vec<Arc<ClusterDraft>>,
    /// `static_resources.listeners`, likewise.
    pub(crate) listeners: Vec<Arc<ListenerDraft>>,
    /// `dynamic_resources.cds_config`.
    pub(crate) cds: Option<SourceUse>,
    /// `dynamic_resources.lds_config`.
    pub(crate) lds: Option<SourceUse>,
    /// `dynamic_resources.ads_config`.
    pub(crate) ads: Option<Arc<ApiSource>>,
    /// `node` as a management server is told it.
    pub(crate) node: Arc<[u8]>,
    /// What decides what resources mean, whenever they come.
    pub(crate) around: Around,
}

/// Without the secrets that it holds.
impl fmt::Debug for Roots {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Roots({} clusters, {} listeners)", self.clusters.len(), self.listeners.len())
    }
}

impl Roots {
    /// # Errors
    /// Nothing more has to come: the resources of the file are all there is.
    pub(crate) fn of(read: Read) -> Result<Roots, (Vec<ClusterDraft>, Vec<ListenerDraft>)> {
        let Read { mut clusters, listeners, cds, lds, ads, node_told, around, .. } = read;
        let wants = clusters.iter().any(|draft| draft.assignment.is_some())
            || listeners.iter().any(|draft| !draft.routes.is_empty() || draft.secrets.is_some())
            || listeners.iter().any(|draft| draft.extensions.is_some())
            || clusters.iter().any(|draft| draft.secrets.is_some())
            || cds.is_some()
            || lds.is_some()
            || !around.layers().is_empty();
        if !wants {
            return Err((clusters, listeners));
        }
        for draft in &mut clusters {
            // Any route that comes may ask for it.
            draft.cluster.high_breakers.get_or_insert_default();
        }
        let clusters = clusters.into_iter().map(Arc::new).collect();
        let listeners = listeners.into_iter().map(Arc::new).collect();
        Ok(Roots { clusters, listeners, cds, lds, ads: ads.map(Arc::new), node: node_told.into(), around })
    }
}

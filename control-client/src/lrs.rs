//! The load reporting service (LRS, `envoy.service.load_stats.v3`): a server is told what was sent to each locality of each cluster.
//!
//! ```text
//!   thread "lrs":  Task (dials, waits, tries again) ──> Period (what is reported, and when) ──> Call (grpc) ──> server
//!                                                          │ asks
//!                                                        `read`: what the workers have counted so far
//! ```
//! The server says which clusters it wants and how often; a report says what was counted since the one before, of a cluster that it did
//! not want before since it wants it. What happens while there is no server is in the next report.
//!
//! It knows nothing of workers: sums come in by call, those of ever, and their differences are made here.

mod period;
mod report;
mod task;

use std::io;
use std::sync::Arc;
use std::thread;

use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::task::LocalSet;

pub use self::report::{ClusterLoad, LocalityLoad, Wanted};
use self::task::Task;
use crate::api_source::ApiSource;
use crate::race::race;
use crate::translate::ClusterDraft;

/// Nothing here is deep.
const STACK_SIZE: usize = 512 << 10;
/// Look-ups of the server's name by the C library, which waits.
const LIBRARY_THREADS_MAX: usize = 1;

/// `cluster_manager.load_stats_config` of a bootstrap: who is told, and by which clusters they are reached.
#[derive(Clone, Debug)]
pub struct LoadReports {
    pub(crate) api: Arc<ApiSource>,
    /// `node` as the server is told it.
    pub(crate) node: Arc<[u8]>,
    pub(crate) servers: Arc<[ClusterDraft]>,
}

/// What the thread has to say: for the log and for statistics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadReportEvent {
    /// Another attempt is made.
    Retry,
    /// A server answered, at this address.
    Connected(String),
    /// A server said what it wants.
    Response,
    /// A report was sent.
    Report,
    /// There is no server any more, or none could be reached.
    Lost {
        /// In words.
        why: String,
        /// It was no proper end (status 0).
        is_error: bool,
    },
}

/// The running thread. It ends when this is dropped.
#[derive(Debug)]
pub struct LoadReporter {
    api: Arc<ApiSource>,
    node: Arc<[u8]>,
    servers: watch::Sender<Arc<[ClusterDraft]>>,
}

impl LoadReporter {
    /// Starts it. `read` gives what has been counted of the clusters that are wanted, as far as they exist; `tell` is told what
    /// happens. Both are called on the thread.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub fn begin(
        plan: &LoadReports,
        read: impl Fn(&Wanted) -> Vec<ClusterLoad> + Send + 'static,
        tell: impl Fn(LoadReportEvent) + Send + 'static,
    ) -> io::Result<LoadReporter> {
        let (api, node) = (plan.api.clone(), plan.node.clone());
        // Made here, so that what can fail is said; it moves to its thread.
        let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(LIBRARY_THREADS_MAX).build()?;
        let (servers, receiver) = watch::channel(plan.servers.clone());
        let task = Task::new(api.clone(), node.clone(), receiver.clone(), Box::new(read), Box::new(tell));
        let body = move || _ = LocalSet::new().block_on(&runtime, race(task.run(), closed(receiver)));
        thread::Builder::new().name("lrs".into()).stack_size(STACK_SIZE).spawn(body)?;
        Ok(LoadReporter { api, node, servers })
    }

    /// Goes on as this plan says, with its certificates and addresses at the next attempt; `false`: that takes another thread.
    pub fn follow(&self, plan: &LoadReports) -> bool {
        let is_same = self.api == plan.api && self.node == plan.node;
        if is_same {
            self.servers.send_replace(plan.servers.clone());
        }
        is_same
    }
}

async fn closed(mut servers: watch::Receiver<Arc<[ClusterDraft]>>) {
    while servers.changed().await.is_ok() {}
}

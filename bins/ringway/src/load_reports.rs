//! Load reports: brings together who counts (the workers' rows), who reports (the thread `lrs`), and who is told how that goes.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use ringway_control_client::{ClusterLoad, LoadReportEvent, LoadReporter, LoadReports, LocalityLoad, Wanted};
use ringway_observe::{ClusterRows, LocalityRows, LocalitySum, Registry};

use crate::log::Log;

/// Reasons why a server cannot be reached that are remembered, so that each is said once.
const REASONS_MAX: usize = 8;

/// The control thread's end of it.
#[derive(Default)]
pub(crate) struct Reporting(Option<LoadReporter>);

impl Reporting {
    /// What a file says is in force: reports as it says, or no more.
    pub(crate) fn follow(&mut self, plan: Option<&LoadReports>, registry: &Arc<Registry>, log: Log) {
        let Some(plan) = plan else {
            self.0 = None;
            return;
        };
        if registry.loads().is_none() {
            log.warning("load_stats_config: the workers began without counting for load reports; to do: start anew");
            return;
        }
        if self.0.as_ref().is_some_and(|reporter| reporter.follow(plan)) {
            return;
        }
        // The one before ends before another begins: both would report.
        self.0 = None;
        let (of, stats) = (Arc::clone(registry), registry.load_reporter());
        let said = Mutex::new(BTreeSet::new());
        let tell = move |event| match event {
            LoadReportEvent::Retry => stats.retries.add(1),
            LoadReportEvent::Response => stats.requests.add(1),
            LoadReportEvent::Report => stats.responses.add(1),
            LoadReportEvent::Connected(address) => {
                said.lock().unwrap_or_else(PoisonError::into_inner).clear();
                log.info(format_args!("LRS: connected to {address}"));
            }
            LoadReportEvent::Lost { why, is_error } => {
                stats.errors.add(is_error.into());
                let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
                if said.len() < REASONS_MAX && said.insert(why.clone()) {
                    log.warning(format_args!("LRS: {why}; load is counted meanwhile, and it is tried again"));
                }
            }
        };
        match LoadReporter::begin(plan, move |wanted| read(&of, wanted), tell) {
            Ok(reporter) => self.0 = Some(reporter),
            Err(error) => log.error(format_args!("no thread to report load: {error}; a reload tries again")),
        }
    }
}

fn read(registry: &Registry, wanted: &Wanted) -> Vec<ClusterLoad> {
    let clusters = registry.loads().map(|book| book.clusters(|name| wanted.has(name)));
    clusters.unwrap_or_default().iter().map(|rows| cluster(rows)).collect()
}

fn cluster(rows: &ClusterRows) -> ClusterLoad {
    let (dropped, dropped_overload) = rows.dropped();
    let locality = |rows: &LocalityRows| {
        let LocalitySum { issued, successful, failed, in_progress } = rows.sum();
        let LocalityRows { priority, locality, serial, .. } = rows.clone();
        LocalityLoad { serial, priority, locality, issued, successful, failed, in_progress }
    };
    ClusterLoad {
        name: rows.name.clone(),
        service_name: rows.service_name.clone(),
        serial: rows.serial,
        dropped,
        dropped_overload,
        drop_category: rows.drop_category.clone(),
        localities: rows.localities.iter().map(locality).collect(),
    }
}

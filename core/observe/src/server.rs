//! The numbers of the whole process. Each has one writer: the control thread, or for those of access logs and their files the
//! thread that writes them.

use crate::{Counter, Gauge, Histogram, Kind};

/// `server.state`, Envoy's `ServerInfo.State`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerState {
    /// Serving.
    Live,
    /// Being taken out of service: health checks fail, what runs may finish.
    Draining,
    /// Not yet reading its configuration.
    PreInitializing,
    /// Configuration not yet in force.
    Initializing,
}

impl ServerState {
    /// The number under `server.state`.
    pub fn number(self) -> u64 {
        self as u64
    }

    /// The text that `/ready` and `/server_info` give.
    pub fn text(self) -> &'static str {
        match self {
            ServerState::Live => "LIVE",
            ServerState::Draining => "DRAINING",
            ServerState::PreInitializing => "PRE_INITIALIZING",
            ServerState::Initializing => "INITIALIZING",
        }
    }

    /// The state of this number; [`ServerState::PreInitializing`] for a number that none has.
    pub fn from_number(number: u64) -> ServerState {
        match number {
            0 => ServerState::Live,
            1 => ServerState::Draining,
            3 => ServerState::Initializing,
            _ => ServerState::PreInitializing,
        }
    }
}

macro_rules! server {
    ($($(#[$doc:meta])* $field:ident: $kind:ident = $name:literal,)*) => {
        /// The process's own numbers.
        #[derive(Debug, Default)]
        pub struct Server {
            $($(#[$doc])* pub $field: $kind,)*
            /// `server.initialization_time_ms`: from the start to the first configuration in force.
            pub initialization_time_ms: Histogram,
        }

        impl Server {
            /// Shows each number under its whole name. Sorted by name.
            pub fn rows(&self, visit: &mut dyn FnMut(&'static str, Kind, u64)) {
                $(visit($name, Kind::$kind, self.$field.value());)*
            }
        }
    };
}

server! {
    /// Lines of access logs that were dropped: no room in a ring or for a sink, or a write that failed. Ringway's own.
    access_log_dropped: Counter = "access_log.lines_dropped",
    /// Lines of access logs taken out of the workers' rings. Ringway's own.
    access_log_lines: Counter = "access_log.lines_read",
    /// Clusters of the committed configuration.
    active_clusters: Gauge = "cluster_manager.active_clusters",
    /// Clusters that a commit brought.
    cluster_added: Counter = "cluster_manager.cluster_added",
    /// Clusters that a commit changed.
    cluster_modified: Counter = "cluster_manager.cluster_modified",
    /// Clusters that a commit took away.
    cluster_removed: Counter = "cluster_manager.cluster_removed",
    /// The number of the committed configuration. Ringway's own.
    generation: Gauge = "config.generation",
    /// Workers that were late in the last commit. Ringway's own.
    late_workers: Gauge = "config.late_workers",
    /// Earlier generations that a connection or a request still holds. Ringway's own.
    pinned_generations: Gauge = "config.pinned_generations",
    /// Reloads refused: the old configuration stayed in force. Ringway's own.
    reload_failed: Counter = "config.reload_failed",
    /// Reloads committed, the first load included. Ringway's own.
    reload_success: Counter = "config.reload_success",
    /// Times that what was buffered was written because it was time.
    access_log_flushed: Counter = "filesystem.flushed_by_timer",
    /// Times that a file could not be reopened.
    access_log_reopen_failed: Counter = "filesystem.reopen_failed",
    /// Lines that were put into a buffer.
    access_log_buffered_writes: Counter = "filesystem.write_buffered",
    /// Writes that a file took.
    access_log_writes: Counter = "filesystem.write_completed",
    /// Writes that a file refused.
    access_log_write_failed: Counter = "filesystem.write_failed",
    /// Bytes that wait to be written.
    access_log_buffered: Gauge = "filesystem.write_total_buffered",
    /// Listeners that a commit brought.
    listener_added: Counter = "listener_manager.listener_added",
    /// Listeners whose sockets could not be bound.
    listener_create_failure: Counter = "listener_manager.listener_create_failure",
    /// Listener sockets made, one per listener and worker.
    listener_create_success: Counter = "listener_manager.listener_create_success",
    /// Listeners that a commit changed.
    listener_modified: Counter = "listener_manager.listener_modified",
    /// Listeners that a commit took away.
    listener_removed: Counter = "listener_manager.listener_removed",
    /// Listeners of the committed configuration.
    total_listeners_active: Gauge = "listener_manager.total_listeners_active",
    /// Listeners that no longer accept and whose connections are not all gone.
    total_listeners_draining: Gauge = "listener_manager.total_listeners_draining",
    /// 1 once all workers run.
    workers_started: Gauge = "listener_manager.workers_started",
    /// Workers.
    concurrency: Gauge = "server.concurrency",
    /// Whole days until the first certificate of any TLS context expires; 4,294,967,295 where there is none, as Envoy has it.
    days_until_first_cert_expiring: Gauge = "server.days_until_first_cert_expiring",
    /// 1 while serving and not draining.
    live: Gauge = "server.live",
    /// Bytes of memory that nothing but this process uses.
    memory_allocated: Gauge = "server.memory_allocated",
    /// The same: the allocator's own share of it is not told apart.
    memory_heap_size: Gauge = "server.memory_heap_size",
    /// Bytes of memory that are resident.
    memory_physical_size: Gauge = "server.memory_physical_size",
    /// [`ServerState::number`].
    state: Gauge = "server.state",
    /// Connections open on all listeners.
    total_connections: Gauge = "server.total_connections",
    /// Seconds since start.
    uptime: Gauge = "server.uptime",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_by_name() {
        let mut names = vec![];
        Server::default().rows(&mut |name, _, _| names.push(name));
        assert!(names.is_sorted(), "{names:?}");
    }

    #[test]
    fn a_state_is_its_number() {
        for number in 0..4 {
            assert_eq!(ServerState::from_number(number).number(), number);
        }
    }
}

//! Which fields of Envoy's API are acted upon: the one list that the translation, the tests and
//! docs/ENVOY_COMPATIBILITY.md share.
//!
//! Invariant: every field of every message that the translation descends into stands here exactly once, so that nothing
//! is ignored without a reason (a test compares the list with the schema).

mod access_log;
mod balancing;
mod bootstrap;
mod cluster;
mod endpoint;
mod http1;
mod http2;
mod http_filter;
mod ignored_type;
mod listener;
mod manager;
mod matcher;
mod network;
mod route;
mod transport;

pub(crate) use self::ignored_type::{is_ignored_in, is_ignored_type};
use crate::message::{Message, Set, Value};
use crate::problem::Report;
use crate::schema::Kind;

/// One message that the translation descends into.
pub(crate) struct Covered {
    /// Full name.
    pub(crate) message: &'static str,
    /// Fields that are acted upon, separated by blanks.
    pub(crate) done: &'static str,
    /// Fields of which only some values are accepted: those that ask for what is done anyway.
    pub(crate) only: &'static [(&'static str, &'static str)],
    /// Fields that may be set without effect, each with the reason.
    pub(crate) ignored: &'static [(&'static str, &'static str)],
    /// Fields that are refused wherever they are set, separated by blanks.
    pub(crate) refused: &'static str,
}

/// What is done with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Done,
    /// Accepted with one of these values, refused with any other.
    Only(&'static str),
    /// Accepted and without effect, for this reason.
    Ignored(&'static str),
    Refused,
}

impl Covered {
    /// Nothing of a message, for an entry to begin from.
    const NOTHING: Covered = Covered { message: "", done: "", only: &[], ignored: &[], refused: "" };

    fn of(message: &str) -> &'static Covered {
        table().find(|covered| covered.message == message).unwrap_or_else(|| panic!("{message} is not listed"))
    }

    /// `None`: the list does not name the field.
    pub(crate) fn status(&self, field: &str) -> Option<Status> {
        let among = |names: &str| names.split_whitespace().any(|name| name == field);
        if among(self.done) {
            return Some(Status::Done);
        }
        if let Some((_, values)) = self.only.iter().find(|(name, _)| *name == field) {
            return Some(Status::Only(values));
        }
        if let Some((_, reason)) = self.ignored.iter().find(|(name, _)| *name == field) {
            return Some(Status::Ignored(reason));
        }
        among(self.refused).then_some(Status::Refused)
    }
}

/// Refuses, one by one, what `message` sets and Ringway does not do. The translation calls this for each message that it
/// descends into.
pub(crate) fn refuse_unsupported(message: &Message, report: &mut Report) {
    if message.fields.is_empty() {
        return;
    }
    let covered = Covered::of(message.kind.name());
    for set in &message.fields {
        let rule = match covered.status(set.field.name()) {
            Some(Status::Ignored(reason)) if is_missed(covered.message, set.field.name()) => {
                let size = report.enter_field(set.field.name());
                report.warning(set.place, format!("has no effect: {reason}"));
                report.leave(size);
                continue;
            }
            Some(Status::Done | Status::Ignored(_)) => continue,
            Some(Status::Only(values)) if values.split_whitespace().any(|value| value == written(set)) => continue,
            Some(Status::Only(values)) => {
                format!("{} is not supported yet, only {}", written(set), values.replace(' ', " and "))
            }
            Some(Status::Refused) => "not supported yet".to_owned(),
            None => panic!("{}.{} is not listed", covered.message, set.field.name()),
        };
        report.problem_in(set.field.name(), set.place, rule);
    }
}

/// What is ignored though whoever wrote it may rely on it: said when the file is read.
const MISSED: &[(&str, &str)] = &[
    ("envoy.config.bootstrap.v3.Bootstrap", "hds_config"),
    ("envoy.config.bootstrap.v3.Bootstrap", "stats_sinks"),
    ("envoy.config.bootstrap.v3.Bootstrap", "tracing"),
    ("envoy.config.overload.v3.OverloadManager", "resource_monitors"),
    ("envoy.config.overload.v3.OverloadManager", "actions"),
    ("envoy.config.overload.v3.OverloadManager", "loadshed_points"),
    ("envoy.config.metrics.v3.StatsConfig", "stats_tags"),
    ("envoy.extensions.filters.http.compressor.v3.Compressor", "compressor_library"),
    ("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", "tracing"),
];

fn is_missed(message: &str, field: &str) -> bool {
    MISSED.contains(&(message, field))
}

/// A scalar as the list writes it.
fn written(set: &Set) -> String {
    match &set.value {
        Value::Bool(value) => value.to_string(),
        Value::Uint(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Enum(number) if set.field.kind == Kind::Enum => {
            set.field.enumeration().name_of(*number).map_or_else(|| number.to_string(), str::to_owned)
        }
        _ => "this".to_owned(),
    }
}

const NODE_IS_OURS: &str = "a management server is told what Ringway is; kept in /config_dump";
const NO_GLOBAL_LIMIT: &str = "there is no global limit: overload_manager has no effect";
const NO_ZONES: &str =
    "only matters where cluster_manager.local_cluster_name says who is near, which is refused; in Envoy, too";
const NO_READER: &str = "only read by filters, matchers and logs that are refused";

/// The whole list: a file for each room of the configuration, in the order in which a file nests its messages.
pub(crate) fn table() -> impl Iterator<Item = &'static Covered> {
    let rooms = [
        bootstrap::TABLE,
        listener::TABLE,
        transport::TABLE,
        network::TABLE,
        manager::TABLE,
        http_filter::TABLE,
        access_log::TABLE,
        http1::TABLE,
        http2::TABLE,
        route::TABLE,
        matcher::TABLE,
        cluster::TABLE,
        balancing::TABLE,
        endpoint::TABLE,
    ];
    rooms.into_iter().flatten()
}

#[cfg(test)]
mod tests;

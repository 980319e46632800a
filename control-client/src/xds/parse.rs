//! A response of the protocol as an update of the cache: bytes to trees.

use std::sync::Arc;

use super::service;
use crate::cache::{Change, ConfigSource, Received, Update};
use crate::discovery;
use crate::problem::{Place, Report};
use crate::reader::Unknown;
use crate::schema::MessageType;
use crate::wire;

/// Reads the resources of a response. What cannot be read of one is the cache's to refuse. What Envoy's API does not
/// have is passed over, as in Envoy: control planes may be newer than we are.
pub(super) fn update(source: &Arc<ConfigSource>, update: discovery::Update<'_>) -> Update {
    let kind = service::kind(update.kind);
    let schema = MessageType::by_name(kind.type_name()).expect("the schema has the kinds of resources");
    let file = source.to_string();
    let mut values = 0;
    let received = update.changed.into_iter().map(|(resource, body)| {
        let mut report = Report::new(&file);
        let message = match values < VALUES_MAX {
            true => wire::read_counted(body.value, schema, Unknown::Kept, &mut report, &mut values),
            false => {
                report.problem(Place::NONE, format!("behind {VALUES_MAX} values of the same response"));
                None
            }
        };
        Received { name: resource.name.to_owned(), version: resource.version.to_owned(), message, report }
    });
    let changed = received.collect();
    let change = match update.is_world {
        true => Change::World(changed),
        false => Change::Delta { changed, removed: update.removed },
    };
    Update { source: source.clone(), kind, version: update.version.to_owned(), change }
}

/// What the server says that it could not give, as lines.
pub(super) fn complaints(update: &discovery::Update<'_>) -> Vec<String> {
    let kind = service::kind(update.kind);
    let line = |error: &discovery::ResourceError<'_>| {
        format!("{kind} {:?}: the server cannot give it (code {}): {}", error.name, error.code, error.message)
    };
    update.failed.iter().take(COMPLAINTS_MAX).map(line).collect()
}

/// The most values of a response, all of its resources together; whatever comes behind them is refused. An empty item of a
/// list is two bytes on the wire and some 120 in a tree, so that these are 1 GiB. Ten thousand clusters of thirty values
/// and their endpoints are a tenth of it.
const VALUES_MAX: usize = 8 << 20;

/// The most lines about one response.
const COMPLAINTS_MAX: usize = 16;

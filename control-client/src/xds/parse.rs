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

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::cache::Kind;
    use crate::discovery::{Interest, Received as Heard, Stream, Variant};
    use crate::fuzz::encoded;
    use crate::wire::Writer;

    /// What the cache gets of clusters in these forms.
    fn check(variant: Variant, bodies: &[&[u8]], removed: &[&str]) -> String {
        let of = service::resource_type(Kind::Cluster);
        let mut stream = Stream::new(variant, *b"node", &[of]);
        stream.want(of, Interest::all());
        stream.open();
        stream.request().expect("a first request");
        let is_delta = variant == Variant::Delta;
        let mut out = Writer::default();
        out.text(1, "v");
        for (at, body) in bodies.iter().enumerate() {
            let any = |out: &mut Writer| {
                out.text(1, &of.url());
                out.len(2, body);
            };
            match is_delta {
                true => out.message(2, |out| {
                    out.text(1, &at.to_string());
                    out.message(2, any);
                    out.text(3, &format!("name-{at}"));
                }),
                false => out.message(2, any),
            }
        }
        out.text(4, &of.url());
        out.text(5, "n");
        removed.iter().for_each(|name| out.item(6, name));
        let Ok(Heard::Update(heard)) = stream.receive(&out.bytes, Instant::now()) else { panic!("a response") };
        let update = update(&Arc::new(ConfigSource::Ads), heard);
        let (form, received, removed) = match update.change {
            Change::World(received) => ("world", received, Vec::new()),
            Change::Delta { changed, removed } => ("delta", changed, removed),
        };
        let mut text = format!("{form} {:?}", update.version);
        for one in received {
            let problems: Vec<String> = one.report.problems.iter().map(ToString::to_string).collect();
            let is_read = one.message.is_some();
            text += &format!("; {} {:?} {is_read} {}", one.name, one.version, problems.join(" | "));
        }
        if !removed.is_empty() {
            text += &format!("; less {}", removed.join(" "));
        }
        text
    }

    #[test]
    fn resources_become_trees_and_those_that_cannot_say_why() {
        let cluster = encoded("{'@type': t/envoy.config.cluster.v3.Cluster, name: c, connect_timeout: 1s}");
        // A field of the future, and one that is of another wire type.
        let newer = [&cluster[..], &[0xfa, 0x7f, 1, 0]].concat();
        let broken = [&cluster[..], &[0x20, 1]].concat();
        let world = check(Variant::StateOfTheWorld, &[&newer], &[]);
        assert_eq!(world, r#"world "v"; c "v" true "#);
        let delta = check(Variant::Delta, &[&cluster, &broken], &["old"]);
        assert_eq!(
            delta,
            r#"delta "v"; name-0 "0" true ; name-1 "1" true ADS: connect_timeout: VARINT is no wire type of this field; less old"#
        );
    }
}

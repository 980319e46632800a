//! A response of the protocol as an update of the cache.

use std::sync::Arc;

use bytes::Bytes;

use super::service;
use crate::cache::{Change, ConfigSource, Received, Unread, Update};
use crate::discovery;
use crate::problem::Report;

/// The update of a response. Its resources are pieces of the message: each is read when it is judged, so that there is one tree
/// at a time, on the thread that judges.
pub(super) fn update(source: &Arc<ConfigSource>, message: &Bytes, update: discovery::Update<'_>) -> Update {
    let kind = service::kind(update.kind);
    let file = source.to_string();
    let received = update.changed.into_iter().map(|(resource, body)| Received {
        name: resource.name.to_owned(),
        version: resource.version.to_owned(),
        body: Unread::Wire(message.slice_ref(body.value)),
        report: Report::new(&file),
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
        let message = Bytes::from(out.bytes);
        let Ok(Heard::Update(heard)) = stream.receive(&message, Instant::now()) else { panic!("a response") };
        let update = update(&Arc::new(ConfigSource::Ads), &message, heard);
        let (form, received, removed) = match update.change {
            Change::World(received) => ("world", received, Vec::new()),
            Change::Delta { changed, removed } => ("delta", changed, removed),
        };
        let mut text = format!("{form} {:?}", update.version);
        for mut one in received {
            one.read(update.kind);
            let problems: Vec<String> = one.report.problems.iter().map(ToString::to_string).collect();
            let is_read = matches!(one.body, Unread::Tree(Some(_)));
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

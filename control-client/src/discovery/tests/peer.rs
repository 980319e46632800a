//! A stream as its server sees it, a request or a response in one line each.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Instant;

use super::super::*;
use crate::wire::{Payload, Records, Writer};

pub(super) const CDS: ResourceType = ResourceType { name: "envoy.config.cluster.v3.Cluster", is_whole: true };
pub(super) const EDS: ResourceType =
    ResourceType { name: "envoy.config.endpoint.v3.ClusterLoadAssignment", is_whole: false };
pub(super) const LDS: ResourceType = ResourceType { name: "envoy.config.listener.v3.Listener", is_whole: true };
pub(super) const ALL: [ResourceType; 3] = [CDS, EDS, LDS];

pub(super) fn short(url: &str) -> &'static str {
    ALL.iter().zip(["CDS", "EDS", "LDS"]).find(|(kind, _)| kind.has_url(url)).map_or("?", |(_, name)| name)
}

/// A request in one line.
fn show(variant: Variant, bytes: &[u8]) -> String {
    let mut fields: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    let mut records = Records::new(bytes);
    while let Some(record) = records.next().expect("a message") {
        let Payload::Len(bytes) = record.payload else { panic!("requests have texts and messages") };
        let inner = || {
            let (mut parts, mut records) = (Vec::new(), Records::new(bytes));
            while let Some(record) = records.next().expect("a message") {
                parts.push(match record.payload {
                    Payload::Len(bytes) => String::from_utf8(bytes.to_vec()).expect("a text"),
                    Payload::Varint(number) => number.to_string(),
                    other => panic!("{other:?}"),
                });
            }
            parts.join(":")
        };
        let is_message = match variant {
            Variant::StateOfTheWorld => record.number == 6,
            Variant::Delta => [5, 7].contains(&record.number),
        };
        let text = if is_message { inner() } else { String::from_utf8(bytes.to_vec()).expect("a text") };
        fields.entry(record.number).or_default().push(text);
    }
    let mut of = |number| fields.remove(&number).unwrap_or_default();
    let mut out = String::new();
    let [node, url, names, less, nonce, error, version, versions] = match variant {
        Variant::StateOfTheWorld => [of(2), of(4), of(3), vec![], of(5), of(6), of(1), vec![]],
        Variant::Delta => [of(1), of(2), of(3), of(4), of(6), of(7), vec![], of(5)],
    };
    write!(out, "{} [{}]", short(&url[0]), names.join(" ")).expect("a String takes all");
    for (label, values) in [(" less", less), (" held", versions)] {
        if !values.is_empty() {
            write!(out, "{label}[{}]", values.join(" ")).expect("a String takes all");
        }
    }
    for (label, values) in [(" version ", version), (" nonce ", nonce), (" NACK ", error), (" node ", node)] {
        values.iter().for_each(|value| write!(out, "{label}{value}").expect("a String takes all"));
    }
    assert!(fields.is_empty(), "{fields:?}");
    out
}

/// A body: a message whose first field is its name.
pub(super) fn any(out: &mut Writer, number: u32, kind: ResourceType, name: &str) {
    out.message(number, |out| {
        out.text(1, &kind.url());
        out.message(2, |out| out.text(1, name));
    });
}

/// A `Resource`; `None` for a body is a heartbeat.
pub(super) fn resource(
    out: &mut Writer,
    number: u32,
    name: &str,
    version: &str,
    body: Option<ResourceType>,
    ttl: Option<u64>,
) {
    out.message(number, |out| {
        out.text(3, name);
        out.text(1, version);
        if let Some(kind) = body {
            any(out, 2, kind, name);
        }
        if let Some(seconds) = ttl {
            out.message(6, |out| out.number(1, seconds));
        }
    });
}

/// A stream and its clock.
pub(super) struct Peer {
    pub(super) stream: Stream,
    variant: Variant,
    pub(super) now: Instant,
}

impl Peer {
    pub(super) fn new(variant: Variant, kinds: &[ResourceType]) -> Self {
        let mut peer = Self { stream: Stream::new(variant, b"N".to_vec(), kinds), variant, now: Instant::now() };
        peer.stream.open();
        peer
    }

    pub(super) fn want(&mut self, kind: ResourceType, interest: Interest) {
        self.stream.want(kind, interest);
    }

    /// All requests that are due.
    #[track_caller]
    pub(super) fn asks(&mut self, expect: &[&str]) {
        let mut lines = Vec::new();
        while let Some(bytes) = self.stream.request() {
            lines.push(show(self.variant, &bytes));
        }
        assert_eq!(lines, expect);
    }

    pub(super) fn reconnects(&mut self) {
        self.stream.close();
        assert_eq!(self.stream.request(), None);
        self.stream.open();
    }

    /// A response, and what becomes of it in one line; the cache refuses the resources that are named.
    #[track_caller]
    pub(super) fn gets(&mut self, write: impl FnOnce(&mut Writer), bad: &[&str], expect: &str) {
        let mut out = Writer::default();
        write(&mut out);
        let line = match self.stream.receive(&out.bytes, self.now) {
            Ok(Received::Update(update)) => {
                let names: Vec<&str> = update.changed.iter().map(|(resource, _)| resource.name).collect();
                let mut line = format!("{} {names:?}", short(&update.kind.url()));
                for (label, count) in [("unwanted", update.unwanted), ("failed", update.failed.len())] {
                    if count > 0 {
                        write!(line, " {label} {count}").expect("a String takes all");
                    }
                }
                if !update.removed.is_empty() {
                    write!(line, " removed {:?}", update.removed).expect("a String takes all");
                }
                let refusal = |name: &&str| Refusal { name: (*name).to_owned(), reason: "bad".into() };
                self.stream.answer(bad.iter().map(refusal).collect());
                line
            }
            Ok(Received::Refused(_, reason)) => format!("refused: {reason}"),
            Ok(Received::Unasked) => "unasked".to_owned(),
            Err(malformed) => format!("malformed: {malformed}"),
        };
        assert_eq!(line, expect);
    }
}

/// A `DiscoveryResponse` of bare resources.
pub(super) fn world(kind: ResourceType, version: &str, nonce: &str, names: &[&str]) -> impl FnOnce(&mut Writer) {
    move |out| {
        out.text(1, version);
        names.iter().for_each(|name| any(out, 2, kind, name));
        out.text(4, &kind.url());
        out.text(5, nonce);
    }
}

/// A `DeltaDiscoveryResponse`; a resource is `name:version`.
pub(super) fn delta(kind: ResourceType, nonce: &str, changed: &[&str], removed: &[&str]) -> impl FnOnce(&mut Writer) {
    move |out| {
        for text in changed {
            let (name, version) = text.split_once(':').expect("a name and a version");
            resource(out, 2, name, version, Some(kind), None);
        }
        out.text(4, &kind.url());
        out.text(5, nonce);
        removed.iter().for_each(|name| out.item(6, name));
    }
}

pub(super) fn sotw(kinds: &[ResourceType]) -> Peer {
    Peer::new(Variant::StateOfTheWorld, kinds)
}

pub(super) fn deltas(kinds: &[ResourceType]) -> Peer {
    Peer::new(Variant::Delta, kinds)
}

//! What `/config_dump` shows of what came: by resource, its versions and the last one that was refused.

use std::collections::BTreeMap;
use std::time::SystemTime;

use super::entry::{Answer, Body, Entry, Rejected, Version, Want, WantKey};
use super::{Cache, ConfigSource, Kind};

/// One resource that did not come with the bootstrap.
#[derive(Clone, Debug)]
pub struct ShownResource {
    /// Which kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// In force.
    pub active: Option<ShownVersion>,
    /// Accepted, and waiting for something.
    pub warming: Option<ShownVersion>,
    /// Refused, and nothing was accepted since.
    pub error: Option<ShownError>,
    /// It is wanted, and nobody waits for it any more: its source has said that there is none, or has said nothing in time.
    pub is_missing: bool,
}

/// An accepted version.
#[derive(Clone, Debug)]
pub struct ShownVersion {
    /// As its source says.
    pub version: String,
    /// When it came.
    pub updated: SystemTime,
    kind: Kind,
    body: Body,
}

impl ShownVersion {
    /// The resource as JSON in Envoy's spelling, secrets as `[redacted]`.
    pub fn to_json(&self) -> String {
        self.body.shown(self.kind.type_name())
    }

    /// The same in protobuf's wire form.
    pub(crate) fn encoded(&self) -> Vec<u8> {
        self.body.shown_encoded(self.kind.type_name())
    }
}

/// A refused version.
#[derive(Clone, Debug)]
pub struct ShownError {
    /// As its source says.
    pub version: String,
    /// When it came.
    pub at: SystemTime,
    /// All that is wrong with it.
    pub problems: Vec<String>,
    /// What it was, where it could be read.
    pub failed: Option<ShownVersion>,
}

impl Cache {
    /// All that came, by kind and name. Cheap: texts are shared, and read by whoever shows them.
    pub fn shown(&self) -> Vec<ShownResource> {
        let mut shown = Vec::new();
        entries(&self.clusters, Kind::Cluster, &mut shown);
        wants(&self.assignments, Kind::Assignment, &mut shown);
        entries(&self.listeners, Kind::Listener, &mut shown);
        wants(&self.routes, Kind::Routes, &mut shown);
        wants(&self.secrets, Kind::Secret, &mut shown);
        wants(&self.layers.wants, Kind::Runtime, &mut shown);
        wants(&self.extensions, Kind::Extension, &mut shown);
        shown
    }
}

fn entries<D, B>(entries: &BTreeMap<String, Entry<D, B>>, kind: Kind, shown: &mut Vec<ShownResource>) {
    let dynamic = entries.iter().filter(|(_, entry)| !entry.is_static);
    shown.extend(dynamic.map(|(name, entry)| ShownResource {
        kind,
        name: name.clone(),
        active: entry.active.as_deref().and_then(|version| self::version(version, kind)),
        warming: entry.warming.as_deref().and_then(|version| self::version(version, kind)),
        error: entry.rejected.as_ref().map(|rejected| error(rejected, kind)),
        is_missing: false,
    }));
}

fn wants<D>(wants: &BTreeMap<WantKey, Want<D>>, kind: Kind, shown: &mut Vec<ShownResource>) {
    let came = wants.iter().filter(|((source, _), _)| !matches!(**source, ConfigSource::Directory { .. }));
    shown.extend(came.map(|((_, name), want)| ShownResource {
        kind,
        name: name.clone(),
        active: want.held.as_deref().and_then(|version| self::version(version, kind)),
        warming: None,
        error: want.rejected.as_ref().map(|rejected| error(rejected, kind)),
        is_missing: want.held.is_none() && want.answer == Answer::Given,
    }));
}

fn version<D>(version: &Version<D>, kind: Kind) -> Option<ShownVersion> {
    let body = version.body.clone()?;
    Some(ShownVersion { version: version.version.clone(), updated: version.updated, kind, body })
}

fn error(rejected: &Rejected, kind: Kind) -> ShownError {
    let (version, at) = (rejected.version.clone(), rejected.at);
    let failed = rejected.body.clone().map(|body| ShownVersion { version: version.clone(), updated: at, kind, body });
    let problems = rejected.problems.iter().map(ToString::to_string).collect();
    ShownError { version, at, problems, failed }
}

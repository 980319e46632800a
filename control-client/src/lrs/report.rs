//! What is said: `LoadStatsRequest` and `LoadStatsResponse` in their wire form, and what reports are made of.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ringway_model::Locality;

use crate::wire::{Fault, Payload, Records, Writer};

/// Which clusters a server wants to hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// `send_all_clusters`.
    All,
    /// `clusters`.
    These(BTreeSet<String>),
}

impl Wanted {
    /// Whether this one.
    pub fn has(&self, name: &str) -> bool {
        match self {
            Wanted::All => true,
            Wanted::These(names) => names.contains(name),
        }
    }
}

/// What was counted of one cluster since its counting began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterLoad {
    /// `cluster_name`.
    pub name: String,
    /// `cluster_service_name`; may be empty.
    pub service_name: String,
    /// Which counting it is: another one begins at nothing.
    pub serial: u64,
    /// Requests that were not sent, those of `drop_overloads` included.
    pub dropped: u64,
    /// Those of `drop_overloads`.
    pub dropped_overload: u64,
    /// Their category.
    pub drop_category: Option<Arc<str>>,
    /// By priority and locality.
    pub localities: Vec<LocalityLoad>,
}

/// The same of one locality.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalityLoad {
    /// Which counting it is.
    pub serial: u64,
    /// `priority`.
    pub priority: u32,
    /// `locality`.
    pub locality: Option<Arc<Locality>>,
    /// Requests sent.
    pub issued: u64,
    /// Those that succeeded.
    pub successful: u64,
    /// Those that failed, and connections that could not be made.
    pub failed: u64,
    /// Those under way now.
    pub in_progress: u64,
}

impl ClusterLoad {
    /// What was counted since `before`.
    fn since(&self, before: Option<&ClusterLoad>) -> ClusterLoad {
        let Some(before) = before.filter(|before| before.serial == self.serial) else { return self.clone() };
        let locality = |now: &LocalityLoad| {
            let before = before.localities.iter().find(|before| before.serial == now.serial);
            before.map_or_else(
                || now.clone(),
                |before| LocalityLoad {
                    issued: now.issued.saturating_sub(before.issued),
                    successful: now.successful.saturating_sub(before.successful),
                    failed: now.failed.saturating_sub(before.failed),
                    ..now.clone()
                },
            )
        };
        ClusterLoad {
            dropped: self.dropped.saturating_sub(before.dropped),
            dropped_overload: self.dropped_overload.saturating_sub(before.dropped_overload),
            localities: self.localities.iter().map(locality).collect(),
            ..self.clone()
        }
    }

    /// Adds `ClusterStats` to a request: what was counted since `before`, `interval` ago. A locality in which nothing happened is left
    /// out, as Envoy does.
    pub(super) fn write(&self, before: Option<&ClusterLoad>, interval: Duration, out: &mut Writer) {
        let load = self.since(before);
        out.message(2, |out| {
            out.text(1, &load.name);
            out.text(6, &load.service_name);
            load.localities.iter().filter(|locality| !locality.is_idle()).for_each(|locality| locality.write(out));
            unless_zero(out, 3, load.dropped);
            if load.dropped_overload > 0 {
                out.message(5, |out| {
                    out.text(1, load.drop_category.as_deref().unwrap_or_default());
                    out.number(2, load.dropped_overload);
                });
            }
            out.message(4, |out| {
                unless_zero(out, 1, interval.as_secs());
                unless_zero(out, 2, interval.subsec_nanos().into());
            });
        });
    }
}

impl LocalityLoad {
    fn is_idle(&self) -> bool {
        [self.issued, self.successful, self.failed, self.in_progress] == [0; 4]
    }

    fn write(&self, out: &mut Writer) {
        out.message(2, |out| {
            out.message(1, |out| {
                if let Some(locality) = &self.locality {
                    out.text(1, &locality.region);
                    out.text(2, &locality.zone);
                    out.text(3, &locality.sub_zone);
                }
            });
            unless_zero(out, 2, self.successful);
            unless_zero(out, 3, self.in_progress);
            unless_zero(out, 4, self.failed);
            unless_zero(out, 6, self.priority.into());
            unless_zero(out, 8, self.issued);
        });
    }
}

fn unless_zero(out: &mut Writer, number: u32, value: u64) {
    if value > 0 {
        out.number(number, value);
    }
}

/// `LoadStatsResponse`. `report_endpoint_granularity` asks for counts that are not there, and is passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) wanted: Wanted,
    pub(super) interval: Duration,
}

impl Response {
    /// # Errors
    /// It is no such message.
    pub(super) fn read(bytes: &[u8]) -> Result<Response, String> {
        let malformed = |fault: Fault| format!("it is no LoadStatsResponse: {fault}");
        let (mut names, mut is_all, mut interval) = (BTreeSet::new(), false, Duration::ZERO);
        let mut records = Records::new(bytes);
        while let Some(record) = records.next().map_err(malformed)? {
            match (record.number, record.payload) {
                (1, Payload::Len(name)) => {
                    let name = std::str::from_utf8(name).map_err(|_| "the name of a cluster is not UTF-8")?;
                    names.insert(name.to_owned());
                }
                (2, Payload::Len(duration)) => interval = self::duration(duration).map_err(malformed)?,
                (4, Payload::Varint(value)) => is_all = value != 0,
                // Unknown, or not what it should be.
                _ => {}
            }
        }
        let wanted = if is_all { Wanted::All } else { Wanted::These(names) };
        Ok(Response { wanted, interval })
    }
}

/// `google.protobuf.Duration`; one below zero is none.
fn duration(bytes: &[u8]) -> Result<Duration, Fault> {
    let (mut seconds, mut nanos) = (0, 0);
    let mut records = Records::new(bytes);
    while let Some(record) = records.next()? {
        match (record.number, record.payload) {
            (1, Payload::Varint(value)) => seconds = value as i64,
            (2, Payload::Varint(value)) => nanos = value as i32,
            _ => {}
        }
    }
    let seconds = u64::try_from(seconds).unwrap_or(0);
    Ok(Duration::from_secs(seconds).saturating_add(Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_what_the_proto_says() {
        let locality = Locality { region: "r".into(), zone: "z".into(), ..Locality::default() };
        let busy = LocalityLoad {
            serial: 1,
            priority: 1,
            locality: Some(Arc::new(locality)),
            issued: 300,
            successful: 2,
            failed: 3,
            in_progress: 4,
        };
        let load = ClusterLoad {
            name: "c".into(),
            service_name: "s".into(),
            serial: 1,
            dropped: 6,
            dropped_overload: 5,
            drop_category: Some("d".into()),
            localities: vec![busy, LocalityLoad::default()],
        };
        let mut out = Writer::default();
        load.write(None, Duration::from_millis(1_500), &mut out);
        let expect =
            b"\x12\x2e\x0a\x01c\x32\x01s\x12\x13\x0a\x06\x0a\x01r\x12\x01z\x10\x02\x18\x04\x20\x03\x30\x01\x40\xac\x02\
                       \x18\x06\x2a\x05\x0a\x01d\x10\x05\x22\x08\x08\x01\x10\x80\xca\xb5\xee\x01";
        assert_eq!(out.bytes, expect);
    }

    #[test]
    fn a_response_is_read() {
        let check = |bytes: &[u8], expect: Response| assert_eq!(Response::read(bytes), Ok(expect));
        let these = |names: &[&str]| Wanted::These(names.iter().map(|name| (*name).to_owned()).collect());
        check(b"", Response { wanted: these(&[]), interval: Duration::ZERO });
        check(
            b"\x0a\x01b\x0a\x01a\x0a\x01b\x12\x02\x08\x0a\x18\x01",
            Response { wanted: these(&["a", "b"]), interval: Duration::from_secs(10) },
        );
        // All of them, whatever else is named.
        check(
            b"\x0a\x01b\x12\x05\x10\x80\xca\xb5\x77\x20\x01",
            Response { wanted: Wanted::All, interval: Duration::from_nanos(250_438_912) },
        );
        // Less than nothing is nothing.
        let minus = b"\x12\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";
        check(minus, Response { wanted: these(&[]), interval: Duration::ZERO });
        for bad in [&b"\x0a\x05b"[..], b"<html>", b"\x12\x01\x08", b"\x0a\x01\xff"] {
            assert!(Response::read(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn another_counting_has_no_part_in_the_one_before() {
        let locality = |serial, issued| LocalityLoad { serial, issued, ..LocalityLoad::default() };
        let load = |serial, dropped, localities: &[LocalityLoad]| ClusterLoad {
            serial,
            dropped,
            localities: localities.to_vec(),
            ..ClusterLoad::default()
        };
        let before = load(1, 5, &[locality(2, 10), locality(3, 20)]);
        let now = load(1, 7, &[locality(3, 21), locality(4, 1)]);
        assert_eq!(now.since(Some(&before)), load(1, 2, &[locality(3, 1), locality(4, 1)]));
        let other = load(9, 6, &[locality(8, 30)]);
        assert_eq!(other.since(Some(&before)), other);
        assert_eq!(now.since(None), now);
    }
}

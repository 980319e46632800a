//! Records of an open session: sizes, splits, wrong ones, the end.

use ringway_tls::{Failure, Opened, PLAINTEXT_MAX, TlsError, Version};

use crate::common::open;

const VERSIONS: [Version; 2] = [Version::Tls12, Version::Tls13];

#[test]
fn sizes_and_pieces() {
    for version in VERSIONS {
        let mut pair = open(version);
        let sizes = [1, 2, 100, PLAINTEXT_MAX - 1, PLAINTEXT_MAX, PLAINTEXT_MAX + 1, 3 * PLAINTEXT_MAX, 100_000];
        for size in sizes {
            let bytes: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            pair.echo(&bytes);
            let pieces: Vec<&[u8]> = bytes.chunks(997).collect();
            pair.server.send(&pieces).unwrap();
            let records = size.div_ceil(PLAINTEXT_MAX);
            let overhead = if version == Version::Tls13 { 5 + 1 + 16 } else { 5 + 8 + 16 };
            assert_eq!(pair.server.output.len(), size + records * overhead);
            pair.step = 1000;
            pair.open();
            pair.step = usize::MAX;
            assert!(pair.client.received == bytes);
            pair.client.received.clear();
        }
        assert_eq!(pair.client.session.sealed_len(0), 0);
        pair.client.send(&[]).unwrap();
        assert!(pair.client.output.is_empty());
    }
}

#[test]
fn each_direction_ends_by_itself() {
    for version in VERSIONS {
        let mut pair = open(version);
        pair.client.send(&[b"last"]).unwrap();
        pair.client.session.close(&mut pair.client.output);
        let length = pair.client.output.len();
        pair.client.session.close(&mut pair.client.output);
        assert_eq!(pair.client.output.len(), length, "close_notify is sent once");
        pair.open();
        assert_eq!(pair.server.received, b"last");
        assert!(pair.server.session.peer_closed() && !pair.client.session.peer_closed());
        assert_eq!(pair.client.send(&[b"more"]).unwrap_err().failure, Failure::Internal);
        // The other direction goes on.
        pair.server.send(&[b"answer"]).unwrap();
        pair.server.session.close(&mut pair.server.output);
        pair.open();
        assert_eq!(pair.client.received, b"answer");
        assert!(pair.client.session.peer_closed());
        assert_eq!(pair.client.session.open(&mut [1, 2, 3], &mut Vec::new()), Ok(Opened::Closed));
    }
}

/// What the server makes of a record that `change` has changed, and what the client makes of the answer.
#[track_caller]
fn check(version: Version, change: impl Fn(&mut Vec<u8>), expect: Failure, alert: Option<u8>) {
    let mut pair = open(version);
    pair.client.send(&[b"something to read"]).unwrap();
    change(&mut pair.client.output);
    let (client, server) = pair.run();
    assert_eq!(server.map_err(|error| error.failure), Err(expect), "{version:?}");
    let heard = alert.map_or(Ok(()), |alert| Err(Failure::Alert(alert)));
    assert_eq!(client.map_err(|error| error.failure), heard, "{version:?}");
    let error: TlsError = pair.server.send(&[b"late"]).unwrap_err();
    assert_eq!(error.to_string(), "TLS_error: the session is over");
}

#[test]
fn wrong_records_end_the_session() {
    for version in VERSIONS {
        let last = |bytes: &mut Vec<u8>| *bytes.last_mut().unwrap() ^= 1;
        check(version, last, Failure::BadRecord, Some(20));
        check(version, |bytes| bytes[20] ^= 0x80, Failure::BadRecord, Some(20));
        check(version, |bytes| bytes[0] = 99, Failure::Protocol, Some(10));
        check(version, |bytes| bytes[0] = b'G', Failure::Protocol, Some(10));
        check(version, |bytes| bytes[1] = 2, Failure::Protocol, Some(10));
        let twice = |bytes: &mut Vec<u8>| bytes.extend_from_within(..);
        check(version, twice, Failure::BadRecord, Some(20)); // a replay
        let shorter = |bytes: &mut Vec<u8>| {
            bytes.truncate(15);
            bytes[3..5].copy_from_slice(&10_u16.to_be_bytes());
        };
        check(version, shorter, Failure::BadRecord, Some(20));
        let longest = PLAINTEXT_MAX + if version == Version::Tls13 { 256 } else { 2048 };
        let length = |length: usize| {
            move |bytes: &mut Vec<u8>| {
                bytes[3..5].copy_from_slice(&(length as u16).to_be_bytes());
                bytes.resize(5 + length, 0);
            }
        };
        check(version, length(longest), Failure::BadRecord, Some(20));
        check(version, length(longest + 1), Failure::RecordOverflow, Some(22));
    }
    check(Version::Tls13, |bytes| bytes[0] = 22, Failure::Protocol, Some(10));
}

#[test]
fn a_part_of_a_record_waits() {
    for version in VERSIONS {
        let mut pair = open(version);
        pair.client.send(&[b"something"]).unwrap();
        let mut record = std::mem::take(&mut pair.client.output);
        for cut in 0..record.len() {
            let expect = if cut < 5 { 5 } else { record.len() };
            let opened = pair.server.session.open(&mut record[..cut], &mut Vec::new());
            assert_eq!(opened, Ok(Opened::Partial(expect)));
        }
        pair.server.take(&record, usize::MAX).unwrap();
        assert_eq!(pair.server.received, b"something");
    }
}

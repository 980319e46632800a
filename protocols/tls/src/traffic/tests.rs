//! What only a peer with its hands on the records can do: KeyUpdates, split and joined messages, floods, used-up keys.

#[path = "../../tests/common/mod.rs"]
mod common;

use common::{Pair, open};

use super::{HELLO_REQUEST, IDLE_RECORDS_MAX, KEY_UPDATE, MESSAGE_MAX, NEW_SESSION_TICKET, Renewal};
use crate::options::Version;
use crate::record::{ALERT, APPLICATION_DATA, HANDSHAKE, PLAINTEXT_MAX};
use crate::{Failure, Session};

/// A record of this kind, as nobody here would send it.
fn send(session: &mut Session, content: u8, contents: &[u8], out: &mut Vec<u8>) {
    let keys = &mut session.traffic().send;
    let start = out.len();
    out.resize(start + keys.sealed_len(contents.len()), 0);
    keys.seal(content, contents, &mut out[start..]);
}

/// Our keys change as if we had said so.
fn renew(session: &mut Session) {
    let mut room = [0; 64];
    assert!(session.traffic().renew_sending(&mut room).is_ok());
}

/// Which of a client's and a server's records went out so far.
fn sequences(pair: &mut Pair) -> (u64, u64) {
    let left = |session: &mut Session| (1 << 24) - session.traffic().send.records_left();
    (left(&mut pair.client.session), left(&mut pair.server.session))
}

#[test]
fn keys_change_when_the_peer_asks() {
    for asked in [0, 1] {
        let mut pair = open(Version::Tls13);
        pair.echo(b"before");
        let (_, before) = sequences(&mut pair);
        assert!(before > 0);
        send(&mut pair.client.session, HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, asked], &mut pair.client.output);
        // `renew` seals a KeyUpdate under the old keys, too, and throws it away: the record above stands for it.
        renew(&mut pair.client.session);
        pair.open();
        assert_eq!(sequences(&mut pair), (0, if asked == 1 { 0 } else { before }));
        pair.echo(b"after");
    }
}

#[test]
fn used_up_keys_change() {
    let mut tls13 = open(Version::Tls13);
    for _ in 0..20 {
        let sent = sequences(&mut tls13).0;
        tls13.client.session.traffic().send.set_records_max(sent + 4);
        tls13.echo(&[5; 100]);
        tls13.echo(&[5; 2 * PLAINTEXT_MAX + 1]);
    }
    assert!(sequences(&mut tls13).0 <= 4);
    let mut tls12 = open(Version::Tls12);
    let sent = sequences(&mut tls12).0;
    tls12.client.session.traffic().send.set_records_max(sent + 3);
    tls12.echo(&[5; 100]);
    let error = tls12.client.session.seal([&[5; 100][..]], 100, &mut [0; 200]).unwrap_err();
    assert_eq!(error.failure, Failure::Exhausted);
    tls12.client.session.close(&mut tls12.client.output); // for which a record was kept
    tls12.open();
    assert!(tls12.server.session.peer_closed());
}

/// What the server makes of these records.
#[track_caller]
fn check(version: Version, records: &[(u8, &[u8])], expect: Result<(), (Failure, &str, u8)>) {
    let mut pair = open(version);
    for (content, contents) in records {
        send(&mut pair.client.session, *content, contents, &mut pair.client.output);
    }
    let (client, server) = pair.run();
    match expect {
        Ok(()) => assert_eq!((client, server), (Ok(()), Ok(()))),
        Err((failure, text, alert)) => {
            let error = server.unwrap_err();
            assert_eq!((error.failure, error.reason.as_str()), (failure, text));
            assert_eq!(client.unwrap_err().failure, Failure::Alert(alert));
        }
    }
}

#[test]
fn what_a_server_may_be_sent() {
    use Failure::{Protocol, RecordOverflow, Renegotiation};
    use Version::{Tls12, Tls13};
    let unexpected = |text| Err((Protocol, text, 10));
    check(Tls13, &[(APPLICATION_DATA, b""), (APPLICATION_DATA, b"a")], Ok(()));
    check(Tls13, &[(HANDSHAKE, b"")], unexpected("an empty handshake record"));
    check(Tls13, &[(HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 2])], Err((Protocol, "a KeyUpdate that is none", 47)));
    check(Tls13, &[(HANDSHAKE, &[KEY_UPDATE, 0, 0, 0])], Err((Protocol, "a KeyUpdate that is none", 47)));
    let two = [KEY_UPDATE, 0, 0, 1, 0, KEY_UPDATE, 0, 0, 1, 0];
    check(Tls13, &[(HANDSHAKE, &two)], unexpected("a message behind a KeyUpdate"));
    check(Tls13, &[(HANDSHAKE, &two[..3]), (APPLICATION_DATA, b"a")], unexpected("data within a message"));
    check(Tls13, &[(HANDSHAKE, &[NEW_SESSION_TICKET, 0, 0, 0])], unexpected("unexpected handshake message"));
    check(Tls13, &[(HANDSHAKE, &[1, 0, 0, 0])], unexpected("unexpected handshake message"));
    let length = (MESSAGE_MAX + 1) as u32;
    let long = [&[KEY_UPDATE][..], &length.to_be_bytes()[1..]].concat();
    check(Tls13, &[(HANDSHAKE, &long)], Err((Protocol, "a message that is too long", 50)));
    check(Tls13, &[(20, &[1])], unexpected("unexpected content type"));
    check(Tls13, &[(99, &[1])], unexpected("unexpected content type"));
    check(Tls13, &[(0, b"")], unexpected("a record without a content type"));
    check(Tls13, &[(ALERT, &[2])], Err((Protocol, "an alert that is none", 50)));
    check(Tls13, &[(ALERT, &[1, 90]), (APPLICATION_DATA, b"a")], Ok(()));
    check(Tls12, &[(ALERT, &[1, 46]), (APPLICATION_DATA, b"a")], Ok(()));
    let renegotiation = Err((Renegotiation, "renegotiation is refused", 100));
    check(Tls12, &[(HANDSHAKE, &[1, 0, 0, 0])], renegotiation);
    check(Tls12, &[(HANDSHAKE, &[HELLO_REQUEST, 0, 0, 0])], renegotiation);
    check(Tls12, &[(HANDSHAKE, &[1, 0, 1])], renegotiation);
    check(Tls12, &[(HANDSHAKE, &[20, 0, 0, 0])], unexpected("unexpected handshake message"));
    check(Tls13, &[(APPLICATION_DATA, &[1; PLAINTEXT_MAX])], Ok(()));
    let overflow = Err((RecordOverflow, "record too long", 22));
    check(Tls12, &[(APPLICATION_DATA, &[1; PLAINTEXT_MAX])], Ok(()));
    for version in [Tls12, Tls13] {
        check(version, &[(APPLICATION_DATA, &[1; PLAINTEXT_MAX + 1])], overflow);
    }
    // Padding counts (RFC 8446 §5.4).
    let padded = |zeros: usize| [&[1, APPLICATION_DATA][..], &vec![0; zeros]].concat();
    check(Tls13, &[(0, &padded(100))], Ok(()));
    check(Tls13, &[(0, &padded(PLAINTEXT_MAX - 2))], Ok(()));
    check(Tls13, &[(0, &padded(PLAINTEXT_MAX - 1))], overflow);
    // Fatal alerts are told, and not answered.
    for version in [Tls12, Tls13] {
        let mut pair = open(version);
        send(&mut pair.client.session, ALERT, &[2, 80], &mut pair.client.output);
        let (client, server) = pair.run();
        assert_eq!(client, Ok(()));
        let error = server.unwrap_err();
        assert_eq!((error.failure, error.reason.as_str()), (Failure::Alert(80), "peer sent alert InternalError"));
    }
}

#[test]
fn records_without_data_are_few() {
    for version in [Version::Tls12, Version::Tls13] {
        let empty: Vec<(u8, &[u8])> = vec![(APPLICATION_DATA, b""); usize::from(IDLE_RECORDS_MAX) + 1];
        check(version, &empty[1..], Ok(()));
        check(version, &empty, Err((Failure::Protocol, "too many records without data", 10)));
        let mut between = empty.clone();
        between.insert(usize::from(IDLE_RECORDS_MAX), (APPLICATION_DATA, b"data"));
        check(version, &between, Ok(()));
    }
}

#[test]
fn tickets_come_in_pieces_or_together() {
    let ticket = |nonce: u8| {
        let mut body = vec![0, 0, 0, 60, 0, 0, 0, 0, 1, nonce, 0, 4];
        body.extend_from_slice(b"tick");
        body.extend_from_slice(&[0, 0]);
        [&[NEW_SESSION_TICKET, 0, 0, body.len() as u8], body.as_slice()].concat()
    };
    let both = [ticket(1), ticket(2)].concat();
    for cut in 0..=both.len() {
        let mut pair = open(Version::Tls13);
        assert!(matches!(pair.client.session.traffic().renewal, Renewal::Client(_)));
        for piece in [&both[..cut], &both[cut..]].into_iter().filter(|piece| !piece.is_empty()) {
            send(&mut pair.server.session, HANDSHAKE, piece, &mut pair.server.output);
        }
        pair.open();
        pair.echo(b"and on");
        assert_eq!(pair.client.session.traffic().unfinished.capacity(), 0);
    }
}

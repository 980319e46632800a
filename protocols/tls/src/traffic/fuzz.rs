//! Records on an open session under its keys, in ways that no peer of ours would send them: the fuzz body of what follows a handshake.
//!
//! What must hold: no record panics a session; how the bytes are cut on their way changes nothing; data comes out as it went in, and
//! nothing behind a fault; what a session holds and what it answers is bounded.

use rustls::crypto::cipher::{AeadKey, Iv};
use rustls::{ConnectionTrafficSecrets, ExtractedSecrets};

use super::{IDLE_RECORDS_MAX, MESSAGE_HEADER, MESSAGE_MAX, Opened, Renewal, Traffic};
use crate::error::Failure;
use crate::options::Version;
use crate::record::{ALERT, APPLICATION_DATA, CHANGE_CIPHER_SPEC, HANDSHAKE, PLAINTEXT_MAX};

/// An alert, or the answer to a KeyUpdate, as a record; a session of this body has no more to say, for it cannot renew its keys.
const REPLY_MAX: usize = 64;

/// A script of records. The first byte chooses version, cipher and how the bytes are cut; then each step is a byte, whose low three bits are
/// * 0 to 3: a record of data, an alert, a handshake message, a ChangeCipherSpec, with as many of the next bytes as the next one says;
/// * 4: the same, of the kind that a further byte names, as padding does in TLS 1.3;
/// * 5: a long record of data: of 65 times the next byte, up to what a record may have;
/// * 6: the last byte so far is changed;
/// * 7: bytes that are no record.
///
/// The high bits are how often. Gives the shape of the answer.
///
/// # Panics
/// If something does not hold.
pub fn records(input: &[u8]) -> u64 {
    let Some((&first, script)) = input.split_first() else { return 0 };
    let (wire, said) = wire(first, script);
    let whole = play(first, &wire, wire.len().max(1));
    let step = usize::from(first >> 3);
    for step in [step, wire.len() / 2].into_iter().filter(|step| *step > 0) {
        assert_eq!(play(first, &wire, step), whole, "in pieces of {step}");
    }
    assert!(said.starts_with(&whole.received), "what came out was not said");
    assert!(
        whole.end.is_some() || whole.is_closed || whole.received == said || wire.len() > whole.opened,
        "data is lost"
    );
    u64::from(whole.idle_max) << 32
        | (whole.opened.min(20) as u64) << 8
        | whole.end.map_or(0, |end| 1 + end.1.len() as u64)
}

/// One direction's keys: always the same.
fn traffic(first: u8) -> Traffic {
    let secrets = || {
        let (key, iv) = (AeadKey::from([7; 32]), Iv::from([9; 12]));
        match first & 2 {
            0 => ConnectionTrafficSecrets::Aes256Gcm { key, iv },
            _ => ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv },
        }
    };
    let version = if first & 1 == 0 { Version::Tls13 } else { Version::Tls12 };
    let secrets = ExtractedSecrets { tx: (0, secrets()), rx: (0, secrets()) };
    Traffic::new(version, &secrets, Renewal::Never).expect("ciphers that are known")
}

/// What a script sends, and the data in it.
fn wire(first: u8, script: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut keys = traffic(first).send;
    let (mut wire, mut said) = (Vec::new(), Vec::new());
    let mut bytes = script.iter().copied();
    while let Some(step) = bytes.next() {
        let kind = step & 7;
        let kind_of_record = match kind {
            0 | 5 => APPLICATION_DATA,
            1 => ALERT,
            2 => HANDSHAKE,
            3 => CHANGE_CIPHER_SPEC,
            _ => bytes.next().unwrap_or(0),
        };
        let mut take = |count: usize| bytes.by_ref().take(count).collect::<Vec<u8>>();
        let size = take(1).first().map_or(0, |size| usize::from(*size));
        let contents = match kind {
            5 => vec![0x5A; (size * 65).min(PLAINTEXT_MAX)],
            6 => {
                if let Some(last) = wire.last_mut() {
                    *last ^= kind_of_record | 1;
                }
                continue;
            }
            _ => take(size),
        };
        if kind == 7 {
            wire.push(kind_of_record);
            wire.extend_from_slice(&contents);
            continue;
        }
        for _ in 0..=step >> 3 {
            let start = wire.len();
            wire.resize(start + keys.sealed_len(contents.len()), 0);
            let written = keys.seal(kind_of_record, &contents, &mut wire[start..]);
            assert_eq!(start + written, wire.len());
            // Padding names the kind last.
            let end = match (kind_of_record, first & 1) {
                (0, 0) => contents.iter().rposition(|byte| *byte != 0),
                _ => None,
            };
            match end {
                Some(end) if contents[end] == APPLICATION_DATA => said.extend_from_slice(&contents[..end]),
                None if kind_of_record == APPLICATION_DATA => said.extend_from_slice(&contents),
                _ => {}
            }
        }
    }
    (wire, said)
}

/// What a session made of it.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    received: Vec<u8>,
    reply: Vec<u8>,
    /// Bytes of records that were opened.
    opened: usize,
    idle_max: u8,
    is_closed: bool,
    end: Option<(Failure, String)>,
}

fn play(first: u8, wire: &[u8], step: usize) -> Outcome {
    let mut session = traffic(first);
    let mut outcome =
        Outcome { received: Vec::new(), reply: Vec::new(), opened: 0, idle_max: 0, is_closed: false, end: None };
    let mut held = Vec::new();
    'wire: for piece in wire.chunks(step) {
        held.extend_from_slice(piece);
        loop {
            let before = held.len();
            let opened = session.open(&mut held, &mut outcome.reply);
            assert!(session.unfinished.len() < MESSAGE_HEADER + MESSAGE_MAX, "a message without end is held");
            assert!(outcome.reply.len() <= REPLY_MAX, "the answer is too long");
            outcome.idle_max = outcome.idle_max.max(session.idle_records);
            match opened {
                Ok(Opened::Partial(length)) => {
                    assert!(length > before && length <= crate::record::RECORD_MAX);
                    break;
                }
                Ok(Opened::Record { consumed, plaintext }) => {
                    assert!(consumed > 0 && plaintext.end <= consumed && consumed <= before);
                    assert!(plaintext.len() <= PLAINTEXT_MAX && session.idle_records <= IDLE_RECORDS_MAX);
                    outcome.received.extend_from_slice(&held[plaintext]);
                    outcome.opened += consumed;
                    held.drain(..consumed);
                }
                Ok(Opened::Closed) => {
                    assert!(session.peer_closed());
                    outcome.is_closed = true;
                    break 'wire;
                }
                Err(error) => {
                    // Whoever is told why is told nothing else afterwards.
                    let told = outcome.reply.len();
                    session.close(&mut outcome.reply);
                    assert!(told == 0 || outcome.reply.len() == told);
                    outcome.end = Some((error.failure, error.reason));
                    break 'wire;
                }
            }
        }
    }
    outcome
}

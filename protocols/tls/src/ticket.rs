//! Session tickets: a server's sessions, sealed and given to the client, so that the server keeps none.
//!
//! One set of keys a context, shared by all workers. Keys that were configured never change: opening and sealing take no
//! lock. Keys of the context's own change by and by: a read lock for each ticket, a write lock at each change.
//! A ticket is bound to its context: certificates, trusted CAs and rules for clients (Envoy: the session id context). It says when it was made, and
//! opens for `session_timeout` from then on, however long its key is there: rustls asks for its age only where data came early.

use std::fmt;
use std::sync::{PoisonError, RwLock};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hkdf, rand};
use rustls::server::ProducesTickets;

use crate::error::{ContextError, Part};
use crate::options::{Clock, Secret};

/// A ticket key as Envoy has them: 16 bytes of name, 64 of secret.
const KEY_LENGTH: usize = 80;
const NAME_LENGTH: usize = 16;
const TAG_LENGTH: usize = 16;
/// The second since 1970 in which it was made stands before the session.
const MADE_LENGTH: usize = 8;
/// Ticket keys that may be configured: a fleet's rotation has three or so. Worst case 64 x 700 bytes.
const KEYS_MAX: usize = 64;

/// Two hours, as BoringSSL's sessions have by default.
pub(crate) const LIFETIME_DEFAULT_S: u32 = 7_200;
/// Seven days (RFC 8446 §4.6.1).
pub(crate) const LIFETIME_MAX_S: u32 = 604_800;

struct Key {
    name: [u8; NAME_LENGTH],
    key: LessSafeKey,
}

impl Key {
    /// The secret part is no key itself: it was made for other ciphers, so ours is derived from it.
    fn new(bytes: &[u8; KEY_LENGTH]) -> Key {
        let (name, secret) = bytes.split_at(NAME_LENGTH);
        let derived = hkdf::Salt::new(hkdf::HKDF_SHA256, b"ringway session ticket").extract(secret);
        let derived: UnboundKey =
            derived.expand(&[b"AES-256-GCM"], &AES_256_GCM).expect("32 bytes are within HKDF's limit").into();
        Key { name: name.try_into().expect("split at its length"), key: LessSafeKey::new(derived) }
    }

    fn generate() -> Option<Key> {
        let mut bytes = [0; KEY_LENGTH];
        rand::fill(&mut bytes).ok()?;
        Some(Key::new(&bytes))
    }
}

enum Keys {
    /// The first seals.
    Fixed(Vec<Key>),
    Rotating(RwLock<Rotating>),
}

struct Rotating {
    /// The second until which `current` seals.
    until: u64,
    current: Key,
    previous: Option<Key>,
}

/// A context's ticket keys.
pub(crate) struct TicketKeys {
    keys: Keys,
    lifetime_s: u32,
    /// What tickets are bound to.
    context: [u8; 32],
    clock: Clock,
}

impl fmt::Debug for TicketKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketKeys").field("lifetime_s", &self.lifetime_s).finish_non_exhaustive()
    }
}

impl TicketKeys {
    /// Keys that were configured.
    pub(crate) fn fixed(
        secrets: &[Secret],
        lifetime_s: u32,
        context: [u8; 32],
        clock: Clock,
    ) -> Result<TicketKeys, ContextError> {
        if secrets.is_empty() || secrets.len() > KEYS_MAX {
            return Err(ContextError::new(Part::TicketKey(0), format!("there are none, or more than {KEYS_MAX}")));
        }
        let one = |(index, secret): (usize, &Secret)| {
            let length = secret.bytes().len();
            let bytes = secret.bytes().try_into().map_err(|_| {
                ContextError::new(Part::TicketKey(index), format!("it has {length} bytes, not {KEY_LENGTH}"))
            })?;
            Ok(Key::new(bytes))
        };
        let keys = secrets.iter().enumerate().map(one).collect::<Result<_, _>>()?;
        Ok(TicketKeys { keys: Keys::Fixed(keys), lifetime_s, context, clock })
    }

    /// Keys of our own. `None` without random bytes or time.
    pub(crate) fn generated(lifetime_s: u32, context: [u8; 32], clock: Clock) -> Option<TicketKeys> {
        let until = clock.now()?.as_secs() + u64::from(lifetime_s);
        let rotating = Rotating { until, current: Key::generate()?, previous: None };
        Some(TicketKeys { keys: Keys::Rotating(RwLock::new(rotating)), lifetime_s, context, clock })
    }

    /// Changes the keys when it is time: who was sealed with the last ones may come for one lifetime more.
    fn rotate(&self, rotating: &RwLock<Rotating>, now: u64) {
        if now < rotating.read().unwrap_or_else(PoisonError::into_inner).until {
            return;
        }
        let Some(next) = Key::generate() else { return };
        let mut held = rotating.write().unwrap_or_else(PoisonError::into_inner);
        if now < held.until {
            return; // another worker was faster
        }
        let recent = now < held.until + u64::from(self.lifetime_s);
        let last = std::mem::replace(&mut held.current, next);
        held.previous = recent.then_some(last);
        held.until = now + u64::from(self.lifetime_s);
    }

    fn seal(&self, key: &Key, plain: &[u8], now: u64) -> Option<Vec<u8>> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).ok()?;
        let mut ticket = Vec::with_capacity(NAME_LENGTH + NONCE_LEN + MADE_LENGTH + plain.len() + TAG_LENGTH);
        ticket.extend_from_slice(&key.name);
        ticket.extend_from_slice(&nonce);
        ticket.extend_from_slice(&now.to_be_bytes());
        ticket.extend_from_slice(plain);
        let nonce = Nonce::assume_unique_for_key(nonce);
        let sealed = &mut ticket[NAME_LENGTH + NONCE_LEN..];
        let tag = key.key.seal_in_place_separate_tag(nonce, Aad::from(self.context), sealed).ok()?;
        ticket.extend_from_slice(tag.as_ref());
        Some(ticket)
    }

    fn open(&self, key: &Key, ticket: &[u8], now: u64) -> Option<Vec<u8>> {
        let (nonce, sealed) = ticket[NAME_LENGTH..].split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut plain = sealed.to_vec();
        let opened = key.key.open_in_place(nonce, Aad::from(self.context), &mut plain).ok()?;
        let (made, session) = opened.split_first_chunk::<MADE_LENGTH>()?;
        // Of another member of a fleet, whose clock is ahead, it may be of the future.
        let age_s = now.saturating_sub(u64::from_be_bytes(*made));
        (age_s <= u64::from(self.lifetime_s)).then(|| session.to_vec())
    }

    fn now(&self) -> Option<u64> {
        Some(self.clock.now()?.as_secs())
    }
}

impl ProducesTickets for TicketKeys {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        self.lifetime_s
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let now = self.now()?;
        match &self.keys {
            Keys::Fixed(keys) => self.seal(keys.first()?, plain, now),
            Keys::Rotating(rotating) => {
                self.rotate(rotating, now);
                self.seal(&rotating.read().unwrap_or_else(PoisonError::into_inner).current, plain, now)
            }
        }
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        let (name, now) = (cipher.get(..NAME_LENGTH)?, self.now()?);
        match &self.keys {
            Keys::Fixed(keys) => self.open(keys.iter().find(|key| key.name == name)?, cipher, now),
            Keys::Rotating(rotating) => {
                self.rotate(rotating, now);
                let held = rotating.read().unwrap_or_else(PoisonError::into_inner);
                let mut keys = std::iter::once(&held.current).chain(&held.previous);
                self.open(keys.find(|key| key.name == name)?, cipher, now)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(byte: u8) -> Secret {
        Secret::new(vec![byte; KEY_LENGTH])
    }

    fn keys(secrets: &[Secret], context: u8) -> TicketKeys {
        TicketKeys::fixed(secrets, 60, [context; 32], Clock::fixed(0)).unwrap()
    }

    #[test]
    fn who_has_the_key_opens() {
        let ticket = keys(&[secret(1)], 0).encrypt(b"session").unwrap();
        let opened = |secrets: &[Secret], context| keys(secrets, context).decrypt(&ticket);
        assert_eq!(opened(&[secret(1)], 0).as_deref(), Some(&b"session"[..]));
        assert_eq!(opened(&[secret(2), secret(1)], 0).as_deref(), Some(&b"session"[..]));
        assert_eq!(opened(&[secret(2)], 0), None);
        assert_eq!(opened(&[secret(1)], 1), None); // another context
        for cut in 0..ticket.len() {
            assert_eq!(keys(&[secret(1)], 0).decrypt(&ticket[..cut]), None);
        }
    }

    /// Guards against a session that lives as long as its key, which an operator may never change.
    #[test]
    fn a_ticket_grows_old_though_its_key_does_not() {
        let mut keys = keys(&[secret(1)], 0);
        keys.clock = Clock::fixed(1_000);
        let ticket = keys.encrypt(b"session").unwrap();
        // Of a clock that is behind it was made in the future.
        for (now, opens) in [(900, true), (1_000, true), (1_060, true), (1_061, false), (u64::MAX, false)] {
            keys.clock = Clock::fixed(now);
            assert_eq!(keys.decrypt(&ticket).is_some(), opens, "{now}");
        }
    }

    #[test]
    fn own_keys_change() {
        let mut keys = TicketKeys::generated(60, [0; 32], Clock::fixed(1_000)).unwrap();
        let first = keys.encrypt(b"a").unwrap();
        let opens = |keys: &mut TicketKeys, now, ticket: &[u8]| {
            keys.clock = Clock::fixed(now);
            keys.decrypt(ticket).is_some()
        };
        assert!(opens(&mut keys, 1_059, &first));
        let late = keys.encrypt(b"b").unwrap();
        assert!(opens(&mut keys, 1_060, &first)); // the last key, one lifetime more
        let second = keys.encrypt(b"c").unwrap();
        assert_eq!(first[..NAME_LENGTH], late[..NAME_LENGTH]);
        assert_ne!(first[..NAME_LENGTH], second[..NAME_LENGTH]);
        assert!(!opens(&mut keys, 1_061, &first));
        assert!(opens(&mut keys, 1_119, &late));
        assert!(opens(&mut keys, 1_120, &second));
        assert!(!opens(&mut keys, 1_120, &late));
        assert!(!opens(&mut keys, 1_000_000, &second)); // nobody came for long: nothing of old opens
    }

    #[test]
    fn lengths_are_checked() {
        let error =
            TicketKeys::fixed(&[secret(1), Secret::new(vec![7; 79])], 60, [0; 32], Clock::fixed(0)).unwrap_err();
        assert_eq!(error, ContextError::new(Part::TicketKey(1), "it has 79 bytes, not 80"));
    }
}

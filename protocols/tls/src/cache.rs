//! A client's sessions, kept for resumption by server name.
//!
//! One cache a context, shared by all workers, bounded. Its lock is only tried: who finds it taken makes a full handshake,
//! or keeps nothing; no worker ever waits for another.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard};

use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls_pki_types::ServerName;

/// Sessions that one context keeps at most, whatever `max_session_keys` says. A session takes 1 to 4 KiB (the server's chain is in
/// it); worst case 16 MiB a context.
pub(crate) const SESSIONS_MAX: usize = 4096;
/// Server names whose group is remembered, so that the first ClientHello has the right key share; 300 bytes each.
const GROUPS_MAX: usize = 64;

enum Session {
    Tls12(Tls12ClientSessionValue),
    Tls13(Tls13ClientSessionValue),
}

#[derive(Default)]
struct Kept {
    /// The newest last.
    sessions: VecDeque<(ServerName<'static>, Session)>,
    groups: VecDeque<(ServerName<'static>, NamedGroup)>,
}

/// The cache of one context.
pub(crate) struct SessionCache {
    sessions_max: usize,
    kept: Mutex<Kept>,
}

impl fmt::Debug for SessionCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionCache").field("sessions_max", &self.sessions_max).finish_non_exhaustive()
    }
}

impl SessionCache {
    pub(crate) fn new(sessions_max: u32) -> SessionCache {
        let sessions_max = usize::try_from(sessions_max).map_or(SESSIONS_MAX, |most| most.min(SESSIONS_MAX));
        SessionCache { sessions_max, kept: Mutex::default() }
    }

    fn kept(&self) -> Option<MutexGuard<'_, Kept>> {
        self.kept.try_lock().ok()
    }

    fn insert(&self, name: ServerName<'static>, session: Session) {
        let Some(mut kept) = self.kept() else { return };
        if kept.sessions.len() >= self.sessions_max {
            kept.sessions.pop_front();
        }
        kept.sessions.push_back((name, session));
    }
}

impl ClientSessionStore for SessionCache {
    fn set_kx_hint(&self, server_name: ServerName<'static>, group: NamedGroup) {
        let Some(mut kept) = self.kept() else { return };
        kept.groups.retain(|(name, _)| *name != server_name);
        if kept.groups.len() >= GROUPS_MAX {
            kept.groups.pop_front();
        }
        kept.groups.push_back((server_name, group));
    }

    fn kx_hint(&self, server_name: &ServerName<'_>) -> Option<NamedGroup> {
        self.kept()?.groups.iter().find(|(name, _)| name == server_name).map(|(_, group)| *group)
    }

    fn set_tls12_session(&self, server_name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.remove_tls12_session(&server_name);
        self.insert(server_name, Session::Tls12(value));
    }

    fn tls12_session(&self, server_name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.kept()?.sessions.iter().rev().find_map(|(name, session)| match session {
            Session::Tls12(value) if name == server_name => Some(value.clone()),
            _ => None,
        })
    }

    fn remove_tls12_session(&self, server_name: &ServerName<'static>) {
        let Some(mut kept) = self.kept() else { return };
        kept.sessions.retain(|(name, session)| name != server_name || matches!(session, Session::Tls13(_)));
    }

    fn insert_tls13_ticket(&self, server_name: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.insert(server_name, Session::Tls13(value));
    }

    /// The newest, which is used once (RFC 8446 §C.4).
    fn take_tls13_ticket(&self, server_name: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        let mut kept = self.kept()?;
        let at = kept
            .sessions
            .iter()
            .rposition(|(name, session)| name == server_name && matches!(session, Session::Tls13(_)))?;
        match kept.sessions.remove(at) {
            Some((_, Session::Tls13(value))) => Some(value),
            _ => None,
        }
    }
}

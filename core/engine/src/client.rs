//! Who the client of a request is: the peer, or whom a proxy before us tells of (Envoy, "x-forwarded-for").

use std::net::{IpAddr, SocketAddr};

use ringway_model::HeaderRules;
use ringway_protocols::{Known, Request};

use crate::connection::Downstream;

/// Who the client is, as far as x-forwarded-for can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    /// `None`: the peer, or nobody knows.
    pub(crate) told: Option<IpAddr>,
    /// The one address on the way that is known is ours.
    pub(crate) is_internal: bool,
    /// It comes from outside, and we are the first of ours to see it.
    pub(crate) is_edge: bool,
}

impl Client {
    /// Nothing is told of it.
    const UNKNOWN: Client = Client { told: None, is_internal: false, is_edge: false };

    /// Reads the addresses of x-forwarded-for, the last one first. `peer` is asked for only where it counts.
    pub(crate) fn of<'l>(
        rules: &HeaderRules,
        last_first: impl Iterator<Item = &'l [u8]>,
        peer: impl FnOnce() -> Option<IpAddr>,
    ) -> Self {
        let mut last_first = last_first.peekable();
        let is_forwarded = last_first.peek().is_some();
        let hops = rules.trusted_hops as usize;
        if !rules.use_remote_address {
            let told = last_first.nth(hops).and_then(address);
            let is_single = hops == 0 && last_first.next().is_none();
            let is_internal = is_single && told.is_some_and(|ip| rules.is_internal(ip));
            return Self { told, is_internal, is_edge: false };
        }
        let told = hops.checked_sub(1).and_then(|skipped| last_first.nth(skipped)).and_then(address);
        let told = told.or_else(peer);
        let is_internal = !is_forwarded && told.map_or(rules.internal_pipe, |ip| rules.is_internal(ip));
        Self { told, is_internal, is_edge: !is_internal }
    }

    /// The address that logs call the client's; one that was told has no port.
    pub(crate) fn address(self, peer: Option<SocketAddr>) -> Option<SocketAddr> {
        match (self.told, peer) {
            (Some(told), Some(peer)) if told == peer.ip() => Some(peer),
            (Some(told), _) => Some(SocketAddr::new(told, 0)),
            (None, peer) => peer,
        }
    }
}

fn address(text: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

/// The addresses of all x-forwarded-for fields, the last one first.
pub(crate) fn forwarded<'r>(request: &Request<'r>) -> impl Iterator<Item = &'r [u8]> + use<'r> {
    request.fields_of(Known::XForwardedFor).rev().flat_map(|list| list.rsplit(|&byte| byte == b','))
}

/// The client of a request on this connection.
#[inline]
pub(crate) fn of(connection: &Downstream, rules: &HeaderRules, request: &Request<'_>) -> Client {
    of_peer(|| connection.addresses().1.map(|peer| peer.ip()), rules, request)
}

/// The client of a request that this peer has sent.
#[inline]
pub(crate) fn of_peer(peer: impl FnOnce() -> Option<IpAddr>, rules: &HeaderRules, request: &Request<'_>) -> Client {
    if !rules.use_remote_address && !request.has(Known::XForwardedFor) {
        return Client::UNKNOWN;
    }
    Client::of(rules, forwarded(request), peer)
}

#[cfg(test)]
mod tests {
    use ringway_model::Cidr;

    use super::*;

    #[track_caller]
    fn check(rules: &HeaderRules, forwarded: Option<&str>, told: Option<&str>, is_internal: bool, is_edge: bool) {
        let peer = || Some("127.0.0.1".parse().expect("an address"));
        let told = told.map(|text| text.parse().expect("an address"));
        let entries = forwarded.map(|list| list.as_bytes().rsplit(|&byte| byte == b',')).into_iter().flatten();
        let found = Client::of(rules, entries, peer);
        assert_eq!(found, Client { told, is_internal, is_edge }, "{forwarded:?}");
    }

    /// Each as Envoy 1.40 decides.
    #[test]
    fn who_the_client_is() {
        let internal = vec![
            Cidr::new("10.0.0.0".parse().expect("an address"), 8),
            Cidr::new("127.0.0.0".parse().expect("an address"), 8),
        ];
        let told = HeaderRules::default();
        check(&told, None, None, false, false);
        check(&told, Some("1.2.3.4, 10.0.0.1"), Some("10.0.0.1"), false, false);
        check(&told, Some("10.0.0.1"), Some("10.0.0.1"), false, false);
        check(&told, Some("bad"), None, false, false);
        let told = HeaderRules { internal: internal.clone(), ..told };
        check(&told, Some("10.0.0.1"), Some("10.0.0.1"), true, false);
        check(&told, Some("1.1.1.1,10.0.0.1"), Some("10.0.0.1"), false, false);
        check(&told, None, None, false, false);
        let hops = HeaderRules { trusted_hops: 1, ..told };
        check(&hops, Some("10.0.0.1"), None, false, false);
        check(&hops, Some("10.0.0.1, 2.2.2.2"), Some("10.0.0.1"), false, false);
        let remote = HeaderRules { use_remote_address: true, ..HeaderRules::default() };
        check(&remote, None, Some("127.0.0.1"), false, true);
        check(&remote, Some("10.0.0.1"), Some("127.0.0.1"), false, true);
        let remote = HeaderRules { internal, ..remote };
        check(&remote, None, Some("127.0.0.1"), true, false);
        check(&remote, Some("10.0.0.1"), Some("127.0.0.1"), false, true);
        let hops = HeaderRules { trusted_hops: 1, ..remote };
        check(&hops, Some("1.2.3.4, 5.6.7.8"), Some("5.6.7.8"), false, true);
        check(&hops, Some("bad"), Some("127.0.0.1"), false, true);
    }
}

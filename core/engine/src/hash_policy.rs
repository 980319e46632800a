//! What of a request says which endpoint it goes to: the model's policies, asked about a request as the connection manager leaves it.
//!
//! Envoy asks before the route changes anything, and after it has written its own fields.

use std::net::IpAddr;

use ringway_model::hash::hash_of_ends;
use ringway_model::{
    Action, Caches, ForwardAction, HashPolicy, HashSource, Hashed, Position, RequestView, RouteConfiguration, Subject,
};
use ringway_protocols::Request;

use crate::client;
use crate::connection::Downstream;
use crate::fields::Fields;
use crate::hop::RequestHop;
use crate::view::CoreChain;

/// The hash of a request by the policies of its route.
#[inline(never)]
pub(crate) fn hashed(
    (connection, chain): (&Downstream, &CoreChain),
    action: &ForwardAction,
    (request, received): (&Request<'_>, &impl RequestView),
    caches: &mut Caches,
    hop: &RequestHop<'_>,
) -> Hashed {
    let policies = &action.hash_policies;
    if policies.is_empty() {
        return Hashed::default();
    }
    let worker = &*connection.worker;
    let fields = &mut *worker.fields.borrow_mut();
    fields.clear();
    // Only a field that this hop has a say in is another one now.
    if policies
        .iter()
        .any(|policy| matches!(&policy.source, HashSource::Header(Subject::Field(name), _) if is_hops(name)))
    {
        hop.apply(fields);
    }
    let prepared = Prepared { received, fields };
    let client = || -> Option<IpAddr> {
        let peer = connection.addresses().1;
        client::of(connection, &chain.http.headers, request).address(peer).map(|address| address.ip())
    };
    let values = &mut worker.rewritten.borrow_mut().hashed;
    HashPolicy::hash(policies, &prepared, client, || fresh(connection), &mut caches.regexes, values)
}

/// Adds the cookies that a client is given: those of the policies whose bits are set.
#[cold]
pub(crate) fn give(
    connection: &Downstream,
    routes: &RouteConfiguration,
    at: Position,
    given: u32,
    fields: &mut Fields,
) {
    let Action::Forward(action) = &routes.at(at).route.action else { return };
    let text = &mut connection.worker.rewritten.borrow_mut().path;
    for (_, policy) in action.hash_policies.iter().enumerate().filter(|(at, _)| given & 1 << at != 0) {
        if let HashSource::Cookie(cookie) = &policy.source {
            text.clear();
            cookie.write(fresh(connection), text);
            fields.add("set-cookie", text);
        }
    }
}

/// The value of a cookie of ours: one for all requests of a connection, whichever of them is first.
fn fresh(connection: &Downstream) -> u64 {
    let arrived = connection.arrived();
    match (arrived.peer, arrived.local) {
        (Some(peer), Some(local)) => hash_of_ends([&peer, &local]),
        // Both ends of a unix socket go by its path.
        _ => {
            let path = connection.pipe().unwrap_or_default();
            hash_of_ends([&path, &path])
        }
    }
}

/// Whether it may be a field that the hop writes or takes away.
fn is_hops(name: &str) -> bool {
    let begins = ["x-envoy-", "x-forwarded-", "x-request-id"];
    begins.iter().any(|begin| name.starts_with(begin))
        || ["via", "user-agent", "expect", "max-forwards"].contains(&name)
}

/// A request with what the connection manager has changed in it.
struct Prepared<'a, R> {
    received: &'a R,
    fields: &'a Fields,
}

impl<R: RequestView> RequestView for Prepared<'_, R> {
    fn method(&self) -> &[u8] {
        self.received.method()
    }

    fn authority(&self) -> &[u8] {
        self.received.authority()
    }

    fn path(&self) -> &[u8] {
        self.received.path()
    }

    fn scheme(&self) -> &[u8] {
        self.received.scheme()
    }

    fn values<'r>(&'r self, name: &'r str) -> impl Iterator<Item = &'r [u8]> {
        let received = (!self.fields.is_removed(name)).then(|| self.received.values(name));
        received.into_iter().flatten().chain(self.fields.added(name))
    }
}

//! Delta: each request names what is wanted more or less than before, each response has what is different.

use std::iter::empty;

use super::interest::WILDCARD;
use super::request::{self, Common};
use super::subscription::{Phase, Subscription};

/// The next request of this type, where there is something to say. An answer and a change of what is wanted are two: a
/// change has no nonce (xDS, "Subscribing to Resources"), and a server that finds the nonce of an answer stale may pass
/// over all that is in it.
pub(super) fn request(subscription: &mut Subscription, node: Option<&[u8]>) -> Option<Vec<u8>> {
    let url = subscription.kind.url();
    let mut common = Common { node, type_url: &url, nonce: "", error: None };
    match &mut subscription.phase {
        Phase::Silent => {
            let next = subscription.next()?;
            // The wildcard alone is an empty list, which servers of before `*` know, too.
            let is_implicit = next.is_wildcard && next.names.is_empty();
            let names = next.spelt().filter(|name| !(is_implicit && *name == WILDCARD));
            let versions = subscription.held.iter().map(|(name, held)| (name.as_str(), held.version.as_str()));
            let bytes = request::delta(&common, names, empty(), versions);
            subscription.told(next, !is_implicit);
            Some(bytes)
        }
        Phase::Asked { owed: owed @ Some(_), .. } => {
            let answer = owed.take().expect("it is some");
            (common.nonce, common.error) = (&answer.nonce, answer.error.as_deref());
            Some(request::delta(&common, empty(), empty(), empty()))
        }
        Phase::Asked { .. } => {
            let next = subscription.next()?;
            let before = subscription.told(next.clone(), true);
            Some(request::delta(&common, next.beyond(&before), before.beyond(&next), empty()))
        }
    }
}

//! State of the world: each request names all that is wanted, each response has the whole of it.

use std::sync::Arc;

use super::interest::WILDCARD;
use super::request::{self, Common};
use super::subscription::{Answer, Phase, Subscription};

/// The next request of this type, where there is something to say.
pub(super) fn request(subscription: &mut Subscription, node: Option<&[u8]>) -> Option<Vec<u8>> {
    let next = subscription.next();
    let mut version = subscription.version.as_str();
    let (answer, has_named, names) = match &mut subscription.phase {
        // What was held when the last stream ended is still held; nonces end with their stream. A version says "I have
        // all of that", and a server that believes it sends nothing: where a name is wanted that is not held, it would
        // be wrong.
        Phase::Silent => {
            let names = next?;
            if !names.names.iter().all(|name| subscription.held.contains_key(name)) {
                version = "";
            }
            (Answer { nonce: String::new(), error: None }, false, names)
        }
        Phase::Asked { sent, has_named, nonce, owed } => {
            let answer = match (owed.take(), &next) {
                (Some(answer), _) => answer,
                (None, None) => return None,
                (None, Some(_)) => Answer { nonce: nonce.clone(), error: None },
            };
            (answer, *has_named, next.unwrap_or_else(|| Arc::clone(sent)))
        }
    };
    let url = subscription.kind.url();
    let common = Common { node, type_url: &url, nonce: &answer.nonce, error: answer.error.as_deref() };
    // xDS, "How the client specifies what resources to return": an empty list is the wildcard until a name has been
    // said, and from then on none at all.
    let is_implicit = names.is_wildcard && names.names.is_empty() && !has_named;
    let spelt = names.spelt().filter(|name| !(is_implicit && *name == WILDCARD));
    let bytes = request::state_of_the_world(&common, version, spelt);
    let says_names = !is_implicit && !names.is_empty();
    subscription.told(names, says_names);
    Some(bytes)
}

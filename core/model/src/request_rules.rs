//! What a connection manager makes of a request's head before anything looks at it: routes, logs and origins see what is left.

use crate::{HostRules, PathRules};

/// See the module. The default, Envoy's, is to change nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestRules {
    /// What is made of the path.
    pub path: PathRules,
    /// What is made of the host.
    pub host: HostRules,
    /// `common_http_protocol_options.headers_with_underscores_action`.
    pub underscores: Underscores,
}

/// `HeadersWithUnderscoresAction`. Many servers take `x_a` for `x-a`, and so for another field than we looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Underscores {
    /// `ALLOW`
    #[default]
    Allow,
    /// `REJECT_REQUEST`
    Reject,
    /// `DROP_HEADER`
    Drop,
}

impl RequestRules {
    /// Whether they change nothing, whatever the request.
    #[inline]
    pub fn is_none(&self) -> bool {
        *self == RequestRules::default()
    }
}

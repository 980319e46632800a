//! Which protocols a client may ask to change to (`upgrade_configs`), and the question whether it may.
//!
//! CONNECT is one of them, under that very name. A route's word counts before the connection manager's (Envoy,
//! `HttpConnectionManagerConfig::createUpgradeFilterChain`).

/// `HttpConnectionManager.UpgradeConfig` and `RouteAction.UpgradeConfig`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// `upgrade_type`: what the request's `Upgrade` says (compared without case), or `CONNECT`.
    pub kind: String,
    /// `enabled`; true where the file says nothing.
    pub enabled: bool,
    /// `connect_config` is set: a CONNECT ends here, and its content goes to the cluster as it is. Routes alone.
    pub terminates: bool,
}

impl Upgrade {
    /// The one of this kind.
    pub fn find<'u>(upgrades: &'u [Upgrade], kind: &[u8]) -> Option<&'u Upgrade> {
        upgrades.iter().find(|upgrade| upgrade.kind.as_bytes().eq_ignore_ascii_case(kind))
    }

    /// Whether a client may ask for `kind`, where `manager` and `route` say so or not.
    pub fn allows(manager: &[Upgrade], route: &[Upgrade], kind: &[u8]) -> bool {
        let said = Upgrade::find(route, kind).or_else(|| Upgrade::find(manager, kind));
        said.is_some_and(|upgrade| upgrade.enabled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_decides_before_the_connection_manager() {
        let list = |kind: &str, enabled| vec![Upgrade { kind: kind.into(), enabled, terminates: false }];
        let none = Vec::new;
        for (manager, route, expect) in [
            (none(), none(), false),
            (list("websocket", true), none(), true),
            (list("websocket", false), none(), false),
            (list("other", true), none(), false),
            (list("websocket", true), list("WebSocket", false), false),
            (list("websocket", false), list("websocket", true), true),
            (none(), list("websocket", true), true),
            (list("websocket", true), list("other", false), true),
        ] {
            assert_eq!(Upgrade::allows(&manager, &route, b"WEBSOCKET"), expect, "{manager:?} {route:?}");
        }
    }
}

//! Upgrades and CONNECT: which become tunnels, and what is refused.

use super::{Class, Front};
use crate::judge::differential::case::Case;
use crate::lab::chance::Chance;

pub(super) const CLASS: Class =
    Class { name: "upgrades", fronts: &[Front { name: "upgrades", ..Front::PLAIN }], cases, ..Class::PLAIN };

// Still to come: fronts with upgrade_configs, and tunnels (`Case::tunnel`).
fn cases(chance: &mut Chance, _count: usize) -> Vec<Case> {
    ODD.iter().map(|(name, text)| Case::raw(chance, name, "GET", text)).collect()
}

const ODD: &[(&str, &str)] = &[
    (
        "an upgrade that nobody granted",
        "GET /a/x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    ),
    (
        "an upgrade to h2c",
        "GET /a/x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n",
    ),
];

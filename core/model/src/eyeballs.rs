//! The order in which the addresses of one endpoint are tried.

use std::net::SocketAddr;

/// `UpstreamConnectionOptions.HappyEyeballsConfig`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HappyEyeballs {
    /// `first_address_family_version`; `None` (DEFAULT): that of the first address.
    pub first: Option<Family>,
    /// `first_address_family_count`: so many of that family come before one of the other. Envoy: 1.
    pub count: u32,
}

/// `FirstAddressFamilyVersion`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `V4`
    V4,
    /// `V6`
    V6,
}

impl Default for HappyEyeballs {
    fn default() -> Self {
        Self { first: None, count: 1 }
    }
}

impl HappyEyeballs {
    /// RFC 8305 §4 as Envoy reads it: `count` of the first family, one of the other, and so on; what is left of one family comes
    /// last. Within a family the order stays. Fewer than two addresses: nothing, there is no order then.
    pub fn order(self, addresses: &[SocketAddr]) -> Vec<SocketAddr> {
        let [one, _, ..] = addresses else { return Vec::new() };
        let starts_with_v4 = self.first.map_or(one.is_ipv4(), |family| family == Family::V4);
        let of = |is_v4: bool| addresses.iter().filter(move |address| address.is_ipv4() == is_v4).copied();
        let (mut first, mut other) = (of(starts_with_v4), of(!starts_with_v4));
        let mut ordered = Vec::with_capacity(addresses.len());
        while ordered.len() < addresses.len() {
            ordered.extend(first.by_ref().take(self.count.max(1) as usize));
            ordered.extend(other.next());
        }
        ordered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Addresses by a letter each, IPv6 by a capital one. The rows of eight are what Envoy 1.40 tried.
    #[track_caller]
    fn check(first: Option<Family>, count: u32, addresses: &str, expect: &str) {
        let at = |letter: char| {
            let ip = if letter.is_ascii_uppercase() { "::1" } else { "127.0.0.1" };
            SocketAddr::new(ip.parse().expect("an address"), letter as u16)
        };
        let addresses: Vec<SocketAddr> = addresses.chars().map(at).collect();
        let ordered = HappyEyeballs { first, count }.order(&addresses);
        let found: String = ordered.iter().map(|address| char::from(address.port() as u8)).collect();
        assert_eq!(found, expect, "{first:?} {count}");
    }

    #[test]
    fn families_take_turns() {
        const EIGHT: &str = "abCdeFGh";
        check(None, 1, "", "");
        check(None, 1, "a", "");
        check(None, 1, "ba", "ba");
        check(None, 1, "Abc", "Abc");
        check(Some(Family::V4), 1, "Abc", "bAc");
        check(Some(Family::V6), 1, "abc", "abc");
        check(None, 1, EIGHT, "aCbFdGeh");
        check(Some(Family::V6), 2, EIGHT, "CFaGbdeh");
        check(Some(Family::V4), 2, EIGHT, "abCdeFhG");
        check(None, 3, EIGHT, "abdCehFG");
    }
}

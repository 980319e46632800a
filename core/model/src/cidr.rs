//! `envoy.config.core.v3.CidrRange`: the addresses that begin alike.
//!
//! Invariant: the bits behind the prefix are zero, so that equal ranges are equal values.

use std::fmt;
use std::net::IpAddr;

/// A range of addresses of one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// The addresses that have the first `prefix` bits of this one; a longer prefix than the address is the whole address, as in
    /// Envoy.
    pub fn new(address: IpAddr, prefix: u32) -> Self {
        let (address, bits) = match address {
            IpAddr::V4(of) => {
                let behind = u32::MAX.checked_shr(prefix).unwrap_or(0);
                (IpAddr::from((u32::from(of) & !behind).to_be_bytes()), 32)
            }
            IpAddr::V6(of) => {
                let behind = u128::MAX.checked_shr(prefix).unwrap_or(0);
                (IpAddr::from((u128::from(of) & !behind).to_be_bytes()), 128)
            }
        };
        Self { address, prefix: prefix.min(bits) as u8 }
    }

    /// Its first address.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// How many bits all of its addresses share.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Whether an address is in the range. One of the other family never is.
    pub fn contains(self, address: IpAddr) -> bool {
        Self::new(address, self.prefix.into()).address == self.address
    }
}

/// `10.0.0.0/8`.
impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(range: (&str, u32), address: &str, expect: bool) {
        let ip = |text: &str| text.parse().expect("an address");
        assert_eq!(Cidr::new(ip(range.0), range.1).contains(ip(address)), expect, "{range:?} {address}");
    }

    #[test]
    fn ranges_hold_what_has_their_prefix() {
        for (range, address, expect) in [
            (("10.0.0.0", 8), "10.255.1.2", true),
            (("10.0.0.0", 8), "11.0.0.0", false),
            (("10.1.2.3", 32), "10.1.2.3", true),
            (("10.1.2.3", 99), "10.1.2.2", false),
            (("10.1.2.3", 0), "200.1.1.1", true),
            (("fd00::", 8), "fd12::1", true),
            (("fd00::", 8), "fe80::1", false),
            (("::", 0), "fe80::1", true),
            (("::", 0), "1.2.3.4", false),
            (("::1", 128), "::1", true),
            (("::ffff:10.0.0.0", 104), "10.0.0.1", false),
        ] {
            check(range, address, expect);
        }
    }

    #[test]
    fn equal_ranges_are_equal_values() {
        let range = |text: &str, prefix| Cidr::new(text.parse().expect("an address"), prefix);
        assert_eq!(range("10.1.2.3", 8), range("10.0.0.0", 8));
        assert_eq!(
            (range("10.1.2.3", 8).address(), range("10.1.2.3", 8).prefix()),
            (range("10.0.0.0", 32).address(), 8)
        );
        assert_eq!(range("fd00::1", 0), range("::", 0));
        assert_eq!(range("10.1.2.3", 33), range("10.1.2.3", 32));
        assert_ne!(range("10.0.0.0", 8), range("10.0.0.0", 9));
    }
}

//! The two hashes that Envoy balances by. A fleet of both kinds agrees on endpoints only where every bit agrees.
//!
//! Neither keeps anybody from choosing where its requests go: they are for even shares, not for secrets.

use std::fmt::Display;
use std::io::Write;
use std::net::IpAddr;

/// xxHash64 (<https://xxhash.com>, "XXH64 algorithm description") with a seed.
#[inline]
pub fn xx_hash(bytes: &[u8], seed: u64) -> u64 {
    twox_hash::XxHash64::oneshot(seed, bytes)
}

/// The hash of an address: that of its text, as Envoy writes it. One of IPv4 is that whatever the family of its socket.
pub fn hash_of_ip(ip: IpAddr) -> u64 {
    let mut text = [0; IP_TEXT_MAX];
    let mut rest = &mut text[..];
    write!(rest, "{}", ip.to_canonical()).expect("it fits");
    let left = rest.len();
    xx_hash(&text[..IP_TEXT_MAX - left], 0)
}

/// The longest: eight groups of four digits.
const IP_TEXT_MAX: usize = 39;

/// The hash of two ends of a connection: that of their texts, one behind the other.
pub fn hash_of_ends(ends: [&dyn Display; 2]) -> u64 {
    let mut text = [0; 2 * END_TEXT_MAX];
    let mut rest = &mut text[..];
    // What is longer than any address counts as far as it fits.
    let _ = write!(rest, "{}{}", ends[0], ends[1]);
    let left = rest.len();
    xx_hash(&text[..2 * END_TEXT_MAX - left], 0)
}

/// An address with its port, or the path of a unix socket.
const END_TEXT_MAX: usize = 108;

/// MurmurHash2, 64 bits, with the seed and the finish of libstdc++'s `std::hash`: Envoy's `MURMUR_HASH_2`.
pub(crate) fn murmur_hash(bytes: &[u8]) -> u64 {
    const SEED: u64 = 0xc70f_6907;
    const FACTOR: u64 = 0xc6a4_a793_5bd1_e995;
    let mix = |value: u64| value ^ value >> 47;
    let (words, rest) = bytes.as_chunks::<8>();
    let mut hash = SEED ^ (bytes.len() as u64).wrapping_mul(FACTOR);
    for word in words {
        let word = mix(u64::from_le_bytes(*word).wrapping_mul(FACTOR)).wrapping_mul(FACTOR);
        hash = (hash ^ word).wrapping_mul(FACTOR);
    }
    if !rest.is_empty() {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        hash = (hash ^ u64::from_le_bytes(word)).wrapping_mul(FACTOR);
    }
    mix(mix(hash).wrapping_mul(FACTOR))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of the specification's own test program, and those of `std::hash<std::string>` of libstdc++ 12.
    #[test]
    fn known_values() {
        assert_eq!(xx_hash(b"", 0), 0xef46_db37_51d8_e999);
        assert_eq!(xx_hash(b"abc", 0), 0x44bc_2cf5_ad77_0999);
        for (text, hash) in MURMUR {
            assert_eq!(murmur_hash(text.as_bytes()), *hash, "{text}");
        }
    }

    #[test]
    fn addresses_are_their_texts() {
        for (ip, text) in [("1.2.3.4", "1.2.3.4"), ("::ffff:1.2.3.4", "1.2.3.4"), ("2001:DB8::1", "2001:db8::1")] {
            assert_eq!(hash_of_ip(ip.parse().expect("an address")), xx_hash(text.as_bytes(), 0), "{ip}");
        }
        let longest = "1111:2222:3333:4444:5555:6666:7777:8888";
        assert_eq!(hash_of_ip(longest.parse().expect("an address")), xx_hash(longest.as_bytes(), 0));
        assert_eq!(hash_of_ends([&"1.2.3.4:5", &"[::1]:6"]), xx_hash(b"1.2.3.4:5[::1]:6", 0));
    }

    const MURMUR: &[(&str, u64)] = &[
        ("", 0x553e_9390_1e46_2a6e),
        ("a", 0x454d_dee4_88c1_ed6b),
        ("abcdefg", 0xdeee_6830_a3af_82af),
        ("abcdefgh", 0x783d_b3e3_8db8_98bb),
        ("127.0.0.1:80_0", 0xf46e_f02b_be93_9e15),
        ("127.0.0.1:10000_1023", 0xf23b_5b2f_7798_e886),
    ];
}

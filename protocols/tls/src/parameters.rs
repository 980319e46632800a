//! Ciphers, curves and versions by the names that Envoy and OpenSSL have for them.
//!
//! Invariant: a name that is not spoken here is an error that names it, never something else in its stead.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::{self, cipher_suite as suite, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::{CipherSuite, NamedGroup, SupportedCipherSuite, SupportedProtocolVersion};

use crate::error::{ContextError, Part};
use crate::options::{Parameters, Version};

/// Suites of TLS 1.2 in Envoy's default order (`TlsParameters.cipher_suites`), by OpenSSL's names.
const TLS12: &[(&str, SupportedCipherSuite)] = &[
    ("ECDHE-ECDSA-AES128-GCM-SHA256", suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-ECDSA-CHACHA20-POLY1305", suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ("ECDHE-RSA-AES128-GCM-SHA256", suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("ECDHE-RSA-CHACHA20-POLY1305", suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
    ("ECDHE-ECDSA-AES256-GCM-SHA384", suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("ECDHE-RSA-AES256-GCM-SHA384", suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
];

/// Suites of TLS 1.3: always on, the cheapest first.
const TLS13: &[(&str, SupportedCipherSuite)] = &[
    ("TLS_AES_128_GCM_SHA256", suite::TLS13_AES_128_GCM_SHA256),
    ("TLS_AES_256_GCM_SHA384", suite::TLS13_AES_256_GCM_SHA384),
    ("TLS_CHACHA20_POLY1305_SHA256", suite::TLS13_CHACHA20_POLY1305_SHA256),
];

/// Names that OpenSSL has besides, of the same suites.
const ALIASES: &[(&str, &str)] = &[
    ("ECDHE-ECDSA-CHACHA20-POLY1305-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"),
    ("ECDHE-RSA-CHACHA20-POLY1305-SHA256", "ECDHE-RSA-CHACHA20-POLY1305"),
];

/// What is refused with more than "unknown": CBC and plain RSA are not spoken by rustls, for their attacks.
const UNSUPPORTED: &[&str] = &[
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-RSA-AES256-SHA",
    "AES128-GCM-SHA256",
    "AES256-GCM-SHA384",
    "AES128-SHA",
    "AES256-SHA",
    "DES-CBC3-SHA",
    "ECDHE-PSK-AES128-CBC-SHA",
    "ECDHE-PSK-AES256-CBC-SHA",
    "PSK-AES128-CBC-SHA",
    "PSK-AES256-CBC-SHA",
];

/// The names in order, the first two as the default.
const CURVES: &[(&str, &'static dyn SupportedKxGroup)] = &[
    ("X25519", kx_group::X25519),
    ("P-256", kx_group::SECP256R1),
    ("P-384", kx_group::SECP384R1),
    ("X25519MLKEM768", kx_group::X25519MLKEM768),
];
const DEFAULT_CURVES: usize = 2;

/// The provider and the versions that these parameters ask for.
pub(crate) fn provider(
    parameters: &Parameters,
) -> Result<(Arc<CryptoProvider>, Vec<&'static SupportedProtocolVersion>), ContextError> {
    if parameters.version_min > parameters.version_max {
        let (least, most) = (parameters.version_min.name(), parameters.version_max.name());
        return Err(ContextError::new(Part::Versions, format!("the minimum {least} is above the maximum {most}")));
    }
    let mut versions: Vec<&'static SupportedProtocolVersion> = Vec::new();
    if parameters.version_max >= Version::Tls13 {
        versions.push(&rustls::version::TLS13);
    }
    if parameters.version_min <= Version::Tls12 {
        versions.push(&rustls::version::TLS12);
    }
    let mut cipher_suites: Vec<_> = TLS13.iter().map(|(_, suite)| *suite).collect();
    cipher_suites.extend(ciphers(&parameters.ciphers)?);
    let provider =
        CryptoProvider { cipher_suites, kx_groups: curves(&parameters.curves)?, ..aws_lc_rs::default_provider() };
    Ok((Arc::new(provider), versions))
}

/// The suites of TLS 1.2 that are named. Within brackets the peer would choose; here the first is preferred.
fn ciphers(names: &[String]) -> Result<Vec<SupportedCipherSuite>, ContextError> {
    if names.is_empty() {
        return Ok(TLS12.iter().map(|(_, suite)| *suite).collect());
    }
    let mut suites = Vec::new();
    for (index, entry) in names.iter().enumerate() {
        let wrong = |reason: String| ContextError::new(Part::Cipher(index), reason);
        let group = match entry.strip_prefix('[') {
            Some(rest) => rest
                .strip_suffix(']')
                .ok_or_else(|| wrong(format!("{entry:?} opens a group with [ and does not close it with ]")))?,
            None => entry,
        };
        for name in group.split('|') {
            let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, name)| name);
            if let Some((_, suite)) = TLS12.iter().find(|(known, _)| *known == name) {
                if !suites.contains(suite) {
                    suites.push(*suite);
                }
            } else if TLS13.iter().any(|(known, _)| *known == name) {
                return Err(wrong(format!("{name} is of TLS 1.3, whose ciphers are always on and cannot be listed")));
            } else if UNSUPPORTED.contains(&name) {
                return Err(wrong(format!("{name} is not supported: no CBC, no RSA key exchange, no PSK")));
            } else {
                return Err(wrong(format!("{name:?} is no cipher that is known")));
            }
        }
    }
    Ok(suites)
}

fn curves(names: &[String]) -> Result<Vec<&'static dyn SupportedKxGroup>, ContextError> {
    if names.is_empty() {
        return Ok(CURVES[..DEFAULT_CURVES].iter().map(|(_, group)| *group).collect());
    }
    let mut groups: Vec<&'static dyn SupportedKxGroup> = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let known = CURVES.iter().find(|(known, _)| known == name);
        let (_, group) = known.ok_or_else(|| {
            let known: Vec<_> = CURVES.iter().map(|(name, _)| *name).collect();
            ContextError::new(Part::Curve(index), format!("{name:?} is not supported; these are: {}", known.join(", ")))
        })?;
        if !groups.iter().any(|other| other.name() == group.name()) {
            groups.push(*group);
        }
    }
    Ok(groups)
}

/// OpenSSL's name of a suite (Envoy: `ssl.ciphers.NAME`, `%DOWNSTREAM_TLS_CIPHER%`).
pub(crate) fn cipher_name(suite: CipherSuite) -> &'static str {
    TLS12.iter().chain(TLS13).find(|(_, known)| known.suite() == suite).map_or("unknown", |(name, _)| name)
}

/// BoringSSL's name of a group (Envoy: `ssl.curves.NAME`).
pub(crate) fn curve_name(group: NamedGroup) -> &'static str {
    CURVES.iter().find(|(_, known)| known.name() == group).map_or("unknown", |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(names: &[&str], expect: Result<&[&str], &str>) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let found =
            ciphers(&names).map(|suites| suites.iter().map(|suite| cipher_name(suite.suite())).collect::<Vec<_>>());
        assert_eq!(found.as_deref().map_err(|error| error.reason.as_str()), expect);
    }

    #[test]
    fn cipher_lists() {
        check(&["ECDHE-RSA-AES128-GCM-SHA256"], Ok(&["ECDHE-RSA-AES128-GCM-SHA256"]));
        check(
            &["[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]", "ECDHE-ECDSA-AES128-GCM-SHA256"],
            Ok(&["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"]),
        );
        check(&[], Ok(&TLS12.iter().map(|(name, _)| *name).collect::<Vec<_>>()));
        check(&["AES128-SHA"], Err("AES128-SHA is not supported: no CBC, no RSA key exchange, no PSK"));
        check(&["aes"], Err("\"aes\" is no cipher that is known"));
        check(&["[A"], Err("\"[A\" opens a group with [ and does not close it with ]"));
        check(
            &["TLS_AES_128_GCM_SHA256"],
            Err("TLS_AES_128_GCM_SHA256 is of TLS 1.3, whose ciphers are always on and cannot be listed"),
        );
    }

    #[test]
    fn curve_lists() {
        let names = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            curves(&names).map(|groups| groups.iter().map(|group| curve_name(group.name())).collect::<Vec<_>>())
        };
        assert_eq!(names(&[]).unwrap(), ["X25519", "P-256"]);
        assert_eq!(names(&["P-384", "X25519MLKEM768", "P-384"]).unwrap(), ["P-384", "X25519MLKEM768"]);
        assert_eq!(
            names(&["X25519", "P-521"]).unwrap_err(),
            ContextError::new(
                Part::Curve(1),
                "\"P-521\" is not supported; these are: X25519, P-256, P-384, X25519MLKEM768"
            )
        );
    }

    #[test]
    fn versions() {
        let of = |least, most| {
            provider(&Parameters { version_min: least, version_max: most, ..Parameters::default() })
                .map(|(_, versions)| versions.len())
                .map_err(|error| error.reason)
        };
        assert_eq!(of(Version::Tls12, Version::Tls13), Ok(2));
        assert_eq!(of(Version::Tls13, Version::Tls13), Ok(1));
        assert_eq!(of(Version::Tls12, Version::Tls12), Ok(1));
        assert!(of(Version::Tls13, Version::Tls12).is_err());
    }
}

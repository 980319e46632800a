//! Whether a peer is who it must be: its chain, its names, its hashes.
//!
//! The path is rustls-webpki's business; here it is told what is trusted, and Envoy's rules are put around it. Without
//! a trusted CA and hashes nothing is verified, as in Envoy: only the possession of the key that was shown.
//! It never reads a clock: the time is an argument.

use std::fmt;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use webpki::{
    CertRevocationList, EndEntityCert, Error, ExpirationPolicy, KeyUsage, OwnedCertRevocationList,
    RevocationCheckDepth, RevocationOptionsBuilder, VerifiedPath,
};

use crate::certificate::{AltName, Certificate, Parts, sha256};
use crate::error::{ContextError, Part, Refusal};
use crate::options::Validation;
use crate::pem;
use crate::san::{SanMatcher, dns_matches};

/// Whom we verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerIs {
    Client,
    Server,
}

/// One trusted certificate.
struct Trusted {
    der: CertificateDer<'static>,
    not_before: i64,
    not_after: i64,
}

/// The rules for peers of one context.
pub(crate) struct Verifier {
    peer: PeerIs,
    algorithms: WebPkiSupportedAlgorithms,
    /// In the order of `trusted`.
    anchors: Vec<TrustAnchor<'static>>,
    trusted: Vec<Trusted>,
    subjects: Vec<DistinguishedName>,
    revocation_lists: Vec<CertRevocationList<'static>>,
    leaf_revocation_only: bool,
    names: Vec<SanMatcher>,
    certificate_hashes: Vec<[u8; 32]>,
    spki_hashes: Vec<[u8; 32]>,
    allow_expired: bool,
    accept_untrusted: bool,
    depth_max: Option<u32>,
    /// Clients: the name that was sent is matched instead of `names`.
    match_server_name: bool,
    /// Servers: a client without a certificate is refused.
    required: bool,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl Verifier {
    pub(crate) fn new(
        peer: PeerIs,
        algorithms: WebPkiSupportedAlgorithms,
        validation: &Validation,
        match_server_name: bool,
        required: bool,
    ) -> Result<(Verifier, Vec<Certificate>), ContextError> {
        let certificates = match &validation.trusted_ca {
            Some(text) => pem::certificates(text, Part::TrustedCa)?,
            None => Vec::new(),
        };
        let mut anchors = Vec::new();
        let mut trusted = Vec::new();
        for (index, (der, read)) in certificates.iter().enumerate() {
            let anchor = webpki::anchor_from_trusted_cert(der).map_err(|error| {
                let number = index + 1;
                ContextError::new(Part::TrustedCa, format!("certificate {number} cannot be trusted: {error}"))
            })?;
            anchors.push(anchor.to_owned());
            trusted.push(Trusted { der: der.clone(), not_before: read.not_before, not_after: read.not_after });
        }
        if trusted.is_empty() && !validation.subject_alt_names.is_empty() {
            return Err(ContextError::new(
                Part::Validation,
                "SAN-based verification of peer certificates without trusted CA is insecure and not allowed",
            ));
        }
        let mut revocation_lists = Vec::new();
        if let Some(text) = &validation.crl {
            for (index, der) in pem::revocation_lists(text)?.iter().enumerate() {
                let list = OwnedCertRevocationList::from_der(der).map_err(|error| {
                    ContextError::new(Part::Crl, format!("revocation list {} cannot be read: {error}", index + 1))
                })?;
                revocation_lists.push(CertRevocationList::from(list));
            }
        }
        let verifier = Verifier {
            peer,
            algorithms,
            subjects: anchors.iter().map(|anchor| DistinguishedName::in_sequence(&anchor.subject)).collect(),
            anchors,
            trusted,
            revocation_lists,
            leaf_revocation_only: validation.only_verify_leaf_cert_crl,
            names: validation.subject_alt_names.clone(),
            certificate_hashes: hashes(&validation.certificate_hashes, Part::CertificateHash, hex_hash)?,
            spki_hashes: hashes(&validation.spki_hashes, Part::SpkiHash, base64_hash)?,
            allow_expired: validation.allow_expired_certificate,
            accept_untrusted: validation.accept_untrusted,
            depth_max: validation.max_verify_depth,
            match_server_name,
            required,
        };
        Ok((verifier, certificates.into_iter().map(|(_, read)| read).collect()))
    }

    /// Whether anything is asked of a certificate.
    fn verifies(&self) -> bool {
        !self.trusted.is_empty() || self.verifies_hash()
    }

    fn verifies_hash(&self) -> bool {
        !self.certificate_hashes.is_empty() || !self.spki_hashes.is_empty()
    }

    /// Whether a server asks its clients for a certificate.
    pub(crate) fn asks(&self) -> bool {
        self.verifies() || self.accept_untrusted || self.required
    }

    /// Whether this peer's certificate has been verified (Envoy: `peerCertificateValidated`): where untrusted ones are accepted, that is
    /// asked again; else who came so far was.
    pub(crate) fn validated(&self, chain: &[CertificateDer<'_>], name: Option<&str>, now: UnixTime) -> bool {
        match chain.split_first() {
            Some((leaf, rest)) if self.accept_untrusted => self.verifies() && self.judge(leaf, rest, name, now).is_ok(),
            Some(_) => self.verifies(),
            None => false,
        }
    }

    /// What is asked again of a peer that resumed a session: that its certificate is still in time.
    pub(crate) fn verify_resumed(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Refusal> {
        let Some(leaf) = chain.first().filter(|_| self.verifies() && !self.accept_untrusted) else { return Ok(()) };
        let Some((not_before, not_after)) = Parts::read(leaf).map(|parts| parts.validity()) else { return Ok(()) };
        self.in_time(not_before, not_after, now).map_err(refusal)
    }

    /// Whether one of these names is among the certificate's, where a session asks for it (Envoy:
    /// `auto_san_validation`, a list of names to verify).
    pub(crate) fn verify_names(&self, chain: &[CertificateDer<'_>], names: &[String]) -> Result<(), Refusal> {
        if names.is_empty() || self.accept_untrusted {
            return Ok(());
        }
        let presented =
            chain.first().and_then(|leaf| Certificate::read(leaf)).map(|read| read.names).unwrap_or_default();
        let matched = names.iter().any(|name| presented.iter().any(|presented| covers(presented, name)));
        if matched { Ok(()) } else { Err(Refusal::San) }
    }

    /// Verifies a chain, the leaf apart. `name` is what a client sent as server name.
    pub(crate) fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: Option<&str>,
        now: UnixTime,
    ) -> Result<(), Refusal> {
        match self.judge(leaf, intermediates, name, now) {
            Err(_) if self.accept_untrusted => Ok(()),
            verdict => verdict,
        }
    }

    fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: Option<&str>,
        now: UnixTime,
    ) -> Result<(), Refusal> {
        if !self.trusted.is_empty() {
            self.judge_chain(leaf, intermediates, now)?;
        }
        let name = name.filter(|_| self.match_server_name);
        if name.is_some() || !self.names.is_empty() {
            let names = Certificate::read(leaf).map(|certificate| certificate.names).unwrap_or_default();
            let matched = match name {
                Some(name) => names.iter().any(|presented| covers(presented, name)),
                None => names.iter().any(|presented| self.names.iter().any(|matcher| matcher.matches(presented))),
            };
            if !matched {
                return Err(Refusal::San);
            }
        }
        if self.verifies_hash() && !self.hash_matches(leaf) {
            return Err(Refusal::Hash);
        }
        Ok(())
    }

    fn hash_matches(&self, leaf: &CertificateDer<'_>) -> bool {
        self.certificate_hashes.contains(&sha256(leaf))
            || (!self.spki_hashes.is_empty()
                && Parts::read(leaf).is_some_and(|parts| self.spki_hashes.contains(&sha256(parts.spki))))
    }

    fn judge_chain(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Refusal> {
        let verdict = match self.path(leaf, intermediates, now) {
            Err(Error::CertExpired { .. } | Error::CertNotValidYet { .. }) if self.allow_expired => {
                match common_time(leaf, intermediates) {
                    Some(time) => self.path(leaf, intermediates, time),
                    None => Err(Error::InvalidCertValidity),
                }
            }
            verdict => verdict,
        };
        match verdict {
            // The very certificate is trusted, as OpenSSL's partial chains have it: a self-signed one, with the CA bit or not.
            Err(Error::CaUsedAsEndEntity | Error::UnknownIssuer) => {
                let Some(known) = self.trusted.iter().find(|trusted| trusted.der.as_ref() == leaf.as_ref()) else {
                    return verdict.map_err(refusal);
                };
                self.in_time(known.not_before, known.not_after, now).map_err(refusal)
            }
            verdict => verdict.map_err(refusal),
        }
    }

    fn path(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), Error> {
        let lists: Vec<&CertRevocationList<'_>> = self.revocation_lists.iter().collect();
        let depth = match self.leaf_revocation_only {
            true => RevocationCheckDepth::EndEntity,
            false => RevocationCheckDepth::Chain,
        };
        let revocation = RevocationOptionsBuilder::new(&lists)
            .ok()
            .map(|builder| builder.with_depth(depth).with_expiration_policy(ExpirationPolicy::Enforce).build());
        let usage = match self.peer {
            PeerIs::Client => KeyUsage::client_auth(),
            PeerIs::Server => KeyUsage::server_auth(),
        };
        let also = |path: &VerifiedPath<'_>| {
            let between = path.intermediate_certificates().count();
            if self.depth_max.is_some_and(|depth_max| between > depth_max as usize) {
                return Err(Error::MaximumPathDepthExceeded);
            }
            // webpki takes anchors as given; OpenSSL asks that a trusted CA be in time, too.
            let at = self.anchors.iter().position(|anchor| std::ptr::eq(anchor, path.anchor()));
            let at = at.map(|at| &self.trusted[at]);
            at.map_or(Ok(()), |trusted| self.in_time(trusted.not_before, trusted.not_after, now))
        };
        let leaf = EndEntityCert::try_from(leaf)?;
        leaf.verify_for_usage(self.algorithms.all, &self.anchors, intermediates, now, usage, revocation, Some(&also))
            .map(|_| ())
    }

    fn in_time(&self, not_before: i64, not_after: i64, now: UnixTime) -> Result<(), Error> {
        let time = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let unix = |seconds: i64| {
            UnixTime::since_unix_epoch(std::time::Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
        };
        if self.allow_expired {
            Ok(())
        } else if time > not_after {
            Err(Error::CertExpired { time: now, not_after: unix(not_after) })
        } else if time < not_before {
            Err(Error::CertNotValidYet { time: now, not_before: unix(not_before) })
        } else {
            Ok(())
        }
    }
}

/// Whether a name of the certificate covers this DNS name, or this address, which a DNS name never does (RFC 6125 §1.7.2).
fn covers(presented: &AltName, name: &str) -> bool {
    match (presented, name.parse::<IpAddr>()) {
        (AltName::Dns(presented), Err(_)) => dns_matches(name, presented),
        (AltName::Ip(address), Ok(asked)) => *address == asked,
        _ => false,
    }
}

/// A second in which all of these are valid.
fn common_time(leaf: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> Option<UnixTime> {
    let (mut first, mut last) = (0, i64::MAX);
    for der in std::iter::once(leaf).chain(intermediates) {
        let (not_before, not_after) = Parts::read(der)?.validity();
        (first, last) = (first.max(not_before), last.min(not_after));
    }
    let last = u64::try_from(last).ok().filter(|_| first <= last)?;
    Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(last)))
}

fn refusal(error: Error) -> Refusal {
    match error {
        Error::CertExpired { .. } => Refusal::Expired,
        Error::CertNotValidYet { .. } => Refusal::NotYetValid,
        Error::InvalidCertValidity => Refusal::Other("certificates are not valid at one time".to_owned()),
        Error::CertRevoked => Refusal::Revoked,
        Error::UnknownRevocationStatus => Refusal::RevocationUnknown,
        Error::CrlExpired { .. } => Refusal::RevocationListExpired,
        Error::UnknownIssuer => Refusal::UnknownIssuer,
        Error::InvalidSignatureForPublicKey => Refusal::Signature,
        Error::RequiredEkuNotFoundContext(_) => Refusal::Purpose,
        Error::MaximumPathDepthExceeded => Refusal::Other("certificate chain too long".to_owned()),
        other => Refusal::Other(other.to_string()),
    }
}

fn hashes(
    texts: &[String],
    part: fn(usize) -> Part,
    read: fn(&str) -> Option<[u8; 32]>,
) -> Result<Vec<[u8; 32]>, ContextError> {
    let one = |(index, text): (usize, &String)| {
        read(text).ok_or_else(|| ContextError::new(part(index), format!("{text:?} is no SHA-256 hash")))
    };
    texts.iter().enumerate().map(one).collect()
}

/// 64 hexadecimal digits, or 32 pairs with colons between.
fn hex_hash(text: &str) -> Option<[u8; 32]> {
    let separated = text.len() == 95;
    if !separated && text.len() != 64 {
        return None;
    }
    let mut hash = [0; 32];
    let step = if separated { 3 } else { 2 };
    for (index, byte) in hash.iter_mut().enumerate() {
        let at = index * step;
        if separated && index > 0 && text.as_bytes()[at - 1] != b':' {
            return None;
        }
        let pair = text.get(at..at + 2).filter(|pair| pair.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(hash)
}

fn base64_hash(text: &str) -> Option<[u8; 32]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // An address stands for a session that sends no name.
        let name = match server_name {
            ServerName::DnsName(name) => Some(name.as_ref()),
            _ => None,
        };
        self.verify(end_entity, intermediates, name, now)
            .map(|()| ServerCertVerified::assertion())
            .map_err(|refusal| refusal.to_rustls())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Verifier {
    fn offer_client_auth(&self) -> bool {
        self.asks()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.subjects
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.verify(end_entity, intermediates, None, now)
            .map(|()| ClientCertVerified::assertion())
            .map_err(|refusal| refusal.to_rustls())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod limbo;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_read() {
        let digits = "0123456789abcdefABCDEF".repeat(3);
        let hex = &digits[..64];
        let colons: Vec<&str> = (0..32).map(|at| &hex[2 * at..2 * at + 2]).collect();
        assert_eq!(hex_hash(hex), hex_hash(&colons.join(":")));
        assert_eq!(hex_hash(hex).unwrap()[..3], [0x01, 0x23, 0x45]);
        assert_eq!(hex_hash(&hex[1..]), None);
        assert_eq!(hex_hash(&colons.join("-")), None);
        assert_eq!(hex_hash(&"zz".repeat(32)), None);
        assert_eq!(hex_hash(&"+1".repeat(32)), None);
        assert_eq!(
            base64_hash("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="),
            Some(std::array::from_fn(|at| at as u8))
        );
        assert_eq!(base64_hash("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9="), None);
        assert_eq!(base64_hash("AAEC"), None);
    }
}

//! What can go wrong: with options, when a context is built, and with a peer, while a session runs.
//!
//! It never holds key material, and never bytes that a peer sent: names and reasons alone, fit for logs.

use std::fmt;
use std::sync::Arc;

/// Which part of the options a [`ContextError`] is about, so that the caller can name the field and its line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The certificate chain at this index (Envoy: `tls_certificates[index].certificate_chain`).
    CertificateChain(usize),
    /// The private key at this index (`tls_certificates[index].private_key`).
    PrivateKey(usize),
    /// `validation_context.trusted_ca`.
    TrustedCa,
    /// `validation_context.crl`.
    Crl,
    /// The matcher at this index (`match_typed_subject_alt_names[index]`).
    SubjectAltName(usize),
    /// The entry at this index of `verify_certificate_hash`.
    CertificateHash(usize),
    /// The entry at this index of `verify_certificate_spki`.
    SpkiHash(usize),
    /// The validation context as a whole.
    Validation,
    /// `tls_params`' versions.
    Versions,
    /// The entry at this index of `tls_params.cipher_suites`.
    Cipher(usize),
    /// The entry at this index of `tls_params.ecdh_curves`.
    Curve(usize),
    /// The entry at this index of `alpn_protocols`.
    Alpn(usize),
    /// The key at this index of `session_ticket_keys.keys`.
    TicketKey(usize),
    /// `session_timeout`.
    SessionTimeout,
    /// `UpstreamTlsContext.sni`.
    Sni,
}

/// Why options do not make a context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContextError {
    /// Where it is wrong.
    pub part: Part,
    /// What is wrong, in words; never any key material.
    pub reason: String,
}

impl ContextError {
    pub(crate) fn new(part: Part, reason: impl Into<String>) -> ContextError {
        ContextError { part, reason: reason.into() }
    }
}

impl fmt::Display for ContextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for ContextError {}

/// What kind of failure ended a session; what statistics are counted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// What came is not TLS; plain HTTP, perhaps (`ssl.connection_error`).
    NotTls,
    /// A certificate was required and none was presented (`ssl.fail_verify_no_cert`).
    NoCertificate,
    /// The peer's chain does not lead to a trusted CA, or is wrong in itself (`ssl.fail_verify_error`).
    Untrusted,
    /// A certificate of the peer's chain has expired or is not valid yet (`ssl.fail_verify_error`).
    Expired,
    /// A certificate of the peer's chain is revoked, or its revocation cannot be told (`ssl.fail_verify_error`).
    Revoked,
    /// No subject alternative name of the peer is one that is asked for (`ssl.fail_verify_san`).
    San,
    /// Neither the hash of the certificate nor that of its key is listed (`ssl.fail_verify_cert_hash`).
    Hash,
    /// No common version, cipher, group or application protocol (`ssl.connection_error`).
    NoCommonParameters,
    /// The peer sent a fatal alert, whose description this is (RFC 8446 §6; `ssl.connection_error`).
    Alert(u8),
    /// The peer tried to renegotiate (`ssl.connection_error`).
    Renegotiation,
    /// A record is longer than the protocol allows (RFC 8446 §5.1; `ssl.connection_error`).
    RecordOverflow,
    /// A record did not open: broken on the way, or forged (`ssl.connection_error`).
    BadRecord,
    /// The peer broke another rule of the protocol (`ssl.connection_error`).
    Protocol,
    /// The keys have sealed as much as they may (RFC 8446 §5.5) and cannot be renewed (TLS 1.2).
    Exhausted,
    /// A fault on our side: a name that cannot be sent, no random bytes (`ssl.connection_error`).
    Internal,
}

/// Why a session failed. Its text is for the access log (`%DOWNSTREAM_TRANSPORT_FAILURE_REASON%`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsError {
    /// The kind.
    pub failure: Failure,
    /// One line in words, without anything secret and without the peer's bytes.
    pub reason: String,
}

impl TlsError {
    pub(crate) fn new(failure: Failure, reason: impl Into<String>) -> TlsError {
        TlsError { failure, reason: reason.into() }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TLS_error: {}", self.reason)
    }
}

impl std::error::Error for TlsError {}

/// Why a certificate was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Expired,
    NotYetValid,
    Revoked,
    RevocationUnknown,
    RevocationListExpired,
    UnknownIssuer,
    Signature,
    Purpose,
    San,
    Hash,
    Other(String),
}

impl Refusal {
    fn failure(&self) -> Failure {
        match self {
            Refusal::Expired | Refusal::NotYetValid => Failure::Expired,
            Refusal::Revoked | Refusal::RevocationUnknown | Refusal::RevocationListExpired => Failure::Revoked,
            Refusal::San => Failure::San,
            Refusal::Hash => Failure::Hash,
            Refusal::UnknownIssuer | Refusal::Signature | Refusal::Purpose | Refusal::Other(_) => Failure::Untrusted,
        }
    }

    fn text(&self) -> &str {
        match self {
            Refusal::Expired => "certificate has expired",
            Refusal::NotYetValid => "certificate is not yet valid",
            Refusal::Revoked => "certificate revoked",
            Refusal::RevocationUnknown => "unable to get certificate CRL",
            Refusal::RevocationListExpired => "CRL has expired",
            Refusal::UnknownIssuer => "unable to get local issuer certificate",
            Refusal::Signature => "certificate signature failure",
            Refusal::Purpose => "unsupported certificate purpose",
            Refusal::San => "SAN matcher",
            Refusal::Hash => "certificate hash matcher",
            Refusal::Other(text) => text,
        }
    }

    /// In rustls' terms, which choose the alert (RFC 8446 §6.2).
    pub(crate) fn to_rustls(&self) -> rustls::Error {
        use rustls::{CertificateError, OtherError};
        rustls::Error::InvalidCertificate(match self {
            Refusal::Expired => CertificateError::Expired,
            Refusal::NotYetValid => CertificateError::NotValidYet,
            Refusal::Revoked => CertificateError::Revoked,
            Refusal::RevocationUnknown => CertificateError::UnknownRevocationStatus,
            Refusal::RevocationListExpired => CertificateError::ExpiredRevocationList,
            Refusal::UnknownIssuer => CertificateError::UnknownIssuer,
            Refusal::Purpose => CertificateError::InvalidPurpose,
            Refusal::Signature | Refusal::San | Refusal::Hash | Refusal::Other(_) => {
                CertificateError::Other(OtherError(Arc::new(self.clone())))
            }
        })
    }

    fn from_rustls(error: &rustls::CertificateError) -> Refusal {
        use rustls::CertificateError;
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Refusal::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Refusal::NotYetValid,
            CertificateError::Revoked => Refusal::Revoked,
            CertificateError::UnknownRevocationStatus => Refusal::RevocationUnknown,
            CertificateError::ExpiredRevocationList => Refusal::RevocationListExpired,
            CertificateError::UnknownIssuer => Refusal::UnknownIssuer,
            CertificateError::InvalidPurpose => Refusal::Purpose,
            CertificateError::Other(other) if other.0.is::<Refusal>() => {
                other.0.downcast_ref::<Refusal>().expect("asked just now").clone()
            }
            other => Refusal::Other(other.to_string()),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for Refusal {}

impl From<Refusal> for TlsError {
    fn from(refusal: Refusal) -> TlsError {
        TlsError::new(refusal.failure(), format!("verify cert failed: {refusal}"))
    }
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> TlsError {
        use rustls::{Error, InvalidMessage};
        let failure = match &error {
            Error::InvalidCertificate(error) => return Refusal::from_rustls(error).into(),
            Error::NoCertificatesPresented => {
                return TlsError::new(Failure::NoCertificate, "peer did not return a certificate");
            }
            Error::AlertReceived(alert) => {
                return TlsError::new(Failure::Alert(u8::from(*alert)), format!("peer sent alert {alert:?}"));
            }
            Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Failure::NoCommonParameters,
            Error::PeerSentOversizedRecord | Error::InvalidMessage(InvalidMessage::MessageTooLarge) => {
                Failure::RecordOverflow
            }
            Error::InvalidMessage(InvalidMessage::InvalidContentType) => Failure::NotTls,
            Error::DecryptError => Failure::BadRecord,
            Error::InvalidMessage(_)
            | Error::PeerMisbehaved(_)
            | Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. } => Failure::Protocol,
            _ => Failure::Internal,
        };
        TlsError::new(failure, error.to_string())
    }
}

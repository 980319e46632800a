//! What a context is made of, as plain data: each field is Envoy's of the same name, read by the caller.
//!
//! It never reads files and never judges; `ServerContext::new` and `ClientContext::new` do the judging.
//! Invariant: `Debug` prints no key.

use std::fmt;
use std::sync::Arc;

use rustls_pki_types::UnixTime;

use crate::san::SanMatcher;

/// Bytes that must not be shown: a private key, a ticket key.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes the bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Secret {
        Secret(bytes.into())
    }

    /// The bytes. Whoever asks must not show them.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A certificate and its key (Envoy: `TlsCertificate`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `certificate_chain`: PEM, the leaf first.
    pub certificate_chain: Vec<u8>,
    /// `private_key`: PEM; PKCS#8, PKCS#1 (RSA) or SEC1 (EC), not encrypted.
    pub private_key: Secret,
}

/// A version of TLS. Older ones than these are not spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

impl Version {
    /// As Envoy and OpenSSL write it.
    pub fn name(self) -> &'static str {
        match self {
            Version::Tls12 => "TLSv1.2",
            Version::Tls13 => "TLSv1.3",
        }
    }
}

/// Envoy: `TlsParameters`. Its defaults differ by side: servers 1.2 to 1.3, clients 1.2 alone; the caller says which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// `tls_minimum_protocol_version`.
    pub version_min: Version,
    /// `tls_maximum_protocol_version`.
    pub version_max: Version,
    /// `cipher_suites` of TLS 1.2, by OpenSSL's names, or several between brackets; empty means Envoy's default. Those of
    /// TLS 1.3 are always on.
    pub ciphers: Vec<String>,
    /// `ecdh_curves`; empty means X25519 and P-256.
    pub curves: Vec<String>,
}

impl Default for Parameters {
    fn default() -> Parameters {
        Parameters { version_min: Version::Tls12, version_max: Version::Tls13, ciphers: Vec::new(), curves: Vec::new() }
    }
}

/// Envoy: `CertificateValidationContext`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Validation {
    /// `trusted_ca`: PEM, one certificate or more. Without, no chain is verified.
    pub trusted_ca: Option<Vec<u8>>,
    /// `crl`: PEM, one revocation list or more. Each certificate's issuer (the leaf's alone, by the next field) must have one.
    pub crl: Option<Vec<u8>>,
    /// `only_verify_leaf_cert_crl`.
    pub only_verify_leaf_cert_crl: bool,
    /// `match_typed_subject_alt_names`: one of them must match one of the names; empty asks for nothing.
    pub subject_alt_names: Vec<SanMatcher>,
    /// `verify_certificate_hash`: SHA-256 of the leaf's DER, hexadecimal, with colons or without.
    pub certificate_hashes: Vec<String>,
    /// `verify_certificate_spki`: SHA-256 of the leaf's SubjectPublicKeyInfo, base64.
    pub spki_hashes: Vec<String>,
    /// `allow_expired_certificate`.
    pub allow_expired_certificate: bool,
    /// `trust_chain_verification: ACCEPT_UNTRUSTED`.
    pub accept_untrusted: bool,
    /// `max_verify_depth`: certificates between the leaf and the trusted CA.
    pub max_verify_depth: Option<u32>,
}

/// How sessions are resumed by a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Tickets {
    /// Keys of the context's own, new ones by and by.
    #[default]
    Generated,
    /// `session_ticket_keys`: 80 bytes each; the first seals, all open.
    Keys(Vec<Secret>),
    /// `disable_stateless_session_resumption`: no session is resumed.
    Off,
}

/// Envoy: `DownstreamTlsContext`.
#[derive(Clone, Debug, Default)]
pub struct ServerOptions {
    /// `common_tls_context.tls_certificates`, or what SDS gave: at least one.
    pub certificates: Vec<Identity>,
    /// `common_tls_context.tls_params`.
    pub parameters: Parameters,
    /// `common_tls_context.alpn_protocols`, in the server's order of preference.
    pub alpn: Vec<Vec<u8>>,
    /// `common_tls_context.validation_context`.
    pub validation: Option<Validation>,
    /// `require_client_certificate`. Without, and with a trusted CA, a client may leave its certificate out.
    pub require_client_certificate: bool,
    /// `session_ticket_keys`, `disable_stateless_session_resumption`.
    pub tickets: Tickets,
    /// `session_timeout`, in seconds; by default two hours, as BoringSSL's.
    pub session_timeout_s: Option<u32>,
    /// `full_scan_certs_on_sni_mismatch`: without a name that fits, look for a key that the client can use; else the first.
    pub full_scan_certs_on_sni_mismatch: bool,
    /// What the time is.
    pub clock: Clock,
}

/// Envoy: `UpstreamTlsContext`.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// `common_tls_context.tls_certificates`: at most one is presented.
    pub certificate: Option<Identity>,
    /// `common_tls_context.tls_params`.
    pub parameters: Parameters,
    /// `common_tls_context.alpn_protocols`.
    pub alpn: Vec<Vec<u8>>,
    /// `common_tls_context.validation_context`. `None`, or one without a CA and hashes: the server is not verified, as in Envoy.
    pub validation: Option<Validation>,
    /// `sni`: sent where a session names none.
    pub sni: Option<String>,
    /// `auto_sni_san_validation`: where a name is sent, it is matched against the DNS names, instead of
    /// [`Validation::subject_alt_names`].
    pub auto_sni_san_validation: bool,
    /// `max_session_keys`: sessions that are kept for resumption; 0 keeps none. Envoy's default is 1.
    pub max_session_keys: u32,
    /// What the time is.
    pub clock: Clock,
}

impl Default for ClientOptions {
    fn default() -> ClientOptions {
        ClientOptions {
            certificate: None,
            parameters: Parameters::default(),
            alpn: Vec::new(),
            validation: None,
            sni: None,
            auto_sni_san_validation: false,
            max_session_keys: 1,
            clock: Clock::default(),
        }
    }
}

/// What the time is: the system's, or one that a test gives.
#[derive(Clone, Debug)]
pub struct Clock(pub(crate) Arc<dyn rustls::time_provider::TimeProvider>);

impl Default for Clock {
    fn default() -> Clock {
        Clock(Arc::new(rustls::time_provider::DefaultTimeProvider))
    }
}

impl Clock {
    /// A clock that stands still at this second since 1970.
    pub fn fixed(seconds: u64) -> Clock {
        Clock(Arc::new(Fixed(seconds)))
    }

    pub(crate) fn now(&self) -> Option<UnixTime> {
        self.0.current_time()
    }
}

#[derive(Debug)]
struct Fixed(u64);

impl rustls::time_provider::TimeProvider for Fixed {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(std::time::Duration::from_secs(self.0)))
    }
}

//! Contexts: what all sessions of one transport socket share, built and judged once, on the control thread.
//!
//! They never change: another configuration is another context. Invariant: a context that exists is right; `Debug` prints no key.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::{digest, rand};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ServerConfig, SignatureAlgorithm, SignatureScheme};
use rustls_pki_types::ServerName;

use crate::cache::SessionCache;
use crate::certificate::{Certificate, Parts};
use crate::error::{ContextError, Part};
use crate::hello::Hello;
use crate::options::{ClientOptions, Clock, Identity, ServerOptions, Tickets, Validation, Version};
use crate::parameters;
use crate::pem;
use crate::san::dns_matches;
use crate::ticket::{LIFETIME_DEFAULT_S, LIFETIME_MAX_S, TicketKeys};
use crate::verify::{PeerIs, Verifier};

/// Tickets that a server gives in TLS 1.3 after a handshake, as BoringSSL does.
const TICKETS_SENT: usize = 2;
/// An ALPN name (RFC 7301 §3.1).
const ALPN_LENGTH_MAX: usize = 255;

/// What a server's sessions share.
pub struct ServerContext {
    held: Vec<Held>,
    alpn: Vec<Vec<u8>>,
    /// Whether TLS 1.3 may be chosen.
    tls13: bool,
    full_scan: bool,
    authorities: Vec<Certificate>,
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) clock: Clock,
}

/// One certificate, its key, and what sessions with it run on.
struct Held {
    certificate: Arc<Certificate>,
    key: Arc<CertifiedKey>,
    with_alpn: Arc<ServerConfig>,
    /// For clients that offer none of our protocols: they are served without one, as Envoy does, where rustls would refuse.
    without_alpn: Arc<ServerConfig>,
}

impl fmt::Debug for ServerContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subjects: Vec<_> = self.certificates().map(|certificate| &certificate.subject).collect();
        f.debug_struct("ServerContext").field("certificates", &subjects).finish_non_exhaustive()
    }
}

impl ServerContext {
    /// Builds it.
    ///
    /// # Errors
    /// What of the options is wrong, and which part.
    pub fn new(options: &ServerOptions) -> Result<Arc<ServerContext>, ContextError> {
        seed();
        let (provider, versions) = parameters::provider(&options.parameters)?;
        let alpn = alpn(&options.alpn)?;
        let validation = options.validation.clone().unwrap_or_default();
        let algorithms = provider.signature_verification_algorithms;
        let required = options.require_client_certificate;
        let (verifier, authorities) = Verifier::new(PeerIs::Client, algorithms, &validation, false, required)?;
        let verifier = Arc::new(verifier);
        if options.certificates.is_empty() {
            return Err(ContextError::new(Part::CertificateChain(0), "a server needs a certificate"));
        }
        let identities = options
            .certificates
            .iter()
            .enumerate()
            .map(|(index, identity)| self::identity(identity, index, &provider))
            .collect::<Result<Vec<_>, _>>()?;
        let tickets = tickets(options, &identities, &validation)?;
        let mut held = Vec::new();
        for (certificate, key) in identities {
            let mut config = ServerConfig::builder_with_details(provider.clone(), options.clock.0.clone())
                .with_protocol_versions(&versions)
                .map_err(|error| ContextError::new(Part::Versions, error.to_string()))?
                .with_client_cert_verifier(verifier.clone())
                .with_cert_resolver(Arc::new(SingleCertAndKey::from(key.clone())));
            config.ignore_client_order = true;
            config.enable_secret_extraction = true;
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
            if let Some(tickets) = &tickets {
                config.ticketer = tickets.clone();
                config.send_tls13_tickets = TICKETS_SENT;
            }
            let without_alpn = Arc::new(config.clone());
            config.alpn_protocols.clone_from(&alpn);
            let with_alpn = if alpn.is_empty() { without_alpn.clone() } else { Arc::new(config) };
            held.push(Held { certificate: Arc::new(certificate), key: Arc::new(key), with_alpn, without_alpn });
        }
        Ok(Arc::new(ServerContext {
            held,
            alpn,
            tls13: options.parameters.version_max >= Version::Tls13,
            full_scan: options.full_scan_certs_on_sni_mismatch,
            authorities,
            verifier,
            clock: options.clock.clone(),
        }))
    }

    /// Our own leaf certificates, in their order.
    pub fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        self.held.iter().map(|held| &*held.certificate)
    }

    /// The certificates of the trusted CA.
    pub fn authorities(&self) -> &[Certificate] {
        &self.authorities
    }

    /// The second since 1970 at which the first of all these certificates ends.
    pub fn first_expiration(&self) -> Option<i64> {
        self.certificates().chain(&self.authorities).map(|certificate| certificate.not_after).min()
    }

    /// What a session runs on whose client sent this: rustls' configuration and our certificate.
    pub(crate) fn select(&self, hello: &Hello) -> (&Arc<ServerConfig>, &Arc<Certificate>) {
        let held = &self.held[self.certificate_for(hello)];
        let none_common = !hello.alpn.iter().any(|name| self.alpn.contains(name));
        (if none_common { &held.without_alpn } else { &held.with_alpn }, &held.certificate)
    }

    /// The certificate for a client: by the exact name, then by a wildcard, ECDSA where the client can; then the first that
    /// it can use, if it sent no name or all are to be scanned; else the first.
    fn certificate_for(&self, hello: &Hello) -> usize {
        let usable = Usable::by(hello, self.tls13);
        let best = |fits: &dyn Fn(&Held) -> bool| {
            let mut candidates = self.held.iter().enumerate().filter(|(_, held)| fits(held) && usable.key(&held.key));
            let first = candidates.clone().next();
            candidates.find(|(_, held)| is_ecdsa(held)).or(first).map(|(index, _)| index)
        };
        let scan = || if self.full_scan || hello.server_name.is_none() { best(&|_| true) } else { None };
        let Some(name) = &hello.server_name else { return scan().unwrap_or(0) };
        best(&|held| held.certificate.dns_names().any(|presented| presented.eq_ignore_ascii_case(name)))
            .or_else(|| best(&|held| held.certificate.dns_names().any(|presented| dns_matches(name, presented))))
            .or_else(scan)
            .unwrap_or(0)
    }
}

fn is_ecdsa(held: &Held) -> bool {
    held.key.key.algorithm() == SignatureAlgorithm::ECDSA
}

/// Which keys a client can verify.
struct Usable {
    schemes: Vec<SignatureScheme>,
    ecdsa: bool,
    rsa: bool,
}

impl Usable {
    fn by(hello: &Hello, server_tls13: bool) -> Usable {
        const ECDHE_ECDSA: [u16; 3] = [0xC02B, 0xC02C, 0xCCA9];
        const ECDHE_RSA: [u16; 3] = [0xC02F, 0xC030, 0xCCA8];
        // TLS 1.3's suites leave the key open; TLS 1.2's do not.
        let tls13 = server_tls13 && hello.tls13;
        let has = |suites: &[u16]| hello.cipher_suites.iter().any(|suite| suites.contains(suite));
        Usable {
            schemes: hello.signature_schemes.iter().map(|&scheme| SignatureScheme::from(scheme)).collect(),
            ecdsa: tls13 || has(&ECDHE_ECDSA),
            rsa: tls13 || has(&ECDHE_RSA),
        }
    }

    fn key(&self, key: &CertifiedKey) -> bool {
        let suite = match key.key.algorithm() {
            SignatureAlgorithm::RSA => self.rsa,
            _ => self.ecdsa,
        };
        suite && key.key.choose_scheme(&self.schemes).is_some()
    }
}

/// What a client's sessions share.
pub struct ClientContext {
    pub(crate) config: Arc<ClientConfig>,
    certificate: Option<Arc<Certificate>>,
    authorities: Vec<Certificate>,
    pub(crate) sni: Option<String>,
    pub(crate) verifier: Arc<Verifier>,
    pub(crate) clock: Clock,
}

impl fmt::Debug for ClientContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientContext").field("sni", &self.sni).finish_non_exhaustive()
    }
}

impl ClientContext {
    /// Builds it.
    ///
    /// # Errors
    /// What of the options is wrong, and which part.
    pub fn new(options: &ClientOptions) -> Result<Arc<ClientContext>, ContextError> {
        seed();
        let (provider, versions) = parameters::provider(&options.parameters)?;
        let alpn = alpn(&options.alpn)?;
        if let Some(name) = &options.sni {
            server_name(name).map_err(|reason| ContextError::new(Part::Sni, reason))?;
        }
        let validation = options.validation.clone().unwrap_or_default();
        let algorithms = provider.signature_verification_algorithms;
        let match_name = options.auto_sni_san_validation;
        let (verifier, authorities) = Verifier::new(PeerIs::Server, algorithms, &validation, match_name, false)?;
        let verifier = Arc::new(verifier);
        let identity =
            options.certificate.as_ref().map(|identity| self::identity(identity, 0, &provider)).transpose()?;
        let builder = ClientConfig::builder_with_details(provider.clone(), options.clock.0.clone())
            .with_protocol_versions(&versions)
            .map_err(|error| ContextError::new(Part::Versions, error.to_string()))?
            .dangerous() // rustls' word for a verifier that is not its own
            .with_custom_certificate_verifier(verifier.clone());
        let (mut config, certificate) = match identity {
            Some((certificate, key)) => {
                (builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key))), Some(Arc::new(certificate)))
            }
            None => (builder.with_no_client_auth(), None),
        };
        config.alpn_protocols = alpn;
        config.enable_secret_extraction = true;
        config.resumption = match options.max_session_keys {
            0 => Resumption::disabled(),
            most => Resumption::store(Arc::new(SessionCache::new(most))),
        };
        Ok(Arc::new(ClientContext {
            config: Arc::new(config),
            certificate,
            authorities,
            sni: options.sni.clone(),
            verifier,
            clock: options.clock.clone(),
        }))
    }

    /// Our own leaf certificate.
    pub fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_deref()
    }

    pub(crate) fn shared_certificate(&self) -> Option<&Arc<Certificate>> {
        self.certificate.as_ref()
    }

    /// The certificates of the trusted CA.
    pub fn authorities(&self) -> &[Certificate] {
        &self.authorities
    }

    /// The second since 1970 at which the first of all these certificates ends.
    pub fn first_expiration(&self) -> Option<i64> {
        self.certificate().into_iter().chain(&self.authorities).map(|certificate| certificate.not_after).min()
    }
}

/// The first random byte of a process takes aws-lc up to a tenth of a second, while it gathers noise: here it holds up nobody's
/// connection. Without random bytes every handshake fails, and says so.
fn seed() {
    let _ = rand::fill(&mut [0]);
}

/// A name as it is sent (RFC 6066 §3): a DNS name, underscores included, as Istio's names have them.
pub(crate) fn server_name(name: &str) -> Result<ServerName<'static>, String> {
    match ServerName::try_from(name.to_owned()) {
        Ok(name @ ServerName::DnsName(_)) => Ok(name),
        Ok(_) => Err(format!("{name:?} is an address; server names are DNS names (RFC 6066 §3)")),
        // rustls writes no other, and its keys depend on the hello that it wrote: none can be put there later.
        Err(_) => Err(format!("{name:?} is no DNS name; no other server name can be sent (RFC 6066 §3)")),
    }
}

/// Whether a name can be sent as a server name.
///
/// # Errors
/// Why it cannot.
pub fn check_server_name(name: &str) -> Result<(), String> {
    server_name(name).map(drop)
}

fn alpn(names: &[Vec<u8>]) -> Result<Vec<Vec<u8>>, ContextError> {
    for (index, name) in names.iter().enumerate() {
        if name.is_empty() || name.len() > ALPN_LENGTH_MAX {
            let reason = format!("an ALPN name has 1 to {ALPN_LENGTH_MAX} bytes");
            return Err(ContextError::new(Part::Alpn(index), reason));
        }
    }
    Ok(names.to_vec())
}

/// A chain and its key, which must belong together.
fn identity(
    identity: &Identity,
    index: usize,
    provider: &CryptoProvider,
) -> Result<(Certificate, CertifiedKey), ContextError> {
    let chain = pem::certificates(&identity.certificate_chain, Part::CertificateChain(index))?;
    let key = pem::private_key(&identity.private_key, Part::PrivateKey(index))?;
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|_| ContextError::new(Part::PrivateKey(index), "the private key is no RSA, ECDSA or Ed25519 key"))?;
    let leaf = chain.first().map(|(_, read)| read.clone()).expect("a chain has a leaf");
    let key = CertifiedKey::new(chain.into_iter().map(|(der, _)| der).collect(), key);
    // Compared here: rustls would want a certificate of version 3, which our own need not be.
    let of_certificate = key.cert.first().and_then(|der| Parts::read(der)).map(|parts| parts.spki);
    match (key.key.public_key(), of_certificate) {
        (Some(of_key), Some(of_certificate)) if of_key.as_ref() != of_certificate => {
            Err(ContextError::new(Part::PrivateKey(index), "the private key does not belong to the certificate"))
        }
        _ => Ok((leaf, key)),
    }
}

fn tickets(
    options: &ServerOptions,
    identities: &[(Certificate, CertifiedKey)],
    validation: &Validation,
) -> Result<Option<Arc<TicketKeys>>, ContextError> {
    let lifetime_s = options.session_timeout_s.unwrap_or(LIFETIME_DEFAULT_S);
    if lifetime_s > LIFETIME_MAX_S {
        let reason = format!("{lifetime_s} s is more than {LIFETIME_MAX_S} s (RFC 8446 §4.6.1)");
        return Err(ContextError::new(Part::SessionTimeout, reason));
    }
    if lifetime_s == 0 {
        return Ok(None);
    }
    let context = fingerprint(options, identities, validation);
    let clock = options.clock.clone();
    match &options.tickets {
        Tickets::Off => Ok(None),
        Tickets::Keys(keys) => TicketKeys::fixed(keys, lifetime_s, context, clock).map(|keys| Some(Arc::new(keys))),
        Tickets::Generated => Ok(TicketKeys::generated(lifetime_s, context, clock).map(Arc::new)),
    }
}

/// What a session was judged by: a ticket of another configuration must not open, even if its key is shared.
fn fingerprint(
    options: &ServerOptions,
    identities: &[(Certificate, CertifiedKey)],
    validation: &Validation,
) -> [u8; 32] {
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut part = |bytes: &[u8]| {
        hash.update(&bytes.len().to_be_bytes());
        hash.update(bytes);
    };
    for (_, key) in identities {
        key.cert.iter().for_each(|der| part(der));
    }
    part(validation.trusted_ca.as_deref().unwrap_or_default());
    part(validation.crl.as_deref().unwrap_or_default());
    let rules = Validation { trusted_ca: None, crl: None, ..validation.clone() };
    part(format!("{rules:?} {}", options.require_client_certificate).as_bytes());
    hash.finish().as_ref().try_into().expect("SHA-256 is 32 bytes")
}

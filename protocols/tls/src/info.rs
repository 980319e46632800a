//! What a handshake came to: what statistics, access logs, headers and rules for peers ask.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;

use crate::certificate::{Certificate, hex, sha256};
use crate::options::Version;

/// The outcome of a handshake.
#[derive(Clone, Debug)]
pub struct Info {
    /// The version (Envoy: `ssl.versions.*`, `%DOWNSTREAM_TLS_VERSION%`).
    pub version: Version,
    /// The cipher by OpenSSL's name (`ssl.ciphers.*`, `%DOWNSTREAM_TLS_CIPHER%`).
    pub cipher: &'static str,
    /// The group of the key exchange (`ssl.curves.*`); none in a resumed session of TLS 1.2.
    pub curve: Option<&'static str>,
    /// The application protocol, if one was chosen.
    pub alpn: Option<Vec<u8>>,
    /// The server name that the client sent, lower case (`%REQUESTED_SERVER_NAME%`).
    pub server_name: Option<String>,
    /// Whether a session was resumed (`ssl.session_reused`).
    pub resumed: bool,
    /// Our own certificate, if we showed one.
    pub local: Option<Arc<Certificate>>,
    /// The peer's, if it showed one; else `ssl.no_certificate` counts it.
    pub peer: Option<Peer>,
    /// Whether the peer's certificate was verified, by a CA or a hash, and found right.
    pub validated: bool,
}

/// The certificates that the peer showed.
#[derive(Clone, Debug)]
pub struct Peer {
    /// What the leaf says.
    pub certificate: Certificate,
    /// The chain, the leaf first.
    chain: Vec<CertificateDer<'static>>,
}

impl Peer {
    pub(crate) fn new(chain: &[CertificateDer<'static>]) -> Option<Peer> {
        Some(Peer { certificate: Certificate::read(chain.first()?)?, chain: chain.to_vec() })
    }

    /// SHA-256 of the leaf, lower-case hexadecimal (x-forwarded-client-cert: `Hash`).
    pub fn fingerprint_sha256(&self) -> String {
        hex(&sha256(&self.chain[0]))
    }

    /// The leaf as PEM, percent-encoded (x-forwarded-client-cert: `Cert`).
    pub fn url_encoded_pem(&self) -> String {
        url_encoded(&pem(&self.chain[..1]))
    }

    /// The chain as PEM, percent-encoded (x-forwarded-client-cert: `Chain`).
    pub fn url_encoded_chain(&self) -> String {
        url_encoded(&pem(&self.chain))
    }
}

/// RFC 7468 §5.
fn pem(chain: &[CertificateDer<'_>]) -> String {
    const LINE: usize = 64;
    let mut text = String::new();
    for der in chain {
        text.push_str("-----BEGIN CERTIFICATE-----\n");
        let digits = STANDARD.encode(der);
        let mut rest = digits.as_str();
        while !rest.is_empty() {
            let (line, after) = rest.split_at(rest.len().min(LINE));
            text.push_str(line);
            text.push('\n');
            rest = after;
        }
        text.push_str("-----END CERTIFICATE-----\n");
    }
    text
}

/// What Envoy encodes of a PEM text in a header: the line ends, spaces, and what base64 has beyond letters and digits.
fn url_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() + text.len() / 16);
    for character in text.chars() {
        match character {
            '\n' => encoded.push_str("%0A"),
            ' ' => encoded.push_str("%20"),
            '+' => encoded.push_str("%2B"),
            '/' => encoded.push_str("%2F"),
            '=' => encoded.push_str("%3D"),
            other => encoded.push(other),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pem_is_encoded_for_a_header() {
        let der = CertificateDer::from(vec![0xFB; 50]);
        let text = pem(&[der]);
        assert!(text.lines().all(|line| line.len() <= 64), "{text}");
        let encoded = url_encoded(&text);
        assert!(encoded.starts_with("-----BEGIN%20CERTIFICATE-----%0A%2B%2Fv7"), "{encoded}");
        assert!(!encoded.contains(['\n', ' ', '+', '/', '=']), "{encoded}");
    }
}

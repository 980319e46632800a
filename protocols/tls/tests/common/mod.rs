//! What tests of sessions share: certificates of every kind, and two sessions that talk without a network.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]

use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber, SignatureAlgorithm, date_time_ymd,
};
use ringway_tls::{
    ClientContext, ClientOptions, Identity, Opened, Parameters, Secret, ServerContext, ServerOptions, Session, Target,
    TlsError, Validation, Version,
};

/// A certificate authority.
pub struct Authority {
    pub pem: String,
    params: CertificateParams,
    issuer: Issuer<'static, KeyPair>,
}

/// What of a leaf is not as usual.
#[derive(Clone)]
pub struct Leaf {
    pub names: Vec<rcgen::SanType>,
    pub years: (i32, i32),
    pub usage: Option<ExtendedKeyUsagePurpose>,
    pub algorithm: &'static SignatureAlgorithm,
    pub serial: u64,
}

impl Default for Leaf {
    fn default() -> Leaf {
        Leaf { names: vec![dns("example.com")], years: (2000, 2100), usage: None, algorithm: ECDSA, serial: 0x0A_0B }
    }
}

pub const ECDSA: &SignatureAlgorithm = &rcgen::PKCS_ECDSA_P256_SHA256;
pub const ECDSA_384: &SignatureAlgorithm = &rcgen::PKCS_ECDSA_P384_SHA384;
pub const RSA: &SignatureAlgorithm = &rcgen::PKCS_RSA_SHA256;
pub const ED25519: &SignatureAlgorithm = &rcgen::PKCS_ED25519;

pub fn dns(name: &str) -> rcgen::SanType {
    rcgen::SanType::DnsName(name.try_into().unwrap())
}

pub fn uri(name: &str) -> rcgen::SanType {
    rcgen::SanType::URI(name.try_into().unwrap())
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(2100, 1, 1);
    params
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        Authority::with_end(name, 2100)
    }

    pub fn with_end(name: &str, year: i32) -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = authority_params(name);
        params.not_after = date_time_ymd(year, 1, 1);
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { pem, issuer: Issuer::new(params.clone(), key), params }
    }

    /// An authority below this one; its certificate must be sent along.
    pub fn intermediate(&self, name: &str) -> Authority {
        let key = KeyPair::generate().unwrap();
        let params = authority_params(name);
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        Authority { pem, issuer: Issuer::new(params.clone(), key), params }
    }

    pub fn issue(&self, leaf: &Leaf) -> Identity {
        let key = KeyPair::generate_for(leaf.algorithm).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "Acme, Inc.");
        params.distinguished_name.push(DnType::CommonName, "leaf");
        params.subject_alt_names.clone_from(&leaf.names);
        params.not_before = date_time_ymd(leaf.years.0, 1, 1);
        params.not_after = date_time_ymd(leaf.years.1, 1, 1);
        params.extended_key_usages = leaf.usage.clone().into_iter().collect();
        params.serial_number = Some(SerialNumber::from(leaf.serial));
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        identity(certificate.pem(), key.serialize_pem())
    }

    /// A revocation list of these serial numbers.
    pub fn revoke(&self, serials: &[u64], next_update: i32) -> Vec<u8> {
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(next_update, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap().into_bytes()
    }
}

pub fn identity(chain: String, key: String) -> Identity {
    Identity { certificate_chain: chain.into_bytes(), private_key: Secret::new(key) }
}

/// A certificate that signed itself, with the CA bit as `openssl req -x509` sets it, or without.
pub fn self_signed(authority: bool) -> Identity {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["example.com".to_owned()]).unwrap();
    if authority {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    }
    identity(params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

pub fn trusting(authority: &Authority) -> Validation {
    Validation { trusted_ca: Some(authority.pem.clone().into_bytes()), ..Validation::default() }
}

pub fn server(options: &ServerOptions) -> Arc<ServerContext> {
    ServerContext::new(options).unwrap()
}

pub fn client(options: &ClientOptions) -> Arc<ClientContext> {
    ClientContext::new(options).unwrap()
}

pub fn target(name: &str) -> Target<'_> {
    Target { server_name: Some(name), endpoint: b"origin", subject_alt_names: &[], alpn: &[] }
}

/// One end: a session, and what was received and not consumed.
pub struct End {
    pub session: Session,
    pub input: Vec<u8>,
    pub output: Vec<u8>,
    pub done: bool,
    pub received: Vec<u8>,
    pub closed: bool,
}

impl End {
    pub fn new(session: Session) -> End {
        End { session, input: Vec::new(), output: Vec::new(), done: false, received: Vec::new(), closed: false }
    }

    /// Takes these bytes in, as many at once as `step` says.
    pub fn take(&mut self, bytes: &[u8], step: usize) -> Result<(), TlsError> {
        if bytes.is_empty() {
            return self.turn();
        }
        for piece in bytes.chunks(step) {
            self.input.extend_from_slice(piece);
            self.turn()?;
        }
        Ok(())
    }

    fn turn(&mut self) -> Result<(), TlsError> {
        if !self.done {
            let progress = self.session.handshake(&mut self.input, &mut self.output)?;
            self.input.drain(..progress.consumed);
            self.done = progress.done;
        }
        while self.done && !self.closed {
            match self.session.open(&mut self.input, &mut self.output)? {
                Opened::Partial(length) => {
                    assert!(length > self.input.len());
                    break;
                }
                Opened::Record { consumed, plaintext } => {
                    assert!(consumed >= 5 && plaintext.end <= consumed);
                    self.received.extend_from_slice(&self.input[plaintext]);
                    self.input.drain(..consumed);
                }
                Opened::Closed => {
                    self.closed = true;
                    self.input.clear();
                }
            }
        }
        Ok(())
    }

    pub fn send(&mut self, pieces: &[&[u8]]) -> Result<(), TlsError> {
        let length = pieces.iter().map(|piece| piece.len()).sum();
        let start = self.output.len();
        self.output.resize(start + self.session.sealed_len(length), 0);
        let written = self.session.seal(pieces.iter().copied(), length, &mut self.output[start..])?;
        assert_eq!(start + written, self.output.len());
        Ok(())
    }
}

/// Two ends.
pub struct Pair {
    pub client: End,
    pub server: End,
    /// Bytes that arrive at once.
    pub step: usize,
}

/// What either end came to.
pub type Outcome = (Result<(), TlsError>, Result<(), TlsError>);

/// Two sessions of this version, open.
#[track_caller]
pub fn open(version: Version) -> Pair {
    let parameters = Parameters { version_min: version, version_max: version, ..Parameters::default() };
    let server = server(&ServerOptions {
        certificates: vec![self_signed(false)],
        parameters: parameters.clone(),
        ..ServerOptions::default()
    });
    let client = client(&ClientOptions { parameters, ..ClientOptions::default() });
    let mut pair = Pair::new(&client, &server, target("example.com"));
    pair.open();
    pair
}

impl Pair {
    pub fn new(client: &Arc<ClientContext>, server: &Arc<ServerContext>, target: Target<'_>) -> Pair {
        Pair {
            client: End::new(Session::client(client, target).unwrap()),
            server: End::new(Session::server(server)),
            step: usize::MAX,
        }
    }

    /// Carries bytes to and fro until nobody has any; an end that failed hears nothing more.
    pub fn run(&mut self) -> Outcome {
        let (mut client, mut server) = (self.client.take(&[], self.step), Ok(()));
        loop {
            let to_server = std::mem::take(&mut self.client.output);
            let to_client = std::mem::take(&mut self.server.output);
            if to_server.is_empty() && to_client.is_empty() {
                return (client, server);
            }
            if server.is_ok() && !to_server.is_empty() {
                server = self.server.take(&to_server, self.step);
            }
            if client.is_ok() && !to_client.is_empty() {
                client = self.client.take(&to_client, self.step);
            }
        }
    }

    /// Runs it and asks that both are content.
    #[track_caller]
    pub fn open(&mut self) {
        assert_eq!(self.run(), (Ok(()), Ok(())));
        assert!(self.client.done && self.server.done);
    }

    /// Data each way.
    #[track_caller]
    pub fn echo(&mut self, bytes: &[u8]) {
        self.client.send(&[bytes]).unwrap();
        self.open();
        assert!(self.server.received == bytes, "what the server received differs");
        let (first, second) = bytes.split_at(bytes.len() / 3);
        self.server.send(&[first, &[], second]).unwrap();
        self.open();
        assert!(self.client.received == bytes, "what the client received differs");
        self.client.received.clear();
        self.server.received.clear();
    }
}

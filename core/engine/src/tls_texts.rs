//! What an access log says of a connection's TLS (Envoy: `DOWNSTREAM_TLS_*`, `DOWNSTREAM_PEER_*`, `DOWNSTREAM_LOCAL_*`).
//!
//! Made when a log first asks, once for a connection. Whatever somebody has had certified, it stays one line.

use std::cell::OnceCell;
use std::rc::Rc;

use ringway_model::format::Fact;
use ringway_observe::format::Value;
use ringway_tls::{AltName, Certificate, Info};

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsTexts(OnceCell<Rc<Texts>>);

#[derive(Debug)]
struct Texts {
    fingerprint: String,
    pem: String,
    peer: Names,
    local: Names,
}

/// The alternative names of a certificate by kind, each list behind commas, and its subject.
#[derive(Debug, Default)]
struct Names {
    subject: String,
    issuer: String,
    uris: String,
    dns_names: String,
    addresses: String,
    mails: String,
}

impl Names {
    fn new(certificate: Option<&Certificate>) -> Self {
        let Some(certificate) = certificate else { return Self::default() };
        let mut names =
            Self { subject: line(&certificate.subject), issuer: line(&certificate.issuer), ..Self::default() };
        for name in &certificate.names {
            let list = match name {
                AltName::Uri(_) => &mut names.uris,
                AltName::Dns(_) => &mut names.dns_names,
                AltName::Ip(_) => &mut names.addresses,
                AltName::Email(_) => &mut names.mails,
            };
            if !list.is_empty() {
                list.push(',');
            }
            list.push_str(&line(&name.text()));
        }
        names
    }
}

/// Without what would end a line.
fn line(text: &str) -> String {
    text.replace(char::is_control, "_")
}

impl TlsTexts {
    /// What is said; absent where nothing is, as of all that is not of TLS.
    pub(crate) fn value<'v>(&'v self, info: &'v Info, fact: Fact) -> Value<'v> {
        let texts = self.0.get_or_init(|| {
            let peer = info.peer.as_ref();
            Rc::new(Texts {
                fingerprint: peer.map(|peer| peer.fingerprint_sha256()).unwrap_or_default(),
                pem: peer.map(|peer| peer.url_encoded_pem()).unwrap_or_default(),
                peer: Names::new(peer.map(|peer| &peer.certificate)),
                local: Names::new(info.local.as_deref()),
            })
        });
        let text = match fact {
            Fact::DownstreamTlsVersion => return Value::Text(info.version.name().as_bytes()),
            Fact::DownstreamTlsCipher => return Value::Text(info.cipher.as_bytes()),
            Fact::DownstreamPeerFingerprint256 => &texts.fingerprint,
            Fact::DownstreamPeerCert => &texts.pem,
            Fact::DownstreamPeerSubject => &texts.peer.subject,
            Fact::DownstreamPeerIssuer => &texts.peer.issuer,
            Fact::DownstreamPeerUriSan => &texts.peer.uris,
            Fact::DownstreamPeerDnsSan => &texts.peer.dns_names,
            Fact::DownstreamPeerIpSan => &texts.peer.addresses,
            Fact::DownstreamPeerEmailSan => &texts.peer.mails,
            Fact::DownstreamLocalSubject => &texts.local.subject,
            Fact::DownstreamLocalUriSan => &texts.local.uris,
            Fact::DownstreamLocalDnsSan => &texts.local.dns_names,
            Fact::DownstreamLocalIpSan => &texts.local.addresses,
            Fact::DownstreamLocalEmailSan => &texts.local.mails,
            // It stands in the certificate as it is told.
            Fact::DownstreamPeerSerial => info.peer.as_ref().map_or("", |peer| &peer.certificate.serial),
            _ => "",
        };
        if text.is_empty() { Value::Absent } else { Value::Text(text.as_bytes()) }
    }
}

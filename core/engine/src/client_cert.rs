//! What x-forwarded-client-cert says of a client that showed a certificate. Envoy's form: `By=..;Hash=..;Subject="..";URI=..`, each client behind a comma.
//!
//! The same for all requests of a connection: made once, for the rules that it was made for.

use std::cell::RefCell;
use std::fmt::Write;
use std::rc::Rc;

use ringway_model::ClientCertDetails;
use ringway_tls::{Info, Peer};

/// Our words of one connection's client, once somebody asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientCertText(RefCell<Option<(ClientCertDetails, Rc<str>)>>);

impl ClientCertText {
    /// What is said of the client under these rules; `None`: it showed no certificate.
    pub(crate) fn get(&self, info: &Info, details: ClientCertDetails) -> Option<Rc<str>> {
        let peer = info.peer.as_ref()?;
        let mut known = self.0.borrow_mut();
        let (_, text) = match &*known {
            Some(known) if known.0 == details => known.clone(),
            _ => known.insert((details, text(info, peer, details).into())).clone(),
        };
        Some(text)
    }
}

fn text(info: &Info, peer: &Peer, details: ClientCertDetails) -> String {
    let mut text = String::new();
    let mut say = |key: &str, value: &str, quote: &str| {
        // A field is one line, whatever somebody has had certified.
        if !value.chars().any(char::is_control) {
            let before = if text.is_empty() { "" } else { ";" };
            let _ = write!(text, "{before}{key}={quote}{value}{quote}");
        }
    };
    for uri in info.local.iter().flat_map(|local| local.uris()) {
        say("By", uri, "");
    }
    say("Hash", &peer.fingerprint_sha256(), "");
    if details.cert {
        say("Cert", &peer.url_encoded_pem(), "\"");
    }
    if details.chain {
        say("Chain", &peer.url_encoded_chain(), "\"");
    }
    if details.subject {
        say("Subject", &peer.certificate.subject, "\"");
    }
    if details.uri {
        let mut uris = peer.certificate.uris().peekable();
        if uris.peek().is_none() {
            say("URI", "", "");
        }
        for uri in uris {
            say("URI", uri, "");
        }
    }
    if details.dns {
        for name in peer.certificate.dns_names() {
            say("DNS", name, "");
        }
    }
    text
}

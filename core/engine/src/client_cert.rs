//! What x-forwarded-client-cert says of a client that showed a certificate. Envoy's form: `By=..;Hash=..;Subject="..";URI=..`, each client behind a comma.
//!
//! The same for all requests of a connection: made once, for the rules that it was made for.

use std::cell::RefCell;
use std::fmt::{Display, Write};
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
    for uri in info.local.iter().flat_map(|local| local.uris()) {
        say_name(&mut text, "By", uri);
    }
    say(&mut text, "Hash", &peer.fingerprint_sha256());
    if details.cert {
        say(&mut text, "Cert", &format_args!("\"{}\"", peer.url_encoded_pem()));
    }
    if details.chain {
        say(&mut text, "Chain", &format_args!("\"{}\"", peer.url_encoded_chain()));
    }
    if details.subject && !peer.certificate.subject.chars().any(char::is_control) {
        // RFC 2253 has put a backslash before what would end it.
        say(&mut text, "Subject", &format_args!("\"{}\"", peer.certificate.subject));
    }
    if details.uri {
        let mut uris = peer.certificate.uris().peekable();
        if uris.peek().is_none() {
            say(&mut text, "URI", &"");
        }
        for uri in uris {
            say_name(&mut text, "URI", uri);
        }
    }
    if details.dns {
        for name in peer.certificate.dns_names() {
            say_name(&mut text, "DNS", name);
        }
    }
    text
}

fn say(text: &mut String, key: &str, value: &dyn Display) {
    let before = if text.is_empty() { "" } else { ";" };
    let _ = write!(text, "{before}{key}={value}");
}

/// Says what somebody has had certified, whatever it is: what would end a value is within quotes, and a quote behind a backslash (Envoy,
/// HTTP header manipulation, x-forwarded-client-cert). Left out is what readers take differently: a backslash, which is in no URI
/// (RFC 3986 §2) and no host name, and what is not one line.
fn say_name(text: &mut String, key: &str, name: &str) {
    if name.chars().any(|letter| letter.is_control() || letter == '\\') {
        return;
    }
    if name.contains([',', ';', '=', '"']) {
        say(text, key, &format_args!("\"{}\"", name.replace('"', "\\\"")));
    } else {
        say(text, key, &name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pairs of one element, as whoever goes by Envoy's description reads them.
    fn pairs(text: &str) -> Vec<(String, String)> {
        let mut letters = text.chars().peekable();
        let mut pairs = Vec::new();
        while letters.peek().is_some() {
            let key: String = std::iter::from_fn(|| letters.next_if(|letter| *letter != '=')).collect();
            assert_eq!(letters.next(), Some('='), "{text}");
            let mut value = String::new();
            if letters.next_if_eq(&'"').is_some() {
                loop {
                    match letters.next().expect("a quote at the end") {
                        '"' => break,
                        '\\' if letters.next_if_eq(&'"').is_some() => value.push('"'),
                        letter => value.push(letter),
                    }
                }
            } else {
                value.extend(std::iter::from_fn(|| letters.next_if(|letter| *letter != ';')));
                assert!(!value.contains([',', '=', '"']), "{text}");
            }
            assert!(matches!(letters.next(), None | Some(';')), "{text}");
            pairs.push((key, value));
        }
        pairs
    }

    /// Guards against a name that says more than itself: `spiffe://a;URI=spiffe://admin` is one name, whatever it looks like.
    #[test]
    fn a_name_is_one_value() {
        for (name, wire) in [
            ("spiffe://td/sa/good", Some("spiffe://td/sa/good")),
            ("spiffe://a;URI=spiffe://admin", Some("\"spiffe://a;URI=spiffe://admin\"")),
            ("a,By=spiffe://b;URI=spiffe://admin", Some("\"a,By=spiffe://b;URI=spiffe://admin\"")),
            ("\";URI=spiffe://admin", Some("\"\\\";URI=spiffe://admin\"")),
            ("https://a/?b=c", Some("\"https://a/?b=c\"")),
            ("a\\\";URI=spiffe://admin", None),
            ("a\\", None),
            ("a\r\nx-admin: 1", None),
            ("", Some("")),
        ] {
            let mut text = String::from("Hash=0");
            say_name(&mut text, "URI", name);
            assert_eq!(text.strip_prefix("Hash=0;URI="), wire, "{name:?}");
            say_name(&mut text, "DNS", "last");
            let mut due = vec![("Hash", "0"), ("URI", name), ("DNS", "last")];
            due.retain(|(key, _)| *key != "URI" || wire.is_some());
            let found = pairs(&text);
            let found: Vec<(&str, &str)> = found.iter().map(|(key, value)| (&**key, &**value)).collect();
            assert_eq!(found, due, "{name:?}");
        }
    }
}

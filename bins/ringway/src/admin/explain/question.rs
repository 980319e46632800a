//! The query of `/explain`: what each parameter must be, and what stands for one that is not given.

use std::net::{IpAddr, SocketAddr};

use ringway_engine::{Peer, Question};

/// What a client of TLS asks for that says nothing else: as browsers and curl do.
const PROTOCOLS: [&str; 2] = ["h2", "http/1.1"];

/// Reads the parameters of a query, in order.
///
/// # Errors
/// What is wrong with the first that is wrong.
pub(super) fn read(query: &[(String, String)]) -> Result<Question, String> {
    let mut question = Question { method: "GET".into(), ..Question::default() };
    let (mut url, mut sni, mut alpn, mut peer) = (None, None, None, None::<Peer>);
    for (name, value) in query {
        if value.chars().any(|letter| letter.is_control() || letter == char::REPLACEMENT_CHARACTER) {
            return Err(format!("{name}: it holds what is no text"));
        }
        let wrong = |what: &str| format!("{name}: {value:?} is not {what}");
        match name.as_str() {
            "url" => url = Some(Url::read(value).map_err(|why| format!("url: {value:?}: {why}"))?),
            "method" if is_token(value) => question.method.clone_from(value),
            "method" => return Err(wrong("a method")),
            "header" => {
                let (name, text) = value.split_once(':').ok_or_else(|| wrong("NAME: VALUE"))?;
                if !is_token(name) {
                    return Err(wrong("NAME: VALUE"));
                }
                question.fields.push((name.into(), text.trim().into()));
            }
            "listener" => question.listener = Some(value.clone()),
            "destination" => question.destination = Some(value.parse().map_err(|_| wrong("IP:PORT"))?),
            "original_destination" => {
                question.original_destination = Some(value.parse().map_err(|_| wrong("IP:PORT"))?);
            }
            "source" => question.source = Some(end(value).ok_or_else(|| wrong("IP or IP:PORT"))?),
            "direct_source" => question.direct_source = Some(end(value).ok_or_else(|| wrong("IP or IP:PORT"))?),
            "sni" => sni = Some(value.clone()),
            "alpn" => alpn = Some(value.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()),
            "peer_uri" => peer.get_or_insert_default().uris.push(value.clone()),
            "peer_dns" => peer.get_or_insert_default().dns_names.push(value.clone()),
            "peer_subject" => peer.get_or_insert_default().subject.clone_from(value),
            "format" if matches!(value.as_str(), "text" | "json") => {}
            "format" => return Err(wrong("text or json")),
            _ => return Err(format!("{name:?} is no parameter of /explain; /help lists them")),
        }
    }
    let url = url.ok_or("url: say which, as in /explain?url=http://host/path")?;
    let ip = url.host.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    if question.listener.is_none() && question.destination.is_none() {
        question.destination = ip.map(|ip| SocketAddr::new(ip, url.port));
    }
    if !url.is_tls
        && let Some(name) = if sni.is_some() { Some("sni") } else { alpn.as_ref().map(|_| "alpn") }
    {
        return Err(format!("{name}: it goes with an https URL"));
    }
    if !url.is_tls && peer.is_some() {
        return Err("a certificate (peer_uri, peer_dns, peer_subject) goes with an https URL".into());
    }
    question.port = Some(url.port);
    question.is_tls = url.is_tls;
    if url.is_tls {
        question.server_name = sni.unwrap_or_else(|| if ip.is_some() { String::new() } else { url.host.clone() });
        question.protocols = alpn.unwrap_or_else(|| PROTOCOLS.map(String::from).to_vec());
    }
    question.peer = peer;
    (question.authority, question.path) = (url.authority, url.path);
    Ok(question)
}

/// An address, of any port where none is given.
fn end(text: &str) -> Option<SocketAddr> {
    let any_port = || Some(SocketAddr::new(text.parse().ok()?, 0));
    text.parse().ok().or_else(any_port)
}

/// RFC 9110 §5.6.2.
fn is_token(text: &str) -> bool {
    let is_tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_tchar)
}

/// An absolute URL.
#[derive(Debug, PartialEq, Eq)]
struct Url {
    is_tls: bool,
    /// As it stands there, its port with it.
    authority: String,
    host: String,
    port: u16,
    /// With the query.
    path: String,
}

impl Url {
    fn read(text: &str) -> Result<Url, &'static str> {
        let (scheme, rest) = text.split_once("://").ok_or("a URL begins with http:// or https://")?;
        let is_tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err("a URL begins with http:// or https://"),
        };
        if text.contains('#') {
            return Err("a fragment is not sent");
        }
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err("a name of a user is not sent");
        }
        // A colon inside brackets begins no port.
        let colon = authority.rfind(':').filter(|colon| !authority[*colon..].contains(']'));
        let (host, port) = match colon {
            Some(colon) => (&authority[..colon], authority[colon + 1..].parse().map_err(|_| "its port is no number")?),
            None => (authority, if is_tls { 443 } else { 80 }),
        };
        if host.is_empty() {
            return Err("it names no host");
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        let (authority, host) = (authority.to_owned(), host.to_owned());
        Ok(Url { is_tls, authority, host, port, path: format!("{slash}{path}") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(query: &[(&str, &str)]) -> Result<Question, String> {
        read(&query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect::<Vec<_>>())
    }

    #[test]
    fn urls_are_read() {
        let check = |text: &str, is_tls, authority: &str, host: &str, port, path: &str| {
            let (authority, host, path) = (authority.into(), host.into(), path.into());
            assert_eq!(Url::read(text), Ok(Url { is_tls, authority, host, port, path }), "{text}");
        };
        check("http://a", false, "a", "a", 80, "/");
        check("HTTPS://a:8443/x?y=http://z", true, "a:8443", "a", 8443, "/x?y=http://z");
        check("http://a?x", false, "a", "a", 80, "/?x");
        check("https://[::1]/", true, "[::1]", "[::1]", 443, "/");
        check("http://[::1]:81/", false, "[::1]:81", "[::1]", 81, "/");
        for text in [
            "",
            "a/b",
            "ftp://a",
            "http://",
            "http:///x",
            "http://a:b/",
            "http://a:70000/",
            "http://u@a/",
            "http://a/#x",
        ] {
            assert!(Url::read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_not_given_is_assumed_as_curl_does() {
        let question = ask(&[("url", "https://a.test/x")]).expect("a question");
        assert_eq!((question.server_name.as_str(), question.destination), ("a.test", None));
        assert_eq!(question.protocols, PROTOCOLS);
        let question = ask(&[("url", "https://127.0.0.1:1/x"), ("alpn", "")]).expect("a question");
        assert_eq!((question.server_name.as_str(), question.protocols.len()), ("", 0));
        assert_eq!(question.destination, Some(([127, 0, 0, 1], 1).into()));
        let question = ask(&[("url", "http://127.0.0.1/"), ("listener", "l"), ("source", "10.0.0.1")]).expect("one");
        assert_eq!((question.destination, question.source), (None, Some(([10, 0, 0, 1], 0).into())));
        let header = [("url", "http://a"), ("header", "X-A:  b:c "), ("header", "x-a: 2"), ("method", "PUT")];
        let question = ask(&header).expect("a question");
        assert_eq!(question.fields, [("X-A".into(), "b:c".into()), ("x-a".into(), "2".into())]);
    }

    #[test]
    fn what_is_no_question_is_refused_by_name() {
        for (query, word) in [
            (&[][..], "url"),
            (&[("url", "a")], "http://"),
            (&[("url", "http://a"), ("header", "x")], "NAME: VALUE"),
            (&[("url", "http://a"), ("header", "x y: z")], "NAME: VALUE"),
            (&[("url", "http://a"), ("header", "x: a\r\nb: c")], "no text"),
            (&[("url", "http://a"), ("method", "G T")], "method"),
            (&[("url", "http://a"), ("source", "here")], "source"),
            (&[("url", "http://a"), ("destination", "10.0.0.1")], "IP:PORT"),
            (&[("url", "http://a"), ("sni", "a")], "https"),
            (&[("url", "http://a"), ("peer_uri", "spiffe://a")], "https"),
            (&[("url", "http://a"), ("format", "html")], "text or json"),
            (&[("url", "http://a"), ("colour", "red")], "colour"),
        ] {
            let refusal = ask(query).expect_err("no question");
            assert!(refusal.contains(word), "{query:?}: {refusal}");
        }
    }
}

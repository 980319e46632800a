//! `VirtualHost.domains`, and the look-up from a host to the one that it belongs to.
//!
//! It costs one hash look-up and two walks along the host's own bytes, however many domains there are.

use std::collections::HashMap;
use std::fmt;

use super::radix::Radix;

/// One entry of `VirtualHost.domains`. Texts are lower case: hosts are compared without regard to case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Domain {
    /// `www.example.org`.
    Exact(String),
    /// `*.example.org`: held as `.example.org`. The `*` stands for at least one character.
    Suffix(String),
    /// `www.example.*`: held as `www.example.`. The `*` stands for at least one character.
    Prefix(String),
    /// `*`.
    Any,
}

impl Domain {
    /// Reads one entry as Envoy writes it; `None` where the `*` is not alone, first or last, or the text is empty.
    pub fn parse(text: &str) -> Option<Domain> {
        let text = text.to_ascii_lowercase();
        match text.matches('*').count() {
            0 if !text.is_empty() => Some(Domain::Exact(text)),
            1 if text == "*" => Some(Domain::Any),
            1 => match (text.strip_prefix('*'), text.strip_suffix('*')) {
                (Some(rest), _) => Some(Domain::Suffix(rest.to_owned())),
                (_, Some(rest)) => Some(Domain::Prefix(rest.to_owned())),
                _ => None,
            },
            _ => None,
        }
    }

    /// How exactly it says what this host is; `None`: it is another. Of a virtual host's domains that with the most is the one that led to it.
    pub(super) fn exactness(&self, host: &[u8]) -> Option<(u8, usize)> {
        let host = host.to_ascii_lowercase();
        // The `*` stands for at least one character.
        let is_longer = |text: &str| host.len() > text.len();
        match self {
            Domain::Exact(text) => (host == text.as_bytes()).then_some((3, text.len())),
            Domain::Suffix(text) => (is_longer(text) && host.ends_with(text.as_bytes())).then_some((2, text.len())),
            Domain::Prefix(text) => (is_longer(text) && host.starts_with(text.as_bytes())).then_some((1, text.len())),
            Domain::Any => Some((0, 0)),
        }
    }
}

/// As Envoy writes it.
impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Domain::Exact(text) => f.write_str(text),
            Domain::Suffix(text) => write!(f, "*{text}"),
            Domain::Prefix(text) => write!(f, "{text}*"),
            Domain::Any => f.write_str("*"),
        }
    }
}

/// The domains of a route configuration, by kind.
#[derive(Clone, Default, PartialEq)]
pub(super) struct DomainIndex {
    exact: HashMap<String, usize>,
    /// By the text read backwards.
    suffixes: Ends,
    prefixes: Ends,
    any: Option<usize>,
}

/// What it says is all in the virtual hosts.
impl fmt::Debug for DomainIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DomainIndex").finish_non_exhaustive()
    }
}

/// Texts that a host begins with, longest first, and the virtual host of each.
#[derive(Clone, Debug, Default, PartialEq)]
struct Ends {
    radix: Radix,
    hosts: Vec<usize>,
}

impl Ends {
    fn new(mut texts: Vec<(Vec<u8>, usize)>) -> Self {
        texts.sort_unstable();
        let (keys, hosts): (Vec<_>, Vec<_>) = texts.into_iter().unzip();
        Self { radix: Radix::new(&keys), hosts }
    }

    fn longest(&self, host: &[u8]) -> Option<usize> {
        let mut longest = None;
        self.radix.walk(host, false, |key, all| {
            // The `*` stands for at least one character.
            if !all {
                longest = Some(self.hosts[key as usize]);
            }
        });
        longest
    }
}

/// The longest host that is looked up: a DNS name is at most 253 bytes (RFC 1035 §2.3.4), a port adds 6. A longer one
/// matches nothing but `*`.
pub(super) const HOST_BYTES_MAX: usize = 260;

impl DomainIndex {
    /// Builds the index over the domains of each virtual host in turn.
    ///
    /// # Errors
    /// The first domain that is claimed twice, and the virtual host that claims it again.
    pub(super) fn new<'d>(hosts: impl Iterator<Item = &'d [Domain]>) -> Result<Self, (Domain, usize)> {
        let mut index = Self::default();
        let (mut suffixes, mut prefixes) = (HashMap::new(), HashMap::new());
        for (position, domains) in hosts.enumerate() {
            for domain in domains {
                let taken = match domain {
                    Domain::Exact(text) => index.exact.insert(text.clone(), position),
                    Domain::Suffix(text) => suffixes.insert(text.bytes().rev().collect(), position),
                    Domain::Prefix(text) => prefixes.insert(text.clone().into_bytes(), position),
                    Domain::Any => index.any.replace(position),
                };
                if taken.is_some() {
                    return Err((domain.clone(), position));
                }
            }
        }
        index.suffixes = Ends::new(suffixes.into_iter().collect());
        index.prefixes = Ends::new(prefixes.into_iter().collect());
        Ok(index)
    }

    /// The virtual host for a host: exact before suffix before prefix before `*`, and of several the longest (Envoy,
    /// `VirtualHost.domains`).
    pub(super) fn find(&self, host: &[u8]) -> Option<usize> {
        if self.exact.is_empty() && self.suffixes.hosts.is_empty() && self.prefixes.hosts.is_empty() {
            return self.any;
        }
        let mut lower = [0u8; HOST_BYTES_MAX];
        let Some(lower) = lower.get_mut(..host.len()) else { return self.any };
        lower.copy_from_slice(host);
        lower.make_ascii_lowercase();
        if let Some(found) = std::str::from_utf8(lower).ok().and_then(|host| self.exact.get(host)) {
            return Some(*found);
        }
        if !self.prefixes.hosts.is_empty() || !self.suffixes.hosts.is_empty() {
            let mut backwards = [0u8; HOST_BYTES_MAX];
            let backwards = &mut backwards[..host.len()];
            backwards.copy_from_slice(lower);
            backwards.reverse();
            let found = self.suffixes.longest(backwards).or_else(|| self.prefixes.longest(lower));
            if found.is_some() {
                return found;
            }
        }
        self.any
    }
}

/// A host without its port: what follows the last colon outside brackets, where that is a number (Envoy,
/// `ignore_port_in_host_matching`).
pub(super) fn without_port(host: &[u8]) -> &[u8] {
    let Some(colon) = host.iter().rposition(|&byte| byte == b':') else { return host };
    // An IPv6 address without brackets is no host, and one in brackets ends before its port.
    let inside = host[colon..].contains(&b']');
    let number = host[colon + 1..].iter().all(u8::is_ascii_digit) && colon + 1 < host.len();
    if inside || !number { host } else { &host[..colon] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports() {
        for (host, expect) in [
            ("a", "a"),
            ("a:80", "a"),
            ("a:", "a:"),
            ("[::1]", "[::1]"),
            ("[::1]:80", "[::1]"),
            ("a:b", "a:b"),
            ("", ""),
        ] {
            assert_eq!(without_port(host.as_bytes()), expect.as_bytes(), "{host}");
        }
    }

    #[test]
    fn no_domain_with_a_star_in_the_middle() {
        for text in ["", "a*b", "*.a.*", "**"] {
            assert_eq!(Domain::parse(text), None, "{text}");
        }
    }
}

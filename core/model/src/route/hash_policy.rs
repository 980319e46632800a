//! `envoy.config.route.v3.RouteAction.HashPolicy`: what of a request says which endpoint it goes to.
//!
//! It is asked only where the cluster goes by hashes. What comes out is Envoy's own number, but for fields that Envoy joins when it reads
//! them (`x-forwarded-for` and other lists of its own, sent in several lines).

use std::io::Write;
use std::net::IpAddr;
use std::ops::Range;

use super::header::Subject;
use super::query::query_parameter;
use super::regex::RegexCaches;
use super::request::RequestView;
use super::rewrite::Rewrite;
use crate::hash::{hash_of_ip, xx_hash};

/// One of a route's.
#[derive(Clone, Debug, PartialEq)]
pub struct HashPolicy {
    /// `policy_specifier`.
    pub source: HashSource,
    /// `terminal`: with a hash from it or one before, those behind it are not asked.
    pub terminal: bool,
}

/// More than that of one route are refused: who was given cookies is remembered in a word of 32 bits.
pub const HASH_POLICIES_MAX: usize = 32;

/// `HashPolicy.policy_specifier`.
#[derive(Clone, Debug, PartialEq)]
pub enum HashSource {
    /// `header`: its values, in alphabetical order, each after the rewrite.
    Header(Subject, Option<Rewrite>),
    /// `cookie`.
    Cookie(HashCookie),
    /// `connection_properties.source_ip`: the client's address.
    SourceIp,
    /// `query_parameter`: the first of this name. Nothing is decoded.
    QueryParameter(String),
}

/// `HashPolicy.Cookie`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashCookie {
    /// `name`; case counts.
    pub name: String,
    /// `ttl`, in seconds: who has no such cookie is given one that lasts as long; 0: as long as its session. `None`: nobody is given one.
    pub ttl: Option<u64>,
    /// `path`; may be empty.
    pub path: String,
    /// `attributes`: name and value, which may be empty.
    pub attributes: Vec<(String, String)>,
}

/// What policies make of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hashed {
    /// `None`: none of them found anything.
    pub hash: Option<u64>,
    /// The policies, each a bit, whose cookies the client is given.
    pub given: u32,
}

/// Memory for the values of one field, kept from one request to the next.
#[derive(Debug, Default)]
pub struct HashValues {
    bytes: Vec<u8>,
    each: Vec<Range<usize>>,
}

impl HashPolicy {
    /// The hash of a request by all of these. `client` is its address; `fresh` is the value of a cookie that it is given.
    pub fn hash(
        policies: &[HashPolicy],
        request: &impl RequestView,
        client: impl Fn() -> Option<IpAddr>,
        fresh: impl Fn() -> u64,
        regexes: &mut RegexCaches,
        values: &mut HashValues,
    ) -> Hashed {
        let mut hashed = Hashed::default();
        for (at, policy) in policies.iter().enumerate() {
            let found = match &policy.source {
                HashSource::Header(subject, rewrite) => {
                    hash_of_field(request, subject, rewrite.as_ref(), regexes, values)
                }
                HashSource::Cookie(cookie) => match cookie_value(request, cookie.name.as_bytes()) {
                    Some(value) if !value.is_empty() => Some(xx_hash(value, 0)),
                    _ if cookie.ttl.is_some() => {
                        hashed.given |= 1 << at;
                        Some(xx_hash(&hex(fresh()), 0))
                    }
                    _ => None,
                },
                HashSource::SourceIp => client().map(hash_of_ip),
                HashSource::QueryParameter(name) => {
                    query_parameter(request.path(), name.as_bytes()).map(|value| xx_hash(value, 0))
                }
            };
            if let Some(found) = found {
                // Turned by a bit: two that are the same do not undo each other.
                hashed.hash = Some(hashed.hash.map_or(0, |before| before.rotate_left(1)) ^ found);
            }
            if policy.terminal && hashed.hash.is_some() {
                break;
            }
        }
        hashed
    }
}

fn hash_of_field(
    request: &impl RequestView,
    subject: &Subject,
    rewrite: Option<&Rewrite>,
    regexes: &mut RegexCaches,
    HashValues { bytes, each }: &mut HashValues,
) -> Option<u64> {
    bytes.clear();
    each.clear();
    let mut take = |value: &[u8]| {
        let start = bytes.len();
        match rewrite {
            Some(rewrite) => rewrite.apply(value, regexes, bytes),
            None => bytes.extend_from_slice(value),
        }
        each.push(start..bytes.len());
    };
    match subject {
        Subject::Method => take(request.method()),
        Subject::Path => take(request.path()),
        Subject::Authority => take(request.authority()),
        Subject::Scheme => take(request.scheme()),
        Subject::Field(name) => request.values(name).for_each(take),
    }
    // Whatever order they were sent in.
    each.sort_unstable_by(|one, other| bytes[one.clone()].cmp(&bytes[other.clone()]));
    let hash = each.iter().fold(0, |hash, value| xx_hash(&bytes[value.clone()], hash));
    (!each.is_empty()).then_some(hash)
}

/// The first cookie of this name; without the quotes around its value (RFC 6265 §4.1.1).
fn cookie_value<'r>(request: &'r impl RequestView, name: &[u8]) -> Option<&'r [u8]> {
    request.values("cookie").flat_map(|list| list.split(|&byte| byte == b';')).find_map(|cookie| {
        let (key, value) = cookie.split_at(cookie.iter().position(|&byte| byte == b'=')?);
        let spaces = key.iter().take_while(|&&byte| byte == b' ').count();
        let value = &value[1..];
        let inner = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
        (&key[spaces..] == name).then(|| inner.unwrap_or(value))
    })
}

impl HashCookie {
    /// Appends the value of `Set-Cookie` that gives a client its cookie.
    pub fn write(&self, fresh: u64, out: &mut Vec<u8>) {
        out.extend_from_slice(self.name.as_bytes());
        out.extend_from_slice(b"=\"");
        out.extend_from_slice(&hex(fresh));
        out.push(b'"');
        if let Some(seconds) = self.ttl.filter(|seconds| *seconds > 0) {
            write!(out, "; Max-Age={seconds}").expect("memory takes all");
        }
        let path = Some(&self.path).filter(|path| !path.is_empty()).map(|path| ("Path", path.as_str()));
        let own = self.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in path.into_iter().chain(own).chain([("HttpOnly", "")]) {
            out.extend_from_slice(b"; ");
            out.extend_from_slice(name.as_bytes());
            if !value.is_empty() {
                out.push(b'=');
                out.extend_from_slice(value.as_bytes());
            }
        }
    }
}

fn hex(number: u64) -> [u8; 16] {
    std::array::from_fn(|at| b"0123456789abcdef"[(number >> (60 - 4 * at)) as usize & 15])
}

#[cfg(test)]
mod tests {
    use super::super::regex::{Regexes, Substitution};
    use super::super::request::tests::Sample;
    use super::*;

    fn header(name: &str) -> HashPolicy {
        HashPolicy { source: HashSource::Header(Subject::parse(name), None), terminal: false }
    }

    fn cookie(name: &str, ttl: Option<u64>) -> HashPolicy {
        let cookie = HashCookie { name: name.into(), ttl, path: "/p".into(), attributes: Vec::new() };
        HashPolicy { source: HashSource::Cookie(cookie), terminal: false }
    }

    fn query(name: &str) -> HashPolicy {
        HashPolicy { source: HashSource::QueryParameter(name.into()), terminal: false }
    }

    fn hashed(policies: &[HashPolicy], fields: &'static [(&'static str, &'static str)]) -> Hashed {
        let request = Sample { fields, path: "/p?a=1&b", ..Sample::default() };
        let client = || Some([127, 0, 0, 1].into());
        HashPolicy::hash(policies, &request, client, || 0xab, &mut RegexCaches::default(), &mut HashValues::default())
    }

    #[track_caller]
    fn check(policies: &[HashPolicy], fields: &'static [(&'static str, &'static str)], expect: Option<u64>) {
        assert_eq!(hashed(policies, fields), Hashed { hash: expect, given: 0 });
    }

    #[test]
    fn each_source() {
        let xx = |text: &str| Some(xx_hash(text.as_bytes(), 0));
        check(&[], &[], None);
        check(&[header("x-a")], &[], None);
        check(&[header("X-A")], &[("x-a", "one")], xx("one"));
        check(&[header("x-a")], &[("x-a", "")], xx(""));
        check(&[header("host")], &[], xx("a.test"));
        // Of several values, in any order, each is the seed of the next.
        let both = Some(xx_hash(b"two", xx_hash(b"one", 0)));
        check(&[header("x-a")], &[("x-a", "one"), ("x-a", "two")], both);
        check(&[header("x-a")], &[("x-a", "two"), ("x-b", "-"), ("x-a", "one")], both);
        check(&[query("a")], &[], xx("1"));
        check(&[query("b")], &[], xx(""));
        check(&[query("c")], &[], None);
        check(&[HashPolicy { source: HashSource::SourceIp, terminal: false }], &[], xx("127.0.0.1"));
        for (text, expect) in [
            ("c=1; d=2", xx("1")),
            ("d=2;  c=1", xx("1")),
            ("c=\"1\"", xx("1")),
            ("c=\"", xx("\"")),
            ("c=1=2", xx("1=2")),
            ("d; c=1; c=2", xx("1")),
            ("c=", None),
            ("C=1", None),
        ] {
            let fields: &'static [(&str, &str)] = Box::leak(Box::new([("cookie", text)]));
            check(&[cookie("c", None)], fields, expect);
        }
    }

    #[test]
    fn values_are_hashed_as_they_are_rewritten() {
        let pattern = Regexes::default().search("^/?([a-z]+)[0-9]*$").expect("a pattern");
        let substitution = Substitution::parse(r"\1", &pattern).expect("a rewrite string");
        let source = HashSource::Header(Subject::parse("x-a"), Some(Rewrite { pattern, substitution }));
        let policy = [HashPolicy { source, terminal: false }];
        check(&policy, &[("x-a", "/abc123")], Some(xx_hash(b"abc", 0)));
        check(&policy, &[("x-a", "b2"), ("x-a", "a9")], Some(xx_hash(b"b", xx_hash(b"a", 0))));
    }

    #[test]
    fn policies_add_up_until_one_is_terminal() {
        let [one, two] = [xx_hash(b"1", 0), xx_hash(b"2", 0)];
        let fields: &[(&str, &str)] = &[("x-a", "1"), ("x-b", "2")];
        check(&[header("x-a"), header("x-b")], fields, Some(one.rotate_left(1) ^ two));
        check(&[header("x-a"), header("x-a")], fields, Some(one.rotate_left(1) ^ one));
        let terminal = |name| HashPolicy { terminal: true, ..header(name) };
        check(&[terminal("x-a"), header("x-b")], fields, Some(one));
        check(&[terminal("x-none"), header("x-b")], fields, Some(two));
        // It found nothing itself, but there is a hash.
        check(&[header("x-a"), terminal("x-none"), header("x-b")], fields, Some(one));
    }

    #[test]
    fn who_has_no_cookie_is_given_one() {
        let value = b"00000000000000ab";
        let given = Hashed { hash: Some(xx_hash(value, 0)), given: 0b10 };
        assert_eq!(hashed(&[query("c"), cookie("c", Some(7))], &[]), given);
        assert_eq!(hashed(&[query("c"), cookie("c", Some(0))], &[("cookie", "c=")]), given);
        assert_eq!(hashed(&[cookie("c", Some(7))], &[("cookie", "c=x")]).given, 0);
        let attributes = vec![("SameSite".to_owned(), "Strict".to_owned()), ("Secure".to_owned(), String::new())];
        for (ttl, path, attributes, expect) in [
            (7, "/p", vec![], "c=\"00000000000000ab\"; Max-Age=7; Path=/p; HttpOnly"),
            (0, "", attributes, "c=\"00000000000000ab\"; SameSite=Strict; Secure; HttpOnly"),
        ] {
            let mut out = Vec::new();
            HashCookie { name: "c".into(), ttl: Some(ttl), path: path.into(), attributes }.write(0xab, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), expect);
        }
    }
}

//! What is made of a request's host before anything looks at it (Envoy, `strip_any_host_port` and its like): a dot at its end goes
//! first, then the port.
//!
//! It never makes a host empty. A host without anything to take off costs one look at its end, and none is copied but one whose dot
//! stands before a port.

/// The rules of a connection manager. The default, Envoy's, is to change nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostRules {
    /// `strip_trailing_host_dot`.
    pub strip_dot: bool,
    /// `strip_matching_host_port` and `strip_any_host_port`, of which at most one is set.
    pub strip_port: StripPort,
}

/// Which ports are taken off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StripPort {
    /// None.
    #[default]
    None,
    /// That which the listener has.
    Matching,
    /// All.
    Any,
}

impl HostRules {
    /// The host that a request is for. `local_port` is that at which the connection arrived, asked only where it counts; `out` is
    /// overwritten where the host is not one piece of the received one.
    pub fn apply<'h>(
        &self,
        host: &'h [u8],
        local_port: impl FnOnce() -> Option<u16>,
        out: &'h mut Vec<u8>,
    ) -> &'h [u8] {
        let mut stripped = host;
        if self.strip_dot {
            match host.iter().rposition(|&byte| byte == b'.') {
                Some(dot) if dot > 0 && dot + 1 == host.len() => stripped = &host[..dot],
                Some(dot) if dot > 0 && host[dot + 1] == b':' => {
                    out.clear();
                    out.extend_from_slice(&host[..dot]);
                    out.extend_from_slice(&host[dot + 1..]);
                    stripped = out;
                }
                _ => {}
            }
        }
        let Some((before, port)) = port(stripped).filter(|(before, _)| !before.is_empty()) else { return stripped };
        let goes = match self.strip_port {
            StripPort::None => false,
            StripPort::Matching => local_port().map(u32::from) == Some(port),
            StripPort::Any => true,
        };
        if goes { before } else { stripped }
    }
}

/// What stands before the last colon, and the number behind it. A colon inside brackets begins no port.
fn port(host: &[u8]) -> Option<(&[u8], u32)> {
    let colon = host.iter().rposition(|&byte| byte == b':')?;
    let digits = std::str::from_utf8(&host[colon + 1..]).ok()?;
    // A sign is none of a port's.
    let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
    Some((&host[..colon], number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(strip_dot: bool, strip_port: StripPort, rows: &[(&str, &str)]) {
        for (host, expect) in rows {
            let mut out = b"old".to_vec();
            let rules = HostRules { strip_dot, strip_port };
            let is = rules.apply(host.as_bytes(), || Some(8080), &mut out);
            assert_eq!(String::from_utf8_lossy(is), *expect, "{host}");
        }
    }

    /// Each as Envoy 1.40 answers, but for the host `.`, which Envoy makes empty.
    #[test]
    fn ports_and_dots() {
        let stay = [("a", "a"), ("a:", "a:"), ("a:x", "a:x"), ("[::1]", "[::1]"), ("", ""), (":80", ":80")];
        check(false, StripPort::Any, &stay);
        let any =
            [("a:80", "a"), ("a:080", "a"), ("a:99999", "a"), ("[::1]:80", "[::1]"), ("a.:80", "a."), ("a.", "a.")];
        check(false, StripPort::Any, &any);
        check(false, StripPort::Matching, &stay);
        check(
            false,
            StripPort::Matching,
            &[("a:80", "a:80"), ("a:8080", "a"), ("[::1]:8080", "[::1]"), ("a:08080", "a")],
        );
        check(true, StripPort::None, &stay);
        check(true, StripPort::None, &[("a.", "a"), ("a..", "a."), ("a.:80", "a:80"), ("a.:", "a:"), (".", ".")]);
        check(true, StripPort::None, &[("[::1].:80", "[::1]:80"), ("a.b:80", "a.b:80"), ("1.2.3.4:5", "1.2.3.4:5")]);
        check(true, StripPort::Any, &[("a.:80", "a"), ("a.:", "a:"), ("a.", "a"), ("[::1].:80", "[::1]")]);
    }
}

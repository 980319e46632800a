//! The four forms of a request target (RFC 9112 §3.2) and what they say of path and authority.
//!
//! It never normalises: the path reaches the origin as it came (RFC 9110 §7.7); rewriting is the engine's, by configuration.

use super::authority;
use crate::chars::is_target;
use crate::error::Rule;
use crate::head::{Method, Path, Span};

/// Where path and authority lie within the head.
pub(super) struct Target {
    pub(super) path: Path,
    /// `None` in origin and asterisk form: the Host field has it.
    pub(super) authority: Option<Span>,
}

/// Reads the target at `bytes[start..end]`, whose bytes are a target's.
pub(super) fn read(bytes: &[u8], start: usize, end: usize, method: Method) -> Result<Target, Rule> {
    let target = &bytes[start..end];
    debug_assert!(target.iter().all(|&b| is_target(b)));
    if method == Method::Connect {
        // RFC 9110 §9.3.6: host and port, nothing else.
        if !authority::is_valid_with_port(target) {
            return Err(Rule::Authority);
        }
        return Ok(Target { path: Path::Span(Span::default()), authority: Some(Span::new(start, end)) });
    }
    match target {
        [b'/', ..] => Ok(Target { path: Path::Span(Span::new(start, end)), authority: None }),
        [b'*'] if method == Method::Options => Ok(Target { path: Path::Asterisk, authority: None }),
        _ => read_absolute(target, start, end, method),
    }
}

fn read_absolute(target: &[u8], start: usize, end: usize, method: Method) -> Result<Target, Rule> {
    let scheme = [b"http://".as_slice(), b"https://"]
        .into_iter()
        .find(|scheme| target.get(..scheme.len()).is_some_and(|prefix| prefix.eq_ignore_ascii_case(scheme)))
        .ok_or(Rule::TargetForm)?;
    let rest = &target[scheme.len()..];
    let authority_len = rest.iter().position(|&b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
    if !authority::is_valid(&rest[..authority_len]) {
        return Err(Rule::Authority);
    }
    let authority_start = start + scheme.len();
    let path_start = authority_start + authority_len;
    let path = match rest.get(authority_len) {
        Some(b'/') => Path::Span(Span::new(path_start, end)),
        // A query without a path would need a "/" that is not in the bytes; no client sends it.
        Some(_) => return Err(Rule::TargetForm),
        // RFC 9112 §3.2.4: the last proxy asks for "*".
        None if method == Method::Options => Path::Asterisk,
        None => Path::Root,
    };
    Ok(Target { path, authority: Some(Span::new(authority_start, path_start)) })
}

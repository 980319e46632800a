//! What is made of a request's path before anything looks at it (Envoy, `normalize_path`, `merge_slashes`,
//! `path_with_escaped_slashes_action`): first escaped slashes, then dot segments and escapes (RFC 3986 §6.2.2), then empty segments.
//!
//! It never touches the query. What does not begin with `/` has no segments and stays. A path without anything to change, as nearly
//! all are, costs one look at each byte and no copy.

/// The rules of a connection manager. The default, Envoy's, is to change nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathRules {
    /// `normalize_path`.
    pub normalize: bool,
    /// `merge_slashes`.
    pub merge_slashes: bool,
    /// `path_with_escaped_slashes_action`.
    pub escaped_slashes: EscapedSlashes,
}

/// `PathWithEscapedSlashesAction`: what is done with `%2F` and `%5C`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EscapedSlashes {
    /// `KEEP_UNCHANGED`, and the default.
    #[default]
    Keep,
    /// `REJECT_REQUEST`
    Reject,
    /// `UNESCAPE_AND_REDIRECT`
    Redirect,
    /// `UNESCAPE_AND_FORWARD`
    Forward,
}

/// What the rules make of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathOutcome {
    /// It stays as it is.
    Kept,
    /// The request goes on with the path that was written.
    Changed,
    /// The client is sent to the path that was written.
    Redirected,
    /// The request is refused.
    Refused,
}

impl PathRules {
    /// Whether they change nothing, whatever the path.
    #[inline]
    pub fn is_none(&self) -> bool {
        *self == PathRules::default()
    }

    /// Applies the rules to a path and its query. `out` is overwritten; it holds the new path if there is one.
    pub fn apply(&self, path: &[u8], out: &mut Vec<u8>) -> PathOutcome {
        out.clear();
        let end = path.iter().position(|&byte| byte == b'?').unwrap_or(path.len());
        let (path, query) = path.split_at(end);
        if path.first() != Some(&b'/') || !self.is_due(path) {
            return PathOutcome::Kept;
        }
        let unescape = self.escaped_slashes != EscapedSlashes::Keep && has_escaped_slash(path);
        if unescape && self.escaped_slashes == EscapedSlashes::Reject {
            return PathOutcome::Refused;
        }
        let text = Text { bytes: path, unescape };
        if !self.normalize {
            text.copy(out);
        } else if !text.normalize(out) {
            return PathOutcome::Refused;
        }
        if self.merge_slashes {
            merge_slashes(out);
        }
        out.extend_from_slice(query);
        if unescape && self.escaped_slashes == EscapedSlashes::Redirect {
            return PathOutcome::Redirected;
        }
        if out[..out.len() - query.len()] == *path { PathOutcome::Kept } else { PathOutcome::Changed }
    }

    /// Whether a path holds anything that a rule could be about. Two neighbours decide: a slash and a dot, two slashes.
    fn is_due(&self, path: &[u8]) -> bool {
        let mut before = 0;
        path.iter().any(|&byte| {
            let is_second = before == b'/' && matches!(byte, b'/' | b'.');
            before = byte;
            is_second || !is_plain(byte)
        })
    }
}

/// Whether a byte stays as it is in a normalised path, wherever it stands. (`.` and `/` do not always.)
const fn is_plain(byte: u8) -> bool {
    PLAIN[byte as usize]
}

const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0x21;
    while byte < 0x7f {
        plain[byte] = !matches!(byte as u8, b'"' | b'%' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}');
        byte += 1;
    }
    plain
};

fn has_escaped_slash(path: &[u8]) -> bool {
    path.windows(3).any(|three| escaped_slash(three).is_some())
}

/// The slash of either kind that is escaped at the start.
fn escaped_slash(bytes: &[u8]) -> Option<u8> {
    match bytes {
        [b'%', b'2', b'F' | b'f', ..] => Some(b'/'),
        [b'%', b'5', b'C' | b'c', ..] => Some(b'\\'),
        _ => None,
    }
}

/// The byte that is escaped at the start.
fn escaped(bytes: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = bytes else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    Some((digit(*high)? * 16 + digit(*low)?) as u8)
}

/// A path as it is read: escaped slashes are slashes, or not.
struct Text<'p> {
    bytes: &'p [u8],
    unescape: bool,
}

impl Text<'_> {
    /// The slash at this place, and how many bytes it takes.
    fn slash(&self, at: usize) -> Option<usize> {
        match self.bytes.get(at)? {
            b'/' | b'\\' => Some(1),
            b'%' if self.unescape => escaped_slash(&self.bytes[at..]).map(|_| 3),
            _ => None,
        }
    }

    /// Whether the slash at this place, if there is one, is `/`.
    fn is_forward_slash(&self, at: usize) -> bool {
        match self.bytes[at..] {
            [b'/', ..] => true,
            [b'%', b'2', b'F' | b'f', ..] => self.unescape,
            _ => false,
        }
    }

    /// The dot at this place, and how many bytes it takes.
    fn dot(&self, at: usize) -> Option<usize> {
        match self.bytes.get(at..)? {
            [b'.', ..] => Some(1),
            [b'%', b'2', b'E' | b'e', ..] => Some(3),
            _ => None,
        }
    }

    fn copy(&self, out: &mut Vec<u8>) {
        let mut at = 0;
        while at < self.bytes.len() {
            let slash = if self.unescape { escaped_slash(&self.bytes[at..]) } else { None };
            out.push(slash.unwrap_or(self.bytes[at]));
            at += if slash.is_some() { 3 } else { 1 };
        }
    }

    /// Writes the path normalised; false where it holds what no path may: NUL.
    fn normalize(&self, out: &mut Vec<u8>) -> bool {
        // Where in `out` the last `%` stands that escapes nothing.
        let mut bare = None;
        let mut at = 0;
        while at < self.bytes.len() {
            if let Some(size) = self.slash(at) {
                let is_forward = self.is_forward_slash(at);
                at += size;
                out.push(b'/');
                at = self.dot_segments(at, is_forward, out);
                bare = None;
                continue;
            }
            match (self.bytes[at], escaped(&self.bytes[at..])) {
                (b'%', Some(0)) => return false,
                // RFC 3986 §2.3: unreserved.
                (b'%', Some(byte)) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                    out.push(byte);
                    at += 3;
                    keep_bare(bare, self.bytes.get(at).copied(), out);
                }
                (b'%', Some(_)) => {
                    out.extend_from_slice(&self.bytes[at..at + 3]);
                    at += 3;
                }
                (b'%', None) => {
                    bare = Some(out.len());
                    out.push(b'%');
                    at += 1;
                }
                (byte, _) if is_plain(byte) => {
                    out.push(byte);
                    at += 1;
                }
                (byte, _) => {
                    let digit = |value: u8| b"0123456789ABCDEF"[usize::from(value)];
                    out.extend_from_slice(&[b'%', digit(byte >> 4), digit(byte & 15)]);
                    at += 1;
                }
            }
        }
        true
    }

    /// Passes over the dot segments at this place, which follows the slash that `out` ends with; a forward one or not.
    fn dot_segments(&self, mut at: usize, mut is_forward: bool, out: &mut Vec<u8>) -> usize {
        loop {
            let first = self.dot(at).map_or(at, |size| at + size);
            let second = if first > at { self.dot(first).map_or(first, |size| first + size) } else { at };
            // Envoy takes the parameters off a segment that is written `.;` or `..;`: no server is to see dots there.
            let is_literal = is_forward && self.bytes[at..second].iter().all(|&byte| byte == b'.');
            let has_parameters = is_literal && self.bytes.get(second) == Some(&b';');
            let is_segment = second == self.bytes.len() || self.slash(second).is_some() || has_parameters;
            if first == at || !is_segment {
                return at;
            }
            if second > first {
                up(out);
            }
            at = second;
            if has_parameters {
                while at < self.bytes.len() && !self.is_forward_slash(at) {
                    at += 1;
                }
            }
            let Some(size) = self.slash(at) else { return at };
            is_forward = self.is_forward_slash(at);
            at += size;
        }
    }
}

/// A `%` that escapes nothing is escaped itself where what was unescaped behind it would make it the begin of an escape.
/// `next` is the byte that will follow.
fn keep_bare(bare: Option<usize>, next: Option<u8>, out: &mut Vec<u8>) {
    let Some(bare) = bare else { return };
    let (first, second) = match out[bare + 1..] {
        [first] => (first, next),
        [first, second] => (first, Some(second)),
        _ => return,
    };
    if first.is_ascii_hexdigit() && second.is_some_and(|byte| byte.is_ascii_hexdigit()) {
        out.splice(bare + 1..bare + 1, *b"25");
    }
}

/// Merges neighbouring slashes. A path of nothing else keeps two, as Envoy has it.
fn merge_slashes(path: &mut Vec<u8>) {
    let is_long = path.len() > 1;
    // The first of equal neighbours stays.
    path.dedup_by(|one, before| *one == b'/' && *before == b'/');
    if is_long && path.len() == 1 {
        path.push(b'/');
    }
}

/// Takes the last segment off; the root stays.
fn up(out: &mut Vec<u8>) {
    debug_assert_eq!(out.last(), Some(&b'/'));
    let before = out[..out.len() - 1].iter().rposition(|&byte| byte == b'/');
    out.truncate(before.map_or(1, |slash| slash + 1));
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: PathRules = PathRules { normalize: false, merge_slashes: false, escaped_slashes: EscapedSlashes::Keep };
    const NORMALIZE: PathRules = PathRules { normalize: true, ..NONE };

    /// The text that comes out; what is not forwarded begins with the outcome.
    fn result(rules: PathRules, path: &[u8]) -> String {
        let mut out = b"of the request before".to_vec();
        let outcome = rules.apply(path, &mut out);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match outcome {
            PathOutcome::Kept => text(path),
            PathOutcome::Changed => text(&out),
            PathOutcome::Redirected => format!("to {}", text(&out)),
            PathOutcome::Refused => "refused".to_owned(),
        }
    }

    #[track_caller]
    fn check(rules: PathRules, rows: &[(&str, &str)]) {
        for (path, expect) in rows {
            assert_eq!(result(rules, path.as_bytes()), *expect, "{path}");
        }
    }

    /// Each as Envoy 1.40 answers.
    #[test]
    fn normalized_as_rfc_3986_says_and_as_envoy_does_beyond_it() {
        check(
            NORMALIZE,
            &[
                ("/", "/"),
                ("//", "//"),
                ("/.", "/"),
                ("/..", "/"),
                ("/a/..", "/"),
                ("/a/.", "/a/"),
                ("/a/./b/../c", "/a/c"),
                ("/a/../../b", "/b"),
                ("/a/%2e%2E/b", "/b"),
                ("/a/.%2e/b", "/b"),
                ("/..a/.a/a../...", "/..a/.a/a../..."),
                ("/a\\..\\b", "/b"),
                ("/a//..//b", "/a//b"),
                ("//a/..", "//"),
                ("/a/b/..?x=/../y", "/a/?x=/../y"),
                ("/%41%5a%61%7a%30%39%2d%2e%5f%7e", "/AZaz09-._~"),
                ("/%2f%5C%2B%20%c3%a9%252e", "/%2f%5C%2B%20%c3%a9%252e"),
                ("/a\"b<c>`{}^|", "/a%22b%3Cc%3E%60%7B%7D%5E%7C"),
                ("/a%/%2/%zz/%%2e", "/a%/%2/%zz/%."),
                ("/a%00", "refused"),
                ("*", "*"),
            ],
        );
    }

    /// Guards against dots that only the next server sees: Tomcat and others take the parameters off first.
    #[test]
    fn dots_with_parameters_are_dots() {
        check(
            NORMALIZE,
            &[
                ("/a/..;x=1/b", "/b"),
                ("/a/.;", "/a/"),
                ("/..;%2F%41\\//", "//"),
                ("/a;x/../b", "/b"),
                ("/a/%2e;/b", "/a/.;/b"),
                ("/a\\.;/b", "/a/.;/b"),
            ],
        );
    }

    /// Guards against an escape that is made by unescaping: `%2` before `%41` must not become `%2A`.
    #[test]
    fn unescaping_makes_no_new_escape() {
        check(NORMALIZE, &[("/%2%41", "/%252A"), ("/%%34%31", "/%2541"), ("/%2%2e", "/%2."), ("/%4%zz", "/%4%zz")]);
    }

    #[test]
    fn slashes_are_merged_in_the_path_alone() {
        let merge = PathRules { merge_slashes: true, ..NONE };
        check(merge, &[("/a//b///c//?x=//", "/a/b/c/?x=//"), ("//", "//"), ("///?q", "//?q"), ("/a/../b", "/a/../b")]);
        check(PathRules { normalize: true, ..merge }, &[("/a//../b", "/a/b"), ("//a//./b\\\\c", "/a/b/c")]);
    }

    #[test]
    fn escaped_slashes() {
        let rules = |escaped_slashes| PathRules { escaped_slashes, ..NONE };
        check(
            rules(EscapedSlashes::Reject),
            &[("/a%2Fb", "refused"), ("/a%5c", "refused"), ("/a%2e?%2f", "/a%2e?%2f")],
        );
        check(
            rules(EscapedSlashes::Redirect),
            &[("/a%2fb?%2f", "to /a/b?%2f"), ("/a%5Cb", "to /a\\b"), ("/ab", "/ab")],
        );
        check(rules(EscapedSlashes::Forward), &[("/a%2fb%5cc", "/a/b\\c")]);
        let all = PathRules { normalize: true, merge_slashes: true, escaped_slashes: EscapedSlashes::Forward };
        check(all, &[("/a%2f..%5cb", "/b"), ("/a%2F%2fb", "/a/b"), ("/a%2f..;x%2fb", "/b")]);
    }

    /// Whatever a client sends: with all rules on, nothing is left that they would change, and no dot segment.
    #[test]
    fn what_comes_out_is_in_its_final_form() {
        const PIECES: [&str; 18] =
            ["/", "/", "/", ".", "..", "%2e", "%2F", "%5c", "\\", ";", "a", "%41", "%", "%2", "e", "|", "//", "?"];
        let all = PathRules { normalize: true, merge_slashes: true, escaped_slashes: EscapedSlashes::Forward };
        let mut state = 1_u64;
        for _ in 0..20_000 {
            let mut path = String::from("/");
            for _ in 0..8 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                path += PIECES[(state >> 33) as usize % PIECES.len()];
            }
            let once = result(all, path.as_bytes());
            let of_path = once.split('?').next().unwrap_or_default();
            let segments = || of_path.split('/').skip(1);
            assert!(once.starts_with('/') && !segments().any(|part| part == "." || part == ".."), "{path} {once}");
            // `%2e;` becomes `.;`, which is dots only to a second look, as in Envoy.
            if !path.contains(';') {
                assert_eq!(result(NORMALIZE, once.as_bytes()), once, "{path}");
            }
        }
    }
}

//! Regular expressions in linear time, and the caches that each worker keeps for them.
//!
//! It never takes a lock and shares nothing that is written: a search borrows the caller's [`RegexCaches`]. A pattern
//! means what RE2 makes of it, bytes for characters: `\w`, `\d`, `\s`, `\b` are ASCII. What RE2 has and this does not
//! (`\C`, `\Q..\E`, `\pL`, letters beyond ASCII inside `[]`) is an error, never another meaning.
//!
//! Invariant: all expressions of one [`Regexes`] have different slots, or are equal.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::util::syntax;
use regex_automata::{Input, meta};
use regex_syntax::hir::{Hir, Look};

/// Bytes of a compiled program; worst-case memory of one expression. Envoy by default refuses programs of more than 100
/// RE2 instructions (`re2.max_program_size.error_level`), which are far smaller.
const PROGRAM_BYTES_MAX: usize = 1 << 20;
/// Bytes of one expression's lazy DFA, per worker that has used it; full, it begins anew.
const LAZY_BYTES_MAX: usize = 64 << 10;
/// Groups that a substitution may name: `\0` to `\9`.
const GROUPS_MAX: usize = 10;

/// What an expression is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Use {
    /// Whether all of the text matches.
    Whole,
    /// Where in the text it matches.
    Search,
}

/// A compiled expression. Equal means: the same pattern, for the same use, at the same slot.
#[derive(Clone)]
pub struct Regex {
    pattern: Arc<str>,
    usage: Use,
    program: meta::Regex,
    slot: usize,
}

impl PartialEq for Regex {
    fn eq(&self, other: &Self) -> bool {
        (self.usage, self.slot, &self.pattern) == (other.usage, other.slot, &other.pattern)
    }
}

impl fmt::Debug for Regex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Regex({:?})", self.pattern)
    }
}

/// Compiles the expressions of one route configuration, each pattern once.
#[derive(Clone, Debug, Default)]
pub struct Regexes {
    known: HashMap<(Use, String), Regex>,
}

impl Regexes {
    /// An expression that must match all of a text (Envoy, `RegexMatcher`: RE2's full match).
    ///
    /// # Errors
    /// What is wrong with the pattern, in words.
    pub fn whole(&mut self, pattern: &str) -> Result<Regex, String> {
        self.compile(pattern, Use::Whole)
    }

    /// An expression that is looked for in a text (Envoy, `RegexMatchAndSubstitute`).
    ///
    /// # Errors
    /// What is wrong with the pattern, in words.
    pub fn search(&mut self, pattern: &str) -> Result<Regex, String> {
        self.compile(pattern, Use::Search)
    }

    /// How many expressions there are: what [`RegexCaches`] has room for.
    pub fn count(&self) -> usize {
        self.known.len()
    }

    fn compile(&mut self, pattern: &str, usage: Use) -> Result<Regex, String> {
        let key = (usage, pattern.to_owned());
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        let syntax = syntax::Config::new().unicode(false).utf8(false);
        // Parsed on its own: a parenthesis too many must not meet one of ours.
        let hir = syntax::parse_with(pattern, &syntax).map_err(|error| match error {
            regex_syntax::Error::Translate(error) => format!("{}: not supported yet", error.kind()),
            error => last_line(&error.to_string()),
        })?;
        let hir = match usage {
            Use::Whole => Hir::concat(vec![Hir::look(Look::Start), hir, Hir::look(Look::End)]),
            Use::Search => hir,
        };
        let config = meta::Config::new()
            .nfa_size_limit(Some(PROGRAM_BYTES_MAX))
            .onepass_size_limit(Some(PROGRAM_BYTES_MAX))
            .hybrid_cache_capacity(LAZY_BYTES_MAX)
            .utf8_empty(false);
        let program =
            meta::Builder::new().configure(config).build_from_hir(&hir).map_err(|error| match error.size_limit() {
                Some(limit) => format!("the compiled expression is larger than {limit} bytes"),
                None => last_line(&error.to_string()),
            })?;
        let regex = Regex { pattern: pattern.into(), usage, program, slot: self.known.len() };
        self.known.insert(key, regex.clone());
        Ok(regex)
    }
}

/// The parser's message is a drawing of several lines that ends with the reason.
fn last_line(text: &str) -> String {
    let line = text.lines().last().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// One worker's working memory for the expressions of one route configuration. An expression's part is made when it is
/// first used; after that a search allocates nothing.
#[derive(Debug, Default)]
pub struct RegexCaches(Vec<Option<Box<meta::Cache>>>);

impl RegexCaches {
    fn of(&mut self, regex: &Regex) -> &mut meta::Cache {
        if self.0.len() <= regex.slot {
            self.0.resize_with(regex.slot + 1, || None);
        }
        self.0[regex.slot].get_or_insert_with(|| Box::new(regex.program.create_cache()))
    }
}

impl Regex {
    /// The text of the expression.
    pub fn pattern(&self) -> &str {
        &self.pattern
    }

    /// Whether all of `text` matches. For expressions of [`Regexes::whole`].
    pub fn matches(&self, text: &[u8], caches: &mut RegexCaches) -> bool {
        assert!(self.usage == Use::Whole, "an expression that is looked for says where, not whether");
        self.program.search_half_with(caches.of(self), &Input::new(text).earliest(true)).is_some()
    }

    /// Appends `text` to `out`, each match replaced; adjacent empty ones are no match (RE2's GlobalReplace). For
    /// expressions of [`Regexes::search`].
    pub fn replace_all(&self, text: &[u8], substitution: &Substitution, caches: &mut RegexCaches, out: &mut Vec<u8>) {
        assert!(self.usage == Use::Search, "an expression for all of a text has nothing to replace");
        let cache = caches.of(self);
        let mut slots = [None::<NonMaxUsize>; 2 * GROUPS_MAX];
        let (mut copied, mut at, mut last_end) = (0, 0, None);
        while at <= text.len() {
            let input = Input::new(text).range(at..);
            if self.program.search_slots_with(cache, &input, &mut slots).is_none() {
                break;
            }
            let group = |number: usize| {
                let [start, end] = [slots[2 * number]?, slots[2 * number + 1]?].map(NonMaxUsize::get);
                Some(start..end)
            };
            let whole = group(0).expect("a match has a place");
            if whole.is_empty() && last_end == Some(whole.end) {
                at = whole.end + 1;
                continue;
            }
            out.extend_from_slice(&text[copied..whole.start]);
            for piece in &substitution.0 {
                match piece {
                    Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                    Piece::Group(number) => out.extend_from_slice(&text[group(*number).unwrap_or_default()]),
                }
            }
            (copied, last_end) = (whole.end, Some(whole.end));
            at = if whole.is_empty() { whole.end + 1 } else { whole.end };
        }
        out.extend_from_slice(&text[copied..]);
    }
}

/// What a match is replaced with: RE2's rewrite string, in which `\1` to `\9` are groups, `\0` is the match and `\\` a
/// backslash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Substitution(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Group(usize),
}

impl Substitution {
    /// Reads a rewrite string for `regex`.
    ///
    /// # Errors
    /// A backslash before anything else, or a group that the expression does not have.
    pub fn parse(text: &str, regex: &Regex) -> Result<Self, String> {
        let groups = regex.program.group_info().group_len(regex_automata::PatternID::ZERO) - 1;
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            if character != '\\' {
                plain.push(character);
                continue;
            }
            match characters.next() {
                Some('\\') => plain.push('\\'),
                Some(digit @ '0'..='9') => {
                    let number = digit as usize - '0' as usize;
                    if number > groups {
                        return Err(format!(
                            "\\{number} is a group that the expression does not have: it has {groups}"
                        ));
                    }
                    if !plain.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    }
                    pieces.push(Piece::Group(number));
                }
                _ => return Err("a backslash stands before a digit or another backslash".to_owned()),
            }
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Ok(Self(pieces))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_whole(pattern: &str, text: &str, expect: bool) {
        let regex = Regexes::default().whole(pattern).expect("a pattern");
        assert_eq!(regex.matches(text.as_bytes(), &mut RegexCaches::default()), expect, "{pattern} {text}");
    }

    #[test]
    fn all_of_the_text_must_match() {
        check_whole("/a.*", "/abc", true);
        check_whole("/a", "/ab", false);
        check_whole("a", "/a", false);
        // The first alternative matches less, and must not decide.
        check_whole("/a|/ab", "/ab", true);
        check_whole("(?i)/ABC", "/abc", true);
        check_whole("(?x) /a # no more", "/a", true);
        check_whole("(?m)^/a$", "/a\n/a", false);
        check_whole("", "", true);
        check_whole("/\u{e9}+", "/\u{e9}", true);
    }

    #[track_caller]
    fn check_replace(pattern: &str, substitution: &str, text: &str, expect: &str) {
        let regex = Regexes::default().search(pattern).expect("a pattern");
        let substitution = Substitution::parse(substitution, &regex).expect("a rewrite string");
        let mut out = Vec::new();
        regex.replace_all(text.as_bytes(), &substitution, &mut RegexCaches::default(), &mut out);
        assert_eq!(String::from_utf8_lossy(&out), expect, "{pattern} {text}");
    }

    #[test]
    fn each_match_is_replaced() {
        check_replace("^/service/([^/]+)(/.*)$", r"\2/instance/\1", "/service/foo/v1/api", "/v1/api/instance/foo");
        check_replace("one", "two", "/xxx/one/yyy/one/zzz", "/xxx/two/yyy/two/zzz");
        check_replace("x", r"\\", "/a", "/a");
        check_replace("x", r"\\", "/x", r"/\");
        check_replace("b*", "-", "abbc", "-a-c-");
        check_replace("(x)?a", r"<\1>", "aba", "<>b<>");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let mut regexes = Regexes::default();
        for pattern in ["(", "a)(b", "[", "*", r"\pL", "[\u{e9}]", "(a{500}){500}", r"(?=a)", r"(a)\1", "(?P<n>a"] {
            assert!(regexes.whole(pattern).is_err(), "{pattern}");
        }
        assert_eq!(regexes.count(), 0);
        let regex = regexes.search("(a)").expect("a pattern");
        for substitution in [r"\2", r"\a", "\\"] {
            assert!(Substitution::parse(substitution, &regex).is_err(), "{substitution}");
        }
    }

    #[test]
    fn one_pattern_has_one_slot_for_each_use() {
        let mut regexes = Regexes::default();
        let slots = ["a", "b", "a"].map(|pattern| regexes.whole(pattern).expect("a pattern").slot);
        assert_eq!(slots, [0, 1, 0]);
        assert_eq!(regexes.search("a").expect("a pattern").slot, 2);
        assert_eq!(regexes.count(), 3);
    }
}

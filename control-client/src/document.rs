//! A YAML or JSON text as a tree of marked nodes, with scalars read as Envoy reads them.
//!
//! Envoy turns YAML into JSON first (`source/common/protobuf/yaml_utility.cc`, `parseYamlNode`), and what a plain
//! scalar becomes there decides what a field accepts. Aliases share the node of their anchor and are never expanded in
//! memory. Merge keys (`<<`) are ordinary keys, as in yaml-cpp. JSON goes the same way: it is a subset of YAML's flow style,
//! but for surrogate pairs, which are joined beforehand.
//!
//! Invariant: a tree is at most [`DEPTH_MAX`] deep and has at most [`NODES_MAX`] nodes, both counted after expansion
//! of aliases, so that who walks it by recursion ends soon and without exhausting the stack.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};

use crate::message::Json;
use crate::problem::{Place, Report};

/// The largest text. Ten thousand clusters with fifty thousand endpoints take 8 MiB; the tree takes about ten times the text.
pub(crate) const TEXT_BYTES_MAX: usize = 64 << 20;
/// The most nodes after expansion of aliases, against "billion laughs". Ten thousand clusters with fifty thousand
/// endpoints have about 1.2 million.
pub(crate) const NODES_MAX: u64 = 8 << 20;
/// The deepest nesting, as in protobuf's own JSON parser. A route's deepest field lies about 25 deep.
pub(crate) const DEPTH_MAX: usize = 100;

/// A value of the text and where it begins.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    content: Content,
}

/// What a node holds.
#[derive(Debug)]
pub(crate) enum Content {
    Null,
    Bool(bool),
    /// Within 32 bits; larger ones are texts, as in Envoy.
    Int(i64),
    Text(Box<str>),
    List(Vec<Node>),
    /// Keys are unique: of duplicates the last wins, as in Envoy.
    Map(Vec<(Key, Node)>),
    /// The anchored node, and each alias of it.
    Shared(Rc<Node>),
}

/// The key of an entry of a map.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) place: Place,
    /// Shared by all equal keys of the document: a file has few names, each many times.
    pub(crate) text: Rc<str>,
}

impl Node {
    /// What stands for "nothing is written here".
    pub(crate) fn null(place: Place) -> Node {
        Node { place, content: Content::Null }
    }

    /// What a value without a schema is as a text's node: numbers that have no 32 bits are texts, as in a file.
    pub(crate) fn of_json(json: &Json, place: Place) -> Node {
        let key = |name: &String| Key { place, text: name.as_str().into() };
        let content = match json {
            Json::Null => Content::Null,
            Json::Bool(value) => Content::Bool(*value),
            Json::Number(value) if value.fract() == 0.0 && f64::from(*value as i32) == *value => {
                Content::Int(*value as i64)
            }
            Json::Number(value) => Content::Text(value.to_string().into()),
            Json::Text(text) => Content::Text(text.as_str().into()),
            Json::List(items) => Content::List(items.iter().map(|item| Node::of_json(item, place)).collect()),
            Json::Map(entries) => {
                Content::Map(entries.iter().map(|(name, value)| (key(name), Node::of_json(value, place))).collect())
            }
        };
        Node { place, content }
    }

    /// The content, aliases followed.
    pub(crate) fn content(&self) -> &Content {
        let mut node = self;
        while let Content::Shared(shared) = &node.content {
            node = shared;
        }
        &node.content
    }

    /// What people call such a node.
    pub(crate) fn noun(&self) -> &'static str {
        match self.content() {
            Content::Null => "null",
            Content::Bool(_) => "a bool",
            Content::Int(_) => "a number",
            Content::Text(_) => "a string",
            Content::List(_) => "a list",
            Content::Map(_) => "an object",
            Content::Shared(_) => unreachable!("aliases have been followed"),
        }
    }
}

/// Reads one document. `None`: it is no YAML, or says nothing, and the report says why.
pub(crate) fn parse(text: &str, report: &mut Report) -> Option<Node> {
    let node = parse_value(text, report)?;
    if matches!(node.content(), Content::Null) {
        report.problem(Place::START, "the text is empty");
        return None;
    }
    Some(node)
}

/// The same of a text that may say nothing, which is null then.
pub(crate) fn parse_value(text: &str, report: &mut Report) -> Option<Node> {
    if text.len() > TEXT_BYTES_MAX {
        report.problem(Place::START, format!("the text is larger than {TEXT_BYTES_MAX} bytes"));
        return None;
    }
    let joined = join_surrogates(text);
    let text = joined.as_deref().unwrap_or(text);
    let mut parser = Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut builder = Builder::default();
    let mut root: Option<Node> = None;
    loop {
        let (event, span) = match parser.next_event() {
            Some(Ok(event)) => event,
            Some(Err(error)) => {
                report.problem(place(*error.marker()), format!("not YAML: {}", error.info()));
                return None;
            }
            None => break,
        };
        match builder.event(event, place(span.start)) {
            Ok(Some(node)) if root.is_none() => root = Some(node),
            Ok(Some(Node { content: Content::Null, .. })) | Ok(None) => {}
            Ok(Some(node)) => {
                // Envoy reads the first and says nothing about the rest.
                report.problem(node.place, "a second document: only the first would be read");
                return None;
            }
            Err((place, rule)) => {
                report.problem(place, rule);
                return None;
            }
        }
    }
    Some(root.unwrap_or(Node { place: Place::START, content: Content::Null }))
}

fn place(mark: saphyr_parser::Marker) -> Place {
    let number = |value: usize| u32::try_from(value).expect("TEXT_BYTES_MAX fits");
    Place { line: number(mark.line()).max(1), column: number(mark.col() + 1) }
}

/// A node under way: an open list or map.
struct Open {
    place: Place,
    anchor: usize,
    kind: OpenKind,
    nodes: u64,
    height: usize,
}

enum OpenKind {
    List(Vec<Node>),
    Map { entries: Vec<(Key, Node)>, key: Option<(Key, bool)> },
}

/// Builds the tree from the parser's events, without recursion.
#[derive(Default)]
struct Builder {
    open: Vec<Open>,
    /// By the parser's number of the anchor: the node, its nodes after expansion, its height.
    anchors: HashMap<usize, (Rc<Node>, u64, usize)>,
    keys: HashSet<Rc<str>>,
}

type Fault = (Place, String);

impl Builder {
    /// Takes one event; the node when it completes the document.
    fn event(&mut self, event: Event<'_>, place: Place) -> Result<Option<Node>, Fault> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(None),
            Event::DocumentStart(_) => {
                self.anchors.clear();
                Ok(None)
            }
            Event::Alias(anchor) => {
                // An anchor is known only once its node is complete: an alias inside of it would never end.
                let Some((node, nodes, height)) = self.anchors.get(&anchor).cloned() else {
                    return Err((place, "an alias of a key, or of the very node that it is inside of".into()));
                };
                if self.wants_key() {
                    return match node.content() {
                        Content::Text(text) => self.key(place, text, false),
                        _ => Err((place, "a key must be a scalar".into())),
                    };
                }
                self.complete(Node { place, content: Content::Shared(node) }, nodes, height, 0)
            }
            Event::Scalar(text, style, anchor, tag) => {
                let ignored = tag.as_deref().is_some_and(|tag| tag.handle == "!" && tag.suffix == "ignore");
                if self.wants_key() {
                    // yaml-cpp gives a null key the name "null".
                    let null = style == ScalarStyle::Plain && text.is_empty();
                    return self.key(place, if null { "null" } else { &text }, ignored);
                }
                let content = scalar(&text, style, tag.as_deref());
                self.complete(Node { place, content }, 1, 1, anchor)
            }
            Event::SequenceStart(anchor, _) => self.start(place, anchor, OpenKind::List(Vec::new())),
            Event::MappingStart(anchor, _) => {
                self.start(place, anchor, OpenKind::Map { entries: Vec::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let open = self.open.pop().expect("the parser ends what it started");
                let content = match open.kind {
                    OpenKind::List(mut items) => {
                        items.shrink_to_fit();
                        Content::List(items)
                    }
                    OpenKind::Map { entries, .. } => Content::Map(last_of_each(entries)),
                };
                self.complete(Node { place: open.place, content }, open.nodes, open.height + 1, open.anchor)
            }
        }
    }

    fn start(&mut self, place: Place, anchor: usize, kind: OpenKind) -> Result<Option<Node>, Fault> {
        if self.wants_key() {
            return Err((place, "a key must be a scalar".into()));
        }
        if self.open.len() >= DEPTH_MAX {
            return Err((place, format!("nested deeper than {DEPTH_MAX}")));
        }
        self.open.push(Open { place, anchor, kind, nodes: 1, height: 0 });
        Ok(None)
    }

    /// Whether the next node is the key of an entry.
    fn wants_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { kind: OpenKind::Map { key: None, .. }, .. }))
    }

    fn key(&mut self, place: Place, text: &str, ignored: bool) -> Result<Option<Node>, Fault> {
        let text = match self.keys.get(text) {
            Some(known) => known.clone(),
            None => {
                let text: Rc<str> = text.into();
                self.keys.insert(text.clone());
                text
            }
        };
        if let Some(Open { kind: OpenKind::Map { key, .. }, .. }) = self.open.last_mut() {
            *key = Some((Key { place, text }, ignored));
        }
        Ok(None)
    }

    /// Puts a finished node where it belongs.
    fn complete(&mut self, mut node: Node, nodes: u64, height: usize, anchor: usize) -> Result<Option<Node>, Fault> {
        let place = node.place;
        if anchor != 0 {
            let shared = Rc::new(node);
            self.anchors.insert(anchor, (shared.clone(), nodes, height));
            node = Node { place, content: Content::Shared(shared) };
        }
        let depth = self.open.len();
        let Some(parent) = self.open.last_mut() else { return Ok(Some(node)) };
        parent.nodes = parent.nodes.saturating_add(nodes);
        parent.height = parent.height.max(height);
        if parent.nodes > NODES_MAX {
            return Err((place, format!("more than {NODES_MAX} nodes once aliases are expanded")));
        }
        if depth + height > DEPTH_MAX {
            return Err((place, format!("nested deeper than {DEPTH_MAX}")));
        }
        match &mut parent.kind {
            OpenKind::List(items) => items.push(node),
            OpenKind::Map { entries, key } => {
                let (key, ignored) = key.take().expect("a value follows its key");
                if !ignored {
                    entries.push((key, node));
                }
            }
        }
        Ok(None)
    }
}

/// Of entries with equal keys the last, each at its own position. Equal keys share one text.
fn last_of_each(mut entries: Vec<(Key, Node)>) -> Vec<(Key, Node)> {
    // Backwards, a key is the last of its kind when it is first seen.
    let mut seen = HashSet::with_capacity(entries.len());
    let last: Vec<bool> = entries.iter().rev().map(|(key, _)| seen.insert(Rc::as_ptr(&key.text))).collect();
    if seen.len() < entries.len() {
        let mut last = last.into_iter().rev();
        entries.retain(|_| last.next().expect("one answer an entry"));
    }
    entries.shrink_to_fit();
    entries
}

/// `parseYamlNode` for a scalar: quoted, then null, bool, int64, and anything else is a string. Observed on Envoy 1.40:
/// a plain `1.5` is a string too, which a field of type double then reads.
fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Content {
    let quoted = match tag {
        // yaml-cpp's tag of what is quoted is "!"; an explicit tag takes its place and is not looked at.
        None => style != ScalarStyle::Plain,
        Some(tag) => tag.handle.is_empty() && tag.suffix == "!" || tag.handle == "!" && tag.suffix.is_empty(),
    };
    if quoted {
        return Content::Text(text.into());
    }
    if matches!(text, "" | "~" | "null" | "Null" | "NULL") && style == ScalarStyle::Plain {
        return Content::Null;
    }
    if let Some(value) = yaml_bool(text) {
        return Content::Bool(value);
    }
    match yaml_int(text) {
        Some(value) if i32::try_from(value).is_ok() => Content::Int(value),
        Some(value) => Content::Text(value.to_string().into()),
        None => Content::Text(text.into()),
    }
}

/// `YAML::convert<bool>`: in lower, upper or capitalised spelling.
fn yaml_bool(text: &str) -> Option<bool> {
    if text.len() > "false".len() || !text.is_ascii() {
        return None;
    }
    let lower = text.to_ascii_lowercase();
    let capitalised = || text.chars().skip(1).all(|c| c.is_ascii_lowercase());
    let upper = || text.chars().all(|c| c.is_ascii_uppercase());
    let value = match lower.as_str() {
        "y" | "yes" | "true" | "on" => true,
        "n" | "no" | "false" | "off" => false,
        _ => return None,
    };
    (capitalised() || upper()).then_some(value)
}

/// `YAML::convert<int64_t>`: decimal, `0x` hex or `0` octal with a sign, all of the text.
fn yaml_int(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (base, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let value = i128::from_str_radix(digits, base).ok()?;
    i64::try_from(if negative { -value } else { value }).ok()
}

/// JSON writes characters beyond U+FFFF as two escapes, which YAML forbids: `\ud83d\ude00` becomes `\U0001f600`. `None`
/// where there is none, which is the rule.
fn join_surrogates(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    if !bytes.windows(4).any(|four| matches!(four, [b'\\', b'u', b'd' | b'D', b'8' | b'9' | b'a' | b'b' | b'A' | b'B']))
    {
        return None;
    }
    let unit = |at: usize| -> Option<u32> {
        let escape = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u32::from_str_radix(escape, 16).ok()
    };
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if let (Some(high @ 0xd800..=0xdbff), Some(low @ 0xdc00..=0xdfff)) = (unit(at), unit(at + 6)) {
            let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
            out.push_str(&format!("\\U{code:08x}"));
            at += 12;
        } else if rest.starts_with("\\\\") {
            out.push_str("\\\\");
            at += 2;
        } else {
            let next = rest.chars().next().expect("not empty");
            out.push(next);
            at += next.len_utf8();
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tree in one line, or the problems.
    fn show(text: &str) -> String {
        let mut report = Report::new("f");
        match parse(text, &mut report) {
            Some(node) => write(&node),
            None => report.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "),
        }
    }

    fn write(node: &Node) -> String {
        match node.content() {
            Content::Null => "null".into(),
            Content::Bool(value) => value.to_string(),
            Content::Int(value) => value.to_string(),
            Content::Text(text) => format!("{text:?}"),
            Content::List(items) => format!("[{}]", items.iter().map(write).collect::<Vec<_>>().join(" ")),
            Content::Map(entries) => format!(
                "{{{}}}",
                entries
                    .iter()
                    .map(|(key, node)| format!("{}: {}", key.text, write(node)))
                    .collect::<Vec<_>>()
                    .join(" ")
            ),
            Content::Shared(_) => unreachable!(),
        }
    }

    #[track_caller]
    fn check(text: &str, expect: &str) {
        assert_eq!(show(text), expect, "{text:?}");
    }

    #[test]
    fn scalars_are_read_as_envoy_reads_them() {
        check(
            "[1, -1, +1, 0x10, 010, 08, 2147483648, 1.5, 1e3, 0o10, 1_0]",
            r#"[1 -1 1 16 8 "08" "2147483648" "1.5" "1e3" "0o10" "1_0"]"#,
        );
        check("[true, yes, Y, oN, ON, tRue, False]", r#"[true true true "oN" true "tRue" false]"#);
        check("[null, ~, Null, nULL, {a: }]", r#"[null null null "nULL" {a: null}]"#);
        check("['1', \"true\", ! 1, !!str 1, !!int \"1\", !x 1]", r#"["1" "true" "1" 1 1 1]"#);
        check("a: |\n  1\nb: >-\n  true\n", r#"{a: "1\n" b: "true"}"#);
    }

    #[test]
    fn the_last_of_equal_keys_wins_and_ignored_keys_vanish() {
        check("a: 1\nb: 2\na: 3", "{b: 2 a: 3}");
        check("!ignore x: &x {k: 1}\ny: *x\n<<: *x", "{y: {k: 1} <<: {k: 1}}");
        check("? [a]\n: 1", "f:1:3: a key must be a scalar");
    }

    #[test]
    fn json_is_read_too() {
        check("{\n\t\"a\":\"\\u00e9\\ud83d\\ude00\\/\",\"b\":[1,{}],}", "{a: \"é😀/\" b: [1 {}]}");
        check(r#"{"a": "\\ud83d\\ude00"}"#, r#"{a: "\\ud83d\\ude00"}"#);
    }

    #[test]
    fn what_is_no_document_is_refused_with_its_place() {
        check("", "f:1:1: the text is empty");
        check("# nothing\n", "f:1:1: the text is empty");
        check("a: 1\n---\nb: 2", "f:3:1: a second document: only the first would be read");
        check("a: 1\n---\n", "{a: 1}");
        check("a: *b", "f:1:4: not YAML: while parsing node, found unknown anchor");
        check("a: [", "f:2:1: not YAML: while parsing a node, did not find expected node content");
    }

    /// Guards against "billion laughs": nine anchors of nine aliases each would be 9^9 nodes.
    #[test]
    fn aliases_cannot_multiply_without_end() {
        let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
        for level in 1..9 {
            let items = vec![format!("*a{}", level - 1); 9].join(",");
            text += &format!("a{level}: &a{level} [{items}]\n");
        }
        assert!(show(&text).ends_with("more than 8388608 nodes once aliases are expanded"), "{}", show(&text));
        check("a: &a [*a]", "f:1:8: an alias of a key, or of the very node that it is inside of");
    }

    /// Guards the stack: dropping or walking a chain of aliases recurses once a link.
    #[test]
    fn nesting_is_limited_through_aliases_too() {
        let mut text = String::from("a0: &a0 x\n");
        for level in 1..200 {
            text += &format!("a{level}: &a{level} [*a{}]\n", level - 1);
        }
        assert!(show(&text).ends_with("nested deeper than 100"), "{}", show(&text));
        check(&("[".repeat(10_000) + &"]".repeat(10_000)), "f:1:256: not YAML: recursion limit exceeded");
        let block: String = (0..200).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
        assert!(show(&block).ends_with("nested deeper than 100"), "{}", show(&block));
    }
}

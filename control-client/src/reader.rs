//! From a document to a message tree: one walk, led by the schema, that collects every problem.
//!
//! The walk follows protobuf's JSON form as Envoy's parser reads it (observed on Envoy 1.40, `--mode validate`): both
//! spellings of a name, `null` is unset, a single value where a list is expected, lists in lists, enums by number or in any case,
//! messages by `@type`, and messages of another type inside a TypedStruct. Then the rules of protoc-gen-validate.
//!
//! Recursion is bounded by the document's depth ([`crate::document::DEPTH_MAX`]).

use crate::compatibility;
use crate::document::{Content, Node};
use crate::message::{Any, Item, Json, Message, Set, Value};
use crate::problem::{Place, Report};
use crate::rules;
use crate::scalar;
use crate::schema::{EnumType, Field, Kind, Label, MessageType, Shape};

/// Reads `node` as a message of this type. What is wrong is in the report, and left out of the tree.
pub(crate) fn read(node: &Node, kind: &'static MessageType, unknown: Unknown, report: &mut Report) -> Option<Message> {
    Reader { report, unknown }.message(node, kind, &[])
}

/// Reads `node` as a message that names its own type.
pub(crate) fn read_any(node: &Node, unknown: Unknown, report: &mut Report) -> Option<Any> {
    Reader { report, unknown }.any(node)
}

/// What is done with a field that its message does not have, and with a type that an Any names and nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    Refused,
    /// A field is accepted with a warning (`--allow-unknown-static-fields`), a type is refused.
    Warned,
    /// A field is accepted with a warning, a type is kept by its name, and refused by who needs it: so Envoy reads what a control plane
    /// sends.
    Kept,
}

struct Reader<'r> {
    report: &'r mut Report,
    unknown: Unknown,
}

impl Reader<'_> {
    /// Reads an object; `aside` names keys that are no fields.
    fn message(&mut self, node: &Node, kind: &'static MessageType, aside: &[&str]) -> Option<Message> {
        let entries = match node.content() {
            Content::Map(entries) => entries.as_slice(),
            Content::Null => &[],
            _ => {
                self.report.problem(node.place, format!("expected an object ({}), found {}", kind.name(), node.noun()));
                return None;
            }
        };
        // A capacity of its own: most messages have one or two fields, and there are many.
        let mut message = Message { fields: Vec::with_capacity(entries.len()), ..Message::empty(kind, node.place) };
        // Fields whose value is wrong: that is reported once, not again as "missing".
        let mut wrong: Vec<&'static Field> = Vec::new();
        for (key, node) in entries {
            if aside.contains(&&*key.text) {
                continue;
            }
            let Some(field) = kind.field(&key.text) else {
                let rule = format!("no such field in {}", kind.name());
                self.enter(&key.text, |reader| match reader.unknown {
                    Unknown::Refused => reader.report.problem(key.place, rule),
                    Unknown::Warned | Unknown::Kept => reader.report.warning(key.place, rule),
                });
                continue;
            };
            match self.enter(field.name(), |reader| reader.field(node, field)) {
                Some(value) => self.set(&mut message, Set { field, place: key.place, value }),
                None if matches!(node.content(), Content::Null) => {}
                None => wrong.push(field),
            }
        }
        rules::check(&message, &wrong, self.report);
        // What has its default value and no presence is unset; the rules had to see where it stands.
        message.fields.retain(|set| set.field.label == Label::Explicit || !set.value.is_default());
        Some(message)
    }

    fn set(&mut self, message: &mut Message, set: Set) {
        if let Some(before) = message.fields.iter_mut().find(|before| std::ptr::eq(before.field, set.field)) {
            *before = set; // both spellings of one name: the last wins, as in Envoy
            return;
        }
        let rival =
            set.field.oneof().and_then(|one| message.fields.iter().find(|other| other.field.oneof() == Some(one)));
        if let Some(rival) = rival {
            let rule = format!("{} is set already, and only one of the two may be", rival.field.name());
            self.report.problem_in(set.field.name(), set.place, rule);
        }
        message.fields.push(set);
    }

    fn enter<T>(&mut self, name: &str, inner: impl FnOnce(&mut Self) -> T) -> T {
        let size = self.report.enter_field(name);
        let value = inner(self);
        self.report.leave(size);
        value
    }

    /// The value of a field; `None` where it is unset or wrong.
    fn field(&mut self, node: &Node, field: &'static Field) -> Option<Value> {
        let unset = matches!(node.content(), Content::Null);
        match field.label {
            Label::List if unset => None,
            Label::List => {
                let count = if let Content::List(nodes) = node.content() { nodes.len() } else { 1 };
                let mut items = Vec::with_capacity(count);
                let mut index = 0;
                self.items(node, field, &mut index, &mut items);
                Some(Value::List(items))
            }
            Label::Map if unset => None,
            Label::Map => {
                let Content::Map(entries) = node.content() else {
                    self.report.problem(node.place, format!("expected an object, found {}", node.noun()));
                    return None;
                };
                let value_field = field.message().field("value").expect("an entry of a map has a value");
                let mut values = Vec::with_capacity(entries.len());
                for (key, node) in entries {
                    let size = self.report.enter_key(&key.text);
                    let value = self.single_or_default(node, value_field);
                    self.report.leave(size);
                    values.extend(value.map(|value| (key.text.to_string(), Item { place: key.place, value })));
                }
                Some(Value::Map(values))
            }
            // null is a value of google.protobuf.Value, and of nothing else.
            Label::Implicit | Label::Explicit if unset && shape(field) != Some(Shape::Value) => None,
            Label::Implicit | Label::Explicit => self.single(node, field),
        }
    }

    /// The items of a list. A single value is a list of one; a list inside a list is read as if it were flat.
    fn items(&mut self, node: &Node, field: &'static Field, index: &mut usize, items: &mut Vec<Item>) {
        let lists_are_values = matches!(shape(field), Some(Shape::Value | Shape::ListValue));
        match node.content() {
            Content::List(nodes) if !(lists_are_values && *index > 0) => {
                for node in nodes {
                    match node.content() {
                        Content::List(_) if !lists_are_values => self.items(node, field, index, items),
                        _ => self.one_item(node, field, index, items),
                    }
                }
            }
            _ => self.one_item(node, field, index, items),
        }
    }

    fn one_item(&mut self, node: &Node, field: &'static Field, index: &mut usize, items: &mut Vec<Item>) {
        let size = self.report.enter_item(*index);
        let value = self.single_or_default(node, field);
        self.report.leave(size);
        items.extend(value.map(|value| Item { place: node.place, value }));
        *index += 1;
    }

    /// One value of a list or map, where null stands for the default: Envoy's parser adds an empty item.
    fn single_or_default(&mut self, node: &Node, field: &'static Field) -> Option<Value> {
        if !matches!(node.content(), Content::Null) {
            return self.single(node, field);
        }
        Some(match field.kind {
            Kind::Message => match field.message().shape {
                Shape::Value => Value::Json(Json::Null),
                Shape::Any => Value::Any(Any { type_url: String::new(), value: None }),
                Shape::Duration => Value::Duration(std::time::Duration::ZERO),
                Shape::Plain | Shape::TypedStruct => Value::Message(self.message(node, field.message(), &[])?),
                _ => return None,
            },
            Kind::Bool => Value::Bool(false),
            Kind::Int32 | Kind::Int64 => Value::Int(0),
            Kind::Uint32 | Kind::Uint64 => Value::Uint(0),
            Kind::Float | Kind::Double => Value::Double(0.0),
            Kind::Text => Value::Text(String::new()),
            Kind::Bytes => Value::Bytes(Vec::new()),
            Kind::Enum => Value::Enum(0),
        })
    }

    fn single(&mut self, node: &Node, field: &'static Field) -> Option<Value> {
        if field.kind == Kind::Message {
            return self.by_shape(node, field.message());
        }
        let value = match field.kind {
            Kind::Bool => scalar::boolean(node).map(Value::Bool),
            Kind::Int32 => {
                scalar::integer(node, i32::MIN.into(), i32::MAX.into()).map(|value| Value::Int(value as i64))
            }
            Kind::Int64 => {
                scalar::integer(node, i64::MIN.into(), i64::MAX.into()).map(|value| Value::Int(value as i64))
            }
            Kind::Uint32 => scalar::integer(node, 0, u32::MAX.into()).map(|value| Value::Uint(value as u64)),
            Kind::Uint64 => scalar::integer(node, 0, u64::MAX.into()).map(|value| Value::Uint(value as u64)),
            Kind::Float | Kind::Double => scalar::double(node).map(Value::Double),
            Kind::Text => scalar::text(node).map(Value::Text),
            Kind::Bytes => scalar::bytes(node).map(Value::Bytes),
            Kind::Enum => enumeration(node, field.enumeration()).map(Value::Enum),
            Kind::Message => unreachable!("read above"),
        };
        value.map_err(|rule| self.report.problem(node.place, rule)).ok()
    }

    /// Reads a message whose JSON form may be its own.
    fn by_shape(&mut self, node: &Node, kind: &'static MessageType) -> Option<Value> {
        let value = match kind.shape {
            Shape::Plain | Shape::TypedStruct => return self.message(node, kind, &[]).map(Value::Message),
            Shape::Any => return self.any(node).map(Value::Any),
            Shape::Duration if matches!(node.content(), Content::Map(_)) => return self.duration_parts(node, kind),
            // Envoy's parser also takes the message behind the short form: {value: 5} for a wrapper.
            Shape::Wrapper if matches!(node.content(), Content::Map(_)) => {
                let message = self.message(node, kind, &[])?;
                let value = message.fields.into_iter().next().map(|set| set.value);
                return value.or_else(|| self.single_or_default(&Node::null(node.place), kind.field("value")?));
            }
            Shape::Wrapper => return self.single(node, kind.field("value").expect("a wrapper has a value")),
            Shape::Duration => scalar::duration(node).map(Value::Duration),
            Shape::Timestamp | Shape::FieldMask => scalar::text(node).map(Value::Text),
            Shape::Struct if !matches!(node.content(), Content::Map(_)) => {
                Err(format!("expected an object, found {}", node.noun()))
            }
            Shape::ListValue if !matches!(node.content(), Content::List(_)) => {
                Err(format!("expected a list, found {}", node.noun()))
            }
            Shape::Struct | Shape::Value | Shape::ListValue => Ok(Value::Json(json(node))),
        };
        value.map_err(|rule| self.report.problem(node.place, rule)).ok()
    }

    /// `{seconds: 1, nanos: 5}`.
    fn duration_parts(&mut self, node: &Node, kind: &'static MessageType) -> Option<Value> {
        let message = self.message(node, kind, &[])?;
        let part = |name| match message.get(name) {
            Some(Set { value: Value::Int(value), .. }) => *value,
            _ => 0,
        };
        let (seconds, nanos) = (part("seconds"), part("nanos"));
        let value = scalar::span(seconds.unsigned_abs(), nanos.unsigned_abs() as u32, seconds < 0 || nanos < 0);
        value.map(Value::Duration).map_err(|rule| self.report.problem(node.place, rule)).ok()
    }

    /// `{"@type": URL, ...}`.
    fn any(&mut self, node: &Node) -> Option<Any> {
        let Content::Map(entries) = node.content() else {
            self.report.problem(node.place, format!("expected an object with \"@type\", found {}", node.noun()));
            return None;
        };
        let Some((key, url)) = entries.iter().find(|(key, _)| &*key.text == TYPE_KEY) else {
            if entries.is_empty() {
                return Some(Any { type_url: String::new(), value: None });
            }
            self.report.problem(node.place, "an object of any type needs \"@type\"");
            return None;
        };
        let Content::Text(type_url) = url.content() else {
            self.report.problem_in(TYPE_KEY, url.place, "expected a string");
            return None;
        };
        let kind =
            match self.enter(TYPE_KEY, |reader| known_type(type_url, key.place, reader.unknown, reader.report))? {
                Named::Known(kind) => kind,
                Named::Kept => return Some(Any { type_url: type_url.to_string(), value: None }),
            };
        match kind.shape {
            Shape::Plain => {
                let message = self.message(node, kind, &[TYPE_KEY])?;
                Some(Any { type_url: type_url.to_string(), value: Some(Box::new(Value::Message(message))) })
            }
            Shape::TypedStruct => self.typed_struct(node, entries),
            _ => {
                let value = match entries.iter().find(|(key, _)| &*key.text == "value") {
                    Some((_, node)) => self.enter("value", |reader| reader.by_shape(node, kind))?,
                    None => {
                        self.report.problem(node.place, "\"value\" is missing");
                        return None;
                    }
                };
                Some(Any { type_url: type_url.to_string(), value: Some(Box::new(value)) })
            }
        }
    }

    /// A TypedStruct stands for the message that its value spells out, and is read as that.
    fn typed_struct(&mut self, node: &Node, entries: &[(crate::document::Key, Node)]) -> Option<Any> {
        let entry = |names: [&str; 2]| entries.iter().rev().find(|(key, _)| names.contains(&&*key.text));
        for (key, _) in entries {
            if ![TYPE_KEY, "type_url", "typeUrl", "value"].contains(&&*key.text) {
                self.report.problem_in(&key.text, key.place, "no such field in a TypedStruct");
            }
        }
        let Some((_, url)) = entry(["type_url", "typeUrl"]) else {
            self.report.problem(node.place, "a TypedStruct needs type_url");
            return None;
        };
        let Content::Text(type_url) = url.content() else {
            self.report.problem_in("type_url", url.place, "expected a string");
            return None;
        };
        let kind =
            match self.enter("type_url", |reader| known_type(type_url, url.place, reader.unknown, reader.report))? {
                Named::Known(kind) => kind,
                Named::Kept => return Some(Any { type_url: type_url.to_string(), value: None }),
            };
        let nothing = Node::null(node.place);
        let value = entry(["value", "value"]).map_or(&nothing, |(_, value)| value);
        let message = self.enter("value", |reader| reader.message(value, kind, &[]))?;
        Some(Any { type_url: type_url.to_string(), value: Some(Box::new(Value::Message(message))) })
    }
}

/// What the URL of a type leads to.
pub(crate) enum Named {
    Known(&'static MessageType),
    /// To nothing that the schema has, and it may be so.
    Kept,
}

/// The type that a URL such as `type.googleapis.com/envoy.config.cluster.v3.Cluster` names.
pub(crate) fn known_type(url: &str, place: Place, unknown: Unknown, report: &mut Report) -> Option<Named> {
    // Any host will do, but there must be one.
    let Some((_, name)) = url.rsplit_once('/').filter(|(host, _)| !host.is_empty()) else {
        report.problem(place, format!("a type is named as \"type.googleapis.com/NAME\", found {url:?}"));
        return None;
    };
    match (MessageType::by_name(name), unknown) {
        (Some(kind), _) => Some(Named::Known(kind)),
        // Nobody reads what is in it.
        (None, _) if compatibility::is_ignored_type(name) => Some(Named::Kept),
        (None, Unknown::Kept) => Some(Named::Kept),
        (None, Unknown::Refused | Unknown::Warned) => {
            report.problem(place, format!("the type {name} is not known"));
            None
        }
    }
}

/// The key under which an Any names its type.
pub(crate) const TYPE_KEY: &str = "@type";

fn shape(field: &Field) -> Option<Shape> {
    (field.kind == Kind::Message).then(|| field.message().shape)
}

/// By name in any case, by number, or by number in quotes.
fn enumeration(node: &Node, kind: &'static EnumType) -> Result<i32, String> {
    match node.content() {
        Content::Int(number) => Ok(i32::try_from(*number).expect("a document's numbers have 32 bits")),
        Content::Text(text) => {
            let found = kind.values().iter().find(|value| value.name().eq_ignore_ascii_case(text));
            found.map(|value| value.number).or_else(|| text.parse().ok()).ok_or_else(|| {
                let names: Vec<&str> = kind.values().iter().map(|value| value.name()).collect();
                format!("{text:?} is none of {}", names.join(", "))
            })
        }
        _ => Err(format!("expected one of the names of {}, found {}", kind.name(), node.noun())),
    }
}

/// A node as a value of any shape.
pub(crate) fn json(node: &Node) -> Json {
    match node.content() {
        Content::Null => Json::Null,
        Content::Bool(value) => Json::Bool(*value),
        Content::Int(value) => Json::Number(*value as f64),
        Content::Text(text) => Json::Text(text.to_string()),
        Content::List(items) => Json::List(items.iter().map(json).collect()),
        Content::Map(entries) => {
            Json::Map(entries.iter().map(|(key, node)| (key.text.to_string(), json(node))).collect())
        }
        Content::Shared(_) => unreachable!("content() follows aliases"),
    }
}

//! From protobuf's wire form to a message tree: the second reader into the tree of [`crate::message`], with the rules
//! of the first.
//!
//! Both read by the same schema, refuse by the same rules of protoc-gen-validate, and leave out of the tree what no
//! reader sees, so that nobody behind them can tell which one it was; tests let both read the same messages. What is
//! different: problems have paths and no places, and names are numbers. As in other readers, of a scalar or a oneof the
//! last one wins, and of a message that comes twice both parts are one (protobuf.dev/programming-guides/encoding, "Last
//! One Wins").
//!
//! Where readers differ from each other: a field of a wire type that is not its own is refused, which some readers skip
//! as unknown. No one who has Envoy's .proto files writes such a field, and what it was to mean is lost.
//!
//! Recursion is bounded by [`DEPTH_MAX`], memory by [`BYTES_MAX`] and [`VALUES_MAX`].

mod record;
mod writer;

use std::collections::HashMap;

pub(crate) use record::{Fault, Payload, Record, Records};
pub(crate) use writer::{Writer, write};

use crate::document::Node;
use crate::message::{Any, Item, Json, Message, Set, Value};
use crate::problem::{Place, Report};
use crate::reader::{self, Named, TYPE_KEY, Unknown, known_type};
use crate::rules;
use crate::scalar;
use crate::schema::{Field, Kind, Label, MessageType, Shape};

/// The largest message, as for a text. Ten thousand clusters with fifty thousand endpoints take some 4 MiB, a resource
/// a few hundred bytes.
pub(crate) const BYTES_MAX: usize = 64 << 20;
/// The most values of one message, each item of a list being one: an empty item is two bytes on the wire and about a
/// hundred in the tree. The largest resource that people have, a route configuration of 16,000 routes, has some
/// 600,000; these take 250 MiB.
pub(crate) const VALUES_MAX: usize = 2 << 20;
/// The deepest nesting, as in protobuf's own parsers. An entry of a map is one level, an object of JSON three; a
/// route's deepest field lies about 25 deep.
pub(crate) const DEPTH_MAX: usize = 100;

/// Reads a message of this type. What is wrong is in the report, and left out of the tree.
pub(crate) fn read(bytes: &[u8], kind: &'static MessageType, unknown: Unknown, report: &mut Report) -> Option<Message> {
    if bytes.len() > BYTES_MAX {
        report.problem(Place::NONE, format!("the message is larger than {BYTES_MAX} bytes"));
        return None;
    }
    Reader { report, unknown, depth: 0, values: 0 }.message(&Parts::one(bytes), kind)
}

struct Reader<'r> {
    report: &'r mut Report,
    unknown: Unknown,
    depth: usize,
    values: usize,
}

/// One message's bytes: one stretch, or several that are read as if they stood one behind the other.
struct Parts<'b> {
    before: Vec<&'b [u8]>,
    last: &'b [u8],
}

impl<'b> Parts<'b> {
    fn one(bytes: &'b [u8]) -> Self {
        Self { before: Vec::new(), last: bytes }
    }

    fn iter(&self) -> impl Iterator<Item = &'b [u8]> {
        self.before.iter().copied().chain([self.last])
    }
}

/// A field that was met, and what of its records counts.
struct Slot<'b> {
    field: &'static Field,
    raw: Raw<'b>,
}

enum Raw<'b> {
    /// The last one; and where it is a message, the parts of it that came before.
    One { last: Payload<'b>, before: Vec<&'b [u8]> },
    /// The items of a list, the entries of a map.
    Many(Vec<Payload<'b>>),
    /// Of another wire type than the field's own, which has been reported.
    Wrong,
}

impl Reader<'_> {
    fn message(&mut self, parts: &Parts<'_>, kind: &'static MessageType) -> Option<Message> {
        let slots = self.slots(parts, kind)?;
        let mut message = Message { fields: Vec::with_capacity(slots.len()), ..Message::empty(kind, Place::NONE) };
        // Fields whose value is wrong: that is reported once, not again as "missing".
        let mut wrong: Vec<&'static Field> = Vec::new();
        self.depth += 1;
        for Slot { field, raw } in slots {
            match self.enter(field.name(), |reader| reader.field(field, raw)) {
                Some(value) => message.fields.push(Set { field, place: Place::NONE, value }),
                None => wrong.push(field),
            }
        }
        self.depth -= 1;
        rules::check(&message, &wrong, self.report);
        // What has its default value and no presence is unset.
        message.fields.retain(|set| set.field.label == Label::Explicit || !set.value.is_default());
        Some(message)
    }

    fn enter<T>(&mut self, name: &str, inner: impl FnOnce(&mut Self) -> T) -> T {
        let size = self.report.enter_field(name);
        let value = inner(self);
        self.report.leave(size);
        value
    }

    fn problem(&mut self, rule: impl Into<String>) {
        self.report.problem(Place::NONE, rule);
    }

    /// The records of a message by their fields, in the order in which those are first met. `None`: they are no
    /// message.
    fn slots<'b>(&mut self, parts: &Parts<'b>, kind: &'static MessageType) -> Option<Vec<Slot<'b>>> {
        if self.depth >= DEPTH_MAX {
            self.problem(format!("nested deeper than {DEPTH_MAX}"));
            return None;
        }
        let mut slots: Vec<Slot<'b>> = Vec::new();
        for part in parts.iter() {
            let mut records = Records::new(part);
            while let Some(record) = self.sound(records.next(), kind)? {
                match kind.numbered(record.number) {
                    Some(field) => self.put(field, record.payload, &mut slots)?,
                    None => self.unknown_number(record.number, kind),
                }
            }
        }
        Some(slots)
    }

    fn sound<T>(&mut self, result: Result<T, Fault>, kind: &'static MessageType) -> Option<T> {
        result.map_err(|fault| self.problem(format!("not a message ({}): {fault}", kind.name()))).ok()
    }

    fn unknown_number(&mut self, number: u32, kind: &'static MessageType) {
        let rule = format!("no field of {} has the number {number}", kind.name());
        match self.unknown {
            Unknown::Refused => self.problem(rule),
            Unknown::Warned | Unknown::Kept => self.report.warning(Place::NONE, rule),
        }
    }

    /// Puts one record where it belongs. `None`: it is no record, or one too many.
    fn put<'b>(&mut self, field: &'static Field, payload: Payload<'b>, slots: &mut Vec<Slot<'b>>) -> Option<()> {
        let many = matches!(field.label, Label::List | Label::Map);
        if fits(field.kind, payload) {
            self.count()?;
            match slot(slots, field) {
                Some(Raw::Many(items)) => items.push(payload),
                Some(Raw::One { last, before }) => {
                    if let (Payload::Len(bytes), Kind::Message) = (*last, field.kind) {
                        before.push(bytes);
                    }
                    *last = payload;
                }
                Some(Raw::Wrong) => {}
                None if many => add(slots, field, Raw::Many(vec![payload])),
                None => add(slots, field, Raw::One { last: payload, before: Vec::new() }),
            }
            return Some(());
        }
        match payload {
            // A list of numbers may be one record, or several, or both
            // (protobuf.dev/programming-guides/encoding#packed).
            Payload::Len(packed) if many => {
                let mut items = Vec::new();
                let mut rest = Records::new(packed);
                while !rest.is_empty() {
                    self.count()?;
                    let item = match field.kind {
                        Kind::Float => rest.fixed32().map(Payload::I32),
                        Kind::Double => rest.fixed64().map(Payload::I64),
                        _ => rest.varint().map(Payload::Varint),
                    };
                    match item {
                        Ok(item) => items.push(item),
                        Err(fault) => {
                            self.enter(field.name(), |reader| reader.problem(format!("not a packed list: {fault}")));
                            return None;
                        }
                    }
                }
                match slot(slots, field) {
                    Some(Raw::Many(before)) => before.append(&mut items),
                    Some(Raw::One { .. } | Raw::Wrong) => {}
                    None => add(slots, field, Raw::Many(items)),
                }
            }
            _ => {
                let rule = format!("{} is no wire type of this field", payload.wire_type());
                self.enter(field.name(), |reader| reader.problem(rule));
                match slot(slots, field) {
                    Some(raw) => *raw = Raw::Wrong,
                    None => add(slots, field, Raw::Wrong),
                }
            }
        }
        Some(())
    }

    /// Counts one value; what is too much is said once.
    fn count(&mut self) -> Option<()> {
        if self.values > VALUES_MAX {
            return None;
        }
        self.values += 1;
        if self.values > VALUES_MAX {
            self.problem(format!("more than {VALUES_MAX} values"));
            return None;
        }
        Some(())
    }

    /// The value of a field; `None` where it is wrong.
    fn field(&mut self, field: &'static Field, raw: Raw<'_>) -> Option<Value> {
        match (raw, field.label) {
            (Raw::Wrong, _) => None,
            (Raw::One { last, before }, _) => self.single(field, last, before),
            (Raw::Many(entries), Label::Map) => Some(Value::Map(self.entries(field.message(), entries))),
            (Raw::Many(payloads), _) => {
                let mut items = Vec::with_capacity(payloads.len());
                for (index, payload) in payloads.into_iter().enumerate() {
                    let size = self.report.enter_item(index);
                    let value = self.single(field, payload, Vec::new());
                    self.report.leave(size);
                    items.extend(value.map(|value| Item { place: Place::NONE, value }));
                }
                Some(Value::List(items))
            }
        }
    }

    /// The entries of a map, of equal keys the last.
    fn entries(&mut self, entry: &'static MessageType, payloads: Vec<Payload<'_>>) -> Vec<(String, Item)> {
        let [key_field, value_field] =
            ["key", "value"].map(|name| entry.field(name).expect("an entry of a map has both"));
        let mut entries: Vec<(String, Item)> = Vec::with_capacity(payloads.len());
        let mut known: HashMap<String, usize> = HashMap::with_capacity(payloads.len());
        for payload in payloads {
            let Payload::Len(bytes) = payload else { unreachable!("an entry of a map is a message") };
            let Some(slots) = self.slots(&Parts::one(bytes), entry) else { continue };
            let (mut key, mut raw) = (self.default(key_field), None);
            for slot in slots {
                match slot.raw {
                    Raw::One { last, before } if std::ptr::eq(slot.field, key_field) => {
                        key = self.enter("key", |reader| reader.single(key_field, last, before));
                    }
                    value => raw = Some(value),
                }
            }
            let key = match key {
                Some(Value::Text(text)) => text,
                Some(Value::Bool(value)) => value.to_string(),
                Some(Value::Uint(value)) => value.to_string(),
                Some(Value::Int(value)) => value.to_string(),
                Some(other) => unreachable!("protobuf has no maps by {other:?}"),
                None => continue,
            };
            let size = self.report.enter_key(&key);
            self.depth += 1;
            let value = match raw {
                Some(raw) => self.field(value_field, raw),
                None => self.default(value_field),
            };
            self.depth -= 1;
            self.report.leave(size);
            let Some(value) = value else { continue };
            let item = Item { place: Place::NONE, value };
            match known.get(&key) {
                Some(&at) => entries[at].1 = item,
                None => {
                    known.insert(key.clone(), entries.len());
                    entries.push((key, item));
                }
            }
        }
        entries
    }

    /// What an entry of a map holds that has no value, a wrapper with nothing in it.
    fn default(&mut self, field: &'static Field) -> Option<Value> {
        let nothing = match field.kind {
            Kind::Message | Kind::Text | Kind::Bytes => Payload::Len(&[]),
            Kind::Float => Payload::I32(0),
            Kind::Double => Payload::I64(0),
            _ => Payload::Varint(0),
        };
        self.single(field, nothing, Vec::new())
    }

    fn single(&mut self, field: &'static Field, last: Payload<'_>, before: Vec<&[u8]>) -> Option<Value> {
        Some(match (field.kind, last) {
            (Kind::Message, Payload::Len(last)) => return self.by_shape(&Parts { before, last }, field.message()),
            (Kind::Text, Payload::Len(bytes)) => match std::str::from_utf8(bytes) {
                Ok(text) => Value::Text(text.to_owned()),
                Err(_) => {
                    self.problem("a string must be UTF-8");
                    return None;
                }
            },
            (Kind::Bytes, Payload::Len(bytes)) => Value::Bytes(bytes.to_vec()),
            (Kind::Bool, Payload::Varint(value)) => Value::Bool(value != 0),
            // What has 32 bits has the lower ones of those that are written.
            (Kind::Int32, Payload::Varint(value)) => Value::Int(i64::from(value as i32)),
            (Kind::Int64, Payload::Varint(value)) => Value::Int(value as i64),
            (Kind::Uint32, Payload::Varint(value)) => Value::Uint(u64::from(value as u32)),
            (Kind::Uint64, Payload::Varint(value)) => Value::Uint(value),
            (Kind::Enum, Payload::Varint(value)) => Value::Enum(value as i32),
            (Kind::Float, Payload::I32(bits)) => Value::Double(f64::from(f32::from_bits(bits))),
            (Kind::Double, Payload::I64(bits)) => Value::Double(f64::from_bits(bits)),
            (kind, payload) => unreachable!("{payload:?} does not fit {kind:?}"),
        })
    }

    /// Reads a message that the tree may hold in a shape of its own.
    fn by_shape(&mut self, parts: &Parts<'_>, kind: &'static MessageType) -> Option<Value> {
        match kind.shape {
            Shape::Plain | Shape::TypedStruct => return self.message(parts, kind).map(Value::Message),
            Shape::Any => return self.any_parts(parts, kind).map(Value::Any),
            // Their JSON is a text in a form of its own, and no field of a resource has it.
            Shape::Timestamp | Shape::FieldMask => {
                self.problem(format!("a {} is not read from this form", kind.name()));
                return None;
            }
            Shape::Wrapper => {
                let message = self.message(parts, kind)?;
                let value = message.fields.into_iter().next().map(|set| set.value);
                return value.or_else(|| self.default(kind.field("value").expect("a wrapper has a value")));
            }
            Shape::Struct | Shape::Value | Shape::ListValue => {
                let message = self.message(parts, kind)?;
                return self.json(message).map(Value::Json);
            }
            Shape::Duration => {}
        }
        let message = self.message(parts, kind)?;
        let (seconds, nanos) = (message.int("seconds").unwrap_or(0), message.int("nanos").unwrap_or(0));
        match scalar::span(seconds.unsigned_abs(), nanos.unsigned_abs() as u32, seconds < 0 || nanos < 0) {
            Ok(value) => Some(Value::Duration(value)),
            Err(rule) => {
                self.problem(rule);
                None
            }
        }
    }

    /// A Struct, a Value or a ListValue: what is inside of it is in its own shape already.
    fn json(&mut self, message: Message) -> Option<Json> {
        let shape = message.kind.shape;
        let inner = |item: Item| match item.value {
            Value::Json(json) => json,
            other => unreachable!("{other:?} is no JSON"),
        };
        Some(match (shape, message.fields.into_iter().next().map(|set| set.value)) {
            (Shape::Struct, None) => Json::Map(Vec::new()),
            (Shape::ListValue, None) => Json::List(Vec::new()),
            (_, None | Some(Value::Enum(_))) => Json::Null,
            (_, Some(Value::Map(members))) => {
                Json::Map(members.into_iter().map(|(name, item)| (name, inner(item))).collect())
            }
            (_, Some(Value::List(items))) => Json::List(items.into_iter().map(inner).collect()),
            (_, Some(Value::Json(json))) => json,
            (_, Some(Value::Text(text))) => Json::Text(text),
            (_, Some(Value::Bool(value))) => Json::Bool(value),
            (_, Some(Value::Double(value))) if value.is_finite() => Json::Number(value),
            (_, Some(Value::Double(value))) => {
                self.problem(format!("JSON has no number {value}"));
                return None;
            }
            (_, Some(other)) => unreachable!("{other:?} is no JSON"),
        })
    }

    fn any_parts(&mut self, parts: &Parts<'_>, kind: &'static MessageType) -> Option<Any> {
        let (mut type_url, mut value) = (String::new(), &[][..]);
        for slot in self.slots(parts, kind)? {
            match (slot.field.kind, slot.raw) {
                (Kind::Text, Raw::One { last, .. }) => {
                    match self.enter(TYPE_KEY, |reader| reader.single(slot.field, last, Vec::new()))? {
                        Value::Text(text) => type_url = text,
                        other => unreachable!("{other:?} is no text"),
                    }
                }
                (_, Raw::One { last: Payload::Len(bytes), .. }) => value = bytes,
                _ => return None,
            }
        }
        self.depth += 1;
        let any = self.any(type_url, value);
        self.depth -= 1;
        any
    }

    fn any(&mut self, type_url: String, bytes: &[u8]) -> Option<Any> {
        if type_url.is_empty() && bytes.is_empty() {
            return Some(Any { type_url, value: None });
        }
        let named = self.enter(TYPE_KEY, |reader| known_type(&type_url, Place::NONE, reader.unknown, reader.report))?;
        let parts = Parts::one(bytes);
        let value = match named {
            Named::Kept => return Some(Any { type_url, value: None }),
            Named::Known(kind) if kind.shape == Shape::TypedStruct => return self.typed_struct(&parts, kind),
            Named::Known(kind) if kind.shape == Shape::Plain => Value::Message(self.message(&parts, kind)?),
            Named::Known(kind) => self.enter("value", |reader| reader.by_shape(&parts, kind))?,
        };
        Some(Any { type_url, value: Some(Box::new(value)) })
    }

    /// A TypedStruct stands for the message that its value spells out, and is read as that: as JSON, by the other
    /// reader.
    fn typed_struct(&mut self, parts: &Parts<'_>, kind: &'static MessageType) -> Option<Any> {
        let message = self.message(parts, kind)?;
        let type_url = message.text("type_url");
        if type_url.is_empty() {
            self.problem("a TypedStruct needs type_url");
            return None;
        }
        let kind =
            match self.enter("type_url", |reader| known_type(type_url, Place::NONE, reader.unknown, reader.report))? {
                Named::Known(kind) => kind,
                Named::Kept => return Some(Any { type_url: type_url.to_owned(), value: None }),
            };
        let node = match message.get("value").map(|set| &set.value) {
            Some(Value::Json(json)) => Node::of_json(json, Place::NONE),
            _ => Node::null(Place::NONE),
        };
        let value = self.enter("value", |reader| reader::read(&node, kind, reader.unknown, reader.report))?;
        Some(Any { type_url: type_url.to_owned(), value: Some(Box::new(Value::Message(value))) })
    }
}

/// What is known of a field so far. Most records are of the field that was met last.
fn slot<'s, 'b>(slots: &'s mut [Slot<'b>], field: &'static Field) -> Option<&'s mut Raw<'b>> {
    slots.iter_mut().rfind(|slot| std::ptr::eq(slot.field, field)).map(|slot| &mut slot.raw)
}

/// Adds a field. Of a oneof's members the last one counts, and the others were never there.
fn add<'b>(slots: &mut Vec<Slot<'b>>, field: &'static Field, raw: Raw<'b>) {
    if field.oneof().is_some() {
        slots.retain(|slot| slot.field.oneof() != field.oneof());
    }
    slots.push(Slot { field, raw });
}

/// Whether values of this kind are written so.
fn fits(kind: Kind, payload: Payload<'_>) -> bool {
    match kind {
        Kind::Message | Kind::Text | Kind::Bytes => matches!(payload, Payload::Len(_)),
        Kind::Float => matches!(payload, Payload::I32(_)),
        Kind::Double => matches!(payload, Payload::I64(_)),
        Kind::Bool | Kind::Int32 | Kind::Int64 | Kind::Uint32 | Kind::Uint64 | Kind::Enum => {
            matches!(payload, Payload::Varint(_))
        }
    }
}

#[cfg(test)]
mod tests;

//! Protobuf's wire form of what we say ourselves.
//!
//! Fields are written in the order in which they are given, a field without presence only where it is not its default,
//! as other writers do.

use crate::message::{Any, Json, Message, Set, Value};
use crate::schema::{Field, Kind, Label, MessageType, Shape};

/// The whole message.
pub(crate) fn write(message: &Message) -> Vec<u8> {
    let mut out = Writer::default();
    out.fields(message);
    out.bytes
}

/// A message under way. The numbers are those of its .proto file.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    pub(crate) bytes: Vec<u8>,
}

impl Writer {
    /// A string, where it is not empty.
    pub(crate) fn text(&mut self, number: u32, text: &str) {
        if !text.is_empty() {
            self.len(number, text.as_bytes());
        }
    }

    /// An item of a list of strings: an empty one is one, too.
    pub(crate) fn item(&mut self, number: u32, text: &str) {
        self.len(number, text.as_bytes());
    }

    /// Bytes, or a message that has been written.
    pub(crate) fn len(&mut self, number: u32, bytes: &[u8]) {
        self.tag(number, 2);
        self.varint(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    /// An int32, int64, uint32, uint64, bool or enum, be it 0 or not. A negative one is sign-extended.
    pub(crate) fn number(&mut self, number: u32, value: u64) {
        self.tag(number, 0);
        self.varint(value);
    }

    /// An embedded message.
    pub(crate) fn message(&mut self, number: u32, inner: impl FnOnce(&mut Self)) {
        self.tag(number, 2);
        let start = self.bytes.len();
        inner(self);
        let size = self.bytes.len() - start;
        // Its length stands before it, and is known behind it: few are longer than 127 bytes, and few of those are
        // ours.
        self.varint(size as u64);
        self.bytes[start..].rotate_left(size);
    }

    fn tag(&mut self, number: u32, wire_type: u32) {
        self.varint(u64::from(number << 3 | wire_type));
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    /// The fields of a tree.
    pub(crate) fn fields(&mut self, message: &Message) {
        message.fields.iter().for_each(|set| self.field(set));
    }

    /// One field of a tree.
    pub(crate) fn field(&mut self, set: &Set) {
        match &set.value {
            Value::List(items) => items.iter().for_each(|item| self.value(set.field, &item.value)),
            Value::Map(entries) => {
                let entry = set.field.message();
                let [key_field, value_field] =
                    ["key", "value"].map(|name| entry.field(name).expect("an entry of a map has both"));
                // A text's key may be no number where it ought to be one.
                let is_key =
                    |key: &str| matches!(key_field.kind, Kind::Bool | Kind::Text) || key.parse::<i128>().is_ok();
                for (key, item) in entries.iter().filter(|(key, _)| is_key(key)) {
                    self.message(set.field.number, |out| {
                        out.key(key_field, key);
                        out.value(value_field, &item.value);
                    });
                }
            }
            value if set.field.label == Label::Implicit && value.is_default() => {}
            value => self.value(set.field, value),
        }
    }

    /// The key of a map's entry, which the tree holds as the text that JSON has for it.
    fn key(&mut self, field: &'static Field, key: &str) {
        let number = field.number;
        match field.kind {
            Kind::Bool => self.number(number, u64::from(key == "true")),
            Kind::Text => self.item(number, key),
            _ => match key.parse::<i128>() {
                Ok(value) => self.number(number, value as u64),
                Err(_) => unreachable!("a key that is a number has been read as one"),
            },
        }
    }

    fn value(&mut self, field: &'static Field, value: &Value) {
        let number = field.number;
        match value {
            Value::Message(message) => self.message(number, |out| out.fields(message)),
            value if field.kind == Kind::Message => {
                let kind = field.message();
                self.message(number, |out| out.content(kind, value));
            }
            Value::Bool(value) => self.number(number, u64::from(*value)),
            Value::Int(value) => self.number(number, *value as u64),
            Value::Uint(value) => self.number(number, *value),
            Value::Enum(value) => self.number(number, i64::from(*value) as u64),
            Value::Double(value) if field.kind == Kind::Float => {
                self.tag(number, 5);
                self.bytes.extend_from_slice(&(*value as f32).to_le_bytes());
            }
            Value::Double(value) => {
                self.tag(number, 1);
                self.bytes.extend_from_slice(&value.to_le_bytes());
            }
            Value::Text(text) => self.item(number, text),
            Value::Bytes(bytes) => self.len(number, bytes),
            Value::Duration(_) | Value::Json(_) | Value::Any(_) | Value::List(_) | Value::Map(_) => {
                unreachable!("{field:?} is a scalar")
            }
        }
    }

    /// What is inside of a message that the tree holds in a shape of its own.
    fn content(&mut self, kind: &'static MessageType, value: &Value) {
        match (kind.shape, value) {
            (_, Value::Message(message)) => self.fields(message),
            (_, Value::Any(any)) => self.any(any),
            (_, Value::Duration(value)) => {
                if value.as_secs() > 0 {
                    self.number(1, value.as_secs());
                }
                if value.subsec_nanos() > 0 {
                    self.number(2, value.subsec_nanos().into());
                }
            }
            (Shape::Struct, Value::Json(Json::Map(members))) => self.members(members),
            (Shape::ListValue, Value::Json(Json::List(items))) => self.json_items(items),
            (Shape::Value, Value::Json(json)) => self.json(json),
            // They come by text alone, as texts in a form of their own, and no field that is taken has them (`crate::wire`).
            (Shape::Timestamp | Shape::FieldMask, _) => {}
            (Shape::Wrapper, value) if value.is_default() => {}
            (Shape::Wrapper, value) => self.value(kind.field("value").expect("a wrapper has a value"), value),
            (_, value) => unreachable!("{kind:?} is not held as {value:?}"),
        }
    }

    fn any(&mut self, any: &Any) {
        self.text(1, &any.type_url);
        let kind = any.type_url.rsplit_once('/').and_then(|(_, name)| MessageType::by_name(name));
        if let (Some(kind), Some(value)) = (kind, &any.value) {
            self.message(2, |out| out.content(kind, value));
        }
    }

    /// `google.protobuf.Struct`.
    fn members(&mut self, members: &[(String, Json)]) {
        for (name, value) in members {
            self.message(1, |out| {
                out.item(1, name);
                out.message(2, |out| out.json(value));
            });
        }
    }

    /// `google.protobuf.ListValue`.
    fn json_items(&mut self, items: &[Json]) {
        items.iter().for_each(|item| self.message(1, |out| out.json(item)));
    }

    /// `google.protobuf.Value`.
    fn json(&mut self, json: &Json) {
        match json {
            Json::Null => self.number(1, 0),
            Json::Number(value) => {
                self.tag(2, 1);
                self.bytes.extend_from_slice(&value.to_le_bytes());
            }
            Json::Text(text) => self.item(3, text),
            Json::Bool(value) => self.number(4, u64::from(*value)),
            Json::Map(members) => self.message(5, |out| out.members(members)),
            Json::List(items) => self.message(6, |out| out.json_items(items)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document;
    use crate::problem::Report;
    use crate::reader::{self, Unknown};

    #[test]
    fn a_length_stands_before_its_message() {
        let mut out = Writer::default();
        out.message(1, |out| out.message(2, |out| out.text(3, &"x".repeat(200))));
        assert_eq!(out.bytes[..8], [0x0a, 0xce, 0x01, 0x12, 0xcb, 0x01, 0x1a, 0xc8]);
        assert_eq!(out.bytes.len(), 209);
    }

    /// A resource of a file may be anything that its form allows, and is written when it is shown: what this form has no room for is left
    /// out.
    #[test]
    fn what_has_no_wire_form_is_left_out() {
        let written = |kind: &str, text: &str| {
            let mut report = Report::new("f");
            let node = document::parse(text, &mut report).expect("YAML");
            let kind = MessageType::by_name(kind).expect("a type");
            write(&reader::read(&node, kind, Unknown::Kept, &mut report).expect("a message"))
        };
        // A key that is no number.
        let kind = "envoy.extensions.filters.network.dubbo_proxy.v3.MethodMatch";
        let bytes = written(kind, "{params_match: {one: {exact_match: a}, 2: {exact_match: b}}}");
        assert_eq!(bytes, b"\x12\x07\x08\x02\x12\x03\x1a\x01b");
        // A text that stands for a message.
        let bytes = written("envoy.data.cluster.v3.OutlierDetectionEvent", "{timestamp: '2020-01-01T00:00:00Z'}");
        assert_eq!(bytes, b"\x12\0");
    }
}

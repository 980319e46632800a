//! A protobuf message as a tree of set fields, each with the place where the text sets it. [`crate::reader`] makes it of text,
//! [`crate::wire`] of protobuf's wire form, and nobody who reads the tree sees which.
//!
//! What a reader would not see is not here: a scalar without presence that holds its default, an empty list. So "set"
//! means "changes something", and who translates a tree can refuse what it does not know, field by field.
//!
//! Invariant: the value of a field is of the variant that the field's kind and label ask for.

use std::time::Duration;

use crate::problem::Place;
use crate::schema::{Field, MessageType};

/// One message.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) kind: &'static MessageType,
    /// Where the message begins.
    pub(crate) place: Place,
    /// In the order of the text, each field once.
    pub(crate) fields: Vec<Set>,
}

/// One field that is set.
#[derive(Debug)]
pub(crate) struct Set {
    pub(crate) field: &'static Field,
    /// Where its key stands.
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// The value of a field. Wrappers (`google.protobuf.UInt32Value`) are the bare value.
#[derive(Debug)]
pub(crate) enum Value {
    Bool(bool),
    /// int32 and int64.
    Int(i64),
    /// uint32 and uint64.
    Uint(u64),
    /// float and double.
    Double(f64),
    /// string, and the well-known types that are texts in JSON: Timestamp, FieldMask.
    Text(String),
    Bytes(Vec<u8>),
    /// A number that may have no name: protobuf's enums are open.
    Enum(i32),
    /// Never negative: no field of Envoy means anything by that.
    Duration(Duration),
    /// `google.protobuf.Struct`, `Value` and `ListValue`.
    Json(Json),
    Message(Message),
    Any(Any),
    List(Vec<Item>),
    Map(Vec<(String, Item)>),
}

/// One item of a list, one value of a map.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// `google.protobuf.Any`: a message that names its own type.
#[derive(Debug)]
pub(crate) struct Any {
    /// The text of `@type`, or of a TypedStruct's `type_url`; empty where there is none.
    pub(crate) type_url: String,
    /// The message, or the bare value where the type is a well-known one. `None`: an Any without a type, or of a type that is not
    /// known and was kept ([`crate::reader::Unknown::Kept`]).
    pub(crate) value: Option<Box<Value>>,
}

/// A value without a schema.
#[derive(Clone, Debug)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Json>),
    Map(Vec<(String, Json)>),
}

/// By value: the order of an object's members does not count.
impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Json::Null, Json::Null) => true,
            (Json::Bool(one), Json::Bool(other)) => one == other,
            (Json::Number(one), Json::Number(other)) => one == other,
            (Json::Text(one), Json::Text(other)) => one == other,
            (Json::List(one), Json::List(other)) => one == other,
            (Json::Map(one), Json::Map(other)) => {
                let has = |(name, value): &(String, Json)| other.iter().any(|(key, held)| key == name && held == value);
                one.len() == other.len() && one.iter().all(has)
            }
            _ => false,
        }
    }
}

impl Message {
    /// A message with nothing set.
    pub(crate) fn empty(kind: &'static MessageType, place: Place) -> Self {
        Self { kind, place, fields: Vec::new() }
    }

    /// The field of this name, if it is set.
    ///
    /// # Panics
    /// Where the type has no such field: the caller is wrong, not the text.
    pub(crate) fn get(&self, name: &str) -> Option<&Set> {
        debug_assert!(self.kind.field(name).is_some(), "{:?} has no field {name}", self.kind);
        self.fields.iter().find(|set| set.field.name() == name)
    }
}

/// Typed access, for who knows what a field is. A field of another kind is the caller's mistake and panics.
impl Message {
    /// A string; empty where unset.
    pub(crate) fn text(&self, name: &str) -> &str {
        match self.get(name).map(|set| &set.value) {
            None => "",
            Some(Value::Text(text)) => text,
            Some(other) => panic!("{name} is no string: {other:?}"),
        }
    }

    /// A uint32, bare or wrapped.
    pub(crate) fn uint(&self, name: &str) -> Option<u32> {
        match self.get(name).map(|set| &set.value) {
            None => None,
            Some(Value::Uint(value)) => Some(u32::try_from(*value).expect("the reader has checked the range")),
            Some(other) => panic!("{name} is no unsigned number: {other:?}"),
        }
    }

    /// A uint64, bare or wrapped.
    pub(crate) fn wide_uint(&self, name: &str) -> Option<u64> {
        match self.get(name).map(|set| &set.value) {
            None => None,
            Some(Value::Uint(value)) => Some(*value),
            Some(other) => panic!("{name} is no unsigned number: {other:?}"),
        }
    }

    /// An int32 or int64, bare or wrapped.
    pub(crate) fn int(&self, name: &str) -> Option<i64> {
        match self.get(name).map(|set| &set.value) {
            None => None,
            Some(Value::Int(value)) => Some(*value),
            Some(other) => panic!("{name} is no signed number: {other:?}"),
        }
    }

    /// A double, bare or wrapped.
    pub(crate) fn double(&self, name: &str) -> Option<f64> {
        match self.get(name).map(|set| &set.value) {
            None => None,
            Some(Value::Double(value)) => Some(*value),
            Some(other) => panic!("{name} is no double: {other:?}"),
        }
    }

    /// The number of an enum's value; 0 where unset.
    pub(crate) fn number(&self, name: &str) -> i32 {
        match self.get(name).map(|set| &set.value) {
            None => 0,
            Some(Value::Enum(number)) => *number,
            Some(other) => panic!("{name} is no enum: {other:?}"),
        }
    }

    /// A bool, bare or wrapped.
    pub(crate) fn boolean(&self, name: &str) -> Option<bool> {
        match self.get(name).map(|set| &set.value) {
            None => None,
            Some(Value::Bool(value)) => Some(*value),
            Some(other) => panic!("{name} is no bool: {other:?}"),
        }
    }

    pub(crate) fn duration(&self, name: &str) -> Option<Duration> {
        match self.get(name).map(|set| &set.value) {
            None => None,
            Some(Value::Duration(value)) => Some(*value),
            Some(other) => panic!("{name} is no duration: {other:?}"),
        }
    }

    pub(crate) fn message(&self, name: &str) -> Option<&Message> {
        match self.get(name).map(|set| &set.value) {
            None => None,
            Some(Value::Message(message)) => Some(message),
            Some(other) => panic!("{name} is no message: {other:?}"),
        }
    }

    pub(crate) fn any(&self, name: &str) -> Option<&Any> {
        match self.get(name).map(|set| &set.value) {
            None => None,
            Some(Value::Any(any)) => Some(any),
            Some(other) => panic!("{name} is no Any: {other:?}"),
        }
    }

    /// A list; empty where unset.
    pub(crate) fn items(&self, name: &str) -> &[Item] {
        match self.get(name).map(|set| &set.value) {
            None => &[],
            Some(Value::List(items)) => items,
            Some(other) => panic!("{name} is no list: {other:?}"),
        }
    }

    /// A list of messages; empty where unset.
    pub(crate) fn messages(&self, name: &str) -> impl Iterator<Item = &Message> {
        self.items(name).iter().map(move |item| match &item.value {
            Value::Message(message) => message,
            other => panic!("{name} is no list of messages: {other:?}"),
        })
    }

    /// A list of strings; empty where unset.
    pub(crate) fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        self.items(name).iter().map(move |item| match &item.value {
            Value::Text(text) => text.as_str(),
            other => panic!("{name} is no list of strings: {other:?}"),
        })
    }

    /// The message of this field, an empty one where it is not set.
    pub(crate) fn child(&mut self, name: &str) -> &mut Message {
        if self.get(name).is_none() {
            let kind = self.kind.field(name).expect("the field exists").message();
            self.put(name, Value::Message(Message::empty(kind, self.place)));
        }
        match self.fields.iter_mut().find(|set| set.field.name() == name).map(|set| &mut set.value) {
            Some(Value::Message(message)) => message,
            other => panic!("{name} is no message: {other:?}"),
        }
    }

    /// Sets a field that is in no oneof, whatever it was.
    pub(crate) fn put(&mut self, name: &str, value: Value) {
        let field = self.kind.field(name).expect("the field exists");
        let place = self.place_of(name);
        self.fields.retain(|set| !std::ptr::eq(set.field, field));
        self.fields.push(Set { field, place, value });
    }

    /// Where the field is set, or else where the message begins.
    pub(crate) fn place_of(&self, name: &str) -> Place {
        self.get(name).map_or(self.place, |set| set.place)
    }
}

impl Value {
    /// Whether a field without presence would be unset with this value.
    pub(crate) fn is_default(&self) -> bool {
        match self {
            Value::Bool(value) => !value,
            Value::Int(value) => *value == 0,
            Value::Uint(value) => *value == 0,
            Value::Double(value) => *value == 0.0 && value.is_sign_positive(),
            Value::Text(text) => text.is_empty(),
            Value::Bytes(bytes) => bytes.is_empty(),
            Value::Enum(number) => *number == 0,
            Value::List(items) => items.is_empty(),
            Value::Map(entries) => entries.is_empty(),
            Value::Duration(_) | Value::Json(_) | Value::Message(_) | Value::Any(_) => false,
        }
    }
}

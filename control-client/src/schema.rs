//! Envoy's v3 API as static tables: which messages exist, which fields they have, and what a field may hold.
//!
//! build.rs writes the tables. They hold numbers and offsets into one text, no pointers, so that loading costs nothing
//! and only the pages that a file touches become resident.
//!
//! Invariant: message types are sorted by full name; a field's `target` is a valid index for its kind.

mod tables {
    #![allow(clippy::all, clippy::pedantic)]
    use super::{Argument, EnumType, EnumValue, Field, Kind, Label, MessageType, Oneof, Op, Rule, Scope, Shape, Text};
    include!(concat!(env!("OUT_DIR"), "/tables.rs"));
}

use tables::{ENUM_VALUES, ENUMS, FIELDS, MESSAGES, ONEOFS, RULES, TEXT};

/// A piece of the one text that holds all names.
#[derive(Clone, Copy)]
pub(crate) struct Text {
    at: u32,
    size: u16,
}

impl Text {
    pub(crate) fn as_str(self) -> &'static str {
        &TEXT[self.at as usize..self.at as usize + usize::from(self.size)]
    }
}

/// First row and count of rows in another table.
type Rows = (u32, u16);

fn rows<T>(table: &'static [T], (at, count): Rows) -> &'static [T] {
    &table[at as usize..at as usize + usize::from(count)]
}

/// How the JSON form of a message differs from "an object with its fields".
#[allow(dead_code)] // Envoy's files do not use every well-known type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Plain,
    Any,
    Duration,
    Timestamp,
    FieldMask,
    Struct,
    Value,
    ListValue,
    /// `google.protobuf.UInt32Value` and its like: the bare value.
    Wrapper,
    TypedStruct,
}

/// One message type.
pub(crate) struct MessageType {
    name: Text,
    pub(crate) shape: Shape,
    fields: Rows,
    oneofs: Rows,
}

impl MessageType {
    /// The type of this full name, such as `envoy.config.cluster.v3.Cluster`.
    pub(crate) fn by_name(name: &str) -> Option<&'static MessageType> {
        MESSAGES.binary_search_by(|message| message.name().cmp(name)).ok().map(|at| &MESSAGES[at])
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name.as_str()
    }

    pub(crate) fn fields(&self) -> &'static [Field] {
        rows(&FIELDS, self.fields)
    }

    pub(crate) fn oneofs(&self) -> &'static [Oneof] {
        rows(&ONEOFS, self.oneofs)
    }

    /// The field of this number.
    pub(crate) fn numbered(&self, number: u32) -> Option<&'static Field> {
        self.fields().iter().find(|field| field.number == number)
    }

    /// The field of this name, in either spelling: `connect_timeout` or `connectTimeout`.
    pub(crate) fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields().iter().find(|field| field.name() == name || field.json_name.as_str() == name)
    }
}

/// Whether a message of this type has a field at this path of names. All but the last are single messages; a path without names is the
/// message itself.
pub fn has_path(message: &str, path: &[&str]) -> bool {
    let Some((first, rest)) = path.split_first() else { return true };
    let Some(field) = MessageType::by_name(message).and_then(|message| message.field(first)) else { return false };
    rest.is_empty()
        || field.kind == Kind::Message
            && !matches!(field.label, Label::List | Label::Map)
            && has_path(field.message().name(), rest)
}

/// Two types are one if they have one name: each name occurs once.
impl PartialEq for MessageType {
    fn eq(&self, other: &Self) -> bool {
        self.name.at == other.name.at && self.name.size == other.name.size
    }
}

impl std::fmt::Debug for MessageType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// How often a field may occur, and whether "unset" differs from its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Label {
    /// A scalar whose default value means "unset".
    Implicit,
    /// A message, a member of a oneof, or an `optional` scalar.
    Explicit,
    List,
    Map,
}

/// What a field's value, or each of its items, is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Float,
    Double,
    Text,
    Bytes,
    Enum,
    Message,
}

/// One field of a message type.
pub(crate) struct Field {
    /// What names the field in protobuf's wire form.
    pub(crate) number: u32,
    name: Text,
    json_name: Text,
    pub(crate) label: Label,
    pub(crate) kind: Kind,
    target: u16,
    oneof: u8,
    /// Envoy's `udpa.annotations.sensitive`: never shown.
    pub(crate) sensitive: bool,
    rules: Rows,
}

impl Field {
    /// Envoy's spelling: snake_case.
    pub(crate) fn name(&self) -> &'static str {
        self.name.as_str()
    }

    /// The message type of the value; for a map, of its entries.
    pub(crate) fn message(&self) -> &'static MessageType {
        assert_eq!(self.kind, Kind::Message, "{} is no message", self.name());
        &MESSAGES[usize::from(self.target)]
    }

    pub(crate) fn enumeration(&self) -> &'static EnumType {
        assert_eq!(self.kind, Kind::Enum, "{} is no enum", self.name());
        &ENUMS[usize::from(self.target)]
    }

    /// The index, within its message's oneofs, of the one that this field is a member of.
    pub(crate) fn oneof(&self) -> Option<usize> {
        (self.oneof != u8::MAX).then_some(usize::from(self.oneof))
    }

    pub(crate) fn rules(&self) -> &'static [Rule] {
        rows(&RULES, self.rules)
    }
}

impl std::fmt::Debug for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of fields of which at most one is set.
pub(crate) struct Oneof {
    name: Text,
    /// protoc-gen-validate: exactly one must be set.
    pub(crate) required: bool,
}

impl Oneof {
    pub(crate) fn name(&self) -> &'static str {
        self.name.as_str()
    }
}

/// One enum type.
pub(crate) struct EnumType {
    name: Text,
    values: Rows,
}

impl EnumType {
    pub(crate) fn name(&self) -> &'static str {
        self.name.as_str()
    }

    pub(crate) fn values(&self) -> &'static [EnumValue] {
        rows(&ENUM_VALUES, self.values)
    }

    /// The name of the first value with this number.
    pub(crate) fn name_of(&self, number: i32) -> Option<&'static str> {
        self.values().iter().find(|value| value.number == number).map(EnumValue::name)
    }
}

/// One value of an enum.
pub(crate) struct EnumValue {
    name: Text,
    pub(crate) number: i32,
}

impl EnumValue {
    pub(crate) fn name(&self) -> &'static str {
        self.name.as_str()
    }
}

/// One rule of protoc-gen-validate.
pub(crate) struct Rule {
    pub(crate) scope: Scope,
    pub(crate) op: Op,
    pub(crate) argument: Argument,
}

/// What a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The field.
    Value,
    /// Each item of a list, each value of a map.
    Item,
    /// Each key of a map.
    Key,
}

/// What a rule asks. The names are those of validate.proto; lengths are in characters, sizes in bytes; bounds of
/// durations are nanoseconds. Several `In` of one scope are one set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code)] // Envoy's files do not use every rule that validate.proto knows.
pub(crate) enum Op {
    Address,
    Const,
    Contains,
    DefinedOnly,
    Email,
    Gt,
    Gte,
    /// No NUL, CR or LF: a header's name or value, not strictly.
    HeaderText,
    HeaderName,
    HeaderValue,
    Hostname,
    IgnoreEmpty,
    In,
    Ip,
    Ipv4,
    Ipv6,
    Len,
    Lt,
    Lte,
    MaxBytes,
    MaxItems,
    MaxLen,
    MinBytes,
    MinItems,
    MinLen,
    NotContains,
    NotIn,
    Prefix,
    Required,
    Skip,
    Suffix,
    Unique,
    Uri,
    UriRef,
    Uuid,
}

/// The argument of a rule.
#[derive(Clone, Copy)]
pub(crate) enum Argument {
    Int(i64),
    Double(f64),
    Text(Text),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_found_by_name_and_fields_by_either_spelling() {
        assert!(MESSAGES.is_sorted_by_key(MessageType::name));
        let cluster = MessageType::by_name("envoy.config.cluster.v3.Cluster").expect("a cluster is known");
        let field = cluster.field("connectTimeout").expect("a field");
        assert_eq!(field.name(), "connect_timeout");
        assert_eq!(field.message().shape, Shape::Duration);
        assert!(MessageType::by_name("envoy.config.cluster.v3.Clusters").is_none());
    }
}

//! A message tree as JSON, as Envoy's admin server writes it: snake_case names, defaults left out, two blanks per level.
//!
//! What is for showing is redacted first ([`crate::redaction`]).

use std::fmt::Write as _;

use crate::message::{Any, Json, Message, Value};
use crate::redaction;
use crate::schema::{Field, Kind, Shape};

/// The whole message as one JSON object, without what is secret: it is for showing.
pub(crate) fn write(mut message: Message) -> String {
    redaction::redact(&mut message);
    let mut out = Writer::new();
    out.message(&message, None);
    out.out.push('\n');
    out.out
}

/// The same with all that is sensitive, and without a blank: for keeping it and not for showing it.
pub(crate) fn write_whole(message: &Message) -> String {
    let mut out = Writer { has_lines: false, ..Writer::new() };
    out.message(message, None);
    out.out
}

/// One text, quoted.
pub(crate) fn text(text: &str) -> String {
    let mut out = Writer::new();
    out.text(text);
    out.out
}

struct Writer {
    out: String,
    depth: usize,
    /// Each member stands on a line of its own: twice as many bytes.
    has_lines: bool,
}

impl Writer {
    fn new() -> Writer {
        Writer { out: String::new(), depth: 0, has_lines: true }
    }

    fn message(&mut self, message: &Message, type_url: Option<&str>) {
        let count = message.fields.len() + usize::from(type_url.is_some());
        self.block('{', '}', count, |out, at| match (type_url, at) {
            (Some(url), 0) => {
                out.key("@type");
                out.text(url);
            }
            _ => {
                let set = &message.fields[at - usize::from(type_url.is_some())];
                out.key(set.field.name());
                out.value(&set.value, set.field);
            }
        });
    }

    /// Opens, writes `count` members on lines of their own, closes.
    fn block(&mut self, open: char, close: char, count: usize, mut member: impl FnMut(&mut Self, usize)) {
        self.out.push(open);
        self.depth += 1;
        for at in 0..count {
            if at > 0 {
                self.out.push(',');
            }
            self.line();
            member(self, at);
        }
        self.depth -= 1;
        if count > 0 {
            self.line();
        }
        self.out.push(close);
    }

    fn line(&mut self) {
        if self.has_lines {
            self.out.push('\n');
            self.out.extend(std::iter::repeat_n("  ", self.depth));
        }
    }

    fn key(&mut self, name: &str) {
        self.text(name);
        self.out.push_str(if self.has_lines { ": " } else { ":" });
    }

    fn value(&mut self, value: &Value, field: &'static Field) {
        match value {
            Value::List(items) => self.block('[', ']', items.len(), |out, at| out.value(&items[at].value, field)),
            Value::Map(entries) => {
                let inner = field.message().field("value").expect("an entry of a map has a value");
                self.block('{', '}', entries.len(), |out, at| {
                    let (key, item) = &entries[at];
                    out.key(key);
                    out.value(&item.value, inner);
                });
            }
            Value::Enum(number) => match (field.kind == Kind::Enum).then(|| field.enumeration().name_of(*number)) {
                Some(Some(name)) => self.text(name),
                _ => self.display(number),
            },
            // 64-bit numbers are strings in protobuf's JSON, because JavaScript's numbers are doubles.
            Value::Int(value) if is_64_bit(field) => self.text(&value.to_string()),
            Value::Uint(value) if is_64_bit(field) => self.text(&value.to_string()),
            value => self.plain(value),
        }
    }

    /// A value whose form does not depend on its field.
    fn plain(&mut self, value: &Value) {
        match value {
            Value::Bool(value) => self.display(value),
            Value::Int(value) => self.display(value),
            Value::Uint(value) => self.display(value),
            Value::Double(value) if value.is_finite() => self.display(value),
            Value::Double(value) => self.text(match value {
                value if value.is_nan() => "NaN",
                value if *value > 0.0 => "Infinity",
                _ => "-Infinity",
            }),
            Value::Text(text) => self.text(text),
            Value::Bytes(bytes) => {
                let text = base64(bytes);
                self.text(&text);
            }
            Value::Enum(number) => self.display(number),
            Value::Duration(value) => {
                let mut text = format!("{}.{:09}", value.as_secs(), value.subsec_nanos());
                // Three, six or nine digits, or none.
                while text.ends_with("000") {
                    text.truncate(text.len() - 3);
                }
                let text = format!("{}s", text.trim_end_matches('.'));
                self.text(&text);
            }
            Value::Json(json) => self.json(json),
            Value::Message(message) => self.message(message, None),
            Value::Any(any) => self.any(any),
            Value::List(_) | Value::Map(_) => unreachable!("written with their field"),
        }
    }

    fn any(&mut self, any: &Any) {
        match any.value.as_deref() {
            None if any.type_url.is_empty() => self.out.push_str("{}"),
            // What is behind a type that nobody knows was not kept.
            None => self.block('{', '}', 1, |out, _| {
                out.key("@type");
                out.text(&any.type_url);
            }),
            Some(Value::Message(message)) => self.message(message, Some(&any.type_url)),
            Some(value) => self.block('{', '}', 2, |out, at| match at {
                0 => {
                    out.key("@type");
                    out.text(&any.type_url);
                }
                _ => {
                    out.key("value");
                    out.plain(value);
                }
            }),
        }
    }

    fn json(&mut self, json: &Json) {
        match json {
            Json::Null => self.out.push_str("null"),
            Json::Bool(value) => self.display(value),
            Json::Number(value) => self.display(value),
            Json::Text(text) => self.text(text),
            Json::List(items) => self.block('[', ']', items.len(), |out, at| out.json(&items[at])),
            Json::Map(entries) => self.block('{', '}', entries.len(), |out, at| {
                out.key(&entries[at].0);
                out.json(&entries[at].1);
            }),
        }
    }

    fn display(&mut self, value: impl std::fmt::Display) {
        let _ = write!(self.out, "{value}");
    }

    fn text(&mut self, text: &str) {
        self.out.push('"');
        for c in text.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                '\t' => self.out.push_str("\\t"),
                c if u32::from(c) < 0x20 || c == '\x7f' => {
                    let _ = write!(self.out, "\\u{:04x}", u32::from(c));
                }
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }
}

fn is_64_bit(field: &Field) -> bool {
    match field.kind {
        Kind::Int64 | Kind::Uint64 => true,
        Kind::Message if field.message().shape == Shape::Wrapper => {
            matches!(field.message().name(), "google.protobuf.UInt64Value" | "google.protobuf.Int64Value")
        }
        _ => false,
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = three.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
        for digit in 0..4 {
            let value = bits >> (18 - 6 * digit) & 63;
            out.push(if digit <= three.len() { char::from(DIGITS[value as usize]) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{write, write_whole};
    use crate::problem::Report;
    use crate::reader::{self, Unknown};
    use crate::schema::MessageType;

    /// Reads a message of this type and writes it without line breaks; what is kept of it is on one line, and reads as the same.
    #[track_caller]
    fn check(kind: &str, text: &str, expect: &str) {
        let mut report = Report::new("f");
        let node = crate::document::parse(text, &mut report).expect("YAML");
        let kind = MessageType::by_name(kind).expect("a type");
        let message = reader::read(&node, kind, Unknown::Refused, &mut report).expect("a message");
        assert_eq!(report.problems, []);
        let kept = write_whole(&message);
        let shown = write(message);
        let written: String = shown.lines().map(str::trim_start).collect();
        assert_eq!(written, expect);
        assert_eq!(kept.lines().count(), 1, "{kept}");
        let node = crate::document::parse(&kept, &mut report).expect("JSON");
        let again = reader::read(&node, kind, Unknown::Refused, &mut report).expect("the message");
        assert_eq!((report.problems.as_slice(), write_whole(&again)), (&[][..], kept));
        assert_eq!(write(again), shown);
    }

    #[test]
    fn values_are_written_as_protobuf_writes_json() {
        check("envoy.config.core.v3.Node", "{id: \"a\\n\\\"\\u0001é\", cluster: ''}", r#"{"id": "a\n\"\u0001é"}"#);
        check("envoy.config.core.v3.DataSource", "inlineBytes: aGVsbG8", r#"{"inline_bytes": "aGVsbG8="}"#);
        let cluster = "envoy.config.cluster.v3.Cluster";
        check(
            cluster,
            "{name: a, connect_timeout: 0.25s, cleanup_interval: 3600s, dns_refresh_rate: 1.000000001s, lb_policy: maglev}",
            concat!(
                r#"{"name": "a","connect_timeout": "0.250s","cleanup_interval": "3600s","#,
                r#""dns_refresh_rate": "1.000000001s","lb_policy": "MAGLEV"}"#
            ),
        );
        check(
            cluster,
            "{name: a, type: 0, respect_dns_ttl: false, per_connection_buffer_limit_bytes: 0, metadata: {filter_metadata: {m: {x: [1, null, yes]}}}}",
            concat!(
                r#"{"name": "a","type": "STATIC","per_connection_buffer_limit_bytes": 0,"#,
                r#""metadata": {"filter_metadata": {"m": {"x": [1,null,true]}}}}"#
            ),
        );
        check(
            "envoy.config.route.v3.VirtualHost",
            "{name: v, domains: '*', request_body_buffer_limit: 5}",
            r#"{"name": "v","domains": ["*"],"request_body_buffer_limit": "5"}"#,
        );
        check(
            "envoy.config.core.v3.TypedExtensionConfig",
            "{name: a, typed_config: {'@type': t/google.protobuf.Duration, value: 5s}}",
            r#"{"name": "a","typed_config": {"@type": "t/google.protobuf.Duration","value": "5s"}}"#,
        );
    }

    #[test]
    fn secrets_are_not_shown() {
        check(
            "envoy.extensions.transport_sockets.tls.v3.TlsCertificate",
            "{certificate_chain: {inline_string: c}, private_key: {inline_string: k}, password: {inline_bytes: cA}}",
            concat!(
                r#"{"certificate_chain": {"inline_string": "c"},"private_key": {"inline_string": "[redacted]"},"#,
                r#""password": {"inline_bytes": "W3JlZGFjdGVkXQ=="}}"#
            ),
        );
    }
}

//! What is secret in a message tree, taken out: before it is shown in any form.
//!
//! Inside fields that Envoy marks as sensitive, texts and bytes become `[redacted]` and all else is left out, as Envoy does it.

use crate::message::{Any, Message, Value};

const REDACTED: &str = "[redacted]";

/// Takes out what is secret.
pub(crate) fn redact(message: &mut Message) {
    fields(message, false);
}

fn fields(message: &mut Message, is_secret: bool) {
    message.fields.retain(|set| !(is_secret || set.field.sensitive) || can_be_redacted(&set.value));
    for set in &mut message.fields {
        value(&mut set.value, is_secret || set.field.sensitive);
    }
}

fn value(of: &mut Value, is_secret: bool) {
    match of {
        Value::Message(message) => fields(message, is_secret),
        Value::Any(inner) => any(inner, is_secret),
        Value::List(items) => items.iter_mut().for_each(|item| value(&mut item.value, is_secret)),
        Value::Map(entries) => entries.iter_mut().for_each(|(_, item)| value(&mut item.value, is_secret)),
        Value::Text(text) if is_secret => REDACTED.clone_into(text),
        Value::Bytes(bytes) if is_secret => *bytes = REDACTED.into(),
        // A secret one of these was left out with its field.
        Value::Text(_) | Value::Bytes(_) | Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Double(_) => {}
        Value::Enum(_) | Value::Duration(_) | Value::Json(_) => {}
    }
}

/// Of a secret one its type remains.
fn any(any: &mut Any, is_secret: bool) {
    match any.value.as_deref_mut() {
        Some(inner) if !is_secret || can_be_redacted(inner) => value(inner, is_secret),
        _ => any.value = None,
    }
}

/// Whether something of the value remains when it is redacted.
fn can_be_redacted(value: &Value) -> bool {
    match value {
        Value::Text(_) | Value::Bytes(_) | Value::Message(_) | Value::Any(_) => true,
        Value::List(items) => items.iter().all(|item| can_be_redacted(&item.value)),
        Value::Map(entries) => entries.iter().all(|(_, item)| can_be_redacted(&item.value)),
        Value::Bool(_) | Value::Int(_) | Value::Uint(_) | Value::Double(_) => false,
        Value::Enum(_) | Value::Duration(_) | Value::Json(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;
    use crate::problem::Report;
    use crate::reader::{self, Unknown};
    use crate::schema::MessageType;
    use crate::wire;

    /// What remains, in both forms: the wire form says what JSON says.
    #[track_caller]
    fn check(kind: &str, text: &str, expect: &str) {
        let mut report = Report::new("f");
        let node = crate::document::parse(text, &mut report).expect("YAML");
        let kind = MessageType::by_name(kind).expect("a type");
        let mut message = reader::read(&node, kind, Unknown::Kept, &mut report).expect("a message");
        redact(&mut message);
        assert_eq!(json::write_whole(&message), expect);
        let again = wire::read(&wire::write(&message), kind, Unknown::Kept, &mut report).expect("a message");
        assert_eq!((report.problems.as_slice(), json::write_whole(&again).as_str()), (&[][..], expect));
    }

    #[test]
    fn of_what_is_secret_texts_and_bytes_remain_as_such() {
        check(
            "envoy.extensions.transport_sockets.tls.v3.Secret",
            "{name: s, tls_certificate: {certificate_chain: {inline_string: c}, private_key: {inline_string: k, watched_directory: {path: p}},
              password: {inline_bytes: cA}}}",
            concat!(
                r#"{"name":"s","tls_certificate":{"certificate_chain":{"inline_string":"c"},"private_key":"#,
                r#"{"inline_string":"[redacted]","watched_directory":{"path":"[redacted]"}},"#,
                r#""password":{"inline_bytes":"W3JlZGFjdGVkXQ=="}}}"#
            ),
        );
        check(
            "envoy.extensions.transport_sockets.tls.v3.Secret",
            "{name: s, session_ticket_keys: {keys: [{filename: f}, {inline_string: k}]}}",
            r#"{"name":"s","session_ticket_keys":{"keys":[{"filename":"[redacted]"},{"inline_string":"[redacted]"}]}}"#,
        );
    }

    #[test]
    fn what_is_in_an_any_is_looked_into() {
        check(
            "envoy.config.core.v3.TransportSocket",
            "{name: t, typed_config: {'@type': t/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext, common_tls_context:
              {tls_certificates: [{private_key: {inline_string: k}}]}}}",
            concat!(
                r#"{"name":"t","typed_config":{"@type":"t/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext","#,
                r#""common_tls_context":{"tls_certificates":[{"private_key":{"inline_string":"[redacted]"}}]}}}"#
            ),
        );
    }
}

//! The rules of protoc-gen-validate that Envoy's .proto files attach to fields.
//!
//! They hold for a message as a whole: a field that is not set may break one. The words are those of Envoy's own messages where
//! it has one. `pattern` is not checked: it occurs six times, in types that nothing supported reaches.

use crate::message::{Message, Set, Value};
use crate::problem::{Place, Report};
use crate::schema::{Argument, Field, Kind, Label, Op, Rule, Scope};

/// Checks one message, not those inside of it: they have been checked when they were read. Fields in `wrong` have a value
/// that could not be read, and a problem of their own.
pub(crate) fn check(message: &Message, wrong: &[&'static Field], report: &mut Report) {
    let is_wrong = |field: &Field| wrong.iter().any(|other| std::ptr::eq(*other, field));
    for field in message.kind.fields() {
        if !field.rules().is_empty() && !is_wrong(field) {
            let set = message.fields.iter().find(|set| std::ptr::eq(set.field, field));
            let size = report.enter_field(field.name());
            check_field(message, field, set, report);
            report.leave(size);
        }
    }
    for (index, oneof) in message.kind.oneofs().iter().enumerate().filter(|(_, oneof)| oneof.required) {
        let unset = !message.fields.iter().any(|set| set.field.oneof() == Some(index));
        if unset && !wrong.iter().any(|field| field.oneof() == Some(index)) {
            let names: Vec<&str> =
                message.kind.fields().iter().filter(|field| field.oneof() == Some(index)).map(Field::name).collect();
            report.problem(message.place, format!("{} is required: one of {}", oneof.name(), names.join(", ")));
        }
    }
}

fn check_field(message: &Message, field: &'static Field, set: Option<&Set>, report: &mut Report) {
    let rules = field.rules();
    let of = |scope: Scope| rules.iter().filter(move |rule| rule.scope == scope);
    let place = set.map_or(message.place, |set| set.place);
    match set.map(|set| &set.value) {
        Some(Value::List(items)) => {
            check_count(items.len(), of(Scope::Value), place, report);
            for (index, item) in items.iter().enumerate() {
                let size = report.enter_item(index);
                check_value(&item.value, field, of(Scope::Item), item.place, report);
                report.leave(size);
            }
            if of(Scope::Value).any(|rule| rule.op == Op::Unique) {
                check_unique(items.iter().map(|item| (&item.value, item.place)), report);
            }
        }
        Some(Value::Map(entries)) => {
            check_count(entries.len(), of(Scope::Value), place, report);
            let value_field = field.message().field("value").expect("an entry of a map has a value");
            for (key, item) in entries {
                let size = report.enter_key(key);
                check_text(key, of(Scope::Key), item.place, report);
                check_value(&item.value, value_field, of(Scope::Item), item.place, report);
                report.leave(size);
            }
        }
        Some(value) => check_value(value, field, of(Scope::Value), place, report),
        None if field.label == Label::List || field.label == Label::Map => {
            check_count(0, of(Scope::Value), place, report);
        }
        None if field.label == Label::Implicit => {
            check_value(&default(field), field, of(Scope::Value), place, report);
        }
        // A member of a oneof is only asked for its rules when it is the one that is set.
        None if field.oneof().is_some() => {}
        None => {
            if of(Scope::Value).any(|rule| rule.op == Op::Required && rule.argument.int() == 1) {
                report.problem(place, "value is required");
            }
        }
    }
}

/// What a field without presence holds when it is not set.
fn default(field: &Field) -> Value {
    match field.kind {
        Kind::Bool => Value::Bool(false),
        Kind::Int32 | Kind::Int64 => Value::Int(0),
        Kind::Uint32 | Kind::Uint64 => Value::Uint(0),
        Kind::Float | Kind::Double => Value::Double(0.0),
        Kind::Text => Value::Text(String::new()),
        Kind::Bytes => Value::Bytes(Vec::new()),
        Kind::Enum => Value::Enum(0),
        Kind::Message => unreachable!("messages have presence"),
    }
}

fn check_count<'r>(count: usize, rules: impl Iterator<Item = &'r Rule> + Clone, place: Place, report: &mut Report) {
    if count == 0 && rules.clone().any(|rule| rule.op == Op::IgnoreEmpty) {
        return;
    }
    for rule in rules {
        match rule.op {
            Op::MinItems if (count as i64) < rule.argument.int() => {
                report.problem(place, format!("value must contain at least {} item(s)", rule.argument.int()));
            }
            Op::MaxItems if (count as i64) > rule.argument.int() => {
                report.problem(place, format!("value must contain no more than {} item(s)", rule.argument.int()));
            }
            _ => {}
        }
    }
}

fn check_unique<'v>(values: impl Iterator<Item = (&'v Value, Place)>, report: &mut Report) {
    let mut seen = std::collections::HashSet::new();
    for (value, place) in values {
        let known = match value {
            Value::Text(text) => !seen.insert(text.clone()),
            Value::Uint(value) => !seen.insert(value.to_string()),
            Value::Int(value) => !seen.insert(value.to_string()),
            Value::Enum(value) => !seen.insert(value.to_string()),
            _ => false,
        };
        if known {
            report.problem(place, "repeated value must contain unique items");
        }
    }
}

fn check_value<'r>(
    value: &Value,
    field: &'static Field,
    rules: impl Iterator<Item = &'r Rule> + Clone,
    place: Place,
    report: &mut Report,
) {
    if value.is_default() && rules.clone().any(|rule| rule.op == Op::IgnoreEmpty) {
        return;
    }
    match value {
        Value::Text(text) => check_text(text, rules, place, report),
        Value::Bytes(bytes) => {
            for rule in rules {
                check_size(rule, bytes.len(), "bytes", place, report);
            }
        }
        Value::Bool(value) => {
            for rule in rules.filter(|rule| rule.op == Op::Const) {
                if i64::from(*value) != rule.argument.int() {
                    report.problem(place, format!("value must equal {}", rule.argument.int() == 1));
                }
            }
        }
        Value::Enum(number) => {
            for rule in rules.clone() {
                let defined = field.kind == Kind::Enum && field.enumeration().name_of(*number).is_some();
                if rule.op == Op::DefinedOnly && rule.argument.int() == 1 && !defined {
                    report.problem(place, "value must be one of the defined enum values");
                }
            }
            check_number(f64::from(*number), "", rules, place, report);
        }
        Value::Int(value) => check_number(*value as f64, "", rules, place, report),
        Value::Uint(value) => check_number(*value as f64, "", rules, place, report),
        Value::Double(value) => check_number(*value, "", rules, place, report),
        Value::Duration(value) => check_number(value.as_nanos() as f64, "s", rules, place, report),
        Value::Any(any) => {
            let urls = || rules.clone().filter(|rule| rule.op == Op::In);
            if urls().next().is_some() && !urls().any(|rule| rule.argument.text() == any.type_url) {
                report.problem(place, "type URL must be in the list that the field allows");
            }
        }
        Value::Json(_) | Value::Message(_) | Value::List(_) | Value::Map(_) => {}
    }
}

/// Numbers and durations; bounds of durations are nanoseconds, and `unit` says so. Bounds are far below 2^53, where a
/// double is exact.
fn check_number<'r>(
    value: f64,
    unit: &str,
    rules: impl Iterator<Item = &'r Rule> + Clone,
    place: Place,
    report: &mut Report,
) {
    let mut allowed: Option<bool> = None;
    for rule in rules {
        let bound = rule.argument.number();
        // What is no number keeps no bound: the comparisons are false for it.
        let (kept, wording) = match rule.op {
            Op::Gt => (value > bound, "be greater than"),
            Op::Gte => (value >= bound, "be greater than or equal to"),
            Op::Lt => (value < bound, "be less than"),
            Op::Lte => (value <= bound, "be less than or equal to"),
            Op::Const => (value == bound, "equal"),
            Op::NotIn => (value != bound, "not be"),
            Op::In => {
                allowed = Some(allowed.unwrap_or(false) || value == bound);
                continue;
            }
            _ => continue,
        };
        if !kept {
            let bound = if unit.is_empty() { bound } else { bound / 1e9 };
            report.problem(place, format!("value must {wording} {bound}{unit}"));
        }
    }
    if allowed == Some(false) {
        report.problem(place, "value must be in the list that the field allows");
    }
}

fn check_size(rule: &Rule, size: usize, unit: &str, place: Place, report: &mut Report) {
    let (size, bound) = (size as i64, rule.argument.int_or_zero());
    let fault = match rule.op {
        Op::MinLen | Op::MinBytes if size < bound => format!("value length must be at least {bound} {unit}"),
        Op::MaxLen | Op::MaxBytes if size > bound => format!("value length must be at most {bound} {unit}"),
        Op::Len if size != bound => format!("value length must be {bound} {unit}"),
        _ => return,
    };
    report.problem(place, fault);
}

fn check_text<'r>(text: &str, rules: impl Iterator<Item = &'r Rule> + Clone, place: Place, report: &mut Report) {
    let mut allowed: Option<bool> = None;
    for rule in rules {
        let fault = match rule.op {
            Op::MinLen | Op::MaxLen | Op::Len => {
                check_size(rule, text.chars().count(), "characters", place, report);
                continue;
            }
            Op::MinBytes | Op::MaxBytes => {
                check_size(rule, text.len(), "bytes", place, report);
                continue;
            }
            Op::In => {
                allowed = Some(allowed.unwrap_or(false) || text == rule.argument.text());
                continue;
            }
            Op::NotIn if text == rule.argument.text() => format!("value must not be {text:?}"),
            Op::Const if text != rule.argument.text() => format!("value must equal {:?}", rule.argument.text()),
            Op::Prefix if !text.starts_with(rule.argument.text()) => {
                format!("value must begin with {:?}", rule.argument.text())
            }
            Op::Suffix if !text.ends_with(rule.argument.text()) => {
                format!("value must end with {:?}", rule.argument.text())
            }
            Op::Contains if !text.contains(rule.argument.text()) => {
                format!("value must contain {:?}", rule.argument.text())
            }
            Op::NotContains if text.contains(rule.argument.text()) => {
                format!("value must not contain {:?}", rule.argument.text())
            }
            Op::HeaderText if text.contains(['\0', '\r', '\n']) => "value must not contain NUL, CR or LF".to_owned(),
            Op::HeaderName if !is_header_name(text) => "value must be the name of a header".to_owned(),
            Op::HeaderValue if text.chars().any(|c| (c < ' ' && c != '\t') || c == '\x7f') => {
                "value must not contain control characters".to_owned()
            }
            Op::Ip if text.parse::<std::net::IpAddr>().is_err() => "value must be a valid IP address".to_owned(),
            Op::Ipv4 if text.parse::<std::net::Ipv4Addr>().is_err() => "value must be a valid IPv4 address".to_owned(),
            Op::Ipv6 if text.parse::<std::net::Ipv6Addr>().is_err() => "value must be a valid IPv6 address".to_owned(),
            Op::Hostname if !is_hostname(text) => "value must be a valid hostname".to_owned(),
            Op::Address if !is_hostname(text) && text.parse::<std::net::IpAddr>().is_err() => {
                "value must be a valid hostname or IP address".to_owned()
            }
            Op::Uri if !text.contains(':') => "value must be an absolute URI".to_owned(),
            _ => continue,
        };
        report.problem(place, fault);
    }
    if allowed == Some(false) {
        report.problem(place, "value must be in the list that the field allows");
    }
}

/// RFC 9110 §5.1; a leading colon is allowed for pseudo-header fields, as in protoc-gen-validate.
fn is_header_name(text: &str) -> bool {
    let name = text.strip_prefix(':').unwrap_or(text);
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(token)
}

/// RFC 1034 §3.5, as protoc-gen-validate reads it.
fn is_hostname(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

impl Argument {
    fn int(&self) -> i64 {
        match self {
            Argument::Int(value) => *value,
            Argument::Double(_) | Argument::Text(_) => panic!("the schema gives this rule a whole number"),
        }
    }

    fn int_or_zero(&self) -> i64 {
        if let Argument::Int(value) = self { *value } else { 0 }
    }

    fn number(&self) -> f64 {
        match self {
            Argument::Int(value) => *value as f64,
            Argument::Double(value) => *value,
            Argument::Text(_) => 0.0,
        }
    }

    fn text(&self) -> &'static str {
        match self {
            Argument::Text(text) => text.as_str(),
            Argument::Int(_) | Argument::Double(_) => "",
        }
    }
}

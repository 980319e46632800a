//! The wire form against the text form, with an outside reader between them: messages drawn from seeds, of every type.

use prost_reflect::prost::Message as _;
use prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, FieldDescriptor, Kind as ProstKind, MapKey, MessageDescriptor,
    SerializeOptions, Value as ProstValue,
};

use super::*;
use crate::document;

/// What is drawn, from one seed.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 11) as usize % end
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// Types that an Any gets, beside TypedStruct.
const INSIDE: [&str; 8] = [
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
    "envoy.extensions.filters.http.router.v3.Router",
    "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
    "google.protobuf.Struct",
    "google.protobuf.Duration",
    "google.protobuf.UInt32Value",
    "google.protobuf.BoolValue",
];

const TEXTS: [&str; 9] = ["", "a", "1", "true", "x-header", "/path", "10.0.0.1", "Straße, 5°", "a b\tc\"d\\"];

fn message(draw: &mut Draw, kind: &MessageDescriptor, depth: usize) -> DynamicMessage {
    let mut message = DynamicMessage::new(kind.clone());
    match kind.full_name() {
        "google.protobuf.Any" => {
            let inside = kind.parent_pool().get_message_by_name(draw.of(&INSIDE)).expect("it is known");
            let value = self::message(draw, &inside, depth + 1).encode_to_vec();
            message.set_field_by_name("type_url", ProstValue::String(format!("type.test/{}", inside.full_name())));
            message.set_field_by_name("value", ProstValue::Bytes(value.into()));
        }
        "google.protobuf.Duration" => {
            let seconds = draw.of(&[0, 0, 1, 3, 60, 315_576_000_000, -1]);
            let nanos = draw.of(&[0, 0, 1, 5_000_000, 999_999_999]);
            message.set_field_by_name("seconds", ProstValue::I64(seconds));
            message.set_field_by_name("nanos", ProstValue::I32(if seconds < 0 { 0 } else { nanos }));
        }
        "google.protobuf.Value" => {
            // A Value with nothing in it has no JSON.
            let field = kind.fields().nth(draw.below(if depth > 6 { 4 } else { 6 })).expect("six kinds of JSON");
            let value = match field.name() {
                "number_value" => ProstValue::F64(draw.of(&[0.0, 1.0, -5.0, 70_000.0])),
                _ => single(draw, &field.kind(), depth).expect("JSON may be anywhere"),
            };
            message.set_field(&field, value);
        }
        _ => {
            let oneofs: Vec<Option<FieldDescriptor>> =
                kind.oneofs().map(|oneof| oneof.fields().nth(draw.below(oneof.fields().len()))).collect();
            for field in kind.fields() {
                let chosen = match field.containing_oneof() {
                    Some(_) => oneofs.iter().flatten().any(|chosen| *chosen == field) && draw.below(8) > 0,
                    None => draw.below(4) > 0,
                };
                // The deeper, the fewer.
                if chosen
                    && draw.below(depth * depth + 1) < 2
                    && let Some(value) = value(draw, &field, depth)
                {
                    message.set_field(&field, value);
                }
            }
        }
    }
    message
}

fn value(draw: &mut Draw, field: &FieldDescriptor, depth: usize) -> Option<ProstValue> {
    // Set or not, its JSON is null.
    if matches!(field.kind(), ProstKind::Enum(kind) if kind.full_name() == "google.protobuf.NullValue") {
        return None;
    }
    if field.is_map() {
        let ProstKind::Message(entry) = field.kind() else { unreachable!("entries are messages") };
        let mut entries = std::collections::HashMap::new();
        for _ in 0..draw.below(3) {
            let key = match entry.map_entry_key_field().kind() {
                ProstKind::Bool => MapKey::Bool(draw.below(2) == 0),
                ProstKind::Uint32 => MapKey::U32(draw.next() as u32),
                ProstKind::Uint64 => MapKey::U64(draw.next()),
                ProstKind::Int32 => MapKey::I32(draw.next() as i32),
                ProstKind::Int64 => MapKey::I64(draw.next() as i64),
                _ => MapKey::String(draw.of(&TEXTS).to_owned()),
            };
            entries.insert(key, single(draw, &entry.map_entry_value_field().kind(), depth)?);
        }
        return Some(ProstValue::Map(entries));
    }
    if field.cardinality() == Cardinality::Repeated {
        let count = draw.below(4);
        return (0..count).map(|_| single(draw, &field.kind(), depth)).collect::<Option<_>>().map(ProstValue::List);
    }
    single(draw, &field.kind(), depth)
}

fn single(draw: &mut Draw, kind: &ProstKind, depth: usize) -> Option<ProstValue> {
    Some(match kind {
        ProstKind::Message(kind)
            if ["google.protobuf.Timestamp", "google.protobuf.FieldMask"].contains(&kind.full_name()) =>
        {
            return None;
        }
        ProstKind::Message(kind) => ProstValue::Message(message(draw, kind, depth + 1)),
        ProstKind::Enum(kind) => match draw.below(8) {
            0 => ProstValue::EnumNumber(draw.of(&[-1, 999])),
            _ => {
                let at = draw.below(kind.values().len());
                ProstValue::EnumNumber(kind.values().nth(at).expect("it is below").number())
            }
        },
        ProstKind::Bool => ProstValue::Bool(draw.below(2) == 0),
        ProstKind::Int32 => ProstValue::I32(draw.of(&[0, 1, -1, i32::MAX, i32::MIN])),
        ProstKind::Int64 => ProstValue::I64(draw.of(&[0, 1, -1, i64::MAX, i64::MIN])),
        ProstKind::Uint32 => ProstValue::U32(draw.of(&[0, 1, 100, 65_536, u32::MAX])),
        ProstKind::Uint64 => ProstValue::U64(draw.of(&[0, 1, 300, u64::MAX])),
        ProstKind::Float => ProstValue::F32(draw.of(&[0.0, 1.5, -0.125, 65_536.0])),
        ProstKind::Double => ProstValue::F64(draw.of(&[0.0, 0.1, 1e300, -2.5, 100.0])),
        ProstKind::String => ProstValue::String(draw.of(&TEXTS).to_owned()),
        ProstKind::Bytes => ProstValue::Bytes(draw.of(&[&b""[..], b"\0", b"\xff\xfe", b"text"]).to_vec().into()),
        other => unreachable!("build.rs knows no {other:?}"),
    })
}

/// The JSON that the outside writer has for a message; whole numbers without a fraction, which YAML reads as another
/// scalar.
fn json(message: &DynamicMessage) -> serde_json::Value {
    fn whole(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Array(items) => items.iter_mut().for_each(whole),
            serde_json::Value::Object(members) => members.values_mut().for_each(whole),
            serde_json::Value::Number(number) => {
                if let Some(value) = number.as_f64().filter(|value| value.fract() == 0.0 && value.abs() < 1e9) {
                    *number = (value as i64).into();
                }
            }
            _ => {}
        }
    }
    let options = SerializeOptions::new().use_proto_field_name(true);
    let mut value = message.serialize_with_options(serde_json::value::Serializer, &options).expect("it has JSON");
    whole(&mut value);
    value
}

/// A tree without its order and its places, which are what the two forms differ in.
fn shown(value: &Value) -> String {
    let mut parts: Vec<String> = match value {
        Value::Message(message) => {
            message.fields.iter().map(|set| format!("{}={}", set.field.name(), shown(&set.value))).collect()
        }
        Value::Map(entries) => entries.iter().map(|(key, item)| format!("{key:?}={}", shown(&item.value))).collect(),
        Value::List(items) => {
            return format!("[{}]", items.iter().map(|item| shown(&item.value)).collect::<Vec<_>>().join(" "));
        }
        Value::Any(any) => vec![any.type_url.clone(), any.value.as_deref().map(shown).unwrap_or_default()],
        Value::Json(json) => return shown_json(json),
        other => return format!("{other:?}"),
    };
    parts.sort();
    format!("{{{}}}", parts.join(" "))
}

fn shown_json(json: &Json) -> String {
    match json {
        Json::Map(members) => {
            let mut parts: Vec<_> =
                members.iter().map(|(key, value)| format!("{key:?}={}", shown_json(value))).collect();
            parts.sort();
            format!("{{{}}}", parts.join(" "))
        }
        Json::List(items) => format!("[{}]", items.iter().map(shown_json).collect::<Vec<_>>().join(" ")),
        other => format!("{other:?}"),
    }
}

type Answer = (Option<String>, Vec<String>, Vec<String>);

fn answer(message: Option<Message>, report: Report) -> Answer {
    let lines = |problems: Vec<crate::Problem>| {
        let mut lines: Vec<_> =
            problems.into_iter().map(|problem| format!("{}: {}", problem.path, problem.rule)).collect();
        lines.sort();
        lines
    };
    (message.map(|message| shown(&Value::Message(message))), lines(report.problems), lines(report.warnings))
}

fn by_wire(bytes: &[u8], kind: &'static MessageType, unknown: Unknown) -> Answer {
    let mut report = Report::new("w");
    let message = read(bytes, kind, unknown, &mut report);
    answer(message, report)
}

fn by_text(text: &str, kind: &'static MessageType, unknown: Unknown) -> Answer {
    let mut report = Report::new("t");
    let document = document::parse(text, &mut report).expect("JSON is YAML");
    let message = crate::reader::read(&document, kind, unknown, &mut report);
    answer(message, report)
}

fn pool() -> DescriptorPool {
    let set: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
    DescriptorPool::decode(set).expect("build.rs has written it")
}

/// Both readers see the same in what an outside writer wrote in both forms; and that writer's own reader sees the same
/// in what we write.
#[test]
fn every_type_reads_alike_from_either_form() {
    let pool = pool();
    let (mut drawn, mut refused) = (0, 0);
    for descriptor in pool.all_messages().filter(|descriptor| !descriptor.is_map_entry()) {
        let Some(kind) = MessageType::by_name(descriptor.full_name()) else { continue };
        if kind.shape != Shape::Plain {
            continue; // inside of others, where they have a place
        }
        for seed in 1..=SEEDS {
            let mut draw = Draw(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ descriptor.full_name().len() as u64);
            let message = message(&mut draw, &descriptor, 0);
            let (bytes, json) = (message.encode_to_vec(), json(&message));
            let text = json.to_string();
            let wire = by_wire(&bytes, kind, Unknown::Refused);
            assert_eq!(wire, by_text(&text, kind, Unknown::Refused), "{} seed {seed}: {text}", kind.name());
            (drawn, refused) = (drawn + 1, refused + usize::from(!wire.1.is_empty()));
            if wire.1.is_empty() {
                let tree = read(&bytes, kind, Unknown::Refused, &mut Report::new("w")).expect("it has no problem");
                let written = write(&tree);
                let again = DynamicMessage::decode(descriptor.clone(), &*written).expect("we write messages");
                assert_eq!(self::json(&again), json, "{} seed {seed}", kind.name());
            }
        }
    }
    assert!(drawn > 1_000 && refused > 100 && drawn - refused > 1_000, "{drawn} drawn, {refused} refused");
}

/// Of each type; more find nothing more.
const SEEDS: u64 = 6;

const CLUSTER: &str = "envoy.config.cluster.v3.Cluster";

fn kind(name: &str) -> &'static MessageType {
    MessageType::by_name(name).expect("the schema has it")
}

/// The tree in one line, then what is wrong with it, then what is only odd.
#[track_caller]
fn check(name: &str, write: impl FnOnce(&mut Writer), expect: &str) {
    let mut out = Writer::default();
    write(&mut out);
    let (tree, problems, warnings) = by_wire(&out.bytes, kind(name), Unknown::Kept);
    let said = [tree.unwrap_or_else(|| "nothing".into()), problems.join("; "), warnings.join("; ")];
    assert_eq!(said.join(" | "), expect, "{:?}", out.bytes);
}

/// The smallest cluster, and what else is said about it.
fn cluster(more: impl FnOnce(&mut Writer)) -> impl FnOnce(&mut Writer) {
    |out| {
        out.text(1, "c");
        more(out);
    }
}

#[test]
fn of_a_scalar_the_last_one_wins() {
    check(
        CLUSTER,
        |out| ["a", "b", ""].iter().for_each(|name| out.item(1, name)),
        "{} | name: value length must be at least 1 characters | ",
    );
    check(CLUSTER, |out| ["a", "", "b"].iter().for_each(|name| out.item(1, name)), r#"{name=Text("b")} |  | "#);
}

#[test]
fn a_message_that_comes_twice_is_one() {
    let twice = cluster(|out| {
        // connect_timeout
        out.message(4, |out| out.number(1, 5));
        out.message(4, |out| out.number(2, 7));
        // per_connection_buffer_limit_bytes
        out.message(5, |out| out.number(1, 9));
        out.message(5, |_| {});
        // metadata.filter_metadata
        out.message(25, |out| out.message(1, |out| out.item(1, "a")));
        out.message(25, |out| out.message(1, |out| out.item(1, "b")));
    });
    check(
        CLUSTER,
        twice,
        r#"{connect_timeout=Duration(5.000000007s) metadata={filter_metadata={"a"={} "b"={}}} name=Text("c") per_connection_buffer_limit_bytes=Uint(9)} |  | "#,
    );
}

#[test]
fn of_a_oneof_the_last_one_wins_and_the_others_were_never_there() {
    const MATCH: &str = "envoy.config.route.v3.RouteMatch";
    check(MATCH, |out| (out.text(1, "/a"), out.text(2, "/b")).0, r#"{path=Text("/b")} |  | "#);
    // Not even as something wrong.
    check(MATCH, |out| (out.len(1, b"\xff"), out.text(2, "/b")).0, r#"{path=Text("/b")} |  | "#);
    // A member that comes again begins anew.
    let again = |out: &mut Writer| {
        out.message(10, |out| out.text(2, "x"));
        out.text(1, "/a");
        out.message(10, |out| out.message(1, |_| {}));
    };
    check(
        MATCH,
        again,
        "{safe_regex={google_re2={}}} | safe_regex.regex: value length must be at least 1 characters | ",
    );
}

#[test]
fn of_equal_keys_the_last_entry_wins() {
    let entry = |key: &'static str, value: &'static str| {
        move |out: &mut Writer| {
            out.message(1, |out| {
                out.text(1, key);
                out.message(2, |out| {
                    out.message(1, |out| (out.text(1, "k"), out.message(2, |out| out.item(3, value))).1)
                });
            });
        }
    };
    let three =
        |out: &mut Writer| [entry("a", "1"), entry("b", "2"), entry("a", "3")].iter().for_each(|entry| entry(out));
    check(
        "envoy.config.core.v3.Metadata",
        three,
        r#"{filter_metadata={"a"={"k"=Text("3")} "b"={"k"=Text("2")}}} |  | "#,
    );
}

#[test]
fn an_entry_of_a_map_may_have_no_key_and_no_value() {
    check(
        "envoy.config.core.v3.Metadata",
        |out| out.message(1, |_| {}),
        r#"{filter_metadata={""={}}} | filter_metadata[""]: value length must be at least 1 characters | "#,
    );
}

#[test]
fn a_list_of_numbers_is_packed_or_not_or_both() {
    const CODES: &str = "envoy.config.route.v3.RetryPolicy";
    let both = |out: &mut Writer| {
        out.number(7, 500);
        out.len(7, &[0xf6, 0x03, 0xf7, 0x03]);
        out.number(7, 504);
        out.len(7, &[]);
    };
    check(CODES, both, r#"{retriable_status_codes=[Uint(500) Uint(502) Uint(503) Uint(504)]} |  | "#);
    check(
        CODES,
        |out| out.len(7, &[0xf6]),
        "nothing | retriable_status_codes: not a packed list: it ends within a field | ",
    );
    // A list that is empty is not set, in whatever form it is empty.
    check(CODES, |out| out.len(7, &[]), "{} |  | ");
}

#[test]
fn numbers_of_32_bits_have_the_lower_ones() {
    let wide = cluster(|out| {
        out.number(6, 0xffff_ffff_0000_0001); // lb_policy
        out.message(5, |out| out.number(1, 0x1_0000_0007)); // per_connection_buffer_limit_bytes
    });
    check(CLUSTER, wide, r#"{lb_policy=Enum(1) name=Text("c") per_connection_buffer_limit_bytes=Uint(7)} |  | "#);
}

#[test]
fn fields_that_nobody_knows_are_skipped_and_named() {
    let odd = cluster(|out| (out.number(900, 1), out.message(25, |out| out.text(77, "x"))).1);
    check(
        CLUSTER,
        odd,
        r#"{metadata={} name=Text("c")} |  | : no field of envoy.config.cluster.v3.Cluster has the number 900; metadata: no field of envoy.config.core.v3.Metadata has the number 77"#,
    );
    let mut out = Writer::default();
    out.text(1, "c");
    out.number(900, 1);
    let refused = by_wire(&out.bytes, kind(CLUSTER), Unknown::Refused).1;
    assert_eq!(refused, [": no field of envoy.config.cluster.v3.Cluster has the number 900"]);
}

#[test]
fn a_field_of_another_wire_type_is_refused() {
    check(CLUSTER, |out| out.number(1, 5), "{} | name: VARINT is no wire type of this field | ");
    check(
        CLUSTER,
        cluster(|out| out.text(6, "x")),
        r#"{name=Text("c")} | lb_policy: LEN is no wire type of this field | "#,
    );
    // Once wrong, it is not set right by one more.
    check(CLUSTER, |out| (out.number(1, 5), out.text(1, "c")).1, "{} | name: VARINT is no wire type of this field | ");
}

#[test]
fn what_is_no_message_is_refused_with_the_path_to_it() {
    let broken = cluster(|out| out.message(33, |out| out.message(2, |out| out.bytes.extend([0x0a, 9, b'x']))));
    check(
        CLUSTER,
        broken,
        r#"{load_assignment={} name=Text("c")} | load_assignment.cluster_name: value length must be at least 1 characters; load_assignment.endpoints[0]: not a message (envoy.config.endpoint.v3.LocalityLbEndpoints): it ends within a field | "#,
    );
    check(
        CLUSTER,
        |out| out.bytes.extend([0x0b, 0x0c]),
        "nothing | : not a message (envoy.config.cluster.v3.Cluster): a group, which proto3 does not have | ",
    );
}

#[test]
fn strings_are_utf_8() {
    check(CLUSTER, |out| out.len(1, b"\xc3\x28"), "{} | name: a string must be UTF-8 | ");
}

#[test]
fn durations_have_one_sign_and_that_is_plus() {
    let seconds = |seconds: i64, nanos: i32| {
        cluster(move |out| {
            out.message(4, |out| (out.number(1, seconds as u64), out.number(2, i64::from(nanos) as u64)).1);
        })
    };
    check(CLUSTER, seconds(-1, 0), r#"{name=Text("c")} | connect_timeout: a duration must not be negative | "#);
    check(CLUSTER, seconds(0, -1), r#"{name=Text("c")} | connect_timeout: a duration must not be negative | "#);
    check(
        CLUSTER,
        seconds(0, 1_000_000_000),
        r#"{name=Text("c")} | connect_timeout: a duration must be shorter than 9223372036 s | "#,
    );
    check(
        CLUSTER,
        seconds(i64::MIN, i32::MIN),
        r#"{name=Text("c")} | connect_timeout: a duration must not be negative | "#,
    );
    // A rule of protoc-gen-validate: more than nothing.
    check(
        CLUSTER,
        seconds(0, 0),
        r#"{connect_timeout=Duration(0ns) name=Text("c")} | connect_timeout: value must be greater than 0s | "#,
    );
}

#[test]
fn json_has_no_infinity() {
    let infinite = |out: &mut Writer| {
        out.message(1, |out| {
            out.text(1, "k");
            out.message(2, |out| out.bytes.extend([0x11, 0, 0, 0, 0, 0, 0, 0xf0, 0x7f]));
        });
    };
    check(
        "envoy.config.core.v3.Metadata",
        |out| out.message(1, |out| (out.text(1, "f"), out.message(2, infinite)).1),
        r#"{filter_metadata={"f"={}}} | filter_metadata["f"].fields["k"]: JSON has no number inf | "#,
    );
}

/// An extension with this type and value.
fn socket(url: &'static str, value: impl FnOnce(&mut Writer)) -> impl FnOnce(&mut Writer) {
    move |out| {
        out.text(1, "s");
        out.message(3, |out| (out.text(1, url), out.message(2, value)).1);
    }
}

const SOCKET: &str = "envoy.config.core.v3.TransportSocket";

#[test]
fn an_any_of_a_type_that_nobody_knows_is_kept_by_its_name() {
    check(
        SOCKET,
        socket("type.googleapis.com/a.B", |out| out.bytes.push(0xff)),
        r#"{name=Text("s") typed_config={ type.googleapis.com/a.B}} |  | "#,
    );
    let mut out = Writer::default();
    socket("type.googleapis.com/a.B", |_| {})(&mut out);
    let refused = by_wire(&out.bytes, kind(SOCKET), Unknown::Refused).1;
    assert_eq!(refused, ["typed_config.@type: the type a.B is not known"]);
    // One that does nothing here is known to be that, and what is inside is not looked at.
    let mut out = Writer::default();
    socket("type.googleapis.com/stats.PluginConfig", |out| out.bytes.push(0xff))(&mut out);
    assert_eq!(by_wire(&out.bytes, kind(SOCKET), Unknown::Refused).1, Vec::<String>::new());
    check(
        SOCKET,
        socket("a.B", |_| {}),
        r#"{name=Text("s")} | typed_config.@type: a type is named as "type.googleapis.com/NAME", found "a.B" | "#,
    );
    check(
        SOCKET,
        socket("", |out| out.number(1, 1)),
        r#"{name=Text("s")} | typed_config.@type: a type is named as "type.googleapis.com/NAME", found "" | "#,
    );
}

#[test]
fn a_typed_struct_is_read_as_what_it_spells_out() {
    const URL: &str = "type.googleapis.com/udpa.type.v1.TypedStruct";
    let spelt = |inner: &'static str, member: &'static str, value: fn(&mut Writer)| {
        socket(URL, move |out| {
            out.text(1, inner);
            out.message(2, |out| out.message(1, |out| (out.text(1, member), out.message(2, value)).1));
        })
    };
    const PROXY: &str = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy";
    check(
        SOCKET,
        spelt(PROXY, "idle_timeout", |out| out.text(3, "1.5s")),
        r#"{name=Text("s") typed_config={type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy {idle_timeout=Duration(1.5s)}}} | typed_config.value.stat_prefix: value length must be at least 1 characters; typed_config.value: cluster_specifier is required: one of cluster, weighted_clusters | "#,
    );
    check(
        SOCKET,
        spelt("type.googleapis.com/a.B", "x", |out| out.text(3, "y")),
        r#"{name=Text("s") typed_config={ type.googleapis.com/a.B}} |  | "#,
    );
    check(SOCKET, socket(URL, |_| {}), r#"{name=Text("s")} | typed_config: a TypedStruct needs type_url | "#);
}

#[test]
fn nesting_has_a_limit() {
    fn nested(out: &mut Writer, depth: usize) {
        match depth {
            0 => out.number(1, 0),
            _ => out.message(6, |out| out.message(1, |out| nested(out, depth - 1))),
        }
    }
    let at = |depth| {
        let mut out = Writer::default();
        nested(&mut out, depth);
        by_wire(&out.bytes, kind("google.protobuf.Value"), Unknown::Kept).1
    };
    // A list in a list is two messages: the value, and its list.
    assert_eq!(at(DEPTH_MAX / 2 - 1), [""; 0]);
    let problems = at(DEPTH_MAX / 2);
    assert!(problems.len() == 1 && problems[0].ends_with("nested deeper than 100"), "{problems:?}");
    // And however deep it is.
    assert_eq!(at(500), problems);
}

#[test]
fn values_have_a_limit() {
    // resource_names: empty strings are two bytes each.
    let mut report = Report::new("w");
    let bytes = [0x1a, 0].repeat(VALUES_MAX + 10);
    assert!(read(&bytes, kind("envoy.service.discovery.v3.DiscoveryRequest"), Unknown::Kept, &mut report).is_none());
    assert_eq!(report.problems.len(), 1);
    assert_eq!(report.problems[0].rule, format!("more than {VALUES_MAX} values"));
}

#[test]
fn a_message_has_a_limit() {
    let mut report = Report::new("w");
    assert!(read(&vec![0; BYTES_MAX + 1], kind(CLUSTER), Unknown::Kept, &mut report).is_none());
    assert_eq!(report.problems[0].to_string(), format!("w: the message is larger than {BYTES_MAX} bytes"));
}

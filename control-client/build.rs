//! Compiles Envoy's v3 API, as the .proto files inside the crate `envoy-types` say it, into static tables.
//!
//! The tables hold what a reader of configuration needs: messages, fields, enums, oneofs and the rules of
//! protoc-gen-validate. They are plain numbers and one text, without pointers, so that a process pays only for the pages
//! that it touches. docs/decisions/0004-reading-envoy-files.md has the reasons and the figures.
//!
//! `RINGWAY_ENVOY_PROTOS=DIR` names the `proto` directory where `cargo metadata` cannot be asked.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use prost_reflect::{Cardinality, DescriptorPool, DynamicMessage, EnumDescriptor, Kind, MessageDescriptor, Value};

/// Where imports are found inside the `proto` directory of envoy-types.
const ROOTS: [&str; 7] = [
    "data-plane-api",
    "xds",
    "protoc-gen-validate",
    "googleapis",
    "client_model",
    "cel-spec/proto",
    "opentelemetry-proto/",
];

/// The folders whose messages can stand in a file or be named by an `@type`.
const WANTED: [&str; 8] = [
    "envoy/config",
    "envoy/data",
    "envoy/extensions",
    "envoy/service/discovery",
    "envoy/service/runtime",
    "envoy/type",
    "istio/envoy",
    "xds",
];

/// Files that protox cannot compile, by the end of their name: relative names that resolve to another package.
const SKIPPED: [&str; 1] = ["envoy/extensions/clusters/dynamic_forward_proxy/v3/cluster.proto"];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=proto");
    println!("cargo::rerun-if-env-changed=RINGWAY_ENVOY_PROTOS");
    let protos = match std::env::var_os("RINGWAY_ENVOY_PROTOS") {
        Some(directory) => PathBuf::from(directory),
        None => envoy_types_directory(),
    };
    println!("cargo::rerun-if-changed={}", protos.display());
    let own = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("Cargo sets it")).join("proto");
    let (schema, descriptors) = compile(&protos, &own);
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("Cargo sets it"));
    std::fs::write(out.join("tables.rs"), schema.render()).expect("OUT_DIR can be written");
    std::fs::write(out.join("descriptors.bin"), descriptors).expect("OUT_DIR can be written");
}

/// The `proto` directory of the very version of envoy-types that Cargo.lock names. The crate exports no path, and is
/// not built: Cargo knows where it lies.
fn envoy_types_directory() -> PathBuf {
    let cargo = std::env::var_os("CARGO").expect("Cargo sets it");
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked"])
        .output()
        .expect("cargo metadata can be started");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo metadata writes JSON");
    let packages = metadata["packages"].as_array().expect("cargo metadata lists packages");
    let package = packages.iter().find(|package| package["name"] == "envoy-types").expect("envoy-types is locked");
    let manifest = package["manifest_path"].as_str().expect("a package has a manifest");
    Path::new(manifest).parent().expect("a manifest lies in a directory").join("proto")
}

/// Compiles each file with a compiler of its own: in one pool, relative names such as `config.core.v3.DataSource`
/// resolve to other packages' messages. Beside the tables: all files as a FileDescriptorSet, for tests, where another reader
/// of the same messages is the judge.
fn compile(protos: &Path, own: &Path) -> (Schema, Vec<u8>) {
    let mut includes: Vec<PathBuf> = ROOTS.iter().map(|root| protos.join(root)).collect();
    includes.push(own.to_owned());
    let mut files = Vec::new();
    for root in &includes {
        for folder in WANTED.iter().chain(&["udpa/type"]) {
            proto_files(root, &root.join(folder), &mut files);
        }
    }
    files.sort();
    files.dedup();
    // The bootstrap imports a fifth of all; what one pool has seen is not compiled again.
    let first = "envoy/config/bootstrap/v3/bootstrap.proto";
    files.sort_by_key(|file| file != first);
    let (mut seen, mut schema, mut descriptors) = (HashSet::new(), Schema::default(), Vec::new());
    for file in files {
        if seen.contains(&file) || SKIPPED.contains(&file.as_str()) {
            continue;
        }
        let mut compiler = protox::Compiler::new(&includes).expect("the include directories exist");
        compiler.include_imports(true);
        compiler.open_file(&file).unwrap_or_else(|error| panic!("{file}: {error}"));
        let pool = compiler.descriptor_pool();
        for descriptor in pool.files() {
            if !seen.insert(descriptor.name().to_owned()) {
                continue;
            }
            add_file(&mut descriptors, &descriptor.encode_to_vec());
            if WANTED.iter().chain(&["udpa/type"]).any(|folder| descriptor.name().starts_with(folder)) {
                descriptor.messages().for_each(|message| schema.add_tree(&pool, &message));
            }
        }
    }
    (schema, descriptors)
}

/// Appends one item of a FileDescriptorSet: its only field has the number 1, and its items have a length.
fn add_file(set: &mut Vec<u8>, file: &[u8]) {
    set.push(1 << 3 | 2);
    let mut size = file.len();
    while size >= 0x80 {
        set.push(size as u8 | 0x80);
        size >>= 7;
    }
    set.push(size as u8);
    set.extend_from_slice(file);
}

fn proto_files(root: &Path, folder: &Path, files: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.map(|entry| entry.expect("a directory can be read").path()) {
        if entry.is_dir() {
            proto_files(root, &entry, files);
        } else if entry.extension().is_some_and(|extension| extension == "proto") {
            let name = entry.strip_prefix(root).expect("found under the root");
            files.push(name.to_str().expect("names are UTF-8").to_owned());
        }
    }
}

/// Everything found, by full name.
#[derive(Default)]
struct Schema {
    messages: BTreeMap<String, MessageRow>,
    enums: BTreeMap<String, Vec<(String, i32)>>,
}

struct MessageRow {
    shape: &'static str,
    fields: Vec<FieldRow>,
    oneofs: Vec<(String, bool)>,
}

struct FieldRow {
    number: u32,
    name: String,
    json_name: String,
    label: &'static str,
    kind: &'static str,
    target: Option<String>,
    oneof: Option<usize>,
    sensitive: bool,
    rules: Vec<RuleRow>,
}

struct RuleRow {
    scope: &'static str,
    op: &'static str,
    argument: Argument,
}

enum Argument {
    Int(i64),
    Double(f64),
    Text(String),
}

impl Schema {
    fn add_tree(&mut self, pool: &DescriptorPool, message: &MessageDescriptor) {
        self.add(pool, message);
        message.child_messages().for_each(|child| self.add_tree(pool, &child));
    }

    fn add(&mut self, pool: &DescriptorPool, message: &MessageDescriptor) {
        let name = message.full_name().to_owned();
        if self.messages.contains_key(&name) {
            return;
        }
        let oneofs: Vec<_> = message.oneofs().filter(|oneof| !oneof.is_synthetic()).collect();
        let row = MessageRow {
            shape: shape(message),
            oneofs: oneofs
                .iter()
                .map(|oneof| (oneof.name().to_owned(), flag(pool, &oneof.options(), "validate.required")))
                .collect(),
            fields: message
                .fields()
                .map(|field| {
                    let mut rules = Vec::new();
                    let options = field.options();
                    if let Some(extension) = pool.get_extension_by_name("validate.rules")
                        && options.has_extension(&extension)
                    {
                        rules_of(&options.get_extension(&extension), "Value", &mut rules);
                    }
                    let (kind, target) = match field.kind() {
                        Kind::Message(target) => ("Message", Some(target.full_name().to_owned())),
                        Kind::Enum(target) => ("Enum", Some(target.full_name().to_owned())),
                        Kind::Bool => ("Bool", None),
                        Kind::Int32 => ("Int32", None),
                        Kind::Int64 => ("Int64", None),
                        Kind::Uint32 => ("Uint32", None),
                        Kind::Uint64 => ("Uint64", None),
                        // Then a kind would not say any more how its values are written (src/wire.rs).
                        Kind::Sint32
                        | Kind::Sint64
                        | Kind::Fixed32
                        | Kind::Fixed64
                        | Kind::Sfixed32
                        | Kind::Sfixed64 => panic!("{}: no field was of such a kind so far", field.full_name()),
                        Kind::Float => ("Float", None),
                        Kind::Double => ("Double", None),
                        Kind::String => ("Text", None),
                        Kind::Bytes => ("Bytes", None),
                    };
                    FieldRow {
                        number: field.number(),
                        name: field.name().to_owned(),
                        json_name: field.json_name().to_owned(),
                        label: match field.cardinality() {
                            _ if field.is_map() => "Map",
                            Cardinality::Repeated => "List",
                            _ if field.supports_presence() => "Explicit",
                            _ => "Implicit",
                        },
                        kind,
                        target,
                        oneof: field.containing_oneof().and_then(|of| oneofs.iter().position(|one| *one == of)),
                        sensitive: flag(pool, &options, "udpa.annotations.sensitive"),
                        rules,
                    }
                })
                .collect(),
        };
        self.messages.insert(name, row);
        for field in message.fields() {
            match field.kind() {
                Kind::Message(target) => self.add(pool, &target),
                Kind::Enum(target) => self.add_enum(&target),
                _ => {}
            }
        }
    }

    fn add_enum(&mut self, descriptor: &EnumDescriptor) {
        self.enums
            .entry(descriptor.full_name().to_owned())
            .or_insert_with(|| descriptor.values().map(|value| (value.name().to_owned(), value.number())).collect());
    }

    /// The tables as Rust source, sorted by full name.
    fn render(&self) -> String {
        let message_index: HashMap<&str, usize> =
            self.messages.keys().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
        let enum_index: HashMap<&str, usize> =
            self.enums.keys().enumerate().map(|(at, name)| (name.as_str(), at)).collect();
        let mut texts = Texts::default();
        let [mut messages, mut fields, mut oneofs, mut enums, mut values, mut rules] = [const { Vec::new() }; 6];
        for (name, row) in &self.messages {
            messages.push(format!(
                "MessageType{{name:{},shape:Shape::{},fields:({},{}),oneofs:({},{})}}",
                texts.add(name),
                row.shape,
                fields.len(),
                row.fields.len(),
                oneofs.len(),
                row.oneofs.len()
            ));
            for (name, required) in &row.oneofs {
                oneofs.push(format!("Oneof{{name:{},required:{required}}}", texts.add(name)));
            }
            for field in &row.fields {
                let target = field.target.as_deref().map_or(0, |target| match field.kind {
                    "Enum" => enum_index[target],
                    _ => message_index[target],
                });
                fields.push(format!(
                    "Field{{number:{},name:{},json_name:{},label:Label::{},kind:Kind::{},target:{target},oneof:{},sensitive:{},rules:({},{})}}",
                    field.number,
                    texts.add(&field.name),
                    texts.add(&field.json_name),
                    field.label,
                    field.kind,
                    field.oneof.map_or("u8::MAX".to_owned(), |at| at.to_string()),
                    field.sensitive,
                    rules.len(),
                    field.rules.len()
                ));
                for rule in &field.rules {
                    let argument = match &rule.argument {
                        Argument::Int(value) => format!("Int({value})"),
                        Argument::Double(value) => format!("Double({value:?})"),
                        Argument::Text(text) => format!("Text({})", texts.add(text)),
                    };
                    rules.push(format!(
                        "Rule{{scope:Scope::{},op:Op::{},argument:Argument::{argument}}}",
                        rule.scope, rule.op
                    ));
                }
            }
        }
        for (name, row) in &self.enums {
            enums.push(format!("EnumType{{name:{},values:({},{})}}", texts.add(name), values.len(), row.len()));
            for (name, number) in row {
                values.push(format!("EnumValue{{name:{},number:{number}}}", texts.add(name)));
            }
        }
        let mut out = format!("pub(super) static TEXT: &str = {:?};\n", texts.all);
        let tables = [
            ("MESSAGES", "MessageType", messages),
            ("FIELDS", "Field", fields),
            ("ONEOFS", "Oneof", oneofs),
            ("ENUMS", "EnumType", enums),
            ("ENUM_VALUES", "EnumValue", values),
            ("RULES", "Rule", rules),
        ];
        for (name, row, rows) in tables {
            let _ = writeln!(out, "pub(super) static {name}: [{row}; {}] = [{}];", rows.len(), rows.join(",\n"));
        }
        out
    }
}

/// One text that holds all names, each once.
#[derive(Default)]
struct Texts {
    all: String,
    known: HashMap<String, String>,
}

impl Texts {
    fn add(&mut self, text: &str) -> String {
        if let Some(known) = self.known.get(text) {
            return known.clone();
        }
        let written = format!("Text{{at:{},size:{}}}", self.all.len(), text.len());
        self.all.push_str(text);
        self.known.insert(text.to_owned(), written.clone());
        written
    }
}

/// How the JSON form of a message differs from the usual one (protobuf.dev/programming-guides/json).
fn shape(message: &MessageDescriptor) -> &'static str {
    match message.full_name() {
        "google.protobuf.Any" => "Any",
        "google.protobuf.Duration" => "Duration",
        "google.protobuf.Timestamp" => "Timestamp",
        "google.protobuf.FieldMask" => "FieldMask",
        "google.protobuf.Struct" => "Struct",
        "google.protobuf.Value" => "Value",
        "google.protobuf.ListValue" => "ListValue",
        "google.protobuf.BoolValue"
        | "google.protobuf.BytesValue"
        | "google.protobuf.DoubleValue"
        | "google.protobuf.FloatValue"
        | "google.protobuf.Int32Value"
        | "google.protobuf.Int64Value"
        | "google.protobuf.StringValue"
        | "google.protobuf.UInt32Value"
        | "google.protobuf.UInt64Value" => "Wrapper",
        "udpa.type.v1.TypedStruct" | "xds.type.v3.TypedStruct" => "TypedStruct",
        _ => "Plain",
    }
}

/// A boolean option that is an extension.
fn flag(pool: &DescriptorPool, options: &DynamicMessage, name: &str) -> bool {
    pool.get_extension_by_name(name).is_some_and(|extension| options.get_extension(&extension).as_bool() == Some(true))
}

/// Rules that are not kept: what they forbid is not read further, or the answer needs a regex (six patterns, all in
/// types that no supported field reaches). A rule in neither list stops the build.
const UNKEPT: [&str; 2] = ["pattern", "no_sparse"];

/// Reads one `validate.FieldRules`.
fn rules_of(value: &Value, scope: &'static str, rules: &mut Vec<RuleRow>) {
    let value = value.as_message().expect("FieldRules is a message");
    for (group, value) in value.fields() {
        let value = value.as_message().expect("each group of rules is a message");
        let strict = value.get_field_by_name("strict").is_none_or(|strict| strict.as_bool() == Some(true));
        let mut names = BTreeSet::new();
        for (field, value) in value.fields() {
            names.insert(field.name().to_owned());
            let op = match field.name() {
                "items" => {
                    rules_of(value, "Item", rules);
                    continue;
                }
                "keys" => {
                    rules_of(value, "Key", rules);
                    continue;
                }
                "values" => {
                    rules_of(value, "Item", rules);
                    continue;
                }
                "strict" => continue,
                unkept if UNKEPT.contains(&unkept) => continue,
                "const" => "Const",
                "lt" => "Lt",
                "lte" => "Lte",
                "gt" => "Gt",
                "gte" => "Gte",
                "in" => "In",
                "not_in" => "NotIn",
                "ignore_empty" => "IgnoreEmpty",
                "required" => "Required",
                "skip" => "Skip",
                "defined_only" => "DefinedOnly",
                "len" => "Len",
                "min_len" => "MinLen",
                "max_len" => "MaxLen",
                "min_bytes" => "MinBytes",
                "max_bytes" => "MaxBytes",
                "prefix" => "Prefix",
                "suffix" => "Suffix",
                "contains" => "Contains",
                "not_contains" => "NotContains",
                "min_items" | "min_pairs" => "MinItems",
                "max_items" | "max_pairs" => "MaxItems",
                "unique" => "Unique",
                "hostname" => "Hostname",
                "ip" => "Ip",
                "ipv4" => "Ipv4",
                "ipv6" => "Ipv6",
                "uri" => "Uri",
                "address" => "Address",
                "email" => "Email",
                "uuid" => "Uuid",
                "uri_ref" => "UriRef",
                "well_known_regex" => match (value.as_enum_number(), strict) {
                    (Some(1), true) => "HeaderName",
                    (Some(2), true) => "HeaderValue",
                    _ => "HeaderText", // not strict: no CR, LF or NUL, for either
                },
                other => panic!("rule {other} of {} is not known here", group.name()),
            };
            let values = match value {
                Value::List(values) => values.clone(),
                value => vec![value.clone()],
            };
            for value in values {
                // A length in bytes and a length in characters are told apart by the group.
                let op = match (op, group.name()) {
                    ("MinLen", "bytes") => "MinBytes",
                    ("MaxLen", "bytes") => "MaxBytes",
                    (op, _) => op,
                };
                rules.push(RuleRow { scope, op, argument: argument(&value) });
            }
        }
        // Both bounds the wrong way round would mean "outside of"; nobody says so, and nobody here would read it so.
        assert!(!(names.contains("gt") && names.contains("lt")) || group.name() != "duration", "a range with two ends");
    }
}

fn argument(value: &Value) -> Argument {
    match value {
        Value::Bool(value) => Argument::Int(i64::from(*value)),
        Value::I32(value) => Argument::Int(i64::from(*value)),
        Value::U32(value) => Argument::Int(i64::from(*value)),
        Value::I64(value) => Argument::Int(*value),
        Value::U64(value) => Argument::Int(i64::try_from(*value).expect("a bound fits")),
        Value::EnumNumber(value) => Argument::Int(i64::from(*value)),
        Value::F32(value) => Argument::Double(f64::from(*value)),
        Value::F64(value) => Argument::Double(*value),
        Value::String(value) => Argument::Text(value.clone()),
        Value::Message(duration) => {
            let part = |name: &str| match duration.get_field_by_name(name).as_deref() {
                Some(Value::I64(value)) => *value,
                Some(Value::I32(value)) => i64::from(*value),
                _ => panic!("only durations are bounds"),
            };
            Argument::Int(part("seconds") * 1_000_000_000 + part("nanos"))
        }
        other => panic!("{other:?} is no bound that is known here"),
    }
}

//! TLS contexts of a file: what is refused and where, what stays the same context, and that no key is ever shown.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{CertificateParams, KeyPair};
use ringway_control_client::{
    Bootstrap, Builder, Built, Problem, ReadOptions, Source, TlsContexts, read_bootstrap_with,
};
use ringway_model::{DownstreamTransport, Snapshot, TlsContext, UpstreamTransport};

/// A directory of its own with `a.pem` and `a.key`, `b.pem` and `b.key`; it goes away with it.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ringway-tls-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a directory");
        let directory = Self(path);
        directory.renew("a");
        directory.renew("b");
        directory
    }

    /// Another certificate and another key in these two files.
    fn renew(&self, name: &str) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![format!("{name}.example")]).expect("a name");
        let certificate = params.self_signed(&key).expect("a certificate");
        fs::write(self.file(&format!("{name}.pem")), certificate.pem()).expect("write");
        fs::write(self.file(&format!("{name}.key")), key.serialize_pem()).expect("write");
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// With `DIR` in the place of its path.
    fn here(&self, text: &str) -> String {
        text.replace("DIR", self.0.to_str().expect("a path of UTF-8"))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const TLS: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3";
const PAIR: &str = "tls_certificates: [{certificate_chain: {filename: DIR/a.pem}, private_key: {filename: DIR/a.key}}]";

/// A file whose one listener has these fields in its DownstreamTlsContext, and these of `static_resources` before.
fn listener(before: &str, fields: &str) -> String {
    format!(
        "static_resources: {{{before} listeners: [{{name: l, address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}, \
         filter_chains: [{{transport_socket: {{name: t, typed_config: {{'@type': {TLS}.DownstreamTlsContext, {fields}}}}}, \
         filters: [{{name: h, typed_config: {{'@type': t/envoy.extensions.filters.network.http_connection_manager.v3.\
         HttpConnectionManager, stat_prefix: s, route_config: {{}}, http_filters: [{{name: r, typed_config: {{'@type': \
         t/envoy.extensions.filters.http.router.v3.Router}}}}]}}}}]}}]}}]}}"
    )
}

/// A file whose one cluster has these fields in its UpstreamTlsContext.
fn cluster(fields: &str) -> String {
    format!(
        "static_resources: {{clusters: [{{name: c, transport_socket: {{name: t, typed_config: {{'@type': \
         {TLS}.UpstreamTlsContext, {fields}}}}}}}]}}"
    )
}

fn read(text: &str, contexts: &mut TlsContexts) -> Result<Bootstrap, Vec<Problem>> {
    read_bootstrap_with(Source { name: "f", text }, &ReadOptions::default(), contexts)
}

/// The problems of a text, each without its file and place.
fn problems(directory: &Directory, text: &str) -> Vec<String> {
    let found = read(&directory.here(text), &mut TlsContexts::new()).err().unwrap_or_default();
    let path = directory.0.to_str().expect("a path of UTF-8");
    found.iter().map(|problem| format!("{}: {}", problem.path, problem.rule).replace(path, "DIR")).collect()
}

const CONTEXT: &str = "static_resources.listeners[0].filter_chains[0].transport_socket.typed_config";
const UPSTREAM: &str = "static_resources.clusters[0].transport_socket.typed_config";

#[track_caller]
fn check_listener(directory: &Directory, before: &str, fields: &str, path: &str, rule: &str) {
    let expect = format!("{CONTEXT}{path}: {rule}");
    assert_eq!(problems(directory, &listener(before, fields)), [expect], "{fields}");
}

#[test]
fn what_is_wrong_with_a_server_is_said_where_it_stands() {
    let directory = &Directory::new("server");
    fs::write(directory.file("empty"), "").expect("write");
    fs::write(directory.file("cut.pem"), "-----BEGIN CERTIFICATE-----\nMIIB").expect("write");
    let common = |inner: &str| format!("common_tls_context: {{{inner}}}");
    let pair = |chain: &str, key: &str| {
        common(&format!("tls_certificates: [{{certificate_chain: {chain}, private_key: {key}}}]"))
    };
    let first = ".common_tls_context.tls_certificates[0]";
    for (fields, path, rule) in [
        (common(""), ".common_tls_context".to_owned(), "No TLS certificates found for server context"),
        (
            pair("{filename: DIR/a.pem}", "{filename: DIR/b.key}"),
            format!("{first}.private_key.filename"),
            "DIR/b.key: the private key does not belong to the certificate (of DIR/a.pem)",
        ),
        (
            pair("{filename: DIR/none}", "{filename: DIR/a.key}"),
            format!("{first}.certificate_chain.filename"),
            "DIR/none cannot be read: No such file or directory (os error 2)",
        ),
        (
            pair("{filename: DIR/empty}", "{filename: DIR/a.key}"),
            format!("{first}.certificate_chain.filename"),
            "DIR/empty is empty",
        ),
        (
            pair("{filename: DIR/cut.pem}", "{filename: DIR/a.key}"),
            format!("{first}.certificate_chain.filename"),
            "DIR/cut.pem: block 1: it has no END line",
        ),
        (
            common("tls_certificates: [{certificate_chain: {filename: DIR/a.pem}}]"),
            first.to_owned(),
            "private_key is required",
        ),
        (
            common("tls_certificate_sds_secret_configs: [{name: x}]"),
            ".common_tls_context.tls_certificate_sds_secret_configs[0].name".to_owned(),
            "Unknown static secret: x",
        ),
        (
            common(&format!(
                "{PAIR}, validation_context: {{match_typed_subject_alt_names: [{{san_type: DNS, matcher: {{exact: a}}}}]}}"
            )),
            ".common_tls_context.validation_context".to_owned(),
            "SAN-based verification of peer certificates without trusted CA is insecure and not allowed",
        ),
        (
            common(&format!("{PAIR}, validation_context: {{allow_expired_certificate: true}}")),
            ".common_tls_context.validation_context".to_owned(),
            "Certificate validity period is always ignored without trusted CA",
        ),
        (
            common(&format!("{PAIR}, validation_context: {{crl: {{filename: DIR/a.pem}}}}")),
            ".common_tls_context.validation_context.crl.filename".to_owned(),
            "Failed to load CRL without trusted CA",
        ),
        (
            common(&format!("{PAIR}, key_log: {{path: /k}}")),
            ".common_tls_context.key_log".to_owned(),
            "not supported yet",
        ),
        (
            // The first one is never offered, and counts all the same where the others stand.
            common(&format!("{PAIR}, alpn_protocols: [istio-peer-exchange, h2, '']")),
            ".common_tls_context.alpn_protocols[2]".to_owned(),
            "an ALPN name has 1 to 255 bytes",
        ),
        (
            common(&format!("{PAIR}, tls_params: {{tls_minimum_protocol_version: TLSv1_0}}")),
            ".common_tls_context.tls_params.tls_minimum_protocol_version".to_owned(),
            "TLSv1_0 is not supported yet, only TLS_AUTO and TLSv1_2 and TLSv1_3",
        ),
        (
            format!("session_ticket_keys: {{keys: [{{inline_string: abc}}]}}, {}", common(PAIR)),
            ".session_ticket_keys.keys[0].inline_string".to_owned(),
            "it has 3 bytes, not 80",
        ),
    ] {
        let found = problems(directory, &listener("", &fields));
        assert_eq!(found, [format!("{CONTEXT}{path}: {rule}")], "{fields}");
    }
    let unknown =
        problems(directory, &listener("", &common(&format!("{PAIR}, tls_params: {{cipher_suites: [a, nope]}}"))));
    assert!(
        unknown[0].starts_with(&format!("{CONTEXT}.common_tls_context.tls_params.cipher_suites[0]")),
        "{unknown:?}"
    );
    check_listener(
        directory,
        "secrets: [{name: s, tls_certificate: {certificate_chain: {filename: DIR/a.pem}, private_key: {filename: DIR/a.key}}}],",
        &common(&format!("{PAIR}, tls_certificate_sds_secret_configs: [{{name: s}}]")),
        ".common_tls_context.tls_certificate_sds_secret_configs",
        "SDS and non-SDS TLS certificates may not be mixed",
    );
}

#[test]
fn what_is_wrong_with_a_client_is_said_where_it_stands() {
    let directory = &Directory::new("client");
    for (fields, path, rule) in [
        (
            "auto_sni_san_validation: true",
            ".auto_sni_san_validation",
            "'auto_sni_san_validation' was configured without a validation context",
        ),
        ("allow_renegotiation: true", ".allow_renegotiation", "not supported yet"),
        (
            "common_tls_context: {validation_context: {trusted_ca: {filename: DIR/a.key}}}",
            ".common_tls_context.validation_context.trusted_ca.filename",
            "DIR/a.key: there is no certificate in the PEM text",
        ),
    ] {
        assert_eq!(problems(directory, &cluster(fields)), [format!("{UPSTREAM}{path}: {rule}")], "{fields}");
    }
    let pair = PAIR.trim_start_matches("tls_certificates: [").trim_end_matches(']');
    let two = format!("common_tls_context: {{tls_certificates: [{pair}, {pair}]}}");
    let rule = "Multiple TLS certificates are not supported for client contexts";
    assert_eq!(problems(directory, &cluster(&two)), [format!("{UPSTREAM}.common_tls_context: {rule}")]);
}

/// A secret that nobody uses is not looked into; a problem of one that is used stands where the secret does.
#[test]
fn secrets_of_the_file_are_found_by_name() {
    let directory = &Directory::new("secrets");
    let secrets = "secrets: [{name: s, tls_certificate: {certificate_chain: {filename: DIR/a.pem}, private_key: {filename: \
                   DIR/a.key}}}, {name: s, validation_context: {trusted_ca: {filename: DIR/b.pem}}}, {name: bad, tls_certificate: \
                   {certificate_chain: {filename: DIR/none}, private_key: {filename: DIR/a.key}}}],";
    let fields = |name: &str| {
        format!(
            "common_tls_context: {{tls_certificate_sds_secret_configs: [{{name: {name}}}], combined_validation_context: \
             {{default_validation_context: {{match_typed_subject_alt_names: [{{san_type: URI, matcher: {{prefix: 'spiffe://a/'}}}}]}}, \
             validation_context_sds_secret_config: {{name: s}}}}}}"
        )
    };
    assert_eq!(problems(directory, &listener(secrets, &fields("s"))), Vec::<String>::new());
    assert_eq!(
        problems(directory, &listener(secrets, &fields("bad"))),
        [
            "static_resources.secrets[2].tls_certificate.certificate_chain.filename: DIR/none cannot be read: No such file or \
          directory (os error 2)"
        ]
    );
}

fn server(snapshot: &Snapshot) -> TlsContext {
    match &snapshot.listeners[0].chains[0].transport {
        DownstreamTransport::Tls(tls) => tls.context.clone(),
        DownstreamTransport::Raw => panic!("a listener of TLS"),
    }
}

/// Guards connections: a rotation changes the context and nothing else, a reload of the same changes nothing.
#[test]
fn a_context_is_the_same_until_its_files_or_its_fields_change() {
    let directory = &Directory::new("same");
    let (mut builder, mut contexts) = (Builder::new(), TlsContexts::new());
    let mut build = |fields: &str, builder: &mut Builder| {
        let text = directory.here(&listener("", &format!("{fields} common_tls_context: {{{PAIR}}}")));
        builder.build(&read(&text, &mut contexts).expect("a right file"))
    };
    let one = build("", &mut builder).snapshot().clone();
    assert!(matches!(build("", &mut builder), Built::Same(_)));
    directory.renew("a");
    let two = build("", &mut builder).snapshot().clone();
    assert!(server(&one) != server(&two) && server(&one).identity() == server(&two).identity());
    assert_eq!(one.listeners[0].chains[0].id, two.listeners[0].chains[0].id);
    let three = build("require_client_certificate: true,", &mut builder).snapshot().clone();
    assert!(server(&two) != server(&three) && server(&two).identity() != server(&three).identity());
    assert_ne!(two.listeners[0].chains[0].id, three.listeners[0].chains[0].id);
    // Who is believed is a part of what a connection was admitted under; what the file of that name holds is not.
    let trusting = |ca: &str| {
        format!("common_tls_context: {{{PAIR}, validation_context: {{trusted_ca: {{filename: DIR/{ca}.pem}}}}}}")
    };
    let mut trusting = |ca: &str| {
        let text = directory.here(&listener("", &trusting(ca)));
        builder.build(&read(&text, &mut contexts).expect("a right file")).snapshot().listeners[0].chains[0].id
    };
    let one = trusting("a");
    directory.renew("a");
    assert_eq!(trusting("a"), one);
    assert_ne!(trusting("b"), one);
    read(&directory.here(&listener("", &format!("common_tls_context: {{{PAIR}}}"))), &mut contexts)
        .expect("a right file");
    let files: Vec<_> = contexts.files().iter().map(|file| file.path.clone()).collect();
    assert_eq!(files, [directory.file("a.key"), directory.file("a.pem")]);
}

#[test]
fn a_cluster_has_a_bounded_number_of_transports() {
    let directory = &Directory::new("many");
    let matches = |count: usize| {
        let each = |at| {
            format!(
                "{{name: m{at}, transport_socket: {{name: raw, typed_config: {{'@type': \
                                 t/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer}}}}}}"
            )
        };
        let matches: Vec<String> = (0..count).map(each).collect();
        format!("static_resources: {{clusters: [{{name: c, transport_socket_matches: [{}]}}]}}", matches.join(", "))
    };
    assert_eq!(problems(directory, &matches(1024)), [""; 0]);
    let rule = "static_resources.clusters[0].transport_socket_matches: more than 1024 are not supported";
    assert_eq!(problems(directory, &matches(1025)), [rule]);
}

/// Who fits either of two lists would be let in.
#[test]
fn names_are_matched_by_one_kind_of_list() {
    let directory = &Directory::new("names");
    let context = "common_tls_context: {validation_context: {trusted_ca: {filename: DIR/a.pem}, match_subject_alt_names: \
                   [{exact: a}], match_typed_subject_alt_names: [{san_type: DNS, matcher: {exact: b}}]}}";
    let rule =
        "common_tls_context.validation_context.match_subject_alt_names: not beside match_typed_subject_alt_names";
    assert_eq!(problems(directory, &cluster(context)), [format!("{UPSTREAM}.{rule}")]);
}

/// The first match of an endpoint's metadata chooses its transport, else that of its locality, else it is the cluster's own.
#[test]
fn endpoints_have_the_transport_that_their_metadata_asks_for() {
    let directory = &Directory::new("matches");
    let labels = |label: &str| format!("metadata: {{filter_metadata: {{envoy.transport_socket_match: {{{label}}}}}}}");
    let endpoint = |metadata: &str| {
        format!("{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 1}}}}}}, {metadata}}}")
    };
    let raw = "{name: r, typed_config: {'@type': t/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer}}";
    let text = format!(
        "static_resources: {{clusters: [{{name: c, load_assignment: {{cluster_name: c, endpoints: [{{lb_endpoints: [{}, {}, {}, {}]}}, \
         {{lb_endpoints: [{}, {}], {}}}]}}, transport_socket: {raw}, transport_socket_matches: [{{name: tls, match: {{tlsMode: istio}}, \
         transport_socket: {{name: t, typed_config: {{'@type': {TLS}.UpstreamTlsContext, sni: a.example}}}}}}, {{name: plain, match: \
         {{tlsMode: disabled, n: 1}}, transport_socket: {raw}}}]}}]}}",
        endpoint(""),
        endpoint(&labels("tlsMode: istio")),
        endpoint(&labels("tlsMode: disabled, n: 1, other: x")),
        endpoint(&labels("tlsMode: disabled")),
        endpoint(""),
        endpoint(&labels("tlsMode: disabled, n: 1")),
        labels("tlsMode: istio"),
    );
    let bootstrap = read(&directory.here(&text), &mut TlsContexts::new()).expect("a right file");
    let snapshot = Builder::new().build(&bootstrap).snapshot().clone();
    let cluster = snapshot.clusters.iter().next().expect("one cluster");
    let names: Vec<&str> = cluster.transports.iter().map(|transport| transport.name.as_str()).collect();
    assert_eq!(names, ["", "tls", "plain"]);
    let is_tls: Vec<bool> = cluster.transports.iter().map(|transport| !UpstreamTransport::is_raw(transport)).collect();
    assert_eq!(is_tls, [false, true, false]);
    let chosen: Vec<u16> = cluster.endpoints.iter().map(|endpoint| endpoint.transport).collect();
    assert_eq!(chosen, [0, 1, 2, 0, 1, 2]);
}

/// Guards keys: they are in no output, right or wrong, inline or in files.
#[test]
fn no_output_shows_a_key() {
    let directory = &Directory::new("keys");
    let key = fs::read_to_string(directory.file("a.key")).expect("read");
    let secret = key.lines().nth(1).expect("a line of base64").to_owned();
    let inline = key.replace('\n', "\\n");
    let chain = fs::read_to_string(directory.file("a.pem")).expect("read").replace('\n', "\\n");
    let fields = |chain: &str, key: &str, more: &str| {
        format!("common_tls_context: {{tls_certificates: [{{certificate_chain: {chain}, private_key: {key}}}]{more}}}")
    };
    let (chain, key) = (format!("{{inline_string: \"{chain}\"}}"), format!("{{inline_string: \"{inline}\"}}"));
    let other = "{filename: DIR/b.pem}";
    let as_chain = key.clone();
    for (fields, is_right) in [
        (fields(&chain, &key, ""), true),
        (fields(other, &key, ""), false),
        (fields(&as_chain, &key, ""), false),
        (fields(&chain, &key.replace("BEGIN", "BEG"), ""), false),
        (fields(&chain, &key.replace("-----END", "END"), ""), false),
        (fields(&chain, &key, ", nonsense: 1"), false),
        (fields("{filename: DIR/a.key}", "{filename: DIR/a.key}", ""), false),
        (fields("{filename: DIR/a.pem}", "{filename: DIR/a.key}", ""), true),
    ] {
        let text = directory.here(&listener("", &fields));
        let out = match read(&text, &mut TlsContexts::new()) {
            Ok(bootstrap) => {
                assert!(is_right, "{fields}");
                let snapshot = Builder::new().build(&bootstrap).snapshot().clone();
                let identity = server(&snapshot).identity().to_owned();
                format!("{}{bootstrap:?}{snapshot:?}{identity}", bootstrap.dump.to_json())
            }
            Err(problems) => {
                assert!(!is_right, "{problems:?}");
                format!("{problems:?}")
            }
        };
        assert!(!out.contains(&secret), "{out}");
    }
    assert!(Path::new(&directory.file("a.key")).exists());
}

//! Secrets of sources: who waits for them, what they bring, and what a wrong one leaves alone.

use rcgen::{CertificateParams, KeyPair};
use ringway_model::{ChainId, DownstreamTransport, TlsContext};

use super::*;

const CONTEXT: &str = "t/envoy.extensions.transport_sockets.tls.v3";

/// `SdsSecretConfig`.
fn sds(name: &str) -> String {
    format!("{{name: {name}, sds_config: {}}}", at())
}

/// A listener whose certificate is a secret.
fn tls_listener(name: &str, port: u16, secret: &str) -> String {
    let socket = format!(
        "transport_socket: {{name: tls, typed_config: {{'@type': {CONTEXT}.DownstreamTlsContext, common_tls_context: \
         {{tls_certificate_sds_secret_configs: [{}]}}}}}}",
        sds(secret)
    );
    listener(name, port, &inline("a")).replace("filter_chains: [{", &format!("filter_chains: [{{{socket}, "))
}

pub(super) struct Pair {
    pub(super) chain: String,
    pub(super) key: String,
}

pub(super) fn pair() -> Pair {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["a.example".to_owned()]).expect("a name");
    Pair { chain: params.self_signed(&key).expect("a certificate").pem(), key: key.serialize_pem() }
}

fn secret(name: &str, fields: &str) -> String {
    format!("{{'@type': {CONTEXT}.Secret, name: {name}, {fields}}}")
}

pub(super) fn certificate(name: &str, chain: &Pair, key: &Pair) -> String {
    let (chain, key) = (&chain.chain, &key.key);
    let fields = format!("certificate_chain: {{inline_string: {chain:?}}}, private_key: {{inline_string: {key:?}}}");
    secret(name, &format!("tls_certificate: {{{fields}}}"))
}

pub(super) fn trust(name: &str, authority: &Pair) -> String {
    secret(name, &format!("validation_context: {{trusted_ca: {{inline_string: {:?}}}}}", authority.chain))
}

impl World {
    fn tls(&self, listener: &str) -> (ChainId, TlsContext) {
        let snapshot = self.builder.last().expect("something is in force");
        let listener = snapshot.listeners.iter().find(|other| other.name == listener).expect("it is in force");
        let chain = &listener.chains[0];
        let DownstreamTransport::Tls(tls) = &chain.transport else { panic!("it has TLS: {chain:?}") };
        (chain.id, tls.context.clone())
    }
}

#[test]
fn a_listener_without_its_secret_is_held_back_alone() {
    let mut world = World::new(&bootstrap(""));
    world.world(Kind::Cluster, &[cluster("a", 1)]);
    let listeners = [tls_listener("l", 2, "s"), listener("m", 3, &inline("a"))];
    assert_eq!(world.world(Kind::Listener, &listeners), "2 accepted");
    assert_eq!(world.settle(), "all: a=1 m/v; listener \"l\" waits for secret \"s\" 15 s");
    let wanted = world.cache.wanted();
    assert!(
        wanted
            .iter()
            .any(|wanted| wanted.kind == Kind::Secret && wanted.names == Names::These(BTreeSet::from(["s".into()])))
    );
    let pair = pair();
    assert_eq!(world.world(Kind::Secret, &[certificate("other", &pair, &pair)]), "0 accepted, 1 unwanted");
    assert_eq!(world.world(Kind::Secret, &[certificate("s", &pair, &pair)]), "1 accepted");
    assert_eq!(world.settle(), "all: a=1 l/v m/v");
    assert_eq!(world.cache.certificates().len(), 1);
    // Nobody wants it any more.
    world.world(Kind::Listener, &[listener("m", 3, &inline("a"))]);
    assert_eq!(world.settle(), "all: a=1 m/v");
    assert!(world.cache.secrets.is_empty() && world.cache.around.came.is_empty());
}

/// Guards connections: a certificate is no part of what they were accepted under.
#[test]
fn a_secret_that_rotates_changes_the_context_and_no_chain() {
    let mut world = World::new(&bootstrap(""));
    world.world(Kind::Cluster, &[cluster("a", 1)]);
    world.world(Kind::Listener, &[tls_listener("l", 2, "s")]);
    let (first, second) = (pair(), pair());
    world.settle();
    world.world(Kind::Secret, &[certificate("s", &first, &first)]);
    assert_eq!(world.settle(), "all: a=1 l/v");
    let (id, context) = world.tls("l");
    assert_eq!(world.world(Kind::Secret, &[certificate("s", &first, &first)]), "1 accepted");
    assert_eq!(world.settle(), "same: a=1 l/v");
    world.world(Kind::Secret, &[certificate("s", &second, &second)]);
    assert_eq!(world.settle(), "all: a=1 l/v");
    let (rotated_id, rotated) = world.tls("l");
    assert!(rotated != context && rotated.identity() == context.identity());
    assert_eq!(rotated_id, id);
    // One whose key is another's is refused, and so is one of another type.
    let said = world.world(Kind::Secret, &[certificate("s", &first, &second)]);
    assert!(said.starts_with("0 accepted; s refused: ") && said.contains("does not belong"), "{said}");
    assert_eq!(world.settle(), "same: a=1 l/v");
    let said = world.world(Kind::Secret, &[trust("s", &first)]);
    assert!(said.contains("the secret \"s\" that came is no tls_certificate"), "{said}");
    world.settle();
    assert!(world.tls("l") == (id, rotated.clone()));
    let shown = world.cache.shown();
    let shown = shown.iter().find(|shown| shown.kind == Kind::Secret).expect("it is shown");
    let json = shown.active.as_ref().expect("the last good one").to_json();
    assert!(json.contains("[redacted]") && !json.contains("PRIVATE KEY"), "{json}");
    assert!(shown.error.is_some());
    // What is wrong with a listener that comes is not the secret's fault.
    let both = [tls_listener("l", 2, "s"), tls_listener("k", 4, "s")];
    assert_eq!(world.world(Kind::Listener, &both), "2 accepted");
    assert_eq!(world.settle(), "all: a=1 k/v l/v");
}

#[test]
fn who_has_waited_long_enough_for_a_secret_holds_up_nobody_and_serves_nobody() {
    let mut world = World::new(&bootstrap(""));
    world.world(Kind::Cluster, &[cluster("a", 1)]);
    world.world(Kind::Listener, &[tls_listener("l", 2, "s")]);
    world.settle();
    world.later(16);
    let settled = world.cache.settle(world.now);
    assert_eq!(settled.timed_out, [Scope::Secret("s".into())]);
    assert!(settled.waits.len() == 1 && settled.waits[0].is_over && settled.until.is_none());
    assert_eq!(world.settle(), "same: a=1; listener \"l\" waits for secret \"s\" for ever");
    let pair = pair();
    world.world(Kind::Secret, &[certificate("s", &pair, &pair)]);
    assert_eq!(world.settle(), "all: a=1 l/v");
}

#[test]
fn what_the_bootstrap_has_gets_its_secrets_too() {
    let socket = format!(
        "transport_socket: {{name: tls, typed_config: {{'@type': {CONTEXT}.UpstreamTlsContext, common_tls_context: {{combined_validation_context: \
         {{default_validation_context: {{}}, validation_context_sds_secret_config: {}}}}}}}}}",
        sds("ca")
    );
    let strip = |text: String, kind: &str| text.replace(&format!("'@type': t/envoy.config.{kind}, "), "");
    let a = strip(cluster("a", 1), "cluster.v3.Cluster").replace("{name: a,", &format!("{{name: a, {socket},"));
    let l = strip(tls_listener("l", 2, "s"), "listener.v3.Listener");
    let text = format!("static_resources: {{clusters: [{a}], listeners: [{l}]}}\n");
    let mut world = World::new(&text);
    assert_eq!(
        world.settle(),
        "all: ; cluster \"a\" waits for secret \"ca\" 15 s; listener \"l\" waits for secret \"s\" 15 s"
    );
    let (first, second) = (pair(), pair());
    let said = world.world(Kind::Secret, &[trust("ca", &first), certificate("s", &first, &first)]);
    assert_eq!(said, "2 accepted");
    assert_eq!(world.settle(), "all: a=1 l/v");
    let (id, context) = world.tls("l");
    // The file is read again: what came stays.
    world.load(&text);
    let at = world.at();
    assert!(world.cache.translate_again(true, &mut world.contexts, at).is_empty());
    assert_eq!(world.settle(), "same: a=1 l/v");
    assert!(world.tls("l") == (id, context));
    world.world(Kind::Secret, &[certificate("s", &second, &second)]);
    world.settle();
    assert_eq!(world.tls("l").0, id);
}

/// What was counted as refused is counted as accepted when the file that it names is right.
#[test]
fn a_secret_that_was_refused_for_its_file_is_counted_when_that_is_right() {
    let home = std::env::temp_dir().join(format!("ringway-secret-of-a-file-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&home);
    std::fs::create_dir_all(&home).expect("a directory");
    let (chain, key) = (home.join("chain.pem"), home.join("key.pem"));
    let mut world = World::new(&bootstrap(""));
    world.world(Kind::Cluster, &[cluster("a", 1)]);
    world.world(Kind::Listener, &[tls_listener("l", 2, "s")]);
    world.settle();
    let fields = [("certificate_chain", &chain), ("private_key", &key)];
    let fields = fields.map(|(name, path)| format!("{name}: {{filename: {}}}", path.display()));
    let of_files = secret("s", &format!("tls_certificate: {{{}}}", fields.join(", ")));
    assert!(world.world(Kind::Secret, &[of_files]).starts_with("0 accepted; s refused: "));
    let at = world.at();
    world.cache.translate_again(false, &mut world.contexts, at);
    assert!(world.cache.take_retried().counted.is_empty());
    let pair = pair();
    std::fs::write(&chain, &pair.chain).expect("a file");
    std::fs::write(&key, &pair.key).expect("a file");
    world.cache.translate_again(false, &mut world.contexts, at);
    let counted = world.cache.take_retried().counted;
    assert_eq!(counted, [Counted { scope: Scope::Secret("s".into()), accepted: Some("1".into()) }]);
    assert_eq!(world.settle(), "all: a=1 l/v");
    std::fs::remove_dir_all(home).expect("removed");
}

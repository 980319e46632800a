//! The certificate paths of x509-limbo (C2SP/x509-limbo) through the verifier in use.

use std::io::Cursor;
use std::path::PathBuf;
use std::time::Duration;

use rustls_pki_types::pem::PemObject;
use serde_json::Value;

use super::*;

/// When a case names no time: 2026-06-01.
const NOW: u64 = 1_780_272_000;

/// Cases that come out otherwise than their authors would have it, and why that is right here.
const DEVIATIONS: &[(&str, &[&str])] = &[
    (
        "Stricter: a CA's certificate is no leaf, but for one that is itself trusted.",
        &["pathlen::validation-ignores-pathlen-in-leaf", "rfc5280::ca-as-leaf"],
    ),
    (
        "Stricter: no path leads over a CA that certified itself under another key.",
        &[
            "pathlen::self-issued-certs-pathlen",
            "pathlen::max-chain-depth-1-self-issued",
            "rfc5280::nc::permitted-self-issued",
        ],
    ),
    (
        "Stricter: a constraint on names of other kinds than DNS and IP counts as violated.",
        &[
            "rfc5280::nc::permitted-dn-match",
            "rfc5280::nc::nc-permits-email-exact",
            "rfc5280::nc::nc-permits-email-domain",
            "rfc5280::nc::nc-permits-email-literal-asterisk-exact-match",
            "rfc5280::nc::nc-permits-email-literal-double-asterisk",
            "rfc5280::nc::nc-permits-email-literal-mid-asterisk",
        ],
    ),
    (
        "A trusted CA is trusted because the operator says so: name, key, dates and name constraints count, not the form of the rest.",
        &[
            "rfc5280::aki::critical-aki",
            "rfc5280::aki::cross-signed-root-missing-aki",
            "rfc5280::nc::permitted-dns-match-noncritical",
            "rfc5280::ski::critical-ski",
            "rfc5280::ski::root-missing-ski",
            "rfc5280::ca-empty-subject",
            "rfc5280::unknown-critical-extension-root",
            "rfc5280::root-missing-basic-constraints",
            "rfc5280::root-non-critical-basic-constraints",
            "rfc5280::root-inconsistent-ca-extensions",
            "webpki::aki::root-with-aki-missing-keyidentifier",
            "webpki::aki::root-with-aki-authoritycertissuer",
            "webpki::aki::root-with-aki-authoritycertserialnumber",
            "webpki::aki::root-with-aki-all-fields",
            "webpki::aki::root-with-aki-ski-mismatch",
            "webpki::eku::root-has-eku",
            "webpki::forbidden-rsa-not-divisible-by-8-in-root",
            "crl::issuer-missing-crlsign",
        ],
    ),
    (
        "Issuers are found by name and signature: key identifiers are not needed.",
        &[
            "rfc5280::aki::leaf-missing-aki",
            "rfc5280::aki::intermediate-missing-aki",
            "rfc5280::ski::intermediate-missing-ski",
        ],
    ),
    (
        "Only alternative names are looked at: what the common name says is nobody's concern.",
        &[
            "webpki::cn::ipv4-hex-mismatch",
            "webpki::cn::ipv4-leading-zeros-mismatch",
            "webpki::cn::ipv6-uppercase-mismatch",
            "webpki::cn::ipv6-uncompressed-mismatch",
            "webpki::cn::ipv6-non-rfc5952-mismatch",
            "webpki::cn::punycode-not-in-san",
            "webpki::cn::utf8-vs-punycode-mismatch",
            "webpki::cn::not-in-san",
            "webpki::cn::case-mismatch",
        ],
    ),
    (
        "What a CA owes when it issues; nothing is trusted more for it.",
        &[
            "rfc5280::nc::not-allowed-in-ee-noncritical",
            "rfc5280::nc::not-allowed-in-ee-critical",
            "rfc5280::pc::ica-noncritical-pc",
            "rfc5280::san::noncritical-with-empty-subject",
            "rfc5280::serial::too-long",
            "rfc5280::serial::zero",
            "rfc5280::serial::negative",
            "rfc5280::leaf-ku-keycertsign",
            "crl::crlnumber-missing",
            "crl::crlnumber-critical",
            "webpki::nc::intermediate-permitted-excluded-subtrees-both-null",
            "webpki::nc::intermediate-permitted-excluded-subtrees-both-empty-sequences",
            "webpki::san::san-critical-with-nonempty-subject",
            "webpki::malformed-aia",
        ],
    ),
    (
        "A constraint with a leading period means the names below, as everywhere.",
        &["rfc5280::nc::invalid-dnsname-leading-period"],
    ),
    ("Names inside a mesh have underscores.", &["rfc5280::san::underscore-dns"]),
    (
        "Rules for the public web, which meshes do not keep.",
        &[
            "webpki::eku::ee-anyeku",
            "webpki::eku::ee-critical-eku",
            "webpki::eku::ee-without-eku",
            "webpki::san::public-suffix-wildcard-san",
            "webpki::san::public-suffix-multi-label-wildcard-san",
            "webpki::san::public-suffix-private-namespace-wildcard-san",
        ],
    ),
    (
        "The path does not judge the leaf's key; the handshake's signature does, and refuses all but the 2,052 bits.",
        &[
            "webpki::forbidden-p192-leaf",
            "webpki::forbidden-dsa-leaf",
            "webpki::forbidden-weak-rsa-in-leaf",
            "webpki::forbidden-rsa-key-not-divisible-by-8-in-leaf",
        ],
    ),
];

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().map(|list| list.iter().filter_map(Value::as_str).collect()).unwrap_or_default()
}

fn der(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")
}

/// `2024-03-01T00:00:00.999+00:00`, to the second.
fn seconds(text: &str) -> u64 {
    let compact: String = text[..19].chars().filter(char::is_ascii_digit).collect();
    let bytes = [&[0x18, 15][..], compact.as_bytes(), b"Z"].concat();
    u64::try_from(crate::certificate::time(&mut crate::der::Reader(&bytes)).expect("a time")).expect("after 1970")
}

fn verdict(case: &Value) -> Result<(), String> {
    let crls = texts(&case["crls"]).concat();
    let validation = Validation {
        trusted_ca: Some(texts(&case["trusted_certs"]).concat().into_bytes()),
        crl: (!crls.is_empty()).then_some(crls.into_bytes()),
        max_verify_depth: case["max_chain_depth"].as_u64().map(|depth| depth as u32),
        ..Validation::default()
    };
    let peer = if case["validation_kind"] == "CLIENT" { PeerIs::Client } else { PeerIs::Server };
    let algorithms = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms;
    let (verifier, _) = Verifier::new(peer, algorithms, &validation, true, false).map_err(|error| error.to_string())?;
    let intermediates: Vec<_> = texts(&case["untrusted_intermediates"]).into_iter().map(der).collect();
    let leaf = der(case["peer_certificate"].as_str().expect("a certificate"));
    let now = case["validation_time"].as_str().map_or(NOW, seconds);
    let name = case["expected_peer_name"]["value"].as_str();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now));
    verifier.verify(&leaf, &intermediates, name, now).map_err(|refusal| refusal.to_string())
}

#[test]
#[allow(clippy::print_stderr, clippy::print_stdout, reason = "a skip has to be seen, and so has the figure")]
fn x509_limbo() {
    let folder = std::env::var_os("RINGWAY_CONFORMANCE")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance"), PathBuf::from);
    let Ok(packed) = std::fs::read(folder.join("x509-limbo.json.xz")) else {
        let required = std::env::var("RINGWAY_REQUIRE_ALL").as_deref() == Ok("1");
        assert!(!required, "x509-limbo.json.xz is missing");
        eprintln!("SKIP x509_limbo: not found beside the project; set RINGWAY_CONFORMANCE");
        return;
    };
    let mut plain = vec![];
    lzma_rs::xz_decompress(&mut Cursor::new(packed), &mut plain).expect("an xz file");
    let all: Value = serde_json::from_slice(&plain).expect("JSON");
    let cases = all["testcases"].as_array().expect("cases");
    let (mut as_expected, mut wrong) = (0, Vec::new());
    for case in cases {
        let id = case["id"].as_str().expect("an id");
        let found = verdict(case);
        let known = DEVIATIONS.iter().any(|(_, ids)| ids.contains(&id));
        let expected = found.is_ok() == (case["expected_result"] == "SUCCESS");
        as_expected += usize::from(expected);
        if expected == known {
            wrong.push(format!("{id}: {found:?}, expected {}", case["expected_result"]));
        }
    }
    println!("x509-limbo: {as_expected} of {} as expected, {} reviewed", cases.len(), cases.len() - as_expected);
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n"));
    assert!(cases.len() >= 200);
}

//! What sslyze finds at a listener, all of it: each finding is on the reviewed list, and each row of the list is found.
//!
//! It looks at versions, ciphers and curves, renegotiation, compression, resumption, early data, the downgrade signal, and for Heartbleed, ROBOT
//! and CCS injection.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::command;

/// A scan makes some hundred handshakes, most of them refused: 5 s.
const SCAN_LIMIT: Duration = Duration::from_secs(120);

/// What is looked for; certificates are the judge's own, and its trust stores do not know them.
const SCANS: &[&str] = &[
    "--sslv2",
    "--sslv3",
    "--tlsv1",
    "--tlsv1_1",
    "--tlsv1_2",
    "--tlsv1_3",
    "--elliptic_curves",
    "--compression",
    "--reneg",
    "--ems",
    "--fallback",
    "--resum",
    "--early_data",
    "--heartbleed",
    "--openssl_ccs",
    "--robot",
];

/// All that it finds, and why that is right.
const REVIEWED: &[(&str, &str)] = &[
    ("TLS_1_2 TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "forward secrecy, AEAD; Envoy's default"),
    ("TLS_1_2 TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "forward secrecy, AEAD; Envoy's default"),
    ("TLS_1_2 TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "forward secrecy, AEAD; Envoy's default"),
    ("TLS_1_2 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "forward secrecy, AEAD; Envoy's default"),
    ("TLS_1_2 TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "forward secrecy, AEAD; Envoy's default"),
    ("TLS_1_2 TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "forward secrecy, AEAD; Envoy's default"),
    ("TLS_1_3 TLS_AES_128_GCM_SHA256", "RFC 8446 §9.1"),
    ("TLS_1_3 TLS_AES_256_GCM_SHA384", "RFC 8446 §9.1"),
    ("TLS_1_3 TLS_CHACHA20_POLY1305_SHA256", "RFC 8446 §9.1"),
    ("curve X25519", "Envoy's default"),
    ("curve secp256r1", "Envoy's default"),
    ("elliptic_curves supports_ecdh_key_exchange true", "forward secrecy"),
    ("ssl_2_0_cipher_suites is_tls_version_supported false", "broken (RFC 6176)"),
    ("ssl_3_0_cipher_suites is_tls_version_supported false", "broken (RFC 7568)"),
    ("tls_1_0_cipher_suites is_tls_version_supported false", "deprecated (RFC 8996)"),
    ("tls_1_1_cipher_suites is_tls_version_supported false", "deprecated (RFC 8996)"),
    ("tls_1_2_cipher_suites is_tls_version_supported true", "Envoy's default for servers"),
    ("tls_1_3_cipher_suites is_tls_version_supported true", "Envoy's default for servers"),
    ("tls_compression supports_compression false", "CRIME"),
    ("session_renegotiation supports_secure_renegotiation true", "RFC 5746: says so, and refuses all renegotiation"),
    ("session_renegotiation is_vulnerable_to_client_renegotiation_dos false", "refused"),
    ("session_renegotiation client_renegotiations_success_count 0", "refused"),
    ("tls_extended_master_secret supports_ems_extension true", "RFC 7627"),
    ("tls_fallback_scsv supports_fallback_scsv true", "RFC 7507; and RFC 8446 §4.1.3 has a signal of its own"),
    ("tls_1_3_early_data supports_early_data false", "can be replayed (RFC 8446 §8); Envoy has it off"),
    ("session_resumption session_id_attempted_resumptions_count 5", "of the scanner"),
    ("session_resumption session_id_resumption_result NOT_SUPPORTED", "tickets alone: a server keeps nothing"),
    ("session_resumption session_id_successful_resumptions_count 0", "tickets alone: a server keeps nothing"),
    ("session_resumption tls_ticket_attempted_resumptions_count 5", "of the scanner"),
    (
        "session_resumption tls_ticket_resumption_result NOT_SUPPORTED",
        "it wants to see the same ticket again; each resumption gives a new one here (RFC 5077 §3.3), and OpenSSL resumes in `peers.py`",
    ),
    ("session_resumption tls_ticket_successful_resumptions_count 0", "likewise"),
    ("heartbleed is_vulnerable_to_heartbleed false", "no heartbeats"),
    ("openssl_ccs_injection is_vulnerable_to_ccs_injection false", "CVE-2014-0224"),
    ("robot robot_result NOT_VULNERABLE_RSA_NOT_SUPPORTED", "no RSA key exchange"),
];

/// What is found and not on the list, or the other way round; and how much is found.
pub(super) fn judge(python: &Path, folder: &Path, port: u16) -> Result<(Vec<String>, usize), String> {
    let report = folder.join("sslyze.json");
    let _old = std::fs::remove_file(&report);
    let mut scan = Command::new(python);
    scan.args(["-W", "ignore", "-m", "sslyze", "--sni", "server.test", "--quiet", "--mozilla_config", "disable"]);
    scan.args(SCANS).arg("--json_out").arg(&report).arg(format!("127.0.0.1:{port}"));
    let outcome = command::run(scan, SCAN_LIMIT, command::Echo::Nothing)?;
    let said = || outcome.lines.join(" | ");
    let text = std::fs::read_to_string(&report).map_err(|e| format!("sslyze wrote no report: {e}: {}", said()))?;
    let json: Value = serde_json::from_str(&text).map_err(|e| format!("sslyze's report is not JSON: {e}"))?;
    let found = findings(&json);
    let reviewed: BTreeSet<String> = REVIEWED.iter().map(|(line, _)| (*line).to_owned()).collect();
    let odd = found.difference(&reviewed).map(|line| format!("sslyze: {line}"));
    let missed = reviewed.difference(&found).map(|line| format!("sslyze did not find what is reviewed: {line}"));
    Ok((odd.chain(missed).collect(), found.len()))
}

/// Accepted ciphers and curves, and of each scan what is a word, a number, or true or false.
fn findings(report: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let scans = report["server_scan_results"][0]["scan_result"].as_object().into_iter().flatten();
    for (name, scan) in scans {
        let results = match scan["status"].as_str() {
            Some("NOT_SCHEDULED") => continue,
            Some("COMPLETED") => &scan["result"],
            status => {
                found.insert(format!("{name} is {} ({})", status.unwrap_or("?"), scan["error_reason"]));
                continue;
            }
        };
        let names = |list: &str, of: fn(&Value) -> &Value| -> Vec<String> {
            let list = results[list].as_array().into_iter().flatten();
            list.map(|item| of(item)["name"].as_str().unwrap_or("?").to_owned()).collect()
        };
        let version = results["tls_version_used"].as_str().unwrap_or("?");
        found.extend(
            names("accepted_cipher_suites", |item| &item["cipher_suite"]).iter().map(|c| format!("{version} {c}")),
        );
        found.extend(names("supported_curves", |item| item).iter().map(|curve| format!("curve {curve}")));
        for (field, value) in results.as_object().into_iter().flatten() {
            match value {
                Value::Array(_) | Value::Object(_) | Value::Null => {}
                Value::String(_) if field == "tls_version_used" => {}
                Value::String(word) => _ = found.insert(format!("{name} {field} {word}")),
                value => _ = found.insert(format!("{name} {field} {value}")),
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read() {
        let report = serde_json::json!({"server_scan_results": [{"scan_result": {
            "tls_1_2_cipher_suites": {"status": "COMPLETED", "result": {
                "tls_version_used": "TLS_1_2", "is_tls_version_supported": true,
                "accepted_cipher_suites": [{"cipher_suite": {"name": "NULL"}}], "rejected_cipher_suites": [{"cipher_suite": {"name": "RC4"}}]}},
            "heartbleed": {"status": "ERROR", "error_reason": "BUG", "result": null},
            "robot": {"status": "COMPLETED", "result": {"robot_result": "WEAK"}},
            "certificate_info": {"status": "NOT_SCHEDULED", "result": null},
            "elliptic_curves": {"status": "COMPLETED", "result": {"supported_curves": [{"name": "X448"}]}},
        }}]});
        let expect = [
            "TLS_1_2 NULL",
            "curve X448",
            "heartbleed is ERROR (\"BUG\")",
            "robot robot_result WEAK",
            "tls_1_2_cipher_suites is_tls_version_supported true",
        ];
        assert_eq!(findings(&report).iter().map(String::as_str).collect::<Vec<_>>(), expect);
    }

    #[test]
    fn rows_are_there_once() {
        let rows: BTreeSet<&str> = REVIEWED.iter().map(|(line, _)| *line).collect();
        assert_eq!(rows.len(), REVIEWED.len());
    }
}

//! TLS as outsiders see it: OpenSSL, curl and tlslite-ng as clients, right and wrong ones; OpenSSL as origin; what sslscan and
//! sslyze find; and handshakes that are begun and not ended.
//!
//! A wrong client ends its own connection and nobody else's: a right one is served after each. Each finding of a scanner is in a reviewed list.

mod half_open;
mod sslyze;

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{Bench, verdict};
use crate::lab::openssl::{NEW_EC_KEY, authority, openssl};
use crate::lab::pace::wait_for;
use crate::lab::proxy::{Launch, Proxy};
use crate::step::Verdict;
use crate::{command, setup};

/// All cases take 6 s, and several times that on a busy machine.
const PEERS_LIMIT: Duration = Duration::from_secs(240);
/// A scan makes some hundred handshakes: 3 s.
const SCAN_LIMIT: Duration = Duration::from_secs(60);
const TOOL_LIMIT: Duration = Duration::from_secs(20);
const PEERS: &str = include_str!("tls/peers.py");

/// What sslscan may find, and why that is right; all else is a finding. A line is known as a whole.
const ACCEPTED: &[(&str, &str)] = &[
    ("protocol TLSv1.2 enabled", "Envoy's default for servers"),
    ("protocol TLSv1.3 enabled", "Envoy's default for servers"),
    ("cipher TLSv1.3 TLS_AES_128_GCM_SHA256", "RFC 8446 §9.1"),
    ("cipher TLSv1.3 TLS_AES_256_GCM_SHA384", "RFC 8446 §9.1"),
    ("cipher TLSv1.3 TLS_CHACHA20_POLY1305_SHA256", "RFC 8446 §9.1"),
    ("cipher TLSv1.2 ECDHE-ECDSA-AES128-GCM-SHA256", "forward secrecy, AEAD; Envoy's default"),
    ("cipher TLSv1.2 ECDHE-ECDSA-AES256-GCM-SHA384", "forward secrecy, AEAD; Envoy's default"),
    ("cipher TLSv1.2 ECDHE-ECDSA-CHACHA20-POLY1305", "forward secrecy, AEAD; Envoy's default"),
    ("cipher TLSv1.2 ECDHE-RSA-AES128-GCM-SHA256", "forward secrecy, AEAD; Envoy's default"),
    ("cipher TLSv1.2 ECDHE-RSA-AES256-GCM-SHA384", "forward secrecy, AEAD; Envoy's default"),
    ("cipher TLSv1.2 ECDHE-RSA-CHACHA20-POLY1305", "forward secrecy, AEAD; Envoy's default"),
    ("group TLSv1.2 x25519", "Envoy's default"),
    ("group TLSv1.2 secp256r1 (NIST P-256)", "Envoy's default"),
    ("group TLSv1.3 x25519", "Envoy's default"),
    ("group TLSv1.3 secp256r1 (NIST P-256)", "Envoy's default"),
];
/// As many must be found at least: a scanner that finds nothing has seen nothing.
const FINDINGS_MIN: usize = 10;

pub(super) fn run(bench: &Bench) -> Verdict {
    let Some(python) = setup::tls_python() else {
        return Verdict::Missing("Python with tlslite-ng and sslyze: `cargo xtask setup` installs it".to_owned());
    };
    match ["openssl", "curl", "sslscan"].iter().find(|tool| !setup::there_is(tool)) {
        Some(tool) => Verdict::Missing(format!("{tool}: `cargo xtask setup` as root installs it")),
        None => verdict(judge(bench, &python)),
    }
}

fn judge(bench: &Bench, python: &Path) -> Result<String, String> {
    let folder = &bench.folder;
    certificates(folder)?;
    let origins = [Origin::start(folder, "-tls1_2")?, Origin::start(folder, "-tls1_3")?];
    let file = folder.join("tls.yaml");
    std::fs::write(&file, config(folder, &origins)).map_err(|e| format!("cannot write: {e}"))?;
    let launch = Launch { kind: bench.kind, folder, name: "tls", file: &file, concurrency: 1, arguments: &[] };
    let proxy = Proxy::start(&launch)?;
    let front = proxy.listener("front")?.port();
    let script = folder.join("peers.py");
    std::fs::write(&script, PEERS).map_err(|e| format!("cannot write: {e}"))?;
    let mut peers = Command::new(python);
    peers.arg(&script).arg(folder).arg(front.to_string()).args(["/origin-0", "/origin-1"]);
    // Their time is mostly waiting, and the peers' is not.
    let (outcome, scanned, half_open) = std::thread::scope(|scope| {
        let scan = scope.spawn(|| sslyze::judge(python, folder, front));
        let half_open = scope.spawn(|| half_open::judge(bench, python));
        let outcome = command::run(peers, PEERS_LIMIT, command::Echo::Nothing);
        (outcome, scan.join().expect("a scan does not panic"), half_open.join().expect("clients do not panic"))
    });
    let (outcome, (odd, facts)) = (outcome?, scanned?);
    let mut wrong: Vec<String> = outcome.lines.iter().filter(|line| line.contains(" WRONG ")).cloned().collect();
    let total = outcome.lines.iter().find_map(|line| line.strip_prefix("total "));
    if total.is_none() {
        wrong.push(format!("the peers did not come to their end: {}", outcome.lines.join(" | ")));
    }
    let found = scan(front)?;
    let is_accepted = |line: &&String| ACCEPTED.iter().any(|(accepted, _)| *accepted == line.as_str());
    wrong.extend(found.iter().filter(|line| !is_accepted(line)).map(|line| format!("sslscan: {line}")));
    if found.len() < FINDINGS_MIN {
        wrong.push(format!("sslscan found {} things only: {}", found.len(), found.join(", ")));
    }
    wrong.extend(odd);
    let half_open = half_open.unwrap_or_else(|why| {
        wrong.push(format!("half-open handshakes: {why}"));
        String::new()
    });
    let text = format!(
        "{} cases; {} findings of sslscan and {facts} of sslyze are reviewed; {half_open}",
        total.unwrap_or("no"),
        found.len()
    );
    if wrong.is_empty() { Ok(text) } else { Err(format!("{text}, but: {}", wrong.join("\n"))) }
}

/// What sslscan says is there, a line each.
fn scan(port: u16) -> Result<Vec<String>, String> {
    let mut scan = Command::new("sslscan");
    scan.args(["--xml=-", "--sni-name=server.test", "--no-cipher-details", &format!("127.0.0.1:{port}")]);
    let outcome = command::run(scan, SCAN_LIMIT, command::Echo::Nothing)?;
    if !outcome.success {
        return Err(format!("sslscan: {}", outcome.lines.join(" | ")));
    }
    Ok(outcome.lines.iter().filter_map(|line| finding(line.trim())).collect())
}

/// One element of sslscan's report; none if it says that something is not there, or is of no matter.
fn finding(line: &str) -> Option<String> {
    let value = |name: &str| {
        let rest = &line[line.find(&format!(" {name}=\""))? + name.len() + 3..];
        rest.split('"').next()
    };
    let element = line.strip_prefix('<')?.split(' ').next()?;
    match element {
        "protocol" if value("enabled") == Some("1") => {
            Some(format!("protocol {}v{} enabled", value("type")?.to_uppercase(), value("version")?))
        }
        "cipher" => Some(format!("cipher {} {}", value("sslversion")?, value("cipher")?)),
        "group" => Some(format!("group {} {}", value("sslversion")?, value("name")?)),
        // SHA-1, MD5 and worse, or any scheme at all.
        "connection-signature-algorithm" if value("name")?.contains("sha1") => {
            Some(format!("signature {}", value("name")?))
        }
        "compression" if value("supported") != Some("0") => Some("compression".to_owned()),
        "heartbleed" if value("vulnerable") != Some("0") => Some(format!("heartbleed {}", value("sslversion")?)),
        "renegotiation" if value("secure") == Some("0") && value("supported") == Some("1") => {
            Some("insecure renegotiation".to_owned())
        }
        _ => None,
    }
}

/// An authority, and a server's certificates of both kinds.
fn certificates(folder: &Path) -> Result<(), String> {
    authority(folder)?;
    for (name, kind) in [("ec", NEW_EC_KEY), ("rsa", "-newkey rsa:2048")] {
        openssl(folder, &format!("req {kind} -nodes -keyout {name}.key -out {name}.csr -subj /CN=server"))?;
        let signed = "-CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile names";
        openssl(folder, &format!("x509 -req -in {name}.csr {signed} -out {name}.pem"))?;
    }
    Ok(())
}

fn config(folder: &Path, origins: &[Origin]) -> String {
    const TYPE: &str = "type.googleapis.com/envoy.extensions";
    let file = |name: &str| format!("{{filename: \"{}\"}}", folder.join(name).display());
    let certificate = |name: &str| {
        let [chain, key] = ["pem", "key"].map(|kind| file(&format!("{name}.{kind}")));
        format!("{{certificate_chain: {chain}, private_key: {key}}}")
    };
    let mut routes =
        String::from("{match: {path: /direct}, direct_response: {status: 200, body: {inline_string: here}}}");
    let mut clusters = String::new();
    for (at, origin) in origins.iter().enumerate() {
        let (ca, port) = (file("ca.pem"), origin.address.port());
        routes += &format!(", {{match: {{prefix: /origin-{at}}}, route: {{cluster: o{at}, prefix_rewrite: /}}}}");
        clusters += &format!(
            r#"
  - name: o{at}
    connect_timeout: 5s
    load_assignment: {{cluster_name: o{at}, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}}}]}}]}}
    transport_socket: {{name: tls, typed_config: {{
      "@type": {TYPE}.transport_sockets.tls.v3.UpstreamTlsContext, sni: server.test,
      common_tls_context: {{tls_params: {{tls_maximum_protocol_version: TLSv1_3}}, validation_context: {{
        trusted_ca: {ca}, match_typed_subject_alt_names: [{{san_type: DNS, matcher: {{exact: server.test}}}}]}}}}}}}}"#
        );
    }
    let (ec, rsa) = (certificate("ec"), certificate("rsa"));
    format!(
        r#"admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}}}
static_resources:
  listeners:
  - name: front
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - transport_socket: {{name: tls, typed_config: {{
        "@type": {TYPE}.transport_sockets.tls.v3.DownstreamTlsContext,
        common_tls_context: {{alpn_protocols: [h2, http/1.1], tls_certificates: [{ec}, {rsa}]}}}}}}
      filters:
      - name: http
        typed_config: {{
          "@type": {TYPE}.filters.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: front,
          route_config: {{virtual_hosts: [{{name: all, domains: ["*"], routes: [{routes}]}}]}},
          http_filters: [{{name: router, typed_config: {{"@type": {TYPE}.filters.http.router.v3.Router}}}}]}}
  clusters:{clusters}
"#
    )
}

/// `openssl s_server` with one version; ends when dropped.
struct Origin {
    child: Child,
    address: SocketAddr,
}

impl Origin {
    fn start(folder: &Path, version: &str) -> Result<Origin, String> {
        // It wants to be told a port: one that was free a moment ago.
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr());
        let address = free.map_err(|e| format!("no free port: {e}"))?;
        let mut command = Command::new("openssl");
        command.args(["s_server", "-quiet", "-www", "-cert", "ec.pem", "-key", "ec.key", version]);
        command.args(["-accept", &address.to_string()]).current_dir(folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().map_err(|e| format!("cannot start openssl s_server: {e}"))?;
        let origin = Origin { child, address };
        wait_for("openssl s_server", TOOL_LIMIT, || TcpStream::connect(address).ok())?;
        Ok(origin)
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        let _ended = self.child.kill().and_then(|()| self.child.wait());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_read() {
        for (line, found) in [
            (r#"<protocol type="tls" version="1.2" enabled="1" />"#, Some("protocol TLSv1.2 enabled")),
            (r#"<protocol type="ssl" version="3" enabled="0" />"#, None),
            (
                r#"<cipher status="preferred" sslversion="TLSv1.3" bits="128" cipher="TLS_AES_128_GCM_SHA256" id="0x1301" />"#,
                Some("cipher TLSv1.3 TLS_AES_128_GCM_SHA256"),
            ),
            (r#"<heartbleed sslversion="TLSv1.2" vulnerable="1" />"#, Some("heartbleed TLSv1.2")),
            (r#"<compression supported="0" />"#, None),
            ("</ssltest>", None),
        ] {
            assert_eq!(finding(line).as_deref(), found, "{line}");
        }
    }
}

//! Secrets from files (`sds_config`): a certificate that comes, rotates, and is wrong; a listener that waits for its own.

use crate::certificates::{Client, Pair, pair};
use crate::common::config::Config;
use crate::common::on_each_driver;
use crate::common::process::{Proxy, TempDir};

const CONTEXT: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3";

/// A response with this certificate under this name.
fn secret(version: &str, name: &str, chain: &Pair, key: &Pair) -> String {
    let (chain, key) = (&chain.chain, &key.key);
    format!(
        "version_info: \"{version}\"\nresources:\n- {{\"@type\": {CONTEXT}.Secret, name: {name}, tls_certificate: {{certificate_chain: \
         {{inline_string: {chain:?}}}, private_key: {{inline_string: {key:?}}}}}}}\n"
    )
}

/// The `transport_socket` of a chain that has its certificate from there.
fn socket(dir: &TempDir, name: &str) -> String {
    let path = dir.0.join("sds.yaml");
    format!(
        "transport_socket: {{name: tls, typed_config: {{\"@type\": {CONTEXT}.DownstreamTlsContext, common_tls_context: \
         {{tls_certificate_sds_secret_configs: [{{name: {name}, sds_config: {{path_config_source: {{path: {}}}}}}}]}}}}}}",
        path.display()
    )
}

/// Guards rotation: who is connected stays, who comes sees what is new, and a wrong secret leaves the last good one.
#[test]
fn a_secret_rotates_under_connections_and_a_wrong_one_keeps_the_last() {
    on_each_driver(|io| {
        let (dir, first, second) = (TempDir::new(), pair(), pair());
        dir.rename_over("sds.yaml", &secret("1", "server", &first, &first));
        let config = Config::new().chain(&socket(&dir, "server"));
        let mut proxy = Proxy::start_with(io, &config, &["--concurrency", "2"]);
        let mut client = Client::connect(&proxy);
        client.ask();
        let before = client.serial();

        dir.rename_over("sds.yaml", &secret("2", "server", &second, &second));
        proxy.line("generation 2 in force");
        let after = Client::connect(&proxy).serial();
        assert_ne!(before, after, "{io}");
        client.ask();

        dir.rename_over("sds.yaml", &secret("3", "server", &first, &second));
        proxy.line("the private key does not belong to the certificate");
        assert_eq!(Client::connect(&proxy).serial(), after, "{io}");
        client.ask();
        assert_eq!(client.serial(), before);

        let dump: serde_json::Value =
            serde_json::from_str(&proxy.admin("GET", "/config_dump?resource=dynamic_active_secrets").text())
                .expect("JSON");
        let shown = &dump["configs"][0];
        assert_eq!((&shown["name"], &shown["version_info"]), (&"server".into(), &"2".into()), "{dump}");
        assert_eq!(shown["error_state"]["version_info"], "3", "{dump}");
        let text = dump.to_string();
        assert!(text.contains("[redacted]") && !text.contains("PRIVATE KEY"), "{text}");
        for (name, expect) in [("update_attempt", 3), ("update_success", 2), ("update_rejected", 1)] {
            assert_eq!(proxy.stat(&format!("sds.server.{name}")), expect, "{io}: {name}");
        }
    });
}

#[test]
fn a_listener_waits_for_its_secret_alone() {
    on_each_driver(|io| {
        let (dir, pair) = (TempDir::new(), pair());
        dir.rename_over("sds.yaml", "version_info: \"1\"\nresources: []\n");
        let lds = |listeners: &str| format!("version_info: \"1\"\nresources:\n{listeners}\n");
        let file = dir.rename_over("lds.yaml", "version_info: \"0\"\nresources: []\n").display().to_string();
        let top = format!("dynamic_resources: {{lds_config: {{path_config_source: {{path: {file}}}}}}}");
        let mut proxy = Proxy::start(io, &Config::new().top(&top));
        let listener = format!(
            "- {{\"@type\": type.googleapis.com/envoy.config.listener.v3.Listener, name: late, address: {{socket_address: {{address: 127.0.0.1, \
             port_value: 0}}}}, filter_chains: [{{{}, filters: [{{name: hcm, typed_config: {{\"@type\": \
             type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: late, \
             route_config: {{virtual_hosts: [{{name: v, domains: [\"*\"], routes: [{{match: {{prefix: /}}, direct_response: {{status: 200, body: \
             {{inline_string: direct}}}}}}]}}]}}, http_filters: [{{name: r, typed_config: {{\"@type\": \
             type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}}}]}}}}]}}]}}",
            socket(&dir, "s")
        );
        dir.rename_over("lds.yaml", &lds(&listener));
        proxy.line("listener \"late\" waits for secret \"s\"");
        assert_eq!(proxy.get("/direct").text(), "direct", "{io}");
        assert!(proxy.admin("GET", "/init_dump").text().contains("secret \\\"s\\\""), "{io}");
        assert!(!proxy.admin("GET", "/listeners").text().contains("late"), "{io}");
        dir.rename_over("sds.yaml", &secret("2", "s", &pair, &pair));
        let line = proxy.line("listener late: ");
        let address = line.rsplit(' ').next().expect("an address").trim();
        Client::connect_to(address.parse().expect("an address")).ask();
        assert_eq!(proxy.admin("GET", "/init_dump").text(), "{}\n", "{io}");
    });
}

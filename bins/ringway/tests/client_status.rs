//! `/client_status`: what CSDS says of each resource that came or was asked for.

use serde_json::{Value, json};

use crate::ads::{ADS, by_ads, one_cluster, start};
use crate::common;
use crate::common::origin::Origin;
use crate::common::process::Proxy;
use crate::common::resources::{eds_cluster, static_cluster};
use crate::common::xds::Server;

fn client_status(proxy: &Proxy, query: &str) -> Value {
    let text = proxy.admin("GET", &format!("/client_status{query}")).text();
    let mut answer: Value = serde_json::from_str(&text).expect("JSON");
    let mut clients = answer["config"].take();
    assert_eq!(clients.as_array().map(Vec::len), Some(1), "this process is one client: {text}");
    clients[0].take()
}

/// The resource of this short type and name.
fn of<'c>(client: &'c Value, kind: &str, name: &str) -> &'c Value {
    let configs = client["generic_xds_configs"].as_array().expect("there are resources");
    let is_it = |config: &&Value| {
        config["name"] == name && config["type_url"].as_str().is_some_and(|url| url.ends_with(&format!(".{kind}")))
    };
    configs.iter().find(is_it).unwrap_or_else(|| panic!("no {kind} {name} in {client}"))
}

#[test]
fn each_resource_has_its_status_and_its_last_good_version() {
    for form in ["GRPC", "DELTA_GRPC"] {
        let one = Origin::start("one");
        let server = Server::start();
        one_cluster(&server, one.address);
        let proxy = start("poll", &by_ads(form, &server));
        assert_eq!(proxy.get("/name").text(), "one");
        let client = client_status(&proxy, "");
        let node = json!({
            "id": "node-1",
            "cluster": "tests",
            "metadata": { "team": "a" },
            "user_agent_name": "ringway",
            "user_agent_version": env!("CARGO_PKG_VERSION"),
        });
        assert_eq!(client["node"], node);
        for (kind, name) in
            [("Cluster", "c"), ("ClusterLoadAssignment", "c"), ("Listener", "main"), ("RouteConfiguration", "r")]
        {
            let config = of(&client, kind, name);
            assert_eq!(config["client_status"], "ACKED", "{form}: {config}");
            assert!(config["version_info"].as_str().is_some_and(|version| !version.is_empty()), "{config}");
            assert!(config["last_updated"].is_string() && config.get("error_state").is_none(), "{config}");
            assert_eq!(config["xds_config"]["@type"], config["type_url"]);
        }
        assert_eq!(of(&client, "Cluster", "c")["xds_config"]["type"], "EDS");
        // A version that is refused leaves the one before it, and says why; one that waits is acknowledged, and what it waits for is
        // requested.
        let version = of(&client, "Cluster", "c")["version_info"].clone();
        let bad = eds_cluster("c", ADS, ", outlier_detection: {}");
        server.set("CDS", &[("c", bad), ("d", eds_cluster("d", ADS, "")), ("e", static_cluster("e", one.address))]);
        let client = common::wait_for("a status of the refused version", || {
            let client = client_status(&proxy, "");
            (of(&client, "Cluster", "c")["client_status"] == "NACKED").then_some(client)
        });
        let config = of(&client, "Cluster", "c");
        assert_eq!(config["version_info"], version, "{config}");
        assert!(config["xds_config"].get("outlier_detection").is_none(), "{config}");
        let error = &config["error_state"];
        assert!(error["details"].as_str().is_some_and(|details| details.contains("outlier_detection")), "{error}");
        assert!(error["failed_configuration"]["outlier_detection"].is_object(), "{error}");
        assert_ne!(error["version_info"], version);
        for name in ["d", "e"] {
            assert_eq!(of(&client, "Cluster", name)["client_status"], "ACKED");
        }
        assert_eq!(of(&client, "ClusterLoadAssignment", "d")["client_status"], "REQUESTED");
        assert!(of(&client, "ClusterLoadAssignment", "d").get("xds_config").is_none());
        let brief = client_status(&proxy, "?exclude_resource_contents");
        let config = of(&brief, "Cluster", "c");
        assert!(config.get("xds_config").is_none() && config["error_state"].get("failed_configuration").is_none());
        assert_eq!((&config["client_status"], &config["version_info"]), (&json!("NACKED"), &version));
    }
}

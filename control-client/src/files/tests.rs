//! Files as they are read, in Envoy's several spellings.

use std::path::PathBuf;
use std::sync::Arc;

use super::read_response;
use crate::cache::{Change, ConfigSource, Kind};
use crate::reader::Unknown;

/// `version; name version problems, ...` of a response of clusters, or its problems.
fn read(text: &str) -> String {
    let source = Arc::new(ConfigSource::Path { path: PathBuf::from("f"), watched_directory: None });
    match read_response("f", text, &source, Kind::Cluster, Unknown::Refused) {
        Err(problems) => problems.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | "),
        Ok(update) => {
            let Change::World(received) = update.change else { panic!("a file holds all there is") };
            let resources = received.into_iter().map(|one| {
                let problems: Vec<String> = one.report.problems.iter().map(ToString::to_string).collect();
                format!("; {:?} {:?} {}", one.name, one.version, problems.join(" | "))
            });
            format!("{:?}{}", update.version, resources.collect::<String>())
        }
    }
}

const CLUSTER: &str = "\"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster, name: c";

#[test]
fn responses_in_their_spellings() {
    let wrapped = "\"@type\": type.googleapis.com/envoy.service.discovery.v3.Resource, name: w, version: \"7\"";
    let url = "type.googleapis.com/envoy.config.cluster.v3.Cluster";
    for (text, expect) in [
        ("{version_info: \"1\", resources: []}".to_owned(), r#""1""#),
        ("{versionInfo: \"1\"}".to_owned(), r#""1""#),
        (format!("{{resources: {{{CLUSTER}}}}}"), r#"""; "c" "" "#),
        (
            format!("{{type_url: {url}, nonce: n, resources: [{{{CLUSTER}}}, [{{{CLUSTER}}}]]}}"),
            r#"""; "c" "" ; "c" "" "#,
        ),
        (format!("{{resources: [{{{wrapped}, resource: {{{CLUSTER}}}}}]}}"), r#"""; "w" "7" "#),
        (format!("{{resources: [{{{wrapped}}}]}}"), r#"""; "w" "7" f:1:14: resources[0].resource: value is required"#),
        (
            format!("{{resources: [{{{wrapped}, resource: {{{CLUSTER}, type: 99x}}}}]}}"),
            r#"""; "w" "7" f:1:192: resources[0].resource.type: "99x" is none of STATIC, STRICT_DNS, LOGICAL_DNS, EDS, ORIGINAL_DST"#,
        ),
        ("{version_info: 1}".to_owned(), "f:1:16: version_info: expected a string, found a number: put it in quotes"),
        (
            "{version: \"1\"}".to_owned(),
            "f:1:2: version: no such field in envoy.service.discovery.v3.DiscoveryResponse",
        ),
        (
            "{type_url: t/envoy.config.listener.v3.Listener}".to_owned(),
            "f:1:12: type_url: \"t/envoy.config.listener.v3.Listener\" is not the type that is asked for, envoy.config.cluster.v3.Cluster",
        ),
        ("[]".to_owned(), "f:1:1: expected an object (envoy.service.discovery.v3.DiscoveryResponse), found a list"),
        (
            "{resources: [{name: d}]}".to_owned(),
            r#"""; "d" "" f:1:14: resources[0]: an object of any type needs "@type""#,
        ),
    ] {
        assert_eq!(read(&text), expect, "{text}");
    }
}

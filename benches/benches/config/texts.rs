//! Files of so many clusters, each with a route of its own, as people write them.

use std::fmt::Write;

use crate::started::LISTENER;

/// Where a cluster's endpoints come from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Endpoints<'a> {
    /// The file has them, at this port.
    Static(u16),
    /// Files: the second has those of the last cluster, the first those of all others.
    Files(&'a str, &'a str),
}

/// A bootstrap: one listener, `count` routes, and as many clusters of two endpoints.
pub(crate) fn bootstrap(count: usize, endpoints: Endpoints<'_>) -> String {
    let mut text = LISTENER.to_owned();
    let mut put = |lines: std::fmt::Arguments<'_>| text.write_fmt(lines).expect("a text has room");
    for at in 0..count {
        put(format_args!(
            "              - match: {{prefix: /service{at}/}}\n                route: {{cluster: c{at}, timeout: 5s}}\n"
        ));
    }
    put(format_args!("  clusters:\n"));
    for at in 0..count {
        put(format_args!("  - name: c{at}\n    connect_timeout: 1s\n"));
        match endpoints {
            Endpoints::Static(port) => {
                put(format_args!("    type: STATIC\n    load_assignment:\n      cluster_name: c{at}\n"));
                put(format_args!("      endpoints:\n{}", lines(at, port, "      ")));
            }
            Endpoints::Files(all, last) => {
                let path = if at + 1 == count { last } else { all };
                put(format_args!("    type: EDS\n    eds_cluster_config:\n"));
                put(format_args!("      eds_config: {{path_config_source: {{path: {path}}}}}\n"));
            }
        }
    }
    text
}

/// A response of EDS with the assignments of these clusters.
pub(crate) fn assignments(clusters: std::ops::Range<usize>, port: u16) -> String {
    let mut text = "resources:\n".to_owned();
    for at in clusters {
        write!(text, "- \"@type\": type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment\n  cluster_name: c{at}\n  endpoints:\n{}", lines(at, port, "  "))
            .expect("a text has room");
    }
    text
}

/// Two endpoints of this cluster.
fn lines(cluster: usize, port: u16, indent: &str) -> String {
    let endpoint = |last: usize| {
        let address = format!("10.{}.{}.{last}", cluster >> 8, cluster & 255);
        format!("{indent}  - endpoint: {{address: {{socket_address: {{address: {address}, port_value: {port}}}}}}}\n")
    };
    format!("{indent}- lb_endpoints:\n{}{}", endpoint(1), endpoint(2))
}

//! `envoy.config.core.v3.Node`: who asks. Small, and of ourselves only what is true: Envoy's own is 60 KB of extensions.

use crate::message::Message;
use crate::wire::Writer;

/// What of the file is told on.
const TOLD: [&str; 5] = ["id", "cluster", "metadata", "dynamic_parameters", "locality"];
/// `client_features`, as Envoy's documentation names them.
const FEATURES: [&str; 2] = ["xds.config.supports-resource-ttl", "xds.config.supports-resource-in-sotw"];

/// What is true besides where load is reported.
const REPORTS_FEATURE: &str = "envoy.lrs.supports_send_all_clusters";

/// An encoded node as a server of load reports is told it.
pub(crate) fn for_reports(node: &[u8]) -> Vec<u8> {
    let mut out = Writer::default();
    out.bytes.extend_from_slice(node);
    out.item(10, REPORTS_FEATURE);
    out.bytes
}

/// The encoded node of a bootstrap.
pub(crate) fn node(file: Option<&Message>) -> Vec<u8> {
    let mut out = Writer { bytes: shown_node(file) };
    // client_features.
    FEATURES.iter().for_each(|feature| out.item(10, feature));
    out.bytes
}

/// The same as a client's status has it: who we are, without what we can do.
pub(crate) fn shown_node(file: Option<&Message>) -> Vec<u8> {
    let mut out = Writer::default();
    let fields = file.into_iter().flat_map(|message| &message.fields);
    fields.filter(|set| TOLD.contains(&set.field.name())).for_each(|set| out.field(set));
    // user_agent_name, user_agent_version.
    out.text(6, "ringway");
    out.text(7, env!("CARGO_PKG_VERSION"));
    out.bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document;
    use crate::json;
    use crate::problem::Report;
    use crate::reader::{self, Unknown};
    use crate::schema::MessageType;
    use crate::wire;

    #[test]
    fn a_node_says_what_the_file_says_and_what_we_are() {
        let kind = MessageType::by_name("envoy.config.core.v3.Node").expect("it exists");
        let text = "{id: node, cluster: c, metadata: {a: [1, x]}, locality: {zone: z}, user_agent_name: envoy, \
                    user_agent_version: v, client_features: [f], extensions: [{name: e}]}";
        let mut report = Report::new("f");
        let document = document::parse(text, &mut report).expect("YAML");
        let message = reader::read(&document, kind, Unknown::Refused, &mut report).expect("a node");
        let told = wire::read(&node(Some(&message)), kind, Unknown::Refused, &mut report).expect("a node");
        assert!(report.finish().is_ok());
        let shown = json::write(told);
        for part in ["\"id\": \"node\"", "\"cluster\": \"c\"", "\"zone\": \"z\"", "\"user_agent_name\": \"ringway\""] {
            assert!(shown.contains(part), "{part}: {shown}");
        }
        assert!(shown.contains("supports-resource-ttl") && shown.contains("\"a\""), "{shown}");
        assert!(!shown.contains("envoy") && !shown.contains("\"f\"") && !shown.contains("extensions"), "{shown}");
    }

    #[test]
    fn a_server_of_load_reports_is_told_what_it_may_ask_for() {
        let kind = MessageType::by_name("envoy.config.core.v3.Node").expect("it exists");
        let mut report = Report::new("f");
        let told = wire::read(&for_reports(&node(None)), kind, Unknown::Refused, &mut report).expect("a node");
        assert!(json::write(told).contains("envoy.lrs.supports_send_all_clusters"));
    }

    #[test]
    fn without_a_node_we_are_still_somebody() {
        assert!(!node(None).is_empty());
    }
}

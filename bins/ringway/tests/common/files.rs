//! Certificates for the end-to-end tests of TLS: an authority, files of what it issued, and the fields that name them.

#[path = "../../../../protocols/tls/tests/common/mod.rs"]
pub(crate) mod certificates;

use std::fs;
use std::sync::Arc;

use ringway_tls::{ClientContext, ClientOptions, Identity, Parameters, Version};

use self::certificates::{Authority, Leaf, trusting};
use super::process::TempDir;

const DOWNSTREAM: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";
const UPSTREAM: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";

/// An authority, and files of what it issued.
pub(crate) struct Files {
    pub(crate) authority: Authority,
    pub(crate) dir: TempDir,
}

impl Files {
    pub(crate) fn new() -> Files {
        let files = Files { authority: Authority::new("tests"), dir: TempDir::new() };
        files.put("ca.pem", files.authority.pem.as_bytes());
        files.identity("server", &Leaf::default());
        files
    }

    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        fs::write(self.dir.0.join(name), bytes).expect("a file");
    }

    pub(crate) fn identity(&self, name: &str, leaf: &Leaf) -> Identity {
        let identity = self.authority.issue(leaf);
        self.put(&format!("{name}.pem"), &identity.certificate_chain);
        self.put(&format!("{name}.key"), identity.private_key.bytes());
        identity
    }

    /// `DataSource`.
    pub(crate) fn file(&self, name: &str) -> String {
        format!("{{filename: {}}}", self.dir.0.join(name).display())
    }

    pub(crate) fn certificate(&self, name: &str) -> String {
        let [chain, key] = ["pem", "key"].map(|kind| self.file(&format!("{name}.{kind}")));
        format!("{{certificate_chain: {chain}, private_key: {key}}}")
    }

    /// A listener's `transport_socket`: with the certificate `server`, and with these fields of the context and of what is common.
    pub(crate) fn socket(&self, fields: &str, common: &str) -> String {
        let certificate = self.certificate("server");
        socket(fields, &format!("tls_certificates: [{certificate}]{common}"))
    }

    /// A client that trusts the authority.
    pub(crate) fn client(&self, options: ClientOptions) -> Arc<ClientContext> {
        certificates::client(&ClientOptions { validation: Some(trusting(&self.authority)), ..options })
    }
}

pub(crate) fn socket(fields: &str, common: &str) -> String {
    format!(
        "transport_socket: {{name: t, typed_config: {{'@type': {DOWNSTREAM}, {fields}common_tls_context: {{{common}}}}}}}"
    )
}

/// A cluster's `transport_socket`, with these fields of the context and of what is common.
pub(crate) fn upstream(fields: &str, common: &str) -> String {
    format!(
        "transport_socket: {{name: t, typed_config: {{'@type': {UPSTREAM}, {fields}common_tls_context: {{{common}}}}}}}"
    )
}

pub(crate) fn protocols(names: &[&str]) -> Vec<Vec<u8>> {
    names.iter().map(|name| name.as_bytes().to_vec()).collect()
}

pub(crate) fn version(version: Version) -> Parameters {
    Parameters { version_min: version, version_max: version, ..Parameters::default() }
}

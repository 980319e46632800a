//! What a connection manager does to the heads of requests and responses, whatever their route: who the client is, who may say so,
//! and which fields are ours.

use crate::ClientCertRules;
use std::net::IpAddr;

use crate::cidr::Cidr;

/// Fields of the connection manager about heads. The default is Envoy's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderRules {
    /// `use_remote_address`: the peer is the client, or one of the trusted hops; nothing that it says of itself counts.
    pub use_remote_address: bool,
    /// `xff_num_trusted_hops`.
    pub trusted_hops: u32,
    /// `skip_xff_append`.
    pub skip_xff_append: bool,
    /// `internal_address_config.cidr_ranges`; none: no client is internal.
    pub internal: Vec<Cidr>,
    /// `internal_address_config.unix_sockets`, where the listener is a unix socket: clients without an address are internal.
    pub internal_pipe: bool,
    /// `generate_request_id`.
    pub generate_request_id: bool,
    /// `preserve_external_request_id`: an id that comes from outside stays.
    pub preserve_external_request_id: bool,
    /// `always_set_request_id_in_response`.
    pub always_set_request_id: bool,
    /// `server_name`.
    pub server_name: String,
    /// `server_header_transformation`.
    pub server: ServerHeader,
    /// `via`; empty: none.
    pub via: String,
    /// `Router.suppress_envoy_headers`.
    pub suppress_envoy_headers: bool,
    /// `respect_expected_rq_timeout` of the router: a client of ours may say so how long it waits.
    pub respect_expected_timeout: bool,
    /// What becomes of x-forwarded-client-cert.
    pub client_cert: ClientCertRules,
    /// `append_x_forwarded_port`.
    pub append_forwarded_port: bool,
    /// `represent_ipv4_remote_address_as_ipv4_mapped_ipv6`: what is added to x-forwarded-for.
    pub maps_ipv4: bool,
    /// `scheme_header_transformation.scheme_to_overwrite`.
    pub scheme: Option<Scheme>,
    /// `add_user_agent`.
    pub user_agent: Option<UserAgent>,
}

/// `SchemeHeaderTransformation.scheme_to_overwrite`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// `http`
    Http,
    /// `https`
    Https,
}

impl Scheme {
    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }
}

/// What a proxy says of itself to its upstreams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserAgent {
    /// `node.cluster`; not empty.
    pub cluster: String,
    /// `node.id`; may be empty.
    pub node: String,
}

/// `ServerHeaderTransformation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerHeader {
    /// `OVERWRITE`
    Overwrite,
    /// `APPEND_IF_ABSENT`
    AppendIfAbsent,
    /// `PASS_THROUGH`
    PassThrough,
}

impl Default for HeaderRules {
    fn default() -> Self {
        Self {
            use_remote_address: false,
            trusted_hops: 0,
            skip_xff_append: false,
            internal: Vec::new(),
            internal_pipe: false,
            generate_request_id: true,
            preserve_external_request_id: false,
            always_set_request_id: false,
            server_name: "envoy".to_owned(),
            server: ServerHeader::Overwrite,
            via: String::new(),
            suppress_envoy_headers: false,
            client_cert: ClientCertRules::default(),
            append_forwarded_port: false,
            maps_ipv4: false,
            scheme: None,
            user_agent: None,
            respect_expected_timeout: false,
        }
    }
}

impl HeaderRules {
    /// Whether an address is one of ours.
    pub fn is_internal(&self, address: IpAddr) -> bool {
        self.internal.iter().any(|range| range.contains(address))
    }
}

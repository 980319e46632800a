//! Transport sockets: what stands between a socket and the bytes that filters see.

use super::{Covered, NO_READER};

pub(super) static TABLE: &[Covered] = &[
    Covered { message: "envoy.config.core.v3.TransportSocket", done: "name typed_config", ..Covered::NOTHING },
    Covered { message: "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer", ..Covered::NOTHING },
    Covered {
        message: "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
        done: "common_tls_context require_client_certificate require_sni session_ticket_keys \
               session_ticket_keys_sds_secret_config disable_stateless_session_resumption session_timeout \
               full_scan_certs_on_sni_mismatch",
        only: &[("ocsp_staple_policy", "LENIENT_STAPLING")],
        ignored: &[("disable_stateful_session_resumption", "sessions are resumed by tickets alone")],
        refused: "prefer_client_ciphers",
    },
    Covered {
        message: "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
        done: "common_tls_context sni auto_host_sni auto_sni_san_validation max_session_keys",
        refused: "allow_renegotiation enforce_rsa_key_usage",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext",
        done: "tls_params tls_certificates tls_certificate_sds_secret_configs validation_context \
               validation_context_sds_secret_config combined_validation_context alpn_protocols",
        refused: "tls_certificate_provider_instance custom_tls_certificate_selector tls_certificate_certificate_provider \
                  tls_certificate_certificate_provider_instance validation_context_certificate_provider \
                  validation_context_certificate_provider_instance custom_handshaker key_log",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext.CombinedCertificateValidationContext",
        done: "default_validation_context validation_context_sds_secret_config",
        refused: "validation_context_certificate_provider validation_context_certificate_provider_instance",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.extensions.transport_sockets.tls.v3.TlsParameters",
        done: "cipher_suites ecdh_curves",
        only: &[
            ("tls_minimum_protocol_version", "TLS_AUTO TLSv1_2 TLSv1_3"),
            ("tls_maximum_protocol_version", "TLS_AUTO TLSv1_2 TLSv1_3"),
        ],
        refused: "signature_algorithms compliance_policies",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.extensions.transport_sockets.tls.v3.TlsCertificate",
        done: "certificate_chain private_key watched_directory",
        refused: "pkcs12 private_key_provider password ocsp_staple signed_certificate_timestamp tls_params",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext",
        done: "trusted_ca watched_directory verify_certificate_spki verify_certificate_hash \
               match_typed_subject_alt_names match_subject_alt_names crl allow_expired_certificate \
               trust_chain_verification only_verify_leaf_cert_crl max_verify_depth",
        refused: "ca_certificate_provider_instance system_root_certs require_signed_certificate_timestamp \
                  custom_validator_config suppress_client_ca_list",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher",
        done: "matcher",
        only: &[("san_type", "EMAIL DNS URI IP_ADDRESS")],
        refused: "oid",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.extensions.transport_sockets.tls.v3.TlsSessionTicketKeys",
        done: "keys",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig",
        done: "name sds_config",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.extensions.transport_sockets.tls.v3.Secret",
        done: "name tls_certificate session_ticket_keys validation_context",
        ignored: &[("generic_secret", NO_READER)],
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.core.v3.WatchedDirectory",
        done: "path",
        ignored: &[(
            "watch_modify",
            "certificates and keys that are written in place are read again, too; refused where resources are watched",
        )],
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport",
        done: "config transport_socket",
        refused: "allow_unspecified_address tlv_as_pool_key",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.core.v3.ProxyProtocolConfig",
        done: "version pass_through_tlvs added_tlvs",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.core.v3.ProxyProtocolPassThroughTLVs",
        done: "match_type tlv_type",
        ..Covered::NOTHING
    },
    Covered {
        message: "envoy.config.core.v3.TlvEntry",
        done: "type value",
        refused: "format_string",
        ..Covered::NOTHING
    },
];

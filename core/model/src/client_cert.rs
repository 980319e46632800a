//! x-forwarded-client-cert: what the next hop is told of who showed a certificate.

/// `forward_client_cert_details` and `set_current_client_cert_details`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientCertRules {
    /// What becomes of the field.
    pub forward: ForwardClientCert,
    /// What we say of the client's certificate, beside its hash.
    pub details: ClientCertDetails,
}

/// `HttpConnectionManager.ForwardClientCertDetails`. Without a client's certificate the field is taken off, but for the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardClientCert {
    /// `SANITIZE`: it is taken off.
    #[default]
    Sanitize,
    /// `FORWARD_ONLY`: it stays as it came.
    ForwardOnly,
    /// `APPEND_FORWARD`: ours is put behind what came.
    AppendForward,
    /// `SANITIZE_SET`: ours instead of what came.
    SanitizeSet,
    /// `ALWAYS_FORWARD_ONLY`: it stays as it came, whoever the client is.
    AlwaysForwardOnly,
}

/// `HttpConnectionManager.SetCurrentClientCertDetails`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientCertDetails {
    /// `cert`: the certificate as PEM, percent-encoded.
    pub cert: bool,
    /// `chain`: all that the client showed, likewise.
    pub chain: bool,
    /// `subject`
    pub subject: bool,
    /// `uri`: the URIs among its subject alternative names.
    pub uri: bool,
    /// `dns`: the DNS names among them.
    pub dns: bool,
}

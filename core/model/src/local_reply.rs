//! What is made of answers of our own before they are sent: `envoy.extensions.filters.network.http_connection_manager.v3.LocalReplyConfig`.

use crate::{HeaderMutation, LogFilter, LogText};

/// See the module.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalReplies {
    /// `mappers`: the first whose filter passes is applied.
    pub mappers: Vec<LocalReplyMapper>,
    /// `body_format`, where no mapper has one that is applied; `None`: the body as it is.
    pub format: Option<BodyFormat>,
}

/// `ResponseMapper`.
#[derive(Clone, Debug, PartialEq)]
pub struct LocalReplyMapper {
    /// `filter`.
    pub filter: LogFilter,
    /// `status_code`: 200 to 599.
    pub status: Option<u16>,
    /// `body`.
    pub body: Option<Vec<u8>>,
    /// `body_format_override`.
    pub format: Option<BodyFormat>,
    /// `headers_to_add`.
    pub headers: HeaderMutation,
}

/// `envoy.config.core.v3.SubstitutionFormatString`, for a body.
#[derive(Clone, Debug, PartialEq)]
pub struct BodyFormat {
    /// What the body says.
    pub text: LogText,
    /// `content_type`; by default that of the format.
    pub content_type: String,
}

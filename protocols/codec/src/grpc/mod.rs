//! gRPC over HTTP/2, as a proxy sees it: who speaks it, how it ended, how long it may take, how many messages went by.
//!
//! Sources: "gRPC over HTTP2" (doc/PROTOCOL-HTTP2.md), "HTTP to gRPC Status Code Mapping" (doc/http-grpc-status-mapping.md) and "GRPC Health
//! Checking Protocol" (doc/health-checking.md) of the gRPC project. It never looks into a message but those of health checks, and allocates
//! nothing but what the caller's buffers want to grow. The messages of health checks, and what a reset stands for, are for active health checks,
//! which have no caller yet.

mod health;
mod message;
mod percent;
mod status;
mod timeout;

pub use health::{HEALTH_CHECK_PATH, HEALTH_WATCH_PATH, Health, decode_health_response, encode_health_request};
pub use message::MessageCounter;
pub use percent::encode_message;
pub use status::Status;
pub use timeout::{TIMEOUT_BYTES_MAX, parse_timeout, write_timeout};

/// What gRPC's content is called.
pub const CONTENT_TYPE: &[u8] = b"application/grpc";

/// Whether a message of this content type is gRPC's: `application/grpc`, or with a `+` and the coding of its messages behind it.
/// `application/grpc-web` is another protocol.
#[must_use]
pub fn is_content_type(value: &[u8]) -> bool {
    matches!(value.strip_prefix(CONTENT_TYPE), Some([] | [b'+', ..]))
}

/// Service and method of a request's path: `/package.Service/Method`, without a query. `None`: it is no call's.
#[must_use]
pub fn service_and_method(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let path = path.split(|&byte| byte == b'?').next()?.strip_prefix(b"/")?;
    let slash = path.iter().position(|&byte| byte == b'/')?;
    let (service, method) = (&path[..slash], &path[slash + 1..]);
    (!service.is_empty() && !method.is_empty() && !method.contains(&b'/')).then_some((service, method))
}

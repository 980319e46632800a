//! TLS: contexts that are built once, and sans-IO sessions that turn records into plaintext and back.
//!
//! It has no socket, no file and no task; it knows neither the runtime nor the configuration's form. The handshake is
//! rustls', on aws-lc; the records of an open session are our own. Envoy's rules for peers stand around rustls-webpki's
//! judgement of chains. Names and defaults are Envoy's (docs/TLS.md).

#[cfg(test)]
extern crate self as ringway_tls; // the helpers of the tests name the crate as its users do

mod cache;
mod certificate;
mod context;
mod der;
mod error;
pub mod fuzz;
mod hello;
mod info;
mod options;
mod parameters;
mod pem;
mod record;
mod san;
mod session;
mod ticket;
mod traffic;
mod verify;

pub use certificate::{AltName, Certificate, sha256};
pub use context::{ClientContext, ServerContext, check_server_name};
pub use error::{ContextError, Failure, Part, TlsError};
pub use info::{Info, Peer};
pub use options::{ClientOptions, Clock, Identity, Parameters, Secret, ServerOptions, Tickets, Validation, Version};
pub use record::{PLAINTEXT_MAX, RECORD_MAX};
pub use san::{SanMatcher, SanPattern, SanRegex, SanType};
pub use session::{HANDSHAKE_MAX, Progress, Session, Target};
pub use traffic::Opened;

//! Configuration files to snapshots; the only room that knows protobuf and YAML.
//!
//! [`read_bootstrap`] turns a text into a [`Bootstrap`] or into every [`Problem`] it has; [`Builder`] turns its resources into
//! a snapshot that shares what did not change with the one before; [`Directory`] finds the endpoints of clusters of names;
//! [`FileWatch`] and [`SecretWatch`] say when to read again. Nothing here touches a worker, and nothing here waits but [`FileWatch::wait`], [`SecretWatch::wait`] and the
//! directory's own thread.

mod bootstrap;
mod builder;
#[expect(dead_code, unused_imports, reason = "the interface first: transports and the cache are built against it")]
mod cache;
mod compatibility;
mod dns;
mod document;
mod json;
mod message;
mod problem;
mod reader;
mod rules;
mod scalar;
mod schema;
mod secret_watch;
mod tls;
mod translate;
mod watch;

pub use bootstrap::{Bootstrap, Dump, Node, ReadOptions, Resources, Source, read_bootstrap, read_bootstrap_with};
pub use builder::{Builder, Built};
pub use dns::{Changes, Directory, DnsPlan, DnsPlans, Updates};
pub use problem::Problem;
pub use schema::has_path;
pub use secret_watch::{SecretFiles, SecretWatch, WatchedFile};
pub use tls::{CertificateFacts, ContextCertificates, TlsContexts};
pub use watch::FileWatch;

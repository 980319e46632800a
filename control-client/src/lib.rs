//! Configuration files to snapshots; the only room that knows protobuf and YAML.
//!
//! [`read_bootstrap`] turns a text into a [`Bootstrap`] or into every [`Problem`] it has; [`Builder`] turns its resources into
//! a snapshot that shares what did not change with the one before; [`Directory`] finds the endpoints of clusters of names;
//! [`FileWatch`] and [`SecretWatch`] say when to read again. Nothing here touches a worker, and nothing here waits but [`FileWatch::wait`], [`SecretWatch::wait`] and the
//! directory's own thread.

mod api_source;
mod bootstrap;
mod brought;
mod builder;
mod cache;
mod chance;
mod client_status;
mod compatibility;
mod directories;
mod discovery;
mod dns;
mod document;
mod files;
pub mod fuzz;
mod grpc;
mod json;
mod lrs;
mod message;
mod problem;
mod race;
mod reader;
mod redaction;
mod rest;
mod rules;
mod runtime;
mod scalar;
mod schema;
mod secret_watch;
mod source_watch;
mod tls;
mod translate;
mod watch;
mod wire;
mod xds;

pub use api_source::ApiSource;
pub use bootstrap::{
    Bootstrap, Dump, Node, NodeOptions, ReadOptions, Resources, Source, read_bootstrap, read_bootstrap_with,
};
pub use brought::{Brought, Failure};
pub use builder::{Builder, Built};
pub use cache::{
    Cache, ClusterParts, ConfigSource, Counted, ExtensionEvent, Kind, Moment, Names, Outcome, Refused, Retried, Roots,
    RoutesEvent, Scope, Settled, ShownError, ShownResource, ShownVersion, Subscription, Verdict, Wait,
};
pub use client_status::{ClientResourceStatus, ClientStatusRequest, client_status, serve_client_status};
pub use directories::WatchedFile;
pub use dns::{Changes, Directory, DnsPlan, DnsPlans, Updates};
pub use files::Files;
pub use grpc::server::Accepted;
pub use lrs::{ClusterLoad, LoadReportEvent, LoadReporter, LoadReports, LocalityLoad, Wanted};
pub use problem::Problem;
pub use runtime::Runtime;
pub use schema::has_path;
pub use secret_watch::{SecretFiles, SecretWatch};
pub use source_watch::{SourceFiles, SourceWatch};
pub use tls::{CertificateFacts, ContextCertificates, TlsContexts};
pub use watch::FileWatch;
pub use xds::{ControlPlane, Line, Streams};

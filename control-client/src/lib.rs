//! Configuration files to snapshots; the only room that knows protobuf and YAML.
//!
//! [`read_bootstrap`] turns a text into a [`Bootstrap`] or into every [`Problem`] it has; [`Builder`] turns its resources into
//! a snapshot that shares what did not change with the one before; [`Directory`] finds the endpoints of clusters of names;
//! [`FileWatch`] says when to read again. Nothing here touches a worker, and nothing here waits but [`FileWatch::wait`] and the
//! directory's own thread.

mod bootstrap;
mod builder;
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
mod translate;
mod watch;

pub use bootstrap::{Bootstrap, Dump, Node, ReadOptions, Resources, Source, read_bootstrap};
pub use builder::{Builder, Built};
pub use dns::{Changes, Directory, DnsPlan, DnsPlans, Updates};
pub use problem::Problem;
pub use schema::has_path;
pub use watch::FileWatch;

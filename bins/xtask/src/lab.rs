//! What judges are built from: a proxy process, origins, clients, configuration text, chance from a seed.
//!
//! Plain std sockets and threads: slow and easy to trust. Knows nothing of any one judge.

pub(crate) mod chance;
pub(crate) mod config;
pub(crate) mod counted;
pub(crate) mod either;
pub(crate) mod h2;
pub(crate) mod host;
pub(crate) mod http;
pub(crate) mod interrupted;
pub(crate) mod load;
pub(crate) mod namespace;
pub(crate) mod openssl;
pub(crate) mod origin;
pub(crate) mod pace;
pub(crate) mod pattern;
pub(crate) mod peer;
pub(crate) mod proxy;
pub(crate) mod quota_group;

//! The engine: where what we want (model), what bytes mean (protocols) and how bytes move (runtime) meet.
//!
//! One request goes down this list and its response comes back up (docs/LIFE_OF_A_REQUEST.md):
//!
//! | module | its noun |
//! |---|---|
//! | [`commit`] | the control side: staging, the one store, adoption, retirement, draining |
//! | `mailbox` | a worker's main task: it does what the control side says |
//! | `listen` | the accept loop of one socket |
//! | `downstream` | one client connection's task: idle, in an exchange, lingering |
//! | `decision` | what is to be done with a request, from its head, without waiting |
//! | `age` | how long a client's connection may live |
//! | `prepare` | what is made of a request's head before anything looks at it |
//! | [`explain`] | which way a request would take
//! | `exchange` | one request and its response |
//! | `retry` | what one exchange knows of its tries |
//! | `retry_limit` | how many retries the process may have under way towards a cluster |
//! | `kept` | the part of a body that may have to be sent again |
//! | `relay` | one body on its way, in either direction |
//! | `reply` | answers of our own |
//! | `local_reply` | what is made of answers of our own before they are sent |
//! | `hop` | what this hop does to heads whatever their route |
//! | `side` | one peer of an exchange: a connection of HTTP/1, or one stream of HTTP/2 |
//! | `http2` | connections of HTTP/2 as tasks, and their streams |
//! | `connection` | a client connection as its exchanges see it |
//! | `worker` | one core: its view, its connections, its sockets |
//! | `tcp` | one raw connection |
//! | `handoff` | a fresh connection on its way to a lighter worker |
//! | `lighter` | which worker that is |
//! | `run` | one socket being accepted from |
//! | `membership` | what a commit says of a cluster's endpoints in the statistics |
//! | `message` | what the control side and a worker say to each other |
//! | `view` | one generation of the configuration, as one core sees it |
//! | `active` | requests under way to an endpoint, as all workers count them |
//! | `balance` | the endpoint for a request |
//! | `hash_policy` | what of a request says which endpoint that is |
//! | `original_dst` | the endpoints of an ORIGINAL_DST cluster |
//! | `pool` | this core's connections to one endpoint |
//! | `date` | the time of day for `Date` fields |
//! | `breakers` | a cluster's circuit breakers on this core |
//! | `by_chain` | what a listener has of each of its filter chains |
//! | `lease` | a limit of the whole process, used without contention |
//! | `record` | what one exchange remembers for its access logs |
//! | `told_heads` | the fields of its heads that they ask for |
//! | [`log`](Logs) | a worker's access log |
//! | `log_ring` | lines on their way to the thread that writes them |
//! | `uuid` | version 4 UUIDs |
//! | `limits` | every bound of this crate |
//!
//! It never sees protobuf, files or DNS, takes no lock and makes no blocking call on the way of a request.

mod active;
mod age;
mod arrival;
mod arrived;
mod balance;
mod breakers;
mod by_chain;
mod client;
pub mod client_cert;
mod commit;
mod complaints;
mod connecting;
mod connection;
mod connection_filter;
mod core_cluster;
mod date;
mod decision;
mod downstream;
mod establish;
mod exchange;
mod explain;
mod fields;
mod gathered;
mod grpc_reply;
mod grpc_stats;
mod grpc_timeout;
mod handoff;
mod handshake;
mod hash_policy;
mod hop;
mod http2;
mod inspector_stats;
mod kept;
mod lease;
mod lighter;
mod limits;
mod lines;
mod listen;
mod load;
mod local_reply;
mod log;
mod log_ring;
mod mailbox;
mod membership;
mod message;
mod original_dst;
mod outbox;
mod pool;
mod prepare;
mod record;
mod registered;
mod relay;
mod reply;
mod response_edit;
mod retry;
mod retry_limit;
mod routing;
mod run;
mod side;
mod socket;
mod tcp;
mod tls;
mod tls_texts;
mod told_connection;
mod told_heads;
mod tunnel;
mod uuid;
mod view;
mod worker;
mod written;

pub use commit::{CommitReport, Engine, Options, StageProblem, Staged, StartError, WorkerRow};
pub use explain::{ClusterStep, End, EndpointStep, Explanation, Peer, Question, Step, explain};
pub use lighter::Balance;
pub use limits::Limits;
pub use log::Logs;
pub use log_ring::LogReader;

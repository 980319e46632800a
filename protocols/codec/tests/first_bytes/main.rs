//! What a connection begins with: a PROXY header, a ClientHello, HTTP.

mod client_hello;
mod corpus;
mod http_inspector;
mod proxy_protocol;

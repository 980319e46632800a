//! Listeners of raw connections: chains whose origins say the chain's name first and then send back what they get, and what clients begin with.

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use super::client::Client;
use super::config::LOGS_SOON;
use super::process::Proxy;

/// A bootstrap with one listener `main`, whose chains forward raw bytes.
#[derive(Clone, Default)]
pub(crate) struct Chains {
    listener: String,
    chains: String,
    default: String,
    clusters: String,
    tcp: String,
    socket: String,
}

impl Chains {
    /// Without a chain.
    pub(crate) fn new() -> Chains {
        Chains::default()
    }

    /// Adds a field of the listener.
    pub(crate) fn listener(mut self, field: &str) -> Chains {
        let _ = writeln!(self.listener, "    {field}");
        self
    }

    /// Adds a chain with this match (fields in flow style), these filters before the last (each with a comma behind it), and these fields of its cluster.
    pub(crate) fn chain(mut self, name: &str, matching: &str, before: &str, cluster: &str) -> Chains {
        let filters = self.forwards(name, before, cluster);
        let _ = writeln!(
            self.chains,
            "    - {{name: {name}, filter_chain_match: {{{matching}}}, {filters}{}}}",
            self.socket
        );
        self
    }

    /// Adds fields to the `tcp_proxy` of the chains that follow.
    pub(crate) fn tcp(mut self, fields: &str) -> Chains {
        let _ = write!(self.tcp, ", {fields}");
        self
    }

    /// Gives the chains that follow this `transport_socket`.
    pub(crate) fn secured(mut self, socket: &str) -> Chains {
        self.socket = format!(", {socket}");
        self
    }

    /// Adds `default_filter_chain`.
    pub(crate) fn default_chain(mut self, name: &str) -> Chains {
        let filters = self.forwards(name, "", "");
        let _ = writeln!(self.default, "    default_filter_chain: {{name: {name}, {filters}}}");
        self
    }

    fn forwards(&mut self, name: &str, before: &str, cluster: &str) -> String {
        let origin = origin(name);
        let _ = write!(
            self.clusters,
            "  - name: {name}\n    connect_timeout: 20s\n{cluster}    load_assignment: {{cluster_name: {name}, endpoints: [{{lb_endpoints: \
             [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {}}}}}}}}}]}}]}}\n",
            origin.port()
        );
        format!(
            "filters: [{before}{{name: tcp, typed_config: {{\"@type\": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, \
             stat_prefix: {name}, cluster: {name}, max_connect_attempts: 10{}}}}}]",
            self.tcp
        )
    }

    /// The file.
    pub(crate) fn yaml(&self) -> String {
        let Chains { listener, chains, default, clusters, .. } = self;
        format!(
            "admin: {{address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}}}\nstatic_resources:\n  listeners:\n  - name: main\n    \
             address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}\n{listener}    filter_chains:\n{chains}{default}  clusters:\n{clusters}"
        )
    }

    /// A proxy of this file with one worker that writes its logs soon.
    #[track_caller]
    pub(crate) fn start_logging(&self, io: &str) -> Proxy {
        Proxy::start_yaml(io, &self.yaml(), LOGS_SOON)
    }

    /// A proxy of this file with so many workers.
    #[track_caller]
    pub(crate) fn start(&self, io: &str, workers: usize) -> Proxy {
        Proxy::start_yaml(io, &self.yaml(), &["--concurrency", &workers.to_string()])
    }
}

/// Says `name` and a line's end, and then sends back what it gets.
fn origin(name: &str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port of the kernel's choice");
    let address = listener.local_addr().expect("an address");
    let line = format!("{name}\n");
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let line = line.clone();
            thread::spawn(move || {
                let mut bytes = [0; 4096];
                let mut said = stream.write_all(line.as_bytes()).is_ok();
                while said {
                    let count = stream.read(&mut bytes).unwrap_or(0);
                    said = count > 0 && stream.write_all(&bytes[..count]).is_ok();
                }
            });
        }
    });
    address
}

/// The chain that answers, without its line's end; `closed` where none does.
pub(crate) fn chain_of(client: &mut Client) -> String {
    match client.until(b"\n") {
        Ok(line) => String::from_utf8_lossy(&line).trim_end().to_owned(),
        Err(error) => {
            assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "neither an answer nor an end");
            "closed".to_owned()
        }
    }
}

/// A statistic of the listener `main`.
pub(crate) fn listener_stat(proxy: &Proxy, name: &str) -> u64 {
    proxy.stat(&format!("listener.{}.{name}", proxy.address.to_string().replace(':', "_")))
}

/// An extension in flow style: its name, its type below `envoy.extensions.filters`, its fields.
pub(crate) fn filter(name: &str, kind: &str, fields: &str) -> String {
    let comma = if fields.is_empty() { "" } else { ", " };
    format!(
        "{{name: {name}, typed_config: {{\"@type\": type.googleapis.com/envoy.extensions.filters.{kind}{comma}{fields}}}}}"
    )
}

/// The listener filter `tls_inspector`.
pub(crate) fn tls_inspector() -> String {
    filter("envoy.filters.listener.tls_inspector", "listener.tls_inspector.v3.TlsInspector", "")
}

/// The listener filter `http_inspector`.
pub(crate) fn http_inspector() -> String {
    filter("envoy.filters.listener.http_inspector", "listener.http_inspector.v3.HttpInspector", "")
}

/// The listener filter `proxy_protocol`.
pub(crate) fn proxy_protocol(fields: &str) -> String {
    filter("envoy.filters.listener.proxy_protocol", "listener.proxy_protocol.v3.ProxyProtocol", fields)
}

/// A header of version 2 for TCP over IPv4 with these TLVs; without addresses: LOCAL.
pub(crate) fn proxy_v2(addresses: Option<(&str, &str)>, tlvs: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    if let Some((source, destination)) = addresses {
        let (source, destination): (SocketAddr, SocketAddr) = (source.parse().unwrap(), destination.parse().unwrap());
        for address in [source, destination] {
            let std::net::IpAddr::V4(ip) = address.ip() else { panic!("IPv4") };
            body.extend(ip.octets());
        }
        body.extend(source.port().to_be_bytes());
        body.extend(destination.port().to_be_bytes());
    }
    body.extend(tlvs);
    let (command, family) = if addresses.is_some() { (0x21, 0x11) } else { (0x20, 0x00) };
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([command, family]);
    header.extend(list::<2>(&body));
    header
}

/// A list behind its length in `N` bytes.
fn list<const N: usize>(bytes: &[u8]) -> Vec<u8> {
    let len = u32::try_from(bytes.len()).expect("a short list").to_be_bytes();
    [&len[4 - N..], bytes].concat()
}

/// A record with a ClientHello with this server name (empty: none) and these protocols. RFC 8446 §4.1.2.
pub(crate) fn client_hello(server_name: &str, protocols: &[&str]) -> Vec<u8> {
    let mut extensions = Vec::new();
    let mut add = |kind: u16, content: Vec<u8>| {
        extensions.extend(kind.to_be_bytes());
        extensions.extend(list::<2>(&content));
    };
    if !server_name.is_empty() {
        let name = [&[0], list::<2>(server_name.as_bytes()).as_slice()].concat();
        add(0, list::<2>(&name));
    }
    if !protocols.is_empty() {
        let names: Vec<u8> = protocols.iter().flat_map(|name| list::<1>(name.as_bytes())).collect();
        add(16, list::<2>(&names));
    }
    add(43, list::<1>(&[3, 4, 3, 3]));
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend(list::<1>(&[]));
    body.extend(list::<2>(&[0x13, 0x01, 0xc0, 0x2f]));
    body.extend(list::<1>(&[0]));
    body.extend(list::<2>(&extensions));
    let message = [&[1], list::<3>(&body).as_slice()].concat();
    [&[22, 3, 1], list::<2>(&message).as_slice()].concat()
}

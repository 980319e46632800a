//! HAProxy and nginx as proxies beside ours, one thread each, with the settings of peerbench.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use super::load::on;
use super::pace::wait_for;
use crate::{command, setup};

/// A running peer; ends when dropped.
#[derive(Debug)]
pub(crate) struct Peer {
    child: Child,
    /// Where it listens.
    pub(crate) address: SocketAddr,
}

impl Peer {
    /// HAProxy before this origin; `None` where it is not installed.
    pub(crate) fn haproxy(folder: &Path, origin: SocketAddr, cpu: Option<usize>) -> Result<Option<Peer>, String> {
        let address = free()?;
        let text = format!(
            "global\n  nbthread 1\n  maxconn 9000\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 600s\n  \
             timeout server 60s\n  http-reuse always\nfrontend h1\n  bind {address} backlog 4096\n  default_backend b\n\
             backend b\n  server s {origin} pool-max-conn 512\n"
        );
        start("haproxy", "-f", folder, &text, address, cpu)
    }

    /// HAProxy with HTTP/2 clients by prior knowledge; `None` where it is not installed.
    pub(crate) fn haproxy_http2(folder: &Path, origin: SocketAddr) -> Result<Option<Peer>, String> {
        let address = free()?;
        let text = format!(
            "global\n  nbthread 1\ndefaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
             frontend h2\n  bind {address} proto h2\n  default_backend b\nbackend b\n  server s {origin}\n"
        );
        start("haproxy", "-f", folder, &text, address, None)
    }

    /// nginx before this origin; `None` where it is not installed.
    pub(crate) fn nginx(folder: &Path, origin: SocketAddr, cpu: Option<usize>) -> Result<Option<Peer>, String> {
        let address = free()?;
        let at = folder.display();
        let text = format!(
            "worker_processes 1; daemon off; pid {at}/peer-nginx.pid; error_log {at}/peer-nginx.err;\n\
             events {{ worker_connections 8192; }}\n\
             http {{ access_log off; keepalive_requests 100000000; keepalive_timeout 600s;\n\
             upstream b {{ server {origin}; keepalive 512; keepalive_requests 100000000; }}\n\
             server {{ listen {address} reuseport backlog=4096; location / {{ proxy_pass http://b; proxy_http_version 1.1; \
             proxy_set_header Connection \"\"; }} }} }}\n"
        );
        start("nginx", "-c", folder, &text, address, cpu)
    }
}

fn free() -> Result<SocketAddr, String> {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr());
    free.map_err(|e| format!("no free port: {e}"))
}

fn start(
    program: &str,
    option: &str,
    folder: &Path,
    text: &str,
    address: SocketAddr,
    cpu: Option<usize>,
) -> Result<Option<Peer>, String> {
    if !setup::there_is(program) {
        return Ok(None);
    }
    let file = folder.join(format!("peer-{program}.conf"));
    std::fs::write(&file, text).map_err(|e| format!("cannot write {}: {e}", file.display()))?;
    let mut command = on(cpu, Path::new(program));
    command.arg(option).arg(&file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().map_err(|e| format!("cannot start {program}: {e}"))?;
    let peer = Peer { child, address };
    wait_for(program, Duration::from_secs(10), || TcpStream::connect(address).ok())?;
    Ok(Some(peer))
}

impl Drop for Peer {
    fn drop(&mut self) {
        command::signal("TERM", self.child.id());
        let _ended = self.child.wait();
    }
}

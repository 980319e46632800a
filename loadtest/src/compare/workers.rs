//! How connections lie on a proxy's workers: asked of it half way through a round, in whichever way it tells.

use std::fs;
use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// Who tells of a proxy's workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Workers {
    /// Its admin server: Ringway's `/workers`, or Envoy's statistics of each.
    Admin(SocketAddr),
    /// HAProxy's stats socket, which knows the thread of each connection to this port.
    Stats { socket: SocketAddr, port: u16 },
    /// The kernel: workers are processes, the children of the first of these, and have the sockets of their connections to this port.
    Processes { all: Vec<u32>, port: u16 },
}

/// Who does not answer within this is not asked again.
const ADMIN_MAX: Duration = Duration::from_secs(1);
/// More workers than any host has CPUs: a larger number is none.
const WORKERS_MAX: usize = 4096;

impl Workers {
    /// Connections of clients that each of so many workers has now; `None`: nobody tells.
    pub(crate) fn connections(&self, workers: usize) -> Option<Vec<u64>> {
        match self {
            Workers::Admin(admin) => {
                let ringway = get(*admin, "/workers").and_then(|text| of_ringway(&text));
                ringway.or_else(|| of_envoy(&get(*admin, "/stats?filter=worker_.*downstream_cx_active")?))
            }
            Workers::Stats { socket, port } => of_haproxy(&said(*socket, "show fd\n")?, *port, workers),
            Workers::Processes { all, port } => {
                let sockets = established(&fs::read_to_string("/proc/net/tcp").ok()?, *port);
                // One process alone has no children: it works itself.
                let workers = if all.len() > 1 { &all[1..] } else { all };
                Some(workers.iter().map(|process| sockets_of(*process, &sockets)).collect())
            }
        }
    }
}

fn of_ringway(text: &str) -> Option<Vec<u64>> {
    let json: Value = serde_json::from_str(text).ok()?;
    json["workers"].as_array()?.iter().map(|worker| worker["connections"].as_u64()).collect()
}

/// Lines like `listener.127.0.0.1_80.worker_0.downstream_cx_active: 5`, summed for each worker.
fn of_envoy(text: &str) -> Option<Vec<u64>> {
    let mut workers = Vec::new();
    for line in text.lines() {
        let Some((name, value)) = line.rsplit_once(": ") else { continue };
        let Some(rest) = name.split_once(".worker_").map(|(_, rest)| rest) else { continue };
        let Some(number) = rest.strip_suffix(".downstream_cx_active").and_then(|number| number.parse().ok()) else {
            continue;
        };
        if number >= WORKERS_MAX {
            return None;
        }
        if workers.len() <= number {
            workers.resize(number + 1, 0);
        }
        workers[number] += value.trim().parse::<u64>().ok()?;
    }
    (!workers.is_empty()).then_some(workers)
}

/// Lines of `show fd`, in which a connection of a client has `(sock_conn_iocb)`, `tmask=0x2` (a bit for its thread), `lport=80` and `fe=NAME`.
fn of_haproxy(text: &str, port: u16, workers: usize) -> Option<Vec<u64>> {
    let mut counts = vec![0; workers];
    for line in text.lines().filter(|line| line.contains("(sock_conn_iocb)")) {
        let word = |name: &str| line.split_whitespace().find_map(|word| word.strip_prefix(name));
        if word("lport=") != Some(&port.to_string()) || word("fe=").is_none() {
            continue;
        }
        let mask = u64::from_str_radix(word("tmask=0x")?, 16).ok()?;
        *counts.get_mut(mask.trailing_zeros() as usize)? += 1;
    }
    Some(counts)
}

/// Inodes of the sockets that are connected to this port of 127.0.0.1 as servers (proc_pid_net(5): local address, remote, state, ..., inode).
fn established(text: &str, port: u16) -> Vec<String> {
    let local = format!("0100007F:{port:04X}");
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let ours = lines.filter(|fields| fields.get(1) == Some(&local.as_str()) && fields.get(3) == Some(&"01"));
    ours.filter_map(|fields| Some((*fields.get(9)?).to_owned())).collect()
}

/// How many of these a process has.
fn sockets_of(process: u32, sockets: &[String]) -> u64 {
    let links = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    let links = links.filter_map(|entry| fs::read_link(entry.path()).ok());
    let inode = |link: &std::path::Path| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']').map(str::to_owned);
    links.filter_map(|link| inode(&link)).filter(|inode| sockets.contains(inode)).count() as u64
}

/// What is said on a connection, until its end, to somebody who says this.
fn said(address: SocketAddr, words: &str) -> Option<String> {
    let mut stream = TcpStream::connect_timeout(&address, ADMIN_MAX).ok()?;
    stream.set_read_timeout(Some(ADMIN_MAX)).ok()?;
    stream.write_all(words.as_bytes()).ok()?;
    let mut text = String::new();
    let _end = BufReader::new(stream).read_to_string(&mut text); // a reset behind the answer changes nothing of it
    Some(text)
}

/// The body of an answer of an admin server; `None`: there is none, or it is no 200. Envoy's does not speak HTTP/1.0.
fn get(admin: SocketAddr, path: &str) -> Option<String> {
    body(&said(admin, &format!("GET {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n"))?)
}

fn body(answer: &str) -> Option<String> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let is_good = head.split(' ').nth(1)? == "200";
    let is_chunked = head.lines().any(|line| line.eq_ignore_ascii_case("transfer-encoding: chunked"));
    is_good.then(|| if is_chunked { joined(body) } else { Some(body.to_owned()) })?
}

/// A body without its chunks' sizes (RFC 9112 §7.1).
fn joined(mut chunks: &str) -> Option<String> {
    let mut body = String::new();
    loop {
        let (size, rest) = chunks.split_once("\r\n")?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.push_str(rest.get(..size)?);
        chunks = rest.get(size..)?.strip_prefix("\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn connections_of_workers_are_read() {
        assert_eq!(of_ringway(r#"{"workers": [{"connections": 3}, {"connections": 5}]}"#), Some(vec![3, 5]));
        assert_eq!(of_ringway("no"), None);
        let stats = "listener.127.0.0.1_1.worker_1.downstream_cx_active: 4\nlistener.127.0.0.1_1.worker_0.downstream_cx_active: 2\n\
                     listener.127.0.0.1_2.worker_1.downstream_cx_active: 1\nlistener.admin.main_thread.downstream_cx_active: 1\n";
        assert_eq!((of_envoy(stats), of_envoy("")), (Some(vec![2, 5]), None));
    }

    /// A listening socket, clients of threads 0 and 1, one towards the origin, and one of another port.
    #[test]
    fn threads_of_haproxy_are_read() {
        let text = "  5 : st=0x1 tmask=0x3 iocb=0x1(sock_accept_iocb) l.st=RDY fe=h1 fam=ipv4 lport=80\n\
                    13 : st=0x1 tmask=0x1 iocb=0x1(sock_conn_iocb) back=0 fam=ipv4 lport=80 rport=5 fe=h1 mux=H1\n\
                    14 : st=0x1 tmask=0x2 iocb=0x1(sock_conn_iocb) back=0 fam=ipv4 lport=80 rport=6 fe=h1 mux=H1\n\
                    15 : st=0x1 tmask=0x2 iocb=0x1(sock_conn_iocb) back=0 fam=ipv4 lport=80 rport=7 fe=h1 mux=H1\n\
                    16 : st=0x1 tmask=0x2 iocb=0x1(sock_conn_iocb) back=1 fam=ipv4 lport=80 px=h1-origin sv=origin mux=H1\n\
                    17 : st=0x1 tmask=0x2 iocb=0x1(sock_conn_iocb) back=0 fam=ipv4 lport=8080 rport=7 fe=h2 mux=H2\n";
        assert_eq!(of_haproxy(text, 80, 2), Some(vec![1, 2]));
        assert_eq!((of_haproxy(text, 80, 1), of_haproxy("", 80, 2)), (None, Some(vec![0, 0])));
    }

    #[test]
    fn answers_are_read_with_chunks_and_without() {
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\na: 1\r\n3;x\r\n\nb:\r\n0\r\n\r\n";
        assert_eq!(body(chunked).as_deref(), Some("a: 1\nb:"));
        assert_eq!(body("HTTP/1.1 200 OK\r\n\r\nall").as_deref(), Some("all"));
        assert_eq!(body("HTTP/1.1 426 Upgrade Required\r\n\r\nno"), None);
        assert_eq!(body("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\ncut"), None);
    }

    #[test]
    fn sockets_of_this_process_are_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let clients = [(); 3].map(|()| TcpStream::connect(address).unwrap());
        let servers = [(); 3].map(|()| listener.accept().unwrap());
        let told = Workers::Processes { all: vec![std::process::id()], port: address.port() };
        assert_eq!(told.connections(1), Some(vec![3]), "neither the clients' nor the one that listens");
        drop((clients, servers));
    }
}

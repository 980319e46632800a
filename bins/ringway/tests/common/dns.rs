//! A name server that answers as it is told, over UDP and TCP on one port.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;

use super::wait_for;

/// What is answered for a name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    /// All its addresses; a question gets those of its family.
    pub(crate) addresses: Vec<IpAddr>,
    /// Seconds.
    pub(crate) ttl: u32,
    /// RFC 1035 §4.1.1: 2 is SERVFAIL, 3 NXDOMAIN.
    pub(crate) code: u8,
    /// The name that it is another name of.
    pub(crate) alias: Option<&'static str>,
    /// Over UDP there is no room for the answer.
    pub(crate) truncated: bool,
    /// Nothing is answered at all.
    pub(crate) silent: bool,
}

impl Answer {
    /// These addresses, for a long time.
    pub(crate) fn of(addresses: &[&str]) -> Answer {
        let addresses = addresses.iter().map(|text| text.parse().expect("an address")).collect();
        Answer { addresses, ttl: 3600, ..Answer::default() }
    }
}

/// A running name server. Its threads end with the test's process.
pub(crate) struct NameServer {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    answers: Mutex<HashMap<String, Answer>>,
    /// Name, type, and whether over TCP.
    questions: Mutex<Vec<(String, u16, bool)>>,
}

/// RFC 1035 §3.2.2 and RFC 3596: types of records.
pub(crate) const A: u16 = 1;
pub(crate) const AAAA: u16 = 28;
const CNAME: u16 = 5;

impl NameServer {
    /// Starts one that knows no name.
    pub(crate) fn start() -> NameServer {
        let (udp, tcp) = wait_for("a port for both UDP and TCP", || {
            let udp = UdpSocket::bind("127.0.0.1:0").ok()?;
            let tcp = TcpListener::bind(udp.local_addr().ok()?).ok()?;
            Some((udp, tcp))
        });
        let address = udp.local_addr().expect("bound");
        let shared = Arc::new(Shared::default());
        let server = NameServer { address, shared: shared.clone() };
        let over_tcp = shared.clone();
        thread::spawn(move || {
            let mut packet = [0; 4096];
            while let Ok((size, peer)) = udp.recv_from(&mut packet) {
                if let Some(answer) = shared.answer(&packet[..size], false) {
                    let _ = udp.send_to(&answer, peer);
                }
            }
        });
        thread::spawn(move || {
            for stream in tcp.incoming().flatten() {
                let shared = over_tcp.clone();
                thread::spawn(move || serve(stream, &shared));
            }
        });
        server
    }

    /// Says what is answered for a name from now on.
    pub(crate) fn set(&self, name: &str, answer: Answer) {
        self.shared.answers.lock().expect("no panic").insert(name.to_owned(), answer);
    }

    /// All questions so far: name, type, and whether over TCP.
    pub(crate) fn questions(&self) -> Vec<(String, u16, bool)> {
        self.shared.questions.lock().expect("no panic").clone()
    }

    /// Waits for one more question about a name.
    #[track_caller]
    pub(crate) fn wait_question(&self, name: &str) {
        let count = || self.questions().iter().filter(|question| question.0 == name).count();
        let before = count();
        wait_for(name, || (count() > before).then_some(()));
    }

    /// The bootstrap's lines that name this server.
    pub(crate) fn resolver(&self, more: &str) -> String {
        let (ip, port) = (self.address.ip(), self.address.port());
        format!(
            "typed_dns_resolver_config: {{name: cares, typed_config: {{'@type': type.googleapis.com/envoy.extensions.network.\
             dns_resolver.cares.v3.CaresDnsResolverConfig, resolvers: [{{socket_address: {{address: {ip}, port_value: {port}, \
             protocol: UDP}}}}], dns_resolver_options: {{no_default_search_domain: true}}{more}}}}}"
        )
    }
}

fn serve(mut stream: TcpStream, shared: &Shared) -> io::Result<()> {
    loop {
        // RFC 1035 §4.2.2: two octets say how long the message is.
        let mut size = [0; 2];
        stream.read_exact(&mut size)?;
        let mut packet = vec![0; u16::from_be_bytes(size).into()];
        stream.read_exact(&mut packet)?;
        if let Some(answer) = shared.answer(&packet, true) {
            stream.write_all(&(answer.len() as u16).to_be_bytes())?;
            stream.write_all(&answer)?;
        }
    }
}

impl Shared {
    fn answer(&self, question: &[u8], tcp: bool) -> Option<Vec<u8>> {
        let mut labels = vec![];
        let mut at = 12;
        while *question.get(at)? > 0 {
            let size = usize::from(question[at]);
            labels.push(String::from_utf8_lossy(question.get(at + 1..=at + size)?).to_lowercase());
            at += size + 1;
        }
        let kind = u16::from_be_bytes([*question.get(at + 1)?, *question.get(at + 2)?]);
        let name = labels.join(".");
        self.questions.lock().expect("no panic").push((name.clone(), kind, tcp));
        let known = self.answers.lock().expect("no panic").get(&name).cloned();
        let Answer { addresses, ttl, code, alias, truncated, silent } =
            known.unwrap_or(Answer { code: 3, ..Answer::default() });
        if silent {
            return None;
        }
        let truncated = truncated && !tcp;
        let mut records: Vec<Vec<u8>> = vec![];
        let mut owner = vec![0xc0, 12]; // a pointer to the question's name
        let mut record = |owner: &[u8], kind: u16, data: &[u8]| {
            let head = [kind.to_be_bytes(), 1u16.to_be_bytes()].concat();
            records.push([owner, &head, &ttl.to_be_bytes(), &(data.len() as u16).to_be_bytes(), data].concat());
        };
        if let Some(alias) = alias {
            let target = alias.split('.').flat_map(|label| [&[label.len() as u8], label.as_bytes()].concat());
            let target: Vec<u8> = target.chain([0]).collect();
            record(&owner, CNAME, &target);
            owner = target;
        }
        for address in &addresses {
            match address {
                IpAddr::V4(address) if kind == A => record(&owner, A, &address.octets()),
                IpAddr::V6(address) if kind == AAAA => record(&owner, AAAA, &address.octets()),
                _ => {}
            }
        }
        if truncated {
            records.clear();
        }
        let flags = 0x8180 | u16::from(code) | if truncated { 0x200 } else { 0 };
        let counts = [flags, 1, records.len() as u16, 0, 0].map(u16::to_be_bytes).concat();
        Some([&question[..2], &counts, &question[12..at + 5], &records.concat()].concat())
    }
}

//! TLS without I/O: records of open sessions sealed and opened, and whole handshakes, both sides.

use std::hint::black_box;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use ringway_benches::case::{Case, Work};
use ringway_tls::{
    ClientContext, ClientOptions, Identity, Opened, Parameters, Secret, ServerContext, ServerOptions, Session, Target,
    Version,
};

/// The suite.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for version in [Version::Tls13, Version::Tls12] {
        for size in [100usize, 1024, 16_384] {
            let name = format!("{}: seal and open a record/{size}", version.name());
            let work = Work::Bytes(size as u64);
            cases.push(Case::new("tls", name, move || records(version, size)).doing(work));
        }
    }
    let handshake = |name, kept| Case::new("tls", name, move || handshakes(kept)).counted_over(20);
    cases.push(handshake("TLSv1.3: handshake, both sides", 0));
    cases.push(handshake("TLSv1.3: handshake of a session resumed, both sides", 1));
    cases
}

/// A server and its client, which keeps so many sessions.
fn contexts(version: Version, max_session_keys: u32) -> (Arc<ClientContext>, Arc<ServerContext>) {
    let key = KeyPair::generate().expect("a key");
    let parameters = CertificateParams::new(vec!["example.com".to_owned()]).expect("a name");
    let certificate_chain = parameters.self_signed(&key).expect("a certificate").pem().into_bytes();
    let own = Identity { certificate_chain, private_key: Secret::new(key.serialize_pem()) };
    let parameters = Parameters { version_min: version, version_max: version, ..Parameters::default() };
    let server = ServerOptions { certificates: vec![own], parameters: parameters.clone(), ..ServerOptions::default() };
    let client = ClientOptions { parameters, max_session_keys, ..ClientOptions::default() };
    (ClientContext::new(&client).expect("a client"), ServerContext::new(&server).expect("a server"))
}

/// Both ends of an open session.
struct Pair {
    client: Session,
    server: Session,
}

impl Pair {
    fn open(client: &Arc<ClientContext>, server: &Arc<ServerContext>) -> Pair {
        let target = Target { server_name: Some("example.com"), endpoint: b"", subject_alt_names: &[], alpn: &[] };
        let (client, server) = (Session::client(client, target).expect("a name"), Session::server(server));
        let mut pair = Pair { client, server };
        let (mut up, mut down) = (Vec::new(), Vec::new());
        let [mut client_done, mut server_done] = [false; 2];
        while !(client_done && server_done) {
            if !client_done {
                client_done = turn(&mut pair.client, &mut down, &mut up);
            }
            if !server_done {
                server_done = turn(&mut pair.server, &mut up, &mut down);
            }
        }
        // The tickets.
        let mut reply = Vec::new();
        while !down.is_empty() {
            let Ok(Opened::Record { consumed, .. }) = pair.client.open(&mut down, &mut reply) else {
                unreachable!("a ticket")
            };
            down.drain(..consumed);
        }
        pair
    }
}

/// One side goes on; whether it is done.
fn turn(session: &mut Session, input: &mut Vec<u8>, out: &mut Vec<u8>) -> bool {
    let progress = session.handshake(input, out).expect("a handshake");
    input.drain(..progress.consumed);
    progress.done
}

fn records(version: Version, size: usize) -> impl FnMut() {
    let (client, server) = contexts(version, 0);
    let mut pair = Pair::open(&client, &server);
    let plaintext = vec![7; size];
    let mut wire = vec![0; pair.client.sealed_len(size)];
    let mut reply = Vec::new();
    move || {
        let written = pair.client.seal([black_box(&plaintext[..])], size, &mut wire).expect("sealed");
        match pair.server.open(&mut wire[..written], &mut reply) {
            Ok(Opened::Record { plaintext, .. }) => _ = black_box(wire[plaintext].len()),
            other => unreachable!("{other:?}"),
        }
    }
}

fn handshakes(kept: u32) -> impl FnMut() {
    let (client, server) = contexts(Version::Tls13, kept);
    Pair::open(&client, &server);
    move || {
        let pair = Pair::open(&client, &server);
        assert_eq!(pair.server.info().is_some_and(|info| info.resumed), kept > 0, "resumed where it was kept");
    }
}

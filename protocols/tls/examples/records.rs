//! What a record costs: `records WAY SIZE COUNT` seals and opens COUNT records of SIZE bytes, to be counted by callgrind or perf.
//!
//! `session` is this crate's; `unbuffered` is rustls' own, as a sans-IO session would drive it: a Vec and a copy each way.
//! `handshakes` makes COUNT handshakes, resumed ones if SIZE is not 0. `idle` opens COUNT pairs of sessions and says what memory one
//! takes. docs/decisions has the figures.
#![allow(clippy::print_stdout, reason = "a tool")]

#[path = "../tests/common/mod.rs"]
mod common;

use std::sync::Arc;

use common::{Authority, Leaf, Pair, client, server, target};
use ringway_tls::{ClientOptions, Opened, ServerOptions};
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, way, size, count] = arguments.as_slice() else {
        panic!("records session|unbuffered|handshakes|idle SIZE COUNT")
    };
    let (size, count) = (size.parse().expect("a size"), count.parse().expect("a count"));
    match way.as_str() {
        "session" => session(size, count),
        "unbuffered" => unbuffered(size, count),
        "idle" => idle(count),
        "handshakes" => handshakes(size, count),
        _ => panic!("which way?"),
    }
}

fn pair() -> Pair {
    let own = Authority::new("root").issue(&Leaf::default());
    let server = server(&ServerOptions { certificates: vec![own], ..ServerOptions::default() });
    let client = client(&ClientOptions { max_session_keys: 0, ..ClientOptions::default() });
    Pair::new(&client, &server, target("example.com"))
}

fn session(size: usize, count: usize) {
    let mut pair = pair();
    pair.open();
    let plaintext = vec![7; size];
    let (mut wire, mut reply) = (vec![0; 1 << 16], Vec::new());
    let mut sum = 0;
    for _ in 0..count {
        let length = pair.client.session.sealed_len(size);
        let written = pair.client.session.seal([&plaintext[..]], size, &mut wire[..length]).expect("sealed");
        match pair.server.session.open(&mut wire[..written], &mut reply) {
            Ok(Opened::Record { plaintext, .. }) => sum += usize::from(wire[plaintext.start]) + plaintext.len(),
            other => panic!("{other:?}"),
        }
    }
    println!("{sum}");
}

/// COUNT handshakes, both sides, full; resumed if SIZE is not 0.
fn handshakes(resumed: usize, count: usize) {
    let own = Authority::new("root").issue(&Leaf::default());
    let server = server(&ServerOptions { certificates: vec![own], ..ServerOptions::default() });
    let max_session_keys = u32::from(resumed != 0);
    let client = client(&ClientOptions { max_session_keys, ..ClientOptions::default() });
    let mut sum = 0;
    for _ in 0..count {
        let mut pair = Pair::new(&client, &server, target("example.com"));
        pair.open();
        sum += usize::from(pair.server.session.info().is_some_and(|info| info.resumed));
    }
    println!("{sum} of {count} resumed");
}

/// Bytes resident, from the kernel.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("pages") * 4096
}

fn idle(count: usize) {
    let own = Authority::new("root").issue(&Leaf::default());
    let server = server(&ServerOptions { certificates: vec![own], ..ServerOptions::default() });
    let client = client(&ClientOptions { max_session_keys: 0, ..ClientOptions::default() });
    let open = || {
        let mut pair = Pair::new(&client, &server, target("example.com"));
        pair.open();
        pair.client.session.take_info();
        pair.server.session.take_info();
        (pair.client.session, pair.server.session)
    };
    let mut kept: Vec<_> = (0..100).map(|_| open()).collect();
    let before = resident();
    kept.extend((0..count).map(|_| open()));
    println!("{} bytes a pair", (resident() - before) / count);
}

fn unbuffered(size: usize, count: usize) {
    let own = rcgen::generate_simple_self_signed(vec!["example.com".to_owned()]).expect("a certificate");
    let chain = vec![own.cert.der().clone()];
    let key = PrivateKeyDer::Pkcs8(own.signing_key.serialize_der().into());
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    provider.cipher_suites = vec![rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256];
    let provider = Arc::new(provider);
    let server = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain.clone(), key))
        .expect("a server");
    let mut roots = rustls::RootCertStore::empty();
    roots.add(chain[0].clone()).expect("a root");
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut server = UnbufferedServerConnection::new(Arc::new(server)).expect("a server");
    let name = ServerName::try_from("example.com").expect("a name");
    let mut client = UnbufferedClientConnection::new(Arc::new(client), name).expect("a client");
    let (mut to_server, mut to_client) = (Vec::new(), Vec::new());
    macro_rules! turn {
        ($connection:expr, $input:expr, $output:expr) => {
            loop {
                let status = $connection.process_tls_records(&mut $input);
                let discard = status.discard;
                let more = match status.state.expect("a state") {
                    ConnectionState::EncodeTlsData(mut data) => {
                        if let Err(EncodeError::InsufficientSize(wanted)) = data.encode(&mut []) {
                            let start = $output.len();
                            $output.resize(start + wanted.required_size, 0);
                            data.encode(&mut $output[start..]).expect("room");
                        }
                        true
                    }
                    ConnectionState::TransmitTlsData(data) => {
                        data.done();
                        true
                    }
                    _ => false,
                };
                $input.drain(..discard);
                if !more {
                    break;
                }
            }
        };
    }
    for _ in 0..4 {
        turn!(client, to_client, to_server);
        turn!(server, to_server, to_client);
    }
    let plaintext = vec![7; size];
    let mut wire = vec![0; 1 << 16];
    let mut sum = 0;
    for _ in 0..count {
        let written = {
            let status = client.process_tls_records(&mut []);
            let Ok(ConnectionState::WriteTraffic(mut traffic)) = status.state else { panic!("no traffic") };
            traffic.encrypt(&plaintext, &mut wire).expect("room")
        };
        let status = server.process_tls_records(&mut wire[..written]);
        let Ok(ConnectionState::ReadTraffic(mut traffic)) = status.state else { panic!("no traffic") };
        while let Some(record) = traffic.next_record() {
            let record = record.expect("a record");
            sum += usize::from(record.payload[0]) + record.payload.len();
        }
        assert!(matches!(server.process_tls_records(&mut []).state, Ok(ConnectionState::WriteTraffic(_))));
    }
    println!("{sum}");
}

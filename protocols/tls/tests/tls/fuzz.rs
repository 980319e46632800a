//! The fuzz bodies, on mutations of what really goes over the wire.

use std::path::Path;

use ringway_tls::{ClientOptions, Parameters, ServerOptions, Session, Version, fuzz};

use crate::common::{Authority, Leaf, client, dns, server, target, trusting, uri};

/// xorshift64*: the same bytes on each run.
struct Chance(u64);

impl Chance {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % below
    }
}

const ROUNDS: usize = 300;

/// The inputs of a folder, by name.
fn corpus(folder: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let entries = std::fs::read_dir(&folder).expect("the corpus is in the repository");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut all: Vec<_> =
        paths.map(|path| (path.display().to_string(), std::fs::read(&path).expect("a file"))).collect();
    all.sort();
    assert!(all.len() >= 3, "{}: a corpus", folder.display());
    all
}

/// Plays the inputs of a folder, and changes of them.
fn play(folder: &str, rounds: usize, mut body: impl FnMut(&[u8])) {
    let corpus = corpus(folder);
    corpus.iter().for_each(|(_, input)| body(input));
    let mut chance = Chance(13);
    for _ in 0..rounds {
        let (_, mut input) = corpus[chance.next(corpus.len())].clone();
        for _ in 0..1 + chance.next(4) {
            let at = chance.next(input.len() + 1);
            match chance.next(3) {
                0 => drop(input.splice(at..at, [chance.next(256) as u8])),
                1 => input.truncate(at),
                _ if at < input.len() => input[at] = chance.next(256) as u8,
                _ => input.push(chance.next(8) as u8),
            }
        }
        body(&input);
    }
}

#[test]
fn records() {
    play("corpus/records", 20 * ROUNDS, |input| _ = fuzz::records(input));
}

#[test]
fn first_flights() {
    let authority = Authority::new("root");
    let own = authority.issue(&Leaf::default());
    let server = server(&ServerOptions { certificates: vec![own], ..ServerOptions::default() });
    let client = client(&ClientOptions::default());
    play("../codec/corpus/client-hello", ROUNDS, |input| _ = fuzz::bytes(input, &|| Session::server(&server)));
    play("corpus/answer", ROUNDS, |input| _ = fuzz::bytes(input, &|| fuzz::begin(&client)));
    play("corpus/handshake", ROUNDS, |input| fuzz::changed(input, &client, &server));
}

#[test]
fn sessions() {
    let authority = Authority::new("root");
    let own = authority.issue(&Leaf::default());
    let mut chance = Chance(7);
    for version in [Version::Tls12, Version::Tls13] {
        let parameters = Parameters { version_min: version, version_max: version, ..Parameters::default() };
        let server = server(&ServerOptions {
            certificates: vec![own.clone()],
            parameters: parameters.clone(),
            validation: Some(trusting(&authority)),
            require_client_certificate: true,
            ..ServerOptions::default()
        });
        let client = client(&ClientOptions {
            certificate: Some(own.clone()),
            parameters,
            validation: Some(trusting(&authority)),
            ..ClientOptions::default()
        });
        fuzz::changed(&[], &client, &server);
        for _ in 0..ROUNDS {
            let changes: Vec<u8> = (0..1 + chance.next(3))
                .flat_map(|_| [chance.next(16) as u8, chance.next(256) as u8, chance.next(256) as u8])
                .collect();
            fuzz::changed(&changes, &client, &server);
        }
        let mut hello = Vec::new();
        Session::client(&client, target("example.com")).unwrap().handshake(&mut [], &mut hello).unwrap();
        for _ in 0..ROUNDS {
            let mut input =
                hello[..if chance.next(4) == 0 { 1 + chance.next(hello.len()) } else { hello.len() }].to_vec();
            for _ in 0..chance.next(4) {
                let at = chance.next(input.len());
                input[at] = chance.next(256) as u8;
            }
            input.extend((0..chance.next(40)).map(|_| chance.next(256) as u8));
            fuzz::bytes(&input, &|| Session::server(&server));
            fuzz::bytes(&input, &|| fuzz::begin(&client));
        }
    }
}

#[test]
fn certificates() {
    let authority = Authority::new("root");
    let names = vec![dns("a.example.com"), uri("spiffe://a/b"), rcgen::SanType::IpAddress([10, 0, 0, 1].into())];
    let leaf = authority.issue(&Leaf { names, ..Leaf::default() });
    use rustls_pki_types::{CertificateDer, pem::PemObject};
    let der = CertificateDer::from_pem_slice(&leaf.certificate_chain).unwrap();
    fuzz::certificate(&der);
    for cut in 0..der.len() {
        fuzz::certificate(&der[..cut]);
    }
    play("corpus/certificate", 20 * ROUNDS, |input| _ = fuzz::certificate(input));
}

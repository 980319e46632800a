//! Files of certificates and keys: what a change of them brings in force, what a wrong one leaves alone, and what is shown of them.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::symlink;
use std::sync::Arc;

use crate::common::config::Config;
use crate::common::dns::{Answer, NameServer};
use crate::common::process::{Proxy, TempDir};
use crate::common::{on_each_driver, uninterrupted};
use rcgen::{CertificateParams, KeyPair};
use ringway_tls::{ClientContext, ClientOptions, Opened, Parameters, Session, Target};

/// A certificate and its key, as PEM.
pub(crate) struct Pair {
    pub(crate) chain: String,
    pub(crate) key: String,
}

pub(crate) fn pair() -> Pair {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["a.example".to_owned()]).expect("a name");
    Pair { chain: params.self_signed(&key).expect("a certificate").pem(), key: key.serialize_pem() }
}

/// A listener that shows the certificate of these two files.
fn config(chain: &str, key: &str) -> Config {
    let tls = format!(
        "transport_socket: {{name: tls, typed_config: {{'@type': \
         type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext, common_tls_context: {{tls_certificates: \
         [{{certificate_chain: {{filename: {chain}}}, private_key: {{filename: {key}}}}}]}}}}}}"
    );
    Config::new().chain(&tls)
}

fn proxy(io: &str, chain: &str, key: &str) -> Proxy {
    Proxy::start_with(io, &config(chain, key), &["--concurrency", "2"])
}

/// Puts a pair where another one is, by moves.
fn renew(dir: &TempDir, pair: &Pair) {
    dir.rename_over("tls.crt", &pair.chain);
    dir.rename_over("tls.key", &pair.key);
}

/// A client of TLS that asks again and again on one connection.
pub(crate) struct Client {
    stream: TcpStream,
    session: Session,
    held: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(proxy: &Proxy) -> Client {
        Client::connect_to(proxy.address)
    }

    pub(crate) fn connect_to(address: SocketAddr) -> Client {
        let options =
            ClientOptions { parameters: Parameters::default(), max_session_keys: 0, ..ClientOptions::default() };
        let context: Arc<ClientContext> = ClientContext::new(&options).expect("a context");
        let target = Target { server_name: Some("a.example"), endpoint: b"proxy", subject_alt_names: &[], alpn: &[] };
        let session = Session::client(&context, target).expect("a session");
        let mut client = Client { stream: TcpStream::connect(address).expect("connected"), session, held: Vec::new() };
        loop {
            let mut out = Vec::new();
            let progress = client.session.handshake(&mut client.held, &mut out).expect("a handshake");
            client.held.drain(..progress.consumed);
            client.stream.write_all(&out).expect("sent");
            if progress.done {
                return client;
            }
            client.more();
        }
    }

    fn more(&mut self) {
        let mut buffer = [0; 4096];
        let size = uninterrupted(|| self.stream.read(&mut buffer)).expect("received");
        assert!(size > 0, "ended");
        self.held.extend_from_slice(&buffer[..size]);
    }

    /// The serial number of the server's certificate.
    pub(crate) fn serial(&self) -> String {
        let info = self.session.info().expect("a handshake was made");
        info.peer.as_ref().expect("a server has a certificate").certificate.serial.clone()
    }

    /// Asks; the answer is `direct`.
    pub(crate) fn ask(&mut self) {
        let request: &[u8] = b"GET /direct HTTP/1.1\r\nHost: a\r\n\r\n";
        let mut sealed = vec![0; self.session.sealed_len(request.len())];
        self.session.seal([request], request.len(), &mut sealed).expect("sealed");
        self.stream.write_all(&sealed).expect("sent");
        let mut answer = Vec::new();
        while !answer.ends_with(b"direct") {
            let mut reply = Vec::new();
            match self.session.open(&mut self.held, &mut reply).expect("opened") {
                Opened::Partial(_) => self.more(),
                Opened::Record { consumed, plaintext } => {
                    answer.extend_from_slice(&self.held[plaintext]);
                    self.held.drain(..consumed);
                }
                Opened::Closed => panic!("closed"),
            }
        }
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    }
}

/// Guards rotation: each way to replace files takes effect, and no connection notices.
#[test]
fn a_changed_file_is_shown_to_new_connections_and_old_ones_stay() {
    on_each_driver(|io| {
        let dir = TempDir::new();
        let (first, second, third, fourth) = (pair(), pair(), pair(), pair());
        let (volume, old) = (dir.0.join("..1"), dir.0.join("..2"));
        for (version, pair) in [(&volume, &first), (&old, &second)] {
            fs::create_dir(version).expect("a directory");
            fs::write(version.join("tls.crt"), &pair.chain).expect("write");
            fs::write(version.join("tls.key"), &pair.key).expect("write");
        }
        symlink("..1", dir.0.join("..data")).expect("link");
        let [chain, key] = ["tls.crt", "tls.key"].map(|name| dir.0.join(name));
        symlink("..data/tls.crt", &chain).expect("link");
        symlink("..data/tls.key", &key).expect("link");
        let mut proxy = proxy(io, chain.to_str().expect("UTF-8"), key.to_str().expect("UTF-8"));
        let mut client = Client::connect(&proxy);
        client.ask();
        let mut serials = vec![client.serial()];

        // As the kubelet does it.
        symlink("..2", dir.0.join("..data_tmp")).expect("link");
        fs::rename(dir.0.join("..data_tmp"), dir.0.join("..data")).expect("rename");
        proxy.line("generation 2 in force");
        serials.push(Client::connect(&proxy).serial());

        // Both files by a move; both links are replaced by files.
        for (path, text) in [(&chain, &third.chain), (&key, &third.key)] {
            fs::write(dir.0.join("new"), text).expect("write");
            fs::rename(dir.0.join("new"), path).expect("rename");
        }
        proxy.line("generation 3 in force");
        serials.push(Client::connect(&proxy).serial());

        // In place, and the key only when the certificate alone was seen.
        fs::write(&chain, &fourth.chain).expect("write");
        let refused = proxy.line("the private key does not belong to the certificate");
        assert!(refused.contains("tls.key") && refused.contains("private_key.filename"), "{refused}");
        serials.push(Client::connect(&proxy).serial());
        fs::write(&key, &fourth.key).expect("write");
        proxy.line("generation 4 in force");
        serials.push(Client::connect(&proxy).serial());

        assert_eq!(serials[2], serials[3], "the old pair stays");
        serials.dedup();
        assert_eq!(serials.len(), 4, "{serials:?}");
        client.ask();
        assert_eq!(proxy.stat("config.generation"), 4);
    });
}

/// A change of a certificate while another configuration waits for its names, or was refused, is one of what is in force and of what comes.
#[test]
fn a_rotation_leaves_what_waits_and_what_was_refused() {
    on_each_driver(|io| {
        let (dir, server) = (TempDir::new(), NameServer::start());
        server.set("b.test", Answer { silent: true, ..Answer::default() });
        renew(&dir, &pair());
        let [chain, key] = ["tls.crt", "tls.key"].map(|name| dir.0.join(name).display().to_string());
        let before = config(&chain, &key).top(&server.resolver(""));
        let mut proxy = Proxy::start_with(io, &before, &["--concurrency", "2"]);
        let first = Client::connect(&proxy).serial();
        let warming = before.clone().names("d", "b.test", 1, "type: STRICT_DNS\n    dns_lookup_family: V4_ONLY");
        proxy.replace(&warming.yaml());
        proxy.line("wait for their names");
        renew(&dir, &pair());
        proxy.line("wait for their names");
        server.set("b.test", Answer::of(&["127.0.0.1"]));
        proxy.line("generation 2 in force");
        assert!(proxy.admin("GET", "/clusters").text().contains("d::"));
        let second = Client::connect(&proxy).serial();
        assert_ne!(first, second);

        proxy.replace(&before.clone().to("/x", "no-such-cluster").yaml());
        proxy.line("configuration refused, the old one stays in force");
        // Read when half of it is there, a rotation is refused: that is shown until it is whole, and then the file's own faults are again.
        let new = pair();
        dir.rename_over("tls.key", &new.key);
        proxy.line("a file of certificates or keys changed: configuration refused");
        dir.rename_over("tls.crt", &new.chain);
        proxy.line("generation 3 in force");
        assert_ne!(Client::connect(&proxy).serial(), second);
        let dump = proxy.admin("GET", "/config_dump").text();
        assert!(dump.contains("no-such-cluster"), "the file is still wrong: {dump}");
    });
}

#[test]
fn certificates_are_shown_and_keys_never() {
    on_each_driver(|io| {
        let dir = TempDir::new();
        let pair = pair();
        let [chain, key] = ["a.pem", "a.key"].map(|name| dir.0.join(name));
        fs::write(&chain, &pair.chain).expect("write");
        fs::write(&key, &pair.key).expect("write");
        let mut proxy = proxy(io, chain.to_str().expect("UTF-8"), key.to_str().expect("UTF-8"));
        let certs: serde_json::Value = serde_json::from_str(&proxy.admin("GET", "/certs").text()).expect("JSON");
        let shown = &certs["certificates"][0]["cert_chain"][0];
        assert_eq!(shown["path"], chain.to_str().expect("UTF-8"));
        assert_eq!(shown["serial_number"], Client::connect(&proxy).serial());
        assert_eq!(shown["subject_alt_names"], serde_json::json!([{ "dns": "a.example" }]));
        assert_eq!(shown["expiration_time"], "4096-01-01T00:00:00Z");
        let days = proxy.stat("server.days_until_first_cert_expiring");
        assert_eq!(shown["days_until_expiration"], days.to_string());

        // A file with its key in it, right and wrong.
        let inline = |pem: &str| format!("{{inline_string: \"{}\"}}", pem.replace('\n', "\\n"));
        let text = fs::read_to_string(proxy.file()).expect("read");
        let named = format!("private_key: {{filename: {}}}", key.display());
        let right = text.replace(&named, &format!("private_key: {}", inline(&pair.key)));
        assert_ne!(right, text);
        proxy.replace(&right);
        // The very same key: it is the same context.
        proxy.line("nothing changed");
        proxy.replace(&right.replace("-----END PRIVATE", "-----END PUBLIC"));
        let mut said = proxy.line("configuration refused");
        said += &proxy.line("private_key");
        for path in ["/config_dump", "/certs", "/server_info", "/listeners", "/stats"] {
            said += &proxy.admin("GET", path).text();
        }
        assert!(said.contains("[redacted]"));
        for secret in pair.key.lines().filter(|line| !line.starts_with('-')) {
            assert!(!said.contains(secret), "{said}");
        }
    });
}

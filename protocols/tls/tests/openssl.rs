//! OpenSSL's own client and server as peers, over loopback.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use ringway_tls::{
    ClientContext, ClientOptions, Failure, Info, Parameters, ServerContext, ServerOptions, Session, TlsError, Version,
};

use common::{Authority, End, Leaf, RSA, client, server, target};

/// Longer than any of this takes; a hang becomes a failure.
const PATIENCE: Duration = Duration::from_secs(20);

#[allow(clippy::print_stderr, reason = "a skip has to be seen")]
fn openssl() -> bool {
    let there =
        Command::new("openssl").arg("version").stdout(Stdio::null()).status().is_ok_and(|status| status.success());
    if !there {
        assert!(std::env::var("RINGWAY_REQUIRE_ALL").as_deref() != Ok("1"), "openssl is missing");
        eprintln!("SKIP openssl: there is no openssl command");
    }
    there
}

/// A connection whose other end is somebody else's.
struct Connection {
    stream: TcpStream,
    end: End,
}

impl Connection {
    fn new(stream: TcpStream, session: Session) -> Connection {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Connection { stream, end: End::new(session) }
    }

    /// Sends what there is, then takes what comes next; false at the end.
    fn turn(&mut self) -> Result<bool, TlsError> {
        self.flush();
        let mut bytes = [0; 4096];
        let count = loop {
            match self.stream.read(&mut bytes) {
                // With a time limit also where the process was stopped meanwhile (signal(7)).
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                done => break done.unwrap_or(0),
            }
        };
        let result = if count > 0 { self.end.take(&bytes[..count], usize::MAX) } else { Ok(()) };
        self.flush();
        result.map(|()| count > 0)
    }

    fn flush(&mut self) {
        let _ = self.stream.write_all(&std::mem::take(&mut self.end.output));
    }
}

/// Answers each line of one client with the same, in capitals, until it ends.
fn serve(listener: &TcpListener, context: &Arc<ServerContext>) -> (Option<Box<Info>>, Result<(), TlsError>) {
    let mut connection = Connection::new(listener.accept().unwrap().0, Session::server(context));
    loop {
        let turned = connection.turn();
        if connection.end.done && !connection.end.received.is_empty() {
            let received = std::mem::take(&mut connection.end.received);
            connection.end.send(&[&received.to_ascii_uppercase()]).unwrap();
            connection.flush();
        }
        let info = |connection: &mut Connection| connection.end.session.take_info();
        match turned {
            Err(error) => return (info(&mut connection), Err(error)),
            Ok(true) if !connection.end.closed => {}
            Ok(_) => return (info(&mut connection), Ok(())),
        }
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}

fn file(name: &str, contents: &[u8]) -> String {
    let path = folder().join(name);
    std::fs::write(&path, contents).unwrap();
    path.display().to_string()
}

/// Reads until this text has come.
fn read_until(output: &mut impl Read, text: &str) -> String {
    let (mut all, mut byte) = (Vec::new(), [0]);
    while output.read(&mut byte).unwrap() == 1 {
        all.push(byte[0]);
        if all.ends_with(text.as_bytes()) {
            return String::from_utf8_lossy(&all).into_owned();
        }
    }
    panic!("{text:?} never came: {}", String::from_utf8_lossy(&all));
}

/// What shows that a line has arrived.
enum Answer {
    /// The server's answer.
    Echo(&'static str),
    /// What s_client itself says to one of its commands; a line sent earlier would be part of the command.
    Said(&'static str),
    Nothing,
}

/// s_client with these arguments says each line, and goes on when the answer to it has come.
fn s_client(
    context: &Arc<ServerContext>,
    arguments: &[&str],
    lines: &[(&str, Answer)],
) -> (Box<Info>, Result<(), TlsError>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::scope(|scope| {
        let serving = scope.spawn(|| serve(&listener, context));
        let mut child = Command::new("openssl")
            .args(["s_client", "-connect", &address, "-servername", "example.com"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        for (line, answer) in lines {
            // It may have been sent away already; who waits for an answer notices.
            let _ = child.stdin.as_mut().unwrap().write_all(line.as_bytes());
            match answer {
                Answer::Echo(text) => _ = read_until(child.stdout.as_mut().unwrap(), text),
                Answer::Said(text) => _ = read_until(child.stderr.as_mut().unwrap(), text),
                Answer::Nothing => {}
            }
        }
        // Where the last line has no answer, it is for us to end.
        if !matches!(lines.last(), Some((_, Answer::Nothing))) {
            drop(child.stdin.take());
        }
        let (info, result) = serving.join().unwrap();
        child.wait().unwrap();
        (info.expect("the handshake was made"), result)
    })
}

#[test]
fn its_client() {
    use Answer::{Echo, Nothing, Said};
    if !openssl() {
        return;
    }
    let authority = Authority::new("root");
    let rsa = authority.issue(&Leaf { algorithm: RSA, ..Leaf::default() });
    let own = rcgen::generate_simple_self_signed(vec!["client".to_owned()]).unwrap();
    let options = ServerOptions {
        certificates: vec![authority.issue(&Leaf::default()), rsa],
        alpn: vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        parameters: Parameters {
            curves: ["X25519", "P-256", "P-384"].map(str::to_owned).into(),
            ..Parameters::default()
        },
        ..ServerOptions::default()
    };
    let context = server(&options);
    let chat: &[(&str, Answer)] = &[("hello\n", Echo("HELLO\n")), ("again\n", Echo("AGAIN\n"))];
    let rows: [(&[&str], Version, &str, &str); 7] = [
        (&["-tls1_3", "-ciphersuites", "TLS_AES_128_GCM_SHA256"], Version::Tls13, "TLS_AES_128_GCM_SHA256", "X25519"),
        (&["-tls1_3", "-ciphersuites", "TLS_AES_256_GCM_SHA384"], Version::Tls13, "TLS_AES_256_GCM_SHA384", "X25519"),
        (
            &["-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256", "-groups", "P-384"],
            Version::Tls13,
            "TLS_CHACHA20_POLY1305_SHA256",
            "P-384",
        ),
        (&["-tls1_2"], Version::Tls12, "ECDHE-ECDSA-AES128-GCM-SHA256", "X25519"),
        (
            &["-tls1_2", "-cipher", "ECDHE-RSA-AES256-GCM-SHA384"],
            Version::Tls12,
            "ECDHE-RSA-AES256-GCM-SHA384",
            "X25519",
        ),
        (
            &["-tls1_2", "-cipher", "ECDHE-RSA-CHACHA20-POLY1305", "-groups", "P-256"],
            Version::Tls12,
            "ECDHE-RSA-CHACHA20-POLY1305",
            "P-256",
        ),
        (&["-tls1_2", "-alpn", "foo,http/1.1"], Version::Tls12, "ECDHE-ECDSA-AES128-GCM-SHA256", "X25519"),
    ];
    for (arguments, version, cipher, curve) in rows {
        let (info, result) = s_client(&context, arguments, chat);
        assert_eq!(result, Ok(()), "{arguments:?}");
        assert_eq!((info.version, info.cipher, info.curve), (version, cipher, Some(curve)), "{arguments:?}");
        assert_eq!(info.alpn.is_some(), arguments.contains(&"-alpn"));
        assert_eq!(info.server_name.as_deref(), Some("example.com"));
    }
    // Sessions are resumed.
    for version in ["-tls1_2", "-tls1_3"] {
        let session = folder().join(format!("session{version}")).display().to_string();
        assert!(!s_client(&context, &[version, "-sess_out", &session], chat).0.resumed);
        assert!(s_client(&context, &[version, "-sess_in", &session], chat).0.resumed, "{version}");
    }
    // KeyUpdates: `k` without asking for ours, `K` with.
    let lines = [
        ("first\n", Echo("FIRST\n")),
        ("K\n", Said("KEYUPDATE")),
        ("two\n", Echo("TWO\n")),
        ("k\n", Said("KEYUPDATE")),
        ("three\n", Echo("THREE\n")),
    ];
    assert_eq!(s_client(&context, &["-tls1_3"], &lines).1, Ok(()));
    // Renegotiation is refused.
    let lines = [("first\n", Echo("FIRST\n")), ("R\n", Said("RENEGOTIATING")), ("two\n", Nothing)];
    let (_, result) = s_client(&context, &["-tls1_2"], &lines);
    assert_eq!(result.unwrap_err().failure, Failure::Renegotiation);
    // A client's certificate.
    let validation = ringway_tls::Validation { trusted_ca: Some(own.cert.pem().into_bytes()), ..Default::default() };
    let context =
        server(&ServerOptions { validation: Some(validation), require_client_certificate: true, ..options.clone() });
    let certificate = file("client.pem", own.cert.pem().as_bytes());
    let key = file("client.key", own.signing_key.serialize_pem().as_bytes());
    for version in ["-tls1_2", "-tls1_3"] {
        let (info, result) = s_client(&context, &[version, "-cert", &certificate, "-key", &key], chat);
        assert_eq!(result, Ok(()));
        assert!(info.validated);
        assert_eq!(info.peer.unwrap().certificate.dns_names().collect::<Vec<_>>(), ["client"]);
    }
}

/// One line to s_server, which answers it reversed.
fn ask(context: &Arc<ClientContext>, address: &str) -> Info {
    let session = Session::client(context, target("example.com")).unwrap();
    let mut connection = Connection::new(TcpStream::connect(address).unwrap(), session);
    connection.end.take(&[], usize::MAX).unwrap();
    while !connection.end.done {
        assert!(connection.turn().unwrap(), "it hung up");
    }
    connection.end.send(&[b"hel", b"lo\n"]).unwrap();
    while connection.end.received.is_empty() {
        assert!(connection.turn().unwrap(), "it hung up");
    }
    assert_eq!(connection.end.received, b"olleh\n");
    connection.end.session.close(&mut connection.end.output);
    connection.flush();
    connection.end.session.info().unwrap().clone()
}

#[test]
fn its_server() {
    if !openssl() {
        return;
    }
    let own = rcgen::generate_simple_self_signed(vec!["example.com".to_owned()]).unwrap();
    let certificate = file("server.pem", own.cert.pem().as_bytes());
    let key = file("server.key", own.signing_key.serialize_pem().as_bytes());
    let authority = Authority::new("clients");
    let clients = file("clients.pem", authority.pem.as_bytes());
    let trusted = ringway_tls::Validation { trusted_ca: Some(own.cert.pem().into_bytes()), ..Default::default() };
    for (version, argument) in [(Version::Tls12, "-tls1_2"), (Version::Tls13, "-tls1_3")] {
        let mut child = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-rev", "-cert", &certificate, "-key", &key, argument])
            .args(["-Verify", "1", "-verify_return_error", "-CAfile", &clients])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = child.stdout.as_mut().unwrap();
        read_until(output, "ACCEPT ");
        let address = read_until(output, "\n").trim().to_owned();
        let context = client(&ClientOptions {
            certificate: Some(authority.issue(&Leaf::default())),
            validation: Some(trusted.clone()),
            ..ClientOptions::default()
        });
        for resumed in [false, true, true] {
            let info = ask(&context, &address);
            assert_eq!((info.version, info.resumed), (version, resumed));
            assert!(info.validated);
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

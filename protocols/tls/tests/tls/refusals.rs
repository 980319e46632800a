//! Who is refused, by which name, and what the other end hears.

use rcgen::ExtendedKeyUsagePurpose;
use ringway_tls::{
    ClientContext, ClientOptions, ContextError, Failure, Identity, Parameters, Part, SanMatcher, SanPattern, SanType,
    Secret, ServerContext, ServerOptions, Session, Tickets, Validation, Version,
};

use crate::common::{Authority, ECDSA, Leaf, Pair, client, dns, identity, self_signed, server, target, trusting, uri};

const VERSIONS: [Version; 2] = [Version::Tls12, Version::Tls13];

fn only(version: Version) -> Parameters {
    Parameters { version_min: version, version_max: version, ..Parameters::default() }
}

fn san(san_type: SanType, text: &str) -> SanMatcher {
    SanMatcher { san_type, pattern: SanPattern::Exact(text.to_owned()), ignore_case: false }
}

/// A peer that shows `shown` to one that judges by `validation`, on each side and in each version.
#[track_caller]
fn check(shown: &Identity, validation: &Validation, expect: Result<bool, (Failure, &str, u8)>) {
    for version in VERSIONS {
        // The client judges the server.
        let judged = server(&ServerOptions {
            certificates: vec![shown.clone()],
            parameters: only(version),
            ..ServerOptions::default()
        });
        let judge = client(&ClientOptions { validation: Some(validation.clone()), ..ClientOptions::default() });
        let mut pair = Pair::new(&judge, &judged, target("example.com"));
        let (verdict, heard) = pair.run();
        match expect {
            Ok(validated) => {
                assert_eq!((verdict, heard), (Ok(()), Ok(())), "{version:?}");
                assert_eq!(pair.client.session.info().unwrap().validated, validated);
            }
            Err((failure, text, alert)) => {
                let verdict = verdict.unwrap_err();
                assert_eq!((verdict.failure, verdict.reason.as_str()), (failure, text), "{version:?}");
                assert_eq!(heard.unwrap_err().failure, Failure::Alert(alert), "{version:?}");
            }
        }
        // The server judges the client.
        let judge = server(&ServerOptions {
            certificates: vec![self_signed(false)],
            parameters: only(version),
            validation: Some(validation.clone()),
            require_client_certificate: true,
            ..ServerOptions::default()
        });
        let judged = client(&ClientOptions { certificate: Some(shown.clone()), ..ClientOptions::default() });
        let mut pair = Pair::new(&judged, &judge, target("example.com"));
        let (heard, verdict) = pair.run();
        match expect {
            Ok(validated) => {
                assert_eq!((verdict, heard), (Ok(()), Ok(())), "{version:?}");
                assert_eq!(pair.server.session.info().unwrap().validated, validated);
            }
            Err((failure, text, alert)) => {
                let verdict = verdict.unwrap_err();
                assert_eq!((verdict.failure, verdict.reason.as_str()), (failure, text), "{version:?}");
                assert_eq!(heard.unwrap_err().failure, Failure::Alert(alert), "{version:?}");
            }
        }
    }
}

const EXPIRED: (Failure, &str, u8) = (Failure::Expired, "verify cert failed: certificate has expired", 45);
const UNTRUSTED: (Failure, &str, u8) =
    (Failure::Untrusted, "verify cert failed: unable to get local issuer certificate", 48);

#[test]
fn chains() {
    let (root, other) = (Authority::new("root"), Authority::new("other"));
    let leaf = root.issue(&Leaf::default());
    check(&leaf, &trusting(&root), Ok(true));
    check(&leaf, &trusting(&other), Err(UNTRUSTED));
    check(&leaf, &Validation::default(), Ok(false));
    let accepting = Validation { accept_untrusted: true, ..trusting(&other) };
    check(&leaf, &accepting, Ok(false));
    check(&leaf, &Validation { accept_untrusted: true, ..trusting(&root) }, Ok(true));

    let impostor = Authority::new("root"); // the same name, another key
    check(
        &leaf,
        &trusting(&impostor),
        Err((Failure::Untrusted, "verify cert failed: certificate signature failure", 46)),
    );

    let between = root.intermediate("between");
    let mut chain = between.issue(&Leaf::default());
    check(&chain, &trusting(&root), Err(UNTRUSTED));
    check(&chain, &trusting(&between), Ok(true)); // a partial chain
    chain.certificate_chain.extend_from_slice(between.pem.as_bytes());
    check(&chain, &trusting(&root), Ok(true));
    let depth = |depth| Validation { max_verify_depth: Some(depth), ..trusting(&root) };
    check(&chain, &depth(1), Ok(true));
    check(&chain, &depth(0), Err((Failure::Untrusted, "verify cert failed: certificate chain too long", 46)));
}

#[test]
fn times() {
    let root = Authority::new("root");
    let expired = root.issue(&Leaf { years: (2000, 2001), ..Leaf::default() });
    let future = root.issue(&Leaf { years: (2090, 2091), ..Leaf::default() });
    check(&expired, &trusting(&root), Err(EXPIRED));
    check(&future, &trusting(&root), Err((Failure::Expired, "verify cert failed: certificate is not yet valid", 45)));
    let allowing = Validation { allow_expired_certificate: true, ..trusting(&root) };
    check(&expired, &allowing, Ok(true));
    check(&future, &allowing, Ok(true));
    let other = Validation { allow_expired_certificate: true, ..trusting(&Authority::new("other")) };
    check(&expired, &other, Err(UNTRUSTED));
    let old = Authority::with_end("old", 2020);
    check(&old.issue(&Leaf::default()), &trusting(&old), Err(EXPIRED));
    check(&old.issue(&Leaf::default()), &Validation { allow_expired_certificate: true, ..trusting(&old) }, Ok(true));
}

#[test]
fn names() {
    let root = Authority::new("root");
    let leaf = root.issue(&Leaf { names: vec![uri("spiffe://a/b"), dns("*.example.com")], ..Leaf::default() });
    let with = |matchers: &[SanMatcher]| Validation { subject_alt_names: matchers.to_vec(), ..trusting(&root) };
    let refused = Err((Failure::San, "verify cert failed: SAN matcher", 46));
    check(&leaf, &with(&[san(SanType::Uri, "spiffe://a/b")]), Ok(true));
    check(&leaf, &with(&[san(SanType::Uri, "spiffe://a/c")]), refused);
    check(&leaf, &with(&[san(SanType::Uri, "spiffe://a/c"), san(SanType::Dns, "x.example.com")]), Ok(true));
    check(&leaf, &with(&[san(SanType::Dns, "spiffe://a/b")]), refused);
    let accepting = Validation { accept_untrusted: true, ..with(&[san(SanType::Uri, "spiffe://a/c")]) };
    check(&leaf, &accepting, Ok(false));
}

#[test]
fn hashes() {
    let root = Authority::new("root");
    let leaf = root.issue(&Leaf::default());
    // The fingerprint as a peer's session reads it.
    let mut pair = Pair::new(
        &client(&ClientOptions::default()),
        &server(&ServerOptions { certificates: vec![leaf.clone()], ..ServerOptions::default() }),
        target("example.com"),
    );
    pair.open();
    let hash = pair.client.session.info().unwrap().peer.as_ref().unwrap().fingerprint_sha256();
    let listed = |hash: &str| Validation { certificate_hashes: vec![hash.to_owned()], ..Validation::default() };
    let other = "ab".repeat(32);
    let refused = Err((Failure::Hash, "verify cert failed: certificate hash matcher", 46));
    check(&leaf, &listed(&hash), Ok(true)); // without a CA, the hash is what is verified
    check(&leaf, &listed(&hash.to_uppercase()), Ok(true));
    check(&leaf, &listed(&other), refused);
    check(&leaf, &Validation { trusted_ca: trusting(&root).trusted_ca, ..listed(&other) }, refused);
    let spki = Validation { spki_hashes: vec![format!("{}=", "A".repeat(43))], ..Validation::default() };
    check(&leaf, &spki, refused);
    check(&leaf, &Validation { certificate_hashes: vec![hash], ..spki }, Ok(true)); // one of both lists
}

#[test]
fn revoked() {
    let root = Authority::new("root");
    let between = root.intermediate("between");
    let mut leaf = between.issue(&Leaf { serial: 77, ..Leaf::default() });
    leaf.certificate_chain.extend_from_slice(between.pem.as_bytes());
    let with = |lists: &[Vec<u8>], leaf_only| Validation {
        crl: Some(lists.concat()),
        only_verify_leaf_cert_crl: leaf_only,
        ..trusting(&root)
    };
    let (of_root, of_between) = (root.revoke(&[5], 2100), between.revoke(&[5], 2100));
    let revoked = Err((Failure::Revoked, "verify cert failed: certificate revoked", 44));
    let unknown = Err((Failure::Revoked, "verify cert failed: unable to get certificate CRL", 48));
    check(&leaf, &with(&[of_root.clone(), of_between.clone()], false), Ok(true));
    check(&leaf, &with(&[of_root.clone(), between.revoke(&[77], 2100)], false), revoked);
    check(&leaf, &with(&[between.revoke(&[77], 2100)], true), revoked);
    check(&leaf, &with(std::slice::from_ref(&of_between), false), unknown);
    check(&leaf, &with(&[of_between], true), Ok(true));
    check(&leaf, &with(&[of_root], true), unknown);
    let old = Err((Failure::Revoked, "verify cert failed: CRL has expired", 48));
    check(&leaf, &with(&[between.revoke(&[5], 2021)], true), old);
}

#[test]
fn purposes() {
    let root = Authority::new("root");
    let leaf = |usage| root.issue(&Leaf { usage: Some(usage), ..Leaf::default() });
    let run = |identity: Identity| {
        let server = server(&ServerOptions { certificates: vec![identity], ..ServerOptions::default() });
        let client = client(&ClientOptions { validation: Some(trusting(&root)), ..ClientOptions::default() });
        Pair::new(&client, &server, target("example.com")).run()
    };
    assert_eq!(run(leaf(ExtendedKeyUsagePurpose::ServerAuth)), (Ok(()), Ok(())));
    let (client, server) = run(leaf(ExtendedKeyUsagePurpose::ClientAuth));
    assert_eq!(client.unwrap_err().reason, "verify cert failed: unsupported certificate purpose");
    assert_eq!(server.unwrap_err().failure, Failure::Alert(43));
}

#[test]
fn self_signed_ones_are_trusted_as_themselves() {
    for authority in [false, true] {
        let own = self_signed(authority);
        let trusted = Validation { trusted_ca: Some(own.certificate_chain.clone()), ..Validation::default() };
        check(&own, &trusted, Ok(true));
        let other = Validation { trusted_ca: Some(self_signed(authority).certificate_chain), ..Validation::default() };
        let run = |validation| {
            let server = server(&ServerOptions { certificates: vec![own.clone()], ..ServerOptions::default() });
            let client = client(&ClientOptions { validation: Some(validation), ..ClientOptions::default() });
            Pair::new(&client, &server, target("example.com")).run().0
        };
        assert_eq!(run(other).unwrap_err().failure, Failure::Untrusted);
    }
}

#[test]
fn clients_without_a_certificate() {
    let root = Authority::new("root");
    for version in VERSIONS {
        let of = |required| {
            server(&ServerOptions {
                certificates: vec![root.issue(&Leaf::default())],
                parameters: only(version),
                validation: Some(trusting(&root)),
                require_client_certificate: required,
                ..ServerOptions::default()
            })
        };
        let client = client(&ClientOptions::default());
        let mut optional = Pair::new(&client, &of(false), target("example.com"));
        optional.open();
        let info = optional.server.session.info().unwrap();
        assert!(info.peer.is_none() && !info.validated);
        let (heard, verdict) = Pair::new(&client, &of(true), target("example.com")).run();
        let verdict = verdict.unwrap_err();
        assert_eq!(
            (verdict.failure, verdict.reason.as_str()),
            (Failure::NoCertificate, "peer did not return a certificate")
        );
        assert_eq!(heard.unwrap_err().failure, Failure::Alert(116), "{version:?}");
    }
}

#[test]
fn names_that_a_session_asks_for() {
    let root = Authority::new("root");
    let own = root.issue(&Leaf { names: vec![dns("*.example.com")], ..Leaf::default() });
    let server = server(&ServerOptions { certificates: vec![own], ..ServerOptions::default() });
    let options = ClientOptions { validation: Some(trusting(&root)), ..ClientOptions::default() };
    let by_name = client(&ClientOptions { auto_sni_san_validation: true, ..options.clone() });
    let options = client(&options);
    let rows: [(_, &str, &[&str], bool); 6] = [
        (&options, "api.example.com", &[], true),
        (&options, "api.other.com", &[], true), // without matchers any name is right, as in Envoy
        (&options, "api.other.com", &["api.example.com"], true),
        (&options, "api.example.com", &["api.other.com"], false),
        (&by_name, "api.example.com", &[], true),
        (&by_name, "api.other.com", &[], false),
    ];
    for (context, sent, asked, expect) in rows {
        for resumed in [false, true] {
            let mut target = target(sent);
            target.subject_alt_names = asked;
            let (client, server) = Pair::new(context, &server, target).run();
            assert_eq!(client.is_ok(), expect, "{sent} {asked:?} {resumed}");
            assert_eq!(server.is_ok(), expect, "{sent} {asked:?} {resumed}");
            if let Err(error) = client {
                assert_eq!(error.failure, Failure::San);
            }
        }
    }
}

#[test]
fn what_is_no_tls() {
    let context = server(&ServerOptions { certificates: vec![self_signed(false)], ..ServerOptions::default() });
    type Row = (&'static [u8], Result<(), (Failure, &'static str)>);
    let rows: [Row; 7] = [
        (b"GET / HTTP/1.1\r\n", Err((Failure::NotTls, "plain HTTP request, perhaps, where TLS was expected"))),
        (b"PRI * HTTP/2.0\r\n", Err((Failure::NotTls, "plain HTTP request, perhaps, where TLS was expected"))),
        (b"\x00\x00", Err((Failure::NotTls, "no TLS record"))),
        (b"\x16\x02", Err((Failure::NotTls, "no TLS record"))),
        (b"\x16\x03\x01", Ok(())),
        (b"\x16\x03\x01\x48\x01", Err((Failure::RecordOverflow, "record too long"))),
        (b"\x16\x03\x01\x40\x00\x01\x00\xFF\xFF", Ok(())),
    ];
    for (bytes, expect) in rows {
        let result = Session::server(&context).handshake(&mut bytes.to_vec(), &mut Vec::new());
        match expect {
            Ok(()) => assert!(!result.unwrap().done),
            Err((failure, text)) => {
                let error = result.unwrap_err();
                assert_eq!((error.failure, error.reason.as_str()), (failure, text));
            }
        }
    }
}

/// A server's answer to a client's whole first flight: why it failed, and its alert.
#[track_caller]
fn refused(wire: &[u8]) -> (String, u8) {
    let context = server(&ServerOptions { certificates: vec![self_signed(false)], ..ServerOptions::default() });
    for step in [wire.len(), 1 + wire.len() / 3, 7] {
        let (mut session, mut input, mut out) = (Session::server(&context), Vec::new(), Vec::new());
        let mut pieces = wire.chunks(step);
        let error = loop {
            input.extend_from_slice(pieces.next().expect("it is refused"));
            match session.handshake(&mut input, &mut out) {
                Ok(progress) => assert_eq!((progress.consumed, out.len()), (0, 0), "nothing is served"),
                Err(error) => break error,
            }
        };
        assert_eq!((error.failure, &out[..6]), (Failure::Protocol, &[21, 3, 3, 0, 2, 2][..]));
        if step == 7 {
            return (error.reason, out[6]);
        }
    }
    unreachable!("the last way returns")
}

fn first_flight(options: &ClientOptions) -> Vec<u8> {
    let mut out = Vec::new();
    Session::client(&client(options), target("example.com")).unwrap().handshake(&mut [], &mut out).unwrap();
    out
}

/// Guards against a client that is served under no name, with the first certificate and past the rules for names, because its hello is one that
/// rustls reads and we do not.
#[test]
fn a_hello_that_cannot_be_read_is_refused() {
    let alpn = (0..2_000).map(|at| format!("protocol-{at:04}").into_bytes()).collect();
    let long = first_flight(&ClientOptions { alpn, ..ClientOptions::default() });
    assert!((16 << 10..64 << 10).contains(&long.len()));
    assert_eq!(refused(&long), ("ClientHello too long".to_owned(), 47));
    let hello = first_flight(&ClientOptions::default());
    let records = |parts: &[(u8, &[u8])]| -> Vec<u8> {
        let record =
            |(content, part): &(u8, &[u8])| [&[*content, 3, 1][..], &(part.len() as u16).to_be_bytes(), part].concat();
        parts.iter().flat_map(record).collect()
    };
    let (first, rest) = hello[5..].split_at(20);
    let malformed = ("ClientHello malformed".to_owned(), 50);
    assert_eq!(refused(&records(&[(22, b""), (22, &hello[5..])])), malformed, "an empty record before");
    assert_eq!(refused(&records(&[(22, first), (22, b""), (22, rest)])), malformed, "within");
    let other = ("no ClientHello".to_owned(), 10);
    assert_eq!(refused(&records(&[(22, first), (20, &[1]), (22, rest)])), other, "another kind of record within");
    assert_eq!(refused(&records(&[(22, &[2, 0, 0, 1, 0])])), other, "another message");
    let mut cut = hello[5..].to_vec();
    let at = cut.len() - 1;
    cut.truncate(at);
    cut[3] -= 1;
    assert_eq!(refused(&records(&[(22, &cut)])), malformed, "an extension that is cut off");
}

/// Guards against a message in records of a byte each: it is joined anew with each of them.
#[test]
fn a_message_in_very_many_records() {
    let context = server(&ServerOptions { certificates: vec![self_signed(false)], ..ServerOptions::default() });
    let alpn = (0..20).map(|at| format!("protocol-{at:02}").into_bytes()).collect();
    let hello = first_flight(&ClientOptions { alpn, ..ClientOptions::default() });
    for records in [1, 200, 256, 257, 400] {
        let (first, rest) = hello[5..].split_at(hello.len() - 5 - (records - 1));
        let mut wire = Vec::new();
        for part in [first].into_iter().chain(rest.chunks(1)) {
            wire.extend_from_slice(&[&[22, 3, 1][..], &(part.len() as u16).to_be_bytes(), part].concat());
        }
        let result = Session::server(&context).handshake(&mut wire, &mut Vec::new());
        match records > 256 {
            false => assert_eq!(result.unwrap().consumed, wire.len(), "{records}"),
            true => assert_eq!(result.unwrap_err().reason, "handshake message in too many records", "{records}"),
        }
    }
}

#[test]
fn nothing_in_common() {
    let of = |parameters| {
        server(&ServerOptions { certificates: vec![self_signed(false)], parameters, ..ServerOptions::default() })
    };
    let ciphers = |names: &[&str]| Parameters {
        version_max: Version::Tls12,
        ciphers: names.iter().map(|&name| name.to_owned()).collect(),
        ..Parameters::default()
    };
    let curves = |name: &str| Parameters { curves: vec![name.to_owned()], ..Parameters::default() };
    let rows = [
        (only(Version::Tls12), only(Version::Tls13), 70),
        (only(Version::Tls13), only(Version::Tls12), 70),
        (ciphers(&["ECDHE-ECDSA-AES128-GCM-SHA256"]), ciphers(&["ECDHE-ECDSA-AES256-GCM-SHA384"]), 40),
        (curves("P-384"), curves("X25519"), 40),
    ];
    for (ours, theirs, alert) in rows {
        let client = client(&ClientOptions { parameters: theirs, ..ClientOptions::default() });
        let (heard, verdict) = Pair::new(&client, &of(ours.clone()), target("example.com")).run();
        assert_eq!(verdict.unwrap_err().failure, Failure::NoCommonParameters, "{ours:?}");
        assert_eq!(heard.unwrap_err().failure, Failure::Alert(alert), "{ours:?}");
    }
}

#[test]
fn wrong_options() {
    let root = Authority::new("root");
    let (one, two) = (root.issue(&Leaf::default()), root.issue(&Leaf { algorithm: ECDSA, ..Leaf::default() }));
    let with = |identity: Identity| ServerOptions { certificates: vec![identity], ..ServerOptions::default() };
    let judging = |validation: Validation| ServerOptions { validation: Some(validation), ..with(one.clone()) };
    let text = |text: &str| identity(text.to_owned(), String::from("none"));
    let chain = |from: &Identity| String::from_utf8(from.certificate_chain.clone()).unwrap();
    let broken = chain(&one).replacen("MII", "M*I", 1);
    let cut = chain(&one).replacen("-----END CERTIFICATE-----", "", 1);
    let two_blocks = format!("{}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", chain(&one));
    let crossed = Identity { private_key: two.private_key.clone(), ..one.clone() };
    let encrypted = Identity {
        private_key: Secret::new("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"),
        ..one.clone()
    };
    let no_key = Identity {
        private_key: Secret::new("-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"),
        ..one.clone()
    };
    let ca = |text: &str| Validation { trusted_ca: Some(text.as_bytes().to_vec()), ..Validation::default() };
    let crl = Validation { crl: Some(root.pem.clone().into_bytes()), ..trusting(&root) };
    let san_alone = Validation { subject_alt_names: vec![san(SanType::Dns, "a")], ..Validation::default() };
    let hash = Validation { certificate_hashes: vec!["abc".to_owned()], ..Validation::default() };
    let rows = [
        (ServerOptions::default(), Part::CertificateChain(0), "a server needs a certificate"),
        (with(text("")), Part::CertificateChain(0), "there is no certificate in the PEM text"),
        (with(text(&broken)), Part::CertificateChain(0), "block 1: it is not base64"),
        (with(text(&cut)), Part::CertificateChain(0), "block 1: it has no END line"),
        (with(text(&two_blocks)), Part::CertificateChain(0), "block 2: it is no X.509 certificate"),
        (with(text(&chain(&one))), Part::PrivateKey(0), "there is no private key in the PEM text"),
        (with(crossed), Part::PrivateKey(0), "the private key does not belong to the certificate"),
        (with(encrypted), Part::PrivateKey(0), "the private key is encrypted, which is not supported"),
        (with(no_key), Part::PrivateKey(0), "the private key is no RSA, ECDSA or Ed25519 key"),
        (judging(ca("nothing")), Part::TrustedCa, "there is no certificate in the PEM text"),
        (judging(crl), Part::Crl, "there is no X509 CRL in the PEM text"),
        (
            judging(san_alone),
            Part::Validation,
            "SAN-based verification of peer certificates without trusted CA is insecure and not allowed",
        ),
        (judging(hash), Part::CertificateHash(0), "\"abc\" is no SHA-256 hash"),
        (
            ServerOptions { alpn: vec![Vec::new()], ..with(one.clone()) },
            Part::Alpn(0),
            "an ALPN name has 1 to 255 bytes",
        ),
        (
            ServerOptions { session_timeout_s: Some(604_801), ..with(one.clone()) },
            Part::SessionTimeout,
            "604801 s is more than 604800 s (RFC 8446 §4.6.1)",
        ),
        (
            ServerOptions { tickets: Tickets::Keys(vec![Secret::new("short")]), ..with(one.clone()) },
            Part::TicketKey(0),
            "it has 5 bytes, not 80",
        ),
    ];
    for (options, part, reason) in rows {
        let error = ServerContext::new(&options).unwrap_err();
        assert_eq!(error, ContextError { part, reason: reason.to_owned() });
    }
    let sni = |name: &str| {
        let error = ClientContext::new(&ClientOptions { sni: Some(name.to_owned()), ..ClientOptions::default() });
        error.unwrap_err().reason
    };
    assert_eq!(sni("a b"), "\"a b\" is no DNS name; no other server name can be sent (RFC 6066 §3)");
    assert_eq!(sni("10.0.0.1"), "\"10.0.0.1\" is an address; server names are DNS names (RFC 6066 §3)");
}

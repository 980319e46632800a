//! What two sessions agree on: versions, ciphers, curves, certificates, protocols, resumption.

use ringway_tls::{
    ClientOptions, Clock, Identity, Parameters, SanMatcher, SanPattern, SanType, Secret, ServerOptions, Tickets,
    Validation, Version,
};

use crate::common::{
    Authority, ECDSA, ECDSA_384, ED25519, Leaf, Pair, RSA, client, dns, identity, self_signed, server, target,
    trusting, uri,
};

fn parameters(version: Version, ciphers: &[&str], curves: &[&str]) -> Parameters {
    let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    Parameters { version_min: version, version_max: version, ciphers: owned(ciphers), curves: owned(curves) }
}

#[test]
fn versions_ciphers_and_keys() {
    let authority = Authority::new("root");
    let identities: Vec<(&str, Identity)> =
        [("ecdsa", ECDSA), ("ecdsa384", ECDSA_384), ("rsa", RSA), ("ed25519", ED25519)]
            .map(|(name, algorithm)| (name, authority.issue(&Leaf { algorithm, ..Leaf::default() })))
            .into();
    let rows = [
        ("ecdsa", Version::Tls12, "ECDHE-ECDSA-AES128-GCM-SHA256", "X25519"),
        ("ecdsa", Version::Tls12, "ECDHE-ECDSA-AES256-GCM-SHA384", "P-256"),
        ("ecdsa384", Version::Tls12, "ECDHE-ECDSA-CHACHA20-POLY1305", "P-384"),
        ("rsa", Version::Tls12, "ECDHE-RSA-AES128-GCM-SHA256", "X25519"),
        ("rsa", Version::Tls12, "ECDHE-RSA-AES256-GCM-SHA384", "X25519"),
        ("rsa", Version::Tls12, "ECDHE-RSA-CHACHA20-POLY1305", "X25519"),
        ("ecdsa", Version::Tls13, "TLS_AES_128_GCM_SHA256", "X25519"),
        ("rsa", Version::Tls13, "TLS_AES_128_GCM_SHA256", "P-256"),
        ("ecdsa384", Version::Tls13, "TLS_AES_128_GCM_SHA256", "P-384"),
        ("ed25519", Version::Tls13, "TLS_AES_128_GCM_SHA256", "X25519MLKEM768"),
    ];
    for (key, version, cipher, curve) in rows {
        let (_, identity) = identities.iter().find(|(name, _)| *name == key).unwrap();
        let ciphers: &[&str] = if version == Version::Tls12 { &[cipher] } else { &[] };
        let server = server(&ServerOptions {
            certificates: vec![identity.clone()],
            parameters: parameters(version, &[], &[curve]),
            ..ServerOptions::default()
        });
        let client = client(&ClientOptions {
            parameters: Parameters { version_min: Version::Tls12, ..parameters(version, ciphers, &[curve]) },
            validation: Some(trusting(&authority)),
            ..ClientOptions::default()
        });
        for step in [usize::MAX, 1, 7] {
            let mut pair = Pair::new(&client, &server, target("example.com"));
            pair.step = step;
            pair.open();
            for end in [&pair.client, &pair.server] {
                let info = end.session.info().unwrap();
                assert_eq!((info.version, info.cipher), (version, cipher));
                assert_eq!(info.server_name.as_deref(), Some("example.com"));
                if !info.resumed {
                    assert_eq!(info.curve, Some(curve), "{cipher}");
                }
            }
            assert!(pair.client.session.info().unwrap().validated);
            assert!(!pair.server.session.info().unwrap().validated);
            assert!(pair.server.session.info().unwrap().peer.is_none());
            pair.echo(b"a request, or so");
            pair.echo(&vec![7; 70_000]);
        }
    }
}

#[test]
fn both_show_who_they_are() {
    let authority = Authority::new("root");
    let between = authority.intermediate("between");
    let id = "spiffe://cluster.local/ns/default/sa/web";
    let mut own = between.issue(&Leaf { names: vec![uri(id), dns("web")], ..Leaf::default() });
    own.certificate_chain.extend_from_slice(between.pem.as_bytes());
    for version in [Version::Tls12, Version::Tls13] {
        let server = server(&ServerOptions {
            certificates: vec![own.clone()],
            parameters: parameters(version, &[], &[]),
            validation: Some(trusting(&authority)),
            require_client_certificate: true,
            ..ServerOptions::default()
        });
        let client = client(&ClientOptions {
            certificate: Some(own.clone()),
            validation: Some(Validation {
                subject_alt_names: vec![SanMatcher {
                    san_type: SanType::Uri,
                    pattern: SanPattern::Exact(id.to_owned()),
                    ignore_case: false,
                }],
                ..trusting(&authority)
            }),
            ..ClientOptions::default()
        });
        for resumed in [false, true] {
            let mut pair = Pair::new(&client, &server, target("outbound_.80_._.web.default.svc.cluster.local"));
            pair.open();
            for end in [&mut pair.client, &mut pair.server] {
                let info = end.session.take_info().unwrap();
                assert_eq!(info.resumed, resumed, "{version:?}");
                assert!(info.validated);
                let peer = info.peer.unwrap();
                assert_eq!(peer.certificate.uris().collect::<Vec<_>>(), [id]);
                assert_eq!(peer.certificate.dns_names().collect::<Vec<_>>(), ["web"]);
                assert_eq!(peer.certificate.subject, "CN=leaf,O=Acme\\, Inc.");
                assert_eq!(peer.certificate.issuer, "CN=between");
                assert_eq!(peer.certificate.serial, "0a0b");
                assert_eq!(peer.certificate.not_before, 946_684_800);
                assert_eq!(peer.certificate.not_after, 4_102_444_800);
                assert_eq!(peer.certificate.days_until_expiration(4_102_444_800 - 86_401), 1);
                assert_eq!(peer.fingerprint_sha256().len(), 64);
                assert!(peer.url_encoded_chain().len() > peer.url_encoded_pem().len());
                let codes = [("%0A", "\n"), ("%20", " "), ("%2B", "+"), ("%2F", "/"), ("%3D", "=")];
                let pem = codes.iter().fold(peer.url_encoded_pem(), |text, (code, to)| text.replace(code, to));
                assert_eq!(pem, String::from_utf8_lossy(&own.certificate_chain)[..pem.len()]);
                assert_eq!(info.local.unwrap().uris().collect::<Vec<_>>(), [id]);
            }
        }
    }
}

#[test]
fn the_application_protocol() {
    let own = self_signed(false);
    let names = |names: &[&str]| names.iter().map(|name| name.as_bytes().to_vec()).collect::<Vec<_>>();
    let rows: [(&[&str], &[&str], Option<&str>); 6] = [
        (&["h2", "http/1.1"], &["http/1.1", "h2"], Some("h2")),
        (&["http/1.1"], &["h2", "http/1.1"], Some("http/1.1")),
        (&["h2"], &[], None),
        (&[], &["h2"], None),
        (&["h2"], &["istio"], None), // Envoy goes on without; RFC 7301 would refuse
        (&["istio", "h2"], &["istio-peer-exchange", "istio"], Some("istio")),
    ];
    for (server_names, client_names, expect) in rows {
        let server = server(&ServerOptions {
            certificates: vec![own.clone()],
            alpn: names(server_names),
            ..ServerOptions::default()
        });
        let offered = names(client_names);
        for by_session in [false, true] {
            // What the context names goes before what the session would offer.
            let alpn = if by_session { Vec::new() } else { offered.clone() };
            let client = client(&ClientOptions { alpn, ..ClientOptions::default() });
            let mut target = target("example.com");
            let of_session: Vec<&[u8]> = offered.iter().map(Vec::as_slice).collect();
            target.alpn = if by_session { &of_session } else { &[b"other"] };
            let mut pair = Pair::new(&client, &server, target);
            pair.open();
            for end in [&pair.client, &pair.server] {
                let info = end.session.info().unwrap();
                assert_eq!(info.alpn.as_deref(), expect.map(str::as_bytes), "{server_names:?} {client_names:?}");
            }
        }
    }
}

#[test]
fn the_certificate_by_name_and_key() {
    let authority = Authority::new("root");
    let issue = |name: &str, algorithm| authority.issue(&Leaf { names: vec![dns(name)], algorithm, ..Leaf::default() });
    let options = ServerOptions {
        certificates: vec![
            issue("first.com", RSA),
            issue("*.wild.com", RSA),
            issue("api.wild.com", RSA),
            issue("both.com", RSA),
            issue("both.com", ECDSA),
            issue("ecdsa.com", ECDSA),
        ],
        ..ServerOptions::default()
    };
    let scanning = ServerOptions { full_scan_certs_on_sni_mismatch: true, ..options.clone() };
    let ecdsa_only = parameters(Version::Tls12, &["ECDHE-ECDSA-AES128-GCM-SHA256"], &[]);
    let rsa_only = parameters(Version::Tls12, &["ECDHE-RSA-AES128-GCM-SHA256"], &[]);
    let rows = [
        (&options, Parameters::default(), "first.com", Some((0, "first.com"))),
        (&options, Parameters::default(), "FIRST.com", Some((0, "first.com"))),
        (&options, Parameters::default(), "www.wild.com", Some((1, "*.wild.com"))),
        (&options, Parameters::default(), "api.wild.com", Some((2, "api.wild.com"))),
        (&options, Parameters::default(), "a.b.wild.com", Some((0, "first.com"))),
        (&options, Parameters::default(), "both.com", Some((4, "both.com"))),
        (&options, ecdsa_only.clone(), "both.com", Some((4, "both.com"))),
        (&options, rsa_only.clone(), "both.com", Some((3, "both.com"))),
        (&options, Parameters::default(), "unknown.com", Some((0, "first.com"))),
        (&options, ecdsa_only.clone(), "unknown.com", None),
        (&scanning, ecdsa_only, "unknown.com", Some((4, "both.com"))),
        (&scanning, rsa_only, "ecdsa.com", Some((0, "first.com"))),
    ];
    let contexts = [server(&options), server(&scanning)];
    for (of, parameters, name, expect) in rows {
        let context = &contexts[usize::from(of.full_scan_certs_on_sni_mismatch)];
        let client = client(&ClientOptions { parameters, ..ClientOptions::default() });
        let mut pair = Pair::new(&client, context, target(name));
        let outcome = pair.run();
        let Some((index, first_name)) = expect else {
            assert!(outcome.1.is_err(), "{name}");
            continue;
        };
        assert_eq!(outcome, (Ok(()), Ok(())), "{name}");
        let shown = pair.client.session.info().unwrap().peer.clone().unwrap().certificate;
        assert_eq!(shown.dns_names().next(), Some(first_name), "{name}");
        assert_eq!(Some(&shown), context.certificates().nth(index), "{name}");
        assert_eq!(pair.server.session.info().unwrap().local.as_deref(), Some(&shown));
    }
}

#[test]
fn sessions_are_resumed() {
    let own = self_signed(false);
    let keys = |bytes: &[u8]| Tickets::Keys(bytes.iter().map(|&byte| Secret::new(vec![byte; 80])).collect());
    // The server at first, the server then, and whether it resumes.
    let rows = [
        (Tickets::Generated, Tickets::Generated, false), // another context has other keys
        (keys(&[1]), keys(&[1]), true),
        (keys(&[1]), keys(&[2, 1]), true),
        (keys(&[1]), keys(&[2]), false),
        (keys(&[1]), Tickets::Off, false),
        (Tickets::Off, Tickets::Off, false),
    ];
    for version in [Version::Tls12, Version::Tls13] {
        for (first, second, expect) in rows.clone() {
            let of = |tickets: &Tickets| {
                server(&ServerOptions {
                    certificates: vec![own.clone()],
                    parameters: parameters(version, &[], &[]),
                    tickets: tickets.clone(),
                    ..ServerOptions::default()
                })
            };
            for max_session_keys in [1, 0] {
                let client = client(&ClientOptions { max_session_keys, ..ClientOptions::default() });
                let (first, second) = (of(&first), of(&second));
                let resumed = |server, name| {
                    let mut pair = Pair::new(&client, server, target(name));
                    pair.open();
                    pair.echo(b"something");
                    pair.server.session.info().unwrap().resumed
                };
                assert!(!resumed(&first, "example.com"));
                assert!(!resumed(&first, "other.com"), "a session of one name is no other's");
                assert!(!resumed(&first, "example.com") || max_session_keys > 1, "one session alone is kept");
                assert_eq!(resumed(&second, "example.com"), expect && max_session_keys > 0, "{version:?} {second:?}");
            }
        }
    }
}

/// Guards against a `session_timeout` that does nothing where the ticket keys are configured: in both versions the session is made anew.
#[test]
fn an_old_session_is_not_resumed() {
    let own = self_signed(false);
    for version in [Version::Tls12, Version::Tls13] {
        for (age_s, expect) in [(100, true), (101, false)] {
            let client = client(&ClientOptions::default());
            let resumed = |now| {
                let server = server(&ServerOptions {
                    certificates: vec![own.clone()],
                    parameters: parameters(version, &[], &[]),
                    tickets: Tickets::Keys(vec![Secret::new([9; 80])]),
                    session_timeout_s: Some(100),
                    clock: Clock::fixed(now),
                    ..ServerOptions::default()
                });
                let mut pair = Pair::new(&client, &server, target("example.com"));
                pair.open();
                pair.echo(b"something");
                pair.server.session.info().unwrap().resumed
            };
            assert!(!resumed(2_000_000_000));
            assert_eq!(resumed(2_000_000_000 + age_s), expect, "{version:?} {age_s}");
        }
    }
}

#[test]
fn another_configuration_opens_no_tickets() {
    let authority = Authority::new("root");
    let own = authority.issue(&Leaf::default());
    let with = |validation: Option<Validation>| {
        server(&ServerOptions {
            certificates: vec![own.clone()],
            validation,
            tickets: Tickets::Keys(vec![Secret::new([9; 80])]),
            ..ServerOptions::default()
        })
    };
    let client = client(&ClientOptions { certificate: Some(own.clone()), ..ClientOptions::default() });
    let resumed = |server| {
        let mut pair = Pair::new(&client, &server, target("example.com"));
        pair.open();
        pair.server.session.info().unwrap().resumed
    };
    assert!(!resumed(with(None)));
    assert!(resumed(with(None)));
    // Who was let in without a certificate is judged anew where one is asked for.
    assert!(!resumed(with(Some(trusting(&authority)))));
    assert!(resumed(with(Some(trusting(&authority)))));
}

#[test]
fn debug_shows_no_key() {
    let own = self_signed(false);
    let identity = identity(String::from_utf8(own.certificate_chain.clone()).unwrap(), "-----SECRET KEY".to_owned());
    let text = format!("{identity:?} {:?}", Tickets::Keys(vec![Secret::new(*b"SECRET")]));
    // As text and as numbers. Whole: three letters of it stand by chance in one random certificate of five hundred.
    assert!(!text.contains("SECRET") && !text.contains("83, 69, 67, 82, 69, 84"), "{text}");
    let options = ServerOptions { certificates: vec![own.clone()], ..ServerOptions::default() };
    let context = server(&options);
    let text = format!("{:?} {context:?} {:?}", options.certificates[0].private_key, options.tickets);
    assert_eq!(text, "Secret(..) ServerContext { certificates: [\"CN=rcgen self signed cert\"], .. } Generated");
}

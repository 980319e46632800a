//! Hellos of real clients, and hellos that are wrong in one place.

use ringway_protocols::client_hello::{Decoded, NotTls, SIZE_MAX, Version, decode};

/// What is said of `wire`, in words; of each of its parts it must be "more", or the same.
fn say(wire: &[u8], size_max: usize) -> String {
    let mut joined = Vec::new();
    let all = words(decode(wire, size_max, &mut joined));
    for cut in 0..wire.len() {
        let part = words(decode(&wire[..cut], size_max, &mut joined));
        assert!(part == "more" || part == all, "{cut} of {} bytes: {part}, of all: {all}", wire.len());
    }
    all
}

fn words(decoded: Decoded<'_>) -> String {
    let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
    match decoded {
        Decoded::NeedMore => "more".to_owned(),
        Decoded::NotTls(why) => format!("{why:?}"),
        Decoded::TooLarge => "too large".to_owned(),
        Decoded::Hello(hello) => {
            let name = hello.server_name().map_or("-".to_owned(), text);
            let protocols: Vec<_> = hello.protocols().map(text).collect();
            let version = hello.version().map_or("-".to_owned(), |version| format!("{version:?}"));
            format!("{version} {name} [{}]", protocols.join(" "))
        }
    }
}

macro_rules! captured {
    ($name:literal) => {
        include_bytes!(concat!("../../corpus/client-hello/", $name))
    };
}

/// Sent by OpenSSL 3.0, curl, Python, Node.js and BoringSSL (in Envoy 1.40); some cut into other records, one with GREASE added.
#[test]
fn real_hellos() {
    let many: Vec<_> = (0..30).map(|number| format!("protocol-{number:02}")).collect();
    let istio = "Tls13 outbound_.80_._.Reviews.default.svc.cluster.local [istio-peer-exchange istio h2]";
    for (wire, expect) in [
        (captured!("openssl-plain").as_slice(), "Tls13 - []"),
        (captured!("openssl-sni-alpn"), "Tls13 WWW.Example.com [h2 http/1.1]"),
        (captured!("openssl-tls12"), "Tls12 a.example [istio istio-http/1.0 h2]"),
        (captured!("openssl-tls10"), "Tls10 old.example []"),
        (captured!("openssl-ip"), "Tls13 192.0.2.1 []"),
        (captured!("openssl-fragments"), &format!("Tls13 fragments.example [{}]", many.join(" "))),
        (captured!("curl"), "Tls13 curl.example [h2 http/1.1]"),
        (captured!("python"), "Tls13 python.example []"),
        (captured!("node"), "Tls13 node.example [http/1.1]"),
        (captured!("envoy-mlkem"), istio),
        (captured!("grease-mlkem"), istio),
        (captured!("two-records"), "Tls13 WWW.Example.com [h2 http/1.1]"),
        (captured!("name-across-records"), "Tls13 WWW.Example.com [h2 http/1.1]"),
        (captured!("tiny-records"), "Tls12 a.example [istio istio-http/1.0 h2]"),
        (captured!("tls12-no-extensions"), "Tls12 - []"),
    ] {
        assert_eq!(say(wire, SIZE_MAX), expect);
        // What follows is somebody else's, and its size is where it begins.
        let followed = [wire, b"\x14\x03\x03\x00\x01\x01"].concat();
        assert_eq!(say(&followed, SIZE_MAX), expect);
        let mut joined = Vec::new();
        let Decoded::Hello(hello) = decode(&followed, SIZE_MAX, &mut joined) else { panic!("a hello") };
        assert_eq!(hello.size(), wire.len());
    }
}

#[test]
fn what_is_no_tls_is_known_by_its_first_wrong_byte() {
    for (wire, expect) in [
        (captured!("sslv2").as_slice(), "RecordType"),
        (captured!("http"), "RecordType"),
        (b"SSH-2.0-x\r\n", "RecordType"),
        (b"\x00", "RecordType"),
        (b"", "more"),
        (b"\x16", "more"),
        (b"\x16\x04", "RecordVersion"),
        (b"\x16\x03\x01\x00", "more"),
        (b"\x16\x03\x01\x00\x00", "RecordEmpty"),
        (b"\x16\x03\x01\x40\x00", "more"),
        (b"\x16\x03\x01\x40\x01", "RecordTooLong"),
        (b"\x16\x03\x01\x00\x04\x02", "HandshakeType"),
        (b"\x16\x03\x01\x00\x01\x01\x17", "RecordType"),
        (b"\x16\x03\x01\x00\x01\x01\x16\x03\x01\x00\x00", "RecordEmpty"),
        (b"\x15\x03\x01\x00\x02\x01\x00", "RecordType"),
    ] {
        assert_eq!(say(wire, SIZE_MAX), expect, "{}", wire.escape_ascii());
    }
}

/// A list behind its length in `N` bytes.
fn list<const N: usize>(bytes: &[u8]) -> Vec<u8> {
    let len = (bytes.len() as u32).to_be_bytes();
    [&len[4 - N..], bytes].concat()
}

/// A hello with these extensions.
fn hello(legacy: u16, extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut body = legacy.to_be_bytes().to_vec();
    body.extend([7; 32]);
    body.extend(list::<1>(&[9; 32]));
    body.extend(list::<2>(&[0x13, 0x01]));
    body.extend(list::<1>(&[0]));
    let extensions: Vec<u8> = extensions
        .iter()
        .flat_map(|(kind, content)| [&kind.to_be_bytes(), list::<2>(content).as_slice()].concat())
        .collect();
    body.extend(list::<2>(&extensions));
    message(&body)
}

fn message(body: &[u8]) -> Vec<u8> {
    [&[1], list::<3>(body).as_slice()].concat()
}

/// In records of so many bytes.
fn records(message: &[u8], size: usize) -> Vec<u8> {
    message.chunks(size).flat_map(|part| [&[22, 3, 1], list::<2>(part).as_slice()].concat()).collect()
}

fn names(names: &[(u8, &[u8])]) -> Vec<u8> {
    let names: Vec<u8> =
        names.iter().flat_map(|(kind, name)| [&[*kind], list::<2>(name).as_slice()].concat()).collect();
    list::<2>(&names)
}

#[track_caller]
fn check(extensions: &[(u16, Vec<u8>)], expect: &str) {
    let message = hello(0x0303, extensions);
    for size in [1, 7, message.len() - 1, 1 << 14] {
        assert_eq!(say(&records(&message, size), SIZE_MAX), expect, "records of {size}");
    }
}

/// As BoringSSL decides, by Envoy 1.40: the form of the extension, and no zero byte.
#[test]
fn server_names() {
    for (name, expect) in [
        (b"a".as_slice(), "Tls12 a []"),
        (b"[::1]", "Tls12 [::1] []"),
        (b"under_score.", "Tls12 under_score. []"),
        (b"\xc3\xa9", "Tls12 \\xc3\\xa9 []"),
        (&[b'x'; 255], &format!("Tls12 {} []", "x".repeat(255))),
        (&[b'x'; 256], "ServerName"),
        (b"", "ServerName"),
        (b"a\0b", "ServerName"),
    ] {
        check(&[(0, names(&[(0, name)]))], expect);
    }
    for (content, expect) in [
        (names(&[]), "ServerName"),
        (names(&[(1, b"a")]), "ServerName"),
        (names(&[(0, b"a"), (0, b"b")]), "ServerName"),
        (names(&[(0, b"a"), (1, b"b")]), "ServerName"),
        ([names(&[(0, b"a")]).as_slice(), &[0]].concat(), "ServerName"),
        (vec![], "ServerName"),
        (vec![0, 9, 0, 0, 1, b'a'], "ServerName"),
    ] {
        check(&[(0, content)], expect);
    }
}

#[test]
fn a_server_name_is_compared_in_lower_case() {
    let wire = records(&hello(0x0303, &[(0, names(&[(0, b"WWW.\xc3\x89x")]))]), 1 << 14);
    let mut joined = Vec::new();
    let Decoded::Hello(hello) = decode(&wire, SIZE_MAX, &mut joined) else { panic!("a hello") };
    assert_eq!(hello.server_name_lowercase(&mut [0; 255]), Some(b"www.\xc3\x89x".as_slice()));
}

#[test]
fn protocols() {
    for (content, expect) in [
        (list::<2>(b"\x02h2\x01x"), "Tls12 - [h2 x]"),
        (list::<2>(b"\x02h2\x02h2"), "Tls12 - [h2 h2]"),
        (list::<2>(b""), "Tls12 - []"),
        (list::<2>(b"\x00"), "Tls12 - []"),
        (list::<2>(b"\x02h2\x00"), "Tls12 - []"),
        (list::<2>(b"\x03h2"), "Tls12 - []"),
        (b"\x00\x03\x02h2\x00".to_vec(), "Tls12 - []"),
        (b"\x00\x04\x02h2".to_vec(), "Tls12 - []"),
        (b"\x00".to_vec(), "Tls12 - []"),
    ] {
        check(&[(16, content)], expect);
    }
}

#[test]
fn versions() {
    for (content, expect) in [
        (list::<1>(&[3, 4, 3, 3]), "Tls13 - []"),
        (list::<1>(&[0x7a, 0x7a, 3, 2]), "Tls11 - []"),
        (list::<1>(&[0x7f, 0x1c]), "- - []"),
        (list::<1>(&[3, 0]), "- - []"),
        (list::<1>(&[3]), "- - []"),
        (list::<1>(&[]), "- - []"),
        (vec![], "- - []"),
    ] {
        check(&[(43, content)], expect);
    }
    for (legacy, expect) in [
        (0x0300, "- - []"),
        (0x0301, "Tls10 - []"),
        (0x0302, "Tls11 - []"),
        (0x0304, "Tls12 - []"),
        (0xfeff, "Tls12 - []"),
    ] {
        assert_eq!(say(&records(&hello(legacy, &[]), 1 << 14), SIZE_MAX), expect, "{legacy:x}");
    }
}

#[test]
fn an_extension_stands_once() {
    for kind in [0, 16, 21, 43, 63] {
        let content = if kind == 0 { names(&[(0, b"a")]) } else { list::<1>(&[3, 3]) };
        check(&[(kind, content.clone()), (5, vec![]), (kind, content)], "ExtensionRepeated");
    }
    // Of the rest nobody keeps a list.
    check(&[(64, vec![]), (0xdada, vec![]), (64, vec![])], "Tls12 - []");
}

/// What the handshake's keys change after ends its record; known by the record's length.
#[test]
fn nothing_follows_within_the_record() {
    let message = hello(0x0303, &[]);
    let longer = [&message, b"\x0e\0\0\0".as_slice()].concat();
    for size in [7, message.len() + 1, 1 << 14] {
        let expect = if message.len().is_multiple_of(size) { "Tls12 - []" } else { "RecordBoundary" };
        assert_eq!(say(&records(&longer, size), SIZE_MAX), expect, "records of {size}");
    }
    assert_eq!(say(&records(&longer, message.len()), SIZE_MAX), "Tls12 - []");
    let wire = records(&longer, 1 << 14);
    assert_eq!(words(decode(&wire[..9], SIZE_MAX, &mut Vec::new())), "RecordBoundary");
}

/// Each field that is too short, too long or not there.
#[test]
fn forms() {
    let start = [[3, 3].as_slice(), &[0; 32]].concat();
    for (rest, expect) in [
        (b"\x00\x00\x02\x13\x01\x01\x00".as_slice(), "Tls12 - []"),
        (b"\x00\x00\x02\x13\x01\x01\x00\x00\x00", "Tls12 - []"),
        (b"\x00\x00\x02\x13\x01\x01\x00\x00\x00\x00", "Form"),
        (b"\x00\x00\x02\x13\x01\x01\x00\x00", "Form"),
        (b"\x00\x00\x02\x13\x01\x01\x00\x00\x01\x00", "Form"),
        (b"\x00\x00\x02\x13\x01\x01\x00\x00\x04\x00\x2a\x00\x01", "Form"),
        (b"\x00\x00\x02\x13\x01\x00", "Form"),
        (b"\x00\x00\x03\x13\x01\x02\x01\x00", "Form"),
        (b"\x00\x00\x00\x01\x00", "Form"),
        (b"\x21", "Form"),
        (b"", "Form"),
    ] {
        let wire = records(&message(&[&start, rest].concat()), 1 << 14);
        assert_eq!(say(&wire, SIZE_MAX), expect, "{}", rest.escape_ascii());
    }
    let session = [&start, list::<1>(&[1; 33]).as_slice(), b"\x00\x02\x13\x01\x01\x00"].concat();
    assert_eq!(say(&records(&message(&session), 1 << 14), SIZE_MAX), "Form");
    assert_eq!(say(&records(&message(&[]), 1 << 14), SIZE_MAX), "Form");
}

/// A byte more than the limit is refused by the length that is announced, long before it has come.
#[test]
fn limits() {
    let padding = |len| hello(0x0303, &[(21, vec![0; len])]);
    let around = records(&padding(0), 1 << 14).len();
    for size_max in [256, 1_000, SIZE_MAX] {
        for (more, expect) in [(0, "Tls12 - []"), (1, "too large")] {
            let wire = records(&padding(size_max - around + more), 1 << 14);
            assert_eq!(wire.len(), size_max + more);
            assert_eq!(words(decode(&wire, size_max, &mut Vec::new())), expect);
            let early = words(decode(&wire[..9], size_max, &mut Vec::new()));
            assert_eq!(early, if more == 0 { "more" } else { "too large" });
        }
    }
    // The records' headers count, too.
    let wire = records(&hello(0x0303, &[]), 1);
    assert_eq!(say(&wire, wire.len()), "Tls12 - []");
    assert_eq!(say(&wire, wire.len() - 1), "too large");
    assert_eq!(words(decode(b"\x16\x03\x01\x40\x00\x01\xff\xff\xff", SIZE_MAX, &mut Vec::new())), "too large");
}

#[test]
fn versions_have_an_order_and_reasons_have_words() {
    assert!(Version::Tls13 > Version::Tls12);
    assert!(NotTls::ServerName.text().contains("RFC 6066"));
}

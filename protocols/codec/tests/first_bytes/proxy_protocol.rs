//! Headers of HAProxy and of hand, wrong ones, and our own.

use ringway_protocols::proxy_protocol::{
    Decoded, Endpoints, Tlvs, V2_SIZE_MAX, Version, Versions, decode, encode_v1, encode_v2, tlv, v2_size,
};
use std::net::SocketAddr;

/// What is said of `wire`, in words; of each of its parts it must be "more", or the same.
#[track_caller]
fn say(wire: &[u8]) -> String {
    let all = words(decode(wire, Versions::ALL));
    for cut in 0..wire.len() {
        let part = words(decode(&wire[..cut], Versions::ALL));
        assert!(part == "more" || part == all, "{cut} of {}: {part}, of all: {all}", wire.escape_ascii());
    }
    all
}

fn words(decoded: Decoded<'_>) -> String {
    match decoded {
        Decoded::NeedMore => "more".to_owned(),
        Decoded::NotProxy => "none".to_owned(),
        Decoded::Malformed(why) => format!("{why:?}"),
        Decoded::Header(header) => {
            let version = if header.version == Version::V1 { 1 } else { 2 };
            let endpoints = match header.endpoints {
                Endpoints::Local => "local".to_owned(),
                Endpoints::Unknown => "unknown".to_owned(),
                Endpoints::Inet { source, destination } => format!("{source} {destination}"),
            };
            let tlvs: String = header.tlvs.map(|(kind, value)| format!(" {kind:x}={}", value.escape_ascii())).collect();
            format!("v{version} {endpoints}{tlvs} +{}", header.size)
        }
    }
}

macro_rules! captured {
    ($name:literal) => {
        include_bytes!(concat!("../../corpus/proxy-protocol/", $name)).as_slice()
    };
}

/// HAProxy 2.6 as the sender: `send-proxy`, `send-proxy-v2` with options.
#[test]
fn headers_of_haproxy() {
    for (wire, expect) in [
        (captured!("haproxy-v1"), "v1 127.0.0.1:55352 127.0.0.1:47573 +44"),
        (captured!("haproxy-v1-tcp6"), "v1 [::1]:59484 [::1]:47677 +32"),
        (captured!("haproxy-v2"), "v2 127.0.0.1:48262 127.0.0.1:34891 +28"),
        (captured!("haproxy-v2-tcp6"), "v2 [::1]:33418 [::1]:53637 +52"),
        (captured!("haproxy-v2-checksum"), "v2 127.0.0.1:57544 127.0.0.1:37693 3=\\xf7\\x80+\\xd9 +35"),
    ] {
        assert_eq!(say(wire), expect);
    }
    let said = say(captured!("haproxy-v2-tls"));
    assert!(said.starts_with("v2 127.0.0.1:58692 127.0.0.1:58049 3=;\\xe1r\\xc3 1=h2 2=sni.example 5="), "{said}");
    assert!(said.ends_with(" +127"), "{said}");
    let Decoded::Header(header) = decode(captured!("haproxy-v2-tls"), Versions::ALL) else { panic!("a header") };
    assert_eq!(
        Tlvs::of(header.tlvs.bytes()).find(|(kind, _)| *kind == tlv::AUTHORITY).map(|tlv| tlv.1),
        Some(&b"sni.example"[..])
    );
}

#[test]
fn lines_of_version_1() {
    for (wire, expect) in [
        ("PROXY TCP4 192.0.2.1 198.51.100.7 0 65535\r\nrest", "v1 192.0.2.1:0 198.51.100.7:65535 +43"),
        ("PROXY TCP6 2001:DB8::1 ::ffff:192.0.2.1 1 2\r\n", "v1 [2001:db8::1]:1 192.0.2.1:2 +45"),
        // One that is written as IPv6 comes under the rules for IPv4.
        ("PROXY TCP6 ::ffff:10.0.0.1 ::ffff:192.0.2.1 1 2\r\n", "v1 10.0.0.1:1 192.0.2.1:2 +49"),
        ("PROXY TCP6 ::ffff:10.0.0.1 ::ffff:0.0.0.0 1 2\r\n", "NotUnicast"),
        ("PROXY UNKNOWN\r\n", "v1 unknown +15"),
        ("PROXY UNKNOWN  what ever\0\r\n", "v1 unknown +27"),
        (
            "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 1::1 1 2\r\n",
            "NotUnicast", // ff00::/8 is of groups
        ),
        ("PROXY TCP5 1.1.1.1 1.1.1.1 1 2\r\n", "Protocol"),
        ("PROXY tcp4 1.1.1.1 1.1.1.1 1 2\r\n", "Protocol"),
        ("PROXY  TCP4 1.1.1.1 1.1.1.1 1 2\r\n", "Protocol"),
        ("PROXY UNKNOWN6\r\n", "Protocol"),
        ("PROXY \r\n", "Protocol"),
        ("PROXY TCP4\r\n", "LineForm"),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n", "LineForm"),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 1 2 3\r\n", "LineForm"),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 1 2 \r\n", "LineForm"),
        ("PROXY TCP4  1.1.1.1 1.1.1.1 1\r\n", "Address"),
        ("PROXY TCP4 1.1.1.01 1.1.1.1 1 2\r\n", "Address"),
        ("PROXY TCP4 1.1.1 1.1.1.1 1 2\r\n", "Address"),
        ("PROXY TCP4 ::1 ::1 1 2\r\n", "Address"),
        ("PROXY TCP6 1.1.1.1 1.1.1.1 1 2\r\n", "Address"),
        ("PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", "Address"),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 65536 2\r\n", "Port"),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 1 02\r\n", "Port"),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 +1 2\r\n", "Port"),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 1 -2\r\n", "Port"),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 1 00\r\n", "Port"),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 1 \r\n", "Port"),
        ("PROXY TCP4 0.0.0.0 1.1.1.1 1 2\r\n", "NotUnicast"),
        ("PROXY TCP4 1.1.1.1 255.255.255.255 1 2\r\n", "NotUnicast"),
        ("PROXY TCP4 1.1.1.1 224.0.0.1 1 2\r\n", "NotUnicast"),
        ("PROXY TCP6 :: ::1 1 2\r\n", "NotUnicast"),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 1 2\n", "LineEnd"),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 1 2\rx", "LineEnd"),
        ("PROXY TCP4 1.1.1.1 1.1.1.1 1 2\r", "more"),
        ("PROXY", "more"),
        ("", "more"),
        ("PROXYING", "none"),
        ("PROXY\r\n", "none"),
        ("proxy TCP4", "none"),
        ("GET / HTTP/1.1\r\n", "none"),
    ] {
        assert_eq!(say(wire.as_bytes()), expect, "{wire:?}");
    }
}

/// 107 bytes with the line's end, one more, and the same without an end.
#[test]
fn the_longest_line() {
    let line = |len: usize, end: &str| format!("PROXY UNKNOWN {}{end}", "x".repeat(len - 14 - end.len()));
    assert_eq!(say(line(107, "\r\n").as_bytes()), "v1 unknown +107");
    assert_eq!(say(line(108, "\r\n").as_bytes()), "LineTooLong");
    assert_eq!(say(line(109, "\r\n").as_bytes()), "LineTooLong");
    assert_eq!(say(line(106, "").as_bytes()), "more");
    assert_eq!(say(line(107, "").as_bytes()), "LineTooLong");
    assert_eq!(say(line(500, "").as_bytes()), "LineTooLong");
}

/// A header of version 2 with a length that fits.
fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let len = (rest.len() as u16).to_be_bytes();
    [b"\r\n\r\n\0\r\nQUIT\n", [command, family].as_slice(), &len, rest].concat()
}

const V4: &[u8] = &[192, 0, 2, 1, 198, 51, 100, 7, 0xdc, 0x04, 0x01, 0xbb];

#[test]
fn version_2() {
    let mut v6 = [0; 36];
    (v6[15], v6[16], v6[31], v6[35]) = (1, 0xfd, 9, 80);
    let unix = [b'/'; 216];
    let with = |addresses: &[u8], tlvs: &[u8]| [addresses, tlvs].concat();
    for (command, family, rest, expect) in [
        (0x21, 0x11, V4.to_vec(), "v2 192.0.2.1:56324 198.51.100.7:443 +28"),
        (0x21, 0x12, V4.to_vec(), "v2 192.0.2.1:56324 198.51.100.7:443 +28"),
        (0x21, 0x21, v6.to_vec(), "v2 [::1]:0 [fd00::9]:80 +52"),
        (0x21, 0x22, with(&v6, b"\x04\0\0"), "v2 [::1]:0 [fd00::9]:80 4= +55"),
        (0x21, 0x31, unix.to_vec(), "v2 unknown +232"),
        (0x21, 0x32, with(&unix, b"\xe0\0\x01z"), "v2 unknown e0=z +236"),
        (0x21, 0x00, vec![], "v2 unknown +16"),
        (0x21, 0x00, b"any thing".to_vec(), "v2 unknown +25"),
        (0x21, 0x10, V4.to_vec(), "v2 unknown +28"),
        (0x21, 0x01, vec![], "v2 unknown +16"),
        (0x20, 0x00, vec![], "v2 local +16"),
        (0x20, 0x11, V4.to_vec(), "v2 local +28"),
        (0x20, 0xff, b"abc".to_vec(), "v2 local +19"),
        (0x11, 0x11, V4.to_vec(), "Version"),
        (0x31, 0x11, V4.to_vec(), "Version"),
        (0x22, 0x11, V4.to_vec(), "Command"),
        (0x21, 0x41, V4.to_vec(), "Family"),
        (0x21, 0x13, V4.to_vec(), "Family"),
        (0x21, 0x11, V4[1..].to_vec(), "AddressLength"),
        (0x21, 0x21, v6[1..].to_vec(), "AddressLength"),
        (0x21, 0x31, unix[1..].to_vec(), "AddressLength"),
        (0x21, 0x11, vec![0; 12], "NotUnicast"),
        (0x21, 0x11, with(V4, b"\x01"), "TlvForm"),
        (0x21, 0x11, with(V4, b"\x01\0"), "TlvForm"),
        (0x21, 0x11, with(V4, b"\x01\0\x03h2"), "TlvForm"),
        (
            0x21,
            0x11,
            with(V4, b"\x01\0\x02h2\x01\0\0\xff\0\x01x"),
            "v2 192.0.2.1:56324 198.51.100.7:443 1=h2 1= ff=x +40",
        ),
    ] {
        let wire = v2(command, family, &rest);
        assert_eq!(say(&wire), expect, "{}", wire.escape_ascii());
        assert_eq!(say(&[&wire, b"GET /".as_slice()].concat()), expect);
    }
    assert_eq!(say(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0"), "more");
    assert_eq!(say(b"\r\n\r\n\0\r\nQUIT\r"), "none");
    assert_eq!(say(b"\r\nGET / HTTP/1.1"), "none");
}

#[test]
fn checksums() {
    // The sum was made by another program.
    let wire = captured!("v2-tlvs");
    let expect = "v2 192.0.2.1:56324 198.51.100.7:443 2=a.example 3=\\x8f\\xb1\\x94\\xee 4= +50";
    assert_eq!(say(wire), expect);
    for bit in 0..wire.len() * 8 {
        let mut wrong = wire.to_vec();
        wrong[bit / 8] ^= 1 << (bit % 8);
        assert_ne!(words(decode(&wrong, Versions::ALL)), expect, "bit {bit}");
    }
    let with = |tlvs: &[u8]| v2(0x21, 0x11, &[V4, tlvs].concat());
    assert_eq!(say(&with(b"\x03\0\x04\0\0\0\0")), "Checksum");
    assert_eq!(say(&with(b"\x03\0\x03\0\0\0")), "ChecksumForm");
    assert_eq!(say(&with(b"\x03\0\x05\0\0\0\0\0")), "ChecksumForm");
    assert_eq!(say(&with(b"\x03\0\x04\0\0\0\0\x03\0\x04\0\0\0\0")), "ChecksumForm");
    assert_eq!(say(&v2(0x20, 0x11, &[V4, b"\x03\0\x04\0\0\0\0"].concat())), "v2 local +35");
}

/// A longer header is refused by its length.
#[test]
fn the_longest_header() {
    let header = |len: usize| v2(0x20, 0, &vec![0; len - 16]);
    let longest = header(V2_SIZE_MAX);
    assert_eq!(words(decode(&longest, Versions::ALL)), format!("v2 local +{V2_SIZE_MAX}"));
    assert_eq!(words(decode(&longest[..V2_SIZE_MAX - 1], Versions::ALL)), "more");
    assert_eq!(words(decode(&header(V2_SIZE_MAX + 1)[..16], Versions::ALL)), "TooLong");
}

#[test]
fn versions_that_are_not_looked_for() {
    let (one, two) = (b"PROXY UNKNOWN\r\n".as_slice(), v2(0x20, 0, &[]));
    for (versions, of_one, of_two, of_none) in [
        (Versions { v1: true, v2: true }, "v1 unknown +15", "v2 local +16", "more"),
        (Versions { v1: true, v2: false }, "v1 unknown +15", "none", "more"),
        (Versions { v1: false, v2: true }, "none", "v2 local +16", "more"),
        (Versions { v1: false, v2: false }, "none", "none", "none"),
    ] {
        let said = [one, &two, b""].map(|wire| words(decode(wire, versions)));
        assert_eq!(said, [of_one, of_two, of_none], "{versions:?}");
    }
    assert_eq!(words(decode(b"\r", Versions { v1: true, v2: false })), "none");
}

#[test]
fn what_is_written() {
    let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
    for (source, destination, line, binary) in [
        (
            "192.0.2.1:56324",
            "198.51.100.7:443",
            "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n",
            "v2 192.0.2.1:56324 198.51.100.7:443 e0=x 1= +35",
        ),
        ("[2001:db8::1]:1", "[::1]:2", "PROXY TCP6 2001:db8::1 ::1 1 2\r\n", "v2 [2001:db8::1]:1 [::1]:2 e0=x 1= +59"),
        ("192.0.2.1:1", "[::1]:2", "PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n", "v2 192.0.2.1:1 [::1]:2 e0=x 1= +59"),
    ] {
        let endpoints = Some((address(source), address(destination)));
        let mut wire = Vec::new();
        encode_v1(endpoints, &mut wire);
        assert_eq!(String::from_utf8_lossy(&wire), line);
        wire.clear();
        let tlvs = [(0xe0, b"x".as_slice()), (tlv::ALPN, b"")];
        encode_v2(endpoints, tlvs, &mut wire).expect("they fit");
        assert_eq!(say(&wire), binary);
        assert_eq!(v2_size(endpoints, tlvs), Ok(wire.len()));
    }
    // The longest addresses.
    let long = address("[fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
    let mut wire = Vec::new();
    encode_v1(Some((long, long)), &mut wire);
    assert_eq!(wire.len(), 104);
    // Without addresses.
    wire.clear();
    encode_v1(None, &mut wire);
    assert_eq!(say(&wire), "v1 unknown +15");
    wire.clear();
    encode_v2(None, [(tlv::ALPN, b"h2".as_slice())], &mut wire).expect("it fits");
    assert_eq!(say(&wire), "v2 local +16");
}

#[test]
fn tlvs_that_do_not_fit_are_not_written() {
    let endpoints = Some((SocketAddr::from(([192, 0, 2, 1], 1)), SocketAddr::from(([192, 0, 2, 2], 2))));
    let value = vec![0; 65_535];
    let mut wire = Vec::new();
    let most = 65_535 - 12 - 3;
    assert!(encode_v2(endpoints, [(0xe0, &value[..most])], &mut wire).is_ok());
    assert_eq!(wire.len(), 16 + 65_535);
    wire.clear();
    assert!(encode_v2(endpoints, [(0xe0, &value[..=most])], &mut wire).is_err());
    assert!(wire.is_empty());
}

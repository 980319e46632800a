//! What a connection begins with. The quick bodies look at an input whole and from one cut, and give the shape of the answer; the others cut it
//! at many places. What must hold: a part's answer is that of the whole, or a wish for more.

use crate::client_hello::{self, NotTls, Version};
use crate::http_inspector::{self, Detected};
use crate::proxy_protocol::{self, Endpoints, Malformed, Versions, encode_v1, encode_v2, tlv, v2_size};

/// Small, so that inputs reach it.
const SIZE_MAX: usize = 1_000;

/// The shape of a ClientHello: its version, whether it has a name, how many protocols it has.
#[derive(Debug, PartialEq, Eq, Hash)]
pub enum HelloShape {
    /// More is wanted.
    More,
    /// It is none.
    NotTls(NotTls),
    /// It is too large.
    TooLarge,
    /// It is one.
    Hello(Option<Version>, bool, usize),
}

/// Puts the records' contents together; used again.
#[derive(Debug, Default)]
pub struct Hellos {
    joined: Vec<u8>,
    other: Vec<u8>,
}

impl Hellos {
    /// The first bytes of a connection, whole and cut at `cut`.
    pub fn play(&mut self, input: &[u8], cut: usize) -> HelloShape {
        use client_hello::Decoded;
        let whole = client_hello::decode(input, SIZE_MAX, &mut self.joined);
        let part = client_hello::decode(&input[..cut], SIZE_MAX, &mut self.other);
        assert!(part == Decoded::NeedMore || part == whole, "{part:?} {whole:?}");
        match whole {
            Decoded::NeedMore => {
                assert!(input.len() < SIZE_MAX, "the bytes that are waited for are bounded");
                HelloShape::More
            }
            Decoded::NotTls(why) => HelloShape::NotTls(why),
            Decoded::TooLarge => HelloShape::TooLarge,
            Decoded::Hello(hello) => {
                assert!(hello.size() <= input.len().min(SIZE_MAX));
                assert!(hello.protocols().all(|name| !name.is_empty()));
                let name = hello.server_name_lowercase(&mut [0; client_hello::SERVER_NAME_BYTES_MAX]).map(<[u8]>::len);
                assert_eq!(name, hello.server_name().map(<[u8]>::len));
                HelloShape::Hello(hello.version(), name.is_some(), hello.protocols().count())
            }
        }
    }
}

/// A ClientHello, cut at some 64 places.
pub fn client_hello(input: &[u8]) {
    let mut hellos = Hellos::default();
    let shape = hellos.play(input, 0);
    (0..input.len()).step_by(1 + input.len() / 64).for_each(|cut| assert_eq!(hellos.play(input, cut), shape));
}

/// The first bytes of a connection, whole and cut at `cut`.
pub fn http_inspector_quick(input: &[u8], cut: usize) -> Detected {
    const SIZE_MAX: usize = 100;
    let whole = http_inspector::detect(input, SIZE_MAX);
    let part = http_inspector::detect(&input[..cut], SIZE_MAX);
    assert!(part == Detected::NeedMore || part == whole, "{part:?} {whole:?}");
    assert!(whole != Detected::NeedMore || input.len() < SIZE_MAX, "the bytes that are waited for are bounded");
    whole
}

/// A request line or a preface, cut everywhere.
pub fn http_inspector(input: &[u8]) {
    (0..=input.len()).for_each(|cut| _ = http_inspector_quick(input, cut));
}

/// The shape of a PROXY header: its version, its addresses' family where they are known, how many TLVs it has.
#[derive(Debug, PartialEq, Eq, Hash)]
pub enum ProxyShape {
    /// More is wanted.
    More,
    /// It is none.
    NotProxy,
    /// It is a wrong one.
    Malformed(Malformed),
    /// It is one.
    Header(proxy_protocol::Version, Option<bool>, usize),
}

/// Writes headers anew; used again.
#[derive(Debug, Default)]
pub struct ProxyHeaders {
    wire: Vec<u8>,
}

impl ProxyHeaders {
    /// The first bytes of a connection, whole and cut at `cut`; what is read is written in both versions and read again.
    pub fn play(&mut self, input: &[u8], cut: usize) -> ProxyShape {
        use proxy_protocol::Decoded;
        let whole = proxy_protocol::decode(input, Versions::ALL);
        let part = proxy_protocol::decode(&input[..cut], Versions::ALL);
        assert!(part == Decoded::NeedMore || part == whole, "{part:?} {whole:?}");
        let header = match whole {
            Decoded::NeedMore => {
                assert!(input.len() < proxy_protocol::V2_SIZE_MAX, "the bytes that are waited for are bounded");
                return ProxyShape::More;
            }
            Decoded::NotProxy => return ProxyShape::NotProxy,
            Decoded::Malformed(why) => return ProxyShape::Malformed(why),
            Decoded::Header(header) => header,
        };
        assert!(header.size <= input.len());
        let mut is_v4 = None;
        if let Endpoints::Inet { source, destination } = header.endpoints {
            is_v4 = Some(source.is_ipv4());
            let endpoints = Some((source, destination));
            let tlvs = || header.tlvs.filter(|(kind, _)| *kind != tlv::CRC32C);
            self.wire.clear();
            encode_v2(endpoints, tlvs(), &mut self.wire).expect("it was a header");
            assert_eq!(v2_size(endpoints, tlvs()), Ok(self.wire.len()));
            let Decoded::Header(again) = proxy_protocol::decode(&self.wire, Versions::ALL) else { panic!("a header") };
            assert_eq!((again.endpoints, again.size), (header.endpoints, self.wire.len()));
            assert!(again.tlvs.eq(tlvs()));
            self.wire.clear();
            encode_v1(endpoints, &mut self.wire);
            let Decoded::Header(again) = proxy_protocol::decode(&self.wire, Versions::ALL) else { panic!("a header") };
            assert_eq!((again.endpoints, again.size), (header.endpoints, self.wire.len()));
        }
        ProxyShape::Header(header.version, is_v4, header.tlvs.count())
    }
}

/// A PROXY header, cut at some 64 places.
pub fn proxy_protocol(input: &[u8]) {
    let mut headers = ProxyHeaders::default();
    (0..input.len()).step_by(1 + input.len() / 64).for_each(|cut| _ = headers.play(input, cut));
}

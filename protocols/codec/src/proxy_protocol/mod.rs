//! The PROXY protocol, versions 1 and 2 (HAProxy's specification, `proxy-protocol.txt`): what a proxy says of a connection before its first byte.
//!
//! It never says who may be believed: that is configuration. Reading is strict, since the words are taken for a connection's addresses: single
//! spaces, numbers without leading zeros, addresses of one family that a host may have (as Envoy asks), lists of TLVs to their last byte, the checksum
//! where there is one. What a sender does not know (`UNKNOWN`, UNSPEC), or what is no address of ours (a unix socket), leaves the connection its own
//! addresses, as the specification recommends.
//!
//! Envoy 1.40 differs: it takes leading zeros and a blank at the end of a line, looks at no checksum, and refuses headers of version 2 with UNSPEC or a
//! unix socket.
//!
//! Invariant: what is said of a part of the bytes is `NeedMore`, or what is said of all of them. What is written can be read.

mod checksum;
mod v1;
mod v2;

use std::net::{IpAddr, SocketAddr};

use crate::wire::Wire;

pub use v1::{V1_SIZE_MAX, encode_v1};
pub use v2::{TlvsTooLong, V2_SIZE_MAX, encode_v2, v2_size};

/// What the first bytes of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// The start of a header, or no byte yet.
    NeedMore,
    /// No header of a version that is looked for; the first twelve bytes tell.
    NotProxy,
    /// A header, but a wrong one: nothing that follows can be believed.
    Malformed(Malformed),
    /// A header.
    Header(Header<'a>),
}

/// The versions that are looked for. Bytes of another one are [`Decoded::NotProxy`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// `PROXY TCP4 ..`
    pub v1: bool,
    /// The binary one.
    pub v2: bool,
}

impl Versions {
    /// Both.
    pub const ALL: Self = Self { v1: true, v2: true };
}

/// A version of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// A line of text.
    V1,
    /// Binary, with TLVs.
    V2,
}

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its version.
    pub version: Version,
    /// Whose connection it is.
    pub endpoints: Endpoints,
    /// What else it says; only with addresses of version 2.
    pub tlvs: Tlvs<'a>,
    /// Its bytes: what follows is the connection's own.
    pub size: usize,
}

/// Whose connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoints {
    /// The proxy's own, for instance to see whether we are well. The connection's own addresses are right.
    Local,
    /// A client's whose addresses are not known, or are none of TCP/IP. The connection's own addresses have to do.
    Unknown,
    /// A client's; both addresses are of one family. What was a datagram's may come on a stream.
    Inet {
        /// The client.
        source: SocketAddr,
        /// Where it went.
        destination: SocketAddr,
    },
}

impl Endpoints {
    /// Of addresses that a host may have (Envoy: `isUnicastAddress`). IPv4 within IPv6 (RFC 4291 §2.5.5.2) is IPv4, as sockets have it: rules
    /// for a network of IPv4 are for it, too.
    fn inet(source: SocketAddr, destination: SocketAddr) -> Result<Self, Malformed> {
        let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let (source, destination) = (canonical(source), canonical(destination));
        let is_of_host = |address: IpAddr| match address {
            IpAddr::V4(address) => !address.is_unspecified() && !address.is_broadcast() && !address.is_multicast(),
            IpAddr::V6(address) => !address.is_unspecified() && !address.is_multicast(),
        };
        match is_of_host(source.ip()) && is_of_host(destination.ip()) {
            true => Ok(Self::Inet { source, destination }),
            false => Err(Malformed::NotUnicast),
        }
    }
}

/// Types of [`Tlvs`].
pub mod tlv {
    /// What was negotiated by ALPN.
    pub const ALPN: u8 = 0x01;
    /// The host that the client named: TLS's server name.
    pub const AUTHORITY: u8 = 0x02;
    /// The checksum of the header.
    pub const CRC32C: u8 = 0x03;
    /// Nothing.
    pub const NOOP: u8 = 0x04;
    /// The connection's id.
    pub const UNIQUE_ID: u8 = 0x05;
    /// What is known of the client's TLS.
    pub const SSL: u8 = 0x20;
    /// The network namespace.
    pub const NETNS: u8 = 0x30;
}

/// Types and values, as they lie in a header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tlvs<'a>(&'a [u8]);

impl<'a> Tlvs<'a> {
    /// All of them as they lie there: for who keeps them.
    #[must_use]
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// What [`Tlvs::bytes`] gave.
    #[must_use]
    pub fn of(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}

impl<'a> Iterator for Tlvs<'a> {
    type Item = (u8, &'a [u8]);

    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let mut rest = Wire(self.0);
        let tlv = (rest.u8()?, rest.list_u16()?.0);
        self.0 = rest.0;
        Some(tlv)
    }
}

macro_rules! malformed {
    ($($name:ident = $text:literal;)*) => {
        /// Why a header is refused; `proxy-protocol.txt` §2.1 and §2.2.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Malformed { $(#[doc = $text] $name,)* }

        impl Malformed {
            /// The rule that is broken, in words.
            #[must_use]
            pub const fn text(self) -> &'static str {
                match self { $(Malformed::$name => $text,)* }
            }
        }
    };
}

malformed! {
    LineTooLong = "a line of version 1 ends within 107 bytes";
    LineEnd = "a line of version 1 ends in CRLF";
    Protocol = "version 1 has TCP4, TCP6 or UNKNOWN behind PROXY and a space";
    LineForm = "version 1 has two addresses and two ports, with one space before each";
    Address = "an address of version 1 is of the family that is named, in its usual form";
    Port = "a port of version 1 is a number up to 65535 without leading zeros";
    Version = "the high bits of the thirteenth byte say version 2";
    Command = "the command is LOCAL or PROXY";
    Family = "the family is UNSPEC, INET, INET6 or UNIX, the protocol UNSPEC, STREAM or DGRAM";
    TooLong = "a header of version 2 is within the limit (V2_SIZE_MAX)";
    AddressLength = "the length of version 2 has room for the addresses of its family";
    NotUnicast = "an address is that of one host";
    TlvForm = "TLVs end where the header ends";
    ChecksumForm = "the checksum has four bytes, and stands once";
    Checksum = "the checksum is that of the header";
}

/// The version whose signature a connection begins with, wanted or not, well formed or not.
#[must_use]
pub fn version(bytes: &[u8]) -> Option<Version> {
    let signatures = [(Version::V1, v1::SIGNATURE), (Version::V2, v2::SIGNATURE)];
    signatures.into_iter().find(|(_, signature)| bytes.starts_with(signature)).map(|(version, _)| version)
}

/// Looks at the first bytes of a connection.
#[must_use]
pub fn decode(bytes: &[u8], versions: Versions) -> Decoded<'_> {
    let (mut looked_for, mut is_partial) = (None, false);
    for (is_asked, version, signature) in
        [(versions.v1, Version::V1, v1::SIGNATURE), (versions.v2, Version::V2, v2::SIGNATURE)]
    {
        if is_asked && bytes.starts_with(signature) {
            looked_for = Some(version);
        }
        is_partial |= is_asked && signature.starts_with(bytes);
    }
    let decoded = match looked_for {
        Some(Version::V1) => v1::decode(bytes),
        Some(Version::V2) => v2::decode(bytes),
        None if is_partial => return Decoded::NeedMore,
        None => return Decoded::NotProxy,
    };
    match decoded {
        Ok(Some(header)) => Decoded::Header(header),
        Ok(None) => Decoded::NeedMore,
        Err(why) => Decoded::Malformed(why),
    }
}

/// Two addresses of one family: where they differ the IPv4 address becomes an IPv6 one that stands for it.
fn of_one_family(source: SocketAddr, destination: SocketAddr) -> (SocketAddr, SocketAddr) {
    let mapped = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    if source.is_ipv4() == destination.is_ipv4() {
        (source, destination)
    } else {
        (mapped(source), mapped(destination))
    }
}

//! Version 2: binary, with TLVs behind the addresses.

use std::net::SocketAddr;

use super::checksum::Crc32c;
use super::{Endpoints, Header, Malformed, Tlvs, Version, of_one_family, tlv};
use crate::out::Out;
use crate::wire::Wire;

/// Bytes of a header that is read. The length's field allows four times as much; a sender should stay within a packet, and a client's
/// certificate comes to a few KiB. Worst case: a gathered block of this size for each connection whose header is incomplete.
pub const V2_SIZE_MAX: usize = 16 * 1024;

pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const HEADER_BYTES: usize = 16;
const VERSION: u8 = 2;
const LOCAL: u8 = 0;
const PROXY: u8 = 1;
const UNSPEC: u8 = 0;
const INET: u8 = 1;
const INET6: u8 = 2;
const UNIX: u8 = 3;
const STREAM: u8 = 1;
const DGRAM: u8 = 2;
const UNIX_BYTES: usize = 2 * 108;

/// Reads a header that begins with the signature; `None` when it has not come to its end.
pub(super) fn decode(bytes: &[u8]) -> Result<Option<Header<'_>>, Malformed> {
    let mut fixed = Wire(&bytes[SIGNATURE.len()..]);
    let Some(version_command) = fixed.u8() else { return Ok(None) };
    if version_command >> 4 != VERSION {
        return Err(Malformed::Version);
    }
    let command = version_command & 0xf;
    if !matches!(command, LOCAL | PROXY) {
        return Err(Malformed::Command);
    }
    let Some(family) = fixed.u8() else { return Ok(None) };
    let (family, protocol) = (family >> 4, family & 0xf);
    // The family of LOCAL is ignored.
    if command == PROXY && (family > UNIX || protocol > DGRAM) {
        return Err(Malformed::Family);
    }
    let Some(len) = fixed.u16() else { return Ok(None) };
    let size = HEADER_BYTES + usize::from(len);
    if size > V2_SIZE_MAX {
        return Err(Malformed::TooLong);
    }
    let is_known = command == PROXY && protocol != UNSPEC && family != UNSPEC;
    let addresses = match family {
        INET => 12,
        INET6 => 36,
        _ => UNIX_BYTES,
    };
    if is_known && usize::from(len) < addresses {
        return Err(Malformed::AddressLength);
    }
    let Some(header) = bytes.get(..size) else { return Ok(None) };
    let (endpoints, tlvs) = match command {
        LOCAL => (Endpoints::Local, Tlvs::default()),
        _ if !is_known => (Endpoints::Unknown, Tlvs::default()),
        _ => {
            let (addresses, tlvs) = header[HEADER_BYTES..].split_at(addresses);
            check(header, tlvs)?;
            (endpoints(addresses)?, Tlvs(tlvs))
        }
    };
    Ok(Some(Header { version: Version::V2, endpoints, tlvs, size }))
}

/// Of addresses, then ports; what has another length is a unix socket's.
fn endpoints(addresses: &[u8]) -> Result<Endpoints, Malformed> {
    fn inet<const N: usize>(addresses: &[u8]) -> Option<(SocketAddr, SocketAddr)>
    where
        std::net::IpAddr: From<[u8; N]>,
    {
        let mut rest = Wire(addresses);
        let (source, destination) = (rest.array::<N>()?, rest.array::<N>()?);
        let (source_port, destination_port) = (rest.u16()?, rest.u16()?);
        let inet = (SocketAddr::new(source.into(), source_port), SocketAddr::new(destination.into(), destination_port));
        rest.is_empty().then_some(inet)
    }
    match inet::<4>(addresses).or_else(|| inet::<16>(addresses)) {
        Some((source, destination)) => Endpoints::inet(source, destination),
        None => Ok(Endpoints::Unknown),
    }
}

/// Whether TLVs have their form, and the checksum is right where there is one.
fn check(header: &[u8], tlvs: &[u8]) -> Result<(), Malformed> {
    let mut checksum = None;
    let mut rest = Wire(tlvs);
    while !rest.is_empty() {
        let kind = rest.u8().ok_or(Malformed::TlvForm)?;
        let value = rest.list_u16().ok_or(Malformed::TlvForm)?.0;
        if kind == tlv::CRC32C {
            let sum: [u8; 4] = value.try_into().map_err(|_| Malformed::ChecksumForm)?;
            let at = header.len() - rest.0.len() - sum.len();
            if checksum.replace((sum, at)).is_some() {
                return Err(Malformed::ChecksumForm);
            }
        }
    }
    let Some((sum, at)) = checksum else { return Ok(()) };
    let mut crc = Crc32c::new();
    // The sum is made over a header in which it is zero.
    crc.put(&header[..at]);
    crc.put(&[0; 4]);
    crc.put(&header[at + 4..]);
    if crc.sum() == u32::from_be_bytes(sum) { Ok(()) } else { Err(Malformed::Checksum) }
}

/// TLVs that do not go into a header: its length has 16 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TlvsTooLong;

/// Bytes that [`encode_v2`] writes.
///
/// # Errors
/// They do not go into a header.
pub fn v2_size<'t>(
    endpoints: Option<(SocketAddr, SocketAddr)>,
    tlvs: impl IntoIterator<Item = (u8, &'t [u8])>,
) -> Result<usize, TlvsTooLong> {
    let Some((source, destination)) = endpoints else { return Ok(HEADER_BYTES) };
    let addresses = if source.is_ipv4() && destination.is_ipv4() { 12 } else { 36 };
    let len = tlvs.into_iter().fold(addresses, |len, (_, value)| len + 3 + value.len());
    if len <= usize::from(u16::MAX) { Ok(HEADER_BYTES + len) } else { Err(TlvsTooLong) }
}

/// Writes a header for a connection of TCP; without addresses it is one of our own, and TLVs are left out.
///
/// # Errors
/// The TLVs do not go into a header; nothing was written.
pub fn encode_v2<'t>(
    endpoints: Option<(SocketAddr, SocketAddr)>,
    tlvs: impl IntoIterator<Item = (u8, &'t [u8])> + Clone,
    out: &mut impl Out,
) -> Result<(), TlvsTooLong> {
    let len = (v2_size(endpoints, tlvs.clone())? - HEADER_BYTES) as u16;
    let [high, low] = len.to_be_bytes();
    out.put(SIGNATURE);
    let Some((source, destination)) = endpoints else {
        out.put(&[VERSION << 4 | LOCAL, UNSPEC, high, low]);
        return Ok(());
    };
    let (source, destination) = of_one_family(source, destination);
    let family = if source.is_ipv4() { INET } else { INET6 };
    out.put(&[VERSION << 4 | PROXY, family << 4 | STREAM, high, low]);
    for address in [source, destination] {
        match address {
            SocketAddr::V4(address) => out.put(&address.ip().octets()),
            SocketAddr::V6(address) => out.put(&address.ip().octets()),
        }
    }
    out.put(&source.port().to_be_bytes());
    out.put(&destination.port().to_be_bytes());
    for (kind, value) in tlvs {
        let [high, low] = (value.len() as u16).to_be_bytes();
        out.put(&[kind, high, low]);
        out.put(value);
    }
    Ok(())
}

//! Version 1: a line of text.

use std::fmt::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Endpoints, Header, Malformed, Tlvs, Version, of_one_family};
use crate::out::Out;

/// Bytes of the longest line, its end included. Nothing is kept longer.
pub const V1_SIZE_MAX: usize = 107;

pub(super) const SIGNATURE: &[u8] = b"PROXY ";

/// Reads a header that begins with the signature; `None` when it has not come to its end.
pub(super) fn decode(bytes: &[u8]) -> Result<Option<Header<'_>>, Malformed> {
    let within = &bytes[..bytes.len().min(V1_SIZE_MAX)];
    let Some(end) = within.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
        return if within.len() == V1_SIZE_MAX { Err(Malformed::LineTooLong) } else { Ok(None) };
    };
    match within[end..] {
        [b'\r', b'\n', ..] => {}
        [b'\r'] if within.len() == V1_SIZE_MAX => return Err(Malformed::LineTooLong),
        [b'\r'] => return Ok(None),
        _ => return Err(Malformed::LineEnd),
    }
    let endpoints = endpoints(&within[SIGNATURE.len()..end])?;
    Ok(Some(Header { version: Version::V1, endpoints, tlvs: Tlvs::default(), size: end + 2 }))
}

fn endpoints(words: &[u8]) -> Result<Endpoints, Malformed> {
    let mut words = words.split(|&byte| byte == b' ');
    let address: fn(&[u8]) -> Option<IpAddr> = match words.next() {
        Some(b"TCP4") => |word| text::<Ipv4Addr>(word).map(IpAddr::V4),
        Some(b"TCP6") => |word| text::<Ipv6Addr>(word).map(IpAddr::V6),
        // What follows is of no meaning.
        Some(b"UNKNOWN") => return Ok(Endpoints::Unknown),
        _ => return Err(Malformed::Protocol),
    };
    let mut next = || words.next().ok_or(Malformed::LineForm);
    let (source, destination, source_port, destination_port) = (next()?, next()?, next()?, next()?);
    if words.next().is_some() {
        return Err(Malformed::LineForm);
    }
    let address = |word| address(word).ok_or(Malformed::Address);
    let (source, destination) = (address(source)?, address(destination)?);
    let port = |word| port(word).ok_or(Malformed::Port);
    Endpoints::inet(SocketAddr::new(source, port(source_port)?), SocketAddr::new(destination, port(destination_port)?))
}

fn text<T: std::str::FromStr>(word: &[u8]) -> Option<T> {
    std::str::from_utf8(word).ok()?.parse().ok()
}

fn port(word: &[u8]) -> Option<u16> {
    let is_number = word.iter().all(u8::is_ascii_digit) && (word == b"0" || word.first() != Some(&b'0'));
    if is_number { text(word) } else { None }
}

/// Writes a line of at most [`V1_SIZE_MAX`] bytes; without addresses one that says that they are not known.
pub fn encode_v1(endpoints: Option<(SocketAddr, SocketAddr)>, out: &mut impl Out) {
    let Some((source, destination)) = endpoints else { return out.put(b"PROXY UNKNOWN\r\n") };
    let (source, destination) = of_one_family(source, destination);
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let mut line = Line { bytes: [0; V1_SIZE_MAX], len: 0 };
    let (source_port, destination_port) = (source.port(), destination.port());
    let (source, destination) = (source.ip(), destination.ip());
    write!(line, "PROXY {family} {source} {destination} {source_port} {destination_port}\r\n")
        .expect("the longest addresses are within the limit");
    out.put(&line.bytes[..line.len]);
}

/// A line on the stack.
struct Line {
    bytes: [u8; V1_SIZE_MAX],
    len: usize,
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        self.bytes.get_mut(self.len..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

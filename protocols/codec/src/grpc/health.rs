//! The two messages of the health checking protocol (doc/health-checking.md), by hand: a string and an enumeration.

use crate::error::{Error, Rule};

/// The path of a check that is answered once.
pub const HEALTH_CHECK_PATH: &[u8] = b"/grpc.health.v1.Health/Check";
/// The path of one that is answered again at each change.
pub const HEALTH_WATCH_PATH: &[u8] = b"/grpc.health.v1.Health/Watch";

/// `HealthCheckResponse.ServingStatus`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// UNKNOWN, and what a later version may add.
    Unknown,
    /// SERVING: the only one that is healthy.
    Serving,
    /// NOT_SERVING
    NotServing,
    /// SERVICE_UNKNOWN, of Watch alone.
    ServiceUnknown,
}

/// Appends a `HealthCheckRequest` for this service (empty: the server as a whole) with its prefix. The service's name has at most
/// 64 KiB (asserted): it comes from configuration.
pub fn encode_health_request(service: &str, out: &mut Vec<u8>) {
    assert!(service.len() <= usize::from(u16::MAX), "a name within reason");
    const SERVICE: u8 = 1 << 3 | LENGTH_DELIMITED as u8;
    let start = out.len();
    out.extend_from_slice(&[0; 5]);
    // A field that has its default is left out.
    if !service.is_empty() {
        out.push(SERVICE);
        let mut len = service.len();
        while len > 0x7f {
            out.push(len as u8 | 0x80);
            len >>= 7;
        }
        out.push(len as u8);
        out.extend_from_slice(service.as_bytes());
    }
    let len = (out.len() - start - 5) as u32;
    out[start + 1..start + 5].copy_from_slice(&len.to_be_bytes());
}

/// Reads one `HealthCheckResponse` with its prefix off the front of `content`; how many bytes it took. `None`: more has to come.
///
/// # Errors
/// [`Rule::GrpcMessage`]: it is compressed, longer than such a message can honestly be, or no such message.
pub fn decode_health_response(content: &[u8]) -> Result<Option<(Health, usize)>, Error> {
    /// Two bytes say all; the rest is room for fields that may be added. No memory: the caller bounds by it what it gathers.
    const BYTES_MAX: usize = 1024;
    let Some((&[flag, a, b, c, d], rest)) = content.split_first_chunk() else { return Ok(None) };
    let len = u32::from_be_bytes([a, b, c, d]) as usize;
    if flag != 0 || len > BYTES_MAX {
        return Err(Error::stream(Rule::GrpcMessage));
    }
    let Some(message) = rest.get(..len) else { return Ok(None) };
    let health = status(message).ok_or(Error::stream(Rule::GrpcMessage))?;
    Ok(Some((health, 5 + len)))
}

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const LENGTH_DELIMITED: u64 = 2;
const FIXED32: u64 = 5;

/// The last value of field 1, other fields skipped (protobuf, "Encoding").
fn status(mut message: &[u8]) -> Option<Health> {
    let mut health = Health::Unknown;
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        match (tag >> 3, tag & 7) {
            (0, _) => return None,
            (1, VARINT) => {
                health = match varint(&mut message)? {
                    1 => Health::Serving,
                    2 => Health::NotServing,
                    3 => Health::ServiceUnknown,
                    _ => Health::Unknown,
                };
            }
            (1, _) => return None,
            (_, VARINT) => drop(varint(&mut message)?),
            (_, FIXED64) => message = message.get(8..)?,
            (_, FIXED32) => message = message.get(4..)?,
            (_, LENGTH_DELIMITED) => {
                let len = usize::try_from(varint(&mut message)?).ok()?;
                message = message.get(len..)?;
            }
            _ => return None,
        }
    }
    Some(health)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    const BYTES_MAX: usize = 10;
    let mut value = 0;
    for place in 0..BYTES_MAX {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f).checked_shl(7 * place as u32)?;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_written() {
        let mut out = b"before".to_vec();
        encode_health_request("", &mut out);
        assert_eq!(out, b"before\0\0\0\0\0");
        out.clear();
        encode_health_request("a.B", &mut out);
        assert_eq!(out, b"\0\0\0\0\x05\x0a\x03a.B");
        out.clear();
        encode_health_request(&"x".repeat(300), &mut out);
        assert_eq!(out[..8], *b"\0\0\0\x01\x2f\x0a\xac\x02");
        assert_eq!(out.len(), 8 + 300);
    }

    #[test]
    fn responses_are_read() {
        let read = |bytes: &[u8]| decode_health_response(bytes).map_err(|error| error.rule);
        for (message, expect) in [
            (&b"\x08\x01"[..], Health::Serving),
            (b"\x08\x02", Health::NotServing),
            (b"\x08\x03", Health::ServiceUnknown),
            (b"", Health::Unknown),
            (b"\x08\x00", Health::Unknown),
            (b"\x08\x63", Health::Unknown),
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", Health::Unknown),
            (b"\x08\x02\x08\x01", Health::Serving),
            (b"\x12\x03abc\x18\x05\x21abcdefgh\x2dabcd\x08\x01", Health::Serving),
        ] {
            let mut content = vec![0, 0, 0, 0, message.len() as u8];
            content.extend_from_slice(message);
            content.extend_from_slice(b"more");
            assert_eq!(read(&content), Ok(Some((expect, 5 + message.len()))), "{message:?}");
            for cut in 0..5 + message.len() {
                assert_eq!(read(&content[..cut]), Ok(None));
            }
        }
        for wrong in [
            &b"\x01\0\0\0\0"[..],                                        // compressed
            b"\0\0\0\x10\0",                                             // longer than it can be
            b"\0\0\0\0\x01\x08",                                         // no value
            b"\0\0\0\0\x02\x0a\x01",                                     // a string where the status stands
            b"\0\0\0\0\x02\x12\x05",                                     // longer than the message
            b"\0\0\0\0\x02\x0b\x0c",                                     // a group
            b"\0\0\0\0\x02\x00\x01",                                     // field 0
            b"\0\0\0\0\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", // no end
        ] {
            assert_eq!(read(wrong), Err(Rule::GrpcMessage), "{wrong:?}");
        }
    }
}

//! `DiscoveryResponse` and `DeltaDiscoveryResponse` from bytes: the envelope alone. What is inside stays bytes, so that
//! who has seen the same before need not read it again. Field numbers are those of
//! `envoy/service/discovery/v3/discovery.proto`.

use std::fmt;
use std::time::Duration;

use crate::wire::{Fault, Payload, Record, Records};

/// The largest count of resources, removed names and errors of one response. Ten thousand clusters are the largest that
/// are seen; an empty one is two bytes on the wire and 120 here, so that these take at most 32 MiB.
pub(crate) const RESOURCES_MAX: usize = 256 << 10;
/// The longest version, nonce or name. They are sent back with requests; usually they are hashes.
pub(crate) const TEXT_BYTES_MAX: usize = 16 << 10;
/// The longest TTL: what is longer is no TTL. Protobuf's own limit does not fit on the clock.
const TTL_SECONDS_MAX: u64 = 100 * 365 * 86_400;

/// Either response.
#[derive(Debug, Default)]
pub(super) struct Response<'b> {
    pub(super) version: &'b str,
    pub(super) nonce: &'b str,
    pub(super) type_url: &'b str,
    pub(super) resources: Vec<Resource<'b>>,
    pub(super) removed: Vec<&'b str>,
    pub(super) errors: Vec<ResourceError<'b>>,
    /// `control_plane.identifier`.
    pub(super) control_plane: &'b str,
}

/// `envoy.service.discovery.v3.Resource`, or what is known of a bare resource.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Resource<'b> {
    /// As the wrapper says, or the resource itself. Empty where neither does.
    pub(crate) name: &'b str,
    /// Empty where only the response has one.
    pub(crate) version: &'b str,
    /// `None`: a heartbeat.
    pub(crate) body: Option<Body<'b>>,
    pub(crate) ttl: Option<Duration>,
}

/// A `google.protobuf.Any` as it came.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Body<'b> {
    pub(crate) type_url: &'b str,
    pub(crate) value: &'b [u8],
}

/// What a server says of a resource that it has not got.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ResourceError<'b> {
    pub(crate) name: &'b str,
    /// A `google.rpc.Code`.
    pub(crate) code: u32,
    pub(crate) message: &'b str,
}

impl ResourceError<'_> {
    /// Whether it says that there is no such resource, which is not an error of the server.
    pub(crate) fn is_not_found(&self) -> bool {
        const NOT_FOUND: u32 = 5;
        self.code == NOT_FOUND
    }
}

/// Why bytes are no response. There is no answer to one that cannot be read: the stream ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    Fault(Fault),
    /// A field of this number has another wire type.
    WireType(u32),
    NotUtf8(u32),
    Long(u32),
    Many,
    /// There is no telling what it is an answer to.
    Nonce,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server's message is no discovery response: ")?;
        match self {
            Malformed::Fault(fault) => write!(f, "{fault}"),
            Malformed::WireType(number) => write!(f, "field {number} is of another wire type"),
            Malformed::NotUtf8(number) => write!(f, "field {number} is not UTF-8"),
            Malformed::Long(number) => write!(f, "field {number} is longer than {TEXT_BYTES_MAX} bytes"),
            Malformed::Many => write!(f, "it has more than {RESOURCES_MAX} resources"),
            Malformed::Nonce => f.write_str("it has no nonce"),
        }
    }
}

impl From<Fault> for Malformed {
    fn from(fault: Fault) -> Self {
        Malformed::Fault(fault)
    }
}

type Read<T> = Result<T, Malformed>;

/// A `DiscoveryResponse`.
pub(super) fn state_of_the_world(bytes: &[u8]) -> Read<Response<'_>> {
    let mut response = Response::default();
    let mut records = Records::new(bytes);
    while let Some(record) = records.next()? {
        match record.number {
            1 => response.version = text(record)?,
            2 => {
                let mut body = Body::default();
                body.merge(len(record)?)?;
                add(&mut response.resources, bare(body)?)?;
            }
            4 => response.type_url = text(record)?,
            5 => response.nonce = text(record)?,
            6 => response.control_plane = identifier(len(record)?)?.unwrap_or(response.control_plane),
            7 => add(&mut response.errors, error(len(record)?)?)?,
            _ => {}
        }
    }
    Ok(response)
}

/// A `DeltaDiscoveryResponse`.
pub(super) fn delta(bytes: &[u8]) -> Read<Response<'_>> {
    let mut response = Response::default();
    let mut records = Records::new(bytes);
    while let Some(record) = records.next()? {
        match record.number {
            1 => response.version = text(record)?,
            2 => add(&mut response.resources, resource(len(record)?)?)?,
            4 => response.type_url = text(record)?,
            5 => response.nonce = text(record)?,
            6 => add(&mut response.removed, text(record)?)?,
            7 => response.control_plane = identifier(len(record)?)?.unwrap_or(response.control_plane),
            8 => add(&mut response.removed, first_text(len(record)?)?.unwrap_or_default())?,
            9 => add(&mut response.errors, error(len(record)?)?)?,
            _ => {}
        }
    }
    Ok(response)
}

/// A resource of state of the world: bare, or inside of a `Resource` that gives it a TTL.
fn bare(body: Body<'_>) -> Read<Resource<'_>> {
    match body.type_name() {
        "envoy.service.discovery.v3.Resource" => resource(body.value),
        _ => Ok(Resource { name: body.name(), body: Some(body), ..Resource::default() }),
    }
}

fn resource(bytes: &[u8]) -> Read<Resource<'_>> {
    let (mut resource, mut other_name) = (Resource::default(), "");
    let mut records = Records::new(bytes);
    while let Some(record) = records.next()? {
        match record.number {
            1 => resource.version = text(record)?,
            2 => resource.body.get_or_insert_default().merge(len(record)?)?,
            3 => resource.name = text(record)?,
            6 => resource.ttl = Some(ttl(len(record)?, resource.ttl)?),
            8 => other_name = first_text(len(record)?)?.unwrap_or(other_name),
            _ => {}
        }
    }
    if resource.name.is_empty() {
        resource.name = other_name;
    }
    if let (true, Some(body)) = (resource.name.is_empty(), resource.body) {
        resource.name = body.name();
    }
    Ok(resource)
}

impl<'b> Body<'b> {
    fn merge(&mut self, bytes: &'b [u8]) -> Read<()> {
        let mut records = Records::new(bytes);
        while let Some(record) = records.next()? {
            match record.number {
                1 => self.type_url = text(record)?,
                2 => self.value = len(record)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// The full name of the message.
    pub(crate) fn type_name(&self) -> &'b str {
        self.type_url.rsplit_once('/').map_or("", |(_, name)| name)
    }

    /// What the resource calls itself: of every type that is served, its first field. Empty where there is none that
    /// can be read.
    fn name(&self) -> &'b str {
        first_text(self.value).ok().flatten().unwrap_or_default()
    }
}

/// The string of the field with the number 1: the last one wins.
fn first_text(bytes: &[u8]) -> Read<Option<&str>> {
    let (mut found, mut records) = (None, Records::new(bytes));
    while let Some(record) = records.next()? {
        if record.number == 1 {
            found = Some(text(record)?);
        }
    }
    Ok(found)
}

/// `ControlPlane.identifier`.
fn identifier(bytes: &[u8]) -> Read<Option<&str>> {
    first_text(bytes)
}

/// `ResourceError`, whose details are a `google.rpc.Status`.
fn error(bytes: &[u8]) -> Read<ResourceError<'_>> {
    let (mut error, mut records) = (ResourceError::default(), Records::new(bytes));
    while let Some(record) = records.next()? {
        match record.number {
            1 => error.name = first_text(len(record)?)?.unwrap_or(error.name),
            2 => {
                let mut status = Records::new(len(record)?);
                while let Some(record) = status.next()? {
                    match record.number {
                        1 => error.code = number(record)? as u32,
                        2 => error.message = text(record)?,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Ok(error)
}

/// A `google.protobuf.Duration`, whose parts may come twice. One that is negative is over at once.
fn ttl(bytes: &[u8], before: Option<Duration>) -> Read<Duration> {
    let before = before.unwrap_or_default();
    let (mut seconds, mut nanos) = (before.as_secs() as i64, before.subsec_nanos() as i32);
    let mut records = Records::new(bytes);
    while let Some(record) = records.next()? {
        match record.number {
            1 => seconds = number(record)? as i64,
            2 => nanos = number(record)? as i32,
            _ => {}
        }
    }
    let (seconds, nanos) = (u64::try_from(seconds).unwrap_or(0), u32::try_from(nanos).unwrap_or(0));
    Ok(Duration::new(seconds.min(TTL_SECONDS_MAX), nanos.min(999_999_999)))
}

fn add<T>(list: &mut Vec<T>, item: T) -> Read<()> {
    if list.len() >= RESOURCES_MAX {
        return Err(Malformed::Many);
    }
    list.push(item);
    Ok(())
}

fn len(record: Record<'_>) -> Read<&[u8]> {
    match record.payload {
        Payload::Len(bytes) => Ok(bytes),
        _ => Err(Malformed::WireType(record.number)),
    }
}

fn text(record: Record<'_>) -> Read<&str> {
    let bytes = len(record)?;
    if bytes.len() > TEXT_BYTES_MAX {
        return Err(Malformed::Long(record.number));
    }
    std::str::from_utf8(bytes).map_err(|_| Malformed::NotUtf8(record.number))
}

fn number(record: Record<'_>) -> Read<u64> {
    match record.payload {
        Payload::Varint(value) => Ok(value),
        _ => Err(Malformed::WireType(record.number)),
    }
}

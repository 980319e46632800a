//! The client status discovery service (CSDS, `envoy.service.status.v3`): what is asked of this process, and what it answers.
//!
//! A server's end of it and an xDS client's are one service in the .proto file. This is the client's: one client, which is this process,
//! and each resource that did not come with the bootstrap. The numbers of fields are those of csds.proto and config_dump_shared.proto.
//!
//! `config_status` is not said: management servers say it, and it is not present where an xDS client answers (csds.proto).
//! `node_matchers` are refused: who asks this process has found it already, and gRPC's own service refuses them, too.

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::bootstrap::Dump;
use crate::cache::{ShownError, ShownResource, ShownVersion};
use crate::grpc::server::{self, Accepted, Code, Form, Method, Status};
use crate::problem::Report;
use crate::reader::Unknown;
use crate::schema::MessageType;
use crate::wire::{self, Payload, Records, Writer};
use crate::xds;

/// The service's methods, answered alike.
const METHODS: [Method; 2] = [
    Method { path: "/envoy.service.status.v3.ClientStatusDiscoveryService/FetchClientStatus", form: Form::Unary },
    Method { path: "/envoy.service.status.v3.ClientStatusDiscoveryService/StreamClientStatus", form: Form::Stream },
];

/// Serves the service by gRPC on a connection of HTTP/2, until that ends; `before` is what has been read of it. `status` makes a response
/// ([`client_status`]); it may wait, and gives `None` where nobody says in time what there is.
///
/// # Errors
/// What the kernel says of a socket that cannot be waited for.
pub fn serve_client_status(
    socket: Accepted,
    before: Vec<u8>,
    status: impl Fn(ClientStatusRequest) -> Option<Vec<u8>> + 'static,
) -> io::Result<()> {
    server::serve(socket, before, &METHODS, move |message| {
        let request = ClientStatusRequest::read(message).map_err(|why| Status::new(Code::InvalidArgument, why))?;
        status(request).ok_or_else(|| Status::new(Code::Unavailable, "the control thread is busy"))
    })
}

/// `envoy.admin.v3.ClientResourceStatus`, as far as it is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientResourceStatus {
    /// It was asked for by name, and nothing has been said about it.
    Requested = 1,
    /// There is none.
    DoesNotExist = 2,
    /// The last version was accepted.
    Acked = 3,
    /// The last version was refused.
    Nacked = 4,
}

impl ClientResourceStatus {
    /// The name that the .proto file has for it.
    pub fn name(self) -> &'static str {
        match self {
            ClientResourceStatus::Requested => "REQUESTED",
            ClientResourceStatus::DoesNotExist => "DOES_NOT_EXIST",
            ClientResourceStatus::Acked => "ACKED",
            ClientResourceStatus::Nacked => "NACKED",
        }
    }
}

impl ShownResource {
    /// The version accepted last, whether it waits for something or is in force.
    pub fn accepted(&self) -> Option<&ShownVersion> {
        self.warming.as_ref().or(self.active.as_ref())
    }

    /// What has become of it.
    pub fn status(&self) -> ClientResourceStatus {
        match (&self.error, self.accepted(), self.is_missing) {
            (Some(_), ..) => ClientResourceStatus::Nacked,
            (None, Some(_), _) => ClientResourceStatus::Acked,
            (None, None, true) => ClientResourceStatus::DoesNotExist,
            (None, None, false) => ClientResourceStatus::Requested,
        }
    }

    fn type_url(&self) -> String {
        format!("type.googleapis.com/{}", self.kind.type_name())
    }
}

/// `ClientStatusRequest`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientStatusRequest {
    /// `exclude_resource_contents`.
    pub excludes_contents: bool,
}

impl ClientStatusRequest {
    /// Reads it in protobuf's wire form. Fields that nobody knows are passed over.
    ///
    /// # Errors
    /// It is no such message, or it has `node_matchers`; the text says which.
    pub fn read(bytes: &[u8]) -> Result<ClientStatusRequest, String> {
        let wrong = |why: &dyn std::fmt::Display| format!("not a ClientStatusRequest: {why}");
        let (mut request, mut has_matchers) = (ClientStatusRequest::default(), false);
        let mut records = Records::new(bytes);
        while let Some(record) = records.next().map_err(|fault| wrong(&fault))? {
            match (record.number, record.payload) {
                (1, Payload::Len(_)) => has_matchers = true,
                (2, Payload::Len(node)) => is_node(node).map_err(|why| wrong(&why))?,
                (3, Payload::Varint(value)) => request.excludes_contents = value != 0,
                (number @ 1..=3, payload) => {
                    return Err(wrong(&format_args!("{} is no wire type of field {number}", payload.wire_type())));
                }
                _ => {}
            }
        }
        if has_matchers {
            return Err("node_matchers are not supported: there is one client here".to_owned());
        }
        Ok(request)
    }
}

/// Who asks does not matter, but that it can be read.
fn is_node(bytes: &[u8]) -> Result<(), String> {
    let kind = MessageType::by_name("envoy.config.core.v3.Node").expect("the schema has it");
    let mut report = Report::new("node");
    wire::read(bytes, kind, Unknown::Kept, &mut report);
    report.finish().map(drop).map_err(|problems| problems[0].to_string())
}

/// `ClientStatusResponse` in protobuf's wire form, without what is secret: a process with this bootstrap, and what came besides.
pub fn client_status(bootstrap: Option<&Dump>, came: &[ShownResource], request: ClientStatusRequest) -> Vec<u8> {
    let mut out = Writer::default();
    out.message(1, |out| {
        out.len(1, &bootstrap.map_or_else(|| xds::shown_node(None), Dump::encoded_node));
        came.iter().for_each(|shown| out.message(3, |out| generic(shown, request, out)));
    });
    out.bytes
}

/// `GenericXdsConfig`.
fn generic(shown: &ShownResource, request: ClientStatusRequest, out: &mut Writer) {
    let url = shown.type_url();
    out.text(1, &url);
    out.text(2, &shown.name);
    if let Some(accepted) = shown.accepted() {
        out.text(3, &accepted.version);
        if !request.excludes_contents {
            any(4, &url, accepted, out);
        }
        timestamp(5, accepted.updated, out);
    }
    out.number(7, shown.status() as u64);
    if let Some(error) = &shown.error {
        out.message(8, |out| failure(&url, error, request, out));
    }
}

/// `UpdateFailureState`.
fn failure(url: &str, error: &ShownError, request: ClientStatusRequest, out: &mut Writer) {
    if let Some(failed) = error.failed.as_ref().filter(|_| !request.excludes_contents) {
        any(1, url, failed, out);
    }
    timestamp(2, error.at, out);
    out.text(3, &error.problems.join("\n"));
    out.text(4, &error.version);
}

/// A resource as an `Any`.
fn any(number: u32, url: &str, version: &ShownVersion, out: &mut Writer) {
    out.message(number, |out| {
        out.text(1, url);
        out.len(2, &version.encoded());
    });
}

/// `google.protobuf.Timestamp`.
fn timestamp(number: u32, at: SystemTime, out: &mut Writer) {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    out.message(number, |out| {
        out.number(1, since.as_secs());
        out.number(2, since.subsec_nanos().into());
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Kind;

    #[track_caller]
    fn check(bytes: &[u8], expect: Result<bool, &str>) {
        match (ClientStatusRequest::read(bytes), expect) {
            (Ok(request), Ok(expect)) => assert_eq!(request.excludes_contents, expect),
            (Err(found), Err(expect)) => assert!(found.contains(expect), "{found}"),
            (found, expect) => panic!("{found:?} instead of {expect:?}"),
        }
    }

    #[test]
    fn requests_are_read() {
        check(b"", Ok(false));
        check(b"\x18\x01", Ok(true));
        check(b"\x18\x01\x18\x00", Ok(false));
        // A node {id: n, cluster: c}, and a field of the future.
        check(b"\x12\x06\x0a\x01n\x12\x01c\x18\x01\x22\x01x", Ok(true));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        check(b"\x18", Err("it ends within a field"));
        check(b"\x12\x05\x0a\x01n", Err("it ends within a field"));
        check(b"\x12\x02\x0a\x05", Err("not a ClientStatusRequest: node"));
        check(b"\x1a\x01\x01", Err("LEN is no wire type of field 3"));
        check(b"\x10\x01", Err("VARINT is no wire type of field 2"));
        // Of a node no string may be anything but text.
        check(b"\x12\x03\x0a\x01\xff", Err("UTF-8"));
        check(b"\x0a\x00", Err("node_matchers"));
    }

    #[test]
    fn any_bytes_are_read_or_refused() {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        for _ in 0..20_000 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let bytes = state.to_le_bytes();
            let _ = ClientStatusRequest::read(&bytes[..(state % 9) as usize]);
            let _ = ClientStatusRequest::read(&[&[0x12, bytes[0] % 8], &bytes[1..]].concat());
        }
    }

    #[test]
    fn a_resource_that_was_asked_for_is_requested_until_something_is_said() {
        for (is_missing, status, name) in [(false, 1, "REQUESTED"), (true, 2, "DOES_NOT_EXIST")] {
            let (active, warming, error) = (None, None, None);
            let shown = ShownResource { kind: Kind::Assignment, name: "c".into(), active, warming, error, is_missing };
            let mut out = Writer::default();
            generic(&shown, ClientStatusRequest::default(), &mut out);
            let mut expect = Writer::default();
            expect.text(1, "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment");
            expect.text(2, "c");
            expect.number(7, status);
            assert_eq!((out.bytes, shown.status().name()), (expect.bytes, name));
        }
    }
}

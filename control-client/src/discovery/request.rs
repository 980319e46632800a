//! `DiscoveryRequest` and `DeltaDiscoveryRequest` as bytes. Field numbers are those of
//! `envoy/service/discovery/v3/discovery.proto`.

use crate::wire::Writer;

/// What both have in common.
pub(super) struct Common<'r> {
    /// An encoded `Node`, in the first request of a stream.
    pub(super) node: Option<&'r [u8]>,
    /// With its host.
    pub(super) type_url: &'r str,
    /// Of the response that is answered or, in state of the world, of the last one; else empty.
    pub(super) nonce: &'r str,
    /// Why the response is refused: a NACK.
    pub(super) error: Option<&'r str>,
}

/// `google.rpc.Code.INVALID_ARGUMENT`, as gRPC's own clients say it.
const INVALID_ARGUMENT: u64 = 3;

impl Common<'_> {
    fn write(&self, out: &mut Writer, [node, type_url, nonce, error]: [u32; 4]) {
        if let Some(bytes) = self.node {
            out.len(node, bytes);
        }
        out.text(type_url, self.type_url);
        out.text(nonce, self.nonce);
        if let Some(text) = self.error {
            out.message(error, |out| {
                out.number(1, INVALID_ARGUMENT);
                out.text(2, text);
            });
        }
    }
}

/// A `DiscoveryRequest`.
pub(super) fn state_of_the_world<'r>(
    common: &Common<'_>,
    version: &str,
    names: impl Iterator<Item = &'r str>,
) -> Vec<u8> {
    let mut out = Writer::default();
    common.write(&mut out, [2, 4, 5, 6]);
    out.text(1, version);
    names.for_each(|name| out.item(3, name));
    out.bytes
}

/// A `DeltaDiscoveryRequest`.
pub(super) fn delta<'r>(
    common: &Common<'_>,
    subscribe: impl Iterator<Item = &'r str>,
    unsubscribe: impl Iterator<Item = &'r str>,
    versions: impl Iterator<Item = (&'r str, &'r str)>,
) -> Vec<u8> {
    let mut out = Writer::default();
    common.write(&mut out, [1, 2, 6, 7]);
    subscribe.for_each(|name| out.item(3, name));
    unsubscribe.for_each(|name| out.item(4, name));
    for (name, version) in versions {
        out.message(5, |out| {
            out.text(1, name);
            out.text(2, version);
        });
    }
    out.bytes
}

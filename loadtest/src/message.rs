//! Requests as bytes: written once a core, and shared by all that are sent.

use ringway_protocols::http1::put_number;
use ringway_runtime::{Chunk, Core};

use crate::chance::Chance;
use crate::content::Sizes;
use crate::grpc::PREFIX_BYTES;
use crate::plan::{Plan, Request};
use crate::target::Protocol;

/// A body up to this size goes with its head in one piece; a larger one is worth a piece of its own.
const JOINED_MAX: usize = 16 << 10;

/// One core's requests.
pub(crate) struct Message {
    /// The head in the form of HTTP/1.1, without the empty line, and without a length where sizes differ.
    head: Vec<u8>,
    /// A request that is always the same: head and, in one piece or two, body.
    whole: Vec<Chunk>,
    /// The largest body.
    pub(crate) body: Chunk,
    sizes: Sizes,
}

impl Message {
    pub(crate) fn new(core: &Core, plan: &Plan) -> Message {
        let request = &plan.request;
        let body = match plan.target.protocol {
            Protocol::Grpc => grpc_body(request),
            _ => request.content.clone(),
        };
        let sizes = match plan.target.protocol {
            Protocol::Grpc => Sizes::Fixed(body.len() as u64),
            _ => request.sizes.clone(),
        };
        let head = head(plan, &sizes);
        let whole = match sizes.fixed() {
            None => Vec::new(),
            Some(_) => {
                let mut first = head.clone();
                first.extend_from_slice(b"\r\n");
                if body.len() <= JOINED_MAX {
                    first.extend_from_slice(&body);
                    vec![core.chunk(&first)]
                } else {
                    vec![core.chunk(&first), core.chunk(&body)]
                }
            }
        };
        Message { head, whole, body: core.chunk(&body), sizes }
    }

    /// The next request's size of body.
    pub(crate) fn size(&self, chance: &mut Chance) -> usize {
        self.sizes.draw(chance) as usize
    }

    /// A request of HTTP/1.1, piece by piece.
    pub(crate) fn pieces(&self, core: &Core, size: usize, mut send: impl FnMut(Chunk)) {
        if !self.whole.is_empty() {
            return self.whole.iter().for_each(|piece| send(piece.clone()));
        }
        send(core.chunk(&self.head(size)));
        send(self.body.slice(0..size));
    }

    /// The head of one whose body has this size.
    pub(crate) fn head(&self, size: usize) -> Vec<u8> {
        let mut head = self.head.clone();
        if self.sizes.fixed().is_none() {
            head.extend_from_slice(b"content-length: ");
            put_number(size as u64, &mut head);
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        head
    }

    /// Whether all requests are the same.
    pub(crate) fn is_fixed(&self) -> bool {
        !self.whole.is_empty()
    }

    /// The head of all, then.
    pub(crate) fn fixed_head(&self) -> Option<&[u8]> {
        self.whole.first().map(|first| &first[..self.head.len() + 2])
    }
}

fn head(plan: &Plan, sizes: &Sizes) -> Vec<u8> {
    let request = &plan.request;
    let is_grpc = plan.target.protocol == Protocol::Grpc;
    let given = |name: &str| request.headers.iter().any(|(given, _)| given.eq_ignore_ascii_case(name));
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method, plan.target.path);
    let mut put = |name: &str, value: &str| {
        if !given(name) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
    };
    put("Host", &plan.target.authority());
    if is_grpc {
        put("content-type", "application/grpc");
        put("te", "trailers");
        put("user-agent", concat!("ringway-load/", env!("CARGO_PKG_VERSION")));
    }
    let has_content = !matches!(request.method.as_str(), "GET" | "HEAD" | "DELETE" | "OPTIONS" | "TRACE");
    if let Some(size) = sizes.fixed()
        && !is_grpc
        && (size > 0 || has_content)
    {
        put("content-length", &size.to_string());
    }
    if plan.requests_per_connection == Some(1) && !plan.is_http2() {
        put("Connection", "close");
    }
    for (name, value) in &request.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.into_bytes()
}

/// Bytes of a call of so many messages of this size.
pub(crate) fn grpc_size(message: u64, messages: u32) -> u64 {
    (PREFIX_BYTES as u64).saturating_add(message).saturating_mul(messages.into())
}

/// All messages of a call, each with its prefix.
fn grpc_body(request: &Request) -> Vec<u8> {
    let mut body = Vec::with_capacity(grpc_size(request.content.len() as u64, request.messages) as usize);
    for _ in 0..request.messages {
        body.push(0);
        body.extend_from_slice(&(request.content.len() as u32).to_be_bytes());
        body.extend_from_slice(&request.content);
    }
    body
}

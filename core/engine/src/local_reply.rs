//! What is made of an answer of our own before it is sent (Envoy, `local_reply_config`).
//!
//! The answer is there as it would go without: its head is read again, changed and written anew. Only where the connection manager has
//! such a configuration, and once for an answer: whoever has no answer of ours pays nothing.

use std::cell::RefCell;

use ringway_model::format::{Fact, HeaderSource, Operator};
use ringway_model::{HeaderMatcher, LocalReplies};
use ringway_observe::access_log::{filter_passes, write_text};
use ringway_observe::format::{Value, Values};
use ringway_protocols::http1::{encode_local_reply, local_reply_size};
use ringway_protocols::{HeadTable, Known, Limits, Out, Response, grpc};
use ringway_runtime::Chunk;

use crate::connection::Downstream;
use crate::fields::{Facts, Fields};
use crate::grpc_reply;
use crate::log;
use crate::outbox::Outbox;
use crate::record::{Record, Told};
use crate::reply::Local;
use crate::told_heads::FoundHeads;
use crate::view::CoreChain;

/// A worker's working memory, from the first answer that is changed.
#[derive(Default)]
pub(crate) struct Mapping(RefCell<Option<Box<Buffers>>>);

struct Buffers {
    request: HeadTable,
    response: HeadTable,
    found: FoundHeads,
    body: Vec<u8>,
    /// The body that a format is made of.
    spare: Vec<u8>,
}

/// The answer as it is to go, and its status. `reply` is the whole of it as written, and `body` its body, which a HEAD does not get;
/// `record` has been told of it and is told of what becomes of it.
pub(crate) fn map(
    connection: &Downstream,
    chain: &CoreChain,
    record: &mut Record,
    reply: Chunk,
    body: &[u8],
    close: bool,
) -> (u16, Chunk) {
    let Some(rules) = &chain.http.local_replies else { return (record.status, reply) };
    let worker = &connection.worker;
    let view = worker.view_for(connection.key);
    let mut buffers = worker.mapping.0.borrow_mut();
    let buffers = buffers.get_or_insert_with(|| {
        let table = || HeadTable::new(Limits::HEADERS_CAP);
        Box::new(Buffers {
            request: table(),
            response: table(),
            found: FoundHeads::default(),
            body: Vec::new(),
            spare: Vec::new(),
        })
    });
    let Buffers { request, response, found, body: mapped, spare } = &mut **buffers;
    let head_only = record.method == ringway_protocols::Method::Head;
    let fields = &mut *worker.fields.borrow_mut();
    let clocks = (worker.core.now(), worker.date.nanos(worker.core.now()));
    let request = log::whole_request(worker, record, request);
    let response = log::whole_response(worker, record, response);
    let told = log::told(connection, chain, record, &view, found, request, clocks);
    let status = apply(rules, &told, response, body, worker.chance(), fields, (mapped, spare));
    // What a gRPC client would read of this, were it none.
    let mut grpc_lines = worker.grpc_lines.borrow_mut();
    let is_grpc = connection.is_grpc.get();
    let (status, lines, content_type) = if is_grpc {
        // A format of JSON ends with a line feed.
        let body = mapped.strip_suffix(b"\n").unwrap_or(mapped);
        let local = Local { status, flag: None, body, details: record.details };
        grpc_reply::write_lines(&local, fields.lines(), head_only, &mut grpc_lines);
        (grpc_reply::told(local).status, &grpc_lines[..], Some(grpc::CONTENT_TYPE))
    } else {
        (status, fields.lines(), None)
    };
    let has_body = !is_grpc && !mapped.is_empty() && !matches!(status, 204 | 304);
    let sent = if has_body && !head_only { &mapped[..] } else { b"" };
    let date = worker.date.text(worker.core.now());
    let size = local_reply_size(content_type, &[], &date) + lines.len() + sent.len();
    let mut out = Outbox::new(&worker.core, size);
    let length = if has_body { mapped.len() } else { 0 };
    encode_local_reply(record.version, status, content_type, length, close, &[], lines, &date, &mut out);
    out.put(sent);
    let out = out.finish_in_case(chain.http.http1.proper_case);
    record.status = status;
    record.is_bare = !has_body;
    record.body_sent = sent.len() as u64;
    record.downstream_sent = record.downstream_sent - reply.len() as u64 + out.len() as u64;
    record.response = Some(out.clone());
    (status, out)
}

/// Makes `fields` the answer's fields, `mapped` its body; its status. Envoy, `LocalReply::rewrite`.
fn apply(
    rules: &LocalReplies,
    told: &Told<'_>,
    response: Option<Response<'_>>,
    body: &[u8],
    chance: u64,
    fields: &mut Fields,
    (mapped, spare): (&mut Vec<u8>, &mut Vec<u8>),
) -> u16 {
    let mut status = told.record.status;
    fields.clear();
    for field in response.iter().flat_map(|response| response.fields()) {
        // Written anew.
        if matches!(field.known, Known::ContentLength | Known::Date | Known::Connection) {
            continue;
        }
        match field.known {
            Known::ContentType => fields.add(CONTENT_TYPE, field.value),
            _ => fields.add(std::str::from_utf8(field.name).unwrap_or_default(), field.value),
        }
    }
    mapped.clear();
    mapped.extend_from_slice(body);
    let mapper = rules.mappers.iter().find(|mapper| filter_passes(&mapper.filter, told, chance));
    let mut format = rules.format.as_ref();
    if let Some(mapper) = mapper {
        if let Some(body) = &mapper.body {
            mapped.clear();
            mapped.extend_from_slice(body);
        }
        fields.apply(&mapper.headers, &Answer { told, fields: None, status, body: b"" });
        status = mapper.status.unwrap_or(status);
        format = mapper.format.as_ref().or(format);
    }
    let mut kind = "text/plain";
    if let Some(format) = format {
        kind = &format.content_type;
        std::mem::swap(mapped, spare);
        mapped.clear();
        write_text(&format.text, &Answer { told, fields: Some(fields), status, body: spare }, mapped);
    }
    if mapped.is_empty() {
        fields.remove(CONTENT_TYPE);
    } else if **mapped != *body || kind != "text/plain" || fields.added(CONTENT_TYPE).next().is_none() {
        fields.set(CONTENT_TYPE, kind.as_bytes());
    }
    fields.write_lines();
    status
}

const CONTENT_TYPE: &str = "content-type";

/// An exchange and its answer as it stands.
struct Answer<'a> {
    told: &'a Told<'a>,
    fields: Option<&'a Fields>,
    status: u16,
    body: &'a [u8],
}

impl Answer<'_> {
    fn own<'v>(&'v self, operator: &Operator, fields: &'v Fields) -> Value<'v> {
        match operator {
            Operator::Header { of: HeaderSource::Response, name, otherwise } if name != ":status" => {
                let found = fields.first(self, name).or_else(|| fields.first(self, otherwise));
                found.map_or(Value::Absent, Value::Text)
            }
            Operator::Fact(Fact::ResponseCode) => Value::Number(u64::from(self.status)),
            Operator::Fact(Fact::LocalReplyBody) => Value::Text(self.body),
            operator => self.told.value(operator),
        }
    }
}

impl Facts for Answer<'_> {
    /// All fields of the answer are in [`Fields`].
    fn received(&self, _: &str) -> Option<&[u8]> {
        None
    }

    fn value<'v>(&'v self, operator: &Operator, fields: &'v Fields) -> Value<'v> {
        self.own(operator, fields)
    }
}

impl Values for Answer<'_> {
    fn value(&self, operator: &Operator) -> Value<'_> {
        match self.fields {
            Some(fields) => self.own(operator, fields),
            None => self.told.value(operator),
        }
    }

    fn request_header(&self, name: &str) -> Option<&[u8]> {
        self.told.request_header(name)
    }

    fn request_matches(&self, matcher: &HeaderMatcher) -> bool {
        self.told.request_matches(matcher)
    }
}

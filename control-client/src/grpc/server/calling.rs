//! One call that was made to us: its messages, the answer to each, its status.
//!
//! ```text
//!   no head yet ── an answer ──> open ── the client's end, or what is wrong ──> trailers
//!        └─── what is wrong, or an end without an answer ──> a head that is the end, too ("Trailers-Only")
//! ```

use std::future::poll_fn;
use std::rc::Rc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method as HttpMethod, Request, Response, StatusCode};
use tokio::time::{Instant, timeout, timeout_at};

use super::status::{Code, Status};
use super::{Form, Method, Service};
use crate::grpc::messages::{Messages, Unread};

/// The largest message of a request: as much as HTTP/1 may send. A `Node` with all of Envoy's extensions is 60 KB.
const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// Why a call ends.
enum End {
    /// We say so.
    Status(Status),
    /// Nobody hears us: it was reset, or its connection is gone.
    Lost,
    /// The client does not take what it asked for.
    Stuck,
}

impl From<Status> for End {
    fn from(status: Status) -> Self {
        End::Status(status)
    }
}

impl From<h2::Error> for End {
    fn from(_: h2::Error) -> Self {
        End::Lost
    }
}

/// Our half of a call.
enum Reply {
    Unsaid(SendResponse<Bytes>),
    Open(SendStream<Bytes>),
}

pub(super) async fn call<A>(request: Request<RecvStream>, respond: SendResponse<Bytes>, service: Rc<Service<A>>)
where
    A: Fn(&[u8]) -> Result<Vec<u8>, Status>,
{
    let (head, body) = request.into_parts();
    if !is_grpc(&head.headers) {
        return refuse(respond, StatusCode::UNSUPPORTED_MEDIA_TYPE, "by HTTP/2 gRPC alone is served here\n");
    }
    if head.method != HttpMethod::POST {
        return refuse(respond, StatusCode::METHOD_NOT_ALLOWED, "a call is a POST\n");
    }
    let mut reply = Reply::Unsaid(respond);
    let end = match service.methods.iter().find(|method| method.path == head.uri.path()) {
        Some(method) => serve(method, body, &mut reply, &service).await,
        None => Err(Status::new(Code::Unimplemented, format!("unknown method {}", head.uri.path())).into()),
    };
    match end {
        Ok(()) => reply.end(&Status::new(Code::Ok, "")),
        Err(End::Status(status)) => reply.end(&status),
        Err(End::Lost) => {}
        Err(End::Stuck) => reply.reset(),
    }
}

async fn serve<A>(method: &Method, body: RecvStream, reply: &mut Reply, service: &Service<A>) -> Result<(), End>
where
    A: Fn(&[u8]) -> Result<Vec<u8>, Status>,
{
    let mut requests = Requests { body, messages: Messages::new(MESSAGE_BYTES_MAX) };
    match method.form {
        Form::Unary => {
            let deadline = Instant::now() + service.limits.patience;
            let wrong = |why| Status::new(Code::Unimplemented, format!("{why} message for a method of one"));
            let message = requests.next(deadline).await?.ok_or_else(|| wrong("no"))?;
            if requests.next(deadline).await?.is_some() {
                return Err(wrong("more than one").into());
            }
            answer(&message, reply, service).await
        }
        Form::Stream => {
            while let Some(message) = requests.next(Instant::now() + service.limits.quiet_max).await? {
                answer(&message, reply, service).await?;
            }
            Ok(())
        }
    }
}

/// Answers one message. One answer of a connection at a time is made and sent.
async fn answer<A>(message: &[u8], reply: &mut Reply, service: &Service<A>) -> Result<(), End>
where
    A: Fn(&[u8]) -> Result<Vec<u8>, Status>,
{
    let _turn = service.turn.lock().await;
    let bytes = (service.answer)(message)?;
    let Ok(size) = u32::try_from(bytes.len()) else {
        return Err(Status::new(Code::ResourceExhausted, "the answer is larger than gRPC's messages can be").into());
    };
    let mut head = BytesMut::with_capacity(5);
    head.put_u8(0);
    head.put_u32(size);
    let stream = reply.open()?;
    send(stream, head.freeze(), service.limits.patience).await?;
    send(stream, bytes.into(), service.limits.patience).await
}

/// Sends as the client makes room. One that makes none in time loses the call.
async fn send(stream: &mut SendStream<Bytes>, mut bytes: Bytes, patience: Duration) -> Result<(), End> {
    while !bytes.is_empty() {
        stream.reserve_capacity(bytes.len());
        let mut room = stream.capacity();
        if room == 0 {
            let more = timeout(patience, poll_fn(|context| stream.poll_capacity(context)));
            room = more.await.map_err(|_| End::Stuck)?.ok_or(End::Lost)??;
        }
        stream.send_data(bytes.split_to(room.min(bytes.len())), false)?;
    }
    Ok(())
}

/// What the client says.
struct Requests {
    body: RecvStream,
    messages: Messages,
}

impl Requests {
    /// The next message; `None` at the end.
    async fn next(&mut self, deadline: Instant) -> Result<Option<Bytes>, End> {
        loop {
            match self.messages.next() {
                Ok(Some(message)) => return Ok(Some(message)),
                Ok(None) => {}
                Err(Unread::Compressed) => {
                    return Err(Status::new(Code::Unimplemented, "compressed messages are not read").into());
                }
                Err(Unread::Large { size, max }) => {
                    let text = format!("a message of {size} bytes is larger than {max}");
                    return Err(Status::new(Code::ResourceExhausted, text).into());
                }
            }
            let late = |_| Status::new(Code::DeadlineExceeded, "no message came in time");
            match timeout_at(deadline, self.body.data()).await.map_err(late)? {
                Some(data) => {
                    let data = data?;
                    self.messages.push(&data);
                    self.body.flow_control().release_capacity(data.len())?;
                }
                None if self.messages.is_cut() => {
                    return Err(Status::new(Code::InvalidArgument, "the request ends within a message").into());
                }
                None => return Ok(None),
            }
        }
    }
}

impl Reply {
    /// Where answers are written; says the head where it is not said yet.
    fn open(&mut self) -> Result<&mut SendStream<Bytes>, End> {
        if let Reply::Unsaid(respond) = self {
            *self = Reply::Open(respond.send_response(head(), false)?);
        }
        match self {
            Reply::Open(stream) => Ok(stream),
            Reply::Unsaid(_) => unreachable!("it was opened"),
        }
    }

    /// Says how the call ended.
    fn end(self, status: &Status) {
        // An error: nobody hears it any more.
        let _ = match self {
            Reply::Unsaid(mut respond) => {
                let mut head = head();
                status.write(head.headers_mut());
                respond.send_response(head, true).map(drop)
            }
            Reply::Open(mut stream) => {
                let mut trailers = HeaderMap::new();
                status.write(&mut trailers);
                stream.send_trailers(trailers)
            }
        };
    }

    fn reset(self) {
        match self {
            Reply::Unsaid(mut respond) => respond.send_reset(Reason::CANCEL),
            Reply::Open(mut stream) => stream.send_reset(Reason::CANCEL),
        }
    }
}

fn head() -> Response<()> {
    let mut head = Response::new(());
    head.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    head.headers_mut().insert("grpc-accept-encoding", HeaderValue::from_static("identity"));
    head
}

/// Whether the content is gRPC's messages of protobuf ("gRPC over HTTP2", Content-Type).
fn is_grpc(fields: &HeaderMap) -> bool {
    let text = fields.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let name = text.split(';').next().unwrap_or_default().trim();
    ["application/grpc", "application/grpc+proto"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Answers who speaks HTTP/2 and no gRPC.
fn refuse(mut respond: SendResponse<Bytes>, status: StatusCode, text: &'static str) {
    let mut head = Response::new(());
    *head.status_mut() = status;
    head.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=UTF-8"));
    // An error: nobody hears it any more. So short a text waits for no window that is worth waiting for.
    let _ = respond
        .send_response(head, false)
        .and_then(|mut stream| stream.send_data(Bytes::from_static(text.as_bytes()), true));
}

//! The call: what is to be sent, what comes, and its end.

use std::cell::Cell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::{self, ResponseFuture};
use h2::{RecvStream, SendStream};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Request, StatusCode};
use ringway_model::Keepalive;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::{JoinHandle, spawn_local};

use super::keepalive;
#[cfg(doc)]
use super::messages::MESSAGE_BYTES_MAX;
use super::messages::{Messages, Unread, framed};
use crate::race::{First, race};

/// What a server may send before it hears that it was read: a push of most sizes at once, and all that waits while one
/// is judged.
const WINDOW_BYTES: u32 = 4 << 20;
/// The largest head of an answer: a status and a few fields of proxies in between.
const HEAD_BYTES_MAX: u32 = 64 << 10;
/// The longest text of a status that is kept.
const STATUS_BYTES_MAX: usize = 4 << 10;

/// Which call, and what goes with it.
#[derive(Clone, Debug)]
pub(crate) struct Method<'m> {
    /// `/SERVICE/METHOD`.
    pub(crate) path: &'m str,
    /// Whom it is for: the cluster's name where the configuration says nothing else, as in Envoy.
    pub(crate) authority: &'m str,
    /// `initial_metadata`.
    pub(crate) metadata: &'m [(String, String)],
    /// `max_receive_message_length`; `None`: [`MESSAGE_BYTES_MAX`], which is never exceeded.
    pub(crate) message_bytes_max: Option<u32>,
    /// `connection_keepalive` of the cluster.
    pub(crate) keepalive: Option<Keepalive>,
}

/// One call, on a connection of its own. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Call {
    requests: SendStream<Bytes>,
    outgoing: Bytes,
    reply: Reply,
    messages: Messages,
    /// Moves the connection's frames; ends with the connection.
    driver: JoinHandle<()>,
    /// No answer came to a PING.
    is_silent: Rc<Cell<bool>>,
}

#[derive(Debug)]
enum Reply {
    Waiting(ResponseFuture),
    Open(RecvStream),
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A message of the server.
    Message(Bytes),
    /// What was to be sent is on its way: there is room for more.
    Room,
}

/// Why there is no call, or no more of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The server says so, with its code (0 is OK) and its text.
    Status(u32, String),
    /// Whoever answered speaks no gRPC.
    Http(u16),
    /// It ended within a message, or without a status.
    Cut,
    Unread(Unread),
    /// No answer to a PING in time.
    Silent,
    /// HTTP/2 or the socket, in its own words.
    Connection(String),
    /// A field of `initial_metadata` that HTTP does not allow.
    Metadata(String),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Status(code, text) if text.is_empty() => write!(f, "the server ended the stream with status {code}"),
            Ended::Status(code, text) => write!(f, "the server ended the stream with status {code}: {text}"),
            Ended::Http(status) => write!(f, "the server is no gRPC server: it answered with HTTP status {status}"),
            Ended::Cut => f.write_str("the server ended the stream without a status"),
            Ended::Unread(Unread::Compressed) => {
                f.write_str("the server's message is compressed, which was not agreed")
            }
            Ended::Unread(Unread::Large { size, max }) => {
                write!(f, "the server's message has {size} bytes, more than {max}")
            }
            Ended::Silent => f.write_str("the server did not answer a PING"),
            Ended::Connection(error) => write!(f, "the connection to the server: {error}"),
            Ended::Metadata(name) => write!(f, "initial_metadata: {name:?} is no field of a request, or not its value"),
        }
    }
}

impl From<h2::Error> for Ended {
    fn from(error: h2::Error) -> Self {
        Ended::Connection(error.to_string())
    }
}

impl Call {
    /// Begins a call on a fresh connection. It must be within a `LocalSet`.
    pub(crate) async fn begin<I>(io: I, method: Method<'_>) -> Result<Call, Ended>
    where
        I: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let request = request(&method)?;
        let mut builder = client::Builder::new();
        builder
            .initial_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .max_header_list_size(HEAD_BYTES_MAX)
            .enable_push(false);
        let (sender, mut connection) = builder.handshake::<_, Bytes>(io).await?;
        let is_silent = Rc::new(Cell::new(false));
        let pings = method.keepalive.zip(connection.ping_pong());
        let silence = Rc::clone(&is_silent);
        let driver = spawn_local(async move {
            let Some((keepalive, pings)) = pings else {
                // Its error is that of the stream, too, which says so.
                let _ = connection.await;
                return;
            };
            match race(connection, keepalive::until_silent(pings, keepalive)).await {
                First::One(_) => {}
                First::Other(()) => silence.set(true),
            }
        });
        let (response, requests) = sender.ready().await?.send_request(request, false)?;
        let messages = Messages::new(method.message_bytes_max.map_or(usize::MAX, |max| max as usize));
        Ok(Call { requests, outgoing: Bytes::new(), reply: Reply::Waiting(response), messages, driver, is_silent })
    }

    /// Whether a message may be sent.
    pub(crate) fn has_room(&self) -> bool {
        self.outgoing.is_empty()
    }

    /// Sends a message; it goes while [`Call::next`] waits.
    ///
    /// # Panics
    /// Where there is no room.
    pub(crate) fn send(&mut self, message: &[u8]) {
        assert!(self.has_room(), "one message at a time");
        self.outgoing = framed(message);
    }

    /// Waits for what happens next. It may be dropped and called again: nothing is lost.
    ///
    /// # Errors
    /// The call is over, by the server's word or without.
    pub(crate) async fn next(&mut self) -> Result<Event, Ended> {
        let event = poll_fn(|context| self.poll_next(context)).await;
        event.map_err(|ended| self.told(ended))
    }

    /// The same, but nothing is read: it waits for room alone, for ever where there is room.
    ///
    /// # Errors
    /// As [`Call::next`], as far as it shows in sending.
    pub(crate) async fn room(&mut self) -> Result<Event, Ended> {
        let sent = poll_fn(|context| if self.has_room() { Poll::Pending } else { self.poll_send(context) }).await;
        sent.map(|()| Event::Room).map_err(|ended| self.told(ended))
    }

    /// What ended the call, where the connection alone cannot know.
    fn told(&self, ended: Ended) -> Ended {
        match ended {
            Ended::Connection(_) | Ended::Cut if self.is_silent.get() => Ended::Silent,
            other => other,
        }
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Event, Ended>> {
        // Ours first: an answer is not to wait for the next message.
        if !self.outgoing.is_empty()
            && let Poll::Ready(sent) = self.poll_send(context)
        {
            match sent {
                Ok(()) => return Poll::Ready(Ok(Event::Room)),
                // The server may have said more about its end than that it is there.
                Err(ended) => match self.poll_message(context) {
                    Poll::Ready(Err(Ended::Connection(_))) | Poll::Pending => return Poll::Ready(Err(ended)),
                    other => return other,
                },
            }
        }
        self.poll_message(context)
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Ended>> {
        while !self.outgoing.is_empty() {
            self.requests.reserve_capacity(self.outgoing.len());
            let mut room = self.requests.capacity();
            if room == 0 {
                room = match ready!(self.requests.poll_capacity(context)) {
                    Some(room) => room?,
                    None => return Poll::Ready(Err(Ended::Cut)),
                };
            }
            let piece = self.outgoing.split_to(room.min(self.outgoing.len()));
            self.requests.send_data(piece, false)?;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_message(&mut self, context: &mut Context<'_>) -> Poll<Result<Event, Ended>> {
        loop {
            match self.messages.next() {
                Ok(Some(message)) => return Poll::Ready(Ok(Event::Message(message))),
                Ok(None) => {}
                Err(unread) => return Poll::Ready(Err(Ended::Unread(unread))),
            }
            match &mut self.reply {
                Reply::Waiting(response) => {
                    let (head, body) = ready!(Pin::new(response).poll(context))?.into_parts();
                    if head.status != StatusCode::OK {
                        return Poll::Ready(Err(Ended::Http(head.status.as_u16())));
                    }
                    // An end without a beginning: "Trailers-Only".
                    if let Some(status) = status(&head.headers) {
                        return Poll::Ready(Err(status));
                    }
                    self.reply = Reply::Open(body);
                }
                Reply::Open(body) => match ready!(body.poll_data(context)) {
                    Some(data) => {
                        let data = data?;
                        self.messages.push(&data);
                        body.flow_control().release_capacity(data.len())?;
                    }
                    None => {
                        let trailers = ready!(body.poll_trailers(context))?;
                        let is_cut = self.messages.is_cut();
                        let ended = trailers.as_ref().and_then(status).filter(|_| !is_cut);
                        return Poll::Ready(Err(ended.unwrap_or(Ended::Cut)));
                    }
                },
            }
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

fn request(method: &Method<'_>) -> Result<Request<()>, Ended> {
    let uri = format!("http://{}{}", method.authority, method.path);
    let mut request = Request::post(uri)
        .header("te", "trailers")
        .header("content-type", "application/grpc")
        .header("user-agent", concat!("ringway/", env!("CARGO_PKG_VERSION")))
        .body(())
        .map_err(|error| Ended::Connection(error.to_string()))?;
    for (name, value) in method.metadata {
        let wrong = || Ended::Metadata(name.clone());
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
        let value = HeaderValue::from_str(value).map_err(|_| wrong())?;
        request.headers_mut().append(key, value);
    }
    Ok(request)
}

/// `grpc-status` and `grpc-message`, whose text is percent-encoded.
fn status(fields: &HeaderMap) -> Option<Ended> {
    let code = fields.get("grpc-status")?.to_str().ok()?.parse().ok()?;
    let text = fields.get("grpc-message").map_or(&b""[..], HeaderValue::as_bytes);
    let text = &text[..text.len().min(STATUS_BYTES_MAX)];
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, behind)) = rest.split_first() {
        let digits = behind.get(..2).filter(|_| first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[2..];
            }
            None => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    Some(Ended::Status(code, String::from_utf8_lossy(&bytes).into_owned()))
}

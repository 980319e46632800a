//! One request and its answer, on a connection of its own.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Body as _;
use hyper::client::conn::http1;
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::Answer;
use crate::document::TEXT_BYTES_MAX;

/// What is read of the socket at once.
const READ_BYTES: usize = 16 << 10;

/// What is asked.
#[derive(Debug)]
pub(crate) struct Post<'p> {
    /// The cluster's name where the configuration says nothing else, as in Envoy.
    pub(crate) authority: &'p str,
    pub(crate) path: &'p str,
    /// JSON.
    pub(crate) body: String,
}

/// Asks, and reads the whole answer. Whoever calls limits the time; dropping it closes the connection.
pub(crate) async fn post<I>(io: I, post: Post<'_>) -> Answer
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    match exchange(io, post).await {
        Ok((status, body)) => Answer::of(status, body),
        Err(why) => Answer::Failed(why),
    }
}

async fn exchange<I>(io: I, post: Post<'_>) -> Result<(u16, Vec<u8>), String>
where
    I: AsyncRead + AsyncWrite + Unpin,
{
    let request = Request::post(post.path)
        .header("host", post.authority)
        .header("content-type", "application/json")
        .header("user-agent", concat!("ringway/", env!("CARGO_PKG_VERSION")))
        .header("connection", "close")
        .body(Full::new(Bytes::from(post.body)))
        .map_err(|error| format!("the request: {error}"))?;
    let failed = |error: hyper::Error| format!("the connection to the server: {error}");
    let (mut sender, connection) = http1::handshake(Io(io)).await.map_err(failed)?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(failed)?;
        let status = response.status().as_u16();
        let large = || format!("the server's answer has more than {TEXT_BYTES_MAX} bytes");
        if response.body().size_hint().lower() > TEXT_BYTES_MAX as u64 {
            return Err(large()); // it says so itself
        }
        let body = Limited::new(response.into_body(), TEXT_BYTES_MAX).collect().await;
        let body = body.map_err(|error| match error.downcast::<LengthLimitError>() {
            Ok(_) => large(),
            Err(error) => format!("the server's answer: {error}"),
        })?;
        Ok((status, body.to_bytes().into()))
    };
    // The connection moves while the answer is waited for, and ends with it. What it ends with, the answer says, too.
    let (mut answer, mut connection) = (std::pin::pin!(answer), std::pin::pin!(connection));
    let mut is_open = true;
    std::future::poll_fn(|context| {
        if is_open && connection.as_mut().poll(context).is_ready() {
            is_open = false;
        }
        answer.as_mut().poll(context)
    })
    .await
}

/// A socket of tokio's, for hyper.
struct Io<I>(I);

impl<I: AsyncRead + Unpin> Read for Io<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut room: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // Copied once more than need be: the room may not be initialised, and answers are few.
        let mut bytes = [0; READ_BYTES];
        let size = room.remaining().min(READ_BYTES);
        let mut into = ReadBuf::new(&mut bytes[..size]);
        ready!(Pin::new(&mut self.0).poll_read(context, &mut into))?;
        room.put_slice(into.filled());
        Poll::Ready(Ok(()))
    }
}

impl<I: AsyncWrite + Unpin> Write for Io<I> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

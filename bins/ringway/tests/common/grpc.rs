//! A client of gRPC, on h2: it says messages, right and wrong, and reads what comes of them.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest, handshake};
use h2::{RecvStream, SendStream};
use http::Request;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::task::{LocalSet, spawn_local};

use super::xds::next_message;

/// Runs what speaks.
pub(crate) fn run<T>(body: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread().enable_io().build().expect("a runtime");
    LocalSet::new().block_on(&runtime, body)
}

/// A connection.
pub(crate) struct Connection(SendRequest<Bytes>);

impl Connection {
    /// By TCP.
    pub(crate) async fn to(address: SocketAddr) -> Connection {
        Connection::over(TcpStream::connect(address).await.expect("it listens")).await
    }

    pub(crate) async fn over(io: impl AsyncRead + AsyncWrite + Unpin + 'static) -> Connection {
        let (sender, connection) = handshake(io).await.expect("it is open");
        // Its end is that of the calls, too, which say so.
        spawn_local(async move { _ = connection.await });
        Connection(sender)
    }

    /// Begins a call of this `/SERVICE/METHOD`.
    ///
    /// # Errors
    /// There is no connection any more.
    pub(crate) async fn call(&mut self, path: &str) -> Result<Call, h2::Error> {
        std::future::poll_fn(|context| self.0.poll_ready(context)).await?;
        let request = Request::post(format!("http://admin{path}")).header("content-type", "application/grpc");
        let request = request.header("te", "trailers").body(()).expect("a request");
        let (response, requests) = self.0.send_request(request, false)?;
        Ok(Call { requests, response: Some(response), answers: None, bytes: BytesMut::new() })
    }

    /// A whole call with one message: its answer, or its status.
    pub(crate) async fn ask(&mut self, path: &str, message: &[u8]) -> Result<Bytes, String> {
        let mut call = self.call(path).await.map_err(|error| error.to_string())?;
        call.say(message);
        call.end();
        let answer = call.next().await?;
        let end = call.next().await.expect_err("one answer to one message");
        if end == "0" { Ok(answer) } else { Err(end) }
    }
}

/// A call.
pub(crate) struct Call {
    requests: SendStream<Bytes>,
    response: Option<ResponseFuture>,
    answers: Option<RecvStream>,
    bytes: BytesMut,
}

impl Call {
    pub(crate) fn say(&mut self, message: &[u8]) {
        self.say_bytes([&[0], &(message.len() as u32).to_be_bytes()[..], message].concat());
    }

    /// Bytes that may be no message.
    pub(crate) fn say_bytes(&mut self, bytes: Vec<u8>) {
        self.requests.send_data(bytes.into(), false).expect("the call is open");
    }

    pub(crate) fn end(&mut self) {
        self.requests.send_data(Bytes::new(), true).expect("the call is open");
    }

    /// The next answer, or how the call ended: `grpc-status` and `grpc-message`, or what went wrong.
    pub(crate) async fn next(&mut self) -> Result<Bytes, String> {
        if let Some(response) = self.response.take() {
            let (head, body) = response.await.map_err(|error| error.to_string())?.into_parts();
            assert_eq!(
                (head.status.as_u16(), &head.headers["content-type"]),
                (200, &"application/grpc".parse().unwrap())
            );
            if head.headers.contains_key("grpc-status") {
                return Err(status(&head.headers));
            }
            self.answers = Some(body);
        }
        let body = self.answers.as_mut().expect("the call has not ended");
        loop {
            if let Some(message) = next_message(&mut self.bytes) {
                return Ok(message);
            }
            match body.data().await {
                Some(data) => {
                    let data = data.map_err(|error| error.to_string())?;
                    body.flow_control().release_capacity(data.len()).expect("it is counted");
                    self.bytes.extend_from_slice(&data);
                }
                None => {
                    let trailers = body.trailers().await.map_err(|error| error.to_string())?;
                    return Err(trailers.map_or_else(|| "no status".to_owned(), |fields| status(&fields)));
                }
            }
        }
    }
}

fn status(fields: &http::HeaderMap) -> String {
    let text = |name| fields.get(name).map_or("", |value| value.to_str().expect("ASCII"));
    format!("{} {}", text("grpc-status"), text("grpc-message")).trim_end().to_owned()
}

//! Raw bytes, both ways or one alone: an echo, a sink, or a source, after the delay that is asked for.

use std::future::poll_fn;

use ringway_runtime::Stream;

use super::Server;
use super::behaviour::Fate;

/// What becomes of the bytes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Raw {
    /// They come back.
    Echo,
    /// They are read, and nothing comes back.
    Sink,
    /// For each of them `--size` bytes go: however they arrive in pieces, it is known how much is asked for.
    Source,
}

/// What a client that does not read may leave with us.
const UNSENT_MAX: usize = 1 << 20;
/// A source sends so much at once, before others have their turn.
const PIECE: usize = 64 << 10;

impl Raw {
    /// Reads one.
    ///
    /// # Errors
    /// It is none.
    pub(super) fn parse(text: &str) -> Result<Raw, String> {
        match text {
            "echo" => Ok(Raw::Echo),
            "sink" => Ok(Raw::Sink),
            "source" => Ok(Raw::Source),
            _ => Err("one of echo, sink, source".into()),
        }
    }
}

pub(super) async fn serve(server: &Server, stream: &Stream, raw: Raw) {
    stream.set_bulk(raw == Raw::Sink);
    while let Ok(Some(chunk)) = stream.recv().await {
        let chunk = server.core.settled(chunk); // what waits is in no receive chunk
        server.wait().await;
        let fate = server.behaviour.fate(&mut server.chance.borrow_mut());
        if fate != Fate::Answer {
            return; // raw bytes have no other error than an end
        }
        match raw {
            Raw::Echo => stream.send(chunk),
            Raw::Sink => continue,
            Raw::Source => {
                for _ in 0..chunk.len() {
                    if !send_body(server, stream).await {
                        return;
                    }
                }
            }
        }
        if poll_fn(|context| stream.poll_unsent_below(context, UNSENT_MAX)).await.is_err() {
            return;
        }
    }
}

/// Sends `--size` bytes; whether the connection is still there.
async fn send_body(server: &Server, stream: &Stream) -> bool {
    let body = &server.replies.body;
    for at in (0..body.len()).step_by(PIECE) {
        stream.send(body.slice(at..body.len().min(at + PIECE)));
        if poll_fn(|context| stream.poll_unsent_below(context, UNSENT_MAX)).await.is_err() {
            return false;
        }
    }
    true
}

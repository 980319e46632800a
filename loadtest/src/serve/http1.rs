//! The origin's side of HTTP/1: one request after another.

use ringway_protocols::http1::{BodyDecoder, BodyPart, Decoded, HeadScan, decode_request};
use ringway_protocols::{HeadTable, Method};
use ringway_runtime::{Chunk, Core, Stream};

use super::Server;
use super::behaviour::{self, Fate};

/// A request that is whole.
struct Asked {
    method: Method,
    keep_alive: bool,
    /// Its body, where that is the answer.
    body: Vec<u8>,
    /// What came behind it.
    rest: Option<Chunk>,
}

pub(super) async fn serve(server: &Server, stream: Stream) {
    let mut table = HeadTable::new(server.limits.headers_max);
    let mut rest = None;
    let mut served = 0;
    while let Some(asked) = read(server, &stream, &mut table, rest.take()).await {
        served += 1;
        let is_last = !asked.keep_alive || server.behaviour.requests_per_connection.is_some_and(|most| served >= most);
        server.wait().await;
        let fate = server.behaviour.fate(&mut server.chance.borrow_mut());
        match fate {
            Fate::Reset => return stream.abort(),
            Fate::Cut => {
                stream.send(server.replies.head.clone());
                stream.send(server.replies.body.slice(0..server.replies.body.len() / 2));
                return;
            }
            Fate::Error => stream.send(server.replies.error.clone()),
            Fate::Answer => answer(server, &stream, &asked, is_last),
        }
        if is_last {
            stream.shutdown_write();
            let _taken = stream.flushed().await; // its error ends the connection as well
            return;
        }
        if stream.unsent() > 0 && stream.flushed().await.is_err() {
            return;
        }
        rest = asked.rest;
    }
}

fn answer(server: &Server, stream: &Stream, asked: &Asked, is_last: bool) {
    let replies = &server.replies;
    if server.behaviour.echo {
        let head = behaviour::head(&server.behaviour, 200, asked.body.len(), is_last);
        stream.send(server.core.chunk(&head));
        if server.behaviour.chunked && !asked.body.is_empty() {
            stream.send(server.core.chunk(format!("{:x}\r\n", asked.body.len()).as_bytes()));
            stream.send(server.core.chunk(&asked.body));
            stream.send(server.core.chunk(b"\r\n"));
        } else {
            stream.send(server.core.chunk(&asked.body));
        }
        if server.behaviour.chunked {
            stream.send(server.core.chunk(b"0\r\n\r\n"));
        }
        return;
    }
    match &replies.whole {
        Some(whole) if !is_last && asked.method != Method::Head => stream.send(whole.clone()),
        _ => {
            stream.send(if is_last { &replies.last_head } else { &replies.head }.clone());
            if asked.method != Method::Head {
                stream.send(replies.chunked.as_ref().unwrap_or(&replies.body).clone());
            }
        }
    }
}

/// Reads one request to its end; `None`: there is none, or it is wrong.
async fn read(server: &Server, stream: &Stream, table: &mut HeadTable, rest: Option<Chunk>) -> Option<Asked> {
    let limits = &server.limits;
    let mut held = match rest {
        Some(rest) => rest,
        None => stream.recv().await.ok()??,
    };
    let mut scan = HeadScan::default();
    let (method, framing, keep_alive, mut at) = loop {
        match decode_request(&held, &mut scan, table, limits).ok()? {
            Decoded::Complete { head, consumed } => break (head.method(), head.framing(), head.keep_alive(), consumed),
            Decoded::Partial => held = more(&server.core, stream, &held).await?,
        }
    };
    let mut decoder = BodyDecoder::new(framing);
    let mut body = Vec::new();
    while !decoder.is_done() {
        let step = decoder.decode(&held[at..], limits).ok()?;
        match step.part {
            BodyPart::Data(range) if server.behaviour.echo => {
                body.extend_from_slice(&held[at + range.start..at + range.end]);
            }
            BodyPart::NeedMore => {
                held = more(&server.core, stream, &held[at + step.consumed..]).await?;
                at = 0;
                continue;
            }
            _ => {}
        }
        at += step.consumed;
    }
    let rest = (at < held.len()).then(|| server.core.settled(held.slice(at..held.len())));
    Some(Asked { method, keep_alive, body, rest })
}

/// What comes next, behind what is not done with.
async fn more(core: &Core, stream: &Stream, held: &[u8]) -> Option<Chunk> {
    if held.is_empty() {
        return stream.recv().await.ok()?;
    }
    let held = core.chunk(held);
    let chunk = stream.recv().await.ok()??;
    let mut block = core.block(held.len() + chunk.len());
    block.extend_from_slice(&held);
    block.extend_from_slice(&chunk);
    Some(block.freeze())
}

//! The server on our runtime, over either driver: chunks go on from where the kernel put them, sends leave gathered once a turn.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::task::{Context, Poll};
use std::time::Duration;

use ringway_runtime::{Chunk, Core, IoChoice, Listener, Options, Stream, Wake, bind, run, start_listening};

use crate::relay::setup::{ANSWER, ANY_PORT, BACKLOG, Scene, Setup, announce, head_end};

/// Output that the kernel has not taken, beyond which a connection's input waits.
const UNSENT_MAX: usize = 64 << 10;
/// How long the origin may take to accept.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves until the runner's connection ends. Errors: the driver cannot be set up, or the port cannot be had.
pub fn serve(io: IoChoice, setup: Setup) -> Result<(), Box<dyn std::error::Error>> {
    let options = Options { io, ..Options::default() };
    let served = run(&options, Wake::new()?, move |core, _| async move {
        let fd = bind(ANY_PORT, false)?;
        start_listening(fd.as_fd(), BACKLOG)?;
        let listener = core.listen(fd);
        announce(listener.local_addr()?);
        let runner = listener.accept().await?;
        core.spawn("accept", accept(core.clone(), listener, setup));
        while runner.recv().await?.is_some() {}
        io::Result::Ok(())
    })?;
    Ok(served?)
}

async fn accept(core: Core, listener: Listener, setup: Setup) {
    let answer = core.chunk(&ANSWER);
    while let Ok(stream) = listener.accept().await {
        match setup.scene {
            Scene::Echo => core.spawn("echo", async move { drop(echo(stream).await) }),
            Scene::Forward => {
                let of_task = core.clone();
                core.spawn("forward", async move { drop(forward(of_task, stream, setup.origin).await) });
            }
            Scene::Http1 => {
                let (of_task, answer) = (core.clone(), answer.clone());
                core.spawn("http1", async move { drop(http1(of_task, stream, answer).await) });
            }
        }
    }
}

async fn echo(stream: Stream) -> io::Result<()> {
    while let Some(chunk) = stream.recv().await? {
        stream.send(chunk);
        if stream.unsent() > UNSENT_MAX {
            stream.flushed().await?;
        }
    }
    Ok(())
}

async fn forward(core: Core, client: Stream, origin: SocketAddr) -> io::Result<()> {
    let deadline = core.now() + CONNECT_TIMEOUT;
    let origin = core.connect(origin, deadline).await.map_err(io::Error::other)?;
    let (mut up, mut down) = (Way::Open, Way::Open);
    poll_fn(|cx| {
        up.poll(cx, &client, &origin)?;
        down.poll(cx, &origin, &client)?;
        if up == Way::Ended && down == Way::Ended { Poll::Ready(Ok(())) } else { Poll::Pending }
    })
    .await
}

/// One direction of a forwarded connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Open,
    Ended,
}

impl Way {
    /// Moves what is there, until nothing is, or until the writer has enough.
    fn poll(&mut self, cx: &mut Context<'_>, from: &Stream, to: &Stream) -> io::Result<()> {
        while *self == Way::Open && (to.unsent() <= UNSENT_MAX || to.poll_unsent_below(cx, UNSENT_MAX)?.is_ready()) {
            match from.poll_recv(cx)? {
                Poll::Ready(Some(chunk)) => to.send(chunk),
                Poll::Ready(None) => {
                    to.shutdown_write();
                    *self = Way::Ended;
                }
                Poll::Pending => break,
            }
        }
        Ok(())
    }
}

async fn http1(core: Core, stream: Stream, answer: Chunk) -> io::Result<()> {
    while let Some(mut bytes) = stream.recv().await? {
        while !bytes.is_empty() {
            match head_end(&bytes) {
                Some(end) => {
                    bytes.advance(end);
                    stream.send(answer.clone());
                }
                None => {
                    // A head in parts: what came is kept in a block, and the chunk goes home.
                    let Some(more) = stream.recv().await? else { return Ok(()) };
                    let mut block = core.block(bytes.len() + more.len());
                    block.extend_from_slice(&bytes);
                    block.extend_from_slice(&more);
                    bytes = block.freeze();
                }
            }
        }
        if stream.unsent() > UNSENT_MAX {
            stream.flushed().await?;
        }
    }
    Ok(())
}

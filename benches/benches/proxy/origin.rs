//! The origin: HTTP/1, a small answer or a large one, made once.

use memchr::memmem;
use ringway_runtime::{Chunk, Core, Listener, Stream};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// 100 bytes of content.
    Small,
    /// 1 MiB.
    Large,
}

impl Answer {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Answer::Small => "100 bytes",
            Answer::Large => "1 MiB",
        }
    }

    /// Bytes of content.
    pub(crate) fn size(self) -> usize {
        match self {
            Answer::Small => 100,
            Answer::Large => 1 << 20,
        }
    }

    pub(crate) fn path(self) -> &'static str {
        match self {
            Answer::Small => "/small",
            Answer::Large => "/large",
        }
    }

    /// Requests of a sample at least, and as many before them: below, connections that are still to be made upstream are seen.
    pub(crate) fn requests_min(self) -> u64 {
        match self {
            Answer::Small => 1_000,
            Answer::Large => 32,
        }
    }
}

/// Bytes of a piece of content.
const PIECE_SIZE: usize = 64 << 10;

/// An answer as it is sent: pieces that are not copied.
struct Made {
    head: Chunk,
    piece: Chunk,
    pieces: usize,
}

impl Made {
    fn new(core: &Core, answer: Answer) -> Made {
        let size = answer.size();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {size}\r\n\r\n");
        let piece = core.chunk(&vec![b'x'; size.min(PIECE_SIZE)]);
        Made { head: core.chunk(head.as_bytes()), pieces: size / piece.len(), piece }
    }
}

/// Accepts as long as the core lives.
pub(crate) async fn accept(core: Core, listener: Listener) {
    while let Ok(stream) = listener.accept().await {
        core.spawn("origin's connection", serve(core.clone(), stream));
    }
}

async fn serve(core: Core, stream: Stream) {
    let [small, large] = [Answer::Small, Answer::Large].map(|answer| Made::new(&core, answer));
    let mut heads = Vec::new();
    while let Ok(Some(chunk)) = stream.recv().await {
        heads.extend_from_slice(&chunk);
        while let Some(end) = memmem::find(&heads, b"\r\n\r\n") {
            let made = if heads.starts_with(b"GET /large ") { &large } else { &small };
            heads.drain(..end + 4);
            stream.send(made.head.clone());
            (0..made.pieces).for_each(|_| stream.send(made.piece.clone()));
        }
    }
}

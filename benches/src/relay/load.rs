//! The load: closed-loop clients and the echo origin, in one thread on our own runtime.
//!
//! The same for every server; it takes `ring` where the host has it, so that the load is the cheaper side. It never
//! measures latency: its own turns would be in it.

use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use ringway_runtime::{Chunk, Core, Listener, Options, Stream, Wake, bind, run, start_listening};

use crate::relay::server::{Sample, Sampler};
use crate::relay::setup::{ANSWER, ANY_PORT, BACKLOG, REQUEST, Scene};

/// The origin's socket: made before the server, which is told its address.
pub struct Origin {
    fd: OwnedFd,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Origin {
    /// Binds and listens. Errors: those of the calls.
    pub fn bind() -> io::Result<Origin> {
        let fd = bind(ANY_PORT, false)?;
        start_listening(fd.as_fd(), BACKLOG)?;
        let socket = std::net::TcpListener::from(fd);
        let address = socket.local_addr()?;
        Ok(Origin { fd: socket.into(), address })
    }
}

/// One step of a run. The server is sampled before the first step and behind each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Opens connections until there are so many; each sends and gets one message.
    Connect(usize),
    /// So many messages in all, on all connections at once, each waiting for its answer before its next.
    Exchange(u64),
}

/// What the clients send, and how much comes back for it.
#[derive(Clone)]
struct Talk {
    message: Chunk,
    answer_size: usize,
}

/// How long the server may take to accept.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// Drives the server at `address` through `steps`, then ends it. Returns the samples, one more than steps.
///
/// Panics when an answer is missing or wrong.
pub fn drive(
    origin: Origin,
    address: SocketAddr,
    scene: Scene,
    message_size: usize,
    steps: Vec<Step>,
    sampler: Sampler,
) -> Vec<Sample> {
    let wake = Wake::new().expect("an eventfd");
    let main = move |core: Core, _| async move {
        core.spawn("origin", accept(core.clone(), core.listen(origin.fd)));
        let connect = || core.connect(address, core.now() + CONNECT_TIMEOUT);
        let runner = connect().await.expect("the server accepts its runner");
        let talk = match scene {
            Scene::Echo | Scene::Forward => {
                Talk { message: core.chunk(&vec![b'm'; message_size]), answer_size: message_size }
            }
            Scene::Http1 => Talk { message: core.chunk(REQUEST), answer_size: ANSWER.len() },
        };
        let mut clients: Vec<Rc<Stream>> = Vec::new();
        let mut samples = vec![sampler.sample()];
        for step in steps {
            match step {
                Step::Connect(count) => {
                    while clients.len() < count {
                        let client = Rc::new(connect().await.expect("the server accepts"));
                        exchange(&client, &talk, true).await;
                        clients.push(client);
                    }
                }
                Step::Exchange(count) => exchange_on_all(&core, &clients, &talk, count).await,
            }
            samples.push(sampler.sample());
        }
        drop(clients);
        drop(runner);
        samples
    };
    run(&Options::default(), wake, main).expect("a core")
}

/// The origin: an echo.
async fn accept(core: Core, listener: Listener) {
    while let Ok(stream) = listener.accept().await {
        core.spawn("origin's connection", async move {
            while let Ok(Some(chunk)) = stream.recv().await {
                stream.send(chunk);
            }
        });
    }
}

/// Spreads `count` messages over the clients; the first to be free sends the next.
async fn exchange_on_all(core: &Core, clients: &[Rc<Stream>], talk: &Talk, count: u64) {
    assert!(!clients.is_empty(), "a load has clients");
    let left = Rc::new(Cell::new(count));
    let busy = Rc::new(Cell::new(clients.len()));
    for client in clients {
        let (core_of_task, client, talk) = (core.clone(), client.clone(), talk.clone());
        let (left, busy) = (left.clone(), busy.clone());
        core.spawn("client", async move {
            while left.get() > 0 {
                left.set(left.get() - 1);
                exchange(&client, &talk, false).await;
            }
            busy.set(busy.get() - 1);
            if busy.get() == 0 {
                core_of_task.wake_handle().wake();
            }
        });
    }
    while busy.get() > 0 {
        core.woken().await;
    }
}

/// One message and its whole answer. `compare` looks at each byte; else the length is what is checked.
async fn exchange(client: &Stream, talk: &Talk, compare: bool) {
    client.send(talk.message.clone());
    let mut received = 0;
    while received < talk.answer_size {
        let chunk = client.recv().await.expect("the connection lives").expect("an answer, not the end");
        if compare {
            let expected = if talk.answer_size == ANSWER.len() { &ANSWER[..] } else { &talk.message[..] };
            assert_eq!(chunk[..], expected[received..][..chunk.len()], "the answer's bytes from {received} on");
        }
        received += chunk.len();
    }
    assert_eq!(received, talk.answer_size, "one answer a message");
}

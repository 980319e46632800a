//! The load: closed-loop clients on our own runtime, on a thread that lives as long as the bench, with the origin beside them.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use memchr::memmem;
use ringway_benches::relay::server::LOAD_CPU;
use ringway_benches::relay::setup::{ANY_PORT, BACKLOG};
use ringway_runtime::{Core, Options, Stream, Wake, bind, cpus, run, start_listening};

use crate::http2::Http2Client;
use crate::origin::{Answer, accept};

/// How long the proxy may take to accept.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);

/// What the clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Speech {
    /// On [`Speech::connections`], one request at a time.
    Http1,
    /// Without TLS, [`crate::http2::STREAMS`] requests at a time. The origin speaks HTTP/1 all the same.
    Http2,
}

impl Speech {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Speech::Http1 => "HTTP/1",
            Speech::Http2 => "HTTP/2",
        }
    }

    /// As many requests are under way in both: 32.
    fn connections(self) -> usize {
        match self {
            Speech::Http1 => 32,
            Speech::Http2 => 32 / crate::http2::STREAMS,
        }
    }
}

/// What is measured at a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// The proxy.
    pub(crate) address: SocketAddr,
    pub(crate) speech: Speech,
    pub(crate) answer: Answer,
    /// That count.
    pub(crate) requests: u64,
}

/// The load's thread.
pub(crate) struct Load {
    /// Where the origin listens.
    pub(crate) origin: SocketAddr,
    plans: mpsc::Sender<Plan>,
    times: mpsc::Receiver<Duration>,
    wake: Arc<Wake>,
}

impl Load {
    pub(crate) fn start() -> Load {
        let socket = bind(ANY_PORT, false).expect("a socket");
        start_listening(socket.as_fd(), BACKLOG).expect("it is bound");
        let socket = std::net::TcpListener::from(socket);
        let origin = socket.local_addr().expect("it is bound");
        let (plans, planned) = mpsc::channel::<Plan>();
        let (done, times) = mpsc::channel();
        let wake = Wake::new().expect("an eventfd");
        let its_wake = Arc::clone(&wake);
        let main = move |core: Core, _| async move {
            core.spawn("origin", accept(core.clone(), core.listen(socket.into())));
            loop {
                match planned.try_recv() {
                    Ok(plan) => done.send(drive(&core, plan).await).expect("who asked waits"),
                    Err(mpsc::TryRecvError::Empty) => core.woken().await,
                    Err(mpsc::TryRecvError::Disconnected) => break,
                }
            }
        };
        thread::spawn(move || {
            // On one CPU it shares that with the worker.
            let _ = cpus::pin_current_thread(LOAD_CPU);
            run(&Options::default(), its_wake, main).expect("a core");
        });
        Load { origin, plans, times, wake }
    }

    /// How long the planned requests take.
    pub(crate) fn drive(&self, plan: Plan) -> Duration {
        self.plans.send(plan).expect("the load lives");
        self.wake.wake();
        self.times.recv().expect("the load lives")
    }
}

/// One connection.
enum Client {
    Http1(Stream),
    Http2(Box<Http2Client>),
}

impl Client {
    async fn connect(core: &Core, plan: &Plan) -> Client {
        let stream = core.connect(plan.address, core.now() + CONNECT_TIMEOUT).await.expect("the proxy accepts");
        stream.set_bulk(plan.answer == Answer::Large);
        match plan.speech {
            Speech::Http1 => Client::Http1(stream),
            Speech::Http2 => Client::Http2(Box::new(Http2Client::new(stream))),
        }
    }

    async fn exchange(&mut self, core: &Core, answer: Answer, left: &Cell<u64>) {
        match self {
            Client::Http1(stream) => exchange(core, stream, answer, left).await,
            Client::Http2(client) => client.exchange(core, answer, left).await,
        }
    }
}

/// Takes one of those that are left.
pub(crate) fn take(left: &Cell<u64>) -> bool {
    let is_some = left.get() > 0;
    left.set(left.get().saturating_sub(1));
    is_some
}

async fn drive(core: &Core, plan: Plan) -> Duration {
    let mut clients = Vec::new();
    for _ in 0..plan.speech.connections() {
        clients.push(Client::connect(core, &plan).await);
    }
    let clients = on_all(core, clients, plan.answer, plan.answer.requests_min()).await;
    let began = Instant::now();
    drop(on_all(core, clients, plan.answer, plan.requests).await);
    began.elapsed()
}

/// Spreads `count` requests over the clients; the first to be free sends the next.
async fn on_all(core: &Core, clients: Vec<Client>, answer: Answer, count: u64) -> Vec<Client> {
    let all = clients.len();
    let left = Rc::new(Cell::new(count));
    let free = Rc::new(RefCell::new(Vec::new()));
    for mut client in clients {
        let (core_of_task, left, free) = (core.clone(), Rc::clone(&left), Rc::clone(&free));
        core.spawn("client", async move {
            client.exchange(&core_of_task, answer, &left).await;
            free.borrow_mut().push(client);
            if free.borrow().len() == all {
                core_of_task.wake_handle().wake();
            }
        });
    }
    while free.borrow().len() < all {
        core.woken().await;
    }
    free.take()
}

async fn exchange(core: &Core, stream: &Stream, answer: Answer, left: &Cell<u64>) {
    let request = core.chunk(format!("GET {} HTTP/1.1\r\nHost: bench.example.org\r\n\r\n", answer.path()).as_bytes());
    let mut head = Vec::new();
    while take(left) {
        stream.send(request.clone());
        head.clear();
        let mut content = 0;
        loop {
            let chunk = stream.recv().await.expect("the connection lives").expect("an answer, not the end");
            if content == 0 {
                head.extend_from_slice(&chunk);
                let Some(end) = memmem::find(&head, b"\r\n\r\n") else { continue };
                assert!(head.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&head));
                content = head.len() - (end + 4);
            } else {
                content += chunk.len();
            }
            if content >= answer.size() {
                break;
            }
        }
        assert_eq!(content, answer.size(), "as much as was said");
    }
}

//! Every operation dropped at every await point: it is polled 0, 1, 2, ... times, once a turn, until it completes by itself; each time
//! the future is dropped, at once or a turn later. Afterwards what had come is there, in order and whole, the streams go on
//! working for another task, and nothing is left behind. It has this file to itself because it counts the process's descriptors.

mod support;

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::LazyLock;
use std::task::{Poll, Waker};
use std::time::Duration;

use ringway_runtime::{Chunk, ConnectError, Core, Detached, Instant, Listener, Options, Stream, mailbox};
use support::*;

/// More polls than an operation on loopback takes on the drivers of the product; what has not completed by then is polled until it does.
const POLLS_MAX: usize = 12;

/// How an operation is driven.
#[derive(Clone, Copy, Debug)]
struct Drive {
    /// How often it is polled before it is dropped.
    polls: usize,
    /// Whether a turn passes between the last poll and the drop, so that the loop meets what nobody takes.
    late: bool,
    /// The poll ahead of which happens what the operation waits for.
    event: usize,
}

impl Drive {
    /// Polls `future` once a turn as often as told, and drops it unless it completes. `event` is called once in any case.
    async fn run<T>(self, core: &Core, future: impl Future<Output = T>, event: impl FnOnce()) -> Option<T> {
        let mut event = Some(event);
        let result = {
            let mut future = pin!(future);
            let mut polls = 0;
            loop {
                if polls == self.polls {
                    break None;
                }
                if polls == self.event
                    && let Some(event) = event.take()
                {
                    event();
                }
                if let Poll::Ready(result) = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
                    break Some(result);
                }
                polls += 1;
                if polls < self.polls || self.late {
                    core.yield_now().await;
                }
            }
        };
        if let Some(event) = event.take() {
            event();
        }
        result
    }
}

/// What a core holds, and the process.
#[derive(Debug)]
struct Held {
    streams: u64,
    timers: u64,
    tasks: u64,
    descriptors: usize,
}

impl Held {
    fn exceeds(&self, before: &Held) -> bool {
        // Gauges are told exactly; the simulated kernel holds one descriptor now and then.
        (self.streams, self.timers, self.tasks) != (before.streams, before.timers, before.tasks)
            || self.descriptors > before.descriptors
    }
}

fn held(core: &Core) -> Held {
    let stats = core.stats();
    let descriptors = std::fs::read_dir("/proc/self/fd").expect("procfs").count();
    Held { streams: stats.streams.get(), timers: stats.timers.get(), tasks: stats.tasks.get(), descriptors }
}

/// What an idle core holds, once all is open that stays so.
async fn held_idle(core: &Core) -> Held {
    let (a, b) = pair(core).await;
    exchange(core, a, b).await;
    until(core, || core.stats().streams.get() == 0).await;
    let mut idle = held(core);
    for _ in 0..8 {
        core.yield_now().await;
        idle.descriptors = idle.descriptors.max(held(core).descriptors);
    }
    idle
}

/// Waits until the core holds what it held before: what was given up is closed a few turns later.
async fn released(core: &Core, before: &Held, name: &str, drive: Drive) {
    let limit = core.now() + LONG / 3;
    while held(core).exceeds(before) {
        assert!(core.now() < limit, "{name}: {drive:?}: {:?}, and before {before:?}", held(core));
        core.yield_now().await;
    }
}

/// An operation and its check: says whether it completed by itself.
type Case = fn(Core, Drive) -> Pin<Box<dyn Future<Output = bool>>>;

/// Every number of polls, both ways to drop, three times for the event; on every driver.
#[track_caller]
fn check(name: &'static str, case: Case) {
    each_driver_with(Options { bulk_size: 1000, ..Options::default() }, move |core: Core| async move {
        let before = held_idle(&core).await;
        for (event, late) in [(0, false), (0, true), (1, false), (1, true), (3, false)] {
            for polls in (0..=POLLS_MAX).chain([usize::MAX]) {
                let drive = Drive { polls, late, event };
                let Some(done) = within(&core, LONG / 3, case(core.clone(), drive)).await else {
                    panic!("{name}: hangs: {drive:?}; {:?}", core.stats().rows());
                };
                released(&core, &before, name, drive).await;
                assert!(done || polls < usize::MAX, "{name}: {drive:?} completes");
                assert!(!done || polls > 0, "{name}: completed without a poll");
                if done {
                    break;
                }
            }
        }
    });
}

/// Runs `work` as a task of its own: wakers that the dropped future left behind lead elsewhere.
async fn elsewhere<T: 'static>(core: &Core, work: impl Future<Output = T> + 'static) -> T {
    let place: Rc<RefCell<(Option<T>, Option<Waker>)>> = Rc::default();
    core.spawn("elsewhere", {
        let place = place.clone();
        async move {
            let result = work.await;
            let mut place = place.borrow_mut();
            place.0 = Some(result);
            if let Some(waker) = place.1.take() {
                waker.wake();
            }
        }
    });
    poll_fn(|cx| {
        let mut place = place.borrow_mut();
        place.1 = Some(cx.waker().clone());
        place.0.take().map_or(Poll::Pending, Poll::Ready)
    })
    .await
}

/// Both directions work, and each then ends with what was sent and no more.
async fn exchange(core: &Core, a: Stream, b: Stream) {
    let work = {
        let core = core.clone();
        async move {
            let bytes = pattern(3000);
            a.send(core.chunk(&bytes));
            b.send(core.chunk(&bytes[1..]));
            a.flushed().await.expect("an open socket");
            b.flushed().await.expect("an open socket");
            a.shutdown_write();
            b.shutdown_write();
            assert!(recv_all(&b).await.expect("a clean end") == bytes, "one way");
            assert!(recv_all(&a).await.expect("a clean end") == bytes[1..], "the other way");
        }
    };
    elsewhere(core, work).await;
}

/// Receives `expected` after `head`, and then works both ways.
async fn goes_on(core: &Core, near: Stream, far: Stream, head: Option<Chunk>, expected: &[u8]) {
    let mut got = head.map_or(Vec::new(), |chunk| chunk.to_vec());
    let rest = expected.len() - got.len();
    let (rest, far) = elsewhere(core, async move { (recv_exact(&far, rest).await, far) }).await;
    got.extend(rest);
    assert!(got == expected, "what had come is there, in order");
    exchange(core, near, far).await;
}

/// Connects a socket of the system's; the listener's backlog has room.
fn client(address: SocketAddr) -> Detached {
    TcpStream::connect(address).expect("a backlog with room").into()
}

async fn recv(core: Core, drive: Drive, bulk: bool) -> bool {
    let (near, far) = pair(&core).await;
    far.set_bulk(bulk);
    let bytes = pattern(700);
    let event = || near.send(core.chunk(&bytes));
    let got = drive.run(&core, far.recv(), event).await;
    let done = got.is_some();
    let head = got.map(|result| result.expect("no error").expect("not the end"));
    goes_on(&core, near, far, head, &bytes).await;
    done
}

async fn recv_end(core: Core, drive: Drive) -> bool {
    let (near, far) = pair(&core).await;
    let got = drive.run(&core, far.recv(), || near.shutdown_write()).await;
    if let Some(result) = &got {
        assert!(result.as_ref().expect("no error").is_none(), "nothing was sent");
    }
    far.send(core.chunk(b"still"));
    let work = async move {
        assert!(far.recv().await.expect("no error").is_none(), "the end stays");
        assert_eq!(recv_exact(&near, 5).await, b"still");
    };
    elsewhere(&core, work).await;
    got.is_some()
}

async fn watch(core: Core, drive: Drive) -> bool {
    let (near, far) = pair(&core).await;
    let bytes = pattern(700);
    let event = || near.send(core.chunk(&bytes));
    let done = drive.run(&core, far.watch(), event).await.is_some();
    let head = far.try_recv().map(|result| result.expect("no error").expect("not the end"));
    assert!(head.is_some() || !done, "a watch that completed has something to take");
    goes_on(&core, near, far, head, &bytes).await;
    done
}

fn set_buffer(stream: &Stream, name: libc::c_int, bytes: libc::c_int) {
    let fd = stream.as_fd().as_raw_fd();
    // SAFETY: a local of the size given.
    let result =
        unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, name, (&raw const bytes).cast(), size_of::<i32>() as u32) };
    assert_eq!(result, 0, "setsockopt");
}

/// Bytes that are more than both buffers of a connection take.
const TOTAL: usize = 1_200_000;
static MUCH: LazyLock<Vec<u8>> = LazyLock::new(|| pattern(TOTAL));

/// Output to a peer that reads from the event on; `limit` is the share of it (in percent) that may be unsent.
async fn unsent(core: Core, drive: Drive, limit: usize) -> bool {
    let (near, far) = pair(&core).await;
    set_buffer(&near, libc::SO_SNDBUF, 64 << 10);
    set_buffer(&far, libc::SO_RCVBUF, 200 << 10);
    near.send(core.chunk(&MUCH));
    let limit = TOTAL * limit / 100;
    let (told, read) = mailbox(1, core.wake_handle());
    let mut far = Some(far);
    let event = || {
        let far = far.take().expect("one event");
        core.spawn("reader", async move {
            let read = recv_exact(&far, TOTAL).await;
            told.try_send(read).expect("room");
            far.shutdown_write();
        });
    };
    turns(&core, 1 + drive.event).await;
    assert!(near.unsent() > limit, "the peer does not read");
    let below = poll_fn(|cx| near.poll_unsent_below(cx, limit));
    let done = drive.run(&core, below, event).await.map(|result| result.expect("an open socket")).is_some();
    assert!(!done || near.unsent() <= limit);
    let work = {
        let core = core.clone();
        async move {
            near.flushed().await.expect("an open socket");
            assert_eq!(near.unsent(), 0);
            assert!(read.recv(&core).await == *MUCH, "all of it, in order");
            assert!(near.recv().await.expect("no error").is_none());
        }
    };
    elsewhere(&core, work).await;
    done
}

/// The listener accepts whoever comes last; everybody before him has gone.
async fn connect_accepted(core: Core, drive: Drive) -> bool {
    let (listener, address) = listener(&core, 16);
    let got = drive.run(&core, core.connect(address, core.now() + LONG), || ()).await;
    let done = got.is_some();
    let ours = match got {
        Some(stream) => stream.expect("accepted"),
        None => connect(&core, address).await,
    };
    let name = ours.local_addr();
    let server = loop {
        let server = listener.accept().await.expect("accept");
        if server.peer_addr() == name {
            break server;
        }
        assert!(!done, "one connection was made");
        // Given up: an end or a reset, and no byte.
        assert!(recv_all(&server).await.unwrap_or_default().is_empty());
    };
    exchange(&core, ours, server).await;
    done
}

async fn connect_refused(core: Core, drive: Drive) -> bool {
    // Bound and not listening: nobody else has the port.
    let idle = core.listen(ringway_runtime::bind(anywhere(), false).expect("bind"));
    let address = idle.local_addr().expect("an address");
    match drive.run(&core, core.connect(address, core.now() + LONG), || ()).await {
        Some(Err(ConnectError::Io(error))) => assert_eq!(error.kind(), ErrorKind::ConnectionRefused),
        Some(other) => panic!("{:?}", other.map(|_| "connected")),
        None => return false,
    }
    true
}

/// The backlog of a listener that never accepts, full: further handshakes get no answer.
async fn silent(core: &Core) -> (Listener, SocketAddr, Vec<Stream>) {
    let (listener, address) = listener(core, 0);
    let mut streams = Vec::new();
    while let Ok(stream) = core.connect(address, core.now() + Duration::from_millis(200)).await {
        streams.push(stream);
        assert!(streams.len() < 100, "a backlog of nothing fills up");
    }
    (listener, address, streams)
}

async fn accept(core: Core, drive: Drive) -> bool {
    let (listener, address) = listener(&core, 16);
    let mut connected = None;
    let got = drive.run(&core, listener.accept(), || connected = Some(core.attach(client(address)))).await;
    let done = got.is_some();
    let client = connected.expect("the event");
    let name = client.local_addr();
    let server = match got {
        Some(server) => server.expect("accept"),
        None => elsewhere(&core, async move { listener.accept().await.expect("accept") }).await,
    };
    assert_eq!(server.peer_addr(), name, "the connection that was made, once");
    exchange(&core, client, server).await;
    done
}

async fn drain(core: Core, drive: Drive) -> bool {
    let (listener, address) = listener(&core, 64);
    assert!(poll_fn(|cx| Poll::Ready(listener.poll_accept(cx).is_pending())).await, "armed, and nobody there");
    core.yield_now().await;
    // Some are accepted and not taken, some are in the backlog, one is still to come.
    let mut clients: Vec<Stream> = (0..3).map(|_| core.attach(client(address))).collect();
    turns(&core, 3).await;
    clients.extend((0..2).map(|_| core.attach(client(address))));
    let got = drive.run(&core, listener.drain(), || clients.push(core.attach(client(address)))).await;
    let done = got.is_some();
    let mut servers = got.unwrap_or_default();
    // What came after a drain that completed is the next one's.
    servers.extend(listener.drain().await);
    assert_eq!(servers.len(), clients.len(), "everybody");
    for client in clients {
        let name = client.local_addr();
        let index = servers.iter().position(|server| server.peer_addr() == name).expect("everybody");
        exchange(&core, client, servers.swap_remove(index)).await;
    }
    done
}

/// What is going on when a stream is detached.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Armed {
    No,
    Chunks,
    Bulk,
}

async fn detach(core: Core, drive: Drive, armed: Armed, early: &'static [u8]) -> bool {
    let (near, far) = pair(&core).await;
    far.set_bulk(armed == Armed::Bulk);
    if armed != Armed::No {
        assert!(poll_fn(|cx| Poll::Ready(far.poll_recv(cx).is_pending())).await, "nothing has come");
        core.yield_now().await;
    }
    let got = drive.run(&core, far.detach(), || near.send(core.chunk(early))).await;
    let done = got.is_some();
    let far = match got {
        Some(Ok(detached)) => core.attach(detached),
        Some(Err(stream)) => {
            assert!(!early.is_empty(), "a quiet stream comes off");
            stream
        }
        // Dropping it closes the connection.
        None => {
            let end = elsewhere(&core, async move { recv_all(&near).await }).await;
            assert!(end.unwrap_or_default().is_empty());
            return false;
        }
    };
    goes_on(&core, near, far, None, early).await;
    done
}

async fn timer(core: Core, drive: Drive) -> bool {
    let timer = core.timer();
    let mut deadline = Instant::now() + LONG;
    timer.set(deadline);
    let event = || {
        deadline = Instant::now() + Duration::from_micros(300);
        timer.set(deadline);
    };
    let done = drive.run(&core, timer.expired(), event).await.is_some();
    assert!(!done || core.now() >= deadline, "never early");
    let work = {
        let core = core.clone();
        async move {
            timer.expired().await;
            assert!(core.now() >= deadline, "never early");
        }
    };
    elsewhere(&core, work).await;
    done
}

async fn mail(core: Core, drive: Drive) -> bool {
    let (sender, mailbox) = mailbox(4, core.wake_handle());
    let event = || (0..3).for_each(|n| sender.try_send(n).expect("room"));
    let got = drive.run(&core, mailbox.recv(&core), event).await;
    let mut all: Vec<i32> = got.into_iter().collect();
    let work = {
        let core = core.clone();
        async move {
            while all.len() < 3 {
                all.push(mailbox.recv(&core).await);
            }
            assert!(mailbox.try_recv().is_none(), "each once");
            all
        }
    };
    assert_eq!(elsewhere(&core, work).await, [0, 1, 2]);
    got.is_some()
}

async fn yields(core: Core, drive: Drive) -> bool {
    let done = drive.run(&core, core.yield_now(), || ()).await.is_some();
    turns(&core, 2).await;
    done
}

async fn woken(core: Core, drive: Drive) -> bool {
    // Made before the wake: also one that is polled only afterwards completes.
    let other = core.woken();
    let event = || core.wake_handle().wake();
    let done = drive.run(&core, core.woken(), event).await.is_some();
    elsewhere(&core, other).await;
    done
}

/// A receive, the flush of the other direction, and an accept, in one future.
async fn composed(core: Core, drive: Drive) -> bool {
    let (near, far) = pair(&core).await;
    let (listener, address) = listener(&core, 16);
    let bytes = pattern(900);
    far.send(core.chunk(&bytes));
    let mut connected = None;
    let mut taken: Vec<u8> = Vec::new();
    let mut accepted = None;
    let work = both(both(far.flushed(), async { taken = recv_exact(&far, 700).await }), async {
        accepted = Some(listener.accept().await.expect("accept"))
    });
    let event = || {
        near.send(core.chunk(&bytes));
        connected = Some(core.attach(client(address)));
    };
    let got = drive.run(&core, work, event).await;
    let done = got.is_some();
    if let Some(((flushed, ()), ())) = got {
        flushed.expect("an open socket");
        assert!(taken == bytes[..700]);
    }
    let server = match accepted {
        Some(server) => server,
        None => listener.accept().await.expect("accept"),
    };
    exchange(&core, connected.expect("the event"), server).await;
    // What the future had taken by then died with it; what it had not is still there, so the end is whole.
    near.shutdown_write();
    let rest = recv_all(&far).await.expect("a clean end");
    assert!(bytes.ends_with(&rest), "a suffix");
    assert!(!done || rest == bytes[700..]);
    assert!(recv_exact(&near, 900).await == bytes, "the other direction");
    done
}

/// A receive under a deadline, as a proxy's tasks wait: the timer and the bytes race.
async fn raced(core: Core, drive: Drive) -> bool {
    let (near, far) = pair(&core).await;
    let bytes = pattern(700);
    let event = || near.send(core.chunk(&bytes));
    let got = drive.run(&core, within(&core, Duration::from_micros(200), far.recv()), event).await;
    let done = got.is_some();
    let head = got.flatten().map(|result| result.expect("no error").expect("not the end"));
    goes_on(&core, near, far, head, &bytes).await;
    done
}

#[test]
fn every_operation_may_be_dropped_at_every_await() {
    let rows: &[(&'static str, Case)] = &[
        ("recv", |core, drive| Box::pin(recv(core, drive, false))),
        ("recv in bulk", |core, drive| Box::pin(recv(core, drive, true))),
        ("recv of the end", |core, drive| Box::pin(recv_end(core, drive))),
        ("watch", |core, drive| Box::pin(watch(core, drive))),
        ("flushed", |core, drive| Box::pin(unsent(core, drive, 0))),
        ("poll_unsent_below", |core, drive| Box::pin(unsent(core, drive, 25))),
        ("connect, accepted", |core, drive| Box::pin(connect_accepted(core, drive))),
        ("connect, refused", |core, drive| Box::pin(connect_refused(core, drive))),
        ("accept", |core, drive| Box::pin(accept(core, drive))),
        ("drain", |core, drive| Box::pin(drain(core, drive))),
        ("detach, never armed", |core, drive| Box::pin(detach(core, drive, Armed::No, b""))),
        ("detach, a receive in flight", |core, drive| Box::pin(detach(core, drive, Armed::Chunks, b""))),
        ("detach, a bulk receive in flight", |core, drive| Box::pin(detach(core, drive, Armed::Bulk, b""))),
        ("detach, bytes arriving", |core, drive| Box::pin(detach(core, drive, Armed::Chunks, b"early"))),
        ("detach, bulk bytes arriving", |core, drive| Box::pin(detach(core, drive, Armed::Bulk, b"early"))),
        ("timer", |core, drive| Box::pin(timer(core, drive))),
        ("mailbox", |core, drive| Box::pin(mail(core, drive))),
        ("yield_now", |core, drive| Box::pin(yields(core, drive))),
        ("woken", |core, drive| Box::pin(woken(core, drive))),
        ("composed", |core, drive| Box::pin(composed(core, drive))),
        ("raced", |core, drive| Box::pin(raced(core, drive))),
    ];
    each_driver(|_| async {}); // Whatever is opened once is open now.
    for &(name, case) in rows {
        check(name, case);
    }
    connects_to_nobody();
}

/// A connect without an answer is given up after any number of polls, and at its deadline. One full backlog serves all.
fn connects_to_nobody() {
    each_driver(|core: Core| async move {
        let (_listener, address, streams) = silent(&core).await;
        until(&core, || core.stats().streams.get() == streams.len() as u64).await;
        let mut before = held(&core);
        before.descriptors += 1; // As in `Held::exceeds`.
        for (late, polls) in [(false, 0), (false, 1), (true, 1), (true, 2), (false, 9), (true, usize::MAX)] {
            let deadline = core.now() + Duration::from_millis(20);
            let drive = Drive { polls, late, event: 0 };
            match drive.run(&core, core.connect(address, deadline), || ()).await {
                Some(Err(ConnectError::Timeout)) => assert!(core.now() >= deadline, "never early"),
                Some(other) => panic!("{:?}", other.map(|_| "connected")),
                None => assert!(polls < usize::MAX),
            }
            released(&core, &before, "connect, no answer", drive).await;
        }
    });
}

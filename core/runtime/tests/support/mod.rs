//! What the runtime's tests share: a core for each driver, a pair of connected streams, and the check that nothing leaks.
#![allow(clippy::print_stderr)] // the skip line
#![allow(dead_code, unused_imports, unreachable_pub)] // each test file uses its part of it

pub mod toy;

use std::future::{Future, poll_fn};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use ringway_runtime::{Chunk, Core, Instant, IoChoice, IoReport, Listener, LoopStats, Options, Stream, Wake};

/// Far enough away that only a hang reaches it.
pub const LONG: Duration = Duration::from_secs(30);

/// An address of loopback with a port that the system chooses.
pub fn anywhere() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

/// Whether this host lets us make a ring; a host that does not is named once in the output.
fn ring_allowed() -> bool {
    let options = Options { io: IoChoice::Ring, ..Options::default() };
    match ringway_runtime::run(&options, Wake::new().expect("an eventfd"), |_, _| async {}) {
        Ok(()) => true,
        Err(error) => {
            let required = std::env::var("RINGWAY_REQUIRE_ALL").is_ok_and(|value| value == "1");
            assert!(!required, "the ring driver is required: {error}");
            eprintln!("SKIP ring: {error}");
            false
        }
    }
}

/// Seeds of the simulated kernel that every test runs on: no entropy, so that a failure repeats. Those that are 3 modulo 4 run
/// out of descriptors, which is a result that most tests do not expect.
const FAULT_SEEDS: [u64; 4] = [0, 1, 2, 5];

/// A number from the environment.
pub fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The drivers of the product that this host allows.
pub fn kernel_drivers() -> Vec<IoChoice> {
    if ring_allowed() { vec![IoChoice::Poll, IoChoice::Ring] } else { vec![IoChoice::Poll] }
}

/// The drivers that this host allows, and the fault driver with a few seeds (or with `RINGWAY_FAULT_SEED`).
pub fn drivers() -> Vec<IoChoice> {
    let mut drivers = kernel_drivers();
    match number("RINGWAY_FAULT_SEED") {
        Some(seed) => drivers.push(IoChoice::Fault(seed)),
        None => drivers.extend(FAULT_SEEDS.map(IoChoice::Fault)),
    }
    drivers
}

/// Names the driver of a test that panics: panics abort before a caller could.
struct Naming(IoChoice);

impl Drop for Naming {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed on {:?}", self.0);
        }
    }
}

/// Runs `main` on a core of each driver with these options, fails when it hangs, and checks that nothing is left behind.
#[track_caller]
pub fn each_driver_with<F, Fut>(options: Options, main: F)
where
    F: Fn(Core) -> Fut,
    Fut: Future<Output = ()> + 'static,
{
    for io in drivers() {
        on_driver(io, &options, &main);
    }
}

/// The same with the default options, on the drivers of the product only.
#[track_caller]
pub fn each_kernel_driver<F, Fut>(main: F)
where
    F: Fn(Core) -> Fut,
    Fut: Future<Output = ()> + 'static,
{
    for io in kernel_drivers() {
        on_driver(io, &Options::default(), &main);
    }
}

/// One driver of [`each_driver_with`].
#[track_caller]
pub fn on_driver<F, Fut>(io: IoChoice, options: &Options, main: &F)
where
    F: Fn(Core) -> Fut,
    Fut: Future<Output = ()> + 'static,
{
    let _naming = Naming(io);
    let stats = Arc::new(LoopStats::default());
    let options = Options { io, stats: Some(stats.clone()), ..options.clone() };
    let wake = Wake::new().expect("an eventfd");
    let ran = ringway_runtime::run(&options, wake, |core, _| {
        let work = main(core.clone());
        async move {
            let began = Instant::now();
            // A core that slept over its work finds it done when the limit (or the wheel, a little before) wakes it.
            if within(&core, LONG, work).await.is_none() || core.now() >= began + LONG * 4 / 5 {
                panic!("{io:?}: the test hangs; tasks: {:?}; {:?}", core.census(), core.stats().rows());
            }
        }
    });
    ran.unwrap_or_else(|error| panic!("{io:?}: {error}"));
    for (name, value) in stats.rows() {
        let gone = matches!(name, "bulk_in_use" | "blocks_in_use_bytes" | "tasks" | "streams" | "timers");
        assert!(!gone || value == 0, "{io:?}: {name} = {value} at the end");
    }
    assert_eq!(stats.chunks_free.get(), stats.chunks_total.get(), "{io:?}: all chunks are home");
}

/// The same with the default options.
#[track_caller]
pub fn each_driver<F, Fut>(main: F)
where
    F: Fn(Core) -> Fut,
    Fut: Future<Output = ()> + 'static,
{
    each_driver_with(Options::default(), main);
}

/// `work`, or `None` when it takes longer than `limit`.
pub async fn within<T>(core: &Core, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    let timer = core.timer();
    timer.set(Instant::now() + limit);
    let mut work = pin!(work);
    poll_fn(|cx| {
        if let Poll::Ready(value) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(value));
        }
        timer.poll_expired(cx).map(|()| None)
    })
    .await
}

/// Both futures, side by side in one task.
pub async fn both<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut first, mut second) = (None, None);
    poll_fn(|cx| {
        if first.is_none()
            && let Poll::Ready(value) = a.as_mut().poll(cx)
        {
            first = Some(value);
        }
        if second.is_none()
            && let Poll::Ready(value) = b.as_mut().poll(cx)
        {
            second = Some(value);
        }
        if first.is_some() && second.is_some() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    (first.expect("done"), second.expect("done"))
}

/// A listener on a port of its own, listening.
pub fn listener(core: &Core, backlog: i32) -> (Listener, SocketAddr) {
    let fd = ringway_runtime::bind(anywhere(), false).expect("bind");
    ringway_runtime::start_listening(fd.as_fd(), backlog).expect("listen");
    let listener = core.listen(fd);
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

/// Connects to `address`.
pub async fn connect(core: &Core, address: SocketAddr) -> Stream {
    core.connect(address, core.now() + LONG).await.expect("connect")
}

/// Two ends of one connection: who connected, and who accepted.
pub async fn pair(core: &Core) -> (Stream, Stream) {
    let (listener, address) = listener(core, 16);
    let (client, server) = both(connect(core, address), listener.accept()).await;
    (client, server.expect("accept"))
}

/// Receives exactly `n` bytes; puts back what is beyond.
pub async fn recv_exact(stream: &Stream, n: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(n);
    while bytes.len() < n {
        let mut chunk = stream.recv().await.expect("no error").expect("not the end yet");
        let wanted = n - bytes.len();
        if chunk.len() > wanted {
            bytes.extend_from_slice(&chunk.split_to(wanted));
            stream.unread(chunk);
        } else {
            bytes.extend_from_slice(&chunk);
        }
    }
    bytes
}

/// Receives to the end of the stream.
pub async fn recv_all(stream: &Stream) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = stream.recv().await? {
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Bytes that differ from place to place and repeat late.
pub fn pattern(n: usize) -> Vec<u8> {
    (0..n as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// Lets `turns` turns of the loop pass.
pub async fn turns(core: &Core, turns: usize) {
    for _ in 0..turns {
        core.yield_now().await;
    }
}

/// Waits until `true`, looking once a turn; the test's own limit catches what never comes.
pub async fn until(core: &Core, mut condition: impl FnMut() -> bool) {
    while !condition() {
        core.yield_now().await;
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): chance as an argument.
pub struct Chance(pub u64);

impl Chance {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ z >> 31) % n
    }
}

//! What a GiB costs the thread that relays it between two loopback connections: CPU time, user and system, by the way it takes.
//!
//! `target/release/examples/relay_cost [MIB] [ROUNDS]`. Ways are interleaved; the median of the rounds is shown. A source and a sink,
//! threads of their own with plain blocking sockets, do not count.
#![allow(clippy::print_stdout, reason = "an example's output")]

use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use ringway_runtime::{Core, Detached, IoChoice, Options, Pump, PumpLimits, Wake, run};

/// How bytes go through.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// The runtime's receives and sends: driver, bytes of a bulk buffer (0: chunks).
    Copy(IoChoice, usize),
    /// The runtime's pump with pipes of so many bytes: splice(2) as soon as bytes keep coming.
    Pump(IoChoice, usize),
    /// splice(2) through a pipe of so many bytes, on readiness, and nothing else.
    Splice(usize),
}

const UNSENT_MAX: usize = 128 << 10;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| arguments.next().map_or(default, |n| n.parse().expect("a number"));
    let (mib, rounds) = (number(1024), number(5));
    let ways = [
        Way::Copy(IoChoice::Ring, 0),
        Way::Copy(IoChoice::Poll, 0),
        Way::Copy(IoChoice::Ring, 64 << 10),
        Way::Copy(IoChoice::Poll, 64 << 10),
        Way::Copy(IoChoice::Ring, 128 << 10),
        Way::Copy(IoChoice::Poll, 128 << 10),
        Way::Copy(IoChoice::Ring, 256 << 10),
        Way::Copy(IoChoice::Poll, 256 << 10),
        Way::Pump(IoChoice::Ring, 256 << 10),
        Way::Pump(IoChoice::Poll, 256 << 10),
        Way::Pump(IoChoice::Ring, 512 << 10),
        Way::Pump(IoChoice::Poll, 512 << 10),
        Way::Pump(IoChoice::Ring, 1 << 20),
        Way::Pump(IoChoice::Poll, 1 << 20),
        Way::Splice(64 << 10),
        Way::Splice(256 << 10),
        Way::Splice(512 << 10),
        Way::Splice(1 << 20),
    ];
    let mut costs = vec![Vec::new(); ways.len()];
    for _ in 0..rounds {
        for (way, costs) in ways.iter().zip(&mut costs) {
            costs.push(measure(*way, mib << 20));
        }
    }
    println!(
        "| way | user ms/GiB | system ms/GiB | together | with source and sink | wall ms/GiB | moves/MiB |\n|---|---|---|---|---|---|---|"
    );
    for (way, mut costs) in ways.iter().zip(costs) {
        costs.sort_by(|a, b| (a.user + a.system).total_cmp(&(b.user + b.system)));
        let Cost { user, system, wall, moves, all } = costs[costs.len() / 2];
        println!("| {way:?} | {user:.0} | {system:.0} | {:.0} | {all:.0} | {wall:.0} | {moves:.1} |", user + system);
    }
}

/// Milliseconds for a GiB.
#[derive(Clone, Copy)]
struct Cost {
    user: f64,
    system: f64,
    wall: f64,
    moves: f64,
    /// The source's and the sink's share in it, too.
    all: f64,
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let near = TcpStream::connect(listener.local_addr().expect("an address")).expect("connect");
    (near, listener.accept().expect("accept").0)
}

fn usage(whose: i32) -> (f64, f64) {
    // SAFETY: all-zero is a valid rusage; the call writes to it.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(whose, &raw mut usage);
        usage
    };
    let ms = |time: libc::timeval| time.tv_sec as f64 * 1e3 + time.tv_usec as f64 / 1e3;
    (ms(usage.ru_utime), ms(usage.ru_stime))
}

fn measure(way: Way, bytes: usize) -> Cost {
    let ((mut source, from), (to, mut sink)) = (pair(), pair());
    let writer = std::thread::spawn(move || {
        let piece = vec![7; 256 << 10];
        for _ in 0..bytes / piece.len() {
            source.write_all(&piece).expect("write");
        }
    });
    let reader = std::thread::spawn(move || {
        let mut piece = vec![0; 256 << 10];
        let mut total = 0;
        loop {
            match sink.read(&mut piece).expect("read") {
                0 => break,
                n => total += n,
            }
        }
        assert_eq!(total, bytes);
    });
    let began = std::time::Instant::now();
    let (before, all_before) = (usage(libc::RUSAGE_THREAD), usage(libc::RUSAGE_SELF));
    let moves = match way {
        Way::Copy(io, bulk) => relay(io, bulk, from, to),
        Way::Pump(io, pipe) => pump(io, pipe, from, to),
        Way::Splice(pipe) => splice_all(pipe, &from, &to),
    };
    let after = usage(libc::RUSAGE_THREAD);
    writer.join().expect("the source");
    reader.join().expect("the sink");
    let all_after = usage(libc::RUSAGE_SELF);
    let gib = bytes as f64 / f64::from(1 << 30);
    Cost {
        user: (after.0 - before.0) / gib,
        system: (after.1 - before.1) / gib,
        wall: began.elapsed().as_secs_f64() * 1e3 / gib,
        all: (all_after.0 + all_after.1 - all_before.0 - all_before.1) / gib,
        moves: moves as f64 / (bytes as f64 / f64::from(1 << 20)),
    }
}

fn relay(io: IoChoice, bulk: usize, from: TcpStream, to: TcpStream) -> usize {
    let options = Options { io, bulk_size: bulk.max(1), ..Options::default() };
    run(&options, Wake::new().expect("an eventfd"), move |core: Core, _| async move {
        let (from, to) = (core.attach(Detached::from(from)), core.attach(Detached::from(to)));
        from.set_bulk(bulk > 0);
        let mut moves = 0;
        while let Some(chunk) = from.recv().await.expect("receive") {
            to.send(chunk);
            moves += 1;
            poll_fn(|cx| to.poll_unsent_below(cx, UNSENT_MAX)).await.expect("send");
        }
        to.flushed().await.expect("send");
        moves
    })
    .expect("a core")
}

fn pump(io: IoChoice, pipe_size: usize, from: TcpStream, to: TcpStream) -> usize {
    let options = Options { io, pipe_size, ..Options::default() };
    run(&options, Wake::new().expect("an eventfd"), move |core: Core, _| async move {
        let (from, to) = (core.attach(Detached::from(from)), core.attach(Detached::from(to)));
        let limits = PumpLimits { bytes_per_poll: 512 << 10, held_max: pipe_size, left: None };
        let mut pump = Pump::new();
        poll_fn(|cx| pump.poll(cx, &from, &to, limits)).await.expect("no error");
        to.flushed().await.expect("send");
        core.stats().polls.get() as usize
    })
    .expect("a core")
}

fn check(result: isize) -> io::Result<usize> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as usize) }
}

fn splice(from: RawFd, to: RawFd, len: usize) -> io::Result<usize> {
    let flags = libc::SPLICE_F_NONBLOCK | libc::SPLICE_F_MOVE;
    // SAFETY: no memory is passed.
    check(unsafe { libc::splice(from, std::ptr::null_mut(), to, std::ptr::null_mut(), len, flags) })
}

fn wait(fd: RawFd, events: i16) {
    let mut poll = libc::pollfd { fd, events, revents: 0 };
    // SAFETY: one pollfd.
    unsafe { libc::poll(&raw mut poll, 1, Duration::from_secs(10).as_millis() as i32) };
}

fn splice_all(pipe_size: usize, from: &TcpStream, to: &TcpStream) -> usize {
    from.set_nonblocking(true).expect("fcntl");
    to.set_nonblocking(true).expect("fcntl");
    let mut pipe = [0; 2];
    // SAFETY: two numbers to write to; then no memory.
    unsafe {
        assert_eq!(libc::pipe2(pipe.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK), 0);
        assert!(libc::fcntl(pipe[1], libc::F_SETPIPE_SZ, pipe_size as i32) >= pipe_size as i32);
    }
    let (mut held, mut moves) = (0, 0);
    loop {
        match splice(from.as_raw_fd(), pipe[1], pipe_size) {
            Ok(0) => break,
            Ok(n) => {
                moves += 1;
                held += n;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait(from.as_raw_fd(), libc::POLLIN),
            Err(error) => panic!("splice in: {error}"),
        }
        while held > 0 {
            match splice(pipe[0], to.as_raw_fd(), held) {
                Ok(n) => held -= n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait(to.as_raw_fd(), libc::POLLOUT),
                Err(error) => panic!("splice out: {error}"),
            }
        }
    }
    // SAFETY: ours, and not used again.
    unsafe { (libc::close(pipe[0]), libc::close(pipe[1])) };
    to.shutdown(std::net::Shutdown::Write).expect("shutdown");
    moves
}

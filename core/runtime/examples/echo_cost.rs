//! The runtime's own cost of an exchange: two receives, two sends, two task polls and two timer settings, in one core.
//!
//! `perf stat -e instructions:u,instructions:k target/release/examples/echo_cost ring 64 20000` counts it; dividing by
//! connections x rounds gives the figure for one exchange, of which a proxied request needs two halves. A run with half the
//! rounds, subtracted, takes the set-up out.
#![allow(clippy::print_stdout, reason = "an example's output")]

use std::cell::Cell;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use ringway_runtime::{Core, Options, Wake, bind, run, start_listening};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let io = arguments.next().unwrap_or("auto".into()).parse().expect("auto, ring or poll");
    let mut number = |default: usize| arguments.next().map_or(default, |n| n.parse().expect("a number"));
    let (connections, rounds) = (number(64), number(20_000));
    let options = Options { io, ..Options::default() };
    let line = run(&options, Wake::new().expect("an eventfd"), |core, report| async move {
        work(core.clone(), connections, rounds).await;
        let stats = core.stats();
        let (turns, enters) = (stats.turns.get(), stats.enters.get());
        format!("{report}: {turns} turns, {enters} enters, {} exchanges", connections * rounds)
    });
    println!("{}", line.expect("a core"));
}

async fn work(core: Core, connections: usize, rounds: usize) {
    let fd = bind(([127, 0, 0, 1], 0).into(), false).expect("bind");
    start_listening(fd.as_fd(), 1024).expect("listen");
    let listener = core.listen(fd);
    let address = listener.local_addr().expect("an address");
    let left = Rc::new(Cell::new(connections));
    for _ in 0..connections {
        let client = core.connect(address, core.now() + Duration::from_secs(5)).await.expect("connect");
        let server = listener.accept().await.expect("accept");
        let idle = core.clone();
        core.spawn("server", async move {
            let timer = idle.timer();
            while let Ok(Some(chunk)) = server.recv().await {
                timer.set(idle.now() + Duration::from_secs(60));
                // A head of its own, and the body as it came.
                let mut head = idle.block(200);
                head.extend_from_slice(&[b'h'; 150]);
                server.send(head.freeze());
                server.send(chunk);
            }
        });
        let (left, core_of_task) = (left.clone(), core.clone());
        core.spawn("client", async move {
            let core = core_of_task;
            let timer = core.timer();
            let body = core.chunk(&[b'b'; 1024]);
            for _ in 0..rounds {
                timer.set(core.now() + Duration::from_secs(60));
                client.send(body.clone());
                let mut bytes = 0;
                while bytes < 150 + 1024 {
                    bytes += client.recv().await.expect("no error").expect("bytes").len();
                }
            }
            left.set(left.get() - 1);
            if left.get() == 0 {
                core.wake_handle().wake();
            }
        });
    }
    while left.get() > 0 {
        core.woken().await;
    }
}

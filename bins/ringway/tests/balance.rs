//! How connections are shared among the workers, and that none is lost on its way from one to another.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use crate::common::client::Client;
use crate::common::config::Config;
use crate::common::process::Proxy;
use crate::common::{Stop, on_each_driver, wait_for};

/// A statistic of the listener `main`.
fn stat(proxy: &Proxy, name: &str) -> u64 {
    proxy.stat(&format!("listener.{}.{name}", proxy.address.to_string().replace(':', "_")))
}

/// Connections that each worker serves.
fn spread(proxy: &Proxy, workers: usize) -> Vec<u64> {
    (0..workers).map(|worker| stat(proxy, &format!("worker_{worker}.downstream_cx_active"))).collect()
}

/// One after the other, each connection served before the next one comes: then the lightest is known to all.
fn connect(proxy: &Proxy, count: usize) -> Vec<Client> {
    let connect = |_| {
        let mut client = proxy.client();
        assert_eq!(client.get("/direct").text(), "direct");
        client
    };
    (0..count).map(connect).collect()
}

#[track_caller]
fn check_even(config: &Config, balance: &str, workers: usize) {
    on_each_driver(|io| {
        let options = ["--concurrency", &workers.to_string(), "--balance", balance];
        let proxy = Proxy::start_with(io, config, &options);
        let each = 4;
        let clients = connect(&proxy, workers * each);
        assert_eq!(spread(&proxy, workers), vec![each as u64; workers], "{io}");
        assert_eq!(stat(&proxy, "downstream_cx_total"), (workers * each) as u64);
        assert_eq!(proxy.stat("http.main.downstream_cx_total"), (workers * each) as u64);
        assert_eq!(stat(&proxy, "downstream_cx_handed_over"), stat(&proxy, "downstream_cx_taken_over"));
        assert_eq!(stat(&proxy, "downstream_cx_kept_full"), 0);
        // Who leaves makes room: the next ones go where there are fewest.
        drop(clients);
        wait_for("all connections closed", || (stat(&proxy, "downstream_cx_active") == 0).then_some(()));
        let _clients = connect(&proxy, workers);
        assert_eq!(spread(&proxy, workers), vec![1; workers], "{io}");
    });
}

#[test]
fn exact_gives_each_worker_as_many() {
    check_even(&Config::new(), "exact", 3);
}

#[test]
fn a_listener_may_ask_for_exact_balance_by_itself() {
    check_even(&Config::new().listener("connection_balance_config: {exact_balance: {}}"), "local", 4);
}

#[test]
fn the_lighter_of_two_workers_is_the_lightest() {
    check_even(&Config::new(), "least-of-two", 2);
}

#[test]
fn by_default_two_connections_meet_two_workers_and_local_hands_none_over() {
    on_each_driver(|io| {
        for (options, even) in
            [(&["--concurrency", "2"][..], true), (&["--concurrency", "2", "--balance", "local"], false)]
        {
            let proxy = Proxy::start_with(io, &Config::new(), options);
            for _ in 0..8 {
                let _clients = connect(&proxy, 2);
                if even {
                    assert_eq!(spread(&proxy, 2), [1, 1], "{io}");
                }
                drop(_clients);
                wait_for("all connections closed", || (stat(&proxy, "downstream_cx_active") == 0).then_some(()));
            }
            let over = stat(&proxy, "downstream_cx_handed_over");
            assert!(even || over == 0, "{over} handed over");
        }
    });
}

/// What those who connect without end have seen.
#[derive(Default)]
struct Arrivals {
    done: AtomicBool,
    answered: AtomicUsize,
    /// Nobody listened.
    refused: AtomicUsize,
}

impl Arrivals {
    fn go_on(&self) -> bool {
        !self.done.load(Ordering::SeqCst)
    }

    /// One connection after another: each that came up is answered. False: nobody listens any more.
    fn arrive(&self, address: SocketAddr) -> bool {
        match TcpStream::connect(address) {
            Err(_) => {
                self.refused.fetch_add(1, Ordering::SeqCst);
                false
            }
            Ok(stream) => {
                let mut client = Client::on(stream);
                client.send("GET /direct HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
                assert_eq!(client.response(false).text(), "direct");
                self.answered.fetch_add(1, Ordering::SeqCst);
                true
            }
        }
    }
}

/// Connections that have to be seen before something is changed under them.
const ENOUGH: usize = 50;
const CLIENTS: usize = 4;
const WORKERS: [&str; 4] = ["--concurrency", "4", "--balance", "exact"];

#[test]
fn a_listener_that_goes_loses_no_connection_on_its_way_to_another_worker() {
    on_each_driver(|io| {
        let config = Config::new().yaml();
        let start = config.find("  - name: main").expect("the listener");
        let end = config.find("  clusters:").expect("the clusters");
        let second = config[start..end]
            .replace("name: main", "name: second")
            .replace("stat_prefix: main", "stat_prefix: second");
        let both = format!("{}{second}{}", &config[..end], &config[end..]);
        let mut proxy = Proxy::start_with(io, &Config::new(), &WORKERS);
        for _ in 0..4 {
            proxy.replace(&both);
            let line = proxy.line("listener second: ");
            let address: SocketAddr = line.rsplit(' ').next().and_then(|text| text.parse().ok()).expect("an address");
            let arrivals = Arrivals::default();
            thread::scope(|scope| {
                for _ in 0..CLIENTS {
                    scope.spawn(|| while arrivals.go_on() && arrivals.arrive(address) {});
                }
                let stop = Stop(&arrivals.done);
                wait_for("connections", || (arrivals.answered.load(Ordering::SeqCst) >= ENOUGH).then_some(()));
                proxy.replace(&config);
                proxy.line("in force");
                // They end by themselves, when nobody listens any more.
                let refused = || arrivals.refused.load(Ordering::SeqCst) == CLIENTS;
                wait_for("closed sockets", || refused().then_some(()));
                drop(stop);
            });
            // Each worker's run of the socket has ended: `main` alone is left.
            let listeners = || proxy.admin("GET", "/workers").text().matches("\"listeners\": 1").count();
            wait_for("one listener a worker", || (listeners() == 4).then_some(()));
        }
        assert_eq!(proxy.get("/direct").text(), "direct");
    });
}

#[test]
fn a_changed_listener_keeps_the_connections_on_their_way() {
    on_each_driver(|io| {
        let mut proxy = Proxy::start_with(io, &Config::new(), &WORKERS);
        let (address, arrivals) = (proxy.address, Arrivals::default());
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| while arrivals.go_on() && arrivals.arrive(address) {});
            }
            let stop = Stop(&arrivals.done);
            for round in 1..=8 {
                let enough = round * ENOUGH;
                wait_for("connections", || (arrivals.answered.load(Ordering::SeqCst) >= enough).then_some(()));
                // Its chain, its manager and its balance change; the socket stays.
                let config = Config::new().manager(&format!("delayed_close_timeout: 1{round}s"));
                let exact = "connection_balance_config: {exact_balance: {}}";
                proxy.replace(&if round % 2 == 0 { config.listener(exact) } else { config }.yaml());
                proxy.line("in force");
            }
            drop(stop);
        });
        assert_eq!(arrivals.refused.load(Ordering::SeqCst), 0);
        let answered = arrivals.answered.load(Ordering::SeqCst) as u64;
        wait_for("all are counted", || (stat(&proxy, "downstream_cx_destroy") == answered).then_some(()));
        assert_eq!(stat(&proxy, "downstream_cx_total"), answered);
        assert!(stat(&proxy, "downstream_cx_handed_over") > 0);
    });
}

#[test]
fn sigterm_loses_no_connection_on_its_way_to_another_worker() {
    on_each_driver(|io| {
        let options = [&WORKERS[..], &["--drain-time-s", "6"]].concat();
        let mut proxy = Proxy::start_with(io, &Config::new(), &options);
        let (address, arrivals) = (proxy.address, Arrivals::default());
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| while arrivals.go_on() && arrivals.arrive(address) {});
            }
            let stop = Stop(&arrivals.done);
            wait_for("connections", || (arrivals.answered.load(Ordering::SeqCst) >= ENOUGH).then_some(()));
            proxy.signal("TERM");
            wait_for("closed sockets", || (arrivals.refused.load(Ordering::SeqCst) == CLIENTS).then_some(()));
            drop(stop);
        });
        assert_eq!(proxy.end().code(), Some(0));
        proxy.line("all connections are done");
    });
}

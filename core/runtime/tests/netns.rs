//! What only a network of our own can show: redirected connections know where they were going, transparent sockets accept for others
//! and speak for others. In a network namespace made for it; wants root, iproute2 and nftables.
#![allow(clippy::print_stderr)] // the skip line

mod support;

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::process::Command;

use ringway_runtime::{Core, Instant, Options, Stream, bind_foreign_source, bind_source, bind_with, set_option};
use support::*;

/// Runs a line of shell in this thread's namespace.
fn sh(line: &str) -> Result<(), String> {
    let output = Command::new("sh").args(["-ec", line]).output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(()) } else { Err(format!("{line}: {said}")) }
}

/// A thread's own network: 10.9.8.7 and fd00::7 are its own addresses; 10.5.0.0/16 and fd05::/16 are nobody's, and lead back to it.
fn network() -> Result<(), String> {
    // SAFETY: no memory is passed; only this thread moves.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } < 0 {
        return Err(format!("unshare: {}", std::io::Error::last_os_error()));
    }
    sh("ip link set lo up
        ip addr add 10.9.8.7/32 dev lo
        ip -6 addr add fd00::7/128 dev lo nodad
        ip rule add to 10.5.0.0/16 lookup 100
        ip route add local 10.5.0.0/16 dev lo table 100 src 10.9.8.7
        ip -6 rule add to fd05::/16 lookup 100
        ip -6 route add local fd05::/16 dev lo table 100 src fd00::7
        nft add table inet test")
}

/// Runs `test` on both drivers, each in a network of its own.
fn each_network<F, Fut>(test: F)
where
    F: Fn(Core) -> Fut + Send + Sync,
    Fut: Future<Output = ()> + 'static,
{
    for io in kernel_drivers() {
        std::thread::scope(|scope| {
            scope.spawn(|| match network() {
                Ok(()) => on_driver(io, &Options::default(), &test),
                Err(why) => {
                    let required = std::env::var("RINGWAY_REQUIRE_ALL").is_ok_and(|value| value == "1");
                    assert!(!required, "a network namespace is required: {why}");
                    eprintln!("SKIP network namespace: {why}");
                }
            });
        });
    }
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

async fn accept_one(core: &Core, listener: &ringway_runtime::Listener, to: SocketAddr) -> (Stream, Stream) {
    let (client, server) = both(core.connect(to, core.now() + LONG), listener.accept()).await;
    (client.expect("connect"), server.expect("accept"))
}

#[test]
fn redirected_connections_know_their_destination() {
    each_network(|core: Core| async move {
        for (at, to) in [
            ("0.0.0.0:0", "10.9.8.7:7777"),
            ("[::]:0", "[fd00::7]:7777"),
            ("[::]:0", "10.9.8.7:7777"), // as ::ffff:10.9.8.7
        ] {
            let (listener, address_of) = listener_at(&core, address(at));
            let port = address_of.port();
            sh(&format!(
                "nft flush table inet test
                 nft add chain inet test out '{{ type nat hook output priority -100; }}'
                 nft add rule inet test out tcp dport 7777 redirect to :{port}"
            ))
            .expect("nft");
            let (client, server) = accept_one(&core, &listener, address(to)).await;
            assert_eq!(server.original_destination(), Some(address(to)), "{to} at {at}");
            assert_ne!(server.local_addr(), Some(address(to)));
            drop((client, server));
            // One that nobody redirected was going where it came.
            let own = SocketAddr::new(address(to).ip(), port);
            let (_client, server) = accept_one(&core, &listener, own).await;
            assert!(server.original_destination().is_none_or(|was| was == own));
            assert!(!server.is_transparent());
        }
    });
}

fn listener_at(core: &Core, at: SocketAddr) -> (ringway_runtime::Listener, SocketAddr) {
    let fd = bind_with(at, false, true, |_| Ok(())).expect("bind");
    ringway_runtime::start_listening(fd.as_fd(), 16).expect("listen");
    let listener = core.listen(fd);
    let bound = listener.local_addr().expect("an address");
    (listener, bound)
}

/// TPROXY: nothing is rewritten, and a transparent socket accepts what was going elsewhere.
#[test]
fn transparent_listeners_accept_for_others() {
    each_network(|core: Core| async move {
        for (any, to, family) in [("0.0.0.0:0", "10.5.1.1:7777", "ip"), ("[::]:0", "[fd05::1]:7777", "ip6")] {
            // As `Listener.transparent` says it, for both families.
            let one = 1i32.to_ne_bytes();
            let fd =
                bind_with(address(any), false, false, |fd| set_option(fd, libc::SOL_IP, libc::IP_TRANSPARENT, &one))
                    .expect("bind");
            ringway_runtime::start_listening(fd.as_fd(), 16).expect("listen");
            let listener = core.listen(fd);
            let port = listener.local_addr().expect("an address").port();
            sh(&format!(
                "nft flush table inet test
                 nft add chain inet test pre '{{ type filter hook prerouting priority mangle; }}'
                 nft add rule inet test pre meta nfproto {} tcp dport 7777 tproxy {family} to :{port} accept",
                if family == "ip" { "ipv4" } else { "ipv6" }
            ))
            .expect("nft");
            let (_client, server) = accept_one(&core, &listener, address(to)).await;
            assert_eq!((server.local_addr(), server.is_transparent()), (Some(address(to)), true));
        }
    });
}

/// An upstream socket speaks for the client (`original_src`): its address is not this host's, and answers come back.
#[test]
fn a_foreign_source_is_seen_by_the_peer() {
    each_network(|core: Core| async move {
        for (at, source) in
            [("10.9.8.7:0", "10.5.2.2:0"), ("[fd00::7]:0", "[fd05::2]:0"), ("10.9.8.7:0", "10.5.2.2:4242")]
        {
            let (listener, to) = listener_at(&core, address(at));
            let deadline: Instant = core.now() + LONG;
            let plain = core.connect_with(to, deadline, |fd| bind_source(fd, address(source))).await;
            assert!(plain.is_err(), "{source} is not ours");
            let connect = core.connect_with(to, deadline, |fd| bind_foreign_source(fd, address(source)));
            let (client, server) = both(connect, listener.accept()).await;
            let (client, server) = (client.expect("connect"), server.expect("accept"));
            let peer = server.peer_addr().expect("connected");
            assert_eq!(peer.ip(), address(source).ip());
            assert!(address(source).port() == 0 || address(source).port() == peer.port());
            server.send(core.chunk(b"back"));
            assert_eq!(recv_exact(&client, 4).await, b"back");
        }
    });
}

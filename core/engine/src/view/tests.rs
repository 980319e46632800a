//! What a commit costs, counted.

use std::time::Duration;

use ringway_model::{
    ChainIndex, DownstreamTransport, FilterChainMatch, HANDSHAKE_TIMEOUT, ListenAddress, ListenSocket, ListenerFilters,
    TcpTarget,
};
use ringway_observe::Registry;

use super::*;
use crate::by_chain::COMPARISONS;

const LISTENER: ListenerId = ListenerId(0);

fn raw(id: u32, attempts: u32) -> Arc<FilterChain> {
    let tcp = TcpProxy {
        stat_prefix: "t".into(),
        target: TcpTarget::Cluster(ClusterId(0)),
        idle_timeout: None,
        duration_max: Some(Duration::from_secs(1)),
        connect_attempts_max: attempts,
        access_logs: Vec::new(),
        hashes_source_ip: false,
    };
    Arc::new(FilterChain {
        id: ChainId(id),
        name: String::new(),
        matches: FilterChainMatch::default(),
        transport: DownstreamTransport::Raw,
        handshake_timeout: HANDSHAKE_TIMEOUT,
        before: Vec::new(),
        filter: NetworkFilter::Tcp(Arc::new(tcp)),
    })
}

fn listener(chains: Vec<Arc<FilterChain>>) -> Arc<Listener> {
    Arc::new(Listener {
        exact_balance: false,
        id: LISTENER,
        name: "l".into(),
        addresses: vec![ListenAddress { address: ([127, 0, 0, 1], 0).into(), socket: ListenSocket::default() }],
        backlog: 128,
        buffer_bytes_max: None,
        binds: true,
        hands_off: false,
        inspects: ListenerFilters::default(),
        access_logs: Vec::new(),
        chains,
        index: ChainIndex::default(),
        default_chain: None,
    })
}

/// The view of one listener after `before`, and the comparisons that it took to build.
fn adopt(before: &View, registry: &Registry, listener: &Arc<Listener>) -> (View, usize) {
    let mut snapshot = Snapshot { generation: before.generation + 1, ..Snapshot::default() };
    snapshot.listeners.push(Arc::clone(listener));
    let mut seeds = ListenerSeeds::default();
    seeds.listeners.insert(LISTENER, registry.listener("127.0.0.1:1").remove(0));
    seeds.tcp.insert("t".into(), registry.tcp("t").remove(0));
    COMPARISONS.set(0);
    let rows = (0, &ActiveRows::default(), &LoadRows::default());
    let view = before.adopt(Arc::new(snapshot), &[], &seeds, &LogSinks::new(), rows, &mut || 0);
    (view, COMPARISONS.get())
}

/// Guards against work of the square of the chains at each commit, and of all chains at each request.
#[test]
fn many_chains_cost_little() {
    const CHAINS: u32 = 5_000;
    const STEPS_MAX: usize = 14;
    let registry = Registry::new(1);
    let chains: Vec<_> = (0..CHAINS).rev().map(|id| raw(id, 1)).collect();
    let (first, _) = adopt(&View::default(), &registry, &listener(chains.clone()));
    let mut changed = chains.clone();
    changed[7] = raw(CHAINS - 8, 2);
    changed.pop(); // the chain 0
    let (second, comparisons) = adopt(&first, &registry, &listener(changed));
    assert!(comparisons <= 2 * CHAINS as usize * STEPS_MAX, "{comparisons}");
    COMPARISONS.set(0);
    assert_eq!(first.chains_gone(&second), [(LISTENER, ChainId(0))]);
    assert!(COMPARISONS.get() <= CHAINS as usize * STEPS_MAX, "{}", COMPARISONS.get());
    for id in [1, 17, CHAINS / 2, CHAINS - 1] {
        COMPARISONS.set(0);
        assert!(second.tcp(LISTENER, ChainId(id)).is_some_and(|core| core.config.id == ChainId(id)));
        assert!(COMPARISONS.get() <= STEPS_MAX, "{}", COMPARISONS.get());
    }
}

/// What did not change is what it was: nothing of it is made anew.
#[test]
fn what_did_not_change_is_carried_over() {
    let registry = Registry::new(1);
    let same = listener(vec![raw(1, 1), raw(2, 1)]);
    let (first, _) = adopt(&View::default(), &registry, &same);
    let (second, _) = adopt(&first, &registry, &same);
    let of = |view: &View, id| Rc::clone(view.tcp(LISTENER, ChainId(id)).expect("it is there"));
    for id in [1, 2] {
        assert!(Rc::ptr_eq(&of(&first, id), &of(&second, id)));
    }
    assert!(first.chains_gone(&second).is_empty());
    // Who is told of its listener has the listener of its time.
    let (third, _) = adopt(&second, &registry, &listener(vec![Arc::clone(&same.chains[0]), raw(2, 2)]));
    for id in [1, 2] {
        assert!(!Rc::ptr_eq(&of(&second, id), &of(&third, id)));
    }
}

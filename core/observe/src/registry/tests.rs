//! Names come and go, numbers are summed, sorted and set to zero.

use super::*;
use crate::Origin;

fn rows(registry: &Registry) -> Vec<(String, u64)> {
    let mut rows = vec![];
    let visited = registry.visit(&mut |name, _, value| {
        rows.push((name.to_owned(), value));
        Ok(())
    });
    visited.expect("a list takes all");
    rows
}

#[test]
fn numbers_are_summed_over_workers_and_sorted() {
    let registry = Registry::new(2);
    let cluster = registry.cluster("b");
    cluster[0].upstream_rq_total.add(3);
    cluster[1].upstream_rq_total.add(4);
    registry.cluster("b")[1].upstream_rq_total.add(1);
    registry.cluster("a")[0].upstream_cx_active.add(1);
    registry.listener("[::1]:80")[1].downstream_cx_total.add(9);
    registry.http("in", "[::1]:80")[0].count_status(404);
    registry.http("in", "1.2.3.4:5")[1].count_status(405);
    cluster[1].count_status(Origin::External, 503);
    registry.tcp("raw")[0].idle_timeout.add(1);
    registry.tcp("raw")[1].idle_timeout.add(1);
    registry.membership("b").membership_total.set(3);
    registry.server.uptime.set(5);
    let rows = rows(&registry);
    assert!(rows.iter().map(|(name, _)| name).is_sorted(), "{rows:#?}");
    let value = |name: &str| rows.iter().find(|row| row.0 == name).unwrap_or_else(|| panic!("{name}")).1;
    for (name, expect) in [
        ("cluster.b.upstream_rq_total", 8),
        ("cluster.a.upstream_cx_active", 1),
        ("cluster_manager.active_clusters", 0),
        ("listener.[__1]_80.downstream_cx_total", 9),
        ("listener.[__1]_80.worker_0.downstream_cx_total", 0),
        ("listener.[__1]_80.worker_1.downstream_cx_total", 9),
        ("http.in.downstream_rq_4xx", 2),
        ("listener.[__1]_80.http.in.downstream_rq_4xx", 1),
        ("cluster.b.external.upstream_rq_503", 1),
        ("cluster.b.upstream_rq_5xx", 1),
        ("cluster.b.upstream_rq_completed", 1),
        ("tcp.raw.idle_timeout", 2),
        ("cluster.b.membership_total", 3),
        ("server.concurrency", 2),
        ("server.uptime", 5),
    ] {
        assert_eq!(value(name), expect, "{name}");
    }
}

#[test]
fn what_is_forgotten_is_not_shown_and_starts_again_at_zero() {
    let registry = Registry::new(1);
    registry.cluster("a")[0].upstream_rq_total.add(1);
    registry.listener("1.2.3.4:5")[0].downstream_cx_total.add(1);
    registry.http("h", "1.2.3.4:5")[0].rq_total.add(1);
    registry.forget_cluster("a");
    registry.forget_listener("1.2.3.4:5");
    registry.forget_http("h");
    assert!(rows(&registry).iter().all(|(name, _)| !name.contains(".a.") && !name.contains("1.2.3.4")));
    assert_eq!(registry.cluster("a")[0].upstream_rq_total.value(), 0);
}

#[test]
fn used_is_what_was_written() {
    for (name, value, expect) in [
        ("server.state", 0, true),
        ("listener_manager.workers_started", 0, true),
        ("cluster.a.upstream_rq_total", 0, false),
        ("cluster.a.upstream_rq_total", 1, true),
        ("listener.127.0.0.1_80.downstream_cx_total", 0, false),
    ] {
        assert_eq!(is_used(name, value), expect, "{name}");
    }
}

#[test]
fn reset_counters_begin_at_zero_and_nothing_else_does() {
    let registry = Registry::new(2);
    let (cluster, http) = (registry.cluster("c"), registry.http("h", "1.2.3.4:5"));
    let listener = registry.listener("1.2.3.4:5");
    let count = || {
        cluster[1].upstream_rq_total.add(2);
        cluster[0].count_status(Origin::Internal, 200);
        http[1].count_status(200);
        listener[1].downstream_cx_total.add(1);
        registry.server.cluster_added.add(1);
        registry.http("h", "5.6.7.8:9")[0].count_status(200);
    };
    count();
    count();
    cluster[0].upstream_cx_active.add(5);
    cluster[0].upstream_cx_connect_ms.record(1);
    registry.reset_counters();
    let check = |expect: &[(&str, u64)]| {
        let rows = rows(&registry);
        for (name, expect) in expect {
            let found = rows.iter().find(|row| row.0 == *name).map_or(0, |row| row.1);
            assert_eq!(found, *expect, "{name}");
        }
    };
    let counted = |count| {
        [
            ("cluster.c.upstream_rq_total", 2 * count),
            ("cluster.c.upstream_rq_200", count),
            ("cluster.c.internal.upstream_rq_2xx", count),
            ("http.h.downstream_rq_2xx", 2 * count),
            ("listener.1.2.3.4_5.http.h.downstream_rq_2xx", count),
            ("listener.1.2.3.4_5.worker_1.downstream_cx_total", count),
            ("cluster_manager.cluster_added", count),
            ("cluster.c.upstream_cx_active", 5),
        ]
    };
    check(&counted(0));
    count();
    check(&counted(1));
    let mut totals = vec![];
    let visited = registry.visit_histograms(&mut |name, distribution| {
        totals.push((name.to_owned(), distribution.total()));
        Ok(())
    });
    visited.expect("a list takes all");
    assert!(totals.contains(&("cluster.c.upstream_cx_connect_ms".to_owned(), 1)), "{totals:?}");
    assert!(totals.is_sorted(), "{totals:?}");
    assert!(!totals.iter().any(|(name, _)| name.ends_with("upstream_rq_time")), "{totals:?}");
}

#[test]
fn methods_are_counted_apart_and_summed_over_workers() {
    let registry = Registry::new(2);
    let cluster = registry.cluster("c");
    let call = |worker: usize, service: &str, method: &str| {
        let stats = cluster[worker].grpc.write_method(service.as_bytes(), method.as_bytes(), false);
        stats.count(Some(if method == "Bad" { 5 } else { 0 }));
        stats.upstream_rq_time.record(3);
    };
    let of_grpc = || {
        let rows = rows(&registry)
            .into_iter()
            .filter_map(|(name, value)| Some(format!("{} {value}", name.strip_prefix("cluster.c.grpc.")?)));
        rows.collect::<Vec<_>>()
    };
    for (worker, service, method) in [(0, "a.B", "C"), (1, "a.B", "C"), (1, "a.B", "Bad"), (0, "a", "B.C")] {
        call(worker, service, method);
    }
    cluster[1].grpc.write().count(Some(0));
    cluster[0].grpc.write_method(b"s", &[b'x'; 300], false).count(Some(0));
    let all = [
        "0 2",
        "a.B.Bad.5 1",
        "a.B.Bad.failure 1",
        "a.B.Bad.total 1",
        "a.B.C.0 3",
        "a.B.C.success 3",
        "a.B.C.total 3",
        "methods_overflow 1",
        "success 2",
        "total 2",
    ];
    assert_eq!(of_grpc(), all);
    registry.reset_counters();
    assert!(of_grpc().iter().all(|row| row.ends_with(" 0")), "{:?}", of_grpc());
    call(0, "a.B", "C");
    call(0, "n", "N");
    let set: Vec<_> = of_grpc().into_iter().filter(|row| !row.ends_with(" 0")).collect();
    assert_eq!(set, ["a.B.C.0 1", "a.B.C.success 1", "a.B.C.total 1", "n.N.0 1", "n.N.success 1", "n.N.total 1"]);
    let mut times = vec![];
    let visited = registry.visit_histograms(&mut |name, distribution| {
        times.push((name.to_owned(), distribution.total()));
        Ok(())
    });
    visited.expect("a list takes all");
    assert!(times.is_sorted(), "{times:?}");
    for (name, count) in [("a.B.C", 4), ("a.B.Bad", 1), ("n.N", 1)] {
        assert!(times.contains(&(format!("cluster.c.grpc.{name}.upstream_rq_time"), count)), "{times:?}");
    }
    assert!(!times.iter().any(|(name, _)| name == "cluster.c.grpc.upstream_rq_time"));
}

/// Guards the absence of zeros that look like measurements.
#[test]
fn http2_is_shown_once_it_was_spoken() {
    let registry = Registry::new(2);
    let (cluster, one, two) = (registry.cluster("c"), registry.http("h", "1.2.3.4:5"), registry.http("i", "1.2.3.4:6"));
    registry.cluster("silent");
    let of_http2 = || rows(&registry).into_iter().filter(|(name, _)| name.contains("http2.")).collect::<Vec<_>>();
    assert_eq!(of_http2(), []);
    cluster[1].http2.write().tx_reset.add(3);
    one[0].http2.write().goaway_sent.add(1);
    two[1].http2.write().goaway_sent.add(1);
    two[1].dropped_for_underscores(true).add(4);
    two[1].dropped_for_underscores(false).add(5);
    let set: Vec<_> = of_http2().into_iter().filter(|row| row.1 > 0).collect();
    let expect =
        [("cluster.c.http2.tx_reset", 3), ("http2.dropped_headers_with_underscores", 4), ("http2.goaway_sent", 2)];
    assert_eq!(set, expect.map(|(name, value)| (name.to_owned(), value)));
    assert!(rows(&registry).contains(&("http1.dropped_headers_with_underscores".to_owned(), 5)));
    assert!(of_http2().iter().all(|(name, _)| !name.contains("silent") && !name.starts_with("http.")));
    assert!(rows(&registry).iter().map(|(name, _)| name).is_sorted());
    registry.reset_counters();
    assert!(of_http2().iter().all(|row| row.1 == 0));
    one[0].http2.write().goaway_sent.add(1);
    assert!(of_http2().contains(&("http2.goaway_sent".to_owned(), 1)));
}

#[test]
fn a_prefix_keeps_what_its_gone_listeners_counted() {
    let registry = Registry::new(1);
    registry.listener("1.2.3.4:5");
    registry.http("h", "1.2.3.4:5")[0].count_status(200);
    registry.forget_listener("1.2.3.4:5");
    registry.http("h", "1.2.3.4:6")[0].count_status(200);
    let rows = rows(&registry);
    assert!(rows.contains(&("http.h.downstream_rq_2xx".to_owned(), 2)), "{rows:?}");
    assert!(!rows.iter().any(|(name, _)| name.contains("1.2.3.4_5")), "{rows:?}");
}

#[test]
fn how_long_updates_took_stands_among_the_histograms() {
    let registry = Registry::new(1);
    registry.http("p", "");
    registry.rds("p", "r").update_duration.record(3);
    registry.cds().update_duration.record(4);
    registry.lds();
    registry.sds("s").update_duration.record(5);
    let mut names = Vec::new();
    let visited = registry.visit_histograms(&mut |name, distribution| {
        names.extend((distribution.total() > 0).then(|| name.to_owned()));
        Ok(())
    });
    assert!(visited.is_ok());
    let expect = ["cluster_manager.cds.update_duration", "http.p.rds.r.update_duration", "sds.s.update_duration"];
    assert_eq!(names, expect);
    registry.route_config("p", "r").config_reload.add(2);
    let mut rows = Vec::new();
    let visited = registry.visit(&mut |name, _, value| {
        rows.extend(name.contains("config_reload").then(|| format!("{name}={value}")));
        Ok(())
    });
    assert!(visited.is_ok());
    assert_eq!(rows, ["http.p.rds.r.config_reload=2", "http.p.rds.r.config_reload_time_ms=0"]);
}

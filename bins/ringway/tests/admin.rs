//! Every admin endpoint, as Envoy's users expect it.

use crate::common::client::Client;
use crate::common::config::Config;
use crate::common::origin::Origin;
use crate::common::process::Proxy;
use crate::common::{driver, on_each_driver, wait_for};

fn start(origin: &Origin) -> Proxy {
    let breakers = "circuit_breakers: {thresholds: [{max_connections: 7}]}";
    let config = Config::new().to("/", "origin").cluster_with("origin", origin.address, breakers);
    Proxy::start("poll", &config)
}

#[track_caller]
fn json(proxy: &Proxy, path: &str) -> serde_json::Value {
    let answer = proxy.admin("GET", path);
    assert_eq!((answer.status(), answer.header("content-type")), (200, Some("application/json")), "{path}");
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{path}: {error}: {}", answer.text()))
}

#[test]
fn the_level_of_the_log_is_changed() {
    let origin = Origin::start("one");
    let mut proxy = start(&origin);
    assert_eq!(proxy.admin("POST", "/logging").text(), "active loggers:\n  ringway: debug\n");
    assert_eq!(proxy.admin("POST", "/logging?level=off").text(), "active loggers:\n  ringway: off\n");
    assert_eq!(proxy.admin("POST", "/logging?paths=ringway:info").status(), 200);
    assert_eq!(proxy.admin("POST", "/drain_listeners").status(), 200);
    proxy.line("draining the listeners, as asked for");
}

/// Guards against requests that are dropped because the process was stopped, frozen or moved while it waited for them: reads with a
/// time limit are interrupted then (signal(7)).
#[test]
fn a_process_that_stops_and_goes_on_answers_everybody() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        let proxy = Proxy::start(io, &Config::new().to("/", "origin").cluster("origin", origin.address));
        let (mut client, mut asking) = (proxy.client(), Client::connect(proxy.admin));
        // Each part arrives on its own, with a stop behind it.
        for (ours, theirs) in
            [("GET /name HT", "GET /re"), ("TP/1.1\r\nHo", "ady HTTP/1.1\r\nHost: t"), ("st: t\r\n\r", "\r\n\r")]
        {
            client.send(ours);
            asking.send(theirs);
            for signal in ["STOP", "CONT", "STOP", "CONT"] {
                proxy.signal(signal);
            }
        }
        client.send("\n");
        asking.send("\n");
        assert_eq!(client.response(false).text(), "one", "{io}");
        assert_eq!(asking.response(false).text(), "LIVE\n", "{io}");
    });
}

#[test]
fn methods_and_paths_are_checked() {
    let origin = Origin::start("one");
    let proxy = start(&origin);
    for (method, path, status) in [
        ("GET", "/", 200),
        ("GET", "/help", 200),
        ("HEAD", "/ready", 200),
        ("GET", "/nothing", 404),
        ("GET", "/ready/", 404),
        ("POST", "/ready", 405),
        ("POST", "/stats", 405),
        ("DELETE", "/stats", 405),
        ("GET", "/quitquitquit", 405),
        ("GET", "/healthcheck/fail", 405),
        ("GET", "/drain_listeners", 405),
        ("POST", "/drain_listeners?inboundonly&graceful", 400),
        ("GET", "/logging", 405),
        ("POST", "/logging?level=loud", 400),
        ("POST", "/logging?admin=info", 400),
        ("GET", "/stats?filter=(", 400),
        ("GET", "/stats?type=Histogram", 400),
        ("GET", "/stats?type=Histograms", 200),
        ("GET", "/stats?histogram_buckets=none", 200),
        ("GET", "/stats?histogram_buckets=x", 400),
        ("GET", "/stats/prometheus?histogram_buckets=disjoint", 400),
        ("GET", "/reset_counters", 405),
        ("GET", "/certs", 200),
        ("GET", "/runtime", 200),
        ("GET", "/init_dump", 200),
        ("GET", "/stats/recentlookups", 200),
        ("POST", "/stats/recentlookups/enable", 400),
        ("POST", "/reopen_logs", 200),
        ("GET", "/stats?format=html", 400),
    ] {
        assert_eq!(proxy.admin(method, path).status(), status, "{method} {path}");
    }
    let help = proxy.admin("GET", "/help").text();
    for path in ["/config_dump", "/quitquitquit (POST)", "/stats/prometheus", "/workers"] {
        assert!(help.contains(&format!("  {path}: ")), "{help}");
    }
    assert_eq!(proxy.admin("GET", "/hot_restart_version").text(), "disabled");
    let memory = json(&proxy, "/memory");
    let bytes = |name: &str| memory[name].as_str().and_then(|text| text.parse::<u64>().ok()).expect("a number");
    assert!(0 < bytes("allocated") && bytes("allocated") <= bytes("total_physical_bytes"), "{memory}");
    let mut wrong = Client::connect(proxy.admin);
    wrong.send("hello\r\n\r\n");
    assert_eq!(wrong.response(false).status(), 400);
}

#[test]
fn ready_and_server_info_follow_the_health_check() {
    let origin = Origin::start("one");
    let proxy = start(&origin);
    let check = |status: u16, text: &str| {
        let ready = proxy.admin("GET", "/ready");
        assert_eq!((ready.status(), ready.text()), (status, format!("{text}\n")));
        assert_eq!(json(&proxy, "/server_info")["state"], text);
        proxy.wait_stat("server.live", |live| live == u64::from(status == 200));
    };
    check(200, "LIVE");
    assert_eq!(proxy.admin("POST", "/healthcheck/fail").text(), "OK\n");
    check(503, "DRAINING");
    assert_eq!(proxy.stat("server.state"), 1);
    assert_eq!(proxy.admin("POST", "/healthcheck/ok").text(), "OK\n");
    check(200, "LIVE");
    let info = json(&proxy, "/server_info");
    assert_eq!(info["node"]["id"], "node-1");
    assert_eq!(info["node"]["cluster"], "tests");
    assert_eq!(info["command_line_options"]["concurrency"], 1);
    assert_eq!(info["hot_restart_version"], "disabled");
}

#[test]
fn stats_are_filtered_and_formatted() {
    let origin = Origin::start("one");
    let proxy = start(&origin);
    assert_eq!(proxy.get("/name").text(), "one");
    assert_eq!(proxy.get("/direct").text(), "direct");
    let text = |path: &str| proxy.admin("GET", path).text();
    // What Istio's agent asks to know whether its proxy is ready.
    let istio = text("/stats?usedonly&filter=^(server\\.state|listener_manager\\.workers_started)");
    assert_eq!(istio, "listener_manager.workers_started: 1\nserver.state: 0\n");
    assert_eq!(text("/stats?filter=%5Ehttp.main.rq_direct"), "http.main.rq_direct_response: 1\n");
    assert_eq!(text("/stats?filter=upstream_rq_total"), "cluster.origin.upstream_rq_total: 1\n");
    assert!(!text("/stats?usedonly").contains("upstream_rq_5xx"));
    // Counts by status are there once there was one, as in Envoy; the others always.
    assert!(!text("/stats").contains("upstream_rq_5xx"));
    assert!(text("/stats").contains("cluster.origin.upstream_rq_timeout: 0\n"));
    assert!(!text("/stats?filter=cluster&invert_filter").contains("cluster"));
    let gauges = text("/stats?type=Gauges&filter=^cluster\\.");
    let is_gauge =
        |line: &str| ["_active: ", ".membership_", ".circuit_breakers."].iter().any(|part| line.contains(part));
    assert!(gauges.lines().all(is_gauge), "{gauges}");
    assert_eq!(
        json(&proxy, "/stats?format=json&filter=origin.upstream_rq_2xx"),
        serde_json::json!({"stats": [
            {"name": "cluster.origin.upstream_rq_2xx", "value": 1},
        ]})
    );
    assert_eq!(
        text("/stats?filter=^cluster.origin.*rq_2"),
        "cluster.origin.external.upstream_rq_200: 1\ncluster.origin.external.upstream_rq_2xx: 1\n\
         cluster.origin.upstream_rq_200: 1\ncluster.origin.upstream_rq_2xx: 1\n"
    );
    for path in ["/stats/prometheus", "/stats?format=prometheus"] {
        let metrics = text(path);
        for line in [
            "# TYPE envoy_cluster_upstream_rq_total counter",
            "envoy_cluster_upstream_rq_total{envoy_cluster_name=\"origin\"} 1",
            "envoy_cluster_upstream_rq{envoy_response_code=\"200\",envoy_cluster_name=\"origin\"} 1",
            "envoy_cluster_external_upstream_rq_xx{envoy_response_code_class=\"2\",envoy_cluster_name=\"origin\"} 1",
            "# TYPE envoy_http_downstream_rq_time histogram",
            "envoy_http_downstream_rq_time_count{envoy_http_conn_manager_prefix=\"main\"} 2",
            "envoy_http_downstream_rq_time_bucket{envoy_http_conn_manager_prefix=\"main\",le=\"3600000\"} 2",
            "envoy_cluster_upstream_cx_connect_ms_count{envoy_cluster_name=\"origin\"} 1",
            "envoy_cluster_upstream_rq_time_count{envoy_cluster_name=\"origin\"} 1",
            "envoy_cluster_upstream_rq_xx{envoy_response_code_class=\"2\",envoy_cluster_name=\"origin\"} 1",
            "envoy_http_rq_direct_response{envoy_http_conn_manager_prefix=\"main\"} 1",
            "envoy_server_live{} 1",
        ] {
            assert!(metrics.lines().any(|found| found == line), "{path}: no {line}:\n{metrics}");
        }
        assert!(metrics.contains("ringway_io_info{worker=\"0\",driver=\"poll\""), "{metrics}");
        assert!(metrics.contains("# TYPE ringway_loop_turns counter\nringway_loop_turns{worker=\"0\"} "), "{metrics}");
        assert!(metrics.contains("# TYPE ringway_loop_tasks gauge\n"), "{metrics}");
        for histogram in ["loop_duration_us", "poll_delay_us"] {
            let name = format!("envoy_listener_manager_dispatcher_{histogram}");
            assert!(metrics.contains(&format!("# TYPE {name} histogram\n")), "{metrics}");
            assert!(
                metrics.contains(&format!("{name}_bucket{{envoy_worker_id=\"worker_0\",le=\"+Inf\"}} ")),
                "{metrics}"
            );
            assert!(metrics.contains(&format!("{name}_sum{{envoy_worker_id=\"worker_0\"}} ")), "{metrics}");
        }
    }
    let turns = text("/stats?filter=worker_0.loop.turns&type=Counters");
    assert!(turns.starts_with("worker_0.loop.turns: ") && turns.lines().count() == 1, "{turns}");
    let duration = text("/stats?filter=dispatcher.loop_duration_us");
    assert!(duration.starts_with("listener_manager.worker_0.dispatcher.loop_duration_us: P0(nan,"), "{duration}");
    let used = text("/stats/prometheus?usedonly&filter=^cluster");
    assert!(used.contains("envoy_cluster_upstream_rq_total") && !used.contains("upstream_rq_retry"), "{used}");
}

/// What is counted of a request, a connection, an upstream that is not there, and who closed what.
#[test]
fn an_exchange_is_in_the_histograms_and_counters() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        let config = Config::new()
            .to("/dead", "dead")
            .cluster("dead", "127.0.0.1:1".parse().expect("an address"))
            .to("/", "origin")
            .cluster("origin", origin.address);
        let proxy = Proxy::start_with(io, &config, &["--concurrency", "1"]);
        let mut client = proxy.client();
        for (path, status) in [("/one", 200), ("/two", 200), ("/dead", 503)] {
            assert_eq!(client.get(path).status(), status);
        }
        client.send("nonsense\r\n\r\n");
        assert_eq!(client.response(false).status(), 400);
        drop(client);
        drop(proxy.client());
        proxy.wait_stat("http.main.downstream_cx_destroy", |count| count == 2);
        let address = proxy.address.to_string().replace(':', "_");
        for (name, expect) in [
            ("http.main.downstream_rq_total".to_owned(), 4),
            ("http.main.downstream_rq_completed".to_owned(), 4),
            (format!("listener.{address}.http.main.downstream_rq_2xx"), 2),
            (format!("listener.{address}.http.main.downstream_rq_completed"), 4),
            ("http.main.downstream_cx_destroy_local".to_owned(), 1),
            ("http.main.downstream_cx_destroy_remote".to_owned(), 1),
            ("cluster.origin.external.upstream_rq_200".to_owned(), 2),
            ("cluster.origin.upstream_rq_completed".to_owned(), 2),
            ("cluster.origin.membership_healthy".to_owned(), 1),
            ("cluster.dead.upstream_rq_503".to_owned(), 1),
            ("cluster.dead.upstream_cx_destroy_remote".to_owned(), 1),
            ("cluster.dead.upstream_rq_pending_failure_eject".to_owned(), 1),
        ] {
            assert_eq!(proxy.stat(&name), expect, "{name}");
        }
        let count = |family: &str, labels: &str| {
            let text = proxy.admin("GET", "/stats/prometheus?filter=_ms$|_time$|rq_per_cx").text();
            let start = format!("envoy_{family}_count{{{labels}}} ");
            text.lines().find_map(|line| line.strip_prefix(&start)?.parse::<u64>().ok())
        };
        let (http, listener) =
            ("envoy_http_conn_manager_prefix=\"main\"", format!("envoy_listener_address=\"{address}\""));
        for (family, labels, expect) in [
            ("http_downstream_rq_time", http, Some(4)),
            ("http_downstream_cx_length_ms", http, Some(2)),
            ("listener_downstream_cx_length_ms", &listener, Some(2)),
            ("cluster_upstream_rq_time", "envoy_cluster_name=\"origin\"", Some(2)),
            ("cluster_external_upstream_rq_time", "envoy_cluster_name=\"origin\"", Some(2)),
            ("cluster_internal_upstream_rq_time", "envoy_cluster_name=\"origin\"", None),
            ("cluster_upstream_cx_connect_ms", "envoy_cluster_name=\"origin\"", Some(1)),
            ("cluster_upstream_cx_length_ms", "envoy_cluster_name=\"origin\"", Some(0)),
            ("cluster_upstream_cx_length_ms", "envoy_cluster_name=\"dead\"", Some(1)),
            ("cluster_upstream_rq_per_cx", "envoy_cluster_name=\"dead\"", Some(0)),
            ("cluster_upstream_rq_time", "envoy_cluster_name=\"dead\"", None),
            ("server_initialization_time_ms", "", Some(1)),
        ] {
            assert_eq!(count(family, labels), expect, "{family} {labels}");
        }
        assert_eq!(proxy.admin("POST", "/reset_counters").text(), "OK\n");
        assert_eq!(proxy.stat("http.main.downstream_rq_total"), 0);
        assert_eq!(proxy.stat("cluster.origin.upstream_rq_200"), 0);
        assert_eq!(proxy.stat("cluster.origin.membership_total"), 1);
        proxy.get("/again");
        assert_eq!(proxy.stat("http.main.downstream_rq_total"), 1);
        assert_eq!(count("http_downstream_rq_time", http), Some(5));
    });
}

/// `stats_config` says what is shown and how histograms are cut; it follows a reload.
#[test]
fn stats_config_is_obeyed() {
    let origin = Origin::start("one");
    let config = |rules: &str| {
        Config::new().to("/", "origin").cluster("origin", origin.address).top(&format!("stats_config: {{{rules}}}"))
    };
    let included = "stats_matcher: {inclusion_list: {patterns: [{prefix: http.main.downstream_rq_}, \
                    {safe_regex: {regex: 'cluster[.].*_(time|ms)'}}]}}";
    let cut = "histogram_bucket_settings: [{match: {prefix: http.}, buckets: [90000, 60000]}]";
    let proxy = Proxy::start("poll", &config(&format!("{included}, {cut}")));
    proxy.get("/x");
    proxy.wait_stat("http.main.downstream_rq_completed", |count| count == 1);
    let text = |path: &str| proxy.admin("GET", path).text();
    let shown = text("/stats");
    assert!(
        shown.lines().all(|line| line.starts_with("http.main.downstream_rq_")
            || line.contains("_time: ")
            || line.contains("_ms: ")),
        "{shown}"
    );
    assert!(
        shown.contains("\nhttp.main.downstream_rq_time: P0(nan,") && shown.contains("upstream_cx_connect_ms: P0("),
        "{shown}"
    );
    let cumulative = text("/stats?histogram_buckets=cumulative&filter=downstream_rq_time");
    assert!(cumulative.ends_with("http.main.downstream_rq_time: B60000(0,1) B90000(0,1)\n"), "{cumulative}");
    let metrics = text("/stats/prometheus");
    assert!(!metrics.contains("envoy_server_live") && metrics.contains("prefix=\"main\",le=\"90000\"} 1"), "{metrics}");
    proxy.replace(&config("stats_matcher: {exclusion_list: {patterns: [{prefix: http.}]}}").yaml());
    wait_for("the reload", || text("/stats").contains("server.live: 1").then_some(()));
    assert!(!text("/stats").lines().any(|line| line.starts_with("http.")));
    proxy.replace(&config("stats_matcher: {reject_all: true}").yaml());
    wait_for("the reload", || (!text("/stats").contains("server.live: 1")).then_some(()));
}

#[test]
fn clusters_and_listeners_are_listed() {
    let origin = Origin::start("one");
    let proxy = start(&origin);
    let clusters = proxy.admin("GET", "/clusters").text();
    for line in [
        "origin::observability_name::origin".to_owned(),
        "origin::default_priority::max_connections::7".to_owned(),
        "origin::default_priority::max_requests::1024".to_owned(),
        "origin::added_via_api::false".to_owned(),
        format!("origin::{}::health_flags::healthy", origin.address),
        format!("origin::{}::success_rate::-1", origin.address),
    ] {
        assert!(clusters.lines().any(|found| found == line), "no {line}:\n{clusters}");
    }
    assert_eq!(proxy.admin("GET", "/clusters?filter=nothing").text(), "");
    let clusters = json(&proxy, "/clusters?format=json");
    assert_eq!(clusters["cluster_statuses"][0]["name"], "origin");
    let host = &clusters["cluster_statuses"][0]["host_statuses"][0]["address"]["socket_address"];
    assert_eq!(host["port_value"], origin.address.port());
    assert_eq!(proxy.admin("GET", "/listeners").text(), format!("main::{}\n", proxy.address));
    let listeners = json(&proxy, "/listeners?format=json");
    let listener = &listeners["listener_statuses"][0];
    assert_eq!(listener["name"], "main");
    assert_eq!(listener["local_address"]["socket_address"]["port_value"], proxy.address.port());
}

#[test]
fn config_dump_shows_what_is_in_force() {
    let origin = Origin::start("one");
    let proxy = start(&origin);
    let dump = json(&proxy, "/config_dump");
    let of = |kind: &str| {
        let name = format!("type.googleapis.com/envoy.admin.v3.{kind}");
        let found = dump["configs"].as_array().expect("a list").iter().find(|config| config["@type"] == *name);
        found.unwrap_or_else(|| panic!("no {kind} in {dump:#}")).clone()
    };
    assert_eq!(of("BootstrapConfigDump")["bootstrap"]["node"]["id"], "node-1");
    assert_eq!(of("ClustersConfigDump")["static_clusters"][0]["cluster"]["name"], "origin");
    assert_eq!(of("ListenersConfigDump")["static_listeners"][0]["listener"]["name"], "main");
    assert_eq!(of("RoutesConfigDump")["static_route_configs"][0]["route_config"]["name"], "main");
    assert_eq!(dump["ringway"]["generation"], 1);
    assert!(dump["ringway"]["rejected"].is_null());
}

/// Each row was asked of Envoy 1.40 with such a file: the same dumps, with the same members.
#[test]
fn a_part_of_the_dump_is_shown() {
    let origin = Origin::start("one");
    let proxy = start(&origin);
    let shown = |query: &str| -> Vec<String> {
        let dump = json(&proxy, &format!("/config_dump?{query}"));
        let configs = dump.get("configs").and_then(serde_json::Value::as_array).cloned().unwrap_or_default();
        let row = |config: &serde_json::Value| {
            let members = config.as_object().expect("an object");
            let names: Vec<&str> = members.keys().map(String::as_str).filter(|name| *name != "@type").collect();
            let kind = members["@type"].as_str().expect("a type").rsplit('.').next().unwrap_or_default().to_owned();
            format!("{kind} {}", names.join(" ")).trim_end().to_owned()
        };
        configs.iter().map(row).collect()
    };
    let whole = [
        "BootstrapConfigDump bootstrap last_updated",
        "ClustersConfigDump static_clusters",
        "ListenersConfigDump static_listeners",
        "ScopedRoutesConfigDump",
        "RoutesConfigDump static_route_configs",
        "SecretsConfigDump",
    ];
    assert_eq!(shown(""), whole);
    assert_eq!(shown("include_eds")[2], "EndpointsConfigDump static_endpoint_configs");
    let named = ["ListenersConfigDump", "RoutesConfigDump"];
    let of_name = shown("name_regex=or.*");
    assert!(of_name[1] == whole[1] && named.iter().all(|name| of_name.contains(&(*name).to_owned())), "{of_name:?}");
    for (query, expect) in [
        ("resource=static_clusters", &["StaticCluster cluster last_updated"][..]),
        ("resource=static_clusters&name_regex=rigi", &[]),
        ("resource=dynamic_listeners", &[]),
        ("resource=static_listeners&mask=listener.name", &["StaticListener listener"]),
        ("resource=static_route_configs", &["StaticRouteConfig route_config last_updated"]),
        ("resource=static_endpoint_configs&include_eds", &["StaticEndpointConfig endpoint_config"]),
        ("mask=static_clusters", &["ClustersConfigDump static_clusters"]),
        ("mask=last_updated", &["BootstrapConfigDump last_updated"]),
    ] {
        assert_eq!(shown(query), expect, "{query}");
    }
    let part = json(&proxy, "/config_dump?mask=bootstrap.node,bootstrap.static_resources.clusters");
    let bootstrap = &part["configs"][0]["bootstrap"];
    assert_eq!((&bootstrap["node"]["id"], bootstrap.get("admin")), (&"node-1".into(), None));
    assert_eq!(bootstrap["static_resources"]["clusters"][0]["name"], "origin");
    let endpoints = json(&proxy, "/config_dump?resource=static_endpoint_configs&include_eds");
    let endpoint = &endpoints["configs"][0]["endpoint_config"]["endpoints"][0]["lb_endpoints"][0];
    assert_eq!(endpoint["endpoint"]["address"]["socket_address"]["port_value"], origin.address.port());
    for (query, status) in [
        ("resource=bootstrap", 400),
        ("resource=nothing", 404),
        ("resource=static_endpoint_configs", 404),
        ("resource=static_clusters&mask=cluster.nothing", 400),
        ("mask=static_clusters.cluster.name", 400),
        ("mask=bootstrap.node,static_clusters", 400),
        ("name_regex=(", 400),
        ("name_regex=a)(b", 400),
    ] {
        assert_eq!(proxy.admin("GET", &format!("/config_dump?{query}")).status(), status, "{query}");
    }
}

#[test]
fn workers_are_shown() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        let config = Config::new().to("/", "origin").cluster("origin", origin.address);
        let proxy = Proxy::start_with(io, &config, &["--concurrency", "2"]);
        let mut client = proxy.client();
        client.get("/name");
        let workers = wait_for("the connection among the workers", || {
            let workers = json(&proxy, "/workers")["workers"].clone();
            let workers = workers.as_array().expect("a list").clone();
            let connections: u64 = workers.iter().filter_map(|worker| worker["connections"].as_u64()).sum();
            // A worker without a connection may still be in its first turn.
            let have_turned = workers.iter().all(|worker| worker["loop"]["turn_us"]["p50"].as_f64() > Some(0.0));
            (connections == 1 && have_turned).then_some(workers)
        });
        assert_eq!(workers.len(), 2);
        for (index, worker) in workers.iter().enumerate() {
            assert_eq!(worker["worker"], index);
            assert_eq!(worker["generation"], 1);
            assert_eq!(worker["io"]["driver"], driver(io));
            for figure in ["http2_connections", "http2_streams", "http2_memory_bytes"] {
                assert_eq!(worker[figure], 0, "{figure}: nobody speaks it");
            }
            let figures = &worker["loop"];
            for figure in
                ["turns", "chunks_total", "chunks_free", "stalls", "wall_ns", "cpu_ns", "busy_ns", "turn_ns_max"]
            {
                assert!(figures[figure].is_u64(), "{figure}: {worker:#}");
            }
            for figure in ["busy_percent", "cpu_percent", "completions_per_enter", "polls_per_turn"] {
                assert!(figures[figure].is_f64(), "{figure}: {worker:#}");
            }
            assert!(figures["turn_us"]["p50"].as_f64().is_some_and(|bound| bound > 0.0), "{worker:#}");
            assert!(figures["busy_ns"].as_u64() <= figures["wall_ns"].as_u64(), "{worker:#}");
            assert!(figures["last_stall"].is_null() == (figures["stalls"] == 0), "{worker:#}");
        }
    });
}

/// A scrape never delays `/ready`: here, clients that never finish their requests.
#[test]
fn slow_clients_do_not_hold_the_others_up() {
    let origin = Origin::start("one");
    let proxy = start(&origin);
    let mut slow: Vec<_> = (0..20).map(|_| Client::connect(proxy.admin)).collect();
    slow.iter_mut().for_each(|client| {
        client.send("GET /ready HTTP/1.1\r\n");
    });
    assert_eq!(proxy.admin("GET", "/ready").status(), 200);
    for client in &mut slow {
        client.send("\r\n");
        assert_eq!(client.response(false).text(), "LIVE\n");
    }
}

//! Which endpoint a request goes to, from outside, on every driver: policies, weights, priorities, health, panic, drops, reloads.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::common;
use crate::common::client::Client;
use crate::common::config::Config;
use crate::common::on_each_driver;
use crate::common::origin::{Origin, refusing};
use crate::common::process::Proxy;

/// An endpoint with further fields of its `LbEndpoint`.
fn endpoint(address: SocketAddr, fields: &str) -> String {
    let (ip, port) = (address.ip(), address.port());
    format!("{{endpoint: {{address: {{socket_address: {{address: {ip}, port_value: {port}}}}}}}, {fields}}}")
}

/// A cluster `c` of these groups of endpoints (`fields of the group | fields of an endpoint, ...`), one endpoint for each origin in turn, with
/// these lines in the cluster and this `policy`.
fn config(origins: &[Origin], fields: &str, policy: &str, groups: &[&str]) -> Config {
    let mut origins = origins.iter();
    let group = |text: &&str| {
        let (group, endpoints) = text.split_once('|').expect("a bar");
        let endpoints =
            endpoints.split(';').map(|fields| endpoint(origins.next().expect("an origin").address, fields.trim()));
        let endpoints: Vec<String> = endpoints.collect();
        format!("{{{group}, lb_endpoints: [{}]}}", endpoints.join(", ")).replace("{, ", "{")
    };
    let groups: Vec<String> = groups.iter().map(group).collect();
    let policy = if policy.is_empty() { String::new() } else { format!("policy: {{{policy}}}, ") };
    let assignment = format!("load_assignment: {{cluster_name: c, {policy}endpoints: [{}]}}", groups.join(", "));
    Config::new().to("/", "c").cluster_lines("c", fields, &assignment)
}

/// How often each origin answered, in the order of their names; other answers under their status.
fn counts(client: &mut Client, requests: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for _ in 0..requests {
        let answer = client.get("/name");
        let name = if answer.status() == 200 { answer.text() } else { answer.status().to_string() };
        *counts.entry(name).or_default() += 1;
    }
    counts
}

fn origins(count: usize) -> Vec<Origin> {
    ["a", "b", "c", "d"][..count].iter().map(|name| Origin::start(name)).collect()
}

/// These counts, for as many requests as they add up to; one more or less, since a period may begin anywhere.
#[track_caller]
fn check(fields: &str, policy: &str, groups: &[&str], expect: &[(&str, usize)], stats: &[(&str, u64)]) {
    on_each_driver(|io| {
        let origins = origins(groups.iter().map(|group| group.split(';').count()).sum());
        let proxy = Proxy::start(io, &config(&origins, fields, policy, groups));
        let requests = expect.iter().map(|(_, count)| count).sum();
        let found = counts(&mut proxy.client(), requests);
        let is_near = |(name, count): &(&str, usize)| found.get(*name).is_some_and(|found| found.abs_diff(*count) <= 1);
        assert!(
            found.len() == expect.len() && expect.iter().all(is_near),
            "{io}: {fields} {policy} {groups:?}: {found:?}"
        );
        for (name, value) in stats {
            assert_eq!(proxy.stat(&format!("cluster.c.{name}")), *value, "{io}: {groups:?}: {name}");
        }
    });
}

const W: &str = "load_balancing_weight";

#[test]
fn turns_are_exact_by_weight() {
    let three = format!("|{W}: 1; {W}: 2; {W}: 3");
    let members = [("membership_total", 3), ("membership_healthy", 3), ("membership_change", 1)];
    check("lb_policy: ROUND_ROBIN", "", &[&three], &[("a", 10), ("b", 20), ("c", 30)], &members);
    let typed = "load_balancing_policy: {policies: [{typed_extension_config: {name: rr, typed_config: {'@type': \
                 type.googleapis.com/envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin}}}]}";
    check(typed, "", &[&three], &[("a", 10), ("b", 20), ("c", 30)], &[]);
    // With one request at a time least request goes by weight alone.
    check("lb_policy: LEAST_REQUEST", "", &[&three], &[("a", 10), ("b", 20), ("c", 30)], &[]);
    check("connect_timeout: 5s", "", &["|; ;"], &[("a", 10), ("b", 10), ("c", 10)], &[]);
}

#[test]
fn only_the_healthy_are_picked_and_in_panic_all() {
    let health = |states: &[&str]| {
        let fields: Vec<String> = states.iter().map(|state| format!("health_status: {state}")).collect();
        format!("|{}", fields.join("; "))
    };
    let mixed = health(&["HEALTHY", "UNHEALTHY", "UNKNOWN"]);
    let members = [("membership_total", 3), ("membership_healthy", 2), ("lb_healthy_panic", 0)];
    check("connect_timeout: 5s", "", &[&mixed], &[("a", 10), ("c", 10)], &members);
    let panic = health(&["HEALTHY", "TIMEOUT", "UNHEALTHY"]);
    let members = [("membership_total", 3), ("membership_healthy", 1), ("lb_healthy_panic", 30)];
    check("connect_timeout: 5s", "", &[&panic], &[("a", 10), ("b", 10), ("c", 10)], &members);
    let off = "common_lb_config: {healthy_panic_threshold: {value: 0}}";
    check(off, "", &[&panic], &[("a", 20)], &[("lb_healthy_panic", 0)]);
    let none = health(&["UNHEALTHY", "TIMEOUT", "DRAINING"]);
    let members = [
        ("membership_excluded", 1),
        ("membership_healthy", 0),
        ("upstream_cx_none_healthy", 10),
        ("lb_healthy_panic", 0),
    ];
    check(off, "", &[&none], &[("503", 10)], &members);
    let fails = "common_lb_config: {zone_aware_lb_config: {fail_traffic_on_panic: true}}";
    check(fails, "", &[&panic], &[("503", 10)], &[("lb_healthy_panic", 10)]);
    let degraded = health(&["DEGRADED", "UNHEALTHY", "DEGRADED"]);
    check("connect_timeout: 5s", "", &[&degraded], &[("a", 10), ("c", 10)], &[("membership_degraded", 2)]);
}

#[test]
fn priorities_and_localities_have_their_shares() {
    let both = ["priority: 0|", "priority: 1|"];
    check("connect_timeout: 5s", "", &both, &[("a", 20)], &[]);
    let spilled = ["priority: 0| health_status: UNHEALTHY", "priority: 1|"];
    check("connect_timeout: 5s", "", &spilled, &[("b", 20)], &[]);
    let zones =
        ["locality: {zone: near}, load_balancing_weight: 1|;", "locality: {zone: far}, load_balancing_weight: 3|"];
    check("common_lb_config: {locality_weighted_lb_config: {}}", "", &zones, &[("a", 5), ("b", 5), ("c", 30)], &[]);
    // Without the word for it localities have no weight.
    check("connect_timeout: 5s", "", &zones, &[("a", 10), ("b", 10), ("c", 10)], &[]);
}

#[test]
fn load_spills_to_the_next_priority_by_the_overprovisioning_factor() {
    on_each_driver(|io| {
        let origins = origins(3);
        let groups = ["priority: 0|; health_status: UNHEALTHY", "priority: 1|"];
        for (policy, expect) in [("", 70.0), ("overprovisioning_factor: 100", 50.0)] {
            let proxy = Proxy::start(io, &config(&origins, "connect_timeout: 5s", policy, &groups));
            let found = counts(&mut proxy.client(), 400);
            let share = *found.get("a").expect("some") as f64 / 4.0;
            // The deviation is 2.5 at most.
            assert!((share - expect).abs() < 12.5 && found.len() == 2, "{io} {policy}: {found:?}");
        }
    });
}

#[test]
fn drops_are_told_as_envoy_tells_them() {
    on_each_driver(|io| {
        let origins = origins(1);
        let drops =
            |numerator| format!("drop_overloads: [{{category: x, drop_percentage: {{numerator: {numerator}}}}}]");
        let all = Proxy::start(io, &config(&origins, "connect_timeout: 5s", &drops(100), &["|"]));
        let answer = all.get("/name");
        assert_eq!((answer.status(), answer.text().as_str()), (503, "unconditional drop overload"));
        assert_eq!(answer.header("x-envoy-unconditional-drop-overload"), Some("true"));
        assert_eq!((all.stat("cluster.c.upstream_rq_total"), all.stat("cluster.c.upstream_rq_5xx")), (0, 1));
        let some = Proxy::start(io, &config(&origins, "connect_timeout: 5s", &drops(50), &["|"]));
        let mut client = some.client();
        let answers: Vec<_> = (0..100).map(|_| client.get("/name")).collect();
        let dropped: Vec<_> = answers.iter().filter(|answer| answer.status() == 503).collect();
        assert!((20..80).contains(&dropped.len()), "{}", dropped.len());
        assert!(dropped.iter().all(|answer| answer.header("x-envoy-drop-overload") == Some("true")));
        assert!(dropped.iter().all(|answer| answer.text() == "drop overload"));
        assert_eq!(some.stat("cluster.c.upstream_rq_total"), 100 - dropped.len() as u64);
    });
}

/// The slow one has a request under way: with two endpoints the best of all is always the other.
#[test]
fn least_request_knows_what_is_under_way() {
    on_each_driver(|io| {
        let origins = origins(2);
        let scan = "load_balancing_policy: {policies: [{typed_extension_config: {name: lr, typed_config: {'@type': \
                    type.googleapis.com/envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest, \
                    selection_method: FULL_SCAN}}}]}";
        let proxy = Proxy::start(io, &config(&origins, scan, "", &["|;"]));
        let mut slow = proxy.client();
        slow.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n");
        let waiting = common::wait_for("the slow request", || origins.iter().position(|origin| origin.requests() > 0));
        let other = ["b", "a"][waiting];
        assert_eq!(counts(&mut proxy.client(), 20), BTreeMap::from([(other.to_owned(), 20)]));
        origins[waiting].release();
        assert_eq!(slow.response(false).text(), ["a", "b"][waiting]);
        assert_eq!(counts(&mut proxy.client(), 40).len(), 2);
    });
}

/// What one worker has under way counts for the others, too.
#[test]
fn least_request_counts_for_all_workers() {
    on_each_driver(|io| {
        let origins = origins(2);
        let scan = "load_balancing_policy: {policies: [{typed_extension_config: {name: lr, typed_config: {'@type': \
                    type.googleapis.com/envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest, \
                    selection_method: FULL_SCAN}}}]}";
        let file = |timeout: u32| config(&origins, &format!("{scan}\n    connect_timeout: {timeout}s"), "", &["|;"]);
        let mut proxy = Proxy::start_with(io, &file(5), &["--concurrency", "2"]);
        let mut slow = proxy.client();
        slow.send("GET /slow HTTP/1.1\r\nHost: test\r\n\r\n");
        let waiting = common::wait_for("the slow request", || origins.iter().position(|origin| origin.requests() > 0));
        let other = ["b", "a"][waiting];
        // On whichever worker a connection is: of 16 a few are on each.
        let all_to_the_other = |proxy: &Proxy, when: &str| {
            for mut client in (0..16).map(|_| proxy.client()) {
                assert_eq!(counts(&mut client, 2), BTreeMap::from([(other.to_owned(), 2)]), "{io} {when}");
            }
        };
        all_to_the_other(&proxy, "at first");
        // A change of the cluster does not make it forgotten.
        proxy.replace(&file(6).yaml());
        proxy.line("in force");
        all_to_the_other(&proxy, "after a reload");
        origins[waiting].release();
        assert_eq!(slow.response(false).text(), ["a", "b"][waiting]);
    });
}

/// In the middle of its turns a cluster gets another endpoint: who stays goes on, nobody is picked twice as often for it; and again what was
/// before.
#[test]
fn a_reload_goes_on_with_the_turns() {
    on_each_driver(|io| {
        let origins = origins(3);
        let file = |words: &str| {
            let text = config(&origins, "connect_timeout: 5s", "", &[words]);
            text.manager(&format!("via: v{}", words.len())).yaml()
        };
        let weighted = config(&origins, "connect_timeout: 5s", "", &[&format!("|{W}: 1; {W}: 2; {W}: 3")]);
        let mut proxy = Proxy::start(io, &weighted);
        let mut client = proxy.client();
        let mut total = BTreeMap::new();
        for round in 0..12 {
            for (name, count) in counts(&mut client, 5) {
                *total.entry(name).or_insert(0usize) += count;
            }
            // Something else in the cluster changes with each reload.
            let fields = format!("connect_timeout: {}s", 6 + round);
            proxy.replace(&config(&origins, &fields, "", &[&format!("|{W}: 1; {W}: 2; {W}: 3")]).yaml());
            proxy.line("in force");
        }
        for (name, expect) in [("a", 10), ("b", 20), ("c", 30)] {
            assert!(total[name].abs_diff(expect) <= 2, "{io}: {total:?}");
        }
        assert_eq!(proxy.stat("cluster.c.membership_change"), 1);
        // Now without weights: a change of the cluster's endpoints.
        proxy.replace(&file("|; ;"));
        proxy.line("in force");
        assert_eq!(proxy.stat("cluster.c.membership_change"), 2);
        assert!(counts(&mut client, 30).values().all(|count| *count == 10));
        assert_eq!(proxy.stat("cluster.c.upstream_cx_destroy"), 0);
    });
}

#[test]
fn connections_close_with_a_change_of_the_endpoints_where_that_is_asked_for() {
    on_each_driver(|io| {
        let origins = origins(2);
        for (word, expect) in [("true", 2), ("false", 1)] {
            let fields = format!("common_lb_config: {{close_connections_on_host_set_change: {word}}}");
            let file =
                |weight: u32| config(&origins, &fields, "", &["priority: 0|", &format!("priority: 1|{W}: {weight}")]);
            let mut proxy = Proxy::start(io, &file(1));
            let mut client = proxy.client();
            assert_eq!(client.get("/name").text(), "a");
            proxy.replace(&file(2).yaml());
            proxy.line("in force");
            assert_eq!(client.get("/name").text(), "a");
            assert_eq!(proxy.stat("cluster.c.upstream_cx_total"), expect, "{io} {word}");
        }
    });
}

#[test]
fn the_admin_server_shows_where_endpoints_stand() {
    on_each_driver(|io| {
        let origins = origins(2);
        let groups = [
            "locality: {region: r, zone: z, sub_zone: s}, priority: 1|health_status: DEGRADED, load_balancing_weight: 7; \
                       health_status: DRAINING",
        ];
        let proxy = Proxy::start(io, &config(&origins, "connect_timeout: 5s", "", &groups));
        let text = proxy.admin("GET", "/clusters").text();
        for (origin, rows) in origins.iter().zip([
            &["health_flags::/degraded_eds_health", "weight::7", "region::r", "zone::z", "sub_zone::s", "priority::1"]
                [..],
            &["health_flags::/eds_status_draining", "weight::1"],
        ]) {
            for row in rows {
                let line = format!("c::{}::{row}", origin.address);
                assert!(text.lines().any(|found| found == line), "no {line}:\n{text}");
            }
        }
        let json = proxy.admin("GET", "/clusters?format=json").text();
        assert!(json.replace(' ', "").contains("\"eds_health_status\":\"DRAINING\""), "{json}");
    });
}

/// A cluster `c` of these origins with these lines, and a route to it that has these hash policies.
fn hashing(origins: &[SocketAddr], fields: &str, policies: &str) -> Config {
    let route = format!("route: {{cluster: c, hash_policy: [{policies}]}}");
    Config::new().route("prefix: /", &route).cluster_of("c", origins, fields)
}

/// Who answers a request with this path and these lines, on a connection of its own.
fn answered(proxy: &Proxy, path: &str, lines: &str) -> String {
    proxy.client().send(format!("GET {path} HTTP/1.1\r\nHost: test\r\n{lines}\r\n")).response(false).text()
}

const BY_HASH: [&str; 4] = [
    "lb_policy: RING_HASH",
    "lb_policy: RING_HASH\n    ring_hash_lb_config: {minimum_ring_size: 100, hash_function: MURMUR_HASH_2}",
    "lb_policy: MAGLEV\n    maglev_lb_config: {table_size: 1009}",
    "load_balancing_policy: {policies: [{typed_extension_config: {name: m, typed_config: {'@type': \
     type.googleapis.com/envoy.extensions.load_balancing_policies.maglev.v3.Maglev}}}]}",
];

#[test]
fn what_is_hashed_says_where_a_request_goes() {
    on_each_driver(|io| {
        let origins = origins(4);
        let addresses: Vec<_> = origins.iter().map(|origin| origin.address).collect();
        let policies = "{header: {header_name: x-user, regex_rewrite: {pattern: {regex: '-.*'}, substitution: ''}}, \
                        terminal: true}, {query_parameter: {name: user}}";
        for fields in BY_HASH {
            let proxy = Proxy::start(io, &hashing(&addresses, fields, policies));
            let mut seen = BTreeMap::new();
            for user in 0..24 {
                let name = answered(&proxy, "/name?user=x", &format!("X-User: {user}\r\n"));
                // Whatever connection, and whatever is cut off; and the query says the same where there is no field.
                assert_eq!(answered(&proxy, "/name", &format!("X-User: {user}-{user}\r\n")), name, "{io} {fields}");
                assert_eq!(answered(&proxy, &format!("/name?user={user}"), ""), name, "{io} {fields}");
                *seen.entry(name).or_insert(0) += 1;
            }
            assert!(seen.len() > 1, "{io} {fields}: {seen:?}");
            // Without a hash it is anybody.
            let names: BTreeMap<String, usize> = counts(&mut proxy.client(), 40);
            assert!(names.len() > 1, "{io} {fields}: {names:?}");
        }
    });
}

/// One client, one address: one endpoint. Behind a proxy that is told, another client is another address.
#[test]
fn the_clients_address_says_where_a_request_goes() {
    on_each_driver(|io| {
        let origins = origins(4);
        let addresses: Vec<_> = origins.iter().map(|origin| origin.address).collect();
        let policies = "{connection_properties: {source_ip: true}}";
        let proxy = Proxy::start(io, &hashing(&addresses, BY_HASH[0], policies));
        let own: Vec<String> = (0..8).map(|_| answered(&proxy, "/name", "")).collect();
        assert!(own.iter().all(|name| *name == own[0]), "{io}: {own:?}");
        let told = |client: usize| answered(&proxy, "/name", &format!("X-Forwarded-For: 10.0.0.{client}\r\n"));
        let names: BTreeMap<String, usize> = (0..24).map(|client| (told(client), client)).collect();
        assert!(names.len() > 1, "{io}: {names:?}");
        assert!((0..24).all(|client| told(client) == told(client)));
    });
}

/// Who comes without the cookie is given it by the endpoint's response, and comes back to that endpoint with it.
#[test]
fn a_session_cookie_leads_back() {
    on_each_driver(|io| {
        let origins = origins(4);
        let addresses: Vec<_> = origins.iter().map(|origin| origin.address).collect();
        let policies = "{cookie: {name: session, ttl: 7s, path: /p, attributes: [{name: SameSite, value: Lax}]}}";
        let proxy = Proxy::start(io, &hashing(&addresses, BY_HASH[2], policies));
        for _ in 0..8 {
            let mut client = proxy.client();
            let first = client.get("/name");
            let cookie = first.header("set-cookie").expect("a cookie").to_owned();
            let value = cookie
                .strip_suffix("; Max-Age=7; Path=/p; SameSite=Lax; HttpOnly")
                .unwrap_or_else(|| panic!("{cookie}"));
            // A connection's cookie is one and the same.
            assert_eq!(client.get("/name").header("set-cookie"), Some(cookie.as_str()));
            let again = proxy
                .client()
                .send(format!("GET /name HTTP/1.1\r\nHost: test\r\nCookie: a=b; {value}\r\n\r\n"))
                .response(false);
            assert_eq!((again.text(), again.header("set-cookie")), (first.text(), None), "{io}: {value}");
        }
    });
}

/// A try after one that failed goes on to the next endpoint of the table, where it is told to avoid the last.
#[test]
fn another_try_goes_on_in_the_table() {
    on_each_driver(|io| {
        let origin = Origin::start("one");
        let nobody = refusing("127.0.0.1");
        let retries = "retry_policy: {retry_on: connect-failure, host_selection_retry_max_attempts: 50, \
                       retry_host_predicate: [{name: p, typed_config: {\"@type\": \
                       type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate}}]}";
        for fields in [BY_HASH[0], BY_HASH[2]] {
            let route = format!("route: {{cluster: c, hash_policy: [{{header: {{header_name: x-user}}}}], {retries}}}");
            let config = Config::new().route("prefix: /", &route).cluster_of("c", &[nobody, origin.address], fields);
            let proxy = Proxy::start(io, &config);
            for user in 0..24 {
                assert_eq!(answered(&proxy, "/name", &format!("X-User: {user}\r\n")), "one", "{io} {fields}");
            }
            assert!(proxy.stat("cluster.c.upstream_rq_retry") > 0, "{io} {fields}");
        }
    });
}

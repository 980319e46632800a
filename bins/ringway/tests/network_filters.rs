//! Network filters before the last: how many may connect, how often, and who.

use std::time::{Duration, Instant};

use crate::common::client::Client;
use crate::common::config::access_log;
use crate::common::files::Files;
use crate::common::files::certificates::{Leaf, uri};
use crate::common::process::{Proxy, TempDir};
use crate::common::raw::{Chains, chain_of, client_hello, filter, proxy_protocol, tls_inspector};
use crate::common::{on_each_driver, wait_for};
use ringway_tls::{ClientOptions, Identity};

const LIMIT: &str = "network.connection_limit.v3.ConnectionLimit";
const RATE: &str = "network.local_ratelimit.v3.LocalRateLimit";
const RBAC: &str = "network.rbac.v3.RBAC";

/// A chain behind this filter.
fn behind(kind: &str, fields: &str) -> Chains {
    let before = format!("{},", filter("before", kind, fields));
    Chains::new().chain("through", "", &before, "")
}

#[test]
fn a_connection_limit_is_the_whole_process_and_exact() {
    on_each_driver(|io| {
        let proxy = behind(LIMIT, "stat_prefix: few, max_connections: 3").start(io, 2);
        let active = || proxy.stat("connection_limit.few.active_connections");
        let mut limited = 0;
        for _ in 0..4 {
            let mut clients: Vec<Client> = (0..8).map(|_| proxy.client()).collect();
            let answers: Vec<String> = clients.iter_mut().map(chain_of).collect();
            assert_eq!(answers.iter().filter(|answer| *answer == "through").count(), 3, "{io}: {answers:?}");
            limited += 5;
            assert_eq!(active(), 3, "{io}");
            assert_eq!(proxy.stat("connection_limit.few.limited_connections"), limited, "{io}");
            drop(clients);
            wait_for("all places free", || (active() == 0).then_some(()));
        }
    });
}

#[test]
fn who_is_one_too_many_may_be_held() {
    on_each_driver(|io| {
        let proxy = behind(LIMIT, "stat_prefix: none, max_connections: 1, delay: 0.3s").start(io, 1);
        let mut first = proxy.client();
        assert_eq!(chain_of(&mut first), "through");
        let since = Instant::now();
        assert_eq!(chain_of(&mut proxy.client()), "closed");
        // Never before; how long after is the machine's affair.
        assert!(since.elapsed() >= Duration::from_millis(300), "{io}");
        assert_eq!(proxy.stat("connection_limit.none.limited_connections"), 1, "{io}");
    });
}

#[test]
fn tokens_are_the_whole_process() {
    on_each_driver(|io| {
        let fields = "stat_prefix: slow, token_bucket: {max_tokens: 3, tokens_per_fill: 3, fill_interval: 3600s}";
        let proxy = behind(RATE, fields).start(io, 2);
        let answers: Vec<String> = (0..9).map(|_| chain_of(&mut proxy.client())).collect();
        // Whoever took a token in vain (a fault at the origin) has taken it: never more than there are.
        assert_eq!(answers.iter().filter(|answer| *answer == "through").count(), 3, "{io}: {answers:?}");
        assert_eq!(proxy.stat("local_rate_limit.slow.rate_limited"), 6, "{io}");
    });
}

/// Whom a policy of these permissions and principals takes: by what a client begins with.
#[track_caller]
fn check_rbac(action: &str, permissions: &str, principals: &str, rows: &[(Vec<u8>, &str)]) {
    let rules = format!(
        "{{action: {action}, policies: {{one: {{permissions: [{permissions}], principals: [{principals}]}}}}}}"
    );
    on_each_driver(|io| {
        let inspectors = format!(
            "listener_filters: [{}, {}]",
            proxy_protocol("allow_requests_without_proxy_protocol: true"),
            tls_inspector()
        );
        let enforced = behind(RBAC, &format!("stat_prefix: who., rules: {rules}")).listener(&inspectors).start(io, 1);
        let shadow = behind(RBAC, &format!("stat_prefix: who., shadow_rules: {rules}"));
        let shadow = shadow.listener(&inspectors).start(io, 1);
        for (begins, expect) in rows {
            for (proxy, expect) in [(&enforced, *expect), (&shadow, "through")] {
                let mut client = proxy.client();
                client.try_send(begins);
                assert_eq!(chain_of(&mut client), expect, "{io}: {rules}: {}", begins.escape_ascii());
            }
        }
        let on = rows.iter().filter(|(_, expect)| *expect == "through").count() as u64;
        let off = rows.len() as u64 - on;
        for (name, [own, shadowed]) in
            [("allowed", [on, 0]), ("denied", [off, 0]), ("shadow_allowed", [0, on]), ("shadow_denied", [0, off])]
        {
            assert_eq!(enforced.stat(&format!("who.rbac.{name}")), own, "{io}: {name}");
            assert_eq!(shadow.stat(&format!("who.rbac.{name}")), shadowed, "{io}: {name}");
        }
    });
}

fn from(source: &str, port: u16) -> Vec<u8> {
    format!("PROXY TCP4 {source} 198.51.100.1 1000 {port}\r\nbytes that are not of TLS").into_bytes()
}

#[test]
fn by_source() {
    let rows = [
        (from("192.0.2.9", 1), "through"),
        (from("192.0.3.9", 1), "closed"),
        (b"whoever comes directly".to_vec(), "closed"),
    ];
    let id = |kind: &str| format!("{kind}: {{address_prefix: 192.0.2.0, prefix_len: 24}}");
    check_rbac("ALLOW", "{any: true}", &format!("{{{}}}", id("remote_ip")), &rows);
    check_rbac("DENY", "{any: true}", &format!("{{not_id: {{{}}}}}", id("remote_ip")), &rows);
    let direct = "{direct_remote_ip: {address_prefix: 127.0.0.0, prefix_len: 8}}";
    check_rbac("ALLOW", "{any: true}", direct, &[(from("192.0.2.9", 1), "through")]);
}

#[test]
fn by_port_and_name() {
    let rows =
        [(from("192.0.2.9", 443), "through"), (from("192.0.2.9", 444), "closed"), (from("192.0.2.9", 8000), "through")];
    let ports = "{destination_port: 443}, {destination_port_range: {start: 8000, end: 8001}}";
    check_rbac("ALLOW", ports, "{any: true}", &rows);
    let rows = [
        (client_hello("a.test", &[]), "closed"),
        (client_hello("b.test", &[]), "through"),
        (from("192.0.2.9", 443), "through"),
    ];
    check_rbac("DENY", "{requested_server_name: {exact: a.test}}", "{any: true}", &rows);
}

/// Why a connection came to nothing, or how much it moved.
const END: &str = "%ACCESS_LOG_TYPE% %FILTER_CHAIN_NAME% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \
                   %BYTES_RECEIVED%/%BYTES_SENT% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%";

/// What the log of a listener says of connections that begin so, and what that of its chain's `tcp_proxy` does, where it differs in more than its type.
#[track_caller]
fn check_log(chains: &Chains, begins: &[&[u8]], lines: &[&str]) {
    on_each_driver(|io| {
        let dir = TempDir::new();
        let path = dir.0.join("log");
        let proxy = chains.clone().listener(&access_log(&path, END)).start_logging(io);
        for begins in begins {
            let mut client = proxy.client();
            client.try_send(begins);
            client.finish();
            chain_of(&mut client);
        }
        let mut lines = lines.to_vec();
        lines.sort_unstable();
        assert_eq!(Proxy::log_lines(&path, lines.len()), lines, "{io}");
    });
}

/// As Envoy 1.40 writes them, but for bytes that it has read of who is refused.
#[test]
fn a_listeners_log_tells_who_was_refused_and_why() {
    let rules = |action: &str| {
        format!(
            "stat_prefix: r., rules: {{action: {action}, policies: {{\"one of/these\": {{permissions: [{{any: true}}], principals: [{{remote_ip: {{address_prefix: 192.0.2.0, prefix_len: 24}}}}]}}}}}}"
        )
    };
    let proxied = format!("listener_filters: [{}]", proxy_protocol(""));
    let (known, other) = (from("192.0.2.9", 1), from("192.0.3.9", 1));
    let through = "NotSet through - - - 25/33";
    let denied = "NotSet through - - rbac_access_denied_matched_policy";
    check_log(
        &behind(RBAC, &rules("DENY")).listener(&proxied),
        &[&known, &other],
        &[&format!("{denied}[one_of/these] 0/0 192.0.2.9"), &format!("{through} 192.0.3.9")],
    );
    check_log(
        &behind(RBAC, &rules("ALLOW")).listener(&proxied),
        &[&known, &other, b"PROXY TCP4 192.0.2.9\r\n"],
        &[&format!("{through} 192.0.2.9"), &format!("{denied}[none] 0/0 192.0.3.9"), "NotSet - - - - 0/0 127.0.0.1"],
    );
    let tokens = "stat_prefix: slow, token_bucket: {max_tokens: 1, fill_interval: 3600s}";
    check_log(
        &behind(RATE, tokens),
        &[b"a", b"b"],
        &["NotSet through - - - 1/9 127.0.0.1", "NotSet through URX - - 0/0 127.0.0.1"],
    );
    let named = Chains::new().chain("a", "server_names: [a.test]", "", "");
    check_log(
        &named,
        &[&client_hello("b.test", &[]), b"no TLS at all"],
        &["NotSet - NR filter_chain_not_found - 0/0 127.0.0.1"; 2],
    );
}

/// The log of the filter that would have served it, too.
#[test]
fn the_log_of_tcp_proxy_tells_whom_its_chain_refused() {
    let dir = TempDir::new();
    on_each_driver(|io| {
        let path = dir.0.join(io);
        let rules = "stat_prefix: r., rules: {action: ALLOW}";
        let before = format!("{},", filter("before", RBAC, rules));
        let chains = Chains::new().tcp(&access_log(&path, END)).chain("through", "", &before, "");
        let proxy = chains.start_logging(io);
        assert_eq!(chain_of(&mut proxy.client()), "closed", "{io}");
        let line = "TcpConnectionEnd through - - rbac_access_denied_matched_policy[none] 0/0 127.0.0.1";
        assert_eq!(Proxy::log_lines(&path, 1), [line], "{io}");
    });
}

const GOOD: &str = "spiffe://td/ns/a/sa/good";
const OTHER: &str = "spiffe://td/ns/b/sa/other";

/// Whom rules let in over TLS: who shows GOOD, who shows OTHER, who shows nothing; as rules and as shadow rules, in statistics and in the log.
#[test]
fn by_identity() {
    let files = Files::new();
    let identity = |name: &str| files.authority.issue(&Leaf { names: vec![uri(name)], ..Leaf::default() });
    let clients: [(&str, Option<Identity>); 3] =
        [(GOOD, Some(identity(GOOD))), (OTHER, Some(identity(OTHER))), ("-", None)];
    let socket = files.socket("", &format!(", validation_context: {{trusted_ca: {}}}", files.file("ca.pem")));
    let named = |matcher: &str| format!("{{authenticated: {{principal_name: {{{matcher}}}}}}}");
    let good = named(&format!("exact: '{GOOD}'"));
    let of_b = named("prefix: 'spiffe://td/ns/b/'");
    let mtls = |fields: &str| {
        let kind = "type.googleapis.com/envoy.extensions.rbac.principals.mtls_authenticated.v3.Config";
        format!("{{custom: {{name: m, typed_config: {{'@type': {kind}, {fields}}}}}}}")
    };
    let any = "{any: true}";
    for (action, permission, principal, let_in) in [
        ("ALLOW", any, good.clone(), [true, false, false]),
        ("DENY", any, of_b.clone(), [true, false, true]),
        (
            "ALLOW",
            any,
            format!("{{and_ids: {{ids: [{{not_id: {of_b}}}, {}]}}}}", named("suffix: good")),
            [true, false, false],
        ),
        (
            "ALLOW",
            any,
            format!("{{or_ids: {{ids: [{good}, {{remote_ip: {{address_prefix: 192.0.2.0, prefix_len: 24}}}}]}}}}"),
            [true, false, false],
        ),
        ("DENY", "{not_rule: {requested_server_name: {exact: example.com}}}", good.clone(), [true, true, true]),
        ("DENY", "{requested_server_name: {exact: example.com}}", good.clone(), [false, true, true]),
        ("ALLOW", any, mtls("any_validated_client_certificate: true"), [true, true, false]),
        (
            "ALLOW",
            any,
            mtls(&format!("san_matcher: {{san_type: URI, matcher: {{exact: '{OTHER}'}}}}")),
            [false, true, false],
        ),
    ] {
        let rules = format!(
            "{{action: {action}, policies: {{one: {{permissions: [{permission}], principals: [{principal}]}}}}}}"
        );
        let before =
            format!("{},", filter("who", RBAC, &format!("stat_prefix: who., rules: {rules}, shadow_rules: {rules}")));
        on_each_driver(|io| {
            let dir = TempDir::new();
            let path = dir.0.join("log");
            let log = access_log(&path, "%DOWNSTREAM_PEER_URI_SAN% %CONNECTION_TERMINATION_DETAILS%");
            let chains = Chains::new().listener(&log).secured(&socket).chain("through", "", &before, "");
            let proxy = chains.start_logging(io);
            let mut lines = Vec::new();
            for ((name, certificate), is_let_in) in clients.iter().zip(let_in) {
                let options = ClientOptions { certificate: certificate.clone(), ..ClientOptions::default() };
                let client = Client::secured(proxy.address, &files.client(options), Some("example.com"));
                let answer = client.map_or_else(|_| "closed".to_owned(), |mut client| chain_of(&mut client));
                assert_eq!(answer, if is_let_in { "through" } else { "closed" }, "{io}: {name} by {rules}");
                let policy = if action == "DENY" { "one" } else { "none" };
                let details = format!("rbac_access_denied_matched_policy[{policy}]");
                lines.push(format!("{name} {}", if is_let_in { "-" } else { &details }));
            }
            lines.sort();
            assert_eq!(Proxy::log_lines(&path, 3), lines, "{io}");
            let on = let_in.iter().filter(|is| **is).count() as u64;
            for (name, count) in
                [("allowed", on), ("denied", 3 - on), ("shadow_allowed", on), ("shadow_denied", 3 - on)]
            {
                assert_eq!(proxy.stat(&format!("who.rbac.{name}")), count, "{io}: {name}");
            }
        });
    }
}

//! The list against the schema, and docs/ENVOY_COMPATIBILITY.md against the list.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::{Covered, Status, table};
use crate::schema::{Field, Kind, Label, MessageType, Shape};

const HTTP_FILTER: &str = "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter";
const PER_FILTER: &str = "typed_per_filter_config";

/// Fields of type Any that the translation opens, and what it opens them for.
const OPENED: &[(&str, &str, &str)] = &[
    (
        "envoy.config.core.v3.TypedExtensionConfig",
        "typed_config",
        "envoy.extensions.http.original_ip_detection.xff.v3.XffConfig",
    ),
    (
        "envoy.extensions.filters.network.http_connection_manager.v3.RequestIDExtension",
        "typed_config",
        "envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig",
    ),
    (
        "envoy.config.core.v3.TypedExtensionConfig",
        "typed_config",
        "envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig",
    ),
    (
        "envoy.config.cluster.v3.Cluster.CustomClusterType",
        "typed_config",
        "envoy.extensions.clusters.dns.v3.DnsCluster",
    ),
    (
        "envoy.config.core.v3.TypedExtensionConfig",
        "typed_config",
        "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
    ),
    (
        "envoy.config.core.v3.TypedExtensionConfig",
        "typed_config",
        "envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig",
    ),
    (
        "envoy.config.cluster.v3.Cluster",
        "typed_extension_protocol_options",
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
    ),
    (
        "envoy.config.listener.v3.Filter",
        "typed_config",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
    ),
    (
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter",
        "typed_config",
        "envoy.extensions.filters.http.router.v3.Router",
    ),
    (
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter",
        "typed_config",
        "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
    ),
    (
        "envoy.config.core.v3.TypedExtensionConfig",
        "typed_config",
        "envoy.extensions.bootstrap.internal_listener.v3.InternalListener",
    ),
    ("envoy.config.core.v3.TypedExtensionConfig", "typed_config", "envoy.extensions.regex_engines.v3.GoogleRE2"),
    // Only those that are ignored may stand there.
    ("envoy.config.cluster.v3.Filter", "typed_config", "envoy.config.core.v3.TypedExtensionConfig"),
    (HTTP_FILTER, "typed_config", "istio.envoy.config.filter.http.alpn.v2alpha1.FilterConfig"),
    ("envoy.config.core.v3.ExtensionConfigSource", "default_config", "envoy.extensions.filters.http.router.v3.Router"),
    (HTTP_FILTER, "typed_config", "envoy.extensions.filters.http.fault.v3.HTTPFault"),
    (HTTP_FILTER, "typed_config", "envoy.extensions.filters.http.cors.v3.Cors"),
    (HTTP_FILTER, "typed_config", "envoy.extensions.filters.http.compressor.v3.Compressor"),
    ("envoy.config.route.v3.RouteConfiguration", PER_FILTER, "envoy.config.route.v3.FilterConfig"),
    ("envoy.config.route.v3.VirtualHost", PER_FILTER, "envoy.config.route.v3.FilterConfig"),
    ("envoy.config.route.v3.Route", PER_FILTER, "envoy.config.route.v3.FilterConfig"),
    ("envoy.config.route.v3.WeightedCluster.ClusterWeight", PER_FILTER, "envoy.config.route.v3.FilterConfig"),
    ("envoy.config.route.v3.FilterConfig", "config", "envoy.extensions.filters.http.cors.v3.CorsPolicy"),
    ("envoy.config.accesslog.v3.AccessLog", "typed_config", "envoy.extensions.access_loggers.file.v3.FileAccessLog"),
    (
        "envoy.config.accesslog.v3.AccessLog",
        "typed_config",
        "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
    ),
    (
        "envoy.config.accesslog.v3.AccessLog",
        "typed_config",
        "envoy.extensions.access_loggers.stream.v3.StderrAccessLog",
    ),
    (
        "envoy.config.route.v3.RetryPolicy.RetryHostPredicate",
        "typed_config",
        "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
    ),
    (
        "envoy.config.route.v3.RetryPolicy.RetryHostPredicate",
        "typed_config",
        "envoy.extensions.retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate",
    ),
    (
        "envoy.config.core.v3.TypedExtensionConfig",
        "typed_config",
        "envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin",
    ),
    (
        "envoy.config.core.v3.TypedExtensionConfig",
        "typed_config",
        "envoy.extensions.load_balancing_policies.random.v3.Random",
    ),
    (
        "envoy.config.core.v3.TypedExtensionConfig",
        "typed_config",
        "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest",
    ),
    (
        "envoy.config.core.v3.TypedExtensionConfig",
        "typed_config",
        "envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash",
    ),
    (
        "envoy.config.core.v3.TypedExtensionConfig",
        "typed_config",
        "envoy.extensions.load_balancing_policies.maglev.v3.Maglev",
    ),
    (
        "envoy.config.core.v3.TypedExtensionConfig",
        "typed_config",
        "envoy.extensions.rbac.principals.mtls_authenticated.v3.Config",
    ),
    ("envoy.config.listener.v3.Filter", "typed_config", "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"),
    (
        "envoy.config.listener.v3.Filter",
        "typed_config",
        "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit",
    ),
    (
        "envoy.config.listener.v3.Filter",
        "typed_config",
        "envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit",
    ),
    (
        "envoy.config.listener.v3.ListenerFilter",
        "typed_config",
        "envoy.extensions.filters.listener.original_dst.v3.OriginalDst",
    ),
    (
        "envoy.config.listener.v3.ListenerFilter",
        "typed_config",
        "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
    ),
    (
        "envoy.config.listener.v3.ListenerFilter",
        "typed_config",
        "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector",
    ),
    (
        "envoy.config.listener.v3.ListenerFilter",
        "typed_config",
        "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol",
    ),
    (
        "envoy.config.core.v3.TransportSocket",
        "typed_config",
        "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer",
    ),
    (
        "envoy.config.core.v3.TransportSocket",
        "typed_config",
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
    ),
    (
        "envoy.config.core.v3.TransportSocket",
        "typed_config",
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
    ),
    (
        "envoy.config.core.v3.TransportSocket",
        "typed_config",
        "envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport",
    ),
    ("envoy.config.listener.v3.Filter", "typed_config", "envoy.extensions.filters.network.rbac.v3.RBAC"),
    ("envoy.config.rbac.v3.RBAC", "policies", "envoy.config.rbac.v3.Policy"),
];

fn message(covered: &Covered) -> &'static MessageType {
    MessageType::by_name(covered.message).unwrap_or_else(|| panic!("{} does not exist", covered.message))
}

fn names(covered: &Covered) -> Vec<&'static str> {
    let words = covered.done.split_whitespace().chain(covered.refused.split_whitespace());
    let pairs = covered.only.iter().chain(covered.ignored).map(|(name, _)| *name);
    words.chain(pairs).collect()
}

#[test]
fn every_field_is_listed_once_and_none_that_does_not_exist() {
    let mut faults = Vec::new();
    for covered in table() {
        let listed = names(covered);
        let known: BTreeSet<&str> = listed.iter().copied().collect();
        let fields: BTreeSet<&str> = message(covered).fields().iter().map(Field::name).collect();
        let mut fault = |what: &str, names: Vec<&&str>| {
            faults.extend(names.iter().map(|name| format!("{}.{name} {what}", covered.message)));
        };
        fault("is not listed", fields.difference(&known).collect());
        fault("does not exist", known.difference(&fields).collect());
        if listed.len() != known.len() {
            faults.push(format!("{} lists a field twice", covered.message));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_list_holds_the_messages_that_are_descended_into_and_no_others() {
    // What a layer of the runtime says comes by itself, and nothing else holds it.
    let mut reached = BTreeSet::from(["envoy.config.bootstrap.v3.Bootstrap", "envoy.service.runtime.v3.Runtime"]);
    let mut left: Vec<&str> = reached.iter().copied().collect();
    while let Some(name) = left.pop() {
        let covered = Covered::of(name);
        for field in message(covered).fields() {
            if covered.status(field.name()) != Some(Status::Done) || field.kind != Kind::Message {
                continue;
            }
            let opened = OPENED.iter().filter(|(of, by, _)| (*of, *by) == (name, field.name()));
            let opened: Vec<&str> = opened.map(|(_, _, next)| *next).collect();
            let next = match field.message().shape {
                Shape::Plain if field.label != Label::Map => vec![field.message().name()],
                Shape::Plain if is_map_of_structs(field) => continue,
                // A map's values are opened one by one.
                Shape::Any | Shape::Plain if !opened.is_empty() => opened,
                Shape::Duration | Shape::Wrapper | Shape::Struct => continue,
                shape => panic!("{name}.{} is done, but nobody reads a {shape:?}", field.name()),
            };
            left.extend(next.into_iter().filter(|next| reached.insert(next)));
        }
    }
    assert_eq!(reached, table().map(|covered| covered.message).collect());
}

fn is_map_of_structs(field: &Field) -> bool {
    let value = field.message().field("value").expect("an entry of a map has a value");
    value.kind == Kind::Message && value.message().shape == Shape::Struct
}

#[test]
fn accepted_values_exist() {
    for covered in table() {
        for (name, values) in covered.only {
            let field = message(covered).field(name).expect("checked by another test");
            for value in values.split_whitespace() {
                let exists = match field.kind {
                    Kind::Enum => field.enumeration().values().iter().any(|known| known.name() == value),
                    _ => value.parse::<bool>().is_ok() || value.parse::<u32>().is_ok(),
                };
                assert!(exists, "{}.{name}: {value}", covered.message);
            }
        }
    }
}

/// `RINGWAY_WRITE_EXPECTED=1 cargo test -p ringway-control-client` writes the page anew.
#[test]
fn the_page_says_what_the_list_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/ENVOY_COMPATIBILITY.md");
    let page = page();
    if std::env::var_os("RINGWAY_WRITE_EXPECTED").is_some() {
        std::fs::write(path, &page).expect("the page can be written");
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(found == page, "docs/ENVOY_COMPATIBILITY.md is stale; write it anew with RINGWAY_WRITE_EXPECTED=1");
}

fn page() -> String {
    let mut out = HEAD.to_owned();
    for covered in table() {
        let _ = write!(out, "\n### {}\n\n| field | what is done | |\n|---|---|---|\n", covered.message);
        for field in message(covered).fields() {
            let _ = match covered.status(field.name()).expect("checked by another test") {
                Status::Done => writeln!(out, "| `{}` | done | |", field.name()),
                Status::Only(values) => {
                    let values: Vec<String> = values.split(' ').map(|value| format!("`{value}`")).collect();
                    writeln!(
                        out,
                        "| `{}` | partly | only {}; another value is refused |",
                        field.name(),
                        values.join(", ")
                    )
                }
                Status::Ignored(reason) => writeln!(out, "| `{}` | ignored | {reason} |", field.name()),
                Status::Refused => continue,
            };
        }
        let refused: Vec<String> = message(covered)
            .fields()
            .iter()
            .filter(|field| covered.status(field.name()) == Some(Status::Refused))
            .map(|field| format!("`{}`", field.name()))
            .collect();
        if !refused.is_empty() {
            let _ = writeln!(out, "| {} | refused | not supported yet |", refused.join(", "));
        }
    }
    out.push_str(IGNORED_TYPES);
    for ignored in super::ignored_type::TYPES {
        let holders: Vec<String> = ignored.holders.split(' ').map(|holder| format!("`{holder}`")).collect();
        let _ = writeln!(out, "| `{}` | {} | {} |", ignored.name, holders.join(", "), ignored.reason);
    }
    out
}

const IGNORED_TYPES: &str = "
## Types of Istio's that are ignored

Envoy's API does not have them. Each may stand in these messages, in a TypedStruct or by itself, optional or not; what is inside is not read.

| type | in | why nothing is missed |
|---|---|---|
";

const HEAD: &str = "# Compatibility with Envoy's configuration

Ringway reads Envoy's v3 bootstrap (YAML or JSON). This page says, for each field of each message that it descends into,
what happens. It is written from the list that the translation itself uses
(`control-client/src/compatibility/`); a test compares both with Envoy's API, as of the version of the crate `envoy-types`
that `Cargo.lock` names.

* **done**: acted upon as Envoy does.
* **partly**: accepted with the values that ask for what is done anyway; another value is refused.
* **ignored**: accepted without effect; the reason stands beside it.
* **refused**: setting it is a problem with file, line, column and path. Nothing is ignored in silence. A scalar that is
  written out with the default that \"unset\" has, too (`false`, `0`, an empty list), is unset.

A message or an `@type` that is not on this page is refused where it is used. One that Envoy's API has is refused by its name,
one that it does not have as unknown.

## What Envoy does and Ringway does otherwise

These need no field to be set in Envoy, so that no field is refused for them:

| Envoy | Ringway |
|---|---|
| acts on `x-envoy-hedge-on-per-try-timeout`, `x-envoy-upstream-stream-duration-ms` and `x-envoy-upstream-alt-stat-name` where the client is internal | takes them off, as Envoy does, and does not act on them |
| repeats `x-request-id` in the response to an internal request with `x-envoy-force-trace` | does not; `always_set_request_id_in_response` does |
| appends its machine's own address to `x-forwarded-for` where the peer is the loopback address | appends the loopback address |
| counts a request towards LEAST_REQUEST from when it has a connection | from when its endpoint is picked |
| resets a stream of HTTP/2 whose head has too many fields, or is too large | answers 431 |
| ends the connection with a malformed message of HTTP/2 | ends its stream (RFC 9113 §8.1.1); a `false` in the file ends the connection |
| answers 503 where an endpoint of HTTP/2 says that it did not process the request (REFUSED_STREAM, GOAWAY before it), unless a retry policy names `refused-stream` | sends it again, whatever its method, up to three times, with the content that was read: 64 KiB at most, or what the retry policy's limits say (RFC 9113 §8.7) |
| offers 16 MiB of a stream and 24 MiB of a connection of HTTP/2 from the start | less, growing with use; what the file says is offered as it is |
| counts RST_STREAMs of clients against `stream_reset_burst` | the resets that a peer made us send, too, and those of endpoints |
| takes any `choice_count` | at most 100: more are as good |
| gives a TLS handshake without `transport_socket_connect_timeout`, or with 0, no end | 15 s |
| begins weighted turns anew with each change of the endpoints | goes on: who stays keeps its turn |
| joins the lines of header names that it knows (`x-forwarded-for`, `user-agent`, ...) when another value is added | writes another line, which means the same (RFC 9110 §5.3) |
| restores with `original_dst` whatever SO_ORIGINAL_DST says, and of a transparent socket its own address | not where that is the listener's own end: who connected to the listener itself was not redirected, and an ORIGINAL_DST cluster has no host for it |
| writes URIs and DNS names of certificates into `x-forwarded-client-cert` as they are | in quotes where they have `,`, `;`, `=` or `\"`, as Envoy describes the field; those with a backslash or control bytes are left out |
| has connections of HTTP/2 of their own for each client behind `upstream_proxy_protocol` | refuses HTTP/2, and what may come to it, behind a PROXY header: its connections are one for all clients |
| agrees by ALPN on whatever `alpn_protocols` says | never on `istio-peer-exchange`, as a client or as a server: whoever agrees on it sends what Istio's filter `istio.metadata_exchange` reads, before anything else. Filter chains match on it as on any other name |
| sends any text as `sni`, and takes any of a client whose TLS it ends | DNS names alone, underscores included (RFC 6066 §3): the TLS library knows no others. Of a connection whose TLS passes through, `server_names` match any text |
| keeps connections apart that were made under different `istio.alpn` (Istio's Envoy) | a connection serves all listeners that lead to its endpoint |
| asks its runtime for keys of its own (`envoy.reloadable_features.*`, `overload.*`, `re2.*`, `upstream.*`, ...) | takes from `layered_runtime` only what a field names by `runtime_key` or `runtime_key_prefix` |

Of resources that come (`dynamic_resources`, `rds`, `eds_cluster_config`, `rtds_layer`):

| Envoy | Ringway |
|---|---|
| takes a file of EDS or RDS that holds one resource | takes several, and passes over those that nobody wants |
| refuses a file of RTDS that holds more than one resource, or none | takes the layer that is asked for, passes over others, and refuses a file of nothing but others; one of none says nothing |
| refuses a file of which one resource cannot be parsed | refuses that resource alone |
| passes over a resource whose name the bootstrap has, and over fields that its API does not have | refuses the resource |
| passes over the `load_assignment` of an EDS cluster | refuses it |

Where Envoy's HTTP/1 would lose or mix up bytes, or the RFCs ask for something else, Ringway has another way
([HTTP1_CHECKLIST](HTTP1_CHECKLIST.md)):

| Envoy | Ringway |
|---|---|
| ends both sides of a tunnel with the first end | passes the end on; the other direction stays open until its own end, or `idle_timeout` |
| sends the body of a request with Upgrade behind the 101, with its chunk lines | sends it first, framed; a 101 before its end is answered with 502 |
| gives the refusal of an upgrade (any status but 101) without its body | with it; the connection ends in both |
| drops a 101 that nobody asked for, and waits on | answers 502 |
| sends extended CONNECT to an HTTP/2 origin that has not announced it | answers 502 (RFC 8441 §3) |
| asks an HTTP/1 origin for the WebSocket of an HTTP/2 client without a key, and leaves an HTTP/1 client's key to an HTTP/2 origin, which has no word for it (RFC 8441 §5) | makes the key and checks its answer; answers the client's: who keeps RFC 6455 would refuse |
| passes on, of a 1xx, 100 alone | passes all to clients of HTTP/1.1 (RFC 9110 §15.2) |
| passes on an `Expect` that it does not know | answers 417 |
| leaves `Max-Forwards` alone | counts it down for OPTIONS and TRACE, and answers at 0 (RFC 9110 §7.6.2) |
| writes names of fields in lower case | leaves them as they came, and its own are `Content-Length` or `server`; `header_key_format` is as in Envoy |
| writes its own reason phrases, but for `forward_reason_phrase` | passes on those of the origin |
| with `accept_http_10` reads HTTP/0.9, HTTP/1.2 and chunked coding in HTTP/1.0 | refuses them |
| sends `Content-Length` in a 2xx to CONNECT on | does not (RFC 9110 §9.3.6) |

## Regular expressions

`safe_regex` and its like mean what RE2 makes of them, over bytes: `\\w`, `\\d`, `\\s`, `\\b` are ASCII, `.` is one byte. `\\pL` and its like, letters beyond
ASCII inside `[]`, `\\C` and `\\Q..\\E` are refused. A compiled expression may have 1 MiB; Envoy's bound counts RE2's instructions.

## How a text is read

As Envoy 1.40 reads it, unless this list says otherwise (each row was compared with `--mode validate`):

| text | read as |
|---|---|
| plain scalars | null, then bool (`true`, `yes`, `y`, `on`, ...), then a whole number (decimal, `0x` hex, `0` octal), then a string; what is quoted is a string |
| a number or bool for a string | refused: put it in quotes. `1.5` and numbers beyond 32 bits are strings, and pass |
| `connect_timeout` and `connectTimeout` | the same field; of duplicates the last wins |
| an enum | its name in any case, its number, or its number in quotes |
| a whole number | `5`, `\"5\"`, `5.0`, `5e3`, `\"0x10\"` |
| a bool | `true`, `yes`, ..., also in quotes |
| a duration | `\"1.5s\"` or `{seconds: 1, nanos: 500000000}`; negative ones and ones of 292 years are refused |
| `UInt32Value` and its like | the bare value, or `{value: 5}` |
| `null` | unset; inside a list, an empty item |
| one value where a list is expected | a list of one; lists in lists are read as one list |
| two members of a oneof | refused |
| a field that does not exist | refused; a warning with `--allow-unknown-static-fields` |
| `@type` | after the last `/` the full name; `udpa.type.v1.TypedStruct` and `xds.type.v3.TypedStruct` stand for the message inside |
| a key with the tag `!ignore` | left out: a place for anchors. `<<` is an ordinary key |
| the rules of protoc-gen-validate | checked, but for `pattern` |

Stricter than Envoy, each because Envoy would drop something in silence:

* a second document in the file;
* a second listener of the same name (Envoy keeps the later), a second threshold of one priority (Envoy keeps the first);
* a `prefix_rewrite` that does not begin with `/`, a `host_rewrite_literal` that is no host, a `port_redirect` above 65535 (Envoy writes
  what is none);
* a substitution that names a group that the expression does not have, or holds a backslash before a letter (Envoy finds out by
  requests);
* a header mutation of a name that is none, of `content-length`, `transfer-encoding` or a field of one hop (Envoy lets them be set, and
  the message then is not what it says that it is);
* a domain with a `*` in the middle (Envoy takes it for a host of that very name);
* `max_headers_count` above 512, `hpack_table_size` above 64 KiB (Envoy has no bound);
* SETTINGS_ENABLE_PUSH with anything but 0 (Envoy refuses 1 alone, and sends what no peer may be sent);
* a `load_balancing_policy` of a type that the API does not have inside a TypedStruct (Envoy passes over it);
* a `server_names` entry with a second `*` (Envoy takes it for the end of a name);
* an HTTP connection manager without a router (Envoy answers 404 to everything).

Limits: 64 MiB of text, nesting of 100, 8 million nodes once aliases are expanded.

## Fields

The order is that in which a file nests the messages.
";

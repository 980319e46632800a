//! The parsers, and what must hold of each.
//!
//! A quick body allocates nothing once warm (but for those of TLS, whose sessions do): it decodes as the engine does, whole and from one cut, asserts that both agree, and
//! gives the shape of the answer. A thorough body plays every piece of the input and whatever else is costly.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use ringway_control_client::{ReadOptions, Source, read_bootstrap};
use ringway_model::format::{Format, Surroundings};
use ringway_model::{EscapedSlashes, HostRules, PathOutcome, PathRules, StripPort};
use ringway_protocols::http1::{
    BodyDecoder, BodyPart, Decoded, HeadScan, decode_request, decode_response, is_authority,
};
use ringway_protocols::{Framing, HeadTable, Limits, Method, fuzz};
use ringway_tls::{
    ClientContext, ClientOptions, Identity, Secret, ServerContext, ServerOptions, Session, fuzz as fuzz_tls,
};

/// Takes an input, gives the shape of the answer; asserts what must hold.
type Body = Box<dyn FnMut(&[u8]) -> u64>;

/// One parser.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    /// Makes the quick body, which may keep what it uses again.
    pub(crate) quick: fn() -> Body,
    pub(crate) thorough: fn(&[u8]),
    /// Inputs to begin from, beside a folder's.
    pub(crate) inputs: &'static [&'static str],
}

/// All of them.
pub(crate) const TARGETS: &[Target] = &[
    Target { name: "request", quick: request, thorough: fuzz::request, inputs: &[] },
    Target { name: "response", quick: response, thorough: fuzz::response, inputs: &[] },
    Target { name: "chunked", quick: chunked, thorough: fuzz::chunked, inputs: &[] },
    Target { name: "request-onward", quick: request_onward, thorough: |_| (), inputs: &[] },
    Target { name: "response-onward", quick: response_onward, thorough: |_| (), inputs: &[] },
    Target { name: "hpack", quick: hpack, thorough: |_| (), inputs: &[] },
    Target { name: "request-section", quick: request_section, thorough: |_| (), inputs: &[] },
    Target { name: "response-section", quick: response_section, thorough: |_| (), inputs: &[] },
    Target { name: "trailer-section", quick: trailer_section, thorough: |_| (), inputs: &[] },
    Target {
        name: "http2-connection",
        quick: || Box::new(fuzz::connection_quick),
        thorough: |input| _ = fuzz::connection(input),
        inputs: &[],
    },
    Target { name: "http2-wire", quick: || Box::new(fuzz::wire), thorough: |_| (), inputs: &[] },
    Target { name: "client-hello", quick: client_hello, thorough: fuzz::client_hello, inputs: &[] },
    Target { name: "http-inspector", quick: http_inspector, thorough: fuzz::http_inspector, inputs: &[] },
    Target { name: "proxy-protocol", quick: proxy_protocol, thorough: fuzz::proxy_protocol, inputs: &[] },
    Target { name: "tls-hello", quick: tls_hello, thorough: |_| (), inputs: &[] },
    Target { name: "tls-answer", quick: tls_answer, thorough: |_| (), inputs: &[] },
    Target { name: "tls-handshake", quick: tls_handshake, thorough: |_| (), inputs: &[] },
    Target { name: "tls-records", quick: || Box::new(fuzz_tls::records), thorough: |_| (), inputs: &[] },
    Target { name: "tls-certificate", quick: tls_certificate, thorough: |_| (), inputs: &[] },
    Target { name: "format", quick: || Box::new(format), thorough: |_| (), inputs: FORMATS },
    Target { name: "path", quick: path, thorough: |_| (), inputs: PATHS },
    Target { name: "host", quick: host, thorough: |_| (), inputs: HOSTS },
    Target {
        name: "protobuf",
        quick: || Box::new(ringway_control_client::fuzz::protobuf),
        thorough: |_| (),
        inputs: PROTOBUFS,
    },
    Target { name: "bootstrap", quick: || Box::new(bootstrap), thorough: |_| (), inputs: BOOTSTRAPS },
];

/// Field blocks on one connection; what was read, and what stopped it.
fn hpack() -> Body {
    let mut blocks = fuzz::Blocks::default();
    Box::new(move |input| {
        let (fields, stopped) = blocks.play(input);
        shape((size_class(fields), stopped))
    })
}

/// A shape: what an answer is, without what it says.
fn shape(of: impl Hash) -> u64 {
    let mut hasher = Fnv(0xCBF2_9CE4_8422_2325);
    of.hash(&mut hasher);
    hasher.finish()
}

/// FNV-1a over words: std's hasher would cost more than some parsers.
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(u64::from(byte)));
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0100_0000_01B3);
        self.0 ^= self.0 >> 29;
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }
}

/// A number by its size only.
fn size_class(size: usize) -> u32 {
    usize::BITS - size.leading_zeros()
}

/// Where an input is cut in two: a point that the input itself chooses.
fn cut_of(input: &[u8]) -> usize {
    let sum = input.iter().fold(7_usize, |sum, &byte| sum.wrapping_mul(31).wrapping_add(byte as usize));
    if input.is_empty() { 0 } else { sum % input.len() }
}

/// A chunked body in one call after another, as the engine reads it; the shape and the bytes of content.
fn body(input: &[u8], framing: Framing, limits: &Limits) -> (u64, usize) {
    let mut decoder = BodyDecoder::new(framing);
    let (mut at, mut content) = (0, 0);
    // Each call makes progress, asks for more, or ends.
    for step in 0..=2 * input.len() + 2 {
        match decoder.decode(&input[at..], limits) {
            Err(error) => return (shape((1, error.rule, size_class(step))), content),
            Ok(answer) => {
                at += answer.consumed;
                match answer.part {
                    BodyPart::NeedMore => return (shape((2, size_class(step), decoder.is_done())), content),
                    BodyPart::End => {
                        assert!(decoder.is_done() && decoder.finish_on_eof().is_ok());
                        return (shape((3, size_class(step), decoder.glitches().min(3))), content);
                    }
                    BodyPart::Data(range) => {
                        assert!(!range.is_empty());
                        content += range.len();
                    }
                    BodyPart::Trailers(range) => assert!(!range.is_empty()),
                }
            }
        }
    }
    panic!("the decoder goes round in circles");
}

fn request() -> Body {
    let limits = Limits::default();
    let (mut table, mut other) = (HeadTable::new(limits.headers_max), HeadTable::new(limits.headers_max));
    Box::new(move |input| {
        let whole = decode_request(input, &mut HeadScan::default(), &mut table, &limits);
        // The same from a part of it first.
        let mut scan = HeadScan::default();
        let cut = cut_of(input);
        let part = match decode_request(&input[..cut], &mut scan, &mut other, &limits) {
            Ok(Decoded::Partial) => None,
            Ok(Decoded::Complete { consumed, .. }) => Some(Ok(consumed)),
            Err(error) => Some(Err(error.rule)),
        };
        match whole {
            Ok(Decoded::Partial) => {
                assert_eq!(part, None, "a part was decided, the whole is not");
                shape((0, size_class(input.len()) > 5))
            }
            Ok(Decoded::Complete { head, consumed }) => {
                assert!(consumed <= input.len());
                assert!(matches!(part, None | Some(Ok(_))), "{part:?}");
                assert!(part.is_none_or(|part| part == Ok(consumed)), "{part:?} {consumed}");
                let fields = head.fields().count();
                let names = head.fields().fold(0, |sum, field| sum ^ shape((field.name.len(), field.value.is_empty())));
                let (body, content) = body(&input[consumed..], head.framing(), &limits);
                shape((2, head.version() as u8, head.method_str().len(), fields, names, body, size_class(content)))
            }
            Err(error) => {
                assert!(matches!(part, None | Some(Err(_))), "{part:?}");
                shape((1, error.rule, size_class(input.len())))
            }
        }
    })
}

fn response() -> Body {
    let limits = Limits::default();
    let (mut table, mut other) = (HeadTable::new(limits.headers_max), HeadTable::new(limits.headers_max));
    Box::new(move |input| {
        let Some((&first, input)) = input.split_first() else { return 0 };
        let method = match first {
            b'H' => Method::Head,
            b'C' => Method::Connect,
            _ => Method::Get,
        };
        let whole = decode_response(input, &mut HeadScan::default(), &mut table, &limits, method);
        let mut scan = HeadScan::default();
        let part = match decode_response(&input[..cut_of(input)], &mut scan, &mut other, &limits, method) {
            Ok(Decoded::Partial) => None,
            Ok(Decoded::Complete { consumed, .. }) => Some(Ok(consumed)),
            Err(error) => Some(Err(error.rule)),
        };
        match whole {
            Ok(Decoded::Partial) => {
                assert_eq!(part, None, "a part was decided, the whole is not");
                0
            }
            Ok(Decoded::Complete { head, consumed }) => {
                assert!(part.is_none_or(|part| part == Ok(consumed)), "{part:?} {consumed}");
                let fields = head.fields().count();
                let (body, content) = body(&input[consumed..], head.framing(), &limits);
                shape((2, head.status() / 100, fields, body, size_class(content), first))
            }
            Err(error) => {
                assert!(matches!(part, None | Some(Err(_))), "{part:?}");
                shape((1, error.rule, size_class(input.len())))
            }
        }
    })
}

fn chunked() -> Body {
    let limits = Limits::default();
    Box::new(move |input| {
        let (whole, content) = body(input, Framing::Chunked, &limits);
        shape((whole, size_class(content)))
    })
}

fn request_onward() -> Body {
    let mut onward = fuzz::Onward::default();
    Box::new(move |input| onward.request(input))
}

fn response_onward() -> Body {
    let mut onward = fuzz::Onward::default();
    Box::new(move |input| onward.response(input))
}

fn request_section() -> Body {
    let mut sections = fuzz::Sections::default();
    Box::new(move |input| sections.request(input))
}

fn response_section() -> Body {
    let mut sections = fuzz::Sections::default();
    Box::new(move |input| sections.response(input))
}

fn trailer_section() -> Body {
    let mut sections = fuzz::Sections::default();
    Box::new(move |input| sections.trailers(input))
}

fn client_hello() -> Body {
    let mut hellos = fuzz::Hellos::default();
    Box::new(move |input| shape(hellos.play(input, cut_of(input))))
}

fn http_inspector() -> Body {
    Box::new(|input| shape((fuzz::http_inspector_quick(input, cut_of(input)), size_class(input.len()))))
}

fn proxy_protocol() -> Body {
    let mut headers = fuzz::ProxyHeaders::default();
    Box::new(move |input| shape(headers.play(input, cut_of(input))))
}

/// A server's context and that of a client that trusts whoever it is.
fn contexts() -> (Arc<ClientContext>, Arc<ServerContext>) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["example.com".to_owned()]).expect("a name");
    let own = Identity {
        certificate_chain: params.self_signed(&key).expect("a certificate").pem().into_bytes(),
        private_key: Secret::new(key.serialize_pem()),
    };
    let server = ServerOptions { certificates: vec![own], ..ServerOptions::default() };
    // Without tickets: no session is to depend on an earlier one.
    let client = ClientOptions { max_session_keys: 0, ..ClientOptions::default() };
    (ClientContext::new(&client).expect("a context"), ServerContext::new(&server).expect("a context"))
}

/// What a client says first.
fn tls_hello() -> Body {
    let (_, server) = contexts();
    Box::new(move |input| fuzz_tls::bytes(input, &|| Session::server(&server)))
}

/// What a server answers.
fn tls_answer() -> Body {
    let (client, _) = contexts();
    Box::new(move |input| fuzz_tls::bytes(input, &|| fuzz_tls::begin(&client)))
}

/// Changes to the bytes of a handshake and of what follows it.
fn tls_handshake() -> Body {
    let (client, server) = contexts();
    Box::new(move |input| {
        fuzz_tls::changed(input, &client, &server);
        shape(input.len().min(12))
    })
}

fn tls_certificate() -> Body {
    Box::new(|input| shape(fuzz_tls::certificate(input)))
}

fn format(input: &[u8]) -> u64 {
    let Ok(text) = std::str::from_utf8(input) else { return 0 };
    match Format::parse(text, &Surroundings::NONE) {
        Ok(format) => shape((1, format.pieces().len(), format.pieces().iter().map(std::mem::discriminant).count())),
        Err(error) => {
            assert!(error.column >= 1 && error.column <= text.chars().count() + 1, "{error}");
            // What is wrong, but for the text that it quotes.
            shape((2, error.rule.split('%').next().unwrap_or_default().len()))
        }
    }
}

fn path() -> Body {
    let mut rules = Vec::new();
    for escaped_slashes in
        [EscapedSlashes::Keep, EscapedSlashes::Reject, EscapedSlashes::Redirect, EscapedSlashes::Forward]
    {
        for (normalize, merge_slashes) in [(true, false), (false, true), (true, true)] {
            rules.push(PathRules { normalize, merge_slashes, escaped_slashes });
        }
    }
    let (mut out, mut again) = (Vec::new(), Vec::new());
    Box::new(move |input| {
        let rule = &rules[cut_of(input) % rules.len()];
        let outcome = rule.apply(input, &mut out);
        if outcome == PathOutcome::Changed {
            assert_eq!(out.first(), Some(&b'/'), "{:?}", String::from_utf8_lossy(&out));
            // What is normal stays so, where no escape or slash can come out of another. A target that was decoded has no control bytes.
            if input.iter().all(|byte| !b"%\\".contains(byte) && (0x21..0x7f).contains(byte)) {
                assert_eq!(rule.apply(&out, &mut again), PathOutcome::Kept, "{:?}", String::from_utf8_lossy(&out));
            }
        }
        shape((outcome as u8, size_class(out.len()), size_class(input.len() - out.len().min(input.len()))))
    })
}

fn host() -> Body {
    let (mut out, mut again) = (Vec::new(), Vec::new());
    Box::new(move |input| {
        let strip_port = [StripPort::None, StripPort::Matching, StripPort::Any][input.len() % 3];
        let rules = HostRules { strip_dot: cut_of(input).is_multiple_of(2), strip_port };
        let host = rules.apply(input, || Some(80), &mut out);
        assert!(host.len() <= input.len() && (input.is_empty() || !host.is_empty()));
        // Nothing comes out that a request may not say.
        assert!(!is_authority(input) || is_authority(host), "{:?}", String::from_utf8_lossy(host));
        let more = rules.apply(host, || Some(80), &mut again).len();
        shape((is_authority(input), size_class(input.len() - host.len()), size_class(host.len() - more)))
    })
}

fn bootstrap(input: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(input);
    // A bare CR ends a line of YAML, too; and what is missing at the end is said to be missing on the line after the last.
    let lines = 1 + text.bytes().filter(|byte| matches!(byte, b'\n' | b'\r')).count();
    match read_bootstrap(
        Source { name: "fuzz", text: &text },
        &ReadOptions { allow_unknown_static_fields: true, ..ReadOptions::default() },
    ) {
        Ok(bootstrap) => shape((1, bootstrap.resources.listener_count(), bootstrap.resources.cluster_count())),
        Err(problems) => {
            for problem in &problems {
                assert!(problem.line >= 1 && problem.line <= lines + 1 && problem.column >= 1, "{problem}");
            }
            shape((2, problems.iter().map(|problem| problem.rule.len()).fold(0, |sum, len| sum * 31 + len)))
        }
    }
}

const FORMATS: &[&str] = &[
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH):10% %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS%",
    "%START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)% %DURATION% %RESP(a?b)% %TRAILER(x):3% 100%%",
    "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %COMMON_DURATION(DS_RX_BEG:US_TX_BEG:ms)% %QUERY_PARAM(q):2% %PATH(NQ)%",
    "%ENVIRONMENT(HOME)% %HOSTNAME% %DYNAMIC_METADATA(a:b)% %GRPC_STATUS(SNAKE_STRING)% %RESPONSE_CODE_DETAILS(ALLOW_WHITESPACES)%",
];

const HOSTS: &[&str] =
    &["a.test", "a.test:80", "a.test.:80", "a.test.", "[::1]:80", "[::1].", "1.2.3.4:65536", "a:80:80", ".:80"];

const PATHS: &[&str] =
    &["/a/b/../c//d/./e?x=/../y", "/%2e%2E/a%2Fb%5cc%41%zz", "//a///b/..//../../c\\d/..\\e", "/a/%2F/%252F/..;/x"];

/// A cluster with a timeout, an assignment with an address, and an empty listener.
const PROTOBUFS: &[&str] = &[
    "\0\n\x01c\x10\x03\"\x02\x08\x05",
    "\x01\n\x01c\x12\x14\x12\x12\n\x10\n\x0e\n\x0c\x12\x0810.0.0.1\x18P",
    "\x02\n\x01l",
];

const BOOTSTRAPS: &[&str] = &[
    "static_resources:\n  clusters:\n  - &c\n    name: a\n    connect_timeout: 0.25s\n    type: STATIC\n    load_assignment: {cluster_name: a, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: '::1', port_value: 80}}}}]}]}\n",
    "static_resources: {listeners: [{name: l, address: {socket_address: {address: 127.0.0.1, port_value: 0}}, filter_chains: [{filters: [{name: h, typed_config: {\"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, stat_prefix: x, route_config: {virtual_hosts: [{name: v, domains: [\"*\"], routes: [{match: {prefix: /}, route: {cluster: a}}]}]}}}]}]}]}",
    "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0x50}}}\nnode: {id: \"a\", metadata: {x: [1, 2.5, true, null, yes]}}\n!ignore k: &k [*k]\n",
    "---\na: |\n  text\n  more\nb: >-\n  folded\n? c\n: 'quoted''s'\n",
];

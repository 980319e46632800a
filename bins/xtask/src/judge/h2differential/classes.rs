//! The classes of cases: those with a name, which every run plays, and drawn ones.

use super::case::{Case, Step};
use crate::lab::chance::Chance;
use crate::lab::either::Version;
use crate::lab::h2::frame::{self, flag, kind};
use crate::lab::h2::hpack;
use crate::lab::h2::session::{INITIAL_WINDOW_SIZE, fields};

/// A kind of cases.
pub(super) struct Class {
    pub(super) name: &'static str,
    pub(super) named: fn() -> Vec<Case>,
    pub(super) drawn: fn(&mut Chance) -> Case,
}

/// The class whose cases are played one after the other, when all others are done.
pub(super) const ALONE: &str = "goaway";

/// All of them.
pub(super) const CLASSES: &[Class] = &[
    Class { name: "pseudo-fields", named: pseudo, drawn: pseudo_drawn },
    Class { name: "fields", named: field_rules, drawn: field_drawn },
    Class { name: "lengths", named: lengths, drawn: length_drawn },
    Class { name: "trailers", named: trailers, drawn: trailers_drawn },
    Class { name: "resets", named: resets, drawn: reset_drawn },
    Class { name: ALONE, named: go_aways, drawn: go_away_drawn },
    Class { name: "authority", named: authorities, drawn: authority_drawn },
    Class { name: "cookies", named: cookies, drawn: cookies_drawn },
    Class { name: "connect", named: connects, drawn: connect_drawn },
    Class { name: "settings", named: settings, drawn: settings_drawn },
    Class { name: "interim", named: interim, drawn: interim_drawn },
    Class { name: "large heads", named: large, drawn: large_drawn },
    Class { name: "frames", named: frames, drawn: frames_drawn },
    Class { name: "any over HTTP/2", named: Vec::new, drawn: any },
    Class { name: "any over HTTP/1", named: Vec::new, drawn: |chance| Case { client: Version::Http1, ..any(chance) } },
];

fn get(name: &str) -> Case {
    Case::get("", name, "/a?q=1")
}

fn pseudo() -> Vec<Case> {
    let mut cases = vec![
        get("all four"),
        get("a status").first(":status", "200"),
        get("an unknown one").first(":what", "1"),
        get("one behind").add("x-a", "1").add(":late", "1"),
        get("GET /ü").set(":path", "/ü"),
        get("an empty path").set(":path", ""),
        get("a path without a slash").set(":path", "a"),
        get("an asterisk").set(":path", "*"),
        get("an asterisk of OPTIONS").set(":path", "*").set(":method", "OPTIONS"),
        get("an absolute path").set(":path", "http://h2.test/a"),
        get("a fragment").set(":path", "/a#b"),
        get("an empty method").set(":method", ""),
        get("a method in lower case").set(":method", "get"),
        get("a method with a space").set(":method", "GET /x"),
        get("an unknown method").set(":method", "BREW"),
        get("an empty scheme").set(":scheme", ""),
        get("another scheme").set(":scheme", "ftp"),
        get("the scheme https").set(":scheme", "https"),
        get("a scheme in upper case").set(":scheme", "HTTP"),
        get("a protocol").first(":protocol", "websocket"),
    ];
    for name in [":method", ":scheme", ":path", ":authority"] {
        cases.push(get(&format!("no {name}")).without(name));
        cases.push(get(&format!("{name} twice")).first(name, "x"));
    }
    cases
}

fn pseudo_drawn(chance: &mut Chance) -> Case {
    let path = *chance.pick(&[
        "/",
        "/a",
        "/a//b",
        "/a/../b",
        "/%41",
        "/a%00",
        "/a b",
        "/a?b?c",
        "/ü",
        "//h2.test/",
        "/a\\b",
        "/a;b=c",
    ]);
    let method = *chance.pick(&["GET", "HEAD", "DELETE", "OPTIONS", "PUT", "TRACE", "PATCH"]);
    let mut case = get(&format!("{method} {path}")).set(":path", path).set(":method", method);
    // Any order of pseudo-fields is right.
    for at in (1..4).rev() {
        case.fields.swap(at, chance.below(at + 1));
    }
    case
}

fn field_rules() -> Vec<Case> {
    let rows: [(&str, &str, &str); 24] = [
        ("connection", "connection", "close"),
        ("keep-alive", "keep-alive", "timeout=5"),
        ("proxy-connection", "proxy-connection", "keep-alive"),
        ("transfer-encoding", "transfer-encoding", "chunked"),
        ("upgrade", "upgrade", "websocket"),
        ("te trailers", "te", "trailers"),
        ("te gzip", "te", "gzip"),
        ("te both", "te", "trailers, gzip"),
        ("http2-settings", "http2-settings", "AAMAAABk"),
        ("an upper-case name", "X-A", "1"),
        ("an empty name", "", "1"),
        ("a name with a space", "x a", "1"),
        ("a name with a colon", "x:a", "1"),
        ("a name with LF", "x\na", "1"),
        ("a name with an underscore", "x_a", "1"),
        ("a name beyond ASCII", "x\u{e4}", "1"),
        ("a value with CR", "x-a", "1\r2"),
        ("a value with LF", "x-a", "1\n2"),
        ("a value with NUL", "x-a", "1\u{0}2"),
        ("a value with a space before", "x-a", " 1"),
        ("a value with a tab behind", "x-a", "1\t"),
        ("a value beyond ASCII", "x-a", "\u{e4}"),
        ("an empty value", "x-a", ""),
        ("a value with DEL", "x-a", "\u{7f}"),
    ];
    rows.iter().map(|(what, name, value)| get(what).add(name, value)).collect()
}

fn field_drawn(chance: &mut Chance) -> Case {
    let letters = [
        'a', 'Z', '1', '-', '_', '!', '#', '$', '%', '&', '\'', '*', '+', '.', '^', '`', '|', '~', '(', ')', '/', '@',
        '{',
    ];
    let name: String = (0..1 + chance.below(4)).map(|_| *chance.pick(&letters)).collect();
    let value: String = (0..chance.below(6)).map(|_| char::from(32 + chance.below(224) as u8)).collect();
    // White space at an end has cases of its own.
    get(&format!("x{name}: {value:?}")).add(&format!("x{name}"), value.trim_matches(' '))
}

fn lengths() -> Vec<Case> {
    let post = |name: &str, length: &str, content: &str| {
        Case::post("", name, content.as_bytes()).add("content-length", length)
    };
    let empty = |name: &str, length: &str| get(name).set(":method", "POST").add("content-length", length);
    let mut two = post("two pieces", "6", "one");
    two.steps = vec![Step::Data(b"one".to_vec(), false), Step::Data(b"two".to_vec(), true)];
    let mut end = post("an empty end", "3", "one");
    end.steps = vec![Step::Data(b"one".to_vec(), false), Step::Data(Vec::new(), true)];
    vec![
        post("right", "5", "right"),
        post("too long", "3", "longer"),
        post("too short", "9", "short"),
        post("none that is one", "x", "a"),
        post("a sign", "+1", "a"),
        post("a minus", "-1", "a"),
        post("two in one", "1,1", "a"),
        post("two", "1", "a").add("content-length", "1"),
        post("two that differ", "1", "a").add("content-length", "2"),
        post("empty", "", "a"),
        post("beyond all bounds", "99999999999999999999", "a"),
        post("zeros before", "0001", "a"),
        post("0 with content", "0", "a"),
        empty("0 without content", "0"),
        empty("3 without content", "3"),
        Case::post("", "no length", b"content"),
        Case::post("", "no content", b""),
        get("a length of a GET").add("content-length", "0"),
        two,
        end,
    ]
}

fn length_drawn(chance: &mut Chance) -> Case {
    let size = chance.below(40);
    let said = if chance.once_in(2) { size } else { chance.below(40) };
    let mut case =
        Case::post("", &format!("{size} bytes said to be {said}"), b"").add("content-length", &said.to_string());
    let (mut left, mut steps) = (chance.bytes(size), Vec::new());
    while !left.is_empty() && chance.once_in(2) {
        steps.push(Step::Data(left.drain(..1 + chance.below(left.len())).collect(), false));
    }
    steps.push(Step::Data(left, true));
    case.steps = steps;
    case
}

fn with_trailers(name: &str, of: &[(&str, &str)], ends: bool) -> Case {
    let mut case = Case::post("", name, b"").add("te", "trailers");
    case.steps = vec![Step::Data(b"content".to_vec(), false), Step::Trailers(fields(of), ends)];
    case
}

fn trailers() -> Vec<Case> {
    let of_origin = |name: &str, value: &str| get(name).add("x-kind", value).add("te", "trailers");
    let mut without = with_trailers("without content", &[("x-sum", "1")], true);
    without.steps.remove(0);
    vec![
        with_trailers("one", &[("x-sum", "1")], true),
        with_trailers("some", &[("x-a", "1"), ("x-b", "2"), ("x-a", "3")], true),
        with_trailers("a pseudo-field", &[(":path", "/x")], true),
        with_trailers("a status", &[(":status", "200")], true),
        with_trailers("without an end", &[("x-a", "1")], false),
        with_trailers("an upper-case name", &[("X-A", "1")], true),
        with_trailers("connection", &[("connection", "close")], true),
        with_trailers("transfer-encoding", &[("transfer-encoding", "chunked")], true),
        with_trailers("content-length", &[("content-length", "7")], true),
        with_trailers("set-cookie", &[("set-cookie", "a=1")], true),
        with_trailers("host", &[("host", "other")], true),
        with_trailers("a line end", &[("x-a", "1\r\nx-b: 2")], true),
        with_trailers("an empty name", &[("", "1")], true),
        without,
        of_origin("of the origin", "trailers=a"),
        of_origin("of the origin, empty value", "trailers="),
        of_origin("of the origin to HEAD", "trailers=a").set(":method", "HEAD"),
    ]
}

fn trailers_drawn(chance: &mut Chance) -> Case {
    let names = ["x-a", "x-b", "grpc-status", "grpc-message", "te", "x-long", "etag", "set-cookie"];
    let of: Vec<(&str, String)> =
        (0..1 + chance.below(4)).map(|_| (*chance.pick(&names), "v".repeat(1 + chance.below(30)))).collect();
    let of: Vec<(&str, &str)> = of.iter().map(|(name, value)| (*name, value.as_str())).collect();
    with_trailers(&format!("{of:?}"), &of, true)
}

const CODES: [&str; 8] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "STREAM_CLOSED",
    "REFUSED_STREAM",
    "CANCEL",
    "ENHANCE_YOUR_CALM",
    "HTTP_1_1_REQUIRED",
];

fn resets() -> Vec<Case> {
    let mut cases = Vec::new();
    for code in CODES {
        cases.push(get(&format!("before a head {code}")).add("x-kind", &format!("reset={code}")));
        cases.push(get(&format!("behind a head {code}")).add("x-kind", &format!("late={code}")));
        let number = frame::code_named(code);
        let silent = get(&format!("of the client {code}")).add("x-kind", "silent").step(Step::Data(Vec::new(), true));
        cases.push(silent.step(Step::Barrier).step(Step::Reset(number)));
    }
    cases.push(get("silent").add("x-kind", "silent"));
    cases
}

fn reset_drawn(chance: &mut Chance) -> Case {
    let mut case = Case::post("", &format!("within content, {}", chance.number() % 1_000), b"");
    case.steps = vec![Step::Data(chance.bytes(100), false), Step::Barrier];
    case.step(Step::Reset(frame::code_named(chance.pick::<&str>(&CODES))))
}

fn go_aways() -> Vec<Case> {
    vec![
        get("of the origin").add("x-kind", "goaway"),
        get("of the client").step(Step::Data(Vec::new(), true)).step(Step::GoAway),
        get("of the client before the end").step(Step::GoAway).step(Step::Data(Vec::new(), true)),
        Case::post("", "of the origin to a POST", b"content").add("x-kind", "goaway"),
    ]
}

fn go_away_drawn(chance: &mut Chance) -> Case {
    let size = chance.below(5_000);
    let mut case = Case::post("", &format!("with {size} bytes"), &chance.bytes(size));
    if chance.once_in(2) {
        case = case.add("x-kind", "goaway");
    }
    if chance.once_in(2) { case.step(Step::GoAway) } else { case }
}

fn authorities() -> Vec<Case> {
    let both = |name: &str, authority: &str, host: &str| get(name).set(":authority", authority).add("host", host);
    vec![
        both("the same", "h2.test", "h2.test"),
        both("another", "h2.test", "other.test"),
        both("another case", "h2.test", "H2.Test"),
        both("a port more", "h2.test", "h2.test:80"),
        both("an empty host", "h2.test", ""),
        both("two hosts", "h2.test", "h2.test").add("host", "h2.test"),
        get("only a host").without(":authority").add("host", "h2.test"),
        get("neither").without(":authority"),
        get("an empty authority").set(":authority", ""),
        get("user information").set(":authority", "user@h2.test"),
        get("a slash").set(":authority", "h2.test/a"),
        get("a space").set(":authority", "h2 test"),
        get("a line end").set(":authority", "h2.test\r\nx: 1"),
        get("upper case").set(":authority", "H2.TEST"),
        get("IPv6").set(":authority", "[::1]:80"),
        get("a port").set(":authority", "h2.test:8080"),
        get("a wrong port").set(":authority", "h2.test:80a"),
        get("an underscore").set(":authority", "h2_test"),
    ]
}

fn authority_drawn(chance: &mut Chance) -> Case {
    let letters = ['a', 'B', '0', '.', '-', ':', '_', '%', '[', ']', '!', ','];
    let authority: String = (0..1 + chance.below(8)).map(|_| *chance.pick(&letters)).collect();
    get(&authority).set(":authority", &authority)
}

fn cookies() -> Vec<Case> {
    vec![
        get("one").add("cookie", "a=1"),
        get("two").add("cookie", "a=1").add("cookie", "b=2"),
        get("apart").add("cookie", "a=1").add("x-a", "1").add("cookie", "b=2"),
        get("joined already").add("cookie", "a=1; b=2").add("cookie", "c=3"),
        get("empty").add("cookie", "").add("cookie", "a=1"),
        get("set by the origin").add("x-kind", "field=set-cookie:a=1; Path=/"),
    ]
}

fn cookies_drawn(chance: &mut Chance) -> Case {
    let count = 1 + chance.below(8);
    let mut case = get(&format!("{count} crumbs"));
    for _ in 0..count {
        let value: String = (0..chance.below(12)).map(|_| *chance.pick(&['a', '=', ';', ' ', '"', ',', '1'])).collect();
        case = case.add("cookie", value.trim());
    }
    case
}

fn connects() -> Vec<Case> {
    let extended = |name: &str, protocol: &str| {
        get(name).set(":method", "CONNECT").first(":protocol", protocol).add("x-kind", "status=404")
    };
    vec![
        get("plain").set(":method", "CONNECT").without(":scheme").without(":path"),
        get("plain with a port")
            .set(":method", "CONNECT")
            .without(":scheme")
            .without(":path")
            .set(":authority", "h2.test:80"),
        get("plain with a path").set(":method", "CONNECT"),
        get("plain without an authority").set(":method", "CONNECT").without(":authority"),
        extended("an unknown protocol", "other"),
        extended("an empty protocol", ""),
        extended("a protocol without a path", "websocket").without(":path"),
        extended("a protocol without a scheme", "websocket").without(":scheme"),
        extended("a protocol of a GET", "websocket").set(":method", "GET"),
        extended("a protocol twice", "websocket").first(":protocol", "websocket"),
    ]
}

fn connect_drawn(chance: &mut Chance) -> Case {
    let mut case = get("").set(":method", "CONNECT");
    let mut name = String::from("CONNECT");
    for field in [":scheme", ":path", ":authority"] {
        if chance.once_in(3) {
            case = case.without(field);
            name += &format!(" no {field}");
        }
    }
    if chance.once_in(2) {
        let protocol = *chance.pick(&["other", "Web Socket", "h2c", "x"]);
        case = case.first(":protocol", protocol);
        name += &format!(" {protocol}");
    }
    if chance.once_in(3) {
        case = case.add("content-length", "3");
        name += " with a length";
    }
    case.name = name;
    case
}

fn with_settings(name: &str, settings: &[(u16, u32)]) -> Case {
    Case { settings: settings.to_vec(), ..get(name).add("x-kind", "size=1000") }
}

fn settings() -> Vec<Case> {
    vec![
        with_settings("none", &[]),
        with_settings("a table of nothing", &[(1, 0)]),
        with_settings("a large table", &[(1, 65_536)]),
        with_settings("push", &[(2, 1)]),
        with_settings("no push", &[(2, 0)]),
        with_settings("push 2", &[(2, 2)]),
        with_settings("no streams", &[(3, 0)]),
        with_settings("a window of 1", &[(INITIAL_WINDOW_SIZE, 1)]),
        with_settings("the widest window", &[(INITIAL_WINDOW_SIZE, 0x7FFF_FFFF)]),
        with_settings("a window too wide", &[(INITIAL_WINDOW_SIZE, 0x8000_0000)]),
        with_settings("the smallest frames", &[(5, 16_384)]),
        with_settings("frames too small", &[(5, 16_383)]),
        with_settings("the largest frames", &[(5, 16_777_215)]),
        with_settings("frames too large", &[(5, 16_777_216)]),
        with_settings("a list of 100", &[(6, 100)]),
        with_settings("connect", &[(8, 1)]),
        with_settings("connect 2", &[(8, 2)]),
        with_settings("an unknown one", &[(0x99, 7)]),
        with_settings("one twice", &[(INITIAL_WINDOW_SIZE, 5), (INITIAL_WINDOW_SIZE, 70_000)]),
    ]
}

fn settings_drawn(chance: &mut Chance) -> Case {
    let settings: Vec<(u16, u32)> = (0..1 + chance.below(4))
        .map(|_| match chance.below(5) {
            0 => (1, chance.below(10_000) as u32),
            1 => (3, chance.below(1_000) as u32),
            2 => (INITIAL_WINDOW_SIZE, 1 + chance.below(100_000) as u32),
            3 => (5, 16_384 + chance.below(100_000) as u32),
            _ => (0x40 + chance.below(100) as u16, chance.number() as u32),
        })
        .collect();
    with_settings(&format!("{settings:?}"), &settings)
}

fn interim() -> Vec<Case> {
    let of = |name: &str, kind: &str| get(name).add("x-kind", kind);
    vec![
        of("102", "interim=102"),
        of("103", "interim=103"),
        of("two", "interim=103+103"),
        of("102 and 103", "interim=102+103"),
        Case::post("", "an expectation", b"content").add("expect", "100-continue"),
        Case::post("", "another expectation", b"content").add("expect", "x"),
        get("an expectation without content").add("expect", "100-continue"),
    ]
}

fn interim_drawn(chance: &mut Chance) -> Case {
    let statuses: Vec<&str> = (0..1 + chance.below(3)).map(|_| *chance.pick(&["102", "103", "104", "150"])).collect();
    let kind = format!("interim={}", statuses.join("+"));
    let case = get(&kind).add("x-kind", &kind);
    if chance.once_in(3) { case.set(":method", "HEAD") } else { case }
}

fn large() -> Vec<Case> {
    let one = |size: usize| get(&format!("a value of {size}")).add("x-long", &"v".repeat(size));
    let many =
        |count: usize| (0..count).fold(get(&format!("{count} fields")), |case, at| case.add(&format!("x-{at}"), "1"));
    let path = |size: usize| get(&format!("a path of {size}")).set(":path", &format!("/{}", "p".repeat(size)));
    let name = |size: usize| get(&format!("a name of {size}")).add(&format!("x{}", "n".repeat(size)), "1");
    vec![
        one(1_000),
        one(16_000),
        one(17_000),
        one(40_000),
        one(59_000),
        one(62_000),
        one(100_000),
        one(300_000),
        many(50),
        many(90),
        many(110),
        many(500),
        path(1_000),
        path(20_000),
        path(70_000),
        name(200),
        name(20_000),
    ]
}

fn large_drawn(chance: &mut Chance) -> Case {
    let (count, size) = (chance.below(80), chance.below(500));
    (0..count)
        .fold(get(&format!("{count} fields of {size}")), |case, at| case.add(&format!("x-{at}"), &"v".repeat(size)))
}

fn raw(name: &str, frames: &[Vec<u8>]) -> Case {
    Case::post("", name, b"").step(Step::Raw(frames.concat())).only_raw()
}

impl Case {
    /// Leaves out the content that a POST begins with.
    fn only_raw(mut self) -> Case {
        self.steps.remove(0);
        self
    }
}

fn frames() -> Vec<Case> {
    let data = |flags: u8, payload: &[u8]| frame::frame(kind::DATA, flags, 1, payload);
    let end = || data(flag::END_STREAM, b"end");
    vec![
        raw("padded content", &[data(flag::PADDED | flag::END_STREAM, b"\x04data\0\0\0\0")]),
        raw("only padding", &[data(flag::PADDED, b"\x03\0\0\0"), end()]),
        raw("padding too long", &[data(flag::PADDED, b"\x09data")]),
        raw("an unknown frame between", &[data(0, b"a"), frame::frame(0xbb, 0xff, 1, b"what"), end()]),
        raw("PRIORITY between", &[frame::frame(2, 0, 1, b"\0\0\0\0\x10"), end()]),
        raw("PRIORITY of 4 bytes", &[frame::frame(2, 0, 1, b"\0\0\0\0"), end()]),
        raw("a window of nothing", &[frame::window_update(1, 0), end()]),
        raw("a window too wide", &[frame::window_update(1, 0x7FFF_FFFF), end()]),
        raw("a connection's window of nothing", &[frame::window_update(0, 0), end()]),
        raw("a frame too long", &[data(flag::END_STREAM, &[b'x'; 16_385])]),
        raw("content of no stream", &[frame::frame(kind::DATA, 0, 0, b"x"), end()]),
        raw("content of an idle stream", &[frame::frame(kind::DATA, 0, 5, b"x"), end()]),
        raw("content behind the end", &[end(), end()]),
        raw(
            "a head on an even stream",
            &[frame::frame(kind::HEADERS, 5, 2, &hpack::encode(&[(":method", "GET")])), end()],
        ),
        raw("PING of 7 bytes", &[frame::frame(kind::PING, 0, 0, b"1234567"), end()]),
        raw("CONTINUATION of nothing", &[frame::frame(kind::CONTINUATION, 4, 1, b""), end()]),
        raw("SETTINGS of a stream", &[frame::frame(kind::SETTINGS, 0, 1, b""), end()]),
        raw("PUSH_PROMISE", &[frame::frame(5, 4, 1, b"\0\0\0\x02"), end()]),
        raw("one empty piece", &[data(0, b""), end()]),
        raw("a wrong index", &[frame::frame(kind::HEADERS, 5, 3, b"\xff\x00"), end()]),
    ]
}

fn frames_drawn(chance: &mut Chance) -> Case {
    let size = chance.below(3_000);
    let mut left = chance.bytes(size);
    let mut wire = Vec::new();
    while !left.is_empty() {
        let piece: Vec<u8> = left.drain(..1 + chance.below(left.len())).collect();
        if chance.once_in(2) {
            let padding = chance.below(20);
            let payload = [&[padding as u8][..], &piece, &vec![0; padding]].concat();
            wire.push(frame::frame(kind::DATA, flag::PADDED, 1, &payload));
        } else {
            wire.push(frame::frame(kind::DATA, 0, 1, &piece));
        }
    }
    wire.push(frame::frame(kind::DATA, flag::END_STREAM, 1, b"end"));
    raw(&format!("{size} bytes in {} frames", wire.len()), &wire)
}

/// Any right request.
fn any(chance: &mut Chance) -> Case {
    let method = *chance.pick(&["GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"]);
    let path = *chance.pick(&["/", "/a/b?c=d", "/direct", "/a%20b", "/x?y=%2F", "/%E2%82%AC"]);
    let kind =
        *chance.pick(&["", "echo", "status=204", "status=304", "status=404", "status=500", "size=20000", "trailers=t"]);
    let mut case = Case::get("", &format!("{method} {path} {kind}"), path).set(":method", method);
    if !kind.is_empty() {
        case = case.add("x-kind", kind);
    }
    let more = [
        ("accept", "*/*"),
        ("user-agent", "judge/1"),
        ("x-a", "1"),
        ("x-forwarded-for", "10.0.0.1"),
        ("x-forwarded-proto", "https"),
        ("x-request-id", "abc"),
        ("te", "trailers"),
        ("via", "1.1 x"),
        ("x-a", "2"),
        ("referer", "http://x/"),
    ];
    for _ in 0..chance.below(4) {
        let (name, value) = *chance.pick(&more);
        case = case.add(name, value);
    }
    if matches!(method, "POST" | "PUT") {
        let size = *chance.pick(&[0, 1, 100, 30_000]);
        let content = chance.bytes(size);
        if chance.once_in(2) {
            case = case.add("content-length", &size.to_string());
        }
        // A frame has its limit, and the stream its window.
        for piece in content.chunks(10_000) {
            case.steps.push(Step::Data(piece.to_vec(), false));
        }
        case.steps.push(Step::Data(Vec::new(), true));
    }
    case
}
